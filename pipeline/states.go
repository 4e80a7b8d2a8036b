package pipeline

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/consent/table"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// states is what is known of every subject's choices, by the id under which they are kept. It is rebuilt from the
// compacted consent topic, which every pipeline process reads whole: an identity's acts may pass another process's
// partitions. Ids are bound to their site, so one key space serves all sites.
type states struct{ table *table.Table }

func newStates() *states { return &states{table.New()} }

// of returns the states of the subjects given, leaving out 0 and the unknown.
func (s *states) of(subjects ...uint64) []consent.Subject { return s.table.Of(subjects...) }

// word is what the subjects given say together as of an event at a time, in microseconds: all that a decision needs.
func (s *states) word(at int64, subjects ...uint64) consent.Word {
	return s.table.Word(at, subjects...)
}

// merge joins what an act says into a subject's state and returns the whole.
func (s *states) merge(subject uint64, more consent.Subject) consent.Subject {
	return s.table.Merge(subject, more)
}

// add joins what a record says into a subject's state.
func (s *states) add(subject uint64, more consent.Subject) { s.table.Add(subject, more) }

func (s *states) len() int { return s.table.Len() }

func (s *states) bytes() int64 { return s.table.Bytes() }

// subjectKey is the key of a subject's record in the consent topic.
func subjectKey(subject uint64) []byte { return binary.BigEndian.AppendUint64(nil, subject) }

func encodeState(state consent.Subject) ([]byte, error) {
	record := &sekishov1.ConsentState{}
	for bit := range core.Purpose(core.MaxPurposes) {
		if p, ok := state[bit]; ok {
			record.Purposes = append(record.Purposes, &sekishov1.ConsentState_Purpose{
				Bit: uint32(bit), DeniedUs: p.Denied, GrantedUs: p.Grants,
			})
		}
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encode consent state: %w", err)
	}
	return value, nil
}

func decodeState(key, value []byte) (uint64, consent.Subject, error) {
	if len(key) != 8 {
		return 0, nil, fmt.Errorf("read consent state: a key of %d bytes", len(key))
	}
	var record sekishov1.ConsentState
	if err := proto.Unmarshal(value, &record); err != nil {
		return 0, nil, fmt.Errorf("read consent state: %w", err)
	}
	state := make(consent.Subject, len(record.Purposes))
	for _, p := range record.Purposes {
		if p.Bit >= core.MaxPurposes {
			return 0, nil, fmt.Errorf("read consent state: purpose bit %d", p.Bit)
		}
		bit := core.Purpose(p.Bit)
		state[bit] = state[bit].Merge(consent.State{Denied: p.DeniedUs, Grants: p.GrantedUs})
	}
	return binary.BigEndian.Uint64(key), state, nil
}

// restoring tells how far the states are restored and how fast that goes, every few seconds and at the end. It counts
// offsets, as kafka.Progress does. One goroutine at a time may use it.
type restoring struct {
	states *states
	logger *slog.Logger
	now    func() time.Time

	began  time.Time
	passed int64     // up to now
	told   time.Time // when it spoke last
	before int64     // what was passed then
}

const tellEvery = 2 * time.Second

func (r *restoring) begin() {
	r.began, r.passed = r.now(), 0
	r.told, r.before = r.began, 0
}

func (r *restoring) tell(p kafka.Progress) {
	r.passed = p.Done
	t := r.now()
	since := t.Sub(r.told)
	if since < tellEvery || p.Total <= 0 {
		return
	}
	r.logger.LogAttrs(context.Background(), slog.LevelInfo, "restoring consent",
		slog.Int64("done", p.Done), slog.Int64("total", p.Total), slog.Int64("percent", 100*p.Done/p.Total),
		slog.Int("subjects", r.states.len()), slog.Int64("records_per_second", rate(p.Done-r.before, since)))
	r.told, r.before = t, p.Done
}

func (r *restoring) end(ctx context.Context) {
	took := r.now().Sub(r.began)
	r.logger.LogAttrs(ctx, slog.LevelInfo, "consent restored",
		slog.Int64("records", r.passed), slog.Int64("records_per_second", rate(r.passed, took)),
		slog.Int("subjects", r.states.len()), slog.Int64("bytes", r.states.bytes()), slog.Duration("took", took))
}

// rate is how many a second; 0 where no time has passed.
func rate(n int64, in time.Duration) int64 {
	if in <= 0 {
		return 0
	}
	return int64(float64(n) / in.Seconds())
}
