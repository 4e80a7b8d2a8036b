package query

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
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
	Columns    []Column   `json:"columns"`
	Rows       []Row      `json:"rows"`
	Truncated  bool       `json:"truncated"` // the limit cut off rows
	Suppressed Suppressed `json:"suppressed"`
	Coverage   Coverage   `json:"coverage"`
}

// Column describes a column of the rows.
type Column struct {
	Name  string `json:"name"`
	Label label  `json:"label"`
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

// run reads every part, suppresses, and reads the coverage.
func (q *Query) run(ctx context.Context, r *request, planned *plan) (*Answer, error) {
	a := &Answer{
		Report: r.report.name, Site: r.site.ID, Purpose: r.purpose.ID, Policy: r.pack.Version,
		From: r.from, To: r.to, TimeZone: r.site.Location.String(), Columns: []Column{}, Rows: []Row{},
	}
	if r.report.name == "timeseries" {
		a.Interval = r.interval
	}
	for i, s := range planned.parts {
		read, err := q.runPart(ctx, s, planned.params, r.site.Location)
		if err != nil {
			return nil, fmt.Errorf("run report: %w", err)
		}
		shown := read.suppress(q.config.Threshold)
		a.Suppressed.Groups += read.small
		switch {
		case i == 0:
			a.Rows = shown
			a.Truncated = read.all-read.small > len(shown)
		case len(a.Rows) == 0:
			// The totals themselves are withheld, and so is all that adds to them.
		case s.part.into != "":
			a.Rows[0][s.part.into] = shown
		case len(shown) == 1:
			for name, value := range shown[0] {
				a.Rows[0][name] = value
			}
		default:
			for _, c := range s.part.columns {
				a.Rows[0][c.name] = nil
			}
		}
		if s.part.into != "" {
			a.Columns = append(a.Columns, Column{s.part.into, s.part.label})
			continue
		}
		for _, c := range s.part.columns {
			a.Columns = append(a.Columns, Column{c.name, c.label})
		}
	}
	if a.Suppressed.Groups > 0 {
		a.Suppressed.Reason = fmt.Sprintf("fewer than %d subjects", q.config.Threshold)
	}
	var err error
	if a.Coverage, err = q.cover(ctx, planned); err != nil {
		return nil, fmt.Errorf("run coverage: %w", err)
	}
	return a, nil
}

// result is a part as read, before suppression.
type result struct {
	rows     []Row
	subjects []uint64 // distinct subjects by row
	small    int      // groups under the threshold, also those beyond the limit
	all      int      // groups
}

// suppress returns the rows that rest on at least k subjects.
func (r *result) suppress(k int) []Row {
	shown := make([]Row, 0, len(r.rows))
	for i, row := range r.rows {
		if r.subjects[i] >= uint64(k) { //nolint:gosec // G115: k is at least 2
			shown = append(shown, row)
		}
	}
	return shown
}

func (q *Query) limits() clickhouse.Limits {
	return clickhouse.Limits{Time: q.config.Timeout, Memory: q.config.Memory, Rows: maxRows}
}

func (q *Query) runPart(ctx context.Context, s statement, params map[string]string, location *time.Location) (*result, error) {
	var read result
	err := q.deps.Store.Select(ctx, s.sql, params, q.limits(), func(rows clickhouse.Rows) error {
		for rows.Next() {
			var subjects, small, all uint64
			cells := make([]cell, len(s.part.columns))
			dest := []any{&subjects, &small, &all}
			for i, c := range s.part.columns {
				dest = append(dest, cells[i].dest(c.kind))
			}
			if err := rows.Scan(dest...); err != nil {
				return err
			}
			row := Row{}
			for i, c := range s.part.columns {
				row[c.name] = cells[i].value(c.kind, location)
			}
			read.rows = append(read.rows, row)
			read.subjects = append(read.subjects, subjects)
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
	case count:
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
	case count:
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
func (q *Query) cover(ctx context.Context, planned *plan) (Coverage, error) {
	coverage := Coverage{Included: new(uint64), LeftOut: []LeftOut{}}
	err := q.deps.Store.Select(ctx, planned.coverage, planned.params, q.limits(), func(rows clickhouse.Rows) error {
		for rows.Next() {
			var (
				reason      string
				n, subjects uint64
			)
			if err := rows.Scan(&reason, &n, &subjects); err != nil {
				return err
			}
			shown := &n
			if subjects < uint64(q.config.Threshold) { //nolint:gosec // G115: at least 2
				shown = nil
			}
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
