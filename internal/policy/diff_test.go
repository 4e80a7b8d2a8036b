package policy

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// every kind of change, made once and alone.
var changes = map[Kind]struct {
	edit  func(*document)
	place string
}{
	Wording: {func(d *document) { d.Title["en"] += "!" }, "/title"},
	TimeZone: {func(d *document) {
		d.TimeZone, d.Processors = "Asia/Seoul", d.Processors[:0]
		d.Recipients = d.Recipients[:0]
	}, "/time_zone"},
	ForeignName:      {purpose("customer_support", func(p *purposeDocument) { p.Mappings.DPV = "CustomerManagement" }), "/purposes/customer_support/mappings/dpv"},
	ProcessorRecord:  {func(d *document) { d.Processors[0].Reviewed = "2022-09-01" }, "/processors/mail_house"},
	PurposeRemoved:   {func(d *document) { d.Purposes = append(d.Purposes[:11:11], d.Purposes[12]) }, "/purposes/research_invitation"},
	CategoryRemoved:  {purpose("marketing_use", func(p *purposeDocument) { p.Categories = p.Categories[:11:11] }), "/purposes/marketing_use/categories/establishment_number"},
	BasisStricter:    {purpose("in_service_recommendation", func(p *purposeDocument) { p.Basis["jp"] = "consent" }), "/purposes/in_service_recommendation/basis/jp"},
	GPCDenied:        {purpose("research_invitation", func(p *purposeDocument) { p.GPC = "deny" }), "/purposes/research_invitation/gpc"},
	Pseudonymised:    {purpose("customer_support", func(p *purposeDocument) { p.Pseudonymised = true }), "/purposes/customer_support/pseudonymised"},
	RetentionShorter: {category("search_keyword", func(c *categoryDocument) { c.RetentionDays = 30 }), "/categories/search_keyword/retention_days"},
	JurisdictionGone: {without("eu"), "/jurisdictions/eu"},
	ProcessorNarrow:  {func(d *document) { d.Processors[0].Hosts = d.Processors[0].Hosts[:1] }, "/processors/mail_house"},
	RecipientRemoved: {func(d *document) { d.Recipients = d.Recipients[:2:2] }, "/recipients/ad_network"},
	PurposeAdded: {func(d *document) {
		d.Purposes = append(d.Purposes, d.Purposes[2])
		d.Purposes[13].ID, d.Purposes[13].Bit = "gift_catalogue", 13
	}, "/purposes/gift_catalogue"},
	CategoryAdded:     {purpose("customer_support", func(p *purposeDocument) { p.Categories = append(p.Categories, "usage_time") }), "/purposes/customer_support/categories/usage_time"},
	BasisOptOut:       {purpose("behavioral_personalization", func(p *purposeDocument) { p.Basis["jp"] = "opt_out" }), "/purposes/behavioral_personalization/basis/jp"},
	GPCAllowed:        {purpose("marketing_use", func(p *purposeDocument) { p.GPC = "allow" }), "/purposes/marketing_use/gpc"},
	ParentChanged:     {purpose("marketing_use", func(p *purposeDocument) { p.Parent = "" }), "/purposes/marketing_use/parent"},
	TCFChanged:        {purpose("marketing_use", func(p *purposeDocument) { p.Mappings.TCF = []string{"7"} }), "/purposes/marketing_use/mappings/tcf"},
	RetentionLonger:   {category("search_keyword", func(c *categoryDocument) { c.RetentionDays = 400 }), "/categories/search_keyword/retention_days"},
	SensitivityChange: {category("search_keyword", func(c *categoryDocument) { c.Class = "personal" }), "/categories/search_keyword/class"},
	ProcessorAdded: {func(d *document) {
		d.Processors = append(d.Processors, d.Processors[0])
		d.Processors[1].ID, d.Processors[1].Hosts = "print_house", []string{"print.example"}
	}, "/processors/print_house"},
	ProcessorWidened: {func(d *document) { d.Processors[0].Expires = "2041-01-01" }, "/processors/mail_house"},
	RecipientAdded: {func(d *document) {
		d.Recipients = append(d.Recipients, d.Recipients[1])
		d.Recipients[3].ID = "voice_sdk"
	}, "/recipients/voice_sdk"},
	RecipientWidened:  {func(d *document) { d.Recipients[2].Hosts = []string{"pixel.ads.example", "pixel2.ads.example"} }, "/recipients/ad_network"},
	PurposeReplaced:   {func(d *document) { d.Change = Unrelated; moves("research_invitation", 13)(d) }, "/purposes/research_invitation"},
	ConsentStretched:  {purpose("behavioral_personalization", func(p *purposeDocument) { p.Categories = append(p.Categories, "device_id") }), "/purposes/behavioral_personalization/categories/device_id"},
	ChoiceRemoved:     {purpose("in_service_recommendation", func(p *purposeDocument) { p.Basis["jp"] = "notified" }), "/purposes/in_service_recommendation/basis/jp"},
	PseudonymRemoved:  {purpose("marketing_use", func(p *purposeDocument) { p.Pseudonymised = false }), "/purposes/marketing_use/pseudonymised"},
	RecipientUnagreed: {func(d *document) { d.Recipients[2].Sent.Categories = []string{"ad_view_history", "search_keyword"} }, "/recipients/ad_network/purposes/marketing_use"},
}

// without takes a jurisdiction out.
func without(jurisdiction string) func(*document) {
	return func(d *document) {
		d.Jurisdictions = slices.DeleteFunc(slices.Clone(d.Jurisdictions), func(j string) bool { return j == jurisdiction })
		for i := range d.Purposes {
			delete(d.Purposes[i].Basis, jurisdiction)
		}
	}
}

// undone are the kinds that are another one backwards, and those that never come alone.
var undone = map[Kind]Kind{
	JurisdictionAdded: JurisdictionGone, ProcessorRemoved: ProcessorAdded,
}

func TestEveryKindOfChangeHasItsClass(t *testing.T) {
	base := func() *document {
		return furnished(t, func(d *document) {
			d.Recipients[1].Sent.Categories = []string{"operation_log"}
			d.Purposes[2].GPC = "deny"
		})
	}
	for kind, c := range changes {
		t.Run(string(kind), func(t *testing.T) {
			edited := base()
			c.edit(edited)
			a := base()
			if kind == TimeZone { // whose dates of processors would move along
				a.Processors, a.Recipients = a.Processors[:0], a.Recipients[:0]
			}
			diff := Compare(parsed(t, a), parsed(t, edited))
			if len(diff.Changes) != 1 {
				t.Fatalf("%d changes: %v", len(diff.Changes), diff.Changes)
			}
			got := diff.Changes[0]
			if got.Kind != kind || got.Place != c.place {
				t.Errorf("%s at %s, want %s at %s", got.Kind, got.Place, kind, c.place)
			}
			if got.Class != rules[kind].class || diff.Class != got.Class {
				t.Errorf("class %s in a diff of class %s", got.Class, diff.Class)
			}
			for _, language := range []string{"ja", "en"} {
				if strings.ContainsAny(got.What[language], "{}") || got.What[language] == "" || got.Stored[language] == "" || got.Consents[language] == "" {
					t.Errorf("%s: %q, %q, %q", language, got.What[language], got.Stored[language], got.Consents[language])
				}
			}
			if reopens := slices.Contains(diff.Reopens, "research_invitation"); reopens != (kind == PurposeReplaced) || len(diff.Reopens) > 1 {
				t.Errorf("reopens %v", diff.Reopens)
			}
		})
	}
	for kind, reverse := range undone {
		edited := base()
		changes[reverse].edit(edited)
		if diff := Compare(parsed(t, edited), parsed(t, base())); len(diff.Changes) != 1 || diff.Changes[0].Kind != kind {
			t.Errorf("%s backwards is %v", reverse, diff.Changes)
		}
	}
}

func TestChangesThatComeTogether(t *testing.T) {
	kinds := func(d *Diff) (all []Kind) {
		for _, c := range d.Changes {
			all = append(all, c.Kind)
		}
		return all
	}
	unused := func(d *document) { // partner payments are of no purpose any more
		purpose("contract_management", func(p *purposeDocument) {
			p.Categories = slices.DeleteFunc(p.Categories, func(c string) bool { return c == "partner_payment" })
		})(d)
		category("partner_payment", func(c *categoryDocument) { c.Ingest = "deny" })(d)
	}
	whole, less := parsed(t, furnished(t)), parsed(t, furnished(t, unused))
	if got := kinds(Compare(whole, less)); !slices.Equal(got, []Kind{CategoryRemoved, IngestDenied}) {
		t.Errorf("giving a category up: %v", got)
	}
	if got := kinds(Compare(less, whole)); !slices.Equal(got, []Kind{CategoryAdded, IngestAccepted}) {
		t.Errorf("taking a category up: %v", got)
	}

	// What was stored by consent is not opened by giving consent up.
	lax := purpose("behavioral_personalization", func(p *purposeDocument) {
		p.Categories = append(p.Categories, "device_id")
		for j := range p.Basis {
			p.Basis[j] = "opt_out"
		}
	})
	if got := kinds(Compare(whole, parsed(t, furnished(t, lax)))); !slices.Equal(got, []Kind{BasisOptOut, BasisOptOut, BasisOptOut, ConsentStretched}) {
		t.Errorf("a category more and consent given up: %v", got)
	}

	// A recipient by consent may get a purpose in the version that asks for it anew.
	wide := func(d *document) {
		d.Recipients[2].Purposes = append(d.Recipients[2].Purposes, "development_marketing")
	}
	if got := kinds(Compare(whole, parsed(t, furnished(t, wide)))); !slices.Equal(got, []Kind{RecipientUnagreed}) {
		t.Errorf("a purpose more for a recipient: %v", got)
	}
	asked := parsed(t, furnished(t, wide, func(d *document) { d.Change = Unrelated }, moves("development_marketing", 13)))
	if got := kinds(Compare(whole, asked)); !slices.Equal(got, []Kind{PurposeReplaced, RecipientWidened}) {
		t.Errorf("a purpose more that is asked for anew: %v", got)
	}
	narrow := parsed(t, furnished(t, func(d *document) { d.Recipients[2].Hosts = append(d.Recipients[2].Hosts, "pixel2.ads.example") }))
	if got := kinds(Compare(narrow, whole)); !slices.Equal(got, []Kind{RecipientNarrow}) {
		t.Errorf("a host less: %v", got)
	}
	// Who is entrusted goes on when a purpose moves.
	moved := parsed(t, furnished(t, func(d *document) { d.Change = Unrelated }, moves("marketing_use", 13)))
	if got := kinds(Compare(whole, moved)); !slices.Equal(got, []Kind{PurposeReplaced}) {
		t.Errorf("moving a purpose with recipients: %v", got)
	}
	consented := func(d *document) { // an entrusted recipient becomes one by consent
		d.Recipients[1].Basis, d.Recipients[1].TreatedAs, d.Recipients[1].Processor = ByConsent, "", ""
		d.Recipients[1].Hosts, d.Recipients[1].Purposes = []string{"chat.example"}, []string{"marketing_use"}
	}
	if got := Compare(whole, parsed(t, furnished(t, consented))).Class; got != Unrelated {
		t.Errorf("a new recipient by consent is %s", got)
	}
}

func TestTheDecisionRecordTellsEveryKindWithItsClass(t *testing.T) {
	record, err := os.ReadFile("../../docs/adr/0006-purpose-identity.md")
	if err != nil {
		t.Fatal(err)
	}
	tested := map[Kind]bool{IngestDenied: true, IngestAccepted: true, RecipientNarrow: true} // in TestChangesThatComeTogether
	for kind := range changes {
		tested[kind] = true
	}
	for kind := range undone {
		tested[kind] = true
	}
	for kind, r := range rules {
		if !tested[kind] {
			t.Errorf("no test makes %s", kind)
		}
		if !strings.Contains(string(record), "`"+string(kind)+"` | "+string(r.class)+" |") {
			t.Errorf("the record does not say that %s is %s", kind, r.class)
		}
	}
}
