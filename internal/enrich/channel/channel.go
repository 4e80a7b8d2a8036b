// Package channel says where a visit came from: from the referrer's host, the campaign parameters of the page's URL,
// and the click identifiers that advertisers add to it.
//
// Who is a search engine, a social network, a mail reader or an assistant is in sources.tsv, which click identifiers
// there are in clickids.tsv; both are read into the program. Of a click identifier only the kind is kept: its value
// names one click of one person at the advertiser.
package channel

import (
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The kinds of channels.
const (
	Direct   = "direct"   // no referrer, no campaign
	Search   = "search"   // a search engine's results, unpaid
	Social   = "social"   // social networks, communities, video, messengers
	Referral = "referral" // a link on any other site
	Campaign = "campaign" // tagged by the site's owner as a campaign of no kind known here
	Email    = "email"    // a mail reader, or a link tagged as from a mailing
	Ads      = "ads"      // paid, by a click identifier or by its tag
	Internal = "internal" // from a page of the site itself
	AI       = "ai"       // an assistant's answer
)

// Limits in bytes on what is taken from a URL.
const (
	maxParameter = 120
	maxHost      = 253 // RFC 1035
)

// Channel is where a visit came from. Everything but Kind may be empty; Source is a name of the tables, the campaign's
// own source in lower case, or the referrer's host.
type Channel struct {
	Kind, Source                    string
	Medium, Campaign, Term, Content string
	ClickID                         string // its parameter's name, such as "gclid"
	ReferrerHost                    string
}

// Params are the campaign parameters of a page's URL. ClickID is the parameter's name, never its value.
type Params struct {
	Source, Medium, Campaign, Term, Content string
	ClickID                                 string
}

type sender struct{ kind, source string }

// Table holds who sends visitors. It holds nothing that changes and may be used by any number of goroutines.
type Table struct {
	hosts    map[string]sender
	names    map[string]sender // of patterns such as "google.*"
	clickIDs map[string]sender
}

//go:embed sources.tsv
var sourcesTSV string

//go:embed clickids.tsv
var clickIDsTSV string

// New reads the embedded tables.
func New() (*Table, error) {
	t := &Table{hosts: map[string]sender{}, names: map[string]sender{}, clickIDs: map[string]sender{}}
	if err := t.readSources(sourcesTSV); err != nil {
		return nil, fmt.Errorf("read sources.tsv: %w", err)
	}
	if err := t.readClickIDs(clickIDsTSV); err != nil {
		return nil, fmt.Errorf("read clickids.tsv: %w", err)
	}
	return t, nil
}

// lines calls f with the three fields of each line and joins the faults.
func lines(tsv string, f func(a, b, c string) error) error {
	var faults []error
	n := 0
	for line := range strings.Lines(tsv) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			faults = append(faults, fmt.Errorf("line %d: want 3 fields", n))
			continue
		}
		if err := f(fields[0], fields[1], fields[2]); err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", n, err))
		}
	}
	return errors.Join(faults...)
}

func (t *Table) readSources(tsv string) error {
	return lines(tsv, func(kind, source, hosts string) error {
		switch kind {
		case Search, AI, Social, Email, Ads, Referral:
		default:
			return fmt.Errorf("no kind %q", kind)
		}
		if source == "" || hosts == "" {
			return errors.New("a field is empty")
		}
		for _, host := range strings.Fields(hosts) {
			into, key := t.hosts, host
			if name, ok := strings.CutSuffix(host, ".*"); ok {
				into, key = t.names, name
			}
			if _, twice := into[key]; twice {
				return fmt.Errorf("%s is listed twice", host)
			}
			if key != cleanHost(key) {
				return fmt.Errorf("%s is no host", host)
			}
			into[key] = sender{kind, source}
		}
		return nil
	})
}

func (t *Table) readClickIDs(tsv string) error {
	return lines(tsv, func(parameter, kind, source string) error {
		if kind == "-" {
			kind = ""
		}
		if kind != "" && kind != Ads && kind != Email {
			return fmt.Errorf("no kind %q", kind)
		}
		if _, twice := t.clickIDs[parameter]; twice {
			return fmt.Errorf("%s is listed twice", parameter)
		}
		t.clickIDs[parameter] = sender{kind, source}
		return nil
	})
}

// Visit classifies a visit by the page's URL and the referrer, as the browser gave them. The page's host is the
// site's own, and so are the hosts in own.
func (t *Table) Visit(pageURL, referrer string, own ...string) Channel {
	page := Host(pageURL)
	host := Host(referrer)
	if host != "" && page != "" && sameSite(host, page) {
		own = []string{host}
	}
	return t.Classify(host, own, t.Params(pageURL))
}

// Classify says where a visit came from. An own referrer makes it internal, tags or not; then the click identifier tells, then the
// campaign's tags, then the referrer's host. referrerHost is as Host gives it.
func (t *Table) Classify(referrerHost string, own []string, p Params) Channel {
	c := Channel{
		Source: strings.ToLower(p.Source), Medium: strings.ToLower(p.Medium), Campaign: p.Campaign, Term: p.Term, Content: p.Content,
		ClickID: p.ClickID, ReferrerHost: referrerHost,
	}
	for _, o := range own {
		if referrerHost != "" && sameSite(referrerHost, strings.ToLower(o)) {
			return Channel{Kind: Internal, ReferrerHost: referrerHost}
		}
	}
	from, known := t.sender(referrerHost)
	click, clicked := t.clickIDs[p.ClickID]
	tagged := c.Source != "" || c.Medium != "" || c.Campaign != ""
	switch {
	case clicked && click.kind != "":
		c.Kind = click.kind
	case tagged:
		c.Kind = kindOfMedium(c.Medium)
	case known:
		c.Kind = from.kind
	case clicked:
		c.Kind = Social
	case referrerHost != "":
		c.Kind = Referral
	default:
		c.Kind = Direct
	}
	if c.Source == "" {
		switch {
		case clicked && (click.kind != "" || !known):
			c.Source = click.source
		case known:
			c.Source = from.source
		default:
			c.Source = strings.TrimPrefix(referrerHost, "www.")
		}
	}
	return c
}

// kindOfMedium reads utm_medium by the words in common use.
func kindOfMedium(medium string) string {
	switch medium {
	case "cpc", "ppc", "cpm", "cpv", "cpa", "cpi", "cpe", "ad", "ads", "display", "banner", "retargeting", "remarketing", "affiliate", "listing", "sem":
		return Ads
	case "email", "e-mail", "mail", "newsletter", "mailmagazine", "mail_magazine", "merumaga", "メルマガ", "メール":
		return Email
	case "social", "sns", "social-network", "social_network", "social-media", "social_media":
		return Social
	case "organic", "seo":
		return Search
	case "referral":
		return Referral
	case "ai", "llm":
		return AI
	}
	if strings.HasPrefix(medium, "paid") {
		return Ads
	}
	return Campaign
}

// sender finds a host in the table: the longest entry that it is or is below of.
func (t *Table) sender(host string) (sender, bool) {
	for rest := host; rest != ""; {
		if s, ok := t.hosts[rest]; ok {
			return s, true
		}
		_, rest, _ = strings.Cut(rest, ".")
	}
	name := strings.TrimPrefix(strings.TrimPrefix(host, "www."), "m.")
	name, ending, ok := strings.Cut(name, ".")
	if !ok || !publicEnding(ending) {
		return sender{}, false
	}
	s, ok := t.names[name]
	return s, ok
}

// publicEnding reports whether an ending is a country's or one of its usual seconds: "com", "jp", "co.jp", "com.br".
func publicEnding(ending string) bool {
	second, top, two := strings.Cut(ending, ".")
	if !two {
		return len(second) == 2 || second == "com" || second == "net" || second == "org"
	}
	return len(top) == 2 && (second == "co" || second == "com" || second == "ne" || second == "or" || second == "net" || second == "org")
}

// sameSite reports whether two hosts are one site's: equal but for a "www.".
func sameSite(a, b string) bool {
	return strings.TrimPrefix(a, "www.") == strings.TrimPrefix(b, "www.")
}

// Host is the host of a URL in lower case, without user information, port and closing dot; "" if it has none.
func Host(rawURL string) string {
	_, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		if rest, ok = strings.CutPrefix(rawURL, "//"); !ok {
			return ""
		}
	}
	if end := strings.IndexAny(rest, `/\?#`); end >= 0 {
		rest = rest[:end]
	}
	return cleanHost(rest)
}

func cleanHost(host string) string {
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:colon]
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if len(host) > maxHost || !utf8.ValidString(host) {
		return ""
	}
	for _, r := range host {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("-._:[]", r) {
			return ""
		}
	}
	return host
}

// Params reads the campaign parameters of a URL: the utm_ parameters, of each the first that is not empty, and the
// name of the first click identifier.
func (t *Table) Params(rawURL string) (p Params) {
	rawURL, _, _ = strings.Cut(rawURL, "#")
	_, query, _ := strings.Cut(rawURL, "?")
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if value == "" || len(key) > 24 {
			continue
		}
		if name, ok := cutUTM(key); ok {
			if field := p.field(name); field != nil && *field == "" {
				*field = parameter(value)
			}
			continue
		}
		if p.ClickID == "" {
			key = strings.ToLower(key)
			if _, ok := t.clickIDs[key]; ok {
				p.ClickID = key
			}
		}
	}
	return p
}

func cutUTM(key string) (string, bool) {
	const prefix = "utm_"
	if len(key) <= len(prefix) || !strings.EqualFold(key[:len(prefix)], prefix) {
		return "", false
	}
	return strings.ToLower(key[len(prefix):]), true
}

func (p *Params) field(name string) *string {
	switch name {
	case "source":
		return &p.Source
	case "medium":
		return &p.Medium
	case "campaign":
		return &p.Campaign
	case "term":
		return &p.Term
	case "content":
		return &p.Content
	}
	return nil
}

// parameter decodes a value, without control characters and at most maxParameter long.
func parameter(raw string) string {
	value, err := url.QueryUnescape(raw)
	if err != nil {
		value = raw
	}
	value = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(value, "\uFFFD"))
	value = strings.TrimSpace(value)
	if len(value) > maxParameter {
		end := maxParameter
		for !utf8.RuneStart(value[end]) {
			end--
		}
		value = strings.TrimSpace(value[:end])
	}
	return value
}
