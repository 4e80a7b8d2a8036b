package subject_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/subject"
)

func TestAnExplanationGivesTheActsAndTheRule(t *testing.T) {
	packs, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	day := func(n int) time.Time { return time.Date(2026, 11, n, 9, 0, 0, 0, time.UTC) }
	act := func(n int, state string, visitor, account uint64) evidence.Act {
		return evidence.Act{
			Site: "shop", ID: uuid.New(), Purpose: "usage_based_development", State: state, VisitorID: visitor, AccountID: account,
			Policy: "default/2022-09-15", Time: day(n), ReceivedAt: day(n).Add(time.Second),
		}
	}
	granted, withdrawn, again := act(2, "granted", 1, 0), act(10, "withdrawn", 1, 2), act(20, "renewed", 1, 0)
	unknown := act(3, "granted", 1, 0)
	unknown.Policy = "default/1999-01-01"
	cookie, account := subject.Identity{Kind: "cookie", ID: 1}, subject.Identity{Kind: "account", ID: 2}
	for name, c := range map[string]struct {
		day  int
		who  []subject.Identity
		acts []evidence.Act
		kind core.EventType
		rule consent.Ruling
	}{
		"before any act":                           {5, []subject.Identity{cookie}, nil, core.PageView, consent.NotGranted},
		"before the grant":                         {1, []subject.Identity{cookie}, []evidence.Act{granted}, core.PageView, consent.NotGranted},
		"after the grant":                          {5, []subject.Identity{cookie}, []evidence.Act{granted}, core.PageView, consent.Granted},
		"a withdrawal that is known now blocks":    {5, []subject.Identity{cookie}, []evidence.Act{granted, withdrawn}, core.PageView, consent.Refused},
		"granted again":                            {21, []subject.Identity{cookie}, []evidence.Act{granted, withdrawn, again}, core.PageView, consent.Granted},
		"the strictest identity wins":              {21, []subject.Identity{cookie, account}, []evidence.Act{granted, withdrawn, again}, core.PageView, consent.Refused},
		"an act under an unknown version":          {5, []subject.Identity{cookie}, []evidence.Act{unknown}, core.PageView, consent.NotGranted},
		"an event of no known kind":                {5, []subject.Identity{cookie}, []evidence.Act{granted}, core.NoEvent, consent.Uncovered},
		"the acts of somebody else change nothing": {5, []subject.Identity{{Kind: "cookie", ID: 9}}, []evidence.Act{granted}, core.PageView, consent.NotGranted},
	} {
		t.Run(name, func(t *testing.T) {
			q := subject.Question{Jurisdiction: "jp", Purpose: "usage_based_development", Type: c.kind, At: day(c.day)}
			got := subject.Explain(q, c.who, c.acts, packs, "default")
			if got.Rule != c.rule || got.Permitted != c.rule.Permits() || got.Policy != "default/2022-09-15" || got.Basis != "consent" || len(got.Acts) != len(c.acts) {
				t.Errorf("%+v", got)
			}
			for i, a := range got.Acts {
				if a.ID != c.acts[i].ID || a.Counts != (a.Policy == "default/2022-09-15") {
					t.Errorf("act %d: %+v", i, a)
				}
			}
		})
	}
	got := subject.Explain(subject.Question{Jurisdiction: "jp", Purpose: "usage_based_development", Type: core.PageView, At: day(21)},
		[]subject.Identity{cookie, account}, []evidence.Act{granted, withdrawn, again}, packs, "default")
	want := []subject.Known{
		{Identity: "cookie", Denied: new(day(10)), Granted: []time.Time{day(20)}},
		{Identity: "account", Denied: new(day(10))},
	}
	if !reflect.DeepEqual(got.Known, want) {
		t.Errorf("known %+v", got.Known)
	}
	if !reflect.DeepEqual([][]string{got.Acts[0].Identities, got.Acts[1].Identities}, [][]string{{"cookie"}, {"cookie", "account"}}) {
		t.Errorf("acts %+v", got.Acts)
	}
}

func TestADenialIsRememberedWithoutItsAct(t *testing.T) {
	packs, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	pack, _ := packs.At("default", at)
	purpose, ok := pack.Purpose("in_service_recommendation")
	if !ok {
		t.Fatal("the policy has no such purpose")
	}
	who := subject.Identity{Kind: "cookie", ID: 1}
	q := subject.Question{Jurisdiction: "jp", Purpose: purpose.ID, Type: core.Operation, At: at}
	if got := subject.Explain(q, []subject.Identity{who}, nil, packs, "default"); got.Rule != consent.NotObjected || got.Known[0].Unproven {
		t.Errorf("nothing said: %+v", got)
	}
	who.Remembered = consent.Subject{purpose.Bit: consent.State{}.Deny(at.Add(-time.Hour).UnixMicro())}
	got := subject.Explain(q, []subject.Identity{who}, nil, packs, "default")
	if got.Rule != consent.Refused || !got.Known[0].Unproven || got.Known[0].Denied == nil {
		t.Errorf("objected, and the act is gone: %+v", got)
	}
	act := evidence.Act{ID: uuid.New(), Purpose: purpose.ID, State: "refused", VisitorID: 1, Policy: pack.Version, Time: at.Add(-time.Hour)}
	if got := subject.Explain(q, []subject.Identity{who}, []evidence.Act{act}, packs, "default"); got.Rule != consent.Refused || got.Known[0].Unproven {
		t.Errorf("objected, and the act is there: %+v", got)
	}
}

func TestWithoutAPolicyNothingIsPermitted(t *testing.T) {
	packs, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]subject.Question{
		"before the first version": {Jurisdiction: "jp", Purpose: "security_incident", Type: core.Operation, At: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)},
		"no such purpose":          {Jurisdiction: "jp", Purpose: "nothing", Type: core.Operation, At: time.Now()},
		"no such jurisdiction":     {Jurisdiction: "xx", Purpose: "security_incident", Type: core.Operation, At: time.Now()},
	} {
		if got := subject.Explain(q, nil, nil, packs, "default"); got.Permitted || got.Rule != consent.Uncovered {
			t.Errorf("%s: %+v", name, got)
		}
	}
	got := subject.Explain(subject.Question{Jurisdiction: "jp", Purpose: "security_incident", Type: core.Operation, At: time.Now()}, nil, nil, packs, "default")
	if !got.Permitted || got.Rule != consent.Notified {
		t.Errorf("a notified purpose: %+v", got)
	}
}
