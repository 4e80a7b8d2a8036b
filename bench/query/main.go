// Command query measures the query service on generated events, each figure against a reference of the same run: reports
// from sums by day against the same reports from the events, those against the same SQL given straight to the engine,
// the overview page, and many callers at once.
//
//	go run ./bench/query -events 50000000 -days 30
//
// It starts the engine and the service in a directory of its own, on loopback, and removes it afterwards.
package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/embedded/chdb"
	"github.com/sekisho/sekisho/internal/fetch"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/rollup"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/query"
	"github.com/sekisho/sekisho/query/access"
	"github.com/sekisho/sekisho/schemas"
)

const (
	engineChild = "SEKISHO_BENCH_ENGINE_CHILD"
	siteID      = "bench"
	purpose     = "usage_based_development"
	// memory is what one statement may take. 50 million events at once are more than a service allows by default.
	memory = 10 << 30
)

type options struct {
	events  int
	days    int
	rounds  int
	keep    string
	callers int
	load    time.Duration
}

func main() {
	if os.Getenv(engineChild) != "" {
		if err := chdb.RunChild(slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, "engine:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.events, "events", 50_000_000, "events to generate, about")
	flag.IntVar(&o.days, "days", 30, "days, all over, that they are spread over")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each measurement; the median counts")
	flag.StringVar(&o.keep, "keep", "", "directory to keep the data in, and to find it in again; empty: a temporary one")
	flag.IntVar(&o.callers, "callers", 8, "callers at once in the load test")
	flag.DurationVar(&o.load, "load", 10*time.Second, "length of the load test")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench query:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "sekisho-bench-query-*"); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	h, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close(context.WithoutCancel(ctx))) }()
	if err := h.generate(ctx, o); err != nil {
		return err
	}
	if err := h.build(ctx, o); err != nil {
		return err
	}
	m := &measurement{house: h, options: o}
	return m.all(ctx)
}

// house is an engine with the service before it.
type house struct {
	dir      string
	engine   *chdb.Engine
	db       *clickhouse.DB
	sites    *site.Registry
	policies *policy.Register
	location *time.Location
}

func open(ctx context.Context, dir string) (*house, error) {
	library, err := fetch.Library(ctx, fetch.CacheDir(), os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	h := &house{dir: dir}
	if h.policies, err = policy.Builtin(); err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	h.sites, err = site.Parse([]byte("sites:\n  - {id: " + siteID + ", name: Bench, time_zone: Asia/Tokyo, jurisdiction: jp, policy: default, origins: [\"http://localhost:8090\"]}\n"))
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	where, _ := h.sites.Get(siteID)
	h.location = where.Location
	data := filepath.Join(dir, "clickhouse")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	h.engine, err = chdb.Start(ctx, chdb.Config{
		Library: library, DataDir: data, Addr: "127.0.0.1:0", Memory: memory + 2<<30, Command: []string{"env", engineChild + "=1", self},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	if h.db, err = clickhouse.Open(ctx, h.engine.DSN()); err != nil {
		return nil, errors.Join(err, h.engine.Stop(ctx))
	}
	migrations, err := fs.Sub(schemas.ClickHouse, "clickhouse")
	if err == nil {
		err = h.db.Migrate(ctx, migrations, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		return nil, errors.Join(err, h.close(ctx))
	}
	return h, nil
}

func (h *house) close(ctx context.Context) error {
	return errors.Join(h.db.Close(), h.engine.Stop(ctx))
}

// midnight is when a day begins, counted from the first generated one. All are over.
func (h *house) midnight(o options, day int) time.Time {
	now := time.Now().In(h.location)
	return time.Date(now.Year(), now.Month(), now.Day()-o.days+day, 0, 0, 0, 0, h.location)
}

func (h *house) count(ctx context.Context, sql string) (n uint64, err error) {
	err = clickhouse.One(ctx, h.db, sql, nil, &n)
	return n, err
}

//go:embed generate.sql
var generateSQL string

// generate stores the events, a day at a time, unless they are there.
func (h *house) generate(ctx context.Context, o options) error {
	there, err := h.count(ctx, "SELECT count() FROM events")
	if err != nil {
		return fmt.Errorf("generate events: %w", err)
	}
	began := time.Now()
	for day := range o.days {
		if there > 0 {
			break
		}
		sql := strings.NewReplacer(
			"{day}", strconv.Itoa(day), "{midnight}", strconv.FormatInt(h.midnight(o, day).UnixMilli(), 10),
			"{sessions}", strconv.Itoa(o.events*8/63/o.days), "{visitors}", strconv.Itoa(max(o.events/25, 1000)),
		).Replace(generateSQL)
		if err := h.db.Exec(ctx, sql); err != nil {
			return fmt.Errorf("generate events: %w", err)
		}
	}
	if there == 0 { // some withdrew since
		err := h.db.Exec(ctx, `INSERT INTO consent_masks (site, purpose, subject, denied_at)
			SELECT 'bench', 10, visitor_id, max(time) FROM events WHERE visitor_id % 10007 = 0 GROUP BY visitor_id LIMIT 100`)
		if err != nil {
			return fmt.Errorf("generate withdrawals: %w", err)
		}
	}
	for _, line := range []struct{ what, sql string }{
		{"events", "SELECT count() FROM events"},
		{"bytes an event on disk", "SELECT toUInt64(sum(bytes_on_disk) / sum(rows)) FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active"},
		{"parts", "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active"},
		{"of which the marks, bytes in a thousand events", "SELECT toUInt64(1000 * sum(bytes_on_disk) / sum(parent_rows)) FROM system.projection_parts WHERE database = currentDatabase() AND table = 'events' AND active"},
		{"of which the index of identities, bytes in a thousand events", "SELECT toUInt64(1000 * any(data_compressed_bytes) / (SELECT count() FROM events)) FROM system.data_skipping_indices WHERE database = currentDatabase() AND table = 'events' AND name = 'identities'"},
	} {
		n, err := h.count(ctx, line.sql)
		if err != nil {
			return fmt.Errorf("describe events: %w", err)
		}
		fmt.Printf("%-64s %d\n", line.what, n)
	}
	fmt.Printf("%-64s %.0f s\n\n", "generated in", time.Since(began).Seconds())
	return nil
}

// build builds the sums of every day, unless they are there.
func (h *house) build(ctx context.Context, o options) error {
	there, err := h.count(ctx, "SELECT uniqExact(day) FROM rollup_days")
	if err != nil {
		return fmt.Errorf("build sums: %w", err)
	}
	began := time.Now()
	m := &rollup.Maintainer{DB: h.db, Sites: h.sites, Policies: h.policies, Logger: slog.New(slog.DiscardHandler), Now: time.Now}
	for day := range o.days {
		if int(there) >= o.days { //nolint:gosec // G115: a number of days
			break
		}
		if err := m.Rebuild(ctx, siteID, h.midnight(o, day), purpose); err != nil {
			return fmt.Errorf("build sums: %w", err)
		}
	}
	took := time.Since(began).Seconds()
	cells, err := h.count(ctx, "SELECT count() FROM rollup_cells")
	if err != nil {
		return fmt.Errorf("build sums: %w", err)
	}
	bytes, err := h.count(ctx, "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND table LIKE 'rollup_%' AND active")
	if err != nil {
		return fmt.Errorf("build sums: %w", err)
	}
	fmt.Printf("sums of %d days for one purpose: built in %.0f s, %.1f s a day; %d cells, %d MB\n\n", o.days, took, took/float64(o.days), cells, bytes>>20)
	return nil
}

// service is a query service on loopback, with a record of what it asked the engine.
type service struct {
	url, key string
	store    *recorder
	stop     func()
}

// serve starts a service with a configuration.
func (h *house) serve(ctx context.Context, name string, config query.Config) (*service, error) {
	dir := filepath.Join(h.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	s := &service{store: &recorder{DB: h.db}}
	config.Grants, config.Memory, config.Timeout = filepath.Join(dir, "grants.json"), memory, 5*time.Minute
	var err error
	s.key, err = access.CreateKey(config.Grants, "bench", access.Grant{Roles: []access.Role{access.Analyst}, Purposes: []string{purpose}, Sites: []string{siteID}}, rand.Reader, time.Now())
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	if !config.Exact {
		config.NoiseKey = filepath.Join(dir, "noise.key")
	}
	q, err := query.New(config, query.Deps{
		Store: s.store, Sites: h.sites, Policies: h.policies, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Metrics: prometheus.NewRegistry(), Random: rand.Reader, Now: time.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	server := &http.Server{Handler: q.Handler(), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until it is closed
	}()
	s.url, s.stop = "http://"+listener.Addr().String(), func() { _ = server.Close(); <-done }
	return s, nil
}
