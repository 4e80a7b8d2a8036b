package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// Defaults of ConsumerConfig.
const (
	DefaultSessionTimeout    = 15 * time.Second
	DefaultHeartbeatInterval = 3 * time.Second
	DefaultRebalanceTimeout  = 30 * time.Second
	DefaultRejoinBackoff     = time.Second
	DefaultPartitionWatch    = 30 * time.Second
)

// ConsumerConfig tunes a consumer.
type ConsumerConfig struct {
	// Group and Topic are required.
	Group, Topic string
	// SessionTimeout is how long a silent member keeps its partitions. The broker sets bounds, 6 s at least unless
	// configured otherwise. Default DefaultSessionTimeout.
	SessionTimeout time.Duration
	// HeartbeatInterval SHOULD be at most a third of SessionTimeout; it is also how soon a rebalance is noticed.
	// Default DefaultHeartbeatInterval.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long the others wait in a rebalance for a member to finish what it has begun; a
	// member that takes longer is fenced. Default DefaultRebalanceTimeout.
	RebalanceTimeout time.Duration
	// RejoinBackoff is the pause after a failure to join and after Consume returned early. Default
	// DefaultRejoinBackoff.
	RejoinBackoff time.Duration
	// Reader tunes the fetches.
	Reader ReaderConfig
}

// Assignment is a partition given to this member.
type Assignment struct {
	Partition int
	// Committed is the group's offset to go on from; FirstOffset if it never committed one.
	Committed int64
	// Note is what was written with that commit.
	Note string
}

// Handler is what a member does with its partitions. For each generation of the group the calls are: Assigned; then
// Consume for every partition, concurrently; then Revoked, after every Consume has returned.
type Handler interface {
	// Assigned prepares the partitions, restoring state for one, before any record of them is read. ctx ends with
	// the generation. An error ends Run, unless ctx ended first.
	Assigned(ctx context.Context, partitions []Assignment) error
	// Consume reads its partition until ctx ends, which a rebalance or the end of Run does. It then has
	// RebalanceTimeout to store and commit what it has begun, and MUST return. Returning nil or ErrFenced earlier
	// gives the partitions up and joins anew, from the committed offsets; another error ends Run.
	Consume(ctx context.Context, claim *Claim) error
	// Revoked tells that these partitions are no longer this member's. Their claims are fenced.
	Revoked(partitions []int)
}

// Consumer is one member of a consumer group.
type Consumer struct {
	c   *Cluster
	cfg ConsumerConfig
}

// NewConsumer returns a member; Run makes it join.
func NewConsumer(c *Cluster, cfg ConsumerConfig) (*Consumer, error) {
	if cfg.Group == "" || cfg.Topic == "" {
		return nil, errors.New("configure consumer: group and topic are required")
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&cfg.SessionTimeout, DefaultSessionTimeout},
		{&cfg.HeartbeatInterval, DefaultHeartbeatInterval},
		{&cfg.RebalanceTimeout, DefaultRebalanceTimeout},
		{&cfg.RejoinBackoff, DefaultRejoinBackoff},
	} {
		if *d.value < 0 {
			return nil, errors.New("configure consumer: negative duration")
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	cfg.Reader = cfg.Reader.withDefaults()
	return &Consumer{c: c, cfg: cfg}, nil
}

// Run takes part in the group until ctx ends, and then returns nil, or until the handler fails for good or the broker
// refuses this member. It leaves the group before it returns, which may take up to RebalanceTimeout if a rebalance is
// under way. The topic MUST exist.
func (c *Consumer) Run(ctx context.Context, h Handler) error {
	if _, err := NewAdmin(c.c).Partitions(ctx, c.cfg.Topic); err != nil {
		return fmt.Errorf("run consumer: %w", err)
	}
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID:                     c.cfg.Group,
		Brokers:                c.c.cfg.Brokers,
		Dialer:                 c.c.dialer(),
		Topics:                 []string{c.cfg.Topic},
		GroupBalancers:         []kafkago.GroupBalancer{kafkago.RangeGroupBalancer{}},
		HeartbeatInterval:      c.cfg.HeartbeatInterval,
		SessionTimeout:         c.cfg.SessionTimeout,
		RebalanceTimeout:       c.cfg.RebalanceTimeout,
		JoinGroupBackoff:       c.cfg.RejoinBackoff,
		StartOffset:            kafkago.FirstOffset,
		WatchPartitionChanges:  true,
		PartitionWatchInterval: DefaultPartitionWatch,
		Timeout:                c.c.cfg.RequestTimeout,
	})
	if err != nil {
		return fmt.Errorf("configure consumer: %w", err)
	}
	defer func() { _ = group.Close() }() // always nil
	for {
		gen, err := group.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if !retryable(err) && !fenced(err) {
				return fmt.Errorf("join group: %w", err)
			}
			c.c.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "joining the consumer group anew",
				slog.String("group", c.cfg.Group), slog.Any("error", err))
			continue
		}
		// The group waits for this function before it joins again: that is what gives Consume its time to finish.
		ended := make(chan error, 1)
		gen.Start(func(over context.Context) { ended <- c.generation(ctx, over, gen, h) })
		if err := <-ended; err != nil {
			return err
		}
	}
}

// generation runs the handler through one generation. It returns nil to go on with the next.
func (c *Consumer) generation(parent, over context.Context, gen *kafkago.Generation, h Handler) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	defer context.AfterFunc(over, cancel)()

	given := gen.Assignments[c.cfg.Topic]
	if len(given) == 0 {
		<-ctx.Done()
		return nil
	}
	assigned := make([]Assignment, len(given))
	partitions := make([]int, len(given))
	for i, a := range given {
		assigned[i] = Assignment{Partition: a.ID, Committed: a.Offset}
		if a.Offset < 0 {
			assigned[i].Committed = FirstOffset
		}
		partitions[i] = a.ID
	}
	if err := c.readNotes(ctx, assigned); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("assign partitions: %w", err)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := h.Assigned(ctx, assigned); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("assign partitions: %w", err)
	}

	claims := make([]*Claim, len(assigned))
	work, wctx := errgroup.WithContext(ctx)
	for i, a := range assigned {
		claims[i] = &Claim{
			Reader:     NewReader(c.c, c.cfg.Topic, a.Partition, a.Committed, c.cfg.Reader),
			consumer:   c,
			generation: int(gen.ID),
			member:     gen.MemberID,
		}
		work.Go(func() error {
			err := h.Consume(wctx, claims[i])
			switch {
			case wctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
				return nil // it was told to
			case err != nil:
				return err
			}
			return errGaveUp
		})
	}
	err := work.Wait()
	for _, claim := range claims {
		claim.over.Store(true)
	}
	h.Revoked(partitions)

	switch {
	case err == nil:
		return nil
	case errors.Is(err, errGaveUp), errors.Is(err, ErrFenced):
		pause := time.NewTimer(c.cfg.RejoinBackoff)
		defer pause.Stop()
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		return nil
	default:
		return fmt.Errorf("consume partitions: %w", err)
	}
}

// errGaveUp ends a generation because Consume returned before it.
var errGaveUp = errors.New("partition given up")

// Claim is a partition while it is this member's: a Reader that starts at the committed offset, and the right to
// commit. It is not safe for concurrent use, Commit excepted.
type Claim struct {
	*Reader
	consumer   *Consumer
	generation int
	member     string
	over       atomic.Bool
}

// Commit stores the offset that the group goes on from: the one after the last record that is safely stored. It is
// for the caller to move it forward only. A claim of a past generation gives ErrFenced, and nothing is stored then.
// To commit while ctx of Consume is over, pass another. The note goes with the offset and comes back in the next
// Assignment: it tells the next owner of the partition what was begun. Brokers take 4096 bytes unless configured
// otherwise.
func (c *Claim) Commit(ctx context.Context, next int64, note string) error {
	ctx, cancel := context.WithTimeout(ctx, c.consumer.cfg.SessionTimeout)
	defer cancel()
	err := c.c.retry(ctx, func(ctx context.Context) error { return c.commit(ctx, next, note) })
	if err != nil {
		return classify(fmt.Errorf("commit %s/%d: %w", c.topic, c.partition, err))
	}
	return nil
}

func (c *Claim) commit(ctx context.Context, next int64, note string) error {
	if c.over.Load() {
		return ErrFenced
	}
	res, err := c.c.client.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
		GroupID:      c.consumer.cfg.Group,
		GenerationID: c.generation,
		MemberID:     c.member,
		Topics: map[string][]kafkago.OffsetCommit{
			c.topic: {{Partition: c.partition, Offset: next, Metadata: note}},
		},
	})
	if err != nil {
		return err
	}
	for _, p := range res.Topics[c.topic] {
		if p.Partition != c.partition {
			continue
		}
		if fenced(p.Error) {
			return fmt.Errorf("%w: %w", ErrFenced, quiet(p.Error))
		}
		return quiet(p.Error)
	}
	return kafkago.Unknown // no answer for the partition: ask again
}

// Lag is how far a group is behind on a partition.
type Lag struct {
	Partition int
	// Committed is the group's offset, FirstOffset if it never committed one.
	Committed int64
	// End is the high watermark.
	End int64
	// Behind is End - Committed, or the whole log if nothing was ever committed. Offsets that compaction removed
	// count too.
	Behind int64
}

// Lag reports the group's lag on every partition of the topic, in order of the partitions. It asks the broker and does
// not need to be a member.
func (c *Consumer) Lag(ctx context.Context) ([]Lag, error) {
	n, err := NewAdmin(c.c).Partitions(ctx, c.cfg.Topic)
	if err != nil {
		return nil, fmt.Errorf("read lag: %w", err)
	}
	partitions := upTo(n)
	ends, err := c.c.offsets(ctx, c.cfg.Topic, partitions, kafkago.LastOffset)
	if err != nil {
		return nil, fmt.Errorf("read lag: %w", err)
	}
	committed, err := c.committed(ctx, partitions)
	if err != nil {
		return nil, err
	}
	lags := make([]Lag, n)
	var unread []int
	for i := range lags {
		lags[i] = Lag{Partition: i, Committed: FirstOffset, End: ends[i]}
	}
	for _, p := range committed {
		if p.Partition < n && p.CommittedOffset >= 0 {
			lags[p.Partition].Committed = p.CommittedOffset
			lags[p.Partition].Behind = max(0, ends[p.Partition]-p.CommittedOffset)
		}
	}
	for _, l := range lags {
		if l.Committed == FirstOffset {
			unread = append(unread, l.Partition)
		}
	}
	if len(unread) == 0 {
		return lags, nil
	}
	starts, err := c.c.offsets(ctx, c.cfg.Topic, unread, kafkago.FirstOffset)
	if err != nil {
		return nil, fmt.Errorf("read lag: %w", err)
	}
	for _, p := range unread {
		lags[p].Behind = lags[p].End - starts[p]
	}
	return lags, nil
}

// committed asks for the group's commits.
func (c *Consumer) committed(ctx context.Context, partitions []int) ([]kafkago.OffsetFetchPartition, error) {
	var committed []kafkago.OffsetFetchPartition
	err := c.c.retry(ctx, func(ctx context.Context) error {
		res, err := c.c.client.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{
			GroupID: c.cfg.Group,
			Topics:  map[string][]int{c.cfg.Topic: partitions},
		})
		if err != nil {
			return err
		}
		// To the embedded broker a group that never committed is unknown; Kafka just has no offset.
		if errors.Is(res.Error, kafkago.GroupIdNotFound) {
			return nil
		}
		if res.Error != nil {
			return quiet(res.Error)
		}
		for _, p := range res.Topics[c.cfg.Topic] {
			if p.Error != nil {
				return quiet(p.Error)
			}
		}
		committed = res.Topics[c.cfg.Topic]
		return nil
	})
	if err != nil {
		return nil, classify(fmt.Errorf("read committed offsets of %s: %w", c.cfg.Topic, err))
	}
	return committed, nil
}

// readNotes adds the notes of the last commits, which a generation does not bring along.
func (c *Consumer) readNotes(ctx context.Context, assigned []Assignment) error {
	partitions := make([]int, len(assigned))
	for i, a := range assigned {
		partitions[i] = a.Partition
	}
	committed, err := c.committed(ctx, partitions)
	if err != nil {
		return err
	}
	for _, p := range committed {
		for i := range assigned {
			if assigned[i].Partition == p.Partition && p.CommittedOffset >= 0 {
				assigned[i].Committed, assigned[i].Note = p.CommittedOffset, p.Metadata
			}
		}
	}
	return nil
}

func upTo(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}
