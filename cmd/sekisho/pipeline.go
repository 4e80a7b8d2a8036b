package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/pii"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/retention"
	"github.com/sekisho/sekisho/internal/rollup"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/pipeline"
)

// newRotation is the schedule of the keys in a store.
func newRotation(cfg *config.Config, store *open.Store, db *clickhouse.DB, policies *policy.Register, logger *slog.Logger) *open.Rotation {
	return &open.Rotation{
		Store: store, Opener: open.NewOpener(store), KEM: pseudonym.X25519,
		Publish: func(public pseudonym.PublicKey) error {
			return pseudonym.WritePublicKey(cfg.Path("collector.pub"), public)
		},
		Pseudonyms: func(now time.Time) time.Duration { return retention.Period(policies, core.Pseudonym, now) },
		Clear:      func(ctx context.Context, before time.Time) (bool, error) { return retention.Clear(ctx, db, before) },
		Sealed:     cfg.Kafka.Retention, Logger: logger, Now: time.Now,
	}
}

// openKeys opens the key directory, makes the keys that are due, and publishes the public key that collectors seal to.
func openKeys(ctx context.Context, cfg *config.Config, db *clickhouse.DB, policies *policy.Register, logger *slog.Logger) (*open.Rotation, error) {
	store, err := open.OpenStore(cfg.Path("keys"))
	if err != nil {
		return nil, err
	}
	r := newRotation(cfg, store, db, policies, logger)
	if r.Keys, err = open.NewKeys(store, rand.Reader, time.Now); err != nil {
		return nil, err
	}
	return r, r.Turn(ctx)
}

// runPipeline runs the pipeline and its internal server until ctx ends.
func runPipeline(ctx context.Context, cfg *config.Config, e *engines, policies *policy.Register, sites *site.Registry, logger *slog.Logger) error {
	rotation, err := openKeys(ctx, cfg, e.db, policies, logger)
	if err != nil {
		return err
	}
	enrich, err := newEnricher(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = enrich.Close() }()
	states, err := kafka.NewProducer(e.cluster, kafka.ProducerConfig{Topic: cfg.Topic("consent")})
	if err != nil {
		return err
	}
	letters, err := kafka.NewProducer(e.cluster, kafka.ProducerConfig{Topic: cfg.Topic("dead-letters")})
	if err != nil {
		return errors.Join(err, states.Close(ctx))
	}
	entries, err := kafka.NewProducer(e.cluster, kafka.ProducerConfig{Topic: cfg.Topic("ledger")})
	if err != nil {
		return errors.Join(err, states.Close(ctx), letters.Close(ctx))
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		_, _, _ = states.Close(ending), letters.Close(ending), entries.Close(ending)
	}()
	metrics := prometheus.NewRegistry()
	p, err := pipeline.New(pipeline.Config{
		EventsTopic: cfg.Topic("events"), ConsentTopic: cfg.Topic("consent"), DeadLetterTopic: cfg.Topic("dead-letters"),
		Group: cfg.Kafka.Prefix + ".pipeline", FlushInterval: cfg.Pipeline.FlushInterval,
	}, pipeline.Deps{
		Cluster: e.cluster, Consent: states, DeadLetters: letters, Ledger: entries, Store: e.db, Opener: rotation.Opener, Keys: rotation.Keys,
		Sites: sites, Policies: policies, Enricher: enrich, Scrubber: pipeline.NewScrubber(pii.New(), metrics), Metrics: metrics,
		Logger: logger, Now: time.Now,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", p.Handler())
	mux.Handle("GET /metrics", metricsHandler(metrics))
	keeper := &retainer{cfg: cfg, engines: e, policies: policies, rotation: rotation, logger: logger}
	mux.Handle(retentionPath, keeper)
	work, wctx := errgroup.WithContext(ctx)
	if cfg.Pipeline.Ledger {
		book, err := openBook(ctx, cfg, e, logger)
		if err != nil {
			return err
		}
		mux.Handle("/internal/v1/ledger/", book.Handler())
		work.Go(func() error { return book.Run(wctx) })
		work.Go(func() error { return keepNotes(wctx, cfg, e, entries, policies, rotation.Keys, logger) })
		work.Go(func() error {
			return foldWithdrawals(wctx, cfg, newFold(e, entries, rotation.Keys, policies, sites), logger)
		})
		sums := &rollup.Maintainer{DB: e.db, Sites: sites, Policies: policies, Metrics: rollup.NewMetrics(metrics), Logger: logger, Now: time.Now, Threads: 1}
		work.Go(func() error { return sums.Run(wctx) })
	}
	work.Go(func() error { return p.Run(wctx) })
	work.Go(func() error { return rotation.Run(wctx) })
	work.Go(func() error { return keeper.run(wctx) })
	work.Go(func() error { return serve(wctx, "pipeline", cfg.Pipeline.Addr, mux, logger) })
	return work.Wait()
}

type pipelineCommand struct{}

// Run implements the command.
func (pipelineCommand) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	policies, sites, err := registries(cfg)
	if err != nil {
		return err
	}
	e, err := startEngines(ctx, cfg, false, logger)
	if err != nil {
		return err
	}
	return errors.Join(runPipeline(ctx, cfg, e, policies, sites, logger), e.stop())
}
