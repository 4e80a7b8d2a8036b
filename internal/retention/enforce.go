package retention

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/policy"
)

// Enforce does at once what the engine has put off for so long that a limit is reached: it rewrites the partitions
// whose rows or columns should have expired. It returns how many. What it replaces, the engine deletes within minutes.
func Enforce(ctx context.Context, db Store, now time.Time) (int, error) {
	late, err := latePartitions(ctx, db, now)
	if err != nil {
		return 0, fmt.Errorf("enforce retention: %w", err)
	}
	for _, p := range late {
		if err := db.Exec(ctx, "ALTER TABLE "+p.table+" MATERIALIZE TTL IN PARTITION ID "+quote(p.id)); err != nil {
			return 0, fmt.Errorf("enforce retention: %s: %w", p.table, err)
		}
		if err := clickhouse.Settled(ctx, db, p.table); err != nil {
			return 0, fmt.Errorf("enforce retention: %w", err)
		}
	}
	return len(late), nil
}

type partition struct{ table, id string }

// latePartitions are the partitions with parts that hold what should have expired by its limit. A recorded expiry of 0
// is one that was acted on.
func latePartitions(ctx context.Context, db Store, now time.Time) ([]partition, error) {
	var found []partition
	err := db.Select(ctx, `
		SELECT DISTINCT table, partition_id
		FROM
		(
			SELECT table, partition_id, delete_ttl_info_min AS expires
			FROM system.parts
			WHERE database = currentDatabase() AND active AND rows > 0
			UNION ALL
			SELECT table, partition_id, assumeNotNull(column_ttl_min) AS expires
			FROM system.parts_columns
			WHERE database = currentDatabase() AND active AND rows > 0 AND column_ttl_min IS NOT NULL
		)
		WHERE expires > toDateTime(0) AND expires <= toDateTime({late:UInt32})
		ORDER BY table, partition_id`,
		map[string]string{"late": unix(now.Add(-margin))}, clickhouse.Limits{},
		func(rows clickhouse.Rows) error {
			for rows.Next() {
				var p partition
				if err := rows.Scan(&p.table, &p.id); err != nil {
					return err
				}
				found = append(found, p)
			}
			return nil
		})
	return found, err
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// DropDetached deletes the detached parts that may hold something over its limit, and returns their names. Expiry does
// not reach a detached part, so what it holds of longer periods goes as well: attach what is still needed first.
func DropDetached(ctx context.Context, db Store, policies *policy.Register, now time.Time) ([]string, error) {
	columns, err := eventColumns(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("drop detached parts: %w", err)
	}
	l, err := limitsAt(columns, policies, now)
	if err != nil {
		return nil, fmt.Errorf("drop detached parts: %w", err)
	}
	shortest := map[string]int{"events": l.events}
	for _, days := range l.columns {
		shortest["events"] = min(shortest["events"], days)
	}
	for _, t := range l.tables() {
		shortest[t.name] = t.days
	}
	parts, err := detachedParts(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("drop detached parts: %w", err)
	}
	var dropped []string
	for _, p := range parts {
		if !p.over(shortest[p.table], now) {
			continue
		}
		if err := db.Exec(ctx, "ALTER TABLE "+p.table+" DROP DETACHED PART "+quote(p.name)+" SETTINGS allow_drop_detached = 1"); err != nil {
			return dropped, fmt.Errorf("drop detached parts: %w", err)
		}
		dropped = append(dropped, p.name)
	}
	return dropped, nil
}

// detached is a part that was taken out of its table: nothing reads it, and nothing expires in it.
type detached struct {
	table, name string
	since       time.Time // no row of it is older; zero when that cannot be told
}

// over reports whether the part may hold a datum over a limit. What cannot be told counts as over.
func (d detached) over(days int, now time.Time) bool {
	return d.since.IsZero() || d.since.AddDate(0, 0, days).Before(now)
}

func detachedParts(ctx context.Context, db Store) ([]detached, error) {
	var parts []detached
	err := db.Select(ctx, `SELECT table, name, ifNull(partition_id, '') FROM system.detached_parts WHERE database = currentDatabase() ORDER BY table, name`, nil,
		clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var (
					p  detached
					id string
				)
				if err := rows.Scan(&p.table, &p.name, &id); err != nil {
					return err
				}
				for _, layout := range []string{"200601", "2006"} { // partitioned by month or by year
					if since, err := time.Parse(layout, id); err == nil && len(id) == len(layout) {
						p.since = since
					}
				}
				parts = append(parts, p)
			}
			return nil
		})
	return parts, err
}
