package format_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/query/format"
)

// write writes a table in a form other than JSON.
func write(form format.Form, w io.Writer, t format.Table) error {
	switch form {
	case format.CSV:
		return format.WriteCSV(w, t, format.Names)
	case format.NDJSON:
		return format.WriteNDJSON(w, t)
	default:
		return format.WriteParquet(w, t)
	}
}

var tables = []format.Form{format.CSV, format.NDJSON, format.Parquet}

func TestCSVIsWhatAnIndependentReaderReads(t *testing.T) {
	var out bytes.Buffer
	if err := format.WriteCSV(&out, table(), format.Names); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\r") || !strings.HasSuffix(text, "\r\n") {
		t.Errorf("a line ends in something else than CRLF: %q", text)
	}
	if !strings.Contains(out.String(), "\"two\r\nlines\nor three\"") {
		t.Error("the ends of a text's own lines are not kept")
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"name", "orders", "rate", "revenue", "time"},
		{"抹茶, \"八女\"", "12", "0.25", "12800.5", "2026-11-19T00:00:00+09:00"},
		{"'=HYPERLINK(\"x\")", "0", "0", "-0.0001", "2026-11-19T12:00:00.25+09:00"},
		{"", "7", "1", "9999999999999999999999999999999999.9999", "2026-11-19T03:00:00.25Z"},
		{"two\nlines\nor three", "1", "0.0001", "-9999999999999999999999999999999999.9999", ""}, // the reader makes CRLF a LF
		{"", "", "", "", ""},
	}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("got %q, want %q", rows, want)
	}
}

func TestTheHeaderRowIsLabelsForAPersonAndNamesForAProgram(t *testing.T) {
	for language, want := range map[format.Language]string{
		format.Names:    "name,orders,rate,revenue,time\r\n",
		format.Japanese: "\uFEFF商品,注文,率,売上,期間の始まり\r\n",
		format.English:  "\uFEFF\"Item, or \"\"thing\"\"\",Orders,Rate,Revenue,Start\r\n",
	} {
		var out bytes.Buffer
		empty := table()
		empty.Rows = func(func([]any, error) bool) {}
		if err := format.WriteCSV(&out, empty, language); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v", language, out.String(), err)
		}
	}
}

// Whatever a text is: no spreadsheet takes it for a formula, and nothing of it is lost.
func TestNoTextIsAFormulaAndEveryTextComesBack(t *testing.T) {
	columns := []format.Column{{Name: "a"}, {Name: "b"}}
	text := rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[=+\-@\t\r\n'＝＋－＠ ]{0,3}[a-z,"\r\n ]{0,4}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOf(rapid.Custom(func(t *rapid.T) [2]string { return [2]string{text.Draw(t, "a"), text.Draw(t, "b")} })).Draw(t, "rows")
		var out bytes.Buffer
		err := format.WriteCSV(&out, format.Table{Columns: columns, Rows: func(yield func([]any, error) bool) {
			for _, r := range rows {
				if !yield([]any{r[0], r[1]}, nil) {
					return
				}
			}
		}}, format.Names)
		if err != nil {
			t.Fatal(err)
		}
		read, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(read) != len(rows)+1 {
			t.Fatalf("%d rows, %v", len(read), err)
		}
		for i, r := range rows {
			for j, cell := range read[i+1] {
				if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r\n") || slices.ContainsFunc([]string{"＝", "＋", "－", "＠"}, func(p string) bool { return strings.HasPrefix(cell, p) }) {
					t.Fatalf("%q is a formula", cell)
				}
				want := strings.ReplaceAll(strings.ToValidUTF8(r[j], "\uFFFD"), "\r\n", "\n") // as the reader does
				if got := strings.TrimPrefix(cell, "'"); got != want {
					t.Fatalf("%q came back as %q", want, got)
				}
			}
		}
	})
}

func TestNDJSONHasTheRowsOfTheJSONAnswer(t *testing.T) {
	var out bytes.Buffer
	if err := format.WriteNDJSON(&out, overview()); err != nil {
		t.Fatal(err)
	}
	want := `{"visitors":148,"revenue":[{"currency":"EUR","orders":3,"revenue":"99.5"},{"currency":"JPY","orders":11,"revenue":"12800"}],"operations":null}` + "\n"
	if out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
	out.Reset()
	if err := format.WriteNDJSON(&out, table()); err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	for d := json.NewDecoder(&out); ; {
		var r map[string]any
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if len(rows) != 5 || rows[1]["name"] != "=HYPERLINK(\"x\")" || rows[2]["revenue"] != "9999999999999999999999999999999999.9999" || rows[3]["time"] != nil || rows[4]["orders"] != nil {
		t.Errorf("%v", rows)
	}
}

// What a text is to encoding/json, it is here.
func TestATextIsTheSameInNDJSONAndJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		ratio := rapid.Float64().Draw(t, "ratio")
		var out bytes.Buffer
		err := format.WriteNDJSON(&out, format.Table{
			Columns: []format.Column{{Name: text + "x"}, {Name: "ratio", Kind: format.Ratio}},
			Rows:    func(yield func([]any, error) bool) { yield([]any{text, ratio}, nil) },
		})
		if err != nil {
			t.Fatal(err)
		}
		got, want := map[string]any{}, map[string]any{text + "x": text, "ratio": ratio}
		if math.IsNaN(ratio) || math.IsInf(ratio, 0) {
			want["ratio"] = nil
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: %v, want %v", err, got, want)
		}
	})
}

func TestRowsWithinARowStandOnLinesOfTheirOwn(t *testing.T) {
	var out bytes.Buffer
	if err := format.WriteCSV(&out, overview(), format.Names); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"part,visitors,operations,revenue_currency,revenue_orders,revenue_revenue",
		"overview,148,,,,",
		"revenue,,,EUR,3,99.5",
		"revenue,,,JPY,11,12800",
		"",
	}, "\r\n")
	if out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
	out.Reset()
	if err := format.WriteCSV(&out, overview(), format.Japanese); err != nil {
		t.Fatal(err)
	}
	if header, _, _ := strings.Cut(out.String(), "\r\n"); header != "\uFEFF区分,訪問者,操作,通貨ごとの売上：通貨,通貨ごとの売上：注文,通貨ごとの売上：売上" {
		t.Error(header)
	}
}

// A value of another kind is told by its column's name; the value itself may be anybody's.
func TestAValueOfAnotherKindIsAnErrorThatDoesNotHoldIt(t *testing.T) {
	const mark = "CANARY7f3a"
	for _, bad := range [][]any{
		{7, 1, 1.0, "1", noon},
		{"a", mark, 1.0, "1", noon},
		{"a", uint64(math.MaxUint64), 1.0, "1", noon},
		{"a", 1, mark, "1", noon},
		{"a", 1, 1.0, mark, noon},
		{"a", 1, 1.0, "1e9", noon},
		{"a", 1, 1.0, "0.00001", noon},
		{"a", 1, 1.0, strings.Repeat("9", 35), noon},
		{"a", 1, 1.0, 0.5, noon},
		{"a", 1, 1.0, "1", mark},
		{"a", 1, 1.0, "1"},
	} {
		for _, form := range tables {
			broken := table()
			broken.Rows = func(yield func([]any, error) bool) { yield(bad, nil) }
			err := write(form, io.Discard, broken)
			if err == nil || strings.Contains(err.Error(), mark) {
				t.Errorf("%s: %v: %v", form, bad, err)
			}
		}
	}
	for _, form := range tables {
		broken := table()
		broken.Columns = append(slices.Clone(columns[:4]), columns[0])
		if err := write(form, io.Discard, broken); err == nil {
			t.Errorf("%s: two columns of one name", form)
		}
		broken = table()
		broken.Rows = breaking(1000)
		if err := write(form, io.Discard, broken); !errors.Is(err, errStore) {
			t.Errorf("%s: %v", form, err)
		}
		if err := write(form, full{}, table()); err == nil {
			t.Errorf("%s: a full disk goes unnoticed", form)
		}
	}
	if err := format.WriteNDJSON(io.Discard, format.Table{
		Columns: []format.Column{{Name: "r", Kind: format.Rows}}, Rows: format.Named([]format.Column{{Name: "r", Kind: format.Rows}}, []named{{"r": mark}}),
	}); err == nil || strings.Contains(err.Error(), mark) {
		t.Error(err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

// counted counts bytes and forgets them.
type counted int64

func (c *counted) Write(p []byte) (int, error) {
	*c += counted(len(p))
	return len(p), nil
}

// A million rows pass, and what is in memory meanwhile does not grow with them.
func TestAMillionRowsAreWrittenInBoundedMemory(t *testing.T) {
	const rows, every = 1_000_000, 100_000
	for form, bound := range map[format.Form]uint64{format.CSV: 1 << 20, format.NDJSON: 1 << 20, format.Parquet: 96 << 20} {
		t.Run(form.String(), func(t *testing.T) {
			heap := func() uint64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before, most := heap(), uint64(0)
			var written counted
			started := time.Now()
			err := write(form, &written, format.Table{Columns: columns, Meta: meta(), Rows: func(yield func([]any, error) bool) {
				at := noon
				for i := range rows {
					// A text of its own in every row is the worst for a dictionary.
					if !yield([]any{fmt.Sprintf("/item/%d", i), i, float64(i) / rows, "1980", at.Add(time.Duration(i) * time.Second)}, nil) {
						return
					}
					if i%every == every-1 {
						most = max(most, heap())
					}
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			grown := uint64(0)
			if most > before {
				grown = most - before
			}
			t.Logf("%d rows, %d MB in %v, at most %d KiB in memory", rows, written>>20, time.Since(started).Round(time.Millisecond), grown>>10)
			if grown > bound || written < 10<<20 {
				t.Errorf("%d bytes in memory, more than %d", grown, bound)
			}
		})
	}
}
