package access

import (
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/core"
)

// desk is a guard over a file of keys.
func desk(t *testing.T) (*Guard, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "grants.json")
	g, err := New(Config{Keys: file}, slog.New(slog.DiscardHandler), now)
	if err != nil {
		t.Fatal(err)
	}
	return g, file
}

func create(t *testing.T, file string, grant Grant) string {
	t.Helper()
	key, err := CreateKey(file, "test", grant, rand.Reader, noon)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAKeyIsItsGrant(t *testing.T) {
	g, file := desk(t)
	grant := Grant{Roles: []Role{Exporter, Analyst}, Sites: []string{"shop"}, Purposes: []string{"development"}}
	key := create(t, file, grant)
	caller, err := g.Authenticate(t.Context(), "bearer "+key)
	if err != nil {
		t.Fatal(err)
	}
	if caller.ID != key[3:11] || caller.Kind != KindKey || !reflect.DeepEqual(caller.Grants, []Grant{grant}) {
		t.Errorf("%+v", caller)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), key[12:]) {
		t.Error("the file holds the key")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAKeyWithoutRolesIsAnAnalysts(t *testing.T) {
	g, file := desk(t)
	key := create(t, file, Grant{Sites: []string{"shop"}, Purposes: []string{"development"}})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roles := "      \"roles\": [\n        \"analyst\"\n      ],\n"
	if !strings.Contains(string(text), roles) {
		t.Fatalf("the role is not written: %s", text)
	}
	// As it was written before there were roles.
	write(t, file, strings.Replace(string(text), roles, "", 1))
	caller, err := g.Authenticate(t.Context(), "Bearer "+key)
	if err != nil {
		t.Fatal(err)
	}
	decides(t, g.Allow(caller, reading(Read)), "", "")
	decides(t, g.Allow(caller, reading(Export)), core.CodeForbidden, "format")
	if keys, err := Keys(file); err != nil || len(keys) != 1 || !reflect.DeepEqual(keys[0].Roles, []Role{Analyst}) {
		t.Errorf("%+v, %v", keys, err)
	}
	write(t, file, strings.Replace(string(text), roles, `"roles": [],`, 1))
	if caller, err = g.Authenticate(t.Context(), "Bearer "+key); err != nil {
		t.Fatal(err)
	}
	decides(t, g.Allow(caller, reading(Read)), core.CodeForbidden, "")
}

func TestAKeyForAuditingNeedsNoPurpose(t *testing.T) {
	g, file := desk(t)
	key := create(t, file, Grant{Roles: []Role{Auditor}, Sites: []string{"shop"}})
	caller, err := g.Authenticate(t.Context(), "Bearer "+key)
	if err != nil {
		t.Fatal(err)
	}
	decides(t, g.Allow(caller, reading(Audit)), "", "")
	decides(t, g.Allow(caller, reading(Read)), core.CodePurposeDenied, "purpose")
	for name, grant := range map[string]Grant{
		"an auditor who reads, too": {Roles: []Role{Auditor, Analyst}, Sites: []string{"shop"}},
		"an analyst":                {Sites: []string{"shop"}},
		"no site":                   {Roles: []Role{Auditor}},
		"a role there is not":       {Roles: []Role{"admin"}, Sites: []string{"shop"}, Purposes: []string{"development"}},
	} {
		if _, err := CreateKey(file, "test", grant, rand.Reader, noon); err == nil {
			t.Errorf("%s: there is a key", name)
		}
	}
	if _, err := CreateKey(file, "", Grant{Sites: []string{"shop"}, Purposes: []string{"development"}}, rand.Reader, noon); err == nil {
		t.Error("a key without a name")
	}
}

func TestARevokedKeyOpensNothing(t *testing.T) {
	g, file := desk(t)
	grant := Grant{Sites: []string{"shop"}, Purposes: []string{"development"}}
	gone, kept := create(t, file, grant), create(t, file, grant)
	if _, err := g.Authenticate(t.Context(), "Bearer "+gone); err != nil {
		t.Fatal(err)
	}
	if err := RevokeKey(file, gone[3:11]); err != nil {
		t.Fatal(err)
	}
	_, err := g.Authenticate(t.Context(), "Bearer "+gone)
	wants(t, err, core.CodeUnauthenticated, "Authorization")
	if _, err := g.Authenticate(t.Context(), "Bearer "+kept); err != nil {
		t.Errorf("another key: %v", err)
	}
	if err := RevokeKey(file, "ffffffff"); err == nil {
		t.Error("a key that is not there is revoked")
	}
}

func TestAStrangerHearsNothingOfWhy(t *testing.T) {
	g, file := desk(t)
	key := create(t, file, Grant{Sites: []string{"shop"}, Purposes: []string{"development"}})
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Basic " + key, key, "Bearer  " + key, "Bearer " + key + " ", "Bearer " + key + "A", "Bearer " + key[:len(key)-1],
		"Bearer " + key[:12] + strings.Repeat("A", 43), "Bearer sk_00000000_" + strings.Repeat("A", 43), "Bearer " + strings.ToUpper(key), "Bearer sk_", "Bearer a.b.c",
	} {
		if _, err := g.Authenticate(t.Context(), header); err != errUnauthenticated { //nolint:errorlint // the very same answer
			t.Errorf("%q: %v", header, err)
		}
	}
}

func TestKeysThatAreNotUnderstoodOpenNothing(t *testing.T) {
	g, file := desk(t)
	key := create(t, file, Grant{Sites: []string{"shop"}, Purposes: []string{"development"}})
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{
		"", "{", `{"keys":[{"id":"canary"}]}`, `{"keys":[],"more":1}`, `{"keys":[]}{}`,
		strings.Replace(string(sound), "analyst", "admin", 1),
		strings.Replace(string(sound), `"keys": [`, `"keys": [`+strings.TrimSuffix(strings.TrimSpace(string(sound[strings.Index(string(sound), "[")+1:])), "]\n}")+",", 1),
	} {
		write(t, file, broken)
		_, err := g.Authenticate(t.Context(), "Bearer "+key)
		wants(t, err, core.CodeUnavailable, "")
		if err := g.Ready(); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("ready: %v", err)
		}
		if _, err := CreateKey(file, "test", Grant{Sites: []string{"shop"}, Purposes: []string{"development"}}, rand.Reader, noon); err == nil {
			t.Error("a key is added to what is not understood")
		}
	}
	write(t, file, string(sound))
	if _, err := g.Authenticate(t.Context(), "Bearer "+key); err != nil {
		t.Errorf("mended: %v", err)
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"id":"00000000","name":"n","hash":"` + strings.Repeat("0", 64) + `","roles":["auditor"],"purposes":[],"sites":["shop"],"created":"2026-11-05T12:00:00Z"}]}`))
	f.Add([]byte(`{"keys":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parseKeys(data)
		if err != nil {
			return
		}
		for _, k := range d.Keys {
			if !hashForm.MatchString(k.Hash) || known(k.Roles) != nil {
				t.Errorf("%+v", k)
			}
		}
	})
}
