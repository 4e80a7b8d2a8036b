package chdb

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is the part of libchdb's C ABI (chdb.h, 26.7) that the engine uses. Pointers that C owns are uintptr: Go
// never dereferences them except in the accessors below, which copy before they return.
type library struct {
	version          func() string
	disableSignals   func(enabled int32)
	connect          func(argc int32, argv unsafe.Pointer) uintptr
	closeConn        func(conn uintptr)
	query            queryFunc
	streamQuery      queryFunc
	streamInsert     queryFunc
	streamFetch      func(conn, result uintptr) uintptr
	streamCancel     func(conn, result uintptr)
	insertAppend     func(stream uintptr, data unsafe.Pointer, n uintptr) int32
	insertDone       func(stream uintptr) uintptr
	insertCancel     func(stream uintptr)
	insertError      func(stream uintptr) string
	insertDestroy    func(stream uintptr)
	resultBuffer     func(result uintptr) unsafe.Pointer
	resultLength     func(result uintptr) uintptr
	resultError      func(result uintptr) string
	resultRowsRead   func(result uintptr) uint64
	resultRowsWrote  func(result uintptr) uint64
	resultBytesWrote func(result uintptr) uint64
	resultDestroy    func(result uintptr)
}

// queryFunc is the shape chdb_query_with_params_n, chdb_stream_query_with_params_n and
// chdb_stream_insert_with_params_n have in common: connection, statement, format, and four arrays with the names and
// values of the parameters and their lengths.
type queryFunc func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr,
	names, nameLens, values, valueLens unsafe.Pointer, count uintptr) uintptr

// loadLibrary maps libchdb into the process. It cannot be unmapped: the engine keeps threads of its own.
func loadLibrary(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load libchdb: %w", err)
	}
	lib := &library{}
	for _, sym := range []struct {
		name string
		fn   any
	}{
		{"chdb_version", &lib.version},
		{"chdb_set_signal_handlers_enabled", &lib.disableSignals},
		{"chdb_connect", &lib.connect},
		{"chdb_close_conn", &lib.closeConn},
		{"chdb_query_with_params_n", &lib.query},
		{"chdb_stream_query_with_params_n", &lib.streamQuery},
		{"chdb_stream_insert_with_params_n", &lib.streamInsert},
		{"chdb_stream_fetch_result", &lib.streamFetch},
		{"chdb_stream_cancel_query", &lib.streamCancel},
		{"chdb_stream_append", &lib.insertAppend},
		{"chdb_stream_done", &lib.insertDone},
		{"chdb_stream_cancel_insert", &lib.insertCancel},
		{"chdb_stream_insert_error", &lib.insertError},
		{"chdb_destroy_insert_stream", &lib.insertDestroy},
		{"chdb_result_buffer", &lib.resultBuffer},
		{"chdb_result_length", &lib.resultLength},
		{"chdb_result_error", &lib.resultError},
		{"chdb_result_rows_read", &lib.resultRowsRead},
		{"chdb_result_rows_written", &lib.resultRowsWrote},
		{"chdb_result_bytes_written", &lib.resultBytesWrote},
		{"chdb_destroy_query_result", &lib.resultDestroy},
	} {
		addr, err := purego.Dlsym(handle, sym.name)
		if err != nil {
			return nil, fmt.Errorf("find symbol %s of libchdb (26.7.3 or newer is needed): %w", sym.name, err)
		}
		purego.RegisterFunc(sym.fn, addr)
	}
	return lib, nil
}

// errConnect says no more than libchdb does: chdb_connect answers NULL and keeps its reason.
var errConnect = errors.New("libchdb refused the connection: the directory is in use, unreadable, or its configuration is not valid")

// conn is one connection to the engine. It runs one statement at a time and is not safe for concurrent use. Opening
// and closing one costs a fraction of a millisecond.
type conn struct {
	lib *library
	// ptr is C's chdb_connection*, handle what it points to.
	ptr, handle uintptr
}

// open connects to the engine of this process; the first connection boots it with args.
func (lib *library) open(args ...string) (*conn, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]unsafe.Pointer, 0, len(args)+2)
	for _, arg := range append([]string{"clickhouse"}, args...) {
		b := append([]byte(arg), 0)
		pin.Pin(&b[0])
		argv = append(argv, unsafe.Pointer(&b[0]))
	}
	argv = append(argv, nil)
	pin.Pin(&argv[0])
	ptr := lib.connect(int32(len(argv)-1), unsafe.Pointer(&argv[0])) //nolint:gosec // G115: a few arguments
	if ptr == 0 {
		return nil, errConnect
	}
	return &conn{lib: lib, ptr: ptr, handle: *(*uintptr)(foreign(ptr))}, nil
}

func (c *conn) close() { c.lib.closeConn(c.ptr) }

// param is one bound parameter, {name:Type} in the statement.
type param struct{ name, value string }

// call runs one of the three statement functions with the parameters bound by the engine, not by text.
func (c *conn) call(fn queryFunc, sql, format string, params []param) uintptr {
	var pin runtime.Pinner
	defer pin.Unpin()
	n := len(params)
	ptrs, lens := make([]unsafe.Pointer, 2*n+1), make([]uintptr, 2*n+1)
	for i, p := range params {
		ptrs[i], lens[i] = pinned(&pin, p.name), uintptr(len(p.name))
		ptrs[n+i], lens[n+i] = pinned(&pin, p.value), uintptr(len(p.value))
	}
	pin.Pin(&ptrs[0])
	pin.Pin(&lens[0])
	return fn(c.handle, pinned(&pin, sql), uintptr(len(sql)), pinned(&pin, format), uintptr(len(format)),
		unsafe.Pointer(&ptrs[0]), unsafe.Pointer(&lens[0]), unsafe.Pointer(&ptrs[n]), unsafe.Pointer(&lens[n]), uintptr(n))
}

// pinned is the address of a string's bytes, held still until the pinner lets go.
func pinned(pin *runtime.Pinner, s string) unsafe.Pointer {
	if s == "" {
		s = "\x00"
	}
	p := unsafe.StringData(s)
	pin.Pin(p)
	return unsafe.Pointer(p)
}

// foreign turns an address of C's memory into a pointer. Written through a pointer to the variable because vet takes
// the direct conversion for a Go address that went stale.
func foreign(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// result is a finished statement, or one chunk of a streamed one.
type result struct {
	lib *library
	ptr uintptr
}

// bytes is the formatted data, valid until destroy.
func (r result) bytes() []byte {
	n := r.lib.resultLength(r.ptr)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(r.lib.resultBuffer(r.ptr)), n)
}

func (r result) err() error { return newException(r.lib.resultError(r.ptr)) }
func (r result) destroy()   { r.lib.resultDestroy(r.ptr) }

// exec runs a whole statement and holds its result in memory. The caller MUST destroy the result.
func (c *conn) exec(sql, format string, params []param) (result, error) {
	r := result{c.lib, c.call(c.lib.query, sql, format, params)}
	if err := r.err(); err != nil {
		r.destroy()
		return result{}, err
	}
	return r, nil
}

// run is exec for statements whose answer nobody reads.
func (c *conn) run(sql string) error {
	r, err := c.exec(sql, "Null", nil)
	if err != nil {
		return err
	}
	r.destroy()
	return nil
}

// stream runs a SELECT and hands each chunk of formatted output to yield, which MUST NOT keep it.
func (c *conn) stream(sql, format string, params []param, yield func([]byte) error) error {
	head := result{c.lib, c.call(c.lib.streamQuery, sql, format, params)}
	defer head.destroy()
	if err := head.err(); err != nil {
		return err
	}
	for {
		chunk := result{c.lib, c.lib.streamFetch(c.handle, head.ptr)}
		err := chunk.err()
		data := chunk.bytes()
		if err == nil && len(data) > 0 {
			if err = yield(data); err != nil {
				c.lib.streamCancel(c.handle, head.ptr)
			}
		}
		done := len(data) == 0 && c.lib.resultRowsRead(chunk.ptr) == 0
		chunk.destroy()
		if err != nil || done {
			return err
		}
	}
}

// insert is an open INSERT. Nothing is visible before commit; the caller MUST close it, which cancels what was not
// committed.
type insert struct {
	lib *library
	ptr uintptr
}

func (c *conn) insert(sql, format string, params []param) (*insert, error) {
	in := &insert{c.lib, c.call(c.lib.streamInsert, sql, format, params)}
	if err := in.err(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *insert) err() error { return newException(in.lib.insertError(in.ptr)) }

// append copies data into the engine and blocks while the engine is behind.
func (in *insert) append(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&data[0])
	if in.lib.insertAppend(in.ptr, unsafe.Pointer(&data[0]), uintptr(len(data))) == 0 {
		return nil
	}
	if err := in.err(); err != nil {
		return err
	}
	return errors.New("libchdb refused data of an insert without a reason")
}

// commit ends the data and returns after the engine has stored the parts.
func (in *insert) commit() (rows, bytes uint64, err error) {
	r := result{in.lib, in.lib.insertDone(in.ptr)}
	defer r.destroy()
	if err := r.err(); err != nil {
		return 0, 0, err
	}
	return in.lib.resultRowsWrote(r.ptr), in.lib.resultBytesWrote(r.ptr), nil
}

func (in *insert) cancel() { in.lib.insertCancel(in.ptr) }
func (in *insert) close()  { in.lib.insertDestroy(in.ptr) }
