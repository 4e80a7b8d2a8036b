package access

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/core"
)

var noon = time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)

func now() time.Time { return noon }

// guard makes a guard whose policies are the text; empty: those that ship. The log comes with it.
func guard(t *testing.T, text string) (*Guard, string, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	config := Config{Keys: filepath.Join(dir, "grants.json")}
	if text != "" {
		config.Policies = filepath.Join(dir, "own.cedar")
		write(t, config.Policies, text)
	}
	var log bytes.Buffer
	g, err := New(config, slog.New(slog.NewTextHandler(&log, nil)), now)
	if err != nil {
		t.Fatal(err)
	}
	return g, config.Policies, &log
}

// write replaces a file, as an editor does.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+"~", file); err != nil {
		t.Fatal(err)
	}
}

// wants holds an error against a code and a field. No code: there is to be none.
func wants(t *testing.T, err error, code core.Code, field string) {
	t.Helper()
	var e *core.Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("error %v is none of core's", err)
	}
	decides(t, e, code, field)
}

// decides is wants of a decision.
func decides(t *testing.T, got *core.Error, code core.Code, field string) {
	t.Helper()
	if code == "" {
		if got != nil {
			t.Errorf("denied: %v", got)
		}
		return
	}
	if got == nil || got.Code != code || got.Field != field || got.Message == "" {
		t.Errorf("error %v, want %s at %q", got, code, field)
	}
}

func reading(action Action) Request {
	r := Request{
		Action: action, Report: "pages", Site: "shop", Jurisdiction: "jp", Purpose: "development", Basis: core.Consent,
		Policy: "default/2022-09-15", Categories: core.SetOf(core.PageViewHistory, core.UsageTime),
	}
	if !action.forPurpose() {
		r.Report, r.Purpose, r.Basis, r.Categories = string(action), "", core.NoBasis, 0
	}
	return r
}

func TestARoleDoesWhatItIsFor(t *testing.T) {
	g, _, _ := guard(t, "")
	does := map[Role][]Action{Analyst: {Read, Segments}, Exporter: {Export}, Officer: {Release}, Auditor: {Audit}}
	for _, role := range Roles() {
		caller := &Caller{ID: "c", Kind: KindKey, Grants: []Grant{{Roles: []Role{role}, Sites: []string{"shop"}, Purposes: []string{"development"}}}}
		for _, action := range Actions() {
			err := g.Allow(caller, reading(action))
			if slices.Contains(does[role], action) {
				decides(t, err, "", "")
				continue
			}
			field := ""
			if action == Export {
				field = "format"
			}
			decides(t, err, core.CodeForbidden, field)
		}
	}
}

func TestARefusalSaysWhatIsMissing(t *testing.T) {
	g, _, _ := guard(t, "")
	all := Grant{Roles: Roles(), Sites: []string{"shop"}, Purposes: []string{"development"}}
	for name, tc := range map[string]struct {
		grants []Grant
		change func(*Request)
		code   core.Code
		field  string
	}{
		"nothing":               {[]Grant{all}, func(*Request) {}, "", ""},
		"no grant":              {nil, func(*Request) {}, core.CodeForbidden, "site"},
		"another site":          {[]Grant{all}, func(r *Request) { r.Site = "other" }, core.CodeForbidden, "site"},
		"no site":               {[]Grant{all}, func(r *Request) { r.Site = "" }, core.CodeForbidden, "site"},
		"another purpose":       {[]Grant{all}, func(r *Request) { r.Purpose = "support" }, core.CodePurposeDenied, "purpose"},
		"no purpose":            {[]Grant{all}, func(r *Request) { r.Purpose = "" }, core.CodePurposeMissing, "purpose"},
		"no basis":              {[]Grant{all}, func(r *Request) { r.Basis = core.NoBasis }, core.CodePurposeDenied, "purpose"},
		"an action there isn't": {[]Grant{all}, func(r *Request) { r.Action = "delete" }, core.CodeForbidden, ""},
		"no role":               {[]Grant{{Sites: all.Sites, Purposes: all.Purposes}}, func(*Request) {}, core.CodeForbidden, ""},
		"grants that would have to add up": {
			[]Grant{
				{Roles: []Role{Analyst}, Sites: []string{"shop"}, Purposes: []string{"support"}},
				{Roles: []Role{Analyst}, Sites: []string{"other"}, Purposes: []string{"development"}},
			},
			func(*Request) {}, core.CodePurposeDenied, "purpose",
		},
		"a role held elsewhere": {
			[]Grant{
				{Roles: []Role{Auditor}, Sites: []string{"shop"}, Purposes: []string{"development"}},
				{Roles: []Role{Analyst}, Sites: []string{"other"}, Purposes: []string{"development"}},
			},
			func(*Request) {}, core.CodeForbidden, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := reading(Read)
			tc.change(&r)
			err := g.Allow(&Caller{ID: "c", Kind: KindOIDC, Grants: tc.grants}, r)
			decides(t, err, tc.code, tc.field)
			if err != nil && err.Code == core.CodeForbidden && err.Field == "" && r.Action == Read && err.Message != refusals[Read] {
				t.Errorf("it says %q", err.Message)
			}
		})
	}
}

// plain is the rule, said again without Cedar: one grant has the site, the purpose and a role for the action, and the
// purpose has a basis.
func plain(grants []Grant, r Request) bool {
	role := map[Action]Role{Read: Analyst, Segments: Analyst, Export: Exporter, Release: Officer, Audit: Auditor}[r.Action]
	for _, g := range grants {
		if !slices.Contains(g.Sites, r.Site) || !slices.Contains(g.Roles, role) {
			continue
		}
		if r.Action == Audit || r.Action == Segments || slices.Contains(g.Purposes, r.Purpose) && r.Basis != core.NoBasis {
			return true
		}
	}
	return false
}

func drawGrants(t *rapid.T) []Grant {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Grant {
		return Grant{
			Roles:    rapid.SliceOfDistinct(rapid.SampledFrom(Roles()), rapid.ID).Draw(t, "roles"),
			Sites:    rapid.SliceOfDistinct(rapid.SampledFrom([]string{"shop", "other", "third"}), rapid.ID).Draw(t, "sites"),
			Purposes: rapid.SliceOfDistinct(rapid.SampledFrom([]string{"development", "support", "ads"}), rapid.ID).Draw(t, "purposes"),
		}
	}), 0, 4).Draw(t, "grants")
}

func drawRequest(t *rapid.T) Request {
	r := reading(rapid.SampledFrom(Actions()).Draw(t, "action"))
	r.Site = rapid.SampledFrom([]string{"shop", "other", "third", "", `"; permit`}).Draw(t, "site")
	r.Basis = core.Basis(rapid.Uint8Range(0, 5).Draw(t, "basis")) // 4 and 5 are no bases
	r.Categories = core.CategorySet(rapid.Uint64().Draw(t, "categories"))
	r.Sensitive = rapid.Bool().Draw(t, "sensitive")
	r.Report = rapid.SampledFrom([]string{"pages", "overview", "audit"}).Draw(t, "report")
	if r.Action.forPurpose() {
		r.Purpose = rapid.SampledFrom([]string{"development", "support", "ads", ""}).Draw(t, "purpose")
	}
	return r
}

func TestThePoliciesThatShipAreThePlainRule(t *testing.T) {
	g, _, log := guard(t, "")
	shipped, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	allowed := 0
	rapid.Check(t, func(t *rapid.T) {
		grants, r := drawGrants(t), drawRequest(t)
		if r.Basis > core.Consent {
			r.Basis = core.NoBasis
		}
		caller := &Caller{ID: "c", Kind: KindKey, Grants: grants}
		want := plain(grants, r)
		if got := g.Allow(caller, r) == nil; got != want {
			t.Fatalf("allowed %v, the plain rule says %v: %+v %+v", got, want, grants, r)
		}
		// The policies by themselves, without what the code sees to before: for each grant alone.
		if got := slices.ContainsFunc(grants, func(one Grant) bool {
			ok, _, fault := shipped.decide(caller, []Grant{one}, r)
			return ok && fault == nil
		}); got != want {
			t.Fatalf("the policies allow %v, the plain rule says %v: %+v %+v", got, want, grants, r)
		}
		if want {
			allowed++
		}
	})
	if allowed == 0 {
		t.Error("nothing was allowed: nothing is proven")
	}
	if log.Len() > 0 {
		t.Errorf("policies failed: %s", log)
	}
}

func TestNoPolicyWidensAGrant(t *testing.T) {
	g, _, _ := guard(t, "permit (principal, action, resource);")
	allowed := 0
	rapid.Check(t, func(t *rapid.T) {
		grants, r := drawGrants(t), drawRequest(t)
		everything := slices.Clone(grants)
		for i := range everything {
			everything[i].Roles = Roles()
		}
		got := g.Allow(&Caller{ID: "c", Kind: KindKey, Grants: grants}, r) == nil
		if got && !plain(everything, r) {
			t.Fatalf("allowed: %+v %+v", grants, r)
		}
		if got {
			allowed++
		}
	})
	if allowed == 0 {
		t.Error("nothing was allowed: nothing is proven")
	}
}

func TestABasisThatIsNoneIsNoBasis(t *testing.T) {
	g, _, _ := guard(t, "")
	r := reading(Read)
	r.Basis = 200
	decides(t, g.Allow(&Caller{ID: "c", Grants: []Grant{{Roles: Roles(), Sites: []string{"shop"}, Purposes: []string{"development"}}}}, r), core.CodeForbidden, "")
}

var holder = &Caller{ID: "c", Kind: KindOIDC, Grants: []Grant{{Roles: []Role{Analyst, Exporter}, Sites: []string{"shop"}, Purposes: []string{"development"}}}}

func TestAForbidWinsAndSpeaks(t *testing.T) {
	for name, tc := range map[string]struct{ forbid, message string }{
		"with a message": {
			`@message("Exports of search terms go through the data office") forbid (principal, action == Action::"export", resource) when { resource.categories.contains("usage_time") };`,
			"Exports of search terms go through the data office",
		},
		"without":         {`forbid (principal, action == Action::"export", resource in Site::"shop");`, "a policy forbids it"},
		"for one person":  {`forbid (principal == Caller::"c", action == Action::"export", resource);`, "a policy forbids it"},
		"for people":      {`forbid (principal, action == Action::"export", resource) when { principal.kind == "oidc" };`, "a policy forbids it"},
		"the first of it": {`@message("one") forbid (principal, action == Action::"export", resource);` + "\n" + `@message("two") forbid (principal, action, resource) when { resource.report == "pages" && context == {} && !resource.sensitive && resource.basis == "consent" };`, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			g, _, _ := guard(t, "permit (principal, action, resource);\n"+tc.forbid)
			err := g.Allow(holder, reading(Export))
			decides(t, err, core.CodeForbidden, "format")
			if err == nil || !strings.HasSuffix(err.Error(), tc.message) {
				t.Errorf("it says %v", err)
			}
		})
	}
}

func TestBrokenPoliciesKeepTheServiceFromStarting(t *testing.T) {
	for name, text := range map[string]string{
		"no Cedar":                    "permit everything",
		"nothing":                     "// later",
		"cut off":                     `permit (principal, action, resource) when { resource.si`,
		"an attribute there is not":   `forbid (principal, action, resource) when { resource.purposes == "ads" };`,
		"a role there is not":         `permit (principal in Role::"analysts", action, resource);`,
		"such a role in a condition":  `permit (principal, action, resource) unless { principal in Role::"auditer" };`,
		"such a role among others":    `permit (principal, action, resource) unless { principal in [Role::"auditor", Role::"auditer"] };`,
		"an action there is not":      `permit (principal, action == Action::"write", resource);`,
		"a comparison that may fail":  `forbid (principal, action, resource) when { resource.site > 3 };`,
		"a type there is not":         `permit (principal is User, action, resource);`,
		"an optional that is not one": `permit (principal, action, resource) when { context.ip == "" };`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "own.cedar")
			write(t, file, text)
			if _, err := New(Config{Keys: file + ".json", Policies: file}, slog.New(slog.DiscardHandler), now); err == nil {
				t.Error("it starts")
			}
		})
	}
	if _, err := New(Config{Keys: "grants.json", Policies: filepath.Join(t.TempDir(), "gone.cedar")}, slog.New(slog.DiscardHandler), now); err == nil {
		t.Error("it starts without the file that it was told to read")
	}
	if _, err := New(Config{}, slog.New(slog.DiscardHandler), now); err == nil {
		t.Error("it starts without a file of keys")
	}
}

func TestAChangedPolicyCountsAtOnceAndABrokenOneDenies(t *testing.T) {
	const open = "permit (principal, action, resource);"
	g, file, log := guard(t, open)
	decides(t, g.Allow(holder, reading(Read)), "", "")

	write(t, file, `permit (principal, action == Action::"export", resource);`)
	decides(t, g.Allow(holder, reading(Read)), core.CodeForbidden, "")
	decides(t, g.Allow(holder, reading(Export)), "", "")
	if log.Len() > 0 {
		t.Errorf("a sound change is complained about: %s", log)
	}

	for _, broken := range []string{"permit (", `permit (principal, action, resource) when { resource.nothing };`} {
		log.Reset()
		write(t, file, broken)
		for range 3 {
			decides(t, g.Allow(holder, reading(Export)), core.CodeUnavailable, "")
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines are logged: %s", n, log)
		}
		if g.Ready() == nil {
			t.Error("it is ready")
		}
	}

	log.Reset()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		decides(t, g.Allow(holder, reading(Export)), core.CodeUnavailable, "")
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines are logged: %s", n, log)
	}

	write(t, file, open)
	decides(t, g.Allow(holder, reading(Read)), "", "")
	if err := g.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

// Cedar skips a policy that fails. The schema keeps most of them out; an overflow is found only when it happens.
func TestAPolicyThatFailsDenies(t *testing.T) {
	g, _, log := guard(t, `permit (principal, action, resource);
forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 && resource.site == "canary" };`)
	decides(t, g.Allow(holder, reading(Read)), core.CodeForbidden, "")
	if !strings.Contains(log.String(), "line 2") {
		t.Errorf("the log does not say where: %s", log)
	}
}

func BenchmarkAllow(b *testing.B) {
	g, err := New(Config{Keys: filepath.Join(b.TempDir(), "grants.json")}, slog.New(slog.DiscardHandler), now)
	if err != nil {
		b.Fatal(err)
	}
	r := reading(Read)
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Allow(holder, r); err != nil {
			b.Fatal(err)
		}
	}
}
