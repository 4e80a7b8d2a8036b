// Package layout holds the import rules of the house (docs/ARCHITECTURE.md).
package layout

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/sekisho/sekisho/"

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// in reports whether a package is the room or lies inside it.
func in(path, room string) bool {
	return path == module+room || strings.HasPrefix(path, module+room+"/")
}

func TestTheRolesNeverImportEachOther(t *testing.T) {
	roles := []string{"collector", "pipeline", "query"}
	for _, p := range packages(t) {
		for _, role := range roles {
			if !in(p.ImportPath, role) {
				continue
			}
			for _, i := range p.Imports {
				for _, other := range roles {
					if other != role && in(i, other) {
						t.Errorf("%s imports %s", p.ImportPath, i)
					}
				}
			}
		}
	}
}

func TestOnlyThePipelineAndTheCommandOpenSeals(t *testing.T) {
	for _, p := range packages(t) {
		if in(p.ImportPath, "pipeline") || in(p.ImportPath, "cmd") || in(p.ImportPath, "internal/pseudonym/open") {
			continue
		}
		for _, i := range p.Imports {
			if in(i, "internal/pseudonym/open") {
				t.Errorf("%s imports the opening half", p.ImportPath)
			}
		}
	}
}

func TestAClientLibraryHasOneHome(t *testing.T) {
	homes := map[string][]string{
		"github.com/cedar-policy/cedar-go":       {"query/access"},
		"github.com/coreos/go-oidc/v3":           {"query/access"},
		"github.com/parquet-go/parquet-go":       {"query/format"},
		"github.com/segmentio/kafka-go":          {"internal/kafka"},
		"github.com/ClickHouse/clickhouse-go/v2": {"internal/clickhouse", "internal/embedded/chdb"},
		"github.com/gin-gonic/gin":               {"collector", "query", "internal/httpx", "bench"},
		"github.com/oschwald/geoip2-golang/v2":   {"internal/enrich"},
		"github.com/twmb/franz-go/pkg/kfake":     {"internal/embedded/broker"},
	}
	for _, p := range packages(t) {
		for _, i := range p.Imports {
			for library, rooms := range homes {
				if i != library && !strings.HasPrefix(i, library+"/") {
					continue
				}
				home := false
				for _, room := range rooms {
					home = home || in(p.ImportPath, room)
				}
				if !home {
					t.Errorf("%s imports %s, whose home is %v", p.ImportPath, i, rooms)
				}
			}
		}
	}
}

func TestCoreImportsTheStandardLibraryOnly(t *testing.T) {
	for _, p := range packages(t) {
		if !in(p.ImportPath, "internal/core") {
			continue
		}
		for _, i := range p.Imports {
			if strings.Contains(strings.Split(i, "/")[0], ".") {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}
