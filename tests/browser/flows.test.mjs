// What people do on the pages, from the first visit to a downloaded file; with and without JavaScript.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { Place, close, closeBrowser, isSound, open, run, signIn } from './harness.mjs';

let place;
let admin;

before(async () => {
  place = new Place((store) => {
    run(store, 'import', 'data/samples/optouts.csv', '--at-column', 'Fecha de baja', '--no-progress');
    run(store, 'add', '+525512345678', '--source', 'keyword', '--channel', 'whatsapp', '--word', 'BAJA');
  });
  admin = place.key('add', 'resubscribe', 'check', 'export', 'admin');
  await place.serve();
});

after(async () => {
  await closeBrowser();
  await place?.end();
});

async function signedIn(options = {}, key = admin) {
  const page = await open({ acceptDownloads: true, ...options });
  await signIn(page, place.url, key);
  return page;
}

async function downloaded(page, locator) {
  const [download] = await Promise.all([page.waitForEvent('download'), locator.click()]);
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}

const submit = (page, form) => page.locator(`${form} button[type="submit"]`);

test('a wrong key opens nothing, a right one opens its pages, and signing out closes them', async () => {
  const page = await open();
  await page.goto(`${place.url}/console/audience`);
  await page.locator('#key').fill('optout_wrong');
  await submit(page, '#sign-in').click();
  await page.locator('#error').waitFor();
  await isSound(page, 'sign-in');
  await page.locator('#key').fill(admin);
  await submit(page, '#sign-in').click();
  await page.locator('#filters').waitFor();
  await submit(page, '#sign-out').click();
  await page.goto(`${place.url}/console/audience`);
  await page.locator('#sign-in').waitFor();
  page.complaints = page.complaints.filter((it) => !it.includes('401'));
  await close(page);
});

test('a key that exports only sees the list and no other page', async () => {
  const page = await signedIn({}, place.key('export'));
  await page.locator('#filters').waitFor();
  for (const other of ['keys', 'scrub', 'capture', 'record']) {
    assert.equal(await page.locator(`nav.pages a[href="/console/${other}"]`).count(), 0, other);
  }
  const answer = await page.goto(`${place.url}/console/keys`);
  assert.equal(answer.status(), 403);
  page.complaints = page.complaints.filter((it) => !it.includes('403'));
  await close(page);
});

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? 'with' : 'without';

  test(`the list is filtered, shown whole, and downloaded as it is shown, ${how} JavaScript`, async () => {
    const page = await signedIn({ javaScriptEnabled });
    await page.goto(`${place.url}/console/audience?range=all`);
    assert.ok(await page.locator('section.list tbody tr').count() >= 25);
    await page.locator('#next-page').waitFor();
    await page.locator('#source').selectOption('keyword');
    await submit(page, '#filters').click();
    await page.waitForURL(/source=keyword/);
    assert.equal(await page.locator('section.list tbody tr').count(), 1);
    const shown = () => page.locator('section.list tbody').innerText();
    assert.doesNotMatch(await shown(), /12345678/);
    await submit(page, '#numbers-shown').click();
    assert.match((await shown()).replaceAll(/\D/g, ''), /525512345678/);
    await submit(page, '#numbers-shown').click();
    assert.doesNotMatch((await shown()).replaceAll(/\D/g, ''), /525512345678/);
    for (const format of ['csv', 'ndjson', 'xlsx']) {
      await page.locator('#format').selectOption(format);
      await page.locator('#numbers').selectOption('whole');
      const file = await downloaded(page, submit(page, '#download'));
      assert.ok(file.name.endsWith(`.${format}`), file.name);
      if (format === 'xlsx') {
        assert.equal(file.bytes.subarray(0, 2).toString(), 'PK');
      } else {
        const lines = file.bytes.toString().trim().split('\n');
        assert.equal(lines.length, format === 'csv' ? 2 : 1);
        assert.match(lines.at(-1), /525512345678/);
      }
    }
    await page.locator('#format').selectOption('csv');
    await page.locator('#numbers').selectOption('masked');
    const masked = await downloaded(page, submit(page, '#download'));
    assert.doesNotMatch(masked.bytes.toString(), /525512345678/);
    await close(page);
  });

  test(`a campaign file is scrubbed and its parts downloaded, ${how} JavaScript`, async () => {
    const page = await signedIn({ javaScriptEnabled });
    await page.goto(`${place.url}/console/scrub`);
    await page.locator('#file').setInputFiles('data/samples/campaign.csv');
    await submit(page, '#scrub').click();
    // Without JavaScript the page looks again by itself.
    await page.locator('#output-clean').waitFor();
    if (javaScriptEnabled) await isSound(page, 'report');
    const file = (part) => join(place.folder, `${part}-${how}`);
    run(place.store, 'scrub', 'data/samples/campaign.csv', '-o', file('clean'), '--suppressed', file('suppressed'),
      '--invalid', file('invalid'));
    for (const part of ['clean', 'suppressed', 'invalid']) {
      const { bytes } = await downloaded(page, page.locator(`#output-${part}`));
      assert.ok(bytes.length > 100 && bytes.equals(readFileSync(file(part))), part);
    }
    await submit(page, '#delete').click();
    await page.waitForURL(/\/console\/scrub$/);
    await close(page);
  });

  test(`a person is found in another spelling, opted out and brought back, ${how} JavaScript`, async () => {
    const page = await signedIn({ javaScriptEnabled });
    await page.goto(`${place.url}/console/record`);
    const number = javaScriptEnabled ? '(55) 8765-4321' : '(55) 8765-4322';
    await page.locator('#out-number').fill(number);
    await page.locator('#out-region').selectOption('MX');
    await submit(page, '#opt-out').click();
    await page.locator('.standing.v-suppressed').waitFor();
    await page.goto(`${place.url}/console/record`);
    await page.locator('#find-number').fill(`+52 1 ${number}`);
    await submit(page, '#find').click();
    await page.locator('.standing.v-suppressed').waitFor();
    assert.equal(await page.locator('#history li').count(), 1);
    await page.locator('#reason').fill('asked on the phone');
    const override = page.locator('#override');
    if (await override.count()) await override.check();
    await submit(page, '#resubscribe').click();
    await page.locator('.standing.v-allowed').waitFor();
    if (javaScriptEnabled) await isSound(page, 'person');
    await close(page);
  });

  test(`capture is switched on only with texts, and a message is tried, ${how} JavaScript`, async () => {
    const page = await signedIn({ javaScriptEnabled });
    await page.goto(`${place.url}/console/capture`);
    await page.locator('#new-channel').fill('whatsapp');
    await page.locator('#new-name').fill(`shop-${how}`);
    await submit(page, '#new-sender').click();
    await page.locator('#languages').fill('es');
    await page.locator('#language').fill('es');
    await page.locator('#capture').check();
    await submit(page, '#sender').click();
    await page.locator('#error').waitFor();
    if (javaScriptEnabled) await isSound(page, 'refused');
    await page.locator('#confirmation-es').fill('Gracias. 50% de descuento en https://example.com');
    await submit(page, '#sender').click();
    await page.locator('#findings-es .error').first().waitFor();
    await page.locator('#confirmation-es').fill('Listo: ya no recibirás mensajes de promoción.');
    await page.locator('#capture').check();
    await submit(page, '#sender').click();
    await page.locator('#done').waitFor();
    await page.goto(`${place.url}/console/capture`);
    await page.locator('#text').fill('Hola, por favor quítenme de su lista');
    await submit(page, '#try').click();
    await page.locator('#tried .i-opt_out').waitFor();
    await page.locator('#body').fill('Ofertas de la semana');
    await submit(page, '#template').click();
    await page.locator('#checked .error').first().waitFor();
    page.complaints = page.complaints.filter((it) => !it.includes('422'));
    await close(page);
  });
}

test('a key is made, shown once, used, and revoked', async () => {
  const page = await signedIn();
  await page.goto(`${place.url}/console/keys`);
  await page.locator('#name').fill('made in the browser');
  await page.locator('#scope-export').check();
  await submit(page, '#create-key').click();
  const key = await page.locator('#made-key').inputValue();
  await isSound(page, 'made');
  const other = await signedIn({}, key);
  await other.locator('#filters').waitFor();
  await page.goto(`${place.url}/console/keys`);
  assert.doesNotMatch(await page.content(), new RegExp(key));
  await page.locator('tr:has-text("made in the browser") a').click();
  await submit(page, '#revoke').click();
  await page.locator('#keys tr.past:has-text("made in the browser")').waitFor();
  // Within a second the sessions of the key are over.
  await other.waitForTimeout(1000);
  await other.goto(`${place.url}/console/audience`);
  await other.locator('#sign-in').waitFor();
  other.complaints = other.complaints.filter((it) => !it.includes('401'));
  await close(other);
  await close(page);
});

test('a newcomer walks through the tour, and nothing of it is recorded', async () => {
  const page = await signedIn();
  const before = run(place.store, 'stats', '--json');
  await page.goto(`${place.url}/console/tour`);
  for (let step = 1; step < 4; step += 1) {
    await page.locator('a[rel="next"]').click();
    await page.locator('#sample').waitFor();
    await isSound(page, `tour ${step}`);
  }
  await page.locator('.paging a[href="/console/audience"]').click();
  await page.locator('#filters').waitFor();
  assert.equal(run(place.store, 'stats', '--json'), before);
  await close(page);
});

test('the keyboard alone reaches the content and the forms', async () => {
  const page = await signedIn();
  await page.goto(`${place.url}/console/audience`);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => location.hash), '#content');
  await page.locator('#source').focus();
  const visible = await page.evaluate(() => {
    const style = getComputedStyle(document.activeElement);
    return style.outlineStyle !== 'none' || style.boxShadow !== 'none';
  });
  assert.ok(visible, 'whoever has the focus is seen');
  await close(page);
});

test('what was shown and downloaded whole stands in the log, without a number', () => {
  assert.match(place.log, /console: /);
  assert.doesNotMatch(place.log, /5512345678|optout_/);
});
