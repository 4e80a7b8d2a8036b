package query

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/core"
)

// Grant is an API key and what it may read. The key itself is kept nowhere.
type Grant struct {
	ID       string    `json:"id"` // 8 hexadecimal digits, part of the key
	Name     string    `json:"name"`
	Hash     string    `json:"hash"` // SHA-256 of the whole key, hexadecimal
	Purposes []string  `json:"purposes"`
	Sites    []string  `json:"sites"`
	Created  time.Time `json:"created"`
}

type grantsDocument struct {
	Keys []Grant `json:"keys"`
}

var (
	keyForm  = regexp.MustCompile(`^sk_([0-9a-f]{8})_[A-Za-z0-9_-]{43}$`)
	hashForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	idForm   = regexp.MustCompile(`^[0-9a-f]{8}$`)
)

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// CreateKey makes an API key, adds its grant to the file and returns the key, which cannot be had again. The file is
// replaced at once, with mode 0600. Two processes MUST NOT create keys in one file at the same time.
func CreateKey(file, name string, purposes, sites []string, random io.Reader, now time.Time) (string, error) {
	if name == "" || len(purposes) == 0 || len(sites) == 0 {
		return "", errors.New("create key: a name, a purpose and a site are required")
	}
	d, err := readGrants(file)
	if err != nil {
		return "", fmt.Errorf("create key: %w", err)
	}
	var id [4]byte
	for taken := true; taken; {
		if _, err := io.ReadFull(random, id[:]); err != nil {
			return "", fmt.Errorf("create key: %w", err)
		}
		taken = slices.ContainsFunc(d.Keys, func(g Grant) bool { return g.ID == hex.EncodeToString(id[:]) })
	}
	var secret [32]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return "", fmt.Errorf("create key: %w", err)
	}
	g := Grant{ID: hex.EncodeToString(id[:]), Name: name, Purposes: purposes, Sites: sites, Created: now.UTC().Truncate(time.Second)}
	key := "sk_" + g.ID + "_" + base64.RawURLEncoding.EncodeToString(secret[:])
	g.Hash = hashOf(key)
	d.Keys = append(d.Keys, g)
	if err := writeGrants(file, d); err != nil {
		return "", fmt.Errorf("create key: %w", err)
	}
	return key, nil
}

// Keys lists the grants of the file, oldest first. No key can be made from them.
func Keys(file string) ([]Grant, error) {
	d, err := readGrants(file)
	if err != nil {
		return nil, err
	}
	return d.Keys, nil
}

// RevokeKey takes the key with this id out of the file. From then on no read passes with it.
func RevokeKey(file, id string) error {
	d, err := readGrants(file)
	if err != nil {
		return fmt.Errorf("revoke key: %w", err)
	}
	rest := slices.DeleteFunc(slices.Clone(d.Keys), func(g Grant) bool { return g.ID == id })
	if len(rest) == len(d.Keys) {
		return errors.New("revoke key: no key has this id")
	}
	d.Keys = rest
	if err := writeGrants(file, d); err != nil {
		return fmt.Errorf("revoke key: %w", err)
	}
	return nil
}

func writeGrants(file string, d *grantsDocument) error {
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("write grants: %w", err)
	}
	return replace(file, append(data, '\n'))
}

// replace writes a file whole or not at all, readable by its owner only.
func replace(file string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".grants-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write grants: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write grants: %w", err)
	}
	if err = os.Rename(f.Name(), file); err != nil {
		return fmt.Errorf("write grants: %w", err)
	}
	return nil
}

// readGrants reads the file. A file that is not there holds no key.
func readGrants(file string) (*grantsDocument, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &grantsDocument{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	return parseGrants(data)
}

// parseGrants refuses the whole document when any grant in it is not as CreateKey would write it.
func parseGrants(data []byte) (*grantsDocument, error) {
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	var d grantsDocument
	if err := decoder.Decode(&d); err != nil {
		return nil, errors.New("read grants: the file is not the expected JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read grants: something follows the document")
	}
	seen := map[string]bool{}
	for i, g := range d.Keys {
		if !idForm.MatchString(g.ID) || !hashForm.MatchString(g.Hash) || seen[g.ID] {
			return nil, fmt.Errorf("read grants: key %d has no id of its own or no hash", i)
		}
		seen[g.ID] = true
	}
	return &d, nil
}

// grants is the file as it is now.
type grants struct {
	file string

	mu     sync.Mutex
	read   os.FileInfo
	byID   map[string]*Grant
	failed error
}

// current returns the grants by key id, from the file if it changed. A file that cannot be read grants nothing.
func (g *grants) current() (map[string]*Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	info, err := os.Stat(g.file)
	if errors.Is(err, fs.ErrNotExist) {
		g.read, g.byID, g.failed = nil, nil, nil
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	if g.read != nil && os.SameFile(g.read, info) && g.read.ModTime().Equal(info.ModTime()) && g.read.Size() == info.Size() {
		return g.byID, g.failed
	}
	d, err := readGrants(g.file)
	g.read, g.byID, g.failed = info, map[string]*Grant{}, err
	if err != nil {
		return nil, err
	}
	for i := range d.Keys {
		g.byID[d.Keys[i].ID] = &d.Keys[i]
	}
	return g.byID, nil
}

var errUnauthenticated = &core.Error{Code: core.CodeUnauthenticated, Message: "a valid API key is required (Authorization: Bearer)", Field: "Authorization"}

// authenticate finds the grant of a request's key. The hashes are compared in constant time; only the id, which is no
// secret, is looked up.
func (g *grants) authenticate(authorization string) (*Grant, error) {
	byID, err := g.current()
	if err != nil {
		return nil, core.Retryable{Err: err}
	}
	scheme, key, _ := strings.Cut(authorization, " ")
	form := keyForm.FindStringSubmatch(key)
	if !strings.EqualFold(scheme, "Bearer") || form == nil {
		return nil, errUnauthenticated
	}
	grant, known := byID[form[1]]
	if !known {
		grant = &Grant{Hash: strings.Repeat("0", 64)}
	}
	if subtle.ConstantTimeCompare([]byte(hashOf(key)), []byte(grant.Hash)) != 1 || !known {
		return nil, errUnauthenticated
	}
	return grant, nil
}
