package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Defaults of ReaderConfig.
const (
	DefaultMaxWait  = 500 * time.Millisecond
	DefaultMaxBytes = 4 << 20
)

// FirstOffset asks for the beginning of a partition's log, wherever that is by now.
const FirstOffset int64 = -2

// ReaderConfig tunes the reading of a partition.
type ReaderConfig struct {
	// MaxWait is how long a fetch waits for a first record; it then returns empty, so that the caller can act on
	// time alone. Default DefaultMaxWait.
	MaxWait time.Duration
	// MaxBytes bounds a fetch as sent; at least one record batch always comes. Default DefaultMaxBytes.
	MaxBytes int
}

func (c ReaderConfig) withDefaults() ReaderConfig {
	if c.MaxWait <= 0 {
		c.MaxWait = DefaultMaxWait
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	return c
}

// Record is a record of a partition.
type Record struct {
	Partition int
	Offset    int64
	Key       []byte
	// Value nil is a tombstone.
	Value   []byte
	Headers []Header
	Time    time.Time
}

// Batch is what one fetch brought.
type Batch struct {
	// Records are in offset order, with gaps where compaction or control records were. The caller owns them.
	Records []Record
	// Next is the offset to go on from: everything before it is in Records, or gone.
	Next int64
	// HighWatermark is the end of the partition's log at the time: HighWatermark - Next is the lag.
	HighWatermark int64
	// Lost counts the offsets that retention removed before they were read.
	Lost int64
}

// Reader reads one partition in order from an offset, without a group. It is not safe for concurrent use.
type Reader struct {
	c         *Cluster
	cfg       ReaderConfig
	topic     string
	partition int
	next      int64
	hole      int64 // the high watermark of the last answer, if it held nothing although the log went on
}

// NewReader reads a partition from an offset, or from FirstOffset.
func NewReader(c *Cluster, topic string, partition int, offset int64, cfg ReaderConfig) *Reader {
	return &Reader{c: c, cfg: cfg.withDefaults(), topic: topic, partition: partition, next: offset, hole: -1}
}

// Partition is the number of the partition.
func (r *Reader) Partition() int { return r.partition }

// Position is the offset the next fetch starts from.
func (r *Reader) Position() int64 { return r.next }

// SeekTo makes the next fetch start from an offset, or from FirstOffset.
func (r *Reader) SeekTo(offset int64) { r.next, r.hole = offset, -1 }

// Fetch returns the next records, or an empty batch after MaxWait. Faults that may pass are retried until ctx ends;
// the error is then ctx's. A log that ends before the position gives ErrTruncated.
func (r *Reader) Fetch(ctx context.Context) (Batch, error) {
	var b Batch
	err := r.c.retry(ctx, func(ctx context.Context) error {
		var err error
		b, err = r.fetch(ctx)
		return err
	})
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Batch{}, classify(fmt.Errorf("fetch %s/%d: %w", r.topic, r.partition, err))
	}
	r.next = b.Next
	return b, nil
}

func (r *Reader) fetch(ctx context.Context) (Batch, error) {
	from, lost := r.next, int64(0)
	if from < 0 {
		first, err := r.bounds(ctx, kafkago.FirstOffset)
		if err != nil {
			return Batch{}, err
		}
		from = first
	}
	p, err := r.request(ctx, from, r.cfg.MaxBytes, r.cfg.MaxWait)
	if errors.Is(err, kafkago.OffsetOutOfRange) {
		start, serr := r.start(ctx, from)
		if serr != nil {
			return Batch{}, serr
		}
		from, lost = start, start-from
		p, err = r.request(ctx, from, r.cfg.MaxBytes, r.cfg.MaxWait)
	}
	if err != nil {
		return Batch{}, overtaken(err)
	}
	b := Batch{Records: p.records, Next: p.next, HighWatermark: p.end, Lost: lost}
	if p.next > from || p.end <= from {
		r.hole = -1
		return b, nil
	}

	// The log goes on, yet nothing at or after the position came: compaction took the last records there. Consumers
	// must step over it, or they would wait for ever short of an end that no record reaches.
	if p.batches > 0 {
		b.Next, err = r.endOfBatch(ctx, p.base, from, p.end)
		return b, overtaken(err)
	}
	if r.hole >= 0 { // twice nothing at all: no batch is left between the position and the end seen first
		b.Next, r.hole = r.hole, -1
		return b, nil
	}
	r.hole = p.end
	return b, nil
}

// start is where to read on after the broker refused a position: the log's beginning if retention overtook it.
func (r *Reader) start(ctx context.Context, from int64) (int64, error) {
	first, err := r.bounds(ctx, kafkago.FirstOffset)
	if err != nil {
		return 0, err
	}
	if from < first {
		return first, nil
	}
	last, err := r.bounds(ctx, kafkago.LastOffset)
	if err != nil {
		return 0, err
	}
	if from > last {
		return 0, ErrTruncated
	}
	return 0, kafkago.OffsetNotAvailable // the log moved meanwhile: ask again
}

// overtaken makes a position that the log's start passed between two requests a fault that passes: retention removes a
// segment at a time, and the next attempt asks for the start anew.
func overtaken(err error) error {
	if errors.Is(err, kafkago.OffsetOutOfRange) {
		return kafkago.OffsetNotAvailable
	}
	return err
}

func (r *Reader) bounds(ctx context.Context, which int64) (int64, error) {
	found, err := r.c.offsets(ctx, r.topic, []int{r.partition}, which)
	return found[r.partition], err
}

// endOfBatch finds the offset after a batch that begins at base and covers from, but has no record there any more. The
// client does not tell a batch's last offset. A fetch at q answers with that batch first if and only if q is still
// within it, so the end is searched by doubling, then halving; limit is an offset that is past it.
func (r *Reader) endOfBatch(ctx context.Context, base, from, limit int64) (int64, error) {
	within := func(q int64) (bool, error) {
		p, err := r.request(ctx, q, 1, time.Millisecond)
		if err != nil {
			return false, err
		}
		return p.batches > 0 && p.base == base, nil
	}
	in, out := from, limit
	for step := int64(1); in+step < limit; step *= 2 {
		ok, err := within(in + step)
		if err != nil {
			return 0, err
		}
		if !ok {
			out = in + step
			break
		}
		in += step
	}
	for in+1 < out {
		mid := in + (out-in)/2
		ok, err := within(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			in = mid
		} else {
			out = mid
		}
	}
	return in + 1, nil
}

// page is a decoded answer.
type page struct {
	records []Record
	next    int64 // at least the position asked for
	end     int64 // high watermark
	batches int
	base    int64 // first offset of the first batch, at or before the position if that batch covers it
}

func (r *Reader) request(ctx context.Context, from int64, maxBytes int, wait time.Duration) (page, error) {
	res, err := r.c.client.Fetch(ctx, &kafkago.FetchRequest{
		Topic:     r.topic,
		Partition: r.partition,
		Offset:    from,
		MinBytes:  1,
		MaxBytes:  int64(maxBytes),
		MaxWait:   wait,
	})
	if err != nil {
		return page{}, err
	}
	if res.Error != nil {
		return page{}, quiet(res.Error)
	}
	p := page{next: from, end: res.HighWatermark}
	if stream, ok := res.Records.(*protocol.RecordStream); ok {
		for _, records := range stream.Records {
			if err := p.add(r.partition, from, records); err != nil {
				return page{}, err
			}
		}
	}
	return p, nil
}

// add appends a batch's records from the position on. The client checked the batch's CRC.
func (p *page) add(partition int, from int64, records kafkago.RecordReader) error {
	if b, ok := records.(interface{ Offset() int64 }); ok {
		if p.batches == 0 {
			p.base = b.Offset()
		}
		p.next = max(p.next, b.Offset()) // batches come in order: nothing is left before this one
	}
	p.batches++
	_, control := records.(*protocol.ControlBatch)
	for {
		rec, err := records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("decode record: %w", err)
		}
		if control || rec.Offset < from {
			release(rec)
		} else if err := p.append(partition, rec); err != nil {
			return err
		}
		p.next = max(p.next, rec.Offset+1)
	}
}

// append copies a record out of the client's pages.
func (p *page) append(partition int, rec *protocol.Record) error {
	defer release(rec)
	key, err := protocol.ReadAll(rec.Key)
	if err != nil {
		return fmt.Errorf("decode key: %w", err)
	}
	value, err := protocol.ReadAll(rec.Value)
	if err != nil {
		return fmt.Errorf("decode value: %w", err)
	}
	out := Record{Partition: partition, Offset: rec.Offset, Key: key, Value: value, Time: rec.Time}
	if len(rec.Headers) > 0 {
		out.Headers = make([]Header, len(rec.Headers))
		for i, h := range rec.Headers {
			out.Headers[i] = Header(h)
		}
	}
	p.records = append(p.records, out)
	return nil
}

// release gives the pages behind a record back to the client's pool.
func release(rec *protocol.Record) {
	if rec.Key != nil {
		_ = rec.Key.Close()
	}
	if rec.Value != nil {
		_ = rec.Value.Close()
	}
}
