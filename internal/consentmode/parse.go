package consentmode

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// Fault is why signals cannot be read. The list is closed and no text in it holds any of what was read, so a fault may
// be shown, logged and counted.
type Fault uint8

// The faults.
const (
	FaultTooLong  Fault = iota + 1 // over MaxLength
	FaultForm                      // not of the form of its kind
	FaultVersion                   // of a version that this program does not know
	FaultValue                     // a signal that is neither granted nor denied
	FaultRepeated                  // a signal is there twice
	FaultRegion                    // for some regions only: whose it is cannot be told
)

var faultTexts = map[Fault]struct{ name, message string }{
	FaultTooLong:  {"too_long", "the consent signals are too long"},
	FaultForm:     {"form", "the consent signals are not of the form of their kind"},
	FaultVersion:  {"version", "the consent signals are of an unknown version"},
	FaultValue:    {"value", "a consent signal is neither granted nor denied"},
	FaultRepeated: {"repeated", "a consent signal is there twice"},
	FaultRegion:   {"region", "the consent signals hold for some regions only"},
}

// String is the fault's name.
func (f Fault) String() string { return faultTexts[f].name }

func (f Fault) Error() string { return faultTexts[f].message }

// ParseGCS reads the gcs parameter: "G1", then ad_storage and analytics_storage as 1 (granted), 0 (denied) or - (unset).
// It tells the state in force and not whether the visitor chose it or the site set it, so prefer gcd where there is one;
// read gcs alone after the visitor chose, and let it grant only where the site's default is denied.
func ParseGCS(s string) (Signals, error) {
	var signals Signals
	if len(s) != 4 || s[0] != 'G' {
		return Signals{}, FaultForm
	}
	if s[1] != '1' {
		return Signals{}, FaultVersion
	}
	for i, signal := range []Signal{AdStorage, AnalyticsStorage} {
		switch s[2+i] {
		case '1':
			signals[signal] = Granted
		case '0':
			signals[signal] = Denied
		case '-':
		default:
			return Signals{}, FaultValue
		}
	}
	return signals, nil
}

// gcdStates are the letters of the gcd parameter. Google does not publish them; these are as observed: first the site's
// default (none, denied, granted), then the update that followed it (none, denied, granted). An update is a choice.
var gcdStates = map[byte]State{
	'l': Unset, 'm': Denied, 'n': Granted,
	'p': DefaultDenied, 'q': Denied, 'r': Granted,
	't': DefaultGranted, 'u': Denied, 'v': Granted,
}

// ParseGCD reads the gcd parameter ("13r3r3q3q5l1"): a version, then a digit and a letter for each of ad_storage,
// analytics_storage, ad_user_data and ad_personalization, then a digit and pairs of which nothing is known. A letter of
// unknown meaning says nothing.
func ParseGCD(s string) (Signals, error) {
	const version, pairs, longest = '1', 4, 32
	switch {
	case len(s) > longest:
		return Signals{}, FaultTooLong
	case len(s) < 1+2*pairs+1 || len(s)%2 != 0:
		return Signals{}, FaultForm
	}
	for i := range len(s) {
		if letter := i > 0 && i%2 == 0; letter && (s[i] < 'a' || s[i] > 'z') || !letter && (s[i] < '0' || s[i] > '9') {
			return Signals{}, FaultForm
		}
	}
	if s[0] != version {
		return Signals{}, FaultVersion
	}
	var signals Signals
	for i, signal := range [pairs]Signal{AdStorage, AnalyticsStorage, AdUserData, AdPersonalization} {
		signals[signal] = gcdStates[s[2+2*i]]
	}
	return signals, nil
}

// ParseDefault reads the object of gtag('consent', 'default', …): what the site set before the visitor chose.
func ParseDefault(object []byte) (Signals, error) {
	return parseObject(object, map[string]State{"granted": DefaultGranted, "denied": DefaultDenied})
}

// ParseUpdate reads the object of gtag('consent', 'update', …): what the visitor chose.
func ParseUpdate(object []byte) (Signals, error) {
	return parseObject(object, map[string]State{"granted": Granted, "denied": Denied})
}

// ParseMeasurement reads the consent object of the GA4 Measurement Protocol, which has two of the signals, in upper case.
func ParseMeasurement(object []byte) (Signals, error) {
	return parseObject(object, map[string]State{"GRANTED": Granted, "DENIED": Denied}, AdUserData, AdPersonalization)
}

// parseObject reads a JSON object. Of the signals given (all, when none is) each must have one of the words; other keys
// say nothing, for sites add consent types of their own.
func parseObject(object []byte, words map[string]State, only ...Signal) (Signals, error) {
	if len(object) > MaxLength {
		return Signals{}, FaultTooLong
	}
	d := json.NewDecoder(bytes.NewReader(object))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return Signals{}, FaultForm
	}
	var signals Signals
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return Signals{}, FaultForm
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return Signals{}, FaultForm
		}
		if key == "region" {
			return Signals{}, FaultRegion
		}
		signal, ok := ParseSignal(key.(string)) // the key of an object is a string
		if !ok || len(only) > 0 && !slices.Contains(only, signal) {
			continue
		}
		if signals[signal] != Unset {
			return Signals{}, FaultRepeated
		}
		var word string
		if err := json.Unmarshal(value, &word); err != nil || words[word] == Unset {
			return Signals{}, FaultValue
		}
		signals[signal] = words[word]
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return Signals{}, FaultForm
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Signals{}, FaultForm
	}
	return signals, nil
}
