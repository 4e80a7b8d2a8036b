package channel

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func table(t testing.TB) *Table {
	t.Helper()
	tab, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

const page = "https://shop.example.jp/items"

func TestVisit(t *testing.T) {
	tab := table(t)
	for _, test := range []struct {
		name, page, referrer string
		want                 Channel
	}{
		{"typed in", page, "", Channel{Kind: Direct}},
		{"a search engine", page, "https://www.google.co.jp/", Channel{Kind: Search, Source: "google", ReferrerHost: "www.google.co.jp"}},
		{"the same without www", page, "https://google.com/", Channel{Kind: Search, Source: "google", ReferrerHost: "google.com"}},
		{"Yahoo! JAPAN's search", page, "https://search.yahoo.co.jp/search?p=x", Channel{Kind: Search, Source: "yahoo_jp", ReferrerHost: "search.yahoo.co.jp"}},
		{"Yahoo! JAPAN's news", page, "https://news.yahoo.co.jp/", Channel{Kind: Referral, Source: "yahoo_jp", ReferrerHost: "news.yahoo.co.jp"}},
		{"Yahoo! JAPAN's mail", page, "https://mail.yahoo.co.jp/", Channel{Kind: Email, Source: "yahoo_jp", ReferrerHost: "mail.yahoo.co.jp"}},
		{"the search app", page, "android-app://com.google.android.googlequicksearchbox/https/www.google.com", Channel{Kind: Search, Source: "google", ReferrerHost: "com.google.android.googlequicksearchbox"}},
		{"Google's mail, no search", page, "https://mail.google.com/", Channel{Kind: Email, Source: "gmail", ReferrerHost: "mail.google.com"}},
		{"Google's documents, no search", page, "https://docs.google.com/", Channel{Kind: Referral, Source: "docs.google.com", ReferrerHost: "docs.google.com"}},
		{"no Google at all", page, "https://google.example.com/", Channel{Kind: Referral, Source: "google.example.com", ReferrerHost: "google.example.com"}},
		{"a name that ends like Google's", page, "https://notgoogle.com/", Channel{Kind: Referral, Source: "notgoogle.com", ReferrerHost: "notgoogle.com"}},
		{"an assistant", page, "https://chatgpt.com/", Channel{Kind: AI, Source: "chatgpt", ReferrerHost: "chatgpt.com"}},
		{"an assistant at a search engine's", page, "https://gemini.google.com/app", Channel{Kind: AI, Source: "gemini", ReferrerHost: "gemini.google.com"}},
		{"a social network's shortener", page, "https://t.co/abc", Channel{Kind: Social, Source: "x", ReferrerHost: "t.co"}},
		{"a social network's mobile site", page, "https://m.facebook.com/", Channel{Kind: Social, Source: "facebook", ReferrerHost: "m.facebook.com"}},
		{"a social network's app", page, "android-app://jp.naver.line.android/", Channel{Kind: Social, Source: "line", ReferrerHost: "jp.naver.line.android"}},
		{"a blog of Hatena", page, "https://taro.hatenablog.com/entry/1", Channel{Kind: Social, Source: "hatena", ReferrerHost: "taro.hatenablog.com"}},
		{"any other site", page, "https://www.example.com:8080/a?b", Channel{Kind: Referral, Source: "example.com", ReferrerHost: "www.example.com"}},
		{"the site itself", page, "https://shop.example.jp/", Channel{Kind: Internal, ReferrerHost: "shop.example.jp"}},
		{"the site itself with www", page, "https://www.shop.example.jp/", Channel{Kind: Internal, ReferrerHost: "www.shop.example.jp"}},
		{"the site itself, tagged", page + "?utm_source=top&gclid=1", "https://shop.example.jp/", Channel{Kind: Internal, ReferrerHost: "shop.example.jp"}},

		{"an advertisement", page + "?gclid=SECRET", "https://www.google.com/", Channel{Kind: Ads, Source: "google", ClickID: "gclid", ReferrerHost: "www.google.com"}},
		{"an advertisement, no referrer", page + "?x=1&yclid=SECRET", "", Channel{Kind: Ads, Source: "yahoo_jp", ClickID: "yclid"}},
		{"an advertisement of LINE", page + "?ldtag_cl=SECRET", "", Channel{Kind: Ads, Source: "line", ClickID: "ldtag_cl"}},
		{"a link on Facebook, paid or not", page + "?fbclid=SECRET", "https://l.facebook.com/", Channel{Kind: Social, Source: "facebook", ClickID: "fbclid", ReferrerHost: "l.facebook.com"}},
		{"a link on Facebook, read on Instagram", page + "?fbclid=SECRET", "https://l.instagram.com/", Channel{Kind: Social, Source: "instagram", ClickID: "fbclid", ReferrerHost: "l.instagram.com"}},
		{"a link on Facebook without referrer", page + "?fbclid=SECRET", "", Channel{Kind: Social, Source: "facebook", ClickID: "fbclid"}},
		{"a paid link on Facebook", page + "?fbclid=SECRET&utm_source=FB&utm_medium=paid_social&utm_campaign=Aki", "https://l.facebook.com/", Channel{Kind: Ads, Source: "fb", Medium: "paid_social", Campaign: "Aki", ClickID: "fbclid", ReferrerHost: "l.facebook.com"}},
		{"a listing", page + "?utm_source=yahoo&utm_medium=CPC&utm_term=%E9%96%A2%E6%89%80&utm_content=a", "", Channel{Kind: Ads, Source: "yahoo", Medium: "cpc", Term: "関所", Content: "a"}},
		{"a newsletter", page + "?utm_source=news&utm_medium=email", "", Channel{Kind: Email, Source: "news", Medium: "email"}},
		{"a newsletter in Japanese", page + "?utm_medium=%E3%83%A1%E3%83%AB%E3%83%9E%E3%82%AC", "", Channel{Kind: Email, Medium: "メルマガ"}},
		{"a post", page + "?utm_source=x&utm_medium=social", "https://t.co/a", Channel{Kind: Social, Source: "x", Medium: "social", ReferrerHost: "t.co"}},
		{"a campaign of its own kind", page + "?utm_source=poster&utm_medium=qr&utm_campaign=Aki+2026", "", Channel{Kind: Campaign, Source: "poster", Medium: "qr", Campaign: "Aki 2026"}},
		{"a campaign that names no source", page + "?utm_campaign=aki", "https://note.com/a", Channel{Kind: Campaign, Source: "note", Campaign: "aki", ReferrerHost: "note.com"}},
		{"a referrer that is none", page, "about:blank", Channel{Kind: Direct}},
		{"a referrer of rubbish", page, "https://a b\n/", Channel{Kind: Direct}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := tab.Visit(test.page, test.referrer); got != test.want {
				t.Errorf("Visit =\n%+v, want\n%+v", got, test.want)
			}
		})
	}
}

func TestOwnHostsAreInternal(t *testing.T) {
	tab := table(t)
	if got := tab.Visit(page, "https://pay.example.jp/", "pay.example.jp", "www.Example.jp").Kind; got != Internal {
		t.Errorf("another own host: %q", got)
	}
	if got := tab.Visit(page, "https://example.jp/", "pay.example.jp", "www.Example.jp").Kind; got != Internal {
		t.Errorf("an own host in another spelling: %q", got)
	}
	if got := tab.Visit(page, "https://example.com/", "pay.example.jp").Kind; got != Referral {
		t.Errorf("a host that is not own: %q", got)
	}
}

func TestParams(t *testing.T) {
	tab := table(t)
	long := strings.Repeat("あ", maxParameter)
	for _, test := range []struct {
		name, url string
		want      Params
	}{
		{"none", page, Params{}},
		{"all", page + "?utm_source=a&utm_medium=b&utm_campaign=c&utm_term=d&utm_content=e&utm_id=f", Params{"a", "b", "c", "d", "e", ""}},
		{"in capitals", page + "?UTM_Source=A", Params{Source: "A"}},
		{"the first that is not empty", page + "?utm_source=&utm_source=a&utm_source=b", Params{Source: "a"}},
		{"encoded", page + "?utm_campaign=%E7%A7%8B+2026", Params{Campaign: "秋 2026"}},
		{"badly encoded", page + "?utm_campaign=50%", Params{Campaign: "50%"}},
		{"not in the fragment", page + "#?utm_source=a", Params{}},
		{"with control characters", page + "?utm_source=a%00b%0A", Params{Source: "a b"}},
		{"no UTF-8", page + "?utm_source=%ff", Params{Source: "\uFFFD"}},
		{"cut between runes", page + "?utm_term=" + long, Params{Term: long[:maxParameter]}},
		{"a click identifier by kind only", page + "?GCLID=Cj0KCQ&msclkid=x", Params{ClickID: "gclid"}},
		{"an empty click identifier", page + "?gclid=&msclkid=x", Params{ClickID: "msclkid"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := tab.Params(test.url); got != test.want {
				t.Errorf("Params = %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"https://Example.COM:443/a": "example.com", "https://u:p@example.com./": "example.com", "//example.com?x": "example.com",
		`https:\\example.com`: "", "https://例え.テスト/": "例え.テスト", "http://[2001:db8::1]:80/": "[2001:db8::1]", "/a/b": "", "": "", "mailto:a@b.co": "",
		"https://" + strings.Repeat("a", 300): "", "https://a<b>/": "", "https://\xff/": "",
	} {
		if got := Host(in); got != want {
			t.Errorf("Host(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEmbeddedTablesAreInOrder(t *testing.T) {
	tab := table(t)
	if len(tab.hosts) < 150 || len(tab.names) < 3 || len(tab.clickIDs) < 10 {
		t.Errorf("%d hosts, %d names, %d click identifiers", len(tab.hosts), len(tab.names), len(tab.clickIDs))
	}
	// An entry that says what one above it says already only looks as if it did something.
	for host, s := range tab.hosts {
		for rest := host; ; {
			var ok bool
			if _, rest, ok = strings.Cut(rest, "."); !ok {
				break
			}
			if above, known := tab.hosts[rest]; known {
				if above == s {
					t.Errorf("%s is covered by %s", host, rest)
				}
				break
			}
		}
		if got, ok := tab.sender(host); !ok || got != s {
			t.Errorf("%s is found as %+v", host, got)
		}
	}
	for name, s := range tab.names {
		for _, host := range []string{name + ".com", "www." + name + ".co.jp"} {
			if got, ok := tab.sender(host); !ok || got != s {
				t.Errorf("%s is found as %+v", host, got)
			}
		}
	}
	for _, kind := range []string{Search, AI, Social, Email, Ads, Referral} {
		if !slices.ContainsFunc(strings.Split(sourcesTSV, "\n"), func(l string) bool { return strings.HasPrefix(l, kind+"\t") }) {
			t.Errorf("no %s in the table", kind)
		}
	}
}

func TestFaultyTablesAreRefused(t *testing.T) {
	for name, tsv := range map[string]string{
		"a duplicate":        "search\ta\ta.com\nsocial\tb\tb.com a.com",
		"a duplicate name":   "search\ta\ta.*\nsearch\tb\ta.*",
		"an unknown kind":    "serch\ta\ta.com",
		"a missing field":    "search\ta.com",
		"an empty source":    "search\t\ta.com",
		"no hosts":           "search\ta\t",
		"a host in capitals": "search\ta\tA.com",
		"a URL for a host":   "search\ta\thttps://a.com/",
	} {
		tab := &Table{hosts: map[string]sender{}, names: map[string]sender{}}
		if err := tab.readSources(tsv); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, tsv := range map[string]string{
		"a duplicate": "gclid\tads\tgoogle\ngclid\tads\tgoogle", "an unknown kind": "gclid\tpaid\tgoogle", "a missing field": "gclid\tads",
	} {
		tab := &Table{clickIDs: map[string]sender{}}
		if err := tab.readClickIDs(tsv); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzVisit(f *testing.F) {
	f.Add(page+"?utm_source=a&gclid=SECRET", "https://www.google.co.jp/")
	f.Add("?utm_source=%ff%&fbclid=1", "android-app://com.twitter.android")
	f.Add("https://[::1]:80/", "//...//")
	tab := table(f)
	kinds := []string{Direct, Search, Social, Referral, Campaign, Email, Ads, Internal, AI}
	f.Fuzz(func(t *testing.T, pageURL, referrer string) {
		c := tab.Visit(pageURL, referrer)
		if !slices.Contains(kinds, c.Kind) {
			t.Errorf("kind %q", c.Kind)
		}
		if _, ok := tab.clickIDs[c.ClickID]; c.ClickID != "" && !ok {
			t.Errorf("click identifier %q", c.ClickID)
		}
		for _, s := range []string{c.Source, c.Medium, c.Campaign, c.Term, c.Content, c.ReferrerHost} {
			if !utf8.ValidString(s) || len(s) > 3*maxHost {
				t.Errorf("value %q", s)
			}
		}
	})
}

func BenchmarkVisit(b *testing.B) {
	tab := table(b)
	for _, bench := range []struct {
		name, page, referrer string
		allocs               float64 // the ceiling
	}{
		{"direct", page, "", 0},
		{"search", page + "?page=2", "https://www.google.co.jp/", 0},
		{"internal", page, "https://shop.example.jp/a", 0},
		{"campaign", page + "?utm_source=a&utm_medium=cpc&utm_campaign=%E7%A7%8B&gclid=x", "", 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			if allocs := testing.AllocsPerRun(100, func() { tab.Visit(bench.page, bench.referrer) }); allocs > bench.allocs {
				b.Fatalf("%v allocations, want at most %v", allocs, bench.allocs)
			}
			b.ReportAllocs()
			for b.Loop() {
				tab.Visit(bench.page, bench.referrer)
			}
		})
	}
}
