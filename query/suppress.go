package query

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sekisho/sekisho/query/noise"
)

// disclosed is what may be shown of a part.
type disclosed struct {
	rows     []Row
	all      int // rows that may be shown, also those that were too many to be read
	withheld int
}

// disclose decides which groups of a part may be shown, and with which numbers.
//
// A group is withheld when fewer than k subjects are behind it. Then a smallest shown group goes too, where the withheld
// ones are a single one or rest on fewer than k subjects together: a total minus what is shown would tell of them.
//
// With noise, every decision is as uncertain as the numbers, and as lasting: a threshold that is known to the person is
// an oracle for somebody who sends k-1 fake visitors. What is withheld is counted with noise as well.
func (q *Query) disclose(r *request, planned *plan, part *part, read *result) disclosed {
	k := uint64(planned.k) //nolint:gosec // G115: at least 2
	var (
		shown []showing
		rest  = remainder{groups: read.small, people: read.smallSubjects}
		large int
	)
	for _, g := range read.groups {
		if g.subjects < k {
			continue
		}
		large++
		s := showing{group: g, told: g.subjects}
		if q.noise != nil {
			s.cell = q.noise.Cell(r.definition(part, g.row), noise.Cohort{Low: g.low, High: g.high, People: g.people})
			if s.told = s.cell.People("people", g.people, k); !s.cell.Passes(g.subjects, k) {
				rest.add(s.told)
				continue
			}
		}
		shown = append(shown, s)
	}
	beyond := read.all - read.small - large // too many to be read: never shown, and at least k subjects each
	if part.keyed() && !q.config.Bare {
		shown = q.complement(r, part, shown, &rest, beyond, k)
	}
	told := rest.groups
	if q.noise != nil {
		c := q.noise.Cell(append(r.definition(part, nil), "withheld", part.file), noise.Cohort{People: rest.people})
		if told = 0; c.Passes(rest.people, k) {
			told = int(max(c.Count("groups", uint64(rest.groups)), 1)) //nolint:gosec // G115: a number of groups
		}
		for _, s := range shown {
			s.blur(part, k)
			s.agree(part)
		}
		part.sort(shown)
	}
	out := disclosed{rows: make([]Row, len(shown)), all: len(shown) + beyond, withheld: told}
	for i, s := range shown {
		out.rows[i] = s.row
	}
	return out
}

// showing is a group that may be shown.
type showing struct {
	group
	cell *noise.Cell
	told uint64 // number of people by which the smallest is found
}

// remainder is what is withheld of a part: groups, and the subjects that are surely behind all of them together.
type remainder struct {
	groups int
	people uint64
}

func (r *remainder) add(people uint64) {
	r.groups++
	r.people = max(r.people, people)
}

// exposed reports whether a total minus the shown groups tells of fewer than k subjects, or of one group.
func (r *remainder) exposed(beyond int, k uint64) bool {
	return r.groups > 0 && beyond == 0 && (r.groups == 1 || r.people < k)
}

// complement takes the smallest groups away until what is withheld is not exposed.
//
// With noise a total minus the shown groups tells next to nothing of a few people, and that a group went would tell that
// somebody is withheld. So groups go only where the withheld are clearly more than nobody, and not clearly enough.
func (q *Query) complement(r *request, part *part, shown []showing, rest *remainder, beyond int, k uint64) []showing {
	exposed := func() bool { return rest.exposed(beyond, k) }
	if q.noise != nil {
		c := q.noise.Cell(append(r.definition(part, nil), "remainder", part.file), noise.Cohort{People: rest.people})
		if beyond > 0 || !c.Doubtful(rest.people, k) {
			return shown
		}
		exposed = func() bool { return rest.people < k }
	}
	for len(shown) > 0 && exposed() {
		smallest := len(shown) - 1
		for i := range shown {
			if shown[i].told < shown[smallest].told {
				smallest = i
			}
		}
		rest.add(max(shown[smallest].told, k))
		shown = slices.Delete(slices.Clone(shown), smallest, smallest+1)
	}
	return shown
}

// keyed reports whether the part has groups, not one total.
func (p *part) keyed() bool { return slices.ContainsFunc(p.columns, column.isKey) }

// blur replaces the numbers of a group by what is told.
func (s *showing) blur(part *part, k uint64) {
	for _, c := range part.columns {
		switch v := s.row[c.name].(type) {
		case uint64:
			switch {
			case c.kind != count:
			case c.alias() == "people":
				s.row[c.name] = s.cell.People(c.name, v, k)
			default:
				s.row[c.name] = s.cell.Count(c.name, v)
			}
		case float64:
			s.row[c.name] = math.Round(s.cell.Mean(c.name, v, c.share())*1e4) / 1e4
			if c.most > 0 {
				s.row[c.name] = min(s.row[c.name].(float64), c.most)
			}
		case string:
			if c.kind == money {
				s.row[c.name] = s.cell.Amount(c.name, decimal.RequireFromString(v)).String()
			}
		}
	}
}

// agree makes what is told of a group agree with what is told beside it: a part with its whole, a ratio with the counts
// that it is of. It looks at nothing but what is told.
func (s *showing) agree(part *part) {
	told := func(name string) (uint64, bool) {
		v, counted := s.row[name].(uint64)
		return v, counted
	}
	for _, c := range part.columns {
		if whole, counted := told(c.within); counted {
			if v, counted := told(c.name); counted {
				s.row[c.name] = min(v, whole)
			}
		}
	}
	for _, c := range part.columns {
		above, counted := told(c.quotient[0])
		below, too := told(c.quotient[1])
		if !counted || !too {
			continue
		}
		s.row[c.name] = 0.0
		if below > 0 {
			s.row[c.name] = math.Round(float64(above)/float64(below)*1e4) / 1e4
		}
	}
}

// share reports whether a ratio is one of 0 to 1.
func (c column) share() bool {
	return slices.ContainsFunc([]string{"rate", "share", "conversion", "viewability", "from_first", "from_previous"}, func(end string) bool {
		return strings.HasSuffix(c.name, end)
	})
}

// sort brings groups into the order that the part promises, by what is told: their order by what is true would tell
// more. What the order names and the row does not tell leaves them as they were read.
func (p *part) sort(groups []showing) {
	type term struct {
		column     column
		descending bool
	}
	var terms []term
	for _, name := range strings.Split(p.order, ", ") {
		name, descending := strings.CutSuffix(name, " DESC")
		i := slices.IndexFunc(p.columns, func(c column) bool { return c.alias() == name })
		if i < 0 {
			break
		}
		terms = append(terms, term{p.columns[i], descending})
	}
	slices.SortStableFunc(groups, func(a, b showing) int {
		for _, t := range terms {
			c := t.column.compare(a.row[t.column.name], b.row[t.column.name])
			if t.descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

// compare orders two values of the column.
func (c column) compare(a, b any) int {
	switch x := a.(type) {
	case uint64:
		if y, ok := b.(uint64); ok {
			return cmp.Compare(x, y)
		}
	case float64:
		if y, ok := b.(float64); ok {
			return cmp.Compare(x, y)
		}
	case string:
		y, ok := b.(string)
		switch {
		case !ok:
		case c.kind == money:
			return decimal.RequireFromString(x).Cmp(decimal.RequireFromString(y))
		case c.kind == clock:
			s, fault := time.Parse(time.RFC3339, x)
			t, other := time.Parse(time.RFC3339, y)
			if fault == nil && other == nil {
				return s.Compare(t)
			}
		default:
			return strings.Compare(x, y)
		}
	}
	return 0
}

// why says why groups were withheld.
func (s *Suppressed) why(k int, noisy bool) {
	if s.Groups == 0 {
		return
	}
	s.Reason = fmt.Sprintf("fewer than %d subjects", k)
	if noisy {
		s.Reason = fmt.Sprintf("about %d subjects or fewer, or next to such groups; their number is not exact", k)
	}
}
