// Other people's clients, as their documentation has them used: they receive, lose their connection and their gateway, and have every event once.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "../../clients/js/node_modules/esbuild/lib/main.js";
import { browser, site } from "../../clients/js/test/support/browser.js";
import { gateway, redis, until } from "../../clients/js/test/support/processes.js";
import { proxy } from "../../clients/js/test/support/proxy.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = `${here}.venv/bin/python`;

const programs = {
  "node's EventSource": [process.execPath, "--experimental-eventsource", "--no-warnings", "programs/node.js"],
  "undici's EventSource": [process.execPath, "--no-warnings", "programs/undici.js"],
  "eventsource of npm": [process.execPath, "programs/eventsource.js"],
  "httpx-sse": [python, "programs/with_httpx_sse.py"],
  "sseclient-py": [python, "programs/with_sseclient.py"],
};

/** Runs it; `lines` grows with what it reports. */
function run(t, [command, ...args], url) {
  const child = spawn(command, [...args, url], { cwd: here, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.pid && child.kill());
  const lines = [];
  createInterface(child.stdout).on("line", (line) => lines.push(JSON.parse(line)));
  return async () => {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}`);
    return lines;
  };
}

/** In a page: `fetch` and what it asks for beforehand are the browser's. */
async function runInPage(t, url) {
  const entry = `${here}programs/fetch-event-source.js`;
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false });
  const page = await (await browser(t)).newPage();
  await page.goto(await site(t));
  await page.addScriptTag({ type: "module", content: outputFiles[0].text });
  await page.waitForFunction("window.follow");
  await page.evaluate((url) => void window.follow(url), url);
  return () => page.evaluate("window.lines");
}

async function story(t, client) {
  const store = await redis(t);
  const [first, second] = [await gateway(t, { redis: store }), await gateway(t, { redis: store })];
  const balancer = await proxy(t, first.port, second.port);
  const lines = await client(`${balancer.url}/v1/events?topic=room:1`);
  const all = async (condition) => await until(async () => condition(await lines()));
  const events = (said) => said.filter(({ id }) => id);
  const opened = (said) => said.filter(({ open }) => open).length;
  const ids = [];
  const publish = async (count, node) => {
    for (let n = 0; n < count; n++) ids.push(await node.publish("room:1", { n: ids.length, text: "two\nlines, é" }));
  };

  await all((said) => opened(said) === 1);
  await publish(5, first);
  await all((said) => events(said).length === ids.length);
  balancer.cut();
  await publish(5, second);
  await all((said) => events(said).length === ids.length && opened(said) === 2);
  await publish(3, second);
  await first.stop();
  await publish(5, second);
  await all((said) => events(said).length === ids.length && opened(said) >= 3);
  await publish(5, second);
  await all((said) => events(said).length >= ids.length);

  const said = events(await lines());
  assert.deepEqual(said.map(({ id }) => id), ids);
  assert.deepEqual(said.map(({ data }) => data.n), ids.map((_, n) => n));
  assert.deepEqual((await lines()).filter(({ reset }) => reset), []);
}

for (const [name, command] of Object.entries(programs)) {
  test(name, (t) => story(t, (url) => run(t, command, url)));
}

test("@microsoft/fetch-event-source, in a page of another origin", (t) => story(t, (url) => runInPage(t, url)));
