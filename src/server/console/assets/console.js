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

  // A campaign file may be dropped, and its upload is watched.
  const form = byId("scrub");
  if (form) {
    const drop = byId("drop");
    const file = byId("file");
    const progress = byId("upload-progress");
    const text = byId("upload-text");
    for (const name of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length > 0) {
          file.files = event.dataTransfer.files;
        }
      });
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const button = form.querySelector("button[type=submit]");
      const request = new XMLHttpRequest();
      const failed = () => {
        text.textContent = text.dataset.failed;
        button.disabled = false;
      };
      button.disabled = true;
      progress.hidden = false;
      text.textContent = text.dataset.uploading;
      request.upload.addEventListener("progress", (sent) => {
        if (sent.lengthComputable) {
          progress.value = (100 * sent.loaded) / sent.total;
        }
      });
      request.addEventListener("error", failed);
      request.addEventListener("abort", failed);
      request.addEventListener("load", () => {
        if (request.status === 200 && request.responseURL.includes("/console/scrub/")) {
          location.assign(request.responseURL);
          return;
        }
        // What was refused is shown as the server says it.
        const page = new DOMParser().parseFromString(request.responseText, "text/html");
        const error = page.querySelector("#error, #refusal");
        failed();
        if (error) {
          text.textContent = error.textContent;
        }
      });
      request.open("POST", form.action);
      request.send(new FormData(form));
    });
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
