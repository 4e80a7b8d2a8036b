package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
)

// ReceiptVersion is the form of receipts that this package writes and reads.
const ReceiptVersion = 1

// maxReceipt bounds a receipt, in bytes: a record whose every byte is escaped, with a checkpoint and a proof.
const maxReceipt = 8 << 20

// Receipt is what a subject keeps: the record, and the proof that the log holds it. Its JSON is described by
// receipt.schema.json; the names never change within a version.
type Receipt struct {
	Version    int         `json:"version"`
	Kind       Kind        `json:"kind"`
	ID         ID          `json:"id"`         // 32 hexadecimal digits
	Time       time.Time   `json:"time"`       // RFC 3339, UTC, to the microsecond
	Fields     []Field     `json:"fields"`     // of the record
	Salt       Salt        `json:"salt"`       // 64 hexadecimal digits
	Index      int64       `json:"index"`      // of the leaf
	Proof      []tlog.Hash `json:"proof"`      // inclusion proof, from the leaf up, each in base64
	Checkpoint string      `json:"checkpoint"` // signed note
}

// Receipt proves a record under the last checkpoint. ErrUnknown: the log has no leaf of its id, or the leaf commits to
// another record. ErrPending: the next checkpoint will cover it.
func (l *Log) Receipt(r Record) (Receipt, error) {
	want, err := r.Entry()
	if err != nil {
		return Receipt{}, fmt.Errorf("make receipt: %w", err)
	}
	signed := l.Signed()
	index, e, err := l.Find(r.ID)
	if err == nil && e != want {
		err = fmt.Errorf("%w: the one of this id commits to another record", ErrUnknown)
	}
	if err == nil && index >= signed.size {
		err = ErrPending
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("make receipt: %w", err)
	}
	proof, err := l.ProveInclusion(index, signed.size)
	if err != nil {
		return Receipt{}, fmt.Errorf("make receipt: %w", err)
	}
	receipt := Receipt{
		Version: ReceiptVersion, Kind: r.Kind, ID: r.ID, Time: time.UnixMicro(r.Time).UTC(), Fields: r.Fields, Salt: r.Salt,
		Index: index, Proof: proof, Checkpoint: signed.note,
	}
	if receipt.Fields == nil {
		receipt.Fields = []Field{}
	}
	// Nothing leaves that does not verify, should the hashes on disk be damaged, or the log not have caught up.
	if err := receipt.prove(signed); err != nil {
		return Receipt{}, fmt.Errorf("make receipt: %w", err)
	}
	return receipt, nil
}

// Record is what the receipt says was recorded.
func (r *Receipt) Record() Record {
	return Record{Index: r.Index, Kind: r.Kind, ID: r.ID, Time: r.Time.UnixMicro(), Fields: r.Fields, Salt: r.Salt}
}

// ParseReceipt reads a receipt. It MUST be the JSON value that its fields are written as, though spaces, escapes and
// the order of members do not matter: a member that is unknown, doubled, missing or in another spelling is refused, so
// that two readers of one receipt never see different things. It proves nothing yet: that is VerifyReceipt.
func ParseReceipt(text []byte) (Receipt, error) {
	if len(text) > maxReceipt {
		return Receipt{}, errors.New("read receipt: too long")
	}
	if !utf8.Valid(text) {
		return Receipt{}, errors.New("read receipt: not UTF-8")
	}
	var r Receipt
	given, err := decodeStrict(text)
	if err != nil {
		return Receipt{}, errors.New("read receipt: not one JSON value")
	}
	// Through a spelling of our own, since tlog.Hash reads no escapes.
	plain, err := json.Marshal(given)
	if err != nil || json.Unmarshal(plain, &r) != nil {
		return Receipt{}, errors.New("read receipt: not the JSON of a receipt")
	}
	written, err := json.Marshal(r)
	if err != nil {
		return Receipt{}, errors.New("read receipt: not the JSON of a receipt")
	}
	if own, err := decodeStrict(written); err != nil || !reflect.DeepEqual(given, own) {
		return Receipt{}, errors.New("read receipt: a member is unknown, missing or not in its one spelling")
	}
	return r, nil
}

// decodeStrict reads one JSON value and refuses objects that name a member twice.
func decodeStrict(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := decodeValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return v, nil
}

// decodeValue recurses as deep as encoding/json lets a text nest.
func decodeValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	case json.Delim('{'):
		object := map[string]any{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			key, _ := name.(string)
			if _, twice := object[key]; twice {
				return nil, errors.New("a member is named twice")
			}
			if object[key], err = decodeValue(d); err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return object, err
	}
	return t, nil
}

// VerifyReceipt shows, with nothing but the verifier, that the log recorded exactly what the receipt says, and returns
// the checkpoint that covers it: the subject compares it with others by VerifyConsistency.
func VerifyReceipt(r Receipt, v Verifier) (Checkpoint, error) {
	c, err := OpenCheckpoint([]byte(r.Checkpoint), v)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("verify receipt: %w", err)
	}
	if err := r.prove(c); err != nil {
		return Checkpoint{}, fmt.Errorf("verify receipt: %w", err)
	}
	return c, nil
}

func (r *Receipt) prove(c Checkpoint) error {
	if r.Version != ReceiptVersion {
		return errors.New("a version that is not known")
	}
	if !r.Time.Equal(time.UnixMicro(r.Time.UnixMicro())) {
		return errors.New("the time is finer than a microsecond")
	}
	record := r.Record()
	e, err := record.Entry()
	if err != nil {
		return err
	}
	if tlog.CheckRecord(r.Proof, c.size, c.root, r.Index, tlog.RecordHash(e.appendTo(nil))) != nil {
		return ErrUnproven
	}
	return nil
}
