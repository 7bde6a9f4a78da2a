// How long it waits, with a clock of the test's own and a network that is its own as well.
import assert from "node:assert/strict";
import { test } from "node:test";
import { says, world } from "./support/world.js";

const down = () => {
  throw new TypeError("no network");
};

const status = (status, headers) => () => new Response(null, { status, headers });

test("waits grow from min to max, each up to twice the one before", async (t) => {
  const { waits, said } = world(t, down, { retry: { min: 1000, max: 5000 } });
  assert.deepEqual(await waits(6), [0, 2000, 4000, 5000, 5000, 5000]);
  // Offline stays offline through the attempts: a badge does not flicker.
  assert.deepEqual(said.states, ["offline"]);
});

test("the wait is a random time, from none on", async (t) => {
  const { waits } = world(t, down, { retry: { min: 1000 } });
  Math.random.mock.mockImplementation(() => 0);
  assert.ok((await waits(4)).every((wait) => wait <= 10));
});

test("what the server asks for is the least, and a connection that opened begins anew", async (t) => {
  const ready = "retry: 3000\nid: 1\nevent: tidegate:ready\ndata: {}\n\n";
  const { waits, said } = world(t, (_, n) => (n === 2 ? says(ready) : down()), { retry: { min: 100, max: 1000 } });
  assert.deepEqual(await waits(5), [0, 200, 3000, 3000, 3000]);
  assert.deepEqual(said.states, ["offline", "open", "connecting", "offline"]);
});

test("Retry-After is the least as well", async (t) => {
  const { waits, said } = world(t, status(503, { "Retry-After": "7" }), { retry: { min: 10 } });
  assert.deepEqual(await waits(3), [0, 7000, 7000]);
  assert.equal(said.problems[0].status, 503);
});

test("a wait that no timer can hold is a long one, and not none", async (t) => {
  const { pass, asked } = world(t, status(503, { "Retry-After": "99999999" }), { retry: { min: 10 } });
  await pass(20_000);
  assert.equal(asked.length, 1);
});

test("so many failures in a row are the end, and it says so", async (t) => {
  const { waits, pass, said, asked, stream } = world(t, down, { retry: { min: 10, attempts: 3 } });
  await waits(3);
  await pass(60_000);
  assert.equal(asked.length, 3);
  assert.equal(stream.state, "closed");
  assert.deepEqual(said.states, ["offline", "closed"]);
  assert.equal(said.problems[0].type, "urn:tidegate:client:attempts");
});

test("refusals are final, but for those that time heals", async (t) => {
  for (const [code, final] of [[400, true], [401, true], [403, true], [404, true], [204, true], [408, false], [429, false], [500, false]]) {
    await t.test(String(code), async (t) => {
      const { pass, asked, said, stream } = world(t, status(code), { retry: { min: 10, max: 10 } });
      await pass(1000);
      assert.equal(asked.length === 1, final);
      assert.equal(stream.state, final ? "closed" : "offline");
      assert.equal(said.problems[0]?.status, code === 204 ? undefined : code);
    });
  }
});

test("a page where a stream should be is no stream", async (t) => {
  const { waits, said } = world(t, () => new Response("<html>", { headers: { "Content-Type": "text/html" } }), { retry: { min: 10 } });
  await waits(2);
  assert.equal(said.problems[0].type, "urn:tidegate:client:content-type");
});

test("who is turned away waits as told and counts it as a failure", async (t) => {
  const away = 'retry: 8000\nevent: tidegate:closing\ndata: {"reason":"overloaded"}\n\n';
  const { waits, said, stream } = world(t, () => says(away), { retry: { min: 10, attempts: 3 } });
  const closings = [];
  stream.on("closing", ({ reason }) => closings.push(reason));
  assert.deepEqual(await waits(3), [0, 8000, 8000]);
  assert.deepEqual(closings.slice(0, 2), ["overloaded", "overloaded"]);
  assert.ok(!said.states.includes("open"));
});

test("a handler that fails keeps the others from nothing", async (t) => {
  const failures = [];
  t.mock.method(globalThis, "queueMicrotask", (task) => Promise.resolve().then(task).catch((error) => failures.push(error.message)));
  const { stream, pass } = world(t, () => says("data: 1\n\ndata: 2\n\n"));
  const heard = [];
  stream.on("message", () => {
    throw new Error("mine");
  });
  stream.on("message", (data) => heard.push(data));
  await pass(100);
  assert.deepEqual(heard.slice(0, 2), [1, 2]);
  assert.equal(failures[0], "mine");
});
