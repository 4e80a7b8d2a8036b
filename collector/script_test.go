package collector

import (
	"testing"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
)

func TestADecisionStandsWhileTheSameIsAsked(t *testing.T) {
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	first, _ := policies.Version("default/2019-10-15")
	second, _ := policies.Version("default/2022-09-15")
	jp, eu := &site.Site{Jurisdiction: "jp"}, &site.Site{Jurisdiction: "eu"}
	terms := termsOf(jp, second)
	if termsOf(jp, first) != terms {
		t.Error("an editorial change asks everybody again")
	}
	if termsOf(eu, second) == terms {
		t.Error("other bases are the same terms")
	}
	change := func(f func(*policy.Purpose)) string {
		changed := *second
		changed.Purposes = append([]policy.Purpose(nil), second.Purposes...)
		for i := range changed.Purposes {
			if changed.Purposes[i].ID == "usage_based_development" {
				f(&changed.Purposes[i])
			}
		}
		return termsOf(jp, &changed)
	}
	if change(func(p *policy.Purpose) { p.Bit = 31 }) == terms {
		t.Error("a purpose that was replaced is not asked for again")
	}
	if change(func(p *policy.Purpose) { p.Basis = map[string]core.Basis{"jp": core.OptOut} }) == terms {
		t.Error("another basis is the same terms")
	}
	if change(func(p *policy.Purpose) { p.Text = policy.Text{"en": "in other words"} }) != terms {
		t.Error("other words ask everybody again")
	}
}
