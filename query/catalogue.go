package query

import (
	"maps"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/query/access"
)

// Catalogue is what a caller may ask for (schemas/openapi/query.v1.yaml). It tells nothing of the data.
type Catalogue struct {
	Sites      []SiteEntry      `json:"sites"`
	Reports    []ReportEntry    `json:"reports"`
	Dimensions []DimensionEntry `json:"dimensions"`
}

// SiteEntry is a site and the purposes that the caller may name for it.
type SiteEntry struct {
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	TimeZone string         `json:"time_zone"`
	Policy   string         `json:"policy"`
	Purposes []PurposeEntry `json:"purposes"`
}

// PurposeEntry is a purpose and the reports that its data categories allow.
type PurposeEntry struct {
	ID      string   `json:"id"`
	Label   label    `json:"label"`
	Reports []string `json:"reports"`
}

// ReportEntry is a report of the catalogue.
type ReportEntry struct {
	Name       string   `json:"name"`
	Label      label    `json:"label"`
	Columns    []Column `json:"columns"`
	Parameters []string `json:"parameters"` // besides those of every report
}

// DimensionEntry is what a filter may name.
type DimensionEntry struct {
	Name  string `json:"name"`
	Label label  `json:"label"`
}

func (q *Query) getCatalogue(g *gin.Context) {
	caller, err := q.guard.Authenticate(g.Request.Context(), g.GetHeader("Authorization"))
	if err != nil {
		httpx.WriteProblem(g.Writer, q.explain(g.Request.Context(), err))
		return
	}
	httpx.WriteJSON(g.Writer, http.StatusOK, q.catalogue(caller))
}

// catalogue lists what the caller may read, as the policies stand now.
func (q *Query) catalogue(caller *access.Caller) *Catalogue {
	c := &Catalogue{Sites: []SiteEntry{}, Reports: []ReportEntry{}, Dimensions: []DimensionEntry{}}
	for _, id := range caller.Sites() {
		where, known := q.deps.Sites.Get(id)
		if !known {
			continue
		}
		pack, known := q.deps.Policies.At(where.Policy, q.deps.Now())
		if !known {
			continue
		}
		entry := SiteEntry{ID: where.ID, Name: where.Name, TimeZone: where.Location.String(), Policy: pack.Version, Purposes: []PurposeEntry{}}
		for _, p := range pack.Purposes {
			if caller.Holds(where.ID, p.ID) != nil || p.Basis[where.Jurisdiction] == core.NoBasis {
				continue
			}
			allowed := PurposeEntry{ID: p.ID, Label: label{p.Label["ja"], p.Label["en"]}, Reports: []string{}}
			for _, r := range catalogue {
				read := &request{report: &r, site: where, pack: pack, purpose: &p}
				if q.planner.refused(p.Categories, r.parts[0].reads) == nil &&
					q.guard.Allow(caller, q.planner.asked(read, &plan{columns: r.parts[0].reads})) == nil {
					allowed.Reports = append(allowed.Reports, r.name)
				}
			}
			entry.Purposes = append(entry.Purposes, allowed)
		}
		c.Sites = append(c.Sites, entry)
	}
	for _, r := range catalogue {
		entry := ReportEntry{Name: r.name, Label: r.label, Columns: r.columns(), Parameters: []string{}}
		for _, p := range r.takes {
			entry.Parameters = append(entry.Parameters, p.name)
		}
		c.Reports = append(c.Reports, entry)
	}
	for _, name := range slices.Sorted(maps.Keys(dimensions)) {
		c.Dimensions = append(c.Dimensions, DimensionEntry{name, dimensions[name].label})
	}
	return c
}
