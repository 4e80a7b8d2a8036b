package policy

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sekisho/sekisho/schemas"
)

func TestARuleThatIsBrokenIsNamedWithItsPlace(t *testing.T) {
	chat := func(edit func(*recipientDocument)) func(*document) {
		return func(d *document) { edit(&d.Recipients[1]) }
	}
	ads := func(edit func(*recipientDocument)) func(*document) {
		return func(d *document) { edit(&d.Recipients[2]) }
	}
	mail := func(edit func(*processorDocument)) func(*document) {
		return func(d *document) { edit(&d.Processors[0]) }
	}
	for name, c := range map[string]struct {
		edit           func(*document)
		place, problem string
	}{
		"a default laxer than another jurisdiction": {
			purpose("in_service_recommendation", func(p *purposeDocument) { p.Basis[Default] = "opt_out" }),
			"/purposes/3/basis/default", "consent in eu is stricter than opt_out in default",
		},
		"a basis where the pack names no jurisdiction": {
			purpose("customer_support", func(p *purposeDocument) { p.Basis["uk"] = "consent" }),
			"/purposes/1/basis/uk", "does not name jurisdiction uk",
		},
		"a purpose named twice": {
			func(d *document) { d.Purposes[1].ID = d.Purposes[0].ID }, "/purposes/1/id", "named twice",
		},
		"a parent that is no purpose": {
			purpose("marketing_use", func(p *purposeDocument) { p.Parent = "nothing" }), "/purposes/9/parent", "is no purpose",
		},
		"a purpose that is its own parent": {
			purpose("marketing_use", func(p *purposeDocument) { p.Parent = "marketing_use" }), "/purposes/9/parent", "one level",
		},
		"a child that uses more than its parent": {
			purpose("marketing_use", func(p *purposeDocument) { p.Categories = append(p.Categories, "device_id") }),
			"/purposes/9/categories", "a category that its parent development_marketing does not",
		},
		"a bit that moves without an unrelated change": {
			moves("service_information", 20), "/purposes/2/replaces", "only an unrelated change moves a bit",
		},
		"a replaced purpose that asks nobody": {
			func(d *document) {
				d.Change = Unrelated
				moves("in_service_recommendation", 20)(d)
			}, "/purposes/3/basis/jp", "needs fresh consent in jp",
		},
		"an unrelated change that moves nothing": {
			func(d *document) { d.Change = Unrelated }, "/change", "nobody would be asked again",
		},
		"a purpose unknown to DPV": {
			purpose("customer_support", func(p *purposeDocument) { p.Mappings.DPV = "CustomerCuddling" }),
			"/purposes/1/mappings/dpv", "no purpose of DPV",
		},
		"a use unknown to Fideslang": {
			purpose("customer_support", func(p *purposeDocument) { p.Mappings.Fideslang = "essential.cuddling" }),
			"/purposes/1/mappings/fideslang", "no data use of Fideslang",
		},
		"a TCF purpose that does not exist": {
			purpose("customer_support", func(p *purposeDocument) { p.Mappings.TCF = []string{"12"} }), "/purposes/1/mappings/tcf/0", "",
		},
		"a My Number that is accepted": {
			category("individual_number", func(c *categoryDocument) { c.Ingest = "accept" }), "/categories/24/ingest", "no purpose may use it, so ingest must be deny",
		},
		"a category that is accepted for no purpose": {
			func(d *document) {
				for i := range d.Purposes {
					d.Purposes[i].Categories = slices.DeleteFunc(d.Purposes[i].Categories, func(c string) bool { return c == "search_keyword" })
				}
				d.Recipients = d.Recipients[:0]
			}, "/categories/4/ingest", "category search_keyword: no purpose uses it",
		},
		"a category that is denied and used": {
			category("operation_log", func(c *categoryDocument) { c.Ingest = "deny" }), "/categories/0/ingest", "is denied, but a purpose uses it",
		},
		"a category that is unknown": {
			category("operation_log", func(c *categoryDocument) { c.ID = "shoe_size" }), "/categories/0/id", "not a known category",
		},
		"a category named twice": {
			category("operation_log", func(c *categoryDocument) { c.ID = "purchased_item" }), "/categories/1/id", "named twice",
		},
		"a time zone that depends on the machine": {func(d *document) { d.TimeZone = "Local" }, "/time_zone", "not a time zone by name"},
		"a text of blanks":                        {func(d *document) { d.Title["ja"] = " " }, "/title/ja", ""},

		"a processor without a contract":     {mail(func(p *processorDocument) { p.Contract.Reference = "" }), "/processors/0/contract/reference", ""},
		"a processor without a checklist":    {mail(func(p *processorDocument) { p.Reviewed = "" }), "/processors/0/reviewed", ""},
		"a processor without an expiry":      {mail(func(p *processorDocument) { p.Expires = "" }), "/processors/0/expires", ""},
		"a processor without a region":       {mail(func(p *processorDocument) { p.Region = "" }), "/processors/0/region", ""},
		"a processor that has expired":       {mail(func(p *processorDocument) { p.Expires = "2022-09-14" }), "/processors/0/expires", "has expired when the pack takes effect"},
		"a contract after its expiry":        {mail(func(p *processorDocument) { p.Contract.Date = "2041-01-01" }), "/processors/0/expires", "expires before its contract"},
		"a processor given employees":        {mail(func(p *processorDocument) { p.Categories[0] = "employee_name" }), "/processors/0/categories/0", "no purpose may use category employee_name"},
		"a processor given what none needs":  {mail(func(p *processorDocument) { p.Categories[0] = "search_keyword" }), "/processors/0/categories", "none of its purposes uses"},
		"a processor for an unknown purpose": {mail(func(p *processorDocument) { p.Purposes[0] = "nothing" }), "/processors/0/purposes/0", "no purpose of the pack"},
		"a processor without hosts":          {mail(func(p *processorDocument) { p.Hosts = nil }), "/processors/0/hosts", ""},
		"a host that is a pattern":           {mail(func(p *processorDocument) { p.Hosts[0] = "*.mail.example" }), "/processors/0/hosts/0", ""},
		"a host with two owners":             {ads(func(r *recipientDocument) { r.Hosts[0] = "mail.example" }), "/recipients/2/hosts/0", "host mail.example is named by processor mail_house"},
		"two of one name":                    {ads(func(r *recipientDocument) { r.ID = "mail_house" }), "/recipients/2/id", "named twice"},
		"a recipient without its policy":     {ads(func(r *recipientDocument) { r.PolicyURL = "" }), "/recipients/2", "no policy_url"},
		"a recipient without a way out":      {ads(func(r *recipientDocument) { r.OptOut.URL = "" }), "/recipients/2/opt_out", ""},
		"a recipient without hosts":          {ads(func(r *recipientDocument) { r.Hosts = nil }), "/recipients/2", "no hosts"},
		"a recipient that does not say what": {ads(func(r *recipientDocument) { r.Sent.Text = nil }), "/recipients/2/sent/text", ""},
		"a recipient that does not say why":  {ads(func(r *recipientDocument) { r.Use.Recipient = nil }), "/recipients/2/use/recipient", ""},
		"a recipient sent what none needs":   {ads(func(r *recipientDocument) { r.Sent.Categories[0] = "device_id" }), "/recipients/2/sent/categories", "none of its purposes uses"},
		"a third party called first party":   {ads(func(r *recipientDocument) { r.Basis = FirstParty }), "/recipients/2/basis", "of own tags and of nothing else"},
		"an exception without justification": {ads(func(r *recipientDocument) { r.Basis = PublicAuthority }), "/recipients/2", "no justification for public_authority"},
		"consent for a purpose without it": {ads(func(r *recipientDocument) {
			r.Purposes, r.Sent.Categories = []string{"customer_support"}, []string{"operation_log"}
		}), "/recipients/2/purposes", "purpose customer_support does not rest on consent in jp"},
		"an entrustment to nobody registered": {chat(func(r *recipientDocument) { r.Processor = "somebody" }), "/recipients/1", "needs a registered processor"},
		"an entrustment of more":              {chat(func(r *recipientDocument) { r.Sent.Categories[0] = "usage_environment" }), "/recipients/1/processor", "more than processor mail_house is entrusted with"},
		"an entrustment with hosts":           {chat(func(r *recipientDocument) { r.Hosts = []string{"chat.example"} }), "/recipients/1/hosts", "its hosts are its processor's"},
		"an analytics module as an exception": {chat(func(r *recipientDocument) { r.TreatedAs = "" }), "/recipients/1", "which the law does not exempt"},
		"a processor without entrustment":     {ads(func(r *recipientDocument) { r.Processor = "mail_house" }), "/recipients/2/processor", "no entrustment"},
		"an emergency with easy consent": {
			ads(func(r *recipientDocument) { r.Basis, r.Justification = VitalInterest, "J-1" }),
			"/recipients/2", "vital_interest needs consent_difficult",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(encoded(t, furnished(t, c.edit)))
			ok := slices.ContainsFunc(Faults(err), func(f *Fault) bool {
				return f.Place == c.place && strings.Contains(f.Problem, c.problem)
			})
			if !ok {
				t.Errorf("no fault at %s that says %q: %v", c.place, c.problem, err)
			}
		})
	}
}

func TestEveryFaultIsToldAtOnceWithFileAndLine(t *testing.T) {
	good, err := schemas.Policy.ReadFile("policy/default/2022-09-15.yaml")
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.NewReplacer(
		"basis: {jp: opt_out, eu: consent", "basis: {eu: consent",
		"id: cookie_id, article: \"4-2\", class: user_info, retention_days: 7", "id: cookie_id, article: \"4-2\", class: user_info, retention_days: 7, ingest: deny",
	).Replace(string(good))
	faults := Check(fstest.MapFS{
		"default/2022-09-15.yaml": {Data: []byte(bad)},
		"other/2020-01-01.yaml":   {Data: []byte("id: [")},
	})
	var all []string
	for _, f := range faults {
		all = append(all, f.Error())
	}
	line := func(text string) int {
		before, _, _ := strings.Cut(bad, text)
		return strings.Count(before, "\n") + 1
	}
	for _, want := range []Fault{
		{File: "default/2022-09-15.yaml", Line: line("basis: {eu: consent"), Place: "/purposes/3/basis", Problem: "purpose in_service_recommendation: no basis in jurisdiction jp"},
		{File: "default/2022-09-15.yaml", Line: line("{id: cookie_id"), Place: "/categories/9/ingest", Problem: "category cookie_id: is denied, but a purpose uses it"},
	} {
		if !slices.Contains(all, want.Error()) {
			t.Errorf("%q is not among %q", want.Error(), all)
		}
	}
	if !slices.ContainsFunc(all, func(f string) bool { return strings.HasPrefix(f, "other/2020-01-01.yaml: not YAML") }) {
		t.Errorf("the second file is not told: %q", all)
	}
	if _, err := Load(fstest.MapFS{}); err == nil {
		t.Error("a directory without packs loads")
	}
}

func TestAPackIsOneDocumentOfBoundedLength(t *testing.T) {
	good := encoded(t, furnished(t))
	for want, data := range map[string][]byte{
		"more follows the first": append(slices.Clone(good), "\n---\nid: other\n"...),
		"longer than":            append(slices.Clone(good), strings.Repeat(" ", maxPack)...),
		"not YAML":               nil,
	} {
		if _, err := Parse(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestTheBuiltinPacksHaveNoFault(t *testing.T) {
	packs, err := BuiltinFS()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Check(packs) {
		t.Error(f)
	}
	if len(Check(fstest.MapFS{"default/readme.txt": {}})) != 1 {
		t.Error("nothing to check is not a fault")
	}
}
