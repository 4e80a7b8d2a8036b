// What the policy in force says of each purpose: loaded from the collector when somebody wants to read it, and only then.
const c = sekisho;

/** Schema Notice of schemas/openapi/collector.v1.yaml. */
export interface Notice {
  policy: string;
  /** By category id: its name, and how long it may be kept. */
  categories: Record<string, { label: string; days: number }>;
  purposes: Purpose[];
  /** By TCF id, every purpose of the policy that is mapped to it. */
  tcf: Record<string, string[]>;
}

export interface Purpose {
  id: string;
  label: string;
  text: string;
  basis: 'consent' | 'opt_out' | 'notified';
  categories: string[];
  /** Beside the operator. */
  recipients: { name: string; entrusted: boolean }[];
}

/** Where the collector shows the whole policy. */
const policyPath = 'privacy/{site}/{language}/';

export const policyPage = (language: string) =>
  new URL(policyPath.replace('{site}', c.site).replace('{language}', language), import.meta.url).href;

const loaded = new Map<string, Promise<Notice | undefined>>();

/** Undefined when it cannot be had: the next one who asks tries again. */
export function notice(language: string): Promise<Notice | undefined> {
  const known = loaded.get(language);
  if (known) return known;
  const coming = load(language).catch(() => {
    loaded.delete(language);
    return undefined;
  });
  loaded.set(language, coming);
  return coming;
}

async function load(language: string): Promise<Notice> {
  const query = new URLSearchParams({ site: c.site, lang: language });
  const answer = await fetch(new URL(`v1/notice?${query}`, import.meta.url), {
    credentials: 'omit',
    signal: AbortSignal.timeout?.(10_000),
  });
  const said: Notice = await answer.json();
  // A decision is recorded under the version that the page was opened with. Another one's words would not belong to it.
  if (!answer.ok || said.policy !== c.policy) throw new Error('there is no notice');
  return said;
}
