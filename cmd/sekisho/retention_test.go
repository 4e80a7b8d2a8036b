package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/retention"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(m.Run())
}

// retaining is a house's retainer on real engines, with a key directory of its own.
func retaining(t *testing.T) (*retainer, *config.Config) {
	t.Helper()
	cfg := &config.Config{Data: filepath.Join(t.TempDir(), "data")}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.Kafka.Prefix, cfg.Kafka.Partitions, cfg.Kafka.Replication, cfg.Kafka.Retention = "test", 2, 1, 7*24*time.Hour
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := kafka.Open(kafka.Config{Brokers: []string{testkit.EmbeddedKafka(t)}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	e := &engines{cluster: cluster, db: testkit.ClickHouse(t)}
	if err := e.ensureTopics(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	if err := retention.Apply(t.Context(), e.db, policies, time.Now(), logger); err != nil {
		t.Fatal(err)
	}
	rotation, err := openKeys(t.Context(), cfg, e.db, policies, logger)
	if err != nil {
		t.Fatal(err)
	}
	return &retainer{cfg: cfg, engines: e, policies: policies, rotation: rotation, logger: logger}, cfg
}

// printed runs fn and returns what it wrote to the standard output.
func printed(t *testing.T, fn func() error) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdout
	os.Stdout = w
	text := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(r)
		text <- b
	}()
	err = fn()
	os.Stdout = before
	_ = w.Close()
	return string(<-text), err
}

func TestTheRunningHouseReportsItsRetentionAndAppliesIt(t *testing.T) {
	keeper, cfg := retaining(t)
	server := httptest.NewServer(keeper)
	defer server.Close()
	cfg.Pipeline.Addr = strings.TrimPrefix(server.URL, "http://")
	ask := func(method string) (string, error) {
		t.Helper()
		return printed(t, func() error { return reportRetention(t.Context(), cfg, method, true, slog.New(slog.DiscardHandler)) })
	}
	text, err := ask(http.MethodGet)
	if err != nil {
		t.Fatalf("a fresh house: %v\n%s", err, text)
	}
	var report retention.Report
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, l := range report.Lines {
		kinds[l.Kind]++
	}
	if kinds["topic"] != 4 || kinds["key"] != 2 || kinds["table"] < 10 {
		t.Errorf("lines %v", kinds)
	}

	// An old row, a topic that somebody let keep everything, and a row that no purpose is left for.
	db := keeper.engines.db
	if err := db.Exec(t.Context(), "SYSTEM STOP TTL MERGES events"); err != nil {
		t.Fatal(err)
	}
	at := []time.Time{time.Now().AddDate(0, 0, -800), time.Now()}
	err = db.Insert(t.Context(), "events", "planted", []clickhouse.Column{
		{Name: "site", Values: []string{"shop", "shop"}},
		{Name: "time", Values: at},
		{Name: "type", Values: []string{"search", "search"}},
		{Name: "policy", Values: []string{"default/2022-09-15", "default/2022-09-15"}},
		{Name: "purposes", Values: []uint32{1, 0}},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = kafka.NewAdmin(keeper.engines.cluster).EnsureTopics(t.Context(), []kafka.Topic{{
		Name: "test.dead-letters", Partitions: 1, ReplicationFactor: 1, Config: map[string]string{"retention.ms": "-1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	text, err = printed(t, func() error {
		return reportRetention(t.Context(), cfg, http.MethodGet, false, slog.New(slog.DiscardHandler))
	})
	if err == nil || !strings.Contains(text, "topic test.dead-letters") {
		t.Errorf("%v\n%s", err, text)
	}
	breaches := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "breach") {
			breaches++
		}
	}
	if breaches < 4 { // record and usage_time, without a purpose, the topic, the whole
		t.Errorf("%d breaches are told\n%s", breaches, text)
	}

	// A page in a browser cannot have it applied.
	res, err := http.Post(server.URL, "text/plain", bytes.NewReader([]byte("{}")))
	if err != nil || res.Body.Close() != nil || res.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a form post: %v, %v", res.StatusCode, err)
	}
	if _, err := ask(http.MethodGet); err == nil {
		t.Error("a report changed something")
	}
	if text, err := ask(http.MethodPost); err != nil {
		t.Errorf("after applying: %v\n%s", err, text)
	}
	if text, err := ask(http.MethodGet); err != nil {
		t.Errorf("after applying: %v\n%s", err, text)
	}
}

func TestAKeyThatNobodyDestroyedFailsTheReport(t *testing.T) {
	keeper, cfg := retaining(t)
	stale := filepath.Join(cfg.Path("keys"), "cookieless", "shop")
	if err := os.MkdirAll(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stale, "2020-01-01.key"), make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := keeper.inspect(t.Context())
	if err != nil || report.Verdict != retention.Breach {
		t.Fatalf("%s, %v", report.Verdict, err)
	}
	for _, l := range report.Lines {
		if (l.Verdict == retention.Breach) != (l.Kind == "key" && l.Name == "cookieless") {
			t.Errorf("%+v", l)
		}
	}
	if err := keeper.apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if report, err = keeper.inspect(t.Context()); err != nil || report.Verdict != retention.OK {
		t.Errorf("after applying: %+v, %v", report, err)
	}
}
