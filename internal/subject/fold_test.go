package subject_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/gate"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/ledger"
	"github.com/sekisho/sekisho/internal/subject"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(testkit.Main(m))
}

// salts are what the pipeline's keys make.
type salts struct{}

func (salts) Salt(parts ...string) (s [32]byte) {
	copy(s[:], "salt "+strings.Join(parts, "/"))
	return s
}

// topic keeps what is published.
type topic struct{ values [][]byte }

func (t *topic) Produce(_ context.Context, messages []kafka.Message) error {
	for _, m := range messages {
		t.values = append(t.values, m.Value)
	}
	return nil
}

func newFold(db subject.Store) (*subject.Fold, *topic) {
	entries := &topic{}
	return &subject.Fold{
		DB: db, Entries: entries, Salter: salts{}, Now: time.Now,
		Purpose: func(site string, bit core.Purpose) string { return fmt.Sprintf("%s purpose %d", site, bit) },
	}, entries
}

// event is a row as far as the gate asks. Its number is its id.
type event struct {
	site                     string
	at                       time.Time
	visitor, account, device uint64
	purposes                 core.PurposeSet
	linkage                  string
}

type mask struct {
	site    string
	purpose uint8
	subject uint64
	until   time.Time
	erase   bool
	act     ledger.ID
	stored  time.Time
}

func store(t testing.TB, db subject.Store, events []event, masks []mask) {
	t.Helper()
	ids := make([]uint64, len(events))
	for i := range ids {
		ids[i] = uint64(i + 1)
	}
	if len(events) > 0 {
		err := db.Insert(t.Context(), "events", uuid.NewString(), []clickhouse.Column{
			{Name: "event_id", Values: ids},
			clickhouse.Gather("site", events, func(e event) string { return e.site }),
			clickhouse.Gather("time", events, func(e event) time.Time { return e.at }),
			clickhouse.Gather("visitor_id", events, func(e event) uint64 { return e.visitor }),
			clickhouse.Gather("account_id", events, func(e event) uint64 { return e.account }),
			clickhouse.Gather("device_key", events, func(e event) uint64 { return e.device }),
			clickhouse.Gather("purposes", events, func(e event) uint32 { return uint32(e.purposes) }),
			clickhouse.Gather("linkage", events, func(e event) string { return e.linkage }),
			clickhouse.Gather("policy", events, func(event) string { return "default/2022-09-15" }),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(masks) > 0 {
		err := db.Insert(t.Context(), "consent_masks", uuid.NewString(), []clickhouse.Column{
			clickhouse.Gather("site", masks, func(m mask) string { return m.site }),
			clickhouse.Gather("purpose", masks, func(m mask) uint8 { return m.purpose }),
			clickhouse.Gather("subject", masks, func(m mask) uint64 { return m.subject }),
			clickhouse.Gather("denied_at", masks, func(m mask) time.Time { return m.until }),
			clickhouse.Gather("erase", masks, func(m mask) bool { return m.erase }),
			clickhouse.Gather("act", masks, func(m mask) string { return string(m.act[:]) }),
			clickhouse.Gather("stored", masks, func(m mask) time.Time { return m.stored }),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// visible are the ids of the rows that the gate of the query service lets through.
func visible(t testing.TB, db subject.Store, site string, purpose uint8) (ids []uint64) {
	t.Helper()
	err := db.Select(t.Context(), "WITH "+gate.Gate([]string{"event_id"})+" SELECT event_id FROM gate WHERE left_out = '' ORDER BY event_id",
		gate.Params(site, "default", purpose, time.Unix(0, 0), now.Add(24*time.Hour), time.UTC), clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var id uint64
				if err := rows.Scan(&id); err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func count(t testing.TB, db subject.Store, sql string) (n uint64) {
	t.Helper()
	err := db.Select(t.Context(), sql, nil, clickhouse.Limits{}, func(rows clickhouse.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var (
	now   = time.Now().UTC().Truncate(time.Millisecond)
	sites = []string{"shop", "blog"}
)

// town are random rows and masks of few people on two sites, so that they often meet, some at the same moment.
func town(r *rand.Rand, rows, denials int) ([]event, []mask) {
	moment := func() time.Time {
		return now.Add(-time.Duration(r.IntN(200)) * 6 * time.Hour).Add(time.Duration(r.IntN(2)) * time.Millisecond)
	}
	id := func() uint64 { return uint64(r.IntN(12)) } // 0: none
	events, masks := make([]event, rows), make([]mask, denials)
	for i := range events {
		events[i] = event{sites[r.IntN(2)], moment(), id(), id(), id(), core.PurposeSet(r.Uint32N(32)), []string{"none", "cookieless", "visitor", "account"}[r.IntN(4)]}
	}
	for i := range masks {
		m := mask{site: sites[r.IntN(2)], purpose: uint8(r.IntN(5)), subject: id(), until: moment().Add(time.Duration(r.IntN(2000)) * time.Microsecond), erase: r.IntN(3) == 0}
		// An hour that began before the last one is due, whatever the minute; the last one is left out for this test's sake.
		m.stored = now.Truncate(time.Hour).Add(-time.Duration([]int{0, 2, 3, 4, 5}[r.IntN(5)]) * time.Hour)
		if m.subject == 0 {
			m.subject = 1
		}
		masks[i] = m
	}
	return events, masks
}

// left are the purposes that a row has left after the masks, naively; erased says that some mask of them erases it.
func (e event) left(masks []mask) (purposes core.PurposeSet, erased bool) {
	purposes = e.purposes
	for _, m := range masks {
		reached := m.site == e.site && slices.Contains([]uint64{e.visitor, e.account, e.device}, m.subject) && !e.at.After(m.until)
		if reached {
			purposes = purposes.Without(core.Purpose(m.purpose))
			erased = erased || m.erase
		}
	}
	return purposes, erased
}

func TestFoldingChangesNoReport(t *testing.T) {
	db := testkit.ClickHouse(t)
	for seed := range uint64(6) {
		for _, table := range []string{"events", "consent_masks", "ledger_records"} {
			if err := db.Exec(t.Context(), "TRUNCATE TABLE "+table); err != nil {
				t.Fatal(err)
			}
		}
		r := rand.New(rand.NewPCG(seed, 5))
		events, masks := town(r, 400, 5+r.IntN(40))
		store(t, db, events, masks)
		all := func() (list [][]uint64) {
			for _, site := range sites {
				for purpose := range uint8(5) {
					list = append(list, visible(t, db, site, purpose))
				}
			}
			return list
		}
		before := all()
		due := slices.DeleteFunc(slices.Clone(masks), func(m mask) bool { return m.stored.Add(2 * time.Hour).After(time.Now()) })
		var want subject.Folded
		for _, e := range events {
			left, erased := e.left(due)
			if left != e.purposes {
				want.Rows++
			}
			if left == 0 && erased {
				want.Deleted++
			}
		}
		want.Masks = uint64(len(due))
		f, _ := newFold(db)
		got, err := f.Turn(t.Context(), subject.Age)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: folded %+v, %v, want %+v", seed, got, err, want)
		}
		if after := all(); !reflect.DeepEqual(after, before) {
			t.Errorf("seed %d: %v\nwas %v", seed, after, before)
		}
		if n := count(t, db, "SELECT count() FROM consent_masks"); n != uint64(len(masks)-len(due)) {
			t.Errorf("seed %d: %d masks are left, want the %d of the last hours", seed, n, len(masks)-len(due))
		}
		if n := count(t, db, "SELECT count() FROM events"); n != uint64(len(events))-want.Deleted {
			t.Errorf("seed %d: %d rows are left", seed, n)
		}
		// The masks that came meanwhile are folded in their turn, and then there is nothing to do.
		if _, err := f.TurnAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := all(); !reflect.DeepEqual(after, before) {
			t.Errorf("seed %d, the second turn: %v\nwas %v", seed, after, before)
		}
		if got, err := f.TurnAll(t.Context()); err != nil || !reflect.DeepEqual(got, subject.Folded{}) {
			t.Errorf("seed %d: a turn without masks did %+v, %v", seed, got, err)
		}
		t.Logf("seed %d: %+v", seed, want)
	}
}

var errKilled = errors.New("killed")

// dying ends at its nth statement or insert, before or after it took effect.
type dying struct {
	*clickhouse.DB
	left  int
	after bool
}

func (d *dying) Exec(ctx context.Context, sql string) error {
	return d.do(func() error { return d.DB.Exec(ctx, sql) })
}

func (d *dying) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	return d.do(func() error { return d.DB.Insert(ctx, table, token, columns) })
}

func (d *dying) do(f func() error) error {
	d.left--
	if d.left < 0 || d.left == 0 && !d.after {
		return errKilled
	}
	if err := f(); err != nil {
		return err
	}
	if d.left == 0 {
		return errKilled
	}
	return nil
}

func TestAKilledTurnShowsNothingAndIsDoneAgain(t *testing.T) {
	db := testkit.ClickHouse(t)
	at, stored := now.AddDate(0, 0, -2), now.Truncate(time.Hour).Add(-3*time.Hour)
	act := evidence.LeafID(uuid.New(), "p1")
	steps := 0
	for n := 1; ; n++ {
		finished := 0
		for _, after := range []bool{false, true} {
			for _, table := range []string{"events", "consent_masks", "ledger_records"} {
				if err := db.Exec(t.Context(), "TRUNCATE TABLE "+table); err != nil {
					t.Fatal(err)
				}
			}
			store(t, db, []event{
				{"shop", at, 7, 0, 0, 0b10, "visitor"},                    // goes
				{"shop", at, 9, 7, 0, 0b11, "account"},                    // loses the purpose
				{"shop", at, 8, 0, 0, 0b10, "visitor"},                    // another's
				{"shop", now.AddDate(0, 0, -1), 7, 0, 0, 0b10, "visitor"}, // granted again
			}, []mask{
				{"shop", 1, 7, at.Add(time.Hour), true, ledger.ID{}, stored},
				{"shop", 1, 0, at.Add(time.Hour), true, act, stored},
			})
			f, entries := newFold(&dying{DB: db, left: n, after: after})
			_, err := f.Turn(t.Context(), subject.Age)
			if err == nil {
				finished++
			} else if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			if got := visible(t, db, "shop", 1); !slices.Equal(got, []uint64{3, 4}) {
				t.Errorf("killed at %d: rows %v are seen", n, got)
			}
			again, more := newFold(db)
			if _, err := again.Turn(t.Context(), subject.Age); err != nil {
				t.Fatal(err)
			}
			if got := visible(t, db, "shop", 1); !slices.Equal(got, []uint64{3, 4}) {
				t.Errorf("killed at %d and done again: rows %v are seen", n, got)
			}
			if got := visible(t, db, "shop", 0); !slices.Equal(got, []uint64{2}) {
				t.Errorf("killed at %d and done again: rows %v are seen for another purpose", n, got)
			}
			if rows, masks := count(t, db, "SELECT count() FROM events"), count(t, db, "SELECT count() FROM consent_masks"); rows != 3 || masks != 0 {
				t.Errorf("killed at %d and done again: %d rows and %d masks are left", n, rows, masks)
			}
			// Whoever publishes the entry again publishes the same one.
			published := slices.Concat(entries.values, more.values)
			if len(published) == 0 || len(slices.CompactFunc(published, slices.Equal)) != 1 {
				t.Errorf("killed at %d and done again: entries %x", n, published)
			}
			if found := count(t, db, "SELECT count() FROM ledger_records WHERE kind = 'erasure' AND values[indexOf(names, 'rows')] = '2' AND values[indexOf(names, 'acts')] = '1' AND values[indexOf(names, 'act')] = '"+act.String()+"' AND values[indexOf(names, 'purpose')] = 'shop purpose 1' AND values[indexOf(names, 'covers')] = ''"); found != 1 {
				t.Errorf("killed at %d and done again: %d records of the erasure", n, found)
			}
		}
		if finished == 2 {
			break
		}
		steps = n
	}
	if steps < 4 {
		t.Errorf("it was killed at %d places only", steps)
	}
	t.Logf("killed before and after each of %d steps", steps)
}

func TestRowsWithoutAPurposeStayWhereNobodyAskedToEraseThem(t *testing.T) {
	db := testkit.ClickHouse(t)
	at, stored := now.AddDate(0, 0, -2), now.Truncate(time.Hour).Add(-3*time.Hour)
	store(t, db, []event{{"shop", at, 7, 0, 0, 0b10, "visitor"}, {"shop", at, 9, 0, 0, 0, "visitor"}}, []mask{{"shop", 1, 7, at, false, ledger.ID{}, stored}})
	f, entries := newFold(db)
	got, err := f.Turn(t.Context(), subject.Age)
	if want := (subject.Folded{Masks: 1, Rows: 1}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if n := count(t, db, "SELECT count() FROM events WHERE purposes = 0"); n != 2 || len(entries.values) != 0 {
		t.Errorf("%d rows without a purpose, %d records", n, len(entries.values))
	}
}

func TestAMaskOfTheLastHourStays(t *testing.T) {
	db := testkit.ClickHouse(t)
	at := now.AddDate(0, 0, -2)
	store(t, db, []event{{"shop", at, 7, 0, 0, 0b10, "visitor"}}, nil)
	if err := db.Insert(t.Context(), "consent_masks", "t", []clickhouse.Column{ // as the pipeline does: the engine says when
		{Name: "site", Values: []string{"shop"}},
		{Name: "purpose", Values: []uint8{1}},
		{Name: "subject", Values: []uint64{7}},
		{Name: "denied_at", Values: []time.Time{now}},
	}); err != nil {
		t.Fatal(err)
	}
	f, _ := newFold(db)
	if got, err := f.Turn(t.Context(), subject.Age); err != nil || !reflect.DeepEqual(got, subject.Folded{}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got := visible(t, db, "shop", 1); len(got) != 0 {
		t.Errorf("%v is seen", got)
	}
	if n := count(t, db, "SELECT count() FROM consent_masks WHERE stored = toStartOfHour(stored) AND stored > now() - INTERVAL 61 MINUTE"); n != 1 {
		t.Errorf("%d masks say when they were stored", n)
	}
}
