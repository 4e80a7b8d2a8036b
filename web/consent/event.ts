// Tells the page what it may do: the event `sekisho:consent` on the document, once at the start when a decision stands,
// at each decision, and whenever what is in force changes otherwise (an act acknowledged, another tab, a term that ended).
import type { ConsentDetail } from '../tracker/types.ts';

const c = sekisho;

/** What was told last. */
let told: string | undefined;
/** The visitor has decided since, even if it is the same again. */
let decided = false;

/** Has the next state told also if nothing has changed. */
export function renew(): void {
  decided = true;
}

function tell(): void {
  const detail: ConsentDetail = {
    policy: c.policy,
    granted: [...(c.s.granted ?? [])],
    refused: [...(c.s.deny ?? [])],
    decided: c.s.v !== undefined,
  };
  const text = JSON.stringify(detail);
  if (text === told && !(decided && detail.decided)) return;
  const first = told === undefined;
  told = text;
  if (detail.decided) decided = false;
  else if (first) return;
  document.dispatchEvent(new CustomEvent('sekisho:consent', { detail }));
}

/** Everything that puts a state in force goes through `set`, the core's own look at another tab's decision too. */
export function watch(): void {
  const { set } = c;
  c.set = (kept) => {
    set(kept);
    tell();
  };
  tell();
}
