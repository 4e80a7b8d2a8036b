package query

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/query/access"
)

// auditReport is the name under which a read of the audit is recorded.
const auditReport = "audit"

// AuditPage is a part of the audit, newest first (schemas/openapi/query.v1.yaml).
type AuditPage struct {
	Records []AuditRecord `json:"records"`
	Next    string        `json:"next,omitempty"` // cursor of the records that follow
}

// AuditRecord is a record as it is stored (schemas/clickhouse, table audit). It holds names, never a filter's value.
type AuditRecord struct {
	ID         string     `json:"id"`
	Time       time.Time  `json:"time"`
	Actor      string     `json:"actor"` // id of an API key, or access.CallerID
	Site       string     `json:"site"`
	Purpose    string     `json:"purpose"`
	Report     string     `json:"report"`
	Policy     string     `json:"policy"`
	From       *time.Time `json:"period_from"` // nil when the request did not get as far as naming one
	To         *time.Time `json:"period_to"`   // excluded
	Dimensions []string   `json:"dimensions"`
	Filters    []string   `json:"filters"`
	Columns    []string   `json:"columns"`
	Rows       uint32     `json:"row_count"`
	Suppressed uint32     `json:"suppressed"`
	Result     string     `json:"result"` // ok, or a code of internal/core
	Duration   uint64     `json:"duration_us"`
}

// auditRequest is a read of the audit that the caller's grants cover.
type auditRequest struct {
	sites  []string // whose reads the caller may see; "" is none
	params map[string]string
	limit  int
}

// getAudit is the journey of a read of the audit. It is recorded like any other, before it is answered: who looks after
// whom is seen, too.
func (q *Query) getAudit(g *gin.Context) {
	record := audit{time: q.deps.Now(), report: auditReport}
	page, err := q.auditPage(g, &record)
	if err = q.conclude(g.Request.Context(), &record, err); err != nil {
		httpx.WriteProblem(g.Writer, err)
		return
	}
	httpx.WriteJSON(g.Writer, http.StatusOK, page)
}

// auditPage is everything between the request and its record.
func (q *Query) auditPage(g *gin.Context, record *audit) (*AuditPage, error) {
	caller, err := q.guard.Authenticate(g.Request.Context(), g.GetHeader("Authorization"))
	if err != nil {
		return nil, err
	}
	record.actor = caller.ID
	r, fault := q.parseAudit(g.Request.URL.Query(), caller, record)
	if fault != nil {
		return nil, fault
	}
	ctx, cancel := context.WithTimeout(g.Request.Context(), q.config.Timeout)
	defer cancel()
	page, err := q.readAudit(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("read audit: %w", err)
	}
	record.rows = len(page.Records)
	return page, nil
}

// What the audit may be asked for.
var (
	auditParameters = []string{"from", "to", "actor", "site", "report", "result", "limit", "cursor"}
	actorForm       = regexp.MustCompile(`^([0-9a-f]{8}|oidc:[0-9a-f]{16})$`)
	auditEnd        = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	reportForm      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`) // also one that the catalogue no longer has
)

func (q *Query) parseAudit(values url.Values, caller *access.Caller, record *audit) (*auditRequest, *core.Error) {
	for name, given := range values {
		if !slices.Contains(auditParameters, name) {
			return nil, &core.Error{Code: core.CodeUndeclared, Message: "the request has a parameter that does not exist"}
		}
		if len(given) > 1 {
			return nil, invalid(name, "given more than once")
		}
	}
	r := &auditRequest{limit: defaultLimit}
	location := time.UTC
	if where, known := q.deps.Sites.Get(values.Get("site")); known {
		location, record.site = where.Location, where.ID
	}
	var fault *core.Error
	if r.sites, fault = q.audited(values.Get("site"), caller); fault != nil {
		return nil, fault
	}
	from, to := time.UnixMicro(0), auditEnd
	if v := values.Get("from"); v != "" {
		if from, fault = moment("from", v, 0, location); fault != nil {
			return nil, fault
		}
		record.from = from
	}
	if v := values.Get("to"); v != "" {
		if to, fault = moment("to", v, 1, location); fault != nil {
			return nil, fault
		}
		record.to = to
	}
	before, beforeID := to, uuid.Max
	if v := values.Get("cursor"); v != "" {
		var ok bool
		if before, beforeID, ok = parseAuditCursor(v); !ok {
			return nil, invalid("cursor", "not a cursor of an earlier answer")
		}
	}
	if v := values.Get("actor"); v != "" && !actorForm.MatchString(v) {
		return nil, invalid("actor", "neither the id of an API key nor oidc: and 16 hexadecimal digits")
	}
	if v := values.Get("report"); v != "" && !reportForm.MatchString(v) {
		return nil, invalid("report", "not the name of a report")
	}
	if v := values.Get("result"); v != "" && v != "ok" && !slices.Contains(core.Codes(), core.Code(v)) {
		return nil, invalid("result", "neither ok nor the code of an error")
	}
	if v := values.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxRows {
			return nil, invalid("limit", "not a whole number from 1 to 1000")
		}
		r.limit = n
	}
	for _, name := range []string{"actor", "report", "result"} {
		if values.Get(name) != "" {
			record.filters = append(record.filters, name)
		}
	}
	r.params = map[string]string{
		"sites": strings.Join(r.sites, ","), "actor": values.Get("actor"), "report": values.Get("report"), "result": values.Get("result"),
		"from": strconv.FormatInt(from.UnixMicro(), 10), "to": strconv.FormatInt(to.UnixMicro(), 10),
		"before": strconv.FormatInt(before.UnixMicro(), 10), "before_id": beforeID.String(),
		"limit": strconv.Itoa(r.limit + 1), // one more says whether there is more
	}
	return r, nil
}

// auditStatement is sql/audit.sql.
func auditStatement() (string, error) {
	text, err := statements.ReadFile("sql/audit.sql")
	if err != nil {
		return "", fmt.Errorf("read statement: %w", err)
	}
	return string(text), nil
}

// audited are the sites whose reads the caller may see: the one it names, or all that its grants and the policies let it
// see, and with them the reads that got to no site. A site that has left the registry can still be audited.
func (q *Query) audited(site string, caller *access.Caller) ([]string, *core.Error) {
	allow := func(id string) *core.Error {
		ask := access.Request{Action: access.Audit, Report: auditReport, Site: id}
		if where, known := q.deps.Sites.Get(id); known {
			ask.Jurisdiction = where.Jurisdiction
			if pack, known := q.deps.Policies.At(where.Policy, q.deps.Now()); known {
				ask.Policy = pack.Version
			}
		}
		return q.guard.Allow(caller, ask)
	}
	if site != "" {
		return []string{site}, allow(site)
	}
	fault := &core.Error{Code: core.CodeForbidden, Message: "the caller has no grant"}
	var sites []string
	for _, id := range caller.Sites() {
		if denied := allow(id); denied != nil {
			fault = denied
			continue
		}
		sites = append(sites, id)
	}
	if sites == nil {
		return nil, fault
	}
	return append(sites, ""), nil
}

// readAudit reads one page and whether another follows.
func (q *Query) readAudit(ctx context.Context, r *auditRequest) (*AuditPage, error) {
	page := &AuditPage{Records: []AuditRecord{}}
	more := false
	err := q.deps.Store.Select(ctx, q.auditSQL, r.params, q.limits(), func(rows clickhouse.Rows) error {
		for rows.Next() {
			var a AuditRecord
			var from, to time.Time
			if err := rows.Scan(&a.ID, &a.Time, &a.Actor, &a.Site, &a.Purpose, &a.Report, &a.Policy, &from, &to,
				&a.Dimensions, &a.Filters, &a.Columns, &a.Rows, &a.Suppressed, &a.Result, &a.Duration); err != nil {
				return err
			}
			if more = len(page.Records) == r.limit; more {
				continue
			}
			a.Time, a.From, a.To = a.Time.UTC(), momentOf(from), momentOf(to)
			page.Records = append(page.Records, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if more {
		last := page.Records[len(page.Records)-1]
		page.Next = auditCursor(last.Time, last.ID)
	}
	return page, nil
}

// momentOf is a stored moment; the beginning of 1970 stands for none.
func momentOf(t time.Time) *time.Time {
	if t.Unix() == 0 {
		return nil
	}
	t = t.UTC()
	return &t
}

// auditCursor names the last record of a page. What is recorded after it moves no later page: records are counted from
// this one on, not from the newest.
func auditCursor(t time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(t.UnixMicro(), 10) + "." + id))
}

func parseAuditCursor(s string) (time.Time, uuid.UUID, bool) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return time.Time{}, uuid.Nil, false
	}
	micro, id, _ := strings.Cut(string(text), ".")
	n, err := strconv.ParseInt(micro, 10, 64)
	if err != nil || n < 0 || n > auditEnd.UnixMicro() || len(id) != 36 {
		return time.Time{}, uuid.Nil, false
	}
	parsed, err := uuid.Parse(id)
	return time.UnixMicro(n), parsed, err == nil
}
