// Package site is the registry of the sites that may send events: a reviewed file (policy as code).
package site

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas"
)

// Site is one registered site.
type Site struct {
	ID             string
	Name           string
	Location       *time.Location // in which its days begin and end
	Jurisdiction   string         // whose bases apply, such as jp
	Policy         string         // id of its policy
	Origins        []string       // browsers of these origins are admitted
	WriteKeyHashes []string       // SHA-256 in hexadecimal; servers with one of these keys are admitted
	TCFVendor      int            // the operator's id in the IAB's Global Vendor List; 0: none, TC strings are read for the site itself
	Events         map[string]CustomEvent
}

// CustomEvent is a declared custom event. A property that is not declared is dropped and counted (Art. 4).
type CustomEvent struct {
	Category   core.Category
	Properties map[string]bool
}

// AllowsOrigin reports whether a browser page of the origin may send for the site.
func (s *Site) AllowsOrigin(origin string) bool { return slices.Contains(s.Origins, origin) }

// AllowsKey reports whether the write key belongs to the site, in constant time for each stored hash.
func (s *Site) AllowsKey(key string) bool {
	if key == "" {
		return false
	}
	hash := HashKey(key)
	ok := 0
	for _, h := range s.WriteKeyHashes {
		ok |= subtle.ConstantTimeCompare([]byte(h), []byte(hash))
	}
	return ok == 1
}

// HashKey is how a write key is kept: its SHA-256 in hexadecimal. Keys are random, so no salt is needed.
func HashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// Registry holds the sites by id.
type Registry struct{ sites map[string]*Site }

// Get finds a site by its id.
func (r *Registry) Get(id string) (*Site, bool) {
	s, ok := r.sites[id]
	return s, ok
}

// All lists the sites by id.
func (r *Registry) All() []*Site {
	all := make([]*Site, 0, len(r.sites))
	for _, s := range r.sites {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Site) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Load reads the registry from a YAML file.
func Load(path string) (*Registry, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	r, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("load sites from %s: %w", path, err)
	}
	return r, nil
}

// Parse reads the registry. Every fault is in the error.
func Parse(data []byte) (*Registry, error) {
	if err := schemas.Validate("sites.v1.schema.json", data); err != nil {
		return nil, err
	}
	var document struct {
		Sites []struct {
			ID           string   `yaml:"id"`
			Name         string   `yaml:"name"`
			TimeZone     string   `yaml:"time_zone"`
			Jurisdiction string   `yaml:"jurisdiction"`
			Policy       string   `yaml:"policy"`
			Origins      []string `yaml:"origins"`
			WriteKeys    []string `yaml:"write_keys"`
			TCFVendor    int      `yaml:"tcf_vendor"`
			Events       map[string]struct {
				Category   string   `yaml:"category"`
				Properties []string `yaml:"properties"`
			} `yaml:"events"`
		} `yaml:"sites"`
	}
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	r := &Registry{sites: map[string]*Site{}}
	var faults []error
	for _, d := range document.Sites {
		s := &Site{
			ID: d.ID, Name: d.Name, Jurisdiction: d.Jurisdiction, Policy: d.Policy, Origins: d.Origins,
			WriteKeyHashes: d.WriteKeys, TCFVendor: d.TCFVendor, Events: map[string]CustomEvent{},
		}
		var err error
		if s.Location, err = time.LoadLocation(d.TimeZone); err != nil {
			faults = append(faults, fmt.Errorf("site %s: time_zone is not known", d.ID))
		}
		for name, e := range d.Events {
			category, ok := core.ParseCategory(e.Category)
			if !ok {
				faults = append(faults, fmt.Errorf("site %s: event %s: category is not known", d.ID, name))
			}
			declared := CustomEvent{Category: category, Properties: map[string]bool{}}
			for _, p := range e.Properties {
				declared.Properties[p] = true
			}
			s.Events[name] = declared
		}
		if _, twice := r.sites[s.ID]; twice {
			faults = append(faults, fmt.Errorf("site %s: registered twice", s.ID))
		}
		r.sites[s.ID] = s
	}
	return r, errors.Join(faults...)
}
