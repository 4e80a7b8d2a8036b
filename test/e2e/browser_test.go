package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/testkit"
)

// TestABrowserVisitsTheSampleSite lets web/e2e/house.test.mjs click through the sample site in headless Chromium, with
// every kind of choice, and read it back from the reports.
func TestABrowserVisitsTheSampleSite(t *testing.T) {
	h := newHouse(t)
	h.args = append(h.args, "--query-threshold", "2", "--query-exact", "--collector-url", strings.Replace(h.collector, "127.0.0.1", "localhost", 1))
	h.start()
	key := h.demoKey()

	h.browse("house.test.mjs", key)
	h.stop()
}

// browse runs a script of web/e2e in headless Chromium against the house. Screenshots stay in artifacts/ (or ARTIFACTS).
func (h *house) browse(script, key string) {
	h.t.Helper()
	testkit.Program(h.t, "node")
	chromium := os.Getenv("CHROMIUM")
	if chromium == "" {
		chromium = testkit.Program(h.t, "chromium")
	}
	artifacts, err := filepath.Abs(filepath.Join("..", "..", "artifacts"))
	if err != nil {
		h.t.Fatal(err)
	}
	if dir := os.Getenv("ARTIFACTS"); dir != "" {
		artifacts = dir
	}
	cmd := exec.CommandContext(h.t.Context(), "node", "--test", "e2e/"+script)
	cmd.Dir = filepath.Join("..", "..", "web")
	cmd.Env = append(os.Environ(), "SAMPLE="+strings.Replace(h.sample, "127.0.0.1", "localhost", 1), "COLLECTOR="+strings.Replace(h.collector, "127.0.0.1", "localhost", 1),
		"QUERY="+h.query, "KEY="+key, "ARTIFACTS="+artifacts, "CHROMIUM="+chromium)
	out, err := cmd.CombinedOutput()
	h.t.Logf("%s", out)
	if err != nil {
		h.t.Errorf("the browser test failed: %v\n%s", err, h.tail())
	}
}

// demoKey waits for the key to the sample site's reports, which is the last thing a start makes.
func (h *house) demoKey() string {
	h.t.Helper()
	var key []byte
	testkit.Eventually(h.t, 3*time.Minute, func() bool {
		var err error
		key, err = os.ReadFile(filepath.Join(h.data, "demo.key"))
		return err == nil && len(key) > 0
	})
	return strings.TrimSpace(string(key))
}

// TestASecondStartKeepsEverything plays the demo visitors and asks the same report before and after a restart: on the
// house's own engines, and on Apache Kafka and a ClickHouse outside of it.
func TestASecondStartKeepsEverything(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		h := newHouse(t)
		keepsEverything(t, h, func(key string) { h.browse("reports.test.mjs", key) }) // a person reads them in between
	})
	t.Run("outside", func(t *testing.T) {
		h := newHouse(t)
		h.kafka = testkit.ApacheKafka(t)
		h.args = append(h.args, "--kafka", h.kafka, "--clickhouse", testkit.Engine(t, t.TempDir()).DSN())
		keepsEverything(t, h, func(string) {})
	})
}

func keepsEverything(t *testing.T, h *house, meanwhile func(key string)) {
	t.Helper()
	h.args = append(h.args, "--demo")
	h.start()
	key := h.demoKey()
	report := h.query + "/v1/reports/pages?site=shop&purpose=usage_based_development"
	h.awaitLoaded()
	before := rowsOf(t, getWith(report, key))
	if !strings.Contains(before, `"/ja/checkout"`) {
		t.Fatalf("the report shows no demo visitors: %s", before)
	}
	meanwhile(key)
	h.stop()
	h.start()
	if h.demoKey() != key {
		t.Error("the demo key changed")
	}
	if status, text := askWith(report, key); status != http.StatusOK {
		t.Errorf("after the second start: %d %s\n%s", status, text, h.tail())
	} else if after := rowsOf(t, text); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
	h.stop()
}

// rowsOf are the rows of an answer, without what is told of its release.
func rowsOf(t *testing.T, answer string) string {
	t.Helper()
	var a struct{ Rows json.RawMessage }
	if err := json.Unmarshal([]byte(answer), &a); err != nil {
		t.Fatalf("no answer: %v\n%s", err, answer)
	}
	return string(a.Rows)
}

// getWith asks with an API key; empty when there is no answer.
func getWith(url, key string) string {
	if status, text := askWith(url, key); status == http.StatusOK {
		return text
	}
	return ""
}

// askWith asks with an API key. Status 0: nobody answered.
func askWith(url, key string) (status int, text string) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}
