import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, visit } from '../browser.mjs';
import { gateway, until } from '../cluster.mjs';

const phone = { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true };

let one;
let browser;

before(async () => {
  one = await gateway({ TIDEGATE_SEATS__SHOW_HOLDERS: 'true' });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await one?.stop();
});

/** A request beside the page. */
async function call(method, path, user, body) {
  const answer = await fetch(`${one.url}${path}?userId=${encodeURIComponent(user)}`, { method, headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}
const room = (name, user, ...participants) => call('POST', '/api/chat/rooms', user, { name, participants });
const say = ({ id }, user, content, more = {}) => call('POST', `/api/chat/rooms/${id}/messages`, user, { content, ...more });

async function open(options) {
  const visitor = await visit(browser, one.url, options);
  const alice = visitor.device('Alice');
  await alice.ready();
  const enter = (name) => alice.frame.locator('.room', { hasText: name }).click();
  return { ...visitor, alice, enter };
}

test('a room that is gone leads back to the others, also on a phone', async () => {
  const { alice, enter, context, seen } = await open(phone);
  const [mine, theirs] = [await room('To be deleted', 'alice', 'bob'), await room('To be left', 'bob', 'alice')];
  const ends = [
    ['To be deleted', () => call('DELETE', `/api/chat/rooms/${mine.id}`, 'alice')],
    ['To be left', () => call('DELETE', `/api/chat/rooms/${theirs.id}/participants/alice`, 'bob')],
  ];
  await alice.frame.getByRole('button', { name: 'All rooms' }).tap();
  for (const [name, end] of ends) {
    await enter(name);
    await alice.composer.fill(`Half a thought on ${name}`);
    await end();
    await alice.frame.getByText(`${name} is gone.`).waitFor();
    await alice.frame.getByText(`Half a thought on ${name}`).waitFor();
    await alice.frame.getByRole('button', { name: 'Dismiss' }).click();
    await alice.frame.locator('.rooms-side').waitFor({ state: 'visible' });
  }
  await enter('Bob');
  await alice.composer.waitFor({ state: 'visible' });
  assert.deepEqual(seen.errors, []);
  await context.close();
});

test('messages that can’t be loaded are missed, not read, and come as soon as they can', async () => {
  const harbour = await room('Harbour', 'bob', 'alice');
  await say(harbour, 'bob', 'Before');
  const { page, alice, enter, context } = await open();
  const read = [];
  page.on('request', (request) => request.url().includes(`${harbour.id}/read`) && read.push(request));
  await page.route(`**/${harbour.id}/messages?**`, (route) => route.fulfill({ status: 403, contentType: 'application/problem+json', body: '{"detail":"Not today."}' }));
  await enter('Harbour');
  await alice.log.getByText('The messages can’t be shown. Not today.').waitFor();
  await say(harbour, 'bob', 'Meanwhile');
  await alice.frame.locator('.room', { hasText: 'Meanwhile' }).locator('.count', { hasText: '2' }).waitFor();
  assert.equal(read.length, 0);
  await page.unroute(`**/${harbour.id}/messages?**`);
  await alice.log.getByRole('button', { name: 'Try again' }).click();
  await alice.message('Meanwhile').waitFor();
  assert.deepEqual(await alice.texts(), ['Before', 'Meanwhile']);
  await until(() => read.length > 0);

  const quay = await room('Quay', 'bob', 'alice');
  await say(quay, 'bob', 'Behind the fog');
  await alice.frame.locator('.room', { hasText: 'Behind the fog' }).waitFor();
  await context.setOffline(true);
  await enter('Quay');
  await alice.log.getByText('The messages can’t be shown. The gateway does not answer.').waitFor();
  await context.setOffline(false);
  await alice.message('Behind the fog').waitFor();
  await context.close();
});

test('people are invited as they are written, and the gateway says what an id can’t be', async () => {
  const { page, alice, context, seen } = await open();
  const invite = async (name) => {
    await alice.frame.getByRole('button', { name: 'New chat' }).click();
    await page.getByRole('dialog').getByLabel('With').fill(name);
    await page.getByRole('dialog').getByRole('button', { name: 'Start' }).click();
  };
  const smile = `${'x'.repeat(39)}😀`;
  for (const name of ['Carol', smile]) {
    await invite(name);
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal((await call('GET', '/api/chat/rooms', name)).length, 1, name);
  }
  await invite('y'.repeat(201));
  await page.getByRole('dialog').getByText(/at most \d+ bytes/).waitFor();
  assert.deepEqual(seen.errors.filter((text) => !text.includes('status of 400')), []);
  await context.close();
});

test('what was begun stays in its room', async () => {
  await room('Secrets', 'alice', 'bob');
  const { alice, enter, context } = await open();
  await enter('Bob');
  await alice.composer.fill('For Bob alone');
  await enter('Secrets');
  assert.equal(await alice.composer.inputValue(), '');
  await alice.composer.fill('For the others');
  await enter('Bob');
  assert.equal(await alice.composer.inputValue(), 'For Bob alone');
  await enter('Secrets');
  assert.equal(await alice.composer.inputValue(), 'For the others');
  await context.close();
});

test('who comes and goes is what the gateway says; people are called what they wish', async () => {
  const deck = await room('Deck', 'alice', 'bob');
  await say(deck, 'bob', 'Carol left', { messageType: 'LEAVE' });
  const { alice, device, enter, context } = await open();
  await enter('Deck');
  await alice.log.getByText('Bob left', { exact: true }).waitFor();
  assert.equal(await alice.log.getByText('Carol left').count(), 0);

  await call('PUT', '/api/chat/users/bob', 'bob', { nickname: 'Captain Bob' });
  await say(deck, 'bob', 'All hands on deck');
  await alice.message('All hands on deck').waitFor();
  await enter(/Bob/);
  await call('POST', '/api/chat/users/alice/rooms', 'bob').then((pair) => say(pair, 'bob', 'It is me'));
  await alice.frame.getByRole('heading', { name: 'Captain Bob' }).waitFor();
  await device('Bob').frame.getByRole('heading', { name: 'Captain Bob' }).first().waitFor();
  await enter('Deck');
  assert.equal(await alice.log.locator('.sender[title=bob]').last().textContent(), 'Captain Bob');
  await call('PUT', '/api/chat/users/bob', 'bob', { nickname: 'bob' });
  await context.close();
});

test('a late answer does not undo what came after it', async () => {
  const { page, seats, context } = await open();
  await Promise.all([seats.ready(), seats.open()]);
  let late;
  await page.route('**/seats/30/hold?**', async (route) => {
    const response = await route.fetch();
    await call('POST', '/api/schedules/1/seats/30/release', 'alice');
    await call('POST', '/api/schedules/1/seats/30/hold', 'carol');
    late = () => route.fulfill({ response });
  });
  await seats.seat(30).click();
  await seats.seat(30).getByText('held by Carol').waitFor();
  await until(() => late);
  const answered = page.waitForResponse('**/seats/30/hold?**').then((response) => response.finished());
  await late();
  await answered;
  await page.locator('#announcer', { hasText: 'You hold C10.' }).waitFor({ state: 'attached' });
  assert.match(await seats.seat(30).textContent(), /held by Carol/);
  await context.close();
});

test('a room has a menu: add people, leave it, delete it', async () => {
  await room('Crew', 'alice', 'bob');
  const { page, alice, device, enter, context, seen } = await open();
  const choose = async (owner, what) => {
    await owner.frame.getByLabel('This room').click();
    await owner.frame.getByRole('button', { name: what }).click();
  };
  await enter('Crew');
  await choose(alice, 'Add people');
  await page.getByRole('dialog').getByLabel('User names').fill('dora');
  await page.getByRole('dialog').getByRole('button', { name: 'Add' }).click();
  await alice.log.getByText('Dora joined').waitFor();
  const bob = device('Bob');
  await bob.frame.locator('.room', { hasText: 'Crew' }).click();
  await choose(bob, 'Leave the room');
  await page.getByRole('dialog').getByRole('button', { name: 'Leave' }).click();
  await alice.log.getByText('Bob left').waitFor();
  assert.equal(await bob.frame.locator('.room', { hasText: 'Crew' }).count(), 0);
  assert.equal(await bob.frame.getByText('Crew is gone').count(), 0, 'who leaves knows');
  await choose(alice, 'Delete the room');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await alice.frame.locator('.room', { hasText: 'Crew' }).waitFor({ state: 'detached' });
  assert.deepEqual(seen.errors, []);
  await context.close();
});

// Last: what the gateway knew is gone from here on.
test('what was on its way when the gateway lost everything is there to be sent again', async () => {
  await room('Doomed', 'alice', 'bob');
  const { alice, device, enter, context } = await open();
  const bob = device('Bob');
  await enter('Doomed');
  await alice.send('Is anybody there?');
  await alice.message('Is anybody there?').waitFor();
  await one.kill();
  await alice.frame.locator('.badge:not([data-state=open])').waitFor();
  await alice.send('To the drowned');
  await enter('Bob');
  await alice.send('Half past nine?');
  await alice.composer.fill('And bring');
  await one.revive();
  await alice.log.locator('.failed', { hasText: 'Half past nine?' }).getByText(/lost this room/).waitFor();
  await alice.frame.getByText('Doomed is gone. Not sent:').waitFor();
  await alice.frame.locator('.unsent', { hasText: 'To the drowned' }).waitFor();
  assert.equal(await alice.composer.inputValue(), 'And bring');
  await alice.log.getByRole('button', { name: /^Send again/ }).click();
  await bob.message('Half past nine?').waitFor();
  await alice.log.locator('.pending').first().waitFor({ state: 'detached' });
  await context.close();
});
