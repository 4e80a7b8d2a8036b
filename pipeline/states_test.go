package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestRestoringConsentIsToldWithItsShareAndItsRate(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	known := newStates()
	r := &restoring{states: known, logger: slog.New(slog.NewJSONHandler(&out, nil)), now: func() time.Time { return now }}
	after := func(d time.Duration, p kafka.Progress) {
		now = now.Add(d)
		known.add(uint64(p.Done), consent.Subject{1: consent.State{}.Grant(5)})
		r.tell(p)
	}
	r.begin()
	after(time.Second, kafka.Progress{Done: 1_000, Total: 20_000}) // too soon
	after(1500*time.Millisecond, kafka.Progress{Done: 5_000, Total: 20_000})
	after(1*time.Second, kafka.Progress{Done: 9_000, Total: 20_000}) // too soon
	after(1*time.Second, kafka.Progress{Done: 15_000, Total: 20_000})
	after(500*time.Millisecond, kafka.Progress{Done: 20_000, Total: 20_000})
	r.end(t.Context())
	r.begin() // another assignment: nothing new
	r.end(t.Context())

	want := []map[string]any{
		{"msg": "restoring consent", "done": 5_000., "total": 20_000., "percent": 25., "subjects": 2., "records_per_second": 2_000.},
		{"msg": "restoring consent", "done": 15_000., "total": 20_000., "percent": 75., "subjects": 4., "records_per_second": 5_000.},
		{"msg": "consent restored", "records": 20_000., "records_per_second": 4_000., "subjects": 5., "took": 5e9},
		{"msg": "consent restored", "records": 0., "records_per_second": 0., "subjects": 5., "took": 0.},
	}
	for i, line := range bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n")) {
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		if held, ok := got["bytes"].(float64); ok != (got["msg"] == "consent restored") || ok && int64(held) != known.bytes() {
			t.Errorf("line %d tells of %v bytes, want %d", i, got["bytes"], known.bytes())
		}
		for _, common := range []string{"time", "level", "bytes"} {
			delete(got, common)
		}
		if i >= len(want) || !maps.Equal(got, want[i]) {
			t.Errorf("line %d: %v", i, got)
		}
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != len(want) {
		t.Errorf("%d lines, want %d", n, len(want))
	}
}

func TestTheMemoryOfTheConsentStatesIsMeasured(t *testing.T) {
	reg := prometheus.NewRegistry()
	known := newStates()
	newMetrics(reg, known)
	gauge := func(name string) float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatalf("no metric %s", name)
		return 0
	}
	empty := gauge("sekisho_pipeline_consent_bytes")
	for id := range uint64(100_000) {
		known.add(id+1, consent.Subject{1: consent.State{}.Grant(1_700_000_000_000_000)})
	}
	if got := gauge("sekisho_pipeline_consent_subjects"); got != 100_000 {
		t.Errorf("%v subjects", got)
	}
	if got := gauge("sekisho_pipeline_consent_bytes") - empty; got < 100_000*20 || got > 100_000*60 {
		t.Errorf("%v bytes more for 100,000 subjects", got)
	}
}

func TestARecordThatNobodyCouldHaveWrittenStopsTheRestore(t *testing.T) {
	p := &Pipeline{states: newStates()}
	good, err := encodeState(consent.Subject{1: consent.State{}.Deny(5)})
	if err != nil {
		t.Fatal(err)
	}
	for name, record := range map[string]kafka.Record{
		"a short key":          {Key: []byte("short"), Value: good},
		"no state":             {Key: subjectKey(7), Value: []byte{0xff}},
		"a purpose beyond all": {Key: subjectKey(7), Value: []byte{0x0a, 0x02, 0x08, 0x20}},
	} {
		if err := p.take(record); err == nil || p.states.len() != 0 {
			t.Errorf("%s: %v, %d subjects", name, err, p.states.len())
		}
	}
	if err := p.take(kafka.Record{Key: subjectKey(7)}); err != nil || p.states.len() != 0 { // a tombstone
		t.Errorf("%v, %d subjects", err, p.states.len())
	}
	if err := p.take(kafka.Record{Key: subjectKey(7), Value: good}); err != nil || p.states.of(7)[0][1].Denied != 5 {
		t.Errorf("%v, %v", err, p.states.of(7))
	}
}

// visitors makes records of the consent topic as visitors of a site with the built-in policy leave them: most decided
// once, about all purposes; a quarter came back and decided again, and a few renewed what they had granted several times.
type visitors struct{ random *rand.Rand }

func (v visitors) next() (uint64, consent.Subject) {
	const day = int64(86_400_000_000)
	at := 1_700_000_000_000_000 + v.random.Int64N(500*day)
	subject := consent.Subject{}
	decide := func() {
		kind := v.random.IntN(10)
		for p := core.Purpose(3); p < 12; p++ { // those with a choice
			switch {
			case kind < 4, kind > 7 && v.random.IntN(2) == 0:
				subject[p] = subject[p].Grant(at)
			default:
				subject[p] = subject[p].Deny(at)
			}
		}
		at += day + v.random.Int64N(30*day)
	}
	decide()
	switch n := v.random.IntN(100); {
	case n < 25:
		decide()
	case n < 27:
		for range 7 {
			for p, state := range subject {
				if len(state.Grants) > 0 {
					subject[p] = state.Grant(at)
				}
			}
			at += 30 * day
		}
	}
	return v.random.Uint64() | 1, subject
}

// BenchmarkRestoreTenMillion restores the states of ten million subjects from records as the consent topic holds them,
// and fails when that takes 1 GiB. Making the records is not measured.
func BenchmarkRestoreTenMillion(b *testing.B) {
	const subjects, portion, limit = 10_000_000, 50_000, 1 << 30
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for range b.N {
		b.StopTimer()
		from := visitors{rand.New(rand.NewPCG(1, 2))}
		p := &Pipeline{states: newStates()}
		records := make([]kafka.Record, portion)
		before := heap()
		var read int64
		for range subjects / portion {
			for i := range records {
				id, subject := from.next()
				value, err := encodeState(subject)
				if err != nil {
					b.Fatal(err)
				}
				records[i] = kafka.Record{Key: subjectKey(id), Value: value}
				read += int64(len(value))
			}
			b.StartTimer()
			for _, record := range records {
				if err := p.take(record); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
		}
		clear(records)
		held := heap() - before
		if held >= limit || p.states.bytes() >= limit {
			b.Fatalf("%d bytes on the heap, %d by the table's own count, for %d subjects", held, p.states.bytes(), p.states.len())
		}
		b.ReportMetric(float64(held)/(1<<20), "heap-MiB")
		b.ReportMetric(float64(p.states.bytes())/(1<<20), "counted-MiB")
		b.ReportMetric(float64(held)/float64(p.states.len()), "B/subject")
		b.ReportMetric(float64(read)/subjects, "B/record")
		runtime.KeepAlive(p)
	}
	b.ReportMetric(subjects*float64(b.N)/b.Elapsed().Seconds(), "subjects/s")
}

// BenchmarkRestoreRecord is one record's way into the states.
func BenchmarkRestoreRecord(b *testing.B) {
	from := visitors{rand.New(rand.NewPCG(1, 2))}
	records := make([]kafka.Record, 10_000)
	for i := range records {
		id, subject := from.next()
		value, err := encodeState(subject)
		if err != nil {
			b.Fatal(err)
		}
		records[i] = kafka.Record{Key: subjectKey(id), Value: value}
	}
	p := &Pipeline{states: newStates()}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := p.take(records[i%len(records)]); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAConsentStateThatCannotBeReadStopsThePipeline(t *testing.T) {
	h := newHouse(t, testkit.EmbeddedKafka(t))
	p, err := New(h.cfg, h.deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	testkit.Eventually(t, 20*time.Second, p.ready.Load)
	if err := h.deps.Consent.Produce(ctx, []kafka.Message{{Key: []byte("short"), Value: []byte("no state")}}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "follow consent") {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it goes on deciding without what it cannot read")
	}
}
