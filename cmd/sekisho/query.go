package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/query"
)

// grantsFile is where API keys and their grants are kept.
func grantsFile(cfg *config.Config) string {
	if cfg.Query.Grants != "" {
		return cfg.Query.Grants
	}
	return cfg.Path("grants.json")
}

// runQuery runs the reading side until ctx ends.
func runQuery(ctx context.Context, cfg *config.Config, db *clickhouse.DB, policies *policy.Register, sites *site.Registry, logger *slog.Logger) error {
	metrics := prometheus.NewRegistry()
	q, err := query.New(query.Config{
		Grants: grantsFile(cfg), Threshold: cfg.Query.Threshold, Timeout: cfg.Query.Timeout, Memory: cfg.Query.Memory,
	}, query.Deps{
		Store: db, Sites: sites, Policies: policies, Log: logger, Metrics: metrics, Random: rand.Reader, Now: time.Now,
	})
	if err != nil {
		return err
	}
	work, wctx := errgroup.WithContext(ctx)
	work.Go(func() error { return serve(wctx, "query", cfg.Query.Addr, q.Handler(), logger) })
	work.Go(func() error {
		return serve(wctx, "query metrics", cfg.Query.MetricsAddr, metricsHandler(metrics), logger)
	})
	return work.Wait()
}

type queryCommand struct{}

// Run implements the command.
func (queryCommand) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	policies, sites, err := registries(cfg)
	if err != nil {
		return err
	}
	e := &engines{}
	if err := e.startClickHouse(ctx, cfg, false, logger); err != nil {
		return err
	}
	return errors.Join(runQuery(ctx, cfg, e.db, policies, sites, logger), e.stop())
}

// keyCommand keeps the API keys of the query service.
type keyCommand struct {
	Create keyCreate `cmd:"" help:"Make an API key that may read some sites for some purposes. It is shown once."`
	List   keyList   `cmd:"" help:"List the keys by id, name, purposes and sites."`
	Revoke keyRevoke `cmd:"" help:"Revoke a key. A running query service refuses it at once."`
}

type keyCreate struct {
	Name    string   `help:"Who the key is for." required:""`
	Purpose []string `help:"A purpose it may read for; repeat it for more." required:""`
	Site    []string `help:"A site it may read; repeat it for more." required:""`
}

// Run implements the command.
func (k keyCreate) Run(cfg *config.Config) error {
	policies, sites, err := registries(cfg)
	if err != nil {
		return err
	}
	key, err := createKey(cfg, policies, sites, k.Name, k.Purpose, k.Site)
	if err != nil {
		return err
	}
	fmt.Println(key)
	return nil
}

// createKey refuses a grant for what no registry names: it would be a typing error, and never match.
func createKey(cfg *config.Config, policies *policy.Register, sites *site.Registry, name string, purposes, siteIDs []string) (string, error) {
	for _, id := range siteIDs {
		s, ok := sites.Get(id)
		if !ok {
			return "", fmt.Errorf("create key: site %s is not registered", id)
		}
		pack, ok := policies.At(s.Policy, time.Now())
		if !ok {
			return "", fmt.Errorf("create key: no version of policy %s is in force", s.Policy)
		}
		for _, purpose := range purposes {
			if _, ok := pack.Purpose(purpose); !ok {
				return "", fmt.Errorf("create key: policy %s has no purpose %s", pack.Version, purpose)
			}
		}
	}
	return query.CreateKey(grantsFile(cfg), name, purposes, siteIDs, rand.Reader, time.Now())
}

type keyList struct{}

// Run implements the command.
func (keyList) Run(cfg *config.Config) error {
	keys, err := query.Keys(grantsFile(cfg))
	if err != nil {
		return err
	}
	for _, k := range keys {
		fmt.Printf("%s  %s  purposes %v  sites %v  created %s\n", k.ID, k.Name, k.Purposes, k.Sites, k.Created.Format(time.RFC3339))
	}
	return nil
}

type keyRevoke struct {
	ID string `arg:"" help:"The key's id: the eight digits after sk_."`
}

// Run implements the command.
func (k keyRevoke) Run(cfg *config.Config) error { return query.RevokeKey(grantsFile(cfg), k.ID) }
