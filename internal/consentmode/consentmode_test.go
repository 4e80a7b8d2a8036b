package consentmode

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/policy"
)

// parsers are the forms that signals travel in.
var parsers = map[string]func([]byte) (Signals, error){
	"gcs":         func(s []byte) (Signals, error) { return ParseGCS(string(s)) },
	"gcd":         func(s []byte) (Signals, error) { return ParseGCD(string(s)) },
	"default":     ParseDefault,
	"update":      ParseUpdate,
	"measurement": ParseMeasurement,
}

func TestSignalsAreRead(t *testing.T) {
	for _, c := range []struct {
		form, s string
		want    Signals
	}{
		{"gcs", "G111", Signals{AdStorage: Granted, AnalyticsStorage: Granted}},
		{"gcs", "G100", Signals{AdStorage: Denied, AnalyticsStorage: Denied}},
		{"gcs", "G101", Signals{AdStorage: Denied, AnalyticsStorage: Granted}},
		{"gcs", "G110", Signals{AdStorage: Granted, AnalyticsStorage: Denied}},
		{"gcs", "G1--", Signals{}},
		{"gcs", "G1-0", Signals{AnalyticsStorage: Denied}},

		{"gcd", "13l3l3l3l1l1", Signals{}}, // no consent mode
		{"gcd", "13l3l3l3l1", Signals{}},
		{"gcd", "11l1l1l1l5", Signals{}},
		{"gcd", "11m1n1p1q5", Signals{AdStorage: Denied, AnalyticsStorage: Granted, AdUserData: DefaultDenied, AdPersonalization: Denied}},
		{"gcd", "13r3t3u3v5l1", Signals{AdStorage: Granted, AnalyticsStorage: DefaultGranted, AdUserData: Denied, AdPersonalization: Granted}},
		{"gcd", "11t1t1t1t5", Signals{AdStorage: DefaultGranted, AnalyticsStorage: DefaultGranted, AdUserData: DefaultGranted, AdPersonalization: DefaultGranted}},
		{"gcd", "13a3z3q3r5", Signals{AdUserData: Denied, AdPersonalization: Granted}}, // letters nobody knows

		{"default", `{"ad_storage":"denied","analytics_storage":"granted","wait_for_update":500}`, Signals{AdStorage: DefaultDenied, AnalyticsStorage: DefaultGranted}},
		{"update", `{"ad_storage":"granted","analytics_storage":"denied","ad_user_data":"granted","ad_personalization":"denied","functionality_storage":"granted","personalization_storage":"denied","security_storage":"granted"}`, Signals{Granted, Denied, Granted, Denied, Granted, Denied, Granted}},
		{"update", ` { "ad_storage" : "granted" } `, Signals{AdStorage: Granted}},
		{"update", `{}`, Signals{}},
		{"update", `{"shop_storage":"granted","AD_STORAGE":"granted","x":{"ad_storage":"granted"}}`, Signals{}},
		{"measurement", `{"ad_user_data":"GRANTED","ad_personalization":"DENIED"}`, Signals{AdUserData: Granted, AdPersonalization: Denied}},
		{"measurement", `{"analytics_storage":"GRANTED","ad_storage":"granted"}`, Signals{}}, // the protocol has neither
	} {
		got, err := parsers[c.form]([]byte(c.s))
		if err != nil || got != c.want {
			t.Errorf("%s %s: %v, %v; want %v", c.form, c.s, got, err, c.want)
		}
	}
}

func TestFaultySignalsAreRefused(t *testing.T) {
	for _, c := range []struct {
		form, s string
		want    Fault
	}{
		{"gcs", "", FaultForm},
		{"gcs", "G11", FaultForm},
		{"gcs", "G1111", FaultForm},
		{"gcs", "g111", FaultForm},
		{"gcs", "G211", FaultVersion},
		{"gcs", "G112", FaultValue},
		{"gcs", "G1 1", FaultValue},

		{"gcd", "", FaultForm},
		{"gcd", "11l1l1l1l", FaultForm},
		{"gcd", "11l1l1l5", FaultForm},
		{"gcd", "11l1l1l1l5l", FaultForm},
		{"gcd", "1ll1l1l1l5", FaultForm},
		{"gcd", "1111l1l1l5", FaultForm},
		{"gcd", "11L1l1l1l5", FaultForm},
		{"gcd", "11l1l1l1l5é", FaultForm},
		{"gcd", "21l1l1l1l5", FaultVersion},
		{"gcd", "11l1l1l1l5" + strings.Repeat("l1", 12), FaultTooLong},

		{"update", ``, FaultForm},
		{"update", `null`, FaultForm},
		{"update", `["granted"]`, FaultForm},
		{"update", `"granted"`, FaultForm},
		{"update", `{`, FaultForm},
		{"update", `{"ad_storage"`, FaultForm},
		{"update", `{"ad_storage":`, FaultForm},
		{"update", `{"ad_storage":"granted"`, FaultForm},
		{"update", `{"ad_storage":"granted"}{}`, FaultForm},
		{"update", `{"ad_storage":"granted"} x`, FaultForm},
		{"update", `{ad_storage:"granted"}`, FaultForm},
		{"update", `{1:"granted"}`, FaultForm},
		{"update", `{"ad_storage":"GRANTED"}`, FaultValue},
		{"update", `{"ad_storage":"granted "}`, FaultValue},
		{"update", `{"ad_storage":""}`, FaultValue},
		{"update", `{"ad_storage":true}`, FaultValue},
		{"update", `{"ad_storage":null}`, FaultValue},
		{"update", `{"ad_storage":["granted"]}`, FaultValue},
		{"update", `{"ad_storage":"granted","ad_storage":"granted"}`, FaultRepeated},
		{"update", `{"ad_storage":"denied","ad_storage":"granted"}`, FaultRepeated},
		{"default", `{"ad_storage":"granted","region":["US"]}`, FaultRegion},
		{"default", `{"region":[],"ad_storage":"denied"}`, FaultRegion},
		{"update", `{"x":"` + strings.Repeat("a", MaxLength) + `"}`, FaultTooLong},
		{"measurement", `{"ad_user_data":"granted"}`, FaultValue},
	} {
		got, err := parsers[c.form]([]byte(c.s))
		var fault Fault
		if !errors.As(err, &fault) || fault != c.want || got != (Signals{}) {
			t.Errorf("%s %.60s: %v, %v; want %v", c.form, c.s, got, err, c.want)
		}
		if fault.String() == "" || fault.Error() == "" {
			t.Errorf("%s %.60s: the fault says nothing", c.form, c.s)
		}
	}
}

func TestSignalsHaveTheirNames(t *testing.T) {
	for s := range NumSignals {
		if got, ok := ParseSignal(s.String()); !ok || got != s {
			t.Errorf("signal %d is read back as %d", s, got)
		}
	}
	if _, ok := ParseSignal("shop_storage"); ok || NumSignals.String() != "" {
		t.Error("an unknown signal is known")
	}
}

func TestActsByTheMapping(t *testing.T) {
	const analytics, ads = "analytics", "ads"
	may := Mapping{
		{AnalyticsStorage, analytics, true},
		{AdStorage, ads, true},
		{AdUserData, ads, true},
		{AdPersonalization, ads, false},
	}
	never := Mapping{{AnalyticsStorage, analytics, false}, {AdStorage, ads, false}}
	both := []string{analytics, ads}
	for name, c := range map[string]struct {
		signals          Signals
		mapping          Mapping
		granted, refused []string
	}{
		"nothing said":                      {Signals{}, may, nil, nil},
		"everything granted":                {Signals{Granted, Granted, Granted, Granted, Granted, Granted, Granted}, may, both, nil},
		"everything denied":                 {Signals{Denied, Denied, Denied, Denied, Denied, Denied, Denied}, may, nil, both},
		"granted, and nothing may grant":    {Signals{Granted, Granted}, never, nil, nil},
		"denied, and nothing may grant":     {Signals{Denied, Granted}, never, nil, []string{ads}},
		"no mapping":                        {Signals{Denied, Granted}, nil, nil, nil},
		"defaults are nobody's choice":      {Signals{DefaultDenied, DefaultGranted, DefaultDenied, DefaultDenied}, may, nil, nil},
		"one of two that may grant":         {Signals{AdStorage: Granted}, may, nil, nil},
		"both that may grant":               {Signals{AdStorage: Granted, AdUserData: Granted}, may, []string{ads}, nil},
		"granted beside a default":          {Signals{AdStorage: Granted, AdUserData: DefaultGranted}, may, nil, nil},
		"kept from it by a denial":          {Signals{AdStorage: Granted, AdUserData: Granted, AdPersonalization: Denied}, may, nil, []string{ads}},
		"kept from it by a default":         {Signals{AdStorage: Granted, AdUserData: Granted, AdPersonalization: DefaultDenied}, may, nil, nil},
		"what may not grant may be granted": {Signals{AdPersonalization: Granted}, may, nil, nil},
		"other signals do not count":        {Signals{AnalyticsStorage: Granted, SecurityStorage: Denied}, may, []string{analytics}, nil},
		"a signal that does not exist":      {Signals{Granted, Granted}, Mapping{{NumSignals, analytics, true}, {AdStorage, analytics, true}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			granted, refused := Acts(c.signals, c.mapping)
			if !slices.Equal(granted, c.granted) || !slices.Equal(refused, c.refused) {
				t.Errorf("granted %v, refused %v; want %v, %v", granted, refused, c.granted, c.refused)
			}
		})
	}
}

func TestTheDefaultMappingFitsThePolicyAndGrantsNothing(t *testing.T) {
	r, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, pack := range r.All() {
		if err := DefaultMapping().Check(pack); err != nil {
			t.Error(err)
		}
	}
	pack := r.All()[0]
	for _, bad := range []Tie{{Signal: NumSignals, Purpose: "marketing_use"}, {Purpose: "marketing"}, {}} {
		if (Mapping{bad}).Check(pack) == nil {
			t.Errorf("%+v passes", bad)
		}
	}
	all := Signals{Granted, Granted, Granted, Granted, Granted, Granted, Granted}
	if granted, refused := Acts(all, DefaultMapping()); granted != nil || refused != nil {
		t.Errorf("granted %v, refused %v", granted, refused)
	}
	_, refused := Acts(Signals{AnalyticsStorage: Denied}, DefaultMapping())
	if want := []string{"development_marketing", "usage_based_development", "service_development"}; !slices.Equal(refused, want) {
		t.Errorf("refused %v, want %v", refused, want)
	}
}

func genSignals() *rapid.Generator[Signals] {
	return rapid.Custom(func(t *rapid.T) (s Signals) {
		for i := range s {
			s[i] = rapid.SampledFrom([]State{Unset, DefaultDenied, DefaultGranted, Denied, Granted, Granted, Granted}).Draw(t, "state")
		}
		return s
	})
}

var genMapping = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Tie {
	return Tie{Signal(rapid.IntRange(0, int(NumSignals)).Draw(t, "signal")), rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "purpose"), rapid.Bool().Draw(t, "may grant")}
}), 0, 8)

func TestActsNeverWiden(t *testing.T) {
	var grants, refusals int
	rapid.Check(t, func(t *rapid.T) {
		signals, mapping := genSignals().Draw(t, "signals"), Mapping(genMapping.Draw(t, "mapping"))
		granted, refused := Acts(signals, mapping)
		grants, refusals = grants+len(granted), refusals+len(refused)
		state := func(tie Tie) State {
			if tie.Signal >= NumSignals {
				return Unset
			}
			return signals[tie.Signal]
		}
		for _, purpose := range []string{"p", "q", "r"} {
			denied, mayGrant := false, false
			for _, tie := range mapping {
				if tie.Purpose != purpose {
					continue
				}
				denied = denied || state(tie) == Denied
				mayGrant = mayGrant || tie.MayGrant && state(tie) == Granted
				if slices.Contains(granted, purpose) && (state(tie) == DefaultDenied || tie.MayGrant && state(tie) != Granted) {
					t.Fatalf("%s is granted with %s", purpose, tie.Signal)
				}
			}
			if slices.Contains(refused, purpose) != denied {
				t.Fatalf("%s: denied is %t", purpose, denied)
			}
			if slices.Contains(granted, purpose) && (denied || !mayGrant) {
				t.Fatalf("%s is granted", purpose)
			}
		}

		// Less of a signal, or less trust in it, grants nothing more.
		less, mistrusted := signals, slices.Clone(mapping)
		changed := rapid.IntRange(0, int(NumSignals)-1).Draw(t, "less")
		less[changed] = rapid.SampledFrom([]State{Denied, DefaultDenied, DefaultGranted, Unset}).Draw(t, "to")
		if signals[changed] == Granted {
			for _, id := range first(Acts(less, mapping)) {
				if !slices.Contains(granted, id) {
					t.Fatalf("%s is granted by less", id)
				}
			}
		}
		for i := range mistrusted {
			mistrusted[i].MayGrant = false
		}
		if g := first(Acts(signals, mistrusted)); len(g) > 0 {
			t.Fatalf("%v is granted by nobody", g)
		}
	})
	if grants == 0 || refusals == 0 {
		t.Errorf("%d grants and %d refusals: nothing was tested", grants, refusals)
	}
}

func first(granted, _ []string) []string { return granted }

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	words := map[string]map[State]string{
		"update":  {Granted: "granted", Denied: "denied"},
		"default": {DefaultGranted: "granted", DefaultDenied: "denied"},
	}
	rapid.Check(t, func(t *rapid.T) {
		signals := genSignals().Draw(t, "signals")
		form := rapid.SampledFrom([]string{"update", "default"}).Draw(t, "form")
		object, want := map[string]any{"wait_for_update": 500}, Signals{}
		for s, state := range signals {
			if word, ok := words[form][state]; ok {
				object[Signal(s).String()], want[s] = word, state
			}
		}
		written, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parsers[form](written); err != nil || got != want {
			t.Fatalf("%v, %v; want %v", got, err, want)
		}

		letters := map[State]string{Unset: "l", DefaultDenied: "p", DefaultGranted: "t", Denied: "mqu", Granted: "nrv"}
		letter := func(s Signal) byte {
			of := letters[signals[s]]
			return of[rapid.IntRange(0, len(of)-1).Draw(t, "letter")]
		}
		gcd := fmt.Sprintf("13%c3%c3%c3%c5l1", letter(AdStorage), letter(AnalyticsStorage), letter(AdUserData), letter(AdPersonalization))
		want = Signals{signals[AdStorage], signals[AnalyticsStorage], signals[AdUserData], signals[AdPersonalization]}
		if got, err := ParseGCD(gcd); err != nil || got != want {
			t.Fatalf("%s: %v, %v; want %v", gcd, got, err, want)
		}
	})
}

// Anything is read or refused with a fault of the list; what is read is no more than the form can say, and nothing that
// the site set for everybody becomes a choice.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"G111", "G1--", "13l3l3l3l1l1", "11m1n1p1q5", "13r3t3u3v5l1", `{"ad_storage":"denied","wait_for_update":500,"region":["JP"]}`,
		`{"ad_storage":"granted","analytics_storage":"denied"}`, `{"ad_user_data":"GRANTED","ad_personalization":"DENIED"}`, `{"x":{"ad_storage":"granted"},"ad_storage":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for form, parse := range parsers {
			signals, err := parse(data)
			var fault Fault
			if err != nil && (!errors.As(err, &fault) || fault.String() == "" || signals != (Signals{})) {
				t.Fatalf("%s: %v, %v", form, signals, err)
			}
			for s, state := range signals {
				chosen := state == Denied || state == Granted
				beyond := form == "gcs" && s > int(AnalyticsStorage) || form == "gcd" && s > int(AdPersonalization) || form == "measurement" && Signal(s) != AdUserData && Signal(s) != AdPersonalization
				if state > Granted || chosen && form == "default" || state != Unset && beyond {
					t.Fatalf("%s: %s is %d", form, Signal(s), state)
				}
			}
			if granted, _ := Acts(signals, DefaultMapping()); len(granted) > 0 {
				t.Fatalf("%s: %v is granted", form, granted)
			}
		}
	})
}
