package kittest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Messages are the texts of a page in its two languages, by their keys.
type Messages struct {
	JA, EN map[string]string
	// Alike are the keys of signs and of what is called the same in both languages: neither is asked for there.
	Alike *regexp.Regexp
	// Latin are the keys whose Japanese may do without a Japanese letter.
	Latin *regexp.Regexp
	// Moved lets a language take the values in an order of its own, by their numbers: %[2]s before %[1]s.
	Moved bool
}

// Faults are where the languages do not agree: on the keys, on the values that a text takes, or on which is which.
func (m Messages) Faults() (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if ja, en := slices.Sorted(maps.Keys(m.JA)), slices.Sorted(maps.Keys(m.EN)); !slices.Equal(ja, en) {
		say("the keys differ:\n%v\n%v", ja, en)
	}
	for _, key := range slices.Sorted(maps.Keys(m.JA)) {
		ja, en := m.JA[key], m.EN[key]
		if strings.TrimSpace(ja) == "" || strings.TrimSpace(en) == "" {
			say("%s is empty", key)
		}
		if !maps.Equal(values(ja), values(en)) || !m.Moved && !slices.Equal(verb.FindAllString(ja, -1), verb.FindAllString(en, -1)) {
			say("%s takes other values in the other language", key)
		}
		if m.Alike.MatchString(key) {
			continue
		}
		if !InEnglish(en) {
			say("%s is not in English", key)
		}
		if !InJapanese(ja) && (m.Latin == nil || !m.Latin.MatchString(key)) {
			say("%s is not in Japanese", key)
		}
	}
	return all
}

var (
	verb     = regexp.MustCompile(`%(?:\[(\d)\])?([a-z])`)
	letter   = regexp.MustCompile(`[\p{Hiragana}\p{Katakana}\p{Han}]`)
	japanese = regexp.MustCompile(`[\p{Hiragana}\p{Katakana}\p{Han}、「]`)
)

// values are the verbs of a text by the number of the value that each writes.
func values(text string) map[string]string {
	found := map[string]string{}
	for i, m := range verb.FindAllStringSubmatch(text, -1) {
		at := strconv.Itoa(i + 1)
		if m[1] != "" {
			at = m[1]
		}
		found[at] = m[2]
	}
	return found
}

// InJapanese reports whether a text has a letter that only Japanese has.
func InJapanese(text string) bool { return letter.MatchString(text) }

// InEnglish reports whether a text says something without a letter or a mark of Japanese.
func InEnglish(text string) bool { return strings.TrimSpace(text) != "" && !japanese.MatchString(text) }

// Sources are the files of the tested package that fit one of the patterns, in one text, without its tests: what a key
// has to be named in.
func Sources(t testing.TB, patterns ...string) string {
	t.Helper()
	var b strings.Builder
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(names) == 0 {
			t.Fatalf("there is no file %s", pattern)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(data)
		}
	}
	return b.String()
}
