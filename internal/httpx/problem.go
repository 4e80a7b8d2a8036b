// Package httpx is what the HTTP services share: errors rendered once as RFC 9457 problem details, request ids,
// recovery, security headers, an access log that knows no visitor, and a server that stops gracefully.
package httpx

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sekisho/sekisho/internal/core"
)

// Problem is an error as a caller sees it (RFC 9457).
type Problem struct {
	Type   string      `json:"type"`
	Title  string      `json:"title"`
	Status int         `json:"status"`
	Code   core.Code   `json:"code"`
	Detail string      `json:"detail,omitempty"`
	Field  string      `json:"field,omitempty"`
	Errors []ItemError `json:"errors,omitempty"`
}

// ItemError says why one item of a request was rejected.
type ItemError struct {
	Index  int       `json:"index"` // position in the request, from 0
	Code   core.Code `json:"code"`
	Field  string    `json:"field,omitempty"` // JSON Pointer in the item
	Detail string    `json:"detail"`
}

// Item renders the error of the item at index.
func Item(index int, e *core.Error) ItemError {
	return ItemError{Index: index, Code: e.Code, Field: e.Field, Detail: e.Message}
}

// ProblemOf renders an error. Whatever is no *core.Error is an internal error, of which nothing is told.
func ProblemOf(err error) Problem {
	var e *core.Error
	if !errors.As(err, &e) {
		e = &core.Error{Code: core.CodeInternal, Message: "something went wrong here; the request id helps to find it"}
	}
	status := e.Code.Status()
	return Problem{
		Type: "urn:sekisho:problem:" + string(e.Code), Title: http.StatusText(status), Status: status,
		Code: e.Code, Detail: e.Message, Field: e.Field,
	}
}

// WriteProblem answers with an error. A 503 and a 429 carry Retry-After, a 401 how to authenticate (RFC 6750).
func WriteProblem(w http.ResponseWriter, err error, items ...ItemError) {
	p := ProblemOf(err)
	p.Errors = items
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
	case http.StatusTooManyRequests:
		h.Set("Retry-After", "1")
	}
	write(w, p.Status, "application/problem+json", p)
}

// WriteJSON answers with a JSON document that no cache may keep.
func WriteJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Cache-Control", "no-store")
	write(w, status, "application/json", document)
}

func write(w http.ResponseWriter, status int, contentType string, document any) {
	body, err := json.Marshal(document)
	if err != nil { // a type of this program that is no JSON
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone if it fails
}
