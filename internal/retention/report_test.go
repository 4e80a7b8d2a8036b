package retention_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/retention"
	"github.com/sekisho/sekisho/internal/testkit"
)

// archive is a store under retention, in which a test plants what should not be there.
type archive struct {
	*clickhouse.DB
	t        *testing.T
	policies *policy.Register
	now      time.Time
	batches  int
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{DB: testkit.ClickHouse(t), t: t, policies: policies, now: time.Now().UTC().Truncate(time.Second)}
	if err := retention.Apply(t.Context(), a, policies, a.now, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"events", "consent_acts", "consent_masks"} { // the engine puts expiry off
		a.exec("SYSTEM STOP TTL MERGES " + table)
	}
	return a
}

func (a *archive) exec(sql string) {
	a.t.Helper()
	if err := a.Exec(a.t.Context(), sql); err != nil {
		a.t.Fatalf("%s: %v", sql, err)
	}
}

func (a *archive) count(sql string) (n uint64) {
	a.t.Helper()
	err := a.Select(a.t.Context(), sql, nil, clickhouse.Limits{}, func(rows clickhouse.Rows) error {
		rows.Next()
		return rows.Scan(&n)
	})
	if err != nil {
		a.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (a *archive) insert(table string, columns ...clickhouse.Column) {
	a.t.Helper()
	a.batches++
	if err := a.Insert(a.t.Context(), table, table+time.Duration(a.batches).String(), columns); err != nil {
		a.t.Fatal(err)
	}
}

// search stores a search of a visitor so many days ago, permitted for the purposes.
func (a *archive) search(daysAgo int, policy string, purposes uint32) {
	a.t.Helper()
	at := []time.Time{a.now.AddDate(0, 0, -daysAgo)}
	a.insert("events",
		clickhouse.Column{Name: "site", Values: []string{"shop"}}, clickhouse.Column{Name: "time", Values: at},
		clickhouse.Column{Name: "received_at", Values: at}, clickhouse.Column{Name: "type", Values: []string{"search"}},
		clickhouse.Column{Name: "policy", Values: []string{policy}}, clickhouse.Column{Name: "purposes", Values: []uint32{purposes}},
		clickhouse.Column{Name: "visitor_id", Values: []uint64{7}}, clickhouse.Column{Name: "session_id", Values: []uint64{8}},
		clickhouse.Column{Name: "search_query", Values: []string{"tea"}}, clickhouse.Column{Name: "country", Values: []string{"JP"}},
		clickhouse.Column{Name: "item_sku", Values: [][]string{{"A1"}}},
	)
}

const (
	inForce   = "default/2022-09-15"
	permitted = 1 << 10
)

func (a *archive) inspect() retention.Report {
	a.t.Helper()
	r, err := retention.Inspect(a.t.Context(), a, a.policies, nil, nil, a.now)
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

// breaches are the lines that are not ok, as "name category".
func breaches(r retention.Report) []string {
	var found []string
	for _, l := range r.Lines {
		if l.Verdict != retention.OK {
			found = append(found, strings.TrimSpace(l.Name+" "+l.Category))
		}
	}
	return found
}

// wants checks which lines are in breach, and that the whole follows from them.
func (a *archive) wants(want ...string) retention.Report {
	a.t.Helper()
	r := a.inspect()
	if got := breaches(r); !slices.Equal(got, want) {
		a.t.Errorf("in breach: %q, want %q", got, want)
	}
	if (r.Verdict == retention.OK) != (len(want) == 0) {
		a.t.Errorf("the whole is %s", r.Verdict)
	}
	return r
}

func line(t *testing.T, r retention.Report, name, category string, limit float64) retention.Line {
	t.Helper()
	for _, l := range r.Lines {
		if l.Name == name && l.Category == category && (limit == 0 || l.LimitDays == limit) {
			return l
		}
	}
	t.Fatalf("there is no line of %s %s", name, category)
	return retention.Line{}
}

func (a *archive) enforce() {
	a.t.Helper()
	if _, err := retention.Enforce(a.t.Context(), a, a.now); err != nil {
		a.t.Fatal(err)
	}
}

func TestACleanStoreIsOK(t *testing.T) {
	a := newArchive(t)
	empty := a.wants()
	if l := line(t, empty, "events", "pseudonym", 395); l.Oldest != nil || len(l.Columns) != 3 {
		t.Errorf("of an empty table: %+v", l)
	}
	a.search(1, inForce, permitted)
	a.search(393, inForce, permitted)
	r := a.wants()
	for category, limit := range map[string]float64{"pseudonym": 395, "search_keyword": 395, "usage_environment": 750, "purchased_item": 750, "record": 750} {
		l := line(t, r, "events", category, limit)
		if l.Oldest == nil || !l.Oldest.Equal(a.now.AddDate(0, 0, -393)) {
			t.Errorf("%s: oldest %v", category, l.Oldest)
		}
	}
	if l := line(t, r, "events", "page_view_history", 750); l.Oldest != nil {
		t.Errorf("no row has a page, and the oldest is of %v", l.Oldest)
	}
	var text bytes.Buffer
	if err := r.Write(&text); err != nil || !strings.Contains(text.String(), "ok at ") || strings.Contains(text.String(), "breach") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

func TestWhatIsOverItsLimitIsNamedUntilItIsGone(t *testing.T) {
	a := newArchive(t)
	a.search(1, inForce, permitted)

	t.Run("a row", func(t *testing.T) {
		a.search(800, inForce, permitted)
		r := a.wants("events pseudonym", "events pseudonym", "events purchased_item", "events record", "events search_keyword", "events usage_environment", "events usage_time")
		if l := line(t, r, "events", "usage_environment", 0); !slices.Equal(l.Over, []string{"country"}) || l.Parts.Active != 1 || !l.Oldest.Equal(a.now.AddDate(0, 0, -800)) {
			t.Errorf("%+v", l)
		}
		var text bytes.Buffer
		if err := r.Write(&text); err != nil || !strings.Contains(text.String(), "country") || !strings.Contains(text.String(), "breach at ") {
			t.Errorf("%v\n%s", err, text.String())
		}
		a.enforce()
		a.wants()
		if n := a.count("SELECT count() FROM events"); n != 1 {
			t.Errorf("%d rows are left, want the fresh one", n)
		}
	})

	t.Run("a column that expired and was not merged", func(t *testing.T) {
		a.search(400, inForce, permitted)
		r := a.wants("events pseudonym", "events search_keyword")
		if l := line(t, r, "events", "pseudonym", 395); !slices.Equal(l.Over, []string{"visitor_id"}) || l.Parts.Active != 1 {
			t.Errorf("%+v", l)
		}
		a.enforce()
		a.wants()
		if n := a.count("SELECT count() FROM events WHERE country = 'JP' AND visitor_id = 0 AND search_query = ''"); n != 1 {
			t.Errorf("%d rows kept what they may keep", n)
		}
	})

	t.Run("a part that somebody took out", func(t *testing.T) {
		a.search(500, inForce, permitted)
		a.search(2, inForce, permitted)
		for _, daysAgo := range []int{500, 2} {
			a.exec("ALTER TABLE events DETACH PARTITION ID '" + a.now.AddDate(0, 0, -daysAgo).Format("200601") + "'")
		}
		r := a.wants("events pseudonym", "events search_keyword")
		l := line(t, r, "events", "search_keyword", 0)
		if l.Parts.Detached != 1 || len(l.Over) != 1 || !strings.HasPrefix(l.Over[0], a.now.AddDate(0, 0, -500).Format("200601")) {
			t.Errorf("%+v", l)
		}
		a.enforce() // expiry does not reach it
		a.wants("events pseudonym", "events search_keyword")
		dropped, err := retention.DropDetached(t.Context(), a, a.policies, a.now)
		if err != nil || !slices.Equal(dropped, l.Over) {
			t.Errorf("dropped %v, %v; want %v", dropped, err, l.Over)
		}
		a.wants()
		if n := a.count("SELECT count() FROM system.detached_parts WHERE database = currentDatabase()"); n == 0 {
			t.Error("a part within its limits was dropped as well")
		}
	})

	t.Run("a record", func(t *testing.T) {
		old := []time.Time{a.now.AddDate(0, 0, -1100)}
		a.insert("consent_acts", clickhouse.Column{Name: "site", Values: []string{"shop"}}, clickhouse.Column{Name: "time", Values: old},
			clickhouse.Column{Name: "state", Values: []string{"granted"}})
		a.insert("consent_masks", clickhouse.Column{Name: "site", Values: []string{"shop"}}, clickhouse.Column{Name: "denied_at", Values: []time.Time{a.now.AddDate(0, 0, -760)}})
		r := a.wants("consent_acts record", "consent_masks record")
		if l := line(t, r, "consent_acts", "record", 1095); l.Parts.Active != 1 || !l.Oldest.Equal(old[0]) {
			t.Errorf("%+v", l)
		}
		a.enforce()
		a.wants()
	})

	t.Run("a table that nobody gave an end", func(t *testing.T) {
		a.exec("CREATE TABLE stray (id UInt64) ENGINE = MergeTree ORDER BY id")
		a.wants("stray")
		a.exec("DROP TABLE stray SYNC")
		a.wants()
	})
}

func TestAReplacedPartThatStaysOnDiskIsABreach(t *testing.T) {
	a := newArchive(t)
	a.exec("SYSTEM STOP CLEANUP events")
	a.search(400, inForce, permitted)
	a.search(800, inForce, permitted)
	a.enforce()
	r := a.wants() // the engine is about to delete them
	for _, category := range []string{"search_keyword", "usage_environment"} {
		if l := line(t, r, "events", category, 0); l.Parts.Inactive == 0 || l.Parts.Active != 0 || l.Detail == "" {
			t.Errorf("%s: %+v, %s", category, l.Parts, l.Detail)
		}
	}
	a.now = a.now.Add(time.Hour)
	a.wants("events ad_view_history", "events operation_log", "events page_view_history", "events pseudonym", "events pseudonym", "events purchased_item",
		"events record", "events search_keyword", "events usage_environment", "events usage_method", "events usage_time")
}

func TestTheEngineExpiresBeforeTheLimit(t *testing.T) {
	a := newArchive(t)
	hoursBefore := func(days int, visitor uint64) {
		t.Helper()
		a.insert("events", clickhouse.Column{Name: "site", Values: []string{"shop"}}, clickhouse.Column{Name: "policy", Values: []string{inForce}},
			clickhouse.Column{Name: "time", Values: []time.Time{a.now.Add(-time.Duration(days)*24*time.Hour + 2*time.Hour)}},
			clickhouse.Column{Name: "type", Values: []string{"search"}}, clickhouse.Column{Name: "purposes", Values: []uint32{1}},
			clickhouse.Column{Name: "visitor_id", Values: []uint64{visitor}})
	}
	hoursBefore(395, 7)
	a.wants()
	if n, err := retention.Enforce(t.Context(), a, a.now); err != nil || n != 0 {
		t.Errorf("%d partitions were rewritten before their limit, %v", n, err)
	}
	hoursBefore(750, 0)
	a.wants()
	a.exec("SYSTEM START TTL MERGES events")
	a.exec("OPTIMIZE TABLE events FINAL")
	if n := a.count("SELECT count() FROM events"); n != 1 {
		t.Errorf("%d rows are left", n)
	}
	if n := a.count("SELECT count() FROM events WHERE visitor_id != 0"); n != 0 {
		t.Errorf("%d rows carry a pseudonym", n)
	}
	a.wants()
}

func TestAPeriodThatAPolicyMakesLongerHolds(t *testing.T) {
	a := newArchive(t)
	has := func() uint64 {
		return a.count("SELECT countMatches(splitByString(') ENGINE', create_table_query)[1], '`(path|item_price)` [^`]*TTL') FROM system.tables WHERE name = 'events'")
	}
	if has() != 0 {
		t.Fatal("the columns expire by themselves already")
	}
	a.exec("ALTER TABLE events MODIFY COLUMN path TTL toDateTime(time) + INTERVAL 10 DAY")
	a.exec("ALTER TABLE events MODIFY COLUMN item_price TTL toDateTime(time) + INTERVAL 10 DAY")
	if has() != 2 {
		t.Fatal("the columns do not expire by themselves")
	}
	if err := retention.Apply(t.Context(), a, a.policies, a.now, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if has() != 0 {
		t.Error("a column goes on expiring by a policy that is no longer in force")
	}
}

func TestRowsWithoutAPurposeAreDisposedOf(t *testing.T) {
	a := newArchive(t)
	a.search(1, inForce, permitted)
	a.search(2, "default/2019-10-15", permitted) // an older version's purpose that is still in force
	a.search(3, inForce, 0)                      // every purpose taken back
	a.search(4, inForce, 1<<31)                  // its purpose is in force no more
	a.search(5, inForce, 1<<31|permitted)        // one of two is
	a.search(6, "another/2020-01-01", permitted) // nobody knows its policy
	r := a.wants("events without a purpose")
	if l := line(t, r, "events", "without a purpose", 0); !strings.Contains(l.Detail, "1 rows without a purpose, 1 whose") || !strings.Contains(l.Detail, "1 of a policy") {
		t.Errorf("%+v", l)
	}
	d, err := retention.Dispose(t.Context(), a, a.policies, a.now)
	if err != nil || d != (retention.Disposal{Purposeless: 1, Retired: 1, Unknown: 1}) {
		t.Errorf("%+v, %v", d, err)
	}
	if n := a.count("SELECT count() FROM events"); n != 4 {
		t.Errorf("%d rows are left of the 4 to keep", n)
	}
	if n := a.count("SELECT count() FROM events WHERE purposes IN (0, 2147483648)"); n != 0 {
		t.Errorf("%d rows without a purpose are left", n)
	}
	a.wants("events without a purpose") // the stranger: a person decides
	a.exec("ALTER TABLE events DELETE WHERE startsWith(policy, 'another/') SETTINGS mutations_sync = 2")
	if d, err := retention.Dispose(t.Context(), a, a.policies, a.now); err != nil || d != (retention.Disposal{}) {
		t.Errorf("once more: %+v, %v", d, err)
	}
	a.wants()
}

func TestPseudonymsOfATimeAreGoneOrNot(t *testing.T) {
	a := newArchive(t)
	a.search(400, inForce, permitted)
	clear := func(daysAgo int) bool {
		t.Helper()
		ok, err := retention.Clear(t.Context(), a, a.now.AddDate(0, 0, -daysAgo))
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !clear(401) || clear(399) {
		t.Error("the row of 400 days ago counts on the wrong side")
	}
	a.enforce()
	if !clear(399) {
		t.Error("the row has no pseudonym any more")
	}
}

func TestATopicForgetsWithinItsTime(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		cluster, err := kafka.Open(kafka.Config{Brokers: []string{addr}, Logger: testkit.Logger(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		admin := kafka.NewAdmin(cluster)
		topic := kafka.Topic{Name: "forgetting", Partitions: 1, ReplicationFactor: 1, Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}}
		if err := admin.EnsureTopics(t.Context(), []kafka.Topic{topic}); err != nil {
			t.Fatal(err)
		}
		p, err := kafka.NewProducer(cluster, kafka.ProducerConfig{Topic: topic.Name})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close(context.Background()) }()
		now := time.Now()
		for _, age := range []time.Duration{8 * 24 * time.Hour, time.Hour} {
			if err := p.Produce(t.Context(), []kafka.Message{{Value: []byte("sealed"), Time: now.Add(-age)}}); err != nil {
				t.Fatal(err)
			}
		}
		db := testkit.ClickHouse(t)
		policies, err := policy.Builtin()
		if err != nil {
			t.Fatal(err)
		}
		const whole = 7 * 24 * time.Hour
		if got := retention.SealedPeriod(policies, now); got != whole {
			t.Errorf("what is sealed may stay %v", got)
		}
		limit, letters := retention.Shares(whole)
		if limit+letters > whole || limit < whole/2 {
			t.Errorf("the shares are %v and %v of %v", limit, letters, whole)
		}
		look := func() retention.Line {
			t.Helper()
			state := retention.TopicState{Name: topic.Name, Limit: limit}
			if state.Oldest, err = admin.Oldest(t.Context(), topic.Name); err != nil {
				t.Fatal(err)
			}
			if state.Settings, err = admin.Settings(t.Context(), topic.Name, "cleanup.policy", "retention.ms", "segment.ms"); err != nil {
				t.Fatal(err)
			}
			r, err := retention.Inspect(t.Context(), db, policies, []retention.TopicState{state}, nil, now)
			if err != nil {
				t.Fatal(err)
			}
			return line(t, r, topic.Name, "sealed", 4)
		}
		if l := look(); l.Verdict != retention.Breach || l.Detail == "" || !slices.Equal(l.Over, []string{topic.Name}) {
			t.Errorf("a topic that never forgets: %+v", l)
		}
		topic.Config = retention.Topic(limit)
		if held, ok := retention.Held(topic.Config); !ok || held >= limit {
			t.Errorf("it holds a record for %v of %v", held, limit)
		}
		if err := admin.EnsureTopics(t.Context(), []kafka.Topic{topic}); err != nil {
			t.Fatal(err)
		}
		// Apache Kafka deletes whole segments; the old record's ends with the next record that comes.
		if err := p.Produce(t.Context(), []kafka.Message{{Value: []byte("sealed"), Time: time.Now()}}); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 30*time.Second, func() bool { return look().Verdict == retention.OK })
	})
}

func TestAKeyPastItsDateIsABreach(t *testing.T) {
	db := testkit.ClickHouse(t)
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	keys := []retention.KeyState{
		{Kind: "pseudonym", Epoch: "2025-01", Until: now.Add(-time.Hour)},
		{Kind: "pseudonym", Epoch: "2026-07", Until: now.AddDate(1, 0, 0)},
		{Kind: "seal", Epoch: "202611"},
		{Kind: "cookieless", Epoch: "shop/2026-11-24", Until: now.Add(-time.Minute)}, // its minute is not over
	}
	r, err := retention.Inspect(t.Context(), db, policies, nil, keys, now)
	if err != nil {
		t.Fatal(err)
	}
	if got := breaches(r); !slices.Equal(got, []string{"pseudonym"}) {
		t.Errorf("in breach: %q", got)
	}
	if l := line(t, r, "pseudonym", "", 0); !slices.Equal(l.Over, []string{"2025-01"}) || l.Detail != "keys: 2" {
		t.Errorf("%+v", l)
	}
}

func TestATopicOfObjectionsHasNoLimit(t *testing.T) {
	db := testkit.ClickHouse(t)
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r, err := retention.Inspect(t.Context(), db, policies, []retention.TopicState{{Name: "consent", Lasting: "it keeps objections", Oldest: now.AddDate(-9, 0, 0)}}, nil, now)
	if err != nil || r.Verdict != retention.OK {
		t.Errorf("%+v, %v", r, err)
	}
	// A topic whose limit is not known is not one without a limit.
	r, err = retention.Inspect(t.Context(), db, policies, []retention.TopicState{{Name: "events", Oldest: now.Add(-time.Minute)}}, nil, now)
	if err != nil || r.Verdict != retention.Breach {
		t.Errorf("%+v, %v", r, err)
	}
}
