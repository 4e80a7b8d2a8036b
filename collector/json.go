package collector

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a body: nothing in the contract needs more than a batch of purchases.
const maxDepth = 8

// scanner reads JSON (RFC 8259) strictly and once, without building a tree. After a syntax error it is broken and
// every method returns zero values, so that callers check once at the end. A value of the wrong type is no syntax
// error: it is stepped over and reported by the method's bool.
type scanner struct {
	b      []byte
	i      int
	depth  int
	broken bool
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek is the first byte of the next value; 0 at the end or when broken.
func (s *scanner) peek() byte {
	if s.broken {
		return 0
	}
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) fail() { s.broken = true }

// take steps over one expected byte.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		s.fail()
		return false
	}
	s.i++
	return true
}

// end reports whether nothing but space is left.
func (s *scanner) end() bool { return !s.broken && s.peek() == 0 && s.i >= len(s.b) }

// object calls field for every key, which MUST read or skip the value. It is false when the value is no object.
func (s *scanner) object(field func(key []byte)) bool {
	if s.peek() != '{' {
		s.skip()
		return false
	}
	s.i++
	if s.depth++; s.depth > maxDepth {
		s.fail()
		return true
	}
	defer func() { s.depth-- }()
	if s.peek() == '}' {
		s.i++
		return true
	}
	for !s.broken {
		if s.peek() != '"' {
			s.fail()
			return true
		}
		key := s.str()
		if !s.take(':') {
			return true
		}
		field(key)
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return true
		default:
			s.fail()
		}
	}
	return true
}

// array calls element for every element, which MUST read or skip it. It is false when the value is no array.
func (s *scanner) array(element func(i int)) bool {
	if s.peek() != '[' {
		s.skip()
		return false
	}
	s.i++
	if s.depth++; s.depth > maxDepth {
		s.fail()
		return true
	}
	defer func() { s.depth-- }()
	if s.peek() == ']' {
		s.i++
		return true
	}
	for i := 0; !s.broken; i++ {
		element(i)
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			return true
		default:
			s.fail()
		}
	}
	return true
}

// text reads a string; false when the value is none. The bytes are valid UTF-8 and may be part of the body.
func (s *scanner) text() ([]byte, bool) {
	if s.peek() != '"' {
		s.skip()
		return nil, false
	}
	return s.str(), !s.broken
}

// boolean reads true or false.
func (s *scanner) boolean() (value, ok bool) {
	switch s.peek() {
	case 't':
		return true, s.word("true")
	case 'f':
		return false, s.word("false")
	}
	s.skip()
	return false, false
}

func (s *scanner) word(w string) bool {
	if !bytes.HasPrefix(s.b[s.i:], []byte(w)) {
		s.fail()
		return false
	}
	s.i += len(w)
	return true
}

// number reads a number as it is written.
func (s *scanner) number() ([]byte, bool) {
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		s.skip()
		return nil, false
	}
	from := s.i
	if s.b[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return nil, false
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return nil, false
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return nil, false
		}
	}
	return s.b[from:s.i], true
}

func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	if s.i == from {
		s.fail()
		return false
	}
	return true
}

// skip steps over any value.
func (s *scanner) skip() {
	switch c := s.peek(); {
	case c == '{':
		s.object(func([]byte) { s.skip() })
	case c == '[':
		s.array(func(int) { s.skip() })
	case c == '"':
		s.str()
	case c == 't':
		s.word("true")
	case c == 'f':
		s.word("false")
	case c == 'n':
		s.word("null")
	case c == '-' || c >= '0' && c <= '9':
		s.number()
	default:
		s.fail()
	}
}

// str reads the string that begins here. Without an escape it is a part of the body.
func (s *scanner) str() []byte {
	s.i++
	from, ascii := s.i, true
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			part := s.b[from:s.i]
			s.i++
			if !ascii && !utf8.Valid(part) {
				s.fail()
			}
			return part
		case c == '\\':
			return s.escaped(from)
		case c < 0x20:
			s.fail()
			return nil
		case c >= utf8.RuneSelf:
			ascii = false
		}
		s.i++
	}
	s.fail()
	return nil
}

// escaped reads on from the first backslash of a string.
func (s *scanner) escaped(from int) []byte {
	out := append(make([]byte, 0, s.i-from+32), s.b[from:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				s.fail()
			}
			return out
		case c < 0x20:
			s.fail()
			return nil
		case c != '\\':
			out = append(out, c)
			continue
		}
		if s.i >= len(s.b) {
			break
		}
		c = s.b[s.i]
		s.i++
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			out = utf8.AppendRune(out, s.rune())
		default:
			s.fail()
			return nil
		}
	}
	s.fail()
	return nil
}

// rune reads the four digits after \u, and a second escape when they are half of a surrogate pair. A lone half is
// U+FFFD, as in encoding/json.
func (s *scanner) rune() rune {
	r := s.hex()
	if !utf16.IsSurrogate(r) {
		return r
	}
	if s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
		back := s.i
		s.i += 2
		if whole := utf16.DecodeRune(r, s.hex()); whole != utf8.RuneError {
			return whole
		}
		s.i = back
	}
	return utf8.RuneError
}

func (s *scanner) hex() rune {
	if s.i+4 > len(s.b) {
		s.fail()
		return 0
	}
	var r rune
	for _, c := range s.b[s.i : s.i+4] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			r |= rune(c - 'a' + 10)
		case c >= 'A' && c <= 'F':
			r |= rune(c - 'A' + 10)
		default:
			s.fail()
			return 0
		}
	}
	s.i += 4
	return r
}
