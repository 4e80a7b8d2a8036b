package pseudonym

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// Version is the envelope format this package writes.
const Version = 1

// Limits of a session key. NIST SP 800-38D allows 2^32 seals under one key with random nonces; ours count.
const (
	sessionAge   = time.Hour
	sessionSeals = 1 << 31
)

// Info is HPKE's info parameter of the wrapped session key.
func Info(epoch uint32) []byte { return fmt.Appendf(nil, "sekisho session key epoch=%d", epoch) }

// Sealer seals for one public key at a time. It is safe for concurrent use.
type Sealer struct {
	rand io.Reader
	now  func() time.Time
	key  atomic.Pointer[sessionKey]

	mu     sync.Mutex // held while the session key is replaced
	public PublicKey
}

type sessionKey struct {
	aead    cipher.AEAD
	epoch   uint32
	wrapped []byte
	prefix  [4]byte
	count   atomic.Uint64
	expires time.Time
}

// NewSealer makes a sealer. rand MUST be a cryptographic source, crypto/rand.Reader outside tests.
func NewSealer(public PublicKey, rand io.Reader, now func() time.Time) (*Sealer, error) {
	if public.key == nil {
		return nil, errors.New("make sealer: no public key")
	}
	s := &Sealer{rand: rand, now: now}
	if err := s.Use(public); err != nil {
		return nil, err
	}
	return s, nil
}

// Use has the sealer seal to another public key from now on.
func (s *Sealer) Use(public PublicKey) error {
	if public.key == nil {
		return errors.New("seal to another key: there is none")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.newSession(public)
	if err != nil {
		return err
	}
	s.public = public
	s.key.Store(k)
	return nil
}

func (s *Sealer) newSession(public PublicKey) (*sessionKey, error) {
	var secret [32]byte
	k := &sessionKey{epoch: public.Epoch, expires: s.now().Add(sessionAge)}
	if _, err := io.ReadFull(s.rand, secret[:]); err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	if _, err := io.ReadFull(s.rand, k.prefix[:]); err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	k.wrapped, err = hpke.Seal(public.key, hpke.HKDFSHA256(), hpke.AES256GCM(), Info(public.Epoch), secret[:])
	if err != nil {
		return nil, fmt.Errorf("wrap session key: %w", err)
	}
	clear(secret[:])
	return k, nil
}

// session is the key in use, replaced when it is old, and the number of this seal under it.
func (s *Sealer) session() (*sessionKey, uint64, error) {
	k := s.key.Load()
	if n := k.count.Add(1); n < sessionSeals && s.now().Before(k.expires) {
		return k, n, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k = s.key.Load(); s.now().Before(k.expires) { // another caller may have replaced it
		if n := k.count.Add(1); n < sessionSeals {
			return k, n, nil
		}
	}
	k, err := s.newSession(s.public)
	if err != nil {
		return nil, 0, err
	}
	s.key.Store(k)
	return k, k.count.Add(1), nil
}

// Seal fills the envelope's version, epoch, keys and sealed body, and returns it as it goes to Kafka. The caller has
// set kind, site, id and received_us; they stay readable and are bound to the body.
func (s *Sealer) Seal(env *sekishov1.Envelope, body proto.Message) ([]byte, error) {
	k, n, err := s.session()
	if err != nil {
		return nil, err
	}
	env.Version, env.Epoch, env.WrappedKey = Version, k.epoch, k.wrapped
	env.Nonce = make([]byte, 12)
	copy(env.Nonce, k.prefix[:])
	binary.BigEndian.PutUint64(env.Nonce[4:], n)
	plain, err := proto.Marshal(body)
	if err != nil {
		return nil, errors.New("seal event: a text is not valid UTF-8")
	}
	env.Sealed = k.aead.Seal(make([]byte, 0, len(plain)+k.aead.Overhead()), env.Nonce, plain, AdditionalData(env))
	clear(plain)
	value, err := proto.Marshal(env)
	if err != nil {
		return nil, errors.New("seal event: the envelope cannot be written")
	}
	return value, nil
}

// AdditionalData is the envelope's clear header in one unambiguous form: every field has a fixed width or its length
// before it.
func AdditionalData(env *sekishov1.Envelope) []byte {
	b := make([]byte, 0, 64+len(env.Site))
	b = binary.BigEndian.AppendUint32(b, env.Version)
	b = binary.BigEndian.AppendUint32(b, uint32(env.Kind))      //nolint:gosec // G115: bits, not a number
	b = binary.BigEndian.AppendUint32(b, uint32(len(env.Site))) //nolint:gosec // G115: bounded by the message
	b = append(b, env.Site...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(env.Id))) //nolint:gosec // G115: bounded by the message
	b = append(b, env.Id...)
	b = binary.BigEndian.AppendUint64(b, uint64(env.ReceivedUs)) //nolint:gosec // G115: bits, not a number
	return binary.BigEndian.AppendUint32(b, env.Epoch)
}
