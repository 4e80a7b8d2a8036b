import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const web = fileURLToPath(new URL('..', import.meta.url));

/** Builds a copy of the sources that `change` has changed. */
function build(t, change = () => {}) {
  const copy = mkdtempSync(join(tmpdir(), 'web-'));
  t.after(() => rmSync(copy, { recursive: true }));
  for (const part of ['build.mjs', 'package.json', 'tracker', 'consent'])
    cpSync(join(web, part), join(copy, part), { recursive: true });
  symlinkSync(join(web, 'node_modules'), join(copy, 'node_modules'));
  change(copy);
  const { status, stdout } = spawnSync(process.execPath, ['build.mjs'], { cwd: copy, encoding: 'utf8' });
  return { status, stdout, file: (name) => join(copy, 'built', name) };
}

test('the core and the banner are within their budgets, and the table says so', (t) => {
  const { status, stdout, file } = build(t);
  assert.equal(status, 0, stdout);
  for (const [name, budget] of [
    ['s.js', 1228],
    ['s.consent.js', 8192],
  ]) {
    const size = gzipSync(readFileSync(file(name)), { level: 9 }).length;
    assert.ok(size <= budget, `${name} has ${size} bytes`);
    assert.match(stdout, new RegExp(`^${name.replaceAll('.', '\\.')} +\\d+ +${size} +${budget}$`, 'm'));
  }
});

test('the build fails above a budget, and writes nothing', (t) => {
  const grown = `\nsekisho.v = '${randomBytes(200).toString('base64')}';\n`;
  const { status, stdout, file } = build(t, (copy) => appendFileSync(join(copy, 'tracker/core.ts'), grown));
  assert.equal(status, 1);
  assert.match(stdout, /^s\.js .* over budget$/m);
  assert.ok(!existsSync(file('s.js')));
});

test('the version is that of the content', (t) => {
  const version = (change) => readFileSync(build(t, change).file('version'), 'utf8');
  const first = version();
  assert.match(first, /^[0-9a-f]{12}$/);
  assert.equal(version(), first);
  assert.notEqual(
    version((copy) => appendFileSync(join(copy, 'tracker/ad.ts'), '\nself.name;\n')),
    first,
  );
});

test('the core leaves no name on the page but its own', (t) => {
  const source = readFileSync(build(t).file('s.js'), 'utf8');
  assert.match(source, /^\{/);
  assert.doesNotMatch(source, /\bvar\b|\bfunction\b|\bimport[ {]|\bexport\b/);
});
