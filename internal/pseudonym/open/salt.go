package open

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// Salt is 32 bytes that hide the record of the parts given in its leaf of the proof ledger: HMAC-SHA-256 under the
// consent key, so that a replay gives the same. The parts MUST hold something random that is erased with the record,
// such as the id of an act: then nobody can make the salt again, this house included.
func (k *Keys) Salt(parts ...string) (salt [32]byte) {
	h := hmac.New(sha256.New, k.subject)
	_, _ = h.Write([]byte("ledger salt\x00")) // never fails
	for _, part := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // G115: parts are short
		_, _ = h.Write([]byte(part))
	}
	h.Sum(salt[:0])
	return salt
}
