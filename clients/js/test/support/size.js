// What the package costs a page, in bytes of minified and compressed code.
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));

export async function size(entry) {
  const { outputFiles } = await build({
    entryPoints: [`${dist}${entry}`],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react"],
    write: false,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const entry of ["index.js", "react.js"]) console.log(`${entry}: ${await size(entry)} bytes, minified and gzipped`);
}
