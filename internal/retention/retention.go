// Package retention makes ClickHouse forget on time: every table expires its rows, and every column of the events
// table expires by its own data category (Art. 7-5).
package retention

import (
	"context"
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

// recordTables keep records of processing; their rows expire with the category record, by this column.
var recordTables = map[string]string{"consent_acts": "time", "consent_masks": "denied_at", "event_drops": "hour", "audit": "time"}

// keyColumns are part of the events table's sorting key: ClickHouse cannot empty them, so rows that hold them expire
// whole. session_id says nothing once visitor_id is gone: it is a hash over it.
var keyColumns = []string{"site", "time", "session_id"}

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

// Apply sets the expiry of every table and column from the policies in force. It is idempotent. A stored column whose
// category has no period is an error: configuration without one does not start.
func Apply(ctx context.Context, db Store, policies *policy.Register, now time.Time, logger *slog.Logger) error {
	columns, err := categories(ctx, db)
	if err != nil {
		return fmt.Errorf("apply retention: %w", err)
	}
	longest := 0
	for name, category := range columns {
		days := Days(policies, category, now)
		if days == 0 {
			return fmt.Errorf("apply retention: column %s: the policy has no period for %s", name, category)
		}
		if category != core.Record {
			longest = max(longest, days)
		}
	}
	var changes []string
	for name, category := range columns {
		days := Days(policies, category, now)
		if category == core.Record || days >= longest || slices.Contains(keyColumns, name) {
			continue // goes with its row
		}
		changes = append(changes, "MODIFY COLUMN `"+name+"` TTL toDateTime(time) + INTERVAL "+strconv.Itoa(days)+" DAY")
	}
	slices.Sort(changes)
	changes = append(changes, "MODIFY TTL toDateTime(time) + INTERVAL "+strconv.Itoa(longest)+" DAY")
	if err := db.Exec(ctx, "ALTER TABLE events "+strings.Join(changes, ", ")); err != nil {
		return fmt.Errorf("apply retention: events: %w", err)
	}
	records := Days(policies, core.Record, now)
	for table, column := range recordTables {
		if err := db.Exec(ctx, "ALTER TABLE "+table+" MODIFY TTL toDateTime("+column+") + INTERVAL "+strconv.Itoa(records)+" DAY"); err != nil {
			return fmt.Errorf("apply retention: %s: %w", table, err)
		}
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "retention set", slog.Int("events_days", longest), slog.Int("columns_shorter", len(changes)-1), slog.Int("records_days", records))
	return nil
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

// categories reads the events table's columns with the data categories in their comments.
func categories(ctx context.Context, db Store) (map[string]core.Category, error) {
	columns := map[string]core.Category{}
	err := db.Select(ctx, `SELECT name, comment FROM system.columns WHERE database = currentDatabase() AND table = 'events'`, nil,
		clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var name, comment string
				if err := rows.Scan(&name, &comment); err != nil {
					return err
				}
				category, ok := core.ParseCategory(comment)
				if !ok {
					return fmt.Errorf("column %s has no data category", name)
				}
				columns[name] = category
			}
			return nil
		})
	return columns, err
}
