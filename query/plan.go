package query

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/gate"
)

// statement is one bound read. It stands behind the gate: nothing but the gate names the events table.
type statement struct {
	part *part
	sql  string
	name string // as in the folder sql
}

// plan is what a request becomes.
type plan struct {
	params   map[string]string
	k        int
	parts    []statement
	coverage string
	drops    string
	columns  []string // of the events table, for the audit
	choice   *choice  // nil until it is made
}

// planner knows the statements and the data category of every column.
type planner struct {
	categories      map[string]core.Category
	sql             map[string]*template.Template
	rollups         map[string][2]*template.Template
	threshold, fine int
}

// newPlanner reads the statements. Groups need threshold subjects, and fine where they tell more of where somebody is
// than the country.
func newPlanner(threshold, fine int) (*planner, error) {
	byColumn, err := categories()
	if err != nil {
		return nil, err
	}
	p := &planner{categories: byColumn, sql: map[string]*template.Template{}, threshold: threshold, fine: fine}
	names := append([]string{"coverage", "drops", "segments"}, decisive...)
	for _, r := range catalogue {
		for _, part := range r.parts {
			names = append(names, part.file)
			for _, c := range part.reads {
				if _, stored := byColumn[c]; !stored {
					return nil, fmt.Errorf("plan reports: %s reads %s, which is not stored", r.name, c)
				}
			}
		}
	}
	for _, name := range names {
		text, err := statements.ReadFile("sql/" + name + ".sql")
		if err != nil {
			return nil, fmt.Errorf("plan reports: %w", err)
		}
		p.sql[name], err = template.New(name).Funcs(gate.Functions).Option("missingkey=error").Parse(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, fmt.Errorf("plan reports: %w", err)
		}
	}
	p.rollups, err = newRollups()
	return p, err
}

// refused is the first column that the purpose may not use (Art. 5), or nil.
func (p *planner) refused(allowed core.CategorySet, columns []string) *core.Error {
	for _, c := range columns {
		if category := p.categories[c]; !allowed.Has(category) {
			return &core.Error{Code: core.CodeColumnDenied, Field: c, Message: "the purpose may not use data of category " + category.String()}
		}
	}
	return nil
}

// plan binds a request to the statements of its report. What the purpose may not use is refused here, before anything
// is read.
func (p *planner) plan(r *request) (*plan, *core.Error) {
	planned := &plan{params: gate.Params(r.site.ID, r.pack.ID, uint8(r.purpose.Bit), r.from, r.to, r.site.Location), k: p.threshold}
	if r.report.fine {
		planned.k = p.fine
	}
	filtered := slices.Clone(r.reads)
	for i, f := range r.filters {
		filtered = append(filtered, dimensions[f.dimension].column)
		planned.params["f"+strconv.Itoa(i)] = f.bound()
		if dimensions[f.dimension].fine {
			planned.k = p.fine
		}
	}
	if fault := p.refused(r.purpose.Categories, filtered); fault != nil {
		return nil, fault
	}
	maps.Copy(planned.params, r.bound)
	planned.params["k"] = strconv.Itoa(planned.k)
	planned.params["epochs"] = strconv.Itoa(gate.Epochs(r.from, r.to))
	planned.params["limit"] = strconv.Itoa(maxExport)
	planned.columns = slices.Clone(filtered)
	for i := range r.report.parts {
		part := &r.report.parts[i]
		if fault := p.refused(r.purpose.Categories, part.reads); fault != nil {
			if part.optional {
				continue
			}
			return nil, fault
		}
		planned.columns = append(planned.columns, part.reads...)
		planned.parts = append(planned.parts, statement{part, p.behindGate(part, r), part.file})
	}
	slices.Sort(planned.columns)
	planned.columns = slices.Compact(planned.columns)
	planned.coverage = "WITH " + gate.Gate(nil) + "\n" + p.text("coverage", nil, nil)
	planned.drops = p.text("drops", nil, nil)
	return planned, nil
}

// over is the plan for another period.
func (p *plan) over(from, to time.Time) *plan {
	other := *p
	other.params = maps.Clone(p.params)
	other.params["from"], other.params["to"] = strconv.FormatInt(from.UnixMilli(), 10), strconv.FormatInt(to.UnixMilli(), 10)
	other.params["epochs"] = strconv.Itoa(gate.Epochs(from, to))
	return &other
}

// columnsOfRows are the columns of the answer's own rows.
func (p *plan) columnsOfRows() []column {
	var all []column
	for _, s := range p.parts {
		if s.part.into == "" {
			all = append(all, s.part.columns...)
		}
	}
	return all
}

// text is a statement's own SQL. A parameter stands in it as the list of the indexes of its values, or as that of the
// conditions that it makes.
func (p *planner) text(name string, given map[string]int, conditions map[string][]string) string {
	data := map[string]any{}
	for parameter, n := range given {
		indexes := make([]int, n)
		for i := range indexes {
			indexes[i] = i
		}
		data[parameter] = indexes
	}
	for parameter, all := range conditions {
		data[parameter] = all
	}
	var b strings.Builder
	if err := p.sql[name].Execute(&b, data); err != nil {
		panic("query: statement " + name + " cannot be made: " + err.Error()) // a file of this package is wrong; a test makes each one
	}
	return b.String()
}

// behindGate makes the whole statement of a part: gate, rows that pass it, the part's own SQL, and what the threshold
// needs to know. It gives the groups that are large enough, and one in any case.
func (p *planner) behindGate(part *part, r *request) string {
	rows, _ := conditions(part, r.filters)
	if r.sample < 1 {
		rows = append(rows, "cityHash64(if(subject = 0, event_id, subject), 'sample') % 1000 < "+strconv.Itoa(int(math.Round(r.sample*1000))))
	}
	columns := slices.Concat(part.reads, r.reads)
	for _, f := range r.filters {
		columns = append(columns, dimensions[f.dimension].column)
	}
	return "WITH " + gate.Permitted(columns, rows) + ",\n" + answered(part, r, p.text(part.file, r.given, r.conditions))
}

// answered is the end of the statement of a part whose groups own makes.
func answered(part *part, r *request, own string) string {
	_, groups := conditions(part, r.filters)
	stated := part.stated()
	outputs := make([]string, len(stated))
	for i, c := range stated {
		outputs[i] = casts[c.kind] + "(" + c.alias() + ")"
	}
	var sql strings.Builder
	fmt.Fprintf(&sql, "grouped AS\n(\n%s\n)\n", own)
	fmt.Fprintf(&sql, "SELECT toUInt64(subjects), toUInt64(people), toUInt64(low), toUInt64(high), toUInt64(small), toUInt64(small_subjects), toUInt64(all), %s\n", strings.Join(outputs, ", "))
	fmt.Fprintf(&sql, "FROM\n(\n    SELECT *, %s AS subjects, countIf(subjects < {k:UInt64}) OVER () AS small,\n", gate.Subjects)
	fmt.Fprintf(&sql, "        %s AS small_subjects, count() OVER () AS all, row_number() OVER () AS position\n    FROM grouped\n", smallSubjects)
	if len(groups) > 0 {
		fmt.Fprintf(&sql, "    WHERE %s\n", strings.Join(groups, " AND "))
	}
	fmt.Fprintf(&sql, ")\nWHERE subjects >= {k:UInt64} OR position = 1\nORDER BY subjects >= {k:UInt64} DESC, %s\nLIMIT {limit:UInt32}", part.order)
	return sql.String()
}

// smallSubjects is how many subjects are surely behind all small groups together: the least and the greatest hash of a
// group are somebody's. A visitor without a cookie may be another subject each day, and anybody in each epoch.
const smallSubjects = `intDiv(
            uniqExactArrayIf(if(low = 0 AND high = 0, emptyArrayUInt64(), [low, high]), subjects < {k:UInt64}) OVER (),
            greatest({epochs:UInt32}, if(sumIf(passing, subjects < {k:UInt64}) OVER () = 0, 1, intDiv({to:Int64} - {from:Int64}, 86400000) + 2)))`

// casts bring each kind to the one type that the reader scans.
var casts = map[kind]string{text: "toString", count: "toUInt64", ordinal: "toUInt64", ratio: "toFloat64", money: "toString", clock: "toInt64"}

// conditions bind the filters. One that is a column of the answer picks among the groups, so that what is computed over
// a whole session (entries, exits, the source) stays what it is; any other picks among the events. What a dimension may
// be are alternatives.
func conditions(part *part, filters []filter) (rows, groups []string) {
	type key struct {
		expression string
		group      bool
	}
	var seen []key
	either := map[key][]string{}
	add := func(at key, sql string) {
		if at.group {
			groups = append(groups, sql)
		} else {
			rows = append(rows, sql)
		}
	}
	for i, f := range filters {
		at := key{dimensions[f.dimension].column, false}
		for _, c := range part.columns {
			if c.name == f.dimension && c.kind == text {
				at = key{c.alias(), true}
			}
		}
		sql := f.condition(at.expression, "f"+strconv.Itoa(i))
		if f.not {
			add(at, sql)
			continue
		}
		if either[at] == nil {
			seen = append(seen, at)
		}
		either[at] = append(either[at], sql)
	}
	for _, at := range seen {
		add(at, "("+strings.Join(either[at], " OR ")+")")
	}
	return rows, groups
}
