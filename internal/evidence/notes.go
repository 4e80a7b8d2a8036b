package evidence

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/ledger"
)

// Salter makes the salt of a record from parts that name it.
type Salter interface {
	Salt(parts ...string) [32]byte
}

// note makes a record that is no consent act. Its id follows from its kind and name, so noting it again is the same.
func note(salter Salter, kind ledger.Kind, name string, at time.Time, fields ...ledger.Field) ledger.Record {
	slices.SortFunc(fields, func(a, b ledger.Field) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return ledger.Record{Kind: kind, ID: ledger.NewID(kind, name), Time: at.UnixMicro(), Fields: fields, Salt: salter.Salt(kind.String(), name)}
}

// PolicyPublication is the record of a policy version from which it takes effect.
func PolicyPublication(salter Salter, version, hash string, effective time.Time) ledger.Record {
	return note(salter, ledger.PolicyPublication, version, effective,
		ledger.Field{Name: "policy", Value: version}, ledger.Field{Name: "policy_hash", Value: hash},
		ledger.Field{Name: "effective_from", Value: effective.UTC().Format(time.RFC3339)})
}

// KeyDestruction is the record of a destroyed key.
func KeyDestruction(salter Salter, kind, epoch, reason string, at time.Time) ledger.Record {
	return note(salter, ledger.KeyDestruction, kind+"/"+epoch, at,
		ledger.Field{Name: "kind", Value: kind}, ledger.Field{Name: "epoch", Value: epoch}, ledger.Field{Name: "reason", Value: reason},
		ledger.Field{Name: "destroyed_at", Value: at.UTC().Format(time.RFC3339Nano)})
}

// auditSettles is how long after an hour its audit records are complete: a read is recorded under its start, and takes
// less.
const auditSettles = 5 * time.Minute

// auditDigest hashes the audit records of [from, to), each whole and in the order of their ids.
const auditDigest = `SELECT toUInt64(count()), lower(hex(SHA256(arrayStringConcat(arraySort(groupArray(toString(tuple(
	id, toUnixTimestamp64Micro(time), actor, site, purpose, report, policy, period_from, period_to, dimensions, filters, columns, row_count, suppressed, result, duration_us
)))), '\n'))))
FROM audit WHERE time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')`

func digestAudit(ctx context.Context, db Store, from, to time.Time) (count uint64, digest string, err error) {
	err = db.Select(ctx, auditDigest, map[string]string{
		"from": strconv.FormatInt(from.UnixMicro(), 10), "to": strconv.FormatInt(to.UnixMicro(), 10),
	}, clickhouse.Limits{Time: time.Minute}, func(rows clickhouse.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&count, &digest); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, "", fmt.Errorf("digest audit: %w", err)
	}
	return count, digest, nil
}

// AuditCheckpoints are the records of the hours whose audit is complete and has no checkpoint yet.
func AuditCheckpoints(ctx context.Context, db Store, salter Salter, now time.Time) ([]ledger.Record, error) {
	var hours []time.Time
	err := db.Select(ctx, `SELECT DISTINCT toStartOfHour(time, 'UTC') AS hour FROM audit
		WHERE time >= (SELECT max(time) FROM ledger_records WHERE kind = 'audit_checkpoint') AND time < fromUnixTimestamp64Micro({until:Int64}, 'UTC') ORDER BY hour`,
		map[string]string{"until": strconv.FormatInt(now.Add(-auditSettles).Truncate(time.Hour).UnixMicro(), 10)},
		clickhouse.Limits{Time: time.Minute}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var hour time.Time
				if err := rows.Scan(&hour); err != nil {
					return err
				}
				hours = append(hours, hour.UTC())
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("find audit hours: %w", err)
	}
	var records []ledger.Record
	for _, from := range hours {
		to := from.Add(time.Hour)
		count, digest, err := digestAudit(ctx, db, from, to)
		if err != nil {
			return nil, err
		}
		records = append(records, note(salter, ledger.AuditCheckpoint, from.Format(time.RFC3339), to,
			ledger.Field{Name: "from", Value: from.Format(time.RFC3339)}, ledger.Field{Name: "to", Value: to.Format(time.RFC3339)},
			ledger.Field{Name: "reads", Value: strconv.FormatUint(count, 10)}, ledger.Field{Name: "sha256", Value: digest}))
	}
	return records, nil
}

// checkAudit holds the audit table against a checkpoint of it, and says what differs; "" when nothing does. Hours from
// before keep are past their retention: what is left of them proves nothing.
func checkAudit(ctx context.Context, db Store, r ledger.Record, keep time.Time) (string, error) {
	value := func(name string) string {
		for _, f := range r.Fields {
			if f.Name == name {
				return f.Value
			}
		}
		return ""
	}
	from, err := time.Parse(time.RFC3339, value("from"))
	if err != nil {
		return "the audit checkpoint names no hour", nil //nolint:nilerr // it is a finding, not a failure
	}
	if from.Before(keep) {
		return "", nil
	}
	count, digest, err := digestAudit(ctx, db, from, from.Add(time.Hour))
	if err != nil {
		return "", err
	}
	if digest != value("sha256") {
		return fmt.Sprintf("the audit of %s holds %d reads, or other ones, where %s were recorded", value("from"), count, value("reads")), nil
	}
	return "", nil
}
