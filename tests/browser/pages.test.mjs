// Every page, in each language, light and dark, on a desktop and on a phone: nothing that axe calls serious, nothing
// that the browser complains of, nothing wider than the window.

import { after, before, test } from 'node:test';

import { DESKTOP, PHONE, Place, close, closeBrowser, isSound, open, picture, run } from './harness.mjs';

// What a person's or a program's text may hold: markup, a formula, a change of direction, much of it.
const HOSTILE = '<script>alert(1)</script>"\'=1+1\u202Eabc ' + 'x'.repeat(180);

let place;
let pages;

before(async () => {
  place = await new Place((store) => {
    run(store, 'import', 'data/samples/optouts.csv', '--at-column', 'Fecha de baja', '--no-progress');
    run(store, 'add', '+525512345678', '--source', 'keyword', '--channel', 'whatsapp', '--word', 'BAJA',
      '--campaign', HOSTILE, '--note', HOSTILE);
    run(store, 'capture', 'set', 'shop', '--channel', 'whatsapp', '--serves', 'es,en', '--language', 'es',
      '--confirmation', 'es=Listo: ya no recibirás mensajes de promoción.',
      '--confirmation', 'en=Done: you get no more marketing messages from us.');
  }).serve();
  const page = await open();
  await page.goto(`${place.url}/console/scrub`);
  await page.locator('#file').setInputFiles('data/samples/campaign.csv');
  await page.locator('#scrub button[type="submit"]').click();
  await page.locator('#report').waitFor();
  const job = new URL(page.url()).pathname;
  await close(page);
  pages = {
    audience: '/console/audience?range=all',
    'audience-empty': '/console/audience?range=all&campaign=nobody',
    person: '/console/numbers/201',
    record: '/console/record',
    scrub: '/console/scrub',
    report: job,
    capture: '/console/capture',
    sender: '/console/capture/sender?channel=whatsapp&sender=shop',
    keys: '/console/keys',
    tour: '/console/tour',
    'tour-audience': '/console/tour?step=2',
    'tour-scrub': '/console/tour?step=3',
    'tour-capture': '/console/tour?step=4',
    api: '/console/api',
    missing: '/console/nothing-here',
  };
});

after(async () => {
  await closeBrowser();
  await place?.end();
});

for (const [look, options] of Object.entries({
  light: { viewport: DESKTOP, colorScheme: 'light' },
  dark: { viewport: DESKTOP, colorScheme: 'dark' },
  phone: { viewport: PHONE, colorScheme: 'light', isMobile: true, hasTouch: true },
})) {
  for (const language of ['en', 'es', 'pt']) {
    test(`every page is sound: ${look}, ${language}`, async () => {
      const page = await open(options);
      for (const [name, path] of Object.entries(pages)) {
        await page.goto(`${place.url}${path}${path.includes('?') ? '&' : '?'}lang=${language}`);
        await isSound(page, `${name} ${look} ${language}`);
        await picture(page, `${name}-${look}-${language}`);
      }
      // The browser reports the page that is not there, and nothing else.
      page.complaints = page.complaints.filter((it) => !it.includes('404'));
      await close(page);
    });
  }
}
