package query_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/testkit"
)

// Many callers at once: each gets the answer that it would get alone, every read leaves its record, and nobody waits
// for ever. How fast it is `make bench-query` measures.
func TestManyCallersGetTheSameAnswers(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	paths := []string{
		"/v1/reports/overview?purpose=usage_based_development&compare=previous_period&" + period,
		"/v1/reports/timeseries?purpose=usage_based_development&interval=hour&" + period,
		"/v1/reports/pages?purpose=usage_based_development&" + period,
		"/v1/reports/devices?purpose=usage_based_development&format=csv&filter=country:JP&" + period,
		"/v1/reports/operations?purpose=customer_support&" + period,
		"/v1/reports/pages?purpose=customer_support&" + period, // refused, and recorded
		"/v1/catalogue",
	}
	ask := func(path string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer "+d.key)
		w := httptest.NewRecorder()
		d.query.Handler().ServeHTTP(w, r)
		return w.Code, w.Header().Get("ETag")
	}
	type answer struct {
		status int
		tag    string
	}
	alone := map[string]answer{}
	for _, path := range paths {
		status, tag := ask(path)
		alone[path] = answer{status, tag}
	}
	before := len(audits(t, db))
	const callers, each = 8, 7
	began := time.Now()
	var callersDone sync.WaitGroup
	for caller := range callers {
		callersDone.Go(func() {
			for n := range each {
				path := paths[(caller+n)%len(paths)]
				if status, tag := ask(path); (answer{status, tag}) != alone[path] {
					t.Errorf("%s: %d %s, alone %v", path, status, tag, alone[path])
				}
			}
		})
	}
	callersDone.Wait()
	t.Logf("%d answers in %v", callers*each, time.Since(began).Round(time.Millisecond))
	unrecorded := callers * each / len(paths) // the catalogue tells nothing of the data
	if got := len(audits(t, db)) - before; got != callers*each-unrecorded {
		t.Errorf("%d records of %d reads", got, callers*each-unrecorded)
	}
}
