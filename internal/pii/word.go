package pii

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Words: e-mail addresses, secrets, parameters with a secret's key, IPv6 addresses.

// email judges an '@' at i. An address has a local part before it and a domain of two labels or more after it, in any
// script (RFC 6531).
func (sc *scanner) email(i int) int {
	t := sc.text
	from := localPart(t, i)
	if at := userinfo(t, i); at >= 0 { // https://user:secret@host
		return sc.found(at, i, SecretParameter) + 1
	}
	if from == i {
		return i + 1
	}
	to := domain(t, i+1)
	if to < 0 || retinaImage(t[i+1:to]) {
		return i + 1
	}
	return sc.found(from, to, Email)
}

func isAtext(c byte) bool {
	return isAlnum(c) || c == '.' || c == '_' || c == '-' || c == '+' || c == '~' || c == '\''
}

// localPart answers where the local part that ends at i begins. Other scripts than Latin belong to it only if they
// touch the '@': before an ASCII local part they are the sentence it stands in.
func localPart(t string, i int) int {
	from := i
	if i > 1 && t[i-1] == '"' {
		if open := strings.LastIndexByte(t[max(0, i-66):i-1], '"'); open >= 0 {
			return max(0, i-66) + open
		}
	}
	touching := false
	for from > 0 {
		c := t[from-1]
		if isAtext(c) {
			from--
			continue
		}
		if c < utf8.RuneSelf {
			break
		}
		r, size := utf8.DecodeLastRuneInString(t[:from])
		touching = touching || from == i
		if !unicode.Is(unicode.Latin, r) && !(touching && isWordRune(r)) {
			break
		}
		from -= size
	}
	for from < i && (t[from] == '.' || t[from] == '\'') {
		from++
	}
	return from
}

func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) }

// userinfo answers where the user information of a URL begins that ends with the '@' at i, or -1.
func userinfo(t string, i int) int {
	at := i
	for at > 0 {
		c := t[at-1]
		if c == '/' {
			if at > 2 && t[at-2] == '/' && t[at-3] == ':' && at < i {
				return at
			}
			return -1
		}
		if c == '@' || c == ' ' || c == '?' || c == '#' || c == '[' || c == ']' || c == '<' || c == '"' || c == '\n' {
			return -1
		}
		at--
	}
	return -1
}

// domain answers where the domain that begins at i ends, or -1.
func domain(t string, i int) int {
	valid, dots := -1, 0
	for i < len(t) {
		from, ascii := i, true
		for i < len(t) {
			c := t[i]
			if isAlnum(c) || c == '-' && i > from {
				i++
				continue
			}
			if c < utf8.RuneSelf {
				break
			}
			r, size := utf8.DecodeRuneInString(t[i:])
			if !isWordRune(r) || ascii && dots > 0 && topLevel(t[from:i]) {
				break
			}
			i, ascii = i+size, false
		}
		label := strings.TrimRight(t[from:i], "-")
		if label == "" {
			break
		}
		if dots > 0 && (!ascii || topLevel(label)) {
			valid = from + len(label)
		}
		switch {
		case i < len(t) && t[i] == '.':
			i++
		case strings.HasPrefix(t[i:], "。") && dots == 0:
			i += len("。")
		default:
			return valid
		}
		dots++
	}
	return valid
}

// topLevel reports whether an ASCII label can be the last of a public name.
func topLevel(label string) bool { return len(label) >= 2 && isLetter(label[0]) }

// retinaImage reports whether what follows an '@' is the scale of an image: icon@2x.png, icon@1.5x.png.
func retinaImage(s string) bool {
	i := 0
	for i < len(s) && (isDigit(s[i]) || s[i] == '.') {
		i++
	}
	if i == 0 || i+1 >= len(s) || s[i] != 'x' || s[i+1] != '.' {
		return false
	}
	switch s[i+2:] {
	case "png", "jpg", "jpeg", "gif", "webp", "avif", "svg":
		return true
	}
	return false
}

// secrets are the words by which issuers mark their secrets, and how many characters at least follow.
var secrets = []struct {
	prefix string
	min    int
}{
	{"eyJ", 17}, // a JSON object in base64url: JWT, JWE (RFC 7519)
	{"AKIA", 16},
	{"ASIA", 16},
	{"AIza", 30},
	{"ya29.", 20},
	{"ghp_", 20},
	{"gho_", 20},
	{"ghu_", 20},
	{"ghs_", 20},
	{"ghr_", 20},
	{"github_pat_", 20},
	{"glpat-", 16},
	{"sk_live_", 10},
	{"sk_test_", 10},
	{"rk_live_", 10},
	{"rk_test_", 10},
	{"whsec_", 16},
	{"sk-", 20},
	{"xoxb-", 10},
	{"xoxp-", 10},
	{"xoxa-", 10},
	{"xoxs-", 10},
	{"xoxr-", 10},
	{"xapp-", 10},
	{"npm_", 30},
	{"pypi-", 30},
	{"SG.", 30},
	{"hf_", 30},
	{"shpat_", 20},
	{"dop_v1_", 30},
}

func isTokenByte(c byte) bool { return isAlnum(c) || c == '_' || c == '-' || c == '.' || c == '~' }

func tokenEnd(t string, i int) int {
	for i < len(t) && (isTokenByte(t[i]) || t[i] == '+' || t[i] == '/' || t[i] == '=') {
		i++
	}
	return i
}

// tokenAt answers where the secret that begins at the word start i ends, or 0.
func tokenAt(t string, i int) int {
	if end := schemeToken(t, i); end > 0 {
		return end
	}
	for _, s := range secrets {
		if t[i] != s.prefix[0] || !strings.HasPrefix(t[i:], s.prefix) {
			continue
		}
		end := i + len(s.prefix)
		digits := 0
		for end < len(t) && isTokenByte(t[end]) {
			if isDigit(t[end]) {
				digits++
			}
			end++
		}
		// "sk-" is also how a hyphenated name can begin; a key of that length has digits in it.
		if end-i-len(s.prefix) >= s.min && (s.prefix != "sk-" || digits > 2) {
			return end
		}
	}
	return 0
}

// schemeToken finds the credentials of an Authorization header (RFC 6750, RFC 7617): Bearer and a token, Basic and
// base64 of user:password. The scheme goes with them.
func schemeToken(t string, i int) int {
	var from int
	switch {
	case len(t)-i > 7 && strings.EqualFold(t[i:i+7], "bearer "):
		from = i + 7
	case len(t)-i > 6 && strings.EqualFold(t[i:i+6], "basic "):
		from = i + 6
	default:
		return 0
	}
	end := tokenEnd(t, from)
	word := t[from:end]
	if len(word) < 8 {
		return 0
	}
	if from == i+7 {
		if len(word) >= 16 || strings.ContainsAny(word, "0123456789") {
			return end
		}
		return 0
	}
	plain, err := base64.StdEncoding.DecodeString(word)
	if err != nil || !strings.Contains(string(plain), ":") {
		return 0
	}
	return end
}

// privateKey drops a private key in PEM (RFC 7468) that begins at i, to its end line or to the end of the text.
func (sc *scanner) privateKey(i int) int {
	t := sc.text
	line, _, _ := strings.Cut(t[i+len("-----BEGIN "):], "-----")
	if len(line) > 40 || !strings.HasSuffix(line, "PRIVATE KEY") {
		return i + 1
	}
	end := len(t)
	if at := strings.Index(t[i:], "-----END "+line+"-----"); at >= 0 {
		end = i + at + len("-----END "+line+"-----")
	}
	return sc.found(i, end, Token)
}

// parameter judges a '=' at i: key=value with a key that names a secret. In a query (after '?', '&', ';' or '#') the
// keys of URLs count, elsewhere only those that can mean nothing else.
func (sc *scanner) parameter(i int) int {
	t := sc.text
	from := i
	for from > 0 && i-from < maxKey {
		c := t[from-1]
		if !isAlnum(c) && c != '_' && c != '-' && c != '.' && c != '[' && c != ']' && c < utf8.RuneSelf {
			break
		}
		from--
	}
	scope := inProse
	if from > 0 && strings.IndexByte("?&;#", t[from-1]) >= 0 {
		scope = inURL
	}
	end := i + 1
	for end < len(t) && strings.IndexByte("&;# \t\r\n\"'<>=", t[end]) < 0 {
		end++
	}
	for scope == inURL && end < len(t) && t[end] == '=' { // base64's padding
		end++
	}
	if from == i || end == i+1 || isMarker(t[i+1:end]) {
		return i + 1
	}
	kind, ok := sc.guard.keyKind(t[from:i], scope)
	if !ok {
		return i + 1
	}
	return sc.found(i+1, end, kind)
}

func isHexOrColon(c byte) bool { return unhex(c) <= 15 || c == ':' || c == '.' }

// ipv6 judges the run of hex digits and colons around a ':' at i, once.
func (sc *scanner) ipv6(i int) int {
	if i < sc.colons {
		return i + 1
	}
	t := sc.text
	from, to, colons := i, i, 0
	for from > 0 && isHexOrColon(t[from-1]) {
		from--
	}
	for to < len(t) && isHexOrColon(t[to]) {
		if t[to] == ':' {
			colons++
		}
		to++
	}
	sc.colons = to
	if colons < 2 || from > 0 && (isAlnum(t[from-1]) || t[from-1] == '_') || to < len(t) && (isAlnum(t[to]) || t[to] == '_') {
		return i + 1
	}
	for to > i && t[to-1] == '.' {
		to--
	}
	// A single colon at either end is the sentence's: "from 2001:db8::1: refused".
	run := t[from:to]
	if strings.HasSuffix(run, ":") && !strings.HasSuffix(run, "::") {
		run = run[:len(run)-1]
	}
	if strings.HasPrefix(run, ":") && !strings.HasPrefix(run, "::") {
		run, from = run[1:], from+1
	}
	if len(run) > 45 {
		return i + 1
	}
	addr, err := netip.ParseAddr(run)
	if err != nil || addr.IsLoopback() || addr.IsUnspecified() {
		return i + 1
	}
	return sc.found(from, from+len(run), IP)
}

// uuidAt answers where the UUID (RFC 9562) that begins at i ends, or 0: its last twelve characters may all be digits.
func uuidAt(t string, i int) int {
	const size = 36
	if len(t)-i < size || t[i+8] != '-' {
		return 0
	}
	for k := range size {
		c := t[i+k]
		if k == 8 || k == 13 || k == 18 || k == 23 {
			if c != '-' {
				return 0
			}
		} else if unhex(c) > 15 {
			return 0
		}
	}
	if end := i + size; end == len(t) || !isAlnum(t[end]) && t[end] != '-' {
		return end
	}
	return 0
}
