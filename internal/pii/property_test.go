package pii

import (
	"maps"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// pieces are what finds are made of, so that random strings of them come close to every rule's border.
var pieces = []string{
	"123456789018", "１２３４", "5678", "9018", "090", "0312345678", "-", "ー", "－", " ", "　", ".", "(", ")", "_", "+81", "+", "4111111111111111",
	"taro", "@", "＠", "%40", "%2540", "example.com", "例え", "。", "jp", "é", "https://", "//", "/", `\`, "?", "&", ";", "#", "#/", "#!", "=", "token", "email",
	"氏名", "マイナンバー", "password", "%", "%25", "%3D", "%26", "%2F", "%EF%BC%91", "%ff", "\xff", "eyJhbGciOiJIUzI1NiJ9", "Bearer ", "AKIA", "sk-", "-----BEGIN ",
	"PRIVATE KEY-----", "192.168.0.1", "2001:db8::1", ":", "::", "[", "]", "[email]", "[my_number]", "\"", "'", "<", "\u200b", "\x00", "\n", "mailto:", "tel:", "data:",
	"550e8400-e29b-41d4-a716-446655440000", "localhost:80", "a", "Z", "0", "①",
}

func genString() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := ""
		for range rapid.IntRange(0, 12).Draw(t, "pieces") {
			if rapid.IntRange(0, 9).Draw(t, "free") == 0 {
				s += rapid.StringN(0, 4, -1).Draw(t, "any")
			} else {
				s += rapid.SampledFrom(pieces).Draw(t, "piece")
			}
		}
		return s
	})
}

func TestScrubbingTwiceIsScrubbingOnce(t *testing.T) {
	guard := New()
	rapid.Check(t, func(t *rapid.T) {
		s := genString().Draw(t, "s")
		for name, scrub := range map[string]func(string, *Counts) string{"Text": guard.Text, "URL": guard.URL} {
			var first, second Counts
			once := scrub(s, &first)
			if twice := scrub(once, &second); twice != once || second != (Counts{}) {
				t.Fatalf("%s: %q, then %q, counts %v", name, once, twice, second)
			}
			if !utf8.ValidString(once) {
				t.Fatalf("%s: %q is no UTF-8", name, once)
			}
		}
	})
}

func TestScrubbingPropertiesTwiceIsScrubbingOnce(t *testing.T) {
	guard := New()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.MapOfN(genString(), genString(), 0, 4).Draw(t, "properties")
		var first, second Counts
		once := guard.Properties(in, &first)
		if twice := guard.Properties(once, &second); !maps.Equal(twice, once) || second != (Counts{}) {
			t.Fatalf("%q, then %q, counts %v", once, twice, second)
		}
	})
}

// A valid My Number that stands alone never survives, whatever stands around it, in any spelling and in a URL (where a
// space before it, encoded as '+', may have it counted as a telephone number).
func TestMyNumberNeverSurvives(t *testing.T) {
	guard := New()
	around := []string{"", " ", "、", "「", "番号", "：", "/", "\n", "[email]", "€", "(", "\""}
	rapid.Check(t, func(t *rapid.T) {
		number := genMyNumber(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") })
		written := rapid.SampledFrom(spellings(number)).Draw(t, "spelling")
		s := rapid.SampledFrom(around).Draw(t, "before") + written + rapid.SampledFrom(around).Draw(t, "after")
		var counts Counts
		if got := guard.Text(s, &counts); counts[MyNumber] != 1 {
			t.Fatalf("Text(%q) = %q, %v", s, got, counts)
		}
		counts = Counts{}
		if got := guard.URL("https://example.com/p?q="+escape(s), &counts); counts[MyNumber]+counts[Phone] != 1 {
			t.Fatalf("URL(%q) = %q, %v", s, got, counts)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, p := range pieces {
		f.Add(p + pieces[0])
	}
	f.Add("https://taro:pw@example.com/?token=x")
	guard := New()
	f.Fuzz(func(t *testing.T, s string) {
		var first, second Counts
		once := guard.Text(s, &first)
		if twice := guard.Text(once, &second); twice != once || second != (Counts{}) {
			t.Fatalf("%q, then %q, counts %v", once, twice, second)
		}
		if !utf8.ValidString(once) {
			t.Fatalf("%q is no UTF-8", once)
		}
		if first == (Counts{}) && utf8.ValidString(s) && once != s {
			t.Fatalf("%q changed to %q without a find", s, once)
		}
	})
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{
		"https://taro:pw@example.com:80/a%40b.co/?token=x&q=090-1234-5678#/r?x=1", "//[2001:db8::1]:80/", "mailto:a@b.co", "tel:1", `\\a\b?c=d`,
		"/?next=https%3A%2F%2Fe.com%2F%3Ftoken%3Dabc", "a:b", "#!a#b", "?%EF%BC%91=%zz",
	} {
		f.Add(s)
	}
	guard := New()
	f.Fuzz(func(t *testing.T, s string) {
		var first, second Counts
		once := guard.URL(s, &first)
		if twice := guard.URL(once, &second); twice != once || second != (Counts{}) {
			t.Fatalf("%q, then %q, counts %v", once, twice, second)
		}
		if !utf8.ValidString(once) {
			t.Fatalf("%q is no UTF-8", once)
		}
	})
}
