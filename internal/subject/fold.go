package subject

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/ledger"
)

// Age is how old a mask is, at least, when it is folded and retired. From then on nothing but the rows' own bits and the
// consent state hide what it hid, so by then every row that was decided before the denial was known has to be stored:
//
//   - The batch that the act itself is in stores its masks before its events. A batch is decided anew when the store keeps
//     it waiting for a quarter of an hour (pipeline.staleAfter), and one insert takes five minutes at most.
//   - After a crash the batch is decided anew as well, and the denial is known then: it is published before any mask.
//   - Another process knows of a denial as soon as it has followed the consent topic; the rest of the hour is for that.
//   - A process that was stopped for hours and goes on has lost its partitions. Its insert carries the token of the batch
//     that its successor stored, and changes nothing.
//   - Only the engine's clock is asked, for the insert and for the age; the hour covers what two replicas' may differ by.
//
// An event that comes later still is decided by the consent state, which never forgets a denial.
const Age = time.Hour

// Fold takes due masks into the rows. At most one Turn may run at a time.
type Fold struct {
	DB      Store
	Entries evidence.Producer // to the topic of the proof ledger
	Salter  evidence.Salter
	// Purpose is the id of a site's purpose. Only erasures name it.
	Purpose func(site string, bit core.Purpose) string
	Now     func() time.Time
}

// Folded is what a turn did.
type Folded struct {
	Masks    uint64      // retired
	Rows     uint64      // lost a purpose
	Deleted  uint64      // had no purpose left and were to be erased
	Erasures []ledger.ID // the records of acts whose erasure is complete
}

// Turn folds every mask that is at least age old, and retires it.
//
// Nothing that is hidden is seen at any moment in between. The masks hide until the rows' bits are cleared, which a count
// over the very condition proves; and only then they go, those of the hours that were folded and no others. A turn that
// was broken off anywhere is done again, and comes to the same.
//
// What the rows show to the reports is the same before and after. Rows that no purpose is left for stay where nobody
// asked to erase them: disposing of them is retention's (retention.Dispose).
func (f *Fold) Turn(ctx context.Context, age time.Duration) (Folded, error) {
	var now int64
	if err := clickhouse.One(ctx, f.DB, "SELECT toInt64(toUnixTimestamp(now()))", nil, &now); err != nil {
		return Folded{}, fmt.Errorf("fold withdrawals: %w", err)
	}
	done, err := f.until(ctx, time.Unix(now, 0).Add(-age))
	if err != nil {
		return done, fmt.Errorf("fold withdrawals: %w", err)
	}
	return done, nil
}

// TurnAll folds every mask there is. No pipeline may be running: see Age.
func (f *Fold) TurnAll(ctx context.Context) (Folded, error) { return f.Turn(ctx, -2*time.Hour) }

// until folds the masks of the hours that were over by a time.
func (f *Fold) until(ctx context.Context, t time.Time) (Folded, error) {
	var done Folded
	d := due("stored <= fromUnixTimestamp(" + strconv.FormatInt(t.Add(-time.Hour).Unix(), 10) + ")")
	if err := clickhouse.Settled(ctx, f.DB, "events"); err != nil { // what a turn before began
		return done, err
	}
	if err := clickhouse.One(ctx, f.DB, "SELECT count() FROM consent_masks WHERE "+string(d), nil, &done.Masks); err != nil || done.Masks == 0 {
		return done, err
	}
	purposes, err := d.purposes(ctx, f.DB)
	if err != nil {
		return done, err
	}
	if err := f.countErased(ctx, d, purposes); err != nil {
		return done, err
	}
	if done.Rows, done.Deleted, err = clearRows(ctx, f.DB, d, purposes); err != nil {
		return done, err
	}
	if done.Erasures, err = f.record(ctx, d); err != nil {
		return done, err
	}
	return done, mutate(ctx, f.DB, "consent_masks", "DELETE WHERE "+string(d))
}

// due is the condition that picks the masks of a turn.
type due string

// masked are the purposes that masks take away, and those for which rows are to be erased.
type masked struct{ all, erased []core.Purpose }

func (d due) purposes(ctx context.Context, db Store) (masked, error) {
	var m masked
	err := each(ctx, db, "SELECT purpose, max(erase) FROM consent_masks WHERE "+string(d)+" AND subject != 0 GROUP BY purpose ORDER BY purpose", nil,
		func(rows clickhouse.Rows) error {
			var (
				bit   uint8
				erase bool
			)
			if err := rows.Scan(&bit, &erase); err != nil {
				return err
			}
			if bit >= core.MaxPurposes {
				return fmt.Errorf("a mask of purpose bit %d", bit)
			}
			m.all = append(m.all, core.Purpose(bit))
			if erase {
				m.erased = append(m.erased, core.Purpose(bit))
			}
			return nil
		})
	return m, err
}

// reaches is the condition that a mask of a purpose reaches a row, the same as in internal/gate: by any identity of
// the row, up to the latest denial. A change of rows cannot join, so the masks are looked up in two constant arrays, which
// a first entry that fits nothing keeps from being empty. The site goes into the key.
func (d due) reaches(p core.Purpose, erase bool) string {
	which := string(d)
	if erase {
		which += " AND erase"
	}
	masks := "(SELECT toUInt64(0) AS key, toInt64(-1) AS until UNION ALL SELECT sipHash64(site, subject) AS key, max(toUnixTimestamp64Milli(denied_at)) AS until" +
		" FROM consent_masks WHERE purpose = " + bit(p) + " AND subject != 0 AND " + which + " GROUP BY key)"
	list := func(column string) string {
		return "(SELECT groupArray(" + column + ") FROM (SELECT key, until FROM " + masks + " ORDER BY key))"
	}
	return "arrayExists(id -> id != 0 AND toUnixTimestamp64Milli(time) <= transform(sipHash64(site, id), " + list("key") + ", " + list("until") +
		", toInt64(-1)), [visitor_id, account_id, device_key])"
}

// hidden is the condition that a row may be used for a purpose, but for the masks.
func (d due) hidden(p core.Purpose) string {
	return "(bitTest(purposes, " + bit(p) + ") AND " + d.reaches(p, false) + ")"
}

// left are the purposes that a row has left.
func (d due) left(m masked) string {
	bits := make([]string, len(m.all))
	for i, p := range m.all {
		bits[i] = "if(" + d.hidden(p) + ", " + strconv.FormatUint(uint64(core.PurposeSet(0).With(p)), 10) + ", 0)"
	}
	return "bitAnd(purposes, bitNot(toUInt32(" + strings.Join(bits, " + ") + ")))"
}

// erased is the condition that a row is to be erased, for whatever purpose.
func (d due) erased(m masked) string {
	reached := []string{"false"}
	for _, p := range m.erased {
		reached = append(reached, d.reaches(p, true))
	}
	return "(" + strings.Join(reached, " OR ") + ")"
}

func bit(p core.Purpose) string { return strconv.Itoa(int(p)) }

// maxTries bounds how often rows are gone over again because some were stored meanwhile.
const maxTries = 3

// clearRows takes the masked purposes from the rows, and deletes what is to be erased. It returns when a count shows that
// nothing is left to do.
func clearRows(ctx context.Context, db Store, d due, m masked) (rows, deleted uint64, err error) {
	if len(m.all) == 0 {
		return 0, 0, nil
	}
	hidden := make([]string, len(m.all))
	for i, p := range m.all {
		hidden[i] = d.hidden(p)
	}
	some := "(" + strings.Join(hidden, " OR ") + ")"
	count := "SELECT countIf(" + some + "), countIf(" + d.left(m) + " = 0 AND " + d.erased(m) + ") FROM events"
	// The second command sees what the first one left.
	change := "UPDATE purposes = " + d.left(m) + " WHERE " + some + ", DELETE WHERE purposes = 0 AND " + d.erased(m)
	for range maxTries {
		var found, over uint64
		if err := clickhouse.One(ctx, db, count, nil, &found, &over); err != nil {
			return rows, deleted, fmt.Errorf("count hidden rows: %w", err)
		}
		if found == 0 && over == 0 {
			return rows, deleted, nil
		}
		if err := mutate(ctx, db, "events", change); err != nil {
			return rows, deleted, err
		}
		rows, deleted = rows+found, deleted+over
	}
	return rows, deleted, fmt.Errorf("rows are left after %d changes", maxTries)
}

// countErased writes down how many rows an erasure finds, because once they are gone nobody can count them: a turn that is
// broken off and done again would record none.
func (f *Fold) countErased(ctx context.Context, d due, m masked) error {
	for _, p := range m.erased {
		var (
			sites []string
			rows  []uint64
		)
		err := each(ctx, f.DB, "SELECT toString(site), count() FROM events WHERE bitTest(purposes, "+bit(p)+") AND "+d.reaches(p, true)+" GROUP BY site", nil,
			func(found clickhouse.Rows) error {
				var (
					site string
					n    uint64
				)
				if err := found.Scan(&site, &n); err != nil {
					return err
				}
				sites, rows = append(sites, site), append(rows, n)
				return nil
			})
		if err == nil && len(sites) > 0 {
			var hour time.Time // so that the count goes with the masks
			if err = clickhouse.One(ctx, f.DB, "SELECT max(stored) FROM consent_masks WHERE "+string(d), nil, &hour); err == nil {
				err = f.DB.Insert(ctx, "consent_masks", "count/"+uuid.NewString(), []clickhouse.Column{
					{Name: "site", Values: sites},
					{Name: "purpose", Values: repeat(uint8(p), len(sites))},
					{Name: "denied_at", Values: repeat(f.Now().UTC(), len(sites))},
					{Name: "rows", Values: rows},
					{Name: "stored", Values: repeat(hour, len(sites))},
				})
			}
		}
		if err != nil {
			return fmt.Errorf("count rows to erase: %w", err)
		}
	}
	return nil
}

func repeat[T any](v T, n int) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = v
	}
	return list
}

// record notes every erasure that an act asked for, now that it is complete. The acts stay as evidence, so no leaf is
// covered.
func (f *Fold) record(ctx context.Context, d due) (records []ledger.ID, err error) {
	type request struct {
		site      string
		purpose   core.Purpose
		act       ledger.ID
		rows, all uint64
	}
	var (
		requests []request
		none     ledger.ID // of a count
	)
	err = each(ctx, f.DB, `SELECT toString(site), purpose, toString(act), max(max(rows)) OVER of AS found, toUInt64(countIf(act != toFixedString('', 16)) OVER of) AS together
		FROM (SELECT site, purpose, act, rows FROM consent_masks WHERE subject = 0 AND `+string(d)+`)
		GROUP BY site, purpose, act
		WINDOW of AS (PARTITION BY site, purpose)
		ORDER BY site, purpose, act`, nil, func(rows clickhouse.Rows) error {
		var (
			r   request
			bit uint8
			act string
		)
		if err := rows.Scan(&r.site, &bit, &act, &r.rows, &r.all); err != nil {
			return err
		}
		copy(r.act[:], act)
		r.purpose = core.Purpose(bit)
		if r.act != none {
			requests = append(requests, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read erasures: %w", err)
	}
	now := f.Now().UTC()
	for _, r := range requests {
		e := erasure(f.Salter, now, r.act.String(), nil,
			ledger.Field{Name: "act", Value: r.act.String()}, // its leaf; the rows are of all the acts that were carried out together
			ledger.Field{Name: "acts", Value: strconv.FormatUint(r.all, 10)},
			ledger.Field{Name: "purpose", Value: f.Purpose(r.site, r.purpose)},
			ledger.Field{Name: "rows", Value: strconv.FormatUint(r.rows, 10)},
			ledger.Field{Name: "site", Value: r.site})
		if err := note(ctx, f.DB, f.Entries, e); err != nil {
			return records, fmt.Errorf("record erasure: %w", err)
		}
		records = append(records, e.ID)
	}
	return records, nil
}

// erasure is the record of a completed erasure. It says nothing of a person: name MUST NOT either.
func erasure(salter evidence.Salter, at time.Time, name string, covers []int64, fields ...ledger.Field) ledger.Record {
	fields = append(fields, ledger.Cover(covers), ledger.Field{Name: "completed_at", Value: at.UTC().Format(time.RFC3339Nano)})
	slices.SortFunc(fields, func(a, b ledger.Field) int { return strings.Compare(a.Name, b.Name) })
	return ledger.Record{
		Kind: ledger.Erasure, ID: ledger.NewID(ledger.Erasure, name), Time: at.UnixMicro(), Fields: fields,
		Salt: salter.Salt(ledger.Erasure.String(), name),
	}
}
