package report

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Where the session is kept. A browser takes __Host- from no other host than ours, subdomains included, and only over
// TLS; it wants the path / for that, which costs nothing, since the API reads no cookie. On loopback there is no TLS, so
// no such name; ports share cookies there, so the path keeps it to the pages.
const (
	secureCookie = "__Host-sekisho_report"
	plainCookie  = "sekisho_report"
)

// sessionTime is how long a session lasts at most. The cookie itself goes with the browser.
const sessionTime = 12 * time.Hour

// maxKey bounds a key in bytes: sealed, it fits into a cookie (4,096 bytes with its name).
const maxKey = 2800

// sessions keep a reader's API key in the reader's own browser, sealed (AES-256-GCM) with a key that this process made
// at its start and that is nowhere else. So the server holds no table of keys, and a cookie that was copied from a
// browser's files is no API key: it works at this page only, where every read is audited; no longer than twelve hours;
// not after a sign-out; and not after a restart. Several processes behind one name need sticky sessions.
type sessions struct {
	aead   cipher.AEAD
	random io.Reader
	now    func() time.Time

	mu    sync.Mutex
	ended map[[nonceSize]byte]time.Time // sessions that were ended before their time, until it
}

const nonceSize = 12

func newSessions(random io.Reader, now func() time.Time) (*sessions, error) {
	var secret [32]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	return &sessions{aead: aead, random: random, now: now, ended: map[[nonceSize]byte]time.Time{}}, nil
}

// plausible reports whether a text may be an API key or a bearer token (RFC 6750): such a header can hold nothing else.
func plausible(key string) bool {
	if key == "" || len(key) > maxKey {
		return false
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// begin seals a key into a cookie.
func (s *sessions) begin(key string, secure bool) (*http.Cookie, error) {
	cookie := &http.Cookie{Name: plainCookie, Path: Prefix, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if secure {
		cookie.Name, cookie.Path, cookie.Secure = secureCookie, "/", true
	}
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		return nil, fmt.Errorf("begin session: %w", err)
	}
	until := s.now().Add(sessionTime).Unix()
	content := binary.BigEndian.AppendUint64(nil, uint64(until)) //nolint:gosec // G115: after 1970
	content = append(content, key...)
	sealed := s.aead.Seal(nonce, nonce, content, []byte(cookie.Name))
	cookie.Value = base64.RawURLEncoding.EncodeToString(sealed)
	return cookie, nil
}

// key opens the session of a request. A plain cookie counts on loopback only.
func (s *sessions) key(r *http.Request) (string, bool) {
	for _, name := range []string{secureCookie, plainCookie} {
		if name == plainCookie && !loopback(r.Host) {
			continue
		}
		if cookie, err := r.Cookie(name); err == nil {
			if key, _, _, ok := s.open(cookie); ok {
				return key, true
			}
		}
	}
	return "", false
}

func (s *sessions) open(cookie *http.Cookie) (key string, id [nonceSize]byte, until time.Time, ok bool) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cookie.Value)
	if err != nil || len(sealed) < nonceSize {
		return "", id, until, false
	}
	content, err := s.aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], []byte(cookie.Name))
	if err != nil || len(content) < 8 {
		return "", id, until, false
	}
	copy(id[:], sealed)
	until = time.Unix(int64(binary.BigEndian.Uint64(content)), 0) //nolint:gosec // G115: sealed by begin
	s.mu.Lock()
	_, gone := s.ended[id]
	s.mu.Unlock()
	return string(content[8:]), id, until, !gone && s.now().Before(until)
}

// end takes the cookies away and lets nothing more pass with them, whoever has a copy.
func (s *sessions) end(w http.ResponseWriter, r *http.Request) {
	for _, name := range []string{secureCookie, plainCookie} {
		for _, cookie := range r.CookiesNamed(name) {
			if _, id, until, ok := s.open(cookie); ok {
				s.mu.Lock()
				for old, over := range s.ended {
					if !s.now().Before(over) {
						delete(s.ended, old)
					}
				}
				s.ended[id] = until
				s.mu.Unlock()
			}
		}
	}
	http.SetCookie(w, &http.Cookie{Name: secureCookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.SetCookie(w, &http.Cookie{Name: plainCookie, Path: Prefix, MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode}) //nolint:gosec // G124: empty, and of loopback without TLS
}

// loopback reports whether a host, with or without its port, is this machine.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
