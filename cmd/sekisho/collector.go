package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/collector"
	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/web"
	"github.com/sekisho/sekisho/web/transparency"
)

// publicKey is the file of the public key that the configuration names, or that the pipeline publishes in the data
// directory.
func publicKey(cfg *config.Config) string {
	if cfg.Collector.PublicKey != "" {
		return cfg.Collector.PublicKey
	}
	return cfg.Path("collector.pub")
}

// newSealer seals to the public key.
func newSealer(cfg *config.Config) (*pseudonym.Sealer, error) {
	public, err := pseudonym.ReadPublicKey(publicKey(cfg))
	if err != nil {
		return nil, err
	}
	return pseudonym.NewSealer(public, rand.Reader, time.Now)
}

// followEvery is how often a running collector looks for a new public key.
const followEvery = 30 * time.Second

// edge is a collector with its producer, ready to run.
type edge struct {
	*collector.Collector
	sealer   *pseudonym.Sealer
	producer *kafka.Producer
	metrics  *prometheus.Registry
}

func openEdge(ctx context.Context, cfg *config.Config, cluster *kafka.Cluster, policies *policy.Register, sites *site.Registry, logger *slog.Logger) (_ *edge, err error) {
	sealer, err := newSealer(cfg)
	if err != nil {
		return nil, err
	}
	scripts, err := web.NewScripts()
	if err != nil {
		return nil, err
	}
	e := &edge{sealer: sealer, metrics: prometheus.NewRegistry()}
	if e.producer, err = kafka.NewProducer(cluster, kafka.ProducerConfig{Topic: cfg.Topic("events")}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.closeProducer())
		}
	}()
	partitions, err := e.producer.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	proxies := make([]netip.Prefix, len(cfg.Collector.TrustedProxies))
	for i, p := range cfg.Collector.TrustedProxies {
		if proxies[i], err = netip.ParsePrefix(p); err != nil {
			return nil, fmt.Errorf("read trusted proxies: %w", err)
		}
	}
	asked := collector.NewHTTPPipeline(cfg.Collector.PipelineURL, &http.Client{})
	e.Collector, err = collector.New(collector.Config{
		TrustedProxies: proxies, Rate: cfg.Collector.Rate, Burst: cfg.Collector.Burst,
		SpoolDir: cfg.Path("spool"), SpoolBytes: cfg.Collector.SpoolBytes, Partitions: partitions,
	}, collector.Deps{
		Sites: sites, Policies: policies, Producer: e.producer, Sealer: sealer,
		States: asked, Ledger: asked, Pages: transparency.Handler(policies, sites, time.Now),
		Scripts: scripts, Log: logger, Metrics: e.metrics, Random: rand.Reader, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (e *edge) closeProducer() error {
	ending, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return e.producer.Close(ending)
}

// run serves until ctx ends, then closes what the edge holds.
func (e *edge) run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	work, wctx := errgroup.WithContext(ctx)
	work.Go(func() error { return e.Run(wctx) })
	work.Go(func() error {
		e.sealer.Follow(wctx, publicKey(cfg), followEvery, func(err error) {
			logger.LogAttrs(wctx, slog.LevelWarn, "the public key cannot be read, sealing to the one before", slog.Any("error", err))
		})
		return nil
	})
	work.Go(func() error { return serve(wctx, "collector", cfg.Collector.Addr, e.Handler(), logger) })
	work.Go(func() error {
		return serve(wctx, "collector metrics", cfg.Collector.MetricsAddr, metricsHandler(e.metrics), logger)
	})
	return errors.Join(work.Wait(), e.Close(), e.closeProducer())
}

type collectorCommand struct{}

// Run implements the command.
func (collectorCommand) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	policies, sites, err := registries(cfg)
	if err != nil {
		return err
	}
	e := &engines{}
	if err := e.startKafka(ctx, cfg, false, logger); err != nil {
		return err
	}
	c, err := openEdge(ctx, cfg, e.cluster, policies, sites, logger)
	if err != nil {
		return errors.Join(err, e.stop())
	}
	return errors.Join(c.run(ctx, cfg, logger), e.stop())
}
