import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, visit } from '../browser.mjs';
import { gateway, site } from '../cluster.mjs';

const at = '/live/';

let one;
let proxy;
let browser;

before(async () => {
  one = await gateway();
  proxy = await site(at, one.url);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await proxy?.stop();
  await one?.stop();
});

test('all of the page works under a path of a site', async () => {
  // Without the slash: the proxy sends a visitor on.
  const { page, seen, context, device, seats, inspector } = await visit(browser, `${proxy.url}/live`);
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  await page.reload();
  assert.equal(new URL(page.url()).pathname, at);
  await device('Alice').ready();
  await Promise.all([seats.ready(), seats.open()]);
  await device('Alice').send('Under a path');
  await device('Bob').message('Under a path').waitFor();
  await seats.seat(1).click();
  await seats.section.getByText(/^Alice holds A1/).waitFor();
  await inspector.getByRole('button', { name: 'Start watching' }).click();
  await inspector.getByText('tidegate:ready').waitFor();
  await inspector.getByText('Publish an event').click();
  await inspector.getByRole('button', { name: 'Publish', exact: true }).click();
  await inspector.getByText('High tide at noon').last().waitFor();
  assert.deepEqual(await page.evaluate('violations'), []);
  assert.deepEqual(seen.errors, []);
  const elsewhere = asked.filter((url) => !url.startsWith('data:') && !url.startsWith(proxy.url + at));
  assert.deepEqual(elsewhere, []);
  assert.ok(asked.length > 10, 'its requests were seen');
  await context.close();
});

test('so does the description of the API', async () => {
  const { page, seen, context } = await visit(browser, proxy.url + at);
  await page.getByRole('link', { name: 'API' }).click();
  await page.getByRole('heading', { name: 'Tidegate API' }).waitFor();
  await page.locator('#publish pre', { hasText: `${proxy.url}${at}v1/publish` }).first().waitFor();
  const file = await page.getByRole('link', { name: 'openapi.json', exact: true }).evaluate((link) => link.href);
  assert.equal(file, `${proxy.url}${at}openapi.json`);
  // As a program resolves it that has read the description there.
  const { servers } = await (await fetch(file)).json();
  assert.equal(new URL(servers[0].url, file).href, proxy.url + at);
  assert.deepEqual(seen.errors, []);
  await context.close();
});
