package policy

import (
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/core"
)

func TestWhoMayBeSentSomething(t *testing.T) {
	p := parsed(t, furnished(t, func(d *document) { d.Processors[0].Reviewed, d.Processors[0].Expires = "2023-01-10", "2026-03-31" }))
	day := func(s string) time.Time {
		at, err := time.ParseInLocation(time.DateTime, s, p.Location)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for name, c := range map[string]struct {
		host string
		at   time.Time
		want string
	}{
		"a processor in force":                      {"api.mail.example", day("2025-01-01 00:00:00"), "mail_house"},
		"by any of its hosts, with port and case":   {"MAIL.example.:443", day("2025-01-01 00:00:00"), "mail_house"},
		"on the last second of its contract":        {"mail.example", day("2026-03-31 23:59:59"), "mail_house"},
		"not after it":                              {"mail.example", day("2026-04-01 00:00:00"), ""},
		"not before its checklist was gone through": {"mail.example", day("2023-01-09 23:59:59"), ""},
		"from then on":                              {"mail.example", day("2023-01-10 00:00:00"), "mail_house"},
		"a recipient by consent":                    {"pixel.ads.example", day("2025-01-01 00:00:00"), "ad_network"},
		"nobody before the policy is in force":      {"pixel.ads.example", day("2022-09-14 23:59:59"), ""},
		"not a host below a registered one":         {"evil.mail.example", day("2025-01-01 00:00:00"), ""},
		"not a host above one":                      {"example", day("2025-01-01 00:00:00"), ""},
		"not who is unregistered":                   {"other.example", day("2025-01-01 00:00:00"), ""},
		"not nobody":                                {"", day("2025-01-01 00:00:00"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			who, ok := p.Egress(c.host, c.at)
			if who.ID != c.want || ok != (c.want != "") {
				t.Errorf("got %q, %v; want %q", who.ID, ok, c.want)
			}
			if !ok && (who.Categories != 0 || who.Purposes != 0) {
				t.Errorf("a target that is none may get %b", who.Categories)
			}
		})
	}
	unsigned := parsed(t, furnished(t, func(d *document) { d.Processors[0].Contract.Date = "2023-02-01" }))
	if _, ok := unsigned.Egress("mail.example", day("2023-01-31 23:59:59")); ok {
		t.Error("a processor is sent something before its contract")
	}
	if _, ok := unsigned.Egress("mail.example", day("2023-02-01 00:00:00")); !ok {
		t.Error("a processor is sent nothing from its contract on")
	}
	mail, _ := p.Egress("mail.example", day("2025-01-01 00:00:00"))
	if want := core.SetOf(core.ContactName, core.ContactDetails, core.OperationLog); mail.Categories != want || !mail.Processor || mail.Ground != Entrustment {
		t.Errorf("the processor may be sent %+v", mail)
	}
	ads, _ := p.Egress("pixel.ads.example", day("2025-01-01 00:00:00"))
	if ads.Ground != ByConsent || ads.Processor || ads.Categories.Has(core.CookieID) {
		t.Errorf("the advertiser may be sent %+v", ads)
	}
	chat, _ := p.recipient("chat_sdk")
	if chat.Effective() != Entrustment {
		t.Errorf("the analytics module counts as %s", chat.Effective())
	}
}

func TestTheBuiltinPacksSendNothingToAnybodyElse(t *testing.T) {
	r, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.All() {
		if len(p.Processors) != 0 {
			t.Errorf("%s names processors", p.Version)
		}
		for _, x := range p.Recipients {
			if x.Kind != OwnTag || x.Ground != FirstParty || len(x.Hosts) != 0 {
				t.Errorf("%s sends to %s", p.Version, x.ID)
			}
		}
	}
}
