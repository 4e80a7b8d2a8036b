package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/ledger"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// block is everything that one range of offsets comes to.
type block struct {
	events   []column
	rows     int
	received []time.Time
	acts     []evidence.Act
	masks    []mask
	subjects map[uint64]consent.Subject
	drops    map[dropKey]uint64
	letters  []kafka.Message
	stored   map[core.EventType]int
	decided  time.Time // when what it rests on was known
}

type dropKey struct {
	site   string
	hour   int64
	kind   core.EventType
	reason core.Reason
}

// decisionDrop is what is kept of an event that may not be kept: that there was one.
type decisionDrop struct {
	site   string
	timeUs int64
	kind   core.EventType
}

func newBlock(now time.Time) *block {
	return &block{
		events: eventColumns(), subjects: map[uint64]consent.Subject{}, drops: map[dropKey]uint64{},
		stored: map[core.EventType]int{}, decided: now,
	}
}

// add appends a row, minimised: a column that no permitted purpose may use stays empty (Art. 5).
func (b *block) add(r *minimised) {
	for _, c := range b.events {
		c.add(&r.Row, r.categories.Has(c.Category()) || alwaysKept(c))
	}
	b.rows++
	b.received = append(b.received, r.receivedAt)
	b.stored[r.kind]++
}

// alwaysKept is the one column beside the records that every row needs whatever its purposes: without a time, no row
// could expire (Art. 7-5).
func alwaysKept(c column) bool { return c.Name() == "time" }

func (b *block) dropAs(d decisionDrop, reason core.Reason) {
	hour := time.UnixMicro(d.timeUs).UTC().Truncate(time.Hour).Unix()
	b.drops[dropKey{d.site, hour, d.kind, reason}]++
}

func (b *block) drop(o open.Opened, reason core.Reason) {
	d := decisionDrop{site: o.Site(), timeUs: o.ReceivedAt().UnixMicro()}
	if e := o.Event(); e != nil {
		d.timeUs, d.kind = e.TimeUs, core.EventType(e.Type) //nolint:gosec // G115: small enum
	}
	b.dropAs(d, reason)
}

// deadLetter keeps what could not be read for a replay. An unreadable message may be anything, so nothing of it is
// kept; a sealed one stays sealed.
func (b *block) deadLetter(record kafka.Record, site string, reason core.Reason) {
	letter := &sekishov1.DeadLetter{
		Reason: reason.String(), Partition: int32(record.Partition), Offset: record.Offset, //nolint:gosec // G115: Kafka's own width
	}
	if reason != core.ReasonUnreadable {
		letter.Site, letter.Envelope = site, record.Value
	}
	value, err := proto.Marshal(letter)
	if err != nil {
		value = nil // cannot be: the message holds no invalid text
	}
	b.letters = append(b.letters, kafka.Message{Value: value})
	b.dropAs(decisionDrop{site: letter.Site, timeUs: record.Time.UnixMicro()}, reason)
}

// staleAfter is how long a decided block may wait for the store. A denial that came since is not in it, and the mask that
// hides its rows is retired once it is folded into the rows that are there (internal/subject): rows that came later than
// that would be seen again. So a block that waited longer is decided anew.
const staleAfter = 15 * time.Minute

var errStale = errors.New("it waited for the store for too long")

// load writes a block, each table under a token made of the range. What decides later events goes first; acts and events
// go last, because a restart recognises a record by them: when they are there, everything else that it came to is.
func (s *shard) load(ctx context.Context, b *block, r span) error {
	token := fmt.Sprintf("%s/%d/%s", s.p.cfg.EventsTopic, s.partition, r)
	for _, step := range []struct {
		name string
		do   func(context.Context, string) error
	}{
		{"publish consent", func(ctx context.Context, _ string) error { return s.publish(ctx, b) }},
		{"store dead letters", func(ctx context.Context, _ string) error { return s.bury(ctx, b) }},
		{"store consent masks", func(ctx context.Context, token string) error {
			return s.insert(ctx, "consent_masks", token, len(b.masks), maskColumns(b.masks))
		}},
		{"store counts", func(ctx context.Context, token string) error {
			return s.insert(ctx, "event_drops", token, len(b.drops), dropColumns(b.drops))
		}},
		{"publish ledger entries", func(ctx context.Context, _ string) error { return s.prove(ctx, b) }},
		{"store consent acts", func(ctx context.Context, token string) error {
			acts, err := s.unstored(ctx, b.acts)
			if err != nil {
				return err
			}
			return s.insert(ctx, "consent_acts", token, len(acts), evidence.Columns(acts))
		}},
		{"store events", func(ctx context.Context, token string) error {
			columns := make([]clickhouse.Column, len(b.events))
			for i, c := range b.events {
				columns[i] = clickhouse.Column{Name: c.Name(), Values: c.values()}
			}
			return s.insert(ctx, "events", token, b.rows, columns)
		}},
	} {
		if _, err := retry(ctx, s.p, func() (struct{}, error) {
			if s.p.deps.Now().Sub(b.decided) > staleAfter {
				return struct{}{}, errStale
			}
			return struct{}{}, step.do(ctx, token)
		}); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	s.p.metrics.loaded(b, s.p.deps.Now())
	return nil
}

func (s *shard) insert(ctx context.Context, table, token string, rows int, columns []clickhouse.Column) error {
	if rows == 0 {
		return nil
	}
	return s.p.deps.Store.Insert(ctx, table, token+"/"+table, columns)
}

func (s *shard) publish(ctx context.Context, b *block) error {
	if len(b.subjects) == 0 {
		return nil
	}
	n, err := s.p.deps.Consent.Partitions(ctx)
	if err != nil {
		return err
	}
	messages, err := subjectsOf(b.subjects, n)
	if err != nil {
		return err
	}
	return s.p.deps.Consent.Produce(ctx, messages)
}

// unstored leaves out acts that came before and are stored: a page that never heard of its act's arrival sends it again
// on its next visit, and an import may be run twice. Younger repeats are recognised by their ids alone (seen); an act
// that is older than those are remembered is asked for. What this very range stored in a try before stays in, so that
// the batch is the same and its token tells.
func (s *shard) unstored(ctx context.Context, acts []evidence.Act) ([]evidence.Act, error) {
	var old []uuid.UUID
	for i := range acts {
		if acts[i].ReceivedAt.Sub(acts[i].Time) > s.p.cfg.SeenWindow/2 {
			old = append(old, acts[i].ID)
		}
	}
	if len(old) == 0 {
		return acts, nil
	}
	stored, err := s.p.deps.Store.ActPlaces(ctx, old)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(acts), func(a evidence.Act) bool {
		return slices.ContainsFunc(stored[a.ID], func(at clickhouse.Place) bool {
			return at != clickhouse.Place{Shard: a.Shard, Offset: a.Offset}
		})
	}), nil
}

// prove puts the acts into the proof ledger.
func (s *shard) prove(ctx context.Context, b *block) error {
	records := make([]ledger.Record, len(b.acts))
	for i := range b.acts {
		records[i] = b.acts[i].Record()
	}
	return evidence.Publish(ctx, s.p.deps.Ledger, records)
}

func (s *shard) bury(ctx context.Context, b *block) error {
	if len(b.letters) == 0 {
		return nil
	}
	return s.p.deps.DeadLetters.Produce(ctx, b.letters)
}

func maskColumns(rows []mask) []clickhouse.Column {
	return []clickhouse.Column{
		clickhouse.Gather("site", rows, func(r mask) string { return r.site }),
		clickhouse.Gather("purpose", rows, func(r mask) uint8 { return r.purpose }),
		clickhouse.Gather("subject", rows, func(r mask) uint64 { return r.subject }),
		clickhouse.Gather("denied_at", rows, func(r mask) time.Time { return r.deniedAt }),
		clickhouse.Gather("erase", rows, func(r mask) bool { return r.erase }),
		clickhouse.Gather("act", rows, func(r mask) string { return string(r.act[:]) }),
	}
}

func dropColumns(drops map[dropKey]uint64) []clickhouse.Column {
	keys := make([]dropKey, 0, len(drops))
	for k := range drops {
		keys = append(keys, k)
	}
	return []clickhouse.Column{
		clickhouse.Gather("site", keys, func(k dropKey) string { return k.site }),
		clickhouse.Gather("hour", keys, func(k dropKey) time.Time { return time.Unix(k.hour, 0).UTC() }),
		clickhouse.Gather("type", keys, func(k dropKey) string { return k.kind.String() }),
		clickhouse.Gather("reason", keys, func(k dropKey) string { return k.reason.String() }),
		clickhouse.Gather("count", keys, func(k dropKey) uint64 { return drops[k] }),
	}
}
