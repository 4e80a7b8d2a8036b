package testkit

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/embedded/chdb"
	"github.com/sekisho/sekisho/internal/fetch"
	"github.com/sekisho/sekisho/schemas"
)

const engineChild = "SEKISHO_TEST_ENGINE_CHILD"

// EngineMain lets a test binary be the engine's child process: call it first in TestMain.
func EngineMain() {
	if os.Getenv(engineChild) == "" {
		return
	}
	if err := chdb.RunChild(slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		slog.Error("engine ended", "error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// EngineConfig is an embedded ClickHouse in a directory, whose child is this test binary.
func EngineConfig(ctx context.Context, dir string) (chdb.Config, error) {
	library, err := fetch.Library(ctx, fetch.CacheDir(), os.Stderr)
	if err != nil {
		return chdb.Config{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return chdb.Config{}, err
	}
	return chdb.Config{Library: library, DataDir: dir, Addr: "127.0.0.1:0", Command: []string{"env", engineChild + "=1", self}}, nil
}

// Engine starts an embedded ClickHouse in a directory. The package's TestMain MUST call EngineMain.
func Engine(t testing.TB, dir string) *chdb.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cfg, err := EngineConfig(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = Logger(t)
	e, err := chdb.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

// ClickHouse is a migrated database on an embedded engine of its own.
func ClickHouse(t testing.TB) *clickhouse.DB {
	t.Helper()
	return Database(t, Engine(t, t.TempDir()))
}

// Database opens and migrates the database of an engine.
func Database(t testing.TB, e *chdb.Engine) *clickhouse.DB {
	t.Helper()
	db, err := clickhouse.Open(t.Context(), e.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	migrations, err := fs.Sub(schemas.ClickHouse, "clickhouse")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), migrations, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return db
}
