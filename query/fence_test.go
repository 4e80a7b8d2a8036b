package query_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/schemas"
)

// The fence around ClickHouse: what stands in this package and below it reads events through the planner and the gate,
// or not at all. It is held against the types of the program, so no name hides a read.

const module = "github.com/sekisho/sekisho/"

// gates are the functions that hand a statement, or a row, to the store. All of their statements are files in sql/,
// behind the gate or in tablesOf.
var gates = map[string]string{
	"(*Query).ready":     "SELECT 1",
	"(*Query).runPart":   "the planner's statements of a report",
	"(*Query).cover":     "the planner's statements of the coverage",
	"(*Query).readAudit": "sql/audit.sql",
	"(*Query).write":     "a record of the audit",
	"(*Query).look":      "the planner's statements of what decides about a release",
	"(*Query).keep":      "a release",
	"(*Query).book":      "what a release costs",

	// They hand look its statements.
	"(*Query).state":       "sql/state.sql",
	"(*Query).find":        "sql/release.sql",
	"(*Query).nearest":     "sql/neighbours.sql",
	"(*Query).ineffective": "sql/cohort.sql behind the gate",
	"(*Query).between":     "sql/difference.sql behind the gate",
	"(*Query).draw":        "sql/private.sql behind the gate",
	"(*Query).left":        "sql/spent.sql",

	// Package rollup tells which days' sums are true.
	"New":             "hands the store to package rollup",
	"(*Query).choose": "asks it",

	"(*Query).readSegments": "sql/segments.sql",
	"(*Query).writeSegment": "a segment",
}

// tablesOf are the statements that read a table without the gate: none of them holds an event.
var tablesOf = map[string][]string{
	"sql/audit.sql":           {"audit"},
	"sql/drops.sql":           {"event_drops"},
	"sql/segments.sql":        {"segments"},
	"sql/drop_series.sql":     {"event_drops"},
	"sql/consent.sql":         {"consent_acts"},
	"sql/consent_choices.sql": {"consent_acts"},
	"sql/spent.sql":           {"dp_budget"},
	"sql/release.sql":         {"releases"},
	"sql/neighbours.sql":      {"releases"},
	"sql/state.sql":           {"system"}, // which parts there are
}

// behind are the packages besides the gate that query rests on and that name a table of events or of subjects, and why
// nothing of a row gets from there to an answer.
var behind = map[string]string{
	"internal/clickhouse": "what the pipeline asks of its own rows; query may not call it",
	"internal/retention":  "removes what is too old; query may not call what does",
	"internal/rollup":     "builds sums behind the gate, and counts a day's rows to tell whether its sums are still true",
}

// outside are the packages that may talk to others over the network, and why.
var outside = map[string]string{
	"query/access": "the keys of the issuers of tokens",
}

// pkg is a package as go list tells of it.
type pkg struct {
	ImportPath, Dir, Export string
	GoFiles, Deps           []string
}

// fence is what the reading side is held against.
type fence struct {
	ours   []pkg // the reading side
	all    map[string]pkg
	tables []string
	used   map[string]bool // of gates
}

func newFence(t *testing.T) *fence {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Deps", module+"query/...")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	f := &fence{all: map[string]pkg{}, tables: tables(t), used: map[string]bool{}}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		f.all[p.ImportPath] = p
		if p.ImportPath == module+"query" || strings.HasPrefix(p.ImportPath, module+"query/") {
			f.ours = append(f.ours, p)
		}
	}
	if len(f.ours) < 3 {
		t.Fatalf("packages %v", f.ours)
	}
	return f
}

// tables are those of the schema.
func tables(t *testing.T) []string {
	t.Helper()
	var all []string
	made := regexp.MustCompile(`(?im)^CREATE (?:TABLE|(?:MATERIALIZED )?VIEW)(?: IF NOT EXISTS)? (\w+)`)
	err := fs.WalkDir(schemas.ClickHouse, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := schemas.ClickHouse.ReadFile(file)
		for _, m := range made.FindAllSubmatch(text, -1) {
			all = append(all, string(m[1]))
		}
		return err
	})
	if err != nil || !slices.Contains(all, "events") || !slices.Contains(all, "consent_masks") {
		t.Fatalf("tables %v, %v", all, err)
	}
	return all
}

// check reads a package and finds its types. more is one further file of it, if not empty.
func (f *fence) check(t *testing.T, p pkg, more string) ([]*ast.File, *types.Info) {
	t.Helper()
	files := token.NewFileSet()
	exports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		dep, known := f.all[path]
		if !known || dep.Export == "" {
			return nil, fmt.Errorf("%s is not among what query rests on", path)
		}
		return os.Open(dep.Export)
	})
	var parsed []*ast.File
	add := func(name string, source any) {
		file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	for _, name := range p.GoFiles {
		add(filepath.Join(p.Dir, name), nil)
	}
	if more != "" {
		add(filepath.Join(p.Dir, "more.go"), more)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: exports}
	if _, err := config.Check(p.ImportPath, files, parsed, info); err != nil {
		t.Fatalf("check types: %v", err)
	}
	return parsed, info
}

// around finds what reaches around the planner in a package. more is one further file of it, if not empty.
func (f *fence) around(t *testing.T, p pkg, more string) []string {
	t.Helper()
	var found []string
	room := strings.TrimPrefix(p.ImportPath, module)
	for _, dep := range p.Deps {
		if why := forbiddenImport(dep); why != "" {
			found = append(found, fmt.Sprintf("%s rests on %s: %s", room, strings.TrimPrefix(dep, module), why))
		}
	}
	parsed, info := f.check(t, p, more)
	for _, file := range parsed {
		found = append(found, f.aroundIn(room, file, info)...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// forbiddenImport says why the reading side may not rest on a package.
func forbiddenImport(dep string) string {
	for room, why := range map[string]string{
		module + "internal/pseudonym/open": "it opens seals",
		module + "internal/kafka":          "it reads the log of sealed events",
		module + "collector":               "another role",
		module + "pipeline":                "another role",
		module + "cmd":                     "the command",
	} {
		if dep == room || strings.HasPrefix(dep, room+"/") {
			return why
		}
	}
	return ""
}

// aroundIn finds, in one file, what reads without the planner.
func (f *fence) aroundIn(room string, file *ast.File, info *types.Info) []string {
	var found []string
	for _, spec := range file.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		switch {
		case slices.Contains([]string{"database/sql", "os/exec", "plugin", "unsafe", "net", "C"}, imported),
			strings.HasPrefix(imported, "github.com/ClickHouse/"), strings.Contains(imported, "ch-go"):
			found = append(found, fmt.Sprintf("%s imports %s", room, imported))
		}
	}
	inspect := func(where string, node ast.Node) {
		handed := func(e ast.Expr) {
			if value := info.Types[e]; value.IsValue() && reads(value.Type) {
				f.used[where] = true
				if gates[where] == "" {
					found = append(found, fmt.Sprintf("%s: %s hands the store on", room, where))
				}
			}
		}
		ast.Inspect(node, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				// Whoever is handed the store can read.
				for _, argument := range n.Args {
					handed(argument)
				}
			case *ast.CompositeLit:
				for _, element := range n.Elts {
					if pair, is := element.(*ast.KeyValueExpr); is {
						element = pair.Value
					}
					handed(element)
				}
			case *ast.Ident:
				object := info.Uses[n]
				if object == nil {
					return true
				}
				if reaches(object) {
					f.used[where] = true
					if gates[where] == "" {
						found = append(found, fmt.Sprintf("%s: %s uses %s", room, where, object.Name()))
					}
				}
				if calls(object) && outside[room] == "" {
					found = append(found, fmt.Sprintf("%s: %s calls out by http.%s", room, where, object.Name()))
				}
			}
			return true
		})
		for _, name := range f.strings(node, info) {
			found = append(found, fmt.Sprintf("%s: a string in %s names %s", room, where, name))
		}
	}
	for _, declared := range file.Decls {
		where := "a variable"
		if function, is := declared.(*ast.FuncDecl); is {
			where = function.Name.Name
			if function.Recv != nil {
				where = "(" + types.ExprString(function.Recv.List[0].Type) + ")." + where
			}
			if room != "query" {
				where = path.Base(room) + "." + where
			}
		}
		inspect(where, declared)
	}
	return found
}

// strings are the tables that the strings of a file name.
func (f *fence) strings(node ast.Node, info *types.Info) []string {
	var all []string
	ast.Inspect(node, func(n ast.Node) bool {
		if e, is := n.(ast.Expr); is {
			if value := info.Types[e].Value; value != nil && value.Kind() == constant.String {
				all = append(all, named(f.tables, constant.StringVal(value))...)
			}
		}
		return true
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// reaches reports whether an object is a function by which ClickHouse is reached: whatever package clickhouse does, and
// whatever method of whatever interface takes its limits, its columns, or scans its rows.
func reaches(object types.Object) bool {
	f, is := object.(*types.Func)
	if !is {
		return false
	}
	const home = module + "internal/clickhouse"
	signature := f.Signature()
	if f.Pkg() != nil && f.Pkg().Path() == home {
		return f.Name() != "Gather" && f.Name() != "Next" && f.Name() != "Scan" // Gather builds a column; Rows are behind Select
	}
	for parameter := range signature.Params().Variables() {
		text := types.TypeString(parameter.Type(), nil)
		if strings.Contains(text, home+".Limits") || strings.Contains(text, "[]"+home+".Column") || strings.HasPrefix(text, "func("+home+".Rows)") {
			return true
		}
	}
	return false
}

// reads reports whether a value of a type can read: whether a method of it is one by which ClickHouse is reached.
func reads(t types.Type) bool {
	methods := types.NewMethodSet(t)
	for method := range methods.Methods() {
		if reaches(method.Obj()) {
			return true
		}
	}
	return false
}

// calls reports whether an object is what sends a request over HTTP.
func calls(object types.Object) bool {
	if object.Pkg() == nil || object.Pkg().Path() != "net/http" {
		return false
	}
	name := object.Name()
	if f, is := object.(*types.Func); is && f.Signature().Recv() != nil {
		return name == "Do" || name == "RoundTrip" // of a client; Get, too, is a method of headers
	}
	return slices.Contains([]string{
		"Client", "DefaultClient", "Get", "Head", "Post", "PostForm", "Transport", "DefaultTransport", "RoundTripper", "NewRequest", "NewRequestWithContext",
	}, name)
}

var (
	from   = regexp.MustCompile("(?is)\\b(?:FROM|JOIN|INTO|TABLE|UPDATE|DESCRIBE)\\s+(?:[`\"]?(\\w+)[`\"]?\\.)?[`\"]?(\\w+|$|%|\\{)")
	remark = regexp.MustCompile(`(?m)--.*$`)
)

// named are the tables that a statement names. A statement that leaves the name to be filled in names what it likes.
func named(tables []string, sql string) []string {
	var all []string
	for _, m := range from.FindAllStringSubmatch(remark.ReplaceAllString(sql, ""), -1) {
		switch database, name := m[1], m[2]; {
		case name == "" || name == "%" || name == "{":
			all = append(all, "a table to be filled in")
		case database == "system" || database == "information_schema":
			all = append(all, database)
		case slices.Contains(tables, name):
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestNothingReachesAroundThePlanner(t *testing.T) {
	f := newFence(t)
	for _, p := range f.ours {
		for _, found := range f.around(t, p, "") {
			t.Error(found)
		}
	}
	for where := range gates {
		if !f.used[where] {
			t.Errorf("%s is among the gates, and reads nothing", where)
		}
	}
}

// A fence that stops nothing is none: each of these is a way around, and is found.
func TestTheFenceStopsWhatGoesAround(t *testing.T) {
	f := newFence(t)
	query := f.all[module+"query"]
	const read = "func(rows clickhouse.Rows) error { return nil }"
	head := func(imports ...string) string {
		text := "package query\n"
		for _, i := range imports {
			text += "import " + i + "\n"
		}
		return text
	}
	context, db, gin := `"context"`, `"`+module+`internal/clickhouse"`, `"github.com/gin-gonic/gin"`
	for name, tc := range map[string]struct{ source, want string }{
		"a handler that reads directly": {
			head(gin, db) + `func (q *Query) getRows(g *gin.Context) { _ = q.deps.Store.Select(g, "SELECT 1", nil, clickhouse.Limits{}, ` + read + `) }`,
			"query: (*Query).getRows uses Select",
		},
		"the store under another name": {
			head(context, db) + `type reader interface { Ask(context.Context, string, clickhouse.Limits) error }
				func peek(r reader) error { return r.Ask(nil, "SELECT 1", clickhouse.Limits{}) }`,
			"query: peek uses Ask",
		},
		"a method that is taken along": {
			head() + `func (q *Query) take() any { return q.deps.Store.Select }`,
			"query: (*Query).take uses Select",
		},
		"a variable that reads": {
			head(context, db) + `var one = func(q *Query) error { return clickhouse.One(context.Background(), q.deps.Store, "SELECT 1", nil) }`,
			"query: a variable uses One",
		},
		"a connection of its own": {
			head(context, db) + `func dial() { _, _ = clickhouse.Open(context.Background(), "") }`,
			"query: dial uses Open",
		},
		"a row that is no record": {
			head(context, db) + `func (q *Query) put() error { return q.deps.Store.Insert(context.Background(), "events", "", []clickhouse.Column{}) }`,
			"query: (*Query).put uses Insert",
		},
		"a function named like one of the list": {
			head(db) + `func runPart(q *Query) error { return q.deps.Store.Select(nil, "", nil, clickhouse.Limits{}, nil) }`,
			"query: runPart uses Select",
		},
		"a store that is handed on": {
			head(db) + `func lend(q *Query) any { return any(q.deps.Store) }
				func (q *Query) keepIt() any { return struct{ s clickhouse.Selector }{q.deps.Store} }`,
			"query: (*Query).keepIt hands the store on",
		},
		"a request over HTTP": {
			head(`"net/http"`) + `func fetch() { _, _ = http.Get("http://127.0.0.1:8123/?query=SELECT+1") }`,
			"query: fetch calls out by http.Get",
		},
		"another driver":            {head(`_ "net"`), "query imports net"},
		"a statement in a string":   {head() + "const s = `SELECT count()\n  FROM events`", "query: a string in a variable names events"},
		"one that is put together":  {head() + `func s() string { return "SELECT 1 FR" + "OM " + "events" }`, "query: a string in s names events"},
		"one with another database": {head() + "func s() string { return \"SELECT 1 FROM default.`consent_masks`\" }", "query: a string in s names consent_masks"},
		"one to be filled in":       {head() + `func s(t string) string { return "SELECT 1 FROM " + t }`, "query: a string in s names a table to be filled in"},
		"one that is printed":       {head(`"fmt"`) + `func s(t string) string { return fmt.Sprintf("SELECT 1 FROM %s", t) }`, "query: a string in s names a table to be filled in"},
		"the system's tables":       {head() + `const s = "SELECT query FROM system.query_log"`, "query: a string in a variable names system"},
	} {
		t.Run(name, func(t *testing.T) {
			if found := f.around(t, query, tc.source); !slices.Contains(found, tc.want) {
				t.Errorf("found %q, want %q", found, tc.want)
			}
		})
	}
	for _, dep := range []string{"internal/pseudonym/open", "internal/kafka", "collector", "pipeline", "pipeline/x"} {
		if forbiddenImport(module+dep) == "" {
			t.Errorf("query may rest on %s", dep)
		}
	}
	if forbiddenImport(module+"internal/pseudonym") != "" || forbiddenImport(module+"internal/policy") != "" {
		t.Error("what is not forbidden is")
	}
}

func TestOnlyTheGateNamesEvents(t *testing.T) {
	known := tables(t)
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) != ".sql" {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		seen[file] = true
		for _, name := range named(known, string(text)) {
			if !slices.Contains(tablesOf[file], name) {
				t.Errorf("%s names %s", file, name)
			}
		}
		return nil
	})
	if err != nil || len(seen) < 20 {
		t.Errorf("%d statements, %v", len(seen), err)
	}
	for file := range tablesOf {
		if !seen[file] {
			t.Errorf("%s is not there", file)
		}
	}
	f := newFence(t)
	for _, p := range f.all {
		room := strings.TrimPrefix(p.ImportPath, module)
		if !strings.HasPrefix(room, "internal/") || behind[room] != "" {
			continue
		}
		parsed, info := f.check(t, p, "")
		for _, file := range parsed {
			for _, name := range f.strings(file, info) {
				if slices.Contains(known, name) {
					t.Errorf("%s names %s", room, name)
				}
			}
		}
	}
	// The gate itself: what it reads besides events says what to leave out.
	text, err := os.ReadFile("../internal/gate/gate.sql")
	if err != nil {
		t.Fatal(err)
	}
	if got := named(known, string(text)); !slices.Equal(got, []string{"consent_masks", "events"}) {
		t.Errorf("the gate names %v", got)
	}
	if got := cmp.Or(len(named(known, "-- FROM events\nSELECT 1")), len(named(known, "SELECT eventsX FROM permitted"))); got != 0 {
		t.Error("a remark is taken for a read")
	}
}
