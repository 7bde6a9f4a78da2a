import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, visit } from '../browser.mjs';
import { cluster, until } from '../cluster.mjs';

let gateways;
let browser;

before(async () => {
  gateways = await cluster();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await gateways?.stop();
});

/** Alice in one browser, Bob in another, each with a stream from another node. */
async function apart() {
  const [one, two] = await Promise.all([visit(browser, gateways.url), visit(browser, gateways.url)]);
  const [alice, bob] = [one.device('Alice'), two.device('Bob')];
  await Promise.all([alice.ready(), bob.ready()]);
  await until(async () => {
    if ((await alice.node()) !== (await bob.node())) return true;
    await two.page.reload();
    await bob.ready();
    return false;
  }, 30_000);
  return { one, two, alice, bob, close: () => Promise.all([one.context.close(), two.context.close()]) };
}

test('two people chat over two nodes', async () => {
  const { alice, bob, close } = await apart();
  await alice.send('Is the ferry leaving at nine?');
  await bob.message('Is the ferry leaving at nine?').waitFor();
  await bob.send('It is. <img src=x onerror=alert(1)>');
  await alice.message('It is. <img src=x onerror=alert(1)>').waitFor();
  assert.equal(await alice.log.locator('img').count(), 0, 'what is said is text');
  await close();
});

test('an unread dot comes on and goes out on both of a user’s devices', async () => {
  const { one, two, alice, close } = await apart();
  const devices = [one.device('Bob'), two.device('Bob')];
  await Promise.all(devices.map((device) => device.ready()));
  // In neither browser Bob's device is the one in use.
  await two.device('Alice').composer.focus();
  await alice.send('Are you there?');
  await Promise.all(devices.map((device) => device.dot.waitFor({ state: 'visible' })));
  assert.match(await two.page.title(), /^●/);

  await devices[1].composer.focus();
  await Promise.all(devices.map((device) => device.dot.waitFor({ state: 'hidden' })));
  await close();
});

test('older messages are loaded by page', async () => {
  const { two, alice, bob, close } = await apart();
  await alice.send('line 1');
  const room = await alice.frame.locator('.room[aria-current]').getAttribute('data-room');
  for (let i = 2; i <= 45; i += 1) {
    const answer = await two.page.request.post(`${gateways.url}/api/chat/rooms/${room}/messages?userId=alice`, { data: { content: `line ${i}` } });
    assert.equal(answer.status(), 201);
  }
  await bob.message('line 45').waitFor();
  await two.page.reload();
  await bob.message('line 45').waitFor();
  assert.equal(await bob.message('line 1').count(), 0);
  await bob.frame.getByRole('button', { name: 'Load older messages' }).click();
  await bob.message('line 1').waitFor();
  const lines = (await bob.texts()).filter((text) => text.startsWith('line '));
  assert.deepEqual(lines, Array.from({ length: 45 }, (_, at) => `line ${at + 1}`));
  await close();
});

test('a room for several, and its people', async () => {
  const { one, alice, bob, close } = await apart();
  await alice.frame.getByRole('button', { name: 'New chat' }).click();
  const dialog = one.page.getByRole('dialog', { name: 'New chat' });
  await dialog.getByLabel('With').fill('bob, carol');
  await dialog.getByLabel('Name of the room').fill('Harbour');
  await dialog.getByRole('button', { name: 'Start' }).click();
  await alice.frame.getByRole('heading', { name: 'Harbour' }).waitFor();
  await alice.send('Welcome on board');
  const room = bob.frame.getByRole('button', { name: /Harbour/ });
  await room.filter({ hasText: 'Welcome on board' }).waitFor();
  await room.click();
  await bob.message('Welcome on board').waitFor();
  await close();
});

test('an answer that is lost does not double a message, and one that is refused can be sent again', async () => {
  const { one, alice, bob, close } = await apart();
  const answers = [
    async (route) => (await route.fetch(), route.abort()), // it was stored, and nobody hears of it
    (route) => route.continue(),
    (route) => route.fulfill({ status: 403, contentType: 'application/problem+json', body: '{"detail":"Not now."}' }),
  ];
  await one.page.route('**/messages?userId=alice', (route) => (answers.shift() ?? ((last) => last.continue()))(route));
  await alice.send('Once');
  await bob.message('Once').waitFor();
  await until(() => answers.length === 1);
  await alice.send('Refused');
  await alice.log.getByText('Not sent: Not now.').waitFor();
  await alice.log.getByRole('button', { name: /^Send again/ }).click();
  await bob.message('Refused').waitFor();
  await alice.log.locator('.pending').first().waitFor({ state: 'detached' });
  for (const device of [alice, bob]) assert.deepEqual((await device.texts()).filter((text) => ['Once', 'Refused'].includes(text)), ['Once', 'Refused']);
  await close();
});

// Last: one node is missing from here on.
test('a node is killed and no message is lost or doubled', async () => {
  const { alice, bob, close } = await apart();
  const sent = [];
  for (let i = 1; i <= 30; i += 1) {
    if (i === 10) gateways.kill(await alice.node());
    const [a, b] = [`alice ${i}`, `bob ${i}`];
    sent.push(a, b);
    await Promise.all([alice.send(a), bob.send(b)]);
  }
  for (const device of [alice, bob]) {
    await until(async () => {
      const there = new Set(await device.texts());
      return sent.every((text) => there.has(text));
    }, 40_000);
  }
  const [hers, his] = await Promise.all([alice, bob].map(async (device) => (await device.texts()).filter((text) => sent.includes(text))));
  assert.deepEqual(hers, his, 'both see the same, in the same order');
  assert.deepEqual([...hers].sort(), [...sent].sort(), 'each message once');
  assert.deepEqual(hers.filter((text) => text.startsWith('alice')), sent.filter((text) => text.startsWith('alice')), 'in the order of sending');
  await close();
});
