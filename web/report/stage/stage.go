// Package stage plays the query service's API with invented answers: for the tests of the report page, and to look at
// it without a house behind it. It speaks the contract (schemas/openapi/query.v1.yaml), which a test holds it against.
package stage

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
)

// Keys that the stage knows. Reader may read everything there is, Stranger nothing.
const (
	Reader   = "sk_00000001_stage-key-of-the-reader-00000000000000000000"
	Stranger = "sk_00000002_stage-key-of-a-stranger-0000000000000000000"
)

// Hostile is a page's title as somebody might send it, to break out of the page.
const Hostile = `</td><script>alert(1)</script><img src=x onerror="alert(2)">'"&{{.}}` + "\u202e"

// The clock of the stage, and its site's time zone.
var (
	zone = time.FixedZone("JST", 9*3600)
	Now  = time.Date(2026, 11, 20, 15, 30, 0, 0, zone)
)

type (
	label  struct{ JA, EN string }
	object = map[string]any
)

func (l label) json() object { return object{"ja": l.JA, "en": l.EN} }

// column is a column of an answer. Keys are not compared.
type column struct {
	name  string
	label label
	key   bool
}

// kind is what the column holds, told by its name: the stage's names are few.
func (c column) kind() string {
	name := strings.TrimSuffix(c.name, "_before")
	switch {
	case slices.Contains([]string{"time", "cohort"}, name):
		return "clock"
	case slices.Contains([]string{"step", "offset", "level"}, name):
		return "ordinal"
	case c.key && name == "revenue":
		return "rows"
	case c.key:
		return "text"
	case slices.Contains([]string{"revenue", "amount", "mean_value", "median_value"}, name):
		return "money"
	case strings.HasSuffix(name, "rate"), strings.HasSuffix(name, "_change"), strings.HasPrefix(name, "from_"),
		slices.Contains([]string{"share", "seconds", "visible_seconds", "scroll_depth", "viewability", "conversion"}, name):
		return "ratio"
	}
	return "count"
}

func columns(all []column) []object {
	described := []object{}
	for _, c := range all {
		described = append(described, object{"name": c.name, "kind": c.kind(), "label": c.label.json()})
	}
	return described
}

// report is an entry of the stage's catalogue; its rows are by column, in the columns' order.
type report struct {
	name    string
	label   label
	takes   []string
	columns []column
	rows    func(request) [][]any
	// withheld groups; of an answer without rows they are all there is.
	withheld int
	noise    bool
	remarks  []label
	fault    *core.Error
}

// request is what was asked for.
type request struct {
	from, to       time.Time
	interval, unit string
	compare        bool
	filtered       bool
	limit, offset  int
	steps          []string
}

var (
	visitors = column{"visitors", label{"訪問者", "Visitors"}, false}
	sessions = column{"sessions", label{"セッション", "Sessions"}, false}
	views    = column{"page_views", label{"ページビュー", "Page views"}, false}
	orders   = column{"orders", label{"注文", "Orders"}, false}
	revenue  = column{"revenue", label{"売上", "Revenue"}, false}
	currency = column{"currency", label{"通貨", "Currency"}, true}
	people   = column{"people", label{"人数", "People"}, false}
	start    = column{"time", label{"期間の始まり", "Start"}, true}
)

var reports = []report{
	{name: "overview", label: label{"概要", "Overview"}, columns: []column{
		visitors, sessions, views,
		{"bounce_rate", label{"直帰率", "Bounce rate"}, false},
		{"visible_seconds", label{"平均表示時間（秒）", "Average visible time (seconds)"}, false},
		{"revenue", label{"通貨ごとの売上", "Revenue by currency"}, true},
	}, rows: func(request) [][]any {
		return [][]any{{12843, 15920, 61377, 0.4127, 83.4, []object{
			{"currency": "JPY", "orders": 731, "revenue": "2184300"}, {"currency": "USD", "orders": 42, "revenue": "1209.5"},
		}}}
	}},
	{
		name: "timeseries", label: label{"推移", "Time series"}, takes: []string{"interval"}, noise: true,
		columns: []column{start, visitors, sessions, views},
		rows: func(r request) [][]any {
			var rows [][]any
			for i, t := range r.moments() {
				if i == 4 { // withheld
					continue
				}
				n := 900 + int(400*math.Sin(float64(i)*0.9)) + 13*i
				rows = append(rows, []any{t.Format(time.RFC3339), n, n + n/5, 4 * n})
			}
			return rows
		}, withheld: 1,
	},
	{
		name: "pages", label: label{"ページ", "Pages"}, withheld: 12, noise: true,
		columns: []column{
			{"host", label{"ホスト", "Host"}, true},
			{"path", label{"ページ", "Page"}, true},
			{"views", label{"表示回数", "Views"}, false},
			visitors,
			{"exits", label{"離脱", "Exits"}, false},
			{"visible_seconds", label{"平均表示時間（秒）", "Average visible time (seconds)"}, false},
		},
		rows: func(r request) [][]any {
			if r.filtered {
				return [][]any{{"shop.example", Hostile, 120, 60, 12, 3.25}, {"shop.example", "", 80, 41, 9, nil}}
			}
			rows := [][]any{
				{"shop.example", "/", 18234, 9120, 3011, 41.5},
				{"shop.example", "/お茶/玉露と煎茶の飲みくらべセット", 7121, 4980, 1200, 92.125},
				{"shop.example", Hostile, 6001, 3300, 800, 7204.0},
				{"shop.example", "/journal/a-very-long-address-that-goes-on-and-on-without-a-break-until-it-no-longer-fits-anywhere", 4410, 2900, 710, 12.25},
				{"shop.example", "", 3999, 2711, 640, nil},
			}
			for i := range 132 {
				rows = append(rows, []any{"shop.example", fmt.Sprintf("/product/%03d", i), 3900 - 23*i, 2600 - 15*i, 600 - 4*i, 60.5})
			}
			return rows
		},
	},
	{
		name: "devices", label: label{"端末", "Devices"},
		columns: []column{{"device", label{"端末", "Device"}, true}, {"browser", label{"ブラウザ", "Browser"}, true}, {"country", label{"国", "Country"}, true}, visitors, sessions},
		rows: func(request) [][]any {
			return [][]any{{"mobile", "Safari", "JP", 510, 640}, {"desktop", "Chrome", "JP", 402, 480}, {"tablet", "", "US", 66, 70}, {"bot", "x", "ZZ", 20, 21}}
		},
	},
	{
		name: "searches", label: label{"サイト内検索", "Searches"}, withheld: 7,
		columns: []column{{"query", label{"検索した語", "Query"}, true}, {"count", label{"回数", "Count"}, false}},
		rows:    func(request) [][]any { return nil },
	},
	{
		name: "ads", label: label{"広告", "Advertisements"},
		columns: []column{{"ad", label{"広告", "Advertisement"}, true}, {"impressions", label{"表示回数", "Impressions"}, false}, {"rate", label{"クリック率", "Click rate"}, false}},
		rows:    func(request) [][]any { return nil },
	},
	{
		name: "purchases", label: label{"購入", "Purchases"},
		columns: []column{{"name", label{"商品", "Item"}, true}, currency, {"quantity", label{"数量", "Quantity"}, false}, orders, revenue},
		rows: func(request) [][]any {
			return [][]any{{"玉露", "JPY", 120, 101, "324000"}, {"Ink", "USD", 40, 38, "799.6"}, {"Brush", "KWD", 21, 20, "63.1254"}, {"Paper", "XXQ", 20, 20, "12.5"}}
		},
	},
	{
		name: "funnel", label: label{"ファネル", "Funnel"}, takes: []string{"step", "window", "strict"},
		columns: []column{
			{"step", label{"段階", "Step"}, true},
			{"kind", label{"種類", "Kind"}, true},
			people,
			{"from_first", label{"最初の段階からの転換率", "Conversion from the first step"}, false},
			{"from_previous", label{"前の段階からの転換率", "Conversion from the previous step"}, false},
			{"seconds", label{"前の段階からの時間の中央値（秒）", "Median time from the previous step (seconds)"}, false},
		},
		rows: func(r request) [][]any {
			var rows [][]any
			n := 4000
			for i, s := range r.steps {
				kind, _, _ := strings.Cut(s, ":")
				next := n
				if i > 0 {
					next = n * 3 / 7
				}
				rows = append(rows, []any{i + 1, kind, next, math.Round(float64(next)/4000*1e4) / 1e4, math.Round(float64(next)/float64(n)*1e4) / 1e4, float64(95 * i)})
				n = next
			}
			return rows
		}, remarks: []label{{"期限が1日を超えるファネルには、Cookieなしの訪問者は含まれません", "A window of more than a day counts no visitors without a cookie"}},
	},
	{
		name: "retention", label: label{"継続率", "Retention"}, takes: []string{"unit"}, withheld: 3,
		columns: []column{
			{"cohort", label{"最初の訪問の期間", "First visited in"}, true},
			{"offset", label{"経過した期間の数", "Periods since"}, true},
			people,
			{"share", label{"割合", "Share"}, false},
		},
		rows: func(r request) [][]any {
			var rows [][]any
			moments := r.moments()
			for i, t := range moments {
				for later := range len(moments) - i {
					if i == 2 && later == 2 { // withheld
						continue
					}
					share := math.Round(1e4/math.Pow(float64(later+1), 0.9)) / 1e4
					rows = append(rows, []any{t.Format(time.RFC3339), later, int(800 * share), share})
				}
			}
			return rows
		},
	},
	{
		name: "operation_adoption", label: label{"操作の浸透", "Adoption of operations"}, takes: []string{"interval", "operation"},
		columns: []column{start, {"name", label{"操作", "Operation"}, true}, {"new_users", label{"初めて使った人", "First-time users"}, false}},
		rows: func(r request) [][]any {
			var rows [][]any
			for i, t := range r.moments() {
				for j, name := range []string{"cart_add", "export", Hostile} {
					rows = append(rows, []any{t.Format(time.RFC3339), name, 20 + 17*(j+1) + (i*7+j*5)%23})
				}
			}
			return rows
		},
	},
	{
		name: "live", label: label{"リアルタイム", "Real time"},
		columns: []column{visitors, views, {"minutes", label{"1分ごと", "By minute"}, true}, {"pages", label{"ページ", "Pages"}, true}},
		rows: func(r request) [][]any {
			var minutes []object
			for i := range 30 {
				minutes = append(minutes, object{"time": r.from.Add(time.Duration(i) * time.Minute).Format(time.RFC3339), "visitors": 12 + i%9, "page_views": 40 + (i*i)%37})
			}
			return [][]any{{431, 1290, minutes, []object{{"path": "/", "visitors": 210, "page_views": 540}, {"path": "/list", "visitors": 99, "page_views": 180}}}}
		},
	},
	{name: "broken", label: label{"壊れたレポート", "Broken report"}, takes: []string{"whatever"}, fault: &core.Error{Code: core.CodeTimeout, Message: "the report took longer than its limit"}},
}

// moments are the steps of the period.
func (r request) moments() []time.Time {
	var all []time.Time
	for t := r.from; t.Before(r.to) && len(all) < 800; {
		all = append(all, t)
		switch cmp.Or(r.interval, r.unit) {
		case "hour":
			t = t.Add(time.Hour)
		case "week":
			t = t.AddDate(0, 0, 7)
		case "month":
			t = t.AddDate(0, 1, 0)
		default:
			t = t.AddDate(0, 0, 1)
		}
	}
	return all
}

var purposes = []struct {
	id      string
	label   label
	reports []string
}{
	{"usage_based_development", label{"利用状況の分析と機能開発", "Usage analysis for new features"}, nil},
	{"customer_support", label{"お客様サポート", "Customer support"}, []string{"overview", "timeseries", "devices"}},
}

// API is the stage. It is safe for concurrent use.
func API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/catalogue", func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Bearer " + Reader:
			httpx.WriteJSON(w, http.StatusOK, catalogue())
		case "Bearer " + Stranger:
			c := catalogue()
			c["sites"] = []object{}
			httpx.WriteJSON(w, http.StatusOK, c)
		default:
			httpx.WriteProblem(w, &core.Error{Code: core.CodeUnauthenticated, Message: "an API key is required"})
		}
	})
	mux.HandleFunc("GET /v1/reports/{report}", get)
	return mux
}

func catalogue() object {
	all := []object{}
	var names []string
	for _, r := range reports {
		all = append(all, object{"name": r.name, "label": r.label.json(), "columns": columns(r.columns), "parameters": append([]string{}, r.takes...)})
		names = append(names, r.name)
	}
	sites := []object{}
	for _, s := range [][2]string{{"shop", "峠茶屋 & Co."}, {"blog", "Blog"}} {
		allowed := []object{}
		for _, p := range purposes {
			reports := p.reports
			if reports == nil {
				reports = names
			}
			allowed = append(allowed, object{"id": p.id, "label": p.label.json(), "reports": reports})
		}
		sites = append(sites, object{"id": s[0], "name": s[1], "time_zone": "Asia/Tokyo", "policy": "default/2022-09-15", "purposes": allowed})
	}
	return object{"sites": sites, "reports": all, "dimensions": []object{
		{"name": "country", "label": label{"国", "Country"}.json()},
		{"name": "device", "label": label{"端末", "Device"}.json()},
		{"name": "path", "label": label{"ページ", "Page"}.json()},
	}}
}

func get(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	i := slices.IndexFunc(reports, func(c report) bool { return c.name == r.PathValue("report") })
	switch {
	case r.Header.Get("Authorization") != "Bearer "+Reader:
		httpx.WriteProblem(w, &core.Error{Code: core.CodeUnauthenticated, Message: "an API key is required"})
		return
	case i < 0:
		httpx.WriteProblem(w, &core.Error{Code: core.CodeNotFound, Message: "there is no such report"})
		return
	case q.Get("site") != "shop":
		httpx.WriteProblem(w, &core.Error{Code: core.CodeForbidden, Field: "site", Message: "the key has no grant for the site"})
		return
	case q.Get("purpose") == "customer_support" && !slices.Contains(purposes[1].reports, reports[i].name):
		httpx.WriteProblem(w, &core.Error{Code: core.CodeColumnDenied, Field: "path", Message: "outside the purpose's data categories"})
		return
	case reports[i].fault != nil:
		httpx.WriteProblem(w, reports[i].fault)
		return
	case reports[i].name == "funnel" && len(q["step"]) < 2:
		httpx.WriteProblem(w, &core.Error{Code: core.CodeMissing, Field: "step", Message: "a funnel has two steps or more"})
		return
	}
	asked, fault := read(q)
	if fault != nil {
		httpx.WriteProblem(w, fault)
		return
	}
	if q.Get("format") == "csv" {
		w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
		fmt.Fprintf(w, "%s;%s\r\n", r.Header.Get("Accept-Language"), q.Encode()) //nolint:gosec // G705: a file, and of a stage
		return
	}
	httpx.WriteJSON(w, http.StatusOK, answer(&reports[i], q, asked))
}

func read(q url.Values) (r request, fault *core.Error) {
	r = request{limit: 100, interval: q.Get("interval"), unit: q.Get("unit"), compare: q.Get("compare") != "", filtered: q.Has("filter"), steps: q["step"]}
	var err error
	if r.from, err = time.ParseInLocation(time.DateOnly, cmp.Or(q.Get("from"), "2026-11-14"), zone); err != nil {
		return r, &core.Error{Code: core.CodeInvalid, Field: "from", Message: "not a date"}
	}
	if r.to, err = time.ParseInLocation(time.DateOnly, cmp.Or(q.Get("to"), "2026-11-20"), zone); err != nil || r.to.Before(r.from) {
		return r, &core.Error{Code: core.CodeInvalid, Field: "from", Message: "not before to"}
	}
	r.to = r.to.AddDate(0, 0, 1)
	if v := q.Get("limit"); v != "" {
		r.limit, _ = strconv.Atoi(v)
	}
	if text, err := base64.RawURLEncoding.DecodeString(q.Get("cursor")); err == nil {
		r.offset, _ = strconv.Atoi(string(text))
	}
	return r, nil
}

func answer(c *report, q url.Values, r request) object {
	all := c.columns
	if c.name == "live" {
		r.from, r.to = Now.Add(-30*time.Minute), Now
	}
	rows := []object{}
	for i, values := range c.rows(r) {
		fields := object{}
		for j, column := range c.columns {
			fields[column.name] = values[j]
			if !r.compare || column.key {
				continue
			}
			fields[column.name+"_before"], fields[column.name+"_change"] = nil, nil
			if n, ok := values[j].(int); ok && i != 1 {
				fields[column.name+"_before"], fields[column.name+"_change"] = n*9/10, 0.1111
			}
			if n, ok := values[j].(float64); ok {
				fields[column.name+"_before"], fields[column.name+"_change"] = math.Round(n*1.25*1e4)/1e4, -0.2
			}
		}
		rows = append(rows, fields)
	}
	a := object{
		"report": c.name, "site": q.Get("site"), "purpose": q.Get("purpose"), "policy": "default/2022-09-15",
		"from": r.from.Format(time.RFC3339), "to": r.to.Format(time.RFC3339), "time_zone": "Asia/Tokyo", "threshold": 10, "truncated": false,
		"suppressed": object{"groups": c.withheld}, "coverage": object{"included": 61377, "left_out": []object{
			{"reason": "refused", "count": 1204, "text": label{"断られたか、取り消されました", "Refused or withdrawn"}.json()},
			{"reason": "withdrawn", "count": nil, "text": label{"あとから取り消されました", "Withdrawn later"}.json()},
		}},
	}
	if slices.Contains(c.takes, "interval") {
		a["interval"] = cmp.Or(r.interval, "day")
	}
	if c.withheld > 0 {
		a["suppressed"] = object{"groups": c.withheld, "reason": "fewer than 10 subjects"}
	}
	if c.noise {
		a["suppressed"] = object{"groups": c.withheld, "reason": "about 10 subjects or fewer, or next to such groups; their number is not exact"}
		a["release"] = object{"id": "6f0d2f5c-5f0e-4a3b-9c7e-0b8f4d0c1a2e", "as_of": Now.Format(time.RFC3339), "reused": true}
	}
	if len(c.remarks) > 0 {
		remarks := []object{}
		for i, text := range c.remarks {
			remarks = append(remarks, object{"name": fmt.Sprintf("remark_%d", i), "text": text.json()})
		}
		a["remarks"] = remarks
	}
	if r.filtered {
		a["release"] = object{
			"id": "6f0d2f5c-5f0e-4a3b-9c7e-0b8f4d0c1a2e", "as_of": Now.Format(time.RFC3339), "reused": false, "dropped_filters": []string{"!path"},
			"period": object{"from": r.from.AddDate(0, 0, -1).Format(time.RFC3339), "to": r.to.Format(time.RFC3339)},
		}
	}
	if r.compare {
		days := int(r.to.Sub(r.from).Hours() / 24)
		a["compared"] = object{"from": r.from.AddDate(0, 0, -days).Format(time.RFC3339), "to": r.from.Format(time.RFC3339)}
		compared := []column{}
		for _, column := range c.columns {
			if !column.key {
				compared = append(compared,
					newColumn(column.name+"_before", column.label.JA+"（前の期間）", column.label.EN+" (before)"),
					newColumn(column.name+"_change", column.label.JA+"（増減率）", column.label.EN+" (change)"))
			}
		}
		all = slices.Concat(all, compared)
	}
	if end := r.offset + r.limit; end < len(rows) {
		a["truncated"], a["next"] = true, base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(end)))
		rows = rows[:end]
	}
	a["rows"], a["columns"] = rows[min(r.offset, len(rows)):], columns(all)
	return a
}

func newColumn(name, ja, en string) column { return column{name, label{ja, en}, false} }
