package consent

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/core"
)

const (
	notified core.Purpose = iota
	optOut
	consented
	shared // needs consent and is denied by GPC
)

func rules() *Rules {
	var r Rules
	all := core.SetOf(core.PageViewHistory, core.OperationLog)
	r[notified] = Rule{Basis: core.Notified, Categories: core.SetOf(core.OperationLog)}
	r[optOut] = Rule{Basis: core.OptOut, Categories: core.SetOf(core.OperationLog)}
	r[consented] = Rule{Basis: core.Consent, Categories: all}
	r[shared] = Rule{Basis: core.Consent, GPCDenied: true, Categories: all}
	return &r
}

func set(purposes ...core.Purpose) (s core.PurposeSet) {
	for _, p := range purposes {
		s = s.With(p)
	}
	return s
}

func TestDecide(t *testing.T) {
	granted := Subject{consented: State{}.Grant(10), shared: State{}.Grant(10)}
	for name, c := range map[string]struct {
		in       Inputs
		purposes core.PurposeSet
		reason   core.Reason
		conflict bool
	}{
		"a page view without consent has no purpose": {
			in: Inputs{Type: core.PageView, Time: 20}, reason: core.ReasonNoConsent,
		},
		"an operation without consent keeps what needs none": {
			in: Inputs{Type: core.Operation, Time: 20}, purposes: set(notified, optOut), reason: core.ReasonOptOut,
		},
		"an objection takes the opt-out purpose away": {
			in:       Inputs{Type: core.Operation, Time: 20, Subjects: []Subject{{optOut: State{}.Deny(15)}}},
			purposes: set(notified), reason: core.ReasonNotified,
		},
		"an objection known now blocks an event from before it": {
			in:       Inputs{Type: core.Operation, Time: 5, Subjects: []Subject{{optOut: State{}.Deny(15)}}},
			purposes: set(notified), reason: core.ReasonNotified,
		},
		"a grant permits from its time on": {
			in: Inputs{Type: core.PageView, Time: 10, Subjects: []Subject{granted}}, purposes: set(consented, shared), reason: core.ReasonConsent,
		},
		"a grant never legalises earlier events": {
			in: Inputs{Type: core.PageView, Time: 9, Subjects: []Subject{granted}}, reason: core.ReasonNoConsent,
		},
		"a withdrawal known now blocks an event from before it": {
			in:     Inputs{Type: core.PageView, Time: 12, Subjects: []Subject{{consented: State{}.Grant(10).Deny(30)}}},
			reason: core.ReasonRefused,
		},
		"a denial wins a tie": {
			in:     Inputs{Type: core.PageView, Time: 12, Subjects: []Subject{{consented: State{}.Deny(10).Grant(10)}}},
			reason: core.ReasonRefused,
		},
		"consent given again permits from then on": {
			in:       Inputs{Type: core.PageView, Time: 40, Subjects: []Subject{{consented: State{}.Grant(10).Deny(30).Grant(35)}}},
			purposes: set(consented), reason: core.ReasonConsent,
		},
		"the strictest identity wins": {
			in:     Inputs{Type: core.PageView, Time: 20, Subjects: []Subject{{consented: State{}.Grant(10)}, {consented: State{}.Deny(12)}}},
			reason: core.ReasonRefused,
		},
		"a refusal on the device narrows": {
			in:       Inputs{Type: core.PageView, Time: 20, Subjects: []Subject{granted}, DeviceRefused: set(consented)},
			purposes: set(shared), reason: core.ReasonConsent,
		},
		"a refusal on the device cannot touch a notified purpose": {
			in:       Inputs{Type: core.Operation, Time: 20, DeviceRefused: ^core.PurposeSet(0)},
			purposes: set(notified), reason: core.ReasonNotified,
		},
		"a word permits as the states it stands for": {
			in: Inputs{Type: core.PageView, Time: 20, Word: Word{Granted: set(consented)}}, purposes: set(consented), reason: core.ReasonConsent,
		},
		"an objection in a word beats a grant in the same": {
			in:     Inputs{Type: core.PageView, Time: 20, Word: Word{Granted: set(consented), Objected: set(consented)}},
			reason: core.ReasonRefused,
		},
		"an objection in a word beats a grant in a state": {
			in:       Inputs{Type: core.PageView, Time: 20, Subjects: []Subject{granted}, Word: Word{Objected: set(consented)}},
			purposes: set(shared), reason: core.ReasonConsent,
		},
		"an objection in a state beats a grant in a word": {
			in:     Inputs{Type: core.PageView, Time: 20, Subjects: []Subject{{consented: State{}.Deny(12)}}, Word: Word{Granted: set(consented)}},
			reason: core.ReasonRefused,
		},
		"an explicit grant overrides GPC and the conflict is recorded": {
			in:       Inputs{Type: core.PageView, Time: 20, GPC: true, Subjects: []Subject{granted}},
			purposes: set(consented, shared), reason: core.ReasonConsent, conflict: true,
		},
		"a category that no purpose covers has no purpose": {
			in: Inputs{Type: core.Search, Time: 20, Subjects: []Subject{granted}}, reason: core.ReasonNoPurpose,
		},
		"an unknown event type has no purpose": {
			in: Inputs{Type: 200, Time: 20, Subjects: []Subject{granted}}, reason: core.ReasonNoPurpose,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(rules(), &c.in)
			if d.Purposes != c.purposes || d.Reason != c.reason || d.GPCConflict != c.conflict {
				t.Errorf("got %b %v conflict=%v, want %b %v conflict=%v", d.Purposes, d.Reason, d.GPCConflict, c.purposes, c.reason, c.conflict)
			}
			if d.Reason.Stores() != (d.Purposes != 0) {
				t.Errorf("reason %v and purposes %b disagree", d.Reason, d.Purposes)
			}
		})
	}
}

func TestNoRulesDeny(t *testing.T) {
	if d := Decide(nil, &Inputs{Type: core.Operation}); d.Purposes != 0 || d.Reason != core.ReasonNoPolicy {
		t.Errorf("got %+v", d)
	}
	if d := Decide(&Rules{}, &Inputs{Type: core.Operation}); d.Purposes != 0 {
		t.Errorf("zero rules permit %b", d.Purposes)
	}
}

type act struct {
	time int64
	deny bool
}

func (a act) apply(s State) State {
	if a.deny {
		return s.Deny(a.time)
	}
	return s.Grant(a.time)
}

func acts(t *rapid.T) []act {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
		return act{rapid.Int64Range(1, 40).Draw(t, "time"), rapid.IntRange(0, 4).Draw(t, "kind") == 0}
	}), 0, 30).Draw(t, "acts")
}

func fold(list []act) (s State) {
	for _, a := range list {
		s = a.apply(s)
	}
	return s
}

func TestAnyOrderOfArrivalGivesTheSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := acts(t)
		want := fold(list)
		shuffled := append([]act(nil), list...)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := fold(shuffled); !same(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		// Replay is idempotent, and two halves merge to the whole.
		if got := fold(append(append([]act(nil), list...), shuffled...)); !same(got, want) {
			t.Fatalf("replayed: got %+v, want %+v", got, want)
		}
		cut := rapid.IntRange(0, len(list)).Draw(t, "cut")
		if got := fold(list[:cut]).Merge(fold(list[cut:])); !same(got, want) {
			t.Fatalf("merged: got %+v, want %+v", got, want)
		}
	})
}

func same(a, b State) bool {
	return a.Denied == b.Denied && (len(a.Grants) == 0 && len(b.Grants) == 0 || reflect.DeepEqual(a.Grants, b.Grants))
}

// The rule as the facts state it, written down a second time and naively over the whole list of acts.
func permittedNaively(list []act, t int64) bool {
	for i := range list {
		if list[i].deny || list[i].time > t {
			continue
		}
		ok := true
		for _, d := range list {
			ok = ok && (!d.deny || d.time < list[i].time)
		}
		if ok {
			return true
		}
	}
	return false
}

func TestADecisionFollowsFromTheWholeListOfActs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := acts(t)
		if len(list) > MaxGrants {
			list = list[:MaxGrants]
		}
		at := rapid.Int64Range(0, 45).Draw(t, "at")
		if got, want := fold(list).granted(at), permittedNaively(list, at); got != want {
			t.Fatalf("granted(%d) = %v, want %v for %+v", at, got, want, list)
		}
	})
}

func TestARefusalWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := acts(t)
		at := rapid.Int64Range(0, 45).Draw(t, "at")
		refusal := act{rapid.Int64Range(at, 60).Draw(t, "refusal"), true}
		s := fold(append(list, refusal))
		in := Inputs{Type: core.PageView, Time: at, Subjects: []Subject{{consented: s}}}
		if d := Decide(rules(), &in); d.Purposes.Has(consented) {
			t.Fatalf("permitted at %d in spite of a refusal at %d", at, refusal.time)
		}
	})
}

func TestDecideAllocatesNothing(t *testing.T) {
	r := rules()
	in := Inputs{Type: core.PageView, Time: 20, Subjects: []Subject{{consented: State{}.Grant(10)}}}
	if n := testing.AllocsPerRun(100, func() { Decide(r, &in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	r := rules()
	in := Inputs{Type: core.PageView, Time: 20, Subjects: []Subject{{consented: State{}.Grant(10)}, {}}}
	b.ReportAllocs()
	for b.Loop() {
		Decide(r, &in)
	}
}
