package query

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sekisho/sekisho/internal/core"
)

// A step names acts: what somebody did, in the words of a request.
//
//	page:/path       the page was viewed
//	operation:name   the operation was done
//	event:name       the site's own event took place
//	ad:id            the advertisement was seen or clicked
//	click:id         the advertisement was clicked
//	search           a search was made
//	purchase         something was bought
//
// With *: instead of :, * in the value stands for anything, as in page*:/blog/*.
type step struct {
	kind    string
	pattern bool
	value   string
}

// act is a kind of step.
type act struct {
	event     string   // type of the events
	name      string   // column that the value is held against; empty: the step has no value
	condition string   // what else holds of the rows
	reads     []string // columns that tell of such acts, whether the statement looks at them or not
}

var acts = map[string]act{
	"page":      {event: "page_view", name: "path", reads: []string{"path"}},
	"operation": {event: "operation", name: "operation", reads: []string{"operation"}},
	"event":     {event: "custom", name: "custom_name", reads: []string{"custom_name"}},
	"ad":        {event: "ad_view", name: "ad_id", reads: []string{"ad_id"}},
	"click":     {event: "ad_view", name: "ad_id", condition: "ad_click", reads: []string{"ad_id", "ad_click"}},
	"search":    {event: "search", reads: []string{"search_category"}},
	"purchase":  {event: "purchase", reads: []string{"order_key"}},
}

const maxStepBytes = 512

// parseStep reads a step of one of the kinds.
func parseStep(field, s string, kinds []string) (step, *core.Error) {
	if len(s) > maxStepBytes {
		return step{}, &core.Error{Code: core.CodeTooLong, Field: field, Message: "longer than 512 bytes"}
	}
	kind, value, valued := strings.Cut(s, ":")
	kind, pattern := strings.CutSuffix(kind, "*")
	parsed := step{kind, pattern, value}
	if !slices.Contains(kinds, kind) {
		return step{}, invalid(field, "not one of "+strings.Join(kinds, ", "))
	}
	switch {
	case acts[kind].name == "" && (valued || pattern):
		return step{}, invalid(field, "a "+kind+" takes no value")
	case acts[kind].name != "" && value == "":
		return step{}, invalid(field, "not of the form "+kind+":value or "+kind+"*:pattern")
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return step{}, invalid(field, "the value is not plain text")
	}
	return parsed, nil
}

// condition is the step over the events; its value is bound under name.
func (s step) condition(name string) string {
	a := acts[s.kind]
	sql := "type = '" + a.event + "'"
	if a.condition != "" {
		sql += " AND " + a.condition
	}
	if a.name != "" {
		sql += " AND " + s.filter().condition(a.name, name)
	}
	return sql
}

// filter is the step's value as a filter compares it.
func (s step) filter() filter {
	f := filter{operator: is, value: s.value}
	if s.pattern {
		f.operator = like
	}
	return f
}

// stepsParameter is a parameter whose values are steps. Value i is bound as name and i, its kind with _kind behind.
func stepsParameter(name string, least, most int, kinds ...string) parameter {
	return parameter{
		name: name, many: most > 1,
		bind: func(values []string, bound map[string]string) *core.Error {
			if len(values) < least || len(values) > most {
				return invalid(name, "given "+strconv.Itoa(least)+" to "+strconv.Itoa(most)+" times")
			}
			for i, v := range values {
				s, fault := parseStep(name, v, kinds)
				if fault != nil {
					return fault
				}
				bound[name+strconv.Itoa(i)] = s.filter().bound()
				bound[name+strconv.Itoa(i)+"_kind"] = s.shape()
			}
			return nil
		},
		match: func(values []string) (conditions, reads []string) {
			conditions = make([]string, len(values))
			for i, v := range values {
				s, _ := parseStep(name, v, kinds) // bind has let it pass
				conditions[i] = s.condition(name + strconv.Itoa(i))
				reads = append(reads, acts[s.kind].reads...)
			}
			return conditions, reads
		},
	}
}

// shape is the step without its value.
func (s step) shape() string {
	if s.pattern {
		return s.kind + "*"
	}
	return s.kind
}
