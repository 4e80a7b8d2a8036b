package consentmode

import (
	"fmt"
	"slices"

	"github.com/sekisho/sekisho/internal/policy"
)

// Tie makes a signal count for a purpose. Whoever denies the signal refuses the purpose; whoever grants it grants the
// purpose only when the tie May Grant.
type Tie struct {
	Signal   Signal
	Purpose  string
	MayGrant bool
}

// Mapping is the ties of all signals.
type Mapping []Tie

// DefaultMapping suits the built-in policy and grants nothing: consent to Google's tags is not consent to a purpose it
// never named. What it refuses is what nobody who denies the signal would expect to go on.
//
//	ad_storage, ad_user_data  marketing_use, development_marketing
//	ad_personalization        behavioral_personalization, marketing_use, development_marketing
//	analytics_storage         usage_based_development, service_development, development_marketing
//	personalization_storage   behavioral_personalization, in_service_recommendation
//
// functionality_storage and security_storage count for nothing: what they cover is notified and not chosen.
func DefaultMapping() Mapping {
	return Mapping{
		{Signal: AdStorage, Purpose: "marketing_use"},
		{Signal: AdStorage, Purpose: "development_marketing"},
		{Signal: AdUserData, Purpose: "marketing_use"},
		{Signal: AdUserData, Purpose: "development_marketing"},
		{Signal: AdPersonalization, Purpose: "behavioral_personalization"},
		{Signal: AdPersonalization, Purpose: "marketing_use"},
		{Signal: AdPersonalization, Purpose: "development_marketing"},
		{Signal: AnalyticsStorage, Purpose: "usage_based_development"},
		{Signal: AnalyticsStorage, Purpose: "service_development"},
		{Signal: AnalyticsStorage, Purpose: "development_marketing"},
		{Signal: PersonalizationStorage, Purpose: "behavioral_personalization"},
		{Signal: PersonalizationStorage, Purpose: "in_service_recommendation"},
	}
}

// Check holds the mapping against a pack: every tie has a known signal and purpose. Acts does not check again.
func (m Mapping) Check(pack *policy.Pack) error {
	for i, tie := range m {
		if tie.Signal >= NumSignals {
			return fmt.Errorf("check consent mode mapping: tie %d has no known signal", i)
		}
		if _, ok := pack.Purpose(tie.Purpose); !ok {
			return fmt.Errorf("check consent mode mapping: tie %d: %s is no purpose of %s", i, tie.Purpose, pack.Version)
		}
	}
	return nil
}

// Acts reads signals as choices about the purposes of a mapping, in the mapping's order.
//
//   - A purpose is refused when a signal tied to it is Denied.
//   - It is granted when every signal that may grant it is Granted, there is one, and no other signal tied to it is denied,
//     by default or otherwise.
//   - Of the rest nothing is said.
func Acts(signals Signals, mapping Mapping) (granted, refused []string) {
	for i, tie := range mapping {
		if slices.ContainsFunc(mapping[:i], func(earlier Tie) bool { return earlier.Purpose == tie.Purpose }) {
			continue
		}
		switch signals.choice(tie.Purpose, mapping[i:]) {
		case Denied:
			refused = append(refused, tie.Purpose)
		case Granted:
			granted = append(granted, tie.Purpose)
		}
	}
	return granted, refused
}

// choice is Denied, Granted or Unset.
func (s Signals) choice(purpose string, mapping Mapping) State {
	var mayGrant, kept bool
	for _, tie := range mapping {
		if tie.Purpose != purpose {
			continue
		}
		switch state := s.of(tie.Signal); {
		case state == Denied:
			return Denied
		case state == DefaultDenied, tie.MayGrant && state != Granted:
			kept = true
		case tie.MayGrant:
			mayGrant = true
		}
	}
	if mayGrant && !kept {
		return Granted
	}
	return Unset
}

// of is the state of a signal; of one that does not exist nothing is known.
func (s Signals) of(signal Signal) State {
	if signal < NumSignals {
		return s[signal]
	}
	return Unset
}
