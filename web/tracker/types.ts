// The wire contract (schemas/openapi/collector.v1.yaml) as the browser sees it, and the object `sekisho` that page,
// core and modules share.

export type EventType =
  | 'page_view'
  | 'engagement'
  | 'operation'
  | 'purchase'
  | 'ad_view'
  | 'search'
  | 'environment'
  | 'custom';

export interface Environment {
  language?: string;
  screen?: string;
  viewport?: string;
  connection?: string;
  save_data?: boolean;
  color_scheme?: 'light' | 'dark';
  reduced_motion?: boolean;
  time_zone?: string;
}

export interface Item {
  sku: string;
  name?: string;
  category?: string;
  quantity?: number;
  /** Decimal. A string is sent as it is; a number has been a binary float. */
  price: string | number;
}

export interface Order {
  order_id?: string;
  /** ISO 4217. */
  currency: string;
  total?: string | number;
  items: Item[];
}

export interface Fields {
  url?: string;
  referrer?: string;
  title?: string;
  view_id?: string;
  /** UUID; repeating it makes the event count once. */
  id?: string;
  env?: Environment;
  operation?: { name: string; target?: string };
  engagement?: { ms: number; scroll: number };
  purchase?: Order;
  ad?: { id: string; slot?: string; campaign?: string; action: 'impression' | 'click'; visible_ms?: number };
  search?: { query: string; results?: number; category?: string };
  custom?: { name: string; properties?: Record<string, string | number | boolean> };
}

export interface Event extends Fields {
  type: EventType;
  /** Epoch milliseconds by the visitor's clock; the batch's sent_at lets the server correct it. */
  time: number;
}

export interface Batch {
  site: string;
  deny?: string[];
  cookie_id?: string;
  user_id?: string;
  events: Event[];
}

/** What the collector prepends to the core: `self.sekisho={...}`. */
export interface TrackerConfig {
  site: string;
  v: string;
  /** Policy version in force. */
  policy: string;
  /** What a visitor is asked, by spaces, such as `marketing_use@9:consent`: a decision stands for what is asked the same way. */
  terms: string;
  /** Event types that some purpose permits without consent. */
  free: string[];
  /** Purposes that need consent. */
  ask: string[];
  /** Purposes a visitor may object to. */
  optout: string[];
  /** Purposes that Sec-GPC denies unless explicitly granted. */
  gpc: string[];
  /** Labels by language and purpose, with `_title`, `_body` and so on for the banner. */
  texts: Record<string, Record<string, string>>;
}

/**
 * The visitor's decision. Kept on the device under `_sk` as JSON. Without `v` there is none in force, and `deny` holds
 * what is refused nevertheless (by GPC, or under an earlier policy).
 */
export interface State {
  /** What was asked (`terms`) when it was made. */
  v?: string;
  /** Purposes that came since and are still to be asked for; the rest stands. */
  open?: string[];
  /** Purposes granted. */
  granted?: string[];
  /** Purposes refused: sent as the deny-only hint. */
  deny?: string[];
  /** Random id; only while at least one purpose of `ask` is granted, so that it tells that one is. */
  id?: string;
  /** Epoch ms at which the decision and the id lapse: 390 days (under 13 months) after the id was made; never extended. */
  until?: number;
}

export type Surface = 'banner' | 'settings' | 'privacy_centre' | 'api';

export interface ConsentOptions {
  surface?: Surface;
  language?: string;
  /** sha256: and the hash of exactly the text that was shown. */
  text_hash?: string;
}

/** What the event `sekisho:consent` on the document tells: what is in force at that moment. */
export interface ConsentDetail {
  /** Policy version in force. */
  policy: string;
  granted: string[];
  refused: string[];
  /** Whether a decision under this policy is in force. */
  decided: boolean;
}

/** What other tags of the page are to be told. */
export interface BridgeOptions {
  /** Google Consent Mode v2; by signal the purposes that all must be granted, or true for the usual ones. */
  consentMode?: boolean | Record<string, readonly string[]>;
  /** `__tcfapi`, for reading. */
  tcf?: boolean;
}

/** What the core listens to: parts of a DOM event. */
export interface Trigger {
  type?: string;
  /** Of a storage event. */
  key?: string | null;
  /** Of a click: seldom a link, and then it has a host. */
  target?: HTMLAnchorElement | null;
}

export interface Sekisho extends TrackerConfig {
  track(type: EventType, fields?: Fields): void;
  op(name: string, target?: string): void;
  /** Names the signed-in account. No argument: signed out. Sent only while the visitor's grant stands. */
  user(id?: string): void;
  /** Whether the visitor's decision in force permits the purpose. False before one, and for a purpose nobody asks about. */
  granted(purpose: string): boolean;

  /**
   * Records a decision that the page has asked for itself. What `granted` does not name of the purposes that need
   * consent is refused; `refused` may name purposes to object to. No argument: asks for it, where one is lacking.
   */
  consent(granted?: string[], refused?: string[], options?: ConsentOptions): Promise<void>;
  /** Runs a module, fetched on its first use: `load('purchase', order)`. */
  load(module: 'ad' | 'search' | 'purchase', el: HTMLElement): Promise<void>;
  load(module: 'purchase', order: Order): Promise<void>;
  load(module: 'search', query: string, results?: number, category?: string): Promise<void>;
  load(module: 'consent', act: 'open' | 'withdraw'): Promise<void>;
  load(module: 'bridge', options: BridgeOptions): Promise<void>;
  load(module: string, ...args: unknown[]): Promise<void>;

  // For modules only.
  /** The decision in force. */
  s: State;
  /** Puts the decision kept on the device (or this one, as JSON) in force: held events are released or purged. */
  set(kept?: string): void;
  /** Looks whether the view has moved. */
  tick(trigger: Trigger): void;
  /** The signed-in account, as the page named it. */
  u?: string;
  /** Environment, attached to a batch when it is sent. */
  readonly e?: Environment;
}

/** A call before the tracker has loaded: `(self._skq ||= []).push(['op', 'name'])`. */
export type Call = [string, ...unknown[]];

declare global {
  var sekisho: Sekisho;
  interface DocumentEventMap {
    'sekisho:consent': CustomEvent<ConsentDetail>;
  }
  interface Window {
    dataLayer?: unknown[];
    __tcfapi?(
      command?: string,
      version?: number | null,
      callback?: (answer: unknown, success: boolean) => void,
      parameter?: unknown,
    ): unknown;
    _skq?: Call[] | { push(call: Call): unknown };
  }
  interface Navigator {
    globalPrivacyControl?: boolean;
  }
}
