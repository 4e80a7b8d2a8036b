// The bridge, s.bridge.js: lets other tags of the page ask what the visitor has decided, in the two languages that they
// speak. Loaded only where the page wants it: `data-bridge="consent-mode tcf"` on the tracker's script, or
// load('bridge', {consentMode, tcf}).
//
// It reads the state in force and nothing else, and only ever narrows: what is undecided, unknown, unmapped or cannot be
// loaded is denied. It is no registered CMP of the IAB: it has no CMP id, makes no TC string and speaks for no vendor.
import type { BridgeOptions } from '../tracker/types.ts';
import { notice } from './notice.ts';

const c = sekisho;

export default function bridge(wanted: string | BridgeOptions = {}): void {
  const words = typeof wanted === 'string' ? wanted.split(/\s+/) : [];
  const { consentMode, tcf } =
    typeof wanted === 'string' ? { consentMode: words.includes('consent-mode'), tcf: words.includes('tcf') } : wanted;
  if (consentMode) tellGoogle(consentMode === true ? usual : consentMode);
  if (tcf) answerTags();
}

// --- Google Consent Mode v2 -------------------------------------------------------------------------------------------

/**
 * The purposes that a signal stands for, as internal/consentmode reads them the other way. Suits the built-in policy.
 * functionality_storage and security_storage are left to the page: what they cover is notified and not chosen.
 */
const usual: Record<string, readonly string[]> = {
  ad_storage: ['marketing_use', 'development_marketing'],
  ad_user_data: ['marketing_use', 'development_marketing'],
  ad_personalization: ['behavioral_personalization', 'marketing_use', 'development_marketing'],
  analytics_storage: ['usage_based_development', 'service_development', 'development_marketing'],
  personalization_storage: ['behavioral_personalization', 'in_service_recommendation'],
};

/** Google's tags take the arguments object itself, and no array. */
function gtag(..._: unknown[]): void {
  self.dataLayer ||= [];
  // biome-ignore lint/complexity/noArguments: see above.
  self.dataLayer.push(arguments);
}

let google = false;

function tellGoogle(mapping: Record<string, readonly string[]>): void {
  if (google) return;
  google = true;
  const signals = (granted: (purpose: string) => boolean) =>
    Object.fromEntries(
      Object.entries(mapping).map(([signal, purposes]) => [
        signal,
        purposes.length && purposes.every(granted) ? 'granted' : 'denied',
      ]),
    );
  let told: string | undefined;
  const tell = () => {
    const now = signals((p) => c.granted(p));
    const text = JSON.stringify(now);
    if (text === told || (!told && !c.s.v)) return;
    told = text;
    gtag('consent', 'update', now);
  };
  gtag(
    'consent',
    'default',
    signals(() => false),
  );
  tell();
  document.addEventListener('sekisho:consent', tell);
}

// --- IAB TCF, for reading ---------------------------------------------------------------------------------------------

type Callback = (answer: unknown, success: boolean) => void;

/** The purposes of the TCF. Special purposes and features are nobody's to consent to. */
const tcfPurposes = 11;

/** By TCF id, the policy's purposes; empty until it is loaded. */
let mapped: Record<string, string[]> = {};
const listeners = new Map<number, Callback>();
let last = 0;
let status: 'tcloaded' | 'cmpuishown' | 'useractioncomplete';

/** No silence counts: of the purposes, only those that rest on consent, and every one of them granted. */
const consented = (ids: string[] = []) => ids.length > 0 && ids.every((p) => c.ask.includes(p) && c.granted(p));

const both = {
  // Those who ask are to obey, whatever country they take it for.
  gdprApplies: true,
  cmpId: 0,
  cmpVersion: 0,
  cmpStatus: 'loaded',
  tcfPolicyVersion: 5,
};

const data = (listenerId?: number) => ({
  ...both,
  tcString: '',
  eventStatus: status,
  listenerId,
  isServiceSpecific: true,
  useNonStandardTexts: true,
  publisherCC: 'AA',
  purposeOneTreatment: false,
  outOfBand: { allowedVendors: {}, disclosedVendors: {} },
  purpose: {
    consents: Object.fromEntries(
      Array.from({ length: tcfPurposes }, (_, i) => [i + 1, consented(mapped[String(i + 1)])]),
    ),
    legitimateInterests: {},
  },
  vendor: { consents: {}, legitimateInterests: {}, disclosedVendors: {} },
  specialFeatureOptins: {},
  publisher: {
    consents: {},
    legitimateInterests: {},
    customPurpose: { consents: {}, legitimateInterests: {} },
    restrictions: {},
  },
});

function call(callback: Callback, answer: unknown, success = true): void {
  try {
    callback(answer, success);
  } catch (fault) {
    // One tag's fault is not the next one's.
    reportError(fault);
  }
}

/** What the policy maps, or nothing. Until that is known, nobody is answered but ping. */
let known: Promise<void>;

function api(command?: string, version?: number | null, callback?: Callback, parameter?: unknown): void {
  if (typeof callback !== 'function') return;
  if (version && version !== 2) call(callback, null, false);
  else if (command === 'ping')
    call(callback, {
      ...both,
      cmpLoaded: true,
      displayStatus: c.s.v || !c.ask.length ? 'hidden' : 'visible',
      apiVersion: '2.2',
      gvlVersion: 0,
    });
  else if (command === 'getTCData') known.then(() => call(callback, data()));
  else if (command === 'addEventListener') {
    const id = ++last;
    listeners.set(id, callback);
    known.then(() => listeners.has(id) && call(callback, data(id)));
  } else if (command === 'removeEventListener') call(callback, listeners.delete(parameter as number));
  else call(callback, null, false);
}

function answerTags(): void {
  if (status) return;
  // A CMP that is there already stays; its stub, which only keeps what it is asked, is followed up.
  const stub = self.__tcfapi;
  let loaded = false;
  stub?.('ping', 2, (answer) => {
    loaded = (answer as { cmpLoaded?: boolean } | null)?.cmpLoaded === true;
  });
  if (loaded) return;
  const waiting = stub?.();
  status = c.s.v || !c.ask.length ? 'tcloaded' : 'cmpuishown';
  known = notice(Object.keys(c.texts)[0] ?? '').then((said) => {
    mapped = said?.tcf ?? {};
  });
  let seen = c.s;
  document.addEventListener('sekisho:consent', () => {
    // The event of the start, after the bridge has: nobody has done anything.
    if (c.s === seen) return;
    seen = c.s;
    status = c.s.v ? 'useractioncomplete' : 'cmpuishown';
    known.then(() => {
      for (const [id, callback] of listeners) call(callback, data(id));
    });
  });
  self.__tcfapi = api;
  // A stub has brought both already.
  if (!stub) openToFrames();
  if (Array.isArray(waiting)) for (const asked of waiting) api(...(asked as Parameters<typeof api>));
}

/** Tags in frames find the page that answers by the name of a frame of it, and ask by message. */
function openToFrames(): void {
  const locator = document.createElement('iframe');
  locator.name = '__tcfapiLocator';
  locator.hidden = true;
  // Not in the body, which a page may replace.
  document.documentElement.append(locator);
  addEventListener('message', ({ data: message, source }) => {
    const text = typeof message === 'string';
    let asked: { command: string; version?: number; parameter?: unknown; callId: unknown } | undefined;
    try {
      asked = (text ? JSON.parse(message) : message)?.__tcfapiCall;
    } catch {
      // Somebody else's message.
    }
    if (!asked || !source) return;
    const { command, version, parameter, callId } = asked;
    const reply: Callback = (returnValue, success) => {
      const answer = { __tcfapiReturn: { returnValue, success, callId } };
      source.postMessage(text ? JSON.stringify(answer) : answer, { targetOrigin: '*' });
    };
    self.__tcfapi?.(command, version, reply, parameter);
  });
}
