package tcf

import (
	"errors"
	"time"
)

// Rules are the version of the framework that a string is held against.
type Rules string

// The versions whose rules this program knows. The format of the string is the same.
const (
	Rules22 Rules = "2.2"
	Rules23 Rules = "2.3"
)

// disclosureFrom is when the disclosed vendors segment became mandatory: strings made until 28 February 2026 stay valid
// without one.
var disclosureFrom = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// The policy versions under which strings of 2.2 and 2.3 are made. Under an older one legitimate interest and purposes
// meant something else, and what a newer one means is not known: both are faults.
const (
	oldestPolicy = 4
	newestPolicy = 5
)

// Rules tells which version's rules hold: those of 2.3 for a string that has its segment or must have it.
func (t *TC) Rules() Rules {
	// Since 2.2 both times are the same; where they differ the later one counts, so that nothing written after the
	// change escapes it.
	if t.disclosed.present || !t.Created.Before(disclosureFrom) || !t.LastUpdated.Before(disclosureFrom) {
		return Rules23
	}
	return Rules22
}

// Validate holds the string against the rules of its version and tells which. Every Fault is in the error.
func (t *TC) Validate() (Rules, error) {
	rules := t.Rules()
	var faults []error
	if t.LastUpdated.Before(t.Created) {
		faults = append(faults, FaultTimes)
	}
	if t.PolicyVersion < oldestPolicy || t.PolicyVersion > newestPolicy {
		faults = append(faults, FaultPolicy)
	}
	if !t.ServiceSpecific {
		faults = append(faults, FaultScope)
	}
	for n := 3; n <= 6; n++ {
		if t.PurposeLegitimateInterest(n) {
			faults = append(faults, FaultInterest)
			break
		}
	}
	if rules == Rules23 && !t.disclosed.present {
		faults = append(faults, FaultUndisclosed)
	}
	return rules, errors.Join(faults...)
}
