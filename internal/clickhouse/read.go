package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Selector reads: DB, or what a package takes of it.
type Selector interface {
	Select(ctx context.Context, sql string, params map[string]string, limits Limits, scan func(Rows) error) error
}

// One reads a single row into to. None, or more than one, is an error.
func One(ctx context.Context, db Selector, sql string, params map[string]string, to ...any) error {
	rows := 0
	err := db.Select(ctx, sql, params, Limits{}, func(found Rows) error {
		for found.Next() {
			if rows++; rows > 1 {
				return errors.New("more than one row")
			}
			if err := found.Scan(to...); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && rows == 0 {
		err = errors.New("no row")
	}
	return err
}

// Settled returns when no mutation of a table is under way. One that ClickHouse cannot carry out is an error.
func Settled(ctx context.Context, db Selector, table string) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var left, failing uint64
		err := One(ctx, db, `SELECT count(), countIf(latest_fail_reason != '') FROM system.mutations
			WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done`, map[string]string{"table": table}, &left, &failing)
		if err != nil {
			return fmt.Errorf("wait for a change of %s: %w", table, err)
		}
		if failing > 0 {
			return fmt.Errorf("wait for a change of %s: clickhouse cannot make it", table)
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a change of %s: %w", table, ctx.Err())
		case <-time.After(wait):
		}
	}
}
