package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/site"
)

// sampleSitesFile registers the sample site, for a first look.
//
//go:embed sites.yaml
var sampleSitesFile []byte

func sampleSites() (*site.Registry, error) { return site.Parse(sampleSitesFile) }

type upCommand struct{}

// Run starts everything in visible order and stops it in the reverse one.
func (upCommand) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	policies, sites, err := registries(cfg)
	if err != nil {
		return err
	}
	e, err := startEngines(ctx, cfg, true, logger)
	if err != nil {
		return err
	}
	if err := migrate(ctx, e.db, policies, logger); err != nil {
		return errors.Join(err, e.stop())
	}
	if _, _, err := openKeys(cfg); err != nil { // publishes the key that the collector seals to
		return errors.Join(err, e.stop())
	}
	fmt.Printf("sekisho is up. Ctrl-C stops it.\n  collector         http://%s\n  pipeline metrics  http://%s/metrics\n", cfg.Collector.Addr, cfg.Pipeline.Addr)
	work, wctx := errgroup.WithContext(ctx)
	work.Go(func() error { return runPipeline(wctx, cfg, e, policies, sites, logger) })
	work.Go(func() error { return runCollector(wctx, cfg, e.cluster, policies, sites, logger) })
	return errors.Join(work.Wait(), e.stop())
}
