package pii

import "testing"

func BenchmarkGuard(b *testing.B) {
	guard := New()
	for _, bench := range []struct {
		name, in string
		scrub    func(string, *Counts) string
		allocs   float64 // the ceiling
	}{
		{"clean title of 80 bytes", "Sekisho: an analytics pipeline that asks for consent before it counts anything  ", guard.Text, 0},
		{"clean Japanese title of 81 bytes", "関所：同意を確かめてから数えるアクセス解析の道具（日本語）", guard.Text, 0},
		{"title with a date", "2024年9月12日のお知らせ — system maintenance at 10:30", guard.Text, 0},
		{"clean URL", "https://www.example.co.jp/items/10293/reviews?page=2&sort=new", guard.URL, 1},
		{"title with an e-mail", "Profile of taro@example.com | Example", guard.Text, 2},
		{"full-width My Number", "番号は１２３４５６７８９０１８です", guard.Text, 5},
		{"URL with secrets", "https://example.com/a?token=abcdef&email=taro%40example.com&page=2", guard.URL, 2},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var counts Counts
			allocs := testing.AllocsPerRun(100, func() { bench.scrub(bench.in, &counts) })
			if allocs > bench.allocs {
				b.Fatalf("%v allocations, want at most %v", allocs, bench.allocs)
			}
			b.SetBytes(int64(len(bench.in)))
			b.ReportAllocs()
			for b.Loop() {
				bench.scrub(bench.in, &counts)
			}
		})
	}
}

func TestCleanTextCostsNoAllocation(t *testing.T) {
	guard := New()
	var counts Counts
	for _, s := range []string{"Sekisho: an analytics pipeline", "関所：同意を確かめてから数える", "2024年9月12日のお知らせ", "order 250-1234567-1234567"} {
		if allocs := testing.AllocsPerRun(100, func() { guard.Text(s, &counts) }); allocs > 0 {
			t.Errorf("Text(%q): %v allocations", s, allocs)
		}
	}
}
