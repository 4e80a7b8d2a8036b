package report

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
)

// spoken is the key of the page's language in a context.
type spoken struct{}

// LanguageOf is the language of the page that asks: "ja", "en", or "" where no page does.
func LanguageOf(ctx context.Context) string {
	language, _ := ctx.Value(spoken{}).(string)
	return language
}

// Through asks an API's handler in this process: the request passes all of it, as one from outside does.
func Through(api http.Handler) Ask {
	return func(ctx context.Context, key, path string, values url.Values) (int, []byte) {
		at := url.URL{Path: path, RawQuery: values.Encode()}
		r := (&http.Request{
			Method: http.MethodGet, URL: &at, RequestURI: at.String(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Authorization": {"Bearer " + key}}, Body: http.NoBody,
		}).WithContext(ctx)
		if language := LanguageOf(ctx); language != "" {
			r.Header.Set("Accept-Language", language)
		}
		answer := &answered{header: http.Header{}}
		api.ServeHTTP(answer, r)
		answer.WriteHeader(http.StatusOK)
		return answer.status, answer.body.Bytes()
	}
}

// answered is an answer that goes nowhere else. It is bounded by what the API lets out: a thousand rows.
type answered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answered) Header() http.Header { return a.header }

func (a *answered) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
}

func (a *answered) Write(data []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(data)
}

// Flush is there for handlers that stream.
func (*answered) Flush() {}
