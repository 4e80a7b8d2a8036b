package query

// Explanation tells how a report would be read. It holds no value of a filter and nothing of the data.
type Explanation struct {
	Report  string `json:"report"`
	Site    string `json:"site"`
	Purpose string `json:"purpose"`
	Policy  string `json:"policy"`
	// Source is raw: all events of the period are read; rollup: sums by day are; or mixed: the sums of some days are, and
	// the events of others.
	Source     string   `json:"source"`
	Why        string   `json:"why"`
	Threshold  int      `json:"threshold"`
	Statements []string `json:"statements"` // by name, as in the folder query/sql
	LeftOut    []string `json:"left_out"`   // statements whose columns the purpose may not use
	Columns    []string `json:"columns"`    // of the events that are read
	Filters    []string `json:"filters"`    // by dimension and operator
}

func (p *plan) explain(r *request) *Explanation {
	e := &Explanation{
		Report: r.report.name, Site: r.site.ID, Purpose: r.purpose.ID, Policy: r.pack.Version,
		Source: p.choice.name(), Why: p.choice.why, Threshold: p.k,
		Statements: []string{}, LeftOut: []string{}, Columns: append([]string{}, p.columns...), Filters: []string{},
	}
	planned := map[*part]bool{}
	for _, s := range p.parts {
		planned[s.part] = true
		e.Statements = append(e.Statements, s.name)
	}
	for i := range r.report.parts {
		if part := &r.report.parts[i]; !planned[part] {
			e.LeftOut = append(e.LeftOut, part.file)
		}
	}
	for _, f := range r.filters {
		e.Filters = append(e.Filters, f.shape())
	}
	return e
}
