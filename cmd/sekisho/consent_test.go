package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/subject"
)

func TestIdentifiersAreReadFromFlagsAndFilesAndNeverShown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ids")
	if err := os.WriteFile(file, []byte("user_id=canary-u\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		who   who
		in    string
		kinds []open.Kind // nil: refused
	}{
		"a flag":               {who{CookieID: "canary-c"}, "", []open.Kind{open.Cookie}},
		"every flag":           {who{CookieID: "canary-c", DeviceID: "canary-d", UserID: "canary-u"}, "", []open.Kind{open.Cookie, open.Account, open.Device}},
		"standard input":       {who{IDFile: "-"}, "cookie_id=canary-c\n\n device_id=canary=d \n", []open.Kind{open.Cookie, open.Device}},
		"a file beside a flag": {who{CookieID: "canary-c", IDFile: file}, "", []open.Kind{open.Cookie, open.Account}},
		"nobody":               {who{}, "", nil},
		"an empty file":        {who{IDFile: "-"}, "\n", nil},
		"no kind":              {who{IDFile: "-"}, "canary-c\n", nil},
		"an unknown kind":      {who{IDFile: "-"}, "canary_id=canary-c\n", nil},
		"no value":             {who{IDFile: "-"}, "cookie_id=\n", nil},
		"twice":                {who{CookieID: "canary-c", IDFile: "-"}, "cookie_id=canary-e\n", nil},
		"no such file":         {who{IDFile: file + "x"}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ids, err := c.who.identifiers(strings.NewReader(c.in))
			var kinds []open.Kind
			for _, one := range ids {
				kinds = append(kinds, one.kind)
				if !strings.HasPrefix(one.id, "canary") {
					t.Errorf("read %q", one.id)
				}
			}
			if !slices.Equal(kinds, c.kinds) || (err == nil) != (c.kinds != nil) {
				t.Fatalf("%v, %v", kinds, err)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("it shows the identifier: %v", err)
			}
		})
	}
}

func TestAnExplanationIsInWordsOfBothLanguages(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	for lang, words := range map[string][]string{
		"en": {"granted", "withdrawn", "does not count", "denied until", "granted since", "remembered", "Permitted", "Denied", "Sec-GPC was on"},
		"ja": {"同意", "撤回", "対象外", "まで拒否", "から同意", "保持している状態", "許可", "不許可", "矛盾"},
	} {
		say := explained[lang]
		var all strings.Builder
		for rule := range consent.Granted + 1 {
			if say.rules[rule] == "" {
				t.Errorf("%s: no words for the rule %v", lang, rule)
			}
			a := subject.Answer{
				Purpose: "usage_based_development", Type: "page_view", At: at, Jurisdiction: "jp", Policy: "default/2022-09-15", Basis: "consent",
				Rule: rule, Permitted: rule.Permits(), GPCConflict: rule == consent.Granted,
				Acts: []subject.SaidAct{
					{ID: uuid.New(), Time: at, State: "granted", Policy: "default/2022-09-15", Identities: []string{"cookie", "account"}, Counts: true},
					{ID: uuid.New(), Time: at, State: "withdrawn", Policy: "default/2019-10-15", Identities: []string{"device"}},
				},
				Known: []subject.Known{{Identity: "cookie", Denied: &at, Granted: []time.Time{at}, Unproven: true}, {Identity: "device"}},
			}
			var out bytes.Buffer
			printAnswer(&out, a, lang, time.UTC)
			for _, want := range []string{say.rules[rule], a.Acts[0].ID.String(), a.Acts[1].ID.String(), "usage_based_development", "default/2019-10-15", "2026-11-20 00:00:00 UTC", say.never} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%s, %v: %q is not said in\n%s", lang, rule, want, &out)
				}
			}
			if strings.Contains(out.String(), "%!") || strings.Contains(out.String(), "[]") {
				t.Errorf("%s, %v: %s", lang, rule, &out)
			}
			all.WriteString(out.String())
		}
		for _, word := range words {
			if !strings.Contains(all.String(), word) {
				t.Errorf("%s: %q is never said", lang, word)
			}
		}
	}
	for state := range explained["en"].states {
		if _, ok := (consent.State{}).Act(state, 1); !ok || explained["ja"].states[state] == "" {
			t.Errorf("state %s", state)
		}
	}
}
