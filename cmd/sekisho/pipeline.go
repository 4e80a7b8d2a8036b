package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/pii"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/pipeline"
)

// openKeys opens the key directory and publishes the public key that collectors seal to.
func openKeys(cfg *config.Config) (*open.Store, *open.Keys, error) {
	store, err := open.OpenStore(cfg.Path("keys"))
	if err != nil {
		return nil, nil, err
	}
	private, err := store.SealKey(pseudonym.X25519, 1)
	if err != nil {
		return nil, nil, err
	}
	public, err := private.Public().MarshalText()
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(cfg.Path("collector.pub"), public, 0o644); err != nil { //nolint:gosec // G306: it is the public key
		return nil, nil, fmt.Errorf("publish public key: %w", err)
	}
	keys, err := open.NewKeys(store, rand.Reader, time.Now)
	if err != nil {
		return nil, nil, err
	}
	return store, keys, nil
}

// runPipeline runs the pipeline and its internal server until ctx ends.
func runPipeline(ctx context.Context, cfg *config.Config, e *engines, policies *policy.Register, sites *site.Registry, logger *slog.Logger) error {
	store, keys, err := openKeys(cfg)
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
	defer func() {
		ending, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		_, _ = states.Close(ending), letters.Close(ending)
	}()
	metrics := prometheus.NewRegistry()
	p, err := pipeline.New(pipeline.Config{
		EventsTopic: cfg.Topic("events"), ConsentTopic: cfg.Topic("consent"), DeadLetterTopic: cfg.Topic("dead-letters"),
		Group: cfg.Kafka.Prefix + ".pipeline", FlushInterval: cfg.Pipeline.FlushInterval,
	}, pipeline.Deps{
		Cluster: e.cluster, Consent: states, DeadLetters: letters, Store: e.db, Opener: open.NewOpener(store), Keys: keys,
		Sites: sites, Policies: policies, Enricher: enrich, Scrubber: pipeline.NewScrubber(pii.New()), Metrics: metrics,
		Logger: logger, Now: time.Now,
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", p.Handler())
	mux.Handle("GET /metrics", metricsHandler(metrics))
	work, wctx := errgroup.WithContext(ctx)
	work.Go(func() error { return p.Run(wctx) })
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
