package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/sekisho/sekisho/internal/config"
)

const importHeader = "cookie_id,user_id,purpose,state,time,policy_version\n"

// runImport writes a file and imports it.
func runImport(t *testing.T, name, content string, args ...string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var c struct {
		config.Config
		Consent consentCommand `cmd:""`
	}
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"consent", "import", file, "--site", "shop"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return c.Consent.Import.Run(t.Context(), &c.Config)
}

func TestAnImportIsCheckedWholeBeforeAnythingIsSent(t *testing.T) {
	good := importHeader + "CANARY1,,usage_based_development,granted,2023-01-02T03:04:05Z,\n,CANARY2,marketing_use,withdrawn,2024-01-02T03:04:05+09:00,default/2022-09-15\n"
	if err := runImport(t, "acts.csv", good, "--dry-run"); err != nil {
		t.Error(err)
	}
	if err := runImport(t, "acts.jsonl", `{"cookie_id":"CANARY","purpose":"usage_based_development","state":"refused","time":"2023-01-02T03:04:05Z"}`+"\n\n", "--dry-run"); err != nil {
		t.Error(err)
	}
	for name, content := range map[string]string{
		"no identifier":     importHeader + ",,usage_based_development,granted,2023-01-02T03:04:05Z,\n",
		"no such purpose":   importHeader + "CANARY,,CANARY,granted,2023-01-02T03:04:05Z,\n",
		"no such state":     importHeader + "CANARY,,usage_based_development,CANARY,2023-01-02T03:04:05Z,\n",
		"no time":           importHeader + "CANARY,,usage_based_development,granted,CANARY,\n",
		"the future":        importHeader + "CANARY,,usage_based_development,granted,2999-01-02T03:04:05Z,\n",
		"before any policy": importHeader + "CANARY,,usage_based_development,granted,2001-01-02T03:04:05Z,\n",
		"no such version":   importHeader + "CANARY,,usage_based_development,granted,2023-01-02T03:04:05Z,default/CANARY\n",
		"nothing to expire": importHeader + "CANARY,,customer_support,expired,2023-01-02T03:04:05Z,\n",
		"another column":    "CANARY,purpose\nx,y\n",
		"an uneven line":    importHeader + "CANARY\n",
	} {
		if err := runImport(t, "acts.csv", content, "--dry-run"); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnImportIsSentInOrderAndAgainWhereTheCollectorIsBusy(t *testing.T) {
	var asked atomic.Int32
	ids := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var act struct {
			ID, Source string
			Subject    map[string]string
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &act); err != nil || act.Source != "import" || r.Header.Get("Sekisho-Write-Key") != "the key" || r.URL.Path != "/v1/consent" {
			t.Errorf("%s %s, %v", r.URL, body, err)
		}
		ids[act.ID]++
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte("the key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	content := importHeader + "a,,usage_based_development,granted,2023-01-02T03:04:05Z,\nb,,usage_based_development,granted,2023-01-02T03:04:05Z,\n"
	for range 2 {
		if err := runImport(t, "acts.csv", content, "--key-file", keyFile, "--collector-url", server.URL); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != 2 || asked.Load() != 5 {
		t.Errorf("%d acts in %d requests", len(ids), asked.Load())
	}
	for id, n := range ids {
		if n != 2 {
			t.Errorf("act %s came %d times: imported again it is another one", id, n)
		}
	}
	if err := runImport(t, "acts.csv", content); err == nil {
		t.Error("nothing is sent without a key, and that is no failure")
	}
}
