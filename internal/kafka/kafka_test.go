package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestMain(m *testing.M) {
	if isBrokerChild() {
		os.Exit(runBrokerChild())
	}
	os.Exit(testkit.Main(m))
}

var topicCounter atomic.Int64

// newTopic names a topic that no other test uses: brokers are shared.
func newTopic(t testing.TB) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, t.Name())
	return fmt.Sprintf("%.100s-%d", name, topicCounter.Add(1))
}

func open(t testing.TB, addr string) *kafka.Cluster {
	t.Helper()
	c, err := kafka.Open(kafka.Config{
		Brokers:        []string{addr},
		RequestTimeout: 5 * time.Second,
		MetadataMaxAge: 2 * time.Second,
		Logger:         testkit.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func create(t testing.TB, c *kafka.Cluster, partitions int, config map[string]string) string {
	t.Helper()
	topic := newTopic(t)
	err := kafka.NewAdmin(c).EnsureTopics(timeout(t, 20*time.Second), []kafka.Topic{{
		Name: topic, Partitions: partitions, ReplicationFactor: 1, Config: config,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func producer(t testing.TB, c *kafka.Cluster, cfg kafka.ProducerConfig) *kafka.Producer {
	t.Helper()
	p, err := kafka.NewProducer(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close producer: %v", err)
		}
	})
	return p
}

func timeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func produce(t testing.TB, p *kafka.Producer, msgs ...kafka.Message) {
	t.Helper()
	if err := p.Produce(timeout(t, 20*time.Second), msgs); err != nil {
		t.Fatal(err)
	}
}

// readAll reads a topic from its start to the high watermarks of now.
func readAll(t testing.TB, c *kafka.Cluster, topic string) []kafka.Record {
	t.Helper()
	tail, err := kafka.NewTail(c, kafka.TailConfig{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	var records []kafka.Record
	err = tail.Restore(timeout(t, 30*time.Second), func(r kafka.Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestEnsureTopicsIsIdempotentAndGuardsThePartitionCount(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		admin := kafka.NewAdmin(c)
		ctx := timeout(t, 20*time.Second)
		topic := kafka.Topic{Name: newTopic(t), Partitions: 3, ReplicationFactor: 1, Config: map[string]string{"retention.ms": "3600000"}}

		if _, err := admin.Partitions(ctx, topic.Name); !errors.Is(err, kafka.ErrUnknownTopic) {
			t.Errorf("partitions of an absent topic: %v, want ErrUnknownTopic", err)
		}
		for range 2 {
			if err := admin.EnsureTopics(ctx, []kafka.Topic{topic}); err != nil {
				t.Fatal(err)
			}
		}
		// Another process's view, with nothing cached.
		if n, err := kafka.NewAdmin(open(t, addr)).Partitions(ctx, topic.Name); err != nil || n != 3 {
			t.Errorf("partitions = %d, %v; want 3", n, err)
		}
		topic.Partitions = 4
		err := admin.EnsureTopics(ctx, []kafka.Topic{topic})
		if !errors.Is(err, kafka.ErrPartitionCount) || core.IsRetryable(err) {
			t.Errorf("another partition count: %v, want a permanent ErrPartitionCount", err)
		}
	})
}

func TestMessagesComeBackAsWrittenAndInOrder(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		topic := create(t, c, 2, nil)
		p := producer(t, c, kafka.ProducerConfig{Topic: topic})
		at := time.UnixMilli(time.Now().Add(-time.Minute).UnixMilli()) // recent: Kafka removes what is old
		produce(t, p, kafka.Message{Partition: 1, Key: []byte("k"), Value: []byte("v"), Time: at, Headers: []kafka.Header{{Key: "h", Value: []byte{0, 1}}}})
		produce(t, p, kafka.Message{Partition: 1, Key: []byte("tombstone")})
		produce(t, p, kafka.Message{Partition: 1, Value: []byte{}})
		for i := range 200 {
			produce(t, p, kafka.Message{Partition: 0, Value: []byte(strconv.Itoa(i))})
		}

		var zero, one []kafka.Record
		for _, r := range readAll(t, c, topic) {
			if r.Partition == 0 {
				zero = append(zero, r)
			} else {
				one = append(one, r)
			}
		}
		if len(one) != 3 || len(zero) != 200 {
			t.Fatalf("read %d and %d records, want 200 and 3", len(zero), len(one))
		}
		first := one[0]
		if string(first.Key) != "k" || string(first.Value) != "v" || !first.Time.Equal(at) || first.Offset != 0 ||
			len(first.Headers) != 1 || first.Headers[0].Key != "h" || string(first.Headers[0].Value) != "\x00\x01" {
			t.Errorf("record changed on its way: %+v", first)
		}
		if one[1].Value != nil {
			t.Errorf("tombstone came back with the value %q", one[1].Value)
		}
		if one[2].Value == nil || one[2].Key != nil {
			t.Errorf("empty value without a key came back as %v, %v", one[2].Key, one[2].Value)
		}
		for i, r := range zero {
			if string(r.Value) != strconv.Itoa(i) || r.Offset != int64(i) {
				t.Fatalf("record %d is %q at offset %d", i, r.Value, r.Offset)
			}
		}
	})
}

func TestTLSAndSASL(t *testing.T) {
	cert, pool := selfSigned(t)
	const user, password = "svc", "correct horse battery"
	for _, mechanism := range []string{kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			server, err := kfake.NewCluster(
				kfake.NumBrokers(1),
				kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}),
				kfake.EnableSASL(), kfake.Superuser(mechanism, user, password),
			)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			connect := func(password string, pool *x509.CertPool) (*kafka.Cluster, error) {
				c, err := kafka.Open(kafka.Config{
					Brokers:        server.ListenAddrs(),
					TLS:            &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
					SASL:           &kafka.SASL{Mechanism: mechanism, User: user, Password: password},
					RequestTimeout: 3 * time.Second,
					Logger:         testkit.Logger(t),
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(c.Close)
				return c, kafka.NewAdmin(c).EnsureTopics(timeout(t, 2*time.Second),
					[]kafka.Topic{{Name: "events", Partitions: 1, ReplicationFactor: 1}})
			}

			c, err := connect(password, pool)
			if err != nil {
				t.Fatal(err)
			}
			produce(t, producer(t, c, kafka.ProducerConfig{Topic: "events"}), kafka.Message{Value: []byte("v")})
			// The group coordinator is reached over connections of its own.
			seen := make(chan kafka.Record, 1)
			ctx, stop := context.WithCancel(t.Context())
			run := start(t, ctx, consumer(t, c, kafka.ConsumerConfig{Group: "g", Topic: "events", SessionTimeout: 6 * time.Second}), &handler{
				consume: func(ctx context.Context, claim *kafka.Claim) error {
					for {
						batch, err := claim.Fetch(ctx)
						if err != nil {
							return err
						}
						for _, r := range batch.Records {
							seen <- r
						}
					}
				},
			})
			if r := receive(t, seen); string(r.Value) != "v" {
				t.Errorf("read %q", r.Value)
			}
			stop()
			run.wait(t)

			wrong := "wrong password"
			_, err = connect(wrong, pool)
			if err == nil {
				t.Error("a wrong password is accepted")
			} else if strings.Contains(err.Error(), wrong) {
				t.Errorf("the error tells the password: %v", err)
			}
			if _, err = connect(password, x509.NewCertPool()); err == nil || core.IsRetryable(err) {
				t.Errorf("an unknown certificate gives %v, want a permanent error", err)
			}
		})
	}
}

func TestConfigurationFaultsAreListedTogether(t *testing.T) {
	_, err := kafka.Open(kafka.Config{
		Brokers: []string{"broker.example.com:9092", "nonsense"},
		SASL:    &kafka.SASL{Mechanism: kafka.Plain, User: "u", Password: "hunter2"},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"missing port", "needs TLS"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error tells the password: %v", err)
	}
	for name, cfg := range map[string]kafka.Config{
		"no broker":         {},
		"no password":       {Brokers: []string{"127.0.0.1:9092"}, SASL: &kafka.SASL{Mechanism: kafka.Plain, User: "u"}},
		"unknown mechanism": {Brokers: []string{"127.0.0.1:9092"}, SASL: &kafka.SASL{Mechanism: "GSSAPI", User: "u", Password: "p"}},
		"negative duration": {Brokers: []string{"127.0.0.1:9092"}, DialTimeout: -1},
	} {
		if _, err := kafka.Open(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestCredentialsDoNotPrint(t *testing.T) {
	s := kafka.SASL{Mechanism: kafka.ScramSHA256, User: "alice", Password: "hunter2"}
	encoded, err := json.Marshal(struct{ S kafka.SASL }{s})
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "sasl", s, "pointer", &s)
	for _, out := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v %q %x", s, &s, s, s), string(encoded), logged.String()} {
		if strings.Contains(out, "hunter2") || strings.Contains(out, "alice") || strings.Contains(out, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("credentials in %q", out)
		}
	}
}

// The mapping is frozen: these values were computed once and MUST stay.
func TestPartitionForIsFrozen(t *testing.T) {
	for _, tt := range []struct {
		routing string
		n, want int
	}{
		{"", 12, 7},
		{"subject-1", 12, 4},
		{"subject-2", 12, 5},
		{"subject-3", 12, 2},
		{"subject-1", 13, 12},
		{"subject-1", 1, 0},
		{"subject-1", 0, 0},
		{"subject-1", -1, 0},
	} {
		if got := kafka.PartitionFor([]byte(tt.routing), tt.n); got != tt.want {
			t.Errorf("PartitionFor(%q, %d) = %d, want %d", tt.routing, tt.n, got, tt.want)
		}
	}
}

func TestPartitionForSpreadsEvenlyAndMovesLittle(t *testing.T) {
	const keys, n = 120_000, 12
	counts := make([]int, n)
	moved := 0
	for i := range keys {
		key := []byte("subject-" + strconv.Itoa(i))
		p := kafka.PartitionFor(key, n)
		counts[p]++
		if q := kafka.PartitionFor(key, n+1); q != p {
			moved++
			if q != n {
				t.Fatalf("key %d moved from %d to %d, not to the new partition", i, p, q)
			}
		}
	}
	for p, c := range counts {
		if c < keys/n*95/100 || c > keys/n*105/100 {
			t.Errorf("partition %d has %d of %d keys", p, c, keys)
		}
	}
	if want := keys / (n + 1); moved < want*9/10 || moved > want*11/10 {
		t.Errorf("%d keys moved, want about %d", moved, want)
	}
}

func TestNoGoroutineOutlivesItsOwner(t *testing.T) {
	addr := testkit.EmbeddedKafka(t)
	before := goleak.IgnoreCurrent()
	func() {
		c, err := kafka.Open(kafka.Config{Brokers: []string{addr}, Logger: testkit.Logger(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		topic := create(t, c, 2, nil)
		p, err := kafka.NewProducer(c, kafka.ProducerConfig{Topic: topic})
		if err != nil {
			t.Fatal(err)
		}
		produce(t, p, kafka.Message{Value: []byte("v")})
		ctx, stop := context.WithCancel(t.Context())
		read := make(chan struct{}, 1)
		run := start(t, ctx, consumer(t, c, kafka.ConsumerConfig{Group: topic, Topic: topic}), &handler{
			consume: func(ctx context.Context, claim *kafka.Claim) error {
				for {
					batch, err := claim.Fetch(ctx)
					if err != nil {
						return err
					}
					if len(batch.Records) > 0 {
						read <- struct{}{}
					}
				}
			},
		})
		receive(t, read)
		stop()
		run.wait(t)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}()
	// Requests that were broken off end with the broker's answer, a moment later.
	testkit.Eventually(t, 10*time.Second, func() bool { return goleak.Find(before) == nil })
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
