// Browsers, and the page as its users name its parts.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { chromium } from 'playwright-core';

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] });

/** A browser of its own: nothing is shared with others, neither storage nor connections. */
export async function visit(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  return another(context, url);
}

/** One more window of the same browser. */
export async function another(context, url) {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const seen = { errors: [], hosts: new Set() };
  page.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()));
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('request', (request) => request.url().startsWith('data:') || seen.hosts.add(new URL(request.url()).host));
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  if (process.env.PAGE_FILES) await page.route(/\/$|\/assets\//, instead);
  await page.goto(url);
  return { page, seen, context, device: (name) => device(page, name), seats: seatMap(page), inspector: page.locator('#inspector') };
}

/** PAGE_FILES=folder: a page that is being worked on, with the headers of the one in the binary. */
async function instead(route) {
  const response = await route.fetch();
  const { pathname } = new URL(route.request().url());
  const file = pathname.endsWith('/') ? 'index.html' : path.basename(pathname);
  await route.fulfill({ response, body: await readFile(path.join(process.env.PAGE_FILES, file)) });
}

/** The chat of one person on the page. */
function device(page, name) {
  const frame = page.getByRole('article', { name: `Chat as ${name}` });
  const log = frame.getByRole('log');
  const composer = frame.getByRole('textbox', { name: 'Message' });
  return {
    frame,
    log,
    composer,
    /** Ready to write: there is an open room and a stream. */
    ready: async () => {
      await frame.locator('.badge[data-state=open] .node:not(:empty)').waitFor();
      await composer.waitFor();
      await frame.locator('.empty:not([hidden]), .messages li').first().waitFor({ state: 'attached' });
    },
    node: () => frame.locator('.badge .node').textContent(),
    send: async (text) => {
      await composer.fill(text);
      await composer.press('Enter');
    },
    message: (text) => log.locator('.message p').getByText(text, { exact: true }),
    /** What is said, without what is still on its way. */
    texts: () => log.locator('.message:not(.pending) p').allTextContents(),
    dot: frame.locator('.face .dot'),
  };
}

function seatMap(page) {
  const section = page.locator('#seats');
  const seat = (id) => section.locator(`[data-seat="${id}"]`);
  return {
    section,
    seat,
    ready: () => seat(50).waitFor(),
    open: () => section.locator('.badge[data-state=open]').waitFor(),
    as: (name) => section.getByRole('group', { name: 'Act as' }).getByRole('button', { name }).click(),
    problem: section.locator('.problem'),
    all: () => section.locator('.seat').evaluateAll((seats) => seats.map((seat) => `${seat.dataset.seat} ${seat.dataset.status}`)),
  };
}
