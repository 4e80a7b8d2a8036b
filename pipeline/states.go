package pipeline

import (
	"encoding/binary"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// states is what is known of every subject's choices, by pseudonym. It is rebuilt from the compacted consent topic,
// which every pipeline process reads whole: an identity's acts may pass another process's partitions.
// Pseudonyms are bound to their site, so one key space serves all sites.
type states struct {
	mu        sync.RWMutex
	bySubject map[uint64]consent.Subject
}

func newStates() *states { return &states{bySubject: map[uint64]consent.Subject{}} }

// of returns the states of the pseudonyms given, leaving out 0 and the unknown. The result MUST NOT be changed:
// a Subject is replaced, never written to.
func (s *states) of(subjects ...uint64) []consent.Subject {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var known []consent.Subject
	for _, id := range subjects {
		if state, ok := s.bySubject[id]; ok && id != 0 {
			known = append(known, state)
		}
	}
	return known
}

// merge joins what an act or a record says into a subject's state and returns the whole.
func (s *states) merge(subject uint64, more consent.Subject) consent.Subject {
	s.mu.Lock()
	defer s.mu.Unlock()
	joined := make(consent.Subject, len(more))
	joined.Merge(s.bySubject[subject])
	joined.Merge(more)
	s.bySubject[subject] = joined
	return joined
}

func (s *states) len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.bySubject)
}

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
	state := consent.Subject{}
	for _, p := range record.Purposes {
		if p.Bit >= core.MaxPurposes {
			return 0, nil, fmt.Errorf("read consent state: purpose bit %d", p.Bit)
		}
		one := consent.State{}.Deny(p.DeniedUs)
		for _, g := range p.GrantedUs {
			one = one.Grant(g)
		}
		bit := core.Purpose(p.Bit)
		state[bit] = state[bit].Merge(one)
	}
	return binary.BigEndian.Uint64(key), state, nil
}
