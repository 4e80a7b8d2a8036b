package testkit

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/sekisho/sekisho/schemas"
)

// Contract is an OpenAPI document of schemas/openapi, against which a server's answers are held.
type Contract struct{ routers.Router }

// ReadContract reads and validates a document by its file name.
func ReadContract(t testing.TB, name string) Contract {
	t.Helper()
	text, err := schemas.OpenAPI.ReadFile("openapi/" + name)
	if err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(document) // validates the document too
	if err != nil {
		t.Fatal(err)
	}
	return Contract{router}
}

func (c Contract) input(r *http.Request) (*openapi3filter.RequestValidationInput, error) {
	route, params, err := c.FindRoute(r)
	if err != nil {
		return nil, err
	}
	return &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}, nil
}

// Permits says why the contract does not permit a request; its body is read.
func (c Contract) Permits(r *http.Request) error {
	input, err := c.input(r)
	if err != nil {
		return err
	}
	return openapi3filter.ValidateRequest(r.Context(), input)
}

// Holds says why an answer is none that the contract gives to the request: status, media type, body.
func (c Contract) Holds(r *http.Request, w *httptest.ResponseRecorder) error {
	input, err := c.input(r)
	if err != nil {
		return err
	}
	response := input.Route.Operation.Responses.Status(w.Code)
	if response != nil && len(response.Value.Content) == 0 && w.Body.Len() > 0 {
		return fmt.Errorf("a body where the contract has none: %s", w.Body)
	}
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: w.Code, Header: w.Header(), Options: input.Options}
	return openapi3filter.ValidateResponse(r.Context(), answer.SetBodyBytes(w.Body.Bytes()))
}
