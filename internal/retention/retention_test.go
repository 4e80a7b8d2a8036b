package retention_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/retention"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(m.Run())
}

func TestIdentifiersExpireBeforeTheRowAndTheRowAfterThem(t *testing.T) {
	db := testkit.ClickHouse(t)
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // idempotent
		if err := retention.Apply(t.Context(), db, policies, time.Now(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	day := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	times := []time.Time{day(1), day(400), day(800)} // fresh; pseudonym (395) and keyword (395) over; row (750) over
	err = db.Insert(t.Context(), "events", "t", []clickhouse.Column{
		{Name: "site", Values: []string{"shop", "shop", "shop"}},
		{Name: "time", Values: times},
		{Name: "received_at", Values: times},
		{Name: "type", Values: []string{"search", "search", "search"}},
		{Name: "visitor_id", Values: []uint64{1, 2, 3}},
		{Name: "search_query", Values: []string{"a", "b", "c"}},
		{Name: "operation", Values: []string{"x", "y", "z"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(t.Context(), "OPTIMIZE TABLE events FINAL"); err != nil {
		t.Fatal(err)
	}
	type row struct {
		visitor          uint64
		query, operation string
	}
	var got []row
	err = db.Select(t.Context(), "SELECT visitor_id, search_query, operation FROM events ORDER BY time DESC", nil, clickhouse.Limits{},
		func(rows clickhouse.Rows) error {
			for rows.Next() {
				var r row
				if err := rows.Scan(&r.visitor, &r.query, &r.operation); err != nil {
					return err
				}
				got = append(got, r)
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	want := []row{{1, "a", "x"}, {0, "", "y"}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("rows %+v, want %+v", got, want)
	}
}

func TestTheShortestPeriodOfThePolicyCounts(t *testing.T) {
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if got := retention.Days(policies, core.Pseudonym, time.Now()); got != 395 {
		t.Errorf("pseudonyms are kept %d days", got)
	}
	if got := retention.Days(policies, core.Pseudonym, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); got != 0 {
		t.Errorf("before any policy, pseudonyms are kept %d days", got)
	}
}
