// What other tags of the page learn: the event, the question, Consent Mode and TCF.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { config, everything, granted, launch, notices, quit, ready, refused, until, visit } from './support.mjs';

before(launch);
after(quit);

/** Writes down from the start what the page is told. */
const listen = () => {
  self.told = [];
  document.addEventListener('sekisho:consent', ({ detail }) => self.told.push(detail));
};
const told = (page) => page.evaluate(() => self.told);

/** The commands that have reached Google's tags, as they read them: [command, which, signals]. */
const commands = (page) =>
  page.evaluate(() =>
    (self.dataLayer ?? []).map((said) => {
      if (Object.prototype.toString.call(said) !== '[object Arguments]') throw new Error('no arguments object');
      return [...said];
    }),
  );
const asked = (page, command, parameter) =>
  page.evaluate(
    ([name, value]) =>
      new Promise((resolve) => self.__tcfapi(name, 2, (answer, success) => resolve({ answer, success }), value)),
    [command, parameter],
  );
const bridged = (page) => page.waitForFunction(() => self.__tcfapi && self.dataLayer?.length);
const both = (more) => ({ '/': { attributes: 'data-bridge="consent-mode tcf"', ...more } });

/** The default of the bridge, as the pipeline reads the signals the other way. */
const ties = {};
for (const [, signal, purpose] of readFileSync(
  new URL('../../internal/consentmode/acts.go', import.meta.url),
  'utf8',
).matchAll(/\{Signal: (\w+), Purpose: "(\w+)"/g)) {
  const name = signal.replace(/(?<=.)[A-Z]/g, '_$&').toLowerCase();
  ties[name] = [...(ties[name] ?? []), purpose];
}
const signals = (decision) =>
  Object.fromEntries(
    Object.entries(ties).map(([name, purposes]) => [
      name,
      purposes.every((p) => decision.includes(p)) ? 'granted' : 'denied',
    ]),
  );
const denied = signals([]);

/** By TCF purpose, what a decision consents to: nothing but what rests on consent. */
const consents = (decision) =>
  Object.fromEntries(
    Array.from({ length: 11 }, (_, i) => i + 1).map((id) => {
      const mapped = notices.en.tcf[id] ?? [];
      return [id, mapped.length > 0 && mapped.every((p) => config.ask.includes(p) && decision.includes(p))];
    }),
  );

/** Numbers that look random and are the same at each run. */
function* numbers(seed) {
  for (let x = seed; ; ) {
    x = (x * 1664525 + 1013904223) >>> 0;
    yield x / 2 ** 32;
  }
}

describe('what other tags learn', { concurrency: 4 }, () => {
  test('the page is told at the start when a decision stands, and may ask at any time', async (t) => {
    const { page } = await visit(t, { decision: granted('visitor-1', [config.ask[0]]), start: listen });
    await until(async () => (await told(page)).length);
    assert.deepEqual(await told(page), [
      {
        policy: config.policy,
        granted: [config.ask[0]],
        refused: everything.filter((p) => p !== config.ask[0]),
        decided: true,
      },
    ]);
    assert.deepEqual(
      await page.evaluate((ids) => ids.map((p) => sekisho.granted(p)), [...everything, 'security_incident', 'x']),
      [true, ...everything.slice(1).map(() => false), false, false],
    );
  });

  test('before a decision the page is told nothing, and nothing is granted', async (t) => {
    const { page } = await visit(t, { start: listen });
    await ready(page);
    assert.deepEqual(await told(page), []);
    assert.deepEqual(await page.evaluate((ids) => ids.filter((p) => sekisho.granted(p)), everything), []);
  });

  test('each decision is told, a grant not before the collector has it, a narrower one at once', async (t) => {
    const { page, collector } = await visit(t, { start: listen });
    await ready(page);
    const away = (yes) => {
      collector.answers['/v1/consent'] = yes ? Array(99).fill(503) : [];
    };
    away(true);
    const [a, b] = config.ask;
    await page.evaluate((p) => void sekisho.consent(p), [a, b]);
    await until(() => collector.sent('/v1/consent').length);
    assert.ok(!(await told(page)).some((d) => d.granted.length || d.decided), 'granted ahead of its act');
    assert.equal(await page.evaluate((p) => sekisho.granted(p), a), false);
    away(false);
    await until(async () => (await told(page)).some((d) => d.decided));
    assert.deepEqual((await told(page)).at(-1).granted, [a, b, ...config.optout]);
    // Narrower: in force although the collector is away.
    away(true);
    const narrowed = await page.evaluate((p) => {
      void sekisho.consent([p]);
      return new Promise((resolve) =>
        document.addEventListener('sekisho:consent', ({ detail }) => resolve(detail), { once: true }),
      );
    }, a);
    assert.deepEqual(narrowed.granted, [a, ...config.optout]);
    away(false);
    await until(() => collector.acts().length === 2);
    await until(() => page.evaluate(() => !JSON.parse(localStorage._sk).act));
    // The same again is a decision too, and so is a withdrawal.
    const before = (await told(page)).length;
    await page.evaluate((p) => sekisho.consent([p]), a);
    assert.equal((await told(page)).length, before + 1);
    await page.evaluate(() => sekisho.load('consent', 'withdraw'));
    const last = (await told(page)).at(-1);
    assert.deepEqual([last.granted, last.refused, last.decided], [config.optout, config.ask, true]);
  });

  test("another tab's decision is told", async (t) => {
    const { page, context } = await visit(t, { start: listen });
    await ready(page);
    const other = await context.newPage();
    await other.goto(page.url());
    await other.evaluate((kept) => localStorage.setItem('_sk', kept), JSON.stringify(granted()));
    await until(async () => (await told(page)).length === 1);
    assert.deepEqual((await told(page))[0].granted, everything);
  });

  test('without a wish of the page there is no bridge', async (t) => {
    const { page } = await visit(t, { decision: granted() });
    await ready(page);
    assert.deepEqual(await page.evaluate(() => ['dataLayer' in self, '__tcfapi' in self, frames.length]), [
      false,
      false,
      0,
    ]);
  });

  test('Consent Mode: denied before a decision, then as the visitor decides', async (t) => {
    const { page, collector } = await visit(t, { pages: both() });
    await bridged(page);
    assert.equal(Object.keys(ties).length, 5, 'the ties of internal/consentmode are not read');
    assert.deepEqual(await commands(page), [['consent', 'default', denied]]);
    await page.waitForSelector('sekisho-consent dialog[open]');
    await page.click('sekisho-consent [data-act=accept]');
    await until(() => collector.acts().length);
    await until(async () => (await commands(page)).at(-1)[2].ad_storage === 'granted');
    assert.deepEqual((await commands(page)).at(-1), ['consent', 'update', signals(everything)]);
    assert.ok(Object.values(signals(everything)).every((word) => word === 'granted'));
    await page.evaluate(() => sekisho.load('consent', 'withdraw'));
    assert.deepEqual((await commands(page)).at(-1), ['consent', 'update', denied]);
  });

  test('Consent Mode: a decision that stands follows the default, a refusal too', async (t) => {
    for (const [decision, want] of [
      [granted(), signals(everything)],
      [refused(), denied],
    ]) {
      const { page } = await visit(t, { pages: both(), decision });
      await bridged(page);
      assert.deepEqual(await commands(page), [
        ['consent', 'default', denied],
        ['consent', 'update', want],
      ]);
    }
  });

  test('Consent Mode: a mapping of the page counts instead, and grants nothing for what it does not name', async (t) => {
    const { page } = await visit(t, { decision: granted() });
    await ready(page);
    await page.evaluate(
      (p) =>
        sekisho.load('bridge', {
          consentMode: { analytics_storage: [p], ad_storage: [], ad_user_data: [p, 'unknown_purpose'] },
        }),
      config.ask[4],
    );
    assert.deepEqual((await commands(page)).at(-1), [
      'consent',
      'update',
      { analytics_storage: 'granted', ad_storage: 'denied', ad_user_data: 'denied' },
    ]);
    assert.equal(await page.evaluate(() => '__tcfapi' in self), false);
  });

  test('no decision is widened on the way to a tag', async (t) => {
    const { page } = await visit(t, { pages: both() });
    await bridged(page);
    const next = numbers(20221);
    const random = () => next.next().value;
    for (let round = 0; round < 40; round++) {
      const chosen = config.ask.filter(() => random() < 0.7);
      const objected = config.optout.filter(() => random() < 0.5);
      const step = random();
      await page.evaluate(
        ([yes, no, how]) => {
          if (how < 0.1) return sekisho.load('consent', 'withdraw');
          // Another tab, or a decision that has lapsed or is of another policy.
          if (how < 0.3) {
            const s = JSON.parse(localStorage._sk ?? '{}');
            const old = how < 0.2 ? { ...s, v: 'default/2019-10-15' } : { ...s, until: 1 };
            sekisho.set(JSON.stringify(old));
            return undefined;
          }
          return sekisho.consent(yes, no);
        },
        [chosen, objected, step],
      );
      const standing = await page.evaluate(
        (ids) => ids.filter((p) => sekisho.granted(p)),
        [...everything, 'security_incident'],
      );
      if (step < 0.1) assert.ok(!standing.some((p) => config.ask.includes(p)));
      else if (step < 0.3) assert.deepEqual(standing, []);
      else
        assert.deepEqual(
          standing.filter((p) => config.ask.includes(p)),
          chosen,
        );
      const { answer } = await asked(page, 'getTCData');
      assert.deepEqual(answer.purpose.consents, consents(standing), `round ${round}`);
      const [, , said] = (await commands(page)).at(-1);
      assert.deepEqual(said, signals(standing), `round ${round}`);
    }
  });

  test('TCF: it answers, says that it is nobody registered, and speaks for no vendor', async (t) => {
    const { page } = await visit(t, { pages: both(), decision: granted() });
    await bridged(page);
    const { answer: ping, success } = await asked(page, 'ping');
    assert.ok(success);
    assert.deepEqual(
      [ping.cmpLoaded, ping.cmpStatus, ping.cmpId, ping.gdprApplies, ping.displayStatus, ping.apiVersion],
      [true, 'loaded', 0, true, 'hidden', '2.2'],
    );
    const { answer: data } = await asked(page, 'getTCData');
    assert.deepEqual(data.purpose, { consents: consents(everything), legitimateInterests: {} });
    assert.equal(data.purpose.consents[5], true);
    // The opt-out of purpose 11 is no consent, and nobody has mapped purpose 1.
    assert.deepEqual([data.purpose.consents[11], data.purpose.consents[1]], [false, false]);
    assert.deepEqual(
      [data.tcString, data.cmpId, data.eventStatus, data.vendor.consents, data.specialFeatureOptins],
      ['', 0, 'tcloaded', {}, {}],
    );
    for (const command of ['setTCData', undefined, 'toString'])
      assert.deepEqual(await asked(page, command), { answer: null, success: false });
    const old = await page.evaluate(
      () => new Promise((resolve) => self.__tcfapi('getTCData', 1, (...answer) => resolve(answer))),
    );
    assert.deepEqual(old, [null, false]);
    assert.equal(await page.evaluate(() => self.__tcfapi('getTCData', 2)), undefined);
  });

  test('TCF: a listener hears of each decision until it is removed, and one that fails stops no other', async (t) => {
    const { page, faults } = await visit(t, { pages: both(), decision: granted() });
    await bridged(page);
    await page.evaluate(() => {
      self.heard = [];
      self.__tcfapi('addEventListener', 2, () => {
        throw new Error('a fault of the tag');
      });
      self.__tcfapi('addEventListener', 2, (data, success) => self.heard.push({ ...data, success }));
    });
    const heard = () => page.evaluate(() => self.heard);
    await until(async () => (await heard()).length === 1);
    await page.evaluate(() => sekisho.load('consent', 'withdraw'));
    await until(async () => (await heard()).length > 1);
    const [first, second] = await heard();
    assert.deepEqual(
      [first.eventStatus, first.purpose.consents[5], first.listenerId, first.success],
      ['tcloaded', true, 2, true],
    );
    assert.deepEqual(
      [second.eventStatus, second.purpose.consents, second.listenerId],
      ['useractioncomplete', consents([]), 2],
    );
    assert.deepEqual(await asked(page, 'removeEventListener', first.listenerId), { answer: true, success: true });
    assert.deepEqual(await asked(page, 'removeEventListener', first.listenerId), { answer: false, success: true });
    const count = (await heard()).length;
    await page.evaluate((p) => sekisho.consent([p]), config.ask[0]);
    assert.equal((await heard()).length, count);
    assert.ok(faults.length && faults.every((f) => f.message === 'a fault of the tag'));
    faults.length = 0;
  });

  test('TCF: while nobody has decided it says that the question is on the screen', async (t) => {
    const { page } = await visit(t, { pages: both() });
    await bridged(page);
    assert.equal((await asked(page, 'ping')).answer.displayStatus, 'visible');
    const { answer } = await asked(page, 'getTCData');
    assert.deepEqual([answer.eventStatus, answer.purpose.consents], ['cmpuishown', consents([])]);
  });

  test('TCF: where the policy cannot be loaded nothing is consented to', async (t) => {
    const { page } = await visit(t, { pages: both(), decision: granted(), notice: () => undefined });
    await bridged(page);
    assert.deepEqual((await asked(page, 'getTCData')).answer.purpose.consents, consents([]));
  });

  for (const form of ['text', 'object'])
    test(`TCF: a tag in a frame finds the locator and asks by message, ${form}`, async (t) => {
      const frame = `<script>
        const text = ${form === 'text'};
        let host = parent;
        const ask = () => {
          try { if (!host.frames.__tcfapiLocator) throw 0; } catch { return setTimeout(ask, 50); }
          for (const [callId, command] of [['a', 'addEventListener'], ['b', 'ping'], ['c', 'nonsense']]) {
            const call = { __tcfapiCall: { command, version: 2, callId } };
            host.postMessage(text ? JSON.stringify(call) : call, '*');
          }
          host.postMessage('no JSON', '*');
          host.postMessage(null, '*');
        };
        addEventListener('message', ({ data }) => {
          const { __tcfapiReturn: answer } = text ? JSON.parse(data) : data;
          top.postMessage({ answer }, '*');
        });
        ask();
      </script>`;
      const { page } = await visit(t, {
        pages: both({
          body: `<main><h1>Page</h1></main><iframe title="tag" srcdoc="${frame.replaceAll('"', '&quot;')}"></iframe>`,
        }),
        decision: granted(),
        start: () => {
          self.answers = [];
          if (self === top) addEventListener('message', ({ data }) => data?.answer && self.answers.push(data.answer));
        },
      });
      const answers = (callId) => page.evaluate((id) => self.answers.filter((answer) => answer.callId === id), callId);
      await until(async () => (await answers('a')).length && (await answers('c')).length);
      const [{ returnValue, success }] = await answers('a');
      assert.deepEqual([returnValue.purpose.consents, success], [consents(everything), true]);
      assert.equal((await answers('b'))[0].returnValue.cmpLoaded, true);
      assert.deepEqual(await answers('c'), [{ returnValue: null, success: false, callId: 'c' }]);
      await page.evaluate(() => sekisho.load('consent', 'withdraw'));
      await until(async () => (await answers('a')).length > 1);
      assert.deepEqual((await answers('a')).at(-1).returnValue.purpose.consents, consents([]));
      // The locator takes no room and shows nothing.
      assert.equal(await page.locator('iframe[name=__tcfapiLocator]').isVisible(), false);
    });

  test('TCF: what a stub was asked before is answered, and a CMP that is there already stays', async (t) => {
    const stub = (loaded) => `<script>{
      const queue = [];
      self.__tcfapi = (...args) => {
        if (!args.length) return queue;
        if (args[0] === 'ping') args[2]({ cmpLoaded: ${loaded}, cmpStatus: 'stub' }, true);
        else queue.push(args);
      };
      self.first = self.__tcfapi;
      self.early = [];
      self.__tcfapi('addEventListener', 2, (data) => self.early.push(data));
    }</script>`;
    const { page } = await visit(t, { pages: both({ head: stub(false) }), decision: granted() });
    await until(() => page.evaluate(() => self.early.length));
    assert.deepEqual(await page.evaluate(() => self.early[0].purpose.consents), consents(everything));
    const { page: other } = await visit(t, { pages: both({ head: stub(true) }), decision: granted() });
    await bridged(other);
    assert.equal(await other.evaluate(() => self.__tcfapi === self.first), true);
  });
});
