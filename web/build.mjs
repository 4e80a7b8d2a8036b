// Builds web/built: s.js (the tracker core), s.<module>.js, and version, a hash of them all. Fails above a budget.
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, transform } from 'esbuild';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Bytes after gzip -9. The core's is what every page of a site pays before anything else. */
const budgets = { 's.js': 1228, 's.consent.js': 8192 };

const modules = {
  page: 'tracker/page.ts',
  links: 'tracker/links.ts',
  search: 'tracker/search.ts',
  purchase: 'tracker/purchase.ts',
  ad: 'tracker/ad.ts',
  consent: 'consent/consent.ts',
  bridge: 'consent/bridge.ts',
};

/** Imports a style sheet as its minified text. */
const css = {
  name: 'css',
  setup(on) {
    on.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, 'utf8'), { loader: 'css', minify: true });
      return { contents: code.trim(), loader: 'text' };
    });
  },
};

const files = { 's.js': await core() };
for (const [name, entry] of Object.entries(modules)) files[`s.${name}.js`] = await module(entry);

let over = false;
console.log(`${'file'.padEnd(16)}${'bytes'.padStart(8)}${'gzip -9'.padStart(9)}${'budget'.padStart(8)}`);
for (const [name, text] of Object.entries(files)) {
  const size = gzipSync(text, { level: 9 }).length;
  const budget = budgets[name];
  over ||= size > budget;
  console.log(
    `${name.padEnd(16)}${String(Buffer.byteLength(text)).padStart(8)}${String(size).padStart(9)}${String(budget ?? '').padStart(8)}${size > budget ? '  over budget' : ''}`,
  );
}
// Before anything is written: what does not fit is never served.
if (over) process.exit(1);

await mkdir(here('built'), { recursive: true });
for (const old of await readdir(here('built'))) if (old !== '.keep') await rm(here(`built/${old}`));
const hash = createHash('sha256');
for (const [name, text] of Object.entries(files)) {
  hash.update(`${name}\0${text}\0`);
  await writeFile(here(`built/${name}`), text);
}
await writeFile(here('built/version'), hash.digest('hex').slice(0, 12));

/** A classic script: the core's source is one block, so its names stay inside without a function around it. */
async function core() {
  const { code } = await transform(await readFile(here('tracker/core.ts'), 'utf8'), {
    loader: 'ts',
    minify: true,
    target: 'es2021',
    tsconfigRaw: '{}',
  });
  return code.trim();
}

async function module(entry) {
  const result = await build({
    entryPoints: [here(entry)],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    legalComments: 'none',
    plugins: [css],
  });
  return result.outputFiles[0].text.trim();
}
