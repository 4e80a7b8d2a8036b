package collector

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// tracked are the categories a tracker can collect; contact, company and partner data do not come from a page.
var tracked = core.SetOf(core.OperationLog, core.PurchasedItem, core.PageViewHistory, core.AdViewHistory, core.SearchKeyword,
	core.UsageTime, core.UsageMethod, core.UsageEnvironment, core.IPAddress, core.CookieID, core.DeviceID)

// trackerConfig is what the tracker is told (schema TrackerConfig).
type trackerConfig struct {
	Site   string                       `json:"site"`
	V      string                       `json:"v"`
	Policy string                       `json:"policy"`
	Terms  string                       `json:"terms"` // see termsOf
	Free   []string                     `json:"free"`
	Ask    []string                     `json:"ask"`
	OptOut []string                     `json:"optout"`
	GPC    []string                     `json:"gpc"`
	Texts  map[string]map[string]string `json:"texts"`
}

// termsOf names what a visitor is asked: the purposes that rest on consent or may be objected to, each with its bit and
// basis, such as "marketing_use@9:consent". A decision stands for what is still asked the same way: an editorial change
// of the policy asks nobody again, and a purpose that was replaced (internal/policy) has another bit and is asked for
// by itself.
func termsOf(s *site.Site, pack *policy.Pack) string {
	var terms []string
	for i := range pack.Purposes {
		p := &pack.Purposes[i]
		basis := p.Basis[s.Jurisdiction]
		if p.Categories&tracked != 0 && (basis == core.Consent || basis == core.OptOut) {
			terms = append(terms, fmt.Sprintf("%s@%d:%s", p.ID, p.Bit, basis))
		}
	}
	return strings.Join(terms, " ")
}

func configOf(s *site.Site, pack *policy.Pack, version string) trackerConfig {
	t := trackerConfig{
		Site: s.ID, V: version, Policy: pack.Version, Terms: termsOf(s, pack),
		Free: []string{}, Ask: []string{}, OptOut: []string{}, GPC: []string{}, Texts: map[string]map[string]string{},
	}
	for language, n := range pack.Notice {
		t.Texts[language] = map[string]string{
			"_title": n.Title, "_body": n.Body, "_accept": n.Accept, "_refuse": n.Refuse, "_choose": n.Choose,
			"_save": n.Save, "_reopen": n.Reopen, "_withdraw": n.Withdraw,
		}
	}
	var free core.CategorySet
	for i := range pack.Purposes {
		p := &pack.Purposes[i]
		if p.Categories&tracked == 0 {
			continue
		}
		switch p.Basis[s.Jurisdiction] {
		case core.Notified:
			free = free.Union(p.Categories)
			continue
		case core.OptOut:
			free = free.Union(p.Categories)
			t.OptOut = append(t.OptOut, p.ID)
		case core.Consent:
			t.Ask = append(t.Ask, p.ID)
		default:
			continue
		}
		if p.GPCDenied {
			t.GPC = append(t.GPC, p.ID)
		}
		for language, label := range p.Label {
			if t.Texts[language] == nil {
				t.Texts[language] = map[string]string{}
			}
			t.Texts[language][p.ID] = label
		}
	}
	for _, e := range core.EventTypes() {
		if free.Has(e.Category()) {
			t.Free = append(t.Free, e.String())
		}
	}
	return t
}

// trackerScript is a site's script under one policy version.
type trackerScript struct {
	pack *policy.Pack
	body []byte
	etag string
}

func (c *Collector) getTracker(g *gin.Context) {
	missing := &core.Error{Code: core.CodeNotFound, Field: "site", Message: "there is no tracker for it"}
	s, ok := c.deps.Sites.Get(g.Query("site"))
	if !ok || c.deps.Scripts == nil {
		c.refuse(g, missing)
		return
	}
	pack, inForce := c.deps.Policies.At(s.Policy, c.deps.Now())
	source, built := c.deps.Scripts.Script("s.js")
	if !inForce || !built {
		c.refuse(g, missing)
		return
	}
	kept, _ := c.tracker.Load(s.ID)
	script, ok := kept.(*trackerScript)
	if !ok || script.pack != pack {
		config, err := json.Marshal(configOf(s, pack, c.deps.Scripts.Version()))
		if err != nil {
			c.refuse(g, fmt.Errorf("write tracker configuration: %w", err))
			return
		}
		body := append(fmt.Appendf(nil, "self.sekisho=%s;\n", config), source...)
		script = &trackerScript{pack: pack, body: body, etag: etagOf(body)}
		c.tracker.Store(s.ID, script)
	}
	sendScript(g, script.body, script.etag, "public, max-age=300")
}

func (c *Collector) getModule(g *gin.Context, name string) {
	if c.deps.Scripts == nil {
		c.refuse(g, &core.Error{Code: core.CodeNotFound, Message: "there is no such module"})
		return
	}
	body, ok := c.deps.Scripts.Script(name)
	if !ok {
		c.refuse(g, &core.Error{Code: core.CodeNotFound, Message: "there is no such module"})
		return
	}
	cache := "public, max-age=300"
	if v := g.Query("v"); v != "" && v == c.deps.Scripts.Version() {
		cache = "public, max-age=31536000, immutable"
	}
	sendScript(g, body, etagOf(body), cache)
}

func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

func sendScript(g *gin.Context, body []byte, etag, cache string) {
	g.Header("ETag", etag)
	g.Header("Cache-Control", cache)
	g.Header("Cross-Origin-Resource-Policy", "cross-origin")
	g.Header("Access-Control-Allow-Origin", "*") // a public file; lets pages use subresource integrity
	if strings.Contains(g.GetHeader("If-None-Match"), etag) {
		g.Status(http.StatusNotModified)
		return
	}
	g.Data(http.StatusOK, "text/javascript; charset=utf-8", body)
}

// gif is a transparent pixel of 43 bytes.
const gif = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// getPixel takes a page view or an ad view without a script. The page's own URL shows that the site allows it.
func (c *Collector) getPixel(g *gin.Context) {
	status := http.StatusOK
	if err := c.pixel(g); err != nil {
		code := core.CodeInternal
		if e, ok := err.(*core.Error); ok { //nolint:errorlint // pixel returns it bare
			code = e.Code
		} else {
			c.deps.Log.ErrorContext(g.Request.Context(), "pixel failed", "error", err)
		}
		if code.Status() >= http.StatusInternalServerError {
			status = http.StatusServiceUnavailable
			g.Header("Retry-After", "5")
		}
		c.metrics.rejected.WithLabelValues(string(code)).Inc()
		g.Header("Sekisho-Error", string(code))
	} else {
		c.metrics.accepted.Inc()
	}
	g.Header("Cache-Control", "no-store")
	g.Data(status, "image/gif", []byte(gif))
}

func (c *Collector) pixel(g *gin.Context) error {
	received := c.deps.Now()
	page := or(g.Query("u"), g.GetHeader("Referer"))
	it := item{site: g.Query("site"), event: &sekishov1.Event{
		Type: sekishov1.EventType_EVENT_TYPE_PAGE_VIEW, Source: sekishov1.AcquisitionSource_ACQUISITION_SOURCE_SERVICE_COLLECTED,
		Url: page, Referrer: g.Query("r"), Title: g.Query("t"), Lib: "pixel",
	}}
	for _, l := range []struct {
		field, text string
		most        int
	}{{"u", page, 2048}, {"r", it.event.Referrer, 2048}, {"t", it.event.Title, 500}, {"ad", g.Query("ad"), 120}, {"slot", g.Query("slot"), 120}} {
		if !fits(l.text, l.most) {
			return &core.Error{Code: core.CodeTooLong, Field: l.field, Message: "is too long"}
		}
	}
	switch g.DefaultQuery("e", "page_view") {
	case "page_view":
	case "ad_view":
		it.event.Type = sekishov1.EventType_EVENT_TYPE_AD_VIEW
		it.event.Ad = &sekishov1.Ad{Id: g.Query("ad"), Slot: g.Query("slot")}
		if it.event.Ad.Id == "" {
			return &core.Error{Code: core.CodeMissing, Field: "ad", Message: "is required"}
		}
	default:
		return &core.Error{Code: core.CodeInvalid, Field: "e", Message: "must be page_view or ad_view"}
	}
	a := &admission{origin: originOf(page)}
	if referer := g.GetHeader("Referer"); referer != "" {
		a.origin = originOf(referer) // the browser's word is worth more than the page's
	}
	if fault := c.admit(&it, a, received); fault != nil {
		return fault
	}
	receipt := c.receipt(g.Request)
	it.event.Receipt = receipt
	m, err := c.seal(sekishov1.Kind_KIND_EVENT, it.site, it.id, received, nil, receipt, it.event)
	if err != nil {
		return err
	}
	return c.deliver(g.Request.Context(), []kafka.Message{m})
}

func originOf(page string) string {
	u, err := url.Parse(page)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
