// A browser and pages that use the client.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const dist = fileURLToPath(new URL("../../dist", import.meta.url));

/** The system's Chromium, or the one that CHROMIUM names. Tests ends with it. */
export async function browser(t, { ignoreDefaultArgs = [] } = {}) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const launched = await chromium.launch({ executablePath, args: ["--no-sandbox"], ignoreDefaultArgs });
  t.after(() => launched.close());
  return launched;
}

const page = `<!doctype html><title>A page</title><div id="app"></div><script type="module">
import { connect } from "/client/index.js";
// A stream, and what it said: for the tests to look at.
window.listen = (url, options, names = ["chat"]) => {
  const stream = connect(url, options);
  const seen = { stream, data: [], ids: [], states: [], problems: [], resets: [], readies: [] };
  for (const name of names) {
    stream.on(name, (data, { id }) => {
      seen.data.push(data);
      seen.ids.push(id);
    });
  }
  stream.on("state", (state) => seen.states.push(state));
  stream.on("error", (problem) => seen.problems.push(problem));
  stream.on("reset", (reset) => seen.resets.push(reset));
  stream.on("ready", (ready) => seen.readies.push(ready));
  return seen;
};
window.loaded = true;
</script>`;

/** Serves the pages and the built client. */
export async function site(t) {
  const server = createServer(async ({ url }, response) => {
    const { pathname } = new URL(url, "http://site");
    const file = /^\/client\/([a-z]+\.js)$/.exec(pathname)?.[1];
    const type = pathname.endsWith(".js") ? "text/javascript" : "text/html";
    response.setHeader("Content-Type", type);
    if (file) response.end(await readFile(`${dist}/${file}`));
    else if (pathname === "/react-page.js") response.end(await reactPage());
    else response.end(pathname === "/react" ? page.replace("</script>", '</script><script type="module" src="/react-page.js"></script>') : page);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

async function reactPage() {
  const entry = fileURLToPath(new URL("react-page.js", import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false });
  return outputFiles[0].text;
}

/** A tab of that site with a stream: `seen(condition)` waits for what it said. */
export async function tab(context, origin, url, options, names) {
  const tab = await context.newPage();
  await tab.goto(origin);
  await tab.waitForFunction("window.loaded");
  await tab.evaluate(([url, options, names]) => {
    window.seen = window.listen(url, options, names);
  }, [url, options, names]);
  return Object.assign(tab, {
    /** Waits until `condition(seen, arg)` holds there; returns all that was seen. */
    seen: async (condition, arg, timeout = 15_000) => {
      try {
        await tab.waitForFunction(`(${condition})(window.seen, ${JSON.stringify(arg) ?? "undefined"})`, undefined, { timeout });
      } catch (error) {
        throw new Error(`${condition}: ${JSON.stringify(await look(tab))}`, { cause: error });
      }
      return await look(tab);
    },
    look: () => look(tab),
  });
}

const look = (tab) =>
  tab.evaluate(() => {
    const { stream, ...said } = window.seen;
    const { state, transport, role, lastEventId } = stream;
    return { ...said, state, transport, role, lastEventId };
  });

export const isOpen = (seen) => seen.stream.state === "open";
export const has = (seen, count) => seen.data.length >= count;
