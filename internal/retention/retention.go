// Package retention makes the house forget on time (Art. 7-5), and proves it:
//
//	Apply      sets when ClickHouse expires every table and every column of events, by data category
//	Topic      says when Kafka forgets a topic
//	Dispose    deletes rows that no purpose is left for, however young
//	Enforce    does at once what the engine has put off; DropDetached what it does not reach
//	Inspect    tells of everything how old its oldest datum is and how old it may be, and gives the verdict
//
// It reads and sets one server's ClickHouse; in a cluster, Inspect has to be asked on every one.
package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
)

// Store is what Apply needs of ClickHouse.
type Store interface {
	Select(ctx context.Context, sql string, params map[string]string, limits clickhouse.Limits, scan func(clickhouse.Rows) error) error
	Exec(ctx context.Context, sql string) error
}

// recordTables keep records of processing; their rows expire with the category record, by this column. The ids of
// consent_acts are part of the record: without them it proves nobody's consent.
var recordTables = map[string]string{"consent_acts": "time", "event_drops": "hour", "audit": "time", "segments": "time", "dp_budget": "time"}

// maskTable hides rows of events, so its rows stay for as long as the ones they hide, and no longer.
const maskTable, maskColumn = "consent_masks", "denied_at"

// sumTables keep sums of events by day (internal/rollup), and numbers for the pseudonyms in them. They hold something of
// every category of events, so their rows go with the first of these: until is the last day of a pseudonym, and a number
// that no sum names any more goes before that.
var sumTables = map[string]string{"rollup_cells": "day", "rollup_days": "day", "rollup_subjects": "until"}

// releaseTable keeps what was told of many (query/release.go), to tell it again. Nothing older than releaseDays is
// compared with, so nothing older is kept.
const (
	releaseTable, releaseColumn = "releases", "as_of"
	releaseDays                 = 31
)

// lastingTables say nothing of a person and have no end: a proof that expires proves nothing.
var lastingTables = []string{"ledger_records"}

// foreignTables are not this house's and hold nothing of it: the migration tool's own.
var foreignTables = []string{"goose_db_version"}

// keyColumns are part of the events table's sorting key: ClickHouse cannot empty them, so rows that hold them expire
// whole. session_id says nothing once visitor_id is gone: it is a hash over it.
var keyColumns = []string{"site", "time", "session_id"}

// margin is how much earlier than its limit everything is told to expire: ClickHouse does it in merges that it puts
// off for hours, and keeps the merged parts for a while.
const margin = 24 * time.Hour

// expiry is when a table or column with a limit in days is told to expire, in hours.
func expiry(days int) int { return max(24*days-int(margin.Hours()), 12*days) }

// Days is how long a category may be kept: the shortest period among the policies in force at t, so that two policies
// on one table never lengthen each other. 0 when some policy does not name it.
func Days(policies *policy.Register, c core.Category, t time.Time) int {
	days := 0
	for _, p := range policies.All() {
		inForce, ok := policies.At(p.ID, t)
		if !ok || inForce != p {
			continue
		}
		keep, ok := p.Retention(c)
		if !ok {
			return 0
		}
		if d := int(keep / (24 * time.Hour)); days == 0 || d < days {
			days = d
		}
	}
	return days
}

// Period is Days as a duration.
func Period(policies *policy.Register, c core.Category, t time.Time) time.Duration {
	return time.Duration(Days(policies, c, t)) * 24 * time.Hour
}

// limits are how long everything in ClickHouse may be kept, in days.
type limits struct {
	events  int                   // a row of events: the longest period of what it holds
	records int                   // a record of processing
	sums    int                   // sums of events: the shortest period of what an event holds
	columns map[string]int        // a column of events
	own     map[core.Category]int // what the policy says of a category
}

func limitsAt(columns []column, policies *policy.Register, now time.Time) (limits, error) {
	l := limits{records: Days(policies, core.Record, now), columns: map[string]int{}, own: map[core.Category]int{}}
	if l.records == 0 {
		return l, errors.New("the policy has no period for record")
	}
	for _, c := range columns {
		days := Days(policies, c.category, now)
		if days == 0 {
			return l, fmt.Errorf("column %s: the policy has no period for %s", c.name, c.category)
		}
		l.columns[c.name], l.own[c.category] = days, days
		if c.category != core.Record {
			l.events = max(l.events, days)
			if l.sums == 0 || days < l.sums {
				l.sums = days
			}
		}
	}
	for _, c := range columns {
		if c.category == core.Record || slices.Contains(keyColumns, c.name) {
			l.columns[c.name] = l.events // it goes with its row
		}
	}
	return l, nil
}

// table is a table whose rows expire whole, by a column that tells their time.
type table struct {
	name, time string
	days       int
	category   core.Category
}

// tables are all but events, by name.
func (l limits) tables() []table {
	all := []table{{maskTable, maskColumn, l.events, core.Record}, {releaseTable, releaseColumn, min(releaseDays, l.records), core.Record}}
	for name, column := range recordTables {
		all = append(all, table{name, column, l.records, core.Record})
	}
	for name, column := range sumTables {
		all = append(all, table{name, column, l.sums, core.Pseudonym})
	}
	slices.SortFunc(all, func(a, b table) int { return strings.Compare(a.name, b.name) })
	return all
}

// shorter reports whether a column expires before its row.
func (l limits) shorter(column string) bool { return l.columns[column] < l.events }

// Apply sets the expiry of every table and column from the policies in force. It is idempotent. A stored column whose
// category has no period is an error: configuration without one does not start.
func Apply(ctx context.Context, db Store, policies *policy.Register, now time.Time, logger *slog.Logger) error {
	columns, err := eventColumns(ctx, db)
	if err != nil {
		return fmt.Errorf("apply retention: %w", err)
	}
	l, err := limitsAt(columns, policies, now)
	if err != nil {
		return fmt.Errorf("apply retention: %w", err)
	}
	shorter := 0
	var changes []string
	for _, c := range columns {
		switch {
		case l.shorter(c.name):
			changes = append(changes, "MODIFY COLUMN `"+c.name+"` TTL "+after("time", l.columns[c.name]))
			shorter++
		case c.expires: // by a policy that is no longer in force
			changes = append(changes, "MODIFY COLUMN `"+c.name+"` REMOVE TTL")
		}
	}
	changes = append(changes, "MODIFY TTL "+after("time", l.events))
	if err := db.Exec(ctx, "ALTER TABLE events "+strings.Join(changes, ", ")); err != nil {
		return fmt.Errorf("apply retention: events: %w", err)
	}
	for _, t := range l.tables() {
		if err := db.Exec(ctx, "ALTER TABLE "+t.name+" MODIFY TTL "+after(t.time, t.days)); err != nil {
			return fmt.Errorf("apply retention: %s: %w", t.name, err)
		}
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "retention set", slog.Int("events_days", l.events), slog.Int("columns_shorter", shorter), slog.Int("records_days", l.records))
	return nil
}

// after is the expression of an expiry.
func after(column string, days int) string {
	return "toDateTime(" + column + ") + INTERVAL " + strconv.Itoa(expiry(days)) + " HOUR"
}

// Clear reports whether no row of events before a time carries a pseudonym of a subject any more.
func Clear(ctx context.Context, db Store, before time.Time) (bool, error) {
	rows := 0
	err := db.Select(ctx, `SELECT 1 FROM events
		WHERE time < fromUnixTimestamp64Milli({before:Int64}, 'UTC') AND (visitor_id != 0 OR account_id != 0 OR device_key != 0)
		LIMIT 1`, map[string]string{"before": strconv.FormatInt(before.UnixMilli(), 10)}, clickhouse.Limits{}, func(found clickhouse.Rows) error {
		for found.Next() {
			rows++
		}
		return nil
	})
	return err == nil && rows == 0, err
}

// column is a column of events with the data category in its comment.
type column struct {
	name, kind string
	category   core.Category
	expires    bool // it has an expiry of its own
}

// eventColumns reads the columns of events in their order.
func eventColumns(ctx context.Context, db Store) ([]column, error) {
	var definition string
	err := clickhouse.One(ctx, db, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'events'", nil, &definition)
	if err != nil {
		return nil, fmt.Errorf("read how events is defined (is the schema migrated?): %w", err)
	}
	definition, _, _ = strings.Cut(definition, ") ENGINE = ")
	expiring := map[string]bool{}
	for part := range strings.SplitSeq(definition, ", `") {
		name, rest, _ := strings.Cut(part, "` ")
		expiring[name] = strings.Contains(rest, " TTL toDateTime(time)")
	}
	var columns []column
	err = db.Select(ctx, "SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() AND table = 'events' ORDER BY position", nil,
		clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var c column
				var comment string
				if err := rows.Scan(&c.name, &c.kind, &comment); err != nil {
					return err
				}
				var ok bool
				if c.category, ok = core.ParseCategory(comment); !ok {
					return fmt.Errorf("column %s has no data category", c.name)
				}
				c.expires = expiring[c.name]
				columns = append(columns, c)
			}
			return nil
		})
	return columns, err
}
