import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  config,
  everything,
  granted,
  hide,
  isUUID,
  kept,
  launch,
  pause,
  quit,
  ready,
  refused,
  until,
  visit,
} from './support.mjs';

before(launch);
after(quit);

/** Swallows the navigation of links, as a page's own handler may. */
const stay = "<script>addEventListener('click', (e) => e.preventDefault())</script>";

describe('tracker', { concurrency: 6 }, () => {
  test('a view is sent once, with its address, title and referrer, and nothing that needs a preflight or a cookie', async (t) => {
    const { page, collector, site } = await visit(t, {
      pages: { '/': { title: 'Teas' } },
      decision: granted(),
      path: '/?utm_source=news#token=secret',
    });
    const [batch] = await until(() => collector.batches().length && collector.batches());
    const [view] = batch.events;
    assert.equal(view.type, 'page_view');
    assert.equal(view.url, `${site.url}/?utm_source=news`);
    assert.equal(view.title, 'Teas');
    assert.equal(view.referrer, '');
    assert.ok(view.view_id.length > 5 && view.view_id.length <= 36);
    isUUID(view.id);
    assert.ok(Math.abs(view.time - Date.now()) < 60_000);
    assert.equal(batch.site, 'shop');
    assert.equal(batch.cookie_id, 'visitor-1');
    assert.deepEqual(batch.deny, []);
    assert.ok(batch.sent_at >= view.time);
    const [request] = collector.sent('/v1/events');
    assert.match(request.headers['content-type'], /^text\/plain/);
    assert.equal(request.headers.cookie, undefined);
    await pause(500);
    assert.equal(collector.events('page_view').length, 1);
    assert.equal(collector.log.filter((entry) => entry.method === 'OPTIONS').length, 0);
    assert.equal(await page.evaluate(() => document.cookie), '');
  });

  test('a move inside a single-page app is a view with the title set after it; several moves in one turn are one', async (t) => {
    const { page, collector, site } = await visit(t, { decision: granted() });
    await ready(page);
    await page.evaluate(() => {
      history.pushState({}, '', '/a');
      history.replaceState({}, '', '/b?q=1');
      document.title = 'B';
    });
    await page.evaluate(() => history.pushState({}, '', '#part'));
    await pause(100);
    await page.evaluate(() => history.pushState({}, '', '/c'));
    await pause(100);
    await page.evaluate(() => {
      addEventListener('popstate', () => {
        document.title = 'B again';
      });
      history.go(-1);
    });
    const views = await until(() => collector.events('page_view').length === 4 && collector.events('page_view'));
    assert.deepEqual(
      views.map((v) => [v.url.slice(site.url.length), v.referrer.slice(site.url.length), v.title]),
      [
        ['/', '', '/'],
        ['/b?q=1', '/', 'B'],
        ['/c', '/b?q=1', 'B'],
        ['/b?q=1', '/c', 'B again'],
      ],
    );
    assert.equal(new Set(views.map((v) => v.view_id)).size, 4);
  });

  test('a move that only the core sees is told with the next event', async (t) => {
    const { page, collector, site } = await visit(t, { decision: granted() });
    await page.evaluate(() => History.prototype.pushState.call(history, {}, '', '/quiet'));
    await page.mouse.click(5, 5);
    await until(() => collector.events('page_view').some((v) => v.url === `${site.url}/quiet`));
  });

  test('leaving a page sends its engagement: the time in use and the deepest scroll; coming back adds to it', async (t) => {
    const body = '<main><h1>Long</h1><div style="height:3900px"></div></main>';
    const { page, collector } = await visit(t, {
      pages: { '/': { body, head: '<style>body{margin:0}h1{margin:0;height:100px}</style>' } },
      decision: granted(),
      context: { viewport: { width: 800, height: 1000 } },
    });
    await pause(400);
    await page.evaluate(() => scrollTo(0, 1000));
    await pause(200);
    await page.evaluate(() => scrollTo(0, 0));
    await pause(200);
    const loaded = await page.evaluate(() => performance.timeOrigin);
    const left = await hide(page);
    const first = await until(() => collector.events('engagement')[0]);
    assert.equal(first.engagement.scroll, 50);
    assert.ok(first.engagement.ms >= 790 && first.engagement.ms <= left.after - loaded, `${first.engagement.ms} ms`);
    await pause(1000);
    const back = await hide(page, false);
    await pause(300);
    await page.evaluate(() => scrollTo(0, 1e6));
    await pause(200);
    const gone = await hide(page);
    const second = await until(() => collector.events('engagement')[1]);
    assert.equal(second.engagement.scroll, 100);
    const used = second.engagement.ms;
    assert.ok(used >= gone.before - back.after && used <= gone.after - back.before, `${used} ms`);
    assert.equal(second.view_id, first.view_id);
    assert.equal(collector.events('page_view')[0].view_id, first.view_id);
    assert.equal(collector.events('page_view').length, 1);
  });

  test('each view of a single-page app has its own engagement', async (t) => {
    const { page, collector } = await visit(t, { decision: granted() });
    await ready(page);
    await pause(200);
    await page.evaluate(() => history.pushState({}, '', '/next'));
    await pause(200);
    await hide(page);
    const engagements = await until(
      () => collector.events('engagement').length === 2 && collector.events('engagement'),
    );
    assert.deepEqual(
      engagements.map((e) => e.view_id),
      collector.events('page_view').map((e) => e.view_id),
    );
    assert.ok(engagements.every((e) => e.engagement.ms > 0 && e.engagement.scroll === 100));
  });

  test('operations come by attribute, by call and by queue, and a handler of the page does not stop them', async (t) => {
    const { page, collector } = await visit(t, {
      pages: {
        '/': {
          head: "<script>(self._skq ||= []).push(['op', 'early', 'queue'])</script>",
          body: `<main><h1>Settings</h1><button data-sekisho-op="export" data-sekisho-target="csv"><b>Export</b> it</button>
<button id="plain" onclick="event.stopPropagation()" data-sekisho-op="theme">Theme</button><p id="none">Text</p></main>
<script>document.querySelector('b').addEventListener('click', (e) => e.stopImmediatePropagation())</script>`,
        },
      },
      decision: granted(),
    });
    await page.click('b');
    await page.click('#plain');
    await page.click('#none');
    await page.evaluate(() => {
      document.dispatchEvent(new Event('click'));
      self.dispatchEvent(new Event('click'));
      sekisho.op('call', 'direct');
      sekisho.track('custom', { custom: { name: 'newsletter_signup', properties: { plan: 'free' } } });
      self._skq.push(['op', 'late']);
    });
    const operations = await until(() => collector.operations().length === 5 && collector.operations());
    assert.deepEqual(operations, [
      { name: 'early', target: 'queue' },
      { name: 'export', target: 'csv' },
      { name: 'theme' },
      { name: 'call', target: 'direct' },
      { name: 'late' },
    ]);
    assert.deepEqual(collector.events('custom')[0].custom, { name: 'newsletter_signup', properties: { plan: 'free' } });
  });

  test('an outbound link is told by its host alone; mail, telephone and downloads without what they hold', async (t) => {
    const links = `<main><h1>Links</h1><a id="out" href="https://example.org/path?token=secret"><span>out</span></a>
<a id="in" href="/other">in</a><a id="file" href="/files/price%20list.PDF?key=secret">price list</a>
<a id="saved" href="/report" download="r.txt">report</a><a id="mail" href="mailto:someone@example.org">mail</a>
<a id="tel" href="tel:+81300000000">tel</a></main>${stay}`;
    const { page, collector } = await visit(t, { pages: { '/': { body: links } }, decision: granted() });
    await ready(page);
    await until(() =>
      page.evaluate(() => performance.getEntriesByType('resource').some((r) => r.name.includes('s.links.js'))),
    );
    await pause(200);
    for (const id of ['out', 'in', 'file', 'saved', 'mail', 'tel']) await page.click(`#${id}`);
    await page.evaluate(() =>
      document.querySelector('#out').dispatchEvent(new MouseEvent('auxclick', { button: 1, bubbles: true })),
    );
    const operations = await until(() => collector.operations().length === 6 && collector.operations());
    assert.deepEqual(operations, [
      { name: 'outbound_link', target: 'example.org' },
      { name: 'download', target: 'price%20list.PDF' },
      { name: 'download', target: 'report' },
      { name: 'contact_link', target: 'mailto' },
      { name: 'contact_link', target: 'tel' },
      { name: 'outbound_link', target: 'example.org' },
    ]);
    assert.doesNotMatch(JSON.stringify(collector.batches()), /secret|someone|8130/);
  });

  test('a search is told once, by element or by call', async (t) => {
    const section =
      '<section data-sekisho="search" data-query="gyokuro" data-results="12" data-category="tea"></section>';
    const { page, collector } = await visit(t, {
      pages: { '/': { body: `<main><h1>Search</h1>${section}</main>` } },
      decision: granted(),
    });
    await until(() => collector.events('search').length === 1);
    await page.evaluate(async () => {
      history.pushState({}, '', '/?tab=2'); // Another view of the same results.
      await sekisho.load('search', 'sencha', 0);
      await sekisho.load('search', '   ');
    });
    await until(() => collector.events('search').length === 2);
    await page.evaluate(() => {
      document.querySelector('section').dataset.query = 'matcha';
      history.pushState({}, '', '/?q=matcha');
    });
    const searches = await until(() => collector.events('search').length === 3 && collector.events('search'));
    assert.deepEqual(
      searches.map((e) => e.search),
      [
        { query: 'gyokuro', results: 12, category: 'tea' },
        { query: 'sencha', results: 0 },
        { query: 'matcha', results: 12, category: 'tea' },
      ],
    );
  });

  test('a purchase keeps its amounts as they were written, and is not told again on a reload', async (t) => {
    const order = {
      order_id: 'A-1',
      currency: 'JPY',
      total: '1980.50',
      items: [{ sku: 'tea-1', name: '玉露 "初摘み"', category: 'tea', quantity: 2, price: '990.25' }],
    };
    const attribute = JSON.stringify(order).replaceAll('&', '&amp;').replaceAll("'", '&#39;');
    const { page, collector } = await visit(t, {
      pages: {
        '/': {
          body: `<main><h1>Done</h1><section data-sekisho="purchase" data-order='${attribute}'></section></main>`,
        },
      },
      decision: granted(),
    });
    await until(() => collector.events('purchase').length === 1);
    assert.deepEqual(collector.events('purchase')[0].purchase, order);
    await page.evaluate(() => {
      const again = { order_id: 'A-1', currency: 'JPY', items: [{ sku: 'x', price: '1' }] };
      return Promise.all([sekisho.load('purchase', again), sekisho.load('purchase', { ...again, order_id: 'A-2' })]);
    });
    await until(() => collector.events('purchase').length === 2);
    assert.equal(collector.events('purchase')[1].purchase.order_id, 'A-2');
    const views = collector.events('page_view').length;
    await page.reload();
    await until(() => collector.events('page_view').length > views);
    await pause(1200);
    assert.equal(collector.events('purchase').length, 2);
  });

  test('an order that is not JSON is told to the developer without its text', async (t) => {
    const said = [];
    const { page, collector } = await visit(t, { decision: granted() });
    page.on('console', (m) => said.push(m.text()));
    await page.evaluate(() => {
      const el = document.createElement('section');
      el.dataset.order = '{secret';
      return sekisho.load('purchase', el);
    });
    assert.deepEqual(said, ['sekisho: data-order is not JSON']);
    assert.equal(collector.events('purchase').length, 0);
  });

  test('an ad counts once half of it has been on the screen for a second, and its clicks count', async (t) => {
    const ad = (id, top) =>
      `<div data-sekisho="ad" data-ad-id="${id}" data-ad-slot="slot-${id}" data-ad-campaign="autumn" style="position:absolute;top:${top}px;width:300px;height:250px">Ad</div>`;
    const { page, collector } = await visit(t, {
      pages: {
        '/': {
          body: `<main style="height:5000px"><h1>Ads</h1>${ad('seen', 100)}${ad('third', 920)}${ad('below', 3000)}</main>`,
        },
      },
      decision: granted(),
      context: { viewport: { width: 800, height: 1000 } }, // 'third' shows 80 of its 250 pixels
    });
    const [seen] = await until(() => collector.events('ad_view').length && collector.events('ad_view'));
    const { visible_ms, ...rest } = seen.ad;
    assert.deepEqual(rest, { id: 'seen', slot: 'slot-seen', campaign: 'autumn', action: 'impression' });
    assert.ok(visible_ms >= 995 && visible_ms < 60_000, `${visible_ms} ms`);
    // Less than a second is no impression.
    await page.evaluate(async () => {
      scrollTo(0, 2700);
      await new Promise((resolve) => setTimeout(resolve, 300));
      scrollTo(0, 0);
    });
    await pause(1500);
    assert.equal(collector.events('ad_view').length, 1);
    await page.click('[data-ad-id=seen]');
    const click = await until(() => collector.events('ad_view')[1]);
    assert.equal(click.ad.action, 'click');
    assert.ok(click.ad.visible_ms > 2000);
    // Another ad in the same place is another impression.
    await page.evaluate(() => {
      const el = document.querySelector('[data-ad-id=seen]');
      el.dataset.adId = 'next';
      return sekisho.load('ad', el);
    });
    assert.equal((await until(() => collector.events('ad_view')[2])).ad.id, 'next');
  });

  test('an ad in a hidden page is not seen', async (t) => {
    const ad = '<div data-sekisho="ad" data-ad-id="a" style="margin-top:3000px;width:300px;height:250px">Ad</div>';
    const { page, collector } = await visit(t, {
      pages: { '/': { body: `<main><h1>Ad</h1>${ad}</main>` } },
      decision: granted(),
    });
    await ready(page);
    await until(() =>
      page.evaluate(() => performance.getEntriesByType('resource').some((r) => /s\.ad\.js/.test(r.name))),
    );
    await hide(page);
    await page.evaluate(() => scrollTo(0, 1e6));
    await pause(1500);
    await hide(page); // Sends what there is.
    await pause(300);
    assert.equal(collector.events('ad_view').length, 0);
    await hide(page, false);
    await until(() => collector.events('ad_view').length === 1);
  });

  test('the environment goes along with a batch, and a change of connection is an event', async (t) => {
    const { page, context, collector } = await visit(t, {
      decision: granted(),
      context: {
        colorScheme: 'dark',
        reducedMotion: 'reduce',
        timezoneId: 'Asia/Tokyo',
        locale: 'ja-JP',
        viewport: { width: 700, height: 500 },
      },
    });
    await ready(page);
    const { env } = await until(() => collector.batches().find((b) => b.env));
    assert.equal(env.language, 'ja-JP');
    assert.match(env.screen, /^\d{1,5}x\d{1,5}$/);
    assert.equal(env.viewport, '700x500');
    assert.equal(env.color_scheme, 'dark');
    assert.equal(env.reduced_motion, true);
    assert.equal(env.time_zone, 'Asia/Tokyo');
    assert.match(env.connection, /^(slow-2g|[2345]g|wifi|ethernet)$/);
    assert.equal(typeof env.save_data, 'boolean');
    await context.setOffline(true);
    await pause(200);
    await context.setOffline(false);
    const changes = await until(() => collector.events('environment').length >= 2 && collector.events('environment'));
    assert.deepEqual(
      changes.map((e) => e.env.connection === 'offline'),
      [true, false],
    );
  });

  test('the environment stays where no purpose may use it', async (t) => {
    const { page, collector } = await visit(t, { settings: { free: ['operation'] } });
    await ready(page);
    await page.evaluate(() => sekisho.op('export'));
    const [batch] = await until(() => collector.batches().length && collector.batches());
    assert.equal(batch.env, undefined);
  });

  test('events go in batches of ten', async (t) => {
    const { page, collector } = await visit(t, { decision: granted() });
    await until(() => collector.batches().length === 1);
    await page.evaluate(() => {
      for (let i = 0; i < 24; i++) sekisho.op(`op-${i}`);
    });
    await until(() => collector.operations().length === 24);
    const [, ...batches] = collector.batches();
    assert.deepEqual(batches.map((b) => b.events.length).sort(), [10, 10, 4]);
  });

  for (const status of [503, 429])
    test(`a batch comes again after ${status}, under the same event ids`, async (t) => {
      const { page, collector } = await visit(t, { decision: granted() });
      await until(() => collector.batches().length === 1);
      collector.answers['/v1/events'] = [status];
      await page.evaluate(() => sekisho.op('export'));
      await until(() => collector.operations().length === 1);
      const [, lost, again] = collector.sent('/v1/events');
      assert.equal(lost.status, status);
      assert.deepEqual(again.body.events, lost.body.events);
      isUUID(again.body.events[0].id);
      assert.ok(again.at - lost.at >= 4900, `after ${again.at - lost.at} ms`);
      assert.ok(again.body.sent_at > lost.body.sent_at);
    });

  test('a batch comes again after the network was away, under the same event ids', async (t) => {
    const { page, context, collector } = await visit(t, { decision: granted() });
    await until(() => collector.batches().length === 1);
    const failed = [];
    page.on('requestfailed', (request) => failed.push(JSON.parse(request.postData())));
    await context.setOffline(true);
    await page.evaluate(() => sekisho.op('export'));
    await until(() => failed.length === 1);
    await context.setOffline(false);
    await until(() => collector.operations().length === 1);
    const again = collector.batches().find((b) => b.events.some((e) => e.type === 'operation'));
    const ids = (batch) => batch.events.map((e) => e.id);
    assert.deepEqual(ids(again), ids(failed[0]));
    for (const id of ids(again)) isUUID(id);
  });

  test('a batch the collector rejects does not come again', async (t) => {
    const { page, collector } = await visit(t, { decision: granted() });
    await until(() => collector.batches().length === 1);
    collector.answers['/v1/events'] = [400];
    await page.evaluate(() => sekisho.op('bad'));
    await until(() => collector.sent('/v1/events').length === 2);
    await pause(6500);
    assert.equal(collector.sent('/v1/events').length, 2);
  });

  test('while the collector stays away, memory is bounded', async (t) => {
    const { page, collector } = await visit(t, { decision: granted() });
    await until(() => collector.batches().length === 1);
    collector.answers['/v1/events'] = Array(100).fill(503);
    await page.evaluate(() => {
      for (let i = 0; i < 500; i++) sekisho.op(`op-${i}`);
    });
    await until(() => collector.sent('/v1/events').length >= 21);
    await pause(300);
    collector.answers['/v1/events'] = [];
    await until(() => collector.operations().length >= 200);
    await pause(500);
    assert.equal(collector.operations().length, 200);
    assert.equal(new Set(collector.operations().map((o) => o.name)).size, 200);
  });

  test('what is waiting leaves with the page', async (t) => {
    const { page, collector, site } = await visit(t, { decision: granted() });
    await until(() => collector.batches().length === 1);
    await page.evaluate((next) => {
      sekisho.op('last');
      location.href = next;
    }, `${site.url}/next`);
    await until(() => collector.operations().some((o) => o.name === 'last'));
    const engagement = await until(() => collector.events('engagement')[0]);
    assert.equal(engagement.url, `${site.url}/`);
    const view = await until(() => collector.events('page_view')[1]);
    assert.equal(view.referrer, `${site.url}/`);
  });

  test('coming back from the back/forward cache is a new view, of nowhere', async (t) => {
    const { page, collector, site } = await visit(t, { decision: granted() });
    await until(() => collector.events('page_view').length === 1);
    await page.evaluate(() => {
      location.href = '/one';
    });
    await page.waitForURL(`${site.url}/one`);
    await until(() => collector.events('page_view').length === 2);
    await page.evaluate(() => {
      self.mark = 'kept';
    });
    await page.goto(`${site.url}/two`);
    await until(() => collector.events('page_view').length === 3);
    await page.goBack({ waitUntil: 'commit' });
    const views = await until(() => collector.events('page_view').length === 4 && collector.events('page_view'));
    assert.equal(await page.evaluate(() => self.mark), 'kept', 'the page was loaded anew');
    const [, first, , again] = views;
    assert.deepEqual([first.url, again.url], [`${site.url}/one`, `${site.url}/one`]);
    assert.deepEqual([first.referrer, again.referrer], [`${site.url}/`, '']);
    assert.notEqual(again.view_id, first.view_id);
    await pause(300);
    const left = await hide(page);
    const engagement = await until(() => collector.events('engagement').find((e) => e.view_id === again.view_id));
    assert.ok(engagement.engagement.ms > 0 && engagement.engagement.ms <= left.after - again.time + 20);
  });

  test('a prerendered page has no view, and fetches nothing, until it is shown', async (t) => {
    // Chromium prerenders nothing under automation; this is what a page sees of it.
    const { page, collector } = await visit(t, {
      decision: granted(),
      start: () => {
        let shown = false;
        Object.defineProperty(document, 'hidden', { configurable: true, get: () => !shown });
        Object.defineProperty(document, 'prerendering', { get: () => !shown });
        self.activate = () => {
          shown = true;
          document.dispatchEvent(new Event('prerenderingchange'));
          document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
        };
      },
    });
    await pause(1500);
    assert.equal(collector.log.length, 0);
    assert.equal(
      await page.evaluate(
        () => performance.getEntriesByType('resource').filter((r) => /s\.\w+\.js/.test(r.name)).length,
      ),
      0,
    );
    await page.evaluate(() => activate());
    await until(() => collector.events('page_view').length === 1);
    await ready(page);
  });

  test('a module that cannot be fetched is no error of the page', async (t) => {
    const { page, collector } = await visit(t, { decision: granted() });
    await ready(page);
    collector.missing.add('/s.search.js');
    assert.equal(await page.evaluate(() => sekisho.load('search', 'tea')), undefined);
    // `visit` fails on an unhandled rejection.
  });
});

describe('consent in the tracker', { concurrency: 6 }, () => {
  test('before a decision only what needs none is sent, and the device keeps nothing', async (t) => {
    const { page, context, collector } = await visit(t);
    await ready(page);
    await page.evaluate(() => {
      sekisho.op('export');
      sekisho.user('account-7');
      sekisho.track('search', { search: { query: 'tea' } });
    });
    await until(() => collector.operations().length === 1);
    await hide(page);
    await pause(300);
    assert.deepEqual(new Set(collector.events().map((e) => e.type)), new Set(['operation']));
    for (const batch of collector.batches()) {
      assert.equal(batch.cookie_id, undefined);
      assert.equal(batch.user_id, undefined);
    }
    assert.equal(collector.sent('/v1/consent').length, 0);
    assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [
      0,
      0,
      '',
    ]);
    assert.deepEqual(await context.cookies(), []);
  });

  test('a grant releases what was held, after its act and with its time', async (t) => {
    const { page, collector } = await visit(t);
    await ready(page);
    await page.evaluate(() => sekisho.track('search', { search: { query: 'tea' } }));
    const before = await page.evaluate(() => Date.now());
    await pause(300);
    await page.click('sekisho-consent [data-act=accept]');
    await until(() => collector.events('page_view').length && collector.events('search').length);
    const order = collector.log.map((entry) =>
      entry.path === '/v1/consent' ? 'act' : entry.body.cookie_id ? 'under it' : 'free',
    );
    assert.ok(order.indexOf('act') >= 0 && order.indexOf('act') < order.indexOf('under it'), order.join(', '));
    const [act] = collector.acts();
    const { id } = await kept(page);
    assert.deepEqual(act.subject, { cookie_id: id });
    isUUID(id);
    for (const type of ['page_view', 'search']) {
      const [event] = collector.events(type);
      assert.ok(event.time >= act.time && act.time >= before, `${type} is older than the grant`);
    }
    for (const batch of collector.batches().filter((b) => b.events.some((e) => e.type === 'page_view')))
      assert.equal(batch.cookie_id, id);
  });

  test('a refusal purges what was held, makes no identifier and no request', async (t) => {
    const { page, collector } = await visit(t);
    await ready(page);
    await page.click('sekisho-consent [data-act=refuse]');
    await until(() => kept(page));
    const decision = await kept(page);
    assert.deepEqual(Object.keys(decision).sort(), ['deny', 'granted', 'until', 'v']);
    assert.deepEqual([decision.granted, decision.deny], [[], everything]);
    await page.evaluate(() => sekisho.op('after'));
    await until(() => collector.operations().some((o) => o.name === 'after'));
    await hide(page);
    await pause(500);
    assert.equal(collector.sent('/v1/consent').length, 0);
    assert.deepEqual(new Set(collector.events().map((e) => e.type)), new Set(['operation']));
    const batch = collector.batches().find((b) => b.events.some((e) => e.operation?.name === 'after'));
    assert.deepEqual(batch.deny, everything);
    assert.equal(batch.cookie_id, undefined);
  });

  test('what happens under a refusal is gone, and no later grant brings it back', async (t) => {
    const { page, collector } = await visit(t, { decision: refused() });
    await ready(page);
    await page.evaluate(async (all) => {
      sekisho.track('search', { search: { query: 'before' } });
      await sekisho.consent(all);
      sekisho.track('search', { search: { query: 'after' } });
    }, everything);
    await until(() => collector.events('search').length);
    await pause(300);
    assert.deepEqual(
      collector.events('search').map((e) => e.search.query),
      ['after'],
    );
    assert.equal(collector.events('page_view').length, 0);
  });

  test('withdrawing posts the act for the known id, then forgets the id; nothing under it is sent any more', async (t) => {
    const { page, collector } = await visit(t, { decision: granted('visitor-9') });
    await ready(page);
    await until(() => collector.batches().length === 1);
    collector.answers['/v1/consent'] = [503];
    await page.evaluate(() => {
      sekisho.op('waiting'); // In a batch of the id, not sent yet.
      sekisho.load('consent', 'withdraw');
    });
    await until(() => collector.sent('/v1/consent').length === 1);
    await page.evaluate(() => sekisho.op('after'));
    const [act] = await until(() => collector.acts().length && collector.acts());
    assert.deepEqual(act.subject, { cookie_id: 'visitor-9' });
    assert.deepEqual([act.granted, act.refused, act.withdrawn], [config.optout, [], config.ask]);
    await until(() => collector.operations().some((o) => o.name === 'after'));
    await pause(300);
    assert.deepEqual(
      collector.batches().map((b) => b.cookie_id),
      ['visitor-9', undefined],
    );
    assert.ok(!collector.operations().some((o) => o.name === 'waiting'));
    const decision = await kept(page);
    assert.doesNotMatch(JSON.stringify(decision), /visitor-9/);
    assert.deepEqual([decision.granted, decision.deny], [config.optout, config.ask]);
  });

  test('no event goes ahead of an act that is not acknowledged, not even on the next page', async (t) => {
    const { page, collector, site } = await visit(t);
    await ready(page);
    collector.answers['/v1/consent'] = Array(1000).fill('cut');
    await page.click('sekisho-consent [data-act=accept]');
    await until(() => collector.sent('/v1/consent').length >= 2);
    await page.goto(`${site.url}/two`);
    await ready(page);
    const tries = collector.sent('/v1/consent').length;
    await until(() => collector.sent('/v1/consent').length > tries);
    await page.evaluate(() => sekisho.op('export'));
    await until(() => collector.operations().length === 1);
    assert.ok(collector.batches().every((b) => !b.cookie_id && b.events.every((e) => config.free.includes(e.type))));
    assert.equal(await page.locator('sekisho-consent dialog[open]').count(), 0, 'the visitor is asked twice');
    collector.answers['/v1/consent'] = [];
    await until(() => collector.events('page_view').length === 1);
    const tried = collector.sent('/v1/consent');
    assert.equal(new Set(tried.map((entry) => entry.body.id)).size, 1, 'an act changed its id');
    assert.equal(new Set(tried.map((entry) => entry.body.time)).size, 1, 'an act changed its time');
    assert.equal(collector.events('page_view')[0].url, `${site.url}/two`);
  });

  test('a grant that the collector will never take does not come into force', async (t) => {
    const { page, collector, site } = await visit(t);
    await ready(page);
    collector.answers['/v1/consent'] = [400];
    await page.click('sekisho-consent [data-act=accept]');
    await until(() => collector.sent('/v1/consent').length === 1);
    await until(async () => !(await kept(page)).act);
    assert.equal((await kept(page)).id, undefined);
    await page.goto(`${site.url}/two`);
    await page.waitForSelector('sekisho-consent dialog[open]');
    assert.equal(collector.events('page_view').length, 0);
  });

  test('what is narrowed is in force at once, what is widened after the act', async (t) => {
    const [first, second] = config.ask;
    const { page, collector } = await visit(t, { decision: granted('visitor-2', [first, ...config.optout]) });
    await ready(page);
    await until(() => collector.batches().length === 1);
    collector.answers['/v1/consent'] = ['cut', 'cut'];
    await page.evaluate((purpose) => {
      sekisho.consent([purpose], ['in_service_recommendation'], { surface: 'privacy_centre' });
    }, second);
    await until(() => collector.sent('/v1/consent').length >= 1);
    await page.evaluate(() => sekisho.op('meanwhile'));
    await until(() => collector.operations().length === 1);
    const meanwhile = collector.batches()[1];
    assert.equal(meanwhile.cookie_id, undefined);
    assert.ok(meanwhile.deny.includes(first) && meanwhile.deny.includes('in_service_recommendation'));
    await until(() => collector.acts().length === 1);
    const [act] = collector.acts();
    assert.deepEqual([act.granted, act.withdrawn.sort()], [[second], [first, ...config.optout].sort()]);
    assert.equal(act.surface, 'privacy_centre');
    await until(async () => (await kept(page)).granted);
    const decision = await kept(page);
    assert.deepEqual(decision.granted, [second]);
    assert.equal(decision.id, 'visitor-2');
  });

  test('a changed decision does not extend the life of the id', async (t) => {
    const before = granted('visitor-3', [config.ask[0]]);
    const { page, collector } = await visit(t, { decision: before });
    await ready(page);
    await page.evaluate((all) => sekisho.consent(all), everything);
    assert.equal(collector.acts().length, 1);
    const decision = await kept(page);
    assert.deepEqual([decision.id, decision.until], [before.id, before.until]);
    assert.deepEqual(decision.granted, everything);
  });

  test("another tab's decision holds here too", async (t) => {
    const { page, context, collector, site } = await visit(t);
    await ready(page);
    const other = await context.newPage();
    await other.goto(`${site.url}/two`);
    await other.click('sekisho-consent [data-act=accept]');
    await until(() => collector.events('page_view').length === 2);
    assert.equal(collector.acts().length, 1);
    assert.equal(await page.locator('sekisho-consent dialog[open]').count(), 0);
    assert.equal(
      new Set(
        collector
          .batches()
          .filter((b) => b.cookie_id)
          .map((b) => b.cookie_id),
      ).size,
      1,
    );
  });

  test('the account goes along only under a grant', async (t) => {
    const { page, collector } = await visit(t, { decision: granted() });
    await ready(page);
    await page.evaluate(() => {
      sekisho.op('before');
      sekisho.user('account-7');
      sekisho.op('signed in');
      sekisho.user();
      sekisho.op('signed out');
    });
    await until(() => collector.operations().length === 3);
    const account = (name) => collector.batches().find((b) => b.events.some((e) => e.operation?.name === name)).user_id;
    assert.deepEqual(
      [account('before'), account('signed in'), account('signed out')],
      [undefined, 'account-7', undefined],
    );
  });

  test('who is signed in when the page loads is so from its first view on, and what was called before is of that view', async (t) => {
    const { page, collector } = await visit(t, {
      pages: {
        '/': { head: "<script>(self._skq ||= []).push(['op', 'early'], ['misspelt'], ['user', 'account-7'])</script>" },
      },
      decision: granted(),
    });
    await page.evaluate(() => self._skq.push(['op', 'late']));
    await until(() => collector.operations().length === 2);
    const [view] = collector.events('page_view');
    const account = (type) => collector.batches().find((b) => b.events.some((e) => e.type === type)).user_id;
    assert.equal(account('page_view'), 'account-7');
    assert.equal(collector.events('page_view').length, 1);
    for (const e of collector.events('operation')) assert.deepEqual([e.view_id, e.url], [view.view_id, view.url]);
  });

  for (const [why, change] of [
    ['under an earlier policy', { v: 'default/2019-10-15' }],
    ['past its time', { until: Date.now() - 1000 }],
  ])
    test(`a decision ${why} counts for its refusals only`, async (t) => {
      const decision = { ...granted('visitor-4', config.ask), ...change };
      const { page, collector } = await visit(t, { decision });
      await page.waitForSelector('sekisho-consent dialog[open]');
      await page.evaluate(() => sekisho.op('export'));
      const [batch] = await until(() => collector.batches().length && collector.batches());
      assert.deepEqual(batch.deny, config.optout);
      assert.equal(batch.cookie_id, undefined);
      if (change.until) assert.equal((await kept(page)).id, undefined, 'an id outlives its time');
    });

  for (const [answer, granted_, refused_] of [
    ['accept', everything, []],
    ['refuse', everything.filter((p) => p !== 'usage_based_development'), ['usage_based_development']],
  ])
    test(`a purpose that was replaced is asked for by itself, and what was granted besides stands: ${answer}`, async (t) => {
      const decision = { ...granted('visitor-6'), v: config.terms.replace('development@10', 'development@31') };
      const { page, collector } = await visit(t, { decision });
      await ready(page);
      // What stands goes on under the same id, and the new purpose is refused until it is answered for.
      await until(() => collector.events('page_view').length === 1);
      const [batch] = collector.batches();
      assert.equal(batch.cookie_id, 'visitor-6');
      assert.deepEqual(batch.deny, ['usage_based_development']);
      assert.deepEqual(await page.locator('sekisho-consent dialog li').allTextContents(), [
        config.texts.en.usage_based_development,
      ]);
      await page.click(`sekisho-consent [data-act=${answer}]`);
      const [act] = await until(() => collector.acts().length && collector.acts());
      assert.deepEqual(act.subject, { cookie_id: 'visitor-6' });
      assert.deepEqual(act.granted, granted_);
      assert.deepEqual([...act.refused, ...act.withdrawn], refused_);
      await until(async () => (await kept(page)).v === config.terms && !(await kept(page)).open);
    });

  test('a change of the policy that asks for nothing else asks nobody again', async (t) => {
    const decision = { ...granted('visitor-7'), v: `${config.terms} a_purpose_given_up@12:consent` };
    const { page, collector } = await visit(t, { decision });
    await page.waitForSelector('sekisho-consent .reopen:not([hidden])');
    assert.equal(await page.locator('sekisho-consent dialog[open]').count(), 0);
    await until(() => collector.events('page_view').length === 1);
    assert.equal(collector.batches()[0].cookie_id, 'visitor-7');
    assert.equal(collector.sent('/v1/consent').length, 0);
  });

  test('a refusal under a new policy withdraws what an id had granted under the old one', async (t) => {
    const { page, collector } = await visit(t, { decision: { ...granted('visitor-5'), v: 'default/2019-10-15' } });
    await ready(page);
    await page.click('sekisho-consent [data-act=refuse]');
    const [act] = await until(() => collector.acts().length && collector.acts());
    assert.deepEqual(act.subject, { cookie_id: 'visitor-5' });
    assert.deepEqual(act.withdrawn, everything);
    await until(async () => !JSON.stringify(await kept(page)).includes('visitor-5'));
  });

  test('Global Privacy Control: the header goes along, its purposes start refused, an explicit grant overrides', async (t) => {
    const { page, collector } = await visit(t, {
      context: { extraHTTPHeaders: { 'Sec-GPC': '1' } },
      start: () => Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true }),
    });
    await page.evaluate(() => sekisho.op('export'));
    const [batch] = await until(() => collector.batches().length && collector.batches());
    assert.deepEqual(batch.deny, config.gpc);
    assert.equal(collector.sent('/v1/events')[0].headers['sec-gpc'], '1');
    await ready(page);
    await page.click('sekisho-consent [data-act=accept]');
    await until(() => collector.events('page_view').length === 1);
    assert.deepEqual(collector.batches().at(-1).deny, []);
    assert.deepEqual(collector.acts()[0].granted, everything);
  });

  test('Global Privacy Control objects to a purpose that otherwise runs unless one objects', async (t) => {
    const { page, collector } = await visit(t, {
      settings: { gpc: [...config.gpc, ...config.optout] },
      start: () => Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true }),
    });
    await ready(page);
    await page.click('sekisho-consent [data-act=choose]');
    assert.deepEqual(
      await page.locator('sekisho-consent input:checked').evaluateAll((boxes) => boxes.map((b) => [b.name, b.value])),
      [['object', 'in_service_recommendation']],
    );
    await page.click('sekisho-consent [data-act=save]');
    await until(() => kept(page));
    assert.deepEqual((await kept(page)).deny, everything);
    assert.equal(collector.sent('/v1/consent').length, 0);
  });

  test('objecting needs no identifier', async (t) => {
    const { page, collector } = await visit(t, { decision: refused() });
    await ready(page);
    await page.evaluate(() => sekisho.consent([], []));
    assert.deepEqual((await kept(page)).deny, everything, 'an objection was lifted without a word');
    await page.evaluate(() => sekisho.consent(['in_service_recommendation']));
    assert.deepEqual((await kept(page)).deny, config.ask);
    await page.evaluate(() => sekisho.consent([], ['in_service_recommendation']));
    const decision = await kept(page);
    assert.deepEqual([decision.deny, decision.id], [everything, undefined]);
    assert.equal(collector.sent('/v1/consent').length, 0);
  });

  test('with a storage that is blocked the decision holds for the page', async (t) => {
    const { page, collector } = await visit(t, {
      start: () =>
        Object.defineProperty(self, 'localStorage', {
          get() {
            throw new DOMException('blocked', 'SecurityError');
          },
        }),
    });
    await ready(page);
    await page.click('sekisho-consent [data-act=accept]');
    await until(() => collector.events('page_view').length === 1);
    assert.ok(collector.batches().at(-1).cookie_id);
    await page.click('sekisho-consent .reopen');
    await page.click('sekisho-consent [data-act=withdraw]');
    await until(() => collector.acts().length === 2);
    assert.deepEqual(collector.acts()[1].withdrawn, config.ask);
  });
});
