// A store, a server of it as a process, and a Chromium that looks at its pages.
//
// Promises: every page that a test opens is watched: an error in its console, a refused resource or a failed
// request fails the test. Screenshots go to target/browser.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { chromium } from 'playwright-core';

const root = resolve(import.meta.dirname, '../..');
const optout = process.env.OPTOUT_BIN ?? join(root, 'target/debug/optout');
const shots = join(root, 'target/browser');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
mkdirSync(shots, { recursive: true });

/** Runs a command on a store and gives its standard output. */
export function run(store, ...args) {
  const env = { ...process.env, OPTOUT_STORE: store };
  return execFileSync(optout, args, { cwd: root, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A store in a folder of its own, with the opt-outs that `fill` records. */
export class Place {
  constructor(fill = () => {}) {
    this.folder = mkdtempSync(join(tmpdir(), 'optout-browser-'));
    this.store = join(this.folder, 'store');
    run(this.store, 'init');
    fill(this.store);
  }

  /** A key that opens these scopes. */
  key(...scopes) {
    return run(this.store, 'key', 'create', '--scope', scopes.join(','), '--name', 'browser').trim();
  }

  async serve() {
    const args = ['serve', '--store', this.store, '--listen', '127.0.0.1:0', '--json'];
    this.server = spawn(optout, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.log = '';
    this.server.stderr.on('data', (bytes) => (this.log += bytes));
    const lines = createInterface({ input: this.server.stdout });
    const first = await new Promise((resolve, reject) => {
      lines.once('line', resolve);
      this.server.once('exit', () => reject(new Error(`the server ended: ${this.log}`)));
    });
    this.url = `http://${JSON.parse(first).listening}`;
    return this;
  }

  async end() {
    if (this.server && this.server.exitCode === null) {
      const ended = new Promise((resolve) => this.server.once('exit', resolve));
      this.server.kill('SIGTERM');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

let browser;

/** The one Chromium of a test file. */
export async function theBrowser() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
      '--disable-background-networking', '--disable-component-update'],
  });
  return browser;
}

export async function closeBrowser() {
  await browser?.close();
  browser = undefined;
}

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 360, height: 740 };

/** A page of a fresh profile. `options` are Playwright's of a context. */
export async function open(options = {}) {
  const context = await (await theBrowser()).newContext({ viewport: DESKTOP, locale: 'en-US', ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on('console', (line) => {
    if (['error', 'warning'].includes(line.type())) page.complaints.push(line.text());
  });
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('requestfailed', (request) => {
    // A download ends the navigation that began it.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') page.complaints.push(`failed: ${request.url()}`);
  });
  return page;
}

/** Asserts that nothing was complained of, and closes the profile. */
export async function close(page) {
  assert.deepEqual(page.complaints, []);
  await page.context().close();
}

/** Signs in with a key. */
export async function signIn(page, url, key) {
  await page.goto(`${url}/console`);
  await page.locator('input[name="key"]').fill(key);
  await Promise.all([page.waitForURL((at) => !at.pathname.endsWith('/sign-in')),
    page.locator('form:has(input[name="key"]) button[type="submit"]').click()]);
  // The page that asks for the key is itself the answer to a request without one.
  page.complaints = page.complaints.filter((it) => !it.includes('401'));
}

/** A picture of the whole page, for people to look at. */
export async function picture(page, name) {
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

/** Asserts that axe finds nothing serious, and that the page fits its width. */
export async function isSound(page, what) {
  // The page's own policy forbids scripts of others, as it should: axe comes in by the debugger.
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const serious = found.violations
    .filter((it) => ['serious', 'critical'].includes(it.impact))
    .map((it) => `${it.id}: ${it.help}: ${it.nodes.map((node) => node.target.join(' ')).join(', ')}`);
  assert.deepEqual(serious, [], what);
  const [width, room] = await page.evaluate(() => [
    document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(width <= room, `${what}: the page is ${width} wide, the window ${room}`);
}
