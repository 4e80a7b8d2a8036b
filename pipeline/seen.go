package pipeline

// seen remembers the latest ids of a shard, so that a beacon sent twice counts once. It holds at most its capacity:
// the oldest ids go first.
type seen struct {
	ids  map[uint64]struct{}
	ring []uint64
	next int
}

func newSeen(capacity int) *seen {
	return &seen{ids: make(map[uint64]struct{}), ring: make([]uint64, 0, capacity)}
}

// add reports whether the id is new, and remembers it.
func (s *seen) add(id uint64) bool {
	if _, ok := s.ids[id]; ok {
		return false
	}
	if len(s.ring) < cap(s.ring) {
		s.ring = append(s.ring, id)
	} else {
		delete(s.ids, s.ring[s.next])
		s.ring[s.next] = id
		s.next = (s.next + 1) % cap(s.ring)
	}
	s.ids[id] = struct{}{}
	return true
}
