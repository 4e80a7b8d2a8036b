package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// consentReceipt is the answer to an act.
type consentReceipt struct {
	ID            uuid.UUID `json:"id"`
	ReceivedAt    time.Time `json:"received_at"`
	PolicyVersion string    `json:"policy_version"`
}

// postConsent takes an act the same way as an event, into the same partition as the subject's events.
func (c *Collector) postConsent(g *gin.Context) {
	received := c.deps.Now()
	b, err := c.read(g)
	if err != nil {
		c.refuse(g, err)
		return
	}
	defer b.release()
	it, act, fault := decodeAct(b.Bytes())
	if fault != nil {
		c.refuse(g, fault)
		return
	}
	s, fault := c.enter(c.admission(g.Request), it.site)
	if fault == nil {
		fault = c.check(act, s)
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
	httpx.WriteJSON(g.Writer, http.StatusAccepted, consentReceipt{ID: it.id, ReceivedAt: received.UTC(), PolicyVersion: act.PolicyVersion})
}

// decodeAct reads a ConsentAct. Undeclared fields are dropped.
func decodeAct(b []byte) (*item, *sekishov1.ConsentAct, *core.Error) {
	s := scanner{b: b}
	it := &item{}
	d := decoder{scanner: &s, item: it}
	act := &sekishov1.ConsentAct{Subject: &sekishov1.Identity{}, Surface: "api"}
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
			act.Granted = d.list("/granted", core.MaxPurposes)
		case "refused":
			act.Refused = d.list("/refused", core.MaxPurposes)
		case "withdrawn":
			act.Withdrawn = d.list("/withdrawn", core.MaxPurposes)
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
			act.Surface = d.str("/surface", 1, 20)
			if !slices.Contains([]string{"banner", "settings", "privacy_centre", "api"}, act.Surface) {
				it.reject(core.CodeInvalid, "/surface", "must be one of the surfaces")
			}
		case "time":
			it.time = d.time("/time")
		case "sent_at":
			it.sentAt = d.time("/sent_at")
		default:
			d.undeclared(key)
		}
	}) || !s.end() {
		return nil, nil, malformed()
	}
	d.need(act.Subject.CookieId != "" || act.Subject.DeviceId != "" || act.Subject.UserId != "", "/subject")
	d.need(act.PolicyVersion != "", "/policy_version")
	d.need(len(act.Granted)+len(act.Refused)+len(act.Withdrawn) > 0, "/granted")
	return it, act, it.fault
}

// check holds an act against the policy it names, and spells out the children of a purpose: they are purposes of
// their own to everything that follows.
func (c *Collector) check(act *sekishov1.ConsentAct, s *site.Site) *core.Error {
	pack, ok := c.deps.Policies.Version(act.PolicyVersion)
	if !ok || pack.ID != s.Policy {
		return &core.Error{Code: core.CodeInvalid, Field: "/policy_version", Message: "is not a version of the site's policy"}
	}
	said := map[string]bool{}
	lists := []struct {
		field string
		ids   *[]string
	}{{"/granted", &act.Granted}, {"/refused", &act.Refused}, {"/withdrawn", &act.Withdrawn}}
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
	case head(who.CookieId, 128) != who.CookieId || head(who.DeviceId, 128) != who.DeviceId:
		c.refuse(g, &core.Error{Code: core.CodeTooLong, Field: "Sekisho-Cookie-Id", Message: "must have at most 128 characters"})
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

// maxState bounds the pipeline's answer, in bytes.
const maxState = 64 << 10

// HTTPStates asks a pipeline over HTTP.
type HTTPStates struct {
	url    string
	client *http.Client
}

// NewHTTPStates returns the States of the pipeline at base, its internal URL.
func NewHTTPStates(base string, client *http.Client) *HTTPStates {
	return &HTTPStates{url: strings.TrimSuffix(base, "/") + "/internal/v1/consent/state", client: client}
}

// State implements States.
func (s *HTTPStates) State(ctx context.Context, sealed []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(sealed))
	if err != nil {
		return nil, fmt.Errorf("ask state: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask state: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask state: status %d", response.StatusCode)
	}
	state, err := io.ReadAll(io.LimitReader(response.Body, maxState))
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	if !json.Valid(state) {
		return nil, errors.New("read state: not JSON")
	}
	return state, nil
}
