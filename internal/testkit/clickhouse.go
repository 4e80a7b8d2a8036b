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

// Engine starts an embedded ClickHouse in a directory. The package's TestMain MUST call EngineMain.
func Engine(t testing.TB, dir string) *chdb.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	library, err := fetch.Library(ctx, fetch.CacheDir(), os.Stderr)
	if err != nil {
		t.Fatalf("fetch libchdb: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(engineChild, "1")
	e, err := chdb.Start(ctx, chdb.Config{
		Library: library, DataDir: dir, Addr: "127.0.0.1:0", Command: []string{self},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
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
