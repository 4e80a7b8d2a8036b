package enrich

import (
	"strings"
	"testing"
)

func TestDevices(t *testing.T) {
	for ua, want := range map[string]Device{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36":                         {Class: "desktop", Browser: "Chrome", BrowserVersion: 141, OS: "Windows"},
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.2 Mobile/15E148 Safari/604.1": {Class: "mobile", Browser: "Safari", BrowserVersion: 18, OS: "iOS"},
		"Mozilla/5.0 (iPad; CPU OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1":          {Class: "tablet", Browser: "Safari", BrowserVersion: 17, OS: "iOS"},
		"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0":                                                                  {Class: "desktop", Browser: "Firefox", BrowserVersion: 143, OS: "Linux"},
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                                                {Bot: true},
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36":                           {Bot: true},
		"curl/8.5.0": {Bot: true},
		"":           {Bot: true},
	} {
		got := ParseDevice(ua, "", "")
		if want.Bot {
			if !got.Bot {
				t.Errorf("%q is no robot", ua)
			}
			continue
		}
		got.OSVersion = ""
		if got != want {
			t.Errorf("%q: %+v, want %+v", ua, got, want)
		}
	}
}

func TestChannels(t *testing.T) {
	for name, c := range map[string]struct{ page, referrer, kind, source string }{
		"direct":             {"https://shop.example/", "", "direct", ""},
		"own page":           {"https://www.shop.example/a", "https://shop.example/b", "internal", ""},
		"search":             {"https://shop.example/", "https://www.google.co.jp/", "search", "google"},
		"Japanese search":    {"https://shop.example/", "https://search.yahoo.co.jp/search?p=x", "search", "yahoo_jp"},
		"social":             {"https://shop.example/", "https://t.co/abc", "social", "x"},
		"assistant":          {"https://shop.example/", "https://chatgpt.com/", "ai", "chatgpt"},
		"web mail":           {"https://shop.example/", "https://mail.google.com/mail", "email", "gmail"},
		"another site":       {"https://shop.example/", "https://blog.example/post", "referral", ""},
		"newsletter":         {"https://shop.example/?utm_source=news&utm_medium=email", "", "email", "news"},
		"campaign":           {"https://shop.example/?utm_source=poster&utm_campaign=spring", "", "campaign", "poster"},
		"paid search":        {"https://shop.example/?gclid=abc", "https://www.google.com/", "ads", "google"},
		"a name that is not": {"https://shop.example/", "https://notbing.com/", "referral", ""},
		"an unreadable page": {"https://%zz", "https://bing.com/", "search", "bing"},
	} {
		got := ParseChannel(c.page, c.referrer)
		if got.Kind != c.kind || got.Source != c.source {
			t.Errorf("%s: %s %q, want %s %q", name, got.Kind, got.Source, c.kind, c.source)
		}
	}
}

func TestAClickIDsValueIsNotKept(t *testing.T) {
	c := ParseChannel("https://shop.example/?fbclid=SECRETVALUE&utm_term=shoes", "")
	if c.ClickIDKind != "fbclid" || c.Term != "shoes" {
		t.Errorf("%+v", c)
	}
	if strings.Contains(c.Source+c.Medium+c.Campaign+c.Content+c.ReferrerHost, "SECRET") {
		t.Error("the value is kept")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("https://shop.example/?gclid=1", "https://t.co/x", "Mozilla/5.0")
	f.Fuzz(func(_ *testing.T, page, referrer, ua string) {
		ParseChannel(page, referrer)
		ParseDevice(ua, "", "")
	})
}

func BenchmarkParseDevice(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParseDevice("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", "", "")
	}
}
