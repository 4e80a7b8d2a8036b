package policy

import (
	"encoding/json"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sekisho/sekisho/schemas"
)

// fataler is what a test, a fuzz target and a property have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// furnished is the built-in document with a processor, an SDK by entrustment and an advertiser by consent.
func furnished(t fataler, edits ...func(*document)) *document {
	t.Helper()
	source, err := schemas.Policy.ReadFile("policy/default/2022-09-15.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := yaml.Unmarshal(source, &d); err != nil {
		t.Fatal(err)
	}
	text := func(en string) Text { return Text{"ja": en + "（和文）", "en": en} }
	mail := processorDocument{
		ID: "mail_house", Name: text("Mail house"), Reviewed: "2022-08-01", Expires: "2040-03-31", Region: "JP",
		Categories: []string{"contact_name", "contact_details", "operation_log"}, Purposes: []string{"service_information", "customer_support"},
		Hosts: []string{"api.mail.example", "mail.example"},
	}
	mail.Contract.Reference, mail.Contract.Date = "C-17", "2022-04-01"
	chat := recipientDocument{
		ID: "chat_sdk", Kind: SDK, Name: text("Chat"), Basis: AnalyticsAdModule, TreatedAs: Entrustment, Processor: "mail_house",
		Purposes: []string{"customer_support"}, PolicyURL: "https://chat.example/privacy",
	}
	chat.Sent.Categories, chat.Sent.Text = []string{"operation_log"}, text("what is done on the page")
	chat.Use.Operator, chat.Use.Recipient, chat.OptOut.Text = text("support"), text("support on our behalf"), text("close the chat")
	ads := recipientDocument{
		ID: "ad_network", Kind: ThirdParty, Name: text("Advertiser"), Basis: ByConsent,
		Purposes: []string{"marketing_use"}, PolicyURL: "https://ads.example/privacy", Hosts: []string{"pixel.ads.example"},
	}
	ads.Sent.Categories, ads.Sent.Text = []string{"ad_view_history"}, text("which advertisements were seen")
	ads.Use.Operator, ads.Use.Recipient, ads.OptOut.URL = text("measuring"), text("billing"), "https://ads.example/opt-out"
	d.Processors = append(d.Processors, mail)
	d.Recipients = append(d.Recipients, chat, ads)
	for _, edit := range edits {
		edit(&d)
	}
	return &d
}

// later makes a document the version of a later day.
func later(day string, change Class) func(*document) {
	return func(d *document) { d.EffectiveFrom, d.Change = day, change }
}

// purpose edits one purpose of a document.
func purpose(id string, edit func(*purposeDocument)) func(*document) {
	return func(d *document) {
		i := slices.IndexFunc(d.Purposes, func(p purposeDocument) bool { return p.ID == id })
		edit(&d.Purposes[i])
	}
}

// category edits one category of a document.
func category(id string, edit func(*categoryDocument)) func(*document) {
	return func(d *document) {
		i := slices.IndexFunc(d.Categories, func(c categoryDocument) bool { return c.ID == id })
		edit(&d.Categories[i])
	}
}

// moves takes a purpose to another bit.
func moves(id string, bit uint8) func(*document) {
	return purpose(id, func(p *purposeDocument) { p.Replaces, p.Bit = new(p.Bit), bit })
}

// parsed reads a document that has to be without fault.
func parsed(t fataler, d *document) *Pack {
	t.Helper()
	p, err := Parse(encoded(t, d))
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return p
}

func encoded(t fataler, d *document) []byte {
	t.Helper()
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// written is a pack after it was printed and read again.
func written(t fataler, p *Pack) *Pack {
	t.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(data)
	if err != nil {
		t.Fatalf("read what was printed: %v", err)
	}
	return again
}

func TestAPackReadsWhatItPrints(t *testing.T) {
	r, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(r.All(), parsed(t, furnished(t))) {
		if d := Compare(p, written(t, p)); len(d.Changes) != 0 || d.Class != "" {
			t.Errorf("%s changes when printed: %v", p.Version, d.Changes)
		}
	}
}
