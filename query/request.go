package query

import (
	"encoding/base64"
	"net/url"
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
	"github.com/sekisho/sekisho/query/access"
	"github.com/sekisho/sekisho/query/dp"
	"github.com/sekisho/sekisho/query/format"
)

// Limits of a request.
const (
	maxFilters     = 10
	maxFilterBytes = 512
	maxPeriod      = 1100 * 24 * time.Hour // three years: longer than any retention of an event
	defaultLimit   = 100
)

var intervals = []string{"hour", "day", "week", "month"}

// common are the parameters that every report takes.
var common = []string{
	"site", "purpose", "from", "to", "filter", "compare", "compare_from", "compare_to", "sample", "limit", "cursor", "explain", "format", "release", "epsilon", "segment",
}

// picks are those that pick among the rows behind the gate.
var picks = []string{"filter", "segment", "sample"}

// periods are those that name a period.
var periods = []string{"from", "to", "compare", "compare_from", "compare_to"}

// parameter is one that only some reports take.
type parameter struct {
	name string
	many bool // may be given more than once
	// bind checks the values, of which there may be none, and binds them for the statement.
	bind func(values []string, bound map[string]string) *core.Error
	// match is for values that name events: for each, the condition of the rows that it means, over the value as it is
	// bound, and the columns that the condition reads. It may rely on bind having let the values pass. May be nil.
	match func(values []string) (conditions, reads []string)
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
	offset   int
	// before is the period to compare with, if from is not zero.
	before struct{ from, to time.Time }
	sample float64 // share of the subjects, 0 < sample <= 1
	// bound are the report's own parameters, given how many values each has.
	bound map[string]string
	given map[string]int
	// conditions are those that parameters make, reads the columns that they need.
	conditions map[string][]string
	reads      []string
	// private is not nil for a differentially private release, and terms are what it promises.
	private *private
	terms   dp.Terms
	explain bool
	// form and language are how the answer travels.
	form     format.Form
	language format.Language
}

func invalid(field, message string) *core.Error {
	return &core.Error{Code: core.CodeInvalid, Field: field, Message: message}
}

// parse reads a request and holds it against the grant. It notes in the record what is known by name: a submitted
// value that names nothing is never recorded.
func (q *Query) parse(g *gin.Context, caller *access.Caller, record *audit) (*request, *core.Error) {
	r := &request{limit: defaultLimit, sample: 1, bound: map[string]string{}, given: map[string]int{}, conditions: map[string][]string{}}
	var ok bool
	if r.report, ok = reportNamed(g.Param("report")); !ok {
		return nil, &core.Error{Code: core.CodeNotFound, Message: "there is no such report"}
	}
	record.report = r.report.name
	values := g.Request.URL.Query()
	if fault := r.report.accepts(values); fault != nil {
		return nil, fault
	}
	var fault *core.Error
	if r.form, fault = format.Negotiate(g.GetHeader("Accept"), values.Get("format")); fault != nil {
		return nil, fault
	}
	r.language = format.Preferred(g.GetHeader("Accept-Language"))
	if fault := q.admit(r, values.Get("site"), values.Get("purpose"), caller, record); fault != nil {
		return nil, fault
	}
	if fault := r.readPeriods(values, q.deps.Now()); fault != nil {
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
		record.filters = append(record.filters, parsed.shape())
	}
	if _, asked := values["segment"]; asked {
		if fault := q.addSegment(g.Request.Context(), r, values.Get("segment"), record); fault != nil {
			return nil, fault
		}
	}
	for _, p := range r.report.takes {
		if fault := p.bind(values[p.name], r.bound); fault != nil {
			return nil, fault
		}
		r.given[p.name] = len(values[p.name])
		if p.match != nil {
			conditions, reads := p.match(values[p.name])
			r.conditions[p.name], r.reads = conditions, append(r.reads, reads...)
		}
	}
	if r.given["start"] > 0 && r.given["end"] > 0 {
		return nil, invalid("end", "given with start; a journey is followed from one or back from the other")
	}
	if fault := r.readExtent(values); fault != nil {
		return nil, fault
	}
	if fault := r.readPrivacy(values, q.deps.Now()); fault != nil {
		return nil, fault
	}
	for _, c := range r.report.parts[0].columns {
		if c.isKey() {
			record.dimensions = append(record.dimensions, c.name)
		}
	}
	return r, nil
}

// accepts refuses a parameter that does not exist, and one too many of those that do.
func (r *report) accepts(values url.Values) *core.Error {
	for name := range values {
		many := name == "filter"
		switch {
		case r.records && slices.Contains(picks, name):
			return invalid(name, "the report is of records, of which none can be picked")
		case r.recent > 0 && slices.Contains(periods, name):
			return invalid(name, "the report is of what is now, and takes no period")
		case !slices.Contains(common, name):
			i := slices.IndexFunc(r.takes, func(p parameter) bool { return p.name == name })
			if i < 0 {
				return r.stranger(name)
			}
			many = r.takes[i].many
		}
		if !many && len(values[name]) > 1 {
			return invalid(name, "given more than once; a read has one")
		}
	}
	return nil
}

// stranger names a parameter that belongs to other reports. One that no report takes is not repeated.
func (*report) stranger(name string) *core.Error {
	for _, other := range catalogue {
		if slices.ContainsFunc(other.takes, func(p parameter) bool { return p.name == name }) {
			return invalid(name, "the report takes no such parameter")
		}
	}
	return &core.Error{Code: core.CodeUndeclared, Message: "the request has a parameter that does not exist"}
}

// samples are the shares of the subjects that may be asked for. They are few because each one picks other people.
var samples = map[string]float64{"0.01": 0.01, "0.02": 0.02, "0.05": 0.05, "0.1": 0.1, "0.2": 0.2, "0.5": 0.5, "1": 1}

// readExtent reads how much is asked for.
func (r *request) readExtent(values url.Values) *core.Error {
	if r.report.whole {
		r.limit = maxRows
	}
	if v := values.Get("limit"); v != "" {
		most := maxRows
		if r.leaves() {
			most = maxExport
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > most {
			return invalid("limit", "not a whole number from 1 to 1000; to 100000 for a file")
		}
		r.limit = n
	}
	if v := values.Get("cursor"); v != "" {
		text, err := base64.RawURLEncoding.DecodeString(v)
		n, fault := strconv.Atoi(string(text))
		if err != nil || fault != nil || n < 1 {
			return invalid("cursor", "not a cursor of an earlier answer")
		}
		r.offset = n
	}
	if v := values.Get("sample"); v != "" {
		var known bool
		if r.sample, known = samples[v]; !known {
			return invalid("sample", "none of 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1")
		}
	}
	switch values.Get("explain") {
	case "", "false":
	case "true":
		r.explain = true
	default:
		return invalid("explain", "neither true nor false")
	}
	return nil
}

// cursorAt is the cursor of the rows from offset on.
func cursorAt(offset int) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(offset)))
}

// admit holds site and purpose against the grant and the policy in force. Whether a site exists is told only to those
// who may read it.
func (q *Query) admit(r *request, siteID, purposeID string, caller *access.Caller, record *audit) *core.Error {
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
	if fault := caller.Reaches(siteID); fault != nil {
		return fault
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
	return caller.Holds(where.ID, r.purpose.ID)
}

// readPeriods reads the period and the one to compare it with.
func (r *request) readPeriods(values url.Values, now time.Time) (fault *core.Error) {
	if r.report.recent > 0 { // whole minutes, with the one that is under way
		r.to = now.In(r.site.Location).Truncate(time.Minute).Add(time.Minute)
		r.from = r.to.Add(-r.report.recent)
		return nil
	}
	if r.from, r.to, fault = period("from", values.Get("from"), values.Get("to"), r.site.Location, now); fault != nil {
		return fault
	}
	from, to := values.Get("compare_from"), values.Get("compare_to")
	switch compare := values.Get("compare"); {
	case from != "" || to != "":
		if from == "" || to == "" || compare != "" {
			return invalid("compare_from", "goes with compare_to, and without compare")
		}
		r.before.from, r.before.to, fault = period("compare_from", from, to, r.site.Location, now)
	case compare == "previous_period":
		r.before.from, r.before.to = previous(r.from, r.to), r.from
	case compare == "previous_year":
		r.before.from, r.before.to = r.from.AddDate(-1, 0, 0), r.to.AddDate(-1, 0, 0)
	case compare != "":
		fault = invalid("compare", "neither previous_period nor previous_year")
	}
	return fault
}

// previous is the start of the period of the same length before [from, to): as many days, where it is of whole days.
func previous(from, to time.Time) time.Time {
	days := 0
	for from.AddDate(0, 0, days).Before(to) {
		days++
	}
	if from.AddDate(0, 0, days).Equal(to) {
		return from.AddDate(0, 0, -days)
	}
	return from.Add(-to.Sub(from))
}

// period reads [from, to). A date is a whole day in the site's time zone, so a date as to includes that day. Without
// them, the last seven days with today.
func period(field, from, to string, location *time.Location, now time.Time) (start, end time.Time, fault *core.Error) {
	now = now.In(location)
	midnight := func(t time.Time, days int) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, location)
	}
	end = midnight(now, 1)
	if to != "" {
		if end, fault = moment(strings.Replace(field, "from", "to", 1), to, 1, location); fault != nil {
			return start, end, fault
		}
	}
	start = midnight(end.Add(-time.Nanosecond), -6)
	if from != "" {
		if start, fault = moment(field, from, 0, location); fault != nil {
			return start, end, fault
		}
	}
	if !start.Before(end) || end.Sub(start) > maxPeriod {
		return start, end, invalid(field, "not before to, or more than three years before it")
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

// operator is how a filter compares.
type operator byte

// The operators of a filter, as they stand between dimension and value.
const (
	is       operator = ':'
	contains operator = '~' // in any case
	like     operator = '*' // * in the value stands for anything
)

// filter narrows a report by one dimension.
type filter struct {
	dimension string
	not       bool
	operator  operator
	value     string
}

// parseFilter reads dimension:value, dimension~part or dimension*pattern, each with ! before it for the opposite.
func parseFilter(s string) (filter, *core.Error) {
	if len(s) > maxFilterBytes {
		return filter{}, &core.Error{Code: core.CodeTooLong, Field: "filter", Message: "longer than 512 bytes"}
	}
	f := filter{}
	s, f.not = strings.CutPrefix(s, "!")
	i := strings.IndexAny(s, string([]byte{byte(is), byte(contains), byte(like)}))
	if i < 0 {
		return filter{}, invalid("filter", "not of the form dimension:value, dimension~part or dimension*pattern")
	}
	f.dimension, f.operator, f.value = s[:i], operator(s[i]), s[i+1:]
	if _, known := dimensions[f.dimension]; !known {
		return filter{}, invalid("filter", "the dimension does not exist")
	}
	if !utf8.ValidString(f.value) || strings.ContainsFunc(f.value, unicode.IsControl) {
		return filter{}, invalid("filter", "the value is not plain text")
	}
	if f.operator == contains && f.value == "" {
		return filter{}, invalid("filter", "nothing to look for")
	}
	return f, nil
}

// shape is the filter without its value.
func (f filter) shape() string {
	shape := f.dimension
	if f.operator != is {
		shape += string(rune(f.operator))
	}
	if f.not {
		return "!" + shape
	}
	return shape
}

// condition is the filter over an expression; its value is bound under name.
func (f filter) condition(expression, name string) string {
	value := "{" + name + ":String}"
	var sql string
	switch f.operator {
	case contains:
		sql = "positionCaseInsensitiveUTF8(" + expression + ", " + value + ") > 0"
	case like:
		sql = expression + " LIKE " + value
	default:
		sql = expression + " = " + value
	}
	if f.not {
		return "NOT (" + sql + ")"
	}
	return sql
}

// bound is the value as the condition takes it.
func (f filter) bound() string {
	if f.operator == like {
		return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%").Replace(f.value)
	}
	return f.value
}
