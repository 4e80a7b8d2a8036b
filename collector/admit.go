package collector

import (
	"hash/maphash"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// maxAge is how old an event may be: further back nobody can say what the subject had agreed to, and the duplicate
// filter no longer knows it.
const maxAge = 30 * 24 * time.Hour

// admission is what a request shows: a browser its Origin, a server its write key.
type admission struct {
	origin, key string
	site        *site.Site // of the last event asked for; batches are of one site as a rule
	fault       *core.Error
}

func (c *Collector) admission(r *http.Request) *admission {
	return &admission{origin: r.Header.Get("Origin"), key: r.Header.Get("Sekisho-Write-Key")}
}

// enter admits a request to a site.
func (c *Collector) enter(a *admission, id string) (*site.Site, *core.Error) {
	if a.site != nil && a.site.ID == id {
		return a.site, a.fault
	}
	s, ok := c.deps.Sites.Get(id)
	switch {
	case id == "":
		return nil, &core.Error{Code: core.CodeMissing, Field: "/site", Message: "is required"}
	case !ok:
		return nil, &core.Error{Code: core.CodeInvalid, Field: "/site", Message: "is not a registered site"}
	}
	a.site, a.fault = s, nil
	switch {
	case a.key != "" && s.AllowsKey(a.key), a.origin != "" && s.AllowsOrigin(a.origin):
	case a.key == "" && a.origin == "":
		a.fault = &core.Error{Code: core.CodeUnauthenticated, Message: "an Origin that the site allows or a write key is needed"}
	default:
		a.fault = &core.Error{Code: core.CodeForbidden, Message: "the site allows neither this origin nor this key"}
	}
	return s, a.fault
}

// admit decides whether an event may go on, and completes it.
func (c *Collector) admit(it *item, a *admission, received time.Time) *core.Error {
	if it.fault != nil {
		return it.fault
	}
	s, fault := c.enter(a, it.site)
	if fault != nil {
		return fault
	}
	return c.complete(it, s, received)
}

// complete checks what a single field cannot say, and fills in what the collector knows.
func (c *Collector) complete(it *item, s *site.Site, received time.Time) *core.Error {
	e := it.event
	pack, ok := c.deps.Policies.At(s.Policy, received)
	if !ok || it.named&^covered(pack) != 0 {
		return &core.Error{Code: core.CodeForbiddenData, Message: "a field is named after data that no purpose of the policy covers"}
	}
	if field := lacking(e); field != "" {
		return &core.Error{Code: core.CodeMissing, Field: field, Message: "is required"}
	}
	if e.Custom != nil && e.Type == sekishov1.EventType_EVENT_TYPE_CUSTOM {
		declared, ok := s.Events[e.Custom.Name]
		if !ok {
			return &core.Error{Code: core.CodeUndeclared, Field: "/custom/name", Message: "is not in the site's event catalogue"}
		}
		for name := range e.Custom.Properties {
			if !declared.Properties[name] {
				delete(e.Custom.Properties, name)
				it.undeclared++
			}
		}
	}
	it.keepOwnPart()
	if e.TimeUs, ok = correct(it.time, it.sentAt, received.UnixMicro()); !ok {
		return &core.Error{Code: core.CodeInvalid, Field: "/time", Message: "is more than 30 days ago"}
	}
	if it.id == uuid.Nil {
		id, err := uuid.NewV7FromReader(c.deps.Random)
		if err != nil {
			return unavailable()
		}
		it.id = id
	}
	return nil
}

// keepOwnPart drops the parts of other event types: they would carry data of a category the event is not decided by.
func (it *item) keepOwnPart() {
	e := it.event
	drop := func(present bool, own sekishov1.EventType, clear func()) {
		if present && e.Type != own {
			clear()
			it.undeclared++
		}
	}
	drop(e.Operation != nil, sekishov1.EventType_EVENT_TYPE_OPERATION, func() { e.Operation = nil })
	drop(e.Engagement != nil, sekishov1.EventType_EVENT_TYPE_ENGAGEMENT, func() { e.Engagement = nil })
	drop(e.Purchase != nil, sekishov1.EventType_EVENT_TYPE_PURCHASE, func() { e.Purchase = nil })
	drop(e.Ad != nil, sekishov1.EventType_EVENT_TYPE_AD_VIEW, func() { e.Ad = nil })
	drop(e.Search != nil, sekishov1.EventType_EVENT_TYPE_SEARCH, func() { e.Search = nil })
	drop(e.Custom != nil, sekishov1.EventType_EVENT_TYPE_CUSTOM, func() { e.Custom = nil })
}

// lacking is the pointer of a required part that is absent.
func lacking(e *sekishov1.Event) string {
	switch {
	case e.Type == sekishov1.EventType_EVENT_TYPE_UNSPECIFIED:
		return "/type"
	case e.Source == sekishov1.AcquisitionSource_ACQUISITION_SOURCE_THIRD_PARTY && e.Provenance == "":
		return "/provenance" // APPI Art. 30: how it was received must be on record
	case e.Type == sekishov1.EventType_EVENT_TYPE_OPERATION && e.Operation == nil:
		return "/operation"
	case e.Type == sekishov1.EventType_EVENT_TYPE_ENGAGEMENT && e.Engagement == nil:
		return "/engagement"
	case e.Type == sekishov1.EventType_EVENT_TYPE_PURCHASE && e.Purchase == nil:
		return "/purchase"
	case e.Type == sekishov1.EventType_EVENT_TYPE_AD_VIEW && e.Ad == nil:
		return "/ad"
	case e.Type == sekishov1.EventType_EVENT_TYPE_SEARCH && e.Search == nil:
		return "/search"
	case e.Type == sekishov1.EventType_EVENT_TYPE_CUSTOM && e.Custom == nil:
		return "/custom"
	}
	return ""
}

// covered are the categories that some purpose of the policy names, and the technical ones.
func covered(p *policy.Pack) core.CategorySet {
	if p == nil {
		return 0
	}
	set := core.Technical
	for i := range p.Purposes {
		set = set.Union(p.Purposes[i].Categories)
	}
	return set
}

// correct moves a client's time by the skew that sent_at shows, and bounds it: never later than its receipt, and
// false when it is older than maxAge. All are microseconds; 0 is not said.
func correct(at, sentAt, received int64) (int64, bool) {
	if at == 0 {
		return received, true
	}
	if sentAt != 0 {
		at += received - sentAt
	}
	return min(at, received), at >= received-maxAge.Microseconds()
}

// receipt is what the request says of itself and no body can claim.
func (c *Collector) receipt(r *http.Request) *sekishov1.Receipt {
	h := r.Header
	ip := clientIP(r.RemoteAddr, h.Values("X-Forwarded-For"), c.config.TrustedProxies)
	return &sekishov1.Receipt{
		ClientIp:  core.Reveal(ip, func(a netip.Addr) []byte { return a.AsSlice() }),
		UserAgent: head(h.Get("User-Agent"), 1024), UaMobile: head(h.Get("Sec-Ch-Ua-Mobile"), 8),
		UaPlatform: strings.Trim(head(h.Get("Sec-Ch-Ua-Platform"), 64), `"`),
		Gpc:        h.Get("Sec-Gpc") == "1", Dnt: h.Get("Dnt") == "1", AcceptLanguage: head(h.Get("Accept-Language"), 256),
	}
}

// head is at most n bytes of valid UTF-8.
func head(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// fits reports whether a text outside a body has at most n characters and is UTF-8, which messages must be.
func fits(s string, n int) bool { return utf8.ValidString(s) && utf8.RuneCountInString(s) <= n }

// clientIP is the address of the connection, or, when that is a trusted proxy, the last address of X-Forwarded-For
// that is none: what stands to the left of it was written by the client.
func clientIP(remote string, forwarded []string, trusted []netip.Prefix) core.RawIP {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return core.RawIP{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	if len(trusted) == 0 {
		return core.NewRawIP(ip)
	}
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for i := len(hops) - 1; i >= 0 && isTrusted(ip, trusted); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		ip = hop.Unmap().WithZone("")
	}
	return core.NewRawIP(ip)
}

func isTrusted(ip netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// limit bounds the requests of a source.
func (c *Collector) limit(g *gin.Context) {
	ip := clientIP(g.Request.RemoteAddr, g.Request.Header.Values("X-Forwarded-For"), c.config.TrustedProxies)
	if !c.rate.allow(ip) {
		c.refuse(g, &core.Error{Code: core.CodeRateLimited, Message: "too many requests from one source"})
		g.Abort()
	}
}

// maxSources bounds each of the limiter's two generations.
const maxSources = 1 << 16

type bucket struct {
	tokens float64
	at     time.Time
}

// limiter is a token bucket per source. A source is known by a hash keyed for this process, never by its address.
// When a generation is full it becomes the old one, and sources that are not seen again are forgotten with it.
type limiter struct {
	seed        maphash.Seed
	rate, burst float64
	now         func() time.Time

	mu         sync.Mutex
	young, old map[uint64]bucket
}

func (l *limiter) allow(ip core.RawIP) bool {
	source := core.Reveal(ip, func(a netip.Addr) uint64 {
		if a.Is6() { // one subscriber has a /64
			p, _ := a.Prefix(64)
			a = p.Addr()
		}
		return maphash.Comparable(l.seed, a)
	})
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.young[source]
	if !ok {
		if b, ok = l.old[source]; !ok {
			b = bucket{tokens: l.burst, at: now}
		}
	}
	b.tokens = min(l.burst, b.tokens+l.rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	if len(l.young) >= maxSources {
		l.old, l.young = l.young, nil
	}
	if l.young == nil {
		l.young = map[uint64]bucket{}
	}
	l.young[source] = b
	return allowed
}

// cors lets the pages of registered origins read the answer. No credentials: the collector sets and reads no cookie.
func (c *Collector) cors(g *gin.Context) {
	h := g.Writer.Header()
	h.Add("Vary", "Origin")
	if origin := g.GetHeader("Origin"); c.origins[origin] {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", httpx.RequestIDHeader+", Retry-After")
	}
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
}

func (c *Collector) preflight(g *gin.Context) {
	c.cors(g)
	if !c.origins[g.GetHeader("Origin")] {
		c.refuse(g, &core.Error{Code: core.CodeForbidden, Message: "no site allows this origin"})
		return
	}
	h := g.Writer.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Content-Encoding, Sekisho-Cookie-Id, Sekisho-Device-Id")
	h.Set("Access-Control-Max-Age", "7200")
	g.Status(http.StatusNoContent)
}
