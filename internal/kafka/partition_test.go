package kafka

import "testing"

// The vectors of other implementations of the paper.
func TestJumpAgreesWithOtherImplementations(t *testing.T) {
	for _, tt := range []struct {
		key     uint64
		n, want int
	}{{1, 1, 0}, {42, 57, 43}, {0xDEAD10CC, 1, 0}, {0xDEAD10CC, 666, 361}, {256, 1024, 520}} {
		if got := jump(tt.key, tt.n); got != tt.want {
			t.Errorf("jump(%d, %d) = %d, want %d", tt.key, tt.n, got, tt.want)
		}
	}
}
