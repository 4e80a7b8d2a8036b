package access

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
	"time"
)

// Key is an API key and what it opens. The key itself is kept nowhere.
type Key struct {
	ID   string `json:"id"` // 8 hexadecimal digits, part of the key
	Name string `json:"name"`
	Hash string `json:"hash"` // SHA-256 of the whole key, hexadecimal
	Grant
	Created time.Time `json:"created"`
}

type keysDocument struct {
	Keys []Key `json:"keys"`
}

const keyPrefix = "sk_"

var (
	keyForm  = regexp.MustCompile(`^sk_([0-9a-f]{8})_[A-Za-z0-9_-]{43}$`)
	hashForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	idForm   = regexp.MustCompile(`^[0-9a-f]{8}$`)
)

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// CreateKey makes an API key, adds it to the file and returns it; it cannot be had again. Without a role it is an
// analyst's. The file is replaced at once, with mode 0600. Two processes MUST NOT create keys in one file at the same time.
func CreateKey(file, name string, grant Grant, random io.Reader, now time.Time) (string, error) {
	if len(grant.Roles) == 0 {
		grant.Roles = []Role{Analyst}
	}
	// The audit is of all purposes; everything else is for a named one.
	auditing := !slices.ContainsFunc(grant.Roles, func(r Role) bool { return r != Auditor })
	if name == "" || len(grant.Sites) == 0 || len(grant.Purposes) == 0 && !auditing {
		return "", errors.New("create key: a name, a site and, but for an auditor, a purpose are required")
	}
	if grant.Purposes == nil {
		grant.Purposes = []string{}
	}
	if err := known(grant.Roles); err != nil {
		return "", fmt.Errorf("create key: %w", err)
	}
	d, err := readKeys(file)
	if err != nil {
		return "", fmt.Errorf("create key: %w", err)
	}
	var id [4]byte
	for taken := true; taken; {
		if _, err := io.ReadFull(random, id[:]); err != nil {
			return "", fmt.Errorf("create key: %w", err)
		}
		taken = slices.ContainsFunc(d.Keys, func(k Key) bool { return k.ID == hex.EncodeToString(id[:]) })
	}
	var secret [32]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return "", fmt.Errorf("create key: %w", err)
	}
	k := Key{ID: hex.EncodeToString(id[:]), Name: name, Grant: grant, Created: now.UTC().Truncate(time.Second)}
	key := keyPrefix + k.ID + "_" + base64.RawURLEncoding.EncodeToString(secret[:])
	k.Hash = hashOf(key)
	d.Keys = append(d.Keys, k)
	if err := writeKeys(file, d); err != nil {
		return "", fmt.Errorf("create key: %w", err)
	}
	return key, nil
}

// Keys lists the keys of the file, oldest first. None can be made from it.
func Keys(file string) ([]Key, error) {
	d, err := readKeys(file)
	if err != nil {
		return nil, err
	}
	return d.Keys, nil
}

// RevokeKey takes the key with this id out of the file. From then on no read passes with it.
func RevokeKey(file, id string) error {
	d, err := readKeys(file)
	if err != nil {
		return fmt.Errorf("revoke key: %w", err)
	}
	rest := slices.DeleteFunc(slices.Clone(d.Keys), func(k Key) bool { return k.ID == id })
	if len(rest) == len(d.Keys) {
		return errors.New("revoke key: no key has this id")
	}
	d.Keys = rest
	if err := writeKeys(file, d); err != nil {
		return fmt.Errorf("revoke key: %w", err)
	}
	return nil
}

func writeKeys(file string, d *keysDocument) error {
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	return replace(file, append(data, '\n'))
}

// replace writes a file whole or not at all, readable by its owner only.
func replace(file string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".grants-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	if err = os.Rename(f.Name(), file); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	return nil
}

// readKeys reads the file. A file that is not there holds no key.
func readKeys(file string) (*keysDocument, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &keysDocument{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return parseKeys(data)
}

// parseKeys refuses the whole document when any key in it is not as CreateKey would write it. A key without roles, as
// they were written before there were any, is an analyst's. One with an empty list of them has none.
func parseKeys(data []byte) (*keysDocument, error) {
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	var d keysDocument
	if err := decoder.Decode(&d); err != nil {
		return nil, errors.New("read keys: the file is not the expected JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read keys: something follows the document")
	}
	seen := map[string]bool{}
	for i := range d.Keys {
		k := &d.Keys[i]
		if !idForm.MatchString(k.ID) || !hashForm.MatchString(k.Hash) || seen[k.ID] {
			return nil, fmt.Errorf("read keys: key %d has no id of its own or no hash", i)
		}
		seen[k.ID] = true
		if k.Roles == nil {
			k.Roles = []Role{Analyst}
		}
		if err := known(k.Roles); err != nil {
			return nil, fmt.Errorf("read keys: key %d: %w", i, err)
		}
	}
	return &d, nil
}

func known(roles []Role) error {
	for _, r := range roles {
		if !slices.Contains(Roles(), r) {
			return fmt.Errorf("a role is none of %v", Roles())
		}
	}
	return nil
}

func keysByID(data []byte) (map[string]*Key, error) {
	d, err := parseKeys(data)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*Key, len(d.Keys))
	for i := range d.Keys {
		byID[d.Keys[i].ID] = &d.Keys[i]
	}
	return byID, nil
}

// authenticateKey finds the caller of a key. The hashes are compared in constant time; only the id, which is no secret,
// is looked up.
func authenticateKey(byID map[string]*Key, key string) (*Caller, error) {
	form := keyForm.FindStringSubmatch(key)
	if form == nil {
		return nil, errUnauthenticated
	}
	k, exists := byID[form[1]]
	if !exists {
		k = &Key{Hash: strings.Repeat("0", 64)}
	}
	if subtle.ConstantTimeCompare([]byte(hashOf(key)), []byte(k.Hash)) != 1 || !exists {
		return nil, errUnauthenticated
	}
	return &Caller{ID: k.ID, Kind: KindKey, Grants: []Grant{k.Grant}}, nil
}
