// The banner and the settings, in one custom element on the native dialog.
//
// The first question is no modal: it does not take the focus, does not block the page and does not force a decision to
// read on, for a page that works without consent has no reason to. It stands before the body, so that it is the first
// thing Tab and a screen reader reach, and fixed, so that nothing shifts. What the visitor opens is a modal: there the
// browser itself keeps the focus inside, closes on Escape and gives the focus back.
//
// Everything shown goes through `say`, so that the hash of an act is that of exactly the text that was shown.
import type { ConsentOptions, Surface } from '../tracker/types.ts';
import { decide, decision, purposes } from './decision.ts';
import en from './messages.en.json';
import ja from './messages.ja.json';
import style from './style.css';

const c = sekisho;
const messages: Record<string, Record<keyof typeof en, string>> = { en, ja };

/** What the outline of the focus needs around it, in pixels. */
const outline = 8;

/** The language of the document, else one of the visitor's, else any that the policy has. */
function language(): string {
  const known = Object.keys(c.texts);
  for (const wanted of [document.documentElement.lang, ...navigator.languages]) {
    const tag = wanted.toLowerCase();
    const found = known.find((l) => l.toLowerCase() === tag) ?? known.find((l) => l === tag.split('-')[0]);
    if (found) return found;
  }
  return known.includes('en') ? 'en' : (known[0] ?? 'en');
}

export class Banner extends HTMLElement {
  #root = this.attachShadow({ mode: 'open' });
  #dialog = document.createElement('dialog');
  #reopen = document.createElement('button');
  #lines: string[] = [];
  #surface: Surface = 'banner';
  #choosing = false;
  /** Between the visitor's word and its record. */
  #deciding = false;
  /** Behind the end of the page, as high as the banner, while that is there. */
  #room = document.createElement('div');
  #grown = new ResizeObserver(() => this.#makeRoom());
  /** What the page had as its scroll padding, while the banner changes it. */
  #padding?: string;

  connectedCallback(): void {
    if (this.#reopen.isConnected) return;
    this.#adopt();
    this.setAttribute('role', 'region');
    this.#dialog.setAttribute('aria-labelledby', 'title');
    this.#dialog.setAttribute('aria-describedby', 'body');
    this.#dialog.addEventListener('close', () => this.#closed());
    this.#reopen.type = 'button';
    this.#reopen.className = 'reopen';
    this.#reopen.addEventListener('click', () => this.settings());
    this.#room.className = 'room';
    this.#room.hidden = true;
    this.#root.append(this.#dialog, this.#reopen, this.#room);
    this.update();
  }

  /** Brings what is on the screen in line with the decision and the language of the page. */
  update(): void {
    const spoken = language();
    if (this.lang !== spoken) {
      this.lang = spoken;
      this.#reopen.textContent = this.#text('_reopen');
      this.setAttribute('aria-label', this.#text('_reopen'));
      if (this.#dialog.open) this.#render();
    }
    const decided = decision() !== undefined;
    if (decided && this.#dialog.open && this.#surface === 'banner') this.#close();
    // The control is there once there is something to change; until then the banner is.
    this.#reopen.hidden = !decided && c.ask.length > 0;
  }

  /** Asks for the decision that is lacking. */
  ask(): void {
    if (this.#dialog.open) return;
    this.#surface = 'banner';
    this.#choosing = false;
    this.#render();
    // Not show(), which would take the focus from what the visitor is doing.
    this.#dialog.open = true;
    this.#room.hidden = false;
    for (const el of [this.#dialog, document.body]) this.#grown.observe(el);
    this.#makeRoom();
  }

  /**
   * Keeps what has the focus from disappearing behind the banner (WCAG 2.4.11): the browser scrolls to above it, also at the
   * end of the page, where an absolute box out of the flow adds to what can be scrolled and moves nothing.
   */
  #makeRoom(): void {
    const { style: page } = document.documentElement;
    const height = `${this.#dialog.offsetHeight + outline}px`;
    this.#padding ??= page.scrollPaddingBottom;
    page.scrollPaddingBottom = height;
    const { body } = document;
    const end = body.getBoundingClientRect().top + scrollY + Math.max(body.offsetHeight, body.scrollHeight);
    Object.assign(this.#room.style, { top: `${end}px`, height });
  }

  /** Opens the choice again. */
  settings(): void {
    if (this.#dialog.open && this.#surface === 'settings') return;
    this.#close();
    this.#surface = 'settings';
    this.#choosing = true;
    this.#render();
    this.#dialog.showModal();
  }

  // --- What is shown --------------------------------------------------------------------------------------------------

  #text(key: string): string {
    return c.texts[this.lang]?.[key] ?? key;
  }

  #message(key: keyof typeof en): string {
    return (messages[this.lang] ?? en)[key];
  }

  /** Puts a text on the screen, and into what is hashed. */
  #say<T extends HTMLElement>(el: T, text: string): T {
    el.append(text);
    this.#lines.push(text);
    return el;
  }

  #render(): void {
    this.#lines = [];
    const title = this.#say(document.createElement('p'), this.#text('_title'));
    title.id = 'title';
    title.className = 'title';
    const body = this.#say(document.createElement('p'), this.#text('_body'));
    body.id = 'body';
    const foot = document.createElement('div');
    foot.className = 'foot';
    this.#dialog.replaceChildren(title, body, ...this.#signal(), ...this.#purposes(), foot);
    foot.append(this.#choices());
    if (this.#surface === 'settings') foot.append(this.#more());
  }

  /** Says that GPC is heard, before there is a decision that overrides it. */
  #signal(): HTMLElement[] {
    if (!navigator.globalPrivacyControl || !c.gpc.length || decision()) return [];
    const list = new Intl.ListFormat(this.lang, { type: 'conjunction' }).format(c.gpc.map((p) => this.#text(p)));
    return [this.#say(document.createElement('p'), this.#message('gpc').replace('{purposes}', list))];
  }

  #purposes(): HTMLElement[] {
    if (!this.#choosing) {
      const list = document.createElement('ul');
      for (const p of purposes()) list.append(this.#say(document.createElement('li'), this.#text(p)));
      return [list];
    }
    const before = decision();
    // A box is ticked only where the visitor has ticked it before. The boxes of purposes that run unless one objects
    // are objections: ticked by an earlier objection, or by GPC.
    const refused = (before ?? c.s).deny;
    return [
      ...this.#boxes('ask', c.ask, (p) => before?.granted?.includes(p)),
      ...this.#boxes('object', c.optout, (p) => refused?.includes(p)),
    ];
  }

  #boxes(kind: 'ask' | 'object', ids: string[], ticked: (p: string) => boolean | undefined): HTMLElement[] {
    if (!ids.length) return [];
    const lead = this.#say(document.createElement('p'), this.#message(kind));
    lead.id = kind;
    const list = document.createElement('ul');
    list.className = 'choice';
    list.setAttribute('aria-labelledby', kind);
    for (const p of ids) {
      const box = document.createElement('input');
      box.type = 'checkbox';
      box.value = p;
      box.name = kind;
      box.defaultChecked = ticked(p) ?? false;
      const label = document.createElement('label');
      label.append(box);
      const item = document.createElement('li');
      item.append(this.#say(label, this.#text(p)));
      list.append(item);
    }
    return [lead, list];
  }

  /** Accept and refuse: one look, one size, one row. */
  #choices(): HTMLElement {
    const row = document.createElement('div');
    row.className = 'choices';
    row.append(
      this.#button('_accept', () => this.#decide(purposes())),
      this.#button('_refuse', () => this.#decide([])),
      this.#choosing
        ? this.#button('_save', () => this.#decide(this.#chosen()))
        : this.#button('_choose', () => this.#choose()),
    );
    return row;
  }

  #more(): HTMLElement {
    const row = document.createElement('div');
    row.className = 'more';
    const granted = decision()?.granted ?? [];
    if (c.ask.some((p) => granted.includes(p)))
      row.append(this.#button('_withdraw', () => this.#decide(granted.filter((p) => !c.ask.includes(p)))));
    row.append(this.#button('close', () => this.#close()));
    return row;
  }

  #button(key: string, act: () => void): HTMLButtonElement {
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.act = key.replace('_', '');
    button.addEventListener('click', act);
    return this.#say(button, key === 'close' ? this.#message(key) : this.#text(key));
  }

  // --- What is done ---------------------------------------------------------------------------------------------------

  #choose(): void {
    this.#choosing = true;
    this.#render();
    this.#dialog.querySelector('input')?.focus();
  }

  #chosen(): string[] {
    const ticked = [...this.#dialog.querySelectorAll('input')].filter((box) => box.checked);
    const of = (kind: string) => ticked.filter((box) => box.name === kind).map((box) => box.value);
    const objected = of('object');
    return [...of('ask'), ...c.optout.filter((p) => !objected.includes(p))];
  }

  async #decide(granted: string[]): Promise<void> {
    // Taken down before the screen changes.
    const how: ConsentOptions = { surface: this.#surface, language: this.lang };
    const shown = new TextEncoder().encode(this.#lines.join('\n'));
    const inside = this.#root.activeElement !== null;
    this.#deciding = true;
    this.#close();
    this.#reopen.hidden = false;
    if (inside && how.surface === 'banner') this.#reopen.focus();
    if (crypto.subtle) {
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', shown));
      how.text_hash = `sha256:${[...hash].map((b) => b.toString(16).padStart(2, '0')).join('')}`;
    }
    const told = decide(granted, how);
    this.#deciding = false;
    this.update();
    await told;
  }

  #close(): void {
    if (this.#dialog.open) this.#dialog.close();
  }

  #closed(): void {
    this.#grown.disconnect();
    this.#room.hidden = true;
    if (this.#padding !== undefined) document.documentElement.style.scrollPaddingBottom = this.#padding;
    this.#padding = undefined;
    // Settings that were opened before the first decision, and closed without one: the question still stands.
    if (!this.#dialog.open && !this.#deciding && !decision() && c.ask.length) this.ask();
  }

  /** A constructed sheet, which a page's Content-Security-Policy need not allow. */
  #adopt(): void {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style);
    this.#root.adoptedStyleSheets = [sheet];
  }
}
