// The tracker core, served as /s.js?site=… behind `self.sekisho={...TrackerConfig}`.
//
// Read it top to bottom: the visitor's decision, the gate, delivery, the page view and its engagement, the modules,
// and what starts them. The build fails when this exceeds its budget (build.mjs), so whatever only some pages need is
// a module, loaded on its first use.
//
// Nothing here writes to the device, and nothing identifies a visitor without a grant: no cookie, no storage, no
// fingerprint. The consent module alone stores, and only upon the visitor's decision.
import type { Event, Sekisho, State } from './types.ts';

const c: Sekisho = self.sekisho;
const doc = document;
const now = Date.now;
const base = (doc.currentScript as HTMLScriptElement).src.replace(/[^/]*$/, '');
// Exists in secure contexts. Elsewhere the collector makes the id, and a retry may count twice.
const uuid = () => crypto.randomUUID?.();

// --- The decision -----------------------------------------------------------------------------------------------

const held: Event[] = [];

/** The decision kept on the device. Under another policy, or past its time, only its refusals count; GPC adds its own. */
const read = () => {
  let s: State = { deny: [] };
  try {
    s = JSON.parse(localStorage._sk);
  } catch {}
  c.s =
    s.v === c.policy && (s.until as number) > now()
      ? s
      : { deny: [...s.deny, ...((navigator.globalPrivacyControl && c.gpc) || [])] };
};

c.set = (s) => {
  close(); // What was collected under the old decision goes out under it.
  c.s = s;
  // A grant never legalises what came before it: released events are collected at its moment, and carry that time.
  // After a refusal the gate lets none of them through, and they end here.
  held.splice(0).map((e) => gate({ ...e, time: now() }));
};

// --- The gate ---------------------------------------------------------------------------------------------------

const gate = (e: Event) => {
  if (c.s.ok || c.free.includes(e.type)) {
    queue.push(e);
    // A batch stays under 20,000 UTF-16 units, so under the 64 KiB that a page may have under way when it closes.
    if (JSON.stringify(queue).length > 12e3) close();
    timer || later(1e3);
  } else c.s.v || held[49] || held.push(e);
};

c.track = (type, fields) => gate({ id: uuid(), type, time: now(), url, view_id, ...fields });
c.op = (name, target) => c.track('operation', { operation: { name, target } });
c.user = (u, d) => {
  close();
  c.u = u;
  c.d = d;
};

// --- Delivery ---------------------------------------------------------------------------------------------------

let queue: Event[] = [];
let out: Parameters<Sekisho['send']>[] = [];
let timer = 0;
let failures = 0;

/** Makes the queued events a batch under the decision in force. */
const close = () => {
  if (queue[0])
    c.send('events', {
      site: c.site,
      deny: c.s.deny,
      env: c.e,
      ...(c.s.ok && { cookie_id: c.s.id, user_id: c.u, device_id: c.d }),
      events: queue,
    });
  queue = [];
};

c.send = (...item) => {
  // Bounded: while the collector stays away, the oldest goes.
  out = [...out.slice(-19), item];
  timer || later(0);
};

const later = (wait: number) => {
  clearTimeout(timer);
  timer = setTimeout(flush, wait);
};

const flush = () => {
  close();
  timer = 0;
  out.splice(0).map((item) => {
    const [path, body, done] = item;
    const text = JSON.stringify({ ...body, sent_at: now() });
    // A batch that failed, and whose id has been withdrawn since, is not sent again.
    if (!body.cookie_id || body.cookie_id === c.s.id)
      // A string body is text/plain, so there is no preflight.
      fetch(`${base}v1/${path}`, { method: 'POST', body: text, credentials: 'omit', keepalive: text.length < 2e4 })
        .catch(() => {})
        .then((r) => {
          if ((r as Response)?.status < 429) {
            failures = 0;
            (r as Response).ok && done?.();
          } else {
            c.send(...item);
            later((+(r?.headers.get('Retry-After') as string) || 2 ** failures++) * 1e3);
          }
        });
  });
};

// --- The page view and its engagement ---------------------------------------------------------------------------

let url: string | undefined;
let view_id: string;
let ms = 0;
let scroll = 0;
let since = 0;

/**
 * Runs at each event that can begin, change or end a view: adds up the time the page is visible and has focus, and the
 * deepest scroll. A page that is hidden, as a prerendered one is, has no view until it is seen. Leaving sends one
 * engagement, and another for what is added when the visitor comes back to a hidden tab (it may never have come back).
 */
const tick = ({ type, key, target }: { type?: string; key?: string | null; target?: EventTarget | null } = {}) => {
  const gone = type === 'pagehide';
  const away = doc.hidden || gone;
  // Without the fragment: hash routes are no page views, and fragments may hold tokens.
  const here = (location.href.split('#')[0] as string).slice(0, 2048);
  const moved = here !== url;
  ms += since && now() - since;
  since = +(!away && doc.hasFocus()) * now();
  // Another tab's decision holds here too.
  if (key === '_sk') {read();c.set(c.s);}
  if ((away || moved) && ms > 0) {
    c.track('engagement', { engagement: { ms, scroll } });
    ms = 0;
  }
  if (away) flush();
  else if (moved) {
    view_id = uuid();
    scroll = 0;
    const referrer = url || doc.referrer.slice(0, 2048);
    url = here;
    c.track('page_view', { referrer, title: doc.title.slice(0, 500) });
    modules.map((m) => doc.querySelector(`[data-sekisho-${m}]`) && c[m]());
    // Asks for the decision that the policy in force still lacks.
    c.s.v || c.consent();
  }
  // Coming back from the back/forward cache is a new view.
  if (gone) url = '';
  scroll = Math.max(
    scroll,
    Math.min(100, Math.round(((scrollY + innerHeight) / doc.documentElement.scrollHeight) * 100)),
  );
  if (type === 'click') {
    const el = (target as Element).closest<HTMLElement>('[data-sekisho-op]');
    const link = (target as Element).closest('a');
    if (el) c.op(el.dataset.sekishoOp as string, el.dataset.sekishoTarget);
    if (link?.host && link.host !== location.host) c.op('outbound_link', link.hostname);
  }
};

// --- The modules ------------------------------------------------------------------------------------------------

// A module's call fetches it on its first use.
const modules = 'ad consent env links purchase search'.split(' ') as 'env'[];
modules.map((m) => {
  c[m] = (...args) => import(`${base}s.${m}.js?v=${c.v}`).then((module) => module.default(...args));
});

// --- The start --------------------------------------------------------------------------------------------------

for (const m of ['pushState', 'replaceState'] as const) {
  const original = history[m];
  history[m] = (...args) => {
    original.apply(history, args);
    // The page sets its title after it has moved; several moves in one turn are one view.
    setTimeout(tick);
  };
}
'click focus blur scroll visibilitychange pagehide pageshow popstate storage'
  .split(' ')
  .map((type) => addEventListener(type, tick));

read();
tick();
// Replays what the page called before the tracker had loaded; what it calls that way from now on is run at once.
const push = ([name, ...args]: [string, ...unknown[]]) => c[name as 'env'](...(args as []));
((self._skq as unknown as [string][]) || []).map(push);
self._skq = { push };
