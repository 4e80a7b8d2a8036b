package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/embedded/broker"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/testkit"
)

// handler is a kafka.Handler made of functions; the nil ones do nothing.
type handler struct {
	assigned func(context.Context, []kafka.Assignment) error
	consume  func(context.Context, *kafka.Claim) error
	revoked  func([]int)
}

func (h *handler) Assigned(ctx context.Context, a []kafka.Assignment) error {
	if h.assigned == nil {
		return nil
	}
	return h.assigned(ctx, a)
}

func (h *handler) Consume(ctx context.Context, c *kafka.Claim) error { return h.consume(ctx, c) }

func (h *handler) Revoked(partitions []int) {
	if h.revoked != nil {
		h.revoked(partitions)
	}
}

func consumer(t testing.TB, c *kafka.Cluster, cfg kafka.ConsumerConfig) *kafka.Consumer {
	t.Helper()
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 2 * time.Second
	}
	if cfg.RebalanceTimeout == 0 {
		cfg.RebalanceTimeout = 2 * time.Second
	}
	cfg.HeartbeatInterval = 50 * time.Millisecond
	cfg.RejoinBackoff = 50 * time.Millisecond
	cfg.Reader.MaxWait = 50 * time.Millisecond
	m, err := kafka.NewConsumer(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// running is a member on its way.
type running struct{ done chan error }

func start(t testing.TB, ctx context.Context, m *kafka.Consumer, h kafka.Handler) running {
	r := running{done: make(chan error, 1)}
	go func() { r.done <- m.Run(ctx, h) }()
	return r
}

func (r running) wait(t testing.TB) {
	t.Helper()
	if err := receive(t, r.done); err != nil {
		t.Errorf("run: %v", err)
	}
}

// ledger collects what members read and commit, and watches the promises made to a handler.
type ledger struct {
	t  testing.TB
	mu sync.Mutex

	records map[int][]kafka.Record // by partition, in order of reading
	owners  map[int]string         // partition -> the member that has it
}

func newLedger(t testing.TB) *ledger {
	return &ledger{t: t, records: map[int][]kafka.Record{}, owners: map[int]string{}}
}

// member reads its partitions and commits after every batch.
func (l *ledger) member(name string) *handler {
	return &handler{
		assigned: func(_ context.Context, given []kafka.Assignment) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, a := range given {
				if owner := l.owners[a.Partition]; owner != "" {
					l.t.Errorf("partition %d is given to %s while %s has it", a.Partition, name, owner)
				}
				l.owners[a.Partition] = name
			}
			return nil
		},
		consume: func(ctx context.Context, claim *kafka.Claim) error {
			for {
				batch, err := claim.Fetch(ctx)
				if err != nil {
					return err
				}
				l.mu.Lock()
				l.records[claim.Partition()] = append(l.records[claim.Partition()], batch.Records...)
				l.mu.Unlock()
				if len(batch.Records) == 0 {
					continue
				}
				if err := claim.Commit(context.WithoutCancel(ctx), batch.Next, ""); err != nil {
					return err
				}
			}
		},
		revoked: func(partitions []int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, p := range partitions {
				if l.owners[p] != name {
					l.t.Errorf("partition %d is revoked from %s, but %q has it", p, name, l.owners[p])
				}
				delete(l.owners, p)
			}
		},
	}
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, records := range l.records {
		n += len(records)
	}
	return n
}

// owned lists the owners of all partitions, sorted.
func (l *ledger) owned() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, name := range l.owners {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

func TestTwoMembersShareATopicAndLoseOrDoubleNothing(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		const partitions = 4
		c := open(t, addr)
		topic := create(t, c, partitions, nil)
		p := producer(t, c, kafka.ProducerConfig{Topic: topic})
		sent := 0
		send := func(n int) {
			msgs := make([]kafka.Message, n)
			for i := range msgs {
				msgs[i] = kafka.Message{Partition: sent % partitions, Value: []byte(strconv.Itoa(sent))}
				sent++
			}
			produce(t, p, msgs...)
		}
		l := newLedger(t)
		cfg := kafka.ConsumerConfig{Group: topic, Topic: topic}

		firstCtx, stopFirst := context.WithCancel(t.Context())
		defer stopFirst()
		first := start(t, firstCtx, consumer(t, c, cfg), l.member("first"))
		testkit.Eventually(t, 20*time.Second, func() bool { return l.owned() == "[first first first first]" })
		send(100)
		testkit.Eventually(t, 20*time.Second, func() bool { return l.count() == 100 })

		secondCtx, stopSecond := context.WithCancel(t.Context())
		defer stopSecond()
		second := start(t, secondCtx, consumer(t, c, cfg), l.member("second"))
		send(100) // in the middle of the rebalance
		testkit.Eventually(t, 20*time.Second, func() bool { return l.owned() == "[first first second second]" })
		send(100)
		testkit.Eventually(t, 20*time.Second, func() bool { return l.count() == 300 })

		stopFirst()
		first.wait(t)
		testkit.Eventually(t, 20*time.Second, func() bool { return l.owned() == "[second second second second]" })
		send(100)
		testkit.Eventually(t, 20*time.Second, func() bool { return l.count() == 400 })
		stopSecond()
		second.wait(t)

		for part := range partitions {
			for i, r := range l.records[part] {
				if r.Offset != int64(i) || string(r.Value) != strconv.Itoa(i*partitions+part) || r.Partition != part {
					t.Fatalf("partition %d: record %d is %q at offset %d", part, i, r.Value, r.Offset)
				}
			}
		}
		lags, err := consumer(t, c, cfg).Lag(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, lag := range lags {
			if want := (kafka.Lag{Partition: i, Committed: 100, End: 100}); lag != want {
				t.Errorf("lag = %+v, want %+v", lag, want)
			}
		}
	})
}

func TestAMemberResumesFromTheCommittedOffsetAndItsNote(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		topic := create(t, c, 1, nil)
		p := producer(t, c, kafka.ProducerConfig{Topic: topic})
		for i := range 10 {
			produce(t, p, kafka.Message{Value: []byte(strconv.Itoa(i))})
		}
		m := consumer(t, c, kafka.ConsumerConfig{Group: topic, Topic: topic})
		lags, err := m.Lag(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := (kafka.Lag{Committed: kafka.FirstOffset, End: 10, Behind: 10}); len(lags) != 1 || lags[0] != want {
			t.Errorf("lag of a group that never committed = %+v, want %+v", lags, want)
		}

		type visit struct {
			committed, first int64
			note             string
		}
		visits := make(chan visit, 1)
		run := func(commit int64) visit {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var v visit
			r := start(t, ctx, m, &handler{
				assigned: func(_ context.Context, a []kafka.Assignment) error {
					v.committed, v.note = a[0].Committed, a[0].Note
					return nil
				},
				consume: func(ctx context.Context, claim *kafka.Claim) error {
					batch, err := claim.Fetch(ctx)
					for err == nil && len(batch.Records) == 0 {
						batch, err = claim.Fetch(ctx)
					}
					if err != nil {
						return err
					}
					v.first = batch.Records[0].Offset
					if err := claim.Commit(ctx, commit, "begun "+strconv.FormatInt(commit, 10)); err != nil {
						t.Error(err)
					}
					visits <- v
					<-ctx.Done()
					return nil
				},
			})
			got := receive(t, visits)
			stop()
			r.wait(t)
			return got
		}
		if got, want := run(4), (visit{kafka.FirstOffset, 0, ""}); got != want {
			t.Errorf("first run: %+v, want %+v", got, want)
		}
		if got, want := run(7), (visit{4, 4, "begun 4"}); got != want {
			t.Errorf("second run: %+v, want %+v", got, want)
		}
		lags, err = m.Lag(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := (kafka.Lag{Committed: 7, End: 10, Behind: 3}); lags[0] != want {
			t.Errorf("lag = %+v, want %+v", lags[0], want)
		}
	})
}

func TestACommitFromAnOldGenerationIsFenced(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		topic := create(t, c, 1, nil)
		p := producer(t, c, kafka.ProducerConfig{Topic: topic})
		for i := range 5 {
			produce(t, p, kafka.Message{Value: []byte(strconv.Itoa(i))})
		}
		cfg := kafka.ConsumerConfig{Group: topic, Topic: topic, RebalanceTimeout: time.Second, SessionTimeout: time.Second}

		// The first member stalls in its batch when the rebalance comes, so the coordinator goes on without it.
		stalled, goOn := make(chan *kafka.Claim, 1), make(chan struct{})
		var once sync.Once
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		fencedCommit := make(chan error, 1)
		first := start(t, ctx, consumer(t, c, cfg), &handler{consume: func(ctx context.Context, claim *kafka.Claim) error {
			err := error(nil)
			once.Do(func() {
				if _, err = claim.Fetch(ctx); err != nil {
					t.Error(err)
				}
				stalled <- claim
				<-goOn
				err = claim.Commit(context.WithoutCancel(ctx), 1, "")
				fencedCommit <- err
			})
			if err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}})
		old := receive(t, stalled)

		secondCtx, stopSecond := context.WithCancel(t.Context())
		defer stopSecond()
		committed := make(chan error, 1)
		var second running
		var commitOnce sync.Once
		second = start(t, secondCtx, consumer(t, c, cfg), &handler{consume: func(ctx context.Context, claim *kafka.Claim) error {
			commitOnce.Do(func() { committed <- claim.Commit(ctx, 5, "") })
			<-ctx.Done()
			return nil
		}})
		if err := receive(t, committed); err != nil {
			t.Fatalf("commit of the new owner: %v", err)
		}
		close(goOn)
		if err := receive(t, fencedCommit); !errors.Is(err, kafka.ErrFenced) || core.IsRetryable(err) {
			t.Errorf("commit of the old owner = %v, want a permanent ErrFenced", err)
		}
		stop()
		first.wait(t)
		stopSecond()
		second.wait(t)

		// After Revoked a claim is fenced without asking.
		if err := old.Commit(t.Context(), 2, ""); !errors.Is(err, kafka.ErrFenced) {
			t.Errorf("commit of a revoked claim = %v, want ErrFenced", err)
		}
		lags, err := consumer(t, c, cfg).Lag(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if lags[0].Committed != 5 {
			t.Errorf("committed = %d, want the new owner's 5", lags[0].Committed)
		}
	})
}

func TestGivingUpAPartitionJoinsAnewFromTheCommittedOffset(t *testing.T) {
	c := open(t, testkit.EmbeddedKafka(t))
	topic := create(t, c, 1, nil)
	produce(t, producer(t, c, kafka.ProducerConfig{Topic: topic}), kafka.Message{Value: []byte("v")})
	offsets := make(chan int64)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	run := start(t, ctx, consumer(t, c, kafka.ConsumerConfig{Group: topic, Topic: topic}), &handler{
		consume: func(ctx context.Context, claim *kafka.Claim) error {
			batch, err := claim.Fetch(ctx)
			if err != nil {
				return err
			}
			select {
			case offsets <- batch.Records[0].Offset:
			case <-ctx.Done():
			}
			return nil // the sink failed, say: nothing is committed
		},
	})
	for range 3 {
		if got := receive(t, offsets); got != 0 {
			t.Errorf("read offset %d again, want 0", got)
		}
	}
	stop()
	run.wait(t)
}

func TestAHandlersFailureEndsRun(t *testing.T) {
	c := open(t, testkit.EmbeddedKafka(t))
	topic := create(t, c, 2, nil)
	failure := errors.New("the state cannot be restored")
	revoked := false
	for name, h := range map[string]*handler{
		"in Assigned": {
			assigned: func(context.Context, []kafka.Assignment) error { return failure },
			consume:  func(context.Context, *kafka.Claim) error { t.Error("consumed"); return nil },
			revoked:  func([]int) { t.Error("revoked what was never taken") },
		},
		"in Consume": {
			consume: func(ctx context.Context, claim *kafka.Claim) error {
				if claim.Partition() == 1 {
					return failure
				}
				<-ctx.Done() // the other partitions are told to end
				return ctx.Err()
			},
			revoked: func(p []int) { revoked = len(p) == 2 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := consumer(t, c, kafka.ConsumerConfig{Group: newTopic(t), Topic: topic})
			if err := receive(t, start(t, t.Context(), m, h).done); !errors.Is(err, failure) {
				t.Errorf("run = %v, want the handler's error", err)
			}
		})
	}
	if !revoked {
		t.Error("the failing member's partitions were not revoked")
	}
}

func TestConsumptionOutlastsARestartOfTheBroker(t *testing.T) {
	restartables(t, func(t *testing.T, b restartable) {
		c := open(t, b.addr)
		topic := create(t, c, 2, nil)
		p := producer(t, c, kafka.ProducerConfig{Topic: topic, DeliveryTimeout: 60 * time.Second})
		produce(t, p, kafka.Message{Partition: 0, Value: []byte("0")}, kafka.Message{Partition: 1, Value: []byte("0")})
		l := newLedger(t)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		run := start(t, ctx, consumer(t, c, kafka.ConsumerConfig{Group: topic, Topic: topic, SessionTimeout: 6 * time.Second}), l.member("m"))
		testkit.Eventually(t, 20*time.Second, func() bool { return l.count() == 2 })
		b.stop()
		b.start()
		if err := p.Produce(t.Context(), []kafka.Message{{Partition: 0, Value: []byte("1")}, {Partition: 1, Value: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
		seen := func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			for part := range 2 {
				if !slices.ContainsFunc(l.records[part], func(r kafka.Record) bool { return string(r.Value) == "1" }) {
					return false
				}
			}
			return true
		}
		testkit.Eventually(t, 60*time.Second, seen)
		stop()
		run.wait(t)
	})
}

func TestAMemberNeedsItsTopic(t *testing.T) {
	c := open(t, testkit.StartEmbedded(t, broker.Config{DataDir: t.TempDir()}).Addrs()[0])
	m := consumer(t, c, kafka.ConsumerConfig{Group: "g", Topic: "absent"})
	if err := m.Run(t.Context(), &handler{}); !errors.Is(err, kafka.ErrUnknownTopic) {
		t.Errorf("run = %v, want ErrUnknownTopic", err)
	}
	if _, err := kafka.NewConsumer(c, kafka.ConsumerConfig{Topic: "t"}); err == nil {
		t.Error("a consumer without a group is accepted")
	}
}
