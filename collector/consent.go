package collector

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/tcf"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// consentReceipt is the answer to an act.
type consentReceipt struct {
	ID            uuid.UUID `json:"id"`
	ReceivedAt    time.Time `json:"received_at"`
	PolicyVersion string    `json:"policy_version"`
	// Receipts prove the act in the ledger, a purpose each (internal/ledger/receipt.schema.json). They are left out when
	// they were not ready in time; GET /v1/ledger/proof gives them later.
	Receipts json.RawMessage `json:"receipts,omitempty"`
}

// postConsent takes an act the same way as an event, into the same partition as the subject's events.
func (c *Collector) postConsent(g *gin.Context) {
	received := c.deps.Now()
	b, err := c.read(g, applicationJSON, textPlain)
	if err != nil {
		c.refuse(g, err)
		return
	}
	defer b.release()
	it, act, signals, fault := decodeAct(b.Bytes())
	if fault != nil {
		c.refuse(g, fault)
		return
	}
	a := c.admission(g.Request)
	s, fault := c.enter(a, it.site)
	if fault == nil {
		fault = c.interpret(act, signals, s)
	}
	if fault == nil {
		fault = c.check(act, s, s.AllowsKey(a.key))
	}
	if fault != nil {
		c.refuse(g, fault)
		return
	}
	// An old act is still an act: it is recorded with its time, which the receipt bounds.
	act.TimeUs = received.UnixMicro()
	if it.time != 0 {
		at, _ := correct(it.time, it.sentAt, received.UnixMicro())
		act.TimeUs = max(at, 0)
	}
	if it.id == uuid.Nil {
		if it.id, err = uuid.NewV7FromReader(c.deps.Random); err != nil {
			c.refuse(g, fmt.Errorf("make id: %w", err))
			return
		}
	}
	receipt := c.receipt(g.Request)
	act.Gpc = receipt.Gpc
	m, err := c.seal(sekishov1.Kind_KIND_CONSENT, s.ID, it.id, received, act.Subject, receipt, act)
	if err == nil {
		err = c.deliver(g.Request.Context(), []kafka.Message{m})
	}
	if err != nil {
		c.refuse(g, err)
		return
	}
	c.metrics.accepted.Inc()
	answer := consentReceipt{ID: it.id, ReceivedAt: received.UTC(), PolicyVersion: act.PolicyVersion}
	if wait := receiptWait(g); wait > 0 && c.deps.Ledger != nil {
		// The act is durable whether or not its receipts are ready: they can be asked for later.
		answer.Receipts = c.receipts(g.Request.Context(), s.ID, it.id, wait)
	}
	httpx.WriteJSON(g.Writer, http.StatusAccepted, answer)
}

// What an act may say of how it came about.
var (
	surfaces = []string{"banner", "settings", "privacy_centre", "api"}
	origins  = []string{"banner", "api", "gpc", "tcf", "consent_mode", "import"}
	methods  = []string{"click", "form", "signal", "api_call", "document"}
	actors   = []string{"subject", "representative", "operator"}
)

// decodeAct reads a ConsentAct, and the Consent Mode signals it carries as they stand there. Undeclared fields are dropped.
func decodeAct(b []byte) (*item, *sekishov1.ConsentAct, []byte, *core.Error) {
	s := scanner{b: b}
	it := &item{}
	d := decoder{scanner: &s, item: it}
	act := &sekishov1.ConsentAct{Subject: &sekishov1.Identity{}, Surface: "api"}
	var signals []byte
	one := func(field string, of []string) string {
		text := d.str(field, 1, 20)
		if !slices.Contains(of, text) {
			it.reject(core.CodeInvalid, field, "must be one of "+strings.Join(of, ", "))
		}
		return text
	}
	if !d.object(func(key []byte) {
		switch string(key) {
		case "id":
			it.id = d.uuid("/id")
		case "site":
			it.site = d.str("/site", 1, 40)
		case "subject":
			d.child("/subject", func(key []byte) {
				switch string(key) {
				case "cookie_id":
					act.Subject.CookieId = d.str("/subject/cookie_id", 1, 128)
				case "device_id":
					act.Subject.DeviceId = d.str("/subject/device_id", 1, 128)
				case "user_id":
					act.Subject.UserId = d.str("/subject/user_id", 1, 128)
				default:
					d.undeclared(key)
				}
			})
		case "granted":
			act.Granted = d.list("/granted")
		case "refused":
			act.Refused = d.list("/refused")
		case "withdrawn":
			act.Withdrawn = d.list("/withdrawn")
		case "policy_version":
			act.PolicyVersion = d.str("/policy_version", 1, 120)
		case "text_hash":
			act.TextHash = d.str("/text_hash", 71, 71)
			if hash, ok := strings.CutPrefix(act.TextHash, "sha256:"); !ok || len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
				it.reject(core.CodeInvalid, "/text_hash", "must be sha256: and 64 hexadecimal digits")
			}
		case "language":
			act.Language = d.str("/language", 0, 35)
		case "surface":
			act.Surface = one("/surface", surfaces)
		case "renewed":
			act.Renewed = d.list("/renewed")
		case "expired":
			act.Expired = d.list("/expired")
		case "source":
			act.Source = one("/source", origins)
		case "method":
			act.Method = one("/method", methods)
		case "actor":
			act.Actor = one("/actor", actors)
		case "tc_string":
			act.TcString = d.str("/tc_string", 1, tcf.MaxLength)
		case "consent_mode":
			from := s.i
			if s.peek() != '{' {
				it.reject(core.CodeInvalid, "/consent_mode", "must be an object")
			}
			s.skip()
			signals = s.b[from:s.i]
		case "link":
			act.Link = d.flag("/link")
		case "erase_past":
			act.ErasePast = d.flag("/erase_past")
		case "time":
			it.time = d.time("/time")
		case "sent_at":
			it.sentAt = d.time("/sent_at")
		default:
			d.undeclared(key)
		}
	}) || !s.end() {
		return nil, nil, nil, malformed()
	}
	d.need(act.Subject.CookieId != "" || act.Subject.DeviceId != "" || act.Subject.UserId != "", "/subject")
	d.need(act.PolicyVersion != "", "/policy_version")
	said := len(act.Granted) + len(act.Refused) + len(act.Withdrawn) + len(act.Renewed) + len(act.Expired)
	d.need(said > 0 || act.Link || act.TcString != "" || signals != nil, "/granted")
	return it, act, signals, it.fault
}

// check holds an act against the policy it names, and spells out the children of a purpose: they are purposes of
// their own to everything that follows.
func (c *Collector) check(act *sekishov1.ConsentAct, s *site.Site, server bool) *core.Error {
	pack, fault := c.packOf(act, s)
	if fault != nil {
		return fault
	}
	if fault := attribute(act, server); fault != nil {
		return fault
	}
	for i, id := range act.Expired {
		if p, ok := pack.Purpose(id); ok && p.Basis[s.Jurisdiction] != core.Consent {
			return &core.Error{Code: core.CodeInvalid, Field: "/expired" + core.Index(i), Message: "rests on no consent, so none can expire"}
		}
	}
	said := map[string]bool{}
	lists := []struct {
		field string
		ids   *[]string
	}{{"/granted", &act.Granted}, {"/refused", &act.Refused}, {"/withdrawn", &act.Withdrawn}, {"/renewed", &act.Renewed}, {"/expired", &act.Expired}}
	for _, l := range lists {
		for i, id := range *l.ids {
			if _, ok := pack.Purpose(id); !ok {
				return &core.Error{Code: core.CodeInvalid, Field: l.field + core.Index(i), Message: "is not a purpose of the policy"}
			}
			if said[id] {
				return &core.Error{Code: core.CodeInvalid, Field: l.field + core.Index(i), Message: "is named twice"}
			}
			said[id] = true
		}
	}
	for _, l := range lists {
		*l.ids = withChildren(pack, *l.ids, said)
	}
	return nil
}

// packOf is the policy version that an act names.
func (c *Collector) packOf(act *sekishov1.ConsentAct, s *site.Site) (*policy.Pack, *core.Error) {
	pack, ok := c.deps.Policies.Version(act.PolicyVersion)
	if !ok || pack.ID != s.Policy {
		return nil, &core.Error{Code: core.CodeInvalid, Field: "/policy_version", Message: "is not a version of the site's policy"}
	}
	return pack, nil
}

// attribute fills in how the act came about where it does not say so, and holds what only a server may claim to a
// write key: a page cannot speak for others, nor import.
func attribute(act *sekishov1.ConsentAct, server bool) *core.Error {
	page := act.Surface != "api"
	switch {
	case act.Source != "":
	case act.TcString != "":
		act.Source = "tcf"
	case page:
		act.Source = "banner"
	default:
		act.Source = "api"
	}
	switch {
	case act.Method != "":
	case slices.Contains([]string{"gpc", "tcf", "consent_mode"}, act.Source):
		act.Method = "signal"
	case page:
		act.Method = "click"
	default:
		act.Method = "api_call"
	}
	if act.Actor == "" {
		act.Actor = "subject"
	}
	switch {
	case server:
	case act.Source == "import":
		return &core.Error{Code: core.CodeForbidden, Field: "/source", Message: "an import needs a write key"}
	case act.Actor != "subject":
		return &core.Error{Code: core.CodeForbidden, Field: "/actor", Message: "an act for somebody else needs a write key"}
	case len(act.Expired) > 0:
		return &core.Error{Code: core.CodeForbidden, Field: "/expired", Message: "an expiry needs a write key"}
	}
	if act.ErasePast && len(act.Withdrawn) == 0 {
		return &core.Error{Code: core.CodeMissing, Field: "/withdrawn", Message: "erase_past goes with a withdrawal"}
	}
	if act.Link {
		n := 0
		for _, id := range []string{act.Subject.GetCookieId(), act.Subject.GetDeviceId(), act.Subject.GetUserId()} {
			if id != "" {
				n++
			}
		}
		if n < 2 {
			return &core.Error{Code: core.CodeMissing, Field: "/subject", Message: "a link needs two identifiers"}
		}
	}
	return nil
}

// withChildren adds the children that the act does not name itself.
func withChildren(pack *policy.Pack, ids []string, said map[string]bool) []string {
	for i := 0; i < len(ids); i++ {
		for _, child := range pack.Children(ids[i]) {
			if !said[child.ID] {
				said[child.ID] = true
				ids = append(ids, child.ID)
			}
		}
	}
	return ids
}

// getConsent asks the pipeline. The subject is in headers, so that it reaches no access log, and goes on sealed.
func (c *Collector) getConsent(g *gin.Context) {
	s, ok := c.deps.Sites.Get(g.Query("site"))
	who := &sekishov1.Identity{CookieId: g.GetHeader("Sekisho-Cookie-Id"), DeviceId: g.GetHeader("Sekisho-Device-Id")}
	origin := g.GetHeader("Origin")
	switch {
	case !ok:
		c.refuse(g, &core.Error{Code: core.CodeInvalid, Field: "site", Message: "is not a registered site"})
		return
	case origin != "" && !s.AllowsOrigin(origin):
		c.refuse(g, &core.Error{Code: core.CodeForbidden, Message: "the site does not allow this origin"})
		return
	case who.CookieId == "" && who.DeviceId == "":
		c.refuse(g, &core.Error{Code: core.CodeMissing, Field: "Sekisho-Cookie-Id", Message: "a subject is required"})
		return
	case !fits(who.CookieId, 128):
		c.refuse(g, &core.Error{Code: core.CodeTooLong, Field: "Sekisho-Cookie-Id", Message: "must have at most 128 characters, in UTF-8"})
		return
	case !fits(who.DeviceId, 128):
		c.refuse(g, &core.Error{Code: core.CodeTooLong, Field: "Sekisho-Device-Id", Message: "must have at most 128 characters, in UTF-8"})
		return
	case c.deps.States == nil:
		c.refuse(g, &core.Error{Code: core.CodeUnavailable, Message: "the state cannot be asked for now"})
		return
	}
	id, err := uuid.NewV7FromReader(c.deps.Random)
	if err != nil {
		c.refuse(g, fmt.Errorf("make id: %w", err))
		return
	}
	m, err := c.seal(sekishov1.Kind_KIND_CONSENT, s.ID, id, c.deps.Now(), who, nil, &sekishov1.ConsentAct{Subject: who})
	if err != nil {
		c.refuse(g, err)
		return
	}
	state, err := c.deps.States.State(g.Request.Context(), m.Value)
	if err != nil {
		c.deps.Log.WarnContext(g.Request.Context(), "consent state unreachable", "error", err)
		c.refuse(g, &core.Error{Code: core.CodeUnavailable, Message: "the state cannot be asked for now"})
		return
	}
	g.Header("Cache-Control", "no-store")
	g.Data(http.StatusOK, "application/json", state)
}
