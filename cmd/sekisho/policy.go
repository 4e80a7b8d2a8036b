package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/width"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
)

// policyCommand keeps the policy packs. What its parts refuse and why is told in package policy.
type policyCommand struct {
	Check   policyCheck   `cmd:"" help:"Hold policy packs against their schema and rules; every fault is listed."`
	Diff    policyDiff    `cmd:"" help:"Say what changes from one version to another, and what that does to stored data and to consents."`
	Publish policyPublish `cmd:"" help:"Add a version to a directory of packs. What is published is never changed."`
	Show    policyShow    `cmd:"" help:"Show the version in force."`
}

// packs is where the policy packs are.
func packs(cfg *config.Config) (fs.FS, error) {
	if cfg.Policies != "" {
		return os.DirFS(cfg.Policies), nil
	}
	return policy.BuiltinFS()
}

type policyCheck struct {
	Dir string `arg:"" optional:"" help:"Directory to check instead of --policies." type:"path"`
}

// Run implements the command.
func (c policyCheck) Run(cfg *config.Config) error {
	if c.Dir != "" {
		return checkPolicies(os.Stdout, os.DirFS(c.Dir))
	}
	all, err := packs(cfg)
	if err != nil {
		return err
	}
	return checkPolicies(os.Stdout, all)
}

func checkPolicies(w io.Writer, all fs.FS) error {
	faults := policy.Check(all)
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
	if len(faults) > 0 {
		return fmt.Errorf("check policies: %d faults", len(faults))
	}
	register, err := policy.Load(all)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d versions, no fault\n", len(register.All()))
	return nil
}

type policyDiff struct {
	From string `arg:"" help:"A version such as default/2019-10-15, or a file."`
	To   string `arg:"" help:"A version, or a file."`
	Lang string `help:"Language of the texts." enum:"ja,en" default:"en"`
	JSON bool   `name:"json" help:"Print JSON, with the texts in every language."`
}

// Run implements the command.
func (d policyDiff) Run(cfg *config.Config) error {
	all, err := packs(cfg)
	if err != nil {
		return err
	}
	register, err := policy.Load(all)
	if err != nil {
		return err
	}
	from, err := packNamed(register, d.From)
	if err != nil {
		return err
	}
	to, err := packNamed(register, d.To)
	if err != nil {
		return err
	}
	diff := policy.Compare(from, to)
	if d.JSON {
		return printJSON(os.Stdout, diff)
	}
	printDiff(os.Stdout, diff, d.Lang)
	return nil
}

// packNamed finds a published version, or reads a file.
func packNamed(register *policy.Register, name string) (*policy.Pack, error) {
	if p, ok := register.Version(name); ok {
		return p, nil
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is neither a published version nor a file", name)
	} else if err != nil {
		return nil, fmt.Errorf("read policy pack: %w", err)
	}
	p, err := policy.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read policy pack %s: %w", name, err)
	}
	return p, nil
}

func printJSON(w io.Writer, value any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(value); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// words are the headings by language.
var words = map[string]map[string]string{
	"en": {
		"nothing": "nothing changes", "stored": "stored data", "consents": "consents", "asked": "Asked again: ", "nobody": "Nobody is asked again.",
		"version": "version", "effective": "in force from", "change": "change", "purposes": "Purposes", "purpose": "purpose", "article": "article",
		"uses": "uses", "categories": "Categories", "category": "category", "kept": "kept", "days": " days", "denied": "not accepted",
		"processors": "Processors", "until": "until", "recipients": "Recipients", "sent": "sent", "operator": "used by the operator for",
		"recipient": "used by the recipient for", "policy": "its policy", "optout": "opt-out", "none": "none",
	},
	"ja": {
		"nothing": "変更はありません", "stored": "保存済みデータ", "consents": "同意", "asked": "改めて同意を求める目的：", "nobody": "改めて同意を求める目的はありません。",
		"version": "版", "effective": "発効日", "change": "変更の種類", "purposes": "利用目的", "purpose": "目的", "article": "条番号",
		"uses": "使う項目", "categories": "項目", "category": "項目", "kept": "保存期間", "days": "日", "denied": "受け付けない",
		"processors": "委託先", "until": "期限", "recipients": "送信先", "sent": "送るもの", "operator": "運営者の利用目的",
		"recipient": "送信先の利用目的", "policy": "送信先のポリシー", "optout": "停止の方法", "none": "なし",
	},
}

// classes are the classes of change in Japanese; in English they are called by their names.
var classes = map[policy.Class]string{
	policy.Initial: "初版", policy.Editorial: "字句", policy.Related: "関連のある変更", policy.Unrelated: "関連のない変更",
}

func className(c policy.Class, lang string) string {
	if lang == "ja" {
		return classes[c]
	}
	return string(c)
}

func printDiff(w io.Writer, d *policy.Diff, lang string) {
	say := words[lang]
	fmt.Fprintf(w, "%s → %s\n", d.From, d.To)
	if len(d.Changes) == 0 {
		fmt.Fprintln(w, say["nothing"])
		return
	}
	for _, c := range d.Changes {
		fmt.Fprintf(w, "\n[%s] %s\n  %s\n  %s: %s\n  %s: %s\n", className(c.Class, lang), c.Place, c.What[lang], say["stored"], c.Stored[lang], say["consents"], c.Consents[lang])
	}
	if len(d.Reopens) == 0 {
		fmt.Fprintf(w, "\n%s\n", say["nobody"])
		return
	}
	fmt.Fprintf(w, "\n%s%s\n", say["asked"], strings.Join(d.Reopens, ", "))
}

type policyPublish struct {
	File   string `arg:"" help:"The pack to publish." type:"existingfile"`
	Lang   string `help:"Language of the texts." enum:"ja,en" default:"en"`
	DryRun bool   `help:"Say what it would do, and do nothing."`
}

// Run implements the command.
func (p policyPublish) Run(cfg *config.Config) error {
	if cfg.Policies == "" {
		return errors.New("publish policy: name the directory of packs (--policies); those that ship with the program are part of it")
	}
	publication, err := policy.Prepare(cfg.Policies, p.File, time.Now())
	if err != nil {
		return err
	}
	if publication.Diff != nil {
		printDiff(os.Stdout, publication.Diff, p.Lang)
		fmt.Println()
	}
	pack := publication.Pack
	if p.DryRun {
		fmt.Printf("%s can be published\n", pack.Version)
		return nil
	}
	if err := publication.Write(); err != nil {
		return err
	}
	fmt.Printf("published %s, in force from %s\n", pack.Version, pack.EffectiveFrom.Format(time.RFC3339))
	return nil
}

type policyShow struct {
	At   string `help:"Date, or timestamp (RFC 3339). None: now." placeholder:"DATE"`
	ID   string `name:"id" help:"Which policy." default:"default"`
	Lang string `help:"Language of the texts." enum:"ja,en" default:"en"`
	JSON bool   `name:"json" help:"Print the pack as JSON." xor:"format"`
	DPV  bool   `name:"dpv" help:"Print the pack as JSON-LD in the W3C Data Privacy Vocabulary." xor:"format"`
}

// Run implements the command.
func (s policyShow) Run(cfg *config.Config) error {
	all, err := packs(cfg)
	if err != nil {
		return err
	}
	register, err := policy.Load(all)
	if err != nil {
		return err
	}
	pack, err := inForce(register, s.ID, s.At, time.Now())
	if err != nil {
		return err
	}
	switch {
	case s.DPV:
		out, err := pack.DPV()
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(out)
		return err
	case s.JSON:
		return printJSON(os.Stdout, pack)
	}
	printPack(os.Stdout, pack, s.Lang)
	return nil
}

// inForce finds the version of a day or an instant. A day is one where the policy is, as a version's first day is.
func inForce(register *policy.Register, id, day string, now time.Time) (*policy.Pack, error) {
	versions := register.Versions(id)
	if len(versions) == 0 {
		return nil, fmt.Errorf("show policy: there is no policy %s", id)
	}
	t := now
	if day != "" {
		var err error
		if t, err = time.ParseInLocation(time.DateOnly, day, versions[len(versions)-1].Location); err != nil {
			if t, err = time.Parse(time.RFC3339, day); err != nil {
				return nil, errors.New("show policy: --at is neither a date nor a timestamp (RFC 3339)")
			}
		}
	}
	pack, ok := register.At(id, t)
	if !ok {
		return nil, fmt.Errorf("show policy: no version of policy %s was in force; the first is %s", id, versions[0].Version)
	}
	return pack, nil
}

func printPack(w io.Writer, p *policy.Pack, lang string) {
	say := words[lang]
	names := func(set core.CategorySet) string {
		var all []string
		for i := range p.Categories {
			if set.Has(p.Categories[i].Category) {
				all = append(all, p.Categories[i].Category.String())
			}
		}
		return strings.Join(all, " ")
	}
	fmt.Fprintf(w, "%s\n%s %s, %s %s, %s %s\n", p.Title[lang], say["version"], p.Version,
		say["effective"], p.EffectiveFrom.Format(time.DateOnly), say["change"], className(p.Change, lang))

	fmt.Fprintf(w, "\n%s\n", say["purposes"])
	rows := [][]string{append(append([]string{say["purpose"], "bit", say["article"]}, p.Jurisdictions...), say["uses"])}
	for i := range p.Purposes {
		x := &p.Purposes[i]
		row := []string{x.ID + " (" + x.Label[lang] + ")", strconv.Itoa(int(x.Bit)), x.Article}
		for _, j := range p.Jurisdictions {
			row = append(row, policy.BasisLabel(x.Basis[j])[lang])
		}
		rows = append(rows, append(row, names(x.Categories)))
	}
	printTable(w, rows)

	fmt.Fprintf(w, "\n%s\n", say["categories"])
	rows = [][]string{{say["category"], say["article"], say["kept"]}}
	for i := range p.Categories {
		x := &p.Categories[i]
		kept := say["denied"]
		if !x.Denied {
			kept = strconv.Itoa(int(x.Retention/(24*time.Hour))) + say["days"]
		}
		rows = append(rows, []string{x.Category.String() + " (" + x.Label[lang] + ")", x.Article, kept})
	}
	printTable(w, rows)

	fmt.Fprintf(w, "\n%s\n", say["processors"])
	for i := range p.Processors {
		x := &p.Processors[i]
		fmt.Fprintf(w, "  %s (%s), %s, %s %s\n    %s: %s\n", x.ID, x.Name[lang], x.Region, say["until"],
			x.Expires.AddDate(0, 0, -1).Format(time.DateOnly), say["uses"], names(x.Categories))
	}
	if len(p.Processors) == 0 {
		fmt.Fprintf(w, "  %s\n", say["none"])
	}
	fmt.Fprintf(w, "\n%s\n", say["recipients"])
	for i := range p.Recipients {
		printRecipient(w, &p.Recipients[i], lang)
	}
	if len(p.Recipients) == 0 {
		fmt.Fprintf(w, "  %s\n", say["none"])
	}
}

// printTable aligns columns on a terminal, where a Japanese character takes two places.
func printTable(w io.Writer, rows [][]string) {
	places := func(text string) (n int) {
		for _, r := range text {
			n++
			if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
				n++
			}
		}
		return n
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], places(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString("  " + cell + strings.Repeat(" ", widths[i]-places(cell)))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

func printRecipient(w io.Writer, x *policy.Recipient, lang string) {
	say := words[lang]
	fmt.Fprintf(w, "  %s (%s), %s\n    %s: %s\n    %s: %s\n    %s: %s\n", x.ID, x.Name[lang], x.Effective(),
		say["sent"], x.SentText[lang], say["operator"], x.OperatorUse[lang], say["recipient"], x.RecipientUse[lang])
	for _, line := range []struct{ heading, text string }{{"policy", x.PolicyURL}, {"optout", x.OptOutURL}, {"optout", x.OptOutText[lang]}} {
		if line.text != "" {
			fmt.Fprintf(w, "    %s: %s\n", say[line.heading], line.text)
		}
	}
}
