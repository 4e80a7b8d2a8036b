// A real browser visits the sample site of a running house, with every kind of choice, and the reports are asked what
// they know of it. test/e2e starts the house and this; by hand:
//
//   sekisho up --query-threshold 2 --collector-trusted-proxies 127.0.0.0/8
//   KEY=$(cat data/demo.key) node --test e2e/house.test.mjs
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const {
  SAMPLE = 'http://localhost:8090',
  COLLECTOR = 'http://localhost:8080',
  QUERY = 'http://127.0.0.1:8082',
  KEY = '',
  ARTIFACTS = 'artifacts',
  CHROMIUM = '/usr/bin/chromium',
} = process.env;
const agent =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';
const development = 'usage_based_development';

let browser;
before(async () => {
  mkdirSync(ARTIFACTS, { recursive: true });
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      ...'--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking'.split(' '),
      ...'--disable-component-update --disable-sync'.split(' '),
      `--user-agent=${agent}`, // of the whole browser: what a closing page sends has no page to take it from
    ],
  });
});
after(async () => {
  await browser?.close();
  for (const proxy of ways) proxy.close();
});

// --- The reports ------------------------------------------------------------------------------------------------------

async function ask(report, { purpose = development, filter = '', key = KEY } = {}) {
  const at = new URL(`${QUERY}/v1/reports/${report}?site=shop${filter}`);
  if (purpose) at.searchParams.set('purpose', purpose);
  const r = await fetch(at, { headers: { Authorization: `Bearer ${key}` } });
  return { status: r.status, ...(await r.json()) };
}

/** Asks until the answer holds, and returns it; fails with what was said last. */
async function eventually(report, options, holds) {
  let a;
  for (const end = Date.now() + 20_000; Date.now() < end; await pause(200)) {
    a = await ask(report, options);
    if (a.status === 200 && holds(a)) return a;
  }
  assert.fail(`${report} never said it; last: ${JSON.stringify(a)}`);
}

// --- The visitors -----------------------------------------------------------------------------------------------------

let visitors = 0;

const ways = [];

/** What stands between a visitor and the internet: a proxy that says where a request comes from, and keeps what is sent to the collector. */
async function way(headers, sent) {
  const proxy = http.createServer(async (req, res) => {
    const body = Buffer.concat(await req.toArray());
    if (req.method === 'POST' && req.url.startsWith(COLLECTOR))
      sent.push({ path: new URL(req.url).pathname, ...JSON.parse(body) });
    const on = http.request(req.url, { method: req.method, headers: { ...req.headers, ...headers } }, (answer) => {
      res.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(res);
    });
    on.on('error', () => res.destroy());
    on.end(body);
  });
  ways.push(proxy);
  await new Promise((listening) => proxy.listen(0, '127.0.0.1', listening));
  return { server: `http://127.0.0.1:${proxy.address().port}`, bypass: '<-loopback>' };
}

/** A visitor with a browser and an address of their own. Everything the browser sends to the collector is kept. */
async function arrive(language, { gpc = false } = {}) {
  const sent = [];
  const context = await browser.newContext({
    locale: language === 'ja' ? 'ja-JP' : 'en-US',
    proxy: await way({ 'X-Forwarded-For': `133.11.0.${++visitors}`, ...(gpc && { 'Sec-GPC': '1' }) }, sent),
  });
  if (gpc) {
    await context.addInitScript(() =>
      Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { value: true }),
    );
  }
  const page = await context.newPage();
  const who = { context, page, language, views: 0, sent, faults: [] };
  page.on('pageerror', (e) => who.faults.push(String(e)));
  page.on('console', (m) => m.type() === 'error' && who.faults.push(m.text()));
  await open(who, '/');
  return who;
}

async function open(who, path) {
  await who.page.goto(`${SAMPLE}/${who.language}${path}`);
  who.views++;
}

const texts = {
  ja: { accept: 'すべて同意する', refuse: 'すべて断る', reopen: 'データ利用の設定', withdraw: '同意を取り消す' },
  en: { accept: 'Accept all', refuse: 'Refuse all', reopen: 'Data settings', withdraw: 'Withdraw consent' },
};
const button = (who, name) =>
  who.page.locator('sekisho-consent').getByRole('button', { name: texts[who.language][name] });

/** Clicks through the shop: ad, search, product, checkout, order, settings. */
async function shop(who) {
  const { page } = who;
  await page.locator('[data-sekisho=ad]').scrollIntoViewIfNeeded();
  await pause(1300); // half of it in view for a second is an impression
  await open(who, '/search?q=matcha');
  await page.locator('main .cards a').first().click();
  await page.waitForURL(/\/product\//);
  who.views++;
  await page.locator('[data-sekisho-op=add_to_cart]').click();
  await page.waitForURL(/\/checkout/);
  who.views++;
  await page.locator('[data-sekisho-op=place_order]').click();
  await page.locator('[data-sekisho=purchase]').waitFor();
  who.views++;
  who.order = JSON.parse(await page.locator('[data-sekisho=purchase]').getAttribute('data-order'));
  await open(who, '/settings');
  await page.locator('[data-sekisho-op=switch_theme][data-sekisho-target=dark]').click();
  await page.locator('[data-sekisho-op=toggle_notifications]').click();
}

/** Leaves the site, which sends what is left. */
async function leave(who) {
  await who.page.goto('about:blank');
  await pause(300);
  assert.deepEqual(who.faults, [], 'the page reported errors');
}

const kept = (who) => who.page.evaluate(() => JSON.parse(localStorage.getItem('_sk') ?? 'null'));
const picture = (who, name) => who.page.screenshot({ path: `${ARTIFACTS}/${name}.png` });

// --- What happens -----------------------------------------------------------------------------------------------------

const consenting = [];

test('visitors who accept are in every report', async () => {
  for (const language of ['ja', 'en', 'ja']) {
    const who = await arrive(language);
    await button(who, 'accept').waitFor();
    await picture(who, `banner-${language}`);
    await button(who, 'accept').click();
    await button(who, 'reopen').waitFor();
    await shop(who);
    await picture(who, `settings-${language}`);
    const state = await kept(who);
    assert.ok(state.id && state.granted.includes(development), 'the decision is kept');
    await leave(who);
    assert.deepEqual(await who.context.cookies(), [], 'no cookie');
    consenting.push(who);
  }
  const views = consenting.reduce((n, who) => n + who.views, 0);
  const a = await eventually(
    'overview',
    {},
    (a) => a.rows[0]?.page_views === views && a.rows[0]?.revenue?.length === 1,
  );
  assert.equal(a.rows[0].visitors, 3);
  assert.equal(a.rows[0].sessions, 3);
  const sold = consenting.reduce((n, who) => n + Number(who.order.total), 0);
  assert.deepEqual(a.rows[0].revenue, [{ currency: 'JPY', orders: 3, revenue: String(sold) }]);
  assert.ok(a.rows[0].visible_seconds > 0);

  const rows = async (report) => (await eventually(report, {}, (a) => a.rows.length > 0)).rows;
  // Two read Japanese, one English: the English pages are withheld, and with them the smallest Japanese one, so that a
  // total minus what is shown is not one person's.
  const pages = (await rows('pages')).map((r) => [r.path, r.visitors]);
  assert.ok(
    pages.some(([path, visitors]) => path === '/ja/' && visitors === 2),
    JSON.stringify(pages),
  );
  assert.ok(
    pages.every(([path]) => path.startsWith('/ja/') && path !== '/ja/settings'),
    JSON.stringify(pages),
  );
  assert.deepEqual(
    (await rows('searches')).map((r) => [r.query, r.users]),
    [['matcha', 3]],
  );
  assert.deepEqual(
    (await rows('countries')).map((r) => [r.country, r.visitors]),
    [['JP', 3]],
  );
  assert.deepEqual(
    (await rows('devices')).map((r) => [r.device, r.browser, r.os]),
    [['desktop', 'chrome', 'windows']],
  );
  assert.ok((await rows('sources')).every((r) => r.channel === 'direct'));
  const [line] = await rows('purchases');
  assert.equal(line.orders, 3);
  assert.ok((await rows('ads')).some((r) => r.slot === 'catalogue_top' && r.impressions >= 3));
  assert.ok((await rows('operations')).some((r) => r.name === 'switch_theme' && r.target === 'dark' && r.users === 3));
  assert.equal((await rows('timeseries')).at(-1).visitors, 3);
});

test('visitors who refuse are nobody, and only what needs no consent is stored', async () => {
  const before = await ask('overview');
  const support = await ask('operations', { purpose: 'customer_support', filter: '&filter=operation:switch_theme' });
  const users = support.rows[0]?.users ?? 0;
  for (const language of ['ja', 'en']) {
    const who = await arrive(language);
    await button(who, 'refuse').click();
    await button(who, 'reopen').waitFor();
    await shop(who);
    const state = await kept(who);
    assert.equal(state.id, undefined, 'no identifier');
    assert.deepEqual(state.granted ?? [], []);
    await leave(who);
    assert.deepEqual(await who.context.cookies(), []);
    assert.ok(
      who.sent.length > 0 && who.sent.every((b) => b.path === '/v1/events' && !b.cookie_id),
      'no act, no identifier',
    );
    const types = new Set(who.sent.flatMap((b) => b.events.map((e) => e.type)));
    assert.ok(types.has('operation') && !types.has('page_view') && !types.has('purchase') && !types.has('search'));
    assert.ok(who.sent.every((b) => b.deny.includes(development)));
  }
  await eventually(
    'operations',
    { purpose: 'customer_support', filter: '&filter=operation:switch_theme' },
    (a) => a.rows[0]?.users === users + 2,
  );
  const after = await ask('overview');
  assert.deepEqual(after.rows, before.rows, 'reports that need consent do not know them');
});

test('a visitor with Global Privacy Control is not asked twice and not shared', async () => {
  const who = await arrive('en', { gpc: true });
  await button(who, 'refuse').waitFor();
  await picture(who, 'banner-gpc');
  await open(who, '/settings');
  await who.page.locator('[data-sekisho-op=switch_theme][data-sekisho-target=light]').click();
  await leave(who);
  const batches = who.sent.filter((b) => b.path === '/v1/events');
  assert.ok(batches.length > 0 && batches.every((b) => b.deny.includes('behavioral_personalization') && !b.cookie_id));
});

test('a withdrawal hides what was stored', async () => {
  const [who] = consenting;
  await open(who, '/settings');
  await button(who, 'reopen').click();
  await picture(who, 'choice-ja');
  await button(who, 'withdraw').click();
  await pause(300);
  assert.equal((await kept(who)).id, undefined, 'the identifier is forgotten');
  const a = await eventually('overview', {}, (a) => a.rows[0]?.visitors === 2);
  assert.equal(a.rows[0].revenue[0].orders, 2);
  assert.ok(
    a.coverage.left_out.some((l) => l.reason === 'withdrawn'),
    'it is said that something is left out',
  );
  const act = who.sent.filter((b) => b.path === '/v1/consent').at(-1);
  assert.ok([...(act.withdrawn ?? []), ...(act.refused ?? [])].includes(development));
  await leave(who);
});

test('no purpose, no report', async () => {
  assert.equal((await ask('overview', { purpose: '' })).status, 400);
  assert.equal((await ask('overview', { purpose: 'marketing_use' })).status, 403);
  assert.equal((await ask('pages', { purpose: 'customer_support' })).status, 403);
  assert.equal((await ask('overview', { key: 'sk_no' })).status, 401);
});
