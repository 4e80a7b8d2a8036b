package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// A busy collector is asked again, but not for ever.
const (
	maxAttempts = 6
	maxPause    = 10 * time.Second
)

// answer is what the collector said to a request, in the end.
type answer struct {
	requests, accepted, rejected, acts int
}

// send sends a request until it is answered for good. The identifiers stay the same, so that an event counts once.
func (p *Player) send(ctx context.Context, r request) (answer, error) {
	var a answer
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil { // a transport in this process may not look
			return a, fmt.Errorf("send demo events: %w", err)
		}
		status, pause, err := p.once(ctx, r, &a)
		if err != nil {
			return a, err
		}
		switch {
		case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
			if attempt == maxAttempts {
				return a, fmt.Errorf("send demo events: the collector answered %d to %d attempts", status, attempt)
			}
			if err := p.wait(ctx, pause); err != nil {
				return a, err
			}
			continue
		case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound || status >= http.StatusInternalServerError:
			// The site does not allow the page, or there is no collector: every other request would fare the same.
			return a, fmt.Errorf("send demo events: the collector answered %d", status)
		}
		return a, nil
	}
}

// once sends a request once.
func (p *Player) once(ctx context.Context, r request, a *answer) (status int, pause time.Duration, err error) {
	path, body, err := p.body(r)
	if err != nil {
		return 0, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.config.Collector+path, bytes.NewReader(body))
	if err != nil {
		return 0, 0, errors.New("send demo events: the collector's URL is no URL")
	}
	p.dress(req, r.who)
	res, err := p.config.Client.Do(req)
	if err != nil {
		return 0, 0, fmt.Errorf("send demo events: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	a.requests++
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, 0, fmt.Errorf("read answer: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable:
		return res.StatusCode, retryAfter(res.Header.Get("Retry-After")), nil
	case r.act != nil && res.StatusCode < http.StatusMultipleChoices:
		a.acts++
	case r.act != nil:
		a.rejected++
	case res.StatusCode < http.StatusMultipleChoices:
		var said struct{ Accepted, Rejected int }
		if err := json.Unmarshal(text, &said); err != nil {
			return 0, 0, errors.New("read answer: it is not the collector's")
		}
		a.accepted += said.Accepted
		a.rejected += said.Rejected
	default:
		a.rejected += len(r.batch.Events)
	}
	return res.StatusCode, 0, nil
}

// body is the request as the tracker writes it: sent_at is the moment of sending.
func (p *Player) body(r request) (path string, body []byte, err error) {
	now := p.config.Now().UnixMilli()
	if r.act != nil {
		said := *r.act
		said.SentAt = now
		body, err = json.Marshal(said)
		path = "/v1/consent?wait=0"
	} else {
		said := *r.batch
		said.SentAt = now
		body, err = json.Marshal(said)
		path = "/v1/events"
	}
	if err != nil {
		return "", nil, fmt.Errorf("write demo events: %w", err)
	}
	return path, body, nil
}

// dress sets the headers that the visitor's browser sends with a request to another origin.
func (p *Player) dress(req *http.Request, v *visitor) {
	h := req.Header
	h.Set("Content-Type", "text/plain;charset=UTF-8")
	h.Set("Origin", p.origin)
	h.Set("Referer", p.origin+"/")
	h.Set("User-Agent", v.device.agent)
	h.Set("Accept-Language", v.accept)
	h.Set("X-Forwarded-For", v.address.String())
	if v.device.platform != "" {
		h.Set("Sec-CH-UA-Platform", strconv.Quote(v.device.platform))
		h.Set("Sec-CH-UA-Mobile", map[bool]string{true: "?1", false: "?0"}[v.device.mobile])
	}
	if v.gpc {
		h.Set("Sec-GPC", "1")
	}
}

// retryAfter reads the seconds of Retry-After, within bounds.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.Atoi(header)
	if err != nil || seconds < 1 {
		seconds = 1
	}
	return min(time.Duration(seconds)*time.Second, maxPause)
}

func wait(ctx context.Context, pause time.Duration) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
