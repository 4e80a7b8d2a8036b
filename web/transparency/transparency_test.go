package transparency

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas"
	"github.com/sekisho/sekisho/web/kit"
	"github.com/sekisho/sekisho/web/kit/kittest"
)

// plain are the elements that show what they hold without a script and without a click. Nothing else is on a page, so
// nothing is hidden, and nothing asks the visitor's browser to talk to anybody.
var plain = strings.Fields(`html head meta title link body a header nav span main div section article aside h1 h2 h3 h4 p ul ol li
	dl dt dd table thead tbody tr th td code strong footer`)

// faults are what is wrong with a page.
func faults(t testing.TB, body, language string) (all []string) {
	t.Helper()
	all = kittest.Faults(t, body, language)
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, trace := range []string{"{1}", "<script", "onclick='"} {
		if strings.Contains(body, trace) {
			say("holds %s", trace)
		}
	}
	doc, level := kittest.Parse(t, body), 0
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if !slices.Contains(plain, n.Data) {
			say("<%s> is not plain", n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "hidden" || a.Key == "aria-hidden" {
				say("<%s> has %s", n.Data, a.Key)
			}
		}
		switch n.Data {
		case "h1", "h2", "h3", "h4":
			next := int(n.Data[1] - '0')
			if next > level+1 || next == 1 && level != 0 {
				say("%s %q follows h%d", n.Data, kittest.Text(n), level)
			}
			level = next
			if kittest.Text(n) == "" {
				say("<%s> is empty", n.Data)
			}
		case "a", "dt", "dd", "li", "th", "td":
			if kittest.Text(n) == "" {
				say("<%s> is empty", n.Data)
			}
		case "link":
			if rel := kittest.Attr(n, "rel"); rel != "stylesheet" && rel != "alternate" {
				say("a link to a %s", rel)
			}
		}
	}
	if level == 0 {
		say("there is no heading")
	}
	return all
}

// every page of the fixture, below the language.
var every = map[string][]string{
	"shop":      {"", "transmission", "versions", "versions/2019-10-15", "versions/2022-09-15"},
	"guild":     {"", "transmission", "versions", "versions/2022-09-15", "versions/2023-04-01", "versions/2024-10-01", "versions/2027-04-01"},
	"laden":     {"", "transmission", "versions", "versions/2022-09-15", "versions/2023-04-01", "versions/2024-10-01", "versions/2027-04-01"},
	"server":    {"", "transmission", "versions", "versions/2027-04-01"},
	"elsewhere": {"", "transmission", "versions", "versions/2027-04-01"},
	"evil":      {"", "transmission", "versions", "versions/2020-01-01", "versions/2021-01-01"},
	"early":     {"versions", "versions/2030-01-01"},
}

func TestEveryPageIsPlainAndSound(t *testing.T) {
	h, say := handler(t), texts(t)
	for id, pages := range every {
		for _, language := range kit.Languages() {
			for _, page := range pages {
				target := Prefix + id + "/" + language + "/" + page
				w := kittest.Get(h, target)
				if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Content-Language") != language {
					t.Errorf("%s: %d %v", target, w.Code, w.Header())
				}
				for _, fault := range faults(t, w.Body.String(), language) {
					t.Errorf("%s: %s", target, fault)
				}
				said := kittest.Text(kittest.Parse(t, w.Body.String()))
				for _, key := range []string{"footer.generated", "footer.advice"} {
					if !strings.Contains(said, say[language][key]) {
						t.Errorf("%s does not say %s", target, key)
					}
				}
			}
		}
	}
}

// TestEveryLinkLeadsSomewhere follows every link from a page on, below the root and below a path that a proxy takes
// away: each leads to something that is there, or to a place that a pack or the registry of sites names.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	h := handler(t)
	outside := regexp.MustCompile(`^https://((chat|ads|safety|evil)\.example/|(shop|guild|laden)\.example$)`)
	for _, path := range []string{"", "/measure/it"} {
		below := http.StripPrefix(path, h)
		docs := map[string]*html.Node{}
		var queue []string
		for id, pages := range every {
			for _, language := range kit.Languages() {
				queue = append(queue, path+Prefix+id+"/"+language+"/"+pages[0], path+Prefix+id+"/"+language+"/nothing")
			}
		}
		var fragments [][2]string
		for seen := map[string]bool{}; len(queue) > 0 && len(seen) < 500; {
			target := queue[0]
			queue = queue[1:]
			if seen[target] {
				continue
			}
			seen[target] = true
			w := kittest.Get(below, target)
			if strings.HasSuffix(target, "/nothing") && w.Code == http.StatusNotFound {
				w.Code = http.StatusOK
			}
			if w.Code/100 == 3 {
				queue = append(queue, resolve(t, target, w.Header().Get("Location")))
				continue
			}
			if w.Code != http.StatusOK {
				t.Errorf("%s: %d", target, w.Code)
				continue
			}
			if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
				continue
			}
			docs[target] = kittest.Parse(t, w.Body.String())
			for _, n := range kittest.Elements(docs[target], "a", "link") {
				to := resolve(t, target, kittest.Attr(n, "href"))
				if strings.HasPrefix(to, "https://") {
					if !outside.MatchString(to) {
						t.Errorf("%s leads to %s", target, to)
					}
					continue
				}
				page, fragment, _ := strings.Cut(to, "#")
				queue = append(queue, page)
				if fragment != "" {
					fragments = append(fragments, [2]string{page, fragment})
				}
			}
		}
		for _, f := range fragments {
			if kittest.ByID(docs[f[0]], f[1]) == nil {
				t.Errorf("%s has no place %s", f[0], f[1])
			}
		}
		for id, pages := range every { // the languages and the versions lead to every page
			for _, page := range pages {
				for _, language := range kit.Languages() {
					if docs[path+Prefix+id+"/"+language+"/"+page] == nil {
						t.Errorf("nothing leads to %s/%s/%s", id, language, page)
					}
				}
			}
		}
	}
}

func resolve(t testing.TB, from, to string) string {
	t.Helper()
	base, err := url.Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	u, err := base.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return u.String()
}

func TestThePolicySaysEverythingThePackSays(t *testing.T) {
	h, say := handler(t), texts(t)
	policies, sites := furnished(t)
	for id, pages := range every {
		s, _ := sites.Get(id)
		for _, language := range kit.Languages() {
			for _, page := range pages {
				date, ok := strings.CutPrefix(page, "versions/")
				if !ok {
					continue
				}
				pack, _ := policies.Version(s.Policy + "/" + date)
				doc := kittest.Read(t, h, Prefix+id+"/"+language+"/"+page)
				for i := range pack.Purposes {
					p := &pack.Purposes[i]
					card := kittest.Text(kittest.ByID(doc, "purpose-"+p.ID))
					basis := p.Basis[s.Jurisdiction].String()
					if basis == "" {
						basis = "none"
					}
					want := []string{p.Label[language], p.Text[language], say[language]["basis."+basis+".short"], say[language]["purpose.choice"]}
					for _, c := range pack.Categories {
						if p.Categories.Has(c.Category) {
							want = append(want, c.Label[language])
						}
					}
					for _, text := range want {
						if !strings.Contains(card, flat(text)) {
							t.Errorf("%s %s: purpose %s does not say %s", id, page, p.ID, text)
						}
					}
				}
				data := kittest.Text(kittest.ByID(doc, "data"))
				for _, c := range pack.Categories {
					if !strings.Contains(data, flat(c.Label[language])) {
						t.Errorf("%s %s: category %s is not named", id, page, c.Category)
					}
				}
				for _, lack := range lacking(doc, pack, language) {
					t.Errorf("%s %s %s: %s", id, page, language, lack)
				}
				for _, fact := range []string{pack.Version, hashOf(t, pack)} {
					if !strings.Contains(kittest.Text(doc), fact) {
						t.Errorf("%s %s does not say %s", id, page, fact)
					}
				}
			}
		}
	}
}

// flat is a text with single spaces, as text reads it.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

func hashOf(t testing.TB, pack *policy.Pack) string {
	t.Helper()
	data, err := json.Marshal(pack)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestRetentionIsSaidInDaysAndInWords(t *testing.T) {
	h := handler(t)
	for target, rows := range map[string]map[string]string{
		"shop/en/": {
			"IP address, sealed for at most seven days, never stored for analysis": "Art. 4 (2) 7 days",
			"Search keywords": "Art. 4 (2) 395 days (about 13 months)", "Operations performed in the service": "Art. 4 (2) 750 days (about 25 months)",
			"Company name": "Art. 4 (1) 1,825 days (about 5 years)", "Contact name": "Art. 5 1,825 days (about 5 years)",
		},
		"shop/ja/":                     {"検索した語": "第4条（2） 395日（約13か月）", "会社名": "第4条（1） 1,825日（約5年）", "ご担当者の氏名": "第5条 1,825日（約5年）"},
		"guild/en/versions/2027-04-01": {"Search keywords": "Art. 4 (2) 90 days (about 3 months)", "Operations performed in the service": "Art. 4 (2) 400 days (about 13 months)"},
	} {
		got := map[string]string{}
		for _, row := range kittest.Elements(kittest.Read(t, h, Prefix+target), "tr") {
			cells := kittest.Elements(row, "th", "td")
			got[kittest.Text(cells[0])] = kittest.Text(cells[1]) + " " + kittest.Text(cells[2])
		}
		for label, want := range rows {
			if got[label] != want {
				t.Errorf("%s: %s is kept %q, want %q", target, label, got[label], want)
			}
		}
	}
	p := &page{board: &board{texts: texts(t)}, Language: "en"}
	for days, want := range map[int]string{1: "1 day", 59: "59 days", 365: "365 days (about 1 year)"} {
		if got, err := p.Kept(time.Duration(days) * 24 * time.Hour); err != nil || got != want {
			t.Errorf("%d: %q, want %q", days, got, want)
		}
	}
}

// TestAPurposeStandsWhereItsBasisPutsIt: the same purpose is opt-out in Japan, rests on consent in the EU, and is not
// used where the pack has no rules.
func TestAPurposeStandsWhereItsBasisPutsIt(t *testing.T) {
	h, say := handler(t), texts(t)
	for target, want := range map[string]string{"guild": "opt_out", "laden": "consent", "server": "consent", "elsewhere": "none"} {
		for _, language := range kit.Languages() {
			doc := kittest.Read(t, h, Prefix+target+"/"+language+"/")
			heading := ""
			for n := range kittest.ByID(doc, "purposes").Descendants() {
				if n.Data == "h3" {
					heading = kittest.Text(n)
				}
				if kittest.Attr(n, "id") == "purpose-in_service_recommendation" {
					break
				}
			}
			if want := say[language]["basis."+want+".title"]; heading != want {
				t.Errorf("%s %s: it stands under %q, want %q", target, language, heading, want)
			}
		}
	}
	for target, want := range map[string]string{
		"guild/en/": "Art. 21", "laden/en/": "GDPR Art. 6(1)(b) to (f)", "server/en/": "The legal basis is the publication of the purpose.",
		"elsewhere/en/": "Without a rule, nothing is used.", "laden/ja/": "GDPR第12条3項", "guild/ja/": "遅滞なく対応します。", "server/ja/": "原則として1か月以内に",
	} {
		if !strings.Contains(kittest.Text(kittest.Read(t, h, Prefix+target)), want) {
			t.Errorf("%s does not say %q", target, want)
		}
	}
}

func TestHowToRefuseFollowsWhereTheDataComesFrom(t *testing.T) {
	doc := kittest.Read(t, handler(t), Prefix+"guild/en/")
	for id, want := range map[string]string{
		"behavioral_personalization": "withdraw at any time under “Data settings” on the pages of the site. If your browser sends the signal of Global Privacy Control",
		"usage_based_development":    "withdraw at any time under “Data settings” on the pages of the site.",
		"service_information":        "tell the operator, and your consent is withdrawn. If your browser sends the signal",
		"research_invitation":        "tell the operator, and your consent is withdrawn.",
		"in_service_recommendation":  "refuse at any time under “Data settings”",
		"security_incident":          "There is no setting to refuse it.",
	} {
		card := kittest.Text(kittest.ByID(doc, "purpose-"+id))
		if !strings.Contains(card, want) {
			t.Errorf("%s says %q, want %q", id, card, want)
		}
		if signal := strings.Contains(card, "Global Privacy Control"); signal != strings.Contains(want, "If your browser") {
			t.Errorf("%s: GPC is named: %v", id, signal)
		}
	}
	if card := kittest.Text(kittest.ByID(doc, "purpose-service_development")); !strings.Contains(card, "Part of “Development and marketing”.") || !strings.Contains(card, "under a pseudonym") {
		t.Errorf("the child says %q", card)
	}
	if card := kittest.Text(kittest.ByID(doc, "purpose-marketing_use")); !strings.Contains(card, "Passed on to Ogi advertising network") {
		t.Errorf("marketing does not say who gets it: %q", card)
	}
}

func TestTheHistorySaysWhatEachVersionChanged(t *testing.T) {
	h := handler(t)
	doc := kittest.Read(t, h, Prefix+"guild/en/versions")
	for day, want := range map[string][]string{
		"2022-09-15": {"From 15 September 2022", "Past", "The first version."},
		"2023-04-01": {
			"Past", "Consent is asked for again for: “Usage analysis for new features”", "Change to an unrelated purpose",
			"Purpose “Usage analysis for new features” becomes an unrelated one", "Data collected before cannot be read for it.",
			"consent is asked for again, for this purpose only", "Related change", "“Archive Ltd” becomes a processor.", "Data is sent to “Consumer safety agency”.",
		},
		"2024-10-01": {"In force", "The text of purpose “Customer support” is worded otherwise.", "Stored data stays as it is.", "Consents and refusals stand."},
		"2027-04-01": {"Announced", "“Search keywords” is kept for 90 days instead of 395.", "“Operations performed in the service” is kept for 400 days instead of 750.", "older than the new period expires too"},
	} {
		said := kittest.Text(kittest.ByID(doc, "version-"+day))
		for _, w := range want {
			if !strings.Contains(said, w) {
				t.Errorf("%s does not say %q: %s", day, w, said)
			}
		}
		if reopens := strings.Contains(said, "asked for again for:"); reopens != (day == "2023-04-01") {
			t.Errorf("%s asks again: %v", day, reopens)
		}
	}
	var order []string
	for _, n := range kittest.Elements(doc, "section") {
		order = append(order, strings.TrimPrefix(kittest.Attr(n, "id"), "version-"))
	}
	if want := []string{"2027-04-01", "2024-10-01", "2023-04-01", "2022-09-15"}; !slices.Equal(order, want) {
		t.Errorf("the order is %v", order)
	}
	if said := kittest.Text(kittest.ByID(kittest.Read(t, h, Prefix+"shop/ja/versions"), "version-2022-09-15")); !strings.Contains(said, "いずれも変わっていません") || !strings.Contains(said, "適用中") {
		t.Errorf("the seed's second version says %q", said)
	}
	ja := kittest.Text(kittest.ByID(kittest.Read(t, h, Prefix+"guild/ja/versions"), "version-2023-04-01"))
	for _, want := range []string{"改めて同意を求める目的：", "「利用状況の分析と機能開発」", "関連のない別の目的に変わります", "「アーカイブ社」に取り扱いを委託します。"} {
		if !strings.Contains(ja, want) {
			t.Errorf("does not say %q: %s", want, ja)
		}
	}
}

// TestChangesThatMeanTheSameStandTogether: two shorter periods are one effect, and no change is left out.
func TestChangesThatMeanTheSameStandTogether(t *testing.T) {
	policies, _ := furnished(t)
	versions := policies.Versions("guild")
	changes := policy.Compare(versions[2], versions[3]).Changes
	count := 0
	for _, e := range effects(changes) {
		count += len(e.Changes)
		for _, c := range e.Changes {
			if c.Class != e.Class || !maps.Equal(c.Stored, e.Stored) || !maps.Equal(c.Consents, e.Consents) {
				t.Errorf("%s means something else", c.Place)
			}
		}
	}
	if count != len(changes) || len(effects(changes)) >= len(changes) {
		t.Errorf("%d changes of %d in %d effects", count, len(changes), len(effects(changes)))
	}
}

// TestPagesFollowTheClock: the instant a version takes effect is midnight where the policy's dates begin.
func TestPagesFollowTheClock(t *testing.T) {
	policies, sites := furnished(t)
	instant := time.Date(2027, 3, 31, 15, 0, 0, 0, time.UTC)
	var tags []string
	for _, c := range []struct {
		at            time.Time
		version, says string
	}{
		{instant.Add(-time.Nanosecond), "guild/2024-10-01", "A new version applies from 1 April 2027."},
		{instant, "guild/2027-04-01", "From 1 April 2027"},
	} {
		h := Handler(policies, sites, func() time.Time { return c.at })
		w := kittest.Get(h, Prefix+"guild/en/")
		said := kittest.Text(kittest.Parse(t, w.Body.String()))
		if !strings.Contains(said, c.version) || !strings.Contains(said, c.says) {
			t.Errorf("at %s it does not say %s, %s", c.at, c.version, c.says)
		}
		tags = append(tags, w.Header().Get("ETag"))
	}
	if tags[0] == tags[1] {
		t.Error("the new version has the tag of the old one")
	}
	h := Handler(policies, sites, today)
	for target, want := range map[string]string{
		"guild/en/versions/2022-09-15": "This is a past version. It applied until 31 March 2023.",
		"guild/ja/versions/2027-04-01": "これは予告です。2027年4月1日から適用します。",
		"guild/ja/":                    "2027年4月1日から、新しい版に変わります。",
		"early/en/versions/2030-01-01": "This version is announced.",
	} {
		if !strings.Contains(kittest.Text(kittest.Read(t, h, Prefix+target)), want) {
			t.Errorf("%s does not say %q", target, want)
		}
	}
	if said := kittest.Text(kittest.Read(t, h, Prefix+"shop/en/")); strings.Contains(said, "A new version") || strings.Contains(said, "past version") {
		t.Error("the newest version in force gives notice of another")
	}
}

// TestAPageIsWrittenAnewWhenItsTimeIsOver: a page is kept for as long as it is true and no longer, on either side.
func TestAPageIsWrittenAnewWhenItsTimeIsOver(t *testing.T) {
	policies, sites := furnished(t)
	var now time.Time
	h := Handler(policies, sites, func() time.Time { return now })
	lapses := time.Date(2025, 3, 31, 15, 0, 0, 0, time.UTC) // midnight in Japan, the day after the contract's last
	for _, c := range []struct {
		at                time.Time
		target, says, not string
	}{
		{lapses.Add(-time.Second), "guild/en/transmission", "Archive Ltd", "so nothing is sent"},
		{lapses, "guild/en/transmission", "so nothing is sent", "no such"},
		{lapses.Add(-time.Hour), "guild/en/transmission", "Archive Ltd", "so nothing is sent"}, // the clock was put back
		{today(), "guild/en/", "guild/2024-10-01", "guild/2027-04-01"},
		{today().AddDate(1, 0, 0), "guild/en/", "guild/2027-04-01", "guild/2024-10-01"},
		{today().AddDate(1, 0, 0), "guild/en/versions/2024-10-01", "This is a past version", "no such"},
		{today(), "guild/ja/", "guild/2024-10-01", "Version"},
	} {
		now = c.at
		for range 2 {
			if said := kittest.Text(kittest.Read(t, h, Prefix+c.target)); !strings.Contains(said, c.says) || strings.Contains(said, c.not) {
				t.Errorf("at %s %s does not say %q, or says %q", c.at, c.target, c.says, c.not)
			}
		}
	}
}

func TestAProcessorThatHasExpiredIsSaidToGetNothing(t *testing.T) {
	h := handler(t)
	doc := kittest.Read(t, h, Prefix+"guild/en/transmission")
	if said := kittest.Text(kittest.ByID(doc, "processor-archive")); !strings.Contains(said, "to 31 March 2025") || !strings.Contains(said, "so nothing is sent") || !strings.Contains(said, "France") {
		t.Errorf("the expired one: %s", said)
	}
	if said := kittest.Text(kittest.ByID(doc, "processor-mail_house")); strings.Contains(said, "so nothing is sent") {
		t.Errorf("the one in force: %s", said)
	}
	if said := kittest.Text(kittest.ByID(kittest.Read(t, h, Prefix+"guild/ja/transmission"), "recipient-chat_sdk")); !strings.Contains(said, "（委託先：文箱メール株式会社、日本）") || !strings.Contains(said, "法律はこれを例外としていない") || !strings.Contains(said, "業務を委託しています") {
		t.Errorf("the SDK: %s", said)
	}
}

func TestWhatAPackSaysIsText(t *testing.T) {
	h := handler(t)
	for _, language := range kit.Languages() {
		for _, page := range every["evil"] {
			body := kittest.Get(h, Prefix+"evil/"+language+"/"+page).Body.String()
			if strings.Contains(body, "<script") || strings.Contains(body, "<b onclick") {
				t.Errorf("%s: a text became a tag", page)
			}
			if page == "" && strings.Count(kittest.Text(kittest.Parse(t, body)), hostile) < 20 {
				t.Errorf("%s: the texts are not shown as they are", page)
			}
		}
	}
}

func TestThePolicyIsThereForMachines(t *testing.T) {
	h := handler(t)
	policies, _ := furnished(t)
	for target, version := range map[string]string{"guild/ja/": "guild/2024-10-01", "guild/en/versions/2022-09-15": "guild/2022-09-15", "shop/en/": "default/2022-09-15"} {
		pack, _ := policies.Version(version)
		dpv, err := pack.DPV()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, n := range kittest.Elements(kittest.Read(t, h, Prefix+target), "link") {
			if kind := kittest.Attr(n, "type"); kittest.Attr(n, "rel") == "alternate" && kind != "" {
				found[kind] = kittest.Get(h, resolve(t, Prefix+target, kittest.Attr(n, "href"))).Body.String()
			}
		}
		again, err := policy.Parse([]byte(found["application/json"]))
		if err != nil || again.Version != version || len(policy.Compare(pack, again).Changes) != 0 {
			t.Errorf("%s: JSON is not the pack: %v", target, err)
		}
		if found["application/ld+json"] != string(dpv) || !json.Valid(dpv) || len(found) != 2 {
			t.Errorf("%s: JSON-LD is not the pack's", target)
		}
		sum := sha256.Sum256([]byte(found["application/json"]))
		if !strings.Contains(kittest.Text(kittest.Read(t, h, Prefix+target)), hex.EncodeToString(sum[:])) {
			t.Errorf("%s does not hold the hash of the JSON it leads to", target)
		}
	}
	for accept, want := range map[string]string{
		"": "text/html; charset=utf-8", "*/*": "text/html; charset=utf-8", "application/json": "application/json", "application/ld+json": "application/ld+json",
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "text/html; charset=utf-8",
		"application/ld+json;q=0.9, application/json;q=0.5":               "application/ld+json", "image/png": "text/html; charset=utf-8",
	} {
		w := kittest.Get(h, Prefix+"guild/ja/", "Accept", accept)
		if got := w.Header().Get("Content-Type"); got != want || !strings.Contains(w.Header().Get("Vary"), "Accept") {
			t.Errorf("%q gets %s, want %s", accept, got, want)
		}
	}
	if w := kittest.Get(h, Prefix+"guild/policy.json"); w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v", w.Header())
	}
}

func TestMediaTypesAreWeighed(t *testing.T) {
	for accept, want := range map[string]string{
		"": typeHTML, "text/*": typeHTML, "application/*": typeJSON, "application/*;q=0.1, text/html": typeHTML, "text/html;q=0, */*": typeJSON,
		"APPLICATION/JSON ; Q=0.8": typeJSON, "application/json;q=x, text/html;q=0.1": typeHTML, "text/html; level=1; q=0.2, application/json;q=0.3": typeJSON,
		";,;": typeHTML, "application/json;q=NaN": typeHTML,
	} {
		if got := prefers(accept, typeHTML, typeJSON, typeJSONLD); got != want {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
	}
}

func TestWhatIsKnownAlreadyIsNotSentAgain(t *testing.T) {
	h := handler(t)
	style := resolve(t, Prefix+"guild/ja/", kittest.Attr(kittest.Elements(kittest.Read(t, h, Prefix+"guild/ja/"), "link")[0], "href"))
	for _, target := range []string{"guild/ja/", "guild/ja/transmission", "guild/en/versions", "guild/en/versions/2022-09-15", "guild/policy.json", "guild/policy.jsonld", "guild/versions/2022-09-15.json"} {
		w := kittest.Get(h, Prefix+target)
		tag := w.Header().Get("ETag")
		if tag == "" || w.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %v", target, w.Header())
		}
		for asked, want := range map[string]int{tag: 304, "W/" + tag: 304, `"other", ` + tag: 304, `"other"`: 200} {
			if w := kittest.Get(h, Prefix+target, "If-None-Match", asked); w.Code != want || (w.Body.Len() == 0) != (want == 304) {
				t.Errorf("%s, If-None-Match %s: %d, want %d", target, asked, w.Code, want)
			}
		}
		r := httptest.NewRecorder()
		h.ServeHTTP(r, httptest.NewRequest(http.MethodHead, Prefix+target, nil))
		if r.Code != http.StatusOK || r.Header().Get("ETag") != tag {
			t.Errorf("HEAD %s: %d", target, r.Code)
		}
	}
	w := kittest.Get(h, style)
	sum := sha256.Sum256(w.Body.Bytes())
	if !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") || !strings.Contains(style, hex.EncodeToString(sum[:6])) ||
		!strings.HasPrefix(w.Body.String(), string(kit.Style(nil))) {
		t.Errorf("%s: %v", style, w.Header())
	}
}

func TestEveryAnswerForbidsScriptsAndTellsNobody(t *testing.T) {
	h := handler(t)
	for _, target := range []string{"guild/ja/", "guild/policy.json", "guild", "nothing", "guild/ja/nothing"} {
		w := kittest.Get(h, Prefix+target)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Set-Cookie": "",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q", target, name, got)
			}
		}
	}
}

func TestAnAddressWithoutALanguageFollowsTheBrowsers(t *testing.T) {
	h := handler(t)
	for accept, want := range map[string]string{
		"": "ja", "ja": "ja", "en": "en", "ja-JP,ja;q=0.9,en;q=0.8": "ja", "en-GB, en;q=0.9, ja;q=0.5": "en", "fr-FR, ja;q=0.3": "ja", "de, fr": "en",
		"en;q=0.4,ja;q=0.5": "ja", "*": "en", "not a language": "en",
	} {
		for target, page := range map[string]string{"guild": "", "guild/": "", "guild/transmission": "transmission", "guild/versions": "versions"} {
			w := kittest.Get(h, Prefix+target, "Accept-Language", accept)
			to := w.Header().Get("Location")
			if w.Code != http.StatusFound || resolve(t, Prefix+target, to) != Prefix+"guild/"+want+"/"+page || strings.HasPrefix(to, "/") || w.Header().Get("Vary") != "Accept-Language" {
				t.Errorf("%s, %q: %d %s", target, accept, w.Code, to)
			}
		}
	}
	if w := kittest.Get(h, Prefix+"guild/en", "Accept-Language", "ja"); resolve(t, Prefix+"guild/en", w.Header().Get("Location")) != Prefix+"guild/en/" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	h := handler(t)
	for target, language := range map[string]string{
		"unknown": "ja", "unknown/": "ja", "unknown/en": "en", "unknown/en/": "en", "unknown/ja/transmission": "ja", "unknown/versions": "ja",
		"guild/fr/": "ja", "guild/en/nothing": "en", "guild/en/versions/": "en", "guild/en/versions/1999-01-01": "en", "guild/ja/versions/..%2fx": "ja",
		"guild/en/versions/2022-09-15/x": "en", "early/en/": "en", "early/ja/transmission": "ja", "lost/en/": "en", "lost/ja/versions": "ja", "": "ja",
		"style.css": "ja", "%3Cscript%3Ealert(1)": "ja",
	} {
		w := kittest.Get(h, Prefix+target)
		if w.Code != http.StatusNotFound || w.Header().Get("Content-Language") != language || strings.Contains(w.Body.String(), "alert") {
			t.Errorf("%s: %d %s", target, w.Code, w.Header().Get("Content-Language"))
		}
		for _, fault := range faults(t, w.Body.String(), language) {
			t.Errorf("%s: %s", target, fault)
		}
		style := resolve(t, Prefix+target, kittest.Attr(kittest.Elements(kittest.Parse(t, w.Body.String()), "link")[0], "href"))
		if kittest.Get(h, style).Code != http.StatusOK {
			t.Errorf("%s: its style sheet is not at %s", target, style)
		}
		if w := kittest.Get(h, Prefix+target, "Accept", "application/json"); target != "guild/fr/" && (w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/problem+json") {
			t.Errorf("%s as JSON: %d %v", target, w.Code, w.Header())
		}
	}
	for _, target := range []string{"unknown/policy.json", "early/policy.json", "guild/versions/1999-01-01.json", "guild/versions/2022-09-15.yaml", "guild/versions/2022-09-15", "lost/policy.jsonld"} {
		w := kittest.Get(h, Prefix+target)
		if w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %v", target, w.Code, w.Header())
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, Prefix+"guild/ja/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestAMissingTextIsAnErrorAndNoHalfPage(t *testing.T) {
	policies, sites := furnished(t)
	b := &board{policies: policies, sites: sites, now: today}
	if err := b.read(); err != nil {
		t.Fatal(err)
	}
	delete(b.texts["en"], "footer.advice")
	w := kittest.Get(b.routes(), Prefix+"guild/en/")
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "<") || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// --- Texts ------------------------------------------------------------------------------------------------------------

func texts(t testing.TB) map[string]map[string]string {
	t.Helper()
	b := &board{policies: &policy.Register{}, sites: &site.Registry{}, now: today}
	if err := b.read(); err != nil {
		t.Fatal(err)
	}
	return b.texts
}

func TestTheLanguagesAgree(t *testing.T) {
	all := texts(t)
	alike, latin := regexp.MustCompile(`^language\.switch$`), regexp.MustCompile(`^(version\.hash|list\.comma|quoted)$`)
	for _, key := range []string{"list.comma", "quoted"} { // marks between words
		if !strings.ContainsAny(all["ja"][key], "、「") {
			t.Errorf("%s is not in Japanese", key)
		}
	}
	for _, fault := range (kittest.Messages{JA: all["ja"], EN: all["en"], Alike: alike, Latin: latin}).Faults() {
		t.Error(fault)
	}
	used := kittest.Sources(t, "templates/*.tmpl", "*.go")
	for key := range all["ja"] {
		if key == "language.switch" {
			continue
		}
		head, _, _ := strings.Cut(key, ".")
		whose := key[:max(0, strings.LastIndexByte(key, '.'))]
		if !strings.Contains(used, `"`+key+`"`) && !strings.Contains(used, `"`+head+`."`) && !strings.Contains(used, `.For "`+whose+`"`) {
			t.Errorf("%s is used nowhere", key)
		}
	}
}

// TestEveryWordOfAPackHasAText holds the texts against what the schema lets a pack say.
func TestEveryWordOfAPackHasAText(t *testing.T) {
	data, err := schemas.JSON.ReadFile("json/policy.v1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties struct {
			Change   struct{ Enum []string }
			Purposes struct {
				Items struct {
					Properties struct {
						Basis struct{ AdditionalProperties struct{ Enum []string } }
					}
				}
			}
			Recipients struct {
				Items struct {
					Properties struct{ Kind, Basis struct{ Enum []string } }
				}
			}
		}
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	of := schema.Properties
	want := map[string][]string{
		"class.": of.Change.Enum, "basis.": of.Purposes.Items.Properties.Basis.AdditionalProperties.Enum,
		"kind.": of.Recipients.Items.Properties.Kind.Enum, "ground.": of.Recipients.Items.Properties.Basis.Enum,
	}
	all := texts(t)
	for prefix, words := range want {
		if len(words) < 3 {
			t.Errorf("the schema says nothing of %s", prefix)
		}
		for _, word := range words {
			keys := []string{prefix + word}
			switch prefix {
			case "basis.":
				keys = append(keys, keys[0]+".title", keys[0]+".short", keys[0]+".law.jp", keys[0]+".law.eu", keys[0]+".law.default")
			case "class.":
				if word != "initial" {
					keys = append(keys, keys[0]+".short")
				}
			}
			for _, key := range keys {
				if all["ja"][key] == "" || all["en"][key] == "" {
					t.Errorf("no text %s", key)
				}
			}
		}
	}
}

// TestColoursHaveEnoughContrast holds the pairs that the style sheet puts on each other to WCAG 2.2 AA: 4.5 to 1 for
// text (1.4.3), 3 to 1 for the focus (1.4.11).
func TestColoursHaveEnoughContrast(t *testing.T) {
	css, err := files.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range kittest.ReadColours(kit.Style(css)).Faults(
		kittest.Pair{Front: "ink", Least: 4.5, Back: []string{"paper", "sheet", "wash", "note"}},
		kittest.Pair{Front: "soft", Least: 4.5, Back: []string{"paper", "sheet"}},
		kittest.Pair{Front: "indigo", Least: 4.5, Back: []string{"paper", "sheet", "note"}},
		kittest.Pair{Front: "sheet", Least: 4.5, Back: []string{"indigo"}},
		kittest.Pair{Front: "focus", Least: 3, Back: []string{"paper", "sheet", "note"}},
	) {
		t.Error(fault)
	}
}
