package transparency

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/web/kit"
)

// page is what a template sees.
type page struct {
	board        *board
	request      *http.Request
	document     []byte // to send instead of the page
	documentType string

	Language string
	Name     string // of the template
	Path     string // below the language, such as "versions"
	Now      time.Time
	Site     *site.Site   // nil on a page of no site
	Pack     *policy.Pack // nil on a page of no version
}

// revision is a version in its history.
type revision struct {
	Pack    *policy.Pack
	Diff    *policy.Diff // from the version before; nil for the first
	Effects []effect
}

// effect is what some changes have in common: their class and what it means for stored data and standing consents.
type effect struct {
	Class            policy.Class
	Stored, Consents policy.Text
	Changes          []policy.Change
}

// T is a text in the page's language. A text that is missing is an error: half a page is no page.
func (p *page) T(key string, args ...any) (string, error) {
	text, ok := p.board.texts[p.Language][key]
	if !ok {
		return "", fmt.Errorf("no text %q in %s", key, p.Language)
	}
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	return text, nil
}

// For is the text of a key for a jurisdiction, or the one for all that have no text of their own.
func (p *page) For(key string) (string, error) {
	if text, ok := p.board.texts[p.Language][key+"."+p.Site.Jurisdiction]; ok {
		return text, nil
	}
	return p.T(key + "." + policy.Default)
}

// Say is a pack's text in the page's language.
func (p *page) Say(t policy.Text) string { return t[p.Language] }

// Notice is what the consent banner calls things.
func (p *page) Notice() policy.Notice { return p.Pack.Notice[p.Language] }

// --- Where things are -------------------------------------------------------------------------------------------------

// base leads from the page to Prefix.
func (p *page) base() string {
	return strings.Repeat("../", strings.Count(strings.TrimPrefix(p.request.URL.EscapedPath(), Prefix), "/"))
}

// To is the address of a page of the site in the page's language.
func (p *page) To(path string) string { return p.in(p.Language, path) }

// In is the address of this page in another language; of a page that is not there, the site's first page.
func (p *page) In(language string) string { return p.in(language, p.Path) }

func (p *page) in(language, path string) string {
	return p.base() + p.Site.ID + "/" + language + "/" + path
}

// Any is the address of this page in whatever language its reader prefers; empty for a page without such an address.
func (p *page) Any() string {
	if p.Path != "" && p.Path != "transmission" && p.Path != "versions" {
		return ""
	}
	return p.base() + p.Site.ID + "/" + p.Path
}

// There reports whether the site has a page: without a version in force, it has its history at most.
func (p *page) There(path string) bool {
	if path == "versions" {
		return len(p.board.policies.Versions(p.Site.Policy)) > 0
	}
	_, ok := p.board.policies.At(p.Site.Policy, p.Now)
	return ok
}

// Style is the address of the style sheet.
func (p *page) Style() string { return p.base() + p.board.styleName }

// Document is the address of the page's version for machines.
func (p *page) Document(form string) string {
	if p.Path == "" {
		return p.base() + p.Site.ID + "/policy." + form
	}
	return p.base() + p.Site.ID + "/versions/" + p.date() + "." + form
}

// date is the part of a version's name that tells it from the others of its policy.
func (p *page) date() string { return strings.TrimPrefix(p.Pack.Version, p.Pack.ID+"/") }

// Version is the address of a version.
func (p *page) Version(pack *policy.Pack) string {
	return p.To("versions/" + strings.TrimPrefix(pack.Version, pack.ID+"/"))
}

// Origin is where the site itself is; empty for one that no browser visits.
func (p *page) Origin() string {
	if len(p.Site.Origins) == 0 {
		return ""
	}
	return p.Site.Origins[0]
}

// Other is the language that the page is not in.
func (p *page) Other() string {
	if p.Language == "ja" {
		return "en"
	}
	return "ja"
}

// Languages are those of every page.
func (p *page) Languages() []string { return kit.Languages() }

// --- How things are said ----------------------------------------------------------------------------------------------

// Title is the page's title.
func (p *page) Title() (string, error) {
	var title string
	var err error
	switch {
	case p.Name == "policy" && p.Path != "":
		title = p.Say(p.Pack.Title)
		var when string
		if when, err = p.From(p.Pack); err == nil {
			title += " (" + when + ")"
		}
	case p.Name == "policy":
		title = p.Say(p.Pack.Title)
	default:
		title, err = p.T(p.Name + ".title")
	}
	if p.Site != nil {
		title += " | " + p.Site.Name
	}
	return title, err
}

// Day writes a date.
func (p *page) Day(t time.Time) string {
	if p.Language == "ja" {
		return t.Format("2006年1月2日")
	}
	return t.Format("2 January 2006")
}

// Last is the day before an instant at which something has ended.
func (p *page) Last(end time.Time) time.Time { return end.AddDate(0, 0, -1) }

// ISO writes a date for machines.
func (p *page) ISO(t time.Time) string { return t.Format(time.DateOnly) }

// From says from when on a version applies.
func (p *page) From(pack *policy.Pack) (string, error) {
	return p.T("version.from", p.Day(pack.EffectiveFrom))
}

// Kept says how long a category is kept.
func (p *page) Kept(retention time.Duration) (string, error) {
	days := int(retention / (24 * time.Hour))
	kept, err := p.count("day", days)
	if err != nil || days < 60 {
		return kept, err
	}
	var about string
	if days%365 == 0 {
		about, err = p.count("year", days/365)
	} else {
		about, err = p.count("month", (days*12+182)/365)
	}
	if err != nil {
		return "", err
	}
	return p.T("kept.about", kept, about)
}

// count writes a number of days, months or years.
func (p *page) count(unit string, n int) (string, error) {
	if n == 1 {
		return p.T("kept." + unit)
	}
	number := strconv.Itoa(n)
	if len(number) > 3 {
		number = number[:len(number)-3] + "," + number[len(number)-3:]
	}
	return p.T("kept."+unit+"s", number)
}

// numbered is how packs name articles: the article, and the number of its item.
var numbered = regexp.MustCompile(`^([0-9]+)(?:-([0-9]+))?$`)

// Article writes the number of an article of the operator's published policy.
func (p *page) Article(article string) (string, error) {
	switch parts := numbered.FindStringSubmatch(article); {
	case parts == nil:
		return article, nil
	case parts[2] == "":
		return p.T("article", parts[1])
	default:
		return p.T("article.item", parts[1], parts[2])
	}
}

// Region is a country by its ISO 3166-1 code.
func (p *page) Region(code string) string {
	region, err := language.ParseRegion(code)
	if err != nil {
		return code
	}
	names := display.Regions(language.English)
	if p.Language == "ja" {
		names = display.Regions(language.Japanese)
	}
	if name := names.Name(region); name != "" {
		return name
	}
	return code
}

// Jurisdiction is whose rules apply to the site.
func (p *page) Jurisdiction() string {
	if text, ok := p.board.texts[p.Language]["jurisdiction."+p.Site.Jurisdiction]; ok {
		return text
	}
	return p.Region(strings.ToUpper(p.Site.Jurisdiction))
}

// --- What a version says ----------------------------------------------------------------------------------------------

// Hash is the SHA-256 of the version as JSON.
func (p *page) Hash() string { return p.board.documents[p.Pack].hash }

// Next is the version that follows another; nil for the newest.
func (p *page) Next(pack *policy.Pack) *policy.Pack {
	for _, later := range p.board.policies.Versions(pack.ID) {
		if later.EffectiveFrom.After(pack.EffectiveFrom) {
			return later
		}
	}
	return nil
}

// State is whether a version is past, in force or announced.
func (p *page) State(pack *policy.Pack) string {
	if pack.EffectiveFrom.After(p.Now) {
		return "future"
	}
	if next := p.Next(pack); next != nil && !next.EffectiveFrom.After(p.Now) {
		return "past"
	}
	return "current"
}

// group are the purposes with one basis in the site's jurisdiction.
type group struct {
	Basis    string
	Purposes []*policy.Purpose
}

// Groups are the purposes of the version, those first about which one can say the most. Without a basis in the
// jurisdiction a purpose is denied, and so it is said.
func (p *page) Groups() []group {
	var groups []group
	for _, basis := range []core.Basis{core.Consent, core.OptOut, core.Notified, core.NoBasis} {
		g := group{Basis: basis.String()}
		if basis == core.NoBasis {
			g.Basis = "none"
		}
		for i := range p.Pack.Purposes {
			if purpose := &p.Pack.Purposes[i]; purpose.Basis[p.Site.Jurisdiction] == basis {
				g.Purposes = append(g.Purposes, purpose)
			}
		}
		if len(g.Purposes) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// Choice is how to say no to a purpose. The controls on the site's pages are for what its own tags send; what comes
// another way is refused another way.
func (p *page) Choice(purpose *policy.Purpose) ([]string, error) {
	basis := purpose.Basis[p.Site.Jurisdiction]
	key := "choice." + basis.String()
	switch basis {
	case core.NoBasis:
		key = "choice.none"
	case core.Consent, core.OptOut:
		if p.onPages(purpose) {
			key += ".page"
		} else {
			key += ".elsewhere"
		}
	}
	said, err := p.T(key)
	if strings.HasSuffix(key, ".page") {
		said, err = p.T(key, p.Notice().Reopen)
	}
	if err != nil {
		return nil, err
	}
	lines := []string{said}
	if purpose.GPCDenied && (basis == core.Consent || basis == core.OptOut) {
		signal, err := p.T("choice.gpc")
		if err != nil {
			return nil, err
		}
		lines = append(lines, signal)
	}
	return lines, nil
}

// onPages reports whether the site's own tags send something that the purpose may use.
func (p *page) onPages(purpose *policy.Purpose) bool {
	for i := range p.Pack.Recipients {
		if r := &p.Pack.Recipients[i]; r.Kind == policy.OwnTag && r.Sent&purpose.Categories != 0 {
			return true
		}
	}
	return false
}

// Parent is the purpose that another is part of; nil for one that stands alone.
func (p *page) Parent(purpose *policy.Purpose) *policy.Purpose {
	parent, ok := p.Pack.Purpose(purpose.Parent)
	if !ok {
		return nil
	}
	return parent
}

// Data are the categories of a set, in the order of the pack.
func (p *page) Data(set core.CategorySet) []*policy.Category {
	var data []*policy.Category
	for i := range p.Pack.Categories {
		if c := &p.Pack.Categories[i]; set.Has(c.Category) {
			data = append(data, c)
		}
	}
	return data
}

// Accepted are the categories of one class that are kept.
func (p *page) Accepted(personal bool) []*policy.Category {
	var data []*policy.Category
	for i := range p.Pack.Categories {
		if c := &p.Pack.Categories[i]; !c.Denied && c.Personal == personal {
			data = append(data, c)
		}
	}
	return data
}

// table are categories under a heading.
type table struct {
	Page       *page
	ID         string // of the heading
	Categories []*policy.Category
}

// Table puts categories under the heading with the id.
func (p *page) Table(id string, categories []*policy.Category) table { return table{p, id, categories} }

// Denied are the categories that are never accepted.
func (p *page) Denied() []*policy.Category {
	var data []*policy.Category
	for i := range p.Pack.Categories {
		if c := &p.Pack.Categories[i]; c.Denied {
			data = append(data, c)
		}
	}
	return data
}

// Purposes are those of a set, in the order of the pack.
func (p *page) Purposes(set core.PurposeSet) []*policy.Purpose {
	var purposes []*policy.Purpose
	for i := range p.Pack.Purposes {
		if purpose := &p.Pack.Purposes[i]; set.Has(purpose.Bit) {
			purposes = append(purposes, purpose)
		}
	}
	return purposes
}

// party is somebody other than the operator who handles data for a purpose.
type party struct {
	At   string // its place on the page
	Name policy.Text
}

// Parties are all of them.
func (p *page) Parties(purpose *policy.Purpose) []party {
	var parties []party
	for i := range p.Pack.Recipients {
		if r := &p.Pack.Recipients[i]; r.Kind != policy.OwnTag && r.Purposes.Has(purpose.Bit) {
			parties = append(parties, party{"recipient-" + r.ID, r.Name})
		}
	}
	for i := range p.Pack.Processors {
		if x := &p.Pack.Processors[i]; x.Purposes.Has(purpose.Bit) {
			parties = append(parties, party{"processor-" + x.ID, x.Name})
		}
	}
	return parties
}

// Processor is whom a recipient's data goes to by entrustment; nil where it does not.
func (p *page) Processor(r *policy.Recipient) *policy.Processor {
	x, ok := p.Pack.Processor(r.Processor)
	if !ok {
		return nil
	}
	return x
}

// Hosts are where a recipient's data goes: by entrustment to its processor's.
func (p *page) Hosts(r *policy.Recipient) []string {
	if x := p.Processor(r); x != nil {
		return x.Hosts
	}
	return r.Hosts
}

// Lapsed reports whether a processor of the version in force may be sent nothing now.
func (p *page) Lapsed(x *policy.Processor) bool {
	return p.State(p.Pack) == "current" && !x.InForce(p.Now)
}

// Versions are those of the site's policy, the newest first, each compared with the one before it.
func (p *page) Versions() []revision {
	var revisions []revision
	versions := p.board.policies.Versions(p.Site.Policy)
	for i, pack := range slices.Backward(versions) {
		r := revision{Pack: pack}
		if i > 0 {
			r.Diff = policy.Compare(versions[i-1], pack)
			r.Effects = effects(r.Diff.Changes)
		}
		revisions = append(revisions, r)
	}
	return revisions
}

// effects puts changes together that mean the same, in the order of the first of each.
func effects(changes []policy.Change) []effect {
	var all []effect
next:
	for _, c := range changes {
		for i := range all {
			e := &all[i]
			if e.Class == c.Class && e.Stored["en"] == c.Stored["en"] && e.Consents["en"] == c.Consents["en"] {
				e.Changes = append(e.Changes, c)
				continue next
			}
		}
		all = append(all, effect{Class: c.Class, Stored: c.Stored, Consents: c.Consents, Changes: []policy.Change{c}})
	}
	return all
}

// Reopened are the purposes of a version whose consent is asked for again.
func (p *page) Reopened(r revision) []*policy.Purpose {
	var purposes []*policy.Purpose
	for _, id := range r.Diff.Reopens {
		if purpose, ok := r.Pack.Purpose(id); ok {
			purposes = append(purposes, purpose)
		}
	}
	return purposes
}
