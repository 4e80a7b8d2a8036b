package format

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers that say of a table what its rows cannot. Their values are Structured Fields (RFC 9651):
//
//	Sekisho-Report: locations
//	Sekisho-Site: shop
//	Sekisho-Purpose: usage_based_development
//	Sekisho-Policy: default/2022-09-15
//	Sekisho-Suppressed: 4;reason="fewer than 10 subjects"
//	Sekisho-Coverage: included=3227, withdrawn=224, refused=withheld
//	Sekisho-Release: "0198…";as_of="2026-11-25T09:00:00Z"            only of a release
//	Sekisho-Released-Period: from="…", to="…"                        only where it is not the one that was asked for
//	Sekisho-Dropped-Filters: country, "!device~"                     only where some had no effect
//	Sekisho-Sample: 0.1                                              only where not all subjects were read
//	Sekisho-Truncated: ?1                                            only where the limit cut off rows
//	Sekisho-Next: "…"                                                only where a page follows: the parameter cursor
//	Sekisho-Remarks: noisy                                           only where there are some
const (
	HeaderReport         = "Sekisho-Report"
	HeaderSite           = "Sekisho-Site"
	HeaderPurpose        = "Sekisho-Purpose"
	HeaderPolicy         = "Sekisho-Policy"
	HeaderSuppressed     = "Sekisho-Suppressed"
	HeaderCoverage       = "Sekisho-Coverage"
	HeaderRelease        = "Sekisho-Release"
	HeaderReleasedPeriod = "Sekisho-Released-Period"
	HeaderDroppedFilters = "Sekisho-Dropped-Filters"
	HeaderSample         = "Sekisho-Sample"
	HeaderTruncated      = "Sekisho-Truncated"
	HeaderNext           = "Sekisho-Next"
	HeaderRemarks        = "Sekisho-Remarks"
)

// Vary names what in a request decides which form of an answer is sent.
const Vary = "Accept, Accept-Language"

// edition changes whenever the same answer is written differently from before, so that no tag of old stands for it.
const edition = "1"

// Tag is the strong entity tag (RFC 9110, 8.8.3) of an answer in a form. The release is whatever is the same for the same
// answer only: the id under which it was released, or the bytes of its JSON document. The language counts for CSV only.
func Tag(form Form, language Language, release []byte) string {
	if form != CSV {
		language = Names
	}
	sum := sha256.New()
	for _, part := range []string{edition, form.String(), string(language), string(release)} {
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = io.WriteString(sum, part) // a hash takes everything
	}
	return `"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:18]) + `"`
}

// Weak is a tag that stands for all answers of one meaning: what differs between them is no reason to send one again.
func Weak(tag string) string { return "W/" + tag }

// Fresh reports whether a client has the answer with this tag already: If-None-Match is *, or a list in which the tag is.
// Either may be weak (RFC 9110, 13.1.2).
func Fresh(r *http.Request, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for _, header := range r.Header.Values("If-None-Match") {
		if strings.TrimSpace(header) == "*" {
			return true
		}
		for header != "" {
			header = strings.TrimPrefix(strings.TrimLeft(header, " \t,"), "W/")
			if !strings.HasPrefix(header, `"`) {
				break // no list of tags
			}
			end := strings.IndexByte(header[1:], '"') + 2
			if end < 2 {
				break
			}
			if header[:end] == tag {
				return true
			}
			header = header[end:]
		}
	}
	return false
}

// Reply is an answer on its way to a client.
type Reply struct {
	Form     Form
	Language Language // of a CSV's header row
	Tag      string   // of Tag; empty: the answer has none, and is not kept
	Document any      // what JSON sends
	Table    Table    // what the other forms send
}

// Send answers with the reply, or with 304 when the client has it. An error means that nothing was sent: the caller
// answers with it. When an answer breaks off after its first bytes have left, Send panics with http.ErrAbortHandler, so
// that the connection breaks too and no client takes a part for the whole.
func (a Reply) Send(w http.ResponseWriter, r *http.Request) error {
	if a.Tag != "" && Fresh(r, a.Tag) {
		a.keep(w.Header())
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	out := &opening{w: w, open: a.open}
	err := a.write(out)
	if err == nil {
		out.begin() // a table without rows may have no byte
		return nil
	}
	if out.begun {
		panic(http.ErrAbortHandler)
	}
	return err
}

func (a Reply) write(w io.Writer) error {
	switch a.Form {
	case CSV:
		return WriteCSV(w, a.Table, a.Language)
	case NDJSON:
		return WriteNDJSON(w, a.Table)
	case Parquet:
		return WriteParquet(w, a.Table)
	default:
		body, err := json.Marshal(a.Document)
		if err != nil {
			return fmt.Errorf("write json: %w", err)
		}
		_, err = w.Write(body)
		return err
	}
}

// opening sends the headers with the first bytes.
type opening struct {
	w     http.ResponseWriter
	open  func(http.Header)
	begun bool
}

func (o *opening) begin() {
	if !o.begun {
		o.begun = true
		o.open(o.w.Header())
		o.w.WriteHeader(http.StatusOK)
	}
}

func (o *opening) Write(p []byte) (int, error) {
	o.begin()
	return o.w.Write(p)
}

// keep sets what an answer and a 304 in its place have in common.
func (a Reply) keep(h http.Header) {
	h.Set("Vary", Vary)
	h.Set("Cache-Control", "no-store")
	if a.Tag != "" {
		h.Set("ETag", a.Tag)
		// A client may keep what it was given, and has to ask each time whether it may still see it.
		h.Set("Cache-Control", "private, no-cache")
	}
}

func (a Reply) open(h http.Header) {
	a.keep(h)
	h.Set("Content-Type", a.Form.ContentType())
	switch {
	case a.Form == JSON:
		h.Set("Content-Language", "ja, en") // its labels are in both
		return
	case a.Form == CSV && a.Language != Names:
		h.Set("Content-Language", string(a.Language))
	}
	a.Table.Meta.tell(h)
	if a.Form == CSV || a.Form == Parquet {
		h.Set("Content-Disposition", `attachment; filename="`+a.Table.Meta.file()+"."+a.Form.String()+`"`)
	}
}

// tell sets the headers that say what the rows cannot.
func (m Meta) tell(h http.Header) {
	for name, value := range map[string]string{HeaderReport: m.Report, HeaderSite: m.Site, HeaderPurpose: m.Purpose, HeaderPolicy: m.Policy} {
		if value != "" {
			h.Set(name, item(value))
		}
	}
	suppressed := strconv.Itoa(m.Suppressed.Groups)
	if m.Suppressed.Reason != "" {
		suppressed += ";reason=" + quoted(m.Suppressed.Reason)
	}
	h.Set(HeaderSuppressed, suppressed)
	number := func(n *uint64) string {
		if n == nil {
			return "withheld"
		}
		return strconv.FormatUint(*n, 10)
	}
	coverage := []string{"included=" + number(m.Coverage.Included)}
	for _, l := range m.Coverage.LeftOut {
		coverage = append(coverage, key(l.Reason)+"="+number(l.Count))
	}
	h.Set(HeaderCoverage, strings.Join(coverage, ", "))
	if r := m.Release; r != nil {
		h.Set(HeaderRelease, quoted(r.ID)+";as_of="+quoted(r.AsOf.Format(instant)))
		if r.Period != nil {
			h.Set(HeaderReleasedPeriod, "from="+quoted(r.Period.From.Format(instant))+", to="+quoted(r.Period.To.Format(instant)))
		}
		list(h, HeaderDroppedFilters, r.DroppedFilters)
	}
	if m.Sample > 0 {
		h.Set(HeaderSample, decimal(m.Sample))
	}
	if m.Truncated {
		h.Set(HeaderTruncated, "?1")
	}
	if m.Next != "" {
		h.Set(HeaderNext, quoted(m.Next))
	}
	list(h, HeaderRemarks, m.Remarks)
}

// list sets a header that is a list of names, if there are any.
func list(h http.Header, name string, names []string) {
	if len(names) == 0 {
		return
	}
	items := make([]string, len(names))
	for i, n := range names {
		items[i] = item(n)
	}
	h.Set(name, strings.Join(items, ", "))
}

// file is the name under which a browser keeps the answer, without its ending.
func (m Meta) file() string {
	parts := make([]string, 0, 4)
	for _, part := range []string{m.Site, m.Report} {
		if part != "" {
			parts = append(parts, key(part))
		}
	}
	if m.From.Before(m.To) {
		parts = append(parts, m.From.Format(time.DateOnly), m.To.Add(-time.Millisecond).Format(time.DateOnly))
	}
	if len(parts) == 0 {
		return "answer"
	}
	return strings.Join(parts, "-")
}

// --- Structured Fields ------------------------------------------------------------------------------------------------

// item is a name as a token, or as a string where it cannot be one.
func item(name string) string {
	for i, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && c != '*' && (i == 0 || (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'+-.^_`|~:/", rune(c))) {
			return quoted(name)
		}
	}
	return name
}

// decimal is a number of at most three places, or a string where it has more.
func decimal(n float64) string {
	text := strconv.FormatFloat(n, 'f', -1, 64)
	if _, places, _ := strings.Cut(text, "."); len(places) > 3 {
		return quoted(text)
	}
	return text
}

// quoted is a string. What is no printable ASCII cannot be in one, and becomes a question mark.
func quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		switch {
		case c < ' ' || c > '~':
			c = '?'
		case c == '"' || c == '\\':
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	b.WriteByte('"')
	return b.String()
}

// key is a name as the key of a dictionary, in which lower case letters, digits and _-.* may be. It also is what may stand
// in the name of a file.
func key(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-', c == '.':
			return c
		}
		return '_'
	}, name)
}
