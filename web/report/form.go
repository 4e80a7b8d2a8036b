package report

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// fileRows is how many rows a file has at most: as many as the API gives.
const fileRows = "100000"

// The form's own names. Everything else in the address of a page is dropped.
const (
	maxFilters = 5
	maxSteps   = 10
	maxText    = 400 // bytes of a filter's value; the API's own limit is on the whole filter
)

// periods are the choices of the form, in its order. The last one takes two dates.
var periods = []string{"today", "yesterday", "7", "28", "90", "month", "last_month", "custom"}

var (
	comparisons = []string{"", "previous_period", "previous_year"}
	limits      = []string{"", "10", "25", "50", "250", "1000"}
)

// operators are what a filter may say of its dimension, by their names in the form and in the API.
var operators = []struct{ name, before, after string }{
	{"is", "", ":"}, {"not", "!", ":"}, {"has", "", "~"}, {"lacks", "!", "~"}, {"like", "", "*"}, {"unlike", "!", "*"},
}

// recent are the reports of what has just been: they take no period, and there is nothing to compare them with.
var recent = []string{"live"}

// control is how the form asks for a parameter that only some reports take: one of its options; of many, as many texts;
// or else one text.
type control struct {
	options []string
	usual   int // which option is the API's own choice
	many    bool
}

func (c control) standard() string { return c.options[c.usual] }

// controls are those of the parameters that have texts here. Any other is asked for as a text by its name.
var controls = map[string]control{
	"interval":  {options: []string{"hour", "day", "week", "month"}, usual: 1},
	"unit":      {options: []string{"day", "week", "month"}},
	"window":    {options: []string{"30m", "1h", "6h", "1d", "7d", "30d"}, usual: 3},
	"strict":    {options: []string{"order", "any"}},
	"steps":     {options: []string{"1", "2", "3", "4", "5"}, usual: 2},
	"step":      {many: true},
	"start":     {},
	"end":       {},
	"operation": {},
}

// form is what the reader has chosen.
type form struct {
	Site, Purpose, Report string
	Period, From, To      string
	Compare, Limit        string
	Segment               string // a set of filters that was saved
	Filters               []filterChoice
	Own                   url.Values // parameters of the report's own, by name
	Cursor                string
}

// filterChoice is a line of the form.
type filterChoice struct{ Dimension, Operator, Value string }

// oneOf is the value if it is a choice, or else the first of them.
func oneOf(choices []string, value string) string {
	if slices.Contains(choices, value) {
		return value
	}
	return choices[0]
}

// readForm reads a query. What is no choice of the form becomes its first one; texts are the API's to judge.
func readForm(q url.Values) form {
	f := form{
		Site: q.Get("site"), Purpose: q.Get("purpose"), Report: q.Get("report"),
		Period: "7", From: q.Get("from"), To: q.Get("to"),
		Compare: oneOf(comparisons, q.Get("compare")), Limit: oneOf(limits, q.Get("limit")),
		Segment: strings.TrimSpace(q.Get("segment")),
		Own:     url.Values{}, Cursor: q.Get("cursor"),
	}
	if p := q.Get("period"); slices.Contains(periods, p) {
		f.Period = p
	}
	dimensions, operations, values := q["d"], q["o"], q["v"]
	for i := range min(len(dimensions), len(operations), len(values), maxFilters) {
		if dimensions[i] == "" || len(values[i]) > maxText {
			continue
		}
		f.Filters = append(f.Filters, filterChoice{dimensions[i], oneOf(operatorNames(), operations[i]), values[i]})
	}
	for name, given := range q {
		own, ok := strings.CutPrefix(name, "p.")
		if !ok {
			continue
		}
		for _, value := range given[:min(len(given), maxSteps)] {
			if value = strings.TrimSpace(value); value != "" && len(value) <= maxText {
				f.Own.Add(own, value)
			}
		}
	}
	return f
}

func operatorNames() []string {
	names := make([]string, len(operators))
	for i, o := range operators {
		names[i] = o.name
	}
	return names
}

// asks reports whether a report was asked for: it is read when its reader says so and names a purpose, never before.
func (f *form) asks() bool { return f.Site != "" && f.Purpose != "" && f.Report != "" }

// address is the form as the query of a page.
func (f *form) address() url.Values {
	q := url.Values{}
	set := func(name, value, unless string) {
		if value != unless {
			q.Set(name, value)
		}
	}
	set("site", f.Site, "")
	set("purpose", f.Purpose, "")
	set("report", f.Report, "")
	set("period", f.Period, "7")
	if f.Period == "custom" {
		set("from", f.From, "")
		set("to", f.To, "")
	}
	set("compare", f.Compare, "")
	set("limit", f.Limit, "")
	set("segment", f.Segment, "")
	set("cursor", f.Cursor, "")
	for _, one := range f.Filters {
		q.Add("d", one.Dimension)
		q.Add("o", one.Operator)
		q.Add("v", one.Value)
	}
	for name, values := range f.Own {
		q["p."+name] = values
	}
	return q
}

// query is the address with its question mark; empty for a form that says nothing.
func (f *form) query() string {
	if encoded := f.address().Encode(); encoded != "" {
		return "?" + encoded
	}
	return ""
}

// values are the parameters of the API's report.
func (f *form) values(c *catalogue, now time.Time) url.Values {
	v := url.Values{"site": {f.Site}, "purpose": {f.Purpose}}
	extent := map[string]string{"limit": f.Limit, "cursor": f.Cursor, "segment": f.Segment}
	if !slices.Contains(recent, f.Report) {
		extent["from"], extent["to"] = f.dates(now.In(c.zone(f.Site)))
		extent["compare"] = f.Compare
	}
	for name, value := range extent {
		if value != "" {
			v.Set(name, value)
		}
	}
	for _, one := range f.Filters {
		for _, o := range operators {
			if o.name == one.Operator {
				v.Add("filter", o.before+one.Dimension+o.after+one.Value)
			}
		}
	}
	for _, name := range c.parameters(f.Report) {
		if given := f.Own[name]; len(given) > 0 {
			v[name] = given
		}
	}
	return v
}

// dates are the first and the last day of the period, as the site's calendar has them; both are left to the API where
// the reader named none.
func (f *form) dates(now time.Time) (from, to string) {
	day := func(days int) string {
		return time.Date(now.Year(), now.Month(), now.Day()+days, 12, 0, 0, 0, time.UTC).Format(time.DateOnly)
	}
	first := func(months int) string {
		return time.Date(now.Year(), now.Month()+time.Month(months), 1, 12, 0, 0, 0, time.UTC).Format(time.DateOnly)
	}
	switch f.Period {
	case "today":
		return day(0), day(0)
	case "yesterday":
		return day(-1), day(-1)
	case "28":
		return day(-27), day(0)
	case "90":
		return day(-89), day(0)
	case "month":
		return first(0), day(0)
	case "last_month":
		return first(-1), time.Date(now.Year(), now.Month(), 0, 12, 0, 0, 0, time.UTC).Format(time.DateOnly)
	case "custom":
		return f.From, f.To
	}
	return day(-6), day(0)
}

// fileName names a file by what it holds. The parts are registered names and dates; anything else is left out.
func (f *form) fileName(values url.Values) string {
	var parts []string
	for _, part := range []string{f.Site, f.Report, values.Get("from"), values.Get("to")} {
		plain := strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
				return c
			}
			return -1
		}, part)
		if plain != "" && plain == part {
			parts = append(parts, plain)
		}
	}
	return strings.Join(parts, "-") + ".csv"
}
