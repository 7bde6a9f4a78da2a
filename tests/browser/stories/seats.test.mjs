import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, visit } from '../browser.mjs';
import { cluster, until } from '../cluster.mjs';

let gateways;
let browser;

before(async () => {
  gateways = await cluster({ nodes: 2 });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await gateways?.stop();
});

test('two race for a seat: one wins, the other sees that it is taken, and both maps agree', async () => {
  const [one, two] = await Promise.all([visit(browser, gateways.url), visit(browser, gateways.url)]);
  for (const { seats } of [one, two]) await Promise.all([seats.ready(), seats.open()]);
  await two.seats.as('Bob');

  for (const id of [12, 13, 14, 15]) {
    await Promise.all([one, two].map(({ seats }) => seats.seat(id).click()));
    const own = (visitor) => visitor.seats.seat(id).textContent().then((text) => /held by you/.test(text));
    const winner = await until(async () => ((await own(one)) ? one : (await own(two)) && two));
    const loser = winner === one ? two : one;
    await loser.seats.problem.filter({ hasText: new RegExp(`^B${id - 10} is held until \\d\\d:\\d\\d:\\d\\d\\.$`) }).waitFor();
    assert.equal(await winner.seats.problem.textContent(), '');
    await until(async () => (await one.seats.all()).join() === (await two.seats.all()).join());
  }
});

test('what is held can be let go or reserved, and others see it', async () => {
  const [one, two] = await Promise.all([visit(browser, gateways.url), visit(browser, gateways.url)]);
  for (const { seats } of [one, two]) await Promise.all([seats.ready(), seats.open()]);
  const { seats } = one;
  await seats.section.getByLabel('Schedule').selectOption('2');
  await two.seats.section.getByLabel('Schedule').selectOption('2');
  for (const visitor of [one, two]) await Promise.all([visitor.seats.ready(), visitor.seats.open()]);

  await seats.seat(5).click();
  await two.seats.section.locator('[data-seat="5"][data-status=HELD]').waitFor();
  await seats.section.getByText(/^Alice holds A5, \d+:\d\d left\.$/).waitFor();
  await seats.seat(5).click();
  await two.seats.section.locator('[data-seat="5"][data-status=AVAILABLE]').waitFor();
  await seats.seat(6).click();
  await seats.seat(7).click();
  await seats.section.getByRole('button', { name: 'Reserve 2 seats' }).click();
  for (const id of [6, 7]) await two.seats.section.locator(`[data-seat="${id}"][data-status=RESERVED]`).waitFor();
  await two.seats.section.getByText('48 available').waitFor();
});

test('a map that nobody looks at gives its connection back, and catches up', async () => {
  const { page, seats, context } = await visit(browser, gateways.url);
  await Promise.all([seats.ready(), seats.open()]);
  const tab = (state) =>
    page.evaluate((now) => {
      Object.defineProperty(document, 'visibilityState', { value: now, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, state);
  await tab('hidden');
  await seats.section.locator('.badge[data-state=closed]').waitFor();
  await page.locator('#inspector .badge[data-state=idle]').waitFor();
  const hold = await page.request.post(`${gateways.url}/api/schedules/1/seats/50/hold?userId=carol`);
  assert.equal(hold.status(), 200);
  await tab('visible');
  await seats.section.locator('[data-seat="50"][data-status=HELD]').waitFor();
  await context.close();
});
