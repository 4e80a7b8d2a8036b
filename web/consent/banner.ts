// The banner and the settings, in one custom element on the native dialog.
//
// The first question is no modal: it does not take the focus, does not block the page and does not force a decision to
// read on, for a page that works without consent has no reason to. It stands before the body, so that it is the first
// thing Tab and a screen reader reach, and fixed, so that nothing shifts. What the visitor opens is a modal: there the
// browser itself keeps the focus inside, closes on Escape and gives the focus back.
//
// The hash of an act is that of exactly what was shown. Shown is every text in the dialog at the moment of the decision,
// in its order: what is on the screen, what scrolling brings there, and what the visitor can unfold, whether unfolded or
// not. So the details of the purposes count once they have been loaded and the notice that they could not be where they
// were not, and nothing may be in the dialog that the visitor cannot get to read.
import type { ConsentOptions, Surface } from '../tracker/types.ts';
import { decide, decision, purposes, standing } from './decision.ts';
import en from './messages.en.json';
import ja from './messages.ja.json';
import { type Notice, notice, type Purpose, policyPage } from './notice.ts';
import style from './style.css';

const c = sekisho;
const messages: Record<string, Record<keyof typeof en, string>> = { en, ja };

type Message = keyof typeof en;

/** An element with what is in it. */
function make<K extends keyof HTMLElementTagNameMap>(tag: K, ...inside: (Node | string)[]): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  el.append(...inside);
  return el;
}

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

  #message(key: Message, values: Record<string, string> = {}): string {
    return (messages[this.lang] ?? en)[key].replace(/{(\w+)}/g, (_, name) => values[name] ?? '');
  }

  /** The texts of the dialog, from top to bottom. */
  #shown(): string {
    const texts: string[] = [];
    const walker = document.createTreeWalker(this.#dialog, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) texts.push((walker.currentNode as Text).data);
    return texts.join('\n');
  }

  #render(): void {
    const title = make('p', this.#text('_title'));
    title.id = 'title';
    title.className = 'title';
    const body = make('p', this.#text('_body'));
    body.id = 'body';
    const foot = make('div');
    foot.className = 'foot';
    this.#dialog.replaceChildren(title, body, ...this.#signal(), ...this.#purposes(), foot);
    foot.append(this.#choices());
    if (this.#surface === 'settings') foot.append(this.#more());
  }

  /** Says that GPC is heard, before there is a decision that overrides it. */
  #signal(): HTMLElement[] {
    if (!navigator.globalPrivacyControl || !c.gpc.length || decision()) return [];
    return [make('p', this.#message('gpc', { purposes: this.#list(c.gpc.map((p) => this.#text(p))) }))];
  }

  #list(names: string[]): string {
    return new Intl.ListFormat(this.lang, { type: 'conjunction' }).format(names);
  }

  #purposes(): HTMLElement[] {
    if (!this.#choosing) return [make('ul', ...this.#asked().map((p) => make('li', this.#text(p))))];
    const before = standing();
    // A box is ticked only where the visitor has ticked it before. The boxes of purposes that run unless one objects
    // are objections: ticked by an earlier objection, or by GPC.
    const refused = (before ?? c.s).deny;
    const details = new Map<string, HTMLDetailsElement>();
    const shown = [
      ...this.#boxes('ask', c.ask, (p) => before?.granted?.includes(p), details),
      ...this.#boxes('object', c.optout, (p) => refused?.includes(p), details),
    ];
    const free = this.#details('free');
    const link = make('a', this.#message('policy'));
    link.href = policyPage(this.lang);
    link.target = '_blank';
    link.rel = 'noopener';
    this.#explain(details, free);
    return [...shown, free, make('p', link)];
  }

  #boxes(
    kind: 'ask' | 'object',
    ids: string[],
    ticked: (p: string) => boolean | undefined,
    details: Map<string, HTMLDetailsElement>,
  ): HTMLElement[] {
    if (!ids.length) return [];
    const lead = make('p', this.#message(kind));
    lead.id = kind;
    const list = make('ul');
    list.className = 'choice';
    list.setAttribute('aria-labelledby', kind);
    for (const p of ids) {
      const box = make('input');
      box.type = 'checkbox';
      box.value = p;
      box.name = kind;
      box.defaultChecked = ticked(p) ?? false;
      const name = make('span', this.#text(p));
      name.id = `name-${p}`;
      const more = this.#details('details', p);
      details.set(p, more);
      list.append(make('li', make('label', box, name), more));
    }
    return [lead, list];
  }

  // --- What the policy says of it -------------------------------------------------------------------------------------

  /** Closed, and of the same height whether loaded or not: what arrives moves nothing. */
  #details(key: Message, purpose?: string): HTMLDetailsElement {
    const summary = make('summary', this.#message(key));
    if (purpose) {
      summary.id = `more-${purpose}`;
      // Many are called the same: read with the name of what they are about.
      summary.setAttribute('aria-labelledby', `${summary.id} name-${purpose}`);
    }
    return make('details', summary, make('p', this.#message('loading')));
  }

  /** Puts into the details what the policy in force says, or that it cannot be had. The choice does not wait for it. */
  async #explain(details: Map<string, HTMLDetailsElement>, free: HTMLDetailsElement): Promise<void> {
    const said = await notice(this.lang);
    const missing = () => [make('p', this.#message('missing'))];
    const fill = (el: HTMLDetailsElement, texts: HTMLElement[]) =>
      el.replaceChildren(el.firstElementChild as HTMLElement, ...texts);
    for (const [id, el] of details) {
      const purpose = said?.purposes.find((p) => p.id === id);
      fill(el, said && purpose ? this.#facts(said, purpose) : missing());
    }
    const unasked = said?.purposes.filter((p) => p.basis === 'notified');
    if (!said || !unasked) fill(free, missing());
    else if (!unasked.length) fill(free, [make('p', this.#message('none'))]);
    else fill(free, [make('ul', ...unasked.map((p) => make('li', make('b', p.label), ...this.#facts(said, p))))]);
  }

  #facts(said: Notice, purpose: Purpose): HTMLElement[] {
    const recipients = purpose.recipients.map(({ name, entrusted }) =>
      entrusted ? this.#message('entrusted', { name }) : name,
    );
    const kept = purpose.categories.map((id) => {
      const { label = id, days = 0 } = said.categories[id] ?? {};
      return make('li', this.#message('kept', { data: label, time: this.#time(days) }));
    });
    return [
      make('p', purpose.text),
      make(
        'dl',
        make('dt', this.#message('basis')),
        make('dd', this.#message(purpose.basis)),
        make('dt', this.#message('recipients')),
        make('dd', recipients.length ? this.#list(recipients) : this.#message('operator')),
        make('dt', this.#message('data')),
        make('dd', make('ul', ...kept)),
      ),
    ];
  }

  /** Days, and from two months on about how many months or years that is. */
  #time(days: number): string {
    const count = (unit: string, n: number) =>
      new Intl.NumberFormat(this.lang, { style: 'unit', unit, unitDisplay: 'long' })
        .format(n)
        // Japanese has no space between a number and what it counts.
        .replace(/ (?=[^ -~])/, '');
    const exact = count('day', days);
    if (days < 60) return exact;
    const rounded = days % 365 ? count('month', Math.round((days * 12) / 365)) : count('year', days / 365);
    return this.#message('about', { exact, rounded });
  }

  // --- What can be pressed --------------------------------------------------------------------------------------------

  /** The first question names what is open; what stands is in the choice. */
  #asked(): string[] {
    return (this.#surface === 'banner' && standing()?.open) || purposes();
  }

  /** What stands while the question is about something else. */
  #stands(): string[] {
    return (this.#surface === 'banner' && standing()?.open && standing()?.granted) || [];
  }

  /** Accept and refuse: one look, one size, one row. They answer what was asked, and leave what stands. */
  #choices(): HTMLElement {
    const row = make(
      'div',
      this.#button('_accept', () => this.#decide([...this.#stands(), ...this.#asked()])),
      this.#button('_refuse', () => this.#decide(this.#stands())),
      this.#choosing
        ? this.#button('_save', () => this.#decide(this.#chosen()))
        : this.#button('_choose', () => this.#choose()),
    );
    row.className = 'choices';
    return row;
  }

  #more(): HTMLElement {
    const row = make('div');
    row.className = 'more';
    const granted = decision()?.granted ?? [];
    if (c.ask.some((p) => granted.includes(p)))
      row.append(this.#button('_withdraw', () => this.#decide(granted.filter((p) => !c.ask.includes(p)))));
    row.append(this.#button('close', () => this.#close()));
    return row;
  }

  #button(key: string, act: () => void): HTMLButtonElement {
    const button = make('button', key === 'close' ? this.#message(key) : this.#text(key));
    button.type = 'button';
    button.dataset.act = key.replace('_', '');
    button.addEventListener('click', act);
    return button;
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
    const shown = new TextEncoder().encode(this.#shown());
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
