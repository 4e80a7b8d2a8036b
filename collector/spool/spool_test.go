package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func open(t *testing.T, dir string, limit, segment int64) *Spool {
	t.Helper()
	s, err := Open(dir, limit, segment)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func record(i int) Record {
	return Record{Partition: int32(i % 3), Value: fmt.Appendf(nil, "event %d", i)}
}

func drain(t *testing.T, s *Spool) (values []string) {
	t.Helper()
	for {
		records, err := s.Peek(2, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			return values
		}
		for _, r := range records {
			values = append(values, string(r.Value))
		}
		if err := s.Advance(records); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordsLeaveInOrderOverSegmentsAndARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20, 60)
	for i := range 10 {
		if err := s.Append([]Record{record(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 1<<20, 60)
	if err := s.Append([]Record{record(10)}); err != nil {
		t.Fatal(err)
	}
	got := drain(t, s)
	for i := range 11 {
		if len(got) != 11 || got[i] != fmt.Sprintf("event %d", i) {
			t.Fatalf("drained %q", got)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 0 || s.Bytes() != 0 || !s.Empty() {
		t.Errorf("%d files and %d bytes stay: %v", len(files), s.Bytes(), err)
	}
}

func TestACrashAtEveryByteKeepsExactlyTheWholeRecords(t *testing.T) {
	source := t.TempDir()
	s := open(t, source, 1<<20, 0)
	var ends []int64
	for i := range 4 {
		if err := s.Append([]Record{record(i)}); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, s.Bytes())
	}
	name := filepath.Base(s.path(0))
	whole, err := os.ReadFile(s.path(0))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) + 1 {
		dir := t.TempDir()
		// What the disk holds beyond the cut is not zero: an old file may lie there.
		torn := append(bytes.Clone(whole[:cut]), bytes.Repeat([]byte{0xA5}, (len(whole)-cut)/2)...)
		if err := os.WriteFile(filepath.Join(dir, name), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, end := range ends {
			if int64(cut) >= end {
				want++
			}
		}
		s := open(t, dir, 1<<20, 0)
		if err := s.Append([]Record{{Value: []byte("after")}}); err != nil {
			t.Fatal(err)
		}
		got := drain(t, s)
		if len(got) != want+1 || got[want] != "after" {
			t.Fatalf("cut at %d: drained %q, want %d records and the new one", cut, got, want)
		}
	}
}

func TestAFullSpoolKeepsNothingOfACall(t *testing.T) {
	s := open(t, t.TempDir(), 50, 0)
	if err := s.Append([]Record{record(0)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Append([]Record{record(1), record(2)}); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v", err)
	}
	if got := drain(t, s); len(got) != 1 {
		t.Errorf("drained %q", got)
	}
	if err := s.Append([]Record{record(1), record(2)}); err != nil {
		t.Errorf("after the drain: %v", err)
	}
}

func TestAppendersAndTheDrainerTogetherLoseNothing(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20, 200)
	const writers, each = 4, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.Append([]Record{{Partition: int32(w), Value: []byte{byte(i)}}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var next [writers]byte
	take := func() bool {
		records, err := s.Peek(7, 1<<20)
		if err != nil {
			t.Error(err)
			return false
		}
		for _, r := range records {
			if r.Value[0] != next[r.Partition] {
				t.Errorf("partition %d: record %d before %d", r.Partition, r.Value[0], next[r.Partition])
			}
			next[r.Partition] = r.Value[0] + 1
		}
		if err := s.Advance(records); err != nil {
			t.Error(err)
		}
		return len(records) > 0
	}
	for running := true; running; {
		select {
		case <-s.Added():
			for take() {
			}
		case <-done:
			running = false
		}
	}
	for take() {
	}
	if next != [writers]byte{each, each, each, each} {
		t.Errorf("drained %v", next)
	}
}

// Whatever a crash or a disk left in a segment, the spool opens, and gives back its whole records and nothing else.
func FuzzRecover(f *testing.F) {
	whole := appendRecord(appendRecord(nil, Record{Partition: 1, Value: []byte("one")}), Record{Partition: -1})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(whole[:len(whole):len(whole)], 0xff, 0xff, 0xff, 0xff))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, segment []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d%s", 7, suffix)), segment, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, 1<<30, 0)
		after := Record{Partition: 2, Value: []byte("after")}
		if err := s.Append([]Record{after}); err != nil {
			t.Fatal(err)
		}
		var read []byte
		for {
			records, err := s.Peek(3, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(records) == 0 {
				break
			}
			for _, r := range records {
				read = appendRecord(read, r)
			}
			if err := s.Advance(records); err != nil {
				t.Fatal(err)
			}
		}
		left, ok := bytes.CutSuffix(read, appendRecord(nil, after))
		if !ok || !bytes.HasPrefix(segment, left) {
			t.Errorf("%q came out of %q", read, segment)
		}
		if s.Bytes() != 0 || !s.Empty() {
			t.Errorf("%d bytes are left", s.Bytes())
		}
	})
}
