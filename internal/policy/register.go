package policy

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas"
)

// Register holds every version of every policy.
type Register struct{ packs map[string][]*Pack }

// At is the version in force at t. Before the first version there is none.
func (r *Register) At(id string, t time.Time) (*Pack, bool) {
	versions := r.packs[id]
	n := sort.Search(len(versions), func(i int) bool { return versions[i].EffectiveFrom.After(t) })
	if n == 0 {
		return nil, false
	}
	return versions[n-1], true
}

// Version finds a pack by its version name.
func (r *Register) Version(version string) (*Pack, bool) {
	id, _, _ := strings.Cut(version, "/")
	for _, p := range r.packs[id] {
		if p.Version == version {
			return p, true
		}
	}
	return nil, false
}

// Versions lists the versions of a policy, the oldest first.
func (r *Register) Versions(id string) []*Pack { return slices.Clone(r.packs[id]) }

// All lists every pack, by id and then by date.
func (r *Register) All() []*Pack {
	var all []*Pack
	for _, versions := range r.packs {
		all = append(all, versions...)
	}
	slices.SortFunc(all, func(a, b *Pack) int { return strings.Compare(a.Version, b.Version) })
	return all
}

// Builtin loads the packs that ship with the program.
func Builtin() (*Register, error) {
	sub, err := BuiltinFS()
	if err != nil {
		return nil, err
	}
	return Load(sub)
}

// BuiltinFS is where the packs that ship with the program are.
func BuiltinFS() (fs.FS, error) {
	sub, err := fs.Sub(schemas.Policy, "policy")
	if err != nil {
		return nil, fmt.Errorf("open policy packs: %w", err)
	}
	return sub, nil
}

// Load reads every <id>/<date>.yaml below the root. Every fault of every pack is in the error (Faults).
func Load(fsys fs.FS) (*Register, error) {
	r, faults := load(fsys)
	if len(r.packs) == 0 && len(faults) == 0 {
		faults = []*Fault{{Problem: "there is no policy pack"}}
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("load policy packs: %w", join(faults))
	}
	return r, nil
}

// load reads what can be read. A policy with a pack that cannot is left without a history to check.
func load(fsys fs.FS) (*Register, []*Fault) {
	r := &Register{packs: map[string][]*Pack{}}
	files, err := fs.Glob(fsys, "*/*.yaml")
	if err != nil {
		return r, []*Fault{{Problem: fmt.Sprintf("cannot be listed: %v", err)}}
	}
	var faults []*Fault
	broken := map[string]bool{}
	for _, name := range files {
		pack, found := read(fsys, name)
		if len(found) > 0 {
			faults = append(faults, found...)
			broken[path.Dir(name)] = true
			continue
		}
		r.packs[pack.ID] = append(r.packs[pack.ID], pack)
	}
	for _, id := range r.ids() {
		slices.SortFunc(r.packs[id], func(a, b *Pack) int { return strings.Compare(a.Version, b.Version) })
		if !broken[id] {
			faults = append(faults, history(r.packs[id])...)
		}
	}
	return r, faults
}

func (r *Register) ids() []string {
	ids := make([]string, 0, len(r.packs))
	for id := range r.packs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func read(fsys fs.FS, name string) (*Pack, []*Fault) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, []*Fault{{File: name, Problem: fmt.Sprintf("cannot be read: %v", err)}}
	}
	pack, faults := parse(data)
	if len(faults) == 0 && pack.file() != name {
		faults = []*Fault{{Problem: "holds version " + pack.Version}}
	}
	for _, f := range faults {
		f.File = name
	}
	return pack, faults
}

// file is the name of the pack's file below the root.
func (p *Pack) file() string { return p.Version + ".yaml" }

// history holds the versions of one policy, the oldest first, against each other. The register is append-only: what
// was promised under one version stays promised under the next.
func history(versions []*Pack) (faults []*Fault) {
	bits := ledger{owner: map[core.Purpose]string{}, holds: map[string]core.Purpose{}}
	for i, v := range versions {
		var before *Pack
		if i > 0 {
			before = versions[i-1]
		}
		found := bits.enter(before, v)
		if before != nil {
			found = append(found, follow(before, v)...)
		} else if v.Change != Initial {
			found = append(found, &Fault{Place: "/change", Problem: "the first version is initial"})
		}
		for _, f := range found {
			f.File = v.file()
			f.locate(v.root)
		}
		faults = append(faults, found...)
	}
	return faults
}

// follow holds a version against the one before it: its date, and that it does not understate what it changes.
func follow(before, v *Pack) (faults []*Fault) {
	if !v.EffectiveFrom.After(before.EffectiveFrom) {
		faults = append(faults, &Fault{Place: "/effective_from", Problem: "is not after that of " + before.Version})
	}
	if v.Change == Initial {
		return append(faults, &Fault{Place: "/change", Problem: "only the first version is initial"})
	}
	for _, c := range Compare(before, v).Changes {
		switch {
		case c.Class == Unrelated && c.Kind != PurposeReplaced:
			faults = append(faults, &Fault{Place: c.Place, Problem: "an unrelated change under the same bit: " + c.What["en"] + " Move the purpose to an unused bit (replaces)."})
		case c.Class.exceeds(v.Change):
			faults = append(faults, &Fault{Place: c.Place, Problem: fmt.Sprintf("change is %s, but this is %s: %s", v.Change, c.Class, c.What["en"])})
		}
	}
	return faults
}

// ledger remembers whose every bit was and is.
type ledger struct {
	owner map[core.Purpose]string // of every bit that was ever used
	holds map[string]core.Purpose // the latest bit of every purpose
}

// enter checks the bits of the next version. A bit belongs to one purpose for ever, or rows stored under an old
// version would become readable under a new purpose; and a purpose that an unrelated change made another one, or that
// was given up for a time, starts on a bit that holds nothing.
func (l *ledger) enter(before, v *Pack) (faults []*Fault) {
	fault := func(i int, field, format string, args ...any) {
		faults = append(faults, &Fault{Place: at("purposes", i) + field, Problem: fmt.Sprintf(format, args...)})
	}
	for i := range v.Purposes {
		p := &v.Purposes[i]
		held, known := l.holds[p.ID]
		owner, used := l.owner[p.Bit]
		switch {
		case used && owner != p.ID:
			fault(i, "/bit", "purpose %s takes bit %d of %s", p.ID, p.Bit, owner)
		case !known && p.Replaces != nil:
			fault(i, "/replaces", "purpose %s is new and replaces nothing", p.ID)
		case known && p.Bit == held && p.Replaces != nil:
			fault(i, "/replaces", "purpose %s holds bit %d already; replaces belongs to the version that moved it", p.ID, p.Bit)
		case known && p.Bit == held && !before.has(p.ID):
			fault(i, "/bit", "purpose %s comes back to bit %d, which it left; it needs an unused one (replaces: %d)", p.ID, p.Bit, held)
		case known && p.Bit != held && used:
			fault(i, "/bit", "purpose %s moves back to bit %d; it needs one that was never used", p.ID, p.Bit)
		case known && p.Bit != held && (p.Replaces == nil || *p.Replaces != held):
			fault(i, "/bit", "purpose %s moves from bit %d to %d; only an unrelated change may, and says replaces: %d", p.ID, held, p.Bit, held)
		}
	}
	for i := range v.Purposes {
		l.owner[v.Purposes[i].Bit], l.holds[v.Purposes[i].ID] = v.Purposes[i].ID, v.Purposes[i].Bit
	}
	return faults
}

func (p *Pack) has(id string) bool {
	if p == nil {
		return false
	}
	_, ok := p.Purpose(id)
	return ok
}

// Check reads every pack below the root and returns every fault, of each pack and of their history, in the order of
// the files.
func Check(fsys fs.FS) []*Fault {
	r, faults := load(fsys)
	if len(r.packs) == 0 && len(faults) == 0 {
		return []*Fault{{Problem: "there is no policy pack"}}
	}
	slices.SortStableFunc(faults, func(a, b *Fault) int { return strings.Compare(a.File, b.File) })
	return faults
}
