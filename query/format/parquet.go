package format

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

// What a row group holds at most. Until it is whole, its pages wait in memory, and so does the dictionary of each text
// column.
const (
	groupRows  = 32 << 10
	groupBytes = 4 << 20 // of texts
)

// batchRows is how many rows are handed to the writer at a time.
const batchRows = 256

// The decimal of an amount: DECIMAL(38,4) in 16 bytes, two's complement, big-endian.
const (
	moneyDigits = 38
	moneyScale  = 4
	moneyBytes  = 16
)

// group is a Parquet schema whose columns stay in their order; the library's own sorts them by name.
type group struct {
	parquet.Group
	fields []parquet.Field
}

func (g group) Fields() []parquet.Field { return g.fields }

// WriteParquet writes a table as a Parquet file: texts dictionary-encoded, amounts as DECIMAL(38,4), moments as
// TIMESTAMP(ms, UTC), every column optional and compressed with zstd. The file's key-value metadata says what the answer
// says beside its rows: report, site, purpose, policy, from, to, time_zone, interval, threshold, sample, truncated and
// next, and as JSON compared, release, suppressed, coverage, remarks and columns (with their labels). What an answer does not have
// is not there.
func WriteParquet(w io.Writer, t Table) error {
	meta, err := t.Meta.pairs(t.Columns)
	if err != nil {
		return err
	}
	if t, err = t.flat(); err != nil {
		return err
	}
	options := []parquet.WriterOption{schema(t), parquet.Compression(&parquet.Zstd), parquet.CreatedBy("sekisho", "1", "")}
	for _, pair := range meta {
		options = append(options, parquet.KeyValueMetadata(pair[0], pair[1]))
	}
	out := parquet.NewGenericWriter[any](w, options...)
	f := filler{out: out, columns: t.Columns, cells: make([]any, len(t.Columns))}
	for values, err := range t.Rows {
		if err == nil {
			err = f.add(values)
		}
		if err != nil {
			return err
		}
	}
	if err := errors.Join(f.write(), out.Close()); err != nil {
		return fmt.Errorf("write parquet: %w", err)
	}
	return nil
}

// schema is the table's columns as Parquet columns.
func schema(t Table) *parquet.Schema {
	var g group
	for _, c := range t.Columns {
		var node parquet.Node
		switch c.Kind {
		case Count:
			node = parquet.Int(64)
		case Ratio:
			node = parquet.Leaf(parquet.DoubleType)
		case Money:
			node = parquet.Decimal(moneyScale, moneyDigits, parquet.FixedLenByteArrayType(moneyBytes))
		case Clock:
			node = parquet.Timestamp(parquet.Millisecond)
		default:
			node = parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
		}
		g.fields = append(g.fields, parquet.Group{c.Name: parquet.Optional(node)}.Fields()...)
	}
	return parquet.NewSchema("answer", g)
}

// filler fills row groups.
type filler struct {
	out     *parquet.GenericWriter[any]
	columns []Column
	cells   []any
	batch   []parquet.Row
	rows    int // of the row group, and the bytes of its texts
	bytes   int
}

// add takes a row, writes a batch when one is whole, and ends the row group when it is.
func (f *filler) add(values []any) error {
	if err := row(f.columns, values, f.cells); err != nil {
		return err
	}
	line := make(parquet.Row, 0, len(f.cells))
	for i, value := range f.cells {
		var v parquet.Value
		level := 1
		switch x := value.(type) {
		case nil:
			level = 0
		case int64:
			v = parquet.Int64Value(x)
		case float64:
			v = parquet.DoubleValue(x)
		case time.Time:
			v = parquet.Int64Value(x.UnixMilli())
		case string:
			if f.columns[i].Kind == Money {
				v = parquet.FixedLenByteArrayValue(unscaled(x))
				break
			}
			v = parquet.ByteArrayValue([]byte(x))
			f.bytes += len(x)
		}
		line = append(line, v.Level(0, level, i))
	}
	f.batch = append(f.batch, line)
	f.rows++
	if len(f.batch) < batchRows && f.bytes < groupBytes {
		return nil
	}
	if err := f.write(); err != nil {
		return fmt.Errorf("write parquet: %w", err)
	}
	if f.rows < groupRows && f.bytes < groupBytes {
		return nil
	}
	f.rows, f.bytes = 0, 0
	if err := f.out.Flush(); err != nil {
		return fmt.Errorf("write parquet: %w", err)
	}
	return nil
}

func (f *filler) write() error {
	_, err := f.out.WriteRows(f.batch)
	f.batch = f.batch[:0]
	return err
}

// unscaled is an amount in ten-thousandths, as Parquet writes a decimal. The amount is of the form plain.
func unscaled(amount string) []byte {
	whole, fraction, _ := strings.Cut(amount, ".")
	n, _ := new(big.Int).SetString(whole+fraction+strings.Repeat("0", moneyScale-len(fraction)), 10)
	if n.Sign() < 0 {
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), 8*moneyBytes))
	}
	return n.FillBytes(make([]byte, moneyBytes))
}

// pairs are the key-value metadata of a file.
func (m Meta) pairs(columns []Column) ([][2]string, error) {
	type label struct {
		JA string `json:"ja"`
		EN string `json:"en"`
	}
	type described struct {
		Name    string      `json:"name"`
		Kind    string      `json:"kind"`
		Label   label       `json:"label"`
		Columns []described `json:"columns,omitempty"`
	}
	var describe func([]Column) []described
	describe = func(columns []Column) []described {
		all := make([]described, 0, len(columns))
		for _, c := range columns {
			all = append(all, described{c.Name, c.Kind.String(), label{c.LabelJA, c.LabelEN}, describe(c.Columns)})
		}
		return all
	}
	pairs := [][2]string{
		{"report", m.Report},
		{"site", m.Site},
		{"purpose", m.Purpose},
		{"policy", m.Policy},
		{"from", m.From.Format(instant)},
		{"to", m.To.Format(instant)},
		{"time_zone", m.TimeZone},
		{"interval", m.Interval},
		{"threshold", strconv.Itoa(m.Threshold)},
		{"sample", strconv.FormatFloat(cmp.Or(m.Sample, 1), 'f', -1, 64)},
		{"truncated", strconv.FormatBool(m.Truncated)},
		{"next", m.Next},
	}
	documents := map[string]any{"suppressed": m.Suppressed, "coverage": m.Coverage, "columns": describe(columns)}
	if m.Compared != (Period{}) {
		documents["compared"] = m.Compared
	}
	if m.Release != nil {
		documents["release"] = m.Release
	}
	if len(m.Remarks) > 0 {
		documents["remarks"] = m.Remarks
	}
	for _, key := range slices.Sorted(maps.Keys(documents)) { // the same answer is the same file
		text, err := json.Marshal(documents[key])
		if err != nil {
			return nil, fmt.Errorf("write parquet: %w", err)
		}
		pairs = append(pairs, [2]string{key, string(text)})
	}
	return slices.DeleteFunc(pairs, func(pair [2]string) bool { return pair[1] == "" }), nil
}
