package query

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// canonical brings filters that pick the same into the same form and order, so that a question is known however it is
// put. It folds what it can be sure of; what remains apart is caught by who is picked (the cohort) and by the noise,
// which is the same for the same people.
func canonical(filters []filter) []filter {
	var all []filter
	byDimension := map[string][]filter{}
	var names []string
	for _, f := range filters {
		if byDimension[f.dimension] == nil {
			names = append(names, f.dimension)
		}
		byDimension[f.dimension] = append(byDimension[f.dimension], f.plain())
	}
	slices.Sort(names)
	for _, name := range names {
		all = append(all, fold(byDimension[name])...)
	}
	return all
}

// plain is the simplest filter that picks the same.
func (f filter) plain() filter {
	switch f.operator {
	case contains:
		if ascii(f.value) {
			f.value = strings.ToLower(f.value)
		}
	case like:
		for strings.Contains(f.value, "**") {
			f.value = strings.ReplaceAll(f.value, "**", "*")
		}
		if !strings.Contains(f.value, "*") {
			f.operator = is
		}
	}
	return f
}

// fold reduces the filters of one dimension: values that it may be are alternatives, values that it may not be combine.
func fold(filters []filter) []filter {
	filters = slices.Clone(filters)
	slices.SortFunc(filters, func(a, b filter) int { return strings.Compare(a.String(), b.String()) })
	filters = slices.Compact(filters)
	// Anything at all is no condition, and with it no alternative is.
	any := filter{filters[0].dimension, false, like, "*"}
	if slices.Contains(filters, any) {
		filters = slices.DeleteFunc(filters, func(f filter) bool { return !f.not })
	}
	// A value beside a part or a pattern that holds it says nothing of its own, as an alternative and as an exception.
	filters = slices.DeleteFunc(slices.Clone(filters), func(f filter) bool {
		return f.operator == is && slices.ContainsFunc(filters, func(g filter) bool {
			return g.operator != is && g.not == f.not && g.surely(f.value)
		})
	})
	// Where it may only be one of some values, an exception picks among them or does nothing.
	may := slices.DeleteFunc(slices.Clone(filters), func(f filter) bool { return f.not })
	only := len(may) > 0 && !slices.ContainsFunc(may, func(f filter) bool { return f.operator != is || !ascii(f.value) })
	decidable := !slices.ContainsFunc(filters, func(f filter) bool { return !ascii(f.value) })
	if !only || !decidable || len(may) == len(filters) {
		return filters
	}
	left := slices.DeleteFunc(slices.Clone(may), func(f filter) bool {
		return slices.ContainsFunc(filters, func(g filter) bool { return g.not && g.surely(f.value) })
	})
	if len(left) == 0 {
		return filters // it picks nothing, and says so
	}
	return left
}

// surely reports whether the filter, taken without its not, matches a value. Outside of ASCII it does not judge.
func (f filter) surely(value string) bool {
	if !ascii(value) || !ascii(f.value) {
		return f.operator == is && f.value == value
	}
	switch f.operator {
	case contains:
		return strings.Contains(strings.ToLower(value), strings.ToLower(f.value))
	case like:
		return matches(f.value, value)
	}
	return f.value == value
}

// matches holds a value against a pattern in which * is anything.
func matches(pattern, value string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == value
	}
	if !strings.HasPrefix(value, parts[0]) {
		return false
	}
	value = value[len(parts[0]):]
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(value, part)
		if i < 0 {
			return false
		}
		value = value[i+len(part):]
	}
	return strings.HasSuffix(value, last)
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII })
}

// String is the filter with its value: never for a log or an answer. No two filters have the same.
func (f filter) String() string {
	s := f.dimension + string(rune(f.operator)) + f.value
	if f.not {
		return "!" + s
	}
	return s
}

// shapeOf is a request without its period: what earlier releases of it have in common. Limit, order, form and language
// are not part of it: what is released is all of its cells.
func (r *request) shapeOf(k int) []string {
	shape := []string{"release", r.site.ID, r.pack.Version, r.purpose.ID, r.report.name, strconv.Itoa(k), strconv.FormatFloat(r.sample, 'f', 3, 64)}
	shape = append(shape, r.parameters()...)
	shape = append(shape, "filters")
	for _, f := range canonical(r.filters) {
		shape = append(shape, f.String())
	}
	return shape
}

// parameters are the report's own, in the order of their names.
func (r *request) parameters() []string {
	var all []string
	for name, value := range r.bound {
		all = append(all, name+"="+value)
	}
	for name, n := range r.given {
		all = append(all, "#"+name+"="+strconv.Itoa(n))
	}
	slices.Sort(all)
	return all
}

// definition is what a cell is, in canonical form: the conditions that pick its events, wherever they stand. The row of
// a breakdown and the total under the same filters have the same one, and so has a step of a series and its period. The
// sample is no part of it.
func (r *request) definition(part *part, row Row) []string {
	filters := slices.Clone(r.filters)
	from, to := r.from, r.to
	var names []string
	for _, c := range part.columns {
		if !c.isKey() || row == nil {
			continue
		}
		value, _ := row[c.name].(string)
		switch _, known := dimensions[c.name]; {
		case c.kind == text && known:
			filters = slices.DeleteFunc(filters, func(f filter) bool { return f.dimension == c.name })
			filters = append(filters, filter{c.name, false, is, value})
		case c.kind == clock && r.report.name == "timeseries":
			if start, err := time.Parse(time.RFC3339, value); err == nil {
				start = start.In(r.site.Location)
				from, to = later(from, start), earlier(to, next(start, r.bound["interval"]))
			}
		default:
			names = append(names, c.name+"="+keyText(row[c.name]))
		}
	}
	if r.report.recent > 0 { // it ends now, and now is always another
		from, to = from.Truncate(time.Minute), to.Truncate(time.Minute)
	}
	slices.Sort(names)
	all := []string{"cell", r.site.ID, r.pack.ID, r.purpose.ID, strconv.FormatInt(from.UnixMilli(), 10), strconv.FormatInt(to.UnixMilli(), 10)}
	all = append(all, names...)
	if r.report.name != "timeseries" {
		all = append(all, r.parameters()...)
	}
	all = append(all, "filters")
	for _, f := range canonical(filters) {
		all = append(all, f.String())
	}
	return all
}

func keyText(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case uint64:
		return strconv.FormatUint(x, 10)
	}
	return ""
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// next is the start of the interval after the one that begins at start.
func next(start time.Time, interval string) time.Time {
	y, m, d := start.Date()
	switch interval {
	case "hour":
		return start.Add(time.Hour)
	case "week":
		return time.Date(y, m, d+7, 0, 0, 0, 0, start.Location())
	case "month":
		return time.Date(y, m+1, 1, 0, 0, 0, 0, start.Location())
	}
	return time.Date(y, m, d+1, 0, 0, 0, 0, start.Location())
}
