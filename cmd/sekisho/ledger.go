package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/ledger"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/retention"
)

func openBook(ctx context.Context, cfg *config.Config, e *engines, logger *slog.Logger) (*evidence.Book, error) {
	key, err := evidence.LoadKey(cfg.Path("ledger.key"), cfg.Pipeline.LedgerName)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(cfg.Path("ledger.pub"), []byte(key.Public()+"\n"), 0o644); err != nil { //nolint:gosec // G306: it is the public key
		return nil, fmt.Errorf("publish ledger key: %w", err)
	}
	return evidence.OpenBook(ctx, cfg.Path("ledger"), key, e.cluster, cfg.Topic("ledger"), e.db, logger)
}

// keepNotes puts into the ledger what is no consent act: policy versions, destroyed keys, and every hour's audit.
func keepNotes(ctx context.Context, cfg *config.Config, e *engines, entries *kafka.Producer, policies *policy.Register, keys *open.Keys, logger *slog.Logger) error {
	store, err := open.OpenStore(cfg.Path("keys"))
	if err != nil {
		return err
	}
	noted := map[ledger.ID]bool{} // in this process; noting again would change nothing, but asks the store
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		records, err := notes(ctx, e, store, policies, keys)
		for _, r := range records {
			if err == nil && !noted[r.ID] {
				if err = evidence.Note(ctx, e.db, entries, r); err == nil {
					noted[r.ID] = true
				}
			}
		}
		if err != nil && ctx.Err() == nil { // the next turn tries again: what is to be noted stays to be noted
			logger.LogAttrs(ctx, slog.LevelError, "ledger notes failed", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func notes(ctx context.Context, e *engines, store *open.Store, policies *policy.Register, keys *open.Keys) ([]ledger.Record, error) {
	var records []ledger.Record
	for _, p := range policies.All() {
		records = append(records, evidence.PolicyPublication(keys, p.Version, p.Hash, p.EffectiveFrom))
	}
	destroyed, err := store.Destructions()
	if err != nil {
		return records, err
	}
	for _, d := range destroyed {
		if d.Confirmed {
			records = append(records, evidence.KeyDestruction(keys, string(d.Kind), d.Epoch, string(d.Reason), d.DestroyedAt))
		}
	}
	audits, err := evidence.AuditCheckpoints(ctx, e.db, keys, time.Now())
	return append(records, audits...), err
}

// ledgerCommand proves, without the running system, what was recorded.
type ledgerCommand struct {
	Verify     ledgerVerify     `cmd:"" help:"Hold every stored record against the ledger, and the ledger against its checkpoints. Exits with 1 on a finding."`
	Receipt    ledgerReceipt    `cmd:"" help:"Verify a receipt offline, with the ledger's public key alone."`
	Checkpoint ledgerCheckpoint `cmd:"" help:"Print the last signed checkpoint. Keep it elsewhere: later ledgers are held against it."`
}

func ledgerVerifier(cfg *config.Config, file string) (ledger.Verifier, error) {
	if file == "" {
		file = cfg.Path("ledger.pub")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return ledger.Verifier{}, fmt.Errorf("read ledger's public key: %w", err)
	}
	return ledger.NewVerifier(strings.Fields(string(text))...)
}

type ledgerVerify struct {
	Key   string   `help:"File with the ledger's public key. Empty: ledger.pub in the data directory." type:"path"`
	Known []string `help:"A checkpoint that was exported before; repeat it for more. Only these can show that ledger and checkpoint were replaced together." type:"path" placeholder:"FILE"`
}

// Run implements the command. The embedded engine must not be in use: stop `sekisho up` first.
func (c ledgerVerify) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	policies, _, err := registries(cfg)
	if err != nil {
		return err
	}
	verifier, err := ledgerVerifier(cfg, c.Key)
	if err != nil {
		return err
	}
	var known []ledger.Checkpoint
	for _, file := range c.Known {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read checkpoint: %w", err)
		}
		k, err := ledger.OpenCheckpoint(text, verifier)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		known = append(known, k)
	}
	store, err := ledger.ReadStore(cfg.Path("ledger"))
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // only read
	e := &engines{}
	if err := e.startClickHouse(ctx, cfg, true, logger); err != nil {
		return err
	}
	keep := time.Now().AddDate(0, 0, -retention.Days(policies, core.Record, time.Now()))
	faults, err := evidence.Audit(ctx, os.Stdout, store, e.db, verifier, keep, known...)
	if err = errors.Join(err, e.stop()); err != nil {
		return err
	}
	if faults > 0 {
		return fmt.Errorf("the ledger and the records differ in %d places", faults)
	}
	return nil
}

type ledgerReceipt struct {
	File string `arg:"" help:"The receipt (JSON), as POST /v1/consent or GET /v1/ledger/proof gave it: one, or {\"receipts\": […]}." type:"existingfile"`
	Key  string `help:"File with the ledger's public key. Empty: ledger.pub in the data directory." type:"path"`
}

// Run implements the command.
func (c ledgerReceipt) Run(cfg *config.Config) error {
	verifier, err := ledgerVerifier(cfg, c.Key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("read receipt: %w", err)
	}
	receipts, err := evidence.ParseReceipts(text)
	if err != nil {
		return err
	}
	for _, r := range receipts {
		checkpoint, err := ledger.VerifyReceipt(r, verifier)
		if err != nil {
			return err
		}
		fmt.Printf("✓ leaf %d of %d (%s), %s:", r.Index, checkpoint.Size(), checkpoint.Origin(), r.Time.Format(time.RFC3339))
		for _, f := range r.Fields {
			if f.Name == "purpose" || f.Name == "state" || f.Name == "policy" {
				fmt.Printf(" %s=%s", f.Name, f.Value)
			}
		}
		fmt.Println()
	}
	return nil
}

type ledgerCheckpoint struct{}

// Run implements the command.
func (ledgerCheckpoint) Run(cfg *config.Config) error {
	store, err := ledger.ReadStore(cfg.Path("ledger"))
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // only read
	if store.Note() == nil {
		return errors.New("nothing is signed yet")
	}
	fmt.Print(string(store.Note()))
	return nil
}
