package subject

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sekisho/sekisho/internal/ledger"
)

// leafTime bounds the wait for leaves that are on their way into the ledger.
const leafTime = 30 * time.Second

// Leaves finds the leaves of ids in the ledger of a directory, while its process goes on writing. It waits for
// those on their way; one that does not come is an error.
func Leaves(ctx context.Context, dir string, ids []ledger.ID) (map[ledger.ID]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, leafTime)
	defer cancel()
	for {
		found, err := leaves(dir, ids)
		if err != nil {
			return nil, fmt.Errorf("find leaves: %w", err)
		}
		if len(found) == len(ids) {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("find leaves: an act is not in the ledger; is the process that keeps it running?")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func leaves(dir string, ids []ledger.ID) (map[ledger.ID]int64, error) {
	store, err := ledger.ReadStore(dir)
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // only read
	wanted := make(map[ledger.ID]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	const block = 4096
	found := make(map[ledger.ID]int64, len(ids))
	for first := int64(0); first < store.Size() && len(found) < len(wanted); first += block {
		b := make([]byte, min(block, store.Size()-first)*int64(ledger.EntrySize))
		if err := store.ReadLeaves(first, b); err != nil {
			return nil, err
		}
		for i := range len(b) / ledger.EntrySize {
			// A leaf that is no entry is named by the audit.
			if e, err := ledger.ParseEntry(b[i*ledger.EntrySize : (i+1)*ledger.EntrySize]); err == nil && wanted[e.ID] {
				found[e.ID] = first + int64(i)
			}
		}
	}
	return found, nil
}
