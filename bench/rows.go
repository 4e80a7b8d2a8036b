package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/embedded/chdb"
	"github.com/sekisho/sekisho/internal/fetch"
)

// rowVisitors are the demo visitors whose stored events are weighed.
const rowVisitors = "20000"

// measureRows weighs what realistic visitors come to on disk, once the engine has merged them.
func measureRows(ctx context.Context, o options, data string) error {
	h, err := startHouse(ctx, o.binary, data)
	if err != nil {
		return err
	}
	defer h.stop()
	var log bytes.Buffer
	fmt.Println("\nplaying", rowVisitors, "demo visitors")
	player, err := start(ctx, &log, o.binary, "demo", "--collector-url", "http://"+h.collector, "--visitors", rowVisitors)
	if err != nil {
		return err
	}
	<-player.done
	if !player.cmd.ProcessState.Success() {
		return errors.New("the demo visitors were not played:\n" + log.String())
	}
	if err := h.drain(ctx); err != nil {
		return err
	}
	h.stop()
	return weigh(ctx, o.binary, filepath.Join(data, "clickhouse"))
}

func weigh(ctx context.Context, binary, dir string) (err error) {
	library, err := fetch.Library(ctx, fetch.CacheDir(), &bytes.Buffer{})
	if err != nil {
		return fmt.Errorf("weigh rows: %w", err)
	}
	engine, err := chdb.Start(ctx, chdb.Config{
		Library: library, DataDir: dir, Addr: "127.0.0.1:0", Command: []string{binary, "engine-clickhouse"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return fmt.Errorf("weigh rows: %w", err)
	}
	defer func() { err = errors.Join(err, engine.Stop(context.WithoutCancel(ctx))) }()
	db, err := clickhouse.Open(ctx, engine.DSN())
	if err != nil {
		return fmt.Errorf("weigh rows: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Exec(ctx, "OPTIMIZE TABLE events FINAL"); err != nil {
		return fmt.Errorf("weigh rows: %w", err)
	}
	var rows, packed, plain uint64
	err = db.Select(ctx, `SELECT sum(rows), sum(bytes_on_disk), sum(data_uncompressed_bytes) FROM system.parts
		WHERE database = currentDatabase() AND table = 'events' AND active`, nil, clickhouse.Limits{Time: time.Minute}, func(r clickhouse.Rows) error {
		for r.Next() {
			if err := r.Scan(&rows, &packed, &plain); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("weigh rows: %w", err)
	}
	if rows == 0 {
		return errors.New("weigh rows: nothing is stored")
	}
	fmt.Printf("stored events: %d rows, %.1f bytes an event on disk (all files of the parts), %.0f before compression\n", rows, float64(packed)/float64(rows), float64(plain)/float64(rows))
	fmt.Println("largest columns, bytes an event")
	return db.Select(ctx, `SELECT column, sum(column_data_compressed_bytes) AS bytes FROM system.parts_columns
		WHERE database = currentDatabase() AND table = 'events' AND active GROUP BY column ORDER BY bytes DESC LIMIT 12`, nil, clickhouse.Limits{Time: time.Minute}, func(r clickhouse.Rows) error {
		for r.Next() {
			var column string
			var bytes uint64
			if err := r.Scan(&column, &bytes); err != nil {
				return err
			}
			fmt.Printf("  %-18s %6.2f\n", column, float64(bytes)/float64(rows))
		}
		return nil
	})
}
