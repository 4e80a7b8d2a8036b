// Package clickhouse is the one place that imports a ClickHouse client. It serves the embedded engine (HTTP) and a
// server or cluster (native protocol) alike; the DSN decides.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/pressly/goose/v3"

	"github.com/sekisho/sekisho/internal/core"
)

// DB is a pool of connections. It is safe for concurrent use.
type DB struct {
	conn    driver.Conn
	options *clickhouse.Options
}

// Open prepares a pool for a DSN, http://host:8123/database or clickhouse://user:password@host:9000/database, and
// checks that the other side answers. The error never holds the DSN.
func Open(ctx context.Context, dsn string) (*DB, error) {
	options, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("open clickhouse: the DSN cannot be read")
	}
	options.DialTimeout = 10 * time.Second
	options.ReadTimeout = 5 * time.Minute
	options.MaxOpenConns = 16
	options.MaxIdleConns = 8
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, fmt.Errorf("open clickhouse: %w", classify(err))
	}
	if err := conn.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open clickhouse: %w", classify(err)), conn.Close())
	}
	return &DB{conn, options}, nil
}

// Close closes the pool.
func (db *DB) Close() error { return db.conn.Close() }

// Migrate applies the migrations in dir of fsys that are not applied yet, in order. It only goes forward.
func (db *DB) Migrate(ctx context.Context, fsys fs.FS, logger *slog.Logger) error {
	pool := clickhouse.OpenDB(db.options)
	defer func() { _ = pool.Close() }()
	provider, err := goose.NewProvider(goose.DialectClickHouse, pool, fsys, goose.WithVerbose(false))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate clickhouse: %w", err) // the text quotes our own schema and nothing else
	}
	for _, r := range results {
		logger.LogAttrs(ctx, slog.LevelInfo, "migrated", slog.Int64("version", r.Source.Version), slog.Duration("took", r.Duration))
	}
	return nil
}

// Column is a whole column of a batch: a slice of its Go type. All columns of a batch have the same length.
type Column struct {
	Name   string
	Values any
}

// Gather makes a column of one value a row.
func Gather[R, T any](name string, rows []R, get func(R) T) Column {
	values := make([]T, len(rows))
	for i := range rows {
		values[i] = get(rows[i])
	}
	return Column{Name: name, Values: values}
}

// Insert stores a batch in one block, columns whole. A batch with a token that the table has seen (among its last
// 10,000) changes nothing, so the same batch may be inserted again after a failure.
func (db *DB) Insert(ctx context.Context, table, token string, columns []Column) error {
	names := make([]string, len(columns))
	for i, c := range columns {
		// The driver's HTTP side drops a batch of ragged columns and reports success.
		if n, first := reflect.ValueOf(c.Values).Len(), reflect.ValueOf(columns[0].Values).Len(); n != first {
			return fmt.Errorf("insert into %s: column %s has %d values, the first one %d", table, c.Name, n, first)
		}
		names[i] = "`" + c.Name + "`"
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplicate":         1,
		"insert_deduplication_token": token,
		"async_insert":               0,
	}))
	batch, err := db.conn.PrepareBatch(ctx, "INSERT INTO `"+table+"` ("+strings.Join(names, ", ")+")")
	if err != nil {
		return fmt.Errorf("insert into %s: %w", table, classify(err))
	}
	defer func() { _ = batch.Close() }()
	for i, c := range columns {
		if err := batch.Column(i).Append(c.Values); err != nil {
			return fmt.Errorf("insert into %s: column %s: %w", table, c.Name, classify(err))
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert into %s: %w", table, classify(err))
	}
	return nil
}

// Limits bound one read.
type Limits struct {
	Time   time.Duration
	Memory int64 // bytes
	Rows   int64 // of the result
}

// Rows are a result under way.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
}

// Select runs a read with bound parameters ({name:Type} in the SQL) and hands its rows to scan.
func (db *DB) Select(ctx context.Context, sql string, params map[string]string, limits Limits, scan func(Rows) error) error {
	settings := clickhouse.Settings{}
	if limits.Time > 0 {
		settings["max_execution_time"] = limits.Time.Seconds()
	}
	if limits.Memory > 0 {
		settings["max_memory_usage"] = limits.Memory
	}
	if limits.Rows > 0 {
		settings["max_result_rows"] = limits.Rows
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings), clickhouse.WithParameters(escaped(params)))
	rows, err := db.conn.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("select: %w", classify(err))
	}
	err = scan(rows)
	if err = errors.Join(err, rows.Close(), rows.Err()); err != nil {
		return fmt.Errorf("select: %w", classify(err))
	}
	return nil
}

// escape writes a value as the engine reads bound ones: as a field of tab-separated values.
var escape = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`)

// escaped are parameters whose values arrive as they are. The driver hands them on as they are given, and the engine
// takes a backslash in them for an escape.
func escaped(params map[string]string) map[string]string {
	all := make(map[string]string, len(params))
	for name, value := range params {
		all[name] = escape.Replace(value)
	}
	return all
}

// Exec runs a statement without a result.
func (db *DB) Exec(ctx context.Context, sql string) error {
	if err := db.conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("exec: %w", classify(err))
	}
	return nil
}

// failure is an error of the other side without its text, which may quote values.
type failure struct {
	code int32
	name string
}

func (f *failure) Error() string {
	return fmt.Sprintf("clickhouse exception %d %s", f.code, f.name)
}

// passing are exceptions that may not come again: limits of the moment, replicas on the move.
var passing = map[int32]bool{
	159: true, // TIMEOUT_EXCEEDED
	160: true, // TOO_SLOW: it would exceed its time
	202: true, // TOO_MANY_SIMULTANEOUS_QUERIES
	209: true, // SOCKET_TIMEOUT
	210: true, // NETWORK_ERROR
	225: true, // NO_ZOOKEEPER
	236: true, // ABORTED
	241: true, // MEMORY_LIMIT_EXCEEDED
	242: true, // TABLE_IS_READ_ONLY
	252: true, // TOO_MANY_PARTS
	279: true, // ALL_CONNECTION_TRIES_FAILED
	285: true, // TOO_FEW_LIVE_REPLICAS
	319: true, // UNKNOWN_STATUS_OF_INSERT
	999: true, // KEEPER_EXCEPTION
}

// classify marks what may pass as core.Retryable and takes the engine's text out.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var exception *clickhouse.Exception
	if errors.As(err, &exception) {
		f := &failure{exception.Code, exception.Name}
		if passing[exception.Code] {
			return core.Retryable{Err: f}
		}
		return f
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return core.Retryable{Err: err}
	}
	return err
}
