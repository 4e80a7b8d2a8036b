// Package grafana holds the example dashboards against the query service: whatever they ask for is a request that it
// answers, and whatever they show is in the answer.
package grafana

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
	"github.com/sekisho/sekisho/query/access"
	"github.com/sekisho/sekisho/schemas"
)

var languages = []string{"en", "ja"}

// target is a request of the Infinity data source, and what it takes out of the answer.
type target struct {
	Type, Source, Parser, Format, URL string
	Datasource                        reference
	Options                           struct {
		Method string
		Params []struct{ Key, Value string }
	} `json:"url_options"`
	Root    string `json:"root_selector"`
	Columns []struct{ Selector, Text, Type string }
}

type reference struct{ Type, UID string }

type dashboard struct {
	UID, Title, Description string
	Panels                  []struct {
		Title      string
		Datasource reference
		Targets    []target
	}
	Templating struct {
		List []struct {
			Name, Label string
			Datasource  reference
			Query       struct {
				Infinity target `json:"infinityQuery"`
			}
		}
	}
}

func read(t *testing.T, language string) dashboard {
	t.Helper()
	data, err := os.ReadFile("dashboards/sekisho-" + language + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// targets are all requests of a dashboard, by what they are for.
func (d dashboard) targets() map[string]target {
	all := map[string]target{}
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			all[p.Title] = t
		}
	}
	for _, v := range d.Templating.List {
		all["variable "+v.Name] = v.Query.Infinity
	}
	return all
}

// filled are what Grafana puts in the place of its variables.
var filled = strings.NewReplacer(
	"${site}", "shop", "${purpose}", "usage_based_development",
	"${__from:date:YYYY-MM-DD}", "2026-11-01", "${__to:date:YYYY-MM-DD}", "2026-11-25",
)

// request is what the data source sends, less the key.
func (g target) request(ctx context.Context, more ...string) *http.Request {
	values := url.Values{}
	for _, p := range g.Options.Params {
		values.Add(p.Key, filled.Replace(p.Value))
	}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return httptest.NewRequestWithContext(ctx, g.Options.Method, g.URL+"?"+values.Encode(), nil)
}

// empty is a store in which nothing is.
type empty struct{}

func (empty) Select(context.Context, string, map[string]string, clickhouse.Limits, func(clickhouse.Rows) error) error {
	return nil
}
func (empty) Insert(context.Context, string, string, []clickhouse.Column) error { return nil }

// service is the query service itself, and a key of one site and one purpose.
func service(t *testing.T) (h http.Handler, key string) {
	t.Helper()
	sites, err := site.Parse([]byte(`sites: [{id: shop, name: Shop, time_zone: Asia/Tokyo, jurisdiction: jp, policy: default, origins: ["http://localhost:8090"]}]`))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	grants := filepath.Join(t.TempDir(), "grants.json")
	key, err = access.CreateKey(grants, "grafana", access.Grant{Purposes: []string{"usage_based_development"}, Sites: []string{"shop"}}, rand.Reader, now)
	if err != nil {
		t.Fatal(err)
	}
	q, err := query.New(query.Config{Grants: grants, Exact: true}, query.Deps{
		Store: empty{}, Sites: sites, Policies: policies, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Random: rand.Reader, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return q.Handler(), key
}

func ask(t *testing.T, h http.Handler, key string, r *http.Request, into any) {
	t.Helper()
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("%s: %d %s", r.URL, w.Code, w.Body)
		return
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Errorf("%s: %v", r.URL, err)
	}
}

func TestTheServiceAnswersWhateverADashboardAsks(t *testing.T) {
	contract := testkit.ReadContract(t, "query.v1.yaml")
	h, key := service(t)
	var catalogue query.Catalogue
	ask(t, h, key, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/catalogue", nil), &catalogue)
	for _, language := range languages {
		all := read(t, language).targets()
		if len(all) < 10 {
			t.Fatalf("%s: %d requests", language, len(all))
		}
		for name, g := range all {
			if g.Type != "json" || g.Source != "url" || g.Parser != "backend" || g.Format != "table" || g.Options.Method != http.MethodGet || !strings.HasPrefix(g.URL, "/v1/") {
				t.Errorf("%s: %+v is no request of the query service", name, g)
			}
			if err := contract.Permits(g.request(t.Context())); err != nil {
				t.Errorf("%s: the contract does not permit it: %v", name, err)
			}
			if strings.Contains(g.request(t.Context()).URL.String(), "$") {
				t.Errorf("%s: a variable is not known: %v", name, g.Options.Params)
			}
			report, isReport := strings.CutPrefix(g.URL, "/v1/reports/")
			if !isReport {
				continue
			}
			ask(t, h, key, g.request(t.Context(), "explain", "true"), &struct{}{})
			i := slices.IndexFunc(catalogue.Reports, func(r query.ReportEntry) bool { return r.Name == report })
			if i < 0 {
				t.Errorf("%s: there is no report %s", name, report)
				continue
			}
			for _, c := range g.Columns {
				if g.Root == "rows" && !slices.ContainsFunc(catalogue.Reports[i].Columns, func(have query.Column) bool { return have.Name == c.Selector }) {
					t.Errorf("%s: %s has no column %s", name, report, c.Selector)
				}
			}
		}
	}
}

// condition is a filter in a JSONata path.
var condition = regexp.MustCompile(`\[[^]]*\]`)

// schemaOf walks down a schema by property names, through arrays.
func schemaOf(s *openapi3.Schema, path string) *openapi3.Schema {
	for name := range strings.SplitSeq(condition.ReplaceAllString(path, ""), ".") {
		for s != nil && s.Items != nil {
			s = s.Items.Value
		}
		if s == nil || s.Properties[name] == nil {
			return nil
		}
		s = s.Properties[name].Value
	}
	return s
}

func TestWhatADashboardShowsIsInTheAnswer(t *testing.T) {
	source, err := schemas.OpenAPI.ReadFile("openapi/query.v1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapi3.NewLoader().LoadFromData(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range languages {
		for name, g := range read(t, language).targets() {
			answer := document.Components.Schemas["Answer"].Value
			if g.URL == "/v1/catalogue" {
				answer = document.Components.Schemas["Catalogue"].Value
			}
			if schemaOf(answer, g.Root) == nil {
				t.Errorf("%s: there is no %s in the answer", name, g.Root)
			}
			for _, c := range g.Columns {
				if g.Root != "rows" && schemaOf(answer, g.Root+"."+c.Selector) == nil {
					t.Errorf("%s: there is no %s.%s in the answer", name, g.Root, c.Selector)
				}
				if c.Selector == "revenue" && c.Type != "string" {
					t.Errorf("%s: an amount is a float", name)
				}
			}
		}
	}
}

// What is missing from the figures is said on the same page.
func TestADashboardSaysWhatIsMissing(t *testing.T) {
	for _, language := range languages {
		roots := map[string]bool{}
		for _, g := range read(t, language).targets() {
			roots[g.Root] = true
		}
		for _, root := range []string{"coverage", "coverage.left_out", "suppressed"} {
			if !roots[root] {
				t.Errorf("%s: no panel shows %s", language, root)
			}
		}
	}
}

// spoken are the keys whose strings are for the reader.
var spoken = []string{"title", "description", "text", "label", "options", "xField"}

var japanese = regexp.MustCompile(`\p{Hiragana}|\p{Katakana}|\p{Han}`)

// differ reports where the dashboards differ in more than their texts.
func differ(t *testing.T, path, key string, en, ja any) {
	t.Helper()
	switch e := en.(type) {
	case map[string]any:
		j, _ := ja.(map[string]any)
		if len(e) != len(j) {
			t.Errorf("%s has other keys", path)
		}
		for k, v := range e {
			differ(t, path+"/"+k, k, v, j[k])
		}
	case []any:
		j, _ := ja.([]any)
		if len(e) != len(j) {
			t.Errorf("%s has another length", path)
			return
		}
		for i, v := range e {
			differ(t, path+"[]", key, v, j[i])
		}
	case string:
		j, _ := ja.(string)
		switch {
		case key == "uid" && strings.TrimSuffix(e, "en") == strings.TrimSuffix(j, "ja"):
		case key == "selector" && strings.TrimSuffix(e, ".en") == strings.TrimSuffix(j, ".ja"):
		case slices.Contains(spoken, key) && !strings.HasPrefix(e, "__"):
			if japanese.MatchString(e) || !japanese.MatchString(j) && j != "OS" {
				t.Errorf("%s is %q and %q", path, e, j)
			}
		case e != j:
			t.Errorf("%s is %q and %q", path, e, j)
		}
	default:
		if en != ja {
			t.Errorf("%s is %v and %v", path, en, ja)
		}
	}
}

func TestTheDashboardsDifferInTheirTextsOnly(t *testing.T) {
	var both [2]any
	for i, language := range languages {
		data, err := os.ReadFile("dashboards/sekisho-" + language + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &both[i]); err != nil {
			t.Fatal(err)
		}
	}
	differ(t, "", "", both[0], both[1])
}

func TestTheKeyComesFromTheEnvironmentAndGoesToTheServiceOnly(t *testing.T) {
	data, err := os.ReadFile("provisioning/datasources/sekisho.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Datasources []struct {
			UID            string         `yaml:"uid"`
			Type           string         `yaml:"type"`
			Access         string         `yaml:"access"`
			URL            string         `yaml:"url"`
			JSONData       map[string]any `yaml:"jsonData"`
			SecureJSONData map[string]any `yaml:"secureJsonData"`
		} `yaml:"datasources"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil || len(file.Datasources) != 1 {
		t.Fatal(err)
	}
	d := file.Datasources[0]
	hosts, _ := d.JSONData["allowedHosts"].([]any)
	if d.URL != "$SEKISHO_URL" || d.Access != "proxy" || len(hosts) != 1 || hosts[0] != d.URL || d.JSONData["auth_method"] != "bearerToken" ||
		len(d.SecureJSONData) != 1 || d.SecureJSONData["bearerToken"] != "$SEKISHO_API_KEY" {
		t.Errorf("%+v", d)
	}
	for _, language := range languages {
		board := read(t, language)
		if len(board.UID) > 40 || board.Description == "" {
			t.Errorf("%s: %q is no uid, or there is no description", language, board.UID)
		}
		want := reference{d.Type, d.UID}
		for _, p := range board.Panels {
			if p.Datasource != want || p.Targets[0].Datasource != want {
				t.Errorf("%s reads %+v", p.Title, p.Datasource)
			}
		}
		for _, v := range board.Templating.List {
			if v.Datasource != want {
				t.Errorf("%s reads %+v", v.Name, v.Datasource)
			}
		}
	}
}
