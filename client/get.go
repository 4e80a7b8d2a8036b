package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

// get asks until the service answers, or says something that no repetition changes, or the tries or the caller's time
// are used up. The caller closes the body.
func (c *Client) get(ctx context.Context, path string, values url.Values, accept string) (*http.Response, error) {
	pause := firstPause
	for try := 1; ; try++ {
		response, err := c.ask(ctx, path, values, accept)
		var refused *Error
		if err == nil || !errors.As(err, &refused) || !refused.temporary() || try >= c.tries {
			return response, err
		}
		// Full jitter on top of what the service asks for: many clients that were sent away at once do not come back at once.
		wait := refused.after + rand.N(pause) //nolint:gosec // G404: nothing secret hangs on it
		if deadline, ok := ctx.Deadline(); ok && time.Now().Add(wait).After(deadline) {
			return nil, err // what it said is of more use than that the time was over
		}
		if !sleep(ctx, wait) {
			return nil, errors.Join(ctx.Err(), err)
		}
		pause = min(2*pause, longestPause)
	}
}

// sleep reports whether the wait passed before the context ended.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ask makes the request once.
func (c *Client) ask(ctx context.Context, path string, values url.Values, accept string) (*http.Response, error) {
	target := c.base.JoinPath(path)
	target.RawQuery = values.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, errors.New("no request can be made of this base URL")
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	request.Header.Set("Accept", accept)
	request.Header.Set("User-Agent", "sekisho-client")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, bare(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	return nil, refusal(response, time.Now())
}
