package kafka_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/testkit"
)

// compactSoon makes a topic whose closed segments are compacted as soon as a broker can.
var compactSoon = map[string]string{
	"cleanup.policy":            "compact",
	"segment.ms":                "100",
	"min.cleanable.dirty.ratio": "0.001",
	"delete.retention.ms":       "0",
	"min.compaction.lag.ms":     "0",
}

func TestACompactedTopicRestoresToItsLatestValues(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		const partitions, keys, rounds = 2, 10, 20
		c := open(t, addr)
		topic := create(t, c, partitions, compactSoon)
		p := producer(t, c, kafka.ProducerConfig{Topic: topic})
		want := map[string]string{}
		for round := range rounds {
			var msgs []kafka.Message
			for key := range keys {
				k, v := "k"+strconv.Itoa(key), strconv.Itoa(round)
				msgs = append(msgs, kafka.Message{Partition: key % partitions, Key: []byte(k), Value: []byte(v)})
				want[k] = v
			}
			produce(t, p, msgs...)
		}
		produce(t, p, kafka.Message{Partition: 0, Key: []byte("k0")}) // forgotten
		delete(want, "k0")

		// Segments close when the next record finds them old: a late one on each partition lets the rest compact.
		testkit.Eventually(t, 60*time.Second, func() bool {
			for part := range partitions {
				produce(t, p, kafka.Message{Partition: part, Key: []byte("clock" + strconv.Itoa(part)), Value: []byte("tick")})
			}
			time.Sleep(100 * time.Millisecond) // segment.ms
			return len(readAll(t, c, topic)) < keys*rounds/2
		})

		tail, err := kafka.NewTail(c, kafka.TailConfig{Topic: topic, Progress: progress(t)})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		err = tail.Restore(timeout(t, 30*time.Second), func(r kafka.Record) error {
			if r.Value == nil {
				delete(got, string(r.Key))
			} else {
				got[string(r.Key)] = string(r.Value)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for part := range partitions {
			delete(got, "clock"+strconv.Itoa(part))
		}
		if len(got) != len(want) {
			t.Errorf("%d keys restored, want %d", len(got), len(want))
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s = %q, want %q", k, got[k], v)
			}
		}
	})
}

// progress checks that a Restore's reports only rise and end at their total.
func progress(t *testing.T) func(kafka.Progress) {
	var last kafka.Progress
	t.Cleanup(func() {
		if last.Total == 0 || last.Done != last.Total {
			t.Errorf("progress ended at %+v", last)
		}
	})
	return func(p kafka.Progress) {
		if p.Done < last.Done || p.Done > p.Total {
			t.Errorf("progress went from %+v to %+v", last, p)
		}
		last = p
	}
}

// Restore must end although the last offsets belong to control records, which no reader is given.
func TestRestoreEndsAtALogThatEndsInControlRecords(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		topic := create(t, c, 1, nil)
		txn, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
		if err != nil {
			t.Fatal(err)
		}
		defer txn.Close()
		for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
			if err := txn.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := txn.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := txn.EndTransaction(t.Context(), end); err != nil {
				t.Fatal(err)
			}
		}
		records := readAll(t, c, topic)
		if len(records) != 3 {
			t.Fatalf("%d records, want 3", len(records))
		}
		for i, r := range records {
			if r.Offset != int64(2*i) || string(r.Value) != "v" {
				t.Errorf("record %d is %q at offset %d", i, r.Value, r.Offset)
			}
		}
	})
}

func TestFollowGoesOnWhereRestoreEnded(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		topic := create(t, c, 3, nil)
		p := producer(t, c, kafka.ProducerConfig{Topic: topic})
		send := func(from, to int) {
			for i := from; i < to; i++ {
				produce(t, p, kafka.Message{Partition: i % 3, Value: []byte(strconv.Itoa(i))})
			}
		}
		send(0, 30)
		tail, err := kafka.NewTail(c, kafka.TailConfig{Topic: topic, Reader: kafka.ReaderConfig{MaxWait: 50 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		seen := map[string]int{}
		fn := func(r kafka.Record) error {
			if !mu.TryLock() {
				t.Error("called twice at once")
				mu.Lock()
			}
			defer mu.Unlock()
			seen[string(r.Value)]++
			return nil
		}
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(seen)
		}
		ctx := timeout(t, 30*time.Second)
		if err := tail.Restore(ctx, fn); err != nil {
			t.Fatal(err)
		}
		if count() != 30 {
			t.Fatalf("restored %d records, want 30", count())
		}
		send(30, 40)
		if err := tail.Restore(ctx, fn); err != nil { // a barrier: all that was written before it
			t.Fatal(err)
		}
		if count() != 40 {
			t.Fatalf("%d records after the second restore, want 40", count())
		}
		followCtx, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		var plain sync.Mutex // TryLock above would race with count
		followed := map[string]int{}
		go func() {
			done <- tail.Follow(followCtx, func(r kafka.Record) error {
				plain.Lock()
				defer plain.Unlock()
				followed[string(r.Value)]++
				return nil
			})
		}()
		send(40, 60)
		testkit.Eventually(t, 20*time.Second, func() bool {
			plain.Lock()
			defer plain.Unlock()
			return len(followed) == 20
		})
		stop()
		if err := receive(t, done); err != nil {
			t.Errorf("follow = %v", err)
		}
		for v, n := range followed {
			if n != 1 || seen[v] != 0 {
				t.Errorf("record %s was followed %d times and restored %d times", v, n, seen[v])
			}
		}
	})
}

func TestTheCallersErrorEndsATail(t *testing.T) {
	c := open(t, testkit.EmbeddedKafka(t))
	topic := create(t, c, 2, nil)
	produce(t, producer(t, c, kafka.ProducerConfig{Topic: topic}), kafka.Message{Value: []byte("v")}, kafka.Message{Partition: 1, Value: []byte("v")})
	failure := errors.New("the store is full")
	fail := func(kafka.Record) error { return failure }
	for name, run := range map[string]func(*kafka.Tail) error{
		"Restore": func(tail *kafka.Tail) error { return tail.Restore(t.Context(), fail) },
		"Follow":  func(tail *kafka.Tail) error { return tail.Follow(t.Context(), fail) },
	} {
		tail, err := kafka.NewTail(c, kafka.TailConfig{Topic: topic})
		if err != nil {
			t.Fatal(err)
		}
		if err := run(tail); !errors.Is(err, failure) {
			t.Errorf("%s = %v, want the caller's error", name, err)
		}
	}
}

func TestATailMayBeLimitedToPartitions(t *testing.T) {
	c := open(t, testkit.EmbeddedKafka(t))
	topic := create(t, c, 3, nil)
	p := producer(t, c, kafka.ProducerConfig{Topic: topic})
	for part := range 3 {
		produce(t, p, kafka.Message{Partition: part, Value: []byte("v")})
	}
	tail, err := kafka.NewTail(c, kafka.TailConfig{Topic: topic, Partitions: []int{2, 0}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	if err := tail.Restore(timeout(t, 20*time.Second), func(r kafka.Record) error {
		seen[r.Partition] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[1] {
		t.Errorf("restored partitions %v, want 0 and 2", seen)
	}
}

func TestReadingGoesOnWhereRetentionLeftTheLog(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		topic := create(t, c, 1, map[string]string{"cleanup.policy": "delete", "retention.ms": "1000", "segment.ms": "100"})
		p := producer(t, c, kafka.ProducerConfig{Topic: topic})
		old := time.Now().Add(-time.Hour)
		for range 5 {
			produce(t, p, kafka.Message{Value: []byte("old"), Time: old})
		}
		r := kafka.NewReader(c, topic, 0, 0, kafka.ReaderConfig{MaxWait: 50 * time.Millisecond})
		ctx := timeout(t, 60*time.Second)
		testkit.Eventually(t, 60*time.Second, func() bool {
			r.SeekTo(0)
			batch, err := r.Fetch(ctx)
			if err != nil {
				t.Fatal(err)
			}
			// Retention removes a segment at a time, so the log's start may move to 5 in steps. Wherever it is by now, every
			// offset before Next is a record or lost.
			if got := batch.Lost + int64(len(batch.Records)); got != batch.Next || r.Position() != batch.Next {
				t.Fatalf("%d lost and %d records up to %d, position %d", batch.Lost, len(batch.Records), batch.Next, r.Position())
			}
			if len(batch.Records) > 0 && batch.Records[0].Offset != batch.Lost {
				t.Fatalf("lost %d and went on at %d", batch.Lost, batch.Records[0].Offset)
			}
			return batch.Lost == 5
		})
		r.SeekTo(100)
		if _, err := r.Fetch(ctx); !errors.Is(err, kafka.ErrTruncated) {
			t.Errorf("position past the end: %v, want ErrTruncated", err)
		}
	})
}
