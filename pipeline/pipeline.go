// Package pipeline takes sealed events from Kafka to ClickHouse:
//
//	read -> open -> decide -> pseudonymise -> enrich -> scrub and minimise -> load -> commit
//
// journey.go holds the steps of one event, act.go those of a consent act, load.go the writing. One subject's events
// and acts pass one partition in order. A batch is a range of offsets that is written down (in the group's commit)
// before anything is stored, so after a crash the very same range is loaded again under the same deduplication
// tokens: nothing is lost and nothing doubled.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/site"
)

// Config says what to read and how to batch.
type Config struct {
	EventsTopic     string        // sealed events and consent acts
	ConsentTopic    string        // compacted consent states
	DeadLetterTopic string        // what could not be opened or decided
	Group           string        // consumer group
	FlushInterval   time.Duration // how long a batch waits for more; it bounds the delay from beacon to report
	BatchRecords    int           // at most this many records in a batch
	SeenWindow      time.Duration // how far back an event sent twice is recognised after a restart
	SeenCapacity    int           // ids remembered a partition
}

// Store is where rows go. An insert with a token that was used before MUST change nothing.
type Store interface {
	Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error
	// Recent is what a partition's state is restored from: what it stored since.
	Recent(ctx context.Context, partition int, since time.Time) (clickhouse.Recent, error)
	// ActPlaces tells of consent acts where their stored rows came from.
	ActPlaces(ctx context.Context, acts []uuid.UUID) (map[uuid.UUID][]clickhouse.Place, error)
}

// Producer writes to one topic; it returns when everything is acknowledged by all in-sync replicas.
type Producer interface {
	Partitions(ctx context.Context) (int, error)
	Produce(ctx context.Context, messages []kafka.Message) error
}

// Opener opens sealed envelopes.
type Opener interface {
	Open(value []byte) (open.Opened, core.Reason)
}

// Deps are what the pipeline works with.
type Deps struct {
	Cluster     *kafka.Cluster
	Consent     Producer // to ConsentTopic
	DeadLetters Producer // to DeadLetterTopic
	Ledger      Producer // to the topic of the proof ledger
	Store       Store
	Opener      Opener
	Keys        *open.Keys
	Sites       *site.Registry
	Policies    *policy.Register
	Enricher    Enricher
	Scrubber    Scrubber
	Metrics     prometheus.Registerer
	Logger      *slog.Logger
	Now         func() time.Time
}

// Pipeline is one member of the pipeline's consumer group.
type Pipeline struct {
	cfg       Config
	deps      Deps
	states    *states
	metrics   *metrics
	tail      *kafka.Tail
	restoring *restoring
	ready     atomic.Bool // it has been given its share of the partitions, and what they rest on is restored

	mu       sync.Mutex
	shards   map[int]*shard
	unfollow func() // stops following the consent topic; nil while nobody follows

	deaf chan error // why the consent topic is followed no more
}

// New checks the configuration; Run does the work.
func New(cfg Config, deps Deps) (*Pipeline, error) {
	if cfg.EventsTopic == "" || cfg.ConsentTopic == "" || cfg.DeadLetterTopic == "" || cfg.Group == "" {
		return nil, errors.New("configure pipeline: topics and group are required")
	}
	if cfg.FlushInterval <= 0 {
		cfg.FlushInterval = 300 * time.Millisecond
	}
	if cfg.BatchRecords <= 0 {
		cfg.BatchRecords = 20_000
	}
	if cfg.SeenWindow <= 0 {
		cfg.SeenWindow = 24 * time.Hour
	}
	if cfg.SeenCapacity <= 0 {
		cfg.SeenCapacity = 1 << 20
	}
	p := &Pipeline{cfg: cfg, deps: deps, states: newStates(), shards: map[int]*shard{}, deaf: make(chan error, 1)}
	p.restoring = &restoring{states: p.states, logger: deps.Logger, now: deps.Now}
	p.metrics = newMetrics(deps.Metrics, p.states)
	var err error
	p.tail, err = kafka.NewTail(deps.Cluster, kafka.TailConfig{Topic: cfg.ConsentTopic, Progress: p.restoring.tell})
	if err != nil {
		return nil, fmt.Errorf("configure pipeline: %w", err)
	}
	return p, nil
}

// Run takes part in the group until ctx ends or something fails for good.
func (p *Pipeline) Run(ctx context.Context) error {
	consumer, err := kafka.NewConsumer(p.deps.Cluster, kafka.ConsumerConfig{
		Group: p.cfg.Group, Topic: p.cfg.EventsTopic, Reader: kafka.ReaderConfig{MaxWait: p.cfg.FlushInterval},
	})
	if err != nil {
		return fmt.Errorf("run pipeline: %w", err)
	}
	work, wctx := errgroup.WithContext(ctx)
	work.Go(func() error { return p.destroyKeys(wctx) })
	work.Go(func() error {
		select {
		case err := <-p.deaf:
			return fmt.Errorf("run pipeline: %w", err)
		case <-wctx.Done():
			return nil
		}
	})
	work.Go(func() error {
		defer p.stopFollowing()
		if err := consumer.Run(wctx, p); err != nil {
			return fmt.Errorf("run pipeline: %w", err)
		}
		return ctx.Err()
	})
	if err := work.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// Assigned restores what the partitions' decisions rest on, before any of their records is read: every consent state
// up to now, and each partition's own recent ids and sessions.
func (p *Pipeline) Assigned(ctx context.Context, assigned []kafka.Assignment) error {
	p.stopFollowing()
	started := p.deps.Now()
	p.restoring.begin()
	if err := p.tail.Restore(ctx, p.take); err != nil {
		return fmt.Errorf("restore consent: %w", err)
	}
	p.restoring.end(ctx)
	p.follow()
	for _, a := range assigned {
		s, err := p.restore(ctx, a)
		if err != nil {
			return fmt.Errorf("restore partition %d: %w", a.Partition, err)
		}
		p.mu.Lock()
		p.shards[a.Partition] = s
		p.mu.Unlock()
	}
	p.ready.Store(true)
	p.deps.Logger.LogAttrs(ctx, slog.LevelInfo, "partitions assigned", slog.Int("partitions", len(assigned)),
		slog.Int("subjects", p.states.len()), slog.Duration("restored_in", p.deps.Now().Sub(started)))
	return nil
}

// Revoked forgets the partitions' state: their next owner restores it.
func (p *Pipeline) Revoked(partitions []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range partitions {
		delete(p.shards, n)
	}
}

// take merges a record of the consent topic. An unreadable one stops the pipeline: a lost refusal is worse.
func (p *Pipeline) take(record kafka.Record) error {
	if record.Value == nil {
		return nil
	}
	subject, state, err := decodeState(record.Key, record.Value)
	if err != nil {
		return err
	}
	p.states.add(subject, state)
	return nil
}

// follow goes on reading the consent topic, for the acts that pass other processes.
func (p *Pipeline) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.tail.Follow(ctx, p.take); err != nil && ctx.Err() == nil {
			// Without it a denial that passes another process would not be known here: the pipeline stops.
			select {
			case p.deaf <- fmt.Errorf("follow consent: %w", err):
			default: // it is stopping already
			}
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unfollow = func() { cancel(); <-ended }
}

func (p *Pipeline) stopFollowing() {
	p.mu.Lock()
	stop := p.unfollow
	p.unfollow = nil
	p.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// destroyKeys destroys the cookieless keys whose day is over. Yesterday's is kept for sessions over midnight.
func (p *Pipeline) destroyKeys(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		day := open.Yesterday(p.deps.Now())
		destroyed, err := p.deps.Keys.DestroyBefore(day)
		if err != nil {
			return fmt.Errorf("destroy cookieless keys: %w", err)
		}
		if len(destroyed) > 0 {
			p.deps.Logger.LogAttrs(ctx, slog.LevelInfo, "destroyed cookieless keys", slog.Int("keys", len(destroyed)))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
