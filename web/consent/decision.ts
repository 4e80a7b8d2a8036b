// The visitor's decision: what is kept on the device, and the act that tells the collector.
//
// Two rules shape it. A refusal needs no identifier: whoever refuses everything, and was never known, gets no id and causes
// no request; the refusal is kept on the device and goes along as a deny-only hint. And an act goes before the events it
// permits: until the collector has acknowledged it, only what narrows is in force. Should the page close before that, the
// next one sends the act again, under the same id.
import type { ConsentOptions, Sekisho, State } from '../tracker/types.ts';
import { renew } from './event.ts';

const day = 864e5;
/** A decision holds for 390 days, under the 13 months of the CNIL, and is not extended by later visits. */
const term = 390 * day;

/** ConsentAct of schemas/openapi/collector.v1.yaml. */
export interface Act extends ConsentOptions {
  id: string;
  site: string;
  subject: { cookie_id: string };
  granted: string[];
  refused: string[];
  withdrawn: string[];
  policy_version: string;
  time: number;
}

/** `_sk`: the decision in force; while an act is not acknowledged, the act and the decision that it puts in force. */
export interface Kept extends State {
  act?: Act;
  next?: State;
}

const c: Sekisho = sekisho;

/** Stands in for a storage that is blocked or full: the decision then holds for this page. */
let memory: string | undefined;

export function read(): Kept {
  try {
    return JSON.parse(memory ?? localStorage.getItem('_sk') ?? '{}') ?? {};
  } catch {
    return {};
  }
}

function write(kept: Kept): void {
  const text = JSON.stringify(kept);
  try {
    localStorage.setItem('_sk', text);
    memory = undefined;
  } catch {
    memory = text;
  }
  c.set(text);
}

const alive = (s: State) => (s.until ?? 0) > Date.now();

/** What stands of what the visitor has decided, acknowledged or not. */
export function standing(): State | undefined {
  const kept = read();
  const latest = kept.next ?? kept;
  return latest.v === c.terms && alive(latest) ? latest : undefined;
}

/** What the visitor has decided about all that is asked now. */
export function decision(): State | undefined {
  const s = standing();
  return s?.open ? undefined : s;
}

/**
 * Carries a decision over to a policy that asks for other things: it stands for what is asked the same way as before, and
 * only the rest is open. Where nothing of it would stand, everything is asked, as without one.
 */
export function carry(): void {
  const { act, ...kept } = read();
  // An act that is under way belongs to what was asked before: it arrives first.
  if (act || !kept.v || kept.v === c.terms || !alive(kept)) return;
  const before = kept.v.split(' ');
  const same = c.terms
    .split(' ')
    .filter((term) => before.includes(term))
    .map((term) => term.split('@')[0] as string);
  const open = purposes().filter((p) => !same.includes(p));
  const granted = kept.granted?.filter((p) => same.includes(p));
  if (!same.length || (kept.id && !c.ask.some((p) => granted?.includes(p)))) return;
  const deny = [...(kept.deny ?? []).filter((p) => same.includes(p)), ...open.filter((p) => c.ask.includes(p))];
  write({ ...kept, v: c.terms, granted, deny, ...(open.length && { open }) });
}

/** Forgets an id that has lapsed. What was refused stays refused. */
export function expire(): void {
  const kept = read();
  const latest = kept.next ?? kept;
  if (latest.id && !alive(latest)) write({ deny: latest.deny });
}

/** Every purpose the visitor has a say in. */
export const purposes = () => [...c.ask, ...c.optout];

/** Keeps the decision that exactly the purposes of `granted` are allowed, and tells the collector where it must know. */
export function decide(granted: readonly string[], how: ConsentOptions): Promise<void> {
  renew();
  const kept = read();
  const latest = kept.next ?? kept;
  const yes = purposes().filter((p) => granted.includes(p));
  const no = purposes().filter((p) => !granted.includes(p));
  // The id the collector may know, from an earlier policy too.
  const known = alive(latest) ? latest.id : undefined;
  const id = c.ask.some((p) => yes.includes(p)) ? (known ?? uuid()) : undefined;
  const next: State = {
    v: c.terms,
    granted: yes,
    deny: no,
    id,
    until: id && id === known ? latest.until : Date.now() + term,
  };
  const subject = id ?? known;
  if (!subject) {
    write(next);
    return Promise.resolve();
  }
  const withdrawn = no.filter((p) => known && latest.granted?.includes(p));
  const act: Act = {
    id: uuid(),
    site: c.site,
    subject: { cookie_id: subject },
    granted: yes,
    refused: no.filter((p) => !withdrawn.includes(p)),
    withdrawn,
    policy_version: c.policy,
    ...how,
    time: Date.now(),
  };
  write({ ...(id ? meanwhile(kept, next) : next), act, next });
  return deliver();
}

/** What is in force until the act is acknowledged: of the old decision what the new one keeps, and every refusal. */
function meanwhile(kept: Kept, next: State): State {
  const deny = [...new Set([...(c.s.deny ?? []), ...(next.deny ?? [])])];
  const stays = kept.v === c.terms && alive(kept) ? (kept.granted ?? []).filter((p) => next.granted?.includes(p)) : [];
  // Without v the core holds what needs consent.
  if (!kept.id || !stays.some((p) => c.ask.includes(p))) return { deny };
  return { v: kept.v, granted: stays, deny, id: kept.id, until: kept.until };
}

// --- The act ----------------------------------------------------------------------------------------------------------

const longest = 60_000;
let delivery: Promise<void> | undefined;
let wake = () => {};

/** Sends the act that is not acknowledged yet, until it is. Tabs may do so at once: the id makes it count once. */
export function deliver(): Promise<void> {
  wake();
  delivery ??= attempts().finally(() => {
    delivery = undefined;
  });
  return delivery;
}

async function attempts(): Promise<void> {
  for (let pause = 1000; ; pause = Math.min(pause * 2, longest)) {
    const { act } = read();
    if (!act) return;
    const answer = await send(act);
    const kept = read();
    // Another decision may have been made in the meantime: then its act is next.
    if (kept.act?.id !== act.id) continue;
    if (answer === 'taken') write(kept.next ?? {});
    else if (answer === 'refused') {
      // The collector will never take it, so what it would permit does not come into force, and the visitor is asked again.
      const { act: _, next: __, ...rest } = kept;
      write(rest);
    } else
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, Math.max(pause, answer));
      });
  }
}

/** What became of an act; a number is how long the collector wants to be left alone, ms. */
async function send(act: Act): Promise<'taken' | 'refused' | number> {
  try {
    const { ok, status, headers } = await fetch(new URL('v1/consent?wait=0', import.meta.url), {
      // Events wait for the act's record, and that for nothing: receipts can be asked for later.
      method: 'POST',
      body: JSON.stringify({ ...act, sent_at: Date.now() }), // text/plain, which needs no preflight
      credentials: 'omit',
      keepalive: true,
      signal: AbortSignal.timeout?.(10_000),
    });
    if (ok) return 'taken';
    return status === 429 || status >= 500 ? Number(headers.get('Retry-After')) * 1000 || 0 : 'refused';
  } catch {
    return 0;
  }
}

/** A random UUID, in insecure contexts too. */
function uuid(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = ((b[6] as number) & 0x0f) | 0x40;
  b[8] = ((b[8] as number) & 0x3f) | 0x80;
  const hex = [...b].map((x) => x.toString(16).padStart(2, '0')).join('');
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
