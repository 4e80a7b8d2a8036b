package consent

import "github.com/sekisho/sekisho/internal/core"

// Ruling is the rule that decided about one purpose. The list is closed. The zero Ruling denies.
type Ruling uint8

// The rulings, in the order in which the rules are asked.
const (
	Uncovered     Ruling = iota // the policy does not name the purpose, or not for data of this kind
	Refused                     // the subject's latest word that covers the event is a denial
	NotGranted                  // it needs consent, and none was given by then
	DeviceRefused               // the page says that it was refused on this device
	GPCDenied                   // Sec-GPC denies it, and no explicit grant overrides that

	Notified    // a notified purpose, which leaves no choice
	NotObjected // permitted until the subject objects, and the subject did not
	Granted     // the subject granted it, and no denial followed

	numRulings
)

var rulingNames = [...]string{
	Uncovered: "uncovered", Refused: "refused", NotGranted: "not_granted", DeviceRefused: "device_refused", GPCDenied: "gpc_denied",
	Notified: "notified", NotObjected: "not_objected", Granted: "granted",
}

func (r Ruling) String() string {
	if r < numRulings {
		return rulingNames[r]
	}
	return ""
}

// MarshalText implements encoding.TextMarshaler.
func (r Ruling) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Permits reports whether the event may be used for the purpose.
func (r Ruling) Permits() bool { return r >= Notified && r < numRulings }

// rule asks the rules about one purpose. conflict says that GPC was on and an explicit grant overrode it.
func (in *Inputs) rule(rule *Rule, category core.Category, bit core.Purpose) (ruling Ruling, conflict bool) {
	if rule.Basis == core.NoBasis || !rule.Categories.Has(category) {
		return Uncovered, false
	}
	switch rule.Basis {
	case core.Notified:
		return Notified, false
	case core.OptOut:
		ruling = NotObjected
	case core.Consent:
		ruling = Granted
	default:
		return Uncovered, false
	}
	granted, objected := in.standing(bit)
	switch {
	case objected:
		return Refused, false
	case ruling == Granted && !granted:
		return NotGranted, false
	case in.DeviceRefused.Has(bit):
		return DeviceRefused, false
	case in.GPC && rule.GPCDenied && !granted:
		return GPCDenied, false
	}
	return ruling, in.GPC && rule.GPCDenied
}

// Explanation says how Decide comes to its answer about one purpose.
type Explanation struct {
	Ruling      Ruling
	GPCConflict bool // GPC was on and an explicit grant overrode it
}

// Explain rules about one purpose of an event, by the very rules of Decide.
func Explain(rules *Rules, in *Inputs, purpose core.Purpose) Explanation {
	if rules == nil || purpose >= core.MaxPurposes {
		return Explanation{}
	}
	ruling, conflict := in.rule(&rules[purpose], in.Type.Category(), purpose)
	return Explanation{ruling, conflict}
}

// Act returns the state with one act at t added, by the name of the state that the act brings about (evidence.Act);
// false for a name that is none.
func (s State) Act(name string, t int64) (State, bool) {
	switch name {
	case "granted", "renewed":
		return s.Grant(t), true
	case "refused", "withdrawn", "expired":
		return s.Deny(t), true
	}
	return s, false
}
