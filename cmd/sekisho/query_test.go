package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/query/access"
)

func TestAKeyIsMadeForRoles(t *testing.T) {
	cfg := &config.Config{Data: t.TempDir()}
	for _, tc := range []struct {
		args  []string
		roles []access.Role // nil: it is refused
	}{
		{[]string{"--purpose=usage_based_development", "--site=shop"}, []access.Role{access.Analyst}},
		{[]string{"--role=analyst", "--role=exporter", "--purpose=usage_based_development", "--site=shop"}, []access.Role{access.Analyst, access.Exporter}},
		{[]string{"--role=auditor", "--site=shop"}, []access.Role{access.Auditor}},
		{[]string{"--role=auditor", "--role=officer", "--site=shop"}, nil},
		{[]string{"--site=shop"}, nil},
		{[]string{"--role=admin", "--purpose=usage_based_development", "--site=shop"}, nil},
		{[]string{"--purpose=usage_based_growth", "--site=shop"}, nil},
		{[]string{"--role=auditor", "--site=shoop"}, nil},
	} {
		var k keyCreate
		parser, err := kong.New(&k, kong.Exit(func(int) { t.Fatal("exit") }))
		if err != nil {
			t.Fatal(err)
		}
		before, err := access.Keys(filepath.Join(cfg.Data, "grants.json"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = parser.Parse(append(tc.args, "--name=test"))
		if err == nil {
			err = k.Run(cfg)
		}
		after, fault := access.Keys(filepath.Join(cfg.Data, "grants.json"))
		if fault != nil {
			t.Fatal(fault)
		}
		switch {
		case tc.roles == nil && (err == nil || len(after) != len(before)):
			t.Errorf("%v: made", tc.args)
		case tc.roles != nil && (err != nil || len(after) != len(before)+1 || !slices.Equal(after[len(after)-1].Roles, tc.roles)):
			t.Errorf("%v: %v, %+v", tc.args, err, after)
		}
	}
}
