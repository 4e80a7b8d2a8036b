package collector

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/zstd"

	"github.com/sekisho/sekisho/internal/core"
)

// The media types of bodies. A browser sends text/plain without asking first.
const (
	applicationJSON = "application/json"
	textPlain       = "text/plain"
	ndjson          = "application/x-ndjson"
)

const (
	maxBody         = 1 << 20 // as sent
	maxDecompressed = 4 << 20 // what a bomb may grow to
	maxWindow       = 8 << 20 // of zstd: what RFC 9659 lets a sender use
)

// body is a request's body, decompressed.
type body struct {
	bytes.Buffer
	media string
}

// release is where a pool would take the buffer back. Strings of events are copies, so nothing refers to it.
func (b *body) release() { b.Reset() }

// read takes a body of one of the media types in, within the limits.
func (c *Collector) read(g *gin.Context, types ...string) (*body, error) {
	media, _, err := mime.ParseMediaType(g.GetHeader("Content-Type"))
	if err != nil || !slices.Contains(types, media) {
		return nil, &core.Error{Code: core.CodeMediaType, Message: "the body must be one of " + strings.Join(types, ", ")}
	}
	b := &body{media: media}
	var source io.Reader = http.MaxBytesReader(g.Writer, g.Request.Body, maxBody)
	switch g.GetHeader("Content-Encoding") {
	case "", "identity":
	case "gzip":
		r, err := gzip.NewReader(source)
		if err != nil {
			return nil, readFault(err)
		}
		source = r
	case "zstd":
		r, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, readFault(err)
		}
		defer r.Close()
		source = r
	default:
		return nil, &core.Error{Code: core.CodeMediaType, Message: "the content encoding must be gzip or zstd"}
	}
	if n := g.Request.ContentLength; n > 0 && n <= maxBody {
		b.Grow(int(n) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(source, maxDecompressed+1)); err != nil {
		return nil, readFault(err)
	}
	if b.Len() > maxDecompressed {
		return nil, tooLarge()
	}
	return b, nil
}

func tooLarge() *core.Error {
	return &core.Error{Code: core.CodeTooLarge, Message: "the body is larger than 1 MiB, or than 4 MiB decompressed"}
}

func readFault(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) || errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return tooLarge()
	}
	return &core.Error{Code: core.CodeMalformed, Message: "the body cannot be read or decompressed"}
}

// decode reads the events. text/plain is JSON, or one event a line when it is not.
func (b *body) decode() (*batch, *core.Error) {
	if b.media != textPlain {
		return decode(b.Bytes(), b.media == ndjson)
	}
	whole, fault := decode(b.Bytes(), false)
	if fault == nil || fault.Code != core.CodeMalformed || !bytes.Contains(bytes.TrimSpace(b.Bytes()), []byte("\n")) {
		return whole, fault
	}
	return decode(b.Bytes(), true)
}
