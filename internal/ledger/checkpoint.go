package ledger

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// What a proof can fail with.
var (
	// ErrUnproven means that a proof does not lead to the root it should.
	ErrUnproven = errors.New("the proof does not hold")
	// ErrForked means that two trees of one size differ: the log told two stories.
	ErrForked = errors.New("the log is forked: one size, two roots")
)

// maxNote bounds a checkpoint with the signatures of its witnesses, in bytes.
const maxNote = 64 << 10

// Checkpoint is a size and a root that the log signed (c2sp.org/tlog-checkpoint). There is none whose signature was
// not verified; the zero Checkpoint is of the empty, unsigned log.
type Checkpoint struct {
	note      string
	origin    string
	size      int64
	root      tlog.Hash
	extension []string
}

// OpenCheckpoint verifies and reads a signed note. Signatures of unknown keys, such as those of witnesses, are allowed
// beside the log's own and say nothing here.
func OpenCheckpoint(signed []byte, v Verifier) (Checkpoint, error) {
	if len(signed) > maxNote {
		return Checkpoint{}, errors.New("open checkpoint: too long")
	}
	n, err := note.Open(signed, v.keys)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	for _, s := range n.Sigs {
		// The last digit of a base64 text has bits that count for nothing: one signature, one spelling.
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return Checkpoint{}, errors.New("open checkpoint: a signature is not in canonical base64")
		}
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	if c.origin != v.origin {
		return Checkpoint{}, errors.New("open checkpoint: of another log")
	}
	c.note = string(signed)
	return c, nil
}

// parseCheckpoint reads the text of a note, which ends with a newline.
func parseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 3 || slices.Contains(lines, "") {
		return Checkpoint{}, errors.New("not three lines or more, none of them empty")
	}
	size, ok := parseCount(lines[1])
	if !ok {
		return Checkpoint{}, errors.New("the size is not a decimal number")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, errors.New("the root is not a hash in base64")
	}
	c = Checkpoint{origin: lines[0], size: size, root: tlog.Hash(root)}
	if len(lines) > 3 {
		c.extension = lines[3:]
	}
	if c.size == 0 && c.root != emptyRoot() {
		return Checkpoint{}, errors.New("the root of an empty tree is another")
	}
	return c, nil
}

// sign makes the signed note of a size and a root.
func (k Key) sign(size int64, root tlog.Hash) ([]byte, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", k.signer.Name(), size, root)
	signed, err := note.Sign(&note.Note{Text: text}, k.signer)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed, nil
}

// Origin is the name of the log.
func (c Checkpoint) Origin() string { return c.origin }

// Size is the number of leaves.
func (c Checkpoint) Size() int64 { return c.size }

// Root is the Merkle tree hash of the leaves (RFC 6962 section 2.1).
func (c Checkpoint) Root() tlog.Hash { return c.root }

// Extension is the optional lines after the root, opaque here.
func (c Checkpoint) Extension() []string { return slices.Clone(c.extension) }

// Note is the signed text, as it is exported to witnesses and put in receipts.
func (c Checkpoint) Note() string { return c.note }

// VerifyConsistency shows that the tree of one checkpoint is the beginning of the tree of a later one, so that nothing
// the older one covers was changed (RFC 6962 section 2.1.2). When it fails with a proof that the log itself gave, or
// with ErrForked, the two checkpoints prove that the log was rewritten.
func VerifyConsistency(older, newer Checkpoint, proof []tlog.Hash) error {
	switch {
	case older.origin != newer.origin:
		return errors.New("verify consistency: checkpoints of different logs")
	case older.size > newer.size:
		return errors.New("verify consistency: the older checkpoint is the larger one")
	case older.size == newer.size && older.root != newer.root:
		return fmt.Errorf("verify consistency: %w", ErrForked)
	case older.size == newer.size || older.size == 0:
		if len(proof) != 0 {
			return fmt.Errorf("verify consistency: %w", ErrUnproven)
		}
		return nil
	}
	if tlog.CheckTree(proof, newer.size, newer.root, older.size, older.root) != nil {
		return fmt.Errorf("verify consistency: %w", ErrUnproven)
	}
	return nil
}
