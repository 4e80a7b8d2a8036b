package transparency

import (
	"net/http"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas"
	"github.com/sekisho/sekisho/web/kit"
)

// hostile is what no text of a pack may do to a page.
const hostile = `</p><script>alert(1)</script><b onclick='x' id="y">&`

// pack is a policy pack as YAML reads it.
type pack map[string]any

func (p pack) list(key string) []any { return p[key].([]any) }

// element is one element of a list, by its id.
func (p pack) element(list, id string) pack {
	all := p.list(list)
	return all[slices.IndexFunc(all, func(x any) bool { return x.(pack)["id"] == id })].(pack)
}

// edited is the newest pack that ships, as another policy from another day on.
func edited(t testing.TB, id, day, change string, edits ...func(pack)) []byte {
	t.Helper()
	source, err := schemas.Policy.ReadFile("policy/default/2022-09-15.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := pack{}
	if err := yaml.Unmarshal(source, &p); err != nil {
		t.Fatal(err)
	}
	p["id"], p["effective_from"], p["change"] = id, day, change
	for _, edit := range edits {
		edit(p)
	}
	data, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// furnish adds two processors, an SDK by entrustment, an advertiser by consent and a data broker under a law.
func furnish(p pack) {
	both := func(ja, en string) pack { return pack{"ja": ja, "en": en} }
	p["processors"] = []any{
		pack{
			"id": "mail_house", "name": both("文箱メール株式会社", "Fubako Mail Inc."), "contract": pack{"reference": "C-17", "date": "2022-04-01"},
			"reviewed": "2022-08-01", "expires": "2040-03-31", "region": "JP", "categories": []any{"contact_name", "contact_details", "operation_log"},
			"purposes": []any{"service_information", "customer_support"}, "hosts": []any{"api.mail.example", "mail.example"},
		},
		pack{
			"id": "archive", "name": both("アーカイブ社", "Archive Ltd"), "contract": pack{"reference": "C-18", "date": "2022-04-01"},
			"reviewed": "2022-08-01", "expires": "2025-03-31", "region": "FR", "categories": []any{"operation_log"},
			"purposes": []any{"security_incident"}, "hosts": []any{"vault.archive.example"},
		},
	}
	p["recipients"] = append(p.list("recipients"), pack{
		"id": "chat_sdk", "kind": "sdk", "name": both("チャット窓口", "Chat desk"), "basis": "analytics_ad_module", "treated_as": "entrustment", "processor": "mail_house",
		"sent":     pack{"categories": []any{"operation_log"}, "text": both("画面上の操作と、入力した質問", "Operations on the page and the question typed")},
		"purposes": []any{"customer_support"},
		"use": pack{
			"operator":  both("お困りのときの案内", "Helping you when something does not work"),
			"recipient": both("当サイトの代わりに質問に答えること", "Answering questions on behalf of this site"),
		},
		"policy_url": "https://chat.example/privacy", "opt_out": pack{"text": both("チャット窓口を閉じると送られなくなります。", "Close the chat desk, and nothing is sent.")},
	}, pack{
		"id": "ad_network", "kind": "third_party", "name": both("広告網・オオギ", "Ogi advertising network"), "basis": "consent",
		"sent":     pack{"categories": []any{"ad_view_history"}, "text": both("見た広告の番号", "Numbers of the advertisements seen")},
		"purposes": []any{"marketing_use"},
		"use": pack{
			"operator":  both("広告の効果をはかること", "Measuring what advertisements achieve"),
			"recipient": both("広告料の計算", "Computing the price of advertisements"),
		},
		"policy_url": "https://ads.example/privacy", "opt_out": pack{"url": "https://ads.example/opt-out"}, "hosts": []any{"pixel.ads.example"},
	}, pack{
		"id": "authority", "kind": "third_party", "name": both("消費者安全庁", "Consumer safety agency"), "basis": "public_authority", "justification": "file 3",
		"sent":     pack{"categories": []any{"operation_log"}, "text": both("事故があったときの操作の記録", "Operations around an incident")},
		"purposes": []any{"security_incident"},
		"use": pack{
			"operator":  both("事故の調査への協力", "Helping to investigate incidents"),
			"recipient": both("事故の原因の調査", "Investigating the cause of incidents"),
		},
		"policy_url": "https://safety.example/privacy", "opt_out": pack{"text": both("止めることはできません。", "It cannot be stopped.")}, "hosts": []any{"intake.safety.example"},
	})
}

// rename makes the texts of a pack an attack.
func rename(p pack) {
	evil := pack{"ja": "悪" + hostile, "en": "evil" + hostile}
	p["title"] = evil
	for _, language := range kit.Languages() {
		p["notice"].(pack)[language].(pack)["reopen"] = hostile
	}
	for _, list := range []string{"purposes", "categories"} {
		for _, x := range p.list(list) {
			x.(pack)["label"], x.(pack)["article"] = evil, hostile
		}
	}
	for _, x := range append(p.list("processors"), p.list("recipients")...) {
		x.(pack)["name"] = evil
	}
	for _, x := range p.list("recipients") {
		x.(pack)["sent"].(pack)["text"], x.(pack)["use"], x.(pack)["opt_out"] = evil, pack{"operator": evil, "recipient": evil}, pack{"text": evil, "url": "https://evil.example/%22%3E%3Cscript%3E'"}
	}
}

const registered = `sites:
  - {id: shop, name: 峠茶屋, time_zone: Asia/Tokyo, jurisdiction: jp, policy: default, origins: ["https://shop.example"]}
  - {id: guild, name: 問屋, time_zone: Asia/Tokyo, jurisdiction: jp, policy: guild, origins: ["https://guild.example"]}
  - {id: laden, name: Laden, time_zone: Europe/Berlin, jurisdiction: eu, policy: guild, origins: ["https://laden.example"]}
  - {id: server, name: Server, time_zone: UTC, jurisdiction: default, policy: guild}
  - {id: elsewhere, name: Elsewhere, time_zone: UTC, jurisdiction: us, policy: guild}
  - {id: evil, name: "<script>alert(1)</script>", time_zone: UTC, jurisdiction: jp, policy: evil}
  - {id: early, name: Early, time_zone: UTC, jurisdiction: jp, policy: late}
  - {id: lost, name: Lost, time_zone: UTC, jurisdiction: jp, policy: nowhere}
`

// furnished are the policies that ship; "guild", with everything a policy can have: a related version announced, an
// unrelated one in force, and two before; "evil", whose texts attack; and "late", which is not in force yet.
func furnished(t testing.TB) (*policy.Register, *site.Registry) {
	t.Helper()
	moved := func(p pack) {
		purpose := p.element("purposes", "usage_based_development")
		purpose["replaces"], purpose["bit"] = 10, 13
		purpose["text"] = pack{"ja": "利用状況を仮名で分析し、ほかの会社の製品の改良にも使います。", "en": "Used, under a pseudonym, to improve the products of other companies too."}
	}
	stays := func(p pack) { p.element("purposes", "usage_based_development")["bit"] = 13 }
	shorter := func(p pack) {
		p["processors"] = p.list("processors")[:1] // the other has expired by then
		p.element("categories", "search_keyword")["retention_days"] = 90
		p.element("categories", "operation_log")["retention_days"] = 400
		p.element("purposes", "in_service_recommendation")["basis"] = pack{"jp": "consent", "eu": "consent", "default": "consent"}
	}
	fsys := fstest.MapFS{
		"guild/2022-09-15.yaml": {Data: edited(t, "guild", "2022-09-15", "initial", furnish, func(p pack) {
			p["processors"], p["recipients"] = p.list("processors")[:1], p.list("recipients")[:3]
		})},
		"guild/2023-04-01.yaml": {Data: edited(t, "guild", "2023-04-01", "unrelated", furnish, moved)},
		"guild/2024-10-01.yaml": {Data: edited(t, "guild", "2024-10-01", "editorial", furnish, stays, func(p pack) {
			p.element("purposes", "customer_support")["text"] = pack{"ja": "お困りのときに、操作の記録を見て原因を調べます。", "en": "Used to find the cause when you ask for help."}
		})},
		"guild/2027-04-01.yaml": {Data: edited(t, "guild", "2027-04-01", "related", furnish, stays, shorter)},
		"evil/2020-01-01.yaml":  {Data: edited(t, "evil", "2020-01-01", "initial", furnish)},
		"evil/2021-01-01.yaml":  {Data: edited(t, "evil", "2021-01-01", "unrelated", furnish, moved, rename)},
		"late/2030-01-01.yaml":  {Data: edited(t, "late", "2030-01-01", "initial")},
	}
	for _, day := range []string{"2019-10-15", "2022-09-15"} {
		source, err := schemas.Policy.ReadFile("policy/default/" + day + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		fsys["default/"+day+".yaml"] = &fstest.MapFile{Data: source}
	}
	policies, err := policy.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	sites, err := site.Parse([]byte(registered))
	if err != nil {
		t.Fatal(err)
	}
	return policies, sites
}

// today is when the fixture is looked at.
func today() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func handler(t testing.TB) http.Handler {
	t.Helper()
	policies, sites := furnished(t)
	return Handler(policies, sites, today)
}
