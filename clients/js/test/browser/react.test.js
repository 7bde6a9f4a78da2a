// The hooks in an application under StrictMode, which mounts everything twice.
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, site } from "../support/browser.js";
import { gateway, until } from "../support/processes.js";
import { proxy } from "../support/proxy.js";

test("hooks: one connection, the latest handler, other topics, and the end with the component", async (t) => {
  const chromium = await browser(t);
  const origin = await site(t);
  const node = await gateway(t);
  const between = await proxy(t, node.port);
  const url = `${between.url}/v1/events`;
  const page = await chromium.newPage();
  const failures = [];
  page.on("pageerror", (error) => failures.push(error));
  page.on("console", (message) => message.type() === "error" && failures.push(message.text()));
  await node.publish("room:1", "before");

  await page.goto(`${origin}/react`);
  await page.waitForFunction("window.show");
  const shows = (text) => page.waitForFunction((text) => document.getElementById("room")?.textContent === text, text);
  await page.evaluate((url) => window.show({ url, topics: ["room:1"] }), url);
  // Kept events come at once: the handler was there in time, and the first mount's stream took none of them away.
  await shows("open 1");
  assert.equal(between.connections, 1);
  await node.publish("room:1", "a");
  await shows("open 2");
  await node.publish("room:1", "b");
  await shows("open 3");
  assert.deepEqual(await page.evaluate("window.heard"), [["before", 0], ["a", 1], ["b", 2]]);

  await page.evaluate((url) => window.show({ url, topics: ["room:2"] }), url);
  await page.waitForFunction("window.roomStream.state === 'open'");
  await node.publish("room:1", "not asked for any more");
  await node.publish("room:2", "c");
  await shows("open 4");
  assert.deepEqual((await page.evaluate("window.heard")).at(-1), ["c", 3]);
  await until(() => between.connections === 1);

  await page.evaluate("window.show(undefined)");
  await page.waitForSelector("#none");
  assert.equal(await page.evaluate("window.roomStream.state"), "closed");
  await until(() => between.connections === 0);
  assert.deepEqual(failures, []);
});
