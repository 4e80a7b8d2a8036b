// Package web holds the built browser files: the tracker, its modules and the consent banner. `npm run build` in this
// folder writes them to built/, which is embedded. A build without them compiles, and answers that they are not there.
package web

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

// all: because built/.keep, which holds the folder in a checkout, would otherwise not match.
//
//go:embed all:built
var built embed.FS

// Scripts are the built files by name, s.js and s.<module>.js. It is safe for concurrent use.
type Scripts struct {
	files   map[string][]byte
	version string
}

// NewScripts reads the embedded files.
func NewScripts() (*Scripts, error) { return read(built) }

func read(from fs.FS) (*Scripts, error) {
	entries, err := fs.ReadDir(from, "built")
	if err != nil {
		return nil, fmt.Errorf("read scripts: %w", err)
	}
	s := &Scripts{files: map[string][]byte{}}
	for _, entry := range entries {
		name := entry.Name()
		body, err := fs.ReadFile(from, "built/"+name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read scripts: %w", err)
		case name == "version":
			s.version = strings.TrimSpace(string(body))
		case strings.HasPrefix(name, "s.") && strings.HasSuffix(name, ".js"):
			s.files[name] = body
		}
	}
	return s, nil
}

// Script is a file by its name; false when it was not built. The caller MUST NOT change the bytes.
func (s *Scripts) Script(name string) ([]byte, bool) {
	body, ok := s.files[name]
	return body, ok
}

// Version is a hash of all files, and empty when they were not built.
func (s *Scripts) Version() string { return s.version }
