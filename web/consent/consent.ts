// The consent module, s.consent.js: loaded with the first view, because the way back to the choice belongs on every page.
//
//	load('consent')              asks for the decision that the policy in force still lacks
//	load('consent', 'open')      opens the choice again; so does a click on [data-sekisho-consent]
//	load('consent', 'withdraw')  withdraws every grant
//	consent(granted, refused)    records a decision that the page has asked for itself
import type { ConsentOptions } from '../tracker/types.ts';
import { Banner } from './banner.ts';
import { carry, decide, decision, deliver, expire, purposes, read } from './decision.ts';
import { watch } from './event.ts';

const c = sekisho;

if (!customElements.get('sekisho-consent')) customElements.define('sekisho-consent', Banner);
const banner = document.createElement('sekisho-consent') as Banner;

export default async function consent(
  act?: 'open' | 'withdraw' | readonly string[],
  refused: readonly string[] = [],
  options: ConsentOptions = {},
): Promise<void> {
  // Nothing this policy asks of anybody: nothing to show.
  if (!purposes().length) return;
  // Before the body: a page that replaces its body keeps the way back.
  if (!banner.isConnected) document.head.after(banner);
  const standing = decision();
  if (act === 'open') banner.settings();
  else if (act) {
    const objected = act === 'withdraw' ? (standing?.deny ?? c.s.deny ?? []) : objections(act, refused);
    const granted = [...(act === 'withdraw' ? [] : act.filter((p) => c.ask.includes(p)))];
    await decide([...granted, ...c.optout.filter((p) => !objected.includes(p))], { surface: 'api', ...options });
  } else if (!standing && c.ask.length) banner.ask();
  banner.update();
}

/** What a page's own form objects to: what it says, else what was objected to before. */
function objections(granted: readonly string[], refused: readonly string[]): readonly string[] {
  const before = decision()?.deny ?? c.s.deny ?? [];
  return [...refused, ...before.filter((p) => !granted.includes(p))];
}

document.addEventListener('click', (e) => {
  const el = e.composedPath().find((t): t is Element => t instanceof Element && t.matches('[data-sekisho-consent]'));
  if (!el) return;
  e.preventDefault();
  consent('open');
});
// Another tab's decision.
addEventListener('storage', ({ key }) => {
  if (key === '_sk' && banner.isConnected) banner.update();
});
addEventListener('online', () => deliver());

expire();
carry();
watch();
// An act that an earlier page could not hand in.
if (read().act) deliver();
