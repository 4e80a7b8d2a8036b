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
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
)

// Config is what an operator decides.
type Config struct {
	// Grants is the file of API keys and what each may read. It is read again when it changes. Required.
	Grants string
	// Threshold is the least number of distinct subjects of a group that is shown. Default 10; less than 2 is refused.
	Threshold int
	// FineThreshold is the same for answers that tell more of where somebody is than the country. Default five times
	// Threshold; less than Threshold is refused.
	FineThreshold int
	// Timeout bounds a report in time. Default 30 s.
	Timeout time.Duration
	// Memory bounds each statement of a report, in bytes. Default 1 GiB.
	Memory int64
}

// maxRows is the most rows of an answer.
const maxRows = 1000

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
	config  Config
	deps    Deps
	planner *planner
	grants  *grants
	metrics metrics
	engine  *gin.Engine
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
	if config.Memory == 0 {
		config.Memory = 1 << 30
	}
	if config.Grants == "" || config.Threshold < 2 || config.FineThreshold < config.Threshold || config.Timeout < 0 || config.Memory < 0 {
		return nil, errors.New("configure query: a grants file, a threshold of 2 or more and positive limits are required")
	}
	p, err := newPlanner(config.Threshold, config.FineThreshold)
	if err != nil {
		return nil, fmt.Errorf("configure query: %w", err)
	}
	q := &Query{
		config: config, deps: deps, planner: p, grants: &grants{file: config.Grants},
		metrics: newMetrics(deps.Metrics), engine: httpx.NewEngine(deps.Log, deps.Random),
	}
	q.engine.GET("/healthz", func(g *gin.Context) { g.Status(http.StatusOK) })
	q.engine.GET("/readyz", q.ready)
	q.engine.GET("/v1/catalogue", q.getCatalogue)
	q.engine.GET("/v1/reports/:report", q.getReport)
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
		_, err = q.grants.current()
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
	started := q.deps.Now()
	record := audit{time: started}
	answer, err := q.read(g, &record)
	record.duration = q.deps.Now().Sub(started)
	if err != nil {
		err = q.explain(g.Request.Context(), err)
	}
	record.result = resultOf(err)
	if record.due() {
		// The record is written even if the caller has left: what was read was read.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(g.Request.Context()), auditTimeout)
		defer cancel()
		if fault := q.write(ctx, &record); fault != nil {
			q.deps.Log.ErrorContext(ctx, "audit failed", "error", fault)
			answer, err = nil, &core.Error{Code: core.CodeUnavailable, Message: "the read could not be recorded, so it is not answered"}
		}
	}
	q.metrics.observe(record.report, resultOf(err), record.suppressed, record.duration)
	if err != nil {
		httpx.WriteProblem(g.Writer, err)
		return
	}
	httpx.WriteJSON(g.Writer, http.StatusOK, answer)
}

// read is everything between the request and the audit: an *Answer, or an *Explanation of how it would come about. It
// fills the record as far as it comes.
func (q *Query) read(g *gin.Context, record *audit) (any, error) {
	key, err := q.grants.authenticate(g.GetHeader("Authorization"))
	if err != nil {
		return nil, err
	}
	record.actor = key.ID
	r, fault := q.parse(g, key, record)
	if fault != nil {
		return nil, fault
	}
	planned, fault := q.planner.plan(r)
	if fault != nil {
		return nil, fault
	}
	if r.explain {
		return planned.explain(r), nil
	}
	record.columns = planned.columns
	ctx, cancel := context.WithTimeout(g.Request.Context(), q.config.Timeout)
	defer cancel()
	answer, err := q.run(ctx, r, planned)
	if err != nil {
		return nil, err
	}
	record.rows, record.suppressed = len(answer.Rows), answer.Suppressed.Groups
	return answer, nil
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
