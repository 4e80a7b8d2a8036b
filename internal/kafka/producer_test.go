package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/embedded/broker"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestConcurrentCallersKeepTheirOrder(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		const callers, calls, partitions = 16, 50, 2
		c := open(t, addr)
		topic := create(t, c, partitions, nil)
		p := producer(t, c, kafka.ProducerConfig{Topic: topic})
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for i := range calls {
					// Two messages of a call to one partition keep their order as well.
					msgs := []kafka.Message{
						{Partition: caller % partitions, Key: []byte{byte(caller)}, Value: []byte(strconv.Itoa(2 * i))},
						{Partition: caller % partitions, Key: []byte{byte(caller)}, Value: []byte(strconv.Itoa(2*i + 1))},
					}
					if err := p.Produce(t.Context(), msgs); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		next := map[byte]int{}
		for _, r := range readAll(t, c, topic) {
			caller := r.Key[0]
			if string(r.Value) != strconv.Itoa(next[caller]) {
				t.Fatalf("caller %d: read %s, want %d", caller, r.Value, next[caller])
			}
			next[caller]++
		}
		for caller := range byte(callers) {
			if next[caller] != 2*calls {
				t.Errorf("caller %d: %d messages stored, want %d", caller, next[caller], 2*calls)
			}
		}
	})
}

// scripted is a broker whose answers to produce requests a test decides.
func scripted(t *testing.T, control func(*kmsg.ProduceRequest) (kmsg.Response, error, bool)) (*kafka.Cluster, string) {
	t.Helper()
	server, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		server.KeepControl()
		return control(req.(*kmsg.ProduceRequest))
	})
	return open(t, server.ListenAddrs()[0]), "events"
}

// refuse answers a produce request with one error code.
func refuse(req *kmsg.ProduceRequest, code int16) (kmsg.Response, error, bool) {
	res := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res, nil, true
}

func TestCallersWhoWaitShareTheNextRequest(t *testing.T) {
	answer := make(chan struct{})
	var requests atomic.Int64
	c, topic := scripted(t, func(*kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		if requests.Add(1) == 1 {
			<-answer
		}
		return nil, nil, false
	})
	// The queue is full when all callers are in it. A probe for that may itself take a caller's place for a while,
	// which makes a third request.
	const callers = 100
	p := producer(t, c, kafka.ProducerConfig{Topic: topic, Linger: -1, MaxBufferedBytes: callers * 1000})
	value := make([]byte, 1000-64) // 64 are charged for the record
	var wg sync.WaitGroup
	send := func() {
		wg.Go(func() {
			if err := p.Produce(t.Context(), []kafka.Message{{Value: value}}); err != nil {
				t.Error(err)
			}
		})
	}
	send()
	testkit.Eventually(t, 10*time.Second, func() bool { return requests.Load() == 1 })
	for range callers - 1 {
		send()
	}
	testkit.Eventually(t, 10*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return errors.Is(p.Produce(ctx, []kafka.Message{{Value: value}}), kafka.ErrQueueFull)
	})
	close(answer)
	wg.Wait()
	if n := requests.Load(); n > 4 {
		t.Errorf("%d requests for %d callers, want 2 or little more", n, callers)
	}
	if got := readAll(t, c, topic); len(got) != callers {
		t.Errorf("%d records stored, want %d", len(got), callers)
	}
}

func TestRequestsAskForAllReplicasAndLZ4(t *testing.T) {
	var acks, attributes atomic.Int64
	c, topic := scripted(t, func(req *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		var batch kmsg.RecordBatch
		if err := batch.ReadFrom(req.Topics[0].Partitions[0].Records); err != nil {
			t.Error(err)
		}
		acks.Store(int64(req.Acks))
		attributes.Store(int64(batch.Attributes))
		return nil, nil, false
	})
	produce(t, producer(t, c, kafka.ProducerConfig{Topic: topic}), kafka.Message{Value: []byte("v")})
	if acks.Load() != -1 {
		t.Errorf("acks = %d, want -1 (all)", acks.Load())
	}
	if attributes.Load()&7 != 3 {
		t.Errorf("compression = %d, want 3 (lz4)", attributes.Load()&7)
	}
}

func TestAMovedLeaderIsRetriedInOrder(t *testing.T) {
	var attempts atomic.Int64
	c, topic := scripted(t, func(req *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		if n := attempts.Add(1); n%3 != 0 {
			return refuse(req, kerr.NotLeaderForPartition.Code)
		}
		return nil, nil, false
	})
	p := producer(t, c, kafka.ProducerConfig{Topic: topic})
	for i := range 5 {
		produce(t, p, kafka.Message{Value: []byte(strconv.Itoa(i))})
	}
	records := readAll(t, c, topic)
	if len(records) != 5 {
		t.Fatalf("%d records stored, want 5", len(records))
	}
	for i, r := range records {
		if string(r.Value) != strconv.Itoa(i) {
			t.Errorf("record %d is %s", i, r.Value)
		}
	}
}

func TestRetriesEndWithTheDeliveryTimeout(t *testing.T) {
	c, topic := scripted(t, func(req *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		return refuse(req, kerr.NotEnoughReplicas.Code)
	})
	p := producer(t, c, kafka.ProducerConfig{Topic: topic, DeliveryTimeout: 300 * time.Millisecond})
	began := time.Now()
	err := p.Produce(t.Context(), []kafka.Message{{Value: []byte("v")}, {Value: []byte("w")}})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	var failed *kafka.ProduceError
	if !errors.As(err, &failed) || len(failed.Failed) != 2 || !core.IsRetryable(err) {
		t.Fatalf("error = %v, want two retryable failures", err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want the deadline in it", err)
	}
}

func TestARefusedCallIsPermanent(t *testing.T) {
	c, topic := scripted(t, func(req *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		return refuse(req, kerr.TopicAuthorizationFailed.Code)
	})
	p := producer(t, c, kafka.ProducerConfig{Topic: topic})
	err := p.Produce(t.Context(), []kafka.Message{{Value: []byte("v")}})
	if err == nil || core.IsRetryable(err) {
		t.Errorf("error = %v, want a permanent one", err)
	}
}

func TestFailuresNameTheirMessagesAndTheRestIsStored(t *testing.T) {
	c, topic := scripted(t, func(req *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		if req.Topics[0].Partitions[0].Partition == 1 {
			return refuse(req, kerr.TopicAuthorizationFailed.Code)
		}
		return nil, nil, false
	})
	p := producer(t, c, kafka.ProducerConfig{Topic: topic})
	err := p.Produce(t.Context(), []kafka.Message{{Partition: 0, Value: []byte("a")}, {Partition: 1, Value: []byte("b")}, {Partition: 0, Value: []byte("c")}})
	var failed *kafka.ProduceError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Index != 1 {
		t.Fatalf("error = %v, want message 1 alone to fail", err)
	}
	if got := readAll(t, c, topic); len(got) != 2 {
		t.Errorf("%d records stored, want 2", len(got))
	}
}

func TestAPoisonousMessageFailsAlone(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		// A record over the topic's limit is refused with its whole batch.
		c := open(t, addr)
		topic := create(t, c, 1, map[string]string{"max.message.bytes": "2000"})
		p := producer(t, c, kafka.ProducerConfig{Topic: topic, Linger: 20 * time.Millisecond})
		random := make([]byte, 8000) // does not compress
		_, _ = rand.NewChaCha8([32]byte{}).Read(random)
		var wg sync.WaitGroup
		errs := make([]error, 9)
		for i := range errs {
			wg.Go(func() {
				value := []byte(strconv.Itoa(i))
				if i == 4 {
					value = random
				}
				errs[i] = p.Produce(t.Context(), []kafka.Message{{Value: value}})
			})
		}
		wg.Wait()
		for i, err := range errs {
			switch {
			case i == 4 && (err == nil || core.IsRetryable(err)):
				t.Errorf("the large message gives %v, want a permanent error", err)
			case i != 4 && err != nil:
				t.Errorf("message %d fails with the large one: %v", i, err)
			}
		}
		if got := readAll(t, c, topic); len(got) != len(errs)-1 {
			t.Errorf("%d records stored, want %d", len(got), len(errs)-1)
		}
	})
}

func TestLimitsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	c := open(t, testkit.EmbeddedKafka(t))
	topic := create(t, c, 2, nil)
	p := producer(t, c, kafka.ProducerConfig{Topic: topic, MaxBatchBytes: 1000, MaxBufferedBytes: 2000})
	ctx := timeout(t, 10*time.Second)
	for name, tt := range map[string]struct {
		msgs []kafka.Message
		want error
	}{
		"message over the request size":  {[]kafka.Message{{Value: []byte("ok")}, {Value: make([]byte, 1000)}}, kafka.ErrTooLarge},
		"call over the queue":            {[]kafka.Message{{Value: make([]byte, 900)}, {Value: make([]byte, 900)}, {Value: make([]byte, 900)}}, kafka.ErrTooLarge},
		"partition beyond the last":      {[]kafka.Message{{Value: []byte("ok")}, {Partition: 2}}, kafka.ErrUnknownPartition},
		"partition before the first one": {[]kafka.Message{{Partition: -1}}, kafka.ErrUnknownPartition},
	} {
		t.Run(name, func(t *testing.T) {
			if err := p.Produce(ctx, tt.msgs); !errors.Is(err, tt.want) || core.IsRetryable(err) {
				t.Errorf("error = %v, want a permanent %v", err, tt.want)
			}
		})
	}
	if err := p.Produce(ctx, nil); err != nil {
		t.Errorf("no messages: %v", err)
	}
	if got := readAll(t, c, topic); len(got) != 0 {
		t.Errorf("%d records stored", len(got))
	}
	absent := producer(t, c, kafka.ProducerConfig{Topic: "absent"})
	if err := absent.Produce(ctx, []kafka.Message{{}}); !errors.Is(err, kafka.ErrUnknownTopic) || !core.IsRetryable(err) {
		t.Errorf("absent topic: %v, want a retryable ErrUnknownTopic", err)
	}
}

func TestAFullQueueHoldsCallersBackAndLetsGoOfThoseWhoLeave(t *testing.T) {
	answer := make(chan struct{})
	var requests atomic.Int64
	c, topic := scripted(t, func(*kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		requests.Add(1)
		<-answer
		return nil, nil, false
	})
	p := producer(t, c, kafka.ProducerConfig{Topic: topic, MaxBufferedBytes: 2000, Linger: -1})
	results := make(chan error, 1)
	go func() { results <- p.Produce(t.Context(), []kafka.Message{{Value: make([]byte, 1500)}}) }()
	testkit.Eventually(t, 10*time.Second, func() bool { return requests.Load() == 1 })

	// In the queue behind the first: given up before it was sent.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := p.Produce(ctx, []kafka.Message{{Value: []byte("left")}})
	if !errors.Is(err, context.DeadlineExceeded) || !core.IsRetryable(err) {
		t.Errorf("caller who left: %v", err)
	}
	// No room at all.
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = p.Produce(ctx, []kafka.Message{{Value: make([]byte, 1000)}})
	if !errors.Is(err, kafka.ErrQueueFull) || !core.IsRetryable(err) {
		t.Errorf("full queue: %v, want a retryable ErrQueueFull", err)
	}
	close(answer)
	if err := receive(t, results); err != nil {
		t.Error(err)
	}
	produce(t, p, kafka.Message{Value: make([]byte, 1500)}) // there is room again
	if got := readAll(t, c, topic); len(got) != 2 {
		t.Errorf("%d records stored, want 2: what was given up before it was sent must not be", len(got))
	}
}

func TestCloseDrainsAndThenRefuses(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		topic := create(t, c, 4, nil)
		p, err := kafka.NewProducer(c, kafka.ProducerConfig{Topic: topic, Linger: 200 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var acked, refused atomic.Int64
		for i := range 40 {
			wg.Go(func() {
				switch err := p.Produce(t.Context(), []kafka.Message{{Partition: i % 4, Value: []byte("v")}}); {
				case err == nil:
					acked.Add(1)
				case errors.Is(err, kafka.ErrClosed) && !core.IsRetryable(err):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		if err := p.Close(timeout(t, 20*time.Second)); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if got := readAll(t, c, topic); len(got) != int(acked.Load()) {
			t.Errorf("%d records stored, %d acknowledged, %d refused", len(got), acked.Load(), refused.Load())
		}
		if err := p.Produce(t.Context(), []kafka.Message{{}}); !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("produce after close: %v, want ErrClosed", err)
		}
	})
}

func TestCloseBreaksOffWhatCannotBeDelivered(t *testing.T) {
	c, topic := scripted(t, func(req *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		return refuse(req, kerr.NotEnoughReplicas.Code)
	})
	p, err := kafka.NewProducer(c, kafka.ProducerConfig{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 1)
	queued := make(chan struct{})
	go func() {
		_, _ = p.Partitions(t.Context())
		close(queued)
		results <- p.Produce(t.Context(), []kafka.Message{{Value: []byte("v")}})
	}()
	<-queued
	time.Sleep(50 * time.Millisecond) // let it reach the queue; if it does not, Close refuses it, which is an error as well
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close = %v, want the deadline", err)
	}
	if err := receive(t, results); err == nil {
		t.Error("a message that never was acknowledged is reported as stored")
	}
}

// restartable is a broker that can be stopped and started again on its address and data.
type restartable struct {
	addr        string
	stop, start func()
}

func restartables(t *testing.T, fn func(t *testing.T, b restartable)) {
	t.Run("embedded", func(t *testing.T) {
		cfg := broker.Config{DataDir: t.TempDir(), Addr: freeAddr(t)}
		b := testkit.StartEmbedded(t, cfg)
		fn(t, restartable{
			addr: cfg.Addr,
			stop: func() {
				if err := b.Stop(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			start: func() { b = testkit.StartEmbedded(t, cfg) },
		})
	})
	t.Run("embedded, killed", func(t *testing.T) {
		cfg := broker.Config{DataDir: t.TempDir(), Addr: freeAddr(t)}
		child := startBrokerChild(t, cfg)
		fn(t, restartable{
			addr: cfg.Addr,
			stop: func() {
				_ = child.Process.Kill() // SIGKILL
				_ = child.Wait()
			},
			start: func() { child = startBrokerChild(t, cfg) },
		})
	})
	t.Run("apache", func(t *testing.T) {
		a := testkit.StartApache(t)
		fn(t, restartable{
			addr: a.Addr(),
			stop: func() {
				if err := a.Stop(); err != nil {
					t.Fatal(err)
				}
			},
			start: func() {
				if err := a.Start(t); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
}

func TestProduceOutlastsARestartOfTheBroker(t *testing.T) {
	restartables(t, func(t *testing.T, b restartable) {
		const callers = 4
		c := open(t, b.addr)
		topic := create(t, c, 2, nil)
		p := producer(t, c, kafka.ProducerConfig{Topic: topic, DeliveryTimeout: 60 * time.Second})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var acked atomic.Int64
		sent := make([]int, callers)
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				for ctx.Err() == nil {
					msg := kafka.Message{Partition: caller % 2, Key: []byte{byte(caller)}, Value: []byte(strconv.Itoa(sent[caller]))}
					if err := p.Produce(t.Context(), []kafka.Message{msg}); err != nil {
						t.Errorf("caller %d, message %d: %v", caller, sent[caller], err)
						return
					}
					sent[caller]++
					acked.Add(1)
				}
			})
		}
		testkit.Eventually(t, 20*time.Second, func() bool { return acked.Load() > 200 })
		b.stop()
		b.start()
		resumed := acked.Load()
		testkit.Eventually(t, 60*time.Second, func() bool { return acked.Load() > resumed+200 })
		stop()
		wg.Wait()

		// Every acknowledged message is there, in order; one whose answer was lost may be there twice.
		next := make([]int, callers)
		doubled := 0
		for _, r := range readAll(t, c, topic) {
			caller := r.Key[0]
			n, err := strconv.Atoi(string(r.Value))
			switch {
			case err != nil || n > next[caller]:
				t.Fatalf("caller %d: read %q, want %d", caller, r.Value, next[caller])
			case n < next[caller]:
				doubled++
			default:
				next[caller]++
			}
		}
		for caller := range callers {
			if next[caller] < sent[caller] {
				t.Errorf("caller %d: %d stored of %d acknowledged", caller, next[caller], sent[caller])
			}
		}
		if doubled > callers {
			t.Errorf("%d messages doubled, at most one request per partition was under way", doubled)
		}
	})
}

const brokerChild = "SEKISHO_TEST_BROKER"

func isBrokerChild() bool { return os.Getenv(brokerChild) != "" }

// runBrokerChild is the test binary as a broker process.
func runBrokerChild() int {
	var cfg broker.Config
	err := json.Unmarshal([]byte(os.Getenv(brokerChild)), &cfg)
	if err == nil {
		err = broker.RunChild(context.Background(), cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func startBrokerChild(t *testing.T, cfg broker.Config) *exec.Cmd {
	t.Helper()
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerChild+"="+string(encoded))
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := broker.ReadReady(out); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// receive takes a value from a channel, with patience.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// The benchmarks send one 500-byte message a call from many callers, as a collector does, and compare group commit
// with kafka-go's own writer in its synchronous mode.
func BenchmarkProduce(b *testing.B) {
	value := bytes.Repeat([]byte("sekisho "), 62)
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("Producer/callers=%d", callers), func(b *testing.B) {
			c := open(b, testkit.EmbeddedKafka(b))
			p := producer(b, c, kafka.ProducerConfig{Topic: create(b, c, 4, nil)})
			run(b, callers, func(i int) error {
				return p.Produce(b.Context(), []kafka.Message{{Partition: i % 4, Value: value}})
			})
		})
		b.Run(fmt.Sprintf("Writer/callers=%d", callers), func(b *testing.B) {
			addr := testkit.EmbeddedKafka(b)
			w := &kafkago.Writer{
				Addr: kafkago.TCP(addr), Topic: create(b, open(b, addr), 4, nil), RequiredAcks: kafkago.RequireAll,
				Compression: kafkago.Lz4, BatchTimeout: kafka.DefaultLinger, Balancer: &kafkago.RoundRobin{},
			}
			defer func() { _ = w.Close() }()
			run(b, callers, func(int) error {
				return w.WriteMessages(b.Context(), kafkago.Message{Value: value})
			})
		})
	}
}

func run(b *testing.B, callers int, call func(i int) error) {
	b.Helper()
	if err := call(0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				if err := call(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
