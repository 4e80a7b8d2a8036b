package core

import (
	"errors"
	"strconv"
)

// Code is the machine-readable kind of a user's error. The list is closed.
type Code string

// The codes, each with the HTTP status it is rendered as.
const (
	CodeMalformed       Code = "malformed"        // 400: the body is not what its type says
	CodeInvalid         Code = "invalid"          // 400: a field has no valid value
	CodeMissing         Code = "missing"          // 400: a required field is absent
	CodeTooLong         Code = "too_long"         // 400: a field is over its limit
	CodeUndeclared      Code = "undeclared"       // 400: no catalogue declares it
	CodeForbiddenData   Code = "forbidden_data"   // 400: a category that no purpose covers
	CodePurposeMissing  Code = "purpose_missing"  // 400: a read names no purpose
	CodeUnauthenticated Code = "unauthenticated"  // 401
	CodeForbidden       Code = "forbidden"        // 403
	CodePurposeDenied   Code = "purpose_denied"   // 403: the caller has no grant for the purpose
	CodeColumnDenied    Code = "column_denied"    // 403: outside the purpose's categories
	CodeNotFound        Code = "not_found"        // 404
	CodeMethod          Code = "method"           // 405
	CodeNotAcceptable   Code = "not_acceptable"   // 406: the caller takes none of the forms
	CodeNearDuplicate   Code = "near_duplicate"   // 409: the answer and an earlier one would differ by few people
	CodeTooLarge        Code = "too_large"        // 413
	CodeMediaType       Code = "media_type"       // 415
	CodeRateLimited     Code = "rate_limited"     // 429
	CodeBudgetExhausted Code = "budget_exhausted" // 429: what may be released of the days is spent
	CodeInternal        Code = "internal"         // 500
	CodeUnavailable     Code = "unavailable"      // 503: nothing was kept; retry
	CodeTimeout         Code = "timeout"          // 504: the read took longer than its limit
)

var statuses = map[Code]int{
	CodeMalformed: 400, CodeInvalid: 400, CodeMissing: 400, CodeTooLong: 400, CodeUndeclared: 400,
	CodeForbiddenData: 400, CodePurposeMissing: 400, CodeUnauthenticated: 401, CodeForbidden: 403,
	CodePurposeDenied: 403, CodeColumnDenied: 403, CodeNotFound: 404, CodeMethod: 405, CodeNotAcceptable: 406, CodeTooLarge: 413, CodeNearDuplicate: 409, CodeBudgetExhausted: 429,
	CodeMediaType: 415, CodeRateLimited: 429, CodeInternal: 500, CodeUnavailable: 503, CodeTimeout: 504,
}

// Status is the HTTP status of the code; 500 for an unknown one.
func (c Code) Status() int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return 500
}

// Codes lists every code.
func Codes() []Code {
	all := make([]Code, 0, len(statuses))
	for c := range statuses {
		all = append(all, c)
	}
	return all
}

// Error is the one error that crosses an API's edge. Message and Field MUST be texts of this program, never a
// submitted value: they are shown to the caller and may be logged.
type Error struct {
	Code    Code
	Message string
	Field   string // JSON Pointer (RFC 6901) or parameter name; empty when the whole request is meant
}

func (e *Error) Error() string {
	if e.Field == "" {
		return string(e.Code) + ": " + e.Message
	}
	return string(e.Code) + ": " + e.Field + ": " + e.Message
}

// At returns a copy of e that names the field below a parent pointer.
func (e *Error) At(parent string) *Error {
	return &Error{Code: e.Code, Message: e.Message, Field: parent + e.Field}
}

// Index is the JSON Pointer of the i-th element.
func Index(i int) string { return "/" + strconv.Itoa(i) }

// Retryable marks an error whose operation may succeed when repeated unchanged: the other side was away, slow or
// moving. Everything else is permanent.
type Retryable struct{ Err error }

func (e Retryable) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e Retryable) Unwrap() error { return e.Err }

// IsRetryable reports whether err or a cause of it is marked Retryable.
func IsRetryable(err error) bool {
	var r Retryable
	return errors.As(err, &r)
}
