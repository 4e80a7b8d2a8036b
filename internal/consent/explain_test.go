package consent

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/core"
)

func subjects(t *rapid.T) []Subject {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Subject {
		s := Subject{}
		for bit := range core.Purpose(6) {
			if rapid.Bool().Draw(t, "said") {
				s[bit] = fold(acts(t))
			}
		}
		return s
	}), 0, 3).Draw(t, "subjects")
}

func TestAnExplanationAgreesWithTheDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Rules
		for bit := range 6 {
			r[bit] = Rule{
				Basis: core.Basis(rapid.IntRange(0, 4).Draw(t, "basis")), GPCDenied: rapid.Bool().Draw(t, "gpc denies"),
				Categories: core.CategorySet(rapid.Uint64().Draw(t, "categories")),
			}
		}
		in := Inputs{
			Type: core.EventType(rapid.IntRange(0, 9).Draw(t, "type")), Time: rapid.Int64Range(0, 45).Draw(t, "time"), GPC: rapid.Bool().Draw(t, "gpc"),
			Subjects: subjects(t), DeviceRefused: core.PurposeSet(rapid.Uint32Range(0, 63).Draw(t, "device")),
			Word: Word{core.PurposeSet(rapid.Uint32Range(0, 63).Draw(t, "granted")), core.PurposeSet(rapid.Uint32Range(0, 63).Draw(t, "objected"))},
		}
		d := Decide(&r, &in)
		conflict := false
		for bit := range core.Purpose(core.MaxPurposes) {
			why := Explain(&r, &in, bit)
			if why.Ruling.Permits() != d.Purposes.Has(bit) {
				t.Fatalf("purpose %d: %v, but the decision permits %b", bit, why.Ruling, d.Purposes)
			}
			conflict = conflict || why.GPCConflict
			if why.Ruling == Granted && r[bit].Basis != core.Consent || why.Ruling == NotObjected && r[bit].Basis != core.OptOut {
				t.Fatalf("purpose %d of basis %v: %v", bit, r[bit].Basis, why.Ruling)
			}
		}
		if conflict != d.GPCConflict {
			t.Fatalf("conflict %v, but the decision says %v", conflict, d.GPCConflict)
		}
	})
}

func TestEveryRulingIsReachedAndNamed(t *testing.T) {
	granted := Subject{consented: State{}.Grant(10), shared: State{}.Grant(10)}
	denied := Subject{consented: State{}.Grant(10).Deny(15)}
	for want, c := range map[Ruling]struct {
		in      Inputs
		purpose core.Purpose
	}{
		Uncovered:     {Inputs{Type: core.Search, Time: 20}, consented},
		Refused:       {Inputs{Type: core.PageView, Time: 20, Subjects: []Subject{denied}}, consented},
		NotGranted:    {Inputs{Type: core.PageView, Time: 9, Subjects: []Subject{granted}}, consented},
		DeviceRefused: {Inputs{Type: core.PageView, Time: 20, Subjects: []Subject{granted}, DeviceRefused: set(consented)}, consented},
		Notified:      {Inputs{Type: core.Operation, Time: 20}, notified},
		NotObjected:   {Inputs{Type: core.Operation, Time: 20}, optOut},
		Granted:       {Inputs{Type: core.PageView, Time: 20, GPC: true, Subjects: []Subject{granted}}, shared},
	} {
		got := Explain(rules(), &c.in, c.purpose)
		if got.Ruling != want || want.String() == "" {
			t.Errorf("%v, want %v", got.Ruling, want)
		}
		if got.GPCConflict != (want == Granted) {
			t.Errorf("%v: conflict %v", want, got.GPCConflict)
		}
	}
	r := rules()
	r[optOut].GPCDenied = true
	if got := Explain(r, &Inputs{Type: core.Operation, Time: 20, GPC: true}, optOut); got.Ruling != GPCDenied {
		t.Errorf("under GPC: %v", got.Ruling)
	}
	if got := Explain(nil, &Inputs{Type: core.Operation}, notified); got.Ruling.Permits() {
		t.Errorf("without rules: %v", got.Ruling)
	}
	if got := Explain(r, &Inputs{Type: core.Operation}, core.MaxPurposes); got.Ruling.Permits() {
		t.Errorf("beyond the purposes: %v", got.Ruling)
	}
}

func TestAnActIsKnownByTheStateItBringsAbout(t *testing.T) {
	for name, deny := range map[string]bool{"granted": false, "renewed": false, "refused": true, "withdrawn": true, "expired": true} {
		s, ok := State{}.Act(name, 7)
		if !ok || (s.Denied == 7) != deny || (len(s.Grants) == 1) == deny {
			t.Errorf("%s: %+v, %v", name, s, ok)
		}
	}
	if s, ok := (State{}).Act("requested", 7); ok || s.Denied != 0 || s.Grants != nil {
		t.Errorf("an unknown name: %+v, %v", s, ok)
	}
}
