package pii

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

// URL scrubs an absolute or relative URL reference, well formed or not. User information goes, and so does the fragment
// unless it is a route ("#/path", "#!path"), which is scrubbed. The path is scrubbed segment by segment and the query
// parameter by parameter, by key and by content; what holds nothing keeps its spelling to the byte. A host that holds
// something becomes a name under .invalid (RFC 6761) that says what it was. Of schemes that carry content or a person
// (data:, blob:, javascript:, mailto:, tel:, file:) only the scheme, and for a person's a marker, is left.
// counts MUST NOT be nil.
func (g *Guard) URL(raw string, counts *Counts) string {
	if !utf8.ValidString(raw) {
		raw = strings.ToValidUTF8(raw, "\uFFFD")
	}
	for {
		next := g.url(raw, counts)
		if next == raw {
			return raw
		}
		raw = next
	}
}

func (g *Guard) url(raw string, counts *Counts) string {
	scheme, rest := cutScheme(raw)
	switch strings.ToLower(scheme) {
	case "", "http", "https", "ws", "wss", "ftp", "android-app", "ios-app", "app":
	case "mailto":
		return scheme + ":" + contact(rest, Email, counts)
	case "tel", "sms", "smsto", "callto", "facetime":
		return scheme + ":" + contact(rest, Phone, counts)
	case "data", "blob", "javascript", "vbscript", "file", "filesystem", "content", "view-source", "view-transition":
		return scheme + ":"
	default:
		if len(rest) < 2 || !isSlash(rest[0]) || !isSlash(rest[1]) {
			return scheme + ":" + g.Text(rest, counts)
		}
	}
	var out strings.Builder
	out.Grow(len(raw))
	if scheme != "" {
		out.WriteString(scheme)
		out.WriteByte(':')
	}
	if len(rest) >= 2 && isSlash(rest[0]) && isSlash(rest[1]) {
		out.WriteString("//")
		rest = rest[2:]
		end := strings.IndexAny(rest, `/\?#`)
		if end < 0 {
			end = len(rest)
		}
		g.authority(&out, rest[:end], counts)
		rest = rest[end:]
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	g.pathAndQuery(&out, rest, counts)
	if strings.HasPrefix(fragment, "/") || strings.HasPrefix(fragment, "!") {
		route, _, _ := strings.Cut(fragment, "#")
		out.WriteByte('#')
		g.pathAndQuery(&out, route, counts)
	}
	return out.String()
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

// cutScheme parts a scheme (RFC 3986, 3.1) from the rest.
func cutScheme(raw string) (scheme, rest string) {
	for i := range len(raw) {
		switch c := raw[i]; {
		case isLetter(c):
		case i > 0 && (isDigit(c) || c == '+' || c == '-' || c == '.'):
		case i > 1 && c == ':':
			// "localhost:8080/x" is no scheme, and neither is a path with a colon.
			if i+1 < len(raw) && isDigit(raw[i+1]) && !strings.EqualFold(raw[:i], "tel") && !strings.EqualFold(raw[:i], "sms") {
				return "", raw
			}
			return raw[:i], raw[i+1:]
		default:
			return "", raw
		}
	}
	return "", raw
}

func contact(rest string, kind Kind, counts *Counts) string {
	if rest == "" || rest == markers[kind] {
		return rest
	}
	counts[kind]++
	return markers[kind]
}

func (g *Guard) authority(out *strings.Builder, authority string, counts *Counts) {
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if at > 0 {
			counts[SecretParameter]++
		}
		authority = authority[at+1:]
	}
	host, port := authority, ""
	if colon := strings.LastIndexByte(authority, ':'); colon >= 0 && !strings.HasSuffix(authority, "]") {
		host = authority[:colon]
		port = authority[colon:]
		for _, c := range []byte(port[1:]) {
			if !isDigit(c) {
				port = ""
			}
		}
		if len(port) > 6 {
			port = ""
		}
	}
	out.WriteString(g.host(host, counts))
	out.WriteString(port)
}

// host answers the host itself, or a reserved name if it holds a find.
func (g *Guard) host(host string, counts *Counts) string {
	literal := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, ok := parseIP(literal); ok {
		if addr.IsLoopback() || addr.IsUnspecified() {
			return host
		}
		counts[IP]++
		return reserved(IP)
	}
	var found Counts
	if g.Text(host, &found) == host {
		return strings.Map(dropBracket, host)
	}
	counts.Add(found)
	for kind, n := range found {
		if n > 0 {
			return reserved(Kind(kind))
		}
	}
	return host
}

// parseIP spares names the error that netip would make of them.
func parseIP(host string) (netip.Addr, bool) {
	if host == "" || strings.IndexByte(host, ':') < 0 && !isDigit(host[len(host)-1]) {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap(), err == nil
}

// dropBracket keeps a host that is no IPv6 literal from looking like one.
func dropBracket(r rune) rune {
	if r == '[' || r == ']' {
		return -1
	}
	return r
}

func reserved(k Kind) string { return strings.ReplaceAll(k.String(), "_", "-") + ".invalid" }

func (g *Guard) pathAndQuery(out *strings.Builder, s string, counts *Counts) {
	path, query, hasQuery := strings.Cut(s, "?")
	for i := 0; ; {
		n := strings.IndexAny(path[i:], `/\`)
		end := i + n
		if n < 0 {
			end = len(path)
		}
		g.component(out, path[i:end], false, counts)
		if n < 0 {
			break
		}
		out.WriteByte(path[end])
		i = end + 1
	}
	if !hasQuery {
		return
	}
	out.WriteByte('?')
	for first := true; first || query != ""; first = false {
		var pair string
		end := strings.IndexByte(query, '&')
		if end < 0 {
			pair, query = query, ""
		} else {
			pair, query = query[:end], query[end+1:]
		}
		g.parameter(out, pair, counts)
		if end >= 0 {
			out.WriteByte('&')
			if query == "" {
				break
			}
		}
	}
}

func (g *Guard) parameter(out *strings.Builder, pair string, counts *Counts) {
	key, value, hasValue := strings.Cut(pair, "=")
	g.component(out, key, true, counts)
	if !hasValue {
		return
	}
	out.WriteByte('=')
	if value == "" {
		return
	}
	if kind, ok := g.keyKind(decode(key, true), inURL); ok {
		if !isMarker(value) {
			counts[kind]++
			value = markers[kind]
		}
		out.WriteString(value)
		return
	}
	g.component(out, value, true, counts)
}

// component writes a path segment, a key or a value: as it came if it holds nothing, encoded anew otherwise.
func (g *Guard) component(out *strings.Builder, raw string, query bool, counts *Counts) {
	if !suspicious(raw) {
		out.WriteString(raw)
		return
	}
	plain := decode(raw, query)
	if clean := g.Text(plain, counts); clean != plain {
		encode(out, clean, query)
		return
	}
	out.WriteString(raw)
}

// decode undoes one percent-encoding, and '+' in a query but at its start, where it is a telephone number's. Invalid
// UTF-8 becomes U+FFFD.
func decode(s string, query bool) string {
	if strings.IndexByte(s, '%') < 0 && (!query || strings.IndexByte(s, '+') < 0) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) <= 15 && unhex(s[i+2]) <= 15:
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		case c == '+' && query && i > 0:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

// encode writes s percent-encoded as a component. The brackets of the markers stay, as browsers leave them.
func encode(out *strings.Builder, s string, query bool) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case isAlnum(c), strings.IndexByte("-._~!$'()*,:@[]", c) >= 0, !query && strings.IndexByte("&+=;", c) >= 0:
			out.WriteByte(c)
		case query && c == ' ':
			out.WriteByte('+')
		default:
			out.WriteByte('%')
			out.WriteByte(hex[c>>4])
			out.WriteByte(hex[c&15])
		}
	}
}

// Page is the host and the path of a page's URL, scrubbed and without its query: the host in lower case without port,
// the path with the route in the fragment if the site has such ("/app#/orders"). Both are empty for what is no page
// (mailto:, data:, about:).
func (g *Guard) Page(raw string, counts *Counts) (host, path string) {
	scheme, rest := cutScheme(g.URL(raw, counts))
	if len(rest) >= 2 && isSlash(rest[0]) && isSlash(rest[1]) {
		rest = rest[2:]
		end := strings.IndexAny(rest, `/\?#`)
		if end < 0 {
			end = len(rest)
		}
		host, rest = strings.ToLower(rest[:end]), rest[end:]
		if colon := strings.LastIndexByte(host, ':'); colon >= 0 && !strings.HasSuffix(host, "]") {
			host = host[:colon]
		}
	} else if scheme != "" {
		return "", ""
	}
	path, route, _ := strings.Cut(rest, "#")
	path, _, _ = strings.Cut(path, "?")
	if path == "" && host != "" {
		path = "/"
	}
	if route != "" {
		route, _, _ = strings.Cut(route, "?")
		path += "#" + route
	}
	return host, path
}
