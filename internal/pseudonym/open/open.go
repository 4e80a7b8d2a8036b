package open

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// Opened is an envelope whose seal was good. Only Open makes one.
type Opened struct {
	env   *sekishov1.Envelope
	event *sekishov1.Event
	act   *sekishov1.ConsentAct
}

// Site is the site the collector admitted the message for; empty if there is no envelope.
func (o Opened) Site() string { return o.env.GetSite() }

// ID is the message's idempotency key.
func (o Opened) ID() (id [16]byte) {
	copy(id[:], o.env.GetId())
	return id
}

// ReceivedAt is when the collector took it.
func (o Opened) ReceivedAt() time.Time { return time.UnixMicro(o.env.GetReceivedUs()) }

// Event is the body of an event; nil for an act.
func (o Opened) Event() *sekishov1.Event { return o.event }

// ConsentAct is the body of a consent act; nil for an event.
func (o Opened) ConsentAct() *sekishov1.ConsentAct { return o.act }

// maxSessions bounds the cache of unwrapped session keys: one a collector process and hour.
const maxSessions = 1024

// maxSealed bounds what is opened, in bytes: far above the collector's limit of a body.
const maxSealed = 8 << 20

// Opener opens envelopes. It is safe for concurrent use.
type Opener struct {
	store    *Store
	mu       sync.Mutex
	sessions map[string]cipher.AEAD // by epoch and wrapped key
}

// NewOpener opens with the private keys of a store.
func NewOpener(store *Store) *Opener {
	return &Opener{store: store, sessions: map[string]cipher.AEAD{}}
}

// Open opens a message's value. The reason is NoReason, or why it goes to the dead letters: unreadable (no envelope),
// unsealable (the epoch's key is destroyed, or the seal is broken), undecidable (the body is no event or act).
func (o *Opener) Open(value []byte) (Opened, core.Reason) {
	var env sekishov1.Envelope
	if len(value) > maxSealed || proto.Unmarshal(value, &env) != nil {
		return Opened{}, core.ReasonUnreadable
	}
	if env.Version != pseudonym.Version || len(env.Id) != 16 || len(env.Nonce) != 12 || env.Site == "" {
		return Opened{}, core.ReasonUnreadable
	}
	opened := Opened{env: &env}
	session, ok := o.session(env.Epoch, env.WrappedKey)
	if !ok {
		return opened, core.ReasonUnsealable
	}
	plain, err := session.Open(nil, env.Nonce, env.Sealed, pseudonym.AdditionalData(&env))
	if err != nil {
		return opened, core.ReasonUnsealable
	}
	env.Sealed, env.WrappedKey = nil, nil
	switch env.Kind {
	case sekishov1.Kind_KIND_EVENT:
		opened.event = &sekishov1.Event{}
		err = proto.Unmarshal(plain, opened.event)
	case sekishov1.Kind_KIND_CONSENT:
		opened.act = &sekishov1.ConsentAct{}
		err = proto.Unmarshal(plain, opened.act)
	default:
		return opened, core.ReasonUndecidable
	}
	if err != nil {
		return Opened{env: &env}, core.ReasonUndecidable
	}
	return opened, core.NoReason
}

// session unwraps a session key, or finds it unwrapped.
func (o *Opener) session(epoch uint32, wrapped []byte) (cipher.AEAD, bool) {
	name := string(append(binary.BigEndian.AppendUint32(nil, epoch), wrapped...))
	o.mu.Lock()
	defer o.mu.Unlock()
	if aead, ok := o.sessions[name]; ok {
		return aead, true
	}
	private, err := o.store.existing(epoch)
	if err != nil {
		return nil, false
	}
	secret, err := hpke.Open(private.key, hpke.HKDFSHA256(), hpke.AES256GCM(), pseudonym.Info(epoch), wrapped)
	if err != nil {
		return nil, false
	}
	block, err := aes.NewCipher(secret)
	clear(secret)
	if err != nil {
		return nil, false
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, false
	}
	if len(o.sessions) >= maxSessions {
		clear(o.sessions)
	}
	o.sessions[name] = aead
	return aead, true
}

// ForgetDestroyed drops the unwrapped session keys of epochs whose private key is gone, whoever destroyed it: a
// destroyed key MUST NOT live on in memory.
func (o *Opener) ForgetDestroyed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	gone := map[uint32]bool{}
	for name := range o.sessions {
		epoch := binary.BigEndian.Uint32([]byte(name))
		if _, looked := gone[epoch]; !looked {
			_, err := os.Stat(o.store.sealPath(epoch))
			gone[epoch] = errors.Is(err, fs.ErrNotExist)
		}
		if gone[epoch] {
			delete(o.sessions, name)
		}
	}
}

// Forget drops every unwrapped session key. Call it after DestroyEpoch.
func (o *Opener) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.sessions)
}
