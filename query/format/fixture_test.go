package format_test

import (
	"errors"
	"iter"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query/format"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(m.Run())
}

var tokyo = time.FixedZone("", 9*60*60)

func number(n uint64) *uint64 { return &n }

// named is a row as package query has it.
type named map[string]any

// columns are one of each kind.
var columns = []format.Column{
	{Name: "name", Kind: format.Text, LabelJA: "商品", LabelEN: "Item, or \"thing\""},
	{Name: "orders", Kind: format.Count, LabelJA: "注文", LabelEN: "Orders"},
	{Name: "rate", Kind: format.Ratio, LabelJA: "率", LabelEN: "Rate"},
	{Name: "revenue", Kind: format.Money, LabelJA: "売上", LabelEN: "Revenue"},
	{Name: "time", Kind: format.Clock, LabelJA: "期間の始まり", LabelEN: "Start"},
}

func meta() format.Meta {
	return format.Meta{
		Report: "purchases", Site: "shop", Purpose: "usage_based_development", Policy: "default/2022-09-15",
		From: time.Date(2026, 11, 19, 0, 0, 0, 0, tokyo), To: time.Date(2026, 11, 26, 0, 0, 0, 0, tokyo), TimeZone: "Asia/Tokyo",
		Suppressed: format.Suppressed{Groups: 4, Reason: "fewer than 10 subjects"},
		Coverage: format.Coverage{Included: number(3227), LeftOut: []format.LeftOut{
			{Reason: "withdrawn", Count: number(224)}, {Reason: "refused"},
		}},
	}
}

// noon is a moment finer than a second.
var noon = time.Date(2026, 11, 19, 12, 0, 0, 250_000_000, tokyo)

// table holds what is hard: what a spreadsheet takes for a formula, separators, line ends, other scripts, the greatest
// amount and the least, cells without a value.
func table() format.Table {
	return format.Table{Columns: columns, Meta: meta(), Rows: format.Named(columns, []named{
		{"name": "抹茶, \"八女\"", "orders": uint64(12), "rate": 0.25, "revenue": "12800.5", "time": "2026-11-19T00:00:00+09:00"},
		{"name": "=HYPERLINK(\"x\")", "orders": 0, "rate": 0.0, "revenue": "-0.0001", "time": noon},
		{"name": "", "orders": number(7), "rate": 1.0, "revenue": decimal.RequireFromString("9999999999999999999999999999999999.9999"), "time": noon.UTC()},
		{"name": "two\r\nlines\nor three", "orders": int64(1), "rate": 1e-4, "revenue": "-9999999999999999999999999999999999.9999", "time": nil},
		{"name": nil, "orders": (*uint64)(nil), "rate": nil, "revenue": nil},
	})}
}

// overview is a row with rows of its own.
func overview() format.Table {
	within := []format.Column{
		{Name: "currency", LabelJA: "通貨", LabelEN: "Currency"},
		{Name: "orders", Kind: format.Count, LabelJA: "注文", LabelEN: "Orders"},
		{Name: "revenue", Kind: format.Money, LabelJA: "売上", LabelEN: "Revenue"},
	}
	columns := []format.Column{
		{Name: "visitors", Kind: format.Count, LabelJA: "訪問者", LabelEN: "Visitors"},
		{Name: "revenue", Kind: format.Rows, LabelJA: "通貨ごとの売上", LabelEN: "Revenue by currency", Columns: within},
		{Name: "operations", Kind: format.Count, LabelJA: "操作", LabelEN: "Operations"},
	}
	m := meta()
	m.Report = "overview"
	return format.Table{Columns: columns, Meta: m, Rows: format.Named(columns, []named{{
		"visitors": uint64(148), "operations": nil,
		"revenue": []named{{"currency": "EUR", "orders": 3, "revenue": "99.5"}, {"currency": "JPY", "orders": 11, "revenue": "12800"}},
	}})}
}

var errStore = errors.New("the store went away")

// breaking gives some rows and then an error.
func breaking(rows int) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		for i := range rows {
			if !yield([]any{"/item/" + strconv.Itoa(i*i), i, 1 / float64(i+1), "1", noon}, nil) {
				return
			}
		}
		yield(nil, errStore)
	}
}
