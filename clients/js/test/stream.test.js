// A stream over fetch to a real gateway: what comes, and what comes after the connection was lost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../dist/index.js";
import { gateway } from "./support/processes.js";
import { proxy } from "./support/proxy.js";
import { record } from "./support/record.js";

const quick = { retry: { min: 20, max: 200 } };

function opened(t, url, options) {
  const stream = connect(`${url}/v1/events`, { topics: ["room:1"], ...quick, ...options });
  t.after(() => stream.close());
  return { stream, seen: record(stream) };
}

test("events come as they were published, parsed where they are JSON", async (t) => {
  const { url, publish } = await gateway(t);
  const { stream, seen } = opened(t, url, { params: { userId: "alice" } });
  const all = [];
  let ready;
  stream.on("*", (data, { event }) => all.push([event, data]));
  stream.on("ready", (said) => {
    ready = said;
  });
  assert.equal(stream.state, "connecting");
  await seen.until(({ states }) => states.at(-1) === "open");
  assert.equal(ready.user, "alice");
  await publish("room:1", { text: "hello" });
  await publish("room:1", "two\nlines");
  await publish("room:1", 3, { event: "other" });
  const id = await publish("room:1", [null]);
  await seen.until(({ data }) => data.length === 3);
  assert.deepEqual(seen.data, [{ text: "hello" }, "two\nlines", [null]]);
  assert.deepEqual(all.map(([event]) => event), ["chat", "chat", "other", "chat"]);
  assert.equal(seen.ids.at(-1), id);
  assert.equal(stream.lastEventId, id);
  assert.equal(stream.transport, "fetch");
});

test("a connection that is lost resumes: nothing is missed, nothing comes twice", async (t) => {
  const node = await gateway(t);
  const between = await proxy(t, node.port);
  const { stream, seen } = opened(t, between.url);
  await seen.until(({ states }) => states.at(-1) === "open");
  let sent = 0;
  for (let round = 0; round < 5; round++) {
    await node.publish("room:1", sent++);
    await node.publish("room:1", sent++);
    await seen.until(({ data }) => data.length >= sent - 1);
    if (round % 2) stream.cut();
    else between.cut();
    await node.publish("room:1", sent++);
    await seen.until(({ data, states }) => data.length >= sent && states.at(-1) === "open");
  }
  assert.deepEqual(seen.data, [...Array(sent).keys()]);
  assert.deepEqual(seen.problems, []);
});

test("other topics go on from the same place", async (t) => {
  const { url, publish } = await gateway(t);
  const { stream, seen } = opened(t, url);
  await seen.until(({ states }) => states.at(-1) === "open");
  await publish("room:1", 1);
  await seen.until(({ data }) => data.length === 1);
  stream.topics(["room:2"]);
  await publish("room:2", 2);
  await seen.until(({ data }) => data.length === 2);
  stream.topics(["room:1", "room:2"]);
  await publish("room:1", 3);
  await seen.until(({ data }) => data.length === 3);
  assert.deepEqual(seen.data, [1, 2, 3]);
});

test("a thousand topics, which no address would hold", async (t) => {
  const { url, publish } = await gateway(t);
  const topics = Array.from({ length: 1000 }, (_, n) => `room:with-a-long-name-${n}`);
  const { stream, seen } = opened(t, url, { topics });
  await seen.until(({ states }) => states.at(-1) === "open");
  await publish(topics[999], 1);
  await seen.until(({ data }) => data.length === 1);
  stream.cut();
  await publish(topics[0], 2);
  await seen.until(({ data }) => data.length === 2);
});

test("an address that is none is told at once", () => {
  assert.throws(() => connect("/v1/events"), TypeError);
  assert.throws(() => connect("http://[/v1/events"), TypeError);
});

test("a closed stream says nothing more, and opens again where it was", async (t) => {
  const { url, publish } = await gateway(t);
  const { stream, seen } = opened(t, url);
  await seen.until(({ states }) => states.at(-1) === "open");
  stream.close();
  assert.equal(stream.state, "closed");
  await publish("room:1", 1);
  stream.open();
  await seen.until(({ data }) => data.length === 1);
  stream.on("chat", () => stream.close());
  await publish("room:1", 2);
  await seen.until(({ data, states }) => data.length === 2 && states.at(-1) === "closed");
});
