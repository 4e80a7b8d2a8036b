package rollup

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/gate"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(m.Run())
}

const sites = `
sites:
  - {id: shop, name: Shop, time_zone: Asia/Kathmandu, jurisdiction: jp, policy: default, origins: ["http://localhost:8090"]}
`

// now is at a quarter to the hour of UTC: midnight in Kathmandu.
var now = time.Date(2026, 11, 4, 18, 15, 0, 0, time.UTC)

func newMaintainer(t *testing.T, db Writer) (*Maintainer, Scope) {
	t.Helper()
	registry, err := site.Parse([]byte(sites))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	keep, err := Keep(policies, now)
	if err != nil {
		t.Fatal(err)
	}
	where, _ := registry.Get("shop")
	pack, _ := policies.At("default", now)
	purpose, _ := pack.Purpose("usage_based_development")
	m := &Maintainer{DB: db, Sites: registry, Policies: policies, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Few: 1}
	return m, Scope{where, pack, purpose, keep}
}

// views stores a page view of each visitor at a time.
func views(t *testing.T, db *clickhouse.DB, token string, at time.Time, visitors ...uint64) {
	t.Helper()
	same := func(s string) []string { return slices.Repeat([]string{s}, len(visitors)) }
	times := slices.Repeat([]time.Time{at}, len(visitors))
	err := db.Insert(t.Context(), "events", token, []clickhouse.Column{
		{Name: "site", Values: same("shop")},
		{Name: "time", Values: times},
		{Name: "received_at", Values: times},
		{Name: "event_id", Values: visitors},
		{Name: "type", Values: same("page_view")},
		{Name: "policy", Values: same("default/2022-09-15")},
		{Name: "purposes", Values: slices.Repeat([]uint32{1 << 10}, len(visitors))},
		{Name: "linkage", Values: same("visitor")},
		{Name: "session_id", Values: visitors},
		{Name: "visitor_id", Values: visitors},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAKindNeedsNoMoreThanThePurposeMayUse(t *testing.T) {
	byColumn, err := categories()
	if err != nil {
		t.Fatal(err)
	}
	_, s := newMaintainer(t, nil)
	support, _ := s.Pack.Purpose("customer_support")
	var names []string
	for _, k := range kindsFor(byColumn, support.Categories) {
		names = append(names, k.Name)
		for _, c := range k.Reads {
			if !support.Categories.Has(byColumn[c]) {
				t.Errorf("%s reads %s", k.Name, c)
			}
		}
	}
	if !slices.Contains(names, "device") || !slices.Contains(names, "total") || slices.Contains(names, "page") || slices.Contains(names, "order") {
		t.Errorf("customer support has cells of %v", names)
	}
	if kinds := kindsFor(byColumn, s.Purpose.Categories); definition(kinds, time.UTC) == definition(kinds, s.Site.Location) ||
		definition(kinds, time.UTC) == definition(kinds[1:], time.UTC) {
		t.Error("another time zone or fewer kinds make no other definition")
	}
}

// Whatever changes rows changes their marks, and the marks are read from the projection, not from the events.
func TestTheMarksFollowTheRows(t *testing.T) {
	db := testkit.ClickHouse(t)
	_, s := newMaintainer(t, db)
	day := time.Date(2026, 11, 3, 0, 0, 0, 0, s.Site.Location)
	views(t, db, "1", day, 1, 2, 3)                                // at midnight
	views(t, db, "2", day.AddDate(0, 0, 1).Add(-time.Minute), 4)   // just before the next one
	views(t, db, "3", day.Add(-time.Millisecond), 5)               // the day before
	views(t, db, "4", day.AddDate(0, 0, 1).Add(time.Minute), 6, 7) // the day after
	type mark struct{ rows, marks uint64 }
	read := func(setting string) map[int64]mark {
		t.Helper()
		all := map[int64]mark{}
		params := s.Params(day.AddDate(0, 0, -1), day.AddDate(0, 0, 1))
		err := db.Select(t.Context(), "SELECT toInt64(toUInt16(day)), rows, marks FROM ("+marksOfRows+") SETTINGS "+setting, params, clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var (
					d int64
					m mark
				)
				if err := rows.Scan(&d, &m.rows, &m.marks); err != nil {
					return err
				}
				all[d] = m
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	at := Number(day)
	before := read("force_optimize_projection = 1")
	if before[at].rows != 4 || before[at-1].rows != 1 || before[at+1].rows != 2 {
		t.Fatalf("rows by day: %+v", before)
	}
	for what, change := range map[string]string{
		"a purpose taken back":  "ALTER TABLE events UPDATE purposes = 0 WHERE visitor_id = 1",
		"a row deleted":         "ALTER TABLE events DELETE WHERE visitor_id = 2",
		"a pseudonym that went": "ALTER TABLE events UPDATE visitor_id = 0 WHERE visitor_id = 3",
	} {
		if err := db.Exec(t.Context(), change+" SETTINGS mutations_sync = 2"); err != nil {
			t.Fatal(err)
		}
		after := read("force_optimize_projection = 1")
		if after[at] == before[at] || after[at-1] != before[at-1] {
			t.Errorf("%s: marks %+v, before %+v", what, after, before)
		}
		if plain := read("optimize_use_projections = 0"); plain[at] != after[at] {
			t.Errorf("%s: the projection says %+v, the rows %+v", what, after[at], plain[at])
		}
		before = after
	}
}

func TestANumberIsGivenOnce(t *testing.T) {
	db := testkit.ClickHouse(t)
	m, s := newMaintainer(t, db)
	day := time.Date(2026, 11, 3, 0, 0, 0, 0, s.Site.Location)
	views(t, db, "1", day.Add(time.Hour), 11, 12)
	number := func(params map[string]string) (uint32, error) {
		params["build"] = "1"
		return m.numberSubjects(t.Context(), s, day, params)
	}
	for range 2 {
		if last, err := number(s.Params(day, day)); err != nil || last != 2 {
			t.Fatalf("last number %d, %v", last, err)
		}
	}
	views(t, db, "2", day.Add(2*time.Hour), 13)
	m.DB = meddled{db, t}
	if _, err := number(s.Params(day, day)); !errors.Is(err, errClash) {
		t.Fatalf("two numbered at the same time: %v", err)
	}
	m.DB = db
	// Who went takes the number along.
	if err := db.Exec(t.Context(), "ALTER TABLE rollup_subjects DELETE WHERE turn = 2 OR number = 2 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	err := db.Exec(t.Context(), "INSERT INTO rollup_days (site, policy, bit, day, build, last_number) VALUES ('shop', 'default', 10, '2026-11-03', 1, 7)")
	if err != nil {
		t.Fatal(err)
	}
	if last, err := number(s.Params(day, day)); err != nil || last <= 7 {
		t.Errorf("a number is given again: last %d, %v", last, err)
	}
}

// meddled is a store in which somebody else numbers a subject at the same moment.
type meddled struct {
	*clickhouse.DB
	t *testing.T
}

func (m meddled) Exec(ctx context.Context, sql string) error {
	if strings.HasPrefix(sql, "INSERT INTO rollup_subjects") {
		err := m.DB.Exec(ctx, "INSERT INTO rollup_subjects (site, subject, number, turn) VALUES ('shop', 99, 3, 2)")
		if err != nil {
			m.t.Error(err)
		}
	}
	return m.DB.Exec(ctx, sql)
}

func TestASubjectIsKeptForItsEpoch(t *testing.T) {
	for date, want := range map[string]string{
		"2026-01-01": "2026-07-02", "2026-06-29": "2026-07-02", "2026-07-01": "2027-01-02", "2026-12-30": "2027-01-02",
		"2026-06-30": "2027-01-02", // it may be the next epoch's already, where the day ends after UTC's
	} {
		day, err := time.Parse(time.DateOnly, date)
		if err != nil {
			t.Fatal(err)
		}
		if got := endOfEpoch(day).Format(time.DateOnly); got != want {
			t.Errorf("%s: %s, want %s", date, got, want)
		}
		if gate.Epochs(day, endOfEpoch(day)) < 2 {
			t.Errorf("%s: the epoch is not over on %s", date, endOfEpoch(day))
		}
	}
}

func TestABuildStandsForItsDayWhileItIsTrue(t *testing.T) {
	today := time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)
	oldest := today.AddDate(0, 0, -30)
	right := Day{Date: today.AddDate(0, 0, -1), Rows: 5, Build: 1, marks: 6, masks: 7, touching: 8, built: made{9, 5, 6, 7, 8}}
	for name, tc := range map[string]struct {
		change func(*Day)
		cause  Cause
		usable bool
	}{
		"true":                                  {func(*Day) {}, "", true},
		"not built":                             {func(d *Day) { d.Build = 0 }, NotBuilt, false},
		"a row more":                            {func(d *Day) { d.Rows++ }, Changed, false},
		"a row changed":                         {func(d *Day) { d.marks++ }, Changed, false},
		"made in another way":                   {func(d *Day) { d.built.definition++ }, Redefined, false},
		"a withdrawal reaches it":               {func(d *Day) { d.touching++ }, Withdrawal, false},
		"a withdrawal of somebody else":         {func(d *Day) { d.masks++ }, "", true},
		"what it is made of expires":            {func(d *Day) { d.Date = oldest.AddDate(0, 0, -1) }, Expiring, false},
		"today, rows came":                      {func(d *Day) { d.Date, d.age, d.Rows = today, Freshness/2, 6 }, Changed, true},
		"today, rows came, long ago":            {func(d *Day) { d.Date, d.age, d.Rows = today, Freshness, 6 }, Changed, false},
		"today, rows came and somebody went":    {func(d *Day) { d.Date, d.age, d.Rows, d.touching = today, 0, 6, 0 }, Withdrawal, false},
		"yesterday, rows came just now":         {func(d *Day) { d.age, d.Rows = 0, 6 }, Changed, false},
		"today, made in another way, just now":  {func(d *Day) { d.Date, d.age, d.built.definition = today, 0, 1 }, Redefined, false},
		"all rows are gone, and it is not true": {func(d *Day) { d.Rows, d.marks = 0, 0 }, Changed, false},
	} {
		d := right
		tc.change(&d)
		d.judge(9, oldest, today)
		if d.Cause != tc.cause || d.Usable != tc.usable {
			t.Errorf("%s: %q, usable %v", name, d.Cause, d.Usable)
		}
	}
}

func TestParametersAreBoundAsLiterals(t *testing.T) {
	got := bind("{a:String} {b:Int64} {c:Date} {{d}}", map[string]string{"a": `it's \ here`, "b": "-5", "c": "2026-11-03"})
	if want := `'it\'s \\ here' CAST(-5, 'Int64') toDate('2026-11-03') {{d}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
