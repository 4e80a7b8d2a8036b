package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Code is the machine-readable kind of a refusal. An answer that came from something else than the service, such as a
// proxy on the way, has none.
type Code string

// The codes of the query service.
const (
	CodeInvalid         Code = "invalid"         // 400: a parameter has no valid value
	CodeMissing         Code = "missing"         // 400: a required parameter is absent
	CodeTooLong         Code = "too_long"        // 400: a parameter is over its limit
	CodeUndeclared      Code = "undeclared"      // 400: a parameter that does not exist
	CodePurposeMissing  Code = "purpose_missing" // 400: a read names its purpose
	CodeUnauthenticated Code = "unauthenticated" // 401: not a valid key
	CodeForbidden       Code = "forbidden"       // 403: no grant for the site, or no role for the format that Field names
	CodePurposeDenied   Code = "purpose_denied"  // 403: no grant for the purpose
	CodeColumnDenied    Code = "column_denied"   // 403: the purpose may not use the column that Field names
	CodeNotFound        Code = "not_found"       // 404: no such report
	CodeNotAcceptable   Code = "not_acceptable"  // 406: no such format
	CodeNearDuplicate   Code = "near_duplicate"  // 409: the answer and an earlier one would differ by few people
	CodeRateLimited     Code = "rate_limited"    // 429: too many requests
	CodeInternal        Code = "internal"        // 500
	CodeUnavailable     Code = "unavailable"     // 503: the store or the audit is away
	CodeTimeout         Code = "timeout"         // 504: the report took longer than its limit
)

// Error is a refusal by the service (RFC 9457). It never holds a value that was submitted.
type Error struct {
	Status    int
	Code      Code
	Detail    string
	Field     string // the parameter or column meant
	RequestID string // by which the operator finds the request in the log

	after time.Duration // Retry-After
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", e.Status, http.StatusText(e.Status))
	for _, part := range []string{string(e.Code), e.Field, e.Detail} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

// temporary reports whether the same request may succeed later.
func (e *Error) temporary() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// maxProblem bounds a problem document, in bytes.
const maxProblem = 64 << 10

// refusal reads an answer that is none.
func refusal(response *http.Response, now time.Time) *Error {
	e := &Error{Status: response.StatusCode, RequestID: response.Header.Get("Sekisho-Request-Id"), after: retryAfter(response.Header.Get("Retry-After"), now)}
	if media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); media != "application/problem+json" {
		return e
	}
	var problem struct {
		Code   Code   `json:"code"`
		Detail string `json:"detail"`
		Field  string `json:"field"`
	}
	if json.NewDecoder(io.LimitReader(response.Body, maxProblem)).Decode(&problem) == nil {
		e.Code, e.Detail, e.Field = problem.Code, problem.Detail, problem.Field
	}
	return e
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3). What it cannot read asks for no wait.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil && date.After(now) {
		return date.Sub(now)
	}
	return 0
}

// bare is a fault of the way without the URL that net/http adds: it holds the filters.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
