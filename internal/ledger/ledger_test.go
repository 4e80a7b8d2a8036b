package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

const origin = "sekisho.example/ledger"

// testKey is made anew by every test binary: nothing rests on its value.
func testKey(t testing.TB) (Key, Verifier) {
	t.Helper()
	key, err := GenerateKey(origin, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, v
}

// consentRecord is the n-th act of a made-up history.
func consentRecord(n int) Record {
	r := Record{
		Index: int64(n), Kind: ConsentAct, ID: NewID(ConsentAct, "shop", strconv.Itoa(n)), Time: 1_790_000_000_000_000 + int64(n),
		Fields: []Field{{"purpose", "usage_based_development"}, {"state", "granted"}, {"policy", "2022-09-15"}, {"language", "ja"}},
	}
	binary.BigEndian.PutUint64(r.Salt[:], uint64(n)+1)
	return r
}

func entryOf(t testing.TB, r Record) Entry {
	t.Helper()
	e, err := r.Entry()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// history is n consent records and their entries.
func history(t testing.TB, n int) (records []Record, entries []Entry) {
	t.Helper()
	for i := range n {
		records = append(records, consentRecord(i))
		entries = append(entries, entryOf(t, records[i]))
	}
	return records, entries
}

func openLog(t testing.TB, s *Store, key Key) *Log {
	t.Helper()
	l, err := Open(context.Background(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func appendAll(t testing.TB, l *Log, entries []Entry) {
	t.Helper()
	if _, err := l.Append(context.Background(), entries); err != nil {
		t.Fatal(err)
	}
}

func checkpoint(t testing.TB, l *Log) Checkpoint {
	t.Helper()
	c, err := l.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// memoryLog holds the entries, without a checkpoint.
func memoryLog(t testing.TB, key Key, entries []Entry) *Log {
	t.Helper()
	l := openLog(t, NewMemoryStore(), key)
	appendAll(t, l, entries)
	return l
}

func genFields() *rapid.Generator[[]Field] {
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Field {
		return Field{rapid.StringMatching(`[a-z0-9_]{1,8}`).Draw(t, "name"), rapid.String().Draw(t, "value")}
	}), 0, 6, func(f Field) string { return f.Name })
}

func TestALeafIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{
			Kind: rapid.SampledFrom([]Kind{ConsentAct, PolicyPublication, KeyDestruction, Erasure, RetentionExpiry, AuditCheckpoint}).Draw(t, "kind"),
			ID:   NewID(ConsentAct, rapid.String().Draw(t, "id")), Time: rapid.Int64Range(0, maxTime).Draw(t, "time"), Commitment: Commitment{1},
		}
		leaf, err := e.MarshalBinary()
		if err != nil || len(leaf) != EntrySize {
			t.Fatalf("%d bytes, %v", len(leaf), err)
		}
		if back, err := ParseEntry(leaf); err != nil || back != e {
			t.Fatalf("read %+v, %v", back, err)
		}
	})
}

func TestWhatIsNoLeafIsRefused(t *testing.T) {
	good := entryOf(t, consentRecord(0))
	for name, spoil := range map[string]func(*Entry){
		"no kind":       func(e *Entry) { e.Kind = 0 },
		"unknown kind":  func(e *Entry) { e.Kind = endOfKinds },
		"no id":         func(e *Entry) { e.ID = ID{} },
		"no commitment": func(e *Entry) { e.Commitment = Commitment{} },
		"before 1970":   func(e *Entry) { e.Time = -1 },
		"after 9999":    func(e *Entry) { e.Time = maxTime + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			spoil(&e)
			if _, err := e.MarshalBinary(); err == nil {
				t.Error("it is written")
			}
			if _, err := ParseEntry(e.appendTo(nil)); err == nil {
				t.Error("it is read")
			}
			key, _ := testKey(t)
			l := openLog(t, NewMemoryStore(), key)
			if _, err := l.Append(t.Context(), []Entry{good, e}); err == nil || l.Size() != 0 {
				t.Errorf("it is appended: %v, size %d", err, l.Size())
			}
		})
	}
	for _, b := range [][]byte{nil, make([]byte, EntrySize), good.appendTo(nil)[1:], append(good.appendTo(nil), 0)} {
		if _, err := ParseEntry(b); err == nil {
			t.Errorf("%d bytes are read as a leaf", len(b))
		}
	}
}

func TestKindsReadAsTheyAreWritten(t *testing.T) {
	for k := ConsentAct; k < endOfKinds; k++ {
		text, err := k.MarshalText()
		var back Kind
		if err != nil || back.UnmarshalText(text) != nil || back != k {
			t.Errorf("%d is written %q and read %d", k, text, back)
		}
	}
	if _, err := Kind(0).MarshalText(); err == nil {
		t.Error("no kind has a name")
	}
	if k := Kind(0); k.UnmarshalText([]byte("none")) == nil || k.UnmarshalText(nil) == nil {
		t.Error("no kind is read")
	}
}

func TestAnIDDependsOnEveryPart(t *testing.T) {
	seen := map[ID]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}} {
		for _, kind := range []Kind{ConsentAct, Erasure} {
			id, what := NewID(kind, parts...), fmt.Sprintf("%v %q", kind, parts)
			if other, ok := seen[id]; ok {
				t.Errorf("%s and %s have one id", what, other)
			}
			seen[id] = what
			if NewID(kind, parts...) != id {
				t.Errorf("%s has two ids", what)
			}
		}
	}
}

// decodeCanonical reads the canonical form back: a form that can be read back is of one set of fields only.
func decodeCanonical(b []byte) (fields []Field) {
	text := func() string {
		n := binary.BigEndian.Uint32(b)
		s := string(b[4 : 4+n])
		b = b[4+n:]
		return s
	}
	for len(b) > 0 {
		fields = append(fields, Field{text(), text()})
	}
	return fields
}

func TestTheCanonicalFormIsOfOneSetOfFields(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := genFields().Draw(t, "fields")
		b, err := Canonical(fields)
		if err != nil {
			t.Fatal(err)
		}
		shuffled := rapid.Permutation(fields).Draw(t, "shuffled")
		if other, err := Canonical(shuffled); err != nil || !bytes.Equal(b, other) {
			t.Fatalf("another order, another form: %v", err)
		}
		want := slices.SortedFunc(slices.Values(fields), func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
		if back := decodeCanonical(b); !slices.Equal(back, want) {
			t.Fatalf("read back as %q", back)
		}
	})
}

func TestWhatIsNoRecordIsRefused(t *testing.T) {
	for name, fields := range map[string][]Field{
		"two of one name":      {{"a", "1"}, {"b", "2"}, {"a", "1"}},
		"a name in upper case": {{"A", ""}},
		"no name":              {{"", "x"}},
		"a long name":          {{strings.Repeat("a", maxName+1), ""}},
		"not UTF-8":            {{"a", "\xff"}},
		"too long":             {{"a", strings.Repeat("x", MaxRecord)}},
		"too many":             slices.Repeat([]Field{{"a", ""}}, MaxFields+1),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Canonical(fields); err == nil {
				t.Error("it is written")
			}
		})
	}
	r := consentRecord(1)
	r.Salt = Salt{}
	if _, err := r.Entry(); err == nil {
		t.Error("a record without a salt is committed to")
	}
}

func TestTheCommitmentDependsOnKindSaltAndEveryField(t *testing.T) {
	base := consentRecord(1)
	want := entryOf(t, base)
	for name, change := range map[string]func(*Record){
		"kind":  func(r *Record) { r.Kind = Erasure },
		"salt":  func(r *Record) { r.Salt[31] ^= 1 },
		"value": func(r *Record) { r.Fields[1].Value = "refused" },
		"name":  func(r *Record) { r.Fields[1].Name = "stat" },
		"fewer": func(r *Record) { r.Fields = r.Fields[:3] },
		"more":  func(r *Record) { r.Fields = append(r.Fields, Field{"z", ""}) },
		"shift": func(r *Record) { r.Fields[0] = Field{"purpos", "e" + r.Fields[0].Value} },
	} {
		r := consentRecord(1)
		change(&r)
		if entryOf(t, r).Commitment == want.Commitment {
			t.Errorf("another %s, the same commitment", name)
		}
	}
	if leaf := want.appendTo(nil); bytes.Contains(leaf, []byte("granted")) || bytes.Contains(leaf, base.Salt[:]) {
		t.Error("the leaf shows the record or its salt")
	}
}

func TestEverySaltIsAnother(t *testing.T) {
	a, err := NewSalt(rand.Reader)
	b, err2 := NewSalt(rand.Reader)
	if errors.Join(err, err2) != nil || a == b || a == (Salt{}) {
		t.Errorf("salts %x and %x, %v, %v", a, b, err, err2)
	}
	if _, err := NewSalt(strings.NewReader("too short")); err == nil {
		t.Error("a source that ends makes a salt")
	}
	text, _ := a.MarshalText()
	var back Salt
	if err := back.UnmarshalText(text); err != nil || back != a {
		t.Errorf("read %x, %v", back, err)
	}
	if back.UnmarshalText(text[1:]) == nil || back.UnmarshalText(append(text[1:], 'g')) == nil {
		t.Error("what is no salt is read")
	}
}

func TestABlindedFieldBindsWithoutShowing(t *testing.T) {
	a := Blind(Salt{1}, "subject", "16045690984503098046")
	if strings.Contains(a.Value, "16045690984503098046") || a.Name != "subject" {
		t.Errorf("got %+v", a)
	}
	for _, b := range []Field{
		Blind(Salt{2}, "subject", "16045690984503098046"),
		Blind(Salt{1}, "subject", "16045690984503098047"), Blind(Salt{1}, "subjec", "t16045690984503098046"),
	} {
		if a.Value == b.Value {
			t.Error("another salt, name or value, the same field")
		}
	}
}

func TestCoverReadsAsItWasWritten(t *testing.T) {
	if f := Cover([]int64{7, 3, 4, 12, 4, 5, 40}); f != (Field{CoverField, "3-5,7,12,40"}) {
		t.Errorf("got %+v", f)
	}
	rapid.Check(t, func(t *rapid.T) {
		indexes := rapid.SliceOf(rapid.Int64Range(0, 60)).Draw(t, "indexes")
		spans, err := covered([]Field{Cover(indexes)}, 61)
		if err != nil {
			t.Fatal(err)
		}
		var back []int64
		for _, s := range spans {
			for at := s.first; at <= s.last; at++ {
				back = append(back, at)
			}
		}
		if want := slices.Compact(slices.Sorted(slices.Values(indexes))); !slices.Equal(back, want) {
			t.Fatalf("%v is read as %v", want, back)
		}
	})
	for _, text := range []string{"-", ",", "1,", "2-1", "1-1", "01", "+1", "1-2,3", "3,1", "1,1", "10", "5-10", "9-", "a", "1 ,3", "9223372036854775808", "0-9007199254740993"} {
		if spans, err := covered([]Field{{CoverField, text}}, 10); err == nil {
			t.Errorf("%q is read as %v", text, spans)
		}
	}
	if _, err := covered(nil, 10); err == nil {
		t.Error("an erasure that lists nothing is read")
	}
}

func TestKeys(t *testing.T) {
	key, v := testKey(t)
	again, err := ParseKey(key.Secret() + "\n")
	if err != nil || again.Public() != key.Public() || v.Origin() != origin {
		t.Errorf("read again: %v, public %q, want %q", err, again.Public(), key.Public())
	}
	if _, err := note.NewVerifier(key.Public()); err != nil {
		t.Errorf("others cannot read the verifier key: %v", err)
	}
	seed := strings.SplitN(key.Secret(), "+", 5)[4]
	text, _ := key.MarshalText()
	for _, printed := range []string{
		fmt.Sprint(key), fmt.Sprintf("%+v %#v %s %q", key, key, key, &key), string(text), slog.AnyValue(key).Resolve().String(),
	} {
		if strings.Contains(printed, seed) || !strings.Contains(printed, redactedKey) {
			t.Errorf("prints as %s", printed)
		}
	}
	other, _ := GenerateKey("other.example/ledger", rand.Reader)
	for name, keys := range map[string][]string{
		"none": nil, "not a key": {"x"}, "a secret": {key.Secret()}, "keys of two logs": {key.Public(), other.Public()},
	} {
		if _, err := NewVerifier(keys...); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	for _, name := range []string{"", "a b", "a+b"} {
		if _, err := GenerateKey(name, rand.Reader); err == nil {
			t.Errorf("a key is named %q", name)
		}
	}
	for _, secret := range []string{"", key.Public(), strings.Replace(key.Secret(), origin, "x", 1), key.Secret()[:len(key.Secret())-4]} {
		if _, err := ParseKey(secret); err == nil {
			t.Error("what is no secret key is read")
		}
	}
}

func TestACheckpointIsTheNoteThatTheFormatSays(t *testing.T) {
	key, v := testKey(t)
	_, entries := history(t, 3)
	c := checkpoint(t, memoryLog(t, key, entries))
	text, signature, _ := strings.Cut(c.Note(), "\n\n")
	if want := fmt.Sprintf("%s\n3\n%s", origin, c.Root()); text != want {
		t.Errorf("text %q, want %q", text, want)
	}
	if c.Origin() != origin || !strings.HasPrefix(signature, "— "+origin+" ") {
		t.Errorf("signature %q", signature)
	}
	// golang.org/x/mod reads the same, apart from the name of the format in its first line.
	if root, err := tlog.ParseTree([]byte("go.sum database tree\n" + strings.TrimPrefix(text, origin+"\n") + "\n")); err != nil || root.N != 3 || root.Hash != c.Root() {
		t.Errorf("another reader sees %+v, %v", root, err)
	}
	if back, err := OpenCheckpoint([]byte(c.Note()), v); err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("read %+v, %v", back, err)
	}
}

func TestACheckpointKeepsExtensionsAndWitnesses(t *testing.T) {
	key, v := testKey(t)
	witness, _ := GenerateKey("witness.example", rand.Reader)
	text := origin + "\n0\n" + emptyRoot().String() + "\nfirst\nsecond\n"
	signed, err := note.Sign(&note.Note{Text: text}, key.signer, witness.signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCheckpoint(signed, v)
	if err != nil || !slices.Equal(c.Extension(), []string{"first", "second"}) || c.Note() != string(signed) {
		t.Errorf("got %+v, %v", c, err)
	}
	alone, err := note.Sign(&note.Note{Text: text}, witness.signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(alone, v); err == nil {
		t.Error("a witness alone signs for the log")
	}
	if _, err := OpenCheckpoint(signed, Verifier{}); err == nil {
		t.Error("the zero verifier accepts")
	}
}

func TestASignedTextThatIsNoCheckpointIsRefused(t *testing.T) {
	key, v := testKey(t)
	root := tlog.Hash{1}.String()
	for name, text := range map[string]string{
		"another log":     "other.example/ledger\n1\n" + root + "\n",
		"two lines":       origin + "\n1\n",
		"an empty line":   origin + "\n1\n" + root + "\n\nx\n",
		"a leading zero":  origin + "\n01\n" + root + "\n",
		"a sign":          origin + "\n+1\n" + root + "\n",
		"negative":        origin + "\n-1\n" + root + "\n",
		"beyond counting": origin + "\n9007199254740992\n" + root + "\n",
		"a short root":    origin + "\n1\n" + root[4:] + "\n",
		"loose base64":    origin + "\n1\n" + strings.Replace(root, "AA=", "AB=", 1) + "\n",
		"empty but full":  origin + "\n0\n" + root + "\n",
	} {
		signed, err := note.Sign(&note.Note{Text: text}, key.signer)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := OpenCheckpoint(signed, v); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}

func TestEveryBitOfACheckpointCounts(t *testing.T) {
	key, v := testKey(t)
	_, entries := history(t, 5)
	signed := []byte(checkpoint(t, memoryLog(t, key, entries)).Note())
	for bit := range len(signed) * 8 {
		signed[bit/8] ^= 1 << (bit % 8)
		if c, err := OpenCheckpoint(signed, v); err == nil {
			t.Errorf("bit %d: read as %+v", bit, c)
		}
		signed[bit/8] ^= 1 << (bit % 8)
	}
}

func TestTheFrontierIsTheTreeOfRFC6962(t *testing.T) {
	var tree frontier
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (h []tlog.Hash, err error) {
		for _, i := range indexes {
			h = append(h, stored[i])
		}
		return h, nil
	})
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, reader)
		if err != nil || tree.root() != want {
			t.Fatalf("size %d: root %v, want %v, %v", n, tree.root(), want, err)
		}
		leaf := []byte(strconv.FormatInt(n, 10))
		hashes, err := tlog.StoredHashes(n, leaf, reader)
		if got := tree.next(leaf, nil); err != nil || !slices.Equal(got, hashes) {
			t.Fatalf("leaf %d: %v, want %v, %v", n, got, hashes, err)
		}
		tree.push(hashes)
		stored = append(stored, hashes...)
	}
}

func TestIDsAreFoundWhateverTheirNumber(t *testing.T) {
	const n = 5000
	for _, table := range []*ids{newIDs(0), newIDs(n)} {
		checkIDs(t, table, n)
	}
}

func checkIDs(t *testing.T, table *ids, n int64) {
	t.Helper()
	for i := range n {
		table.add(NewID(ConsentAct, strconv.FormatInt(i, 10)), i)
	}
	for i := range n {
		if !slices.Contains(slices.Collect(table.candidates(NewID(ConsentAct, strconv.FormatInt(i, 10)))), i) {
			t.Fatalf("id %d is lost", i)
		}
	}
	strangers := 0
	for i := n; i < 2*n; i++ {
		strangers += len(slices.Collect(table.candidates(NewID(ConsentAct, strconv.FormatInt(i, 10)))))
	}
	if strangers > 3 {
		t.Errorf("%d of %d unseen ids seem seen", strangers, n)
	}
}
