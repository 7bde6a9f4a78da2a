// What networks do to a stream: silence, proxies that keep what comes, gateways that go and come.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../dist/index.js";
import { freePort, gateway, redis } from "./support/processes.js";
import { proxy } from "./support/proxy.js";
import { record } from "./support/record.js";

const quick = { retry: { min: 20, max: 200 } };

function opened(t, url, options) {
  const stream = connect(`${url}/v1/events`, { topics: ["room:1"], ...quick, ...options });
  t.after(() => stream.close());
  return { stream, seen: record(stream) };
}

test("a connection that says nothing any more is given up, and what it kept comes with the next", async (t) => {
  const node = await gateway(t, { env: { TIDEGATE_STREAM__HEARTBEAT: "1s" } });
  const between = await proxy(t, node.port);
  const { seen, stream } = opened(t, between.url, { watchdog: 1500, openTimeout: 500, transport: "fetch" });
  await seen.until(({ states }) => states.at(-1) === "open");
  const id = stream.lastEventId;
  between.be("silent");
  await node.publish("room:1", 1);
  await seen.until(({ states }) => states.at(-1) === "offline");
  assert.equal(stream.lastEventId, id);
  between.be("pass");
  await seen.until(({ data }) => data.length === 1);
  assert.deepEqual(seen.states.filter((state) => state !== "offline"), ["open", "connecting", "open"]);
});

test("heartbeats are a sign of life", async (t) => {
  const node = await gateway(t, { env: { TIDEGATE_STREAM__HEARTBEAT: "1s" } });
  const { seen, stream } = opened(t, node.url, { watchdog: 1500 });
  let beats = "";
  stream.on("raw", (text) => {
    beats += text;
  });
  await seen.until(({ states }) => states.at(-1) === "open");
  while (beats.split("\n:\n").length < 4) await new Promise((go) => setTimeout(go, 50));
  assert.deepEqual(seen.states, ["open"]);
});

test("where a proxy keeps streams back it polls, and goes back to a stream that comes through", async (t) => {
  const node = await gateway(t);
  const between = await proxy(t, node.port);
  between.be("buffer");
  const { seen, stream } = opened(t, between.url, { openTimeout: 300, pollFor: 500 });
  await seen.until(({ states }) => states.at(-1) === "open");
  assert.equal(stream.transport, "poll");
  let sent = 0;
  while (sent < 20) {
    await node.publish("room:1", sent++);
    await node.publish("room:1", sent++);
    await seen.until(({ data }) => data.length === sent);
  }
  between.be("pass");
  while (stream.transport === "poll") {
    await node.publish("room:1", sent++);
    await seen.until(({ data }) => data.length === sent);
  }
  await seen.until(({ states }) => states.at(-1) === "open");
  await node.publish("room:1", { last: true });
  await seen.until(({ data }) => data.at(-1).last);
  assert.deepEqual(seen.data.slice(0, -1), [...Array(sent).keys()]);
  assert.deepEqual(seen.states, ["open"]);
});

test("long polling by choice: resumes, replays, and says data as a stream does", async (t) => {
  const { url, publish } = await gateway(t);
  const texts = ["text", '"quoted"', "5", { deep: [1, null] }, null];
  for (const text of texts) await publish("room:1", text);
  const polled = opened(t, url, { transport: "poll", replay: 10 });
  const streamed = opened(t, url, { transport: "fetch", replay: 10 });
  await polled.seen.until(({ data }) => data.length === texts.length);
  await streamed.seen.until(({ data }) => data.length === texts.length);
  assert.deepEqual(polled.seen.data, streamed.seen.data);
  assert.deepEqual(polled.seen.ids, streamed.seen.ids);
  polled.stream.cut();
  await publish("room:1", "after");
  await polled.seen.until(({ data }) => data.at(-1) === "after");
  assert.equal(polled.seen.data.length, texts.length + 1);
});

test("a gateway dies, and the stream goes on at the one that comes after it", async (t) => {
  const store = await redis(t);
  const port = await freePort();
  const first = await gateway(t, { port, redis: store });
  const other = await gateway(t, { redis: store });
  const { seen } = opened(t, first.url);
  await seen.until(({ states }) => states.at(-1) === "open");
  await other.publish("room:1", 1);
  await seen.until(({ data }) => data.length === 1);
  await first.stop();
  await other.publish("room:1", 2);
  await seen.until(({ states }) => states.at(-1) === "offline");
  await gateway(t, { port, redis: store });
  await other.publish("room:1", 3);
  await seen.until(({ data }) => data.length === 3);
  assert.deepEqual(seen.data, [1, 2, 3]);
  assert.deepEqual(seen.resets, []);
});

test("a gateway that drains says so, and the client comes back", async (t) => {
  const store = await redis(t);
  const port = await freePort();
  const first = await gateway(t, { port, redis: store });
  const { seen } = opened(t, first.url);
  await seen.until(({ states }) => states.at(-1) === "open");
  await first.stop("SIGTERM");
  const second = await gateway(t, { port, redis: store });
  await seen.until(({ states }) => states.at(-1) === "open");
  await second.publish("room:1", 1);
  await seen.until(({ data }) => data.length === 1);
  assert.deepEqual(seen.closings, [{ reason: "drain" }]);
});

test("a place that can't be continued is told as a reset, over streams and polls", async (t) => {
  const { url, publish } = await gateway(t, { env: { TIDEGATE_HISTORY__SIZE: "2" } });
  const { stream, seen } = opened(t, url);
  await seen.until(({ states }) => states.at(-1) === "open");
  const { lastEventId } = stream;
  for (let n = 0; n < 400; n++) await publish("room:1", n);
  const late = opened(t, url, { lastEventId });
  await late.seen.until(({ resets }) => resets.length === 1);
  assert.deepEqual(late.seen.resets, [{ topics: ["room:1"], reason: "trimmed" }]);
  const polled = opened(t, url, { lastEventId: "nonsense", transport: "poll" });
  await polled.seen.until(({ resets }) => resets.length === 1);
  assert.deepEqual(polled.seen.resets[0].topics, ["room:1"]);
});
