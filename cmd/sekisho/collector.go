package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/collector"
	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/internal/site"
)

// newSealer seals to the public key that the configuration names, or that the pipeline published in the data directory.
func newSealer(cfg *config.Config) (*pseudonym.Sealer, error) {
	path := cfg.Collector.PublicKey
	if path == "" {
		path = cfg.Path("collector.pub")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	public, err := pseudonym.ParsePublicKey(text)
	if err != nil {
		return nil, err
	}
	return pseudonym.NewSealer(public, rand.Reader, time.Now)
}

// runCollector runs the edge until ctx ends.
func runCollector(ctx context.Context, cfg *config.Config, cluster *kafka.Cluster, policies *policy.Register, sites *site.Registry, logger *slog.Logger) (err error) {
	sealer, err := newSealer(cfg)
	if err != nil {
		return err
	}
	producer, err := kafka.NewProducer(cluster, kafka.ProducerConfig{Topic: cfg.Topic("events")})
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		err = errors.Join(err, producer.Close(ending))
	}()
	partitions, err := producer.Partitions(ctx)
	if err != nil {
		return err
	}
	proxies := make([]netip.Prefix, len(cfg.Collector.TrustedProxies))
	for i, p := range cfg.Collector.TrustedProxies {
		if proxies[i], err = netip.ParsePrefix(p); err != nil {
			return fmt.Errorf("read trusted proxies: %w", err)
		}
	}
	c, err := collector.New(collector.Config{
		TrustedProxies: proxies, Rate: cfg.Collector.Rate, Burst: cfg.Collector.Burst,
		SpoolDir: cfg.Path("spool"), SpoolBytes: cfg.Collector.SpoolBytes, Partitions: partitions,
	}, collector.Deps{
		Sites: sites, Policies: policies, Producer: producer, Sealer: sealer,
		States: collector.NewHTTPStates(cfg.Collector.PipelineURL, &http.Client{Timeout: 5 * time.Second}),
		Log:    logger, Metrics: prometheus.NewRegistry(), Random: rand.Reader, Now: time.Now,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	listener, err := net.Listen("tcp", cfg.Collector.Addr)
	if err != nil {
		return fmt.Errorf("start collector: %w", err)
	}
	work, wctx := errgroup.WithContext(ctx)
	work.Go(func() error { return c.Run(wctx) })
	work.Go(func() error { return httpx.Serve(wctx, listener, c.Handler(), logger, grace) })
	return work.Wait()
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
	return errors.Join(runCollector(ctx, cfg, e.cluster, policies, sites, logger), e.stop())
}
