package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Publication is a version that may be published.
type Publication struct {
	Pack   *Pack
	Before *Pack // the newest version so far; nil for the first
	Diff   *Diff // from it; nil for the first

	dir    string
	now    time.Time
	source []byte
}

// Publish adds the pack in a file to a directory of packs. The directory is append-only: no version in it is ever
// changed, and the new one takes effect after all of them. The error holds every reason against it (Faults).
func Publish(dir, file string, now time.Time) error {
	p, err := Prepare(dir, file, now)
	if err != nil {
		return err
	}
	return p.Write()
}

// Prepare finds out what publishing would do, and does nothing.
func Prepare(dir, file string, now time.Time) (*Publication, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("publish policy: %w", err)
	}
	p := &Publication{dir: dir, now: now, source: source}
	if err := p.prepare(filepath.Base(file)); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Publication) prepare(name string) error {
	pack, faults := parse(p.source)
	for _, f := range faults {
		f.File = name
	}
	if len(faults) > 0 {
		return fmt.Errorf("publish policy: %w", join(faults))
	}
	register, faults := load(os.DirFS(p.dir))
	if len(faults) > 0 {
		return fmt.Errorf("publish policy: what is published already is at fault: %w", join(faults))
	}
	versions := register.Versions(pack.ID)
	if faults := admit(versions, pack, p.now); len(faults) > 0 {
		for _, f := range faults {
			f.File = name
		}
		return fmt.Errorf("publish policy: %w", join(faults))
	}
	p.Pack = pack
	if len(versions) > 0 {
		p.Before = versions[len(versions)-1]
		p.Diff = Compare(p.Before, pack)
	}
	return nil
}

// admit holds a new version against the published ones, the oldest first. A change that people must be able to read
// before it concerns them lies in the future (Art. 6).
func admit(versions []*Pack, next *Pack, now time.Time) []*Fault {
	for _, v := range versions {
		if v.Version == next.Version {
			return []*Fault{{Place: "/effective_from", Problem: "version " + v.Version + " is published already, and the register is append-only"}}
		}
	}
	all := append(append([]*Pack{}, versions...), next)
	faults := history(all)
	if len(versions) > 0 && next.Change != Editorial && !next.EffectiveFrom.After(now) {
		f := &Fault{Place: "/effective_from", Problem: fmt.Sprintf("is past, but a change that is %s is published before it takes effect (Art. 6)", next.Change)}
		f.locate(next.root)
		faults = append(faults, f)
	}
	return faults
}

// Write publishes. The file is complete and on disk before its name appears, and a name that is there is never taken
// over. Publishers wait for each other; what was prepared is held against the directory again.
func (p *Publication) Write() (err error) {
	target := filepath.Join(p.dir, filepath.FromSlash(p.Pack.file()))
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("publish policy: %w", err)
	}
	lock, err := os.Open(p.dir)
	if err != nil {
		return fmt.Errorf("publish policy: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // closing releases the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("publish policy: lock the directory: %w", err)
	}
	if err := p.prepare(filepath.Base(target)); err != nil {
		return err
	}
	return p.place(target)
}

func (p *Publication) place(target string) error {
	tmp, err := os.CreateTemp(filepath.Dir(target), ".new-*")
	if err != nil {
		return fmt.Errorf("publish policy: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(p.source)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("publish policy: %w", err)
	}
	if err := os.Link(tmp.Name(), target); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("publish policy: version %s is published already", p.Pack.Version)
	} else if err != nil {
		return fmt.Errorf("publish policy: %w", err)
	}
	return errors.Join(syncDir(filepath.Dir(target)), syncDir(p.dir))
}

// syncDir puts a directory's names on disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("publish policy: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("publish policy: sync %s: %w", filepath.Base(dir), err)
	}
	return nil
}
