// Package collector is the edge of Sekisho: beacons and server events in, sealed envelopes to Kafka, receipts out.
// An event passes
//
//	decode -> limit -> admit -> receipt -> seal -> produce|spool -> answer
//
// and a 2xx answer MUST mean that it is durable: the broker acknowledged it, or the sealed event is fsynced in the
// spool. What identifies a person is sealed before it leaves the process, and never logged.
package collector

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/collector/spool"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// Config is what an operator decides.
type Config struct {
	// TrustedProxies are the proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Rate and Burst bound the requests of one source (an IPv4 address or an IPv6 /64), per second and at once.
	Rate  float64
	Burst int
	// SpoolDir and SpoolBytes say where and how much is kept while the broker is away.
	SpoolDir   string
	SpoolBytes int64
	// Partitions of the events topic. Required.
	Partitions int
	// ProduceTimeout is how long an answer waits for the broker before the event goes to the spool. Default 5 s.
	ProduceTimeout time.Duration
	// Retry is the first pause of the drain after a failure; it doubles up to 5 s. Default 100 ms.
	Retry time.Duration
}

// Producer writes to the events topic: internal/kafka. Nil MUST mean that every message is durable, and messages of
// one call MUST keep their order within a partition.
type Producer interface {
	Produce(ctx context.Context, messages []kafka.Message) error
}

// Sealer seals a body into an envelope that this process cannot open again: internal/pseudonym.
type Sealer interface {
	Seal(envelope *sekishov1.Envelope, body proto.Message) ([]byte, error)
}

// States asks the pipeline what it enforces for the subject of a sealed act; the answer is JSON (ConsentState).
type States interface {
	State(ctx context.Context, sealed []byte) ([]byte, error)
}

// Scripts holds the built browser files by name, s.js and s.<module>.js.
type Scripts interface {
	Script(name string) ([]byte, bool)
	Version() string
}

// Deps are the collector's neighbours. Every field is required but States, Ledger, Scripts and Pages, whose routes then
// answer 503 and 404.
type Deps struct {
	Sites    *site.Registry
	Policies *policy.Register
	Producer Producer
	Sealer   Sealer
	States   States
	Ledger   Ledger
	Scripts  Scripts
	Pages    http.Handler // the transparency pages, below /privacy/
	Log      *slog.Logger
	Metrics  *prometheus.Registry
	Random   io.Reader
	Now      func() time.Time
}

// Collector is safe for concurrent use.
type Collector struct {
	config  Config
	deps    Deps
	spool   *spool.Spool
	rate    *limiter
	origins map[string]bool // of all sites, for CORS
	metrics metrics
	engine  *gin.Engine
	tracker sync.Map // site id -> *trackerScript
	notices sync.Map // noticeKey -> *writtenNotice
}

// New opens the spool and builds the routes. The caller MUST run Run, or the spool is never drained, and Close last.
func New(config Config, deps Deps) (*Collector, error) {
	if config.Partitions < 1 || config.Rate <= 0 || config.Burst < 1 || config.SpoolDir == "" || config.SpoolBytes < 1 {
		return nil, errors.New("configure collector: partitions, rate, burst and spool are required")
	}
	if config.ProduceTimeout <= 0 {
		config.ProduceTimeout = 5 * time.Second
	}
	if config.Retry <= 0 {
		config.Retry = 100 * time.Millisecond
	}
	s, err := spool.Open(config.SpoolDir, config.SpoolBytes, 0)
	if err != nil {
		return nil, fmt.Errorf("open collector: %w", err)
	}
	c := &Collector{
		config: config, deps: deps, spool: s, origins: map[string]bool{}, metrics: newMetrics(deps.Metrics, s),
		rate: &limiter{seed: maphash.MakeSeed(), rate: config.Rate, burst: float64(config.Burst), now: deps.Now},
	}
	for _, s := range deps.Sites.All() {
		for _, o := range s.Origins {
			c.origins[o] = true
		}
	}
	c.engine = httpx.NewEngine(deps.Log, deps.Random)
	c.routes()
	return c, nil
}

func (c *Collector) routes() {
	e := c.engine
	e.GET("/healthz", func(g *gin.Context) { g.Status(http.StatusOK) })
	e.GET("/readyz", c.ready)
	open := e.Group("/", c.cors, c.limit)
	open.POST("/v1/events", c.postEvents)
	open.POST("/v1/consent", c.postConsent)
	open.GET("/v1/consent", c.getConsent)
	open.GET("/v1/pixel.gif", c.getPixel)
	for _, what := range []string{"checkpoint", "proof", "key"} {
		open.GET("/v1/ledger/"+what, c.getLedger(what))
	}
	open.GET("/v1/notice", c.getNotice)
	if c.deps.Pages != nil {
		e.GET("/privacy/*page", c.limit, gin.WrapH(c.deps.Pages))
		e.HEAD("/privacy/*page", c.limit, gin.WrapH(c.deps.Pages))
	}
	e.OPTIONS("/v1/events", c.preflight)
	e.OPTIONS("/v1/consent", c.preflight)
	e.GET("/s.js", c.limit, c.getTracker)
	for _, module := range []string{"page", "consent", "search", "purchase", "ad", "links", "bridge"} {
		name := "s." + module + ".js"
		e.GET("/"+name, func(g *gin.Context) { c.getModule(g, name) })
	}
}

// Handler serves the API of schemas/openapi/collector.v1.yaml. It is the public side: the metrics are for whoever holds
// Deps.Metrics to serve elsewhere.
func (c *Collector) Handler() http.Handler { return c.engine }

// Close closes the spool; what is in it stays for the next start.
func (c *Collector) Close() error { return c.spool.Close() }

func (c *Collector) ready(g *gin.Context) {
	if !c.spool.Takes() {
		httpx.WriteProblem(g.Writer, unavailable())
		return
	}
	g.Status(http.StatusOK)
}

func unavailable() *core.Error {
	return &core.Error{Code: core.CodeUnavailable, Message: "nothing was kept; send it again later"}
}

// result is the answer to events.
type result struct {
	Accepted   int               `json:"accepted"`
	Rejected   int               `json:"rejected"`
	Undeclared int               `json:"undeclared,omitempty"`
	Errors     []httpx.ItemError `json:"errors,omitempty"`
}

// postEvents is the journey of a request.
func (c *Collector) postEvents(g *gin.Context) {
	received := c.deps.Now()
	b, err := c.read(g, applicationJSON, textPlain, ndjson)
	if err != nil {
		c.refuse(g, err)
		return
	}
	defer b.release()
	events, fault := b.decode()
	if fault != nil {
		c.refuse(g, fault)
		return
	}
	a := c.admission(g.Request)
	receipt := c.receipt(g.Request)
	answer := result{Undeclared: events.fields}
	messages := make([]kafka.Message, 0, len(events.items))
	for i := range events.items {
		it := &events.items[i]
		if fault := c.admit(it, a, received); fault != nil {
			answer.Errors = append(answer.Errors, httpx.Item(i, fault))
			c.metrics.rejected.WithLabelValues(string(fault.Code)).Inc()
			continue
		}
		answer.Undeclared += it.undeclared
		it.event.Receipt = receipt
		m, err := c.seal(sekishov1.Kind_KIND_EVENT, it.site, it.id, received, it.event.Identity, receipt, it.event)
		if err != nil {
			c.refuse(g, err)
			return
		}
		messages = append(messages, m)
	}
	answer.Accepted, answer.Rejected = len(messages), len(answer.Errors)
	if answer.Accepted == 0 {
		first := answer.Errors[0]
		httpx.WriteProblem(g.Writer, &core.Error{Code: first.Code, Message: "every event was rejected"}, answer.Errors...)
		return
	}
	if err := c.deliver(g.Request.Context(), messages); err != nil {
		c.refuse(g, err)
		return
	}
	c.metrics.accepted.Add(float64(answer.Accepted))
	c.metrics.undeclared.Add(float64(answer.Undeclared))
	status := http.StatusAccepted
	if answer.Rejected > 0 {
		status = http.StatusMultiStatus
	}
	httpx.WriteJSON(g.Writer, status, answer)
}

// refuse answers that nothing was kept. What is no fault of the caller's is logged here, once.
func (c *Collector) refuse(g *gin.Context, err error) {
	var e *core.Error
	if !errors.As(err, &e) {
		c.deps.Log.ErrorContext(g.Request.Context(), "request failed", "route", g.FullPath(), "error", err)
	} else {
		c.metrics.rejected.WithLabelValues(string(e.Code)).Inc()
	}
	httpx.WriteProblem(g.Writer, err)
}

// seal makes the message of an event or an act. It has no key: nothing linkable is in the topic.
func (c *Collector) seal(kind sekishov1.Kind, siteID string, id uuid.UUID, received time.Time, who *sekishov1.Identity, receipt *sekishov1.Receipt, body proto.Message) (kafka.Message, error) {
	value, err := c.deps.Sealer.Seal(&sekishov1.Envelope{Kind: kind, Site: siteID, Id: id[:], ReceivedUs: received.UnixMicro()}, body)
	if err != nil {
		return kafka.Message{}, fmt.Errorf("seal event: %w", err)
	}
	return kafka.Message{Partition: c.partition(siteID, who, receipt), Value: value}, nil
}

// partition keeps one subject's events and acts in one partition, in order: by its first identifier, else by address
// and user agent, which tell one cookieless visitor from another.
func (c *Collector) partition(siteID string, who *sekishov1.Identity, receipt *sekishov1.Receipt) int {
	routing := make([]byte, 0, 256)
	routing = append(append(routing, siteID...), '|')
	switch {
	case who.GetCookieId() != "":
		routing = append(routing, who.CookieId...)
	case who.GetDeviceId() != "":
		routing = append(routing, who.DeviceId...)
	case who.GetUserId() != "":
		routing = append(routing, who.UserId...)
	default:
		routing = append(append(append(routing, receipt.ClientIp...), '|'), receipt.UserAgent...)
	}
	return kafka.PartitionFor(routing, c.config.Partitions)
}

// deliver returns nil when the messages are durable. While older messages wait in the spool the new ones go behind
// them, so that a subject's order holds.
func (c *Collector) deliver(ctx context.Context, messages []kafka.Message) error {
	if c.spool.Empty() {
		ctx, cancel := context.WithTimeout(ctx, c.config.ProduceTimeout)
		defer cancel()
		err := c.deps.Producer.Produce(ctx, messages)
		if err == nil {
			return nil
		}
		if !core.IsRetryable(err) && ctx.Err() == nil {
			return fmt.Errorf("produce events: %w", err)
		}
	}
	records := make([]spool.Record, len(messages))
	for i, m := range messages {
		records[i] = spool.Record{Partition: int32(m.Partition), Value: m.Value} //nolint:gosec // G115: partitions are few
	}
	err := c.spool.Append(records)
	switch {
	case errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrClosed):
		return unavailable()
	case err != nil:
		c.deps.Log.ErrorContext(ctx, "spool failed", "error", err)
		return unavailable()
	}
	c.metrics.spooled.Add(float64(len(records)))
	return nil
}

// Run drains the spool to the broker, oldest first, until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	const most, mostBytes, longest = 256, 512 << 10, 5 * time.Second
	pause := c.config.Retry
	for {
		records, err := c.spool.Peek(most, mostBytes)
		if err == nil && len(records) == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-c.spool.Added():
				continue
			}
		}
		if err == nil {
			err = c.drain(ctx, records)
		}
		if err == nil {
			pause = c.config.Retry
			continue
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // a stop is no failure; what was not drained waits on disk
		}
		c.deps.Log.WarnContext(ctx, "spool not drained", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
			pause = min(2*pause, longest)
		}
	}
}

func (c *Collector) drain(ctx context.Context, records []spool.Record) error {
	messages := make([]kafka.Message, len(records))
	for i, r := range records {
		messages[i] = kafka.Message{Partition: int(r.Partition), Value: r.Value}
	}
	if err := c.deps.Producer.Produce(ctx, messages); err != nil {
		return fmt.Errorf("produce spooled events: %w", err)
	}
	return c.spool.Advance(records)
}
