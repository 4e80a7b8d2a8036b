package pii

import (
	"strings"
	"unicode/utf8"
)

// The classes of bytes that the scanner tells apart.
const (
	other   = iota
	letter  // ASCII letter, '_'
	joiner  // '-', '.': part of a long word, of no meaning alone
	digit   // ASCII digit
	colon   // ':'
	trigger // '@', '%', '=', '+'
	lead    // first byte of a rune that may fold into ASCII
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			t[c] = letter
		case c >= '0' && c <= '9':
			t[c] = digit
		case c == '-', c == '.':
			t[c] = joiner
		case c == ':':
			t[c] = colon
		case c == '@', c == '%', c == '=', c == '+':
			t[c] = trigger
		// Digits of other scripts, super- and subscripts, full-width and mathematical forms, odd dashes and spaces.
		case c == 0xC2, c == 0xD9, c == 0xDB, c == 0xE0, c == 0xE2, c == 0xEF, c == 0xF0:
			t[c] = lead
		}
	}
	return t
}()

func isLetter(c byte) bool { return class[c] == letter && c != '_' }
func isDigit(c byte) bool  { return class[c] == digit }
func isAlnum(c byte) bool  { return isDigit(c) || isLetter(c) }

// shortestToken is the length of the shortest word that can be a secret without a digit in it (Bearer and a word), or
// an IPv6 address without one (a:b:c:d:e:f:a:b).
const shortestToken = 15

// suspicious is the cheap first look: false means that there is nothing to find.
func suspicious(s string) bool {
	before := -1 // the last byte before the word
	for i := 0; i < len(s); i++ {
		c := class[s[i]]
		if c == other {
			before = i
			continue
		}
		if c > joiner && (c != colon || i+1 < len(s) && s[i+1] == ':') {
			if c != lead {
				return true
			}
			r, size := utf8.DecodeRuneInString(s[i:])
			if c := class[fold(r)]; c == digit || c == trigger {
				return true
			}
			i += size - 1
			before = i
			continue
		}
		if i-before >= shortestToken {
			return true
		}
	}
	return false
}

// fold answers the ASCII character that a rune stands for, as NFKC would have it and a bit beyond (digits of the
// scripts whose keyboards give them), or 0.
func fold(r rune) byte {
	switch {
	case r < 0x80:
		return byte(r) //nolint:gosec // G115: ASCII
	case r >= 0xFF01 && r <= 0xFF5E: // full-width
		return byte(r - 0xFF01 + '!')
	case r == 0x3000, r == 0xA0, r == 0x2007, r == 0x202F, r == 0x2009: // spaces
		return ' '
	case r >= 0x2010 && r <= 0x2015, r == 0x2212, r == 0xFE63: // dashes, minus
		return '-'
	case r == 0xFE6B:
		return '@'
	case r == 0xFF61:
		return '.'
	case r >= 0x660 && r <= 0x669: // Arabic-Indic
		return byte(r - 0x660 + '0')
	case r >= 0x6F0 && r <= 0x6F9:
		return byte(r - 0x6F0 + '0')
	case r >= 0x966 && r <= 0x96F: // Devanagari
		return byte(r - 0x966 + '0')
	case r >= 0xE50 && r <= 0xE59: // Thai
		return byte(r - 0xE50 + '0')
	case r >= 0x1D7CE && r <= 0x1D7FF: // mathematical
		return byte((r-0x1D7CE)%10 + '0')
	case r >= 0x2460 && r <= 0x2468: // circled 1 to 9
		return byte(r - 0x2460 + '1')
	case r == 0x24EA:
		return '0'
	case r >= 0x2080 && r <= 0x2089: // subscript
		return byte(r - 0x2080 + '0')
	case r == 0x2070, r >= 0x2074 && r <= 0x2079: // superscript
		return byte(r - 0x2070 + '0') //nolint:gosec // G115: a digit
	case r == 0xB2, r == 0xB3:
		return byte(r - 0xB0 + '0') //nolint:gosec // G115: a digit
	case r == 0xB9:
		return '1'
	}
	return 0
}

// invisible reports whether a rune shows nothing, and so could part the digits of a number unseen.
func invisible(r rune) bool {
	return r == 0xAD || r >= 0x200B && r <= 0x200F || r == 0x2060 || r == 0xFEFF
}

// view is a string as the scanner reads it: folded to ASCII where a rune stands for an ASCII character, and
// percent-decoded however often it was encoded. off gives each of its bytes the offset in the original; nil if both
// are the same.
type view struct {
	text string
	off  []int32
}

func viewOf(s string) view {
	if !needsFolding(s) {
		return view{text: s}
	}
	text := make([]byte, 0, len(s))
	off := make([]int32, 0, len(s)+1)
	for i := 0; i < len(s); {
		r, end := runeAt(s, i)
		switch c := fold(r); {
		case invisible(r):
		case r == 'ー' || r == 'ｰ': // the long vowel mark, typed for a dash between digits
			if n := len(text); n > 0 && isDigit(text[n-1]) && digitFollows(s, end) {
				text, off = append(text, '-'), append(off, int32(i))
				break
			}
			text, off = appendAll(text, off, r, i)
		case c != 0:
			text, off = append(text, c), append(off, int32(i))
		default:
			text, off = appendAll(text, off, r, i)
		}
		i = end
	}
	return view{text: string(text), off: append(off, int32(len(s)))} //nolint:gosec // G115: texts are far shorter than 2 GiB
}

func appendAll(text []byte, off []int32, r rune, at int) ([]byte, []int32) {
	before := len(text)
	text = utf8.AppendRune(text, r)
	for range len(text) - before {
		off = append(off, int32(at)) //nolint:gosec // G115: texts are far shorter than 2 GiB
	}
	return text, off
}

func digitFollows(s string, i int) bool {
	if i >= len(s) {
		return false
	}
	r, _ := runeAt(s, i)
	return isDigit(fold(r))
}

// needsFolding reports whether the view differs from s in anything that matters: a dash or a space other than ASCII's
// does only behind a digit.
func needsFolding(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			return true
		case class[c] == lead, c == 0xE3 && i > 0 && isDigit(s[i-1]):
			r, size := utf8.DecodeRuneInString(s[i:])
			f := fold(r)
			if f == '-' || f == ' ' || r == 'ー' || r == 'ｰ' {
				if i > 0 && isDigit(s[i-1]) {
					return true
				}
			} else if f != 0 || invisible(r) {
				return true
			}
			i += size - 1
		}
	}
	return false
}

// runeAt reads the rune at s[i:], percent-encoded or not, and tells where it ends; U+FFFD for what is no UTF-8.
func runeAt(s string, i int) (r rune, end int) {
	if s[i] != '%' {
		r, size := utf8.DecodeRuneInString(s[i:])
		return r, i + size
	}
	var b [utf8.UTFMax]byte
	n, at := 0, i
	for n < len(b) && at < len(s) && s[at] == '%' {
		c, next := byteAt(s, at)
		if n > 0 && utf8.RuneStart(c) {
			break
		}
		b[n], n, at = c, n+1, next
		if utf8.FullRune(b[:n]) {
			break
		}
	}
	r, size := utf8.DecodeRune(b[:n])
	if r == utf8.RuneError && size <= 1 { // one byte of it, as something that is no word
		_, at = byteAt(s, i)
	}
	return r, at
}

// byteAt decodes the percent-encoded byte at s[i], which is a '%', through any number of encodings: %40, %2540, ...
// A lone '%' is itself.
func byteAt(s string, i int) (c byte, end int) {
	c, end = '%', i+1
	for c == '%' && end+1 < len(s) {
		hi, lo := unhex(s[end]), unhex(s[end+1])
		if hi > 15 || lo > 15 {
			break
		}
		c, end = hi<<4|lo, end+2
	}
	return c, end
}

// unhex is a hex digit's value, or 255.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// find is a span of the view's text.
type find struct {
	from, to int
	kind     Kind
}

// scanner walks a view once and collects finds in their order, none overlapping another.
type scanner struct {
	guard  *Guard
	text   string
	finds  []find
	colons int // the end of the run of hex digits and colons that was judged already
}

// sweep replaces what one walk over s finds.
func (g *Guard) sweep(s string, counts *Counts) (string, bool) {
	v := viewOf(s)
	sc := scanner{guard: g, text: v.text}
	sc.walk()
	if len(sc.finds) == 0 {
		return s, false
	}
	var out strings.Builder
	out.Grow(len(s) + 16)
	at := 0
	for _, f := range sc.finds {
		from, to := f.from, f.to
		if v.off != nil {
			from, to = int(v.off[from]), int(v.off[to])
		}
		out.WriteString(s[at:from])
		out.WriteString(markers[f.kind])
		counts[f.kind]++
		at = to
	}
	out.WriteString(s[at:])
	return out.String(), true
}

func (sc *scanner) walk() {
	t := sc.text
	for i := 0; i < len(t); {
		wordStart := i == 0 || !isAlnum(t[i-1]) && t[i-1] != '_'
		switch class[t[i]] {
		case letter, digit:
			if wordStart {
				if end := uuidAt(t, i); end > 0 {
					i = end
					continue
				}
				if end := tokenAt(t, i); end > 0 {
					i = sc.found(i, end, Token)
					continue
				}
			}
			if isDigit(t[i]) {
				i = sc.number(i)
				continue
			}
			i++
			for i < len(t) && class[t[i]] == letter {
				i++
			}
		case colon:
			i = sc.ipv6(i)
		case joiner:
			if wordStart && strings.HasPrefix(t[i:], "-----BEGIN ") {
				i = sc.privateKey(i)
				continue
			}
			i++
		case trigger:
			switch t[i] {
			case '@':
				i = sc.email(i)
			case '=':
				i = sc.parameter(i)
			case '+':
				i = sc.international(i)
			default:
				i++
			}
		default:
			i++
		}
	}
}

// found records a find and answers where to go on. A find that reaches back over earlier ones takes their place.
func (sc *scanner) found(from, to int, kind Kind) int {
	for n := len(sc.finds); n > 0 && sc.finds[n-1].to > from; n-- {
		from = min(from, sc.finds[n-1].from)
		to = max(to, sc.finds[n-1].to)
		sc.finds = sc.finds[:n-1]
	}
	sc.finds = append(sc.finds, find{from, to, kind})
	return to
}
