package policy

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
)

// registerOf loads documents as the versions of one policy.
func registerOf(t *testing.T, documents ...*document) (*Register, error) {
	t.Helper()
	files := fstest.MapFS{}
	for _, d := range documents {
		files[d.ID+"/"+d.EffectiveFrom+".yaml"] = &fstest.MapFile{Data: encoded(t, d)}
	}
	return Load(files)
}

func first(t *testing.T, edits ...func(*document)) *document {
	t.Helper()
	return furnished(t, append([]func(*document){later("2022-09-15", Initial)}, edits...)...)
}

func TestABitBelongsToOnePurposeForEver(t *testing.T) {
	gone := func(id string) func(*document) {
		return func(d *document) {
			d.Purposes = slices.DeleteFunc(d.Purposes, func(p purposeDocument) bool { return p.ID == id })
		}
	}
	for name, c := range map[string]struct {
		versions []*document
		want     string // empty: they load
	}{
		"an unused bit for an unrelated change": {
			[]*document{first(t), furnished(t, later("2030-01-01", Unrelated), moves("service_information", 13))}, "",
		},
		"a bit of another purpose": {
			[]*document{first(t), furnished(t, later("2030-01-01", Related), purpose("inquiry_response", func(p *purposeDocument) { p.ID = "something_new" }))},
			"takes bit 12 of inquiry_response",
		},
		"a bit that another purpose left": {
			[]*document{
				first(t), furnished(t, later("2030-01-01", Related), gone("inquiry_response")),
				furnished(t, later("2031-01-01", Unrelated), gone("inquiry_response"), moves("service_information", 12)),
			}, "takes bit 12 of inquiry_response",
		},
		"a move without a word": {
			[]*document{first(t), furnished(t, later("2030-01-01", Related), purpose("service_information", func(p *purposeDocument) { p.Bit = 13 }))},
			"moves from bit 2 to 13; only an unrelated change may, and says replaces: 2",
		},
		"a move from a bit it did not hold": {
			[]*document{first(t), furnished(t, later("2030-01-01", Unrelated), moves("service_information", 13), purpose("service_information", func(p *purposeDocument) { p.Replaces = new(uint8(3)) }))},
			"says replaces: 2",
		},
		"a move back": {
			[]*document{
				first(t), furnished(t, later("2030-01-01", Unrelated), moves("service_information", 13)),
				furnished(t, later("2031-01-01", Unrelated), purpose("service_information", func(p *purposeDocument) { p.Replaces = new(uint8(13)) })),
			}, "moves back to bit 2",
		},
		"a mark that was copied along": {
			[]*document{
				first(t), furnished(t, later("2030-01-01", Unrelated), moves("service_information", 13)),
				furnished(t, later("2031-01-01", Unrelated), moves("service_information", 13), moves("research_invitation", 14)),
			}, "holds bit 13 already",
		},
		"a new purpose that replaces something": {
			[]*document{first(t), furnished(t, later("2030-01-01", Unrelated), func(d *document) {
				d.Purposes = append(d.Purposes, d.Purposes[2])
				d.Purposes[13].ID, d.Purposes[13].Bit, d.Purposes[13].Replaces = "gift_catalogue", 13, new(uint8(2))
			})}, "is new and replaces nothing",
		},
		"a purpose that comes back to its bit": {
			[]*document{
				first(t), furnished(t, later("2030-01-01", Related), gone("research_invitation")), furnished(t, later("2031-01-01", Related)),
			}, "comes back to bit 11",
		},
		"a purpose that comes back on an unused bit": {
			[]*document{
				first(t), furnished(t, later("2030-01-01", Related), gone("research_invitation")),
				furnished(t, later("2031-01-01", Unrelated), moves("research_invitation", 13)),
			}, "",
		},
		"a first version that is not initial":  {[]*document{furnished(t)}, "the first version is initial"},
		"a later version that is initial":      {[]*document{first(t), furnished(t, later("2030-01-01", Initial))}, "only the first version is initial"},
		"a version that takes effect too soon": {[]*document{first(t), furnished(t, later("2022-09-16", Editorial), func(d *document) { d.TimeZone = "Pacific/Kiritimati" }), furnished(t, later("2022-09-17", Editorial), func(d *document) { d.TimeZone = "Etc/GMT+12" }), furnished(t, later("2022-09-18", Editorial), func(d *document) { d.TimeZone = "Pacific/Kiritimati" })}, "is not after that of default/2022-09-17"},
		"a change that says less than it is": {
			[]*document{first(t), furnished(t, later("2030-01-01", Editorial), category("operation_log", func(c *categoryDocument) { c.RetentionDays = 800 }))},
			"/categories/0/retention_days: change is editorial, but this is related",
		},
		"an unrelated change under the same bit": {
			[]*document{first(t), furnished(t, later("2030-01-01", Unrelated), moves("research_invitation", 13), purpose("behavioral_personalization", func(p *purposeDocument) { p.Categories = append(p.Categories, "device_id") }))},
			"/purposes/4/categories/9: an unrelated change under the same bit: Purpose “Personalisation from your history”, which rests on consent, uses",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := registerOf(t, c.versions...)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}

// The heart of Art. 6: a purpose that became an unrelated one starts with nobody's consent and no row.
func TestAnOldGrantDoesNotPermitAReplacedPurposeAndTheOthersStand(t *testing.T) {
	const replaced, stands = "behavioral_personalization", "usage_based_development"
	r, err := registerOf(t, first(t), furnished(t, later("2030-01-01", Unrelated), moves(replaced, 13)))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := r.At("default", time.Date(2029, 12, 31, 0, 0, 0, 0, time.UTC))
	after, _ := r.At("default", time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC))
	bit := func(p *Pack, id string) core.Purpose {
		found, ok := p.Purpose(id)
		if !ok {
			t.Fatalf("no purpose %s", id)
		}
		return found.Bit
	}
	// An act names purposes by id under the version it was made for.
	subject := consent.Subject{}
	for _, id := range []string{replaced, stands} {
		subject[bit(before, id)] = consent.State{}.Grant(10)
	}
	decide := func(p *Pack, at int64) core.PurposeSet {
		rules, _ := p.Rules("jp")
		return consent.Decide(rules, &consent.Inputs{Type: core.PageView, Time: at, Subjects: []consent.Subject{subject}}).Purposes
	}
	old := decide(before, 20)
	if !old.Has(bit(before, replaced)) || !old.Has(bit(before, stands)) {
		t.Fatalf("the grants do not permit under the version they were given for: %b", old)
	}
	now := decide(after, 30)
	if now.Has(bit(after, replaced)) {
		t.Error("an old grant permits the replaced purpose")
	}
	if !now.Has(bit(after, stands)) {
		t.Error("the grant of another purpose does not stand")
	}
	if now.Has(bit(before, replaced)) {
		t.Error("a new event is stored under the old bit")
	}
	if old.Has(bit(after, replaced)) {
		t.Error("a row stored before can be read for the replaced purpose")
	}
	subject[bit(after, replaced)] = consent.State{}.Grant(40)
	if !decide(after, 50).Has(bit(after, replaced)) {
		t.Error("consent given again does not permit")
	}
	if decide(after, 35).Has(bit(after, replaced)) {
		t.Error("consent given again reaches back")
	}
	// A refusal of the old purpose is none of the new one, which needs a grant anyway; one under the new version is.
	subject[bit(after, replaced)] = subject[bit(after, replaced)].Deny(60)
	if decide(after, 50).Has(bit(after, replaced)) {
		t.Error("a withdrawal of the replaced purpose does not deny it")
	}
}

func TestTheDefaultJurisdictionServesOnlyWhoSaysSo(t *testing.T) {
	r, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	p, _ := r.Version("default/2022-09-15")
	rules, ok := p.Rules(Default)
	if !ok {
		t.Fatal("no rules for default")
	}
	for _, purpose := range p.Purposes {
		for _, j := range p.Jurisdictions {
			if rules[purpose.Bit].Basis < purpose.Basis[j] {
				t.Errorf("%s: %s in default, %s in %s", purpose.ID, rules[purpose.Bit].Basis, purpose.Basis[j], j)
			}
		}
	}
	if _, ok := p.Rules("us"); ok {
		t.Error("a jurisdiction that the pack does not name is served")
	}
	without := parsed(t, furnished(t, func(d *document) {
		d.Jurisdictions = []string{"jp", "eu"}
		for i := range d.Purposes {
			delete(d.Purposes[i].Basis, Default)
		}
	}))
	if _, ok := without.Rules(Default); ok {
		t.Error("a pack without default serves it")
	}
}
