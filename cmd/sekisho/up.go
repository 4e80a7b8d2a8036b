package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/query/access"
	"github.com/sekisho/sekisho/web/report"
	"github.com/sekisho/sekisho/web/sample"
)

// sampleSitesFile registers the sample site, for a first look.
//
//go:embed sites.yaml
var sampleSitesFile []byte

// sampleSite is the site's id in it, and samplePurpose what its reports are asked for in the first place.
const (
	sampleSite    = "shop"
	samplePurpose = "usage_based_development"
)

// samplePurposes are what the demo key may read for.
var samplePurposes = []string{samplePurpose, "behavioral_personalization", "in_service_recommendation", "customer_support", "security_incident"}

// sampleSites is the built-in registry. The sample site's pages are admitted at the address that they are served at.
func sampleSites(cfg *config.Config) (*site.Registry, error) {
	sites, err := site.Parse(sampleSitesFile)
	if err != nil {
		return nil, err
	}
	if s, ok := sites.Get(sampleSite); ok {
		s.Origins = append(s.Origins, origin(cfg.Sample.Addr), "http://"+cfg.Sample.Addr)
	}
	return sites, nil
}

type upCommand struct {
	Demo bool `help:"First play a short burst of visitors to the sample site, once per data directory."`
}

// Run starts everything in visible order and stops it in the reverse one.
func (u upCommand) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	policies, sites, err := registries(cfg)
	if err != nil {
		return err
	}
	withSample := cfg.Sites == ""
	if u.Demo && !withSample {
		return errors.New("demo: its visitors visit the built-in sample site; start without --sites")
	}
	e, err := startEngines(ctx, cfg, true, logger)
	if err != nil {
		return err
	}
	if err := migrate(ctx, e.db, policies, logger); err != nil {
		return errors.Join(err, e.stop())
	}
	if _, err := openKeys(ctx, cfg, e.db, policies, logger); err != nil { // publishes the key that the collector seals to
		return errors.Join(err, e.stop())
	}
	c, err := openEdge(ctx, cfg, e.cluster, policies, sites, logger)
	if err != nil {
		return errors.Join(err, e.stop())
	}
	work, wctx := errgroup.WithContext(ctx)
	work.Go(func() error { return runPipeline(wctx, cfg, e, policies, sites, logger) })
	work.Go(func() error { return c.run(wctx, cfg, logger) })
	work.Go(func() error { return runQuery(wctx, cfg, e.db, policies, sites, logger) })
	if withSample {
		work.Go(func() error {
			return serve(wctx, "sample site", cfg.Sample.Addr, sample.Handler(cfg.Collector.URL, sampleSite), logger)
		})
	}
	work.Go(func() error {
		if err := ready(wctx, "http://"+cfg.Collector.Addr, "http://"+cfg.Pipeline.Addr, "http://"+cfg.Query.Addr); err != nil {
			return err
		}
		if u.Demo {
			if err := playOnce(wctx, cfg, policies, sites, c.Handler()); err != nil {
				return err
			}
		}
		return announce(cfg, policies, sites, withSample)
	})
	return errors.Join(work.Wait(), e.stop())
}

// ready waits until the services at the base URLs say that they are.
func ready(ctx context.Context, bases ...string) error {
	client := &http.Client{Timeout: 2 * time.Second}
	for _, base := range bases {
		for {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
			if err != nil {
				return fmt.Errorf("wait for services: %w", err)
			}
			res, err := client.Do(r)
			if err == nil {
				_ = res.Body.Close()
				if res.StatusCode == http.StatusOK {
					break
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// announce tells where everything is, and how to ask for a report.
func announce(cfg *config.Config, policies *policy.Register, sites *site.Registry, withSample bool) error {
	var b strings.Builder
	b.WriteString("\nsekisho is up. Ctrl-C stops it; the data stays.\n\n")
	if withSample {
		fmt.Fprintf(&b, "  sample site       %s/\n", origin(cfg.Sample.Addr))
	}
	fmt.Fprintf(&b, "  collector         %s\n", cfg.Collector.URL)
	fmt.Fprintf(&b, "  query service     http://%s  its reference: http://%s/reference/\n", cfg.Query.Addr, cfg.Query.Addr)
	fmt.Fprintf(&b, "  metrics           http://%s/metrics  http://%s/metrics  http://%s/metrics\n", cfg.Collector.MetricsAddr, cfg.Pipeline.Addr, cfg.Query.MetricsAddr)
	if withSample {
		key, err := demoKey(cfg, policies, sites)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "  reports           http://%s%s  sign in with %s\n", cfg.Query.Addr, report.Prefix, key)
		fmt.Fprintf(&b, "\n  A report, for one permitted purpose:\n\n    curl -s -H 'Authorization: Bearer %s' \\\n      'http://%s/v1/reports/overview?site=%s&purpose=%s'\n", key, cfg.Query.Addr, sampleSite, samplePurpose)
	} else {
		b.WriteString("\n  sekisho key create --name NAME --site SITE --purpose PURPOSE makes a key for reports.\n")
	}
	fmt.Println(b.String())
	return nil
}

// origin is the sample site as its registration names it: browsers are admitted by it.
func origin(addr string) string {
	return "http://" + strings.Replace(addr, "127.0.0.1", "localhost", 1)
}

// demoKey is the key to the sample site's reports. It is kept readable, by its owner only, because all it opens is the
// sample site.
func demoKey(cfg *config.Config, policies *policy.Register, sites *site.Registry) (string, error) {
	file := cfg.Path("demo.key")
	kept, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(kept)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read demo key: %w", err)
	}
	key, err := createKey(cfg, policies, sites, "demo", samplePurposes, []string{sampleSite}, access.Analyst, access.Exporter)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep demo key: %w", err)
	}
	return key, nil
}
