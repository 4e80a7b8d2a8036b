package kafka

import (
	"context"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Oldest is the time of the oldest record that a topic still holds, by the first record of each partition. Zero when it
// holds none.
func (a *Admin) Oldest(ctx context.Context, topic string) (time.Time, error) {
	n, err := a.Partitions(ctx, topic)
	if err != nil {
		return time.Time{}, err
	}
	partitions := make([]int, n)
	for i := range partitions {
		partitions[i] = i
	}
	starts, err := a.c.offsets(ctx, topic, partitions, kafkago.FirstOffset)
	if err != nil {
		return time.Time{}, err
	}
	ends, err := a.c.offsets(ctx, topic, partitions, kafkago.LastOffset)
	if err != nil {
		return time.Time{}, err
	}
	var oldest time.Time
	for _, p := range partitions {
		first, err := a.first(ctx, topic, p, starts[p], ends[p])
		if err != nil {
			return time.Time{}, fmt.Errorf("read first record: %w", err)
		}
		if !first.IsZero() && (oldest.IsZero() || first.Before(oldest)) {
			oldest = first
		}
	}
	return oldest, nil
}

// first is the earliest time in the first batch of a partition that holds a record; compaction leaves gaps before it.
func (a *Admin) first(ctx context.Context, topic string, partition int, start, end int64) (time.Time, error) {
	r := NewReader(a.c, topic, partition, start, ReaderConfig{MaxBytes: 1})
	for r.Position() < end {
		batch, err := r.Fetch(ctx)
		if err != nil {
			return time.Time{}, err
		}
		var first time.Time
		for _, record := range batch.Records {
			if first.IsZero() || record.Time.Before(first) {
				first = record.Time
			}
		}
		if !first.IsZero() {
			return first, nil
		}
	}
	return time.Time{}, nil
}
