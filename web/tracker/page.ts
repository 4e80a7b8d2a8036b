// What every page needs and the first view does not wait for: moves inside a single-page app, the environment, and the
// elements that ask for a module. The core calls it at each view.
import type { Environment } from './types.ts';

const c = sekisho;

/** The modules an element may ask for by `data-sekisho`. */
const modules = ['ad', 'purchase', 'search'];

export default function page(): void {
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', scan, { once: true });
  else scan();
}

/** Each module knows the elements it has already counted. */
function scan(): void {
  for (const el of document.querySelectorAll<HTMLElement>('[data-sekisho]')) {
    const name = el.dataset.sekisho as 'ad';
    if (modules.includes(name)) c.load(name, el);
  }
}

// --- Moves ------------------------------------------------------------------------------------------------------------

// The core sees a move at the next event anyway; this tells it at once. Later in the turn, because the page sets its title
// after it has moved, and because several moves in one turn are one view.
const moved = () => setTimeout(() => c.tick({}));

for (const move of ['pushState', 'replaceState'] as const) {
  const original = history[move];
  history[move] = function (this: History, ...args) {
    original.apply(this, args);
    moved();
  };
}
addEventListener('popstate', moved);

// --- The environment --------------------------------------------------------------------------------------------------

/** The Network Information API, where the browser has it. */
interface Connection extends EventTarget {
  type?: string;
  effectiveType?: string;
  saveData?: boolean;
}
const network = (navigator as { connection?: Connection }).connection;

const connection = () => {
  if (!navigator.onLine) return 'offline';
  return ['wifi', 'ethernet'].includes(network?.type as string) ? network?.type : network?.effectiveType;
};
const size = (width: number, height: number) => `${Math.round(width)}x${Math.round(height)}`;
const prefers = (feature: string) => matchMedia(`(prefers-${feature})`).matches;

const environment = (): Environment => ({
  language: navigator.language?.slice(0, 35),
  screen: size(screen.width, screen.height),
  viewport: size(innerWidth, innerHeight),
  connection: connection(),
  save_data: network?.saveData,
  color_scheme: prefers('color-scheme: dark') ? 'dark' : 'light',
  reduced_motion: prefers('reduced-motion: reduce'),
  time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone?.slice(0, 64),
});

// Read when a batch leaves, and only where the environment may be collected: a refusal stops it with the next batch.
Object.defineProperty(c, 'e', {
  get: () => (c.s.id || c.free.includes('environment') ? environment() : undefined),
});

let last = connection();
const changed = () => {
  const current = connection();
  // The browser reports every new estimate of the speed.
  if (current === last) return;
  last = current;
  c.track('environment', { env: environment() });
};
network?.addEventListener('change', changed);
addEventListener('online', changed);
addEventListener('offline', changed);

/** Bridges are the page's wish: `data-bridge="consent-mode tcf"` on the tracker's script. */
const bridges = document.querySelector<HTMLElement>('script[data-bridge][src*="s.js?site="]')?.dataset.bridge;
if (bridges) c.load('bridge', bridges);

c.load('links');
