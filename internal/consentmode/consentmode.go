// Package consentmode reads Google Consent Mode v2 signals, in each of the forms they travel in, and tells what they
// grant and refuse of a policy's purposes. It is pure: no clock, no store, no I/O.
//
// The signals speak of storage and of what Google's tags may do, not of an operator's purposes: which signal counts for
// which purpose is the caller's Mapping, and unless it says so a signal can only refuse.
package consentmode

// MaxLength bounds what any of the parsers reads, in bytes: seven signals take under 300.
const MaxLength = 4 << 10

// Signal is one consent type of Consent Mode.
type Signal uint8

// The consent types.
const (
	AdStorage Signal = iota
	AnalyticsStorage
	AdUserData
	AdPersonalization
	FunctionalityStorage
	PersonalizationStorage
	SecurityStorage
	NumSignals
)

var signalNames = [NumSignals]string{
	"ad_storage", "analytics_storage", "ad_user_data", "ad_personalization", "functionality_storage", "personalization_storage", "security_storage",
}

func (s Signal) String() string {
	if s < NumSignals {
		return signalNames[s]
	}
	return ""
}

// ParseSignal finds a consent type by its name.
func ParseSignal(name string) (Signal, bool) {
	for s, n := range signalNames {
		if n == name {
			return Signal(s), true
		}
	}
	return 0, false
}

// State is what is known of a signal. The zero State is "nothing".
type State uint8

// The states. A default is what the site set before the visitor said anything: it is nobody's choice, so it neither
// grants nor refuses; a denied one still keeps the other signals of a purpose from granting it.
const (
	Unset State = iota
	DefaultDenied
	DefaultGranted
	Denied
	Granted
)

// Signals is a State by Signal. The zero Signals says nothing.
type Signals [NumSignals]State
