package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/query"
)

// panels are what the overview page asks for.
var panels = []string{"overview", "timeseries", "pages", "sources", "locations", "devices", "operations", "searches"}

// others are further reports that are measured.
var others = []string{"entries", "channels", "countries", "browsers", "ads", "orders"}

// The targets.
const (
	faster    = 20                     // how many times faster sums are than events, at least
	overhead  = 1.15                   // how many times slower the service is than the engine, at most
	overviewT = 300 * time.Millisecond // the overview page
)

// asked is a statement that the service gave to the engine.
type asked struct {
	sql    string
	params map[string]string
	limits clickhouse.Limits
}

// recorder is the store of a service.
type recorder struct {
	*clickhouse.DB
	mu   sync.Mutex
	last []asked
}

// Select notes the statement.
func (r *recorder) Select(ctx context.Context, sql string, params map[string]string, limits clickhouse.Limits, scan func(clickhouse.Rows) error) error {
	r.mu.Lock()
	r.last = append(r.last, asked{sql, params, limits})
	r.mu.Unlock()
	return r.DB.Select(ctx, sql, params, limits, scan)
}

func (r *recorder) take() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.last
	r.last = nil
	return taken
}

type measurement struct {
	*house
	options options
	missed  int
}

// all measures everything and prints it.
func (m *measurement) all(ctx context.Context) error {
	events, err := m.serve(ctx, "events", query.Config{Exact: true, Bare: true, Raw: true})
	if err != nil {
		return err
	}
	defer events.stop()
	sums, err := m.serve(ctx, "sums", query.Config{Exact: true, Bare: true, Few: 1})
	if err != nil {
		return err
	}
	defer sums.stop()
	shipped, err := m.serve(ctx, "shipped", query.Config{})
	if err != nil {
		return err
	}
	defer shipped.stop()
	if err := m.reports(ctx, events, sums); err != nil {
		return err
	}
	if err := m.page(ctx, "computed", sums); err != nil {
		return err
	}
	if err := m.page(ctx, "as it is shipped", shipped); err != nil {
		return err
	}
	if err := m.load(ctx, sums); err != nil {
		return err
	}
	if m.missed > 0 {
		return fmt.Errorf("%d targets are missed", m.missed)
	}
	return nil
}

// verdict says whether a target is met.
func (m *measurement) verdict(met bool) string {
	if met {
		return "met"
	}
	m.missed++
	return "MISSED"
}

func (m *measurement) path(report string, days int) string {
	first, last := m.midnight(m.options, m.options.days-days), m.midnight(m.options, m.options.days-1)
	return "/v1/reports/" + report + "?site=" + siteID + "&purpose=" + purpose + "&from=" + first.Format(time.DateOnly) + "&to=" + last.Format(time.DateOnly)
}

// get asks a service.
func (s *service) get(ctx context.Context, path string) ([]byte, time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("ask: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	began := time.Now()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, 0, fmt.Errorf("ask: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("ask: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("ask: status %d: %s", res.StatusCode, body)
	}
	return body, time.Since(began), nil
}

// straight gives statements to the engine, one after the other, and reads what it answers.
func (m *measurement) straight(ctx context.Context, statements []asked) (time.Duration, error) {
	began := time.Now()
	for _, a := range statements {
		err := m.db.Select(ctx, a.sql, a.params, a.limits, func(rows clickhouse.Rows) error {
			for rows.Next() {
			}
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("ask the engine: %w", err)
		}
	}
	return time.Since(began), nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// content is what an answer says.
func content(body []byte) (string, error) {
	var a query.Answer
	if err := json.Unmarshal(body, &a); err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	said, err := json.Marshal([]any{a.Rows, a.Suppressed, a.Coverage})
	return string(said), err
}

// reports measures each report from events, from sums and straight from the engine.
func (m *measurement) reports(ctx context.Context, events, sums *service) error {
	fmt.Printf("%-12s %12s %12s %8s %8s %12s %8s %8s\n", "report", "events", "sums", "times", "", "same SQL", "times", "")
	for _, report := range slices.Concat(panels, others) {
		path := m.path(report, m.options.days)
		var fromEvents, fromSums, fromEngine []time.Duration
		for range m.options.rounds {
			events.store.take()
			slow, took, err := events.get(ctx, path)
			if err != nil {
				return err
			}
			fromEvents = append(fromEvents, took)
			if took, err = m.straight(ctx, events.store.take()); err != nil {
				return err
			}
			fromEngine = append(fromEngine, took)
			fast, _, err := sums.get(ctx, path)
			if err != nil {
				return err
			}
			for range 3 {
				if _, took, err = sums.get(ctx, path); err != nil {
					return err
				}
				fromSums = append(fromSums, took)
			}
			want, err := content(slow)
			if err != nil {
				return err
			}
			if got, err := content(fast); err != nil || got != want {
				return errors.Join(fmt.Errorf("%s: the sums say something else than the events", report), err)
			}
		}
		e, s, d := median(fromEvents), median(fromSums), median(fromEngine)
		fmt.Printf("%-12s %9.0f ms %9.0f ms %8.1f %8s %9.0f ms %8.2f %8s\n", report, ms(e), ms(s), e.Seconds()/s.Seconds(), m.verdict(e.Seconds() >= faster*s.Seconds()),
			ms(d), e.Seconds()/d.Seconds(), m.verdict(e.Seconds() <= overhead*d.Seconds()))
	}
	return nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// page asks for all panels of the overview page at once, warm.
func (m *measurement) page(ctx context.Context, what string, s *service) error {
	var all []time.Duration
	for round := range 3*m.options.rounds + 1 {
		began := time.Now()
		faults := make([]error, len(panels))
		var wait sync.WaitGroup
		for i, report := range panels {
			wait.Go(func() { _, _, faults[i] = s.get(ctx, m.path(report, m.options.days)) })
		}
		wait.Wait()
		if err := errors.Join(faults...); err != nil {
			return err
		}
		took := time.Since(began)
		if round == 0 {
			fmt.Printf("\noverview page, %d calls at once, %s: first %.0f ms", len(panels), what, ms(took))
			continue
		}
		all = append(all, took)
	}
	fmt.Printf(", warm %.0f ms, at most %.0f ms: %s\n", ms(median(all)), ms(slices.Max(all)), m.verdict(median(all) <= overviewT))
	return nil
}

// load has many callers ask for this and that, and holds every answer against one that was got before.
func (m *measurement) load(ctx context.Context, s *service) error {
	var paths []string
	want := map[string][]byte{}
	for _, report := range slices.Concat(panels, others) {
		for _, days := range []int{1, 7, m.options.days} {
			path := m.path(report, min(days, m.options.days))
			body, _, err := s.get(ctx, path)
			if err != nil {
				return err
			}
			paths, want[path] = append(paths, path), body
		}
	}
	var (
		mu            sync.Mutex
		all           []time.Duration
		failed, wrong int
		wait          sync.WaitGroup
	)
	end := time.Now().Add(m.options.load)
	for caller := range m.options.callers {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(caller))) //nolint:gosec // G404, G115: which report is asked for is no secret
			for time.Now().Before(end) && ctx.Err() == nil {
				path := paths[r.IntN(len(paths))]
				body, took, err := s.get(ctx, path)
				mu.Lock()
				switch {
				case err != nil:
					failed++
				case !bytes.Equal(body, want[path]):
					wrong++
				default:
					all = append(all, took)
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if len(all) == 0 {
		return errors.New("load: no answer")
	}
	slices.Sort(all)
	fmt.Printf("\nload, %d callers: %.0f answers/s, p50 %.0f ms, p99 %.0f ms, %d errors, %d wrong answers: %s\n", m.options.callers,
		float64(len(all))/m.options.load.Seconds(), ms(all[len(all)/2]), ms(all[len(all)*99/100]), failed, wrong, m.verdict(failed+wrong == 0))
	return nil
}
