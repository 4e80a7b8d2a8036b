package query

import (
	"context"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/query/noise"
)

// Answer is a report as its caller sees it (schemas/openapi/query.v1.yaml).
type Answer struct {
	Report     string     `json:"report"`
	Site       string     `json:"site"`
	Purpose    string     `json:"purpose"`
	Policy     string     `json:"policy"`
	From       time.Time  `json:"from"`
	To         time.Time  `json:"to"` // exclusive
	TimeZone   string     `json:"time_zone"`
	Interval   string     `json:"interval,omitempty"`
	Compared   *Period    `json:"compared,omitempty"`
	Sample     float64    `json:"sample,omitempty"` // share of the subjects that was read, where one was asked for; counts are of all
	Threshold  int        `json:"threshold"`        // least number of subjects of a row
	Columns    []Column   `json:"columns"`
	Rows       []Row      `json:"rows"`
	Truncated  bool       `json:"truncated"`      // the limit cut off rows
	Next       string     `json:"next,omitempty"` // cursor of the rows that follow
	Suppressed Suppressed `json:"suppressed"`
	Coverage   Coverage   `json:"coverage"`
	Release    *Release   `json:"release,omitempty"`
	Private    *Private   `json:"private,omitempty"`
	Noise      *Noise     `json:"noise,omitempty"`
	Remarks    []Remark   `json:"remarks,omitempty"`
}

// Noise tells that numbers are moved by a few people, always in the same way (package noise).
type Noise struct {
	// Deviation is the standard deviation of a number of people, in people.
	Deviation float64 `json:"deviation"`
}

// Remark is what has to be known to read the figures right.
type Remark struct {
	Name string `json:"name"`
	Text label  `json:"text"`
}

// Period is the one that an answer is compared with.
type Period struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"` // exclusive
}

// Column describes a column of the rows.
type Column struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // text, count, ratio, money, clock, ordinal or rows
	Label label  `json:"label"`

	kind   kind
	nested []Column // of rows within the rows
}

// Row is a row by column name.
type Row map[string]any

// Suppressed counts the groups that were withheld.
type Suppressed struct {
	Groups int    `json:"groups"`
	Reason string `json:"reason,omitempty"`
}

// Coverage says how many events of the site and the period, before any filter, the purpose may see, and why not the others.
type Coverage struct {
	// Included is nil when fewer subjects than the threshold are behind it.
	Included *uint64   `json:"included"`
	LeftOut  []LeftOut `json:"left_out"`
}

// LeftOut is a number of events that the report does not rest on.
type LeftOut struct {
	Reason string `json:"reason"`
	// Count is nil when stored events of fewer subjects than the threshold are behind it. What was never stored has no
	// subject, and is counted exactly.
	Count *uint64 `json:"count"`
	Text  label   `json:"text"`
}

// run releases an answer, and compares it.
func (q *Query) run(ctx context.Context, r *request, planned *plan) (*Answer, error) {
	a := &Answer{
		Report: r.report.name, Site: r.site.ID, Purpose: r.purpose.ID, Policy: r.pack.Version,
		From: r.from, To: r.to, TimeZone: r.site.Location.String(), Interval: r.bound["interval"], Threshold: planned.k,
		Columns: []Column{},
	}
	if r.sample < 1 {
		a.Sample = r.sample
	}
	if q.noise != nil {
		a.Noise = &Noise{math.Round(float64(q.noise.Deviation())*math.Sqrt2*10) / 10}
	}
	for _, name := range r.report.remarks {
		a.Remarks = append(a.Remarks, Remark{name, remarkTexts[name]})
	}
	for _, s := range planned.parts {
		a.Columns = append(a.Columns, s.part.describe()...)
	}
	told, err := q.release(ctx, r, planned)
	if err != nil {
		return nil, err
	}
	a.Rows, a.Suppressed.Groups, a.Coverage = told.page(r.offset, r.limit), told.Withheld, told.Coverage
	if a.Truncated = r.offset+len(a.Rows) < told.Shown; a.Truncated {
		a.Next = cursorAt(r.offset + len(a.Rows))
	}
	a.Suppressed.why(planned.k, q.noise != nil)
	if !q.config.Bare {
		a.Release = told.describe(r)
	}
	if !r.before.from.IsZero() {
		earlier := *r
		earlier.from, earlier.to = r.before.from, r.before.to
		before, err := q.release(ctx, &earlier, planned.over(r.before.from, r.before.to))
		if err != nil {
			return nil, err
		}
		a.Compared = &Period{r.before.from, r.before.to}
		a.compare(before.Rows, planned.columnsOfRows())
	}
	return a, nil
}

// rowsRead are the rows of a report as they may be shown.
type rowsRead struct {
	rows     []Row
	shown    int // groups that may be shown, also those that were too many to be read
	withheld int
}

// page are some of the rows. What is released does not depend on how many are asked for.
func (l *release) page(offset, limit int) []Row {
	offset = min(offset, len(l.Rows))
	return l.Rows[offset:min(offset+limit, len(l.Rows))]
}

// readParts reads all parts over one period, as they may be shown.
func (q *Query) readParts(ctx context.Context, r *request, planned *plan) (*rowsRead, error) {
	read, err := q.readResults(ctx, r, planned)
	if err != nil {
		return nil, err
	}
	return q.assemble(r, planned, read), nil
}

// readResults reads all parts over one period, as they are.
func (q *Query) readResults(ctx context.Context, r *request, planned *plan) ([]*result, error) {
	all := make([]*result, len(planned.parts))
	for i, s := range planned.parts {
		var err error
		if all[i], err = q.runPart(ctx, s, planned.params, r.site.Location); err != nil {
			return nil, fmt.Errorf("run report: %w", err)
		}
	}
	return all, nil
}

// assemble makes the rows of a report of what may be shown of its parts.
func (q *Query) assemble(r *request, planned *plan, read []*result) *rowsRead {
	all := &rowsRead{rows: []Row{}}
	for i, s := range planned.parts {
		told := q.disclose(r, planned, s.part, read[i])
		shown := told.rows
		for _, row := range shown {
			row.scale(s.part.columns, r.sample)
		}
		if s.part.derive != nil {
			s.part.derive(shown)
		}
		all.withheld += told.withheld
		switch {
		case i == 0:
			all.rows, all.shown = shown, told.all
		case len(all.rows) == 0:
			// The totals themselves are withheld, and so is all that adds to them.
		case s.part.into != "":
			all.rows[0][s.part.into] = shown
		case len(shown) == 1:
			maps.Copy(all.rows[0], shown[0])
		default:
			for _, c := range s.part.columns {
				all.rows[0][c.name] = nil
			}
		}
	}
	return all
}

// scale brings what was counted of a sample to the whole. Ratios stay.
func (row Row) scale(columns []column, sample float64) {
	if sample == 1 {
		return
	}
	for _, c := range columns {
		switch v := row[c.name].(type) {
		case uint64:
			if c.kind == count {
				row[c.name] = uint64(math.Round(float64(v) / sample))
			}
		case string:
			if c.kind == money {
				row[c.name] = decimal.RequireFromString(v).Div(decimal.NewFromFloat(sample)).Round(4).String()
			}
		}
	}
}

// result is a part as read, before suppression.
type result struct {
	groups        []group
	small         int    // groups under the threshold
	smallSubjects uint64 // subjects that are surely behind all of them together
	all           int    // groups
}

// group is a row and the people behind it.
type group struct {
	row       Row
	subjects  uint64 // surely distinct, within one epoch of keys
	people    uint64
	low, high uint64 // least and greatest hash of them
}

func (q *Query) limits() clickhouse.Limits {
	return clickhouse.Limits{Time: q.config.Timeout, Memory: q.config.Memory, Rows: maxExport}
}

func (q *Query) runPart(ctx context.Context, s statement, params map[string]string, location *time.Location) (*result, error) {
	var read result
	stated := s.part.stated()
	err := q.deps.Store.Select(ctx, s.sql, params, q.limits(), func(rows clickhouse.Rows) error {
		for rows.Next() {
			var (
				g          group
				small, all uint64
			)
			cells := make([]cell, len(stated))
			dest := []any{&g.subjects, &g.people, &g.low, &g.high, &small, &read.smallSubjects, &all}
			for i, c := range stated {
				dest = append(dest, cells[i].dest(c.kind))
			}
			if err := rows.Scan(dest...); err != nil {
				return err
			}
			g.row = Row{}
			for i, c := range stated {
				g.row[c.name] = cells[i].value(c.kind, location)
			}
			read.groups = append(read.groups, g)
			read.small, read.all = int(small), int(all)
		}
		return nil
	})
	return &read, err
}

// cell is room for one value of any kind.
type cell struct {
	text   string
	count  uint64
	ratio  float64
	second int64
}

func (c *cell) dest(k kind) any {
	switch k {
	case count, ordinal:
		return &c.count
	case ratio:
		return &c.ratio
	case clock:
		return &c.second
	default:
		return &c.text
	}
}

func (c *cell) value(k kind, location *time.Location) any {
	switch k {
	case count, ordinal:
		return c.count
	case ratio:
		return math.Round(c.ratio*1e4) / 1e4
	case clock:
		return time.Unix(c.second, 0).In(location).Format(time.RFC3339)
	default:
		return c.text
	}
}

// cover counts what the purpose sees of the site and the period, what the gate held back, and what was never stored.
func (q *Query) cover(ctx context.Context, r *request, planned *plan) (Coverage, error) {
	coverage := Coverage{Included: new(uint64), LeftOut: []LeftOut{}}
	err := q.deps.Store.Select(ctx, planned.coverage, planned.params, q.limits(), func(rows clickhouse.Rows) error {
		for rows.Next() {
			var (
				reason      string
				n, subjects uint64
				who         noise.Cohort
			)
			if err := rows.Scan(&reason, &n, &subjects, &who.Low, &who.High, &who.People); err != nil {
				return err
			}
			shown := q.covered(r, planned, reason, n, subjects, who)
			if reason == "" {
				coverage.Included = shown
				continue
			}
			coverage.LeftOut = append(coverage.LeftOut, LeftOut{reason, shown, leftOutTexts[reason]})
		}
		return nil
	})
	if err != nil {
		return Coverage{}, err
	}
	err = q.deps.Store.Select(ctx, planned.drops, planned.params, q.limits(), func(rows clickhouse.Rows) error {
		for rows.Next() {
			var (
				reason string
				n      uint64
			)
			if err := rows.Scan(&reason, &n); err != nil {
				return err
			}
			coverage.LeftOut = append(coverage.LeftOut, LeftOut{reason, &n, leftOutTexts[reason]})
		}
		return nil
	})
	if err != nil {
		return Coverage{}, err
	}
	return coverage, nil
}

// covered is a number of events as it may be told; nil where too few subjects are behind it.
func (q *Query) covered(r *request, planned *plan, reason string, n, subjects uint64, who noise.Cohort) *uint64 {
	k := uint64(planned.k) //nolint:gosec // G115: at least 2
	if subjects < k {
		return nil
	}
	if q.noise != nil {
		all := *r
		all.filters, all.bound, all.given = nil, nil, nil // the coverage is of all events of the period, whatever is asked
		c := q.noise.Cell(append(all.definition(&part{}, nil), "coverage", reason), who)
		if !c.Passes(subjects, k) {
			return nil
		}
		n = c.Count("events", n)
	}
	return &n
}

// leftOutTexts say why events were left out: by the gate, or by the pipeline before they were stored.
var leftOutTexts = map[string]label{
	"not_permitted":     {"この目的に使えない記録です", "Not permitted for this purpose"},
	"withdrawn":         {"その後に取り消されました", "Withdrawn since"},
	"pseudonym_expired": {"仮名の保存期間が過ぎ、取り消しを確かめられません", "The pseudonym has expired, so withdrawals cannot be checked"},

	core.ReasonNoConsent.String():     {"同意がありません", "No consent"},
	core.ReasonRefused.String():       {"断られたか、取り消されました", "Refused or withdrawn"},
	core.ReasonDeviceRefused.String(): {"この端末で断られました", "Refused on the device"},
	core.ReasonGPC.String():           {"ブラウザの信号（GPC）で断られました", "Refused by the browser's signal (GPC)"},
	core.ReasonNoPurpose.String():     {"どの目的にも当たりません", "No purpose covers it"},
	core.ReasonNoPolicy.String():      {"その時点で有効なポリシーがありません", "No policy was in force"},
	core.ReasonUnknownSite.String():   {"登録のないサイトです", "The site is not registered"},
	core.ReasonBot.String():           {"ロボットによるアクセスです", "Sent by a robot"},
	core.ReasonDuplicate.String():     {"重複して届きました", "Delivered before"},
	core.ReasonExpired.String():       {"保存期間を過ぎています", "Older than its retention"},
	core.ReasonUnreadable.String():    {"読み取れませんでした", "Not readable"},
	core.ReasonUnsealable.String():    {"封印を開けませんでした", "The seal could not be opened"},
	core.ReasonUndecidable.String():   {"内容が正しくありません", "No valid event"},
}
