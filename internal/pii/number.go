package pii

import "strings"

// Numbers: My Numbers, payment cards, telephone numbers, IPv4 addresses.
//
// A number is read as groups of digits with separators between them, and each kind has its shapes, so that a date or a
// price beside a number does not hide it. Its borders count: digits that hang on letters (a SKU, a hash) or on a longer
// chain of groups (an order number) are something else, unless a word before them says what they are.

type group struct{ from, to int }

func (g group) len() int { return g.to - g.from }

// chain is the run of digit groups that begins at one group.
type chain struct {
	text   string
	groups [8]group
	n      int
}

func (c *chain) group(i int) string { return c.text[c.groups[i].from:c.groups[i].to] }

// end is where the first k groups end.
func (c *chain) end(k int) int { return c.groups[k-1].to }

// total is the number of digits in all groups.
func (c *chain) total() (n int) {
	for _, g := range c.groups[:c.n] {
		n += g.len()
	}
	return n
}

// digits writes the digits of the first k groups to buf and answers how many there are; at most len(buf)+1.
func (c *chain) digits(k int, buf []byte) int {
	n := 0
	for _, g := range c.groups[:k] {
		for i := g.from; i < g.to; i++ {
			if n == len(buf) {
				return n + 1
			}
			buf[n], n = c.text[i], n+1
		}
	}
	return n
}

// shape reports whether the chain begins with groups of these lengths.
func (c *chain) shape(lengths ...int) bool {
	if c.n < len(lengths) {
		return false
	}
	for i, l := range lengths {
		if c.groups[i].len() != l {
			return false
		}
	}
	return true
}

func isSeparator(b byte) bool {
	return b == '-' || b == ' ' || b == '.' || b == '(' || b == ')' || b == '_'
}

func chainAt(t string, i int) (c chain) {
	c.text = t
	for c.n < len(c.groups) {
		from := i
		for i < len(t) && isDigit(t[i]) {
			i++
		}
		c.groups[c.n], c.n = group{from, i}, c.n+1
		separators := 0
		for i < len(t) && separators < 3 && isSeparator(t[i]) {
			i, separators = i+1, separators+1
		}
		if separators == 0 || separators == 3 || i == len(t) || !isDigit(t[i]) {
			return c
		}
	}
	return c
}

// number judges the digits at i and answers where to go on.
func (sc *scanner) number(i int) int {
	t := sc.text
	c := chainAt(t, i)
	skip := c.groups[0].to
	if i > 0 && isDigit(t[i-1]) || c.n < 4 && c.total() < 8 {
		return skip // nothing is that short but an IPv4 address
	}
	called := cue(t, i)
	if called == noCue && i > 0 && (isLetter(t[i-1]) || t[i-1] == '.' && i > 1 && isDigit(t[i-2])) {
		return skip // a word with digits in it; the digits after a decimal point
	}
	switch called {
	case myNumberCue: // named as such: whatever its check digit, however it is grouped
		for k, n := 1, 0; k <= c.n; k++ {
			if n += c.groups[k-1].len(); n == 12 && !joinedRight(t, c.end(k)) {
				return sc.found(i, c.end(k), MyNumber)
			}
		}
	case phoneCue:
		if k := c.prefix(8, 15); k > 0 {
			return sc.found(i, c.end(k), Phone)
		}
	}
	joined := called == noCue && joinedLeft(t, i)
	if end := ipv4(&c, joined, called == versionCue); end > 0 {
		return sc.found(i, end, IP)
	}
	if k := c.card(joined); k > 0 {
		return sc.found(i, c.end(k), Card)
	}
	if k := c.myNumber(joined); k > 0 {
		return sc.found(i, c.end(k), MyNumber)
	}
	if k := c.domestic(joined); k > 0 {
		return sc.found(openParenthesis(t, i), c.end(k), Phone)
	}
	return skip
}

// openParenthesis takes the "(" of "(03) 1234-5678" along.
func openParenthesis(t string, i int) int {
	if i > 0 && t[i-1] == '(' && strings.IndexByte(t[i:min(len(t), i+6)], ')') > 0 {
		return i - 1
	}
	return i
}

// joinedLeft reports whether the digits at i continue a chain of digit groups.
func joinedLeft(t string, i int) bool {
	return i > 1 && (t[i-1] == '-' || t[i-1] == '.' || t[i-1] == '_') && isDigit(t[i-2])
}

// joinedRight reports whether a number that ends at i goes on: with a letter, or with another group.
func joinedRight(t string, i int) bool {
	if i == len(t) {
		return false
	}
	if isAlnum(t[i]) {
		return true
	}
	return (t[i] == '-' || t[i] == '.' || t[i] == '_') && i+1 < len(t) && isDigit(t[i+1])
}

// wordRight reports whether a letter or digit follows directly.
func wordRight(t string, i int) bool { return i < len(t) && isAlnum(t[i]) }

// prefix answers how many groups it takes, as many as possible, to hold low to high digits; 0 if none do.
func (c *chain) prefix(low, high int) (k int) {
	for i, n := 0, 0; i < c.n; i++ {
		if n += c.groups[i].len(); n > high {
			break
		}
		if n >= low && !wordRight(c.text, c.groups[i].to) {
			k = i + 1
		}
	}
	return k
}

// myNumber answers the number of groups of a My Number: 12 digits in one group or as 4-4-4, with its check digit.
func (c *chain) myNumber(joined bool) int {
	var d [12]byte
	if c.shape(12) && !wordRight(c.text, c.end(1)) {
		c.digits(1, d[:])
		if validMyNumber(d[:]) {
			return 1
		}
	}
	if c.shape(4, 4, 4) && !joined && !joinedRight(c.text, c.end(3)) && !c.shape(4, 4, 4, 4) {
		c.digits(3, d[:])
		if validMyNumber(d[:]) {
			return 3
		}
	}
	return 0
}

// validMyNumber checks the check digit of 12 digits (Order of the Ministry of Internal Affairs and Communications
// No. 85 of 2014, Art. 5): with P1..P11 from the right without it, Qn = n+1 up to n = 6 and n-5 above,
// 11 - sum(Pn*Qn) mod 11, and 0 where that is above 9.
func validMyNumber(d []byte) bool {
	sum := 0
	for n := 1; n <= 11; n++ {
		q := n + 1
		if n > 6 {
			q = n - 5
		}
		sum += int(d[11-n]-'0') * q
	}
	check := 0
	if r := sum % 11; r > 1 {
		check = 11 - r
	}
	return int(d[11]-'0') == check
}

// card answers the number of groups of a payment card's number: 13 to 19 digits in one group or as printed on cards,
// of a known issuer (ISO/IEC 7812), with Luhn's check digit.
func (c *chain) card(joined bool) int {
	k := 0
	switch n := c.groups[0].len(); {
	case n >= 13 && n <= 19:
		if !wordRight(c.text, c.end(1)) {
			k = 1
		}
	case joined:
	case c.shape(4, 4, 4, 4, 3) && !joinedRight(c.text, c.end(5)):
		k = 5
	case c.shape(4, 4, 4, 4) && !joinedRight(c.text, c.end(4)):
		k = 4
	case (c.shape(4, 6, 5) || c.shape(4, 6, 4)) && !joinedRight(c.text, c.end(3)):
		k = 3
	}
	if k == 0 {
		return 0
	}
	var d [19]byte
	n := c.digits(k, d[:])
	if n > len(d) || !issued(d[:n]) || !luhn(d[:n]) {
		if k == 5 { // four groups of a card, then three digits of something else
			if n = c.digits(4, d[:]); issued(d[:n]) && luhn(d[:n]) {
				return 4
			}
		}
		return 0
	}
	if n == 13 && janCode(d[:n]) {
		return 0
	}
	return k
}

// issued reports whether the digits begin as, and are as many as, those of a known card scheme.
func issued(d []byte) bool {
	n := len(d)
	p2 := int(d[0]-'0')*10 + int(d[1]-'0')
	p4 := p2*100 + int(d[2]-'0')*10 + int(d[3]-'0')
	switch {
	case d[0] == '4': // Visa
		return n == 13 || n == 16 || n == 19
	case p2 >= 51 && p2 <= 55, p4 >= 2221 && p4 <= 2720: // Mastercard
		return n == 16
	case p2 == 34, p2 == 37: // American Express
		return n == 15
	case p4 >= 3528 && p4 <= 3589: // JCB
		return n >= 16
	case p2 == 36, p2 == 38, p2 == 39, p4 >= 3000 && p4 <= 3059, p4 == 3095: // Diners Club
		return n >= 14
	case p4 == 6011, p2 == 65, p4 >= 6440 && p4 <= 6499, p2 == 62, p2 == 81: // Discover, UnionPay
		return n >= 16
	case p4 >= 2200 && p4 <= 2204: // Mir
		return n >= 16
	case p4 == 5018, p4 == 5020, p4 == 5038, p4 == 5893, p4 == 6304, p4 == 6759, p4 >= 6761 && p4 <= 6763: // Maestro
		return true
	}
	return false
}

func luhn(d []byte) bool {
	sum := 0
	for i := range d {
		v := int(d[len(d)-1-i] - '0')
		if i%2 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// janCode reports whether 13 digits are a Japanese article number (GS1 prefixes 45 and 49, with its check digit).
// Visa's 13-digit numbers were given up long ago; every shelf in Japan is full of these.
func janCode(d []byte) bool {
	if d[0] != '4' || d[1] != '5' && d[1] != '9' {
		return false
	}
	sum := 0
	for i, c := range d {
		w := 1
		if i%2 == 1 {
			w = 3
		}
		sum += int(c-'0') * w
	}
	return sum%10 == 0
}

// domestic answers the number of groups of a Japanese telephone number in national form: 0 and 9 digits, or 10 for
// mobile, IP and free numbers.
func (c *chain) domestic(joined bool) int {
	first := c.group(0)
	if first[0] != '0' || len(first) > 1 && first[1] == '0' {
		return 0
	}
	switch len(first) {
	case 10:
		if joined || joinedRight(c.text, c.end(1)) {
			return 0
		}
		return 1
	case 11:
		if first[2] != '0' && first[:4] != "0800" || !elevenDigits(first) || wordRight(c.text, c.end(1)) {
			return 0
		}
		return 1
	case 2, 3, 4, 5:
	default:
		return 0
	}
	if joined {
		return 0
	}
	for k := 3; k >= 2; k-- {
		if c.n < k || joinedRight(c.text, c.end(k)) {
			continue
		}
		n := len(first) + c.groups[1].len()
		last := c.groups[1].len()
		if k == 3 {
			last = c.groups[2].len()
			n += last
			if last != 4 && (last != 3 || len(first) != 4) {
				continue
			}
		} else if last < 6 {
			continue
		}
		if n == 10 || n == 11 && elevenDigits(first) {
			return k
		}
	}
	return 0
}

// elevenDigits reports whether numbers that begin so have 11 digits: 020, 050, 060, 070, 080, 090.
func elevenDigits(first string) bool {
	return len(first) >= 3 && first[2] == '0' && strings.IndexByte("256789", first[1]) >= 0
}

// international judges a '+' at i: a number in international form (ITU-T E.164) has at most 15 digits.
func (sc *scanner) international(i int) int {
	t := sc.text
	if i > 0 && (isAlnum(t[i-1]) || t[i-1] == '+') || i+1 == len(t) || !isDigit(t[i+1]) || t[i+1] == '0' {
		return i + 1
	}
	c := chainAt(t, i+1)
	high := 15
	if strings.HasPrefix(t[i+1:], "81") {
		high = 13 // 81, a zero that should not be there, ten digits
	}
	if k := c.prefix(9, high); k > 0 && c.group(0)[0] != '0' && c.groups[0].len() <= 15 {
		return sc.found(i, c.end(k), Phone)
	}
	return i + 1
}

// ipv4 answers where the IPv4 address that the chain begins with ends. 0 if it is none, if it is a version number by
// the word before it or by the product's name ("Chrome/120.0.0.0"), or if it is the machine itself (127.0.0.0/8).
func ipv4(c *chain, joined, version bool) int {
	if joined || version || c.n < 4 {
		return 0
	}
	t, start, end := c.text, c.groups[0].from, c.end(4)
	for k, g := range c.groups[:4] {
		octet := 0
		for _, d := range []byte(c.group(k)) {
			if octet = octet*10 + int(d-'0'); octet > 255 {
				return 0
			}
		}
		if g.len() > 1 && t[g.from] == '0' || k == 0 && (octet == 0 || octet == 127) {
			return 0
		}
		if k > 0 && (t[g.from-1] != '.' || c.groups[k-1].to != g.from-1) {
			return 0
		}
	}
	if joinedRight(t, end) || start > 1 && t[start-1] == '/' && isAlnum(t[start-2]) {
		return 0
	}
	return end
}

// A cue is a word before a number that says what it is.
const (
	noCue = iota
	myNumberCue
	phoneCue
	versionCue
)

var cues = []struct {
	word string
	cue  int
}{
	{"マイナンバー", myNumberCue},
	{"個人番号", myNumberCue},
	{"mynumber", myNumberCue},
	{"my number", myNumberCue},
	{"my_number", myNumberCue},
	{"my-number", myNumberCue},
	{"individual number", myNumberCue},
	{"電話", phoneCue},
	{"電話番号", phoneCue},
	{"携帯", phoneCue},
	{"携帯番号", phoneCue},
	{"ファックス", phoneCue},
	{"tel", phoneCue},
	{"telephone", phoneCue},
	{"phone", phoneCue},
	{"fax", phoneCue},
	{"version", versionCue},
	{"ver", versionCue},
	{"バージョン", versionCue},
	{"build", versionCue},
}

// cue looks for a word right before i, with punctuation or a particle between at most.
func cue(t string, i int) int {
	end := i
	for end > 0 && i-end < 6 && strings.IndexByte(" :=.#\"'([", t[end-1]) >= 0 {
		end--
	}
	before := t[:end]
	for _, particle := range [...]string{"\u3000", "は", "が"} {
		before = strings.TrimSuffix(before, particle)
	}
	if before == "" || class[before[len(before)-1]] != letter && before[len(before)-1] < 0x80 {
		return noCue
	}
	last := before[len(before)-1] | 0x20
	for _, c := range cues {
		at := len(before) - len(c.word)
		if at < 0 || c.word[len(c.word)-1]|0x20 != last || !strings.EqualFold(before[at:], c.word) {
			continue
		}
		if c.word[0] >= 0x80 || at == 0 || !isAlnum(before[at-1]) {
			return c.cue
		}
	}
	return noCue
}
