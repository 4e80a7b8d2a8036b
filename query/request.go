package query

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
)

// Limits of a request.
const (
	maxFilters     = 10
	maxFilterBytes = 512
	maxPeriod      = 1100 * 24 * time.Hour // three years: longer than any retention of an event
	defaultLimit   = 100
)

var intervals = []string{"hour", "day", "week", "month"}

// filter narrows a report by one value of a dimension.
type filter struct {
	dimension string
	not       bool
	value     string
}

// request is a read that a grant covers.
type request struct {
	report   *report
	site     *site.Site
	pack     *policy.Pack
	purpose  *policy.Purpose
	from, to time.Time // [from, to), in the site's time zone
	filters  []filter
	limit    int
	interval string
}

func invalid(field, message string) *core.Error {
	return &core.Error{Code: core.CodeInvalid, Field: field, Message: message}
}

// parse reads a request and holds it against the grant. It notes in the record what is known by name: a submitted
// value that names nothing is never recorded.
func (q *Query) parse(g *gin.Context, key *Grant, record *audit) (*request, *core.Error) {
	r := &request{limit: defaultLimit, interval: "day"}
	var ok bool
	if r.report, ok = reportNamed(g.Param("report")); !ok {
		return nil, &core.Error{Code: core.CodeNotFound, Message: "there is no such report"}
	}
	record.report = r.report.name
	values := g.Request.URL.Query()
	for name := range values {
		if !slices.Contains([]string{"site", "from", "to", "purpose", "filter", "limit", "interval"}, name) {
			return nil, &core.Error{Code: core.CodeUndeclared, Message: "the request has a parameter that does not exist"}
		}
		if name != "filter" && len(values[name]) > 1 {
			return nil, invalid(name, "given more than once; a read has one")
		}
	}
	if fault := q.admit(r, values.Get("site"), values.Get("purpose"), key, record); fault != nil {
		return nil, fault
	}
	var fault *core.Error
	if r.from, r.to, fault = period(values.Get("from"), values.Get("to"), r.site.Location, q.deps.Now()); fault != nil {
		return nil, fault
	}
	record.from, record.to = r.from, r.to
	if len(values["filter"]) > maxFilters {
		return nil, &core.Error{Code: core.CodeTooLong, Field: "filter", Message: "more than 10 filters"}
	}
	for _, f := range values["filter"] {
		parsed, fault := parseFilter(f)
		if fault != nil {
			return nil, fault
		}
		r.filters = append(r.filters, parsed)
		record.filters = append(record.filters, parsed.dimension)
	}
	if v := values.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxRows {
			return nil, invalid("limit", "not a whole number from 1 to 1000")
		}
		r.limit = n
	} else if r.report.name == "timeseries" {
		r.limit = maxRows
	}
	if v := values.Get("interval"); v != "" {
		if !slices.Contains(intervals, v) || r.report.name != "timeseries" {
			return nil, invalid("interval", "timeseries takes hour, day, week or month; other reports take none")
		}
		r.interval = v
	}
	for _, c := range r.report.parts[0].columns {
		if c.kind == text || c.kind == clock {
			record.dimensions = append(record.dimensions, c.name)
		}
	}
	return r, nil
}

// admit holds site and purpose against the grant and the policy in force. Whether a site exists is told only to those
// who may read it.
func (q *Query) admit(r *request, siteID, purposeID string, key *Grant, record *audit) *core.Error {
	if siteID == "" {
		return &core.Error{Code: core.CodeMissing, Field: "site", Message: "a read names its site"}
	}
	if purposeID == "" {
		return &core.Error{Code: core.CodePurposeMissing, Field: "purpose", Message: "a read names its purpose (Art. 5)"}
	}
	where, known := q.deps.Sites.Get(siteID)
	if known {
		record.site = where.ID
	}
	if !slices.Contains(key.Sites, siteID) {
		return &core.Error{Code: core.CodeForbidden, Field: "site", Message: "the key has no grant for the site"}
	}
	if !known {
		return invalid("site", "the site is not in the registry")
	}
	r.site = where
	if r.pack, known = q.deps.Policies.At(where.Policy, q.deps.Now()); !known {
		return invalid("site", "no policy is in force for the site")
	}
	record.policy = r.pack.Version
	if r.purpose, known = r.pack.Purpose(purposeID); !known {
		return invalid("purpose", "the policy in force has no such purpose")
	}
	record.purpose = r.purpose.ID
	if !slices.Contains(key.Purposes, r.purpose.ID) {
		return &core.Error{Code: core.CodePurposeDenied, Field: "purpose", Message: "the key has no grant for the purpose"}
	}
	if r.purpose.Basis[where.Jurisdiction] == core.NoBasis {
		return &core.Error{Code: core.CodePurposeDenied, Field: "purpose", Message: "the purpose has no legal basis where the site is"}
	}
	return nil
}

// period reads [from, to). A date is a whole day in the site's time zone, so a date as to includes that day. Without
// them, the last seven days with today.
func period(from, to string, location *time.Location, now time.Time) (start, end time.Time, fault *core.Error) {
	now = now.In(location)
	midnight := func(t time.Time, days int) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, location)
	}
	end = midnight(now, 1)
	if to != "" {
		if end, fault = moment("to", to, 1, location); fault != nil {
			return start, end, fault
		}
	}
	start = midnight(end.Add(-time.Nanosecond), -6)
	if from != "" {
		if start, fault = moment("from", from, 0, location); fault != nil {
			return start, end, fault
		}
	}
	if !start.Before(end) || end.Sub(start) > maxPeriod {
		return start, end, invalid("from", "not before to, or more than three years before it")
	}
	return start, end, nil
}

func moment(field, value string, days int, location *time.Location) (time.Time, *core.Error) {
	if t, err := time.ParseInLocation(time.DateOnly, value, location); err == nil && t.Year() >= 2000 && t.Year() < 2100 {
		return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, location), nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil || t.Year() < 2000 || t.Year() >= 2100 {
		return time.Time{}, invalid(field, "not a date or a timestamp (RFC 3339) from 2000 to 2099")
	}
	return t.In(location).Truncate(time.Millisecond), nil
}

// parseFilter reads dimension:value or !dimension:value.
func parseFilter(s string) (filter, *core.Error) {
	if len(s) > maxFilterBytes {
		return filter{}, &core.Error{Code: core.CodeTooLong, Field: "filter", Message: "longer than 512 bytes"}
	}
	f := filter{}
	s, f.not = strings.CutPrefix(s, "!")
	var ok bool
	if f.dimension, f.value, ok = strings.Cut(s, ":"); !ok {
		return filter{}, invalid("filter", "not of the form dimension:value")
	}
	if _, known := dimensions[f.dimension]; !known {
		return filter{}, invalid("filter", "the dimension does not exist")
	}
	if !utf8.ValidString(f.value) || strings.ContainsFunc(f.value, unicode.IsControl) {
		return filter{}, invalid("filter", "the value is not plain text")
	}
	return f, nil
}
