package query

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/gate"
	"github.com/sekisho/sekisho/query/dp"
)

// A differentially private release is an answer that may leave the company (release=dp). Every day of the data has a
// budget for each purpose; what a release spends on a day is spent for good, and before anything is computed.

// Budget is what differentially private releases may spend in all on one day of the data, for each site and purpose, as
// decimals. Two releases add up (basic composition).
type Budget struct {
	Epsilon string `json:"epsilon"` // default 1
	Delta   string `json:"delta"`   // default 0.000001
}

// private is a report that can be released.
type private struct {
	keys   []string // expressions of the key columns, in the order of the report's
	picked string   // the events that count
	events label    // what their number is called
	cells  int64    // of one subject and day at most
	each   int64    // events in each at most
	days   bool     // the cells are the days of the period
}

// privates are the reports that can be released, by name.
var privates = map[string]private{
	"timeseries": {[]string{"toUnixTimestamp(toDateTime(day, {time_zone:String}))"}, "type = 'page_view'", label{"ページビュー", "Page views"}, 1, 20, true},
	"pages":      {[]string{"host", "path"}, "type = 'page_view'", label{"ページビュー", "Page views"}, 8, 3, false},
	"sources":    {[]string{"channel", "channel_source", "referrer_host"}, "type = 'page_view' AND channel != 'internal'", label{"閲覧の開始", "Entries"}, 2, 3, false},
	"locations":  {[]string{"country", "region"}, "type = 'page_view'", label{"ページビュー", "Page views"}, 1, 20, false},
	"devices":    {[]string{"device", "browser", "os"}, "type = 'page_view'", label{"ページビュー", "Page views"}, 1, 20, false},
	"operations": {[]string{"if(type = 'custom', custom_name, operation)", "operation_target"}, "type IN ('operation', 'custom')", label{"操作の回数", "Operations"}, 5, 5, false},
	"searches":   {[]string{"search_query"}, "type = 'search'", label{"検索の回数", "Searches"}, 3, 3, false},
}

// deltaOfRelease is what a release of unknown cells spends of delta: a tenth of what a day has by default.
var deltaOfRelease = big.NewRat(1, 10_000_000)

// Private says what a differentially private answer promises.
type Private struct {
	Mechanism string `json:"mechanism"`
	Unit      string `json:"unit"` // whose presence is hidden
	Epsilon   string `json:"epsilon"`
	Delta     string `json:"delta"`
	// CellsPerUnit and EventsPerCell are the bounds: what one unit does beyond them was not counted.
	CellsPerUnit  int64 `json:"cells_per_unit"`
	EventsPerCell int64 `json:"events_per_cell"`
	// Threshold is the least number of visitor days that a row is shown with; 0 where the rows are known beforehand.
	Threshold int64 `json:"threshold"`
	// DayScale and EventScale are the scales of the noise: half of all numbers are off by 0.7 times that.
	DayScale   string `json:"day_scale"`
	EventScale string `json:"event_scale"`
	// Left is what the day with the least left has left of the budget.
	Left Budget `json:"left"`
}

// readPrivacy reads release and epsilon.
func (r *request) readPrivacy(values url.Values, now time.Time) *core.Error {
	kind, epsilon := values.Get("release"), values.Get("epsilon")
	if kind == "" {
		if epsilon != "" {
			return invalid("epsilon", "goes with release=dp")
		}
		return nil
	}
	p, known := privates[r.report.name]
	switch {
	case kind != "dp":
		return invalid("release", "not dp")
	case !known:
		return invalid("release", "the report cannot be released; timeseries, pages, sources, locations, devices, operations and searches can")
	case r.sample != 1 || !r.before.from.IsZero():
		return invalid("release", "a release is neither sampled nor compared")
	case r.bound["interval"] != "" && r.bound["interval"] != "day":
		return invalid("interval", "a release is by the day")
	}
	whole := func(t time.Time) bool {
		return t.Equal(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location()))
	}
	if !whole(r.from) || !whole(r.to) || r.to.After(now) {
		return invalid("to", "a release is of whole days that are over")
	}
	spends, ok := dp.Parse(epsilon)
	if !ok || spends.Sign() == 0 || spends.Cmp(big.NewRat(10, 1)) > 0 || len(epsilon) > 11 {
		return invalid("epsilon", "not a decimal number above 0 and not above 10")
	}
	r.private, r.terms = &p, dp.Terms{Epsilon: spends, Delta: new(big.Rat), Cells: p.cells, Events: p.each, Known: p.days}
	if !p.days {
		r.terms.Delta = deltaOfRelease
	}
	return nil
}

// privatePart is what the rows of a release are: the report's keys, and two numbers.
func (r *request) privatePart() *part {
	p := &part{file: "private"}
	var keys []string
	for _, c := range r.report.parts[0].columns {
		if c.isKey() {
			p.columns = append(p.columns, c)
			keys = append(keys, c.alias())
		}
	}
	p.columns = append(p.columns,
		column{name: "visitor_days", kind: count, label: label{"訪問者・日", "Visitor days"}},
		column{name: "events", kind: count, label: r.private.events})
	if p.order = "events DESC, " + strings.Join(keys, ", "); r.private.days {
		p.order = strings.Join(keys, ", ")
	}
	return p
}

// answerPrivately releases a report with differential privacy. The same release again costs nothing: it is the one that
// was made, also when the data has changed since.
func (q *Query) answerPrivately(ctx context.Context, r *request, planned *plan, actor string) (*Answer, error) {
	p := r.privatePart()
	shaped := &plan{params: planned.params, k: planned.k, parts: []statement{{part: p}}}
	key := q.bind(r, append(r.shapeOf(planned.k), "dp", plainly(r.terms.Epsilon), plainly(r.terms.Delta), fmt.Sprint(r.terms.Cells, r.terms.Events)))
	told, err := q.find(ctx, r, shaped, key, nil)
	if err != nil {
		return nil, err
	}
	var left Budget
	fresh := told == nil
	if fresh {
		left, err = q.spend(ctx, r, actor)
	} else {
		left, err = q.left(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	if fresh {
		if told, err = q.draw(ctx, r, planned, p); err != nil {
			return nil, err
		}
		if err := q.keep(ctx, r, key, told, 0); err != nil {
			return nil, err
		}
	}
	a := &Answer{
		Report: r.report.name, Site: r.site.ID, Purpose: r.purpose.ID, Policy: r.pack.Version, From: r.from, To: r.to,
		TimeZone: r.site.Location.String(), Interval: r.bound["interval"], Threshold: planned.k, Columns: p.describe(),
		Rows: told.page(r.offset, r.limit), Coverage: Coverage{LeftOut: []LeftOut{}}, Release: told.describe(r),
		Private: &Private{
			Mechanism: dp.Mechanism, Unit: "subject_day", Epsilon: plainly(r.terms.Epsilon), Delta: plainly(r.terms.Delta),
			CellsPerUnit: r.terms.Cells, EventsPerCell: r.terms.Events, Threshold: r.terms.Threshold(),
			DayScale: plainly(r.terms.DayScale()), EventScale: plainly(r.terms.EventScale()), Left: left,
		},
	}
	if a.Truncated = r.offset+len(a.Rows) < told.Shown; a.Truncated {
		a.Next = cursorAt(r.offset + len(a.Rows))
	}
	return a, nil
}

// draw reads the bounded cells and adds the noise.
func (q *Query) draw(ctx context.Context, r *request, planned *plan, p *part) (*release, error) {
	rows, _ := conditions(&part{}, r.filters)
	columns := slices.Concat(r.report.parts[0].reads, r.reads)
	for _, f := range r.filters {
		columns = append(columns, dimensions[f.dimension].column)
	}
	var names, keys []string
	for i, expression := range r.private.keys {
		// A name of its own: an alias that is the column's would be another thing inside its expression.
		names = append(names, "key"+strconv.Itoa(i))
		keys = append(keys, expression+" AS key"+strconv.Itoa(i))
	}
	sql := "WITH " + gate.Permitted(columns, rows) + "\n" + strings.NewReplacer(
		"/*names*/", strings.Join(names, ", "), "/*keys*/", strings.Join(keys, ", "), "/*picked*/", r.private.picked,
	).Replace(q.planner.text("private", nil, nil))
	params := planned.over(r.from, r.to).params
	params["cells_each"], params["events_each"] = strconv.FormatInt(r.terms.Cells, 10), strconv.FormatInt(r.terms.Events, 10)

	var (
		found []Row
		cells []dp.Cell
	)
	known := map[int64]int{}
	if r.private.days {
		for day := r.from; day.Before(r.to); day = day.AddDate(0, 0, 1) {
			known[day.Unix()] = len(found)
			found, cells = append(found, Row{p.columns[0].name: day.Format(time.RFC3339)}), append(cells, dp.Cell{})
		}
	}
	err := q.look(ctx, sql, params, func(rows clickhouse.Rows) error {
		for rows.Next() {
			var (
				c      dp.Cell
				at     uint32
				values = make([]string, len(r.private.keys))
				dest   []any
			)
			for i := range values {
				dest = append(dest, &values[i])
			}
			if r.private.days {
				dest = []any{&at}
			}
			if err := rows.Scan(append(dest, &c.Days, &c.Events)...); err != nil {
				return err
			}
			if r.private.days {
				i, ok := known[int64(at)]
				if !ok {
					return errors.New("a day outside of the period")
				}
				cells[i] = c
				continue
			}
			row := Row{}
			for i, v := range values {
				row[p.columns[i].name] = v
			}
			found, cells = append(found, row), append(cells, c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read cells: %w", err)
	}
	told, err := r.terms.Release(cells, dp.NewSampler(q.deps.Random))
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	id, err := uuid.NewRandomFromReader(q.deps.Random)
	if err != nil {
		return nil, fmt.Errorf("name release: %w", err)
	}
	l := &release{Rows: []Row{}, Coverage: Coverage{LeftOut: []LeftOut{}}, id: id, asOf: q.deps.Now().UTC().Truncate(time.Microsecond), from: r.from, to: r.to}
	var shown []showing
	for i, c := range told {
		if c == nil {
			continue
		}
		found[i]["visitor_days"], found[i]["events"] = uint64(c.Days), uint64(c.Events) //nolint:gosec // G115: not below 0
		shown = append(shown, showing{group: group{row: found[i]}})
	}
	p.sort(shown) // by what is told: the order by what is true would tell more
	for _, s := range shown[:min(len(shown), maxKept)] {
		l.Rows = append(l.Rows, s.row)
	}
	l.Shown = len(l.Rows)
	return l, nil
}

// days are those of the request's period.
func (r *request) days() []time.Time {
	var all []time.Time
	for day := r.from; day.Before(r.to); day = day.AddDate(0, 0, 1) {
		all = append(all, time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, time.UTC))
	}
	return all
}

var errExhausted = &core.Error{
	Code: core.CodeBudgetExhausted, Field: "epsilon",
	Message: "a day of the period has less left of its budget; ask for less, for other days, or for a release that was made",
}

// spend takes what a release costs from the budget of each of its days, and says what is left.
//
// First it is written down, then it is looked whether it was there: of several processes that spend at once, each sees
// its own rows and all that were written before it looked, so the one that looks last sees all. They may all be refused,
// but they never spend more than there is. What was refused is given back by rows of the opposite sign; when that fails, it
// stays spent. In a cluster, the inserts need a quorum and the look sequential consistency.
func (q *Query) spend(ctx context.Context, r *request, actor string) (Budget, error) {
	id, err := uuid.NewRandomFromReader(q.deps.Random)
	if err != nil {
		return Budget{}, fmt.Errorf("spend budget: %w", err)
	}
	if err := q.book(ctx, r, actor, id, 1); err != nil {
		return Budget{}, fmt.Errorf("spend budget: %w", err)
	}
	left, err := q.left(ctx, r)
	if errors.Is(err, errExhausted) {
		// The caller's leaving must not keep what nobody got.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
		defer cancel()
		if err := q.book(undo, r, actor, id, -1); err != nil {
			return Budget{}, fmt.Errorf("give budget back: %w", err)
		}
	}
	return left, err
}

// book writes a release's cost down for each day of its period.
func (q *Query) book(ctx context.Context, r *request, actor string, id uuid.UUID, sign int64) error {
	epsilon, err := decimal.NewFromString(plainly(r.terms.Epsilon))
	if err != nil {
		return err
	}
	delta, err := decimal.NewFromString(plainly(r.terms.Delta))
	if err != nil {
		return err
	}
	days, now := r.days(), q.deps.Now().UTC()
	return q.deps.Store.Insert(ctx, "dp_budget", id.String()+"/"+strconv.FormatInt(sign, 10), []clickhouse.Column{
		clickhouse.Gather("site", days, func(time.Time) string { return r.site.ID }),
		clickhouse.Gather("purpose", days, func(time.Time) string { return r.purpose.ID }),
		clickhouse.Gather("day", days, func(day time.Time) time.Time { return day }),
		clickhouse.Gather("epsilon", days, func(time.Time) decimal.Decimal { return epsilon.Mul(decimal.NewFromInt(sign)) }),
		clickhouse.Gather("delta", days, func(time.Time) decimal.Decimal { return delta.Mul(decimal.NewFromInt(sign)) }),
		clickhouse.Gather("report", days, func(time.Time) string { return r.report.name }),
		clickhouse.Gather("actor", days, func(time.Time) string { return actor }),
		clickhouse.Gather("time", days, func(time.Time) time.Time { return now }),
		clickhouse.Gather("id", days, func(time.Time) uuid.UUID { return id }),
	})
}

// left is what the day with the least left has left. A day that has spent more than it had is errExhausted.
func (q *Query) left(ctx context.Context, r *request) (Budget, error) {
	days := r.days()
	epsilon, delta := new(big.Rat).Set(q.budget[0]), new(big.Rat).Set(q.budget[1])
	err := q.look(ctx, q.planner.text("spent", nil, nil), map[string]string{
		"site": r.site.ID, "purpose": r.purpose.ID,
		"first": days[0].Format(time.DateOnly), "last": days[len(days)-1].Format(time.DateOnly),
	}, func(rows clickhouse.Rows) error {
		for rows.Next() {
			var spent [2]string
			if err := rows.Scan(&spent[0], &spent[1]); err != nil {
				return err
			}
			for i, least := range []*big.Rat{epsilon, delta} {
				s, ok := new(big.Rat).SetString(spent[i])
				if !ok {
					return errors.New("no number")
				}
				if rest := s.Sub(q.budget[i], s); rest.Cmp(least) < 0 {
					least.Set(rest)
				}
			}
		}
		return nil
	})
	if err != nil {
		return Budget{}, fmt.Errorf("look at budget: %w", err)
	}
	if epsilon.Sign() < 0 || delta.Sign() < 0 {
		return Budget{}, errExhausted
	}
	return Budget{plainly(epsilon), plainly(delta)}, nil
}

// plainly writes a number as a decimal, to 24 places.
func plainly(r *big.Rat) string {
	s := r.FloatString(24)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// limits reads a budget.
func (b Budget) limits() (limits [2]*big.Rat, err error) {
	for i, text := range []string{b.Epsilon, b.Delta} {
		if text == "" {
			text = []string{"1", "0.000001"}[i]
		}
		var ok bool
		if limits[i], ok = dp.Parse(text); !ok {
			return limits, errors.New("the budget of releases is not of decimal numbers")
		}
	}
	return limits, nil
}
