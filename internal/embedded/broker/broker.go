// Package broker is the single-machine event log: a Kafka-protocol broker with a data directory, for installations
// that need no cluster. It is franz-go's kfake, which calls itself a fake for tests; what makes it fit for one machine
// is held here by tests (acknowledged messages survive kill -9, retention and compaction run, one process owns a
// directory), and whatever runs on it MUST run unchanged against Apache Kafka, because that is what production uses.
//
// Durability: a produce request is acknowledged after the batch was written to its segment file. Without SyncWrites a
// process crash loses nothing acknowledged and a power loss may lose the last seconds, as with Apache Kafka's defaults
// on one replica. With SyncWrites every batch is fsynced first.
//
// Retention and compaction run only on topics that name cleanup.policy, retention.ms or retention.bytes themselves;
// there is no broker-wide default. A start reads all segments, so keep retention short (1M messages of 500 B: 2 s).
// Compaction halts the broker for about 7 us per stored batch of a compacted topic, each CleanerInterval.
//
// There is no authentication: the broker binds to loopback and refuses anything else.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/sekisho/sekisho/internal/embedded/claim"
)

// ErrLocked reports that another process owns the data directory.
var ErrLocked = claim.ErrTaken

// patience is how long a start waits for a process that was killed a moment ago to let go of directory and address.
const patience = 3 * time.Second

// Defaults of Config.
const (
	DefaultAddr              = "127.0.0.1:0"
	DefaultCleanerInterval   = time.Minute
	DefaultMinSessionTimeout = 6 * time.Second
	DefaultMaxMessageBytes   = 1 << 20
	DefaultOffsetsRetention  = 365 * 24 * time.Hour
)

// Config says where the broker keeps its log and where it listens.
type Config struct {
	// DataDir holds segments, group offsets and topic metadata. It is created with mode 0700. Required.
	DataDir string
	// Addr is host:port; the host MUST be a loopback address. Clients remember the port, so name one in
	// anything that outlives a test. Default DefaultAddr, a free port.
	Addr string
	// SyncWrites makes every acknowledged batch survive a power loss, at the price of an fsync each.
	SyncWrites bool
	// CleanerInterval is how often retention and compaction run. Default DefaultCleanerInterval.
	CleanerInterval time.Duration
	// MinSessionTimeout is the shortest consumer session a group may ask for. Default DefaultMinSessionTimeout.
	MinSessionTimeout time.Duration
	// MaxMessageBytes bounds one record batch as sent (compressed). Default DefaultMaxMessageBytes.
	MaxMessageBytes int
	// OffsetsRetention keeps the committed offsets of a group without members: a machine switched off for
	// longer reads its topics again from the start. Default DefaultOffsetsRetention.
	OffsetsRetention time.Duration
	// Logger receives the broker's warnings. Default slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.DataDir == "" {
		return c, errors.New("data directory is required")
	}
	if c.Addr == "" {
		c.Addr = DefaultAddr
	}
	addr, err := netip.ParseAddrPort(c.Addr)
	if err != nil {
		return c, fmt.Errorf("parse listen address: %w", err)
	}
	if !addr.Addr().IsLoopback() {
		return c, errors.New("listen address is not a loopback address: the embedded broker has no authentication")
	}
	if c.CleanerInterval == 0 {
		c.CleanerInterval = DefaultCleanerInterval
	}
	if c.MinSessionTimeout == 0 {
		c.MinSessionTimeout = DefaultMinSessionTimeout
	}
	if c.MaxMessageBytes == 0 {
		c.MaxMessageBytes = DefaultMaxMessageBytes
	}
	if c.OffsetsRetention == 0 {
		c.OffsetsRetention = DefaultOffsetsRetention
	}
	if c.CleanerInterval < time.Millisecond || c.MinSessionTimeout < time.Millisecond ||
		c.MaxMessageBytes < 0 || c.OffsetsRetention < time.Minute {
		return c, errors.New("a duration or size is out of range")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

// Broker is a running broker. It is safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	addrs   []string
	lock    *os.File
	stopped chan struct{}
	stop    chan struct{} // holds one token: who takes it shuts the cluster down
}

// Start opens the data directory and listens. It returns when the broker answers. ctx bounds the start only.
// A directory owned by a live process gives ErrLocked; the lock dies with its process, however that ended.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure broker: %w", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := claim.File(ctx, filepath.Join(cfg.DataDir, "owner.lock"), patience, func() {
		cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the broker's data directory is in use, waiting")
	})
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("start broker: %w", err), lock.Close())
	}

	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("sekisho-embedded"),
		kfake.DataDir(cfg.DataDir),
		kfake.WithLogger(logAdapter{cfg.Logger}),
		kfake.GroupMinSessionTimeout(cfg.MinSessionTimeout),
		kfake.ListenFn(func(string, string) (net.Listener, error) {
			return claim.Address(ctx, cfg.Addr, patience, func() {
				cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the broker's address is in use, waiting")
			})
		}),
		kfake.BrokerConfigs(map[string]string{
			"log.cleaner.backoff.ms":     millis(cfg.CleanerInterval),
			"message.max.bytes":          strconv.Itoa(cfg.MaxMessageBytes),
			"default.replication.factor": "1",
			"offsets.retention.minutes":  strconv.FormatInt(int64(cfg.OffsetsRetention/time.Minute), 10),
		}),
	}
	if cfg.SyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start broker: %w", err), lock.Close())
	}
	b := &Broker{
		cluster: cluster,
		addrs:   cluster.ListenAddrs(),
		lock:    lock,
		stopped: make(chan struct{}),
		stop:    make(chan struct{}, 1),
	}
	b.stop <- struct{}{}
	return b, nil
}

// Addrs lists the bootstrap addresses, host:port.
func (b *Broker) Addrs() []string { return append([]string(nil), b.addrs...) }

// Stop flushes and closes the log. It returns when the directory is free for the next owner, or with ctx's error
// while the shutdown goes on behind it. Further calls wait for the first.
func (b *Broker) Stop(ctx context.Context) error {
	select {
	case <-b.stop:
		go func() {
			defer close(b.stopped)
			b.cluster.Close()
			_ = b.lock.Close() // closing the descriptor releases the lock; there is nothing to do if it fails
		}()
	default:
	}
	select {
	case <-b.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop broker: %w", ctx.Err())
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// logAdapter passes the broker's own lines on under one constant message. They name topics, partitions, files and
// groups, never a record.
type logAdapter struct{ log *slog.Logger }

func (a logAdapter) Logf(level kfake.LogLevel, msg string, args ...any) {
	to := slog.LevelDebug // kfake's info is one line per request
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	}
	if !a.log.Enabled(context.Background(), to) {
		return
	}
	a.log.LogAttrs(context.Background(), to, "embedded broker", slog.String("detail", fmt.Sprintf(msg, args...)))
}
