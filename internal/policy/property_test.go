package policy

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
)

// pool is what the purposes of generated packs use.
var pool = []string{"operation_log", "page_view_history", "search_keyword", "purchased_item", "usage_time", "contact_name"}

var bases = []string{"notified", "opt_out", "consent"}

// drawPurpose makes up a purpose on some bit.
func drawPurpose(t *rapid.T, d *document, id string) purposeDocument {
	text := Text{"ja": "目的" + id, "en": "Purpose " + id}
	p := purposeDocument{
		ID: id, Bit: rapid.Uint8Range(0, 31).Draw(t, "bit"), Article: "5-1", Basis: map[string]string{}, Label: text, Text: text,
		Categories:    rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 1, len(pool), rapid.ID[string]).Draw(t, "categories"),
		GPC:           rapid.SampledFrom([]string{"", "allow", "deny"}).Draw(t, "gpc"),
		Pseudonymised: rapid.Bool().Draw(t, "pseudonymised"),
	}
	p.Mappings.TCF = rapid.SampledFrom([][]string{nil, {"7"}, {"7", "9"}}).Draw(t, "tcf")
	p.Mappings.DPV = rapid.SampledFrom([]string{"", "Marketing", "CustomerCare"}).Draw(t, "dpv")
	for _, j := range d.Jurisdictions {
		p.Basis[j] = rapid.SampledFrom(bases).Draw(t, "basis")
	}
	return p
}

// drawDocument makes up a pack that has no fault.
func drawDocument(t *rapid.T) *document {
	d := furnished(t)
	d.Jurisdictions = rapid.SampledFrom([][]string{{"jp"}, {"jp", "eu"}, {"eu", Default}, {"jp", "eu", Default}}).Draw(t, "jurisdictions")
	d.Purposes, d.Processors, d.Recipients = nil, d.Processors[:0], d.Recipients[:0]
	for i, bit := range rapid.SliceOfNDistinct(rapid.Uint8Range(0, 31), 1, 6, rapid.ID[uint8]).Draw(t, "bits") {
		p := drawPurpose(t, d, "p"+strconv.Itoa(i))
		p.Bit = bit
		d.Purposes = append(d.Purposes, p)
	}
	for i := range d.Categories {
		d.Categories[i].RetentionDays = rapid.IntRange(1, 800).Draw(t, "days")
	}
	d.mend()
	return d
}

// mend puts right what follows from the purposes: which categories are accepted, and what the strictest basis is.
func (d *document) mend() {
	used := []string{"record", "pseudonym"}
	for i := range d.Purposes {
		p := &d.Purposes[i]
		used = append(used, p.Categories...)
		if !slices.Contains(d.Jurisdictions, Default) {
			continue
		}
		strictest := slices.MaxFunc(slices.Collect(maps.Values(p.Basis)), func(a, b string) int {
			return slices.Index(bases, a) - slices.Index(bases, b)
		})
		p.Basis[Default] = strictest
	}
	for i := range d.Categories {
		d.Categories[i].Ingest = "deny"
		if slices.Contains(used, d.Categories[i].ID) {
			d.Categories[i].Ingest = "accept"
		}
	}
}

// drawEdit changes something about a document, allowed or not.
func drawEdit(t *rapid.T, d *document) {
	at := rapid.IntRange(0, len(d.Purposes)-1).Draw(t, "at")
	p := &d.Purposes[at]
	switch rapid.SampledFrom([]string{"move", "move", "slip", "add", "remove", "basis", "category", "days", "gpc", "pseudonym", "text", "mappings"}).Draw(t, "edit") {
	case "move":
		p.Replaces, p.Bit = new(p.Bit), rapid.Uint8Range(0, 31).Draw(t, "bit")
		for _, j := range d.Jurisdictions {
			p.Basis[j] = "consent"
		}
	case "slip":
		p.Bit = rapid.Uint8Range(0, 31).Draw(t, "bit")
	case "add":
		id := "p" + strconv.Itoa(rapid.IntRange(0, 9).Draw(t, "id"))
		if !slices.ContainsFunc(d.Purposes, func(p purposeDocument) bool { return p.ID == id }) {
			added := drawPurpose(t, d, id)
			if rapid.Bool().Draw(t, "marked") {
				added.Replaces = new(rapid.Uint8Range(0, 31).Draw(t, "old"))
				for _, j := range d.Jurisdictions {
					added.Basis[j] = "consent"
				}
			}
			d.Purposes = append(d.Purposes, added)
		}
	case "remove":
		if len(d.Purposes) > 1 {
			d.Purposes = slices.Delete(d.Purposes, at, at+1)
		}
	case "basis":
		p.Basis[rapid.SampledFrom(d.Jurisdictions).Draw(t, "jurisdiction")] = rapid.SampledFrom(bases).Draw(t, "basis")
	case "category":
		c := rapid.SampledFrom(pool).Draw(t, "category")
		if i := slices.Index(p.Categories, c); i < 0 {
			p.Categories = append(p.Categories, c)
		} else if len(p.Categories) > 1 {
			p.Categories = slices.Delete(p.Categories, i, i+1)
		}
	case "days":
		d.Categories[rapid.IntRange(0, len(d.Categories)-1).Draw(t, "category")].RetentionDays = rapid.IntRange(1, 800).Draw(t, "days")
	case "gpc":
		p.GPC = rapid.SampledFrom([]string{"", "allow", "deny"}).Draw(t, "gpc")
	case "pseudonym":
		p.Pseudonymised = !p.Pseudonymised
	case "text":
		p.Text = Text{"ja": p.Text["ja"] + "。", "en": p.Text["en"] + "."}
	case "mappings":
		p.Mappings.TCF = rapid.SampledFrom([][]string{nil, {"7"}, {"7", "9"}}).Draw(t, "tcf")
	}
	d.mend()
}

func (d *document) copy(t fataler) *document {
	t.Helper()
	var c document
	if err := json.Unmarshal(encoded(t, d), &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestAPackDoesNotDifferFromItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t)
		a, b := parsed(t, d), parsed(t, d.copy(t))
		if diff := Compare(a, b); len(diff.Changes) != 0 || diff.Class != "" || len(diff.Reopens) != 0 {
			t.Fatalf("it changes: %v", diff.Changes)
		}
		if diff := Compare(a, written(t, a)); len(diff.Changes) != 0 {
			t.Fatalf("it changes when printed: %v", diff.Changes)
		}
	})
}

func TestNoChangeGoesUnseen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t)
		e := d.copy(t)
		for range rapid.IntRange(1, 3).Draw(t, "edits") {
			drawEdit(t, e)
		}
		b, err := Parse(encoded(t, e))
		if err != nil {
			return // not a pack
		}
		a := parsed(t, d)
		normal := func(d *document) string { // without what is no change: the mark of a move, an order, a default written out
			n := d.copy(t)
			for i := range n.Purposes {
				p := &n.Purposes[i]
				p.Replaces = nil
				slices.Sort(p.Categories)
				if p.GPC == "allow" {
					p.GPC = ""
				}
			}
			slices.SortFunc(n.Purposes, func(a, b purposeDocument) int { return int(a.Bit) - int(b.Bit) })
			return string(encoded(t, n))
		}
		if same := normal(d) == normal(e); same != (len(Compare(a, b).Changes) == 0) {
			t.Fatalf("the documents are the same: %v; the changes: %v", same, Compare(a, b).Changes)
		}
	})
}

// chronicle publishes whatever is drawn and is accepted, on top of a first version.
func chronicle(t *rapid.T) []*Pack {
	d := drawDocument(t)
	later("2020-01-01", Initial)(d)
	versions := []*Pack{parsed(t, d)}
	day := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for range rapid.IntRange(1, 8).Draw(t, "publications") {
		next := d.copy(t)
		for i := range next.Purposes {
			if rapid.IntRange(0, 9).Draw(t, "keep the mark") > 0 {
				next.Purposes[i].Replaces = nil
			}
		}
		for range rapid.IntRange(1, 2).Draw(t, "edits") {
			drawEdit(t, next)
		}
		day = day.AddDate(0, 0, 1)
		next.EffectiveFrom = day.Format(time.DateOnly)
		next.Change = Related
		if slices.ContainsFunc(next.Purposes, func(p purposeDocument) bool { return p.Replaces != nil }) {
			next.Change = Unrelated
		}
		if rapid.IntRange(0, 9).Draw(t, "misdeclare") == 0 {
			next.Change = rapid.SampledFrom([]Class{Editorial, Related, Unrelated, Initial}).Draw(t, "class")
		}
		pack, err := Parse(encoded(t, next))
		if err != nil || len(admit(versions, pack, day.AddDate(0, 0, -2))) > 0 {
			continue
		}
		d, versions = next, append(versions, pack)
	}
	return versions
}

func TestNoAcceptedHistoryUsesABitTwice(t *testing.T) {
	accepted, moved := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		versions := chronicle(t)
		accepted += len(versions) - 1
		for bit := range core.Purpose(core.MaxPurposes) {
			var owners []string
			for i, v := range versions {
				for _, p := range v.Purposes {
					if p.Bit != bit {
						continue
					}
					if !slices.Contains(owners, p.ID) {
						owners = append(owners, p.ID)
					}
					if i == 0 {
						continue
					}
					before, there := versions[i-1].Purpose(p.ID)
					if there && before.Bit == bit {
						continue
					}
					// It comes to the bit here: nobody ever had it, and the version says so when it comes from elsewhere.
					for _, w := range versions[:i] {
						for _, q := range w.Purposes {
							if q.Bit == bit {
								t.Fatalf("%s comes to bit %d of %s in %s", p.ID, bit, q.ID, w.Version)
							}
							if q.ID == p.ID && v.Change != Unrelated {
								t.Fatalf("%s moves to bit %d in a version that is %s", p.ID, bit, v.Change)
							}
						}
					}
					if there {
						moved++
					}
				}
			}
			if len(owners) > 1 {
				t.Fatalf("bit %d is of %v", bit, owners)
			}
		}
	})
	t.Logf("%d versions accepted, %d purposes moved", accepted, moved)
	if accepted == 0 || moved == 0 {
		t.Error("nothing was accepted or nothing moved: the test proves nothing")
	}
}

func TestAnOldGrantNeverPermitsAReplacedPurpose(t *testing.T) {
	replaced, stood := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		versions := chronicle(t)
		i := rapid.IntRange(0, len(versions)-1).Draw(t, "granted under")
		j := rapid.IntRange(i, len(versions)-1).Draw(t, "used under")
		then, now := versions[i], versions[j]
		subject := consent.Subject{}
		for _, p := range then.Purposes {
			subject[p.Bit] = consent.State{}.Grant(10)
		}
		for _, jurisdiction := range now.Jurisdictions {
			rules, _ := now.Rules(jurisdiction)
			for _, event := range core.EventTypes() {
				permitted := consent.Decide(rules, &consent.Inputs{Type: event, Time: 20, Subjects: []consent.Subject{subject}}).Purposes
				for _, p := range now.Purposes {
					old, known := then.Purpose(p.ID)
					switch {
					case p.Basis[jurisdiction] != core.Consent:
					case (!known || old.Bit != p.Bit) && permitted.Has(p.Bit):
						t.Fatalf("a grant under %s permits %s under %s", then.Version, p.ID, now.Version)
					case known && old.Bit != p.Bit:
						replaced++
					case known && p.Categories.Has(event.Category()):
						stood++
						if !permitted.Has(p.Bit) {
							t.Fatalf("the grant of %s does not stand from %s to %s", p.ID, then.Version, now.Version)
						}
					}
				}
			}
			// A row stored then is readable for what it was permitted for, and nothing of now took one of its bits over.
			if before, served := then.Rules(jurisdiction); served {
				row := consent.Decide(before, &consent.Inputs{Type: core.Operation, Time: 20, Subjects: []consent.Subject{subject}}).Purposes
				for _, p := range now.Purposes {
					if old, known := then.Purpose(p.ID); row.Has(p.Bit) && (!known || old.Bit != p.Bit) {
						t.Fatalf("a row of %s can be read for %s of %s", then.Version, p.ID, now.Version)
					}
				}
			}
		}
		// Nobody's consent is stretched from one version to the next.
		for k := 1; k <= j; k++ {
			for _, p := range versions[k].Purposes {
				old, known := versions[k-1].Purpose(p.ID)
				if known && old.Bit == p.Bit && old.needsConsent() && p.Categories&^old.Categories != 0 {
					t.Fatalf("%s uses more under %s than was agreed to", p.ID, versions[k].Version)
				}
			}
		}
	})
	t.Logf("%d decisions for replaced purposes, %d for purposes that stood", replaced, stood)
	if replaced == 0 || stood == 0 {
		t.Error("no purpose was replaced or none stood: the test proves nothing")
	}
}
