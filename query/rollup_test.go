package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/rollup"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/subject"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
)

// summed are the reports of which sums are kept.
var summed = []string{
	"overview", "timeseries", "timeseries?interval=hour", "timeseries?interval=week", "timeseries?interval=month", "pages", "entries",
	"sources", "channels", "referrers", "campaigns", "locations", "regions", "countries", "languages", "devices", "browsers", "systems",
	"operations", "searches", "ads", "orders", "purchases",
}

// bench has two query services over one database, of which one reads the events and the other one sums where it can, and
// the maintainer of the sums.
type bench struct {
	t           *testing.T
	db          *clickhouse.DB
	events, sum *desk
	keeper      *rollup.Maintainer
	now         time.Time
	batches     int
	purposes    []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, db: testkit.ClickHouse(t), now: noon, purposes: []string{"usage_based_development"}}
	b.events = newDeskOf(t, b.db, query.Config{Threshold: 2, FineThreshold: 2, Raw: true})
	b.sum = newDeskOf(t, b.db, query.Config{Threshold: 2, FineThreshold: 2, Few: 1})
	for _, d := range []*desk{b.events, b.sum} {
		d.key = d.create([]string{"usage_based_development", "customer_support"}, "shop", "other")
	}
	registry, err := site.Parse([]byte(sites))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	b.keeper = b.newKeeper(b.db, registry, policies)
	return b
}

func (b *bench) newKeeper(db rollup.Writer, registry *site.Registry, policies *policy.Register) *rollup.Maintainer {
	return &rollup.Maintainer{
		DB: db, Sites: registry, Policies: policies, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now }, Few: 1,
	}
}

// add stores facts of a site, however often.
func (b *bench) add(siteID string, f *facts) {
	b.t.Helper()
	b.batches++
	spare := fmt.Sprint("spare", b.batches)
	f.store(b.t, b.db, spare)
	for _, table := range []string{"events", "consent_masks"} {
		b.exec("INSERT INTO " + table + " SELECT * REPLACE('" + siteID + "' AS site) FROM (SELECT * FROM " + table + " WHERE site = '" + spare + "')")
	}
}

func (b *bench) exec(sql string) {
	b.t.Helper()
	if err := b.db.Exec(b.t.Context(), sql); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

func (b *bench) count(sql string) (n uint64) {
	b.t.Helper()
	if err := clickhouse.One(b.t.Context(), b.db, sql, nil, &n); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// turn builds what is due, a minute later, and leaves nothing due.
func (b *bench) turn() (built int) {
	b.t.Helper()
	b.now = b.now.Add(time.Minute)
	for {
		n, left, err := b.keeper.Turn(b.t.Context())
		if built += n; err != nil {
			b.t.Fatal(err)
		}
		if left == 0 {
			return built
		}
	}
}

const whole = "from=2026-10-29&to=2026-11-05"

// told is an answer without what tells of its making.
func (b *bench) told(d *desk, path string) (status int, answer query.Answer, text string) {
	b.t.Helper()
	status, text = d.get(d.key, path)
	if status == http.StatusOK {
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			b.t.Fatal(err)
		}
		said, err := json.Marshal([]any{answer.Rows, answer.Suppressed, answer.Coverage, answer.Truncated})
		if err != nil {
			b.t.Fatal(err)
		}
		text = string(said)
	}
	return status, answer, text
}

// equal asks both services for everything, and requires the same answers.
func (b *bench) equal(when, siteID, period string) {
	b.t.Helper()
	shown := 0
	for _, purpose := range b.purposes {
		for _, report := range summed {
			path := "/v1/reports/" + report + "?"
			if strings.Contains(report, "?") {
				path = "/v1/reports/" + report + "&"
			}
			path += "limit=1000&site=" + siteID + "&purpose=" + purpose + "&" + period
			status, answer, want := b.told(b.events, path)
			got, _, have := b.told(b.sum, path)
			if got != status || have != want {
				b.t.Errorf("%s: %s: from sums %d %s\nfrom events %d %s", when, path, got, have, status, want)
			}
			shown += len(answer.Rows)
		}
	}
	if shown < 60 {
		b.t.Fatalf("%s: %d rows are compared, which proves nothing", when, shown)
	}
}

// from tells what a report is read from.
func (b *bench) from(report, more string) query.Explanation {
	b.t.Helper()
	var e query.Explanation
	status, body := b.sum.get(b.sum.key, "/v1/reports/"+report+"?explain=true&purpose=usage_based_development&"+more)
	if err := json.Unmarshal([]byte(body), &e); err != nil || status != http.StatusOK {
		b.t.Fatalf("explain: %d %s", status, body)
	}
	return e
}

func (b *bench) reads(when, siteID, source, why string) {
	b.t.Helper()
	for _, report := range []string{"overview", "pages", "orders"} {
		if e := b.from(report, "site="+siteID+"&"+whole); e.Source != source || !strings.Contains(e.Why, why) {
			b.t.Errorf("%s: %s is read from %s (%s), want %s (%s)", when, report, e.Source, e.Why, source, why)
		}
	}
}

// overnight are visitors at midnight: a cookieless session and a signed-in one that run on into the next day, and one
// that has nothing to say on its first day.
func overnight(day time.Time, seed uint64) *facts {
	f := &facts{}
	r := rand.New(rand.NewPCG(seed, 1))
	both := uint32(1<<bitSupport | 1<<bitDevelopment)
	for v := range uint64(12) {
		base := event{
			linkage: pick(r, "cookieless", "cookieless", "account"), visitor: seed<<32 | v | 1<<20, session: r.Uint64() | 1, host: "shop.example", purposes: both,
			country: "JP", region: "Tokyo", class: "mobile", browser: "Safari", os: "iOS", results: -1, channel: "search", source: "Google",
		}
		for n := range 4 + r.IntN(5) {
			e := base
			e.id = seed<<40 | v<<20 | uint64(n)
			e.at = day.Add(time.Duration(r.IntN(3600)-1800) * time.Second)
			e.received, e.kind, e.path = e.at.Truncate(time.Second), pick(r, "page_view", "page_view", "operation", "engagement", "search"), pick(r, "/", "/list")
			if e.kind == "search" {
				e.query, e.results = "tea", 0
			}
			if base.linkage == "account" && n > 2 {
				e.account, e.device = 900+v%3, 800+v
			}
			f.events = append(f.events, e)
		}
	}
	return f
}

func TestSumsAreTheEventsSums(t *testing.T) {
	b := newBench(t)
	all := makeFacts()
	cut := len(all.events) * 9 / 10
	late := &facts{events: slices.Clone(all.events[cut:])}
	early := &facts{events: all.events[:cut], masks: all.masks[:3]}
	b.add("shop", early)
	b.add("other", &facts{events: slices.DeleteFunc(slices.Clone(early.events), func(e event) bool { return e.at.After(early.events[0].at.AddDate(0, 0, 3)) })})
	for n := range 4 { // midnights of New York, over the end of daylight saving, and of Tokyo
		b.add("shop", overnight(time.Date(2026, 10, 31+n, 0, 0, 0, 0, location), uint64(10+n)))
		b.add("other", overnight(time.Date(2026, 10, 29+n, 15, 0, 0, 0, time.UTC), uint64(20+n)))
	}
	b.reads("before any build", "shop", "raw", "not_built")
	b.equal("before any build", "shop", whole)
	b.equal("before any build", "other", whole)
	if n := b.turn(); n < 8+4 {
		t.Fatalf("%d days were built", n)
	}
	for _, siteID := range []string{"shop", "other"} {
		b.reads("built", siteID, "rollup", "sums are kept by day")
		b.equal("built", siteID, whole)
	}
	b.equal("a part of it", "shop", "from=2026-10-31&to=2026-11-03&compare=previous_period")
	b.equal("filtered by columns of the answer", "shop", whole+"&filter=country:JP&filter=!region:Osaka")

	t.Run("late events", func(t *testing.T) {
		b.t = t
		b.add("shop", &facts{events: slices.DeleteFunc(slices.Clone(late.events), func(e event) bool { return e.at.In(location).Day() != 30 })})
		b.reads("a day has late events", "shop", "mixed", "changed")
		b.equal("a day has late events", "shop", whole)
		b.add("shop", late) // some of them once more: two events that are the same in everything are two rows here as there
		b.equal("all days have late events", "shop", whole)
		b.turn()
		b.reads("late events built", "shop", "rollup", "")
		b.equal("late events built", "shop", whole)
		if n := b.turn(); n != 0 {
			t.Errorf("%d days are built though nothing changed", n)
		}
	})
	t.Run("withdrawals", func(t *testing.T) {
		b.t = t
		b.add("shop", &facts{masks: []mask{{1012, bitDevelopment, noon}}})
		b.equal("a visitor withdrew", "shop", whole)
		b.add("shop", &facts{masks: all.masks[3:]})
		if e := b.from("overview", "site=shop&"+whole); e.Source == "rollup" {
			t.Error("an answer would tell of who withdrew")
		}
		b.equal("withdrawn", "shop", whole)
		b.turn()
		b.reads("withdrawals built", "shop", "rollup", "")
		b.equal("withdrawals built", "shop", whole)
		b.add("shop", &facts{masks: []mask{{424242, bitDevelopment, noon}}})
		b.reads("somebody withdrew who is in no day", "shop", "rollup", "")
	})
	t.Run("folded withdrawals", func(t *testing.T) {
		b.t = t
		fold := &subject.Fold{
			DB: b.db, Entries: nowhere{}, Salter: saltless{}, Now: time.Now, Purpose: func(string, core.Purpose) string { return "purpose" },
		}
		if done, err := fold.TurnAll(t.Context()); err != nil || done.Rows == 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		b.equal("folded", "shop", whole)
		b.turn()
		b.reads("folded and built", "shop", "rollup", "")
		b.equal("folded and built", "shop", whole)
	})
	t.Run("erasure", func(t *testing.T) {
		b.t = t
		who := "(visitor_id = 1007 OR visitor_id = 1017)"
		if b.count("SELECT count() FROM events WHERE site = 'shop' AND "+who) == 0 || b.count("SELECT count() FROM rollup_subjects WHERE site = 'shop' AND subject = 1007") != 1 {
			t.Fatal("there is nobody to erase")
		}
		b.exec("ALTER TABLE events DELETE WHERE site = 'shop' AND " + who + " SETTINGS mutations_sync = 2")
		b.equal("erased", "shop", whole)
		before := b.now.Add(time.Minute).UnixMicro()
		for range 4 { // builds that an answer may still be reading go a little later
			b.turn()
		}
		b.reads("erased and built", "shop", "rollup", "")
		b.equal("erased and built", "shop", whole)
		if n := b.count(fmt.Sprintf("SELECT count() FROM rollup_cells WHERE site = 'shop' AND build < %d AND (site, policy, bit, day, build) NOT IN (SELECT site, policy, bit, day, max(build) FROM rollup_days GROUP BY site, policy, bit, day)", before)); n != 0 {
			t.Errorf("%d cells of builds before the erasure are left", n)
		}
		if n := b.count("SELECT count() FROM rollup_subjects WHERE site = 'shop' AND subject IN (1007, 1017)"); n != 0 {
			t.Error("who was erased still has a number")
		}
	})
	t.Run("a build that is broken off", func(t *testing.T) {
		b.t = t
		b.add("shop", &facts{events: slices.Clone(late.events)})
		whole := *b.keeper
		b.keeper.DB = broken{b.db}
		if _, _, err := b.keeper.Turn(t.Context()); !errors.Is(err, errBroken) {
			t.Fatalf("the build was not broken off: %v", err)
		}
		b.equal("broken off", "shop", "from=2026-10-29&to=2026-11-05")
		b.keeper = &whole
		b.turn()
		b.reads("done again", "shop", "rollup", "")
		b.equal("done again", "shop", "from=2026-10-29&to=2026-11-05")
	})
}

// nowhere is a topic whose entries nobody asks for.
type nowhere struct{}

func (nowhere) Produce(context.Context, []kafka.Message) error { return nil }

type saltless struct{}

func (saltless) Salt(...string) [32]byte { return [32]byte{} }

var errBroken = errors.New("the power went")

// broken ends before a build is put in force.
type broken struct{ *clickhouse.DB }

func (b broken) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	if table == "rollup_days" {
		return errBroken
	}
	return b.DB.Insert(ctx, table, token, columns)
}

func TestOnlyWhatTheSumsHoldIsReadFromThem(t *testing.T) {
	b := newBench(t)
	b.add("shop", makeFacts())
	b.equal("read", "shop", whole)
	b.turn()
	for name, tc := range map[string]struct{ report, more, source, why string }{
		"all days":              {"devices", whole, "rollup", "sums are kept by day"},
		"a column of the rows":  {"devices", whole + "&filter=device:mobile", "rollup", ""},
		"another column":        {"devices", whole + "&filter=country:JP", "raw", "a filter picks among the events"},
		"a sample":              {"devices", whole + "&sample=0.5", "raw", "sample"},
		"hours of a day":        {"devices", "from=2026-10-29T05:00:00Z&to=2026-11-05", "raw", "midnight"},
		"no sums of the report": {"titles", whole, "raw", "no sums are kept"},
		"a filter of one part":  {"overview", whole + "&filter=currency:JPY", "mixed", ""},
		"a report of records":   {"consent", whole, "raw", ""},
	} {
		if e := b.from(tc.report, "site=shop&"+tc.more); e.Source != tc.source || !strings.Contains(e.Why, tc.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", name, e.Source, e.Why, tc.source, tc.why)
		}
	}
	few := newDesk(t, b.db)
	if status, body := few.get(few.key, "/v1/reports/devices?explain=true&site=shop&purpose=usage_based_development&"+whole); status != http.StatusOK ||
		!strings.Contains(body, `"source":"raw"`) || !strings.Contains(body, "few events") {
		t.Errorf("few events are not read as they are: %s", body)
	}
}
