// Links that the core does not know: downloads, mail and telephone, and outbound links opened in a new tab by the middle
// button. An address or a number never leaves the page, only that one was chosen.
const c = sekisho;

/** What a browser saves rather than shows, and documents. */
const files =
  /\.(7z|apk|avi|bz2|csv|deb|dmg|docx?|epub|exe|gz|ics|iso|jar|json|key|m4[av]|mkv|mobi|mov|mp[34]|msi|numbers|od[pst]|ogg|pages|pdf|pkg|pptx?|rar|rpm|rtf|tar|tgz|txt|wav|webm|wmv|xlsx?|xml|xz|zip)$/i;

const follow = (e: MouseEvent) => {
  // Captured and composed: a link inside an open shadow root counts as well.
  const link = e.composedPath().find((el): el is HTMLAnchorElement => el instanceof HTMLAnchorElement && !!el.href);
  if (!link) return;
  if (e.type === 'auxclick') {
    if (e.button !== 1) return;
    if (link.host && link.host !== location.host) c.op('outbound_link', link.hostname);
  }
  if (/^(mailto|tel|sms):$/.test(link.protocol)) c.op('contact_link', link.protocol.slice(0, -1));
  else if (link.hasAttribute('download') || files.test(link.pathname))
    c.op('download', (link.pathname.split('/').pop() || link.download || 'file').slice(0, 120));
};
addEventListener('click', follow, true);
addEventListener('auxclick', follow, true);

/** Loading it is all it takes. */
export default function links(): void {}
