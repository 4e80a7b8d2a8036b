package tcf

import (
	"strings"
	"time"
)

// cursor reads a segment from left to right: base64url digits of six bits, the first bit first. It keeps the first
// fault and reads zeros from then on.
type cursor struct {
	digits string
	at     int // bit
	fault  Fault
}

const notDigit = 0xff

// values are the base64url digits (RFC 4648, section 5) by byte.
var values = func() (table [256]byte) {
	for i := range table {
		table[i] = notDigit
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		table[c] = byte(i)
	}
	return table
}()

// read begins a segment that is base64url without padding.
func read(s string) (*cursor, error) {
	if s == "" || len(s)%4 == 1 { // no number of bytes has 4n+1 digits
		return nil, FaultEncoding
	}
	for i := range len(s) {
		if values[s[i]] == notDigit {
			return nil, FaultEncoding
		}
	}
	return &cursor{digits: s}, nil
}

func (c *cursor) fail(f Fault) {
	if c.fault == 0 {
		c.fault = f
	}
}

// has reports whether n more bits are there, and faults when not.
func (c *cursor) has(n int) bool {
	if c.at+n > 6*len(c.digits) {
		c.fail(FaultShort)
	}
	return c.fault == 0
}

// uint reads n bits, at most 63.
func (c *cursor) uint(n int) uint64 {
	if n > 32 {
		return c.uint(n-32)<<32 | c.uint(32)
	}
	if n == 0 || !c.has(n) {
		return 0
	}
	end := c.at + n
	last := (end - 1) / 6
	var v uint64
	for i := c.at / 6; i <= last; i++ {
		v = v<<6 | uint64(values[c.digits[i]])
	}
	c.at = end
	return v >> (6*(last+1) - end) & (1<<n - 1)
}

func (c *cursor) int(n int) int { return int(c.uint(n)) } //nolint:gosec // G115: fields have at most 36 bits

func (c *cursor) flag() bool { return c.uint(1) == 1 }

// time reads tenths of seconds since the Unix epoch.
func (c *cursor) time() time.Time { return time.UnixMilli(int64(c.uint(36)) * 100).UTC() } //nolint:gosec // G115: 36 bits

// letters reads a code of two letters.
func (c *cursor) letters() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	first, second := c.int(6), c.int(6)
	if first >= len(alphabet) || second >= len(alphabet) {
		c.fail(FaultLetters)
		return ""
	}
	return string([]byte{alphabet[first], alphabet[second]})
}

// end faults unless nothing but zeros is left. How many zeros is up to the encoder: some fill up to a byte, some to
// three, and an example of the specification holds a whole field more.
func (c *cursor) end() error {
	if c.fault != 0 {
		return c.fault
	}
	if within := c.at % 6; within != 0 && c.uint(6-within) != 0 {
		return FaultTrailing
	}
	if strings.Trim(c.digits[c.at/6:], "A") != "" {
		return FaultTrailing
	}
	return nil
}

// Vendors is a set of vendor ids as the string spells it: a bit field or ranges. The zero Vendors is empty.
type Vendors struct {
	digits  string
	at      int // first bit of the field or of the first range
	size    int // bits of the field, or number of ranges
	inRange bool
}

// Has reports whether a vendor is in the set.
func (v Vendors) Has(id int) bool {
	if id < 1 || id > MaxVendor {
		return false
	}
	c := cursor{digits: v.digits, at: v.at}
	if !v.inRange {
		c.at += id - 1
		return id <= v.size && c.flag()
	}
	for range v.size {
		if first, last := c.vendorRange(); first <= id && id <= last {
			return true
		}
	}
	return false
}

// vendors reads a vendor section.
func (c *cursor) vendors() Vendors {
	highest := c.int(16)
	if c.flag() {
		return c.vendorRanges(highest)
	}
	v := Vendors{digits: c.digits, at: c.at, size: highest}
	if !c.has(highest) {
		return Vendors{}
	}
	c.at += highest
	return v
}

// vendorRanges reads the ranges of a section whose ids MUST NOT be over the highest. It stops at the first fault, so a
// claimed number costs nothing that the string does not hold. Ranges may overlap and come in any order: the set is the
// same, and to refuse the string would be to miss what it denies.
func (c *cursor) vendorRanges(highest int) Vendors {
	n := c.int(12)
	v := Vendors{digits: c.digits, at: c.at, size: n, inRange: true}
	for range n {
		first, last := c.vendorRange()
		if c.fault == 0 && (first == 0 || last < first || last > highest) {
			c.fail(FaultVendor)
		}
		if c.fault != 0 {
			return Vendors{}
		}
	}
	return v
}

// vendorRange reads one entry: a single id or the first and the last.
func (c *cursor) vendorRange() (first, last int) {
	ranged := c.flag()
	first = c.int(16)
	if !ranged {
		return first, first
	}
	return first, c.int(16)
}

// restriction reads one publisher restriction.
func (c *cursor) restriction() Restriction {
	r := Restriction{Purpose: c.int(6), Type: RestrictionType(c.uint(2))} //nolint:gosec // G115: 2 bits
	if c.fault == 0 && (r.Purpose < 1 || r.Purpose > MaxPurpose || r.Type >= numRestrictionTypes) {
		c.fail(FaultRestriction)
	}
	r.Vendors = c.vendorRanges(MaxVendor)
	return r
}
