// Package pseudonym is the sealing half of Sekisho's cryptography: it turns an event into something that only the
// holder of the pipeline's private key can read. It can seal and never open. The opening half, and the keys that make
// pseudonyms, are in package open, which the pipeline and the command alone may import.
//
// Each sealer makes a session key, wraps it to the pipeline's public key with HPKE (RFC 9180) and seals every event
// with AES-256-GCM under it. The wrapped key travels with each event, so any event can be opened on its own. When the
// private key of an epoch is destroyed, everything sealed to it is unreadable for ever.
package pseudonym

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// KEM names a key encapsulation mechanism.
type KEM string

// The mechanisms: X25519, and its hybrid with ML-KEM-768 against an adversary who keeps today's traffic for a later
// quantum computer (its wrapped key is 1.1 KB a message).
const (
	X25519 KEM = "x25519"
	Hybrid KEM = "mlkem768x25519"
)

// HPKE is the mechanism for crypto/hpke.
func (k KEM) HPKE() (hpke.KEM, error) {
	switch k {
	case X25519:
		return hpke.DHKEM(ecdh.X25519()), nil
	case Hybrid:
		return hpke.MLKEM768X25519(), nil
	}
	return nil, errors.New("choose KEM: neither x25519 nor mlkem768x25519")
}

// PublicKey is what collectors seal to.
type PublicKey struct {
	KEM   KEM
	Epoch uint32
	key   hpke.PublicKey
}

const keyLabel = "sekisho-seal-1"

// NewPublicKey wraps an HPKE key.
func NewPublicKey(kem KEM, epoch uint32, key hpke.PublicKey) PublicKey {
	return PublicKey{kem, epoch, key}
}

// MarshalText writes the key as one line: label, KEM, epoch and the key in base64.
func (k PublicKey) MarshalText() ([]byte, error) {
	if k.key == nil {
		return nil, errors.New("write public key: there is none")
	}
	return fmt.Appendf(nil, "%s %s epoch=%d %s\n", keyLabel, k.KEM, k.Epoch, base64.StdEncoding.EncodeToString(k.key.Bytes())), nil
}

// ParsePublicKey reads the line that MarshalText writes.
func ParsePublicKey(text []byte) (PublicKey, error) {
	fields := strings.Fields(string(text))
	if len(fields) != 4 || fields[0] != keyLabel {
		return PublicKey{}, errors.New("read public key: not a " + keyLabel + " line")
	}
	epoch, err := strconv.ParseUint(strings.TrimPrefix(fields[2], "epoch="), 10, 32)
	if err != nil || epoch == 0 {
		return PublicKey{}, errors.New("read public key: no epoch")
	}
	kem, err := KEM(fields[1]).HPKE()
	if err != nil {
		return PublicKey{}, fmt.Errorf("read public key: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(fields[3])
	if err != nil {
		return PublicKey{}, errors.New("read public key: not base64")
	}
	key, err := kem.NewPublicKey(raw)
	if err != nil {
		return PublicKey{}, fmt.Errorf("read public key: %w", err)
	}
	return PublicKey{KEM(fields[1]), uint32(epoch), key}, nil
}
