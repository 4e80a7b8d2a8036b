// Package query is the reading side of Sekisho. A read passes
//
//	grant -> plan -> run -> suppress -> audit
//
// and names exactly one purpose: its caller must hold a grant for it, its columns must lie within the purpose's data
// categories, its rows carry the purpose's bit and no withdrawal since, its groups are no smaller than the threshold,
// and no answer leaves before its audit record is stored (Art. 5, 7-2, 7-3).
package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/rollup"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/query/access"
	"github.com/sekisho/sekisho/query/noise"
)

// Config is what an operator decides.
type Config struct {
	// Grants is the file of API keys and what each may read. Required. This file and the next two are read again when they
	// change (package access).
	Grants string
	// Issuers is the file of the issuers of tokens and what their claims grant. Empty: API keys only.
	Issuers string
	// Policies is the file of policies about access. Empty: those of schemas/access.
	Policies string
	// Threshold is the least number of distinct subjects of a group that is shown. Default 10; less than 2 is refused.
	Threshold int
	// FineThreshold is the same for answers that tell more of where somebody is than the country. Default five times
	// Threshold; less than Threshold is refused.
	FineThreshold int
	// Timeout bounds a report in time. Default 30 s.
	Timeout time.Duration
	// LiveEvery is how often a live stream tells the numbers of now. Default 5 s.
	LiveEvery time.Duration
	// Memory bounds each statement of a report, in bytes. Default 1 GiB.
	Memory int64
	// NoiseKey is the file of the key that the noise of answers is drawn by (package noise). It is made where there is
	// none. Several query processes of one deployment MUST have the same. Required, but with Exact.
	NoiseKey string
	// Exact tells numbers without noise. Whoever knows all but one person can then find out about that one.
	Exact bool
	// Bare, which needs Exact, leaves nothing but the threshold: no group goes because of another, no answer is kept or held
	// against earlier ones. It is for tests and measurements.
	Bare bool
	// Budget is what differentially private releases may spend on one day of the data.
	Budget Budget
	// Few is how many events a period must have for its sums by day to be read, where there are any. Default rollup.Few.
	Few uint64
	// Raw reads events only. It is for tests and measurements.
	Raw bool
}

// The most rows of an answer: of one that is read, and of one that leaves as a file.
const (
	maxRows   = 1000
	maxExport = 100_000
)

// auditTimeout bounds the writing of an audit record, which goes on when the caller has left.
const auditTimeout = 5 * time.Second

// Store reads events and writes audit records: internal/clickhouse. Insert's nil MUST mean that the batch is stored,
// and a token that the table has seen MUST change nothing.
type Store interface {
	Select(ctx context.Context, sql string, params map[string]string, limits clickhouse.Limits, scan func(clickhouse.Rows) error) error
	Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error
}

// Deps are the neighbours. Every field is required.
type Deps struct {
	Store    Store
	Sites    *site.Registry
	Policies *policy.Register
	Log      *slog.Logger
	Metrics  *prometheus.Registry
	Random   io.Reader
	Now      func() time.Time
}

// Query is safe for concurrent use.
type Query struct {
	config   Config
	deps     Deps
	planner  *planner
	rollups  *rollup.Reader
	noise    *noise.Noise // nil: numbers are exact
	hash     *noise.Noise // names questions; its noise is not drawn
	budget   [2]*big.Rat  // of epsilon and delta
	guard    *access.Guard
	auditSQL string
	live     *live
	metrics  metrics
	engine   *gin.Engine
}

// New reads the statements and builds the routes.
func New(config Config, deps Deps) (*Query, error) {
	if config.Threshold == 0 {
		config.Threshold = 10
	}
	if config.FineThreshold == 0 {
		config.FineThreshold = 5 * config.Threshold
	}
	if config.Timeout == 0 {
		config.Timeout = 30 * time.Second
	}
	if config.LiveEvery == 0 {
		config.LiveEvery = 5 * time.Second
	}
	if config.Memory == 0 {
		config.Memory = 1 << 30
	}
	if config.Grants == "" || config.Threshold < 2 || config.FineThreshold < config.Threshold || config.Timeout < 0 || config.LiveEvery < 0 || config.Memory < 0 {
		return nil, errors.New("configure query: a grants file, a threshold of 2 or more and positive limits are required")
	}
	guard, err := access.New(access.Config{Keys: config.Grants, Issuers: config.Issuers, Policies: config.Policies}, deps.Log, deps.Now)
	if err != nil {
		return nil, fmt.Errorf("configure query: %w", err)
	}
	auditSQL, err := auditStatement()
	if err != nil {
		return nil, fmt.Errorf("configure query: %w", err)
	}
	p, err := newPlanner(config.Threshold, config.FineThreshold)
	if err != nil {
		return nil, fmt.Errorf("configure query: %w", err)
	}
	if config.Few == 0 {
		config.Few = rollup.Few
	}
	kept, err := rollup.NewReader(deps.Store)
	if err != nil {
		return nil, fmt.Errorf("configure query: %w", err)
	}
	q := &Query{
		config: config, deps: deps, planner: p, rollups: kept, guard: guard, auditSQL: auditSQL, live: newLive(),
		metrics: newMetrics(deps.Metrics), engine: httpx.NewEngine(deps.Log, deps.Random),
	}
	if config.NoiseKey == "" && !config.Exact || config.Bare && !config.Exact {
		return nil, errors.New("configure query: a file for the key of the noise is required")
	}
	if q.budget, err = config.Budget.limits(); err != nil {
		return nil, fmt.Errorf("configure query: %w", err)
	}
	var key [noise.KeySize]byte // of this process only, if there is no other
	if _, err := io.ReadFull(deps.Random, key[:]); err != nil {
		return nil, fmt.Errorf("configure query: %w", err)
	}
	if config.NoiseKey != "" {
		if key, err = noise.Key(config.NoiseKey, deps.Random); err != nil {
			return nil, fmt.Errorf("configure query: %w", err)
		}
	}
	// One person is as likely to be the difference whatever the threshold of a report is.
	if q.hash = noise.New(key, (config.Threshold+1)/2); !config.Exact {
		q.noise = q.hash
	}
	q.engine.GET("/healthz", func(g *gin.Context) { g.Status(http.StatusOK) })
	q.engine.GET("/readyz", q.ready)
	q.engine.GET("/v1/catalogue", q.getCatalogue)
	q.engine.GET("/v1/reports/:report", q.getReport)
	q.engine.GET("/v1/live", q.getLive)
	q.engine.GET("/v1/segments", q.segmentRoute(segmentsRead, q.listSegments))
	q.engine.GET("/v1/segments/:name", q.segmentRoute(segmentsRead, q.getSegment))
	q.engine.PUT("/v1/segments/:name", q.segmentRoute(segmentsChanged, q.putSegment))
	q.engine.DELETE("/v1/segments/:name", q.segmentRoute(segmentsChanged, q.deleteSegment))
	q.engine.GET("/v1/audit", q.getAudit)
	return q, nil
}

// Handler serves the API of schemas/openapi/query.v1.yaml.
func (q *Query) Handler() http.Handler { return q.engine }

func (q *Query) ready(g *gin.Context) {
	ctx, cancel := context.WithTimeout(g.Request.Context(), auditTimeout)
	defer cancel()
	err := q.deps.Store.Select(ctx, "SELECT toUInt64(1)", nil, clickhouse.Limits{Time: auditTimeout}, func(rows clickhouse.Rows) error {
		for rows.Next() {
		}
		return nil
	})
	if err == nil {
		err = q.guard.Ready()
	}
	if err != nil {
		q.deps.Log.WarnContext(ctx, "not ready", "error", err)
		httpx.WriteProblem(g.Writer, &core.Error{Code: core.CodeUnavailable, Message: "not ready"})
		return
	}
	g.Status(http.StatusOK)
}

// getReport is the journey of a read.
func (q *Query) getReport(g *gin.Context) {
	record := audit{time: q.deps.Now()}
	answer, r, err := q.read(g, &record)
	if err = q.conclude(g.Request.Context(), &record, err); err != nil {
		httpx.WriteProblem(g.Writer, err)
		return
	}
	if err := r.reply(g.Writer, g.Request, answer); err != nil {
		httpx.WriteProblem(g.Writer, q.explain(g.Request.Context(), err))
	}
}

// conclude explains a failure, writes the record of what was asked for, and returns what the caller is told: no answer
// leaves without its record.
func (q *Query) conclude(ctx context.Context, record *audit, err error) error {
	record.duration = q.deps.Now().Sub(record.time)
	if err != nil {
		err = q.explain(ctx, err)
	}
	record.result = resultOf(err)
	if record.due() {
		// The record is written even if the caller has left: what was read was read.
		writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
		defer cancel()
		if fault := q.write(writing, record); fault != nil {
			q.deps.Log.ErrorContext(writing, "audit failed", "error", fault)
			err = &core.Error{Code: core.CodeUnavailable, Message: "the request could not be recorded, so it is not answered"}
		}
	}
	q.metrics.observe(record.report, resultOf(err), record.suppressed, record.duration)
	return err
}

// read is everything between the request and the audit: an *Answer, or an *Explanation of how it would come about. It
// fills the record as far as it comes.
func (q *Query) read(g *gin.Context, record *audit) (any, *request, error) {
	caller, err := q.guard.Authenticate(g.Request.Context(), g.GetHeader("Authorization"))
	if err != nil {
		return nil, nil, err
	}
	record.actor = caller.ID
	r, fault := q.parse(g, caller, record)
	if fault != nil {
		return nil, nil, fault
	}
	r.filters = canonical(r.filters)
	planned, fault := q.planner.plan(r)
	if fault != nil {
		return nil, nil, fault
	}
	if fault := q.guard.Allow(caller, q.planner.asked(r, planned)); fault != nil {
		return nil, nil, fault
	}
	ctx, cancel := context.WithTimeout(g.Request.Context(), q.config.Timeout)
	defer cancel()
	if r.explain {
		if planned, err = q.choose(ctx, r, planned); err != nil {
			return nil, nil, err
		}
		return planned.explain(r), r, nil
	}
	record.columns = planned.columns
	var answer *Answer
	if r.private != nil {
		answer, err = q.answerPrivately(ctx, r, planned, record.actor)
	} else {
		answer, err = q.run(ctx, r, planned)
	}
	if err != nil {
		return nil, nil, err
	}
	record.rows, record.suppressed = len(answer.Rows), answer.Suppressed.Groups
	return answer, r, nil
}

// explain turns a failure into what the caller may know. What is no fault of the caller's is logged here, once.
func (q *Query) explain(ctx context.Context, err error) error {
	var e *core.Error
	if errors.As(err, &e) {
		return e
	}
	if ctx.Err() != nil {
		return &core.Error{Code: core.CodeTimeout, Message: "the caller left before the answer"}
	}
	q.deps.Log.ErrorContext(ctx, "read failed", "error", err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return &core.Error{Code: core.CodeTimeout, Message: "the report took longer than its limit; ask for a shorter period"}
	case core.IsRetryable(err):
		return &core.Error{Code: core.CodeUnavailable, Message: "the store did not answer; try again later"}
	}
	return &core.Error{Code: core.CodeInternal, Message: "something went wrong here; the request id helps to find it"}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// resultOf is "ok" or the error's code.
func resultOf(err error) string {
	if err == nil {
		return "ok"
	}
	var e *core.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return string(core.CodeInternal)
}
