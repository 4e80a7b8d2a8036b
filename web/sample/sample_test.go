package sample

import (
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

	"golang.org/x/net/html"

	"github.com/sekisho/sekisho/web/kit"
	"github.com/sekisho/sekisho/web/kit/kittest"
)

const collector = "http://localhost:8080"

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func within(n *html.Node, test func(*html.Node) bool) bool {
	for ; n != nil; n = n.Parent {
		if n.Type == html.ElementNode && test(n) {
			return true
		}
	}
	return false
}

// faults are what is wrong with a page in its structure and for who cannot see it or use a mouse.
func faults(t testing.TB, page, language string) (all []string) {
	t.Helper()
	all = kittest.Faults(t, page, language)
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	doc, shown := kittest.Parse(t, page), 0
	for _, h := range kittest.Elements(doc, "h1") {
		if !within(h, func(n *html.Node) bool { return has(n, "hidden") }) {
			shown++
		}
	}
	if shown != 1 {
		say("%d visible h1", shown)
	}
	for _, n := range kittest.Elements(doc, "a", "button") {
		if kittest.Name(n) == "" {
			say("<%s> has no name", n.Data)
		}
	}
	for _, n := range kittest.Elements(doc, "input", "select") {
		labelled := kittest.Attr(n, "aria-label") != "" || within(n, func(p *html.Node) bool { return p.Data == "label" && kittest.Name(p) != "" })
		if kittest.Attr(n, "type") != "hidden" && !labelled {
			say("<%s name=%s> has no label", n.Data, kittest.Attr(n, "name"))
		}
	}
	for _, n := range kittest.Elements(doc, "svg") {
		if kittest.Attr(n, "aria-hidden") != "true" {
			say("a picture is neither named nor hidden")
		}
		if len(kittest.Elements(n, "title")) > 0 {
			say("a hidden picture has a title")
		}
	}
	for _, n := range kittest.Elements(doc, "script", "style", "iframe") {
		src := kittest.Attr(n, "src")
		if n.Data != "script" || n.FirstChild != nil || !strings.HasPrefix(src, "/assets/") && src != collector+"/s.js?site=shop" {
			say("<%s> is inline or from elsewhere", n.Data)
		}
	}
	return all
}

// visit is a page that the crawl found.
type visit struct {
	body string
	doc  *html.Node
}

// crawl follows every link, and every form as it comes, from a page on. It answers the pages by their address.
func crawl(t *testing.T, h http.Handler, start string) map[string]visit {
	t.Helper()
	pages, queue := map[string]visit{}, []string{start}
	var kinds []string // two carts are one page as far as the crawl goes
	for len(queue) > 0 && len(pages) < 500 {
		target := queue[0]
		queue = queue[1:]
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		kind := fmt.Sprint(u.Path, slices.Sorted(maps.Keys(u.Query())))
		if slices.Contains(kinds, kind) {
			continue
		}
		kinds = append(kinds, kind)
		w := kittest.Get(h, target)
		if len(w.Result().Cookies()) > 0 {
			t.Errorf("%s sets a cookie", target)
		}
		if w.Code == http.StatusSeeOther {
			queue = append(queue, w.Header().Get("Location"))
			continue
		}
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", target, w.Code)
			continue
		}
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			continue
		}
		doc := kittest.Parse(t, w.Body.String())
		pages[target] = visit{w.Body.String(), doc}
		for _, n := range kittest.Elements(doc, "a", "link", "script") {
			if to := kittest.Attr(n, "href") + kittest.Attr(n, "src"); strings.HasPrefix(to, "/") {
				queue = append(queue, to)
			}
		}
		for _, form := range kittest.Elements(doc, "form") {
			q := url.Values{}
			for _, n := range kittest.Elements(form, "input") {
				if name := kittest.Attr(n, "name"); name != "" {
					q.Set(name, kittest.Attr(n, "value"))
				}
			}
			switch action := kittest.Attr(form, "action"); {
			case action == "":
			case kittest.Attr(form, "method") == "post":
				r := httptest.NewRequest(http.MethodPost, action, strings.NewReader(q.Encode()))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				queue = append(queue, w.Header().Get("Location"))
			default:
				queue = append(queue, action+"?"+q.Encode())
			}
		}
	}
	return pages
}

func TestEveryPageIsSoundInBothLanguages(t *testing.T) {
	h := Handler(collector, "shop")
	paths := map[string]map[string]bool{}
	for target, page := range crawl(t, h, "/ja/") {
		u, _ := url.Parse(target)
		language := u.Path[1:3]
		for _, fault := range faults(t, page.body, language) {
			t.Errorf("%s: %s", target, fault)
		}
		if paths[language] == nil {
			paths[language] = map[string]bool{}
		}
		paths[language][u.Path[3:]] = true

		// The other language is one link away, on the same page.
		at := slices.IndexFunc(kittest.Elements(page.doc, "a"), func(n *html.Node) bool { return kittest.Attr(n, "class") == "language" })
		other, err := url.Parse(kittest.Attr(kittest.Elements(page.doc, "a")[max(at, 0)], "href"))
		if at < 0 || err != nil || other.Path[1:3] == language || other.Path[3:] != u.Path[3:] || other.Query().Get("q") != u.Query().Get("q") {
			t.Errorf("%s: the language switch leads to %v", target, other)
		}
	}
	for _, path := range []string{"/", "/search", "/product/chasen", "/checkout", "/done", "/settings", "/about", "/journal", "/journal/road"} {
		for _, language := range kit.Languages() {
			if !paths[language][path] {
				t.Errorf("no link leads to /%s%s", language, path)
			}
		}
	}
}

func TestTheChecksFindWhatIsWrong(t *testing.T) {
	page := kittest.Get(Handler(collector, "shop"), "/en/settings").Body.String()
	for name, replace := range map[string][2]string{
		"balanced":      {"</h1>", ""},
		"lang":          {`lang="en"`, `lang="ja"`},
		"twice":         {`id="plan"`, `id="theme"`},
		"label":         {`aria-label="Search the shop"`, ""},
		"forbids":       {"<main", `<main onclick="x()"`},
		"visible h1":    {"</h1>", "</h1><h1>x</h1>"},
		"from elsewher": {"http://localhost:8080/s.js", "https://elsewhere.example/s.js"},
	} {
		if got := faults(t, strings.Replace(page, replace[0], replace[1], 1), "en"); !strings.Contains(strings.Join(got, "\n"), name) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPagesCarryTheMarksOfTheTracker(t *testing.T) {
	h := Handler(collector, "shop")
	for target, marks := range map[string][]string{
		"/ja/":                         {`data-sekisho="ad" data-ad-id="shincha-2026" data-ad-slot="catalogue_top" data-ad-campaign="first_flush"`},
		"/ja/search?q=抹茶&category=tea": {`data-sekisho="search" data-query="抹茶" data-results="1" data-category="tea"`, `data-ad-slot="search_side"`},
		"/en/product/brush-pen":        {`data-sekisho-op="add_to_cart" data-sekisho-target="brush-pen"`, `data-ad-slot="product_bottom"`},
		"/ja/checkout?cart=chasen.1":   {`data-sekisho-op="place_order"`, `data-sekisho-op="remove_from_cart" data-sekisho-target="chasen"`},
		"/en/settings": {
			`data-sekisho-op="export" data-sekisho-target="csv"`, `data-sekisho-op="switch_theme" data-sekisho-target="dark"`,
			`data-sekisho-op="toggle_notifications"`, `data-sekisho-op="change_plan"`, `data-sekisho-op="sign_in"`, `data-sekisho-op="sign_out"`,
			`data-custom="newsletter_signup"`, `data-consent="open"`, `data-consent="withdraw"`,
		},
		"/ja/about": {`download="letter-paper.svg"`, `href="https://`},
	} {
		body := kittest.Get(h, target).Body.String()
		for _, mark := range marks {
			if !strings.Contains(body, mark) {
				t.Errorf("%s lacks %s", target, mark)
			}
		}
	}
	if body := kittest.Get(h, "/ja/search").Body.String(); strings.Contains(body, `data-sekisho="search"`) {
		t.Error("a search for nothing is reported as one")
	}
	if body := kittest.Get(h, "/ja/product/kyusu-tokoname").Body.String(); strings.Contains(body, "data-ad-id") {
		t.Error("a product is advertised on its own page")
	}
}

func TestTextsAgree(t *testing.T) {
	ja, err := ReadTexts("ja")
	if err != nil {
		t.Fatal(err)
	}
	en, err := ReadTexts("en")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTexts("fr"); err == nil {
		t.Error("there are texts in a language that the shop has not")
	}
	alike, latin := regexp.MustCompile(`^language\.switch$`), regexp.MustCompile(`\.url$`)
	for _, fault := range (kittest.Messages{JA: ja, EN: en, Alike: alike, Latin: latin}).Faults() {
		t.Error(fault)
	}
	templates := kittest.Sources(t, "templates/*")
	for key := range ja {
		prefix, _, _ := strings.Cut(key, ".")
		if !strings.Contains(templates, `"`+key+`"`) && !strings.Contains(templates, `(print "`+prefix+`."`) && !strings.HasSuffix(key, ".title") && key != "shop.trade" {
			t.Errorf("%s is used nowhere", key)
		}
	}
	for _, p := range Products() {
		for _, text := range []Text{p.Name, p.Line, p.Story} {
			if !kittest.InJapanese(text.JA) || !kittest.InEnglish(text.EN) {
				t.Errorf("%s lacks a text", p.SKU)
			}
		}
	}
}

func TestAMissingTextIsAnErrorAndNoHalfPage(t *testing.T) {
	s := &shop{}
	if err := s.read(); err != nil {
		t.Fatal(err)
	}
	delete(s.texts["en"], "footer.text")
	w := kittest.Get(s.routes(), "/en/")
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "<") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTheRootFollowsTheBrowsersLanguage(t *testing.T) {
	for accept, want := range map[string]string{
		"": "/ja/", "ja": "/ja/", "en": "/en/", "ja-JP,ja;q=0.9,en;q=0.8": "/ja/", "en-GB, en;q=0.9, ja;q=0.5": "/en/",
		"fr-FR, ja;q=0.3": "/ja/", "de, fr": "/en/", "ja;q=0, en;q=0.1": "/en/", "en;q=0.4,ja;q=0.5": "/ja/", "EN-us": "/en/", "ja;q=x": "/en/", "*": "/en/",
	} {
		w := kittest.Get(Handler(collector, "shop"), "/?utm_source=a&x=1", "Accept-Language", accept)
		if got := w.Header().Get("Location"); w.Code != http.StatusFound || got != want+"?utm_source=a&x=1" || w.Header().Get("Vary") != "Accept-Language" {
			t.Errorf("%q leads to %s", accept, got)
		}
	}
}

func TestWhatAVisitorTypesIsEscaped(t *testing.T) {
	const hostile = `"><script>alert(1)</script><b x='`
	for _, language := range kit.Languages() {
		body := kittest.Get(Handler(collector, "shop"), "/"+language+"/search?q="+url.QueryEscape(hostile)+"&category="+url.QueryEscape(hostile)+"&cart="+url.QueryEscape(hostile)).Body.String()
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "<b x=") {
			t.Error("the query is not escaped")
		}
		if got := faults(t, body, language); len(got) > 0 {
			t.Error(got)
		}
		doc := kittest.Parse(t, body)
		at := slices.IndexFunc(kittest.Elements(doc, "section"), func(n *html.Node) bool { return kittest.Attr(n, "data-query") == hostile })
		if at < 0 {
			t.Error("the tracker would report another query than was typed")
		}
	}
}

func TestALongQueryIsCutBetweenCharacters(t *testing.T) {
	body := kittest.Get(Handler(collector, "shop"), "/ja/search?q="+url.QueryEscape(strings.Repeat("茶", 200))).Body.String()
	if !strings.Contains(body, `data-query="`+strings.Repeat("茶", 80)+`"`) {
		t.Error("the query is not its first 80 characters")
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	h := Handler(collector, "shop")
	for _, target := range []string{"/ja/product/nothing", "/en/product/", "/ja/nothing", "/en/journal/nothing", "/ja/search/x"} {
		w := kittest.Get(h, target)
		if w.Code != http.StatusNotFound || len(faults(t, w.Body.String(), target[1:3])) > 0 {
			t.Errorf("%s: %d %v", target, w.Code, faults(t, w.Body.String(), target[1:3]))
		}
	}
	for _, target := range []string{"/fr/", "/assets/nothing.css", "/assets/..%2fsample.go", "/favicon.ico"} {
		if w := kittest.Get(h, target); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if w := kittest.Get(h, "/ja"); w.Code/100 != 3 || w.Header().Get("Location") != "/ja/" {
		t.Errorf("/ja: %d", w.Code)
	}
}

func TestSearchFindsInBothLanguages(t *testing.T) {
	for query, want := range map[string]string{
		"抹茶": "chasen matcha-yame", "MATCHA": "chasen matcha-yame", "ｍａｔｃｈａ": "chasen matcha-yame", "フデペン": "brush-pen", "ふでぺん": "brush-pen",
		"文具 青": "ink-ai", "文具　青": "ink-ai", "teapot": "kyusu-tokoname", "紅茶": "", "%": "", "": "all",
	} {
		var got []string
		for _, p := range Find(query, "") {
			got = append(got, p.SKU)
		}
		slices.Sort(got)
		if want == "all" {
			if len(got) != len(Products()) {
				t.Errorf("no query finds %v", got)
			}
		} else if strings.Join(got, " ") != want {
			t.Errorf("%s finds %v", query, got)
		}
	}
	if got := Find("抹茶", "teaware"); len(got) != 1 || got[0].SKU != "chasen" {
		t.Errorf("on one shelf: %v", got)
	}
}

func TestACartIsSoundWhateverTheAddressSays(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "chasen.1": "chasen.1", "chasen.1~chasen.2": "chasen.3", "chasen.19~chasen.19": "chasen.20", "nothing.1~chasen.2": "chasen.2",
		"chasen.0": "", "chasen.-1": "", "chasen.21": "", "chasen": "", "chasen.1.5": "", "~.~": "", "ink-ai.2~chasen.1": "ink-ai.2~chasen.1",
		"chasen.99999999999999999999": "",
	} {
		c := parseCart(text)
		if c.String() != want || parseCart(c.String()).String() != want {
			t.Errorf("%q is read as %q, want %q", text, c, want)
		}
	}
	h := Handler(collector, "shop")
	for query, want := range map[string]string{
		"add=chasen&quantity=2":                        "/ja/checkout?cart=chasen.2",
		"add=chasen":                                   "/ja/checkout?cart=chasen.1",
		"add=nothing&quantity=2":                       "/ja/checkout",
		"cart=chasen.2&set=chasen&quantity=":           "/ja/checkout?cart=chasen.2",
		"cart=chasen.2~ink-ai.1&set=chasen&quantity=0": "/ja/checkout?cart=ink-ai.1",
		"cart=chasen.2&set=chasen&quantity=5":          "/ja/checkout?cart=chasen.5",
		"cart=chasen.2&set=chasen&quantity=500":        "/ja/checkout?cart=chasen.2",
	} {
		w := kittest.Get(h, "/ja/checkout?"+query)
		if got, _ := url.QueryUnescape(w.Header().Get("Location")); w.Code != http.StatusSeeOther || got != want {
			t.Errorf("%s leads to %d %s, want %s", query, w.Code, got, want)
		}
	}
}

func order(h http.Handler, language, cart string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/"+language+"/order", strings.NewReader(url.Values{"cart": {cart}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnOrderIsReportedOnceWithDecimalAmounts(t *testing.T) {
	h := Handler(collector, "shop")
	seen := map[string]bool{}
	for _, language := range kit.Languages() {
		w := order(h, language, "sencha-uji.2~chasen.1")
		done := w.Header().Get("Location")
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(done, "/"+language+"/done?") {
			t.Fatalf("%d %s", w.Code, done)
		}
		var before string
		for range 2 { // a reload says the same
			doc := kittest.Read(t, h, done)
			var o Order
			text := kittest.Attr(kittest.Elements(doc, "section")[0], "data-order")
			if err := json.Unmarshal([]byte(text), &o); err != nil {
				t.Fatal(err)
			}
			if o.Currency != "JPY" || o.Total != "7090" || !orderID.MatchString(o.OrderID) || len(o.Items) != 2 ||
				o.Items[0] != (OrderItem{"sencha-uji", "宇治の煎茶 100g", "tea", 2, "1620"}) {
				t.Errorf("order %s", text)
			}
			if before != "" && text != before {
				t.Error("a reload reports another order")
			}
			before = text
			seen[o.OrderID] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("two orders have the numbers %v", seen)
	}
	for _, target := range []string{"/ja/done", "/ja/done?order=T-0000000A", "/ja/done?order=x&items=chasen.1", "/ja/done?order=T-0000000A%22&items=chasen.1"} {
		if w := kittest.Get(h, target); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/ja/checkout" {
			t.Errorf("%s is thanked for: %d", target, w.Code)
		}
	}
	if w := order(h, "ja", "nothing.1"); w.Header().Get("Location") != "/ja/checkout" {
		t.Error("an empty cart was ordered")
	}
	if w := kittest.Get(h, "/ja/order"); w.Code == http.StatusSeeOther {
		t.Error("a link can order")
	}
}

func TestOnlyTheShopAndTheCollectorAreAllowed(t *testing.T) {
	for given, want := range map[string]string{
		"http://localhost:8080":       "http://localhost:8080",
		"https://c.example/measure/":  "https://c.example",
		"http://[::1]:8080":           "http://[::1]:8080",
		"":                            "",
		"localhost:8080":              "",
		"javascript:alert(1)":         "",
		"http://user:pass@c.example":  "",
		"http://c.example;script-src": "",
		"http://c.example/ x":         "http://c.example",
	} {
		w := kittest.Get(Handler(given, "shop"), "/en/")
		policy := w.Header().Get("Content-Security-Policy")
		scripts, talks := "script-src 'self'; connect-src 'none';", ""
		if want != "" {
			scripts, talks = "script-src 'self' "+want+"; connect-src "+want+";", want
		}
		if !strings.Contains(policy, scripts) || !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Count(policy, ";") != 7 {
			t.Errorf("%q gives the policy %s", given, policy)
		}
		if loads := strings.Contains(w.Body.String(), "<script async"); loads != (talks != "") {
			t.Errorf("%q: tracker loaded %v", given, loads)
		}
	}
	w := kittest.Get(Handler("https://c.example/measure/", "a&b"), "/en/")
	if !strings.Contains(w.Body.String(), `<script async src="https://c.example/measure/s.js?site=a%26b">`) {
		t.Error("the tracker's address is wrong")
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "strict-origin-when-cross-origin", "Cross-Origin-Opener-Policy": "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": "camera=(), geolocation=(), microphone=()", "Cache-Control": "no-cache",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

func TestAssetsAreKeptForGoodByTheirVersion(t *testing.T) {
	h := Handler(collector, "shop")
	path := regexp.MustCompile(`/assets/shop\.css\?v=[0-9a-f]+`).FindString(kittest.Get(h, "/en/").Body.String())
	w := kittest.Get(h, path)
	if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") ||
		!strings.HasPrefix(w.Body.String(), string(kit.Style(nil))) {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := kittest.Get(h, "/assets/shop.css?v=old"); w.Header().Get("Cache-Control") != "no-cache" {
		t.Error("another version is kept")
	}
	if w := kittest.Get(h, path, "If-None-Match", w.Header().Get("ETag")); w.Code != http.StatusNotModified {
		t.Errorf("the same file is sent again: %d", w.Code)
	}
}

func TestTheExportIsAFile(t *testing.T) {
	w := kittest.Get(Handler(collector, "shop"), "/ja/export.csv")
	if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Disposition"), "attachment") || strings.Count(w.Body.String(), "\n") != 4 ||
		!strings.Contains(w.Body.String(), "宇治の煎茶") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestColoursHaveEnoughContrast holds the pairs that the style sheet puts on each other to WCAG 2.2 AA: 4.5 to 1 for
// text (1.4.3), 3 to 1 for the edges of controls and the focus (1.4.11).
func TestColoursHaveEnoughContrast(t *testing.T) {
	css, err := files.ReadFile("assets/shop.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range kittest.ReadColours(kit.Style(css)).Faults(
		kittest.Pair{Front: "ink", Least: 4.5, Back: []string{"paper", "sheet", "note", "tea", "teaware", "sheets", "brushes"}},
		kittest.Pair{Front: "soft", Least: 4.5, Back: []string{"paper", "sheet", "note"}},
		kittest.Pair{Front: "matcha", Least: 4.5, Back: []string{"paper", "sheet", "note"}},
		kittest.Pair{Front: "vermilion", Least: 4.5, Back: []string{"paper", "sheet", "note"}},
		kittest.Pair{Front: "focus", Least: 4.5, Back: []string{"paper", "sheet", "note"}},
		kittest.Pair{Front: "on-matcha", Least: 4.5, Back: []string{"matcha"}},
		kittest.Pair{Front: "control", Least: 3, Back: []string{"paper", "sheet", "note"}},
	) {
		t.Error(fault)
	}
}

func TestEveryProductHasAPictureWithoutForeignParts(t *testing.T) {
	for _, p := range Products() {
		svg, err := files.ReadFile("art/" + p.SKU + ".svg")
		if err != nil {
			t.Fatal(err)
		}
		for _, forbidden := range []string{"<script", "href", "style=", " id=", "url("} {
			if strings.Contains(string(svg), forbidden) {
				t.Errorf("%s has %s", p.SKU, forbidden)
			}
		}
		if !slices.Contains(Categories(), p.Category) || p.Yen <= 0 {
			t.Errorf("%s has no shelf or no price", p.SKU)
		}
	}
	for _, a := range Ads() {
		if _, ok := Named(a.SKU); !ok {
			t.Errorf("%s advertises nothing", a.ID)
		}
	}
}
