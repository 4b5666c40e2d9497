// What is nicer with a script. Whatever a form does works without it.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const byId = (id) => document.getElementById(id);

  // Own dates are shown when they are wanted.
  const range = byId("range");
  if (range) {
    const show = () => {
      for (const field of document.querySelectorAll(".own")) {
        field.classList.toggle("away", range.value !== "custom");
      }
    };
    range.addEventListener("change", show);
    show();
  }

  // Copies a key.
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const field = byId(button.dataset.copy);
      field.select();
      try {
        await navigator.clipboard.writeText(field.value);
      } catch {
        document.execCommand("copy");
      }
      button.textContent = button.dataset.copied;
    });
  }
})();
