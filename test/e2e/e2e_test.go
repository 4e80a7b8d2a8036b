// Package e2e drives the real binary from outside: events over HTTP, kill -9, and a search for personal data in
// everything it left on disk.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/fetch"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(m.Run())
}

const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0 canaryagent"

// canaries are marked personal data, none of which may be found anywhere afterwards.
var canaries = []string{
	"203.0.113.77", "\xcb\x00\x71\x4d", "canarycookie", "canaryuser", "canarydevice", "taro.canary", "canaryagent",
	"123456789018", "canarytoken",
}

// house is a running `sekisho up`.
type house struct {
	t         *testing.T
	binary    string
	data      string
	log       string
	args      []string
	collector string
	metrics   string   // of the pipeline
	internal  []string // metrics of all services
	kafka     string
	query     string
	sample    string
	cmd       *exec.Cmd
	exited    chan struct{} // closed when the process is gone; exit holds how
	exit      error
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sekisho")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/sekisho/sekisho/cmd/sekisho").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, binary: build(t), data: filepath.Join(t.TempDir(), "data"), log: filepath.Join(t.TempDir(), "log")}
	addrs := testkit.Addrs(t, 8)
	collector, pipeline := addrs[0], addrs[1]
	h.collector, h.metrics, h.kafka = "http://"+collector, "http://"+pipeline+"/metrics", addrs[2]
	h.query, h.sample = "http://"+addrs[5], "http://"+addrs[7]
	for _, addr := range []string{pipeline, addrs[4], addrs[6]} {
		h.internal = append(h.internal, "http://"+addr+"/metrics")
	}
	h.args = []string{
		"up", "--data", h.data, "--log-level", "debug", "--kafka-addr", h.kafka, "--clickhouse-addr", addrs[3],
		"--collector-addr", collector, "--collector-metrics-addr", addrs[4],
		"--pipeline-addr", pipeline, "--collector-pipeline-url", "http://" + pipeline,
		"--query-addr", addrs[5], "--query-metrics-addr", addrs[6], "--sample-addr", addrs[7],
		"--collector-trusted-proxies", "127.0.0.0/8", "--collector-rate", "100000", "--collector-burst", "100000",
	}
	return h
}

func (h *house) start() {
	h.t.Helper()
	log, err := os.OpenFile(h.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	h.cmd = exec.CommandContext(context.Background(), h.binary, h.args...)
	h.cmd.Stdout, h.cmd.Stderr = log, log
	h.cmd.Env = append(os.Environ(), "SEKISHO_CACHE="+fetch.CacheDir())
	cmd, exited := h.cmd, make(chan struct{})
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.exited, h.exit = exited, nil
	go func() {
		defer close(exited)
		h.exit = cmd.Wait()
	}()
	h.t.Cleanup(func() { _ = cmd.Process.Kill(); <-exited })
	began := time.Now()
	for !h.ready() {
		select {
		case <-exited:
			h.t.Fatalf("it ended while it started: %v\n%s", h.exit, h.tail())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(began) > startTimeout {
			h.t.Fatalf("it is not ready after %v\n%s", startTimeout, h.tail())
		}
	}
	h.t.Logf("ready after %v", time.Since(began).Round(10*time.Millisecond))
}

// startTimeout is how long a start may take: on a loaded machine the engine's library alone takes a quarter of a minute.
const startTimeout = 3 * time.Minute

func (h *house) ready() bool {
	_, collects := get(h.collector + "/readyz")
	_, answers := get(h.query + "/readyz")
	return collects && answers
}

// tail is the end of what the process said, without the lines of every request.
func (h *house) tail() string {
	text, err := os.ReadFile(h.log)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "level=DEBUG") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

// kill ends the process as a power cut of the program would.
func (h *house) kill() {
	h.t.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		h.t.Fatalf("kill: %v\n%s", err, h.tail())
	}
	<-h.exited
}

// stop ends it as Ctrl-C does.
func (h *house) stop() {
	h.t.Helper()
	if err := h.cmd.Process.Signal(os.Interrupt); err != nil {
		h.t.Fatalf("stop: %v\n%s", err, h.tail())
	}
	if <-h.exited; h.exit != nil {
		h.t.Errorf("it did not stop cleanly: %v\n%s", h.exit, h.tail())
	}
}

func (h *house) post(path string, body any) (int, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.collector+path, bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", "http://localhost:8090")
	req.Header.Set("User-Agent", agent)
	req.Header.Set("X-Forwarded-For", "203.0.113.77")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err2 := res.Body.Close(); err == nil {
		err = err2
	}
	return res.StatusCode, err
}

// database reads the finished house's ClickHouse with an engine of the test's own.
func (h *house) database() *clickhouse.DB {
	return testkit.Database(h.t, testkit.Engine(h.t, filepath.Join(h.data, "clickhouse")))
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

// get is what a service answers with 200.
func get(url string) (string, bool) {
	res, err := http.Get(url)
	if err != nil {
		return "", false
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return string(b), err == nil && res.StatusCode == http.StatusOK
}

// awaitLoaded returns when the pipeline has confirmed every record of the events topic: it does so after it stored them.
func (h *house) awaitLoaded() {
	h.t.Helper()
	cluster, err := kafka.Open(kafka.Config{Brokers: []string{h.kafka}})
	if err != nil {
		h.t.Fatal(err)
	}
	defer cluster.Close()
	group, err := kafka.NewConsumer(cluster, kafka.ConsumerConfig{Group: "sekisho.pipeline", Topic: "sekisho.events"})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 3*time.Minute)
	defer cancel()
	for {
		lags, err := group.Lag(ctx)
		if err != nil {
			h.t.Fatalf("%v\n%s", err, h.tail())
		}
		var behind, end int64
		for _, l := range lags {
			behind, end = behind+l.Behind, end+l.End
		}
		if behind == 0 && end > 0 {
			return
		}
		select {
		case <-ctx.Done():
			h.t.Fatalf("the pipeline is %d records behind\n%s", behind, h.tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func TestNoPersonalDataIsLeftAnywhere(t *testing.T) {
	h := newHouse(t)
	h.start()
	status, err := h.post("/v1/consent", map[string]any{
		"site": "shop", "subject": map[string]string{"cookie_id": "canarycookie1", "user_id": "canaryuser1", "device_id": "canarydevice1"},
		"granted":        []string{"usage_based_development", "behavioral_personalization"},
		"policy_version": "default/2022-09-15", "surface": "banner", "language": "ja",
	})
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("consent: %d, %v", status, err)
	}
	event := func(kind string, more map[string]any) map[string]any {
		e := map[string]any{
			"site": "shop", "type": kind, "cookie_id": "canarycookie1", "user_id": "canaryuser1", "device_id": "canarydevice1",
			"url":   "http://localhost:8090/ja/u/taro.canary@example.jp?email=taro.canary@example.jp&token=canarytoken&my_number=123456789018",
			"title": "taro.canary@example.jp 1234 5678 9018", "referrer": "https://mail.example/?to=taro.canary@example.jp",
		}
		for k, v := range more {
			e[k] = v
		}
		return e
	}
	status, err = h.post("/v1/events", []any{
		event("page_view", nil),
		event("operation", map[string]any{"operation": map[string]string{"name": "export", "target": "taro.canary@example.jp"}}),
		event("search", map[string]any{"search": map[string]any{"query": "123456789018 taro.canary@example.jp", "results": 0}}),
		event("custom", map[string]any{"custom": map[string]any{"name": "newsletter_signup", "properties": map[string]any{"plan": "taro.canary@example.jp", "placement": "123456789018"}}}),
		event("purchase", map[string]any{"purchase": map[string]any{"order_id": "taro.canary", "currency": "JPY", "items": []any{map[string]any{"sku": "A1", "name": "for taro.canary@example.jp", "price": "1200"}}}}),
	})
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("events: %d, %v", status, err)
	}
	// Bad input too: neither errors nor logs may repeat it.
	if status, err := h.post("/v1/events", []any{event("taro.canary@example.jp", nil)}); err != nil || status != http.StatusBadRequest {
		t.Errorf("a bad event: %d, %v", status, err)
	}
	h.awaitLoaded()
	if metrics, _ := get(h.metrics); strings.Count(metrics, "sekisho_pipeline_events_stored_total{") != 5 {
		t.Errorf("not five types of events are stored\n%s", h.tail())
	} else {
		for _, kind := range []string{"my_number", "email", "secret_parameter"} {
			if !regexp.MustCompile(`sekisho_pipeline_personal_data_removed_total\{kind="` + kind + `"\} [1-9]`).MatchString(metrics) {
				t.Errorf("no %s is counted as taken out", kind)
			}
		}
	}
	for _, url := range h.internal {
		metrics, ok := get(url)
		if !ok {
			t.Errorf("no metrics at %s", url)
		}
		for _, c := range canaries {
			if strings.Contains(metrics, c) {
				t.Errorf("the metrics hold %q", c)
			}
		}
	}
	searchTopics(t, h)
	h.stop()

	searchFiles(t, h.data)
	searchFiles(t, filepath.Dir(h.log))
	searchTables(t, h.database())
}

// searchTopics reads every topic as a thief of the broker would.
func searchTopics(t *testing.T, h *house) {
	t.Helper()
	cluster, err := kafka.Open(kafka.Config{Brokers: []string{h.kafka}})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	var records int
	for _, topic := range []string{"sekisho.events", "sekisho.consent", "sekisho.dead-letters"} {
		tail, err := kafka.NewTail(cluster, kafka.TailConfig{Topic: topic})
		if err != nil {
			t.Fatal(err)
		}
		err = tail.Restore(t.Context(), func(r kafka.Record) error {
			records++
			for _, c := range canaries {
				if len(c) > 4 && (bytes.Contains(r.Value, []byte(c)) || bytes.Contains(r.Key, []byte(c))) {
					t.Errorf("topic %s holds %q", topic, c)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if records < 7 {
		t.Errorf("only %d records were searched", records)
	}
}

func searchFiles(t *testing.T, dir string) {
	t.Helper()
	var files int
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, c := range canaries {
			if len(c) > 4 && bytes.Contains(content, []byte(c)) {
				t.Errorf("file %s holds %q", filepath.Base(path), c)
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("searched %d files of %s: %v", files, dir, err)
	}
}

// searchTables looks into every column of every table, whatever its compression on disk.
func searchTables(t *testing.T, db *clickhouse.DB) {
	t.Helper()
	type place struct{ table, column string }
	var places []place
	err := db.Select(t.Context(), "SELECT table, name FROM system.columns WHERE database = currentDatabase()", nil, clickhouse.Limits{}, func(rows clickhouse.Rows) error {
		for rows.Next() {
			var p place
			if err := rows.Scan(&p.table, &p.column); err != nil {
				return err
			}
			places = append(places, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count() FROM events"); n != 5 {
		t.Errorf("%d rows were searched", n)
	}
	for _, p := range places {
		for _, c := range canaries {
			if len(c) <= 4 {
				continue
			}
			if n := count(t, db, fmt.Sprintf("SELECT count() FROM `%s` WHERE position(toString(`%s`), '%s') > 0", p.table, p.column, c)); n != 0 {
				t.Errorf("%d rows hold %q in %s.%s", n, c, p.table, p.column)
			}
		}
	}
}

func TestKillsLoseNothingAndDoubleNothing(t *testing.T) {
	h := newHouse(t)
	h.start()
	const (
		batches = 200
		size    = 50
	)
	var (
		senders sync.WaitGroup
		next    = make(chan int)
	)
	for range 4 {
		senders.Go(func() {
			for range next {
				events := make([]any, size)
				for i := range events {
					events[i] = map[string]any{"id": uuid.NewString(), "site": "shop", "type": "operation", "operation": map[string]string{"name": "export"}}
				}
				// A client that heard nothing sends the same events again.
				for t.Context().Err() == nil {
					if status, err := h.post("/v1/events", events); err == nil && status == http.StatusAccepted {
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	kills := 0
	for n := range batches {
		if n == 30 || n == 90 || n == 150 {
			h.kill()
			kills++
			h.start()
		}
		next <- n
	}
	close(next)
	senders.Wait()
	const want = batches * size
	h.stop() // drains the collector; what Kafka holds is loaded by the next start
	h.start()
	h.awaitLoaded()
	h.stop()
	db := h.database()
	rows, ids := count(t, db, "SELECT count() FROM events"), count(t, db, "SELECT uniqExact(event_id) FROM events")
	if rows != want || ids != want {
		t.Errorf("%d rows with %d ids of %d acknowledged events after %d kills", rows, ids, want, kills)
	}
	t.Logf("%d acknowledged events, %d kills: %d rows", want, kills, rows)
}
