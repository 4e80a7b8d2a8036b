// Package pii is the last guard before the store: it takes out of free text, URLs and property maps what must not be
// kept whatever the consent says.
//
// Text and URL replace each find by a fixed marker such as "[email]"; Properties also judges a value by its key. What
// is found is dropped: never hashed, never logged, never put in an error. Counts say how much of each kind there was,
// and that is all that is told. My Numbers come first (My Number Act Art. 20: not kept outside the listed cases, and a
// hash of one still is one); the rest are the contact details, means of payment, secrets and addresses that visitors
// and careless sites put into URLs, titles and search boxes.
//
// Every function is idempotent, answers valid UTF-8, and fails closed: in doubt it drops. A bare 12-digit number with a
// right check digit is dropped although one random number in ten has one.
//
// It is one pass of a byte scanner and no regular expression; a string without anything suspicious returns at once and
// unchanged, without an allocation.
package pii

import (
	"strings"
	"unicode/utf8"
)

// Kind is what was found.
type Kind uint8

// The kinds. Their names are metric labels and the markers' text.
const (
	MyNumber Kind = iota
	Email
	Phone
	Card
	Token
	IP
	Address
	Name
	SecretParameter

	NumKinds
)

var markers = [NumKinds]string{
	MyNumber: "[my_number]", Email: "[email]", Phone: "[phone]", Card: "[card]", Token: "[token]", IP: "[ip]",
	Address: "[address]", Name: "[name]", SecretParameter: "[secret_parameter]",
}

// String is the kind's stable name, such as "my_number".
func (k Kind) String() string {
	if k >= NumKinds {
		return ""
	}
	return strings.Trim(markers[k], "[]")
}

// Marker is what stands in the place of a find, such as "[my_number]".
func (k Kind) Marker() string {
	if k >= NumKinds {
		return ""
	}
	return markers[k]
}

// Counts holds the number of finds of each kind. The guard only ever adds to it.
type Counts [NumKinds]uint32

// Add adds the counts of another.
func (c *Counts) Add(o Counts) {
	for k, n := range o {
		c[k] += n
	}
}

// Total is the number of finds of all kinds.
func (c *Counts) Total() (n uint32) {
	for _, k := range c {
		n += k
	}
	return n
}

// Guard scrubs. It MUST be made by New: the zero Guard knows no key name, and so takes every key for a secret's.
// It holds nothing that changes and may be used by any number of goroutines.
type Guard struct {
	keys map[string]rule
}

// New makes a guard. secretKeys are names of query parameters and properties, beside those built in, whose values are
// dropped; they match however they are written (invite_token, inviteToken, Invite-Token).
func New(secretKeys ...string) *Guard {
	return &Guard{keys: ruleTable(secretKeys)}
}

// Text scrubs free text: a title, a search query, a property's value. counts MUST NOT be nil.
func (g *Guard) Text(s string, counts *Counts) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	// A marker gives its neighbours a new boundary, so what is left is looked at again, until there is nothing to find.
	// That ends: each turn takes away something that is no marker, and no marker is ever a find.
	for suspicious(s) {
		next, found := g.sweep(s, counts)
		if !found {
			return s
		}
		s = next
	}
	return s
}

// Property scrubs the value of a property or form field by its key, then by its content; a value that is a URL is
// scrubbed as one. An empty value stays empty.
func (g *Guard) Property(key, value string, counts *Counts) string {
	if value == "" {
		return ""
	}
	if kind, ok := g.keyKind(key, inProperty); ok {
		if !isMarker(value) {
			counts[kind]++
			value = markers[kind]
		}
		return value
	}
	if strings.HasPrefix(value, "http://") || strings.HasPrefix(value, "https://") {
		return g.URL(value, counts)
	}
	return g.Text(value, counts)
}

// Properties scrubs a property map by keys and values. A property whose very name holds a find is left out.
// It answers the map itself, untouched, if there is nothing to scrub, and a new one otherwise.
func (g *Guard) Properties(properties map[string]string, counts *Counts) map[string]string {
	var scrubbed map[string]string
	for key, value := range properties {
		clean := g.Property(key, value, counts)
		keep := g.Text(key, counts) == key
		if scrubbed == nil && keep && clean == value {
			continue
		}
		if scrubbed == nil {
			scrubbed = make(map[string]string, len(properties))
			for k, v := range properties {
				scrubbed[k] = v
			}
		}
		if keep {
			scrubbed[key] = clean
		} else {
			delete(scrubbed, key)
		}
	}
	if scrubbed == nil {
		return properties
	}
	return scrubbed
}

// isMarker reports whether s is one marker and nothing else.
func isMarker(s string) bool {
	if len(s) < 4 || s[0] != '[' {
		return false
	}
	for _, m := range markers {
		if s == m {
			return true
		}
	}
	return false
}
