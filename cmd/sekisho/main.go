// Command sekisho is the whole house in one binary: configuration, then telemetry, then wiring, then run. What the
// parts do is told in their packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	kongyaml "github.com/alecthomas/kong-yaml"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/embedded/chdb"
)

// version is set when the binary is linked.
var version = "development"

type cli struct {
	config.Config

	ConfigFile kong.ConfigFlag `name:"config-file" help:"YAML file with the same names as the flags." env:"SEKISHO_CONFIG_FILE"`

	Up       upCommand        `cmd:"" help:"Run everything on this machine, on embedded engines unless others are named."`
	Edge     collectorCommand `cmd:"" name:"collector" help:"Run the collector: beacons and server events in, sealed envelopes to Kafka."`
	Pipeline pipelineCommand  `cmd:"" help:"Run the pipeline: Kafka to ClickHouse, through the checkpoint."`
	Query    queryCommand     `cmd:"" help:"Run the query service: reads for one permitted purpose each."`
	Demo     demoCommand      `cmd:"" help:"Play visitors of the sample site to a running collector that trusts this machine as a proxy."`
	Key      keyCommand       `cmd:"" help:"Make, list and revoke API keys of the query service."`
	Ledger   ledgerCommand    `cmd:"" help:"Verify the proof ledger, receipts and stored records; print its checkpoint."`
	Consent  consentCommand   `cmd:"" help:"Explain a decision, fold withdrawals into the rows, erase a subject."`
	Migrate  migrateCommand   `cmd:"" help:"Bring the ClickHouse schema up to date and set retention from the policy."`
	Retain   retentionCommand `cmd:"" name:"retention" help:"Prove that nothing is kept for longer than the policy allows, and make it so."`
	Policy   policyCommand    `cmd:"" help:"Check, compare, publish and show policy packs."`
	Doctor   doctorCommand    `cmd:"" help:"Check what this machine and this configuration need."`
	Settings configCommand    `cmd:"" name:"config" help:"Check or print the configuration."`
	Version  versionCommand   `cmd:"" help:"Print the version."`

	Engine engineCommand `cmd:"" name:"engine-clickhouse" hidden:""`
}

func main() {
	var c cli
	parser := kong.Must(
		&c,
		kong.Name("sekisho"),
		kong.Description("A privacy-aware analytics and consent-tracking pipeline: consent going in, a named purpose coming out."),
		kong.Configuration(kongyaml.Loader),
		kong.UsageOnError(),
	)
	command, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger, err := newLogger(c.Log)
	parser.FatalIfErrorf(err)
	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(&c.Config, logger); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "sekisho:", err)
		os.Exit(1)
	}
}

func newLogger(cfg config.Log) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		return nil, fmt.Errorf("read log-level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
}

// versionCommand prints the version.
type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run() error {
	fmt.Println("sekisho", version)
	return nil
}

// engineCommand is the embedded ClickHouse's child process.
type engineCommand struct{}

// Run implements the command.
func (engineCommand) Run(logger *slog.Logger) error { return chdb.RunChild(logger) }
