package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// TailConfig tunes a tail.
type TailConfig struct {
	// Topic is required; as a rule it is compacted.
	Topic string
	// Partitions limits the tail to some of them. Empty is all.
	Partitions []int
	// Progress, if set, is told after each batch of a Restore how far it has come. It is never called twice at once.
	Progress func(Progress)
	// Reader tunes the fetches.
	Reader ReaderConfig
}

// Progress counts offsets, those that compaction removed included.
type Progress struct{ Done, Total int64 }

// Tail rebuilds a state from a topic: from the beginning up to now with Restore, and on from there with Follow.
// Restore and Follow MUST NOT run at the same time.
type Tail struct {
	c       *Cluster
	cfg     TailConfig
	readers []*Reader // nil before the first Restore
}

// NewTail returns a tail that has read nothing yet.
func NewTail(c *Cluster, cfg TailConfig) (*Tail, error) {
	if cfg.Topic == "" {
		return nil, errors.New("configure tail: topic is required")
	}
	return &Tail{c: c, cfg: cfg}, nil
}

// Restore hands fn every record up to the high watermarks as they are when it is called, tombstones included, and
// returns when all of them are read. fn is never called twice at once, and sees each partition in order; its error
// ends Restore, and the tail is then of no further use. A further Restore reads from where the last reading ended to the high watermarks of now: that is how a
// reader makes sure it has seen everything written before a moment.
func (t *Tail) Restore(ctx context.Context, fn func(Record) error) error {
	if err := t.open(ctx); err != nil {
		return fmt.Errorf("restore %s: %w", t.cfg.Topic, err)
	}
	partitions := make([]int, len(t.readers))
	for i, r := range t.readers {
		partitions[i] = r.partition
	}
	ends, err := t.c.offsets(ctx, t.cfg.Topic, partitions, kafkago.LastOffset)
	if err != nil {
		return fmt.Errorf("restore %s: %w", t.cfg.Topic, err)
	}
	starts, err := t.c.offsets(ctx, t.cfg.Topic, partitions, kafkago.FirstOffset)
	if err != nil {
		return fmt.Errorf("restore %s: %w", t.cfg.Topic, err)
	}
	var progress Progress
	done := make(map[int]int64, len(partitions)) // offsets passed per partition
	for _, r := range t.readers {
		if r.Position() < starts[r.partition] {
			r.SeekTo(starts[r.partition])
		}
		progress.Total += max(0, ends[r.partition]-r.Position())
	}

	var mu sync.Mutex
	work, wctx := errgroup.WithContext(ctx)
	for _, r := range t.readers {
		start, end := r.Position(), ends[r.partition]
		work.Go(func() error {
			for r.Position() < end {
				batch, err := r.Fetch(wctx)
				if err != nil {
					return err
				}
				if err := each(&mu, batch.Records, fn, func() {
					passed := min(batch.Next, end) - start
					progress.Done += passed - done[r.partition]
					done[r.partition] = passed
					if t.cfg.Progress != nil {
						t.cfg.Progress(progress)
					}
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return fmt.Errorf("restore %s: %w", t.cfg.Topic, err)
	}
	return nil
}

// Follow goes on from where Restore ended and hands fn every further record, under the same rules, until ctx ends; it
// then returns nil. Faults that may pass are retried.
func (t *Tail) Follow(ctx context.Context, fn func(Record) error) error {
	if err := t.open(ctx); err != nil {
		return fmt.Errorf("follow %s: %w", t.cfg.Topic, err)
	}
	var mu sync.Mutex
	work, wctx := errgroup.WithContext(ctx)
	for _, r := range t.readers {
		work.Go(func() error {
			for {
				batch, err := r.Fetch(wctx)
				if err != nil {
					return err
				}
				if err := each(&mu, batch.Records, fn, func() {}); err != nil {
					return err
				}
			}
		})
	}
	if err := work.Wait(); ctx.Err() == nil {
		return fmt.Errorf("follow %s: %w", t.cfg.Topic, err)
	}
	return nil
}

func (t *Tail) open(ctx context.Context) error {
	if t.readers != nil {
		return nil
	}
	partitions := t.cfg.Partitions
	if len(partitions) == 0 {
		n, err := NewAdmin(t.c).Partitions(ctx, t.cfg.Topic)
		if err != nil {
			return err
		}
		partitions = upTo(n)
	}
	for _, p := range partitions {
		t.readers = append(t.readers, NewReader(t.c, t.cfg.Topic, p, FirstOffset, t.cfg.Reader))
	}
	return nil
}

// each hands the records over, one caller at a time, and then calls after under the same lock.
func each(mu *sync.Mutex, records []Record, fn func(Record) error, after func()) error {
	mu.Lock()
	defer mu.Unlock()
	for _, rec := range records {
		if err := fn(rec); err != nil {
			return err
		}
	}
	after()
	return nil
}
