package clickhouse_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(m.Run())
}

func count(t *testing.T, db *clickhouse.DB, sql string) (n uint64) {
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

func masks(n int) []clickhouse.Column {
	sites, purposes, subjects, times := make([]string, n), make([]uint8, n), make([]uint64, n), make([]time.Time, n)
	for i := range n {
		sites[i], purposes[i], subjects[i], times[i] = "shop", uint8(i%13), uint64(i), time.UnixMicro(1_795_000_000_000_000+int64(i)).UTC()
	}
	return []clickhouse.Column{{Name: "site", Values: sites}, {Name: "purpose", Values: purposes}, {Name: "subject", Values: subjects}, {Name: "denied_at", Values: times}}
}

func TestTheEmbeddedEngineServesTheDriver(t *testing.T) {
	db := testkit.ClickHouse(t)

	t.Run("every stored column names its data category", func(t *testing.T) {
		var columns int
		err := db.Select(t.Context(), `SELECT table, name, comment FROM system.columns
			WHERE database = currentDatabase() AND table NOT LIKE 'goose%'`, nil, clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var table, name, comment string
				if err := rows.Scan(&table, &name, &comment); err != nil {
					return err
				}
				columns++
				if _, ok := core.ParseCategory(comment); !ok {
					t.Errorf("column %s.%s has category %q", table, name, comment)
				}
			}
			return nil
		})
		if err != nil || columns < 60 {
			t.Errorf("%d columns, %v", columns, err)
		}
	})

	t.Run("a batch with a known token changes nothing", func(t *testing.T) {
		for range 3 {
			if err := db.Insert(t.Context(), "consent_masks", "a/0/1-2", masks(50_000)); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, db, "SELECT count() FROM consent_masks"); n != 50_000 {
			t.Errorf("%d rows", n)
		}
		if err := db.Insert(t.Context(), "consent_masks", "a/0/2-3", masks(10)); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db, "SELECT count() FROM consent_masks"); n != 50_010 {
			t.Errorf("%d rows", n)
		}
	})

	t.Run("parameters are bound, not pasted", func(t *testing.T) {
		var got string
		evil := `'; DROP TABLE events; --`
		err := db.Select(t.Context(), "SELECT {x:String}", map[string]string{"x": evil}, clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				if err := rows.Scan(&got); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || got != evil {
			t.Errorf("%q, %v", got, err)
		}
	})

	t.Run("an exception is typed and quotes nothing", func(t *testing.T) {
		err := db.Exec(t.Context(), "SELECT throwIf(1, 'taro.canary@example.jp')")
		if err == nil || strings.Contains(err.Error(), "canary") || core.IsRetryable(err) {
			t.Errorf("error %v", err)
		}
		err = db.Select(t.Context(), "SELECT sleepEachRow(1) FROM numbers(100)", nil, clickhouse.Limits{Time: time.Second},
			func(rows clickhouse.Rows) error {
				for rows.Next() {
				}
				return nil
			})
		if !core.IsRetryable(err) {
			t.Errorf("a read over its time: %v", err)
		}
	})
}

func TestTheEmbeddedEngineAnswersOnlyItsOwner(t *testing.T) {
	engine := testkit.Engine(t, t.TempDir())
	owner, err := url.Parse(engine.DSN())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		user *url.Userinfo
		want int
	}{
		"nobody": {nil, http.StatusForbidden}, "a stranger": {url.UserPassword("default", "guess"), http.StatusForbidden},
		"no password": {url.User("default"), http.StatusForbidden}, "its owner": {owner.User, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			to := url.URL{Scheme: "http", Host: owner.Host, Path: "/", User: tc.user}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to.String(), strings.NewReader("SELECT timezone()"))
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tc.want || (tc.want == http.StatusOK) != (string(body) == "UTC\n") {
				t.Errorf("status %d, body %q, %v", res.StatusCode, body, err)
			}
		})
	}
}

func TestAReadIsAbandonedWhenItsClientLeaves(t *testing.T) {
	db := testkit.Database(t, testkit.Engine(t, t.TempDir()))
	const long = "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)"
	running := func() uint64 {
		return count(t, db, "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sum(sip%'")
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		left <- db.Select(ctx, long, nil, clickhouse.Limits{}, func(clickhouse.Rows) error { return nil })
	}()
	testkit.Eventually(t, time.Minute, func() bool { return running() == 1 })
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	testkit.Eventually(t, time.Minute, func() bool { return running() == 0 })
}

func TestRaggedColumnsAreRefused(t *testing.T) {
	db := testkit.ClickHouse(t)
	columns := masks(3)
	columns[1].Values = []uint8{1}
	if err := db.Insert(t.Context(), "consent_masks", "r/0/1", columns); err == nil || core.IsRetryable(err) {
		t.Errorf("error %v", err)
	}
	if n := count(t, db, "SELECT count() FROM consent_masks"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestAnInsertThatBreaksOffLeavesNothing(t *testing.T) {
	engine := testkit.Engine(t, t.TempDir())
	db := testkit.Database(t, engine)
	if err := db.Exec(t.Context(), "CREATE TABLE t (x UInt64) ORDER BY x"); err != nil {
		t.Fatal(err)
	}
	body, w := io.Pipe()
	go func() {
		_, _ = w.Write([]byte(strings.Repeat("1\n", 1000)))
		_ = w.CloseWithError(errors.New("cut"))
	}()
	target := strings.TrimSuffix(engine.DSN(), "/default") + "/?query=INSERT+INTO+t+FORMAT+TSV"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, body)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
		t.Error("the request succeeded")
	}
	if n := count(t, db, "SELECT count() FROM t"); n != 0 {
		t.Errorf("%d rows of a broken insert", n)
	}
}

func TestAKilledEngineComesBackWithEveryAcknowledgedRow(t *testing.T) {
	engine := testkit.Engine(t, t.TempDir())
	db := testkit.Database(t, engine)
	acknowledged := uint64(0)
	for batch := range 12 {
		if batch%4 == 3 {
			if err := syscall.Kill(engine.PID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		token := "k/0/" + string(rune('a'+batch))
		testkit.Eventually(t, time.Minute, func() bool {
			err := db.Insert(t.Context(), "consent_masks", token, masks(1000))
			if err != nil && !core.IsRetryable(err) {
				t.Fatal(err)
			}
			return err == nil
		})
		acknowledged += 1000
	}
	if n := count(t, db, "SELECT count() FROM consent_masks"); n != acknowledged {
		t.Errorf("%d rows, %d acknowledged", n, acknowledged)
	}
}

// Whatever a value holds, the statement sees that value: neither an escape that it does not mean nor the end of it.
func TestABoundValueArrivesAsItIs(t *testing.T) {
	db := testkit.ClickHouse(t)
	for _, value := range []string{
		"", "plain", `\`, `a\`, `\\`, `\n`, `\t`, `\0`, `\N`, `\x41`, `a\_b\%`, "a\tb", "a\nb", "a\rb", "a\x00b", `'`, `\'`, "`", "{v:String}", "日本\\",
	} {
		var got string
		if err := clickhouse.One(t.Context(), db, "SELECT {v:String}", map[string]string{"v": value}, &got); err != nil || got != value {
			t.Errorf("%q arrives as %q, %v", value, got, err)
		}
	}
}
