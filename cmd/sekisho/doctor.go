package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/fetch"
	"github.com/sekisho/sekisho/internal/kafka"
)

type doctorCommand struct{}

// Run says of each thing that is needed whether it is there. It changes nothing but the cache of fetched parts.
func (doctorCommand) Run(ctx context.Context, cfg *config.Config) error {
	sick := false
	check := func(what string, err error) {
		if err != nil {
			sick = true
			fmt.Printf("✗ %s: %v\n", what, err)
			return
		}
		fmt.Printf("✓ %s\n", what)
	}
	_, _, err := registries(cfg)
	check("policy packs and site registry", err)
	check("data directory can be written", writable(cfg.Data))
	if len(cfg.Kafka.Brokers) > 0 {
		check("Kafka answers", kafkaAnswers(ctx, cfg))
	} else {
		check("address of the embedded broker is free", free(ctx, cfg.Kafka.Addr))
	}
	if dsn := cfg.Store.ClickHouse.Reveal(); dsn != "" {
		db, err := clickhouse.Open(ctx, dsn)
		check("ClickHouse answers", err)
		if err == nil {
			_ = db.Close()
		}
	} else {
		check("address of the embedded ClickHouse is free", free(ctx, cfg.Store.Addr))
		if cfg.Store.Library == "" {
			_, err := fetch.Library(ctx, fetch.CacheDir(), os.Stderr)
			check("libchdb is there and verified", err)
		}
	}
	check("address of the pipeline is free", free(ctx, cfg.Pipeline.Addr))
	if sick {
		return errors.New("something is missing")
	}
	return nil
}

func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func free(ctx context.Context, addr string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return errors.New("it is taken (is sekisho running?)")
	}
	return l.Close()
}

func kafkaAnswers(ctx context.Context, cfg *config.Config) error {
	cluster, err := kafka.Open(kafka.Config{Brokers: cfg.Kafka.Brokers})
	if err != nil {
		return err
	}
	defer cluster.Close()
	_, err = kafka.NewAdmin(cluster).Partitions(ctx, cfg.Topic("events"))
	return err
}
