// What npm would publish.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { size } from "./support/size.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = async (file) => JSON.parse(await readFile(`${root}${file}`, "utf8"));

test("the package has the code, its types, and what says how to use it", async () => {
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: root });
  const packed = JSON.parse(stdout);
  const { files, name } = Array.isArray(packed) ? packed[0] : Object.values(packed)[0];
  const modules = ["connection", "index", "page", "parser", "react", "request", "shared", "source", "stream", "transports", "types"];
  const code = modules.flatMap((module) => [`dist/${module}.d.ts`, `dist/${module}.js`]);
  assert.equal(name, "@tidegate/client");
  assert.deepEqual(files.map(({ path }) => path).sort(), ["LICENSE", "README.md", ...code, "package.json"].sort());
});

test("every entry is there, nothing is needed to run it, and the lock names no host", async () => {
  const { exports, dependencies, sideEffects } = await read("package.json");
  for (const { types, default: code } of Object.values(exports)) {
    await readFile(`${root}${types}`);
    await readFile(`${root}${code}`);
  }
  assert.equal(dependencies, undefined);
  assert.equal(sideEffects, false);
  assert.doesNotMatch(JSON.stringify((await read("package-lock.json")).packages), /"resolved"/);
});

test("it stays small", async (t) => {
  const bytes = await size("index.js");
  t.diagnostic(`${bytes} bytes, minified and gzipped; with the hooks ${await size("react.js")}`);
  assert.ok(bytes < 6000, `${bytes}`);
});
