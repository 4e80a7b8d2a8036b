package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/schemas"
)

// runPolicy runs the policy command as its words on a command line would.
func runPolicy(t *testing.T, args ...string) error {
	t.Helper()
	var c struct {
		config.Config
		Policy policyCommand `cmd:""`
	}
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	command, err := parser.Parse(append([]string{"policy"}, args...))
	if err != nil {
		return err
	}
	return command.Run(&c.Config)
}

// published is a directory with the first built-in version, and a file with a version that changes one period.
func published(t *testing.T) (dir, next string) {
	t.Helper()
	root := t.TempDir()
	dir, next = filepath.Join(root, "policies"), filepath.Join(root, "next.yaml")
	if err := os.MkdirAll(filepath.Join(dir, "default"), 0o755); err != nil {
		t.Fatal(err)
	}
	source, err := schemas.Policy.ReadFile("policy/default/2019-10-15.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "default", "2019-10-15.yaml"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("2019-10-15\"", "2099-04-01\"", "change: initial", "change: related", "retention_days: 750", "retention_days: 700").Replace(string(source))
	if err := os.WriteFile(next, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, next
}

func TestPolicyCommands(t *testing.T) {
	dir, next := published(t)
	for _, args := range [][]string{
		{"check"},
		{"check", dir},
		{"diff", "default/2019-10-15", "default/2022-09-15"},
		{"diff", "--json", "default/2019-10-15", next},
		{"show", "--at", "2020-01-01", "--lang", "ja"},
		{"show", "--json"},
		{"show", "--dpv", "--policies", dir},
		{"publish", next, "--policies", dir, "--dry-run"},
		{"publish", next, "--policies", dir, "--lang", "ja"},
		{"show", "--policies", dir, "--at", "2099-05-01"},
	} {
		if err := runPolicy(t, args...); err != nil {
			t.Errorf("policy %s: %v", strings.Join(args, " "), err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "default", "2099-04-01.yaml")); err != nil {
		t.Error(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.MkdirAll(filepath.Join(bad, "default"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bad, "default", "2020-01-01.yaml"), []byte("id: default\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"is published already":                              {"publish", next, "--policies", dir},
		"name the directory":                                {"publish", next},
		"faults":                                            {"check", bad},
		"neither a published version nor a file":            {"diff", "default/2019-10-15", "default/1999-01-01"},
		"there is no policy other":                          {"show", "--id", "other"},
		"the first is default/2019-10-15":                   {"show", "--at", "2019-10-14"},
		"neither a date nor a timestamp":                    {"show", "--at", "yesterday"},
		"--json and --dpv":                                  {"show", "--json", "--dpv"},
		"load policy packs: default/2020-01-01.yaml:1: ":    {"show", "--policies", bad},
		"there is no policy pack":                           {"show", "--policies", t.TempDir()},
		"read policy pack " + filepath.Join(bad, "default"): {"diff", "default/2019-10-15", filepath.Join(bad, "default", "2020-01-01.yaml")},
	} {
		if err := runPolicy(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("policy %s: error %v does not say %q", strings.Join(args, " "), err, want)
		}
	}
}

func TestAFaultIsPrintedWithItsPlace(t *testing.T) {
	bad := t.TempDir()
	if err := os.MkdirAll(filepath.Join(bad, "default"), 0o755); err != nil {
		t.Fatal(err)
	}
	source, err := schemas.Policy.ReadFile("policy/default/2019-10-15.yaml")
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.NewReplacer("jp: notified, eu: notified, default: notified", "jp: consent, eu: notified, default: notified", "bit: 12", "bit: 11").Replace(string(source))
	if err := os.WriteFile(filepath.Join(bad, "default", "2019-10-15.yaml"), []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := checkPolicies(&out, os.DirFS(bad)); err == nil {
		t.Error("no fault")
	}
	for _, want := range []string{
		"default/2019-10-15.yaml:34: /purposes/0/basis/default: purpose contract_management: consent in jp is stricter than notified in default\n",
		"/purposes/12/bit: purpose inquiry_response takes bit 11 of research_invitation\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestADiffSaysWhatItDoesInBothLanguages(t *testing.T) {
	_, next := published(t)
	register, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	from, err := packNamed(register, "default/2019-10-15")
	if err != nil {
		t.Fatal(err)
	}
	to, err := packNamed(register, next)
	if err != nil {
		t.Fatal(err)
	}
	for lang, want := range map[string][]string{
		"en": {"[related] /categories/operation_log/retention_days", "is kept for 700 days instead of 750.", "Stored data that is older than the new period expires too.", "Consents and refusals stand.", "Nobody is asked again."},
		"ja": {"[関連のある変更]", "「操作の記録」の保存期間を750日から700日に縮めます。", "これまでの同意と拒否はそのまま有効です。", "改めて同意を求める目的はありません。"},
	} {
		var out bytes.Buffer
		printDiff(&out, policy.Compare(from, to), lang)
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%q is not in\n%s", text, out.String())
			}
		}
	}
}

func TestADayIsOneWhereThePolicyIs(t *testing.T) {
	register, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for day, want := range map[string]string{
		"": "default/2022-09-15", "2022-09-15": "default/2022-09-15", "2022-09-14": "default/2019-10-15", "2022-09-14T15:00:00Z": "default/2022-09-15",
	} {
		if p, err := inForce(register, "default", day, now); err != nil || p.Version != want {
			t.Errorf("on %q: %v, %v", day, p, err)
		}
	}
}

func TestAPackIsShownWithEveryHeading(t *testing.T) {
	register, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	p, _ := register.Version("default/2022-09-15")
	for lang, say := range words {
		var out bytes.Buffer
		printPack(&out, p, lang)
		for _, heading := range []string{"purposes", "categories", "processors", "recipients", "sent", "optout", "none", "denied"} {
			if say[heading] == "" || !strings.Contains(out.String(), say[heading]) {
				t.Errorf("%s: %q is not shown", lang, heading)
			}
		}
		for key := range words["en"] {
			if say[key] == "" {
				t.Errorf("%s has no %s", lang, key)
			}
		}
	}
}

func TestAJapaneseCharacterTakesTwoPlaces(t *testing.T) {
	var out bytes.Buffer
	printTable(&out, [][]string{{"目的", "x"}, {"abcdef", "y"}, {"ｱ", "z"}})
	if want := "  目的    x\n  abcdef  y\n  ｱ       z\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
