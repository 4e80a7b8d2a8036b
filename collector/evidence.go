package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/core"
)

// defaultWait is how long the answer to an act waits for its receipts, and maxWait how long a caller may ask for.
const (
	defaultWait = 2 * time.Second
	maxWait     = 10 * time.Second
)

// receiptWait reads ?wait=SECONDS. What is no number of seconds is the default.
func receiptWait(g *gin.Context) time.Duration {
	seconds, err := strconv.Atoi(g.Query("wait"))
	if err != nil || seconds < 0 {
		return defaultWait
	}
	return min(time.Duration(seconds)*time.Second, maxWait)
}

// Ledger asks the pipeline's proof ledger: what is checkpoint, proof or key. The answer is passed on as it is.
type Ledger interface {
	Ask(ctx context.Context, what string, query url.Values) (status int, contentType string, body []byte, err error)
}

// receipts are those of an act, or nothing when they are not ready in time.
func (c *Collector) receipts(ctx context.Context, siteID string, act uuid.UUID, wait time.Duration) json.RawMessage {
	query := url.Values{"site": {siteID}, "act": {act.String()}, "wait": {strconv.Itoa(int(wait.Seconds()))}}
	status, _, body, err := c.deps.Ledger.Ask(ctx, "proof", query)
	if err != nil {
		c.deps.Log.WarnContext(ctx, "ledger unreachable", "error", err)
		return nil
	}
	var answer struct {
		Receipts json.RawMessage `json:"receipts"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return nil
	}
	return answer.Receipts
}

// getLedger answers with a part of the proof ledger: checkpoint, proof or key. An act's id is as good as a key to its
// receipts: it is random, and known to who made the act.
func (c *Collector) getLedger(what string) gin.HandlerFunc {
	return func(g *gin.Context) {
		if c.deps.Ledger == nil {
			c.refuse(g, &core.Error{Code: core.CodeUnavailable, Message: "the ledger cannot be asked for now"})
			return
		}
		query := url.Values{}
		for _, name := range []string{"site", "act", "from", "to"} {
			if v := g.Query(name); v != "" {
				query.Set(name, v)
			}
		}
		status, contentType, body, err := c.deps.Ledger.Ask(g.Request.Context(), what, query)
		if err != nil {
			c.deps.Log.WarnContext(g.Request.Context(), "ledger unreachable", "error", err)
			c.refuse(g, &core.Error{Code: core.CodeUnavailable, Message: "the ledger cannot be asked for now"})
			return
		}
		g.Header("Cache-Control", "no-store")
		g.Data(status, contentType, body)
	}
}

// maxAnswer bounds the pipeline's answers, in bytes.
const maxAnswer = 1 << 20

// HTTPPipeline asks a pipeline over HTTP.
type HTTPPipeline struct {
	base   string
	client *http.Client
}

// NewHTTPPipeline returns the States and the Ledger of the pipeline at base, its internal URL.
func NewHTTPPipeline(base string, client *http.Client) *HTTPPipeline {
	return &HTTPPipeline{base: strings.TrimSuffix(base, "/") + "/internal/v1/", client: client}
}

// State implements States.
func (p *HTTPPipeline) State(ctx context.Context, sealed []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	status, _, state, err := p.do(ctx, http.MethodPost, "consent/state", strings.NewReader(string(sealed)))
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("ask pipeline: status %d", status)
	}
	if !json.Valid(state) {
		return nil, errors.New("ask pipeline: the answer is not JSON")
	}
	return state, nil
}

// Ask implements Ledger.
func (p *HTTPPipeline) Ask(ctx context.Context, what string, query url.Values) (int, string, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait+3*time.Second)
	defer cancel()
	return p.do(ctx, http.MethodGet, "ledger/"+what+"?"+query.Encode(), nil)
}

func (p *HTTPPipeline) do(ctx context.Context, method, path string, body io.Reader) (status int, contentType string, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, p.base+path, body)
	if err != nil {
		return 0, "", nil, errors.New("ask pipeline: its URL is no URL")
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/x-protobuf")
	}
	response, err := p.client.Do(request)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which names an act
		}
		return 0, "", nil, fmt.Errorf("ask pipeline: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, "", nil, fmt.Errorf("read pipeline's answer: %w", err)
	}
	return response.StatusCode, response.Header.Get("Content-Type"), answer, nil
}
