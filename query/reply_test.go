package query_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/testkit"
)

// fetch asks with the desk's key and further headers.
func (d *desk) fetch(path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(d.t.Context(), http.MethodGet, path, nil)
	r.Header.Set("Authorization", "Bearer "+d.key)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.query.Handler().ServeHTTP(w, r)
	return w
}

func TestAnAnswerTravelsInEveryForm(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	for _, report := range []string{"overview", "pages", "purchases", "timeseries"} {
		path := "/v1/reports/" + report + "?purpose=usage_based_development&compare=previous_period&" + period
		a := d.read(path)
		t.Run(report+" as CSV", func(t *testing.T) {
			w := d.fetch(path, "Accept", "text/csv")
			lines, err := csv.NewReader(w.Body).ReadAll()
			if w.Code != http.StatusOK || err != nil || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/csv") {
				t.Fatalf("%d %v %v", w.Code, w.Header(), err)
			}
			nested := 0
			if revenue, there := a.Rows[0]["revenue"].([]any); there {
				nested = len(revenue)
			}
			if len(lines) != 1+len(a.Rows)+nested {
				t.Errorf("%d lines for %d rows", len(lines), len(a.Rows))
			}
			for i, name := range lines[0] {
				if n, isNumber := a.Rows[0][name].(float64); isNumber && lines[1][i] != strconv.FormatFloat(n, 'f', -1, 64) {
					t.Errorf("%s is %s, want %v", name, lines[1][i], n)
				}
			}
			if w.Header().Get("Sekisho-Purpose") != "usage_based_development" || w.Header().Get("Sekisho-Coverage") == "" {
				t.Errorf("headers %v", w.Header())
			}
		})
		t.Run(report+" as NDJSON", func(t *testing.T) {
			w := d.fetch(path + "&format=ndjson")
			lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
			rows := make([]row, len(lines))
			for i, line := range lines {
				if err := json.Unmarshal([]byte(line), &rows[i]); err != nil {
					t.Fatal(err)
				}
			}
			compare(t, rows, a.Rows)
		})
		t.Run(report+" as Parquet", func(t *testing.T) {
			w := d.fetch(path + "&format=parquet")
			if body := w.Body.String(); w.Code != http.StatusOK || !strings.HasPrefix(body, "PAR1") || !strings.HasSuffix(body, "PAR1") {
				t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
			}
		})
	}
	t.Run("labels in the reader's language", func(t *testing.T) {
		path := "/v1/reports/devices?format=csv&purpose=usage_based_development&" + period
		for language, want := range map[string]string{"ja-JP,en;q=0.5": "端末", "en-GB": "Device", "": "device"} {
			if w := d.fetch(path, "Accept-Language", language); !strings.Contains(strings.SplitN(w.Body.String(), "\n", 2)[0], want) {
				t.Errorf("%q: %s", language, strings.SplitN(w.Body.String(), "\n", 2)[0])
			}
		}
	})
	t.Run("what the caller has is not sent again", func(t *testing.T) {
		path := "/v1/reports/devices?purpose=usage_based_development&" + period
		tag := d.fetch(path).Header().Get("ETag")
		before := len(audits(t, db))
		if w := d.fetch(path, "If-None-Match", tag); tag == "" || w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("tag %q: %d", tag, w.Code)
		}
		if len(audits(t, db)) != before+1 {
			t.Error("a read that was answered with 304 left no record")
		}
		if w := d.fetch(path+"&filter=country:JP", "If-None-Match", tag); w.Code != http.StatusOK {
			t.Errorf("another answer: %d", w.Code)
		}
	})
	t.Run("a form that does not exist", func(t *testing.T) {
		path := "/v1/reports/devices?purpose=usage_based_development&" + period
		if w := d.fetch(path, "Accept", "image/png"); w.Code != http.StatusNotAcceptable || !strings.Contains(w.Body.String(), `"field":"Accept"`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := d.fetch(path + "&format=xlsx"); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "xlsx") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := d.fetch(path + "&limit=1001"); w.Code != http.StatusBadRequest {
			t.Errorf("%d", w.Code)
		}
		if w := d.fetch(path + "&limit=1001&format=csv"); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
