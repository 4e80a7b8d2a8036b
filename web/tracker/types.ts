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
  purchase?: {
    order_id?: string;
    currency: string;
    total?: string;
    items: { sku: string; name?: string; category?: string; quantity?: number; price: string }[];
  };
  ad?: { id: string; slot?: string; campaign?: string; action: 'impression' | 'click'; visible_ms?: number };
  search?: { query: string; results?: number; category?: string };
  custom?: { name: string; properties?: Record<string, string | number | boolean> };
}

export interface Event extends Fields {
  type: EventType;
  /** Epoch milliseconds by the visitor's clock; the batch's sent_at lets the server correct it. */
  time: number;
}

/** What the collector prepends to the core: `self.sekisho={...}`. */
export interface TrackerConfig {
  site: string;
  v: string;
  policy: string;
  free: string[];
  ask: string[];
  optout?: string[];
  gpc?: string[];
  texts?: Record<string, Record<string, string>>;
}

/**
 * The visitor's decision. Kept on the device under `_sk` as JSON. Without `v` there is none in force, and `deny` holds
 * what is refused nevertheless (by GPC, or under an earlier policy).
 */
export interface State {
  /** Policy version the decision was made under. */
  v?: string;
  /** At least one purpose of `ask` is granted. */
  ok?: boolean;
  /** Purposes granted. */
  granted?: string[];
  /** Purposes refused: sent as the deny-only hint. */
  deny: string[];
  /** Random id; only while `ok`. */
  id?: string;
  /** Epoch ms at which the decision and the id lapse: 390 days (under 13 months) after the id was made; never extended. */
  until?: number;
}

export type Module = 'ad' | 'consent' | 'env' | 'links' | 'purchase' | 'search';

export interface ConsentOptions {
  withdrawn?: string[];
  surface?: 'banner' | 'settings' | 'privacy_centre' | 'api';
  language?: string;
  text_hash?: string;
}

export interface Order {
  order_id?: string;
  currency: string;
  total?: string | number;
  items: { sku: string; name?: string; category?: string; quantity?: number; price: string | number }[];
}

export interface Sekisho extends TrackerConfig {
  track(type: EventType, fields?: Fields): void;
  op(name: string, target?: string): void;
  /** Names the signed-in account (and, where the page has one, a device). No argument: signed out. */
  user(userId?: string, deviceId?: string): void;

  // Each of these loads its module on its first call.
  ad(el: HTMLElement): void;
  consent(granted?: string[], refused?: string[], options?: ConsentOptions): void;
  env(): void;
  links(): void;
  purchase(order: Order): void;
  search(query: string, results?: number, category?: string): void;

  // Put there by the consent module.
  /** Opens the choice again. */
  choose?(): void;
  /** Withdraws every grant. */
  withdraw?(): void;

  // For modules only.
  /** The decision in force. */
  s: State;
  /** Puts a decision in force: held events are released or purged. */
  set(state: State): void;
  /** Queues a body for /v1/ and the path; `done` is called once it is acknowledged. */
  send(path: string, body: { cookie_id?: string; [field: string]: unknown }, done?: () => void): void;
  /** Signed-in account and device, as the page named them. */
  u?: string;
  d?: string;
  /** Environment attached to batches. */
  e?: Environment;
}

declare global {
  interface Window {
    sekisho: Sekisho;
    /** Calls made before the tracker has loaded: `(self._skq ||= []).push(['op', 'name'])`. */
    _skq?: { push(call: [string, ...unknown[]]): unknown };
  }
  interface Navigator {
    globalPrivacyControl?: boolean;
  }
  interface Document {
    prerendering?: boolean;
  }
}
