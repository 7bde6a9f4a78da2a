// One stream among tabs: who has it, who takes over, and that each tab has every event once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, has, isOpen, site, tab } from "../support/browser.js";
import { gateway, until } from "../support/processes.js";
import { proxy } from "../support/proxy.js";

const options = { topics: ["room:1"], retry: { min: 50, max: 500 }, shared: true };
const numbers = (count, from = 0) => [...Array(count).keys()].map((n) => n + from);

test("tabs that share", async (t) => {
  const chromium = await browser(t);
  const origin = await site(t);

  /** Tabs of one browser, and the connections that they have together. */
  async function tabs(t) {
    const node = await gateway(t);
    const between = await proxy(t, node.port);
    const context = await chromium.newContext();
    t.after(() => context.close());
    const url = `${between.url}/v1/events`;
    return { node, between, context, open: (more) => tab(context, origin, url, { ...options, ...more }) };
  }

  await t.test("have one connection, and the next leader goes on where the last one was", async (t) => {
    const { node, between, open } = await tabs(t);
    const all = [await open(), await open(), await open()];
    for (const one of all) await one.seen(isOpen);
    assert.deepEqual(await Promise.all(all.map(async (one) => (await one.look()).role)), ["leader", "follower", "follower"]);
    // One stream; other connections are kept from loading nothing at all.
    assert.equal(between.connections, 1);
    assert.equal((await all[2].look()).readies.length, 1);
    let sent = 0;
    while (all.length > 1) {
      for (let n = 0; n < 20; n++) await node.publish("room:1", sent++);
      // In the middle of it: what the leader said last may be on its way.
      const publishing = (async () => {
        for (let n = 0; n < 40; n++) await node.publish("room:1", sent++);
      })();
      await all.shift().close();
      await publishing;
      for (const one of all) assert.deepEqual((await one.seen(has, sent)).data, numbers(sent));
      await all[0].seen((seen) => seen.stream.role === "leader");
      await until(() => between.connections === 1);
    }
    const [last] = all;
    assert.equal((await last.look()).lastEventId, (await last.look()).ids.at(-1));
  });

  await t.test("a stream that its tab closes passes on likewise; a follower may cut and reconnect", async (t) => {
    const { node, open } = await tabs(t);
    const [one, two] = [await open(), await open()];
    await two.seen(isOpen);
    await two.evaluate(() => window.seen.stream.cut());
    await two.seen((seen) => seen.states.join().endsWith("open,connecting,open"));
    await node.publish("room:1", 0);
    await one.seen(has, 1);
    await one.evaluate(() => window.seen.stream.close());
    await node.publish("room:1", 1);
    await two.seen((seen) => seen.stream.role === "leader" && seen.stream.state === "open");
    await node.publish("room:1", 2);
    assert.deepEqual((await two.seen(has, 3)).data, [0, 1, 2]);
    assert.deepEqual((await one.look()).data, [0]);
    await one.evaluate(() => window.seen.stream.open());
    assert.deepEqual((await one.seen(has, 3)).data, [0, 1, 2]);
    assert.equal((await one.look()).role, "follower");
  });

  await t.test("a tab that brings a place of its own, or wants a replay, gets what lies between", async (t) => {
    const { node, open } = await tabs(t);
    const ids = [];
    for (let n = 0; n < 300; n++) ids.push(await node.publish("room:1", n));
    const leader = await open();
    await leader.seen(isOpen);
    let sent = 300;
    const publishing = (async () => {
      for (; sent < 400; sent++) await node.publish("room:1", sent);
    })();
    const [placed, replayed, live] = await Promise.all([open({ lastEventId: ids[9] }), open({ replay: 1000 }), open()]);
    await publishing;
    assert.deepEqual((await placed.seen(has, 390)).data, numbers(390, 10));
    assert.deepEqual((await replayed.seen(has, 400)).data, numbers(400));
    await node.publish("room:1", "last");
    for (const one of [leader, placed, replayed, live]) {
      const { data } = await one.seen((seen) => seen.data.at(-1) === "last");
      assert.deepEqual(data.slice(0, -1), numbers(data.length - 1, 401 - data.length));
      await one.seen(isOpen);
    }
  });

  await t.test("a leader that shows no sign of life is relieved", async (t) => {
    const { node, context, open } = await tabs(t);
    const one = await open();
    await one.seen(isOpen);
    const name = await one.evaluate(async () => (await navigator.locks.query()).held[0].name);
    await one.close();
    // It has the lock and says nothing.
    const stuck = await context.newPage();
    await stuck.goto(origin);
    await stuck.evaluate((name) => void navigator.locks.request(name, () => new Promise(() => {})), name);
    const [two, three] = [await open(), await open()];
    await two.seen(isOpen);
    await three.seen(isOpen);
    for (let n = 0; n < 20; n++) await node.publish("room:1", n);
    assert.deepEqual((await two.seen(has, 20)).data, numbers(20));
    assert.deepEqual((await three.seen(has, 20)).data, numbers(20));
    assert.deepEqual([(await two.look()).role, (await three.look()).role].sort(), ["follower", "leader"]);
  });

  await t.test("a leader that was frozen follows the one that took its place", async (t) => {
    const { node, open } = await tabs(t);
    const quick = { watchdog: 500, retry: { min: 50, max: 250 } };
    const [one, two] = [await open(quick), await open(quick)];
    await two.seen(isOpen);
    let sent = 0;
    for (; sent < 10; sent++) await node.publish("room:1", sent);
    await two.seen(has, sent);
    const frozen = one.evaluate(() => {
      for (const until = Date.now() + 6000; Date.now() < until; );
    });
    const publishing = (async () => {
      for (; sent < 200; sent++) {
        await node.publish("room:1", sent);
        await new Promise((go) => setTimeout(go, 40));
      }
    })();
    await two.seen((seen) => seen.stream.role === "leader");
    await frozen;
    await publishing;
    for (const each of [one, two]) assert.deepEqual((await each.seen(has, sent)).data, numbers(sent));
    assert.deepEqual([(await one.look()).role, (await two.look()).role], ["follower", "leader"]);
  });

  await t.test("names keep apart, topics too; a refusal is every tab's", async (t) => {
    const { between, open } = await tabs(t);
    const all = [await open(), await open({ shared: "bob" }), await open({ topics: ["room:2"] })];
    for (const one of all) assert.equal((await one.seen(isOpen)).role, "leader");
    assert.equal(between.connections, 3);

    // Both wait for an answer that only the leader gets.
    between.be("buffer");
    const wrong = [await open({ topics: ["a b"] }), await open({ topics: ["a b"] })];
    between.be("pass");
    await wrong[1].evaluate(() => window.seen.stream.reconnect());
    for (const one of wrong) {
      const { problems } = await one.seen((seen) => seen.stream.state === "closed");
      assert.deepEqual(problems.map(({ status }) => status), [400]);
    }
  });

  await t.test("the same relative address on pages of two gateways' paths is not the same stream", async (t) => {
    const context = await chromium.newContext();
    t.after(() => context.close());
    const both = [];
    for (const name of ["a", "b"]) {
      const node = await gateway(t);
      // As a proxy does that has each gateway under a path of one site.
      await context.route(`${origin}/${name}/v1/events*`, (route) => {
        const { search } = new URL(route.request().url());
        return route.continue({ url: `http://127.0.0.1:${node.port}/v1/events${search}` });
      });
      both.push({ node, tab: await tab(context, `${origin}/${name}/`, "v1/events", options) });
    }
    for (const { tab } of both) assert.equal((await tab.seen(isOpen)).role, "leader");
    for (const [n, { node }] of both.entries()) await node.publish("room:1", n);
    for (const [n, { tab }] of both.entries()) assert.deepEqual((await tab.seen(has, 1)).data, [n]);
  });

  await t.test("where tabs can't share, each has its own", async (t) => {
    const { node, between, context, open } = await tabs(t);
    await context.addInitScript(() => {
      delete window.BroadcastChannel;
    });
    const all = [await open(), await open()];
    for (const one of all) assert.equal((await one.seen(isOpen)).role, null);
    assert.equal(between.connections, 2);
    await node.publish("room:1", 0);
    for (const one of all) await one.seen(has, 1);
  });
});
