// What the browser tests share: real Chromium, a site of plain pages, and a server that plays the collector and writes
// down what it gets. Site and collector are two origins, as they are in production.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { chromium } from 'playwright-core';

/** What the collector answers under that pack: its own golden files. */
export const notices = Object.fromEntries(
  ['ja', 'en'].map((language) => [
    language,
    JSON.parse(readFileSync(new URL(`../../collector/testdata/notice.${language}.json`, import.meta.url))),
  ]),
);

const built = (name) => readFileSync(new URL(`../built/${name}`, import.meta.url));

/** The sample site under the policy pack default/2022-09-15, jurisdiction jp: what the collector prepends to s.js. */
export const config = {
  site: 'shop',
  v: String(built('version')),
  policy: 'default/2022-09-15',
  terms:
    'in_service_recommendation@3:opt_out behavioral_personalization@4:consent development_marketing@7:consent service_development@8:consent marketing_use@9:consent usage_based_development@10:consent',
  free: ['operation', 'environment', 'custom'],
  ask: [
    'behavioral_personalization',
    'development_marketing',
    'service_development',
    'marketing_use',
    'usage_based_development',
  ],
  optout: ['in_service_recommendation'],
  gpc: ['behavioral_personalization', 'development_marketing', 'marketing_use'],
  texts: {
    en: {
      _title: 'Help us measure',
      _body:
        'To improve our service we would like to use data about your visit for the purposes below. If you refuse, everything keeps working.',
      _accept: 'Accept all',
      _refuse: 'Refuse all',
      _choose: 'Choose by purpose',
      _save: 'Save my choice',
      _reopen: 'Data settings',
      _withdraw: 'Withdraw consent',
      in_service_recommendation: 'Recommendations inside the service',
      behavioral_personalization: 'Personalisation from your history',
      development_marketing: 'Development and marketing',
      service_development: 'Service development',
      marketing_use: 'Marketing',
      usage_based_development: 'Usage analysis for new features',
    },
    ja: {
      _title: '計測にご協力ください',
      _body:
        'サービスをよくするため、次の目的でご利用状況を使わせてください。断っても、サービスはこれまでどおりお使いいただけます。',
      _accept: 'すべて同意する',
      _refuse: 'すべて断る',
      _choose: '目的ごとに選ぶ',
      _save: '選んだ内容で決める',
      _reopen: 'データ利用の設定',
      _withdraw: '同意を取り消す',
      in_service_recommendation: 'サービス内のおすすめ',
      behavioral_personalization: '閲覧と利用の履歴によるおすすめ',
      development_marketing: '開発とマーケティング',
      service_development: 'サービスの開発',
      marketing_use: 'マーケティング',
      usage_based_development: '利用状況の分析と機能開発',
    },
  },
};

export const everything = [...config.ask, ...config.optout];
const year = 365 * 864e5;

/** A decision as the consent module keeps it. */
export const granted = (id = 'visitor-1', purposes = everything) => ({
  v: config.terms,
  granted: purposes,
  deny: everything.filter((p) => !purposes.includes(p)),
  id,
  until: Date.now() + year,
});
export const refused = () => ({ v: config.terms, granted: [], deny: everything, until: Date.now() + year });

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
export const isUUID = (text) => assert.match(text, uuid);

/** Waits until something is true of what has arrived. */
export async function until(what, most = 30_000) {
  for (const end = Date.now() + most; ; await pause(25)) {
    const value = await what();
    if (value) return value;
    if (Date.now() > end) assert.fail(`still not so after ${most} ms: ${what}`);
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let browser;

export async function launch() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Playwright switches the back/forward cache off; visitors have it.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
export const quit = () => browser.close();

function listen(handler) {
  const server = http.createServer(handler);
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** Plays the collector. `answers` holds what the next requests of a path get: a status, or 'cut' for a broken line. */
async function startCollector(settings, notice = (_, said) => said) {
  const log = [];
  const answers = { '/v1/events': [], '/v1/consent': [] };
  const collector = {
    log,
    answers,
    missing: new Set(),
    /** Requests of a path, in the order they came in. */
    sent: (path) => log.filter((entry) => entry.path === path),
    batches: () =>
      log.filter((entry) => entry.path === '/v1/events' && entry.status === 202).map((entry) => entry.body),
    acts: () => log.filter((entry) => entry.path === '/v1/consent' && entry.status === 202).map((entry) => entry.body),
    events: (type) =>
      collector
        .batches()
        .flatMap((b) => b.events)
        .filter((e) => !type || e.type === type),
    operations: () => collector.events('operation').map((e) => e.operation),
  };
  const server = await listen((request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://collector');
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Access-Control-Expose-Headers', 'Retry-After');
    if (request.method === 'GET') {
      response.setHeader('Content-Type', 'text/javascript; charset=utf-8');
      if (collector.missing.has(pathname)) {
        response.writeHead(404).end();
        return;
      }
      if (pathname === '/v1/notice') {
        assert.equal(searchParams.get('site'), 'shop');
        const language = searchParams.get('lang');
        log.push({ path: pathname, method: request.method, headers: request.headers, language, at: Date.now() });
        response.setHeader('Content-Type', 'application/json; charset=utf-8');
        Promise.resolve(notice(language, structuredClone(notices[language]))).then((said) =>
          said ? response.end(JSON.stringify(said)) : response.writeHead(503).end('{}'),
        );
      } else if (pathname === '/s.js') {
        assert.equal(searchParams.get('site'), 'shop');
        response.end(`self.sekisho=${JSON.stringify({ ...config, ...settings })};\n${built('s.js')}`);
      } else {
        assert.equal(searchParams.get('v'), config.v);
        response.end(built(pathname.slice(1)));
      }
      return;
    }
    let text = '';
    request.on('data', (part) => {
      text += part;
    });
    request.on('end', () => {
      const status = answers[pathname]?.shift() ?? 202;
      const body = request.method === 'POST' ? JSON.parse(text) : undefined;
      log.push({ path: pathname, method: request.method, headers: request.headers, body, status, at: Date.now() });
      if (status === 'cut') request.socket.destroy();
      else if (status === 202)
        response.writeHead(202, { 'Content-Type': 'application/json' }).end('{"accepted":1,"rejected":0}');
      else response.writeHead(status).end();
    });
  });
  collector.url = `http://127.0.0.1:${server.address().port}`;
  collector.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return collector;
}

/** A site whose every path answers a page: `pages[path]`, or the path's name. */
async function startSite(collector, pages, headers) {
  const server = await listen((request, response) => {
    const { pathname } = new URL(request.url, 'http://site');
    if (pathname === '/favicon.ico') {
      response.writeHead(204).end();
      return;
    }
    const page = pages[pathname] ?? {};
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', ...headers?.(collector.url) });
    response.end(`<!doctype html><html lang="${page.lang ?? 'en'}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>${page.title ?? pathname}</title>${page.head ?? ''}
<script async src="${collector.url}/s.js?site=shop" ${page.attributes ?? ''}></script></head>
<body>${page.body ?? `<main><h1>Page ${pathname}</h1><p>Text.</p></main>`}</body></html>`);
  });
  return { url: `http://localhost:${server.address().port}`, stop: () => server.close() };
}

/**
 * Opens a page for one test, with its own visitor, site and collector.
 *
 * @param pages     by path: {lang, title, head, body}, and further attributes of the tracker's script
 * @param decision  what is kept on the device beforehand
 * @param settings  changes of the tracker's configuration
 * @param notice    what the collector says of the policy, by language and what it would say; nothing: it fails
 * @param context   of Playwright's newContext
 * @param start     runs in every page before its scripts
 */
export async function visit(
  t,
  { pages = {}, decision, settings, notice, context: options, headers, start, path = '/' } = {},
) {
  const collector = await startCollector(settings, notice);
  const site = await startSite(collector, pages, headers);
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  t.after(async () => {
    await context.close();
    collector.stop();
    site.stop();
  });
  const faults = [];
  context.on('weberror', (e) => faults.push(e.error()));
  if (decision)
    await context.addInitScript((kept) => {
      if (location.hostname !== 'localhost' || sessionStorage.visited) return;
      sessionStorage.visited = 1;
      localStorage._sk = kept;
    }, JSON.stringify(decision));
  if (start) await context.addInitScript(start);
  const page = await context.newPage();
  await page.goto(site.url + path);
  await page.waitForFunction(() => self.sekisho?.s);
  t.after(() => assert.deepEqual(faults, [], 'the page had errors'));
  return { page, context, collector, site, faults };
}

/** What the device keeps. */
export const kept = (page) => page.evaluate(() => JSON.parse(localStorage.getItem('_sk')));

/** Makes the page hidden, or shows it again, and says between which moments of the page's clock the page heard of it. */
export const hide = (page, hidden = true) =>
  page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    Object.defineProperty(document, 'visibilityState', {
      configurable: true,
      get: () => (value ? 'hidden' : 'visible'),
    });
    const before = Date.now();
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
    return { before, after: Date.now() };
  }, hidden);

/** Ready: the modules of every page are there. */
export const ready = (page) =>
  page.waitForFunction(() => 'e' in self.sekisho && customElements.get('sekisho-consent') !== undefined);
