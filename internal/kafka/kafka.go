// Package kafka is the only place that speaks to the event log, and the only one that imports a Kafka client. What
// leaves it are the types of this package, so the client can be replaced and its traps stay here.
//
//	Cluster   connections, routing to leaders, TLS and SASL; everything below is built on one
//	Admin     topics with a fixed partition count
//	Producer  group commit: a call returns when every message of it is acknowledged by all in-sync replicas
//	Reader    one partition from an offset, compaction gaps and control batches included
//	Consumer  a consumer group over one topic, with explicit commits that an evicted member cannot make
//	Tail      a compacted topic from its beginning up to now, and on from there
//
// Guarantees: delivery is at least once. A produce request whose answer was lost is sent again, so a message may be
// stored twice; readers deduplicate by event id or offset range. Within a partition, the messages of one caller's
// calls, one after another, keep their order. Records of transactions are delivered like any other: this project
// writes none, and control records are stepped over.
//
// Errors worth repeating carry core.Retryable; the others are permanent. No error holds a key, a value or a password.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Defaults of Config.
const (
	DefaultClientID       = "sekisho"
	DefaultDialTimeout    = 5 * time.Second
	DefaultRequestTimeout = 10 * time.Second
	DefaultMetadataMaxAge = 5 * time.Second
)

// Config says how to reach the brokers.
type Config struct {
	// Brokers are bootstrap addresses, host:port. Required.
	Brokers []string
	// ClientID names this process in the brokers' logs and quotas. Default DefaultClientID.
	ClientID string
	// TLS turns encryption on. Nil is cleartext.
	TLS *tls.Config
	// SASL authenticates. Nil is none.
	SASL *SASL
	// DialTimeout covers the connection with its TLS and SASL handshakes. Default DefaultDialTimeout.
	DialTimeout time.Duration
	// RequestTimeout bounds one request; the broker is told half of it as its limit for replication.
	// Default DefaultRequestTimeout.
	RequestTimeout time.Duration
	// MetadataMaxAge bounds how long a moved leader goes unnoticed while nothing fails. A failed request
	// refreshes at once. Default DefaultMetadataMaxAge.
	MetadataMaxAge time.Duration
	// Logger is told of faults that are being retried. Default slog.Default().
	Logger *slog.Logger
}

// SASL mechanisms.
const (
	Plain       = "PLAIN"         // RFC 4616; refused without TLS except on loopback
	ScramSHA256 = "SCRAM-SHA-256" // RFC 7677
	ScramSHA512 = "SCRAM-SHA-512"
)

// SASL is a user's credentials. It prints as its mechanism alone.
type SASL struct {
	Mechanism string // Plain, ScramSHA256 or ScramSHA512
	User      string
	Password  string
}

// String implements fmt.Stringer without the credentials.
func (s SASL) String() string { return "sasl:" + s.Mechanism }

// Format implements fmt.Formatter for every verb without the credentials.
func (s SASL) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements slog.LogValuer without the credentials.
func (s SASL) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler without the credentials.
func (s SASL) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Cluster is a connection pool to one Kafka cluster. It is safe for concurrent use.
type Cluster struct {
	cfg       Config
	mechanism sasl.Mechanism
	transport *kafkago.Transport
	client    *kafkago.Client

	mu        sync.Mutex
	refreshed time.Time // last forced refresh of the routing
}

// Open prepares a cluster. It does not connect: the first request does.
func Open(cfg Config) (*Cluster, error) {
	cfg = cfg.withDefaults()
	mechanism, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("configure kafka: %w", err)
	}
	dialer := &net.Dialer{Timeout: cfg.DialTimeout}
	transport := &kafkago.Transport{
		Dial:        dialer.DialContext,
		DialTimeout: cfg.DialTimeout,
		MetadataTTL: cfg.MetadataMaxAge,
		ClientID:    cfg.ClientID,
		TLS:         cfg.TLS,
		SASL:        mechanism,
	}
	return &Cluster{
		cfg:       cfg,
		mechanism: mechanism,
		transport: transport,
		client: &kafkago.Client{
			Addr:      kafkago.TCP(cfg.Brokers...),
			Timeout:   cfg.RequestTimeout,
			Transport: transport,
		},
	}, nil
}

// Close drops the connections. Producers, consumers and tails on this cluster MUST have ended before.
func (c *Cluster) Close() { c.transport.CloseIdleConnections() }

func (c Config) withDefaults() Config {
	if c.ClientID == "" {
		c.ClientID = DefaultClientID
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = DefaultDialTimeout
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = DefaultRequestTimeout
	}
	if c.MetadataMaxAge == 0 {
		c.MetadataMaxAge = DefaultMetadataMaxAge
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// validate lists all faults at once and builds the SASL mechanism.
func (c Config) validate() (sasl.Mechanism, error) {
	var faults []error
	if len(c.Brokers) == 0 {
		faults = append(faults, errors.New("no broker address"))
	}
	loopback := true
	for _, b := range c.Brokers {
		host, _, err := net.SplitHostPort(b)
		if err != nil {
			faults = append(faults, fmt.Errorf("parse broker address: %w", err))
			continue
		}
		ip := net.ParseIP(host)
		loopback = loopback && ip != nil && ip.IsLoopback()
	}
	if c.DialTimeout < 0 || c.RequestTimeout < 0 || c.MetadataMaxAge < 0 {
		faults = append(faults, errors.New("negative duration"))
	}
	var mechanism sasl.Mechanism
	if c.SASL != nil {
		var err error
		switch {
		case c.SASL.User == "" || c.SASL.Password == "":
			err = errors.New("sasl needs a user and a password")
		case c.SASL.Mechanism == Plain && c.TLS == nil && !loopback:
			err = errors.New("sasl PLAIN sends the password readable: it needs TLS")
		case c.SASL.Mechanism == Plain:
			mechanism = plain.Mechanism{Username: c.SASL.User, Password: c.SASL.Password}
		case c.SASL.Mechanism == ScramSHA256:
			mechanism, err = scram.Mechanism(scram.SHA256, c.SASL.User, c.SASL.Password)
		case c.SASL.Mechanism == ScramSHA512:
			mechanism, err = scram.Mechanism(scram.SHA512, c.SASL.User, c.SASL.Password)
		default:
			err = errors.New("unknown sasl mechanism")
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	return mechanism, errors.Join(faults...)
}

// dialer opens the connections of the group coordinator, which bypass the pool.
func (c *Cluster) dialer() *kafkago.Dialer {
	return &kafkago.Dialer{
		ClientID:      c.cfg.ClientID,
		Timeout:       c.cfg.DialTimeout,
		TLS:           c.cfg.TLS,
		SASLMechanism: c.mechanism,
	}
}

// refreshInterval bounds how often failing requests make the routing be learnt anew.
const refreshInterval = 200 * time.Millisecond

// refresh forgets the idle connections and the routing, so that the next request learns the leaders anew. The client
// has no other way to force it: a leader that moved would be noticed only at the next periodic refresh.
func (c *Cluster) refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.refreshed) >= refreshInterval {
		c.refreshed = now
		c.transport.CloseIdleConnections()
	}
}

// retry repeats fn while its error is retryable and ctx lives, refreshing the routing between attempts. The error is
// that of the last attempt, or ctx's if there was none.
func (c *Cluster) retry(ctx context.Context, fn func(context.Context) error) error {
	for wait := newBackoff(); ; {
		err := fn(ctx)
		if err == nil || !retryable(err) || ctx.Err() != nil {
			return err
		}
		if !c.pause(ctx, wait, err) {
			return err
		}
	}
}

// pause separates two attempts: it makes the next one learn the routing anew and waits. It reports false if ctx ended
// first. A fault that lasts is logged, once per attempt at the longest wait.
func (c *Cluster) pause(ctx context.Context, wait *backoff, err error) bool {
	c.refresh()
	if wait.next == maxBackoff {
		c.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "kafka request is being retried", slog.Any("error", err))
	}
	return wait.sleep(ctx)
}

// partitions returns the number of partitions of a topic whose every partition has a leader.
func (c *Cluster) partitions(ctx context.Context, topic string) (int, error) {
	res, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	for _, t := range res.Topics {
		if t.Name != topic {
			continue
		}
		if errors.Is(t.Error, kafkago.UnknownTopicOrPartition) {
			return 0, ErrUnknownTopic
		}
		if t.Error != nil {
			return 0, t.Error
		}
		for _, p := range t.Partitions {
			if p.Error != nil {
				return 0, p.Error
			}
		}
		return len(t.Partitions), nil
	}
	return 0, ErrUnknownTopic
}

// offsets asks for one offset of each partition: kafkago.FirstOffset or kafkago.LastOffset.
func (c *Cluster) offsets(ctx context.Context, topic string, partitions []int, which int64) (map[int]int64, error) {
	reqs := make([]kafkago.OffsetRequest, len(partitions))
	for i, p := range partitions {
		reqs[i] = kafkago.OffsetRequest{Partition: p, Timestamp: which}
	}
	var found map[int]int64
	err := c.retry(ctx, func(ctx context.Context) error {
		res, err := c.client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{
			Topics: map[string][]kafkago.OffsetRequest{topic: reqs},
		})
		if err != nil {
			return err
		}
		found = make(map[int]int64, len(partitions))
		for _, p := range res.Topics[topic] {
			if p.Error != nil {
				return p.Error
			}
			found[p.Partition] = p.LastOffset
			if which == kafkago.FirstOffset {
				found[p.Partition] = p.FirstOffset
			}
		}
		if len(found) != len(partitions) {
			return kafkago.LeaderNotAvailable
		}
		return nil
	})
	if err != nil {
		return nil, classify(fmt.Errorf("list offsets of %s: %w", topic, err))
	}
	return found, nil
}

const maxBackoff = time.Second

// backoff is an exponential wait with jitter, from 25 ms to maxBackoff.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: 25 * time.Millisecond} }

// sleep waits; it reports false if ctx ended first.
func (b *backoff) sleep(ctx context.Context) bool {
	d := b.next/2 + rand.N(b.next/2+1) //nolint:gosec // G404: jitter
	b.next = min(2*b.next, maxBackoff)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// String names the brokers for a log line.
func (c *Cluster) String() string { return strings.Join(c.cfg.Brokers, ",") }
