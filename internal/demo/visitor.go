package demo

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Choice is what a visitor answers when asked for consent.
type Choice uint8

// The choices.
const (
	Granted   Choice = iota // every purpose
	Granular                // some purposes
	Refused                 // every purpose: a hint on the batches, and no identifier
	Undecided               // does not answer
	Withdrew                // granted, and took it back
	Robot                   // nobody, to be dropped

	numChoices
)

var choiceNames = [numChoices]string{"granted", "granular", "refused", "undecided", "withdrew", "robot"}

// shares are how many of a hundred visitors choose what.
var shares = [numChoices]int{Granted: 62, Granular: 10, Refused: 11, Undecided: 9, Withdrew: 5, Robot: 3}

func (c Choice) String() string {
	if c < numChoices {
		return choiceNames[c]
	}
	return ""
}

// returns reports whether the visitor may be recognised on another day.
func (c Choice) returns() bool { return c == Granted || c == Granular || c == Withdrew }

// choicesFor are the choices of n visitors. Whoever is left over by rounding grants.
func choicesFor(n int) []Choice {
	choices := make([]Choice, 0, n)
	for c := range numChoices {
		for range n * shares[c] / 100 {
			choices = append(choices, c)
		}
	}
	for len(choices) < n {
		choices = append(choices, Granted)
	}
	return choices
}

// visitor is who comes.
type visitor struct {
	choice   Choice
	cookie   string // in use only while a grant stands
	account  string // empty: never signs in
	gpc      bool
	place    *place
	address  netip.Addr
	language string // of the shop
	tag      string // of the browser, BCP 47
	accept   string // Accept-Language
	device   *machine
	source   *source
	dark     bool
	still    bool // prefers reduced motion
}

// weighted is something that is drawn by its weight.
type weighted interface{ share() int }

// draw picks one by weight.
func draw[T weighted](rng *rand.Rand, of []T) T {
	sum := 0
	for _, o := range of {
		sum += o.share()
	}
	n := rng.IntN(sum)
	for _, o := range of {
		if n -= o.share(); n < 0 {
			return o
		}
	}
	return of[len(of)-1]
}

func newVisitor(rng *rand.Rand, choice Choice) *visitor {
	v := &visitor{
		choice: choice, cookie: newUUID(rng).String(), place: draw(rng, places()), gpc: rng.Float64() < 0.07,
		dark: rng.Float64() < 0.35, still: rng.Float64() < 0.06,
	}
	v.address = someAddress(rng, v.place.blocks[rng.IntN(len(v.place.blocks))])
	v.tag, v.accept, v.language = v.place.tag, v.place.accept, v.place.language
	if v.place.country != "JP" && rng.Float64() < 0.06 || v.place.country == "JP" && rng.Float64() < 0.04 {
		v.tag, v.accept, v.language = "en-US", "en-US,en;q=0.9", "en" // reads English wherever
	}
	v.device = draw(rng, devices(choice == Robot))
	v.source = draw(rng, sources(v.place.country, v.device.app))
	if choice == Robot {
		v.gpc = false
	}
	if choice.returns() && rng.Float64() < 0.22 {
		v.account = "member-" + hexOf(rng, 6)
	}
	return v
}

func newUUID(rng *rand.Rand) uuid.UUID {
	var id uuid.UUID
	fill(rng, id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4
	return id
}

func fill(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32()) //nolint:gosec // G115: eight random bits
	}
}

func hexOf(rng *rand.Rand, n int) string {
	b := make([]byte, n)
	fill(rng, b)
	return hex.EncodeToString(b)
}

// someAddress is an address of a block.
func someAddress(rng *rand.Rand, block netip.Prefix) netip.Addr {
	a := block.Addr().AsSlice()
	for i := range a {
		free := min(max((i+1)*8-block.Bits(), 0), 8)
		a[i] |= byte(rng.Uint32()) & byte(1<<free-1) //nolint:gosec // G115: eight random bits
	}
	address, _ := netip.AddrFromSlice(a)
	return address
}

// place is where visitors come from: a country with blocks of its large providers.
type place struct {
	country  string // ISO 3166-1 alpha-2
	weight   int
	zone     string
	tag      string
	accept   string
	language string // of the shop
	blocks   []netip.Prefix
}

func (p *place) share() int { return p.weight }

func blocks(cidrs ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(cidrs))
	for i, c := range cidrs {
		all[i] = netip.MustParsePrefix(c)
	}
	return all
}

// places are drawn by their weights. A test looks every block up in the country database.
func places() []*place {
	return []*place{
		{"JP", 56, "Asia/Tokyo", "ja", "ja,en-US;q=0.7,en;q=0.3", "ja", blocks("60.64.0.0/10", "153.192.0.0/11", "220.96.0.0/14", "106.128.0.0/10", "123.216.0.0/13", "2400:4050::/30", "240b:10::/28")},
		{"US", 10, "America/New_York", "en-US", "en-US,en;q=0.9", "en", blocks("73.0.0.0/8", "98.192.0.0/10", "24.0.0.0/12", "107.192.0.0/10")},
		{"TW", 7, "Asia/Taipei", "zh-TW", "zh-TW,zh;q=0.9,ja;q=0.8,en;q=0.7", "ja", blocks("1.160.0.0/12", "114.32.0.0/12", "61.216.0.0/14")},
		{"KR", 6, "Asia/Seoul", "ko-KR", "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "en", blocks("175.192.0.0/10", "121.128.0.0/10")},
		{"DE", 5, "Europe/Berlin", "de-DE", "de-DE,de;q=0.9,en;q=0.8", "en", blocks("84.128.0.0/10", "91.0.0.0/10", "79.192.0.0/10")},
		{"GB", 5, "Europe/London", "en-GB", "en-GB,en;q=0.9", "en", blocks("86.128.0.0/10", "81.128.0.0/11", "109.144.0.0/12")},
		{"FR", 5, "Europe/Paris", "fr-FR", "fr-FR,fr;q=0.9,en;q=0.8", "en", blocks("82.64.0.0/14", "86.192.0.0/11", "2a01:e0a::/32")},
		{"AU", 3, "Australia/Sydney", "en-AU", "en-AU,en;q=0.9", "en", blocks("1.120.0.0/13", "101.160.0.0/11")},
		{"SG", 3, "Asia/Singapore", "en-SG", "en-SG,en;q=0.9", "en", blocks("116.86.0.0/15", "118.200.0.0/16")},
	}
}

// machine is a device with a browser.
type machine struct {
	weight   int
	class    string // what the pipeline should take it for
	app      string // the app whose browser it is
	agent    string
	platform string // Sec-CH-UA-Platform; only Chromium sends it
	mobile   bool
	screens  []string
	inset    [2]int // what the browser takes of the screen
	networks []string
}

func (d *machine) share() int { return d.weight }

// devices are browsers as they are at the end of 2026, or robots.
func devices(robots bool) []*machine {
	if robots {
		return []*machine{
			{3, "bot", "", "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "", true, []string{"412x732"}, [2]int{}, nil},
			{2, "bot", "", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "", false, []string{"1280x1024"}, [2]int{}, nil},
			{2, "bot", "", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36", "Linux", false, []string{"800x600"}, [2]int{}, []string{"4g"}},
			{1, "bot", "", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", "", false, []string{"1024x768"}, [2]int{}, nil},
		}
	}
	const webkit, gecko = "AppleWebKit/605.1.15 (KHTML, like Gecko)", "AppleWebKit/537.36 (KHTML, like Gecko)"
	phones := []string{"390x844", "393x852", "402x874", "430x932"}
	androids := []string{"360x800", "384x832", "412x915", "411x923"}
	desks := []string{"1920x1080", "1536x864", "2560x1440", "1366x768"}
	macs := []string{"1440x900", "1512x982", "1728x1117", "2560x1440"}
	mobile := []string{"4g", "4g", "4g", "3g"}
	desk := []string{"4g", "4g", "wifi", "ethernet"}
	return []*machine{
		{30, "mobile", "", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) " + webkit + " Version/26.6 Mobile/15E148 Safari/604.1", "", true, phones, [2]int{0, 180}, nil},
		{7, "mobile", "line", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) " + webkit + " Mobile/15E148 Safari Line/15.17.1", "", true, phones, [2]int{0, 150}, nil},
		{6, "mobile", "instagram", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) " + webkit + " Mobile/15E148 Instagram 402.0.0.20.80 (iPhone16,1; iOS 18_7; ja_JP; ja; scale=3.00; 1179x2556)", "", true, phones, [2]int{0, 160}, nil},
		{20, "mobile", "", "Mozilla/5.0 (Linux; Android 10; K) " + gecko + " Chrome/156.0.0.0 Mobile Safari/537.36", "Android", true, androids, [2]int{0, 140}, mobile},
		{3, "mobile", "", "Mozilla/5.0 (Linux; Android 10; K) " + gecko + " SamsungBrowser/30.0 Chrome/148.0.0.0 Mobile Safari/537.36", "Android", true, androids, [2]int{0, 150}, mobile},
		{21, "desktop", "", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + gecko + " Chrome/156.0.0.0 Safari/537.36", "Windows", false, desks, [2]int{16, 130}, desk},
		{9, "desktop", "", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + gecko + " Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0", "Windows", false, desks, [2]int{16, 140}, desk},
		{5, "desktop", "", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:157.0) Gecko/20100101 Firefox/157.0", "", false, desks, [2]int{14, 120}, nil},
		{8, "desktop", "", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " + webkit + " Version/26.6 Safari/605.1.15", "", false, macs, [2]int{0, 110}, nil},
		{7, "desktop", "", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " + gecko + " Chrome/156.0.0.0 Safari/537.36", "macOS", false, macs, [2]int{0, 125}, desk},
		{2, "desktop", "", "Mozilla/5.0 (X11; Linux x86_64; rv:157.0) Gecko/20100101 Firefox/157.0", "", false, desks, [2]int{14, 120}, nil},
		{6, "tablet", "", "Mozilla/5.0 (iPad; CPU OS 18_7 like Mac OS X) " + webkit + " Version/26.6 Mobile/15E148 Safari/604.1", "", true, []string{"820x1180", "1024x1366", "744x1133"}, [2]int{0, 75}, nil},
		{2, "tablet", "", "Mozilla/5.0 (Linux; Android 10; K) " + gecko + " Chrome/156.0.0.0 Safari/537.36", "Android", false, []string{"800x1280", "753x1205"}, [2]int{0, 90}, []string{"4g", "wifi"}},
	}
}

// source is where a visit comes from.
type source struct {
	weight   int
	referrer string
	tags     string // query parameters of the page that the visit begins on
	click    string // a click identifier: its name
	campaign bool   // begins on the front page
}

func (s *source) share() int { return s.weight }

// sources are drawn by their weights; a visit inside an app comes from the app.
func sources(country, app string) []*source {
	switch app {
	case "line":
		return []*source{{weight: 1, referrer: "https://line.me/"}}
	case "instagram":
		return []*source{{weight: 1, referrer: "https://l.instagram.com/", tags: "", campaign: true}}
	}
	all := []*source{
		{weight: 25, referrer: "https://www.google.com/"},
		{weight: 18},
		{weight: 9, referrer: "https://www.google.com/", tags: "utm_source=google&utm_medium=cpc&utm_campaign=shincha", click: "gclid"},
		{weight: 9, tags: "utm_source=newsletter&utm_medium=email&utm_campaign=autumn_letters", campaign: true},
		{weight: 8, referrer: "https://t.co/"},
		{weight: 7, referrer: "https://www.bing.com/"},
		{weight: 6, referrer: "https://chatgpt.com/"},
		{weight: 6, referrer: "https://ochanoma.example/"},
		{weight: 5, tags: "utm_source=tea_fair&utm_medium=qr&utm_campaign=tea_fair_2026", campaign: true},
		{weight: 3, referrer: "https://www.reddit.com/"},
		{weight: 2, referrer: "https://mail.google.com/"},
	}
	if country == "JP" {
		all = append(all, &source{weight: 14, referrer: "https://search.yahoo.co.jp/"}, &source{weight: 4, referrer: "https://note.com/"})
	}
	return all
}

// smaller is a size without what a browser takes of it.
func smaller(screen string, inset [2]int) string {
	w, h, _ := strings.Cut(screen, "x")
	width, _ := strconv.Atoi(w)
	height, _ := strconv.Atoi(h)
	return strconv.Itoa(width-inset[0]) + "x" + strconv.Itoa(height-inset[1])
}

// environment is what the visitor's browser tells of itself.
func (v *visitor) environment(rng *rand.Rand) *environment {
	d := v.device
	e := &environment{Language: v.tag, Screen: d.screens[rng.IntN(len(d.screens))], ColorScheme: "light", ReducedMotion: v.still, TimeZone: v.place.zone}
	e.Viewport = smaller(e.Screen, d.inset)
	if len(d.networks) > 0 {
		e.Connection = d.networks[rng.IntN(len(d.networks))]
	}
	if v.dark {
		e.ColorScheme = "dark"
	}
	return e
}

// pick is a part of the purposes that need consent: one at least, and not all.
func pick(rng *rand.Rand, ask []string) []string {
	if len(ask) < 2 {
		return slices.Clone(ask)
	}
	order := rng.Perm(len(ask))
	chosen := order[:1+rng.IntN(len(ask)-1)]
	slices.Sort(chosen)
	some := make([]string, len(chosen))
	for i, at := range chosen {
		some[i] = ask[at]
	}
	return some
}

// seconds are from least to most, seldom much.
func seconds(rng *rand.Rand, least, most float64) time.Duration {
	x := rng.Float64()
	return time.Duration((least + (most-least)*x*x) * float64(time.Second)).Truncate(time.Millisecond)
}
