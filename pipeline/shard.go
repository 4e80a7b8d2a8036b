package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
)

// shard is the work on one partition. One goroutine owns it.
type shard struct {
	p         *Pipeline
	partition int
	seen      *seen
	sessions  *sessions
	planned   plan // a batch that was begun before a crash or a rebalance; empty if none
}

// span is a range of offsets, end exclusive.
type span struct{ start, end int64 }

func (r span) empty() bool { return r.end <= r.start }
func (r span) String() string {
	return strconv.FormatInt(r.start, 10) + "-" + strconv.FormatInt(r.end, 10)
}

func parseSpan(text string) (span, error) {
	first, last, _ := strings.Cut(text, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return span{}, errors.New("read plan: not a range of offsets")
	}
	end, err := strconv.ParseInt(last, 10, 64)
	if err != nil || end <= start {
		return span{}, errors.New("read plan: not a range of offsets")
	}
	return span{start, end}, nil
}

// plan is a batch as it is written down before it is loaded.
type plan struct {
	span
	// whole says that no record was dropped. What is loaded again after its events were stored looks like duplicates, and
	// only a count that was stored then is recognised by its token: without one, none may be stored now.
	whole bool
}

const wholeSuffix = "/whole"

// String is the note that goes with the commit.
func (p plan) String() string {
	if p.whole {
		return p.span.String() + wholeSuffix
	}
	return p.span.String()
}

func parsePlan(note string) (plan, error) {
	if note == "" {
		return plan{}, nil
	}
	text, whole := strings.CutSuffix(note, wholeSuffix)
	r, err := parseSpan(text)
	return plan{r, whole}, err
}

func (p *Pipeline) restore(ctx context.Context, a kafka.Assignment) (*shard, error) {
	s := &shard{p: p, partition: a.Partition, seen: newSeen(p.cfg.SeenCapacity), sessions: newSessions()}
	var err error
	if s.planned, err = parsePlan(a.Note); err != nil {
		return nil, err
	}
	recent, err := retry(ctx, p, func() (clickhouse.Recent, error) {
		return p.deps.Store.Recent(ctx, a.Partition, p.deps.Now().Add(-p.cfg.SeenWindow))
	})
	if err != nil {
		return nil, err
	}
	for _, id := range recent.EventIDs {
		s.seen.add(id)
	}
	for _, act := range recent.Acts {
		s.seen.add(eventID(act.Site, act.ID))
	}
	for _, v := range recent.Sessions {
		if known, ok := s.sessions.byVisitor[v.Visitor]; !ok || known.last < v.Last {
			s.sessions.byVisitor[v.Visitor] = session{id: v.ID, first: v.First, last: v.Last}
		}
		s.sessions.watermark = max(s.sessions.watermark, v.Last)
	}
	return s, nil
}

// Consume reads a partition until it is taken away. Each turn: gather a range, decide it, write it down, load it.
// The commit that writes a range down also confirms everything before it.
func (p *Pipeline) Consume(ctx context.Context, claim *kafka.Claim) error {
	p.mu.Lock()
	s := p.shards[claim.Partition()]
	p.mu.Unlock()
	if s == nil {
		return errors.New("consume partition: not assigned")
	}
	var loaded int64 // the end of the last batch, while nobody was told that it is loaded
	for ctx.Err() == nil {
		begun := s.planned
		records, r, err := s.gather(ctx, claim)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			if loaded > 0 && r.end > 0 {
				if err := claim.Commit(ctx, r.end, ""); err != nil {
					return fmt.Errorf("confirm batch: %w", err)
				}
				loaded = 0
			}
			continue
		}
		b, err := s.process(records)
		if err != nil {
			return fmt.Errorf("process batch: %w", err)
		}
		planned := plan{r, len(b.drops) == 0}
		if !begun.empty() {
			planned = begun
		}
		if planned.whole {
			b.drops = nil
		}
		if err := claim.Commit(ctx, r.start, planned.String()); err != nil {
			return fmt.Errorf("plan batch: %w", err)
		}
		err = s.load(ctx, b, r)
		if errors.Is(err, errStale) { // as after a crash
			if s, err = p.restore(ctx, kafka.Assignment{Partition: claim.Partition(), Note: planned.String()}); err != nil {
				return fmt.Errorf("decide batch anew: %w", err)
			}
			continue
		}
		if err != nil {
			return err
		}
		loaded = r.end
	}
	if loaded > 0 {
		// The partition is going: tell the next owner that nothing is under way. It goes on after the batch, not from the
		// claim's position: what was gathered since is not loaded.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := claim.Commit(bounded, loaded, ""); err != nil && !errors.Is(err, kafka.ErrFenced) {
			return fmt.Errorf("confirm batch: %w", err)
		}
	}
	return nil
}

// gather reads the next range: the planned one exactly, or what comes within the flush interval.
func (s *shard) gather(ctx context.Context, claim *kafka.Claim) ([]kafka.Record, span, error) {
	var records []kafka.Record
	planned := s.planned.span
	if !planned.empty() {
		claim.SeekTo(planned.start)
	}
	r := span{start: claim.Position()}
	deadline := s.p.deps.Now().Add(s.p.cfg.FlushInterval)
	for {
		batch, err := claim.Fetch(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil, span{}, nil //nolint:nilerr // the partition is going
			}
			return nil, span{}, fmt.Errorf("fetch records: %w", err)
		}
		if batch.Lost > 0 {
			s.p.metrics.lost.Add(float64(batch.Lost))
			s.p.deps.Logger.LogAttrs(ctx, slog.LevelError, "records expired before they were read",
				slog.Int("partition", s.partition), slog.Int64("records", batch.Lost))
		}
		for _, record := range batch.Records {
			if planned.empty() || record.Offset < planned.end {
				records = append(records, record)
			}
		}
		r.end = batch.Next
		s.p.metrics.lag(s.partition, batch.HighWatermark-batch.Next)
		if !planned.empty() {
			if batch.Next < planned.end {
				continue
			}
			s.planned = plan{}
			claim.SeekTo(planned.end)
			return records, planned, nil
		}
		if len(batch.Records) == 0 || len(records) >= s.p.cfg.BatchRecords || !s.p.deps.Now().Before(deadline) {
			break
		}
	}
	if len(records) > 0 {
		r.start = records[0].Offset
	}
	return records, r, nil
}

// process takes every record of a range through its journey.
func (s *shard) process(records []kafka.Record) (*block, error) {
	b := newBlock(s.p.deps.Now())
	for _, record := range records {
		opened, reason := s.p.deps.Opener.Open(record.Value)
		if reason.DeadLetter() {
			b.deadLetter(record, opened.Site(), reason)
			continue
		}
		if !s.seen.add(eventID(opened.Site(), opened.ID())) {
			b.drop(opened, core.ReasonDuplicate)
			continue
		}
		if opened.ConsentAct() != nil {
			x, reason, err := s.act(opened, record.Offset)
			if err != nil {
				return nil, err
			}
			if reason != core.NoReason {
				b.deadLetter(record, opened.Site(), reason)
				continue
			}
			b.acts, b.masks = append(b.acts, x.acts...), append(b.masks, x.masks...)
			maps.Copy(b.subjects, x.changed)
			continue
		}
		decidedAs := decisionDrop{opened.Site(), opened.Event().TimeUs, core.EventType(opened.Event().Type)} //nolint:gosec // G115: small enum
		row, reason, err := s.journey(opened)
		if err != nil {
			return nil, err
		}
		if row == nil {
			b.dropAs(decidedAs, reason)
			continue
		}
		b.add(row)
	}
	return b, nil
}

// retry repeats what may pass until ctx ends; a permanent error returns at once.
func retry[T any](ctx context.Context, p *Pipeline, f func() (T, error)) (T, error) {
	wait := 100 * time.Millisecond
	for {
		v, err := f()
		if err == nil || !core.IsRetryable(err) || ctx.Err() != nil {
			return v, err
		}
		p.deps.Logger.LogAttrs(ctx, slog.LevelWarn, "trying again", slog.Any("error", err))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return v, err
		case <-timer.C:
		}
		wait = min(2*wait, 5*time.Second)
	}
}

var _ kafka.Handler = (*Pipeline)(nil)

// subjectsOf lists the changed subjects' messages for the compacted topic.
func subjectsOf(changed map[uint64]consent.Subject, partitions int) ([]kafka.Message, error) {
	messages := make([]kafka.Message, 0, len(changed))
	for subject, state := range changed {
		value, err := encodeState(state)
		if err != nil {
			return nil, err
		}
		key := subjectKey(subject)
		messages = append(messages, kafka.Message{Partition: kafka.PartitionFor(key, partitions), Key: key, Value: value})
	}
	return messages, nil
}
