package tcf

// Fault is why a TC string cannot be read, or a rule of the framework that it breaks. The list is closed and no text in
// it holds any of the string, so a fault may be shown, logged and counted.
type Fault uint8

// The faults of form, from Parse.
const (
	FaultTooLong     Fault = iota + 1 // over MaxLength
	FaultEncoding                     // a segment is not base64url without padding
	FaultVersion                      // not version 2 of the format
	FaultShort                        // a segment ends before its fields do
	FaultTrailing                     // something follows the last field
	FaultSegment                      // a segment of no known type
	FaultRepeated                     // a segment is there twice
	FaultLetters                      // a language or country is not two letters
	FaultVendor                       // a range of vendors is empty or out of bounds
	FaultRestriction                  // a publisher restriction of no known purpose or type
)

// The faults of content, from Validate.
const (
	FaultScope       Fault = iota + 32 // not service-specific: global scope was withdrawn with version 2.1
	FaultPolicy                        // made under a version of the framework's policies that this program does not know
	FaultInterest                      // legitimate interest for purpose 3, 4, 5 or 6, which version 2.2 rules out
	FaultUndisclosed                   // no disclosed vendors segment, which version 2.3 demands
	FaultTimes                         // last updated before it was created
)

// text is a fault's name, for a metric's label, and what it says to a person.
type text struct{ name, message string }

var texts = map[Fault]text{
	FaultTooLong:     {"too_long", "the TC string is too long"},
	FaultEncoding:    {"encoding", "a segment of the TC string is not base64url without padding"},
	FaultVersion:     {"version", "the TC string is not of version 2"},
	FaultShort:       {"short", "a segment of the TC string ends too early"},
	FaultTrailing:    {"trailing", "a segment of the TC string holds more than its fields"},
	FaultSegment:     {"segment", "a segment of the TC string is of no known type"},
	FaultRepeated:    {"repeated", "a segment of the TC string is there twice"},
	FaultLetters:     {"letters", "a language or country in the TC string is not two letters"},
	FaultVendor:      {"vendor", "a range of vendors in the TC string is empty or out of bounds"},
	FaultRestriction: {"restriction", "a publisher restriction in the TC string has no known purpose or type"},
	FaultScope:       {"scope", "the TC string is not service-specific"},
	FaultPolicy:      {"policy", "the TC string was made under an unknown version of the TCF policies"},
	FaultInterest:    {"interest", "the TC string claims legitimate interest for a purpose from 3 to 6"},
	FaultUndisclosed: {"undisclosed", "the TC string lacks the disclosed vendors segment"},
	FaultTimes:       {"times", "the TC string was last updated before it was created"},
}

// String is the fault's name.
func (f Fault) String() string { return texts[f].name }

func (f Fault) Error() string { return texts[f].message }
