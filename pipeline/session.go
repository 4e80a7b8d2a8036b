package pipeline

import (
	"encoding/binary"
	"time"

	"github.com/cespare/xxhash/v2"
)

// SessionTimeout ends a session after this much silence, as is usual in the field.
const SessionTimeout = 30 * time.Minute

// session is a visit under way.
type session struct {
	id    uint64
	first int64 // microseconds
	last  int64
}

// sessions are the visits under way of one shard. All events of a visitor pass the same shard, in order.
type sessions struct {
	byVisitor map[uint64]session
	watermark int64 // latest event time seen
	swept     int64
}

func newSessions() *sessions { return &sessions{byVisitor: map[uint64]session{}} }

// running reports whether the visitor has a session that an event at t belongs to.
func (s *sessions) running(visitor uint64, t int64) bool {
	v, ok := s.byVisitor[visitor]
	return ok && t <= v.last+SessionTimeout.Microseconds() && t >= v.first-SessionTimeout.Microseconds()
}

// touch returns the session that an event of the visitor at t belongs to, a new one if need be. The id follows from
// the visitor and the session's first event, so a replay gives the same.
func (s *sessions) touch(visitor uint64, t int64) uint64 {
	s.watermark = max(s.watermark, t)
	v, ok := s.byVisitor[visitor]
	if !ok || !s.running(visitor, t) {
		v = session{id: sessionID(visitor, t), first: t, last: t}
	}
	v.first, v.last = min(v.first, t), max(v.last, t)
	s.byVisitor[visitor] = v
	s.sweep()
	return v.id
}

// sweep forgets ended sessions once in a timeout. Twice the timeout stays, for events that come late.
func (s *sessions) sweep() {
	keep := 2 * SessionTimeout.Microseconds()
	if s.watermark-s.swept < SessionTimeout.Microseconds() {
		return
	}
	s.swept = s.watermark
	for visitor, v := range s.byVisitor {
		if v.last < s.watermark-keep {
			delete(s.byVisitor, visitor)
		}
	}
}

func sessionID(visitor uint64, first int64) uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], visitor)
	binary.LittleEndian.PutUint64(b[8:], uint64(first)) //nolint:gosec // G115: bits, not a number
	return max(xxhash.Sum64(b[:]), 1)
}
