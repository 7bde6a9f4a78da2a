// Bundles the page into the folder that the gateway embeds. The result is committed, so that building the gateway needs no Node;
// tests/browser checks that it is current.
//
//   node build.mjs                 write it
//   node build.mjs --watch         and again at every change
//   node build.mjs --out FOLDER    somewhere else
import { copyFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as esbuild from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({ options: { watch: { type: 'boolean' }, out: { type: 'string' } } });
const out = path.resolve(values.out ?? path.join(here, '../../crates/server/src/pages/app'));

await mkdir(out, { recursive: true });
for (const file of ['index.html', 'icon.svg']) await copyFile(path.join(here, file), path.join(out, file));

/** @type {esbuild.BuildOptions} */
const options = {
  absWorkingDir: here,
  entryPoints: { app: 'src/main.ts' },
  outdir: out,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['chrome123', 'firefox121', 'safari17.5'], // the first with everything the style sheet asks for
  charset: 'utf8',
  legalComments: 'none',
  logLevel: 'warning',
};
if (values.watch) await (await esbuild.context(options)).watch();
else await esbuild.build(options);
