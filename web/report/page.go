package report

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/core"
)

// page is what a template sees.
type page struct {
	voice
	desk    *desk
	request *http.Request

	Language string
	Name     string // of the template
	Status   int
	SignedIn bool
	// Arrived tells that the reader came by a link on another site, with which a browser sends no session.
	Arrived bool
	Refused string // why a form was not taken: key of a text
	Fault   *problem
	Form    form
	Result  *result

	catalogue *catalogue
}

func (d *desk) newPage(r *http.Request, language string) *page {
	return &page{
		voice: voice{language: language, texts: d.texts[language]}, desk: d, request: r, Language: language, Name: "enter",
		Status: http.StatusOK, Form: readForm(r.URL.Query()), catalogue: &catalogue{},
		Arrived: r.Header.Get("Sec-Fetch-Site") == "cross-site",
	}
}

// asked asks the API in the page's language.
func (p *page) asked(key, path string, values url.Values) (status int, body []byte) {
	return p.desk.ask(context.WithValue(p.request.Context(), spoken{}, p.Language), key, path, values)
}

// enter reads what the key may ask for.
func (p *page) enter(key string) {
	p.Name, p.SignedIn = "report", true
	status, body := p.asked(key, "/v1/catalogue", nil)
	if status != http.StatusOK {
		p.fail(status, body)
		return
	}
	if err := decode(body, p.catalogue); err != nil {
		p.fail(http.StatusInternalServerError, nil)
		return
	}
	// Where there is one choice only, it is made.
	if len(p.catalogue.Sites) == 1 && p.Form.Site == "" {
		p.Form.Site = p.catalogue.Sites[0].ID
	}
	if all := p.Purposes(); len(all) == 1 && p.Form.Purpose == "" {
		p.Form.Purpose = all[0].Value
	}
}

// read asks for the report of the form; nil where there is a fault instead. Its name becomes a part of a path, so none
// but those of the catalogue are asked for.
func (p *page) read(key string, values url.Values) []byte {
	if !p.catalogue.has(p.Form.Report) {
		p.Fault = &problem{Status: http.StatusNotFound, Code: string(core.CodeNotFound), Field: "report"}
		p.Status = http.StatusNotFound
		return nil
	}
	status, body := p.asked(key, "/v1/reports/"+p.Form.Report, values)
	if status != http.StatusOK {
		p.fail(status, body)
		return nil
	}
	return body
}

// show reads the report of the form and prepares it to be written.
func (p *page) show(key string) {
	body := p.read(key, p.Form.values(p.catalogue, p.desk.options.Now()))
	if p.Fault != nil {
		return
	}
	a, err := readAnswer(body)
	if err != nil {
		p.fail(http.StatusInternalServerError, nil)
		return
	}
	if a.Interval == "" && slices.Contains(p.catalogue.parameters(a.Report), "unit") {
		a.Interval = oneOf(controls["unit"].options, p.Form.Own.Get("unit"))
	}
	p.Result = p.result(a)
}

// fail keeps what the API said of a failure. What is no problem document is an internal error.
func (p *page) fail(status int, body []byte) {
	fault := &problem{}
	if decode(body, fault) != nil || fault.Code == "" {
		fault = &problem{Code: string(core.CodeInternal)}
	}
	fault.Status = status
	if status < http.StatusBadRequest {
		fault.Status = http.StatusInternalServerError
	}
	p.Fault, p.Status = fault, fault.Status
}

// refuse keeps the entrance closed, and says why.
func (p *page) refuse(why string) { p.Refused, p.Status = why, http.StatusForbidden }

// write sends the page whole, or an error and nothing of it.
func (p *page) write(w http.ResponseWriter) error {
	var out bytes.Buffer
	if err := p.desk.pages[p.Name].ExecuteTemplate(&out, "layout", p); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if p.lacks != nil {
		return fmt.Errorf("write page: %w", p.lacks)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", p.Language)
	w.WriteHeader(p.Status)
	_, _ = out.WriteTo(w) // the reader is gone if it fails
	return nil
}

// --- Where things are -------------------------------------------------------------------------------------------------

// Style is the address of the style sheet.
func (p *page) Style() string { return "../" + p.desk.styleName }

// Other is the language that the page is not in.
func (p *page) Other() string {
	if p.Language == "ja" {
		return "en"
	}
	return "ja"
}

// Switch is the address of this page in the other language.
func (p *page) Switch() string { return "../" + p.Other() + "/" + p.Form.query() }

// Here is the address of this page.
func (p *page) Here() string { return "./" + p.Form.query() }

// SignIn is where the key is sent to. What was asked for goes along.
func (p *page) SignIn() string { return "sign-in" + p.Form.query() }

// --- What can be chosen -----------------------------------------------------------------------------------------------

// choice is an option of the form.
type choice struct {
	Value, Label string
	Chosen       bool
	Takes        string // parameters of a report's own, and "period" if it has one, with spaces between them
}

// Sites are those of the key.
func (p *page) Sites() []choice {
	var all []choice
	for _, s := range p.catalogue.Sites {
		all = append(all, choice{Value: s.ID, Label: plainText(s.Name), Chosen: s.ID == p.Form.Site})
	}
	return all
}

// Purposes are those of the key for any of its sites, each once.
func (p *page) Purposes() []choice {
	var all []choice
	for _, s := range p.catalogue.Sites {
		for _, purpose := range s.Purposes {
			if !slices.ContainsFunc(all, func(c choice) bool { return c.Value == purpose.ID }) {
				all = append(all, choice{Value: purpose.ID, Label: plainText(purpose.Label.in(p.Language)), Chosen: purpose.ID == p.Form.Purpose})
			}
		}
	}
	return all
}

// Reports are those that the chosen purpose allows, or those that it does not.
func (p *page) Reports(allowed bool) []choice {
	var all []choice
	for _, r := range p.catalogue.Reports {
		if p.catalogue.allowed(p.Form.Site, p.Form.Purpose, r.Name) != allowed {
			continue
		}
		takes := r.Parameters
		if !slices.Contains(recent, r.Name) {
			takes = append([]string{"period"}, takes...)
		}
		all = append(all, choice{Value: r.Name, Label: plainText(r.Label.in(p.Language)), Chosen: r.Name == p.Form.Report, Takes: strings.Join(takes, " ")})
	}
	return all
}

func (p *page) choices(prefix string, values []string, chosen string) []choice {
	all := make([]choice, len(values))
	for i, v := range values {
		key := prefix + "." + v
		if v == "" {
			key = prefix + ".default"
		}
		all[i] = choice{Value: v, Label: p.say(key), Chosen: v == chosen}
	}
	return all
}

// Periods are the choices of a period.
func (p *page) Periods() []choice { return p.choices("period", periods, p.Form.Period) }

// Comparisons are what a period can be compared with.
func (p *page) Comparisons() []choice { return p.choices("compare", comparisons, p.Form.Compare) }

// Limits are how many rows can be asked for.
func (p *page) Limits() []choice {
	all := make([]choice, len(limits))
	for i, v := range limits {
		all[i] = choice{Value: v, Label: p.say("limit.default"), Chosen: v == p.Form.Limit}
		if n, err := strconv.Atoi(v); err == nil {
			all[i].Label = p.say("limit.rows", p.Number(n))
		}
	}
	return all
}

// filterLine is a line of the form's filters.
type filterLine struct {
	Number     int
	Dimensions []choice
	Operators  []choice
	Value      string
}

// Filters are the lines in use and a free one, two at least.
func (p *page) Filters() []filterLine {
	var lines []filterLine
	for i := range min(max(len(p.Form.Filters)+1, 2), maxFilters) {
		chosen := filterChoice{Operator: operators[0].name}
		if i < len(p.Form.Filters) {
			chosen = p.Form.Filters[i]
		}
		line := filterLine{Number: i + 1, Operators: p.choices("operator", operatorNames(), chosen.Operator), Value: chosen.Value}
		for _, d := range p.catalogue.Dimensions {
			line.Dimensions = append(line.Dimensions, choice{Value: d.Name, Label: plainText(d.Label.in(p.Language)), Chosen: d.Name == chosen.Dimension})
		}
		lines = append(lines, line)
	}
	return lines
}

// ownControl is how the form asks for a parameter of some reports.
type ownControl struct {
	Name, Label, Hint string
	Known             bool // the style sheet shows it with the reports that take it
	Options           []choice
	Values            []string // of texts
}

// Controls ask for what only some reports take: all that have a text here, and those of the chosen report.
func (p *page) Controls() []ownControl {
	taken := p.catalogue.parameters(p.Form.Report)
	var all []ownControl
	for _, r := range p.catalogue.Reports {
		for _, name := range r.Parameters {
			how, known := controls[name]
			if !known && !slices.Contains(taken, name) || slices.ContainsFunc(all, func(c ownControl) bool { return c.Name == name }) {
				continue
			}
			c := ownControl{Name: name, Label: plainText(name), Known: known}
			given := p.Form.Own[name]
			if known {
				c.Label = p.say("own." + name)
				c.Hint = p.texts["own."+name+".hint"]
			}
			switch {
			case len(how.options) > 0:
				chosen := how.standard()
				if len(given) > 0 && slices.Contains(how.options, given[0]) {
					chosen = given[0]
				}
				c.Options = p.choices("option."+name, how.options, chosen)
			case how.many:
				c.Values = append(c.Values, given...)
				for len(c.Values) < min(max(len(given)+1, 3), maxSteps) {
					c.Values = append(c.Values, "")
				}
			case len(given) > 0:
				c.Values = given[:1]
			default:
				c.Values = []string{""}
			}
			all = append(all, c)
		}
	}
	return all
}

// --- What went wrong --------------------------------------------------------------------------------------------------

// Problem is what a failure's code means.
func (p *page) Problem() (string, error) {
	if text, ok := p.texts["problem."+p.Fault.Code]; ok {
		return text, nil
	}
	return p.T("problem.other")
}

// Advice is what to do about it.
func (p *page) Advice() string { return p.texts["advice."+p.Fault.Code] }

// Field is what the failure is about, as the form calls it; empty where the form does not know it.
func (p *page) Field() string {
	if text, ok := p.texts["field."+p.Fault.Field]; ok {
		return text
	}
	if text, ok := p.texts["own."+p.Fault.Field]; ok {
		return text
	}
	if known, ok := p.catalogue.labelOf(p.Fault.Field, ""); ok {
		return plainText(known.in(p.Language))
	}
	return ""
}

// Detail is what the API said, for whoever looks after it.
func (p *page) Detail() string {
	detail := p.Fault.Code
	if p.Fault.Field != "" {
		detail += ": " + p.Fault.Field
	}
	if p.Fault.Detail != "" {
		detail += ": " + p.Fault.Detail
	}
	return plainText(detail)
}

// Title is the page's title.
func (p *page) Title() (string, error) {
	name, err := p.T("name")
	if err != nil {
		return "", err
	}
	var about string
	switch {
	case p.Name != "report":
		about, err = p.T(p.Name + ".title")
	case p.Fault != nil:
		about, err = p.T("problem.title")
	case p.Result != nil:
		about = p.Result.Title + " – " + p.siteName(p.Form.Site)
	default:
		about, err = p.T("report.title")
	}
	return about + " | " + name, err
}

func (p *page) reportLabel(name string) string {
	for _, r := range p.catalogue.Reports {
		if r.Name == name {
			return plainText(r.Label.in(p.Language))
		}
	}
	return plainText(name)
}

func (p *page) siteName(id string) string {
	for _, s := range p.catalogue.Sites {
		if s.ID == id {
			return plainText(s.Name)
		}
	}
	return plainText(id)
}

func (p *page) purposeLabel(site, id string) string {
	for _, s := range p.catalogue.Sites {
		for _, purpose := range s.Purposes {
			if s.ID == site && purpose.ID == id {
				return plainText(purpose.Label.in(p.Language))
			}
		}
	}
	return plainText(id)
}

func (p *page) dimensionLabel(name string) string {
	for _, d := range p.catalogue.Dimensions {
		if d.Name == name {
			return plainText(d.Label.in(p.Language))
		}
	}
	return plainText(name)
}
