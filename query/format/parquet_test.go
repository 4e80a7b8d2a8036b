package format_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query/format"
)

func parquetFile(t *testing.T, table format.Table) (*parquet.File, []byte) {
	t.Helper()
	var out bytes.Buffer
	if err := format.WriteParquet(&out, table); err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return file, out.Bytes()
}

// money reads a DECIMAL(38,4) the other way round: from its bytes to its digits.
func money(b []byte) string {
	n := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return new(big.Rat).SetFrac(n, big.NewInt(10_000)).FloatString(4)
}

func TestParquetHoldsEveryValueInTheTypeOfItsKind(t *testing.T) {
	file, _ := parquetFile(t, table())
	schema := file.Schema()
	wantTypes := []string{"STRING", "INT(64,true)", "DOUBLE", "DECIMAL(38,4)", "TIMESTAMP(isAdjustedToUTC=true,unit=MILLIS)"}
	for i, f := range schema.Fields() {
		if f.Name() != columns[i].Name || !f.Optional() || f.Type().String() != wantTypes[i] {
			t.Errorf("column %d is %s %s", i, f.Name(), f.Type())
		}
	}
	rows := make([]parquet.Row, 10)
	r := file.RowGroups()[0].Rows()
	defer func() { _ = r.Close() }()
	n, err := r.ReadRows(rows)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	var got [][]any
	for _, row := range rows[:n] {
		var cells []any
		for i, v := range row {
			switch {
			case v.IsNull():
				cells = append(cells, nil)
			case i == 0:
				cells = append(cells, string(v.ByteArray()))
			case i == 1:
				cells = append(cells, v.Int64())
			case i == 2:
				cells = append(cells, v.Double())
			case i == 3:
				cells = append(cells, money(v.ByteArray()))
			default:
				cells = append(cells, time.UnixMilli(v.Int64()).UTC().Format(time.RFC3339Nano))
			}
		}
		got = append(got, cells)
	}
	want := [][]any{
		{"抹茶, \"八女\"", int64(12), 0.25, "12800.5000", "2026-11-18T15:00:00Z"},
		{"=HYPERLINK(\"x\")", int64(0), 0.0, "-0.0001", "2026-11-19T03:00:00.25Z"},
		{"", int64(7), 1.0, "9999999999999999999999999999999999.9999", "2026-11-19T03:00:00.25Z"},
		{"two\r\nlines\nor three", int64(1), 1e-4, "-9999999999999999999999999999999999.9999", nil},
		{nil, nil, nil, nil, nil},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParquetCompressesAndKeepsTextsInADictionary(t *testing.T) {
	file, _ := parquetFile(t, table())
	for i, c := range file.Metadata().RowGroups[0].Columns {
		if codec := c.MetaData.Codec.String(); codec != "ZSTD" {
			t.Errorf("column %d is %s", i, codec)
		}
		dictionary := strings.Contains(fmt.Sprint(c.MetaData.Encoding), "RLE_DICTIONARY")
		if dictionary != (columns[i].Kind == format.Text) {
			t.Errorf("column %d: dictionary %v", i, dictionary)
		}
	}
}

func TestAParquetFileSaysWhoseItIsAndWhatIsMissing(t *testing.T) {
	m := meta()
	m.Truncated, m.Next, m.Remarks = true, "c1", []string{"noisy"}
	m.Threshold, m.Sample, m.Interval = 50, 0.1, "day"
	m.Release = &format.Release{ID: "r1", AsOf: noon, DroppedFilters: []string{"!device~"}}
	m.Compared = format.Period{From: m.From.AddDate(0, 0, -7), To: m.From}
	full := table()
	full.Meta = m
	file, _ := parquetFile(t, full)
	for key, want := range map[string]string{
		"report": "purchases", "site": "shop", "purpose": "usage_based_development", "policy": "default/2022-09-15",
		"from": "2026-11-19T00:00:00+09:00", "to": "2026-11-26T00:00:00+09:00", "time_zone": "Asia/Tokyo",
		"interval": "day", "threshold": "50", "sample": "0.1", "compared": `{"from":"2026-11-12T00:00:00+09:00","to":"2026-11-19T00:00:00+09:00"}`,
		"release":   `{"id":"r1","as_of":"2026-11-19T12:00:00.25+09:00","dropped_filters":["!device~"]}`,
		"truncated": "true", "next": "c1", "remarks": `["noisy"]`,
		"suppressed": `{"groups":4,"reason":"fewer than 10 subjects"}`,
		"coverage":   `{"included":3227,"left_out":[{"reason":"withdrawn","count":224},{"reason":"refused","count":null}]}`,
	} {
		if got, _ := file.Lookup(key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	described, _ := file.Lookup("columns")
	var all []struct {
		Name, Kind string
		Label      struct{ JA, EN string }
	}
	if err := json.Unmarshal([]byte(described), &all); err != nil || len(all) != 5 || all[3].Kind != "money" || all[3].Label.JA != "売上" || all[3].Label.EN != "Revenue" {
		t.Errorf("%v: %s", err, described)
	}
}

func TestTheSameAnswerIsTheSameFile(t *testing.T) {
	_, first := parquetFile(t, overview())
	for range 5 {
		if _, again := parquetFile(t, overview()); !bytes.Equal(first, again) {
			t.Fatal("a strong tag would stand for two files")
		}
	}
	file, _ := parquetFile(t, overview())
	for _, key := range []string{"compared", "release", "remarks", "next", "interval"} {
		if text, ok := file.Lookup(key); ok {
			t.Errorf("%s is %q in an answer without", key, text)
		}
	}
}

func TestParquetHasRowGroups(t *testing.T) {
	const rows = 100_000
	many := table()
	many.Rows = func(yield func([]any, error) bool) {
		for i := range rows {
			if !yield([]any{"a", i, 0.5, "1", noon}, nil) {
				return
			}
		}
	}
	file, _ := parquetFile(t, many)
	if len(file.RowGroups()) < 3 || file.NumRows() != rows {
		t.Errorf("%d row groups, %d rows", len(file.RowGroups()), file.NumRows())
	}
	long := table()
	long.Rows = func(yield func([]any, error) bool) {
		for range 10 {
			if !yield([]any{strings.Repeat("x", 1<<20), 1, 0.5, "1", noon}, nil) {
				return
			}
		}
	}
	if file, _ = parquetFile(t, long); len(file.RowGroups()) < 2 {
		t.Error("long texts do not end a row group")
	}
}

// ClickHouse shares no code with the writer.
func TestClickHouseReadsTheParquet(t *testing.T) {
	db := testkit.ClickHouse(t)
	read := func(name string, table format.Table, sql string) []string {
		t.Helper()
		_, content := parquetFile(t, table)
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var got []string
		err := db.Select(t.Context(), strings.ReplaceAll(sql, "$file", "file('"+path+"', 'Parquet')"), nil, clickhouse.Limits{Time: time.Minute, Memory: 1 << 30, Rows: 1000}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var line string
				if err := rows.Scan(&line); err != nil {
					return err
				}
				got = append(got, line)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := read("types.parquet", table(), "SELECT arrayStringConcat([toTypeName(name), toTypeName(orders), toTypeName(rate), toTypeName(revenue), toTypeName(time)], ' ') FROM $file LIMIT 1")
	if want := []string{"Nullable(String) Nullable(Int64) Nullable(Float64) Nullable(Decimal(38, 4)) Nullable(DateTime64(3, 'UTC'))"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	got = read("values.parquet", table(), `SELECT concat(ifNull(name, '-'), ' ', ifNull(toString(orders), '-'), ' ', ifNull(toString(rate), '-'), ' ', ifNull(toString(revenue), '-'), ' ', ifNull(toString(time), '-')) FROM $file`)
	if want := []string{
		"抹茶, \"八女\" 12 0.25 12800.5 2026-11-18 15:00:00.000",
		"=HYPERLINK(\"x\") 0 0 -0.0001 2026-11-19 03:00:00.250",
		" 7 1 9999999999999999999999999999999999.9999 2026-11-19 03:00:00.250",
		"two\r\nlines\nor three 1 0.0001 -9999999999999999999999999999999999.9999 -",
		"- - - - -",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	got = read("overview.parquet", overview(), "SELECT concat(part, ' ', ifNull(toString(visitors), '-'), ' ', ifNull(revenue_currency, '-'), ' ', ifNull(toString(revenue_revenue), '-')) FROM $file")
	if want := []string{"overview 148 - -", "revenue - EUR 99.5", "revenue - JPY 12800"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	none := table()
	none.Rows = func(func([]any, error) bool) {}
	if got = read("none.parquet", none, "SELECT toString(count()) FROM $file"); !slices.Equal(got, []string{"0"}) {
		t.Errorf("got %q", got)
	}
	many := table()
	many.Rows = func(yield func([]any, error) bool) {
		for i := range 100_000 {
			if !yield([]any{"a", i, 0.5, "0.0001", noon}, nil) {
				return
			}
		}
	}
	got = read("many.parquet", many, "SELECT concat(toString(count()), ' ', toString(sum(orders)), ' ', toString(sum(revenue))) FROM $file")
	if want := []string{"100000 4999950000 10"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
