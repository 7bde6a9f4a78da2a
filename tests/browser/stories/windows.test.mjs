import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { another, launch, visit } from '../browser.mjs';
import { gateway, until } from '../cluster.mjs';

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

// A browser has six connections to a host over HTTP/1.1, for all its windows.
test('three windows side by side have three streams, and a fourth while one is watched', async () => {
  const first = await visit(browser, one.url);
  const windows = [first, await another(first.context, one.url), await another(first.context, one.url)];
  await Promise.all(windows.flatMap(({ device, seats }) => [device('Alice').ready(), device('Bob').ready(), seats.ready(), seats.open()]));
  await until(async () => (await one.streams()) === 3);

  const watch = async ({ inspector }) => {
    await inspector.getByRole('button', { name: 'Start watching' }).click();
    await inspector.getByText('tidegate:ready').waitFor();
  };
  await watch(windows[0]);
  for (const [at, { device, seats }] of windows.entries()) {
    await device('Alice').send(`window ${at}`);
    await seats.seat(at + 1).click();
  }
  for (const { device, seats } of windows) {
    for (const at of windows.keys()) {
      await device('Bob').message(`window ${at}`).waitFor();
      await seats.section.locator(`[data-seat="${at + 1}"][data-status=HELD]`).waitFor();
    }
  }
  await first.inspector.locator('[data-kind=event]').getByText('window 2').first().waitFor();
  assert.equal(await one.streams(), 4);

  // Watching goes to the window in which it was last begun.
  await watch(windows[1]);
  await first.inspector.getByText(/^Another window watches now/).waitFor();
  await until(async () => (await one.streams()) === 4);
  await windows[1].inspector.getByRole('button', { name: 'Stop' }).click();
  await until(async () => (await one.streams()) === 3);

  // Whoever had the streams goes, and the others go on.
  await first.page.close();
  await windows[1].device('Bob').send('One less');
  await windows[2].device('Alice').message('One less').waitFor();
  await windows[1].seats.seat(1).click();
  await windows[2].seats.section.locator('[data-seat="1"][data-status=AVAILABLE]').waitFor();

  // Windows with different seats have them in turns.
  await windows[1].seats.section.getByLabel('Schedule').selectOption('2');
  await windows[2].seats.section.locator('.badge[data-state=elsewhere]').waitFor();
  await windows[1].seats.open();
  await until(async () => (await one.streams()) === 3);
  await windows[2].page.locator('h1').click();
  await windows[2].seats.open();
  await windows[1].seats.section.locator('.badge[data-state=elsewhere]').waitFor();
  assert.deepEqual(windows.flatMap(({ seen }) => seen.errors), []);
  await first.context.close();
});

test('where windows can’t share, the one in use has the streams', async () => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await context.addInitScript(() => delete Navigator.prototype.locks); // as over plain HTTP from another machine
  const windows = [];
  for (let at = 0; at < 3; at += 1) {
    windows.push(await another(context, one.url));
    await windows[at].device('Alice').ready();
  }
  await until(async () => (await one.streams()) === 3);
  await windows[2].device('Alice').send('From the third');
  await windows[2].device('Bob').message('From the third').waitFor();
  for (const { device, seats } of windows.slice(0, 2)) {
    await device('Alice').frame.locator('.badge[data-state=elsewhere]').waitFor();
    await device('Alice').send('From another');
    await device('Bob').message('From the third').waitFor();
    await seats.open();
  }
  await windows[1].device('Bob').message('From another').nth(1).waitFor();
  await until(async () => (await one.streams()) === 3);
  await context.close();
});

test('a name that is changed in one window is changed in all', async () => {
  const first = await visit(browser, one.url);
  const second = await another(first.context, one.url);
  await Promise.all([first, second].map(({ device }) => device('Alice').ready()));
  const name = first.page.getByRole('textbox', { name: 'User name' });
  await first.device('Alice').frame.getByRole('button', { name: 'Change the name of Alice' }).click();
  await name.fill('bob');
  await name.press('Enter');
  await first.page.getByText('Bob is the other one on this page.').waitFor();
  await name.fill('x'.repeat(201));
  await name.press('Enter');
  await first.page.getByText(/at most \d+ bytes/).waitFor();
  await name.fill('Wanda');
  await name.press('Enter');
  for (const { device } of [first, second]) await device('Wanda').ready();
  await first.device('Wanda').send('It is me');
  await second.device('Bob').message('It is me').waitFor();
  assert.deepEqual(first.seen.errors.filter((text) => !text.includes('status of 400')), []);
  await first.context.close();
});

test('who leaves the window for long stops watching, and goes on when back', async () => {
  const { page, inspector, context, device } = await visit(browser, one.url);
  await device('Alice').ready();
  await inspector.getByRole('button', { name: 'Start watching' }).click();
  await inspector.getByText('tidegate:ready').waitFor();
  await page.clock.install();
  await page.evaluate(() => window.dispatchEvent(new Event('blur')));
  await page.clock.fastForward('02:00');
  await inspector.locator('.badge[data-state=idle]').waitFor();
  await page.clock.resume();
  await page.evaluate(() => window.dispatchEvent(new Event('focus')));
  await inspector.locator('.badge[data-state=open]').waitFor();
  await context.close();
});
