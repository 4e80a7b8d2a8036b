package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/embedded/broker"
	"github.com/sekisho/sekisho/internal/embedded/chdb"
	"github.com/sekisho/sekisho/internal/fetch"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/retention"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas"
)

// engines are Kafka and ClickHouse, embedded or named by the configuration.
type engines struct {
	cluster *kafka.Cluster
	db      *clickhouse.DB
	stops   []func(context.Context) error
}

// stop stops what was started, the last first.
func (e *engines) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var faults []error
	for i := len(e.stops) - 1; i >= 0; i-- {
		faults = append(faults, e.stops[i](ctx))
	}
	return errors.Join(faults...)
}

// startEngines starts or reaches both engines. With embed false, engines that the configuration does not name are an
// error: a role that runs by itself shares them with others.
func startEngines(ctx context.Context, cfg *config.Config, embed bool, logger *slog.Logger) (_ *engines, err error) {
	e := &engines{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.stop())
		}
	}()
	if err := e.startKafka(ctx, cfg, embed, logger); err != nil {
		return nil, err
	}
	if err := e.startClickHouse(ctx, cfg, embed, logger); err != nil {
		return nil, err
	}
	return e, nil
}

// startKafka starts or reaches the event log and sees to its topics.
func (e *engines) startKafka(ctx context.Context, cfg *config.Config, embed bool, logger *slog.Logger) error {
	if err := e.reachKafka(ctx, cfg, embed, logger); err != nil {
		return err
	}
	return e.ensureTopics(ctx, cfg)
}

func (e *engines) reachKafka(ctx context.Context, cfg *config.Config, embed bool, logger *slog.Logger) error {
	brokers := cfg.Kafka.Brokers
	if len(brokers) == 0 {
		if !embed {
			return errors.New("start: name the brokers (--kafka); only `sekisho up` embeds one")
		}
		b, err := broker.Start(ctx, broker.Config{DataDir: cfg.Path("kafka"), Addr: cfg.Kafka.Addr, Logger: logger})
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		e.stops = append(e.stops, b.Stop)
		brokers = b.Addrs()
		logger.LogAttrs(ctx, slog.LevelInfo, "embedded broker listens", slog.String("addr", brokers[0]))
	}
	settings := kafka.Config{Brokers: brokers, Logger: logger}
	if cfg.Kafka.TLS {
		settings.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if cfg.Kafka.User != "" {
		settings.SASL = &kafka.SASL{Mechanism: cfg.Kafka.Mechanism, User: cfg.Kafka.User, Password: cfg.Kafka.Password.Reveal()}
	}
	cluster, err := kafka.Open(settings)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	e.cluster = cluster
	e.stops = append(e.stops, func(context.Context) error { cluster.Close(); return nil })
	return nil
}

// ensureTopics makes the topics that are missing and sets how long each keeps what it holds.
func (e *engines) ensureTopics(ctx context.Context, cfg *config.Config) error {
	events, letters := retention.Shares(cfg.Kafka.Retention)
	err := kafka.NewAdmin(e.cluster).EnsureTopics(ctx, []kafka.Topic{
		{
			Name: cfg.Topic("events"), Partitions: cfg.Kafka.Partitions, ReplicationFactor: cfg.Kafka.Replication,
			Config: retention.Topic(events),
		},
		{
			Name: cfg.Topic("consent"), Partitions: cfg.Kafka.Partitions, ReplicationFactor: cfg.Kafka.Replication,
			Config: map[string]string{"cleanup.policy": "compact"},
		},
		{
			Name: cfg.Topic("dead-letters"), Partitions: 1, ReplicationFactor: cfg.Kafka.Replication,
			Config: retention.Topic(letters),
		},
		{
			// The ledger is a function of this topic, so it stays: an entry holds nothing of a person.
			Name: cfg.Topic("ledger"), Partitions: 1, ReplicationFactor: cfg.Kafka.Replication,
			Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"},
		},
	})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

func (e *engines) startClickHouse(ctx context.Context, cfg *config.Config, embed bool, logger *slog.Logger) error {
	dsn := cfg.Store.ClickHouse.Reveal()
	if dsn == "" {
		if !embed {
			return errors.New("start: name the ClickHouse server (--clickhouse); only `sekisho up` embeds one")
		}
		library := cfg.Store.Library
		if library == "" {
			var err error
			if library, err = fetch.Library(ctx, fetch.CacheDir(), os.Stderr); err != nil {
				return fmt.Errorf("start: %w", err)
			}
		}
		engine, err := chdb.Start(ctx, chdb.Config{
			Library: library, DataDir: cfg.Path("clickhouse"), Addr: cfg.Store.Addr, Memory: cfg.Store.Memory, Logger: logger,
		})
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		e.stops = append(e.stops, engine.Stop)
		dsn = engine.DSN()
		logger.LogAttrs(ctx, slog.LevelInfo, "embedded clickhouse answers", slog.String("addr", cfg.Store.Addr))
	}
	db, err := clickhouse.Open(ctx, dsn)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	e.db = db
	e.stops = append(e.stops, func(context.Context) error { return db.Close() })
	return nil
}

// migrate brings the schema up to date and sets retention from the policies in force.
func migrate(ctx context.Context, db *clickhouse.DB, policies *policy.Register, logger *slog.Logger) error {
	migrations, err := fs.Sub(schemas.ClickHouse, "clickhouse")
	if err != nil {
		return fmt.Errorf("open migrations: %w", err)
	}
	if err := db.Migrate(ctx, migrations, logger); err != nil {
		return err
	}
	return retention.Apply(ctx, db, policies, time.Now(), logger)
}

// registries loads the policies and the sites, and holds every site against its policy.
func registries(cfg *config.Config) (*policy.Register, *site.Registry, error) {
	all, err := packs(cfg)
	if err != nil {
		return nil, nil, err
	}
	policies, err := policy.Load(all)
	if err != nil {
		return nil, nil, err
	}
	sites, err := sampleSites(cfg)
	if cfg.Sites != "" {
		sites, err = site.Load(cfg.Sites)
	}
	if err != nil {
		return nil, nil, err
	}
	var faults []error
	for _, s := range sites.All() {
		pack, ok := policies.At(s.Policy, time.Now())
		if !ok {
			faults = append(faults, fmt.Errorf("site %s: no version of policy %s is in force", s.ID, s.Policy))
			continue
		}
		if _, ok := pack.Rules(s.Jurisdiction); !ok {
			faults = append(faults, fmt.Errorf("site %s: policy %s has no jurisdiction %s", s.ID, pack.Version, s.Jurisdiction))
		}
		if keep, ok := pack.Retention(core.IPAddress); !ok || cfg.Kafka.Retention > keep {
			faults = append(faults, fmt.Errorf("kafka-retention: sealed addresses may stay %s under policy %s", keep, pack.Version))
		}
	}
	return policies, sites, errors.Join(faults...)
}

type migrateCommand struct{}

// Run implements the command.
func (migrateCommand) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	policies, _, err := registries(cfg)
	if err != nil {
		return err
	}
	e := &engines{}
	if err := e.startClickHouse(ctx, cfg, true, logger); err != nil {
		return err
	}
	return errors.Join(migrate(ctx, e.db, policies, logger), e.stop())
}
