package kafka

import "github.com/cespare/xxhash/v2"

// PartitionFor maps a routing value to one of n partitions: xxhash64, then Lamping and Veach's jump consistent hash
// (arXiv:1406.2294). It MUST NOT change: the order of one subject's events and consent acts rests on it.
// A topic grown from n to n+1 partitions would move one value in n+1, and only to the new partition. n < 1 counts as 1.
func PartitionFor(routing []byte, n int) int { return jump(xxhash.Sum64(routing), n) }

func jump(key uint64, n int) int {
	var b, j int64 = -1, 0
	for j < int64(n) {
		b = j
		key = key*2862933555777941757 + 1
		j = int64(float64(b+1) * (float64(1<<31) / float64((key>>33)+1)))
	}
	return int(max(b, 0))
}
