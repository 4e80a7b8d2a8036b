// Package consent decides which purposes an event may be used for. It is pure: no clock, no store, no I/O.
//
// The rules (facts: schemas/policy and docs/EVENT-JOURNEY.md) are evaluated as of event time, and a denial known at
// processing time also blocks. What is known of a subject and a purpose is a State, a join-semilattice: acts may
// arrive in any order, more than once, and the State is the same. Deny wins ties.
package consent

import (
	"math"
	"slices"

	"github.com/sekisho/sekisho/internal/core"
)

// MaxGrants bounds the grants remembered for one subject and purpose: the latest ones. Forgetting an older grant can
// only deny.
const MaxGrants = 8

// Rule is what the policy in force says of one purpose in one jurisdiction. The zero Rule denies.
type Rule struct {
	Basis      core.Basis
	GPCDenied  bool // Sec-GPC denies it unless the subject explicitly granted it
	Categories core.CategorySet
}

// Rules is a Rule by purpose bit.
type Rules [core.MaxPurposes]Rule

// State is what is known of one subject's choices for one purpose. The zero State is "never asked".
// Times are microseconds since the Unix epoch.
type State struct {
	Denied int64   // latest refusal or withdrawal; 0: none
	Grants []int64 // latest grants after Denied, ascending, at most MaxGrants
}

// Deny returns the state with a refusal or withdrawal at t added.
func (s State) Deny(t int64) State {
	if t <= s.Denied {
		return s
	}
	s.Denied = t
	s.Grants = after(s.Grants, t)
	return s
}

// Grant returns the state with a grant at t added. A grant at or before the latest denial changes nothing.
func (s State) Grant(t int64) State {
	if t <= s.Denied {
		return s
	}
	at, found := slices.BinarySearch(s.Grants, t)
	if found {
		return s
	}
	grants := slices.Insert(slices.Clone(s.Grants), at, t)
	if len(grants) > MaxGrants {
		grants = grants[len(grants)-MaxGrants:]
	}
	s.Grants = grants
	return s
}

// Merge joins two states of the same subject: what either knows.
func (s State) Merge(t State) State {
	s = s.Deny(t.Denied)
	for _, g := range t.Grants {
		s = s.Grant(g)
	}
	return s
}

// after returns the part of ascending times that is later than t.
func after(times []int64, t int64) []int64 {
	at, found := slices.BinarySearch(times, t)
	if found {
		at++
	}
	if at == len(times) {
		return nil
	}
	return slices.Clone(times[at:])
}

// granted reports whether a grant of the state covers an event at t: a grant at or before t that no denial follows,
// known by now. A denial after t blocks as well, so it is enough that the earliest grant since is not after t.
func (s State) granted(t int64) bool { return len(s.Grants) > 0 && s.Grants[0] <= t }

// objected reports whether the subject's latest word that covers an event at t is a denial.
func (s State) objected(t int64) bool { return s.Denied != 0 && !s.granted(t) }

// Subject is the consent state of one identity by purpose bit.
type Subject map[core.Purpose]State

// Merge joins another record of the same identity into s.
func (s Subject) Merge(t Subject) {
	for p, state := range t {
		s[p] = s[p].Merge(state)
	}
}

// Inputs are the facts a decision is made of.
type Inputs struct {
	Type core.EventType
	Time int64 // event time, microseconds
	GPC  bool
	// Subjects are the states of every identity the event carries. The strictest wins: a purpose that needs consent
	// is permitted when some identity granted it and none denied it.
	Subjects []Subject
	// Word is what further identities say, from a store that keeps their states in another form. It MUST be as of Time.
	Word Word
	// DeviceRefused are purposes that the page says were refused on this device. It narrows, never widens.
	DeviceRefused core.PurposeSet
}

// Decision is the outcome. The zero Decision denies.
type Decision struct {
	Purposes    core.PurposeSet
	Categories  core.CategorySet // what the permitted purposes may use, with the technical categories
	Reason      core.Reason
	Consented   bool // some purpose rests on consent, so the subject may be recognised again
	GPCConflict bool // GPC was on and an explicit grant overrode it
}

// Decide evaluates every purpose for one event. It allocates nothing.
func Decide(rules *Rules, in *Inputs) Decision {
	var d Decision
	if rules == nil {
		d.Reason = core.ReasonNoPolicy
		return d
	}
	category := in.Type.Category()
	var optOut bool
	var blocked [numRulings]bool
	for bit := range core.Purpose(core.MaxPurposes) {
		rule := &rules[bit]
		ruling, conflict := in.rule(rule, category, bit)
		if !ruling.Permits() {
			blocked[ruling] = true
			continue
		}
		d.GPCConflict = d.GPCConflict || conflict
		d.Purposes = d.Purposes.With(bit)
		d.Categories |= rule.Categories
		d.Consented = d.Consented || ruling == Granted
		optOut = optOut || ruling == NotObjected
	}
	switch {
	case d.Consented:
		d.Reason = core.ReasonConsent
	case optOut:
		d.Reason = core.ReasonOptOut
	case d.Purposes != 0:
		d.Reason = core.ReasonNotified
	case blocked[Refused]:
		d.Reason = core.ReasonRefused
	case blocked[DeviceRefused]:
		d.Reason = core.ReasonDeviceRefused
	case blocked[GPCDenied]:
		d.Reason = core.ReasonGPC
	case blocked[NotGranted]:
		d.Reason = core.ReasonNoConsent
	default:
		d.Reason = core.ReasonNoPurpose
	}
	if d.Purposes != 0 {
		d.Categories |= core.Technical
	}
	return d
}

// Word is what the identities of one person say as of a time: the purposes that some identity granted, and those that
// some identity objects to. The zero Word is "never asked".
type Word struct {
	Granted  core.PurposeSet
	Objected core.PurposeSet
}

// And is the word of both together.
func (w Word) And(v Word) Word { return Word{w.Granted | v.Granted, w.Objected | v.Objected} }

// On is what the word comes to for a purpose, the strictest first: granted when some identity granted it and none
// objects.
func (w Word) On(p core.Purpose) (granted, objected bool) {
	objected = w.Objected.Has(p)
	return w.Granted.Has(p) && !objected, objected
}

// Standing is what the identities of one person say of a purpose at t, the strictest first: granted when some identity
// granted it and none denied it.
func Standing(subjects []Subject, bit core.Purpose, t int64) (granted, objected bool) {
	for _, s := range subjects {
		state, ok := s[bit]
		if !ok {
			continue
		}
		granted = granted || state.granted(t)
		objected = objected || state.objected(t)
	}
	return granted && !objected, objected
}

// standing is what the event's identities say of a purpose, in whichever form they are known.
func (in *Inputs) standing(bit core.Purpose) (granted, objected bool) {
	granted, objected = Standing(in.Subjects, bit, in.Time)
	more, against := in.Word.On(bit)
	objected = objected || against
	return (granted || more) && !objected, objected
}

// Clamp bounds a claimed time of an act: it cannot be later than its receipt, nor negative.
func Clamp(claimed, received int64) int64 {
	return min(max(claimed, 0), max(received, 0), math.MaxInt64)
}
