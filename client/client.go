// Package client reads reports from a Sekisho query service.
//
// A read names one purpose, and the API key needs a grant for it. A report comes whole, page by page, or row by row:
//
//	c, err := client.New("https://query.example", key)
//	…
//	answer, err := c.Report(ctx, "locations", client.Read{Site: "shop", Purpose: "usage_based_development"})
//
// What cannot be shown is no error: groups of too few subjects are counted in Answer.Suppressed, and a cell without a
// value was withheld. A figure is only as good as Answer.Coverage, which says what it does not rest on.
//
// The package depends on the standard library only. No key, no filter and no value of an answer is ever part of an error.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Defaults, which options change.
const (
	defaultTries = 4
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
)

// maxDocument bounds a JSON answer, in bytes. An answer has 1,000 rows at most.
const maxDocument = 64 << 20

// Client asks one query service with one key. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	key   string
	http  *http.Client
	tries int
}

// Option changes how a Client works.
type Option func(*Client)

// WithHTTPClient makes requests with a client of the caller's: its transport, its time-out, its redirects. The default
// one follows no redirect, so that a key goes nowhere but to the service.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithTries is how often a request is made at most when the service is busy or away. The default is 4; 1 means no retry.
func WithTries(n int) Option { return func(c *Client) { c.tries = n } }

// New makes a client of the service at a URL such as https://query.example or http://127.0.0.1:8082.
func New(baseURL, key string, options ...Option) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("make client: the base URL is not of the form https://host[:port][/path]")
	}
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("make client: no API key, or one that no header can hold")
	}
	c := &Client{base: base, key: key, tries: defaultTries, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, option := range options {
		option(c)
	}
	if c.http == nil || c.tries < 1 {
		return nil, errors.New("make client: an HTTP client and at least one try are required")
	}
	return c, nil
}

// Report reads a report of the catalogue. More than Read.Limit rows come page by page: Answer.Next is the cursor of the
// page that follows.
func (c *Client) Report(ctx context.Context, name string, read Read) (*Answer, error) {
	var a Answer
	if err := c.document(ctx, reportPath(name), read.values(), &a); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return &a, nil
}

// Explain tells how a report would be read, without reading it.
func (c *Client) Explain(ctx context.Context, name string, read Read) (*Explanation, error) {
	values := read.values()
	values.Set("explain", "true")
	var e Explanation
	if err := c.document(ctx, reportPath(name), values, &e); err != nil {
		return nil, fmt.Errorf("explain report: %w", err)
	}
	return &e, nil
}

// Catalogue lists what the key may ask for.
func (c *Client) Catalogue(ctx context.Context) (*Catalogue, error) {
	var all Catalogue
	if err := c.document(ctx, "/v1/catalogue", nil, &all); err != nil {
		return nil, fmt.Errorf("read catalogue: %w", err)
	}
	return &all, nil
}

// The media types in which a report can be exported.
const (
	CSV     = "text/csv"
	NDJSON  = "application/x-ndjson"
	Parquet = "application/vnd.apache.parquet"
)

// Export writes one page of a report to w as the service sends it, in CSV, NDJSON or Parquet. The key needs the role
// exporter. What w was given before an error is no whole answer.
func (c *Client) Export(ctx context.Context, name string, read Read, media string, w io.Writer) error {
	response, err := c.get(ctx, reportPath(name), read.values(), media)
	if err != nil {
		return fmt.Errorf("export report: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(w, response.Body); err != nil {
		return fmt.Errorf("export report: %w", bare(err))
	}
	return nil
}

// reportPath keeps a name in its place, whatever it is: not even dots lead out of it.
func reportPath(name string) string {
	return "/v1/reports/" + strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
}

// document asks for a JSON document.
func (c *Client) document(ctx context.Context, path string, values url.Values, into any) error {
	response, err := c.get(ctx, path, values, "application/json")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	decoder := json.NewDecoder(io.LimitReader(response.Body, maxDocument))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New("the answer is no JSON document of the contract, or was cut off")
	}
	return nil
}
