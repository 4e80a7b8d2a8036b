import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import {
  config,
  everything,
  granted,
  kept,
  launch,
  notices,
  pause,
  quit,
  ready,
  refused,
  until,
  visit,
} from './support.mjs';

before(launch);
after(quit);

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe finds: by every rule, best practices too, or by some. What it cannot tell is no pass. */
async function violations(page, ...rules) {
  if (!(await page.evaluate(() => 'axe' in self))) await page.evaluate(axe);
  const { violations: found, incomplete } = await page.evaluate(
    (runOnly) => axe.run(document, runOnly.length ? { runOnly } : {}),
    rules,
  );
  return [...found, ...incomplete].map((v) => `${v.id}: ${v.nodes.map((n) => n.target.flat().join(' ')).join(', ')}`);
}

/** What has the focus, in the banner or in the page. */
const focused = (page) =>
  page.evaluate(() => {
    let el = document.activeElement;
    while (el?.shadowRoot) el = el.shadowRoot.activeElement;
    return el?.dataset.act || el?.value || el?.className || el?.id || el?.tagName;
  });

/** The texts that are on the screen once everything is unfolded, in their order: what the visitor got to see. */
const shown = (page) =>
  page.evaluate(() => {
    const dialog = document.querySelector('sekisho-consent').shadowRoot.querySelector('dialog');
    const closed = [...dialog.querySelectorAll('details:not([open])')];
    for (const el of closed) el.open = true;
    const walker = document.createTreeWalker(dialog, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode())
      if (walker.currentNode.parentElement.checkVisibility()) texts.push(walker.currentNode.data);
    for (const el of closed) el.open = false;
    return texts;
  });
const messages = Object.fromEntries(
  ['ja', 'en'].map((lang) => [
    lang,
    JSON.parse(readFileSync(new URL(`../consent/messages.${lang}.json`, import.meta.url))),
  ]),
);

/** The details have come, or cannot. */
const explained = (page) =>
  until(async () => {
    const texts = await shown(page);
    return texts.length && !texts.some((text) => [messages.ja.loading, messages.en.loading].includes(text)) && texts;
  });
const hash = (texts) => `sha256:${createHash('sha256').update(texts.join('\n')).digest('hex')}`;

const purposes = (lang) => Object.fromEntries(notices[lang].purposes.map((p) => [p.id, p]));

const pages = (lang, more) => ({
  '/': {
    lang,
    title: 'Shop',
    body: `<main><h1>Shop</h1><p>Text.</p><label>Search <input id="search"></label> <a href="/two" id="link">Two</a>
<button data-sekisho-consent id="open">Settings</button></main>`,
    ...more,
  },
  '/two': { lang, title: 'Two' },
});

describe('consent banner', { concurrency: 6 }, () => {
  for (const lang of ['ja', 'en']) {
    const texts = config.texts[lang];

    test(`by keyboard alone, ${lang}: choose by purpose, then withdraw in the settings`, async (t) => {
      const { page, collector } = await visit(t, { pages: pages(lang) });
      await page.waitForSelector('sekisho-consent dialog[open]');
      const press = async (...keys) => {
        for (const key of keys) await page.keyboard.press(key);
      };
      await press('Tab');
      assert.equal(await focused(page), 'accept', 'the banner is not the first stop');
      await press('Tab');
      assert.equal(await focused(page), 'refuse');
      await press('Tab');
      assert.equal(await focused(page), 'choose');
      await press('Enter');
      assert.equal(await focused(page), config.ask[0]);
      assert.equal(await page.locator('sekisho-consent input:checked').count(), 0, 'a box is ticked beforehand');
      await explained(page);
      // From each box to its details, and on.
      await press('Tab');
      assert.equal(await focused(page), `more-${config.ask[0]}`);
      await press('Enter');
      assert.ok(await page.getByText(purposes(lang)[config.ask[0]].text).isVisible(), 'the details stay closed');
      await press('Tab', 'Space', 'Tab', 'Tab', 'Tab', 'Tab', 'Tab', 'Tab', 'Tab', 'Tab', 'Tab', 'Tab');
      assert.equal(await focused(page), 'SUMMARY');
      await press('Space');
      assert.ok(await page.getByText(purposes(lang).security_incident.text).isVisible(), 'what runs anyway is hidden');
      await press('Tab');
      assert.equal(await focused(page), 'A');
      await press('Tab', 'Tab', 'Tab');
      assert.equal(await focused(page), 'save');
      const seen = await shown(page);
      assert.deepEqual(seen.slice(0, 2), [texts._title, texts._body]);
      await press('Enter');
      const [first] = await until(() => collector.acts().length && collector.acts());
      assert.deepEqual(first.granted, [config.ask[1], ...config.optout]);
      assert.deepEqual(first.refused, config.ask.toSpliced(1, 1));
      assert.equal(first.text_hash, hash(seen));
      assert.equal(first.language, lang);
      assert.equal(first.surface, 'banner');
      assert.equal(first.policy_version, config.policy);
      // The focus goes to what stays.
      assert.equal(await focused(page), 'reopen');
      assert.equal(await page.locator('sekisho-consent .reopen').textContent(), texts._reopen);
      await press('Enter');
      assert.equal(await page.locator('sekisho-consent dialog:modal').count(), 1);
      assert.deepEqual(
        await page.locator('sekisho-consent input:checked').evaluateAll((boxes) => boxes.map((b) => b.value)),
        [config.ask[1]],
      );
      await press('Escape');
      assert.equal(await page.locator('sekisho-consent dialog[open]').count(), 0);
      assert.equal(await focused(page), 'reopen', 'the focus is lost');
      await press('Enter');
      for (let i = 0; i < 30 && (await focused(page)) !== 'withdraw'; i++) await press('Tab');
      await press('Enter');
      const second = await until(() => collector.acts()[1]);
      assert.deepEqual([second.granted, second.withdrawn], [config.optout, [config.ask[1]]]);
      assert.deepEqual(second.subject, first.subject);
      assert.equal(second.surface, 'settings');
      assert.equal(await focused(page), 'reopen');
    });

    test(`axe finds nothing, ${lang}: banner, choice, settings, control; light and dark`, async (t) => {
      const { page } = await visit(t, { pages: pages(lang), context: { reducedMotion: 'reduce' } });
      await page.waitForSelector('sekisho-consent dialog[open]');
      // Once where it stands; then inside the body, because axe measures colours there only.
      const structure = (await violations(page)).filter((text) => !text.startsWith('color-contrast'));
      assert.deepEqual(structure, []);
      await page.evaluate(() => document.body.prepend(document.querySelector('sekisho-consent')));
      const size = page.viewportSize();
      const look = async (state) => {
        const found = (await violations(page)).filter((text) => !text.startsWith('color-contrast'));
        assert.deepEqual(found, [], state);
        // All at once on a high screen: axe cannot tell the colours of what scrolls behind the row of choices.
        await page.setViewportSize({ ...size, height: 8000 });
        await page.locator('sekisho-consent dialog').evaluate((el) => Object.assign(el.style, { maxHeight: 'none' }));
        assert.deepEqual(await violations(page), [], `${state}, whole`);
        await page.emulateMedia({ colorScheme: 'dark' });
        assert.deepEqual(await violations(page, 'color-contrast'), [], `${state}, dark`);
        await page.emulateMedia({ colorScheme: 'light' });
        await page.locator('sekisho-consent dialog').evaluate((el) => el.removeAttribute('style'));
        await page.setViewportSize(size);
      };
      await look('banner');
      const unfold = async () => {
        await explained(page);
        await page
          .locator('sekisho-consent details')
          .evaluateAll((all) => all.map((el) => Object.assign(el, { open: true })));
      };
      await page.click('sekisho-consent [data-act=choose]');
      await look('choice');
      await unfold();
      await look('choice with its details');
      await page.click('sekisho-consent [data-act=accept]');
      await look('control');
      await page.click('sekisho-consent .reopen');
      await unfold();
      await look('settings with their details');
    });

    test(`accept and refuse are alike in size, weight, colour and row, ${lang}, on a wide and on a narrow screen`, async (t) => {
      const { page } = await visit(t, { pages: pages(lang), context: { reducedMotion: 'reduce' } });
      await page.waitForSelector('sekisho-consent dialog[open]');
      const measure = (act) =>
        page.locator(`sekisho-consent [data-act=${act}]`).evaluate((el) => {
          const { width, height, top, left } = el.getBoundingClientRect();
          const { color, backgroundColor, fontSize, fontWeight, borderWidth, borderColor } = getComputedStyle(el);
          return {
            look: { width, height, color, backgroundColor, fontSize, fontWeight, borderWidth, borderColor },
            top,
            left,
          };
        });
      for (const choosing of [false, true]) {
        if (choosing) await page.click('sekisho-consent [data-act=choose]');
        for (const width of [1280, 360]) {
          await page.setViewportSize({ width, height: 700 });
          const [accept, refuse] = [await measure('accept'), await measure('refuse')];
          assert.deepEqual(accept.look, refuse.look);
          assert.ok(accept.look.width > 80 && accept.look.height >= 44);
          assert.equal(accept.top, refuse.top);
          for (const act of ['accept', 'refuse', choosing ? 'save' : 'choose'])
            assert.ok((await measure(act)).top + accept.look.height <= 700, `${act} is out of sight`);
          const box = await page
            .locator('sekisho-consent dialog')
            .evaluate((el) => el.getBoundingClientRect().toJSON());
          assert.ok(box.bottom <= 700 && box.right <= width, 'the banner leaves the screen');
          assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
        }
      }
    });
  }

  test('refusing all takes one press, as accepting all does, and is recorded on the device alone', async (t) => {
    const { page, collector } = await visit(t, { pages: pages('ja') });
    await page.waitForSelector('sekisho-consent dialog[open]');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await until(() => kept(page));
    assert.equal(await focused(page), 'reopen');
    assert.equal(collector.sent('/v1/consent').length, 0);
  });

  test('nothing moves: the layout shift is 0 when the banner comes, changes and goes, and when its details come late', async (t) => {
    const { page } = await visit(t, {
      notice: (_, said) => pause(900).then(() => said),
      pages: pages('en', { head: '<style>body > :first-child { margin-top: 100px }</style>' }),
      start: () => {
        self.shifts = [];
        new PerformanceObserver((list) => self.shifts.push(...list.getEntries().map((e) => e.value))).observe({
          type: 'layout-shift',
          buffered: true,
        });
      },
    });
    await page.waitForSelector('sekisho-consent dialog[open]');
    for (const act of ['choose', 'accept']) {
      await pause(300);
      await page.click(`sekisho-consent [data-act=${act}]`);
      if (act === 'choose') await explained(page);
    }
    await page.click('sekisho-consent .reopen');
    await pause(400);
    assert.deepEqual(await page.evaluate(() => self.shifts), []);
    // The observer does see a shift.
    await page.evaluate(() =>
      document.querySelector('main').prepend(Object.assign(document.createElement('div'), { style: 'height:200px' })),
    );
    await until(() => page.evaluate(() => self.shifts.length));
  });

  test('it moves only for those who have not asked for less motion', async (t) => {
    const moving = async (reducedMotion) => {
      const { page } = await visit(t, { pages: pages('en'), context: { reducedMotion } });
      await page.waitForSelector('sekisho-consent dialog[open]');
      return page.locator('sekisho-consent dialog').evaluate((el) => getComputedStyle(el).animationName);
    };
    assert.equal(await moving('no-preference'), 'rise');
    assert.equal(await moving('reduce'), 'none');
  });

  test('the banner does not take the focus, does not block the page and does not hide what has the focus', async (t) => {
    const filler = '<p>Text.</p>'.repeat(80);
    const { page, site, collector } = await visit(t, {
      pages: pages('en', {
        body: `<main><h1>Shop</h1><label>Search <input id="search" autofocus></label>${filler}<a id="last" href="/two">Two</a></main>`,
      }),
    });
    await page.waitForSelector('sekisho-consent dialog[open]');
    await page.keyboard.type('matcha');
    assert.equal(await page.inputValue('#search'), 'matcha');
    await page.keyboard.press('Tab');
    assert.equal(await focused(page), 'last');
    const [link, top] = await page.evaluate(() => [
      document.querySelector('#last').getBoundingClientRect().bottom,
      document.querySelector('sekisho-consent').shadowRoot.querySelector('dialog').getBoundingClientRect().top,
    ]);
    assert.ok(link <= top, `the focus is ${link - top} pixels behind the banner`);
    await page.keyboard.press('Enter');
    await page.waitForURL(`${site.url}/two`);
    await page.waitForSelector('sekisho-consent dialog[open]');
    await page.click('sekisho-consent [data-act=refuse]');
    await until(async () => (await page.evaluate(() => document.documentElement.style.scrollPaddingBottom)) === '');
    assert.equal(collector.sent('/v1/consent').length, 0);
  });

  for (const [locale, titles] of [
    ['en-GB', { ja: 'ja', 'ja-JP': 'ja' }],
    ['ja-JP', { en: 'en', '': 'ja', fr: 'ja' }],
    ['fr-FR', { fr: 'en' }],
  ])
    test(`the language is that of the document, else one of the visitor, ${locale}`, async (t) => {
      const [first] = Object.keys(titles);
      const { page } = await visit(t, { pages: pages(first), context: { locale } });
      await page.waitForSelector('sekisho-consent dialog[open]');
      for (const [lang, want] of Object.entries(titles)) {
        await page.evaluate((l) => {
          document.documentElement.lang = l;
          return sekisho.consent();
        }, lang);
        assert.equal(await page.locator('sekisho-consent .title').textContent(), config.texts[want]._title, lang);
        assert.equal(await page.locator('sekisho-consent').getAttribute('lang'), want);
      }
    });

  test('a page may open the settings itself, by attribute and by call, and gets the focus back', async (t) => {
    const { page } = await visit(t, { pages: pages('en'), decision: granted('visitor-1', [config.ask[0]]) });
    await ready(page);
    assert.equal(await page.locator('sekisho-consent dialog[open]').count(), 0, 'who has decided is asked again');
    await page.focus('#open');
    await page.keyboard.press('Enter');
    await page.waitForSelector('sekisho-consent dialog:modal');
    // What was granted is ticked; what runs unless one objects was refused, so its objection is.
    assert.deepEqual(
      await page.locator('sekisho-consent input:checked').evaluateAll((boxes) => boxes.map((b) => b.value)),
      [config.ask[0], ...config.optout],
    );
    await page.click('sekisho-consent [data-act=close]');
    assert.equal(await focused(page), 'open');
    await page.evaluate(() => sekisho.load('consent', 'open'));
    assert.equal(await page.locator('sekisho-consent dialog:modal').count(), 1);
  });

  test('settings that were closed without a decision leave the question standing', async (t) => {
    const { page } = await visit(t, { pages: pages('en') });
    await page.waitForSelector('sekisho-consent dialog[open]');
    await page.evaluate(() => sekisho.load('consent', 'open'));
    assert.equal(await page.locator('sekisho-consent dialog:modal').count(), 1);
    await page.keyboard.press('Escape');
    await until(async () => (await page.locator('sekisho-consent dialog[open]').count()) === 1);
    assert.equal(await page.locator('sekisho-consent dialog:modal').count(), 0);
    assert.deepEqual(await page.evaluate(() => localStorage.length), 0);
  });

  test('whoever sends Global Privacy Control is told that it is heard', async (t) => {
    const { page, collector } = await visit(t, {
      pages: pages('ja'),
      start: () => Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true }),
    });
    await page.waitForSelector('sekisho-consent dialog[open]');
    const seen = await shown(page);
    assert.match(seen[2], /GPC.*閲覧と利用の履歴によるおすすめ.*マーケティング$/);
    await page.click('sekisho-consent [data-act=accept]');
    const [act] = await until(() => collector.acts().length && collector.acts());
    assert.equal(act.text_hash, hash(seen));
    await page.click('sekisho-consent .reopen');
    assert.ok(!(await shown(page)).some((text) => text.includes('GPC')), 'overridden, and still said to be heard');
  });

  test('an act carries the hash of the text of the language and the screen it was made on', async (t) => {
    const hashes = [];
    for (const lang of ['ja', 'en']) {
      const { page, collector } = await visit(t, { pages: pages(lang) });
      await page.waitForSelector('sekisho-consent dialog[open]');
      const seen = await shown(page);
      assert.deepEqual(seen, [
        ...['_title', '_body', ...everything, '_accept', '_refuse', '_choose'].map((key) => config.texts[lang][key]),
      ]);
      await page.click('sekisho-consent [data-act=accept]');
      const [act] = await until(() => collector.acts().length && collector.acts());
      assert.equal(act.text_hash, hash(seen));
      hashes.push(act.text_hash);
    }
    assert.notEqual(hashes[0], hashes[1]);
  });

  for (const lang of ['ja', 'en'])
    test(`each purpose says what the policy says of it, ${lang}, and the act has the hash of that too`, async (t) => {
      const { page, collector } = await visit(t, {
        pages: pages(lang),
        notice: (_, said) => {
          said.purposes.find((p) => p.id === 'marketing_use').recipients = [
            { name: 'A社', entrusted: false },
            { name: 'B社', entrusted: true },
          ];
          return said;
        },
      });
      await page.waitForSelector('sekisho-consent dialog[open]');
      assert.equal(collector.sent('/v1/notice').length, 0, 'loaded before anybody wants it');
      await page.click('sekisho-consent [data-act=choose]');
      const seen = await explained(page);
      const said = messages[lang];
      const times = {
        ja: { 750: '750日（約25か月）', 395: '395日（約13か月）', 1825: '1,825日（約5年）', 7: '7日' },
        en: {
          750: '750 days (about 25 months)',
          395: '395 days (about 13 months)',
          1825: '1,825 days (about 5 years)',
          7: '7 days',
        },
      }[lang];
      const recipients = { ja: 'A社、B社（委託先）', en: 'A社 and B社 (on our behalf)' }[lang];
      const facts = (id) => {
        const p = purposes(lang)[id];
        return [
          p.text,
          said.basis,
          { consent: said.consent, opt_out: said.opt_out, notified: said.notified }[p.basis],
          said.recipients,
          id === 'marketing_use' ? recipients : said.operator,
          said.data,
          ...p.categories.map((c) => {
            const { label, days } = notices[lang].categories[c];
            return { ja: `${label}：最長${times[days]}`, en: `${label}: at most ${times[days]}` }[lang];
          }),
        ];
      };
      const choice = (id) => [config.texts[lang][id], said.details, ...facts(id)];
      assert.deepEqual(seen, [
        config.texts[lang]._title,
        config.texts[lang]._body,
        said.ask,
        ...config.ask.flatMap(choice),
        said.object,
        ...config.optout.flatMap(choice),
        said.free,
        ...['customer_support', 'security_incident'].flatMap((id) => [purposes(lang)[id].label, ...facts(id)]),
        said.policy,
        ...['_accept', '_refuse', '_save'].map((key) => config.texts[lang][key]),
      ]);
      // What runs anyway is no choice.
      assert.deepEqual(
        await page.locator('sekisho-consent input').evaluateAll((boxes) => boxes.map((b) => b.value)),
        everything,
      );
      const link = page.locator('sekisho-consent a');
      assert.equal(await link.getAttribute('href'), `${collector.url}/privacy/shop/${lang}/`);
      assert.equal(
        await page.getByText(said.details).first().getAttribute('aria-labelledby'),
        `more-${config.ask[0]} name-${config.ask[0]}`,
      );
      await page.click('sekisho-consent [data-act=accept]');
      const [act] = await until(() => collector.acts().length && collector.acts());
      assert.equal(act.text_hash, hash(seen));
      assert.deepEqual(
        collector.sent('/v1/notice').map((r) => r.language),
        [lang],
      );
    });

  for (const [why, notice] of [
    ['fails', () => undefined],
    ['is of another version of the policy', (_, said) => ({ ...said, policy: 'default/2030-01-01' })],
  ])
    test(`where the notice ${why}, one can choose all the same, is told, and finds the whole policy`, async (t) => {
      let broken = true;
      const { page, collector } = await visit(t, {
        pages: pages('ja'),
        notice: (lang, said) => (broken ? notice(lang, said) : said),
      });
      await page.waitForSelector('sekisho-consent dialog[open]');
      await page.click('sekisho-consent [data-act=choose]');
      const seen = await explained(page);
      assert.equal(seen.filter((text) => text === messages.ja.missing).length, everything.length + 1);
      assert.ok(!seen.includes(purposes('ja')[config.ask[0]].text), 'the words of another version are shown');
      assert.ok(seen.includes(messages.ja.policy));
      await page.check(`sekisho-consent input[value=${config.ask[2]}]`);
      await page.click('sekisho-consent [data-act=save]');
      const [act] = await until(() => collector.acts().length && collector.acts());
      assert.deepEqual(act.granted, [config.ask[2], ...config.optout]);
      assert.equal(act.text_hash, hash(seen));
      // Who asks again, is told.
      broken = false;
      await page.click('sekisho-consent .reopen');
      assert.ok((await explained(page)).includes(purposes('ja')[config.ask[0]].text));
      assert.equal(collector.sent('/v1/notice').length, 2);
    });

  test('a decision made before the details have come has the hash of what was there', async (t) => {
    let release;
    const { page, collector } = await visit(t, {
      pages: pages('en'),
      notice: (_, said) =>
        new Promise((resolve) => {
          release = () => resolve(said);
        }),
    });
    await page.waitForSelector('sekisho-consent dialog[open]');
    await page.click('sekisho-consent [data-act=choose]');
    await page.check(`sekisho-consent input[value=${config.ask[0]}]`);
    const early = await shown(page);
    assert.equal(early.filter((text) => text === messages.en.loading).length, everything.length + 1);
    await until(() => release);
    release();
    const late = await explained(page);
    // What arrives changes neither the choice nor the focus.
    assert.deepEqual(
      await page.locator('sekisho-consent input:checked').evaluateAll((boxes) => boxes.map((b) => b.value)),
      [config.ask[0]],
    );
    assert.equal(await focused(page), config.ask[0]);
    assert.notDeepEqual(late, early);
    const { page: other, collector: taken } = await visit(t, {
      pages: pages('en'),
      notice: () => new Promise(() => {}),
    });
    await other.waitForSelector('sekisho-consent dialog[open]');
    await other.click('sekisho-consent [data-act=choose]');
    await other.check(`sekisho-consent input[value=${config.ask[0]}]`);
    await other.click('sekisho-consent [data-act=save]');
    const [act] = await until(() => taken.acts().length && taken.acts());
    assert.equal(act.text_hash, hash(early));
    await page.click('sekisho-consent [data-act=save]');
    const [after] = await until(() => collector.acts().length && collector.acts());
    assert.equal(after.text_hash, hash(late));
  });

  test('a strict Content-Security-Policy that allows the collector is enough', async (t) => {
    const { page, collector } = await visit(t, {
      pages: pages('en'),
      headers: (url) => ({
        'Content-Security-Policy': `default-src 'none'; script-src ${url}; connect-src ${url}; require-trusted-types-for 'script'`,
      }),
      start: () => {
        self.blocked = [];
        addEventListener('securitypolicyviolation', (e) => self.blocked.push(e.violatedDirective));
      },
    });
    await page.waitForSelector('sekisho-consent dialog[open]');
    assert.equal(await page.locator('sekisho-consent dialog').evaluate((el) => getComputedStyle(el).position), 'fixed');
    await page.click('sekisho-consent [data-act=accept]');
    await until(() => collector.events('page_view').length === 1);
    assert.deepEqual(await page.evaluate(() => self.blocked), []);
  });

  test('a page that replaces its body keeps the way back', async (t) => {
    const { page } = await visit(t, { pages: pages('en'), decision: refused() });
    await page.waitForSelector('sekisho-consent .reopen');
    await page.evaluate(() => {
      document.body = document.createElement('body');
    });
    await page.click('sekisho-consent .reopen');
    assert.equal(await page.locator('sekisho-consent dialog:modal').count(), 1);
  });

  test('a policy that asks nothing shows nothing', async (t) => {
    const { page } = await visit(t, { pages: pages('en'), settings: { ask: [], optout: [], gpc: [] } });
    await ready(page);
    await pause(200);
    assert.equal(await page.locator('sekisho-consent').count(), 0);
  });

  test('a policy that only lets one object asks nobody, and keeps the control there', async (t) => {
    const { page } = await visit(t, { pages: pages('en'), settings: { ask: [] } });
    await page.waitForSelector('sekisho-consent .reopen');
    assert.equal(await page.locator('sekisho-consent dialog[open]').count(), 0);
  });
});
