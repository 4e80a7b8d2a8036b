package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sekisho/sekisho/internal/ledger"
)

// Audit holds every record of the store against the ledger, the ledger against its checkpoints, and the audit table
// against its checkpoints since keep. It prints each finding and returns how many there are.
func Audit(ctx context.Context, out io.Writer, log *ledger.Store, db Store, verifier ledger.Verifier, keep time.Time, known ...ledger.Checkpoint) (faults int, err error) {
	index, err := indexOf(log)
	if err != nil {
		return 0, err
	}
	var audits []ledger.Record
	records := func(yield func(ledger.Record, error) bool) {
		for r, err := range Records(ctx, db, index) {
			if err == nil && r.Kind == ledger.AuditCheckpoint {
				audits = append(audits, r)
			}
			if !yield(r, err) {
				return
			}
		}
	}
	found, err := ledger.Verify(ctx, log, records, verifier, known...)
	if err != nil {
		return 0, err
	}
	tell := func(finding any) {
		faults++
		_, _ = fmt.Fprintln(out, "✗", finding) // whoever reads it is gone if it fails
	}
	for _, f := range found.List {
		tell(f)
	}
	for _, r := range audits {
		fault, err := checkAudit(ctx, db, r, keep)
		if err != nil {
			return faults, err
		}
		if fault != "" {
			tell(fault)
		}
	}
	if faults == 0 && !found.OK() {
		return 0, errors.New("audit ledger: it did not come to its end")
	}
	if faults == 0 {
		_, _ = fmt.Fprintf(out, "✓ %d leaves, %d of them signed, and %d records: each is as it was recorded\n", found.Leaves, found.Signed, found.Records)
	}
	return faults, nil
}

// indexOf finds the leaves of a store by their ids.
func indexOf(log *ledger.Store) (func(ledger.ID) (int64, bool), error) {
	const block = 4096
	byID := make(map[ledger.ID]int64, log.Size())
	for first := int64(0); first < log.Size(); first += block {
		n := min(block, log.Size()-first)
		b := make([]byte, int(n)*ledger.EntrySize)
		if err := log.ReadLeaves(first, b); err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		for i := range int(n) {
			// A leaf that is no entry is named by the audit itself.
			if e, err := ledger.ParseEntry(b[i*ledger.EntrySize : (i+1)*ledger.EntrySize]); err == nil {
				byID[e.ID] = first + int64(i)
			}
		}
	}
	return func(id ledger.ID) (int64, bool) {
		at, ok := byID[id]
		return at, ok
	}, nil
}

// ParseReceipts reads one receipt, or the receipts of an answer that holds them ({"receipts": [...]}).
func ParseReceipts(text []byte) ([]ledger.Receipt, error) {
	var answer struct {
		Receipts []json.RawMessage `json:"receipts"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Receipts == nil {
		r, err := ledger.ParseReceipt(bytes.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		return []ledger.Receipt{r}, nil
	}
	receipts := make([]ledger.Receipt, len(answer.Receipts))
	for i, raw := range answer.Receipts {
		var err error
		if receipts[i], err = ledger.ParseReceipt(raw); err != nil {
			return nil, fmt.Errorf("receipt %d: %w", i, err)
		}
	}
	if len(receipts) == 0 {
		return nil, errors.New("read receipts: there is none")
	}
	return receipts, nil
}
