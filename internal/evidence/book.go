package evidence

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/ledger"
)

// Producer writes to the ledger's topic; it returns when everything is acknowledged by all in-sync replicas.
type Producer interface {
	Produce(ctx context.Context, messages []kafka.Message) error
}

// Publish puts the entries of records into the ledger's topic, whose order is the order of the ledger. Entries that are
// there already change nothing.
func Publish(ctx context.Context, topic Producer, records []ledger.Record) error {
	messages := make([]kafka.Message, 0, len(records))
	for i := range records {
		entry, err := records[i].Entry()
		if err != nil {
			return fmt.Errorf("publish ledger entries: %w", err)
		}
		leaf, err := entry.MarshalBinary()
		if err != nil {
			return fmt.Errorf("publish ledger entries: %w", err)
		}
		messages = append(messages, kafka.Message{Value: leaf}) // the topic has one partition
	}
	if len(messages) == 0 {
		return nil
	}
	if err := topic.Produce(ctx, messages); err != nil {
		return fmt.Errorf("publish ledger entries: %w", err)
	}
	return nil
}

// Note stores a record that is no consent act and publishes its entry. Noting the same record again changes nothing.
// The row comes first: a leaf without its record would look like a dropped one.
func Note(ctx context.Context, db Store, topic Producer, r ledger.Record) error {
	there := false
	err := db.Select(ctx, "SELECT toUInt8(1) FROM ledger_records WHERE hex(id) = {id:String} LIMIT 1", map[string]string{"id": strings.ToUpper(r.ID.String())},
		clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				there = true
			}
			return nil
		})
	if err == nil && !there {
		err = db.Insert(ctx, "ledger_records", "note/"+r.ID.String(), noteColumns(r))
	}
	if err != nil {
		return fmt.Errorf("note record: %w", err)
	}
	return Publish(ctx, topic, []ledger.Record{r})
}

// LoadKey reads the signing key of a ledger, and makes one where there is none. The file is its owner's only.
func LoadKey(path, name string) (ledger.Key, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		return ledger.ParseKey(strings.TrimSpace(string(text)))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return ledger.Key{}, fmt.Errorf("read ledger key: %w", err)
	}
	key, err := ledger.GenerateKey(name, rand.Reader)
	if err != nil {
		return ledger.Key{}, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return ledger.Key{}, fmt.Errorf("write ledger key: %w", err)
	}
	_, err = f.WriteString(key.Secret() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return ledger.Key{}, fmt.Errorf("write ledger key: %w", err)
	}
	return key, nil
}

// Book is the ledger at work. Exactly one process of a deployment has it; Run keeps it.
type Book struct {
	log    *ledger.Log
	store  *ledger.Store
	tail   *kafka.Tail
	db     Store
	key    ledger.Key
	logger *slog.Logger
}

// signInterval is how often a grown log is signed. It bounds how long a receipt is waited for.
const signInterval = 200 * time.Millisecond

// OpenBook opens the ledger in a directory. Run MUST be running for it to grow.
func OpenBook(ctx context.Context, dir string, key ledger.Key, cluster *kafka.Cluster, topic string, db Store, logger *slog.Logger) (*Book, error) {
	store, err := ledger.OpenStore(dir)
	if err != nil {
		return nil, err
	}
	log, err := ledger.Open(ctx, store, key)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	tail, err := kafka.NewTail(cluster, kafka.TailConfig{Topic: topic})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &Book{log: log, store: store, tail: tail, db: db, key: key, logger: logger}, nil
}

// Run follows the topic and signs until ctx ends.
func (b *Book) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, b.log.Close()) }()
	take := func(r kafka.Record) error {
		entry, err := ledger.ParseEntry(r.Value)
		if err != nil {
			// Whoever may write to the topic can put anything there. It is no entry, so it is none of the ledger's.
			b.logger.LogAttrs(ctx, slog.LevelError, "the ledger's topic holds what is no entry", slog.Int64("offset", r.Offset))
			return nil //nolint:nilerr // told above
		}
		_, err = b.log.Append(ctx, []ledger.Entry{entry})
		return err
	}
	if err := b.tail.Restore(ctx, take); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("restore ledger: %w", err)
	}
	b.logger.LogAttrs(ctx, slog.LevelInfo, "ledger restored", slog.Int64("leaves", b.log.Size()))
	fctx, stop := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() { followed <- b.tail.Follow(fctx, take) }()
	defer func() {
		stop()
		<-followed //nolint:errcheck // whatever ended it, it was told to
	}()
	tick := time.NewTicker(signInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-followed:
			followed <- nil
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("follow ledger: %w", err)
		case <-tick.C:
		}
		if b.log.Size() == b.log.Signed().Size() {
			continue
		}
		if _, err := b.log.Checkpoint(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("sign ledger: %w", err)
		}
	}
}

// errNotYet says that an act is on its way.
var errNotYet = &core.Error{Code: core.CodeNotFound, Message: "no such act is in the ledger yet; try again shortly", Field: "act"}

// Receipts are the receipts of an act, one a purpose. It waits until they can be given, but not beyond ctx.
func (b *Book) Receipts(ctx context.Context, site string, act uuid.UUID) ([]ledger.Receipt, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		receipts, err := b.receipts(context.WithoutCancel(ctx), site, act)
		if err == nil || !errors.Is(err, errNotYet) {
			return receipts, err
		}
		select {
		case <-ctx.Done():
			return nil, errNotYet
		case <-tick.C:
		}
	}
}

func (b *Book) receipts(ctx context.Context, site string, act uuid.UUID) ([]ledger.Receipt, error) {
	acts, err := ActsOf(ctx, b.db, site, act)
	if err != nil {
		return nil, err
	}
	if len(acts) == 0 {
		return nil, errNotYet
	}
	receipts := make([]ledger.Receipt, len(acts))
	for i := range acts {
		receipts[i], err = b.log.Receipt(acts[i].Record())
		switch {
		case errors.Is(err, ledger.ErrPending), errors.Is(err, ledger.ErrBehind), errors.Is(err, ledger.ErrUnknown),
			errors.Is(err, fs.ErrClosed): // the house is stopping
			return nil, errNotYet
		case err != nil:
			return nil, err
		}
	}
	return receipts, nil
}

// Checkpoint is the last signed checkpoint, a signed note; errNotYet when nothing is signed.
func (b *Book) Checkpoint() (string, error) {
	note := b.log.Signed().Note()
	if note == "" {
		return "", &core.Error{Code: core.CodeNotFound, Message: "nothing is in the ledger yet"}
	}
	return note, nil
}

// Consistency proves that the tree of size to extends the one of size from.
func (b *Book) Consistency(from, to int64) ([]string, error) {
	if size := b.log.Signed().Size(); from < 0 || to < from || to > size {
		return nil, &core.Error{Code: core.CodeInvalid, Field: "to", Message: "from and to are no two sizes of signed trees, the smaller first"}
	}
	hashes, err := b.log.ProveConsistency(from, to)
	if err != nil {
		return nil, err
	}
	proof := make([]string, len(hashes))
	for i, h := range hashes {
		proof[i] = h.String()
	}
	return proof, nil
}

// Proof is what GET /v1/ledger/proof answers with.
type Proof struct {
	Receipts []ledger.Receipt `json:"receipts,omitempty"` // of one act, a purpose each
	From     *int64           `json:"from,omitempty"`
	To       *int64           `json:"to,omitempty"`
	Hashes   []string         `json:"consistency,omitempty"` // RFC 6962 section 2.1.2, base64
}

// Prove answers a question for a proof: act and site for receipts, from and to for consistency. ask reads a parameter.
func (b *Book) Prove(ctx context.Context, ask func(string) string) ([]byte, error) {
	var proof Proof
	if text := ask("act"); text != "" {
		act, err := uuid.Parse(text)
		if err != nil {
			return nil, &core.Error{Code: core.CodeInvalid, Field: "act", Message: "is not a UUID"}
		}
		if proof.Receipts, err = b.Receipts(ctx, ask("site"), act); err != nil {
			return nil, err
		}
	} else {
		from, err := strconv.ParseInt(ask("from"), 10, 64)
		if err != nil {
			return nil, &core.Error{Code: core.CodeMissing, Field: "act", Message: "name an act, or from and to, two sizes of the ledger"}
		}
		to, err := strconv.ParseInt(ask("to"), 10, 64)
		if err != nil {
			return nil, &core.Error{Code: core.CodeInvalid, Field: "to", Message: "is not a size of the ledger"}
		}
		if proof.Hashes, err = b.Consistency(from, to); err != nil {
			return nil, err
		}
		proof.From, proof.To = &from, &to
	}
	text, err := json.Marshal(proof)
	if err != nil {
		return nil, fmt.Errorf("write proof: %w", err)
	}
	return text, nil
}

// Public is the verifier key, to be published: receipts and checkpoints are verified with it offline.
func (b *Book) Public() string { return b.key.Public() }
