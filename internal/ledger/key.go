package ledger

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Key signs the checkpoints of one log. Its name is the log's origin. It prints as redacted in every way Go can
// print, so that the secret cannot reach a log or an error by accident.
type Key struct {
	signer         note.Signer
	secret, public string
}

// GenerateKey makes an Ed25519 key for the log of a name, such as example.com/ledger. rand MUST be a cryptographic
// source, crypto/rand.Reader outside tests.
func GenerateKey(name string, rand io.Reader) (Key, error) {
	secret, _, err := note.GenerateKey(rand, name)
	if err != nil {
		return Key{}, fmt.Errorf("make signing key: %w", err)
	}
	return ParseKey(secret)
}

// ParseKey reads what Secret writes.
func ParseKey(secret string) (Key, error) {
	secret = strings.TrimSpace(secret)
	signer, err := note.NewSigner(secret)
	if err != nil {
		return Key{}, errors.New("read signing key: not the secret of a note key, or its name has spaces or a plus")
	}
	// PRIVATE+KEY+<name>+<hash>+<base64 of algorithm and seed>; NewSigner has checked it.
	raw, err := base64.StdEncoding.DecodeString(strings.SplitN(secret, "+", 5)[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return Key{}, errors.New("read signing key: not an Ed25519 key")
	}
	pair := ed25519.NewKeyFromSeed(raw[1:])
	public, err := note.NewEd25519VerifierKey(signer.Name(), pair.Public().(ed25519.PublicKey))
	if err != nil {
		return Key{}, fmt.Errorf("read signing key: %w", err)
	}
	return Key{signer, secret, public}, nil
}

// Public is the verifier key as one line of text, to be published: whoever has it verifies receipts offline.
func (k Key) Public() string { return k.public }

// Secret is the key as one line of text, to be stored where only the signing process reads.
func (k Key) Secret() string { return k.secret }

const redactedKey = "[signing key]"

// Format implements fmt.Formatter for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedKey)) }

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(redactedKey) }

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return []byte(redactedKey), nil }

// Verifier is the keys that may have signed for one log: the one in use and those it replaced. The zero Verifier
// refuses everything.
type Verifier struct {
	origin string
	keys   note.Verifiers
}

// NewVerifier reads verifier keys, as Key.Public writes them, of one log.
func NewVerifier(public ...string) (Verifier, error) {
	var v Verifier
	var list []note.Verifier
	for _, text := range slices.Compact(slices.Sorted(slices.Values(public))) {
		key, err := note.NewVerifier(strings.TrimSpace(text))
		if err != nil {
			return Verifier{}, fmt.Errorf("read verifier key: %w", err)
		}
		if v.origin != "" && key.Name() != v.origin {
			return Verifier{}, errors.New("read verifier keys: they name different logs")
		}
		v.origin = key.Name()
		list = append(list, key)
	}
	if len(list) == 0 {
		return Verifier{}, errors.New("read verifier keys: there is none")
	}
	v.keys = note.VerifierList(list...)
	return v, nil
}

// Origin is the name of the log.
func (v Verifier) Origin() string { return v.origin }
