package query

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
)

// Limits of live streams.
const (
	maxStreams         = 500 // of the process: each is a connection
	maxStreamsOfCaller = 50
	auditStreamEvery   = time.Hour
	streamWriteTimeout = 10 * time.Second
	pulsePeriod        = 5 * time.Minute
)

// pulse is the report that a live stream tells, over and over. It is read like any other.
var pulse = report{
	name: "live", parts: []part{{file: "totals", columns: []column{visitors, sessions, views}, order: "people"}}, recent: pulsePeriod,
}

// Pulse is one event of a live stream (schemas/openapi/query.v1.yaml). A number is nil when too few subjects are behind
// it.
type Pulse struct {
	At        time.Time `json:"at"` // the five minutes end here
	Visitors  *uint64   `json:"visitors_last_5_minutes"`
	Sessions  *uint64   `json:"sessions_last_5_minutes"`
	PageViews *uint64   `json:"page_views_last_5_minutes"`
}

// live keeps the streams under way, and what they share.
type live struct {
	ending chan struct{}
	once   sync.Once

	mu      sync.Mutex
	streams map[string]int // by caller
	beats   map[beatKey]*beat
}

// beatKey is what listeners of the same numbers have in common.
type beatKey struct{ site, purpose, policy string }

// beat is one read, shared by all who listen at that time.
type beat struct {
	at   time.Time
	done chan struct{}
	told *Pulse
	err  error
}

func newLive() *live {
	return &live{ending: make(chan struct{}), streams: map[string]int{}, beats: map[beatKey]*beat{}}
}

// EndStreams ends every live stream, so that a server that stops need not wait for them. None begins after it.
func (q *Query) EndStreams() { q.live.once.Do(func() { close(q.live.ending) }) }

// enter counts a stream of a caller in.
func (l *live) enter(caller string) *core.Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := 0
	for _, n := range l.streams {
		all += n
	}
	select {
	case <-l.ending:
		return &core.Error{Code: core.CodeUnavailable, Message: "the service is stopping"}
	default:
	}
	if all >= maxStreams || l.streams[caller] >= maxStreamsOfCaller {
		return &core.Error{Code: core.CodeRateLimited, Message: "too many live streams are open; close one first"}
	}
	l.streams[caller]++
	return nil
}

func (l *live) leave(caller string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[caller]--; l.streams[caller] == 0 {
		delete(l.streams, caller)
	}
}

// getLive tells the numbers of now as server-sent events, until the caller leaves, may not read them any more, or the
// service stops. The stream is recorded when it begins, again every hour, and when its policy is replaced.
func (q *Query) getLive(g *gin.Context) {
	ctx := g.Request.Context()
	record := audit{time: q.deps.Now(), report: pulse.name}
	r, planned, err := q.listen(g, &record)
	if err == nil {
		if fault := q.live.enter(record.actor); fault != nil {
			err = fault
		} else {
			defer q.live.leave(record.actor)
		}
	}
	if err = q.conclude(ctx, &record, err); err != nil {
		httpx.WriteProblem(g.Writer, err)
		return
	}
	s := &stream{w: g.Writer, control: http.NewResponseController(g.Writer)}
	s.begin(q.config.LiveEvery)
	beats := time.NewTicker(q.config.LiveEvery)
	defer beats.Stop()
	recorded := record
	for {
		told, err := q.beat(ctx, r, planned)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			q.deps.Log.WarnContext(ctx, "read of a live stream failed", "error", err)
		}
		if s.send(told) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-q.live.ending:
			return
		case <-beats.C:
		}
		// Everything is held against the grants, the registries and the policies again, as if it were asked for anew.
		next := audit{time: q.deps.Now(), report: pulse.name}
		r, planned, err = q.listen(g, &next)
		if err != nil || next.policy != recorded.policy || next.time.Sub(recorded.time) >= auditStreamEvery {
			err = q.conclude(ctx, &next, err)
			recorded = next
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// listen is everything between a request for a live stream and its first read.
func (q *Query) listen(g *gin.Context, record *audit) (*request, *plan, error) {
	caller, err := q.guard.Authenticate(g.Request.Context(), g.GetHeader("Authorization"))
	if err != nil {
		return nil, nil, err
	}
	record.actor = caller.ID
	values := g.Request.URL.Query()
	for name, given := range values {
		switch {
		case name != "site" && name != "purpose":
			return nil, nil, &core.Error{Code: core.CodeUndeclared, Message: "the request has a parameter that does not exist"}
		case len(given) > 1:
			return nil, nil, invalid(name, "given more than once")
		}
	}
	r := &request{report: &pulse, limit: 1, sample: 1}
	if fault := q.admit(r, values.Get("site"), values.Get("purpose"), caller, record); fault != nil {
		return nil, nil, fault
	}
	r.to = record.time.In(r.site.Location).Truncate(q.config.LiveEvery)
	r.from = r.to.Add(-pulse.recent)
	record.from, record.to = r.from, r.to
	planned, fault := q.planner.plan(r)
	if fault != nil {
		return nil, nil, fault
	}
	record.columns = planned.columns
	if fault := q.guard.Allow(caller, q.planner.asked(r, planned)); fault != nil {
		return nil, nil, fault
	}
	return r, planned, nil
}

// beat reads the numbers of a period once for all who listen, and waits for them. Who leaves does not end the read of
// the others.
func (q *Query) beat(ctx context.Context, r *request, planned *plan) (*Pulse, error) {
	key := beatKey{r.site.ID, r.purpose.ID, r.pack.Version}
	q.live.mu.Lock()
	b := q.live.beats[key]
	mine := b == nil || b.at.Before(r.to)
	if mine {
		b = &beat{at: r.to, done: make(chan struct{})}
		q.live.beats[key] = b
	}
	q.live.mu.Unlock()
	if mine {
		func() {
			defer close(b.done)
			reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.config.Timeout)
			defer cancel()
			b.told, b.err = q.readPulse(reading, r, planned)
		}()
	}
	select {
	case <-b.done:
		return b.told, b.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (q *Query) readPulse(ctx context.Context, r *request, planned *plan) (*Pulse, error) {
	read, err := q.readParts(ctx, r, planned)
	if err != nil {
		return nil, err
	}
	told := &Pulse{At: r.to}
	for _, row := range read.rows {
		for name, to := range map[string]**uint64{visitors.name: &told.Visitors, sessions.name: &told.Sessions, views.name: &told.PageViews} {
			if n, ok := row[name].(uint64); ok {
				*to = &n
			}
		}
	}
	return told, nil
}

// stream is a response of server-sent events (WHATWG HTML, 9.2).
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *stream) begin(every time.Duration) {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that waits for the end of the body would wait for ever
	s.w.WriteHeader(http.StatusOK)
	// The server's limit is on reading the request, which has been read; past it, the caller would seem to have left.
	_ = s.control.SetReadDeadline(time.Time{})
	_, _ = fmt.Fprintf(s.w, "retry: %d\n\n", every.Milliseconds())
}

// send tells the numbers, or only that the stream lives when there are none: the read failed, and is tried again. The
// error says that the caller is gone.
func (s *stream) send(told *Pulse) error {
	if told == nil {
		return s.write(": no answer from the store\n\n")
	}
	return s.event("visitors", told)
}

// end says why there are no more events, so that the caller does not come back with the same request.
func (s *stream) end(why error) {
	_ = s.event("end", httpx.ProblemOf(why))
}

func (s *stream) event(name string, document any) error {
	data, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return s.write("event: " + name + "\ndata: " + string(data) + "\n\n")
}

func (s *stream) write(text string) error {
	// A caller that takes nothing is not waited for.
	_ = s.control.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if err := s.control.Flush(); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
}
