package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/demo"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
)

// demoCommand plays visitors to a collector that is already running. The collector must trust this machine as a proxy
// (--collector-trusted-proxies), or all visitors come from one country.
type demoCommand struct {
	Visitors int           `help:"How many visitors." default:"400"`
	Span     time.Duration `help:"Over which time before now." default:"168h"`
	Seed     uint64        `help:"Makes the visitors; the same seed and time make the same ones. 0: a new one." default:"0"`
}

// Run implements the command.
func (d demoCommand) Run(ctx context.Context, cfg *config.Config) error {
	policies, sites, err := registries(cfg)
	if err != nil {
		return err
	}
	if d.Seed == 0 {
		d.Seed = uint64(time.Now().UnixNano())
	}
	return play(ctx, cfg, policies, sites, d, &http.Client{Timeout: 30 * time.Second})
}

func play(ctx context.Context, cfg *config.Config, policies *policy.Register, sites *site.Registry, d demoCommand, client *http.Client) error {
	s, ok := sites.Get(sampleSite)
	if !ok {
		return errors.New("demo: its visitors visit the built-in sample site; start without --sites")
	}
	pack, ok := policies.At(s.Policy, time.Now())
	if !ok {
		return fmt.Errorf("demo: no version of policy %s is in force", s.Policy)
	}
	player, err := demo.New(demo.Config{
		Collector: cfg.Collector.URL, Page: origin(cfg.Sample.Addr), Site: s.ID, Terms: demo.TermsOf(pack, s.Jurisdiction), Visitors: d.Visitors, Span: d.Span,
		Location: s.Location, Seed: d.Seed, Client: client, Now: time.Now,
	})
	if err != nil {
		return err
	}
	told := time.Time{}
	summary, err := player.Play(ctx, func(done, total int) {
		if now := time.Now(); now.Sub(told) > 2*time.Second || done == total {
			told = now
			fmt.Fprintf(os.Stderr, "demo visitors: %d of %d requests\n", done, total)
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "demo visitors: %d played, %d events and %d consent acts taken, %d rejected\n", d.Visitors, summary.Accepted, summary.Acts, summary.Rejected)
	return nil
}

// playOnce plays the demo visitors once per data directory, through the collector's handler: no proxy needs to be
// trusted for the visitors' invented addresses.
func playOnce(ctx context.Context, cfg *config.Config, policies *policy.Register, sites *site.Registry, collector http.Handler) error {
	mark := cfg.Path("demo.played")
	switch _, err := os.Stat(mark); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("demo: %w", err)
	}
	seed := uint64(time.Now().UnixNano())
	d := demoCommand{Visitors: demo.DefaultVisitors, Span: demo.DefaultSpan, Seed: seed}
	if err := play(ctx, cfg, policies, sites, d, &http.Client{Transport: inProcess{collector}}); err != nil {
		return err
	}
	if err := os.WriteFile(mark, []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// inProcess carries requests to a handler. The address that X-Forwarded-For names becomes the connection's.
type inProcess struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = in.URL.RequestURI()
	in.RemoteAddr = net.JoinHostPort(strings.TrimSpace(r.Header.Get("X-Forwarded-For")), "1")
	in.Header.Del("X-Forwarded-For")
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, in)
	res := w.Result()
	res.Body = io.NopCloser(bytes.NewReader(w.Body.Bytes()))
	return res, nil
}
