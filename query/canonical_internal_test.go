package query

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// meant is what filters of one dimension mean, said another way: by regular expressions, one for each.
func meant(filters []filter, value string) bool {
	may, asked := false, false
	for _, f := range filters {
		var pattern string
		switch f.operator {
		case contains:
			pattern = "(?is)" + regexp.QuoteMeta(f.value)
		case like:
			pattern = "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(f.value), `\*`, ".*") + "$"
		default:
			pattern = "(?s)^" + regexp.QuoteMeta(f.value) + "$"
		}
		matches := regexp.MustCompile(pattern).MatchString(value)
		switch {
		case f.not && matches:
			return false
		case !f.not:
			may, asked = may || matches, true
		}
	}
	return may || !asked
}

func drawFilters(t *rapid.T) []filter {
	value := rapid.StringOfN(rapid.SampledFrom([]rune("aAb*")), 0, 4, -1)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) filter {
		f := filter{"path", rapid.Bool().Draw(t, "not"), rapid.SampledFrom([]operator{is, contains, like}).Draw(t, "operator"), value.Draw(t, "value")}
		if f.operator == contains && f.value == "" {
			f.value = "a"
		}
		return f
	}), 1, 5).Draw(t, "filters")
}

func TestTheCanonicalFormPicksTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		filters := drawFilters(t)
		folded := canonical(filters)
		for range 20 {
			value := rapid.StringOfN(rapid.SampledFrom([]rune("aAb*")), 0, 5, -1).Draw(t, "of an event")
			if meant(filters, value) != meant(folded, value) {
				t.Fatalf("%q is picked by one of %v and %v", value, filters, folded)
			}
		}
		shuffled := rapid.Permutation(append(slices.Clone(filters), filters[0])).Draw(t, "shuffled")
		if again := canonical(shuffled); !slices.Equal(again, folded) {
			t.Fatalf("%v and %v", folded, again)
		}
		if again := canonical(folded); !slices.Equal(again, folded) {
			t.Fatalf("%v becomes %v", folded, again)
		}
	})
}

func TestFiltersThatMeanTheSameAreTheSame(t *testing.T) {
	for _, same := range [][2]string{
		{"path:/a path:/b", "path:/b path:/a path:/b"},
		{"path*/a", "path:/a"},
		{"path*/a**", "path*/a*"},
		{"path~ITEM", "path~item"},
		{"path~item path:/item/1", "path~item"},
		{"path:/a path:/b !path:/b", "path:/a"},
		{"path:/a !path:/b", "path:/a"},
		{"!path:/a !path*/a*", "!path*/a*"},
		{"path** country:JP", "country:JP"},
		{"country:JP path:/a", "path:/a country:JP"},
	} {
		var forms [2][]filter
		for i, list := range same {
			for _, text := range strings.Fields(list) {
				f, fault := parseFilter(text)
				if fault != nil {
					t.Fatal(fault)
				}
				forms[i] = append(forms[i], f)
			}
			forms[i] = canonical(forms[i])
		}
		if !slices.Equal(forms[0], forms[1]) {
			t.Errorf("%s: %v, %s: %v", same[0], forms[0], same[1], forms[1])
		}
	}
}

// What no rule of ASCII decides stays as it was asked.
func TestOtherScriptsAreNotFolded(t *testing.T) {
	filters := []filter{{"query", false, contains, "茶"}, {"query", false, is, "お茶"}, {"query", true, is, "ÖL"}}
	if folded := canonical(filters); len(folded) != 3 {
		t.Errorf("%v", folded)
	}
}
