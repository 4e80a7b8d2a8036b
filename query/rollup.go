package query

import (
	"context"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/sekisho/sekisho/internal/rollup"
)

//go:embed sql/rollup/*.sql
var rollups embed.FS

// kept is the kind of cells that holds what a statement needs, by the statement's name.
var kept = map[string]string{
	"totals": "total", "timeseries": "total", "timeseries_hours": "hour", "engagement": "engagement", "acts": "act",
	"pages": "page", "entries": "entry",
	"sources": "source", "channels": "channel", "referrers": "referrer", "campaigns": "campaign",
	"locations": "location", "regions": "location", "countries": "country", "languages": "language",
	"devices": "device", "browsers": "browser", "systems": "system",
	"operations": "operation", "searches": "search", "ads": "ad",
	"revenue": "order", "orders": "order", "purchases": "order",
	"coverage": "coverage",
}

// choice is what a report is read from, and why.
type choice struct {
	rollup bool // at least in part
	partly bool // some statements are over events
	why    string
	kept   int       // days that are read from their sums
	raw    int       // days that are read from the events, where others are not
	asOf   time.Time // when the sums of the running day were made, if rows came since; else zero
}

// name is how an explanation names it.
func (s *choice) name() string {
	switch {
	case !s.rollup:
		return "raw"
	case s.raw > 0 || s.partly:
		return "mixed"
	}
	return "rollup"
}

// newRollups reads the statements over cells, for periods of kept days only and for such with others.
func newRollups() (map[string][2]*template.Template, error) {
	all := map[string][2]*template.Template{}
	for name := range kept {
		text, err := rollups.ReadFile("sql/rollup/" + name + ".sql")
		if err != nil {
			return nil, fmt.Errorf("plan rollups: %w", err)
		}
		var both [2]*template.Template
		for i, raw := range []bool{false, true} {
			both[i], err = template.New(name).Funcs(rollup.Functions(raw)).Parse(strings.TrimSpace(string(text)))
			if err != nil {
				return nil, fmt.Errorf("plan rollups: %w", err)
			}
		}
		all[name] = both
	}
	return all, nil
}

// overCells is the name of the statement over cells that answers a part as the request asks for it; empty if there is
// none.
func (r *request) overCells(part *part) (name, why string) {
	name = part.file
	if name == "timeseries" && r.bound["interval"] == "hour" {
		name = "timeseries_hours"
	}
	if _, known := kept[name]; !known || name == "coverage" {
		return "", "no sums are kept of what it asks for"
	}
	if rows, _ := conditions(part, r.filters); len(rows) > 0 {
		return "", "a filter picks among the events, not among the rows of the answer"
	}
	return name, ""
}

// choose decides what a report over the request's period is read from, and puts the statements over sums into the plan
// in place of those over events where they give the same answer. A day whose sums are not true is read from the events
// by the same statement.
func (q *Query) choose(ctx context.Context, r *request, planned *plan) (*plan, error) {
	chosen := *planned
	chosen.choice = &choice{}
	if chosen.choice.why = q.unkept(r); chosen.choice.why != "" {
		return &chosen, nil
	}
	scope := rollup.Scope{Site: r.site, Pack: r.pack, Purpose: r.purpose}
	var err error
	if scope.Keep, err = rollup.Keep(q.deps.Policies, q.deps.Now()); err != nil {
		return nil, fmt.Errorf("choose source: %w", err)
	}
	first, last := r.from, r.to.AddDate(0, 0, -1)
	days, err := q.rollups.Look(ctx, scope, first, last, q.deps.Now(), q.limits())
	if err != nil {
		return nil, fmt.Errorf("choose source: %w", err)
	}
	use := chosen.choice.weigh(days, q.config.Few)
	if use == nil {
		return &chosen, nil
	}
	chosen.params = maps.Clone(planned.params)
	maps.Copy(chosen.params, use)
	chosen.params["policy_id"], chosen.params["first"], chosen.params["last"] = r.pack.ID, first.Format(time.DateOnly), last.Format(time.DateOnly)
	raw := chosen.choice.raw > 0
	chosen.parts = slices.Clone(planned.parts)
	var left string
	for i, s := range chosen.parts {
		name, why := r.overCells(s.part)
		if name == "" {
			left, chosen.choice.partly = why, true
			continue
		}
		chosen.parts[i].sql = "WITH " + cells(name, raw) + ",\n" + answered(s.part, r, q.planner.overCells(name, raw))
		chosen.parts[i].name, chosen.choice.rollup = "rollup/"+name, true
	}
	if !chosen.choice.rollup {
		chosen.choice.why = left
	}
	chosen.coverage = "WITH " + cells("coverage", raw) + "\n" + q.planner.overCells("coverage", raw)
	return &chosen, nil
}

// unkept is why no sum can answer a request, whatever its report; empty if one might.
func (q *Query) unkept(r *request) string {
	switch {
	case q.config.Raw:
		return "the service is told to read the events"
	case r.report.records:
		return "the report is not about what the purpose may see"
	case r.sample < 1:
		return "a sample is asked for"
	case !midnight(r.from) || !midnight(r.to):
		return "the period does not begin and end at midnight of the site's time zone"
	}
	return ""
}

func midnight(t time.Time) bool {
	y, m, d := t.Date()
	return t.Equal(time.Date(y, m, d, 0, 0, 0, 0, t.Location()))
}

// weigh tells days whose sums may be read from those that are read from the events, and says why. It returns the bound
// parameters, or nil where everything is read from the events.
func (s *choice) weigh(days []rollup.Day, few uint64) map[string]string {
	var (
		rows, changed uint64
		builds, raws  []string
		from, to      time.Time
		causes        []string
	)
	for _, d := range days {
		rows += d.Rows
		if d.Usable {
			builds = append(builds, "("+strconv.FormatInt(rollup.Number(d.Date), 10)+","+strconv.FormatUint(d.Build, 10)+")")
			if d.Cause != "" {
				s.asOf = d.BuiltAt
			}
			continue
		}
		if d.Rows == 0 {
			continue // its build is of rows that are gone
		}
		changed += d.Rows
		if causes = append(causes, string(d.Cause)); from.IsZero() {
			from = d.Date
		}
		to = d.Date.AddDate(0, 0, 1)
		raws = append(raws, strconv.FormatInt(rollup.Number(d.Date), 10))
	}
	slices.Sort(causes)
	causes = slices.Compact(causes)
	switch {
	case rows < few:
		s.why = "the period has few events"
		return nil
	case 2*changed > rows:
		s.why = "most events are of days whose sums are not true: " + strings.Join(causes, ", ")
		return nil
	}
	s.kept, s.raw = len(builds), len(raws)
	s.why = "sums are kept by day"
	if len(raws) > 0 {
		s.why += "; days whose sums are not true are read from the events: " + strings.Join(causes, ", ")
	}
	if len(raws) == 0 {
		from, to = time.Unix(0, 0), time.Unix(0, 0)
	}
	return map[string]string{
		"builds": "[" + strings.Join(builds, ",") + "]", "raw_days": "[" + strings.Join(raws, ",") + "]",
		"raw_from": strconv.FormatInt(from.UnixMilli(), 10), "raw_to": strconv.FormatInt(to.UnixMilli(), 10),
	}
}

// cells are the expressions at whose end stands cells.
func cells(name string, raw bool) string {
	kind, known := rollup.Named(kept[name])
	if !known {
		panic("query: statement " + name + " is over a kind of cells that does not exist") // a test makes each one
	}
	return kind.Cells(raw)
}

// overCells is a statement over cells.
func (p *planner) overCells(name string, raw bool) string {
	i := 0
	if raw {
		i = 1
	}
	var b strings.Builder
	if err := p.rollups[name][i].Execute(&b, nil); err != nil {
		panic("query: statement rollup/" + name + " cannot be made: " + err.Error()) // a file of this package is wrong; a test makes each one
	}
	return b.String()
}
