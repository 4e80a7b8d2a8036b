// Package demo plays visitors of the sample shop, so that there is something to see at first sight. They talk to a
// collector over HTTP as the tracker in a browser does: batches, consent acts, a refusal as a deny-only hint without an
// identifier.
//
// The visitors are invented, and the same for the same seed and time: their identifiers are random numbers, their
// addresses lie in the blocks of national providers. Nobody is behind them.
//
// A plan is made first, then played in the order of its times. Visitors who consented come on every day of the span.
// Whoever did not comes today, because a visitor without consent is one of a single day, under a key that is gone when
// the day after is over.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/web/sample"
)

// Defaults of Config.
const (
	DefaultVisitors = 400
	DefaultSpan     = 7 * 24 * time.Hour
)

// maxSpan leaves a day of what the collector takes: it refuses events of more than 30 days ago.
const maxSpan = 29 * 24 * time.Hour

// Config says who plays where.
type Config struct {
	// Collector is the base URL of the collector. Required.
	Collector string
	// Page is the base URL of the sample shop; its origin must be one that the site allows. Required.
	Page string
	// Site is the id of the site. Required.
	Site string
	// Terms are what the tracker of the site would know of the policy in force. Required; TermsOf makes them.
	Terms Terms
	// Visitors is how many come. Default DefaultVisitors.
	Visitors int
	// Span is the time in which they come: an hour to 29 days. From a day on, it is counted in days of the site, of
	// which today is the last. Default DefaultSpan.
	Span time.Duration
	// Location is where the site's days begin. Default UTC.
	Location *time.Location
	// Seed makes the visitors and every identifier. Who plays again into the same store takes another seed, or the
	// pipeline knows the events already.
	Seed uint64
	// Client sends the requests. The address of a visitor is in X-Forwarded-For, which a collector believes from its
	// trusted proxies only. Required.
	Client *http.Client
	// Now is the clock. Required.
	Now func() time.Time
}

// Player plays the visitors of one configuration.
type Player struct {
	config Config
	origin string
	texts  map[string]sample.Texts
	wait   func(context.Context, time.Duration) error
}

// New checks the configuration. The error lists every fault.
func New(config Config) (*Player, error) {
	if config.Visitors == 0 {
		config.Visitors = DefaultVisitors
	}
	if config.Span == 0 {
		config.Span = DefaultSpan
	}
	if config.Location == nil {
		config.Location = time.UTC
	}
	var faults []error
	need := func(good bool, what string) {
		if !good {
			faults = append(faults, errors.New("configure demo: "+what))
		}
	}
	config.Collector, config.Page = strings.TrimSuffix(config.Collector, "/"), strings.TrimSuffix(config.Page, "/")
	page, err := url.Parse(config.Page)
	need(isURL(config.Collector), "the collector must be an http or https URL")
	need(err == nil && isURL(config.Page), "the page must be an http or https URL")
	need(config.Site != "", "a site is required")
	need(config.Terms.Policy != "" && len(config.Terms.Ask) > 0, "terms with purposes to ask for are required")
	need(config.Visitors > 0 && config.Visitors <= 100_000, "visitors must be 1 to 100,000")
	need(config.Span >= time.Hour && config.Span <= maxSpan, "the span must be an hour to 29 days")
	need(config.Client != nil && config.Now != nil, "a client and a clock are required")
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	p := &Player{config: config, origin: page.Scheme + "://" + page.Host, texts: map[string]sample.Texts{}, wait: wait}
	for _, language := range []string{"ja", "en"} {
		if p.texts[language], err = sample.ReadTexts(language); err != nil {
			return nil, fmt.Errorf("configure demo: %w", err)
		}
	}
	return p, nil
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// Summary counts what was played.
type Summary struct {
	Visitors map[Choice]int         // by what they chose
	Signed   int                    // signed in to an account
	GPC      int                    // with Global Privacy Control on
	Acts     int                    // consent acts taken
	Events   map[core.EventType]int // sent, by type
	Accepted int                    // events the collector made durable
	Rejected int                    // events and acts it refused
	Requests int                    // answered, retries included
}

// request is one thing that a visitor's browser sends.
type request struct {
	at    time.Time // when it leaves
	who   *visitor
	act   *act   // either an act
	batch *batch // or a batch
}

// Play makes the plan and plays it. progress, when not nil, is called after every request, never twice at once. On an
// error the summary says how far it came.
func (p *Player) Play(ctx context.Context, progress func(done, total int)) (Summary, error) {
	visitors, plan := p.plan(p.config.Now())
	s := Summary{Visitors: map[Choice]int{}, Events: map[core.EventType]int{}}
	for _, v := range visitors {
		s.Visitors[v.choice]++
		if v.account != "" {
			s.Signed++
		}
		if v.gpc {
			s.GPC++
		}
	}
	var mu sync.Mutex
	done := 0
	for _, part := range windows(plan) {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(abreast)
		for _, own := range byVisitor(part) {
			group.Go(func() error {
				for _, r := range own {
					a, err := p.send(ctx, r)
					mu.Lock()
					s.count(r, a)
					done++
					if err == nil && progress != nil {
						progress(done, len(plan))
					}
					mu.Unlock()
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return s, fmt.Errorf("play demo visitors: %w", err)
		}
	}
	return s, nil
}

// count adds the answer to a request.
func (s *Summary) count(r request, a answer) {
	s.Requests += a.requests
	s.Accepted += a.accepted
	s.Rejected += a.rejected
	s.Acts += a.acts
	if r.batch != nil && a.requests > 0 {
		for _, e := range r.batch.Events {
			s.Events[e.kind]++
		}
	}
}

// abreast is how many visitors send at once.
const abreast = 8

// window is how far visitors who send at once may be apart in time. The pipeline tells sessions apart as time goes on,
// and one visitor's must not run ahead of another's by more than a session's silence.
const window = 20 * time.Minute

// windows cuts the plan, which is ordered by time.
func windows(plan []request) (parts [][]request) {
	for len(plan) > 0 {
		end := plan[0].at.Add(window)
		n := slices.IndexFunc(plan, func(r request) bool { return r.at.After(end) })
		if n < 0 {
			n = len(plan)
		}
		parts, plan = append(parts, plan[:n]), plan[n:]
	}
	return parts
}

// byVisitor puts together what one visitor sends, in its order.
func byVisitor(part []request) [][]request {
	at := map[*visitor]int{}
	var all [][]request
	for _, r := range part {
		i, ok := at[r.who]
		if !ok {
			i = len(all)
			at[r.who] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], r)
	}
	return all
}

// plan makes the visitors and all that they send until now, in the order of time.
func (p *Player) plan(now time.Time) ([]*visitor, []request) {
	now = now.Truncate(time.Millisecond)
	local := now.In(p.config.Location)
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, p.config.Location)
	from := now.Add(-p.config.Span)
	if p.config.Span >= 24*time.Hour {
		// Whole days, as a report counts them: today is one of them, though it may have just begun.
		from = now.Add(-max(now.Sub(midnight)+p.config.Span-24*time.Hour, 2*time.Hour))
	}
	cast := rand.New(rand.NewPCG(p.config.Seed, 0)) //nolint:gosec // G404: invented visitors, the same for a seed
	choices := choicesFor(p.config.Visitors)
	cast.Shuffle(len(choices), func(i, j int) { choices[i], choices[j] = choices[j], choices[i] })
	var plan []request
	visitors := make([]*visitor, len(choices))
	for i, choice := range choices {
		rng := rand.New(rand.NewPCG(p.config.Seed, uint64(i)+1)) //nolint:gosec // G404: as above
		v := newVisitor(rng, choice)
		visitors[i] = v
		b := &browser{player: p, who: v, rng: rng, end: now}
		if choice.returns() {
			b.visits(visitTimes(rng, from, now, p.config.Location))
		} else {
			b.visits([]time.Time{today(rng, midnight, now, min(p.config.Span, 14*time.Hour))})
		}
		plan = append(plan, b.sent...)
	}
	slices.SortStableFunc(plan, func(a, b request) int { return cmp.Compare(a.at.UnixMilli(), b.at.UnixMilli()) })
	return visitors, plan
}

// longest is the longest visit, with some room.
const longest = 40 * time.Minute

// visitTimes are when a visitor who may be recognised comes: once to four times since the span began, by day rather than
// by night, and never twice within two hours.
func visitTimes(rng *rand.Rand, from, now time.Time, site *time.Location) []time.Time {
	n := 1
	for n < 4 && rng.Float64() < 0.4 {
		n++
	}
	var times []time.Time
	for range n {
		var at time.Time
		for range 8 { // at night most think better of it
			at = now.Add(-longest - time.Duration(rng.Int64N(int64(now.Sub(from)-longest)))).Truncate(time.Millisecond)
			if at.In(site).Hour() >= 7 || rng.Float64() < 0.15 {
				break
			}
		}
		if !slices.ContainsFunc(times, func(t time.Time) bool { return at.Sub(t).Abs() < 2*time.Hour }) {
			times = append(times, at)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// today is when a visitor who may not be recognised comes: since midnight. Shortly after it that would be no time at
// all; the last two hours then, whose key is still kept.
func today(rng *rand.Rand, midnight, now time.Time, most time.Duration) time.Time {
	since := min(max(now.Sub(midnight), 2*time.Hour), most)
	return now.Add(-longest - time.Duration(rng.Int64N(int64(since-longest)))).Truncate(time.Millisecond)
}
