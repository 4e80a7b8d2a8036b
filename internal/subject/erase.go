package subject

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/ledger"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// Pseudonym is what the rows of one epoch carry for an identifier.
type Pseudonym struct {
	ID    uint64
	Until time.Time // the last moment of its epoch, or now
}

// Subject is everything under which one person is known on a site.
type Subject struct {
	Site       string
	Consent    []uint64    // ids under the consent key
	Pseudonyms []Pseudonym // of every living epoch
}

// States is the compacted topic of consent states.
type States interface {
	Partitions(ctx context.Context) (int, error)
	Produce(ctx context.Context, messages []kafka.Message) error
}

// Erase deletes everything of one subject. No Fold may turn at the same time.
//
// What goes: every row of events under a pseudonym that can still be made, with all its purposes; the masks; and the
// consent acts, whose leaves the erasure's own record covers, so that the ledger still verifies. What is sealed in Kafka
// ends with its retention: nobody can find one person's there, and what is read of it again is decided by what stays.
//
// What stays is one keyed number with the moments of denials. An objection that was forgotten would be no objection any
// more: the opt-out purposes would be served again from the next event on. And a grant is not merely forgotten but
// becomes a denial as of now, because consent states are joined: a process that runs, and an act that is read once more
// from Kafka, would bring the grant back, and only a denial outranks it. So nothing that was recorded before the erasure
// ever permits anything again; a later grant does.
type Erase struct {
	DB      Store
	Entries evidence.Producer // to the topic of the proof ledger
	States  States
	Cluster *kafka.Cluster
	Topic   string // of the states
	Salter  evidence.Salter
	// Purposes are all that any policy ever named, so all that a row can carry.
	Purposes core.PurposeSet
	// Leaves finds the leaves of ids in the ledger, waiting for those on their way.
	Leaves func(ctx context.Context, ids []ledger.ID) (map[ledger.ID]int64, error)
	// Running says that a pipeline may be at work: then the masks that hide the subject stay until they are folded, for
	// the rows that are under way.
	Running bool
	Now     func() time.Time
	Random  io.Reader
}

// Erased is the proof of an erasure: what there was, and what a count found afterwards.
type Erased struct {
	Rows, Acts, Masks             uint64
	RowsLeft, ActsLeft, MasksLeft uint64
	Staying                       uint64 // masks that hide what may be under way
	Denials                       int    // purposes whose denial is remembered
	Record                        ledger.ID
}

// OK reports whether nothing is left.
func (e Erased) OK() bool { return e.RowsLeft == 0 && e.ActsLeft == 0 && e.MasksLeft == 0 }

// Do erases. When it is broken off it may be done again: what it began, hidden at once, the folding completes.
func (e *Erase) Do(ctx context.Context, who Subject) (Erased, error) {
	done, err := e.do(ctx, who)
	if err != nil {
		return done, fmt.Errorf("erase subject: %w", err)
	}
	return done, nil
}

func (e *Erase) do(ctx context.Context, who Subject) (done Erased, err error) {
	if who.Site == "" || len(who.Consent) == 0 {
		return done, errors.New("nobody is named")
	}
	now := e.Now().UTC()
	if done.Denials, err = e.forget(ctx, who.Consent, now.UnixMicro()); err != nil {
		return done, err
	}
	name, err := uuid.NewRandomFromReader(e.Random)
	if err != nil {
		return done, err
	}
	done.Record = ledger.NewID(ledger.Erasure, name.String())
	if err := e.mask(ctx, who, done.Record, now); err != nil {
		return done, err
	}
	// The statements name the mark of the erasure and no pseudonym: the engine keeps the text of a change for a while.
	marked := "(SELECT site, subject FROM consent_masks WHERE act = " + bytesOf(done.Record) + ")"
	named := func(columns ...string) string {
		either := make([]string, len(columns))
		for i, c := range columns {
			either[i] = "(" + c + " != 0 AND (site, " + c + ") IN " + marked + ")"
		}
		return "(" + strings.Join(either, " OR ") + ")"
	}
	rows, acts := named("visitor_id", "account_id", "device_key"), named("visitor_id", "account_id", "device_key")
	masks := named("subject") + " AND act != " + bytesOf(done.Record)

	if done.Rows, done.RowsLeft, err = e.delete(ctx, "events", rows); err != nil {
		return done, err
	}
	covers, n, err := e.covers(ctx, acts)
	if err != nil {
		return done, err
	}
	// The record comes before the acts go: acts that were gone without it would be missing ones, and nobody could say which.
	err = note(ctx, e.DB, e.Entries, erasure(e.Salter, now, name.String(), covers,
		ledger.Field{Name: "acts", Value: strconv.FormatUint(n, 10)},
		ledger.Field{Name: "purpose", Value: "*"},
		ledger.Field{Name: "rows", Value: strconv.FormatUint(done.Rows, 10)},
		ledger.Field{Name: "site", Value: who.Site}))
	if err == nil {
		_, err = e.Leaves(ctx, []ledger.ID{done.Record})
	}
	if err != nil {
		return done, err
	}
	if done.Acts, done.ActsLeft, err = e.delete(ctx, "consent_acts", acts); err != nil {
		return done, err
	}
	if done.Masks, done.MasksLeft, err = e.delete(ctx, "consent_masks", masks); err != nil {
		return done, err
	}
	own := "act = " + bytesOf(done.Record)
	if e.Running {
		err := clickhouse.One(ctx, e.DB, "SELECT count() FROM consent_masks WHERE "+own, nil, &done.Staying)
		return done, err
	}
	_, left, err := e.delete(ctx, "consent_masks", own)
	done.MasksLeft += left
	return done, err
}

// mask hides the subject for every purpose at once. The masks erase: should this process end now, the folding deletes the
// rows. The ids under the consent key hide no row; they mark the acts.
func (e *Erase) mask(ctx context.Context, who Subject, mark ledger.ID, now time.Time) error {
	var (
		subjects []uint64
		purposes []uint8
		until    []time.Time
	)
	for _, p := range who.Pseudonyms {
		for purpose := range uint8(core.MaxPurposes) {
			if !e.Purposes.Has(core.Purpose(purpose)) {
				continue
			}
			subjects, purposes, until = append(subjects, p.ID), append(purposes, purpose), append(until, p.Until.UTC())
		}
	}
	for _, id := range who.Consent {
		subjects, purposes, until = append(subjects, id), append(purposes, 0), append(until, now)
	}
	err := e.DB.Insert(ctx, "consent_masks", "erase/"+mark.String(), []clickhouse.Column{
		{Name: "site", Values: repeat(who.Site, len(subjects))},
		{Name: "purpose", Values: purposes},
		{Name: "subject", Values: subjects},
		{Name: "denied_at", Values: until},
		{Name: "erase", Values: repeat(true, len(subjects))},
		{Name: "act", Values: repeat(string(mark[:]), len(subjects))},
	})
	if err != nil {
		return fmt.Errorf("hide: %w", err)
	}
	return nil
}

// delete deletes rows of a table, and counts before and afterwards. Rows that come meanwhile are gone over again.
func (e *Erase) delete(ctx context.Context, table, condition string) (found, left uint64, err error) {
	for try := 0; ; try++ {
		if err := clickhouse.One(ctx, e.DB, "SELECT count() FROM "+table+" WHERE "+condition, nil, &left); err != nil {
			return found, left, fmt.Errorf("count %s: %w", table, err)
		}
		if left == 0 || try == maxTries {
			return found, left, nil
		}
		found += left
		if err := mutate(ctx, e.DB, table, "DELETE WHERE "+condition); err != nil {
			return found, left, err
		}
	}
}

// covers are the leaves of the acts, and how many they are.
func (e *Erase) covers(ctx context.Context, acts string) (leaves []int64, n uint64, err error) {
	var ids []ledger.ID
	err = each(ctx, e.DB, "SELECT DISTINCT act_id, toString(purpose) FROM consent_acts WHERE "+acts, nil, func(rows clickhouse.Rows) error {
		var (
			act     uuid.UUID
			purpose string
		)
		if err := rows.Scan(&act, &purpose); err != nil {
			return err
		}
		ids = append(ids, evidence.LeafID(act, purpose))
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read acts: %w", err)
	}
	found, err := e.Leaves(ctx, ids)
	if err != nil {
		return nil, 0, err
	}
	for _, id := range ids {
		leaves = append(leaves, found[id])
	}
	return leaves, uint64(len(ids)), nil
}

// forget leaves of the subject's states what denies.
func (e *Erase) forget(ctx context.Context, ids []uint64, now int64) (denials int, err error) {
	n, err := e.States.Partitions(ctx)
	if err != nil {
		return 0, fmt.Errorf("read consent states: %w", err)
	}
	var denied core.PurposeSet
	var messages []kafka.Message
	for _, id := range ids {
		key := binary.BigEndian.AppendUint64(nil, id)
		partition := kafka.PartitionFor(key, n)
		state, known, err := remembered(ctx, e.Cluster, e.Topic, key, partition)
		if err != nil {
			return 0, fmt.Errorf("read consent states: %w", err)
		}
		if !known {
			continue
		}
		record := &sekishov1.ConsentState{}
		for bit := range core.Purpose(core.MaxPurposes) {
			s := state[bit]
			if len(s.Grants) > 0 {
				s = s.Deny(max(now, s.Grants[len(s.Grants)-1]))
			}
			if s.Denied != 0 {
				denied = denied.With(bit)
				record.Purposes = append(record.Purposes, &sekishov1.ConsentState_Purpose{Bit: uint32(bit), DeniedUs: s.Denied})
			}
		}
		message := kafka.Message{Partition: partition, Key: key} // nothing to remember: a tombstone
		if len(record.Purposes) > 0 {
			message.Value, err = proto.MarshalOptions{Deterministic: true}.Marshal(record)
			if err != nil {
				return 0, fmt.Errorf("write consent state: %w", err)
			}
		}
		messages = append(messages, message)
	}
	if len(messages) > 0 {
		if err := e.States.Produce(ctx, messages); err != nil {
			return 0, fmt.Errorf("write consent states: %w", err)
		}
	}
	return bits.OnesCount32(uint32(denied)), nil
}

// Remembered is the state by which the checkpoint decides about an id under the consent key. It outlasts the acts, which
// expire and may be erased.
func Remembered(ctx context.Context, cluster *kafka.Cluster, topic string, id uint64) (consent.Subject, error) {
	n, err := kafka.NewAdmin(cluster).Partitions(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("read consent state: %w", err)
	}
	key := binary.BigEndian.AppendUint64(nil, id)
	state, _, err := remembered(ctx, cluster, topic, key, kafka.PartitionFor(key, n))
	if err != nil {
		return nil, fmt.Errorf("read consent state: %w", err)
	}
	return state, nil
}

// remembered joins the records of one key in the topic of consent states.
func remembered(ctx context.Context, cluster *kafka.Cluster, topic string, key []byte, partition int) (consent.Subject, bool, error) {
	tail, err := kafka.NewTail(cluster, kafka.TailConfig{Topic: topic, Partitions: []int{partition}})
	if err != nil {
		return nil, false, err
	}
	state, known := consent.Subject{}, false
	err = tail.Restore(ctx, func(r kafka.Record) error {
		if string(r.Key) != string(key) {
			return nil
		}
		known = len(r.Value) > 0
		var record sekishov1.ConsentState
		if err := proto.Unmarshal(r.Value, &record); err != nil {
			return errors.New("a record is unreadable")
		}
		for _, p := range record.Purposes {
			if p.Bit >= core.MaxPurposes {
				return errors.New("a record is of no purpose")
			}
			bit := core.Purpose(p.Bit)
			state[bit] = state[bit].Merge(consent.State{Denied: p.DeniedUs, Grants: p.GrantedUs})
		}
		return nil
	})
	return state, known, err
}
