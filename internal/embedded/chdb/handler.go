package chdb

import (
	"compress/gzip"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// appendSize is how much of an insert's body goes to the engine at a time, in bytes.
const appendSize = 1 << 20

// maxStatement bounds a statement that is not an insert's data, in bytes.
const maxStatement = 16 << 20

// hello is what clickhouse-go asks before anything else. libchdb writes Native at revision 0 and the driver reads
// this one answer at its own, so the handler gives it, and reports revision 0 for all that follows.
const hello = "SELECT displayName(), version(), revision(), timezone()"

// handler speaks the part of ClickHouse's HTTP interface that clients need: statements with parameters, settings
// and streamed inserts. It has no users; whoever listens with it listens on loopback.
type handler struct {
	lib     *library
	args    []string
	version string
	key     string // the password of this start
	logger  *slog.Logger
	serial  atomic.Uint64 // of requests
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		_, _ = io.WriteString(w, "Ok.\n")
		return
	}
	if !h.admits(r) {
		w.Header().Set("X-ClickHouse-Exception-Code", "516")
		http.Error(w, "Code: 516. DB::Exception: wrong password. (AUTHENTICATION_FAILED)", http.StatusForbidden)
		return
	}
	w.Header().Set("X-ClickHouse-Server-Display-Name", "sekisho")
	wrote, err := h.serve(w, r)
	if err == nil {
		return
	}
	if wrote {
		// The status is gone: break the connection, so that the client does not take the answer for whole.
		panic(http.ErrAbortHandler)
	}
	status, code := http.StatusInternalServerError, 1002
	var e *exception
	if errors.As(err, &e) {
		code = e.code
		if code == 62 || code == 47 || code == 60 || code == 36 {
			status = http.StatusBadRequest
		}
	}
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(code))
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, err.Error())
}

// admits holds a request's password, by Basic authentication or ClickHouse's header, against the one of this start.
func (h *handler) admits(r *http.Request) bool {
	_, key, ok := r.BasicAuth()
	if !ok {
		key = r.Header.Get("X-ClickHouse-Key")
	}
	return subtle.ConstantTimeCompare([]byte(key), []byte(h.key)) == 1
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) (wrote bool, err error) {
	q := r.URL.Query()
	if q.Get("decompress") == "1" || q.Get("compress") == "1" {
		return false, errors.New("Code: 48. DB::Exception: block compression is not spoken here, use Content-Encoding. (NOT_IMPLEMENTED)")
	}
	body, err := decoded(r)
	if err != nil {
		return false, err
	}
	sql := q.Get("query")
	if sql == "" {
		text, err := io.ReadAll(io.LimitReader(body, maxStatement+1))
		if err != nil {
			return false, fmt.Errorf("read statement: %w", err)
		}
		if len(text) > maxStatement {
			return false, errors.New("Code: 62. DB::Exception: the statement is too long. (SYNTAX_ERROR)")
		}
		sql, body = string(text), strings.NewReader("")
	}
	if strings.TrimSpace(sql) == hello {
		return h.hello(w)
	}
	st, err := parseStatement(sql)
	if err != nil {
		return false, newException(err.Error())
	}
	c, err := h.lib.open(h.args...)
	if err != nil {
		return false, err
	}
	defer c.close()
	params, err := prepare(c, q)
	if err != nil {
		return false, err
	}
	format := q.Get("default_format")
	if format == "" {
		format = "TabSeparated"
	}
	if st.kind == kindInsert {
		return false, insertBody(c, st, params, body)
	}
	if st.kind != kindExecute {
		release, err := h.abandon(r.Context(), c)
		if err != nil {
			return false, err
		}
		defer release()
	}
	w.Header().Set("X-ClickHouse-Format", format)
	if st.kind == kindSelect {
		err := c.stream(st.sql, format, params, func(chunk []byte) error {
			wrote = true
			_, err := w.Write(chunk)
			return err
		})
		return wrote, err
	}
	result, err := c.exec(st.sql, format, params)
	if err != nil {
		return false, err
	}
	defer result.destroy()
	_, err = w.Write(result.bytes())
	return true, err
}

// abandon makes the engine give up the read that c runs next once ctx ends: its client is gone. A connection that
// waits for its first row hears nothing, so another one kills it, by the comment that names the request. The read may
// not have begun yet, so it is tried until release is called.
func (h *handler) abandon(ctx context.Context, c *conn) (release func(), err error) {
	comment := "request-" + strconv.FormatUint(h.serial.Add(1), 10)
	if err := c.run("SET log_comment = '" + comment + "'"); err != nil {
		return nil, err
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		killer, err := h.lib.open(h.args...)
		if err != nil {
			h.logger.Error("cannot abandon a read", slog.Any("error", err))
			return
		}
		defer killer.close()
		for {
			// Asynchronous: KILL QUERY ... SYNC may hang.
			if err := killer.run("KILL QUERY WHERE Settings['log_comment'] = '" + comment + "' ASYNC"); err != nil {
				h.logger.Error("cannot abandon a read", slog.String("comment", comment))
				return
			}
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() { close(done); <-ended }, nil
}

func decoded(r *http.Request) (io.Reader, error) {
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, errors.New("Code: 354. DB::Exception: the body is not gzip. (ZLIB_INFLATE_FAILED)")
		}
		return z, nil
	}
	return nil, errors.New("Code: 48. DB::Exception: Content-Encoding is neither gzip nor identity. (NOT_IMPLEMENTED)")
}

// notSettings are query parameters of the interface; all others are settings of the engine.
var notSettings = map[string]bool{
	"query": true, "database": true, "default_format": true, "client_protocol_version": true, "query_id": true,
	"quota_key": true, "session_id": true, "compress": true, "decompress": true, "wait_end_of_query": true,
	"user": true, "password": true,
}

var (
	settingName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
	quoteText    = strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	quoteColumns = strings.NewReplacer(`\`, `\\`, "`", "\\`")
)

// prepare applies a request's database and settings to its own connection and returns the bound parameters.
func prepare(c *conn, q url.Values) ([]param, error) {
	var params []param
	// On by default here, and profiles of the configuration file are not read.
	if err := c.run("SET async_insert = 0"); err != nil {
		return nil, err
	}
	if db := q.Get("database"); db != "" {
		if err := c.run("USE `" + quoteColumns.Replace(db) + "`"); err != nil {
			return nil, err
		}
	}
	for key := range q {
		if name, ok := strings.CutPrefix(key, "param_"); ok {
			params = append(params, param{name, q.Get(key)})
			continue
		}
		if notSettings[key] {
			continue
		}
		if !settingName.MatchString(key) {
			return nil, newException("Code: 115. DB::Exception: not a setting's name. (UNKNOWN_SETTING)")
		}
		if err := c.run("SET " + key + " = '" + quoteText.Replace(q.Get(key)) + "'"); err != nil {
			return nil, err
		}
	}
	return params, nil
}

// insertBody streams an insert. It commits only when the body ended as its sender meant it to: a client that was cut
// off MUST NOT leave half a batch behind.
func insertBody(c *conn, st statement, params []param, body io.Reader) error {
	in, err := c.insert(st.sql, st.format, params)
	if err != nil {
		return err
	}
	defer in.close()
	if err := in.append([]byte(st.data)); err != nil {
		in.cancel()
		return err
	}
	buf := make([]byte, appendSize)
	for fill := 0; ; {
		n, err := body.Read(buf[fill:])
		fill += n
		if fill == len(buf) || err != nil {
			if err := in.append(buf[:fill]); err != nil {
				in.cancel()
				return err
			}
			fill = 0
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			_, _, err := in.commit()
			return err
		default:
			in.cancel()
			return fmt.Errorf("read insert: %w", err)
		}
	}
}

func (h *handler) hello(w http.ResponseWriter) (bool, error) {
	block := proto.NewBlock()
	for _, c := range []struct {
		name, kind string
	}{
		{"displayName()", "String"}, {"version()", "String"}, {"revision()", "UInt32"}, {"timezone()", "String"},
	} {
		if err := block.AddColumn(c.name, column.Type(c.kind)); err != nil {
			return false, fmt.Errorf("answer hello: %w", err)
		}
	}
	if err := block.Append("sekisho", h.version, uint32(0), "UTC"); err != nil {
		return false, fmt.Errorf("answer hello: %w", err)
	}
	var buffer chproto.Buffer
	if err := block.Encode(&buffer, clickhouse.ClientTCPProtocolVersion); err != nil {
		return false, fmt.Errorf("answer hello: %w", err)
	}
	_, err := w.Write(buffer.Buf)
	return true, err
}
