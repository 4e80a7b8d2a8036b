package core

// Reason says why an event was stored as it was, or why it was dropped. The list is closed: every drop has one of
// these, a metric by it and a test.
type Reason uint8

// The reasons. The zero Reason belongs to the zero Decision, which denies.
const (
	NoReason Reason = iota

	// Why an event is stored.

	ReasonConsent  // at least one purpose rests on the subject's consent
	ReasonOptOut   // nothing but notified and not-objected purposes
	ReasonNotified // nothing but notified purposes

	// Why an event is dropped.

	ReasonNoConsent     // its purposes need consent and there is none
	ReasonRefused       // the subject refused or withdrew
	ReasonDeviceRefused // the device says so, without an identifier
	ReasonGPC           // Sec-GPC denied the only purposes left
	ReasonNoPurpose     // no purpose of the policy covers its category
	ReasonNoPolicy      // no policy was in force at event time
	ReasonUnknownSite   // the site is not in the registry
	ReasonBot           // sent by a robot
	ReasonDuplicate     // delivered before, by its id
	ReasonExpired       // older than the retention of its category

	// Why a message goes to the dead letters.

	ReasonUnreadable  // the envelope is no envelope
	ReasonUnsealable  // the key of its epoch is destroyed, or the seal is broken
	ReasonUndecidable // the opened body makes no event or act

	numReasons
)

var reasonNames = [...]string{
	NoReason: "", ReasonConsent: "consent", ReasonOptOut: "opt_out", ReasonNotified: "notified",
	ReasonNoConsent: "no_consent", ReasonRefused: "refused", ReasonDeviceRefused: "device_refused", ReasonGPC: "gpc",
	ReasonNoPurpose: "no_purpose", ReasonNoPolicy: "no_policy", ReasonUnknownSite: "unknown_site", ReasonBot: "bot",
	ReasonDuplicate: "duplicate", ReasonExpired: "expired",
	ReasonUnreadable: "unreadable", ReasonUnsealable: "unsealable", ReasonUndecidable: "undecidable",
}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return ""
}

// ParseReason reads a reason by its name.
func ParseReason(name string) (Reason, bool) { return parseName[Reason](reasonNames[:], name) }

// Reasons lists all of them in their order.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons-1)
	for r := ReasonConsent; r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}

// Stores reports whether an event with this reason is stored.
func (r Reason) Stores() bool { return r >= ReasonConsent && r <= ReasonNotified }

// DeadLetter reports whether a message with this reason goes to the dead letters.
func (r Reason) DeadLetter() bool { return r >= ReasonUnreadable && r < numReasons }
