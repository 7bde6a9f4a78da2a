import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { launch, visit } from '../browser.mjs';
import { binary, gateway, root, run } from '../cluster.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

let one;
let browser;

before(async () => {
  one = await gateway();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await one?.stop();
});

/** Everything on the page has come. */
async function settled({ device, seats }) {
  await device('Alice').ready();
  await Promise.all([seats.ready(), seats.open()]);
}

test('it keeps to its policy, talks to its own host only, and logs no error', async () => {
  const visitor = await visit(browser, one.url);
  await settled(visitor);
  await visitor.device('Alice').send('A word');
  await visitor.device('Bob').message('A word').waitFor();
  await visitor.seats.seat(1).click();
  await visitor.seats.section.getByText(/^Alice holds A1/).waitFor();
  await visitor.page.getByRole('button', { name: 'Dark colours' }).click();
  assert.deepEqual(await visitor.page.evaluate('violations'), []);
  assert.deepEqual(visitor.seen.errors, []);
  assert.deepEqual([...visitor.seen.hosts], [new URL(one.url).host]);
  await visitor.context.close();
});

test('the keyboard is enough', async () => {
  const visitor = await visit(browser, one.url);
  const { page, device, seats } = visitor;
  await settled(visitor);
  const tabTo = async (selector) => {
    for (let i = 0; i < 80; i += 1) {
      await page.keyboard.press('Tab');
      if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
    }
    throw new Error(`Tab does not lead to ${selector}`);
  };
  await tabTo('.composer textarea');
  await page.keyboard.type('Without a mouse');
  await page.keyboard.press('Enter');
  await device('Alice').message('Without a mouse').waitFor();

  await tabTo('.seat');
  for (const key of ['ArrowRight', 'ArrowRight', 'ArrowDown', 'Enter']) await page.keyboard.press(key);
  await seats.section.locator('[data-seat="13"][data-status=HELD].own').waitFor();
  for (const key of ['ArrowRight', 'Space']) await page.keyboard.press(key);
  await seats.section.locator('[data-seat="14"][data-status=HELD].own').waitFor();
  await tabTo('.seat-bar .primary');
  await page.keyboard.press('Enter');
  await seats.section.locator('[data-seat="13"][data-status=RESERVED]').waitFor();
  await visitor.context.close();
});

test('the inspector cuts its connection and shows what it missed', async () => {
  const { page, context } = await visit(browser, one.url);
  const inspector = page.locator('#inspector');
  await inspector.getByLabel('Watch').selectOption('A topic');
  await inspector.getByLabel('Topic', { exact: true }).first().fill('news:tide');
  await inspector.getByLabel('Topic', { exact: true }).first().press('Enter');
  await inspector.getByText('tidegate:ready').waitFor();
  const publish = (text) => page.request.post(`${one.url}/v1/publish`, { data: { topic: 'news:tide', event: 'tide', data: { text } } });
  await publish('before');
  await inspector.getByText('{"text":"before"}').waitFor();
  await inspector.getByRole('button', { name: 'Cut connection' }).click();
  await inspector.getByText(/^Connection cut/).waitFor();
  await publish('while away');
  await publish('still away');
  await inspector.getByRole('button', { name: /Come back now/ }).click();
  await inspector.getByText('2 events were missed and are here.').waitFor();
  assert.deepEqual(await inspector.locator('.caught-up pre').allTextContents(), ['{"text":"while away"}', '{"text":"still away"}']);

  await inspector.getByText('Publish an event').click();
  await inspector.getByRole('button', { name: 'Publish', exact: true }).click();
  await inspector.getByText('High tide at noon').last().waitFor();
  await inspector.getByRole('button', { name: 'Raw' }).click();
  await inspector.getByText(/event: greeting\ndata: /).waitFor();
  await inspector.getByLabel('Filter events').fill('greeting');
  await inspector.getByText('while away').waitFor({ state: 'detached' });
  await context.close();
});

test('a phone shows one part at a time, and nothing is wider than it', async () => {
  const { page, context, device } = await visit(browser, one.url, phone);
  await device('Alice').ready();
  for (const view of ['Chat', 'Seats', 'Inspector']) {
    await page.getByRole('link', { name: view, exact: true }).tap();
    await page.locator(`#${view.toLowerCase()}`).waitFor({ state: 'visible' });
    assert.equal(await page.locator('main > section:visible').count(), 1);
    assert.equal(await page.evaluate('document.scrollingElement.scrollWidth'), 360, view);
  }
  await page.getByRole('link', { name: 'Chat', exact: true }).tap();
  await page.getByRole('group', { name: 'Whose device' }).getByRole('button', { name: 'Bob' }).tap();
  await device('Bob').frame.waitFor({ state: 'visible' });
  await device('Bob').frame.getByRole('button', { name: 'All rooms' }).tap();
  await device('Bob').frame.getByRole('button', { name: /^Alice/ }).tap();
  await device('Bob').composer.waitFor({ state: 'visible' });
  await context.close();
});

for (const colorScheme of ['light', 'dark']) {
  test(`nothing serious is in the way of anybody: ${colorScheme}`, async () => {
    const wide = await visit(browser, one.url, { colorScheme });
    await settled(wide);
    const small = await visit(browser, one.url, { ...phone, colorScheme });
    await small.device('Alice').ready();
    const found = await check(wide.page);
    await wide.device('Alice').frame.getByRole('button', { name: 'New chat' }).click();
    found.push(...(await check(wide.page)));
    for (const view of ['Chat', 'Seats', 'Inspector']) {
      await small.page.getByRole('link', { name: view, exact: true }).tap();
      found.push(...(await check(small.page)));
    }
    assert.deepEqual(found, []);
    await Promise.all([wide.context.close(), small.context.close()]);
  });
}

async function check(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  return serious.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
}

test('a colour scheme that was chosen is remembered', async () => {
  const { page, context } = await visit(browser, one.url, { colorScheme: 'light' });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.getByRole('button', { name: 'Dark colours' }).click();
  const dark = await background();
  assert.notEqual(dark, light);
  await page.reload();
  await page.getByRole('button', { name: 'Dark colours', pressed: true }).waitFor();
  assert.equal(await background(), dark);
  await context.close();
});

test('where an application is off, its part says so and the rest works', async () => {
  const halves = [
    [{ TIDEGATE_APPS__CHAT: 'false' }, ({ device }) => device('Alice').frame.getByText('The chat is not switched on'), ({ seats }) => seats.open()],
    [{ TIDEGATE_APPS__SEATS: 'false' }, ({ page }) => page.getByText('Seats are not switched on'), ({ device }) => device('Alice').ready()],
  ];
  for (const [settings, absent, present] of halves) {
    const half = await gateway(settings);
    try {
      const visitor = await visit(browser, half.url);
      await absent(visitor).first().waitFor();
      await present(visitor);
      await visitor.page.getByRole('button', { name: 'Start watching' }).click();
      await visitor.page.locator('#inspector').getByText('tidegate:ready').waitFor();
      await visitor.context.close();
    } finally {
      await half.stop();
    }
  }
});

test('where there are keys, a token opens it', async () => {
  const dir = await mkdtemp(path.join(tmpdir(), 'tidegate-page.'));
  const config = path.join(dir, 'tidegate.toml');
  await writeFile(config, '[apps]\nchat = true\nseats = true\n[[auth.jwt.keys]]\nalg = "HS256"\nsecret = "a secret for this story, long enough"\n');
  const keyed = await gateway({ TIDEGATE_CONFIG: config });
  try {
    const { page, context, seen } = await visit(browser, keyed.url);
    const token = (user) => run(binary, ['token', '--user', user, '--config', config]);
    for (const [name, user] of [['Alice', 'wanda'], ['Bob', 'viktor']]) {
      const frame = page.getByRole('article', { name: `Chat as ${name}` });
      await frame.getByLabel('Token').fill(await token(user));
      await frame.getByRole('button', { name: /^Open/ }).click();
    }
    const [wanda, viktor] = ['Wanda', 'Viktor'].map((name) => page.getByRole('article', { name: `Chat as ${name}` }));
    await wanda.getByRole('textbox', { name: 'Message' }).fill('With a token');
    await wanda.getByRole('textbox', { name: 'Message' }).press('Enter');
    await viktor.getByRole('log').getByText('With a token').waitFor();
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes('eyJ')), false, 'it is kept in this tab only');
    await wanda.getByRole('button', { name: 'Change the nickname of Wanda' }).click();
    await wanda.getByRole('textbox', { name: 'Nickname' }).fill('Captain');
    await wanda.getByRole('textbox', { name: 'Nickname' }).press('Enter');
    await wanda.locator('.device-head .name[title=wanda]').getByText('Captain').waitFor();
    await viktor.getByRole('heading', { name: 'Captain' }).waitFor();
    await wanda.getByRole('textbox', { name: 'Message' }).fill('Still me');
    await wanda.getByRole('textbox', { name: 'Message' }).press('Enter');
    await viktor.getByRole('log').locator('[title=wanda] ~ p, [title=wanda] + p').getByText('Still me').waitFor();
    assert.deepEqual(seen.errors.filter((text) => !text.includes('status of 401')), []);
    await context.close();
  } finally {
    await keyed.stop();
    await rm(dir, { recursive: true, force: true });
  }
});

test('a page that asks for the subprotocol gets it', async () => {
  const { page, context } = await visit(browser, `${one.url}/docs`);
  const opened = (names) =>
    page.evaluate(
      (asked) =>
        new Promise((done) => {
          const socket = new WebSocket(new URL('v1/ws?topic=news:tide', document.baseURI).href.replace('http', 'ws'), asked);
          socket.onopen = () => done(socket.protocol);
          socket.onclose = ({ code }) => done(code);
        }),
      names,
    );
  assert.equal(await opened(['tidegate.v1', 'something.else']), 'tidegate.v1');
  assert.equal(await opened([]), '');
  assert.equal(await opened(['something.else']), 1006);
  await context.close();
});

test('the built page is made of its sources', async () => {
  const out = await mkdtemp(path.join(tmpdir(), 'tidegate-page.'));
  try {
    await run('node', [path.join(root, 'clients/page/build.mjs'), '--out', out]);
    const committed = path.join(root, 'crates/server/src/pages/app');
    assert.deepEqual((await readdir(committed)).sort(), (await readdir(out)).sort());
    for (const file of await readdir(out)) {
      const same = (await readFile(path.join(out, file))).equals(await readFile(path.join(committed, file)));
      assert.ok(same, `${file} is not current: cd clients/page && npm ci && npm run build`);
    }
  } finally {
    await rm(out, { recursive: true, force: true });
  }
});
