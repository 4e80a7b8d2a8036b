package transparency

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/html"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/web/kit"
	"github.com/sekisho/sekisho/web/kit/kittest"
	"github.com/sekisho/sekisho/web/sample"
)

// lacking are the items of recipients and egress hosts that a page does not show in its language: what is sent, to
// whom, for what on both sides, why, how to stop it, and every host (Telecommunications Business Act, Art. 27-12).
func lacking(doc *html.Node, pack *policy.Pack, language string) (all []string) {
	hold := func(who, place string, items map[string]string) {
		card := kittest.ByID(doc, place)
		said := kittest.Text(card)
		for _, n := range kittest.Elements(doc, "a") { // an address is an item too, and has to be one that can be followed
			for p := n.Parent; p != nil; p = p.Parent {
				if p == card {
					said += " " + kittest.Attr(n, "href")
				}
			}
		}
		for item, want := range items {
			if strings.TrimSpace(want) == "" || !strings.Contains(said, flat(want)) {
				all = append(all, fmt.Sprintf("%s lacks %s", who, item))
			}
		}
	}
	categories := func(set core.CategorySet, items map[string]string) {
		for _, c := range pack.Categories {
			if set.Has(c.Category) {
				items["category "+c.Category.String()] = c.Label[language]
			}
		}
	}
	purposes := func(set core.PurposeSet, items map[string]string) {
		for i := range pack.Purposes {
			if p := &pack.Purposes[i]; set.Has(p.Bit) {
				items["purpose "+p.ID] = p.Label[language]
			}
		}
	}
	hosts := func(hosts []string, items map[string]string) {
		for _, host := range hosts {
			items["host "+host] = host
		}
	}
	for i := range pack.Recipients {
		r := &pack.Recipients[i]
		items := map[string]string{
			"who receives it": r.Name[language], "what is sent": r.SentText[language],
			"what the operator uses it for": r.OperatorUse[language], "what the recipient uses it for": r.RecipientUse[language],
		}
		if r.OptOutText[language] != "" || r.OptOutURL == "" {
			items["how to stop it"] = r.OptOutText[language]
		}
		if r.OptOutURL != "" {
			items["where to stop it"] = r.OptOutURL
		}
		if r.Kind != policy.OwnTag {
			items["the policy of the recipient"] = r.PolicyURL
		}
		if x, ok := pack.Processor(r.Processor); ok {
			items["the processor"] = x.Name[language]
			hosts(x.Hosts, items)
		}
		categories(r.Sent, items)
		purposes(r.Purposes, items)
		hosts(r.Hosts, items)
		hold("recipient "+r.ID, "recipient-"+r.ID, items)
	}
	for i := range pack.Processors {
		x := &pack.Processors[i]
		items := map[string]string{"who receives it": x.Name[language]}
		categories(x.Categories, items)
		purposes(x.Purposes, items)
		hosts(x.Hosts, items)
		hold("processor "+x.ID, "processor-"+x.ID, items)
	}
	slices.Sort(all)
	return all
}

// TestNoRecipientAndNoHostOfABuiltinPackLacksAnItem is the build check of the notice of external transmissions: it
// fails when a pack that ships sends something to somebody, or somewhere, of whom the pages do not say everything in
// both languages.
func TestNoRecipientAndNoHostOfABuiltinPackLacksAnItem(t *testing.T) {
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, pack := range policies.All() {
		sites, err := site.Parse(fmt.Appendf(nil, "sites: [{id: s, name: S, time_zone: Asia/Tokyo, jurisdiction: jp, policy: %s}]", pack.ID))
		if err != nil {
			t.Fatal(err)
		}
		h := Handler(policies, sites, pack.EffectiveFrom.UTC)
		for _, language := range kit.Languages() {
			for _, page := range []string{"", "transmission"} {
				for _, lack := range lacking(kittest.Read(t, h, Prefix+"s/"+language+"/"+page), pack, language) {
					t.Errorf("%s, %s %q: %s", pack.Version, language, page, lack)
				}
			}
		}
		checkOwnTags(t, pack)
	}
}

// checkOwnTags: the site's own tag is a tag too. Its items cover every event that it can send, and what identifies.
func checkOwnTags(t *testing.T, pack *policy.Pack) {
	t.Helper()
	sent := core.CategorySet(0)
	for _, r := range pack.Recipients {
		if r.Kind == policy.OwnTag {
			sent = sent.Union(r.Sent)
		}
	}
	wanted := core.SetOf(core.UsageEnvironment, core.UsageTime, core.UsageMethod, core.IPAddress, core.CookieID, core.DeviceID)
	for _, e := range core.EventTypes() {
		wanted = wanted.Union(core.SetOf(e.Category()))
	}
	for _, c := range core.Categories() {
		if wanted.Has(c) && !sent.Has(c) {
			t.Errorf("%s: the tracker sends %s, and no own tag says so", pack.Version, c)
		}
	}
}

func TestEveryItemOfARecipientIsVisible(t *testing.T) {
	h := handler(t)
	policies, _ := furnished(t)
	for _, c := range []struct{ target, version string }{
		{"shop", "default/2022-09-15"}, {"guild", "guild/2024-10-01"}, {"laden", "guild/2024-10-01"}, {"evil", "evil/2021-01-01"},
	} {
		pack, ok := policies.Version(c.version)
		if !ok {
			t.Fatal(c.version)
		}
		for _, language := range kit.Languages() {
			for _, page := range []string{"", "transmission"} {
				for _, lack := range lacking(kittest.Read(t, h, Prefix+c.target+"/"+language+"/"+page), pack, language) {
					t.Errorf("%s/%s/%s: %s", c.target, language, page, lack)
				}
			}
		}
	}
}

// TestTheCheckSeesWhatIsLacking takes each item from the page, and the check names it.
func TestTheCheckSeesWhatIsLacking(t *testing.T) {
	policies, _ := furnished(t)
	pack, _ := policies.Version("guild/2024-10-01")
	body := kittest.Get(handler(t), Prefix+"guild/en/transmission").Body.String()
	for gone, want := range map[string]string{
		"Ogi advertising network":          "recipient ad_network lacks who receives it",
		"Numbers of the advertisements":    "recipient ad_network lacks what is sent",
		"Measuring what advertisements":    "recipient ad_network lacks what the operator uses it for",
		"Computing the price":              "recipient ad_network lacks what the recipient uses it for",
		"https://ads.example/opt-out":      "recipient ad_network lacks where to stop it",
		"https://ads.example/privacy":      "recipient ad_network lacks the policy of the recipient",
		"pixel.ads.example":                "recipient ad_network lacks host pixel.ads.example",
		"Close the chat desk":              "recipient chat_sdk lacks how to stop it",
		"Fubako Mail Inc.":                 "processor mail_house lacks who receives it; recipient chat_sdk lacks the processor",
		"vault.archive.example":            "processor archive lacks host vault.archive.example",
		`id="recipient-authority"`:         "recipient authority lacks what is sent",
		"Security and incident investigat": "processor archive lacks purpose security_incident",
		"Advertisements viewed":            "recipient ad_network lacks category ad_view_history",
	} {
		if !strings.Contains(body, gone) {
			t.Fatalf("the page does not hold %q", gone)
		}
		got := strings.Join(lacking(kittest.Parse(t, strings.ReplaceAll(body, gone, "")), pack, "en"), "; ")
		for w := range strings.SplitSeq(want, "; ") {
			if !strings.Contains(got, w) {
				t.Errorf("without %q the check says %q, want %q", gone, got, w)
			}
		}
	}
	if got := lacking(kittest.Parse(t, body), pack, "en"); len(got) != 0 {
		t.Errorf("without a fault it says %v", got)
	}
	if got := lacking(kittest.Parse(t, body), pack, "ja"); len(got) == 0 {
		t.Error("the English page is taken for the Japanese one")
	}
}

// TestAPackWithoutAnItemDoesNotLoad: the pages cannot lack what a pack cannot lack.
func TestAPackWithoutAnItemDoesNotLoad(t *testing.T) {
	good := edited(t, "guild", "2023-04-01", "initial", furnish)
	if _, err := policy.Parse(good); err != nil {
		t.Fatal(err)
	}
	without := func(list, id string, path ...string) []byte {
		p := pack{}
		if err := yaml.Unmarshal(good, &p); err != nil {
			t.Fatal(err)
		}
		at := p.element(list, id)
		for _, step := range path[:len(path)-1] {
			at = at[step].(pack)
		}
		if _, ok := at[path[len(path)-1]]; !ok {
			t.Fatalf("%s %s has no %v", list, id, path)
		}
		delete(at, path[len(path)-1])
		data, err := yaml.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, language := range kit.Languages() {
		for _, path := range [][]string{{"name"}, {"sent", "text"}, {"use", "operator"}, {"use", "recipient"}, {"opt_out", "text"}} {
			for _, id := range []string{"own_collector", "chat_sdk", "authority"} {
				if _, err := policy.Parse(without("recipients", id, append(path, language)...)); err == nil {
					t.Errorf("%s loads without %v in %s", id, path, language)
				}
			}
		}
		if _, err := policy.Parse(without("processors", "archive", "name", language)); err == nil {
			t.Errorf("a processor loads without a name in %s", language)
		}
	}
	for _, item := range []string{"kind", "name", "basis", "sent", "purposes", "use", "policy_url", "opt_out", "hosts"} {
		if _, err := policy.Parse(without("recipients", "ad_network", item)); err == nil {
			t.Errorf("the advertiser loads without %s", item)
		}
	}
	for _, item := range []string{"name", "contract", "reviewed", "expires", "region", "categories", "purposes", "hosts"} {
		if _, err := policy.Parse(without("processors", "archive", item)); err == nil {
			t.Errorf("a processor loads without %s", item)
		}
	}
	if _, err := policy.Parse(without("recipients", "ad_network", "opt_out", "url")); err == nil {
		t.Error("the advertiser loads without a way to stop it")
	}
}

// talksToNobody are the hosts that the sources of the web parts name without a browser sending anything there on its
// own: the form that each occurrence has to have says why.
var talksToNobody = map[string]*regexp.Regexp{
	"www.w3.org":       regexp.MustCompile(`xmlns="http://www\.w3\.org/2000/svg"`),                // the name of SVG, which nobody fetches
	"ja.wikipedia.org": regexp.MustCompile(`"about\.[a-z.]+\.url": "https://ja\.wikipedia\.org/`), // links of the sample shop, which a visitor follows
	"en.wikipedia.org": regexp.MustCompile(`"about\.[a-z.]+\.url": "https://en\.wikipedia\.org/`),
}

var absolute = regexp.MustCompile("(?i)(?:(?:https?|wss?):|[\"'`(=])//((?:[a-z0-9-]+[.])+[a-z]{2,})")

// TestTheWebPartsTalkToNobodyUnregistered reads the sources of everything that runs in a visitor's browser, and what is
// built from them: a host in there is one that every pack in force registers, or one that nothing is sent to.
func TestTheWebPartsTalkToNobodyUnregistered(t *testing.T) {
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	registered := func(host string) bool {
		for _, p := range policies.All() {
			now, ok := policies.At(p.ID, today())
			if !ok {
				return false
			}
			if _, ok := now.Egress(host, today()); !ok {
				return false
			}
		}
		return true
	}
	seen, read := map[string]bool{}, 0
	for _, part := range []string{"tracker", "consent", "sample", "built", "transparency", "kit"} {
		err := filepath.WalkDir(filepath.Join("..", part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			read++
			for _, m := range absolute.FindAllSubmatch(data, -1) {
				host := strings.ToLower(string(m[1]))
				seen[host] = true
				form, exempt := talksToNobody[host]
				switch {
				case registered(host):
				case !exempt:
					t.Errorf("%s names %s, and no recipient or processor has that host", path, host)
				case len(form.FindAll(data, -1)) != strings.Count(strings.ToLower(string(data)), "//"+host):
					t.Errorf("%s names %s in another way than %s", path, host, form)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if read < 40 {
		t.Errorf("only %d files were read", read)
	}
	for host := range talksToNobody {
		if !seen[host] {
			t.Errorf("%s is named nowhere any more", host)
		}
	}
}

func TestHostsAreFoundInEveryForm(t *testing.T) {
	for source, want := range map[string]string{
		`fetch("https://a.example/x")`: "a.example", `src='//b.example/p.gif'`: "b.example", "new WebSocket(`wss://c.d.example`)": "c.d.example",
		`url(//e.example/f.woff)`: "e.example", `<img src=//f.example>`: "f.example", `HTTP://G.EXAMPLE:8080`: "G.EXAMPLE",
		`// a comment.with dots`: "", `a / b.c`: "", `"/v1/events"`: "", `new URL('v1/consent', import.meta.url)`: "",
	} {
		got := ""
		if m := absolute.FindStringSubmatch(source); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

// TestAPageMayTalkToItsOwnCollectorOnly: the Content-Security-Policy of the sample site allows the collector, which is
// the recipient own_collector, and nobody else.
func TestAPageMayTalkToItsOwnCollectorOnly(t *testing.T) {
	const collector = "https://collector.example"
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	pack, _ := policies.At("default", today())
	if !slices.ContainsFunc(pack.Recipients, func(r policy.Recipient) bool { return r.ID == "own_collector" && r.Kind == policy.OwnTag }) {
		t.Error("the collector is no recipient")
	}
	w := httptest.NewRecorder()
	sample.Handler(collector, "shop").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ja/", nil))
	sources := 0
	for directive := range strings.SplitSeq(w.Header().Get("Content-Security-Policy"), ";") {
		for _, source := range strings.Fields(directive)[1:] {
			sources++
			if source == collector || source == "'self'" || source == "'none'" {
				continue
			}
			if _, ok := pack.Egress(strings.TrimPrefix(source, "https://"), today()); !ok {
				t.Errorf("a page may talk to %s, which no recipient or processor has", source)
			}
		}
	}
	if sources < 8 || !strings.Contains(w.Header().Get("Content-Security-Policy"), collector) {
		t.Errorf("the policy is %q", w.Header().Get("Content-Security-Policy"))
	}
}
