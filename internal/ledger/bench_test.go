package ledger

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"
)

// fill appends n entries that differ in id and time, in batches of a thousand.
func fill(b *testing.B, l *Log, n int) {
	b.Helper()
	batch := make([]Entry, 0, 1000)
	e := entryOf(b, consentRecord(0))
	for i := range n {
		e.Time++
		e.ID[0], e.ID[1], e.ID[2], e.ID[3], e.ID[4] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24), byte(i>>32)
		if batch = append(batch, e); len(batch) == cap(batch) || i == n-1 {
			appendAll(b, l, batch)
			batch = batch[:0]
		}
	}
}

func perSecond(b *testing.B, what string) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), what+"/s")
}

func BenchmarkAppend(b *testing.B) {
	key, _ := testKey(b)
	for _, where := range []string{"memory", "directory"} {
		b.Run(where, func(b *testing.B) {
			s := NewMemoryStore()
			if where == "directory" {
				var err error
				if s, err = OpenStore(b.TempDir()); err != nil {
					b.Fatal(err)
				}
			}
			l := openLog(b, s, key)
			b.ReportAllocs()
			b.ResetTimer()
			fill(b, l, b.N)
			checkpoint(b, l)
			perSecond(b, "leaves")
			b.StopTimer()
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOpen recovers a log in a directory: every leaf and hash is checked, every id indexed.
func BenchmarkOpen(b *testing.B) {
	key, _ := testKey(b)
	dir := filepath.Join(b.TempDir(), "ledger")
	s, err := OpenStore(dir)
	if err != nil {
		b.Fatal(err)
	}
	l := openLog(b, s, key)
	fill(b, l, b.N)
	checkpoint(b, l)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	l = nil //nolint:wastedassign // so that the collector may take it
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	if s, err = OpenStore(dir); err != nil {
		b.Fatal(err)
	}
	l = openLog(b, s, key)
	perSecond(b, "leaves")
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-min(after.HeapAlloc, before.HeapAlloc))/float64(b.N), "B-kept/leaf")
	if l.Size() != int64(b.N) {
		b.Fatalf("size %d", l.Size())
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// million is a log of a million leaves in a directory, with one real record among them.
func million(b *testing.B) (l *Log, r Record, v Verifier) {
	b.Helper()
	key, v := testKey(b)
	s, err := OpenStore(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	l = openLog(b, s, key)
	fill(b, l, 400_000)
	r = consentRecord(1)
	appendAll(b, l, []Entry{entryOf(b, r)})
	e := entryOf(b, consentRecord(2))
	batch := make([]Entry, 599_999)
	for i := range batch {
		e.ID[0], e.ID[1], e.ID[2], e.ID[15] = byte(i), byte(i>>8), byte(i>>16), 1
		batch[i] = e
	}
	appendAll(b, l, batch)
	checkpoint(b, l)
	b.Cleanup(func() { _ = l.Close() })
	return l, r, v
}

func BenchmarkProof(b *testing.B) {
	l, r, v := million(b)
	receipt, err := l.Receipt(r)
	if err != nil {
		b.Fatal(err)
	}
	text := marshal(b, receipt)
	for name, f := range map[string]func(i int) error{
		"inclusion":   func(i int) error { _, err := l.ProveInclusion(int64(i%1_000_000), 1_000_000); return err },
		"consistency": func(i int) error { _, err := l.ProveConsistency(int64(1+i%999_999), 1_000_000); return err },
		"receipt":     func(int) error { _, err := l.Receipt(r); return err },
		"parse":       func(int) error { _, err := ParseReceipt(text); return err },
		"verify":      func(int) error { _, err := VerifyReceipt(receipt, v); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if err := f(i); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b, name)
		})
	}
}

// BenchmarkVerify audits a log and a store that agree.
func BenchmarkVerify(b *testing.B) {
	key, v := testKey(b)
	l := openLog(b, NewMemoryStore(), key)
	for i := range b.N {
		appendAll(b, l, []Entry{entryOf(b, consentRecord(i))})
	}
	checkpoint(b, l)
	b.ReportAllocs()
	b.ResetTimer()
	found, err := Verify(context.Background(), l, func(yield func(Record, error) bool) {
		for i := range b.N {
			if !yield(consentRecord(i), nil) {
				return
			}
		}
	}, v)
	if err != nil || !found.OK() {
		b.Fatalf("found %v, %v", shown(found), err)
	}
	perSecond(b, "records")
}
