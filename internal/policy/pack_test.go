package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas"
)

func TestTheVersionInForceFollowsTheDate(t *testing.T) {
	r, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		"2019-10-14T14:59:59Z": "",
		"2019-10-14T15:00:00Z": "default/2019-10-15", // midnight in Japan
		"2022-09-14T14:59:59Z": "default/2019-10-15",
		"2022-09-14T15:00:00Z": "default/2022-09-15",
		"2030-01-01T00:00:00Z": "default/2022-09-15",
	} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if p, ok := r.At("default", when); ok {
			got = p.Version
		}
		if got != want {
			t.Errorf("at %s: %q, want %q", at, got, want)
		}
	}
	if _, ok := r.At("other", time.Now()); ok {
		t.Error("an unknown policy is in force")
	}
}

func TestTheBuiltinPackSaysWhatThePolicySays(t *testing.T) {
	r, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	p, _ := r.Version("default/2022-09-15")
	articles := map[string]bool{}
	for _, purpose := range p.Purposes {
		articles[purpose.Article] = true
		if purpose.Categories&neverPurposed != 0 {
			t.Errorf("%s may use a category that no purpose may use", purpose.ID)
		}
	}
	if len(articles) != 11 {
		t.Errorf("%d of the eleven purposes of Art. 5", len(articles))
	}
	jp, ok := p.Rules("jp")
	if !ok {
		t.Fatal("no rules for jp")
	}
	recommend, _ := p.Purpose("in_service_recommendation")
	if jp[recommend.Bit].Basis != core.OptOut || recommend.Basis["eu"] != core.Consent {
		t.Error("recommendation is opt-out in jp and consent in eu")
	}
	if _, ok := p.Rules("xx"); ok {
		t.Error("an unknown jurisdiction has rules")
	}
	if got := len(p.Children("development_marketing")); got != 2 {
		t.Errorf("%d children", got)
	}
}

func TestAFaultyPackDoesNotLoad(t *testing.T) {
	good, err := schemas.Policy.ReadFile("policy/default/2022-09-15.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, replacement, want string }{
		"a category without retention":  {"retention_days: 7, label: {ja: IP", "label: {ja: IP", "retention_days"},
		"a missing category":            {"  - {id: location", "  - {id: cookie_id", "category location: no retention period"},
		"a purpose without a basis":     {"basis: {jp: opt_out, eu: consent", "basis: {eu: consent", "no basis in jurisdiction jp"},
		"an unknown basis":              {"basis: {jp: opt_out", "basis: {jp: implied", "/purposes/3/basis/jp"},
		"a My Number given to purposes": {"categories: [contact_name, contact_affiliation, contact_details]", "categories: [individual_number]", "no purpose may use category individual_number"},
		"an unknown category":           {"categories: [contact_name, contact_affiliation, contact_details]", "categories: [shoe_size]", "category shoe_size is not known"},
		"a bit taken twice":             {"bit: 12", "bit: 11", "takes bit 11"},
		"an unknown key":                {"change: editorial", "change: editorial\nand_so_on: true", "and_so_on"},
		"an impossible date":            {"2022-09-15\"", "2022-09-31\"", "effective_from"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(string(good), c.old, c.replacement, 1)
			if bad == string(good) {
				t.Fatal("the fault was not made")
			}
			_, err := Parse([]byte(bad))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}

// Packs are long, so minimising them takes a worker's whole time: run it with -fuzzminimizetime 20x.
func FuzzParse(f *testing.F) {
	good, err := schemas.Policy.ReadFile("policy/default/2022-09-15.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(encoded(f, furnished(f)))
	f.Add(encoded(f, furnished(f, small)))
	f.Add([]byte("purposes: &a [*a]"))
	f.Add([]byte("id: x\n---\nid: y"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			if len(Faults(err)) == 0 {
				t.Errorf("an error without a fault: %v", err)
			}
			return
		}
		if len(p.Purposes) == 0 || len(p.Jurisdictions) == 0 {
			t.Error("a pack without purposes or jurisdictions loaded")
		}
		for _, j := range p.Jurisdictions {
			rules, ok := p.Rules(j)
			if !ok {
				t.Fatalf("no rules for a jurisdiction that the pack names")
			}
			for _, rule := range rules {
				if rule.Categories&neverPurposed != 0 {
					t.Error("a purpose may use what no purpose may")
				}
			}
		}
		again := written(t, p)
		if d := Compare(p, again); len(d.Changes) != 0 {
			t.Errorf("written and read again it differs: %v", d.Changes[0].What["en"])
		}
		if _, err := p.DPV(); err != nil {
			t.Error(err)
		}
	})
}
