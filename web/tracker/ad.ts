// Ads in view: `<div data-sekisho="ad" data-ad-id data-ad-slot data-ad-campaign>`. An impression is half of the ad's area
// on the screen for one second without a break, in a page that is shown (IAB/MRC viewable impression); a click is a click.
const c = sekisho;

const half = 0.5;
const second = 1000;

interface View {
  /** What was counted; another data-ad-id in the same place is another ad. */
  id?: string;
  inView: boolean;
  /** Since when it has been viewable; 0 while it is not. */
  since: number;
  /** Viewable time before that, ms. */
  seen: number;
  timer?: ReturnType<typeof setTimeout>;
}

const views = new WeakMap<Element, View>();
const watched = new Set<WeakRef<HTMLElement>>();

export default function ad(el: HTMLElement): void {
  const known = views.get(el);
  if (known) {
    if (known.id !== el.dataset.adId) restart(el, known);
    return;
  }
  views.set(el, { id: el.dataset.adId, inView: false, since: 0, seen: 0 });
  watched.add(new WeakRef(el));
  observer.observe(el);
  el.addEventListener('click', () => track(el, 'click'));
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, intersectionRatio } of entries) {
      const view = views.get(target) as View;
      view.inView = intersectionRatio >= half;
      look(target as HTMLElement, view);
    }
  },
  { threshold: half },
);

document.addEventListener('visibilitychange', () => {
  for (const ref of watched) {
    const el = ref.deref();
    if (el) look(el, views.get(el) as View);
    else watched.delete(ref);
  }
});

/** Starts or stops the clock of an ad. */
function look(el: HTMLElement, view: View): void {
  const viewable = view.inView && !document.hidden;
  if (viewable === view.since > 0) return;
  if (viewable) {
    view.since = performance.now();
    view.timer = setTimeout(() => track(el, 'impression'), second);
  } else {
    view.seen += performance.now() - view.since;
    view.since = 0;
    clearTimeout(view.timer);
  }
}

function restart(el: HTMLElement, view: View): void {
  clearTimeout(view.timer);
  Object.assign(view, { id: el.dataset.adId, since: 0, seen: 0 });
  counted.delete(el);
  look(el, view);
}

const counted = new WeakSet<Element>();

function track(el: HTMLElement, action: 'impression' | 'click'): void {
  const { adId, adSlot, adCampaign } = el.dataset;
  if (!adId || (action === 'impression' && counted.has(el))) return;
  if (action === 'impression') counted.add(el);
  const view = views.get(el) as View;
  const visible = view.seen + (view.since && performance.now() - view.since);
  c.track('ad_view', {
    ad: { id: adId, slot: adSlot, campaign: adCampaign, action, visible_ms: Math.round(visible) },
  });
}
