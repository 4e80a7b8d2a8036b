// Package subject carries out what a subject demands of the data that is stored already, and answers for it:
//
//	Fold     takes withdrawals into the rows that they hide, deletes what is to be erased, and retires the masks
//	Erase    deletes everything of one subject on the operator's order, and proves it
//	Explain  tells what the checkpoint would decide for a subject, from the acts, and by which rule
//
// It knows ids only: whoever calls it turns identifiers into them, and identifiers into nothing else.
package subject

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/ledger"
)

// Store is what the package needs of ClickHouse.
type Store interface {
	evidence.Store
	Exec(ctx context.Context, sql string) error
}

// mutate changes a table and returns when no change of it is under way. In a cluster the engine waits for every replica
// that is up.
func mutate(ctx context.Context, db Store, table, commands string) error {
	// Each replica asks its own copy of the masks; what it misses the count afterwards finds.
	sql := "ALTER TABLE " + table + " " + commands + " SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1"
	bounded, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	// An engine that takes longer goes on by itself: only a change that is refused is an error here.
	if err := db.Exec(bounded, sql); err != nil && bounded.Err() == nil {
		return fmt.Errorf("change %s: %w", table, err)
	}
	return clickhouse.Settled(ctx, db, table)
}

// answerTime bounds the wait for the engine's answer; what is under way by then is looked for.
const answerTime = 4 * time.Minute

// each hands every row of a result to scan.
func each(ctx context.Context, db evidence.Store, sql string, params map[string]string, scan func(clickhouse.Rows) error) error {
	return db.Select(ctx, sql, params, clickhouse.Limits{Time: answerTime}, func(rows clickhouse.Rows) error {
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return nil
	})
}

// note puts a record into the ledger. Where one of the same id is stored already, because a process ended in between,
// that one is the record.
func note(ctx context.Context, db Store, entries evidence.Producer, r ledger.Record) error {
	kept, there, err := noted(ctx, db, r)
	if err != nil {
		return err
	}
	if there {
		return evidence.Publish(ctx, entries, []ledger.Record{kept})
	}
	return evidence.Note(ctx, db, entries, r)
}

func noted(ctx context.Context, db Store, r ledger.Record) (ledger.Record, bool, error) {
	there := false
	err := each(ctx, db, `SELECT time, toString(salt), CAST(names, 'Array(String)'), values FROM ledger_records WHERE hex(id) = {id:String} LIMIT 1`,
		map[string]string{"id": strings.ToUpper(r.ID.String())}, func(rows clickhouse.Rows) error {
			var (
				at            time.Time
				salt          string
				names, values []string
			)
			if err := rows.Scan(&at, &salt, &names, &values); err != nil {
				return err
			}
			there = true
			r.Time, r.Fields = at.UnixMicro(), nil
			copy(r.Salt[:], salt)
			for i := range names {
				r.Fields = append(r.Fields, ledger.Field{Name: names[i], Value: values[i]})
			}
			return nil
		})
	if err != nil {
		return r, false, fmt.Errorf("read ledger record: %w", err)
	}
	return r, there, nil
}

// bytesOf is a literal of raw bytes.
func bytesOf(id ledger.ID) string { return "unhex('" + hex.EncodeToString(id[:]) + "')" }
