package e2e

import (
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
// every kind of choice, and read it back from the reports. Screenshots stay in artifacts/ (or ARTIFACTS).
func TestABrowserVisitsTheSampleSite(t *testing.T) {
	testkit.Program(t, "node")
	chromium := os.Getenv("CHROMIUM")
	if chromium == "" {
		chromium = testkit.Program(t, "chromium")
	}
	artifacts, err := filepath.Abs(filepath.Join("..", "..", "artifacts"))
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("ARTIFACTS"); dir != "" {
		artifacts = dir
	}
	h := newHouse(t)
	h.args = append(h.args, "--query-threshold", "2", "--collector-url", strings.Replace(h.collector, "127.0.0.1", "localhost", 1))
	h.start()
	key := h.demoKey()

	cmd := exec.CommandContext(t.Context(), "node", "--test", "e2e/house.test.mjs")
	cmd.Dir = filepath.Join("..", "..", "web")
	cmd.Env = append(os.Environ(), "SAMPLE="+strings.Replace(h.sample, "127.0.0.1", "localhost", 1), "COLLECTOR="+strings.Replace(h.collector, "127.0.0.1", "localhost", 1),
		"QUERY="+h.query, "KEY="+key, "ARTIFACTS="+artifacts, "CHROMIUM="+chromium)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the browser test failed: %v\n%s", err, h.tail())
	}
	h.stop()
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
	t.Run("embedded", func(t *testing.T) { keepsEverything(t, newHouse(t)) })
	t.Run("outside", func(t *testing.T) {
		h := newHouse(t)
		h.kafka = testkit.ApacheKafka(t)
		h.args = append(h.args, "--kafka", h.kafka, "--clickhouse", testkit.Engine(t, t.TempDir()).DSN())
		keepsEverything(t, h)
	})
}

func keepsEverything(t *testing.T, h *house) {
	t.Helper()
	h.args = append(h.args, "--demo")
	h.start()
	key := h.demoKey()
	report := h.query + "/v1/reports/pages?site=shop&purpose=usage_based_development"
	h.awaitLoaded()
	before := getWith(report, key)
	if !strings.Contains(before, `"/ja/checkout"`) {
		t.Fatalf("the report shows no demo visitors: %s", before)
	}
	h.stop()
	h.start()
	if h.demoKey() != key {
		t.Error("the demo key changed")
	}
	if after := getWith(report, key); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
	h.stop()
}

// getWith asks with an API key; empty when there is no answer.
func getWith(url, key string) string {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return ""
	}
	return string(text)
}
