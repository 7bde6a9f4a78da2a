// A page's stream over the browser's own EventSource: networks that go, gateways that die, answers that end an EventSource for good.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, has, isOpen, site, tab } from "../support/browser.js";
import { API_KEY as key, freePort, gateway, keyed, redis, token } from "../support/processes.js";
import { proxy } from "../support/proxy.js";

const options = { topics: ["room:1"], retry: { min: 50, max: 500 } };

test("in a page", async (t) => {
  const chromium = await browser(t);
  const origin = await site(t);

  await t.test("the browser's network goes and comes, and nothing is missed", async (t) => {
    const node = await gateway(t);
    const context = await chromium.newContext();
    t.after(() => context.close());
    const page = await tab(context, origin, `${node.url}/v1/events`, options);
    assert.equal((await page.seen(isOpen)).transport, "eventsource");
    await node.publish("room:1", 1);
    await page.seen(has, 1);
    await context.setOffline(true);
    await page.seen((seen) => seen.stream.state === "offline");
    await node.publish("room:1", 2);
    await context.setOffline(false);
    await page.seen(has, 2);
    await node.publish("room:1", 3);
    const { data, states, problems } = await page.seen(has, 3);
    assert.deepEqual(data, [1, 2, 3]);
    assert.deepEqual(states.filter((state, n) => state !== states[n - 1]), ["open", "offline", "connecting", "open"]);
    assert.deepEqual(problems, []);
  });

  await t.test("a cut connection: the browser resumes by itself first, then our own attempts do", async (t) => {
    const node = await gateway(t);
    const between = await proxy(t, node.port);
    const context = await chromium.newContext();
    t.after(() => context.close());
    const page = await tab(context, origin, `${between.url}/v1/events`, options);
    await page.seen(isOpen);
    let sent = 0;
    for (let round = 0; round < 4; round++) {
      await node.publish("room:1", sent++);
      await page.seen(has, sent);
      if (round % 2) between.be("refuse");
      const back = round % 2 ? undefined : between.asked();
      between.cut();
      await node.publish("room:1", sent++);
      // The browser's own reconnect has the header.
      if (back) assert.match(await back, /last-event-id: /i);
      else {
        await page.seen((seen) => seen.stream.state === "offline");
        const asked = between.asked();
        between.be("pass");
        assert.match(await asked, /[?&]last_event_id=/);
      }
      await page.seen(has, sent);
    }
    const { data } = await page.look();
    assert.deepEqual(data, [...Array(sent).keys()]);
  });

  await t.test("a gateway is killed and another starts in its place", async (t) => {
    const store = await redis(t);
    const port = await freePort();
    const other = await gateway(t, { redis: store });
    const first = await gateway(t, { port, redis: store });
    const context = await chromium.newContext();
    t.after(() => context.close());
    const page = await tab(context, origin, `${first.url}/v1/events`, { ...options, transport: "eventsource" });
    await page.seen(isOpen);
    await first.publish("room:1", 1);
    await page.seen(has, 1);
    await first.stop();
    await other.publish("room:1", 2);
    await page.seen((seen) => seen.stream.state === "offline");
    await gateway(t, { port, redis: store });
    await other.publish("room:1", 3);
    const { data, resets } = await page.seen(has, 3);
    assert.deepEqual(data, [1, 2, 3]);
    assert.deepEqual(resets, []);
  });

  await t.test("an answer that ends an EventSource for good does not end the stream", async (t) => {
    const node = await gateway(t);
    const between = await proxy(t, node.port);
    const context = await chromium.newContext();
    t.after(() => context.close());
    const page = await tab(context, origin, `${between.url}/v1/events`, options);
    await page.seen(isOpen);
    await node.publish("room:1", 1);
    await page.seen(has, 1);
    between.be("502");
    between.cut();
    const { problems } = await page.seen((seen) => seen.problems.length > 1);
    assert.equal(problems[0].status, 502);
    await node.publish("room:1", 2);
    between.be("pass");
    const { data } = await page.seen(has, 2);
    assert.deepEqual(data, [1, 2]);
  });

  await t.test("heartbeats that a page can see: their absence is a connection that is dead", async (t) => {
    const node = await gateway(t, { env: { TIDEGATE_STREAM__HEARTBEAT: "1s" } });
    const between = await proxy(t, node.port);
    const context = await chromium.newContext();
    t.after(() => context.close());
    const page = await tab(context, origin, `${between.url}/v1/events`, { ...options, watchdog: 1600, openTimeout: 500 });
    await page.seen(isOpen);
    await page.evaluate(() => {
      window.seen.stream.cut();
      window.since = Date.now();
    });
    // Longer than the watchdog, in which only heartbeats come.
    await page.waitForFunction("Date.now() - window.since > 4000");
    const { states } = await page.look();
    assert.deepEqual(states, ["open", "connecting", "open"]);
    between.be("silent");
    await page.seen((seen) => seen.stream.state === "offline");
    await node.publish("room:1", 1);
    between.be("pass");
    assert.deepEqual((await page.seen(has, 1)).data, [1]);
  });

  await t.test("where nothing comes through it polls", async (t) => {
    const node = await gateway(t);
    const between = await proxy(t, node.port);
    between.be("buffer");
    const context = await chromium.newContext();
    t.after(() => context.close());
    const page = await tab(context, origin, `${between.url}/v1/events`, { ...options, openTimeout: 500 });
    assert.equal((await page.seen(isOpen)).transport, "poll");
    await node.publish("room:1", 1);
    await node.publish("room:1", 2);
    const { data } = await page.seen(has, 2);
    assert.deepEqual(data, [1, 2]);
  });

  await t.test("a handler for everything, or for the raw text, takes the stream to fetch", async (t) => {
    const node = await gateway(t);
    const context = await chromium.newContext();
    t.after(() => context.close());
    const page = await tab(context, origin, `${node.url}/v1/events`, options);
    await page.seen(isOpen);
    await page.evaluate(() => window.seen.stream.on("later", (data) => window.seen.data.push(data)));
    await node.publish("room:1", 1, { event: "later" });
    assert.equal((await page.seen(has, 1)).transport, "eventsource");
    await page.evaluate(() => window.seen.stream.on("*", (data) => window.seen.data.push(data)));
    await page.seen((seen) => seen.stream.transport === "fetch" && seen.stream.state === "open");
    await node.publish("room:1", 2, { event: "unheard of" });
    assert.deepEqual((await page.seen(has, 2)).data, [1, 2]);
  });

  await t.test("from another origin with a cookie, and the reason where it is refused", async (t) => {
    const node = await gateway(t, { env: { ...keyed, TIDEGATE_CORS__ORIGINS: JSON.stringify([origin]) } });
    const context = await chromium.newContext();
    t.after(() => context.close());
    await context.addCookies([{ name: "tidegate_token", value: await token("alice"), url: node.url, httpOnly: true }]);
    const page = await tab(context, origin, `${node.url}/v1/events`, { ...options, withCredentials: true });
    const { readies } = await page.seen(isOpen);
    assert.equal(readies[0].user, "alice");
    await node.publish("room:1", 1, { key });
    assert.equal((await page.seen(has, 1)).transport, "eventsource");

    const without = await tab(context, origin, `${node.url}/v1/events`, options);
    const { problems, state } = await without.seen((seen) => seen.problems.length > 0);
    assert.equal(state, "closed");
    assert.equal(problems[0].type, "urn:tidegate:problem:unauthenticated");

    const mine = await token("bob");
    const headers = await tab(context, origin, `${node.url}/v1/events`, { ...options, token: mine });
    const told = await headers.seen(isOpen);
    assert.deepEqual([told.transport, told.readies[0].user], ["fetch", "bob"]);
  });
});

test("a page that is left closes its stream, and one that comes back out of the cache goes on", async (t) => {
  const chromium = await browser(t, { ignoreDefaultArgs: ["--disable-back-forward-cache"] });
  const origin = await site(t);
  const node = await gateway(t);
  const between = await proxy(t, node.port);
  const context = await chromium.newContext();
  for (const shared of [false, true]) {
    const page = await tab(context, origin, `${between.url}/v1/events`, { ...options, shared });
    await page.seen(isOpen);
    const id = await node.publish("room:1", 1);
    await page.seen((seen, id) => seen.stream.lastEventId === id, id);
    await page.evaluate(() => {
      window.addEventListener("pageshow", ({ persisted }) => {
        window.persisted = persisted;
      });
    });
    await page.goto("about:blank");
    const { until } = await import("../support/processes.js");
    await until(() => between.connections === 0);
    await node.publish("room:1", 2);
    await page.goBack({ waitUntil: "commit" });
    await page.waitForFunction("window.persisted", undefined, { timeout: 5000 });
    const { data } = await page.seen(has, 2);
    assert.deepEqual(data, [1, 2]);
    await page.close();
  }
});
