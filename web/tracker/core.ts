// The tracker core, served as /s.js?site=… behind `self.sekisho={...TrackerConfig}`.
//
// Read it top to bottom: the visitor's decision, the gate, delivery, the view and its engagement, the modules, and what
// starts them. It has a budget, 1,228 bytes gzipped, and the build fails above it (build.mjs): whatever the first view
// does not need is a module. Some lines are written for their size; where that costs clarity, a comment says what they do.
//
// Nothing here writes to the device, and nothing identifies a visitor without a grant: no cookie, no storage, no
// fingerprint. The consent module alone stores, and only upon the visitor's decision.
import type { Batch, Call, Event, Sekisho } from './types.ts';

// A block, so that a classic script adds no name to the page.
{
  const c: Sekisho = sekisho;
  const doc = document;
  const now = Date.now;
  const base = (doc.currentScript as HTMLScriptElement).src.split('s.js?')[0];

  /** Events that need consent while the visitor has not decided: in memory, at most 50, never sent. */
  const held: Event[] = [];
  /** Batches to send, the last of them perhaps still open. At most 20: while the collector stays away, the newest are lost. */
  const out: Batch[] = [];
  let open: Batch | 0;
  let timer: number;
  /** Since when the collector has not answered. */
  let down: number;

  // The view: its URL (undefined before the first), its id, the time in use not yet sent, the deepest scroll in per
  // cent, and since when it is in use.
  let url: string | undefined;
  let view_id: string;
  let ms = 0;
  let scroll: number;
  let since: number | false = 0;

  // --- The decision ---------------------------------------------------------------------------------------------

  c.set = (kept) => {
    open = 0;
    try {
      c.s = JSON.parse(kept || localStorage._sk);
    } catch {
      c.s = {};
    }
    // When other things are asked now, or past its time, only its refusals count. Until there is a decision, GPC refuses.
    if (c.s.v !== c.terms || (c.s.until as number) < now())
      c.s = { deny: [...(c.s.deny || []), ...(navigator.globalPrivacyControl ? c.gpc : [])] };
    // A grant never legalises what came before it: what was held is collected at its moment, and carries that time.
    // After a refusal the gate lets none of it through, and it ends here.
    for (const e of held.splice(0)) c.track(e.type, e);
  };

  // --- The gate -------------------------------------------------------------------------------------------------

  c.track = (type, fields) => {
    // randomUUID exists in secure contexts. Elsewhere the collector makes the id, and a retry may count twice.
    const e = { id: crypto.randomUUID?.(), type, url, view_id, ...fields, time: now() };
    if (c.s.id || c.free.includes(type)) {
      // A batch is of one decision and one account: whatever changes them closes it.
      if (!open && !out[19]) {
        open = { site: c.site, deny: c.s.deny, ...(c.s.id && { cookie_id: c.s.id, user_id: c.u }), events: [] };
        out.push(open);
      }
      if (open && open.events.push(e) > 9) open = 0;
      timer ||= setTimeout(flush, 1e3);
    } else c.s.v || held[49] || held.push(e);
  };
  c.granted = (purpose) => !!c.s.granted?.includes(purpose);
  c.op = (name, target) => c.track('operation', { operation: { name, target } });
  c.user = (id) => {
    open = 0;
    c.u = id;
  };

  // --- Delivery -------------------------------------------------------------------------------------------------

  const flush = () => {
    open = timer = 0;
    for (const batch of out.splice(0)) {
      // Network errors, 429 and 5xx come again, under the same event ids: after 5 s, the longest Retry-After of the
      // collector's, and the time it has been away, so that the pauses double.
      const settle = (r: Partial<Response>) => {
        if ((r.status as number) < 429) down = 0;
        else {
          down ||= now();
          out.push(batch);
          clearTimeout(timer);
          timer = setTimeout(flush, now() - down + 5e3);
        }
      };
      const body = JSON.stringify({ ...batch, env: c.e, sent_at: now() });
      // An id that was withdrawn is not sent any more.
      if ((batch.cookie_id || c.s.id) === c.s.id)
        // A string is text/plain, which needs no preflight. All that a closing page has under way must fit in 64 KiB.
        fetch(`${base}v1/events`, {
          method: 'POST',
          body,
          credentials: 'omit',
          keepalive: body.length < 2e4,
        }).then(settle, settle);
    }
  };

  // --- The view and its engagement ------------------------------------------------------------------------------

  /**
   * Runs at whatever can begin, change or end a view: adds up the time the page is visible and has focus, and the
   * deepest scroll. A page that is hidden, as a prerendered one is, has no view until it is seen. Leaving sends one
   * engagement, and another for what is added when the visitor comes back to a hidden tab (it may never have come back).
   */
  c.tick = ({ type, key, target: el }) => {
    const away = doc.hidden || type === 'pagehide';
    // Without the fragment: hash routes are no page views, and fragments may hold tokens.
    const here = location.href.slice(0, 2048).split('#')[0] as string;
    const moved = here !== url;
    ms += (since && now() - since) as number;
    since = !away && doc.hasFocus() && now();
    // Another tab's decision holds here too.
    if (key === '_sk') c.set();
    if (!moved)
      scroll = Math.min(
        Math.max(scroll, Math.ceil(((scrollY + innerHeight) / doc.documentElement.scrollHeight) * 100)),
        100,
      );
    if (ms && (away || moved)) {
      c.track('engagement', { engagement: { ms, scroll } });
      ms = 0;
    }
    if (away) flush();
    else if (moved) {
      const referrer = url ?? doc.referrer.slice(0, 2048);
      view_id = String(Math.random());
      url = here;
      scroll = 0;
      // What the page called before the first view, ahead of it, so that who is signed in is so from it on; then at once.
      (self._skq as Call[])?.map?.(push);
      self._skq = { push };
      c.track('page_view', { referrer, title: doc.title.slice(0, 500) });
      c.load('page');
      c.consent();
    }
    // Coming back from the back/forward cache is a new view, from nowhere.
    if (type === 'pagehide') url = '';
    if (type === 'click')
      for (; el; el = el.parentElement as typeof el) {
        // The document and the window have none; pages do send them clicks.
        const d = el.dataset;
        if (d?.sekishoOp) c.op(d.sekishoOp, d.sekishoTarget);
        if (el.host && el.host !== location.host) c.op('outbound_link', el.hostname);
      }
  };

  // --- The modules ----------------------------------------------------------------------------------------------

  // A module that cannot be fetched is no error of the page's.
  c.load = (name, ...args) =>
    import(`${base}s.${name}.js?v=${c.v}`).then(
      (module) => module.default(...args),
      () => {},
    );
  c.consent = c.load.bind(0, 'consent');

  // --- The start ------------------------------------------------------------------------------------------------

  // Captured, so that a handler of the page's cannot stop the event first.
  for (const type of 'click focus blur scroll visibilitychange pagehide pageshow storage'.split(' '))
    addEventListener(type, c.tick as EventListener, true);

  /** Runs a call of the queue; one that does not exist must not cost the view. */
  const push = ([name, ...args]: Call) => c[name as 'op']?.(...(args as [string]));

  c.set();
  c.tick({});
}
