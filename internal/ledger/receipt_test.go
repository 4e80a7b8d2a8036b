package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// receiptOf is the receipt of a record among others.
func receiptOf(t testing.TB, r Record) (Receipt, Verifier) {
	t.Helper()
	key, v := testKey(t)
	return receiptBy(t, key, r), v
}

func receiptBy(t testing.TB, key Key, r Record) Receipt {
	t.Helper()
	_, entries := history(t, 11)
	entries[6] = entryOf(t, r)
	l := memoryLog(t, key, entries)
	checkpoint(t, l)
	receipt, err := l.Receipt(r)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// fuzzKey is the same in every process of a fuzz run, so that they share what they find.
func fuzzKey(f *testing.F) (Key, Verifier) {
	f.Helper()
	key, err := GenerateKey(origin, strings.NewReader(strings.Repeat("not a secret.", 5)))
	if err != nil {
		f.Fatal(err)
	}
	v, err := NewVerifier(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	return key, v
}

func marshal(t testing.TB, r Receipt) []byte {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAReceiptIsVerifiedOffline(t *testing.T) {
	r, v := receiptOf(t, consentRecord(6))
	back, err := ParseReceipt(marshal(t, r))
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Fatalf("read %+v, %v", back, err)
	}
	c, err := VerifyReceipt(back, v)
	if err != nil || c.Size() != 11 || c.Note() != r.Checkpoint {
		t.Errorf("size %d, %v", c.Size(), err)
	}
	if got := back.Record(); !reflect.DeepEqual(got, consentRecord(6)) {
		t.Errorf("the record is %+v", got)
	}
	_, stranger := testKey(t)
	if _, err := VerifyReceipt(back, stranger); err == nil {
		t.Error("another key verifies it")
	}
	if _, err := VerifyReceipt(back, Verifier{}); err == nil {
		t.Error("no key verifies it")
	}
	if _, err := VerifyReceipt(Receipt{}, v); err == nil {
		t.Error("the zero receipt is verified")
	}
}

func TestEveryReceiptVerifiesAndKeepsItsFields(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		record := consentRecord(6)
		record.Fields = genFields().Draw(rt, "fields")
		record.Time = rapid.Int64Range(0, maxTime).Draw(rt, "time")
		r, v := receiptOf(t, record)
		back, err := ParseReceipt(marshal(t, r))
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := VerifyReceipt(back, v); err != nil {
			rt.Fatal(err)
		}
		if got := back.Record(); !slices.Equal(got.Fields, record.Fields) || got.Time != record.Time {
			rt.Fatalf("the record is %+v", got)
		}
	})
}

func TestEveryBitOfAReceiptCounts(t *testing.T) {
	record := consentRecord(6)
	record.Fields = append(record.Fields, Field{"notice", "関所"})
	r, v := receiptOf(t, record)
	text := marshal(t, r)
	for bit := range len(text) * 8 {
		text[bit/8] ^= 1 << (bit % 8)
		if back, err := ParseReceipt(text); err == nil {
			if _, err := VerifyReceipt(back, v); err == nil {
				t.Errorf("bit %d: verified as %+v", bit, back)
			}
		}
		text[bit/8] ^= 1 << (bit % 8)
	}
}

func TestReceiptsFromOtherWritersAreRead(t *testing.T) {
	record := consentRecord(6)
	record.Fields[0].Value = `a/b <&> "é" 関所`
	r, v := receiptOf(t, record)
	text := marshal(t, r)
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		t.Fatal(err)
	}
	sorted, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string][]byte{
		"indented": indented.Bytes(), "sorted members": sorted,
		"escaped slashes": bytes.ReplaceAll(text, []byte("/"), []byte(`\/`)),
		"escaped kanji":   bytes.ReplaceAll(text, []byte("関"), []byte(`\u95A2`)),
		"plain <":         bytes.ReplaceAll(text, []byte(`\u003c`), []byte("<")),
	} {
		back, err := ParseReceipt(other)
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := VerifyReceipt(back, v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTwoReadersOfAReceiptSeeTheSame(t *testing.T) {
	r, v := receiptOf(t, consentRecord(6))
	text := string(marshal(t, r))
	replace := func(old, with string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("the receipt has no %s", old)
		}
		return strings.Replace(text, old, with, 1)
	}
	for name, other := range map[string]string{
		"a member twice":           replace(`"index":6`, `"index":7,"index":6`),
		"a field's value twice":    replace(`"value":"granted"`, `"value":"refused","value":"granted"`),
		"an unknown member":        replace(`"index":6`, `"index":6,"note":"x"`),
		"a member in another case": replace(`"salt"`, `"Salt"`),
		"a missing member":         replace(`"index":6,`, ``),
		"null for a member":        replace(`"version":1`, `"version":null`),
		"upper-case digits":        replace(r.ID.String(), strings.ToUpper(r.ID.String())),
		"another number":           replace(`"index":6`, `"index":6.0`),
		"an exponent":              replace(`"index":6`, `"index":6e0`),
		"another zone":             replace(`Z"`, `+00:00"`),
		"zeros after the time":     replace(`06Z"`, `060Z"`),
		"text after it":            text + "{}",
		"not UTF-8":                replace("granted", "granted\xff"),
		"an array":                 "[" + text + "]",
		"nothing":                  "",
		"far too much":             strings.Repeat(" ", maxReceipt) + text,
	} {
		if back, err := ParseReceipt([]byte(other)); err == nil {
			t.Errorf("%s: read as %+v", name, back)
		}
	}
	// Half a surrogate reads as U+FFFD, which nobody committed to.
	if back, err := ParseReceipt([]byte(replace("granted", `granted\ud800`))); err == nil {
		if _, err := VerifyReceipt(back, v); err == nil {
			t.Error("half a surrogate is verified")
		}
	}
}

func TestAReceiptOfSomethingElseIsRefused(t *testing.T) {
	r, v := receiptOf(t, consentRecord(6))
	for name, change := range map[string]func(*Receipt){
		"another version":     func(r *Receipt) { r.Version = 2 },
		"another kind":        func(r *Receipt) { r.Kind = Erasure },
		"no kind":             func(r *Receipt) { r.Kind = 0 },
		"another time":        func(r *Receipt) { r.Time = r.Time.Add(time.Microsecond) },
		"a finer time":        func(r *Receipt) { r.Time = r.Time.Add(time.Nanosecond) },
		"another state":       func(r *Receipt) { r.Fields[1].Value = "refused" },
		"another index":       func(r *Receipt) { r.Index = 7 },
		"a negative index":    func(r *Receipt) { r.Index = -1 },
		"an index beyond":     func(r *Receipt) { r.Index = 11 },
		"a shorter proof":     func(r *Receipt) { r.Proof = r.Proof[1:] },
		"a longer proof":      func(r *Receipt) { r.Proof = append(r.Proof, tlog.Hash{}) },
		"another checkpoint":  func(r *Receipt) { other, _ := receiptOf(t, consentRecord(6)); r.Checkpoint = other.Checkpoint },
		"no checkpoint":       func(r *Receipt) { r.Checkpoint = "" },
		"a field taken away":  func(r *Receipt) { r.Fields = r.Fields[1:] },
		"a field given twice": func(r *Receipt) { r.Fields = append(r.Fields, r.Fields[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			changed, err := ParseReceipt(marshal(t, r))
			if err != nil {
				t.Fatal(err)
			}
			change(&changed)
			if _, err := VerifyReceipt(changed, v); err == nil {
				t.Error("verified")
			}
		})
	}
	changed := r
	changed.Proof = slices.Clone(r.Proof)
	changed.Proof[0][0] ^= 1
	if _, err := VerifyReceipt(changed, v); !errors.Is(err, ErrUnproven) {
		t.Errorf("another proof: %v", err)
	}
}

func TestDamagedHashesMakeNoReceipt(t *testing.T) {
	key, _ := testKey(t)
	records, entries := history(t, 9)
	l := memoryLog(t, key, entries)
	checkpoint(t, l)
	_, hashes, _ := contents(l.store)
	hashes[tlog.StoredHashIndex(0, 7)*hashSize] ^= 1
	if _, err := l.Receipt(records[6]); !errors.Is(err, ErrUnproven) {
		t.Errorf("got %v", err)
	}
}

func TestReceiptsAreOfTheirSchema(t *testing.T) {
	text, err := os.ReadFile("receipt.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("receipt.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("receipt.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text []byte) error {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	for kind := ConsentAct; kind < endOfKinds; kind++ {
		record := consentRecord(6)
		record.Kind, record.Time, record.Fields = kind, int64(kind)*1_000_000, nil
		r, _ := receiptOf(t, record)
		if err := validate(marshal(t, r)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := validate([]byte(`{"version": 1}`)); err == nil {
		t.Error("the schema accepts everything")
	}
}

func FuzzReceipt(f *testing.F) {
	record := consentRecord(6)
	record.Fields[0].Value = "<関所> \u2028\\"
	key, v := fuzzKey(f)
	r := receiptBy(f, key, record)
	f.Add(marshal(f, r))
	f.Add([]byte(`{"version":1,"fields":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ParseReceipt(text)
		if err != nil {
			return
		}
		again, err := ParseReceipt(marshal(t, got))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("written and read again: %v", err)
		}
		if _, err := VerifyReceipt(got, v); err == nil && !bytes.Equal(marshal(t, got), marshal(t, r)) {
			t.Fatalf("a forged receipt: %s", text)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	key, v := fuzzKey(f)
	_, entries := history(f, 3)
	signed := checkpoint(f, memoryLog(f, key, entries))
	body, _, _ := strings.Cut(signed.Note(), "\n\n")
	f.Add([]byte(signed.Note()))
	f.Add([]byte(body + "\nextension\n\n— " + origin + " AAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := OpenCheckpoint(text, v); err == nil && (c.root != signed.root || c.size != signed.size) {
			t.Fatalf("a forged checkpoint: %q", text)
		}
		c, err := parseCheckpoint(string(text))
		if err != nil {
			return
		}
		note, err := key.sign(c.size, c.root)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := OpenCheckpoint(note, v); err != nil || back.size != c.size || back.root != c.root {
			t.Fatalf("signed and read again: %+v, %v", back, err)
		}
	})
}

func FuzzCovered(f *testing.F) {
	f.Add("3-5,7,12", int64(20))
	f.Fuzz(func(t *testing.T, text string, limit int64) {
		spans, err := covered([]Field{{CoverField, text}}, limit)
		if err != nil {
			return
		}
		last, count := int64(-2), int64(0)
		for _, s := range spans {
			if s.first <= last+1 || s.last < s.first || s.last >= limit {
				t.Fatalf("%q is read as %v", text, spans)
			}
			last = s.last
			count += s.last - s.first + 1
		}
		if count > 1<<16 {
			return
		}
		var indexes []int64
		for _, s := range spans {
			for at := s.first; at <= s.last; at++ {
				indexes = append(indexes, at)
			}
		}
		if again := Cover(indexes); again.Value != text {
			t.Fatalf("%q is written %q", text, again.Value)
		}
	})
}
