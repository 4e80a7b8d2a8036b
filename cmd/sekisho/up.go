package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"

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
	fmt.Printf("sekisho is up. Pipeline metrics: http://%s/metrics. Ctrl-C stops it.\n", cfg.Pipeline.Addr)
	return errors.Join(runPipeline(ctx, cfg, e, policies, sites, logger), e.stop())
}
