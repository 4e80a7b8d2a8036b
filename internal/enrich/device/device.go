// Package device says what kind of device, browser and operating system a user agent names, and whether it is a robot.
//
// Its answers come from closed sets: nothing of the user agent's own text gets through but numbers, so a forged one
// can neither fill a store with distinct values nor carry anything into it. What is not in the sets is "other", what
// is not said is "".
package device

import (
	"math"
	"strconv"
	"strings"

	"github.com/mileusna/useragent"
	"zgo.at/isbot"
)

// The classes of devices.
const (
	Desktop = "desktop"
	Mobile  = "mobile"
	Tablet  = "tablet"
	TV      = "tv"
	Console = "console"
	Bot     = "bot"
	Unknown = "unknown"
)

// other is a browser or a system that is named but not in the tables.
const other = "other"

// maxLength is how much of a user agent is read, in bytes. Real ones are shorter.
const maxLength = 512

// Device is what is kept of a user agent.
type Device struct {
	Class          string // one of the constants
	Browser        string // a family of the table in this package, "other" or ""
	BrowserVersion uint16 // major; 0 is unknown
	OS             string // a family, "other" or ""
	OSVersion      string // major, such as "14"; "" is unknown
	Bot            bool   // a robot, a preview or a browser without a person
}

// Hints are the low-entropy client hints that browsers send unasked, as their headers have them. Empty is not sent.
type Hints struct {
	Mobile   string // Sec-CH-UA-Mobile: ?0 or ?1
	Platform string // Sec-CH-UA-Platform: "Android", "Chrome OS", "iOS", "Linux", "macOS", "Windows", quoted
}

// Parse reads a user agent. An empty one says nothing; in particular it does not say robot, since events from servers
// come without.
func Parse(userAgent string, hints Hints) Device {
	userAgent = userAgent[:min(len(userAgent), maxLength)]
	d := Device{Class: Unknown}
	if strings.TrimSpace(userAgent) == "" {
		d.takeHints(hints)
		return d
	}
	folded := strings.ToLower(userAgent)
	verdict := isbot.UserAgent(userAgent)
	if isbot.Is(verdict) || containsAny(folded, headless) {
		return Device{Class: Bot, Bot: true}
	}
	ua := useragent.Parse(userAgent)
	// isbot knows telephones with "bot" in their names, and says so.
	if ua.Bot && verdict != isbot.NoBotKnown {
		return Device{Class: Bot, Bot: true}
	}
	d.Browser, d.BrowserVersion = browser(folded, &ua)
	d.OS, d.OSVersion = system(folded, &ua)
	d.Class = class(folded, &ua)
	d.takeHints(hints)
	return d
}

// headless are the marks, in lower case, of browsers that nobody sits at.
var headless = []string{
	"headless", "phantomjs", "puppeteer", "playwright", "selenium", "webdriver", "slimerjs", "htmlunit", "jsdom", "nightmare", "cypress",
	"chrome-lighthouse", "pagespeed", "ptst/", "gtmetrix", "pingdom", "uptimerobot", "statuscake", "datadogsynthetics", "google-inspectiontool",
	"googleother", "google-read-aloud", "line-poker", "bingpreview", "skypeuripreview", "whatsapp/", "prerender",
}

// apps are the browsers, in lower-case tokens, that the parser takes for the engine they are made of; most are the
// windows that apps open for a link. The first that is found counts.
var apps = []struct{ token, family string }{
	{" line/", "line"},
	{"yjapp-", "yahoo_japan"},
	{"yjtop", "yahoo_japan"},
	{"instagram ", "instagram"},
	{"fban/", "facebook"},
	{"fb_iab", "facebook"},
	{"fbav/", "facebook"},
	{"bytedancewebview", "tiktok"},
	{"musical_ly", "tiktok"},
	{"twitter for", "x"},
	{"twitterandroid", "x"},
	{"pinterest/", "pinterest"},
	{"micromessenger/", "wechat"},
	{"kakaotalk", "kakaotalk"},
	{"smartnews", "smartnews"},
	{"gsa/", "google_app"},
	{"duckduckgo/", "duckduckgo"},
	{"yabrowser/", "yandex"},
	{"ucbrowser/", "uc"},
	{"silk/", "silk"},
	{"whale/", "whale"},
	{"sleipnir/", "sleipnir"},
	{"vivaldi/", "vivaldi"},
	{"huaweibrowser/", "huawei"},
	{"miuibrowser/", "miui"},
	{"brave/", "brave"},
	{"focus/", "firefox"},
	{"klar/", "firefox"},
}

// families maps the parser's names to ours.
var families = map[string]string{
	useragent.Chrome: "chrome", useragent.Firefox: "firefox", useragent.Safari: "safari", useragent.Edge: "edge", useragent.Opera: "opera",
	useragent.OperaMini: "opera", useragent.OperaTouch: "opera", useragent.InternetExplorer: "ie", useragent.SamsungBrowser: "samsung_internet",
	useragent.Vivaldi: "vivaldi", useragent.NetFront: "netfront", useragent.BlackBerry: "blackberry", "Android browser": "android",
	"Miui Browser": "miui", "Huawei Browser": "huawei", useragent.FacebookApp: "facebook", useragent.InstagramApp: "instagram",
	useragent.TiktokApp: "tiktok", "Trident": "ie",
}

func browser(folded string, ua *useragent.UserAgent) (string, uint16) {
	for _, a := range apps {
		if at := strings.Index(folded, a.token); at >= 0 {
			return a.family, leadingNumber(folded[at+len(a.token):])
		}
	}
	if strings.Contains(folded, "trident/") {
		if at := strings.Index(folded, "rv:"); at >= 0 {
			return "ie", leadingNumber(folded[at+len("rv:"):])
		}
	}
	family, ok := families[ua.Name]
	if !ok {
		return other, 0
	}
	return family, major(ua.VersionNo.Major)
}

// leadingNumber reads the number that s starts with; 0 if there is none.
func leadingNumber(s string) uint16 {
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			break
		}
		if n = n*10 + int(c-'0'); n > math.MaxUint16 {
			return 0
		}
	}
	return major(n)
}

func major(n int) uint16 {
	if n < 0 || n > math.MaxUint16 {
		return 0
	}
	return uint16(n)
}

// windows are the names that Windows goes by for its kernel's versions. Windows 11 calls itself 10.
var windows = map[string]string{"5.1": "xp", "5.2": "xp", "6.0": "vista", "6.1": "7", "6.2": "8", "6.3": "8", "10.0": "10"}

func system(folded string, ua *useragent.UserAgent) (family, version string) {
	switch {
	case strings.Contains(folded, "playstation"):
		return "playstation", ""
	case strings.Contains(folded, "nintendo"):
		return "nintendo", ""
	case strings.Contains(folded, "tizen"):
		return "tizen", ""
	case strings.Contains(folded, "web0s"), strings.Contains(folded, "webos"):
		return "webos", ""
	case strings.Contains(folded, "kaios"):
		return "kaios", ""
	}
	switch ua.OS {
	case useragent.Windows:
		return "windows", windows[ua.OSVersion]
	case useragent.WindowsPhone:
		return "windows_phone", ""
	case useragent.MacOS:
		family = "macos"
	case useragent.IOS:
		family = "ios"
	case useragent.Android:
		family = "android"
	case useragent.ChromeOS:
		return "chromeos", "" // its number is the browser's
	case useragent.Linux:
		return "linux", "" // its number is the processor's name
	case useragent.FreeBSD:
		return "freebsd", ""
	case useragent.Harmony:
		family = "harmonyos"
	case useragent.BlackBerry:
		return "blackberry", ""
	default:
		return other, ""
	}
	if n := ua.OSVersionNo.Major; n > 0 && n < 1000 {
		version = strconv.Itoa(n)
	}
	return family, version
}

var (
	consoles    = []string{"playstation", "nintendo", "xbox"}
	televisions = []string{
		"smart-tv", "smarttv", "smart tv", "googletv", "google tv", "android tv", "appletv", "apple tv", "hbbtv", "crkey", "roku", "web0s",
		"netcast", "bravia", "viera", "aquos-tv", "; aft", "dlnadoc", "tv safari", "tizen tv", "large screen",
	}
)

func class(folded string, ua *useragent.UserAgent) string {
	switch {
	case containsAny(folded, consoles):
		return Console
	case containsAny(folded, televisions):
		return TV
	case ua.Tablet:
		return Tablet
	case ua.OS == useragent.Android && !strings.Contains(folded, "mobile") && !strings.Contains(folded, "opera mini"):
		return Tablet // by Google's advice a tablet leaves the word out
	case ua.Mobile:
		return Mobile
	case ua.Desktop:
		return Desktop
	}
	return Unknown
}

var platforms = map[string]string{
	"android": "android", "chrome os": "chromeos", "chromium os": "chromeos", "ios": "ios", "linux": "linux", "macos": "macos", "windows": "windows",
}

// takeHints lets the hints say what the user agent does not, or does not say any more.
func (d *Device) takeHints(hints Hints) {
	if family := platforms[strings.ToLower(strings.Trim(hints.Platform, `" `))]; family != "" && family != d.OS {
		if d.OS == "" || d.OS == other || d.OS == "linux" && family == "android" {
			d.OS, d.OSVersion = family, ""
		}
	}
	switch hints.Mobile {
	case "?1":
		if d.Class == Desktop || d.Class == Unknown {
			d.Class = Mobile
		}
	case "?0":
		if d.Class == Unknown && (d.OS == "windows" || d.OS == "macos" || d.OS == "linux" || d.OS == "chromeos") {
			d.Class = Desktop
		}
	}
}

func containsAny(s string, of []string) bool {
	for _, o := range of {
		if strings.Contains(s, o) {
			return true
		}
	}
	return false
}
