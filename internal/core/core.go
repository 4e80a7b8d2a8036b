// Package core holds the nouns that every room of Sekisho shares: purposes, data categories, reasons, errors and
// the raw IP that cannot be printed. It imports the standard library only.
//
// Its rule is that zero denies: the zero PurposeSet permits nothing, the zero Basis is no basis, the zero Category
// is unknown and stored nowhere.
package core

import (
	"math/bits"
)

// MaxPurposes is how many purposes a registry can hold: the width of a PurposeSet.
const MaxPurposes = 32

// Purpose is the bit of one purpose of use in the append-only purpose registry (schemas/policy).
// A bit is never given to another purpose.
type Purpose uint8

// PurposeSet is the set of purposes that an event may be used for. The zero set permits nothing.
type PurposeSet uint32

// With returns the set with p added.
func (s PurposeSet) With(p Purpose) PurposeSet { return s | 1<<p }

// Without returns the set with p taken out.
func (s PurposeSet) Without(p Purpose) PurposeSet { return s &^ (1 << p) }

// Has reports whether p is in the set.
func (s PurposeSet) Has(p Purpose) bool { return p < MaxPurposes && s&(1<<p) != 0 }

// Len is the number of purposes in the set.
func (s PurposeSet) Len() int { return bits.OnesCount32(uint32(s)) }

// Basis is the ground on which a purpose may be served in a jurisdiction.
type Basis uint8

// The bases. The zero Basis denies.
const (
	NoBasis  Basis = iota
	Notified       // a notified purpose of use, no choice (APPI Art. 21; GDPR Art. 6(1)(b)-(f) by the operator's assessment)
	OptOut         // permitted until the subject objects
	Consent        // permitted only after the subject agreed
)

var basisNames = [...]string{NoBasis: "", Notified: "notified", OptOut: "opt_out", Consent: "consent"}

func (b Basis) String() string {
	if int(b) < len(basisNames) {
		return basisNames[b]
	}
	return ""
}

// ParseBasis reads a basis by its name. An unknown name is NoBasis and false.
func ParseBasis(name string) (Basis, bool) { return parseName[Basis](basisNames[:], name) }

// parseName finds a non-empty name in a table whose index is the value; index 0 is never found.
func parseName[T ~uint8](names []string, name string) (T, bool) {
	for i := 1; i < len(names); i++ {
		if names[i] == name && name != "" {
			return T(i), true
		}
	}
	return 0, false
}
