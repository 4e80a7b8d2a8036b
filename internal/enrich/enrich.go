// Package enrich derives what may be kept of an address, a user agent and a page's URLs: country and region, device
// class, channel. Its answers come from closed tables; none holds its input.
package enrich

import (
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/mileusna/useragent"
	"zgo.at/isbot"

	"github.com/sekisho/sekisho/internal/enrich/geo"
)

// maxUserAgent bounds what is parsed of a user agent, in bytes: parsing must not be a way to spend our time.
const maxUserAgent = 512

// Device is what a user agent says.
type Device struct {
	Class          string // desktop, mobile, tablet or unknown
	Browser        string
	BrowserVersion uint16
	OS             string
	OSVersion      string
	Bot            bool
}

// ParseDevice reads a user agent and the client hints Sec-CH-UA-Mobile and -Platform, which may be empty. A missing
// user agent and a headless browser count as robots.
func ParseDevice(userAgent, mobile, platform string) Device {
	if len(userAgent) > maxUserAgent {
		userAgent = userAgent[:maxUserAgent]
	}
	if userAgent == "" || strings.Contains(userAgent, "Headless") || isRobot(userAgent) {
		return Device{Class: "unknown", Bot: true}
	}
	ua := useragent.Parse(userAgent)
	d := Device{Class: "unknown", Browser: ua.Name, OS: ua.OS, Bot: ua.Bot}
	switch {
	case ua.Tablet:
		d.Class = "tablet"
	case ua.Mobile || mobile == "?1":
		d.Class = "mobile"
	case ua.Desktop:
		d.Class = "desktop"
	}
	if ua.VersionNo.Major > 0 && ua.VersionNo.Major < 1<<16 {
		d.BrowserVersion = uint16(ua.VersionNo.Major)
	}
	if ua.OSVersionNo.Major > 0 && ua.OSVersionNo.Major < 1000 {
		d.OSVersion = strconv.Itoa(ua.OSVersionNo.Major)
	}
	if d.OS == "" {
		d.OS = strings.Trim(platform, `"`)
	}
	if !known(operatingSystems, d.OS) {
		d.OS = ""
	}
	if !known(browsers, d.Browser) {
		d.Browser, d.BrowserVersion = "other", 0
	}
	return d
}

// A user agent can say anything, so only names of these lists are kept.
var (
	operatingSystems = []string{"Windows", "macOS", "iOS", "Android", "Linux", "ChromeOS", "CrOS", "Chrome OS", "FreeBSD"}
	browsers         = []string{
		"Chrome", "Firefox", "Safari", "Edge", "Opera", "Opera Mini", "Opera Touch", "Samsung Browser", "Vivaldi",
		"Brave", "Yandex Browser", "Internet Explorer", "Android browser", "Instagram App", "Facebook App", "Line", "LINE",
	}
)

func known(list []string, name string) bool {
	for _, n := range list {
		if n == name {
			return true
		}
	}
	return false
}

func isRobot(userAgent string) bool {
	return isbot.Is(isbot.Bot(&http.Request{Header: http.Header{"User-Agent": {userAgent}}}))
}

// Channel is where a visit came from. Kind is direct, internal, search, social, ai, email, ads, campaign or referral.
type Channel struct {
	Kind, Source, Medium, Campaign, Term, Content, ClickIDKind string
	ReferrerHost                                               string
}

// referrers are hosts (with everything below them) whose kind is known.
var referrers = map[string]struct{ kind, source string }{
	"bing.com": {"search", "bing"}, "search.yahoo.co.jp": {"search", "yahoo_jp"}, "search.yahoo.com": {"search", "yahoo"},
	"duckduckgo.com": {"search", "duckduckgo"}, "baidu.com": {"search", "baidu"}, "naver.com": {"search", "naver"},
	"ecosia.org": {"search", "ecosia"}, "goo.ne.jp": {"search", "goo"}, "yandex.ru": {"search", "yandex"},
	"x.com": {"social", "x"}, "twitter.com": {"social", "x"}, "t.co": {"social", "x"}, "facebook.com": {"social", "facebook"},
	"instagram.com": {"social", "instagram"}, "line.me": {"social", "line"}, "youtube.com": {"social", "youtube"},
	"tiktok.com": {"social", "tiktok"}, "linkedin.com": {"social", "linkedin"}, "reddit.com": {"social", "reddit"},
	"note.com": {"social", "note"}, "hatena.ne.jp": {"social", "hatena"}, "qiita.com": {"social", "qiita"},
	"zenn.dev": {"social", "zenn"}, "github.com": {"social", "github"},
	"chatgpt.com": {"ai", "chatgpt"}, "perplexity.ai": {"ai", "perplexity"}, "gemini.google.com": {"ai", "gemini"},
	"claude.ai": {"ai", "claude"}, "copilot.microsoft.com": {"ai", "copilot"},
	"mail.google.com": {"email", "gmail"}, "mail.yahoo.co.jp": {"email", "yahoo_jp"}, "outlook.live.com": {"email", "outlook"},
}

// clickIDs are the parameters by which ad networks mark a click. Only the kind is kept, never the value.
var clickIDs = []string{"gclid", "gbraid", "wbraid", "yclid", "fbclid", "msclkid", "ttclid", "twclid", "ldtag_cl"}

// adClick are the click ids that only an advertisement sets.
var adClick = map[string]bool{"gclid": true, "gbraid": true, "wbraid": true, "yclid": true, "msclkid": true, "ldtag_cl": true}

// ParseChannel classifies a page's URL and referrer.
func ParseChannel(pageURL, referrer string) Channel {
	var c Channel
	page, err := url.Parse(pageURL)
	if err != nil {
		page = &url.URL{}
	}
	q := page.Query()
	c.Source, c.Medium, c.Campaign = q.Get("utm_source"), q.Get("utm_medium"), q.Get("utm_campaign")
	c.Term, c.Content = q.Get("utm_term"), q.Get("utm_content")
	for _, id := range clickIDs {
		if q.Has(id) {
			c.ClickIDKind = id
			break
		}
	}
	if from, err := url.Parse(referrer); err == nil {
		c.ReferrerHost = strings.TrimPrefix(strings.ToLower(from.Hostname()), "www.")
	}
	own := strings.TrimPrefix(strings.ToLower(page.Hostname()), "www.")
	kind, source := ofReferrer(c.ReferrerHost)
	medium := strings.ToLower(c.Medium)
	switch {
	case adClick[c.ClickIDKind] || known([]string{"cpc", "ppc", "cpm", "display", "banner", "paid", "paid_social", "affiliate"}, medium):
		c.Kind = "ads"
	case medium == "email" || medium == "e-mail" || medium == "newsletter":
		c.Kind = "email"
	case c.Source != "" || c.Medium != "" || c.Campaign != "":
		c.Kind = "campaign"
	case c.ReferrerHost == "":
		c.Kind = "direct"
	case c.ReferrerHost == own:
		c.Kind, c.ReferrerHost = "internal", ""
	default:
		c.Kind = kind
	}
	if c.Source == "" {
		c.Source = source
	}
	return c
}

// ofReferrer finds the kind of a referring host by the host and every domain above it.
func ofReferrer(host string) (kind, source string) {
	if host == "" {
		return "", ""
	}
	for name := host; name != ""; {
		if r, ok := referrers[name]; ok {
			return r.kind, r.source
		}
		_, above, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		name = above
	}
	if label, _, _ := strings.Cut(host, "."); label == "google" {
		return "search", "google"
	}
	return "referral", ""
}

// Place is where an address is: country (ISO 3166-1) and region (ISO 3166-2). Empty is unknown.
func Place(db *geo.DB, a netip.Addr) (country, region string) {
	p := db.Lookup(a)
	return p.Country, p.Region
}
