package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/query"
	"github.com/sekisho/sekisho/query/access"
	"github.com/sekisho/sekisho/web/reference"
	"github.com/sekisho/sekisho/web/report"
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
		Grants: grantsFile(cfg), Issuers: cfg.Query.Access, Policies: cfg.Query.Policies, Threshold: cfg.Query.Threshold, FineThreshold: cfg.Query.FineThreshold,
		Timeout: cfg.Query.Timeout, Memory: cfg.Query.Memory,
		NoiseKey: cfg.Path("noise.key"), Exact: cfg.Query.Exact, Budget: query.Budget{Epsilon: cfg.Query.DayEpsilon, Delta: cfg.Query.DayDelta},
	}, query.Deps{
		Store: db, Sites: sites, Policies: policies, Log: logger, Metrics: metrics, Random: rand.Reader, Now: time.Now,
	})
	if err != nil {
		return err
	}
	handler, err := withPages(cfg, q.Handler())
	if err != nil {
		return err
	}
	work, wctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(wctx, q.EndStreams)() // a server that stops waits for what is open
	work.Go(func() error { return serve(wctx, "query", cfg.Query.Addr, handler, logger) })
	work.Go(func() error {
		return serve(wctx, "query metrics", cfg.Query.MetricsAddr, metricsHandler(metrics), logger)
	})
	return work.Wait()
}

// withPages serves the API, its reference, and the report page, which asks the API as any program does.
func withPages(cfg *config.Config, api http.Handler) (http.Handler, error) {
	documents, err := reference.Handler()
	if err != nil {
		return nil, err
	}
	pages, err := report.Handler(report.Through(api), report.Options{Random: rand.Reader, Now: time.Now, Origin: cfg.Query.Origin})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("/{$}", pages)
	mux.Handle(report.Prefix, pages)
	mux.Handle("/reference/", documents)
	return mux, nil
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
	Create keyCreate `cmd:"" help:"Make an API key for some sites and purposes. It is shown once."`
	List   keyList   `cmd:"" help:"List the keys by id, name, roles, purposes and sites."`
	Revoke keyRevoke `cmd:"" help:"Revoke a key. A running query service refuses it at once."`
}

type keyCreate struct {
	Name    string   `help:"Who the key is for." required:""`
	Role    []string `help:"What it may do: analyst reads, exporter takes answers away as files, officer releases what leaves the company, auditor reads the audit. Repeat it for more." enum:"analyst,exporter,officer,auditor" default:"analyst"`
	Purpose []string `help:"A purpose it may read for; repeat it for more. An auditor needs none."`
	Site    []string `help:"A site it may read; repeat it for more." required:""`
}

// Run implements the command.
func (k keyCreate) Run(cfg *config.Config) error {
	policies, sites, err := registries(cfg)
	if err != nil {
		return err
	}
	roles := make([]access.Role, len(k.Role))
	for i, r := range k.Role {
		roles[i] = access.Role(r)
	}
	key, err := createKey(cfg, policies, sites, k.Name, k.Purpose, k.Site, roles...)
	if err != nil {
		return err
	}
	fmt.Println(key)
	return nil
}

// createKey refuses a grant for what no registry names: it would be a typing error, and never match. Without a role it is
// an analyst's.
func createKey(
	cfg *config.Config, policies *policy.Register, sites *site.Registry, name string, purposes, siteIDs []string, roles ...access.Role,
) (string, error) {
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
	return access.CreateKey(grantsFile(cfg), name, access.Grant{Roles: roles, Purposes: purposes, Sites: siteIDs}, rand.Reader, time.Now())
}

type keyList struct{}

// Run implements the command.
func (keyList) Run(cfg *config.Config) error {
	keys, err := access.Keys(grantsFile(cfg))
	if err != nil {
		return err
	}
	for _, k := range keys {
		fmt.Printf("%s  %s  roles %v  purposes %v  sites %v  created %s\n", k.ID, k.Name, k.Roles, k.Purposes, k.Sites, k.Created.Format(time.RFC3339))
	}
	return nil
}

type keyRevoke struct {
	ID string `arg:"" help:"The key's id: the eight digits after sk_."`
}

// Run implements the command.
func (k keyRevoke) Run(cfg *config.Config) error { return access.RevokeKey(grantsFile(cfg), k.ID) }
