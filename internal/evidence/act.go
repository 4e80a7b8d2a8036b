// Package evidence makes consent provable. An Act is one purpose of one consent act as ClickHouse keeps it, with the
// fields of ISO/IEC TS 27560; its record goes into the proof ledger (internal/ledger). The Book is that ledger at work:
// it follows the ledger's topic, signs checkpoints and gives receipts.
package evidence

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/ledger"
)

// SchemaVersion names the fields of an Act, after ISO/IEC TS 27560:2023. What the standard asks for and no field here
// holds, the policy version says: data categories, controllers, recipients, retention and how to withdraw. PolicyHash
// binds the record to exactly that text.
const SchemaVersion = "iso-27560-2023/sekisho-1"

// Act is a row of consent_acts.
type Act struct {
	Site                            string
	ID                              uuid.UUID // of the act, its idempotency key: all its purposes share it
	Schema                          string
	Purpose, State                  string
	VisitorID, AccountID, DeviceKey uint64 // ids under the consent key; 0 where the act names none
	Policy, PolicyHash              string
	Jurisdiction, Basis             string
	TextHash, Language, Surface     string // of the notice that was shown
	Source, Method, Actor           string
	TCString                        string
	GPC                             bool
	Time, ReceivedAt                time.Time // to the microsecond
	Shard                           uint16
	Offset                          int64
	Salt                            ledger.Salt
}

// LeafID is the id of the act's leaf in the ledger.
func LeafID(act uuid.UUID, purpose string) ledger.ID {
	return ledger.NewID(ledger.ConsentAct, act.String(), purpose)
}

// Record is what the ledger commits to. A receipt shows it to the subject, so the subject's ids are blinded.
func (a *Act) Record() ledger.Record {
	fields := []ledger.Field{
		{Name: "act_id", Value: a.ID.String()},
		{Name: "actor", Value: a.Actor},
		{Name: "basis", Value: a.Basis},
		{Name: "gpc", Value: strconv.FormatBool(a.GPC)},
		{Name: "jurisdiction", Value: a.Jurisdiction},
		{Name: "language", Value: a.Language},
		{Name: "method", Value: a.Method},
		{Name: "policy", Value: a.Policy},
		{Name: "policy_hash", Value: a.PolicyHash},
		{Name: "purpose", Value: a.Purpose},
		{Name: "received_at", Value: a.ReceivedAt.UTC().Format("2006-01-02T15:04:05.000000Z")},
		{Name: "schema_version", Value: a.Schema},
		{Name: "site", Value: a.Site},
		{Name: "source", Value: a.Source},
		{Name: "state", Value: a.State},
		{Name: "surface", Value: a.Surface},
		{Name: "tc_string", Value: a.TCString},
		{Name: "text_hash", Value: a.TextHash},
	}
	for _, id := range []struct {
		name  string
		value uint64
	}{{"subject_account", a.AccountID}, {"subject_device", a.DeviceKey}, {"subject_visitor", a.VisitorID}} {
		if id.value != 0 {
			fields = append(fields, ledger.Blind(a.Salt, id.name, strconv.FormatUint(id.value, 10)))
		}
	}
	return ledger.Record{Kind: ledger.ConsentAct, ID: LeafID(a.ID, a.Purpose), Time: a.Time.UnixMicro(), Fields: fields, Salt: a.Salt}
}

// Columns are the acts as a batch for ClickHouse.
func Columns(acts []Act) []clickhouse.Column {
	return []clickhouse.Column{
		clickhouse.Gather("site", acts, func(a Act) string { return a.Site }),
		clickhouse.Gather("act_id", acts, func(a Act) uuid.UUID { return a.ID }),
		clickhouse.Gather("schema_version", acts, func(a Act) string { return a.Schema }),
		clickhouse.Gather("purpose", acts, func(a Act) string { return a.Purpose }),
		clickhouse.Gather("state", acts, func(a Act) string { return a.State }),
		clickhouse.Gather("visitor_id", acts, func(a Act) uint64 { return a.VisitorID }),
		clickhouse.Gather("account_id", acts, func(a Act) uint64 { return a.AccountID }),
		clickhouse.Gather("device_key", acts, func(a Act) uint64 { return a.DeviceKey }),
		clickhouse.Gather("policy", acts, func(a Act) string { return a.Policy }),
		clickhouse.Gather("policy_hash", acts, func(a Act) string { return a.PolicyHash }),
		clickhouse.Gather("jurisdiction", acts, func(a Act) string { return a.Jurisdiction }),
		clickhouse.Gather("basis", acts, func(a Act) string { return a.Basis }),
		clickhouse.Gather("text_hash", acts, func(a Act) string { return a.TextHash }),
		clickhouse.Gather("language", acts, func(a Act) string { return a.Language }),
		clickhouse.Gather("surface", acts, func(a Act) string { return a.Surface }),
		clickhouse.Gather("source", acts, func(a Act) string { return a.Source }),
		clickhouse.Gather("method", acts, func(a Act) string { return a.Method }),
		clickhouse.Gather("actor", acts, func(a Act) string { return a.Actor }),
		clickhouse.Gather("tc_string", acts, func(a Act) string { return a.TCString }),
		clickhouse.Gather("gpc", acts, func(a Act) bool { return a.GPC }),
		clickhouse.Gather("time", acts, func(a Act) time.Time { return a.Time }),
		clickhouse.Gather("received_at", acts, func(a Act) time.Time { return a.ReceivedAt }),
		clickhouse.Gather("shard", acts, func(a Act) uint16 { return a.Shard }),
		clickhouse.Gather("offset", acts, func(a Act) int64 { return a.Offset }),
		clickhouse.Gather("salt", acts, func(a Act) string { return string(a.Salt[:]) }),
	}
}

// Store is what the package needs of ClickHouse.
type Store interface {
	Select(ctx context.Context, sql string, params map[string]string, limits clickhouse.Limits, scan func(clickhouse.Rows) error) error
	Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error
}

// actsSQL enumerates the columns in the order of scanAct.
const actsSQL = `SELECT toString(site), act_id, toString(schema_version), toString(purpose), toString(state), visitor_id, account_id, device_key,
	toString(policy), toString(policy_hash), toString(jurisdiction), toString(basis), toString(text_hash), toString(language), toString(surface),
	toString(source), toString(method), toString(actor), tc_string, gpc, time, received_at, shard, offset, toString(salt)
FROM consent_acts`

func scanAct(rows clickhouse.Rows) (Act, error) {
	var (
		a    Act
		salt string
	)
	err := rows.Scan(&a.Site, &a.ID, &a.Schema, &a.Purpose, &a.State, &a.VisitorID, &a.AccountID, &a.DeviceKey, &a.Policy, &a.PolicyHash,
		&a.Jurisdiction, &a.Basis, &a.TextHash, &a.Language, &a.Surface, &a.Source, &a.Method, &a.Actor, &a.TCString, &a.GPC,
		&a.Time, &a.ReceivedAt, &a.Shard, &a.Offset, &salt)
	if err != nil {
		return Act{}, err
	}
	copy(a.Salt[:], salt)
	return a, nil
}

// ActsOf reads the purposes of one act.
func ActsOf(ctx context.Context, db Store, site string, id uuid.UUID) ([]Act, error) {
	return readActs(ctx, db, actsSQL+" WHERE site = {site:String} AND act_id = {id:UUID} ORDER BY purpose LIMIT 64",
		map[string]string{"site": site, "id": id.String()})
}

// ActsBy reads the acts of a subject for a purpose, in the order of their times. Ids are under the consent key; 0 is none.
func ActsBy(ctx context.Context, db Store, site, purpose string, visitor, account, device uint64) ([]Act, error) {
	return readActs(ctx, db, actsSQL+` WHERE site = {site:String} AND purpose = {purpose:String}
		AND ((visitor_id != 0 AND visitor_id = {visitor:UInt64}) OR (account_id != 0 AND account_id = {account:UInt64}) OR (device_key != 0 AND device_key = {device:UInt64}))
		ORDER BY time, received_at, act_id`, map[string]string{
		"site": site, "purpose": purpose, "visitor": strconv.FormatUint(visitor, 10),
		"account": strconv.FormatUint(account, 10), "device": strconv.FormatUint(device, 10),
	})
}

func readActs(ctx context.Context, db Store, sql string, params map[string]string) ([]Act, error) {
	var acts []Act
	err := db.Select(ctx, sql, params, clickhouse.Limits{Time: time.Minute}, func(rows clickhouse.Rows) error {
		for rows.Next() {
			a, err := scanAct(rows)
			if err != nil {
				return err
			}
			acts = append(acts, a)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read consent acts: %w", err)
	}
	return acts, nil
}

// Records reads everything that the ledger's leaves commit to, for an audit (ledger.Verify). index finds the leaf of an
// id; a record whose id has none gets -1.
func Records(ctx context.Context, db Store, index func(ledger.ID) (int64, bool)) iter.Seq2[ledger.Record, error] {
	return func(yield func(ledger.Record, error) bool) {
		stopped := false
		give := func(r ledger.Record) bool {
			r.Index = -1
			if at, ok := index(r.ID); ok {
				r.Index = at
			}
			stopped = stopped || !yield(r, nil)
			return !stopped
		}
		err := db.Select(ctx, actsSQL+" ORDER BY received_at, offset", nil, clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				a, err := scanAct(rows)
				if err != nil {
					return err
				}
				if !give(a.Record()) {
					return nil
				}
			}
			return nil
		})
		if err == nil && !stopped {
			err = notes(ctx, db, give)
		}
		if err != nil && !stopped {
			yield(ledger.Record{}, fmt.Errorf("read records: %w", err))
		}
	}
}

// notes reads the records that are no consent acts.
func notes(ctx context.Context, db Store, give func(ledger.Record) bool) error {
	const sql = `SELECT toString(kind), toString(id), time, toString(salt), CAST(names, 'Array(String)'), values FROM ledger_records ORDER BY time, id`
	return db.Select(ctx, sql, nil, clickhouse.Limits{}, func(rows clickhouse.Rows) error {
		for rows.Next() {
			var (
				kind, id, salt string
				at             time.Time
				names, values  []string
				r              ledger.Record
			)
			if err := rows.Scan(&kind, &id, &at, &salt, &names, &values); err != nil {
				return err
			}
			if err := r.Kind.UnmarshalText([]byte(kind)); err != nil {
				return err
			}
			r.Time = at.UnixMicro()
			copy(r.ID[:], id)
			copy(r.Salt[:], salt)
			for i := range names {
				r.Fields = append(r.Fields, ledger.Field{Name: names[i], Value: values[i]})
			}
			if !give(r) {
				return nil
			}
		}
		return nil
	})
}

// noteColumns is a record as a batch for ledger_records.
func noteColumns(r ledger.Record) []clickhouse.Column {
	names, values := make([]string, len(r.Fields)), make([]string, len(r.Fields))
	for i, f := range r.Fields {
		names[i], values[i] = f.Name, f.Value
	}
	one := []ledger.Record{r}
	return []clickhouse.Column{
		clickhouse.Gather("kind", one, func(r ledger.Record) string { return r.Kind.String() }),
		clickhouse.Gather("id", one, func(r ledger.Record) string { return string(r.ID[:]) }),
		clickhouse.Gather("time", one, func(r ledger.Record) time.Time { return time.UnixMicro(r.Time).UTC() }),
		clickhouse.Gather("salt", one, func(r ledger.Record) string { return string(r.Salt[:]) }),
		{Name: "names", Values: [][]string{names}},
		{Name: "values", Values: [][]string{values}},
	}
}
