package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/retention"
)

// retainer keeps the house's retention and reports on it.
type retainer struct {
	cfg      *config.Config
	engines  *engines
	policies *policy.Register
	rotation *open.Rotation // nil where there are no keys; without Keys it only looks
	logger   *slog.Logger
}

// run disposes of what has no purpose left, and enforces limits that the engine let pass, every hour until ctx ends.
func (r *retainer) run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := r.enforce(ctx); err != nil && ctx.Err() == nil { // the next hour tries again, and the report tells
			r.logger.LogAttrs(ctx, slog.LevelError, "retention is behind", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (r *retainer) enforce(ctx context.Context) error {
	disposed, err := retention.Dispose(ctx, r.engines.db, r.policies, time.Now())
	if err != nil {
		return err
	}
	rewritten, err := retention.Enforce(ctx, r.engines.db, time.Now())
	if err != nil {
		return err
	}
	if disposed.Due()+disposed.Unknown > 0 || rewritten > 0 {
		r.logger.LogAttrs(ctx, slog.LevelInfo, "retention enforced", slog.Uint64("rows_without_purpose", disposed.Purposeless),
			slog.Uint64("rows_of_ended_purposes", disposed.Retired), slog.Uint64("rows_of_unknown_policies", disposed.Unknown), slog.Int("partitions", rewritten))
	}
	return nil
}

// apply does everything at once that retention asks for.
func (r *retainer) apply(ctx context.Context) error {
	if err := r.engines.ensureTopics(ctx, r.cfg); err != nil {
		return err
	}
	if err := retention.Apply(ctx, r.engines.db, r.policies, time.Now(), r.logger); err != nil {
		return err
	}
	if err := r.enforce(ctx); err != nil {
		return err
	}
	dropped, err := retention.DropDetached(ctx, r.engines.db, r.policies, time.Now())
	if err != nil {
		return err
	}
	if len(dropped) > 0 {
		r.logger.LogAttrs(ctx, slog.LevelWarn, "detached parts over their limit deleted", slog.Any("parts", dropped))
	}
	if r.rotation == nil {
		return nil
	}
	if _, err := r.rotation.Keys.DestroyBefore(open.Yesterday(time.Now())); err != nil {
		return err
	}
	return r.rotation.Turn(ctx)
}

// inspect gathers what Kafka and the key directory say, and has the whole judged.
func (r *retainer) inspect(ctx context.Context) (retention.Report, error) {
	now := time.Now()
	events, letters := retention.Shares(retention.SealedPeriod(r.policies, now))
	topics := []retention.TopicState{
		{Name: r.cfg.Topic("events"), Limit: events},
		{Name: r.cfg.Topic("dead-letters"), Limit: letters},
		{Name: r.cfg.Topic("consent"), Lasting: "it keeps the last word of each subject"},
		{Name: r.cfg.Topic("ledger"), Lasting: "it says nothing of a person"},
	}
	admin := kafka.NewAdmin(r.engines.cluster)
	for i := range topics {
		t := &topics[i]
		var err error
		if t.Oldest, err = admin.Oldest(ctx, t.Name); err != nil {
			return retention.Report{}, err
		}
		if t.Settings, err = admin.Settings(ctx, t.Name, "cleanup.policy", "retention.ms", "segment.ms"); err != nil {
			return retention.Report{}, err
		}
	}
	var keys []retention.KeyState
	if r.rotation != nil {
		dates, err := r.rotation.Dates(now)
		if err != nil {
			return retention.Report{}, err
		}
		for _, d := range dates {
			keys = append(keys, retention.KeyState{Kind: string(d.Kind), Epoch: d.Epoch, Until: d.Until})
		}
	}
	return retention.Inspect(ctx, r.engines.db, r.policies, topics, keys, now)
}

// retentionPath is where a running pipeline answers for the engines that only it can reach.
const retentionPath = "/internal/v1/retention"

// ServeHTTP answers a GET with the report, and a POST by applying retention first. A POST has to be JSON: a page in a
// browser on this machine cannot send that across origins.
func (r *retainer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch req.Method {
	case http.MethodGet:
	case http.MethodPost:
		if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			httpx.WriteProblem(w, &core.Error{Code: core.CodeMediaType, Message: "send application/json"})
			return
		}
		if err := r.apply(req.Context()); err != nil {
			r.logger.LogAttrs(req.Context(), slog.LevelError, "retention not applied", slog.Any("error", err))
			httpx.WriteProblem(w, err)
			return
		}
	default:
		httpx.WriteProblem(w, &core.Error{Code: core.CodeMethod, Message: "GET reports, POST applies"})
		return
	}
	report, err := r.inspect(req.Context())
	if err != nil {
		r.logger.LogAttrs(req.Context(), slog.LevelError, "retention not inspected", slog.Any("error", err))
		httpx.WriteProblem(w, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, report)
}

type retentionCommand struct {
	Report retentionReport `cmd:"" help:"Tell of every category, topic and key how old the oldest datum is and how old it may be. Exits with 1 on a breach."`
	Apply  retentionApply  `cmd:"" help:"Set and enforce every limit now, delete detached parts that are over one, then report."`
}

type retentionReport struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run implements the command.
func (c retentionReport) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	return reportRetention(ctx, cfg, http.MethodGet, c.JSON, logger)
}

type retentionApply struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run implements the command.
func (c retentionApply) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	return reportRetention(ctx, cfg, http.MethodPost, c.JSON, logger)
}

func reportRetention(ctx context.Context, cfg *config.Config, method string, asJSON bool, logger *slog.Logger) error {
	report, err := retentionOf(ctx, cfg, method, logger)
	if err != nil {
		return err
	}
	if asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		err = out.Encode(report)
	} else {
		err = report.Write(os.Stdout)
	}
	if err != nil {
		return fmt.Errorf("print retention report: %w", err)
	}
	if report.Verdict != retention.OK {
		return errors.New("something is kept for longer than its limit")
	}
	return nil
}

// retentionOf asks the house that runs on this machine, because only it reaches the embedded engines; where none runs,
// or the engines are others, it looks for itself.
func retentionOf(ctx context.Context, cfg *config.Config, method string, logger *slog.Logger) (retention.Report, error) {
	if len(cfg.Kafka.Brokers) == 0 || cfg.Store.ClickHouse == "" {
		report, err := askHouse(ctx, method, "http://"+cfg.Pipeline.Addr+retentionPath)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return report, err
		}
	}
	policies, _, err := registries(cfg)
	if err != nil {
		return retention.Report{}, err
	}
	e := &engines{}
	report, err := inspectAlone(ctx, cfg, e, method, policies, logger)
	return report, errors.Join(err, e.stop())
}

func askHouse(ctx context.Context, method, url string) (retention.Report, error) {
	var report retention.Report
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte("{}")))
	if err != nil {
		return report, fmt.Errorf("ask the pipeline: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return report, fmt.Errorf("ask the pipeline: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return report, fmt.Errorf("ask the pipeline: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return report, fmt.Errorf("ask the pipeline: status %d; its log says why", res.StatusCode)
	}
	if err := json.Unmarshal(body, &report); err != nil {
		return report, errors.New("ask the pipeline: it does not answer with a report")
	}
	return report, nil
}

// inspectAlone starts or reaches the engines itself. It leaves topics and tables as they are unless it is to apply.
func inspectAlone(ctx context.Context, cfg *config.Config, e *engines, method string, policies *policy.Register, logger *slog.Logger) (retention.Report, error) {
	if err := e.reachKafka(ctx, cfg, true, logger); err != nil {
		return retention.Report{}, err
	}
	if err := e.startClickHouse(ctx, cfg, true, logger); err != nil {
		return retention.Report{}, err
	}
	r := &retainer{cfg: cfg, engines: e, policies: policies, logger: logger}
	if _, err := os.Stat(cfg.Path("keys")); err == nil {
		store, err := open.OpenStore(cfg.Path("keys"))
		if err != nil {
			return retention.Report{}, err
		}
		r.rotation = newRotation(cfg, store, e.db, policies, logger)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return retention.Report{}, fmt.Errorf("look for keys: %w", err)
	}
	if method == http.MethodPost {
		if r.rotation != nil {
			var err error
			if r.rotation, err = openKeys(ctx, cfg, e.db, policies, logger); err != nil {
				return retention.Report{}, err
			}
		}
		if err := r.apply(ctx); err != nil {
			return retention.Report{}, err
		}
	}
	return r.inspect(ctx)
}
