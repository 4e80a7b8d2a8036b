package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"golang.org/x/sync/semaphore"

	"github.com/sekisho/sekisho/internal/core"
)

// Defaults of ProducerConfig.
const (
	DefaultLinger           = time.Millisecond
	DefaultMaxBatchBytes    = 900 << 10 // under Kafka's default message.max.bytes even when nothing compresses
	DefaultMaxBufferedBytes = 64 << 20
	DefaultDeliveryTimeout  = 30 * time.Second
)

// recordOverhead is charged per message on top of its bytes: lengths, deltas and the queue's own bookkeeping.
const recordOverhead = 64

// ProducerConfig tunes a producer.
type ProducerConfig struct {
	// Topic receives every message. Required.
	Topic string
	// Linger is how long an idle partition waits for company before it sends; a busy one gathers while its last
	// request is under way and never waits. Default DefaultLinger; negative is none.
	Linger time.Duration
	// MaxBatchBytes bounds one request before compression, and with it one message. Default DefaultMaxBatchBytes.
	MaxBatchBytes int
	// MaxBufferedBytes bounds what all callers together have waiting. Default DefaultMaxBufferedBytes.
	MaxBufferedBytes int64
	// DeliveryTimeout bounds one call, retries included, if its ctx does not. Default DefaultDeliveryTimeout.
	DeliveryTimeout time.Duration
}

// Header is a record's header.
type Header struct {
	Key   string
	Value []byte
}

// Message is a record to be written.
type Message struct {
	// Partition is chosen by the caller, as a rule with PartitionFor.
	Partition int
	Key       []byte
	// Value nil is a tombstone.
	Value   []byte
	Headers []Header
	// Time is kept to the millisecond. Zero is the time of sending.
	Time time.Time
}

func (m *Message) size() int {
	n := recordOverhead + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// Producer writes to one topic with group commit, as a database does with its log: calls that arrive while a
// partition's request is under way leave together in the next one. One request per partition is in flight, lz4, acks
// from all in-sync replicas. It is safe for concurrent use.
type Producer struct {
	c      *Cluster
	cfg    ProducerConfig
	budget *semaphore.Weighted
	count  atomic.Int64 // partitions of the topic, 0 before it is known

	mu     sync.Mutex
	queues map[int]*queue
	closed bool

	quit context.CancelFunc // breaks off requests and retries
	ctx  context.Context
	done sync.WaitGroup // one per queue
}

// NewProducer returns a producer; it connects with the first message. The owner MUST call Close.
func NewProducer(c *Cluster, cfg ProducerConfig) (*Producer, error) {
	if cfg.Topic == "" {
		return nil, errors.New("configure producer: topic is required")
	}
	if cfg.Linger == 0 {
		cfg.Linger = DefaultLinger
	}
	if cfg.MaxBatchBytes <= 0 {
		cfg.MaxBatchBytes = DefaultMaxBatchBytes
	}
	if cfg.MaxBufferedBytes <= 0 {
		cfg.MaxBufferedBytes = DefaultMaxBufferedBytes
	}
	if cfg.DeliveryTimeout <= 0 {
		cfg.DeliveryTimeout = DefaultDeliveryTimeout
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Producer{
		c:      c,
		cfg:    cfg,
		budget: semaphore.NewWeighted(cfg.MaxBufferedBytes),
		queues: map[int]*queue{},
		ctx:    ctx,
		quit:   cancel,
	}, nil
}

// Partitions is the partition count of the topic, for PartitionFor. It is asked once and then remembered: the count
// of this project's topics does not change.
func (p *Producer) Partitions(ctx context.Context) (int, error) {
	if n := p.count.Load(); n > 0 {
		return int(n), nil
	}
	n, err := NewAdmin(p.c).Partitions(ctx, p.cfg.Topic)
	if err != nil {
		return 0, err
	}
	p.count.Store(int64(n))
	return n, nil
}

// Produce writes the messages and returns nil when every one of them is acknowledged by all in-sync replicas.
// Otherwise the error is a *ProduceError that lists those that are not; errors before anything was queued are plain.
//
// A call waits for room in the queue and for its acknowledgement until ctx or the delivery timeout ends. What had not
// been sent by then is dropped; what was under way may be stored all the same. After an error the caller MUST NOT
// write to the byte slices of the call: a request may still be reading them.
func (p *Producer) Produce(ctx context.Context, msgs []Message) error {
	if len(msgs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DeliveryTimeout)
	defer cancel()

	n, err := p.Partitions(ctx)
	if err != nil {
		return err
	}
	var weight int64
	for i := range msgs {
		size := msgs[i].size()
		if size > p.cfg.MaxBatchBytes {
			return fmt.Errorf("queue message %d: %w", i, ErrTooLarge)
		}
		if msgs[i].Partition < 0 || msgs[i].Partition >= n {
			return fmt.Errorf("queue message %d: %w", i, ErrUnknownPartition)
		}
		weight += int64(size)
	}
	if weight > p.cfg.MaxBufferedBytes {
		return fmt.Errorf("queue messages: %w", ErrTooLarge)
	}
	if err := p.budget.Acquire(ctx, weight); err != nil {
		return core.Retryable{Err: fmt.Errorf("queue messages: %w: %w", ErrQueueFull, err)}
	}

	call := &call{
		ctx:     ctx,
		msgs:    msgs,
		release: func() { p.budget.Release(weight) },
		settled: make(chan struct{}),
		left:    len(msgs),
		known:   make([]bool, len(msgs)),
	}
	if !p.enqueue(call) {
		call.release()
		return fmt.Errorf("queue messages: %w", ErrClosed)
	}
	select {
	case <-call.settled:
	case <-ctx.Done():
	}
	return call.result()
}

// enqueue hands the messages to their partitions in one step, so that Close sees a call wholly or not at all.
func (p *Producer) enqueue(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	for i := range c.msgs {
		part := c.msgs[i].Partition
		q := p.queues[part]
		if q == nil {
			q = &queue{wake: make(chan struct{}, 1)}
			p.queues[part] = q
			p.done.Add(1)
			go func() {
				defer p.done.Done()
				p.run(q, part)
			}()
		}
		q.put(item{call: c, index: i}, p.cfg.MaxBatchBytes)
	}
	return true
}

// Close refuses further calls and returns when those under way are settled. If ctx ends first, it breaks them off and
// returns ctx's error; their callers get retryable errors.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	for _, q := range p.queues {
		q.close()
	}
	p.mu.Unlock()

	drained := make(chan struct{})
	go func() {
		p.done.Wait()
		close(drained)
	}()
	defer p.quit()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		p.quit()
		<-drained
		return fmt.Errorf("close producer: %w", ctx.Err())
	}
}

// run is the life of one partition's queue: gather, send, settle.
func (p *Producer) run(q *queue, partition int) {
	for {
		batch := q.next(p.cfg.MaxBatchBytes, p.cfg.Linger)
		if batch == nil {
			return
		}
		if p.deliver(partition, batch) {
			q.recycle(batch)
		}
	}
}

// deliver sends a batch until it is acknowledged, refused, or nobody waits for it any more. If the broker refuses it
// for some record's sake, the halves go separately, so that one caller's bad message fails alone and in its place.
// It reports whether the first attempt went through: after a failed one the client may still be reading the batch.
func (p *Producer) deliver(partition int, batch []item) (clean bool) {
	clean = true
	for wait := newBackoff(); ; clean = false {
		if batch = expire(batch); len(batch) == 0 {
			return clean
		}
		err := p.send(partition, batch)
		switch {
		case err == nil:
			settle(batch, nil)
			return clean
		case poisoned(err) && len(batch) > 1:
			mid := len(batch) / 2
			p.deliver(partition, batch[:mid])
			p.deliver(partition, batch[mid:])
			return false
		case p.ctx.Err() != nil || !retryable(err):
			settle(batch, classify(fmt.Errorf("produce to %s/%d: %w", p.cfg.Topic, partition, err)))
			return false
		}
		note(batch, err)
		p.c.pause(p.ctx, wait, err)
	}
}

func (p *Producer) send(partition int, batch []item) error {
	res, err := p.c.client.Produce(p.ctx, &kafkago.ProduceRequest{
		Topic:        p.cfg.Topic,
		Partition:    partition,
		RequiredAcks: kafkago.RequireAll,
		Compression:  kafkago.Lz4,
		Records:      &batchReader{items: batch},
	})
	if err != nil {
		return err
	}
	return quiet(res.Error)
}

// call is one Produce call on its way.
type call struct {
	ctx     context.Context
	msgs    []Message
	release func() // gives the queue's room back, when the last message is settled
	settled chan struct{}

	mu     sync.Mutex
	left   int
	known  []bool    // the messages whose outcome is known
	failed []Failure // refused or broken off
	last   error     // the latest fault that is being retried
}

func (c *call) settle(index int, err error) {
	c.mu.Lock()
	c.known[index] = true
	if err != nil {
		c.failed = append(c.failed, Failure{Index: index, Err: err})
	}
	c.left--
	last := c.left == 0
	c.mu.Unlock()
	if last {
		c.release()
		close(c.settled)
	}
}

// result reports what is known now: messages without an outcome are failures of ctx.
func (c *call) result() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := append([]Failure(nil), c.failed...)
	if c.left > 0 {
		err := fmt.Errorf("await acknowledgement: %w", context.Cause(c.ctx))
		if c.last != nil {
			err = fmt.Errorf("%w; last fault: %w", err, c.last)
		}
		for i := range c.msgs {
			if !c.known[i] {
				failed = append(failed, Failure{Index: i, Err: core.Retryable{Err: err}})
			}
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &ProduceError{Failed: failed}
}

// item is one message in a queue.
type item struct {
	call  *call
	index int
}

func (i item) message() *Message { return &i.call.msgs[i.index] }

func settle(batch []item, err error) {
	for _, it := range batch {
		it.call.settle(it.index, err)
	}
}

func note(batch []item, err error) {
	for _, it := range batch {
		it.call.mu.Lock()
		it.call.last = err
		it.call.mu.Unlock()
	}
}

// expire settles the messages whose callers have left, and returns the others. It leaves the batch as it is.
func expire(batch []item) []item {
	left := func(it item) bool { return it.call.ctx.Err() != nil }
	if !slices.ContainsFunc(batch, left) {
		return batch
	}
	kept := make([]item, 0, len(batch))
	for _, it := range batch {
		if left(it) {
			it.call.settle(it.index, core.Retryable{Err: fmt.Errorf("await acknowledgement: %w", it.call.ctx.Err())})
		} else {
			kept = append(kept, it)
		}
	}
	return kept
}

// queue is what waits for one partition. Room in it is bounded by the producer's budget.
type queue struct {
	mu     sync.Mutex
	items  []item
	bytes  int
	closed bool
	spare  []item // the last batch's memory

	wake chan struct{} // a first item, enough items for a full batch, or the end
}

func (q *queue) put(it item, full int) {
	size := it.message().size()
	q.mu.Lock()
	q.items = append(q.items, it)
	signal := len(q.items) == 1 || (q.bytes < full && q.bytes+size >= full)
	q.bytes += size
	q.mu.Unlock()
	if signal {
		q.signal()
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next returns up to limit bytes of messages in order, or nil when the queue is closed and empty. It returns at once
// with what gathered during the last request; if nothing did, it waits for a first message and lingers for company.
func (q *queue) next(limit int, linger time.Duration) []item {
	if batch, closed := q.take(limit); batch != nil || closed {
		return batch
	}
	for {
		<-q.wake
		q.mu.Lock()
		waiting, full, closed := len(q.items) > 0, q.bytes >= limit, q.closed
		q.mu.Unlock()
		if waiting && !full && !closed && linger > 0 {
			timer := time.NewTimer(linger)
			select {
			case <-timer.C:
			case <-q.wake: // full or closed
			}
			timer.Stop()
		}
		if batch, closed := q.take(limit); batch != nil || closed {
			return batch
		}
	}
}

func (q *queue) take(limit int) (batch []item, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return nil, q.closed
	}
	n, size := 0, 0
	for n < len(q.items) {
		s := q.items[n].message().size()
		if n > 0 && size+s > limit {
			break
		}
		n, size = n+1, size+s
	}
	batch = append(q.spare[:0], q.items[:n]...)
	q.spare = nil
	rest := copy(q.items, q.items[n:])
	clear(q.items[rest:])
	q.items = q.items[:rest]
	q.bytes -= size
	return batch, false
}

func (q *queue) recycle(batch []item) {
	batch = batch[:cap(batch)]
	clear(batch)
	q.mu.Lock()
	q.spare = batch[:0]
	q.mu.Unlock()
}

// batchReader encodes a batch without a copy or an allocation per record.
type batchReader struct {
	items  []item
	record protocol.Record
	key    payload
	value  payload
}

// ReadRecord implements protocol.RecordReader.
func (r *batchReader) ReadRecord() (*protocol.Record, error) {
	if len(r.items) == 0 {
		return nil, io.EOF
	}
	m := r.items[0].message()
	r.items = r.items[1:]
	r.record = protocol.Record{Time: m.Time, Key: r.key.reset(m.Key), Value: r.value.reset(m.Value)}
	if len(m.Headers) > 0 {
		r.record.Headers = make([]protocol.Header, len(m.Headers))
		for i, h := range m.Headers {
			r.record.Headers[i] = protocol.Header(h)
		}
	}
	return &r.record, nil
}

// payload is a protocol.Bytes that is used again for every record.
type payload struct{ bytes.Reader }

func (p *payload) reset(b []byte) protocol.Bytes {
	if b == nil {
		return nil
	}
	p.Reset(b)
	return p
}

// Close implements io.Closer.
func (p *payload) Close() error { return nil }
