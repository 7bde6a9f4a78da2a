// Takes the picture of the page that the README shows: a chat somebody was at, some seats held, a connection that was cut.
//
//   GATEWAY_BINARY=target/debug/tidegate node tests/browser/picture.mjs docs/images/page.png [dark]
import { launch, visit } from './browser.mjs';
import { cluster } from './cluster.mjs';

const [out = 'page.png', colorScheme = 'light'] = process.argv.slice(2);
const [gateways, browser] = await Promise.all([cluster(), launch()]);
const post = async (path, body) => {
  const answer = await fetch(gateways.url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
};
const say = (room, who, content) => post(`/api/chat/rooms/${room.id}/messages?userId=${who}`, { content });

try {
  const pair = await post('/api/chat/users/bob/rooms?userId=alice');
  const harbour = await post('/api/chat/rooms?userId=carol', { name: 'Harbour crew', participants: ['alice', 'bob', 'dora'] });
  const lessons = await post('/api/chat/rooms?userId=dora', { name: 'Sailing lessons', participants: ['alice'] });
  await say(lessons, 'dora', 'Same time on Sunday?');
  await say(harbour, 'carol', 'Gate two is open again');
  await say(pair, 'alice', 'Does the ferry still leave at nine?');
  await say(pair, 'bob', 'It does. The tide turns at 9:12, so don’t be late.');
  await say(pair, 'alice', 'Coffee first, then. Seats for two?');
  await say(pair, 'bob', 'Row B, please. Take the window if you like, I have seen that coast a hundred times.');
  for (const [who, held, reserved] of [['carol', [27, 28], [33, 34]], ['bob', [9], [41]], ['dora', [22], [6, 36]]]) {
    for (const seat of [...held, ...reserved]) await post(`/api/schedules/1/seats/${seat}/hold?userId=${who}`);
    for (const seat of reserved) await post(`/api/schedules/1/seats/${seat}/reserve?userId=${who}`);
  }

  const { page, device, seats } = await visit(browser, gateways.url, { viewport: { width: 1280, height: 1362 }, colorScheme });
  const [alice, bob] = [device('Alice'), device('Bob')];
  await Promise.all([alice.ready(), bob.ready(), seats.ready(), seats.open()]);
  while ((await alice.node()) === (await bob.node())) {
    await page.reload();
    await Promise.all([alice.ready(), bob.ready(), seats.ready(), seats.open()]);
  }
  await seats.seat(15).click();
  await seats.seat(16).click();
  const inspector = page.locator('#inspector');
  await inspector.getByLabel('Watch', { exact: true }).selectOption('Seats, schedule 1');
  await inspector.getByText('tidegate:ready').waitFor();
  await inspector.getByRole('button', { name: 'Cut connection' }).click();
  await seats.seat(17).click();
  await page.waitForTimeout(1_800); // time passes
  await inspector.getByRole('button', { name: /Come back now/ }).click();
  await inspector.getByText('1 event was missed and is here.').waitFor();
  await page.waitForTimeout(400);
  await seats.seat(16).click();
  await alice.send('B5 and B7 are ours. See you at the gate.');
  await bob.message('B5 and B7 are ours. See you at the gate.').waitFor();
  await say(harbour, 'carol', 'Fog until ten, they say');
  await bob.dot.waitFor({ state: 'visible' });
  await page.locator('h1').click();
  await page.waitForTimeout(900); // drops are on their way
  await page.screenshot({ path: out });
} finally {
  await browser.close();
  await gateways.stop();
}
