package ledger

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Field is one named value of a record.
type Field struct {
	Name  string `json:"name"`  // of a-z, 0-9 and _
	Value string `json:"value"` // valid UTF-8
}

// Record is what an entry commits to, as a store keeps it. A receipt shows every field to the subject: what the
// subject should not see goes in blinded ([Blind]).
type Record struct {
	Index  int64 // of its leaf; means nothing before it is appended
	Kind   Kind
	ID     ID
	Time   int64 // microseconds since the Unix epoch
	Fields []Field
	Salt   Salt
}

// Limits of a record.
const (
	MaxFields  = 64
	MaxRecord  = 1 << 20 // bytes of the canonical form
	maxName    = 64
	saltDomain = "sekisho/ledger/v1\x00"
)

// Salt hides a record in its commitment. It is erased with the record.
type Salt [32]byte

// NewSalt makes a salt. rand MUST be a cryptographic source, crypto/rand.Reader outside tests.
func NewSalt(rand io.Reader) (Salt, error) {
	var s Salt
	if _, err := io.ReadFull(rand, s[:]); err != nil {
		return Salt{}, fmt.Errorf("make salt: %w", err)
	}
	return s, nil
}

// MarshalText writes 64 hexadecimal digits.
func (s Salt) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(s[:])), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Salt) UnmarshalText(text []byte) error { return unmarshalHex(s[:], text) }

// Commitment binds a leaf to its record and tells nothing about it without the salt.
type Commitment [sha256.Size]byte

// Canonical writes fields in the one form that is hashed: by name, each name and each value after its length. Two
// different sets of fields never come to the same bytes, and the order in which a caller holds them does not matter.
func Canonical(fields []Field) ([]byte, error) {
	if len(fields) > MaxFields {
		return nil, errors.New("write record: too many fields")
	}
	size := 0
	for _, f := range fields {
		if !validName(f.Name) {
			return nil, errors.New("write record: the name of a field is not of a-z, 0-9 and _")
		}
		if !utf8.ValidString(f.Value) {
			return nil, errors.New("write record: a value is not UTF-8")
		}
		if size += 8 + len(f.Name) + len(f.Value); size > MaxRecord {
			return nil, errors.New("write record: too long")
		}
	}
	byName := func(a, b Field) int { return cmp.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(fields, byName) {
		fields = slices.SortedFunc(slices.Values(fields), byName)
	}
	b := make([]byte, 0, size)
	for i, f := range fields {
		if i > 0 && f.Name == fields[i-1].Name {
			return nil, errors.New("write record: two fields have one name")
		}
		b = appendText(appendText(b, f.Name), f.Value)
	}
	return b, nil
}

func validName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...) //nolint:gosec // G115: far below 4 GiB
}

// Entry is the leaf that commits to the record.
func (r *Record) Entry() (Entry, error) {
	text, err := Canonical(r.Fields)
	if err != nil {
		return Entry{}, err
	}
	if r.Salt == (Salt{}) {
		return Entry{}, errors.New("commit to record: no salt")
	}
	h := sha256.New()
	_, _ = h.Write([]byte(saltDomain))
	_, _ = h.Write([]byte{byte(r.Kind)})
	_, _ = h.Write(r.Salt[:])
	_, _ = h.Write(text)
	e := Entry{Kind: r.Kind, ID: r.ID, Time: r.Time, Commitment: Commitment(h.Sum(nil))}
	if err := e.check(); err != nil {
		return Entry{}, fmt.Errorf("commit to record: %w", err)
	}
	return e, nil
}

// Blind makes a field that binds the record to a value without showing it: its hash under the record's salt. Whoever
// holds the receipt has the salt and can try values, so the value MUST be too long to guess, such as a pseudonym.
func Blind(salt Salt, name, value string) Field {
	h := sha256.New()
	_, _ = h.Write([]byte("sekisho/ledger/blind/v1\x00"))
	_, _ = h.Write(salt[:])
	_, _ = h.Write(appendText(appendText(nil, name), value))
	return Field{Name: name, Value: hex.EncodeToString(h.Sum(nil))}
}

// CoverField is the field of an erasure or expiry that lists the leaves whose records it took.
const CoverField = "covers"

// Cover lists leaf indexes as a field: ascending ranges, both ends included, such as "3-7,12". Nothing covered is "".
func Cover(indexes []int64) Field {
	indexes = slices.Compact(slices.Sorted(slices.Values(indexes)))
	var b strings.Builder
	for i := 0; i < len(indexes); {
		r := span{indexes[i], indexes[i]}
		for i++; i < len(indexes) && indexes[i] == r.last+1; i++ {
			r.last++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(r.first, 10))
		if r.last > r.first {
			b.WriteByte('-')
			b.WriteString(strconv.FormatInt(r.last, 10))
		}
	}
	return Field{Name: CoverField, Value: b.String()}
}

// span is leaves first to last, both included.
type span struct{ first, last int64 }

// covered reads what Cover writes. Every leaf it names lies below limit, the index of the record that names it: an
// entry can cover earlier ones only.
func covered(fields []Field, limit int64) ([]span, error) {
	at := slices.IndexFunc(fields, func(f Field) bool { return f.Name == CoverField })
	if at < 0 {
		return nil, errors.New("read covered leaves: no such field")
	}
	if fields[at].Value == "" {
		return nil, nil
	}
	var spans []span
	next := int64(0)
	for text := range strings.SplitSeq(fields[at].Value, ",") {
		from, to, ranged := strings.Cut(text, "-")
		if !ranged {
			to = from
		}
		first, ok1 := parseCount(from)
		last, ok2 := parseCount(to)
		if !ok1 || !ok2 || first < next || last < first || ranged && first == last || last >= limit {
			return nil, errors.New("read covered leaves: not ascending ranges of earlier leaves")
		}
		spans = append(spans, span{first, last})
		next = last + 2 // neighbours are one range
	}
	return spans, nil
}

// maxCount bounds sizes and indexes: what a JSON number holds exactly.
const maxCount = 1<<53 - 1

// parseCount reads a decimal number that is written in the one way: no sign, no leading zero.
func parseCount(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0 && n <= maxCount && strconv.FormatInt(n, 10) == text
}
