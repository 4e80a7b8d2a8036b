package ledger

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// each is the records as a store delivers them.
func each(records []Record) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func withKind(n int, kind Kind, fields ...Field) Record {
	r := consentRecord(n)
	r.Kind, r.Fields = kind, fields
	return r
}

// told is a history of twelve acts with a publication, an erasure and an expiry: leaf 4 is a publication, 12 erases 2
// and 3, 13 lets 0 to 4 expire. The records are those that are left.
func told(t testing.TB) (records []Record, entries []Entry) {
	t.Helper()
	records, _ = history(t, 12)
	records[4] = withKind(4, PolicyPublication, Field{"policy", "2022-09-15"})
	records = append(
		records, withKind(12, Erasure, Field{"requested", "2026-09-01"}, Cover([]int64{2, 3})),
		withKind(13, RetentionExpiry, Cover([]int64{0, 1, 2, 3, 4})),
	)
	for _, r := range records {
		entries = append(entries, entryOf(t, r))
	}
	return slices.Concat(records[4:]), entries
}

// at finds the record of a leaf.
func at(records []Record, index int64) *Record {
	return &records[slices.IndexFunc(records, func(r Record) bool { return r.Index == index })]
}

func without(records []Record, index int64) []Record {
	return slices.DeleteFunc(records, func(r Record) bool { return r.Index == index })
}

// shown is findings as "fault index" and what else tells them apart.
func shown(found Findings) (list []string) {
	for _, f := range found.List {
		list = append(list, f.String())
	}
	return list
}

func TestVerifyNamesEveryFault(t *testing.T) {
	name := func(n int) string { return consentRecord(n).ID.String() }
	for what, c := range map[string]struct {
		change func(records []Record) []Record
		want   []string
	}{
		"nothing": {func(r []Record) []Record { return r }, nil},
		"an edited field": {
			func(r []Record) []Record { at(r, 6).Fields[1].Value = "refused"; return r },
			[]string{"tampered: leaf 6 (consent_act " + name(6) + "): content"},
		},
		"an edited salt": {
			func(r []Record) []Record { at(r, 6).Salt[0]++; return r },
			[]string{"tampered: leaf 6 (consent_act " + name(6) + "): content"},
		},
		"a lost salt": {
			func(r []Record) []Record { at(r, 6).Salt = Salt{}; return r },
			[]string{"tampered: leaf 6 (consent_act " + name(6) + "): content"},
		},
		"a field that cannot be": {
			func(r []Record) []Record { at(r, 6).Fields[1].Value = "\xff"; return r },
			[]string{"tampered: leaf 6 (consent_act " + name(6) + "): content"},
		},
		"an edited time": {
			func(r []Record) []Record { at(r, 6).Time--; return r },
			[]string{"tampered: leaf 6 (consent_act " + name(6) + "): time"},
		},
		"an edited kind": {
			func(r []Record) []Record { at(r, 6).Kind = KeyDestruction; return r },
			[]string{"tampered: leaf 6 (consent_act " + name(6) + "): kind"},
		},
		"an edited id": {
			func(r []Record) []Record { at(r, 6).ID[3]++; return r },
			[]string{"tampered: leaf 6 (consent_act " + name(6) + "): id"},
		},
		"two dropped": {
			func(r []Record) []Record { return without(without(r, 4), 7) },
			[]string{"dropped: leaf 4 (policy_publication " + name(4) + ")", "dropped: leaf 7 (consent_act " + name(7) + ")"},
		},
		"two swapped": {
			func(r []Record) []Record { a, b := at(r, 5), at(r, 9); a.Index, b.Index = 9, 5; return r },
			[]string{
				"reordered: leaf 9 (consent_act " + name(5) + ") belongs to leaf 5",
				"reordered: leaf 5 (consent_act " + name(9) + ") belongs to leaf 9",
			},
		},
		"two whose contents are swapped": {
			func(r []Record) []Record {
				a, b := at(r, 5), at(r, 9)
				a.Fields, b.Fields = []Field{{"state", "refused"}}, a.Fields
				a.Salt, b.Salt = b.Salt, a.Salt
				return r
			},
			[]string{"tampered: leaf 5 (consent_act " + name(5) + "): content", "tampered: leaf 9 (consent_act " + name(9) + "): content"},
		},
		"one moved and edited": {
			func(r []Record) []Record { a := at(r, 5); a.Index, a.Time = 70, 1; return r },
			[]string{
				"reordered: leaf 70 (consent_act " + name(5) + ") belongs to leaf 5", "tampered: leaf 5 (consent_act " + name(5) + "): time",
			},
		},
		"one slipped in": {
			func(r []Record) []Record { return append(r, consentRecord(50)) },
			[]string{"unknown: leaf 50 (consent_act " + name(50) + ")"},
		},
		"one replaced": {
			func(r []Record) []Record { n := consentRecord(50); n.Index = 6; *at(r, 6) = n; return r },
			[]string{"unknown: leaf 6 (consent_act " + name(50) + ")", "dropped: leaf 6 (consent_act " + name(6) + ")"},
		},
		"one at no leaf": {
			func(r []Record) []Record { n := consentRecord(50); n.Index = -1; return append(r, n) },
			[]string{"unknown: leaf -1 (consent_act " + name(50) + ")"},
		},
		"one doubled": {
			func(r []Record) []Record { return append(r, *at(r, 8)) },
			[]string{"doubled: leaf 8 (consent_act " + name(8) + ")"},
		},
		"one doubled elsewhere": {
			func(r []Record) []Record { a := *at(r, 8); a.Index = 9; return append(r, a) },
			[]string{"reordered: leaf 9 (consent_act " + name(8) + ") belongs to leaf 8", "doubled: leaf 8 (consent_act " + name(8) + ")"},
		},
		"one that was erased": {
			func(r []Record) []Record { return append(r, consentRecord(3)) },
			[]string{"undeleted: leaf 3 (consent_act " + name(3) + ")"},
		},
		"the erasure edited": {
			func(r []Record) []Record { at(r, 12).Fields[1] = Cover([]int64{5}); return without(r, 5) },
			[]string{"tampered: leaf 12 (erasure " + name(12) + "): content", "dropped: leaf 5 (consent_act " + name(5) + ")"},
		},
		"the expiry dropped": {
			func(r []Record) []Record { return without(r, 13) },
			[]string{
				"dropped: leaf 0 (consent_act " + name(0) + ")", "dropped: leaf 1 (consent_act " + name(1) + ")",
				"dropped: leaf 13 (retention_expiry " + name(13) + ")",
			},
		},
		"the erasures swapped": {
			func(r []Record) []Record { a, b := at(r, 12), at(r, 13); a.Index, b.Index = 13, 12; return r },
			[]string{
				"reordered: leaf 13 (erasure " + name(12) + ") belongs to leaf 12",
				"reordered: leaf 12 (retention_expiry " + name(13) + ") belongs to leaf 13",
			},
		},
	} {
		t.Run(what, func(t *testing.T) {
			key, v := testKey(t)
			records, entries := told(t)
			l := memoryLog(t, key, entries)
			checkpoint(t, l)
			records = c.change(records)
			for _, order := range []string{"by index", "reversed"} {
				found, err := Verify(t.Context(), l, each(records), v)
				if err != nil {
					t.Fatal(err)
				}
				got, want := shown(found), c.want
				if order == "reversed" {
					slices.Sort(got)
					want = slices.Sorted(slices.Values(want))
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s:\n%s\nwant\n%s", order, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				if found.OK() != (len(c.want) == 0) || found.Records != int64(len(records)) || found.Leaves != 14 || found.Signed != 14 {
					t.Errorf("OK is %v; %d records, %d leaves, %d signed", found.OK(), found.Records, found.Leaves, found.Signed)
				}
				slices.Reverse(records)
			}
		})
	}
}

func TestAnErasureMustSayWhatItCovers(t *testing.T) {
	for what, fields := range map[string][]Field{
		"nothing": {{"requested", "2026-09-01"}}, "no ranges": {{CoverField, "all"}},
		"itself": {Cover([]int64{4})}, "a later leaf": {Cover([]int64{1, 5})},
	} {
		t.Run(what, func(t *testing.T) {
			key, v := testKey(t)
			records, entries := history(t, 6)
			records[4] = withKind(4, Erasure, fields...)
			entries[4] = entryOf(t, records[4])
			l := memoryLog(t, key, entries)
			checkpoint(t, l)
			found, err := Verify(t.Context(), l, each(without(slices.Clone(records), 1)), v)
			if err != nil || found.Counts[Malformed] != 1 || found.Counts[Dropped] != 1 || len(found.List) != 2 {
				t.Errorf("found %v, %v", shown(found), err)
			}
		})
	}
}

func TestVerifyNamesWhatIsWrongWithTheLog(t *testing.T) {
	key, v := testKey(t)
	records, entries := history(t, 9)
	l := memoryLog(t, key, entries)
	full := checkpoint(t, l)
	leaves, hashes, note := contents(l.store)

	lie := consentRecord(5)
	lie.Fields[1].Value = "refused"
	lied := slices.Clone(records)
	lied[5] = lie
	changed := slices.Clone(entries)
	changed[5] = entryOf(t, lie)
	forged := memoryLog(t, key, changed)
	forgedLeaves, forgedHashes, _ := contents(forged.store)
	resigned := checkpoint(t, forged).Note()

	for what, c := range map[string]struct {
		store   *Store
		records []Record
		known   []Checkpoint
		want    string
	}{
		"nothing":                              {storeOf(leaves, hashes, note), records, nil, ""},
		"record and leaf changed":              {storeOf(forgedLeaves, hashes, note), lied, nil, "leaf 5: the log is not what a checkpoint signed"},
		"record, leaf and hashes changed":      {storeOf(forgedLeaves, forgedHashes, note), lied, nil, "leaf -1: the log is not what a checkpoint signed"},
		"all of it changed, and signed":        {storeOf(forgedLeaves, forgedHashes, []byte(resigned)), lied, nil, ""},
		"the same, with an earlier checkpoint": {storeOf(forgedLeaves, forgedHashes, []byte(resigned)), lied, []Checkpoint{full}, "leaf -1: the log is not what a checkpoint signed"},
		"the end cut off":                      {storeOf(leaves[:7*EntrySize], hashes, note), records[:7], nil, "leaf 7: the log is shorter than a checkpoint of it"},
		"the checkpoint lost":                  {storeOf(leaves, hashes, nil), records, nil, "leaf -1: no checkpoint was signed"},
		"the checkpoint lost but known":        {storeOf(leaves, hashes, nil), records, []Checkpoint{full}, ""},
		"everything lost but a checkpoint":     {storeOf(nil, nil, nil), nil, []Checkpoint{full}, "leaf 0: the log is shorter than a checkpoint of it"},
		"everything lost":                      {storeOf(nil, nil, nil), nil, nil, ""},
		"another note":                         {storeOf(leaves, hashes, []byte("x")), records, []Checkpoint{full}, "leaf -1: the checkpoint is not signed by the log's keys"},
	} {
		t.Run(what, func(t *testing.T) {
			found, err := Verify(t.Context(), c.store, each(c.records), v, c.known...)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if c.want != "" {
				want = []string{"inconsistent: " + c.want}
			}
			if got := shown(found); !slices.Equal(got, want) || found.OK() != (c.want == "") {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}

	broken := slices.Clone(leaves)
	broken[3*EntrySize] = 0
	found, err := Verify(t.Context(), storeOf(broken, hashes, note), each(records), v)
	if err != nil || found.Counts[Inconsistent] != 2 || found.Counts[Unknown] != 1 || found.List[0].Index != 3 {
		t.Errorf("a leaf that is none: %v, %v", shown(found), err)
	}
	if _, err := Verify(t.Context(), l, each(records), v, Checkpoint{}); err == nil {
		t.Error("a checkpoint that nobody signed is known")
	}
}

func TestOnlySignedLeavesNeedARecord(t *testing.T) {
	key, v := testKey(t)
	records, entries := history(t, 10)
	l := memoryLog(t, key, entries[:6])
	c := checkpoint(t, l)
	appendAll(t, l, entries[6:])
	for what, r := range map[string][]Record{"without": records[:6], "with": records, "with some": append(slices.Clone(records[:6]), records[8])} {
		if found, err := Verify(t.Context(), l, each(r), v); err != nil || !found.OK() || found.Signed != 6 {
			t.Errorf("%s records of unsigned leaves: %v, %v", what, shown(found), err)
		}
	}
	torn := bytes.Clone(l.store.leaves.(*memory).b)
	clear(torn[8*EntrySize:])
	if found, err := Verify(t.Context(), storeOf(torn, l.store.hashes.(*memory).b, []byte(c.Note())), each(records[:8]), v); err != nil || !found.OK() {
		t.Errorf("before a crash is recovered from: %v, %v", shown(found), err)
	}
	newer := checkpoint(t, l)
	known := []Checkpoint{newer, c}
	if found, err := Verify(t.Context(), storeOf(contents(l.store)), each(records), v, known...); err != nil || !found.OK() || known[0].Size() != newer.Size() {
		t.Errorf("known checkpoints in any order, left as they are: %v, %v", shown(found), err)
	}
	if found, err := Verify(t.Context(), storeOf(l.store.leaves.(*memory).b, l.store.hashes.(*memory).b, nil), each(records), v, known...); err != nil || !found.OK() || known[0].Size() != newer.Size() {
		t.Errorf("known checkpoints alone: %v, %v", shown(found), err)
	}
	l.signed = c
	if found, err := Verify(t.Context(), l, each(records[:6]), v, newer); err != nil || found.Counts[Dropped] != 4 {
		t.Errorf("with a newer checkpoint: %v, %v", shown(found), err)
	}
}

func TestAnAuditThatCouldNotBeCarriedOutIsNotOK(t *testing.T) {
	key, v := testKey(t)
	records, entries := history(t, 5)
	l := memoryLog(t, key, entries)
	checkpoint(t, l)
	away := errors.New("the store is away")
	found, err := Verify(t.Context(), l, func(yield func(Record, error) bool) {
		if yield(records[0], nil) {
			yield(Record{}, away)
		}
	}, v)
	if !errors.Is(err, away) || found.OK() {
		t.Errorf("OK is %v, %v", found.OK(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := Verify(ctx, l, each(records), v); !errors.Is(err, context.Canceled) || found.OK() {
		t.Errorf("OK is %v, %v", found.OK(), err)
	}
	if (&Findings{}).OK() {
		t.Error("no audit is OK")
	}
}

func TestManyFaultsAreCountedAndTheFirstNamed(t *testing.T) {
	key, v := testKey(t)
	const n = MaxFindings + 100
	records, entries := history(t, n)
	l := memoryLog(t, key, entries)
	checkpoint(t, l)
	found, err := Verify(t.Context(), l, each(nil), v)
	if err != nil || found.Counts[Dropped] != n || len(found.List) != MaxFindings || found.List[0].Index != 0 {
		t.Errorf("%v, %d named, %v", found.Counts, len(found.List), err)
	}
	for i := range records {
		records[i].ID[15]++
		records[i].Time++
	}
	found, err = Verify(t.Context(), l, each(records), v)
	if err != nil || found.Counts[Unknown] != n || found.Counts[Dropped] != n || len(found.List) != MaxFindings {
		t.Errorf("%v, %d named, %v", found.Counts, len(found.List), err)
	}
}

func TestNoSingleChangeOfAStoreGoesUnnoticed(t *testing.T) {
	key, v := testKey(t)
	_, entries := told(t)
	l := memoryLog(t, key, entries)
	checkpoint(t, l)
	rapid.Check(t, func(rt *rapid.T) {
		records, _ := told(t)
		i := rapid.IntRange(0, len(records)-1).Draw(rt, "record")
		r := &records[i]
		what := rapid.SampledFrom([]string{"index", "kind", "id", "time", "salt", "name", "value", "drop", "double", "swap"}).Draw(rt, "what")
		switch bit := rapid.IntRange(0, 127).Draw(rt, "bit"); what {
		case "index":
			r.Index ^= 1 << (bit % 64)
		case "kind":
			r.Kind ^= 1 << (bit % 8)
		case "id":
			r.ID[bit/8] ^= 1 << (bit % 8)
		case "time":
			r.Time ^= 1 << (bit % 64)
		case "salt":
			r.Salt[bit/8] ^= 1 << (bit % 8)
		case "name", "value":
			f := &r.Fields[bit%len(r.Fields)]
			text := &f.Value
			if what == "name" {
				text = &f.Name
			}
			b := []byte(*text)
			b[bit/8%len(b)] ^= 1 << (bit % 8)
			*text = string(b)
		case "drop":
			records = slices.Delete(records, i, i+1)
		case "double":
			records = append(records, *r)
		case "swap":
			o := &records[(i+1+bit%(len(records)-1))%len(records)]
			r.Index, o.Index = o.Index, r.Index
		}
		found, err := Verify(context.Background(), l, each(records), v)
		if err != nil || found.OK() {
			rt.Fatalf("a changed %s is OK, %v", what, err)
		}
		index := l.Size()
		for _, f := range found.List {
			index = min(index, max(f.Index, f.Belongs))
		}
		if what != "index" && what != "swap" && index > int64(i)+4 {
			rt.Fatalf("a changed %s of leaf %d is not named: %v", what, i+4, shown(found))
		}
	})
}
