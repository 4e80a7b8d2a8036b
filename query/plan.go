package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/core"
)

// statement is one bound read. It stands behind the gate: nothing but the planner names the events table.
type statement struct {
	part *part
	sql  string
}

// plan is what a request becomes.
type plan struct {
	params   map[string]string
	parts    []statement
	coverage string
	drops    string
	columns  []string // of the events table, for the audit
}

// planner knows the statements and the data category of every column.
type planner struct {
	categories map[string]core.Category
	sql        map[string]string
}

func newPlanner() (*planner, error) {
	byColumn, err := categories()
	if err != nil {
		return nil, err
	}
	p := &planner{categories: byColumn, sql: map[string]string{}}
	names := []string{"gate", "coverage", "drops"}
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
		sql, err := statements.ReadFile("sql/" + name + ".sql")
		if err != nil {
			return nil, fmt.Errorf("plan reports: %w", err)
		}
		p.sql[name] = strings.TrimSpace(string(sql))
	}
	return p, nil
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
func (p *planner) plan(r *request, k, limit int) (*plan, *core.Error) {
	allowed := r.purpose.Categories
	planned := &plan{params: map[string]string{
		"site": r.site.ID, "bit": strconv.Itoa(int(r.purpose.Bit)), "policy": r.pack.ID + "/",
		"from": strconv.FormatInt(r.from.UnixMilli(), 10), "to": strconv.FormatInt(r.to.UnixMilli(), 10),
		"k": strconv.Itoa(k), "limit": strconv.Itoa(limit),
		"interval": r.interval, "time_zone": r.site.Location.String(),
	}}
	var filtered []string
	for i, f := range r.filters {
		filtered = append(filtered, dimensions[f.dimension])
		planned.params["f"+strconv.Itoa(i)] = f.value
	}
	if fault := p.refused(allowed, filtered); fault != nil {
		return nil, fault
	}
	planned.columns = slices.Clone(filtered)
	for i := range r.report.parts {
		part := &r.report.parts[i]
		if fault := p.refused(allowed, part.reads); fault != nil {
			if part.optional {
				continue
			}
			return nil, fault
		}
		planned.columns = append(planned.columns, part.reads...)
		planned.parts = append(planned.parts, statement{part, p.behindGate(part, r.filters)})
	}
	slices.Sort(planned.columns)
	planned.columns = slices.Compact(planned.columns)
	planned.coverage = "WITH " + p.gate(nil) + "\n" + p.sql["coverage"]
	planned.drops = p.sql["drops"]
	return planned, nil
}

// gate is the only place where the events table is read. columns are all that the statements behind it can see, besides
// the subject.
func (p *planner) gate(columns []string) string {
	var list strings.Builder
	for _, c := range columns {
		list.WriteString("e." + c + " AS " + c + ",\n        ")
	}
	return strings.Replace(p.sql["gate"], "/*columns*/", strings.TrimSpace(list.String()), 1)
}

// behindGate makes the whole statement of a part: gate, rows that pass it, the part's own SQL, and the count of groups
// that are too small. Groups that are large enough come first.
func (p *planner) behindGate(part *part, filters []filter) string {
	columns := append(slices.Clone(technical), part.reads...)
	rows, groups := conditions(part, filters)
	for _, f := range filters {
		columns = append(columns, dimensions[f.dimension])
	}
	slices.Sort(columns)
	columns = slices.Compact(columns)

	outputs := make([]string, len(part.columns))
	inner := make([]string, len(part.columns))
	for i, c := range part.columns {
		inner[i] = c.alias()
		outputs[i] = casts[c.kind] + "(" + c.alias() + ")"
	}
	var sql strings.Builder
	fmt.Fprintf(&sql, "WITH %s,\n", p.gate(columns))
	fmt.Fprintf(&sql, "permitted AS\n(\n    SELECT %s, subject\n    FROM gate\n    WHERE left_out = ''%s\n),\n", strings.Join(columns, ", "), and(rows))
	fmt.Fprintf(&sql, "grouped AS\n(\n%s\n)\n", p.sql[part.file])
	fmt.Fprintf(&sql, "SELECT toUInt64(subjects), toUInt64(small), toUInt64(all), %s\n", strings.Join(outputs, ", "))
	fmt.Fprintf(&sql, "FROM\n(\n    SELECT subjects, %s, countIf(subjects < {k:UInt64}) OVER () AS small, count() OVER () AS all\n    FROM grouped\n    WHERE 1%s\n)\n",
		strings.Join(inner, ", "), and(groups))
	fmt.Fprintf(&sql, "ORDER BY subjects >= {k:UInt64} DESC, %s\nLIMIT {limit:UInt32}", part.order)
	return sql.String()
}

// casts bring each kind to the one type that the reader scans.
var casts = map[kind]string{text: "toString", count: "toUInt64", ratio: "toFloat64", money: "toString", clock: "toInt64"}

// conditions bind the filters. One that is a column of the answer picks among the groups, so that what is computed over
// a whole session (entries, exits, the source) stays what it is; any other picks among the events. Values of one
// dimension are alternatives.
func conditions(part *part, filters []filter) (rows, groups []string) {
	type key struct {
		expression string
		group      bool
	}
	var seen []key
	either := map[key][]string{}
	for i, f := range filters {
		at := key{dimensions[f.dimension], false}
		for _, c := range part.columns {
			if c.name == f.dimension && c.kind == text {
				at = key{c.alias(), true}
			}
		}
		value := "{f" + strconv.Itoa(i) + ":String}"
		if f.not {
			if at.group {
				groups = append(groups, at.expression+" != "+value)
			} else {
				rows = append(rows, at.expression+" != "+value)
			}
			continue
		}
		if either[at] == nil {
			seen = append(seen, at)
		}
		either[at] = append(either[at], value)
	}
	for _, at := range seen {
		in := at.expression + " IN (" + strings.Join(either[at], ", ") + ")"
		if at.group {
			groups = append(groups, in)
		} else {
			rows = append(rows, in)
		}
	}
	return rows, groups
}

func and(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " AND " + strings.Join(conditions, " AND ")
}
