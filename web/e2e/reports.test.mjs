// A person reads reports of a running house in a real browser, without a script on the page. test/e2e starts the house
// with its demo visitors, and this; by hand:
//
//   sekisho up --demo
//   KEY=$(cat data/demo.key) node --test e2e/reports.test.mjs
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const {
  QUERY = 'http://127.0.0.1:8082',
  KEY = '',
  ARTIFACTS = 'artifacts',
  CHROMIUM = '/usr/bin/chromium',
} = process.env;

let browser;
let page;
before(async () => {
  mkdirSync(ARTIFACTS, { recursive: true });
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: '--no-sandbox --disable-gpu --no-first-run --disable-background-networking'.split(' '),
  });
  page = await browser.newPage({
    viewport: { width: 1200, height: 1000 },
    locale: 'ja-JP',
    javaScriptEnabled: false,
    acceptDownloads: true,
  });
});
after(() => browser?.close());

/** Fills the form and asks for a report. */
async function ask(choices) {
  for (const [name, value] of Object.entries(choices)) await page.selectOption(`[name="${name}"]`, value);
  await page.click('form.ask button.main');
}

const headers = () => page.locator('table thead th').allTextContents();

test('a key that is none opens nothing', async () => {
  await page.goto(`${QUERY}/`);
  assert.equal(new URL(page.url()).pathname, '/ui/ja/');
  await page.fill('[name="key"]', `sk_00000000_${'A'.repeat(43)}`);
  await page.click('form.sheet button.main');
  assert.equal(await page.locator('.notice.bad').count(), 1);
});

test('a person signs in and reads a ranking', async () => {
  await page.fill('[name="key"]', KEY);
  await page.click('form.sheet button.main');
  assert.ok(!page.url().includes(KEY), 'the key is in the address');
  await ask({ purpose: 'usage_based_development', report: 'channels' });
  assert.deepEqual((await headers()).slice(0, 2), ['流入経路', '訪問者']);
  assert.ok((await page.locator('table tbody tr').count()) >= 2, 'no rows');
  assert.ok((await page.locator('svg').count()) > 0, 'no picture');
  await page.screenshot({ path: `${ARTIFACTS}/reports-ja-channels.png`, fullPage: true });
});

test('a series is compared with the period before', async () => {
  await ask({ report: 'timeseries', compare: 'previous_period' });
  assert.equal((await headers())[0], '期間の始まり');
  assert.match(await page.locator('#result').textContent(), /比較/);
  await page.screenshot({ path: `${ARTIFACTS}/reports-ja-timeseries.png`, fullPage: true });
});

test('a purpose that may not use the data gets no report, and a word why', async () => {
  await ask({ purpose: 'customer_support', report: 'channels' });
  assert.equal(await page.locator('table').count(), 0);
  assert.match(await page.locator('#result').textContent(), /目的/);
});

test('the language changes and the report stays', async () => {
  await ask({ purpose: 'usage_based_development', report: 'channels' });
  await page.click('header >> text=English');
  assert.match(page.url(), /\/ui\/en\/\?.*report=channels/);
  assert.deepEqual((await headers()).slice(0, 2), ['Channel', 'Visitors']);
  await page.screenshot({ path: `${ARTIFACTS}/reports-en-channels.png`, fullPage: true });
});

test('the report is saved as a file', async () => {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('text=Save as CSV')]);
  const lines = readFileSync(await download.path(), 'utf8')
    .trim()
    .split(/\r?\n/);
  assert.equal(lines.length, 1 + (await page.locator('table tbody tr').count()));
  assert.match(lines[0], /Channel,Visitors/);
});

test('whoever signs out reads nothing', async () => {
  await page.click('text=Sign out');
  await page.goto(`${QUERY}/ui/en/?site=shop&purpose=usage_based_development&report=channels`);
  assert.equal(await page.locator('table').count(), 0);
  assert.equal(await page.locator('[name="key"]').count(), 1);
});

test('the reference is there', async () => {
  await page.goto(`${QUERY}/reference/`);
  assert.match(new URL(page.url()).pathname, /^\/reference\/(ja|en)\//);
  await page.click('main a[href*="query"]');
  assert.match(await page.locator('main').textContent(), /\/v1\/reports\/\{report\}/);
});
