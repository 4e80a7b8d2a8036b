// What the sample shop does in the browser: how a page talks to the tracker, and a part that is a single-page app.
// Choices of the settings page stay in the tab (sessionStorage): no cookie, nothing beyond the visit.
(() => {
  const doc = document;

  /** Calls the tracker, or leaves the call where the tracker looks when it has loaded. */
  const tell = (name, ...args) => {
    if (self.sekisho?.[name]) self.sekisho[name](...args);
    else {
      self._skq ||= [];
      self._skq.push([name, ...args]);
    }
  };

  /** Keeps a choice for the visit; answers what is kept. A browser that keeps nothing forgets it on the next page. */
  const kept = (name, value) => {
    try {
      if (value !== undefined) sessionStorage.setItem(`shop.${name}`, value);
      return sessionStorage.getItem(`shop.${name}`) ?? '';
    } catch {
      return value ?? '';
    }
  };

  const say = (text) => {
    const said = doc.getElementById('said');
    if (said && text) said.textContent = text;
  };

  /** Lets the marked button of a form name what is chosen. */
  const aim = (form, value) => {
    const button = form.querySelector('[data-sekisho-op]');
    if (button) button.dataset.sekishoTarget = value;
  };

  /** Shows what a switch is; its target names what it is pressed for. */
  const turnSwitch = (el, state) => {
    el.ariaChecked = `${state === 'on'}`;
    el.dataset.sekishoTarget = state === 'on' ? 'off' : 'on';
  };

  /** Makes the page look as the choices say. */
  const show = (account = kept('account'), theme = kept('theme')) => {
    doc.documentElement.dataset.theme = theme;
    for (const el of doc.querySelectorAll('[data-signed-in]')) el.hidden = el.dataset.signedIn !== account;
    for (const el of doc.querySelectorAll('[data-set=theme]')) el.ariaPressed = `${el.dataset.to === theme}`;
    for (const el of doc.querySelectorAll('[data-switch]')) turnSwitch(el, kept(el.dataset.switch));
    for (const form of doc.querySelectorAll('[data-choice]')) {
      const radio = form.elements.namedItem(form.dataset.choice);
      if (kept(form.dataset.choice)) radio.value = kept(form.dataset.choice);
      aim(form, radio.value);
    }
  };

  const acts = {
    set: (el) => {
      const value = kept(el.dataset.set, el.dataset.to);
      if (el.dataset.set === 'account') {
        tell('user', value || undefined);
        show(el.dataset.to);
      } else show(undefined, el.dataset.to);
    },
    switch: (el) => {
      const state = el.ariaChecked === 'true' ? 'off' : 'on';
      say(el.dataset[state]);
      // Later, so that the tracker reads the element as it was pressed.
      setTimeout(turnSwitch, 0, el, kept(el.dataset.switch, state));
    },
    custom: (el) => {
      const plan = new FormData(el.form).get('letter');
      tell('track', 'custom', { custom: { name: el.dataset.custom, properties: { plan, placement: 'settings' } } });
    },
    consent: (el) => tell('load', 'consent', el.dataset.consent),
    tab: (el, event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      if (el.href === location.href) return;
      history.pushState(null, '', el.href);
      turn(true);
    },
  };

  /** Shows the part of the journal that the address names. */
  const turn = (byHand) => {
    const links = [...doc.querySelectorAll('[data-tab]')];
    if (!links[0]) return;
    const current = links.find((el) => new URL(el.href).pathname === location.pathname) ?? links[0];
    for (const el of links) {
      if (el === current) el.ariaCurrent = 'page';
      else el.removeAttribute('aria-current');
    }
    for (const el of doc.querySelectorAll('[data-panel]')) {
      el.hidden = el.dataset.panel !== current.dataset.tab;
      if (el.hidden) continue;
      doc.title = el.dataset.title;
      if (byHand) el.querySelector('h1').focus();
    }
    const other = doc.querySelector('.language');
    other.pathname = other.pathname.replace(/\/journal.*/, `/journal/${current.dataset.tab}`);
  };

  doc.addEventListener('click', (event) => {
    for (const [name, act] of Object.entries(acts)) {
      const el = event.target.closest(`[data-${name}]`);
      if (el) act(el, event);
    }
    const el = event.target.closest('[data-say]');
    if (el && !el.matches('form')) say(el.dataset.say);
  });
  doc.addEventListener('change', ({ target: { form, name, value } }) => {
    if (form?.dataset.choice === name) aim(form, value);
  });
  doc.addEventListener('submit', (event) => {
    const { choice, say: text } = event.target.dataset;
    if (!choice) return;
    event.preventDefault();
    kept(choice, new FormData(event.target).get(choice));
    say(text);
  });
  addEventListener('popstate', () => turn(false));

  show();
  if (kept('account')) tell('user', kept('account'));
  doc.addEventListener('DOMContentLoaded', () => {
    show();
    turn(false);
  });
})();
