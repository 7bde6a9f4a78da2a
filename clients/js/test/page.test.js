// What a page's life does to its stream: no network, sleep, the back/forward cache. The page is an imitation; tests in a browser have a real one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { stays, world } from "./support/world.js";

const READY = "id: 1\nevent: tidegate:ready\ndata: {}\n\n";

/** Makes this a page; `happens(name)` tells it. */
function page(t) {
  const [window, document] = [new EventTarget(), new EventTarget()];
  document.visibilityState = "visible";
  globalThis.document = document;
  globalThis.addEventListener = window.addEventListener.bind(window);
  const target = (name) => (name === "visibilitychange" ? document : window);
  t.after(() => {
    delete globalThis.document;
    delete globalThis.addEventListener;
  });
  return (name, fields) => target(name).dispatchEvent(Object.assign(new Event(name), fields));
}

test("no network: offline at once, and back as soon as it is there", async (t) => {
  const happens = page(t);
  let up = true;
  const answer = () => {
    if (!up) throw new TypeError("no network");
    return stays(READY);
  };
  const { said, pass, asked, stream } = world(t, answer, { retry: { min: 5000 } });
  await pass(20);
  up = false;
  happens("offline");
  assert.equal(stream.state, "offline");
  await pass(60_000);
  const tried = asked.length;
  up = true;
  happens("online");
  await pass(20);
  assert.equal(asked.length, tried + 1);
  assert.deepEqual(said.states, ["open", "offline", "connecting", "open"]);
});

test("a page that wakes looks at its connection at once", async (t) => {
  const happens = page(t);
  const { said, pass, asked } = world(t, () => stays(READY), {});
  await pass(20);
  happens("visibilitychange");
  await pass(20);
  assert.equal(asked.length, 1);
  // Asleep no timer runs, but time goes on.
  const woke = Date.now() + 3_600_000;
  t.mock.method(Date, "now", () => woke);
  happens("visibilitychange");
  await pass(20);
  assert.equal(asked.length, 2);
  assert.deepEqual(said.states, ["open", "connecting", "open"]);
});

test("a page that is put away lets go without a word, and takes up again; one that is closed does neither", async (t) => {
  const happens = page(t);
  const { said, pass, asked, stream } = world(t, () => stays(READY), {});
  await pass(20);
  happens("pagehide");
  await pass(120_000);
  assert.equal(asked.length, 1);
  assert.deepEqual(said.states, ["open"]);
  happens("pageshow", { persisted: true });
  await pass(20);
  assert.deepEqual(said.states, ["open", "connecting", "open"]);
  stream.close();
  for (const name of ["pagehide", "pageshow", "offline", "online", "visibilitychange"]) happens(name, { persisted: true });
  await pass(20);
  assert.equal(asked.length, 2);
});
