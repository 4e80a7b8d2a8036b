package query

import (
	"testing"

	"pgregory.net/rapid"
)

// Whoever takes what is shown from the total is left with nobody, or with at least k subjects in two groups or more: the
// property over any groups that share any subjects.
func TestATotalMinusWhatIsShownIsolatesNobody(t *testing.T) {
	q := &Query{}
	p := &part{columns: []column{{name: "path"}}, order: "path"}
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(2, 12).Draw(t, "k")
		groups := rapid.SliceOfN(rapid.SliceOfNDistinct(rapid.Uint64Range(1, 40), 1, 20, rapid.ID), 0, 12).Draw(t, "groups")
		beyond := rapid.IntRange(0, 2).Draw(t, "groups that were too many to read")
		var (
			read  result
			small = map[uint64]bool{} // as the statement finds those that are surely there
		)
		read.all = len(groups) + beyond
		for i, members := range groups {
			g := group{row: Row{"path": string(rune('a' + i))}, subjects: uint64(len(members)), people: uint64(len(members)), low: members[0], high: members[0]}
			for _, m := range members {
				g.low, g.high = min(g.low, m), max(g.high, m)
			}
			if len(members) < k {
				read.small++
				small[g.low], small[g.high] = true, true
			}
			read.groups = append(read.groups, g)
		}
		read.smallSubjects = uint64(len(small))

		told := q.disclose(&request{}, &plan{k: k}, p, &read)
		shown := map[string]bool{}
		for _, row := range told.rows {
			shown[row["path"].(string)] = true
		}
		left, people := 0, map[uint64]bool{}
		for i, members := range groups {
			if shown[string(rune('a'+i))] {
				if len(members) < k {
					t.Fatalf("a group of %d is shown, k is %d", len(members), k)
				}
				continue
			}
			left++
			for _, m := range members {
				people[m] = true
			}
		}
		if told.withheld != left || told.all != len(shown)+beyond {
			t.Fatalf("%d withheld and %d in all, want %d and %d", told.withheld, told.all, left, len(shown)+beyond)
		}
		if left > 0 && len(shown) > 0 && beyond == 0 && (left == 1 || len(people) < k) {
			t.Fatalf("%d groups of %d people are isolated, k is %d", left, len(people), k)
		}
		if read.small == 0 && left > 0 {
			t.Fatalf("%d groups are withheld although none is small", left)
		}
		if left > read.small+2 {
			t.Fatalf("%d groups are withheld for the sake of %d", left, read.small)
		}
	})
}
