package query

import (
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/query/access"
)

// asked is a planned read as the policies about access see it.
func (p *planner) asked(r *request, planned *plan) access.Request {
	ask := access.Request{
		Action: access.Read, Report: r.report.name, Site: r.site.ID, Jurisdiction: r.site.Jurisdiction,
		Purpose: r.purpose.ID, Basis: r.purpose.Basis[r.site.Jurisdiction], Policy: r.pack.Version, Sensitive: r.report.fine,
	}
	if r.leaves() {
		ask.Action = access.Export
	}
	if r.private != nil {
		ask.Action = access.Release
	}
	var categories []core.Category
	for _, c := range planned.columns {
		categories = append(categories, p.categories[c])
	}
	ask.Categories = core.SetOf(categories...)
	for _, f := range r.filters {
		ask.Sensitive = ask.Sensitive || dimensions[f.dimension].fine
	}
	return ask
}
