// A search the visitor made in the site: an element `<section data-sekisho="search" data-query data-results
// data-category>` on the page of results, or a call.
const c = sekisho;

/** What an element said when it was counted: a page view with the same results is not another search. */
const counted = new WeakMap<HTMLElement, string>();

export default function search(from: HTMLElement | string, results?: number, category?: string): void {
  if (typeof from === 'string') {
    track(from, results, category);
    return;
  }
  const { query = '', results: count, category: within } = from.dataset;
  const said = JSON.stringify([query, count, within]);
  if (counted.get(from) === said) return;
  counted.set(from, said);
  track(query, count === undefined || count === '' ? undefined : Number(count), within);
}

function track(query: string, results?: number, category?: string): void {
  const asked = query.trim().slice(0, 500);
  if (!asked) return;
  c.track('search', {
    search: {
      query: asked,
      results: Number.isInteger(results) && (results as number) >= 0 ? results : undefined,
      category: category?.slice(0, 120),
    },
  });
}
