package query

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
)

// audit is what is kept of a read (Art. 7-2, 7-3). It holds names only, never a filter's value or a row.
type audit struct {
	time       time.Time
	actor      string // id of an API key, or access.CallerID of a person
	site       string
	purpose    string
	report     string
	policy     string
	from, to   time.Time
	dimensions []string
	filters    []string
	columns    []string
	rows       int
	suppressed int
	result     string
	duration   time.Duration
}

// due reports whether the read is recorded: whatever an authenticated caller asked for, but requests that are no read
// at all (400, 404).
func (a *audit) due() bool {
	if a.actor == "" {
		return false
	}
	if a.result == "ok" {
		return true
	}
	status := core.Code(a.result).Status()
	return status == 403 || status == 409 || status == 429 || status >= 500
}

// write stores the record. A try that failed in doubt may be repeated: the id is the token.
func (q *Query) write(ctx context.Context, a *audit) error {
	id, err := uuid.NewRandomFromReader(q.deps.Random)
	if err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	names := func(s []string) [][]string {
		if s == nil {
			s = []string{}
		}
		return [][]string{s}
	}
	period := func(t time.Time) []time.Time {
		if t.IsZero() {
			t = time.Unix(0, 0)
		}
		return []time.Time{t.UTC()}
	}
	err = q.deps.Store.Insert(ctx, "audit", id.String(), []clickhouse.Column{
		{Name: "id", Values: []uuid.UUID{id}},
		{Name: "time", Values: []time.Time{a.time.UTC()}},
		{Name: "actor", Values: []string{a.actor}},
		{Name: "site", Values: []string{a.site}},
		{Name: "purpose", Values: []string{a.purpose}},
		{Name: "report", Values: []string{a.report}},
		{Name: "policy", Values: []string{a.policy}},
		{Name: "period_from", Values: period(a.from)},
		{Name: "period_to", Values: period(a.to)},
		{Name: "dimensions", Values: names(a.dimensions)},
		{Name: "filters", Values: names(a.filters)},
		{Name: "columns", Values: names(a.columns)},
		{Name: "row_count", Values: []uint32{uint32(a.rows)}},        //nolint:gosec // G115: at most maxRows
		{Name: "suppressed", Values: []uint32{uint32(a.suppressed)}}, //nolint:gosec // G115: groups of one period
		{Name: "result", Values: []string{a.result}},
		{Name: "duration_us", Values: []uint64{uint64(max(a.duration.Microseconds(), 0))}},
	})
	if err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	return nil
}
