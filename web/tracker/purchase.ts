// An order that was placed: an element `<section data-sekisho="purchase" data-order='{…}'>` on the page that confirms it,
// or a call. Amounts stay the decimal strings they were written as.
import type { Order } from './types.ts';

const c = sekisho;

/** Orders this page has told of. */
const told = new Set<string>();

export default function purchase(from: HTMLElement | Order): void {
  if (!(from instanceof HTMLElement)) {
    track(from);
    return;
  }
  // Whoever reloads the confirmation, or goes back to it, has not ordered again.
  const [navigation] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[];
  const again = navigation?.type === 'reload' || navigation?.type === 'back_forward';
  const text = from.dataset.order ?? '';
  if (again || told.has(text)) return;
  told.add(text);
  let order: Order;
  try {
    order = JSON.parse(text);
  } catch {
    console.warn('sekisho: data-order is not JSON');
    return;
  }
  track(order);
}

function track({ order_id, currency, total, items }: Order): void {
  if (order_id !== undefined) {
    if (told.has(order_id)) return;
    told.add(order_id);
  }
  c.track('purchase', { purchase: { order_id, currency, total, items } });
}
