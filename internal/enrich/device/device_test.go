package device

import (
	"strings"
	"testing"
)

const (
	chromeWindows  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
	safariIPhone   = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
	chromeAndroid  = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36"
	headlessChrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, ua string
		hints    Hints
		want     Device
	}{
		{"Chrome on Windows", chromeWindows, Hints{}, Device{Desktop, "chrome", 131, "windows", "10", false}},
		{"Edge on Windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.70", Hints{}, Device{Desktop, "edge", 131, "windows", "10", false}},
		{"Internet Explorer 11", "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", Hints{}, Device{Desktop, "ie", 11, "windows", "7", false}},
		{"Firefox on Linux", "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", Hints{}, Device{Desktop, "firefox", 132, "linux", "", false}},
		{"Safari on a Mac", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15", Hints{}, Device{Desktop, "safari", 18, "macos", "10", false}},
		{"Safari on an iPhone", safariIPhone, Hints{}, Device{Mobile, "safari", 17, "ios", "17", false}},
		{"Safari on an old iPad", "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Mobile/15E148 Safari/604.1", Hints{}, Device{Tablet, "safari", 12, "ios", "12", false}},
		{"Chrome on Android", chromeAndroid, Hints{"?1", `"Android"`}, Device{Mobile, "chrome", 131, "android", "10", false}},
		{"Chrome on an Android tablet", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36", Hints{"?0", `"Android"`}, Device{Tablet, "chrome", 131, "android", "10", false}},
		{"Samsung Internet", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36", Hints{}, Device{Mobile, "samsung_internet", 27, "android", "10", false}},
		{"LINE", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari/604.1 Line/14.10.0", Hints{}, Device{Mobile, "line", 14, "ios", "17", false}},
		{"Yahoo! JAPAN app", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 YJApp-IOS jp.co.yahoo.ipn.appli/4.100.0", Hints{}, Device{Mobile, "yahoo_japan", 0, "ios", "17", false}},
		{"Opera", chromeWindows + " OPR/115.0.0.0", Hints{}, Device{Desktop, "opera", 115, "windows", "10", false}},
		{"a browser of a name unknown", chromeWindows + " TaroYamada0312345678/3.1", Hints{}, Device{Desktop, other, 0, "windows", "10", false}},
		{"Chrome OS", "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36", Hints{}, Device{Desktop, "chrome", 131, "chromeos", "", false}},
		{"a television", "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/4.0 Chrome/94.0.4606.31 TV Safari/537.36", Hints{}, Device{TV, "samsung_internet", 4, "tizen", "", false}},
		{"a console", "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15", Hints{}, Device{Console, "safari", 13, "playstation", "", false}},
		{"a telephone named after robots", "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0.3987.99 Mobile Safari/537.36", Hints{}, Device{Mobile, "chrome", 80, "android", "9", false}},

		{"hints where the user agent is silent", "", Hints{"?1", `"Android"`}, Device{Mobile, "", 0, "android", "", false}},
		{"a desktop by hints", "", Hints{"?0", `"Windows"`}, Device{Desktop, "", 0, "windows", "", false}},
		{"hints that make no sense", "", Hints{"yes", "Taro"}, Device{Class: Unknown}},
		{"a telephone that asks for the desktop site", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36", Hints{"?1", `"Android"`}, Device{Mobile, "chrome", 131, "android", "", false}},
		{"nothing", " ", Hints{}, Device{Class: Unknown}},

		{"headless Chrome", headlessChrome, Hints{}, Device{Class: Bot, Bot: true}},
		{"Googlebot", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Hints{}, Device{Class: Bot, Bot: true}},
		{"Googlebot as a telephone", "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Hints{}, Device{Class: Bot, Bot: true}},
		{"bingbot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36", Hints{}, Device{Class: Bot, Bot: true}},
		{"GPTBot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", Hints{}, Device{Class: Bot, Bot: true}},
		{"a link preview of LINE", "facebookexternalhit/1.1;line-poker/1.0", Hints{}, Device{Class: Bot, Bot: true}},
		{"Lighthouse", strings.Replace(chromeAndroid, "Safari", "Chrome-Lighthouse Safari", 1), Hints{}, Device{Class: Bot, Bot: true}},
		{"curl", "curl/8.5.0", Hints{}, Device{Class: Bot, Bot: true}},
		{"a library", "python-requests/2.32.3", Hints{}, Device{Class: Bot, Bot: true}},
		{"PhantomJS", "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1", Hints{}, Device{Class: Bot, Bot: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Parse(test.ua, test.hints); got != test.want {
				t.Errorf("Parse =\n%+v, want\n%+v", got, test.want)
			}
		})
	}
}

func TestOnlyTheFirstBytesAreRead(t *testing.T) {
	long := chromeWindows + strings.Repeat(" ", maxLength) + "HeadlessChrome/1.0"
	if got := Parse(long, Hints{}); got.Bot || got.Browser != "chrome" {
		t.Errorf("Parse = %+v", got)
	}
}

// closed lists every value the fields may have.
func closed() (classes, browsers, systems map[string]bool) {
	classes, browsers, systems = map[string]bool{}, map[string]bool{"": true, other: true}, map[string]bool{"": true, other: true}
	for _, c := range []string{Desktop, Mobile, Tablet, TV, Console, Bot, Unknown} {
		classes[c] = true
	}
	for _, a := range apps {
		browsers[a.family] = true
	}
	for _, f := range families {
		browsers[f] = true
	}
	for _, s := range strings.Fields("windows windows_phone macos ios android chromeos linux freebsd harmonyos blackberry playstation nintendo tizen webos kaios") {
		systems[s] = true
	}
	return classes, browsers, systems
}

func FuzzParse(f *testing.F) {
	for _, ua := range []string{chromeWindows, safariIPhone, chromeAndroid, headlessChrome, "", "Mozilla/5.0 (Linux; Android", "a/1 (;;[]", "Line/99999999999 x"} {
		f.Add(ua, "?1", `"Android"`)
	}
	classes, browsers, systems := closed()
	f.Fuzz(func(t *testing.T, ua, mobile, platform string) {
		d := Parse(ua, Hints{mobile, platform})
		if !classes[d.Class] || !browsers[d.Browser] || !systems[d.OS] || len(d.OSVersion) > 5 || d.Bot != (d.Class == Bot) {
			t.Errorf("Parse(%q) = %+v", ua, d)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, bench := range []struct {
		name, ua string
		allocs   float64 // the ceiling
	}{
		{"Chrome on Windows", chromeWindows, 20},
		{"Safari on an iPhone", safariIPhone, 20},
		{"robot", headlessChrome, 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			if allocs := testing.AllocsPerRun(100, func() { Parse(bench.ua, Hints{}) }); allocs > bench.allocs {
				b.Fatalf("%v allocations, want at most %v", allocs, bench.allocs)
			}
			b.ReportAllocs()
			for b.Loop() {
				Parse(bench.ua, Hints{})
			}
		})
	}
}
