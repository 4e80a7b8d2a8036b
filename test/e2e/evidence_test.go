package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/testkit"
)

// run runs a command of the binary on the house's data, and returns what it printed.
func (h *house) run(args ...string) (string, error) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), h.binary, append(args, "--data", h.data, "--clickhouse-addr", testkit.Addrs(h.t, 1)[0])...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// answer posts as post does, and returns the body.
func (h *house) answer(path string, body any) (int, []byte) {
	h.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.collector+path, bytes.NewReader(b))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", "http://localhost:8090")
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, text.Bytes()
}

// TestOneSubjectsLife is docs/SUBJECT-LIFE.md: grant, events, withdrawal, and the proof of each.
func TestOneSubjectsLife(t *testing.T) {
	h := newHouse(t)
	h.args = append(h.args, "--query-threshold", "2", "--query-exact")
	h.start()
	key := h.demoKey()
	act := func(who int, list string) []byte {
		status, text := h.answer("/v1/consent?wait=10", map[string]any{
			"site": "shop", "subject": map[string]string{"cookie_id": fmt.Sprint("subject-", who)}, "policy_version": "default/2022-09-15",
			"surface": "banner", "language": "ja", list: []string{"usage_based_development"},
		})
		if status != http.StatusAccepted || !bytes.Contains(text, []byte(`"receipts":[{`)) {
			t.Fatalf("%s: %d %s", list, status, text)
		}
		return text
	}
	receipts := [][]byte{}
	for who := range 3 {
		receipts = append(receipts, act(who, "granted"))
		if status, err := h.post("/v1/events", map[string]any{
			"site": "shop", "type": "page_view", "cookie_id": fmt.Sprint("subject-", who), "url": "http://localhost:8090/ja/",
		}); err != nil || status != http.StatusAccepted {
			t.Fatalf("event: %d, %v", status, err)
		}
	}
	report := h.query + "/v1/reports/overview?site=shop&purpose=usage_based_development"
	sees := func(visitors int) func() bool {
		return func() bool { return strings.Contains(getWith(report, key), fmt.Sprintf(`"visitors":%d`, visitors)) }
	}
	testkit.Eventually(t, time.Minute, sees(3))
	receipts = append(receipts, act(0, "withdrawn"))
	testkit.Eventually(t, time.Minute, sees(2))
	if page, ok := get(h.collector + "/privacy/shop/ja/"); !ok || !strings.Contains(page, "目的") {
		t.Error("the policy in force is not to be read")
	}
	checkpoint, ok := get(h.collector + "/v1/ledger/checkpoint")
	if !ok {
		t.Fatal("no checkpoint")
	}
	h.stop()

	known := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(known, []byte(checkpoint), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, text := range receipts {
		file := filepath.Join(t.TempDir(), "receipt.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := h.run("ledger", "receipt", file)
		if err != nil || !strings.Contains(out, "purpose=usage_based_development") {
			t.Errorf("receipt %d: %v\n%s", i, err, out)
		}
		if err := os.WriteFile(file, bytes.Replace(text, []byte("granted"), []byte("refused"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := h.run("ledger", "receipt", file); err == nil && bytes.Contains(text, []byte("granted")) {
			t.Errorf("a forged receipt is taken: %s", out)
		}
	}
	if out, err := h.run("ledger", "verify", "--known", known); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	t.Run("somebody makes the withdrawal disappear", func(t *testing.T) {
		db := testkit.Database(t, testkit.Engine(t, filepath.Join(h.data, "clickhouse")))
		if err := db.Exec(t.Context(), "ALTER TABLE consent_acts DELETE WHERE state = 'withdrawn' SETTINGS mutations_sync = 2"); err != nil {
			t.Fatal(err)
		}
	})
	if out, err := h.run("ledger", "verify"); err == nil || !strings.Contains(out, "dropped") {
		t.Errorf("nobody notices: %v\n%s", err, out)
	}
}
