// The report page in a real browser, over invented answers (report/stage): with axe in every state, in both languages,
// light and dark; on a narrow screen; without a script; by keyboard only.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const texts = Object.fromEntries(
  ['ja', 'en'].map((lang) => [
    lang,
    JSON.parse(readFileSync(new URL(`../report/messages/${lang}.json`, import.meta.url))),
  ]),
);

let stage;
let browser;
let base;
let key;

before(async () => {
  stage = spawn('go', ['run', './report/stage/serve'], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = await once(stage.stdout, 'data');
  [base, key] = String(line).trim().split(' ');
  base = base.replace('ja/', '');
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
  });
});
after(async () => {
  await browser?.close();
  if (stage && stage.exitCode === null) {
    stage.stdin.end();
    await once(stage, 'exit');
  }
});

/** A reader's own browser; what its pages complain of fails the test. */
async function open(t, lang, options = {}) {
  const context = await browser.newContext({ locale: lang, reducedMotion: 'reduce', ...options });
  const faults = [];
  context.on('console', (m) => {
    // A refused report is answered with its status, which Chromium tells as an error; and it would have a name in every
    // form with a password, which a key does not come with.
    if (!/Failed to load resource: the server responded with a status of 4|Password forms should have/.test(m.text()))
      faults.push(m.text());
  });
  context.on('weberror', (e) => faults.push(String(e.error())));
  t.after(async () => {
    await context.close();
    assert.deepEqual(faults, [], 'the page had errors');
  });
  return { context, page: await context.newPage() };
}

async function signIn(page, lang) {
  await page.goto(`${base}${lang}/`);
  await page.getByLabel(texts[lang]['enter.key']).fill(key);
  await page.getByRole('button', { name: texts[lang]['enter.button'] }).click();
  await page.getByRole('button', { name: texts[lang]['nav.out'] }).waitFor();
}

const at = (lang, query) => `${base}${lang}/?site=shop&purpose=usage_based_development&${query}`;

/** Pages as their readers come to see them. */
const states = {
  numbers: 'report=overview&compare=previous_year',
  series: 'report=timeseries&period=28&compare=previous_period',
  'series by name': 'report=operation_adoption',
  ranking: 'report=pages&compare=previous_period&limit=10',
  filtered: 'report=devices&d=country&o=is&v=JP&segment=japan',
  money: 'report=purchases',
  funnel: 'report=funnel&p.step=page:/list&p.step=operation:cart_add&p.step=purchase',
  cohorts: 'report=retention&p.unit=week&period=90',
  'rows within a row': 'report=live',
  withheld: 'report=searches',
  empty: 'report=ads',
  error: 'report=funnel',
  'dates of their own': 'report=pages&period=custom&from=2026-11-01&to=2026-11-02',
};

/**
 * What axe finds by every rule, best practices too. What it cannot tell is no pass, but for the colours of texts in
 * pictures, of which it never can: those are measured here against what the picture lies on.
 */
async function violations(page) {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations: found, incomplete } = await axe.run(document);
    const inPicture = (node) => document.querySelector(node.target.flat().join(' ')).closest('svg[role=img]');
    for (const v of incomplete)
      found.push({ id: v.id, nodes: v.nodes.filter((n) => v.id !== 'color-contrast' || !inPicture(n)) });
    const luminance = (colour) => {
      const parts = colour
        .match(/[\d.]+/g)
        .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const faint = [...document.querySelectorAll('svg[role=img] text')].filter((el) => {
      const [front, back] = [getComputedStyle(el).fill, getComputedStyle(el.closest('figure')).backgroundColor].map(
        luminance,
      );
      return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05) < 4.5;
    });
    return [
      ...found
        .filter((v) => v.nodes.length)
        .map((v) => `${v.id}: ${v.nodes.map((n) => n.target.flat().join(' ')).join(', ')}`),
      ...faint.map((el) => `faint: ${el.textContent}`),
    ];
  });
}

/** How far the page scrolls sideways, in CSS pixels. */
const sideways = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

for (const lang of ['ja', 'en']) {
  describe(lang, () => {
    test('axe finds nothing in any state, light and dark', async (t) => {
      const { page } = await open(t, lang);
      const look = async (state) => {
        for (const colorScheme of ['light', 'dark']) {
          await page.emulateMedia({ colorScheme });
          assert.deepEqual(await violations(page), [], `${state}, ${colorScheme}`);
        }
      };
      await page.goto(`${base}${lang}/`);
      await look('sign in');
      await page.getByLabel(texts[lang]['enter.key']).fill('sk_wrong');
      await page.keyboard.press('Enter');
      await page.getByText(texts[lang]['refused.key']).waitFor();
      await look('a key that is none');
      await page.goto(`${base}${lang}/nothing`);
      await look('not found');
      await signIn(page, lang);
      await look('start');
      for (const [state, query] of Object.entries(states)) {
        await page.goto(at(lang, query));
        await page.locator('details').evaluateAll((all) => all.map((el) => Object.assign(el, { open: true })));
        await look(state);
      }
    });

    test('on 320 pixels nothing but a table scrolls sideways, and pictures keep their texts', async (t) => {
      const { page } = await open(t, lang, { viewport: { width: 320, height: 640 } });
      await page.goto(`${base}${lang}/`);
      assert.equal(await sideways(page), 0, 'sign in');
      await signIn(page, lang);
      for (const [state, query] of Object.entries(states)) {
        await page.goto(at(lang, query));
        await page.locator('details').evaluateAll((all) => all.map((el) => Object.assign(el, { open: true })));
        assert.equal(await sideways(page), 0, state);
        const pictures = await page.locator('svg[role=img]').evaluateAll((all) =>
          all.map((svg) => {
            const box = svg.getBoundingClientRect();
            const shown = [...svg.querySelectorAll('text')].filter((el) => getComputedStyle(el).display !== 'none');
            const boxes = shown.map((el) => el.getBoundingClientRect());
            const lines = Object.values(Object.groupBy(boxes, (b) => Math.round(b.top)));
            return {
              least: Math.min(...shown.map((el) => Number.parseFloat(getComputedStyle(el).fontSize))),
              outside: boxes.filter((b) => b.left < box.left - 1 || b.right > box.right + 1).length,
              overlaps: lines.filter((line) =>
                line.some((a, i) => line.some((b, j) => j > i && a.left < b.right && b.left < a.right)),
              ).length,
            };
          }),
        );
        for (const { least, outside, overlaps } of pictures) {
          assert.ok(least >= 12, `${state}: texts of ${least} px`);
          assert.equal(outside, 0, `${state}: texts beyond the picture`);
          assert.equal(overlaps, 0, `${state}: texts over each other`);
        }
      }
    });

    test('a keyboard is enough, and no script is needed', async (t) => {
      const { page } = await open(t, lang, { javaScriptEnabled: false, viewport: { width: 1280, height: 900 } });
      const tab = async (reached) => {
        for (let i = 0; i < 60; i++) {
          await page.keyboard.press('Tab');
          if (await reached.evaluate((el) => el === document.activeElement)) {
            const { width, style } = await reached.evaluate((el) => ({
              width: Number.parseFloat(getComputedStyle(el).outlineWidth),
              style: getComputedStyle(el).outlineStyle,
            }));
            assert.ok(width >= 2 && style !== 'none', 'the focus cannot be seen');
            return;
          }
        }
        assert.fail(`not reached: ${reached}`);
      };
      await page.goto(`${base}${lang}/`);
      await tab(page.getByText(texts[lang]['nav.skip'], { exact: true }));
      await tab(page.locator('input[name=key]'));
      await page.keyboard.type(key);
      await page.keyboard.press('Enter');
      const out = page.getByRole('button', { name: texts[lang]['nav.out'] });
      await out.waitFor();
      await tab(page.locator('select[name=site]'));
      await page.locator('select[name=site]').selectOption('shop');
      await tab(page.locator('select[name=purpose]'));
      await page.keyboard.press('ArrowDown');
      await tab(page.locator('select[name=report]'));
      const steps = page.locator('[data-own=step] input');
      assert.equal(await steps.first().isVisible(), false, 'steps are asked for before the funnel is chosen');
      await page.locator('select[name=report]').selectOption('funnel');
      assert.ok(await steps.first().isVisible(), 'steps are not asked for');
      assert.equal(await page.locator('[data-own=interval]').isVisible(), false);
      await tab(steps.nth(0));
      await page.keyboard.type('page:/list');
      await tab(steps.nth(1));
      await page.keyboard.type('purchase');
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { level: 1, name: lang === 'ja' ? 'ファネル' : 'Funnel' }).waitFor();
      assert.match(page.url(), /#result$/);
      assert.ok(!page.url().includes(key.slice(3, 20)), 'the key is in the address');
      // The next stop after the form is what came of it: the table, then the file.
      await tab(page.locator('.scroll'));
      await tab(page.getByRole('link', { name: texts[lang]['rows.file'] }));
      await page.getByRole('link', { name: texts[lang]['language.switch'] }).click();
      await page.getByRole('button', { name: texts[lang === 'ja' ? 'en' : 'ja']['nav.out'] }).click();
      await page.getByLabel(texts[lang === 'ja' ? 'en' : 'ja']['enter.key']).waitFor();
    });
  });
}

test('dates of their own are asked for when they are wanted', async (t) => {
  const { page } = await open(t, 'en', { javaScriptEnabled: false });
  await signIn(page, 'en');
  const first = page.getByLabel(texts.en['form.from']);
  assert.equal(await first.isVisible(), false);
  await page.locator('select[name=period]').selectOption('custom');
  assert.ok(await first.isVisible());
});

test('the session is out of reach of scripts and of other sites', async (t) => {
  const { page, context } = await open(t, 'en');
  await signIn(page, 'en');
  const [cookie, ...others] = await context.cookies();
  assert.deepEqual(others, []);
  assert.deepEqual(
    [cookie.name, cookie.httpOnly, cookie.sameSite, cookie.path, cookie.expires],
    ['sekisho_report', true, 'Strict', '/ui/', -1],
  );
  assert.equal(await page.evaluate(() => document.cookie), '');
  // localhost is another site than 127.0.0.1. A link from there opens the page without the session, and it says so.
  const elsewhere = http.createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end(`<!doctype html><html lang="en"><title>Elsewhere</title><a href="${at('en', 'report=pages')}">report</a>
      <form method="post" action="${base}en/sign-out"><button>out</button></form>`);
  });
  await new Promise((listening) => elsewhere.listen(0, '127.0.0.1', listening));
  t.after(() => elsewhere.close());
  const site = `http://localhost:${elsewhere.address().port}/`;
  await page.goto(site);
  await page.getByRole('link', { name: 'report' }).click();
  await page.getByText(texts.en['enter.arrived']).waitFor();
  await page.getByRole('link', { name: texts.en['enter.arrived.go'] }).click();
  await page.getByRole('heading', { level: 1, name: 'Pages' }).waitFor();
  await page.goto(site);
  await page.getByRole('button', { name: 'out' }).click();
  await page.getByText(texts.en['refused.elsewhere']).waitFor();
  await page.goto(at('en', 'report=pages'));
  await page.getByRole('heading', { level: 1, name: 'Pages' }).waitFor();
});

test('the file is saved under the name of what it holds', async (t) => {
  const { page } = await open(t, 'en');
  await signIn(page, 'en');
  await page.goto(at('en', 'report=pages&period=28'));
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: texts.en['rows.file'] }).click();
  assert.equal((await download).suggestedFilename(), 'shop-pages-2026-10-24-2026-11-20.csv');
});
