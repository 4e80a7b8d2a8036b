package collector

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const view = `{"site":"shop","type":"page_view"}`

// fataler is a test, or a property of one.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// compressed is a body as a client may send it.
func compressed(t fataler, encoding string, body []byte) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zstd":
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return string(body)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// wide is a zstd frame with a larger window than HTTP knows (RFC 9659).
func wide(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(2*maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // in parts, so that the frame does not say how long it is
		if _, err := w.Write([]byte(view + "\n")); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestACompressedBodyIsReadWithinItsLimits(t *testing.T) {
	noise := make([]byte, maxBody+1<<10) // as large compressed as plain
	_, _ = rand.Read(noise)
	exact := view + strings.Repeat(" ", maxDecompressed-len(view))
	for _, encoding := range []string{"gzip", "zstd"} {
		whole := compressed(t, encoding, []byte(view))
		for name, tc := range map[string]struct {
			body   string
			status int
			say    string
		}{
			"an event":                           {whole, 202, `"accepted":1`},
			"two streams, one behind the other":  {compressed(t, encoding, []byte("["+view+",")) + compressed(t, encoding, []byte(view+"]")), 202, `"accepted":2`},
			"as much as may be":                  {compressed(t, encoding, []byte(exact)), 202, `"accepted":1`},
			"a byte more":                        {compressed(t, encoding, []byte(exact+" ")), 413, `"code":"too_large"`},
			"a bomb":                             {compressed(t, encoding, bytes.Repeat([]byte(" "), 64<<20)), 413, `"code":"too_large"`},
			"too much as it is sent":             {compressed(t, encoding, noise), 413, `"code":"too_large"`},
			"a stream that is cut off":           {whole[:len(whole)-3], 400, `"code":"malformed"`},
			"a stream with a wrong byte":         {whole[:len(whole)/2] + "x" + whole[len(whole)/2+1:], 400, `"code":"malformed"`},
			"something else":                     {view, 400, `"code":"malformed"`},
			"nothing":                            {"", 400, `"code":"malformed"`},
			"a bomb behind a good stream":        {whole + compressed(t, encoding, bytes.Repeat([]byte(" "), 64<<20)), 413, `"code":"too_large"`},
			"no JSON within":                     {compressed(t, encoding, []byte("{")), 400, `"code":"malformed"`},
			"an event that the contract refuses": {compressed(t, encoding, []byte(`{"site":"shop","type":"x"}`)), 400, `"field":"/type"`},
		} {
			t.Run(encoding+", "+name, func(t *testing.T) {
				c, broker, _ := build(t, 1<<20)
				w := post(c, "/v1/events", tc.body, "Content-Encoding", encoding)
				if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.say) {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				if stored := len(broker.messages); (stored > 0) != (tc.status == 202) {
					t.Errorf("%d stored", stored)
				}
			})
		}
	}
	c, _, _ := build(t, 1<<20)
	if w := post(c, "/v1/events", wide(t), "Content-Encoding", "zstd", "Content-Type", ndjson); w.Code != 413 {
		t.Errorf("a window over the limit: %d %s", w.Code, w.Body)
	}
	for _, encoding := range []string{"br", "deflate", "gzip, gzip", "GZIP "} {
		if w := post(c, "/v1/events", view, "Content-Encoding", encoding); w.Code != 415 {
			t.Errorf("%q: %d", encoding, w.Code)
		}
	}
}

func TestABodyHasLimitsOfItsOwn(t *testing.T) {
	nested := func(depth int) string { // the event itself is the first level
		return `{"site":"shop","type":"page_view","x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
	}
	for name, tc := range map[string]struct {
		body, media string
		status      int
		say         string
	}{
		"as large as may be":           {view + strings.Repeat(" ", maxBody-len(view)), applicationJSON, 202, `"accepted":1`},
		"a byte larger":                {view + strings.Repeat(" ", maxBody-len(view)+1), applicationJSON, 413, `"code":"too_large"`},
		"as deep as may be":            {nested(maxDepth), applicationJSON, 202, `"undeclared":1`},
		"a level deeper":               {nested(maxDepth + 1), applicationJSON, 400, `"code":"malformed"`},
		"objects a level deeper":       {strings.Repeat(`{"x":`, maxDepth) + "{}" + strings.Repeat("}", maxDepth), applicationJSON, 400, `"code":"malformed"`},
		"brackets without an end":      {strings.Repeat("[", maxBody), applicationJSON, 400, `"code":"malformed"`},
		"as many events as may be":     {"[" + strings.Repeat(view+",", maxBatch-1) + view + "]", applicationJSON, 202, `"accepted":1000`},
		"an event more":                {"[" + strings.Repeat(view+",", maxBatch) + view + "]", applicationJSON, 413, `"code":"too_large"`},
		"as many lines as may be":      {strings.Repeat(view+"\n", maxBatch), ndjson, 202, `"accepted":1000`},
		"a line more":                  {strings.Repeat(view+"\n", maxBatch+1), ndjson, 413, `"code":"too_large"`},
		"no event in an array":         {"[]", applicationJSON, 400, `"code":"missing"`},
		"no event in a batch":          {`{"site":"shop","events":[]}`, applicationJSON, 400, `"code":"missing"`},
		"events that are no array":     {`{"site":"shop","events":{}}`, applicationJSON, 400, `"field":"/events"`},
		"nothing":                      {"", applicationJSON, 400, `"code":"malformed"`},
		"nothing but lines":            {"\n \n\r\n", ndjson, 400, `"code":"missing"`},
		"lines of two systems":         {view + "\r\n\n  " + view + "\n" + view, ndjson, 202, `"accepted":3`},
		"an array on a line":           {view + "\n[" + view + "]\n", ndjson, 207, `"index":1,"code":"malformed"`},
		"two events on a line":         {view + view + "\n" + view, ndjson, 207, `"index":0,"code":"malformed"`},
		"lines with a broken one":      {view + "\n{\"\n" + view, ndjson, 207, `"accepted":2,"rejected":1`},
		"only broken lines":            {"{\n}\n", ndjson, 400, `"index":1,"code":"malformed"`},
		"lines as JSON":                {view + "\n" + view, applicationJSON, 400, `"code":"malformed"`},
		"JSON over several text lines": {"{\n" + `"site":"shop",` + "\n" + `"type":"page_view"}` + "\n", textPlain, 202, `"accepted":1`},
		"text with parameters":         {view, "text/plain; charset=UTF-8", 202, `"accepted":1`},
		"no media type":                {view, "", 415, `"code":"media_type"`},
		"a broken media type":          {view, "text/", 415, `"code":"media_type"`},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, _ := build(t, 1<<20)
			if w := post(c, "/v1/events", tc.body, "Content-Type", tc.media); w.Code != tc.status || !strings.Contains(w.Body.String(), tc.say) {
				t.Errorf("%d %.300s", w.Code, w.Body)
			}
		})
	}
	c, _, _ := build(t, 1<<20)
	act := `{"site":"shop","subject":{"cookie_id":"c"},"policy_version":"default/2022-09-15","granted":["service_development"]}`
	for media, want := range map[string]int{applicationJSON: 202, textPlain: 202, ndjson: 415} {
		if w := post(c, "/v1/consent", act, "Content-Type", media); w.Code != want {
			t.Errorf("an act as %s: %d %s", media, w.Code, w.Body)
		}
	}
}
