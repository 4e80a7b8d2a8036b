package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Kind is what an entry stands for. The list is closed. The numbers are part of every leaf and never change.
type Kind uint8

// The kinds. The zero Kind is none.
const (
	ConsentAct Kind = iota + 1
	PolicyPublication
	KeyDestruction
	Erasure
	RetentionExpiry
	AuditCheckpoint

	endOfKinds
)

var kindNames = [...]string{
	ConsentAct: "consent_act", PolicyPublication: "policy_publication", KeyDestruction: "key_destruction",
	Erasure: "erasure", RetentionExpiry: "retention_expiry", AuditCheckpoint: "audit_checkpoint",
}

func (k Kind) valid() bool { return k > 0 && k < endOfKinds }

// erasable reports whether records of the kind may be gone, when a later entry says so. All others are kept for ever.
func (k Kind) erasable() bool { return k == ConsentAct }

// erases reports whether records of the kind say which leaves have lost their records.
func (k Kind) erases() bool { return k == Erasure || k == RetentionExpiry }

func (k Kind) String() string {
	if k.valid() {
		return kindNames[k]
	}
	return "none"
}

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.valid() {
		return nil, errors.New("write kind: there is none")
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText reads the name of a kind.
func (k *Kind) UnmarshalText(text []byte) error {
	at := slices.Index(kindNames[1:], string(text))
	if at < 0 {
		return errors.New("read kind: none of the kinds")
	}
	*k = Kind(at + 1) //nolint:gosec // G115: an index of kindNames
	return nil
}

// ID names what an entry stands for, once in a log.
type ID [16]byte

// NewID derives the id of the thing that parts name, so that a retry comes to the same id. It stays in the log for
// ever: parts MUST NOT hold personal data or a pseudonym, which could be guessed from their hash.
func NewID(kind Kind, parts ...string) ID {
	h := sha256.New()
	_, _ = h.Write([]byte("sekisho/ledger/id/v1\x00"))
	_, _ = h.Write([]byte{byte(kind)})
	for _, p := range parts {
		_, _ = h.Write(appendText(nil, p))
	}
	return ID(h.Sum(nil)[:16])
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes 32 hexadecimal digits.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *ID) UnmarshalText(text []byte) error { return unmarshalHex(id[:], text) }

func unmarshalHex(to, text []byte) error {
	if len(text) != hex.EncodedLen(len(to)) {
		return fmt.Errorf("read hexadecimal: not %d digits", hex.EncodedLen(len(to)))
	}
	if _, err := hex.Decode(to, text); err != nil {
		return errors.New("read hexadecimal: not a digit")
	}
	return nil
}

// maxTime is the end of the year 9999, the last that RFC 3339 can write, in microseconds.
const maxTime = 253402300799999999

// Entry is one leaf of the log.
type Entry struct {
	Kind       Kind
	ID         ID
	Time       int64 // microseconds since the Unix epoch
	Commitment Commitment
}

// EntrySize is the length of a leaf, in bytes.
const EntrySize = 1 + 1 + len(ID{}) + 8 + len(Commitment{})

// entryVersion is the first byte of a leaf. It is not zero, so that a hole in a file is no entry.
const entryVersion = 1

func (e *Entry) check() error {
	switch {
	case !e.Kind.valid():
		return errors.New("entry of no kind")
	case e.ID == ID{}:
		return errors.New("entry without an id")
	case e.Commitment == Commitment{}:
		return errors.New("entry without a commitment")
	case e.Time < 0 || e.Time > maxTime:
		return errors.New("entry without a time")
	}
	return nil
}

// MarshalBinary writes the leaf: version, kind, id, time (big-endian), commitment.
func (e Entry) MarshalBinary() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	return e.appendTo(make([]byte, 0, EntrySize)), nil
}

// appendTo writes a checked entry.
func (e *Entry) appendTo(b []byte) []byte {
	b = append(b, entryVersion, byte(e.Kind))
	b = append(b, e.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time)) //nolint:gosec // G115: not negative
	return append(b, e.Commitment[:]...)
}

// ParseEntry reads a leaf. Every entry has one encoding, and every other text is refused.
func ParseEntry(leaf []byte) (Entry, error) {
	if len(leaf) != EntrySize || leaf[0] != entryVersion {
		return Entry{}, errors.New("read entry: not a leaf of this version")
	}
	e := Entry{Kind: Kind(leaf[1]), Time: int64(binary.BigEndian.Uint64(leaf[18:]))} //nolint:gosec // G115: checked below
	copy(e.ID[:], leaf[2:])
	copy(e.Commitment[:], leaf[26:])
	if err := e.check(); err != nil {
		return Entry{}, fmt.Errorf("read entry: %w", err)
	}
	return e, nil
}
