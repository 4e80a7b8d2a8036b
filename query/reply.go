package query

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/sekisho/sekisho/query/format"
)

// reply sends an answer in the form that was asked for.
func (r *request) reply(w http.ResponseWriter, from *http.Request, answer any) error {
	document, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	tagged := document
	if a, isAnswer := answer.(*Answer); isAnswer && a.Release != nil {
		same, which := *a, *a.Release // the same answer, whichever of its releases is told
		which.ID, which.AsOf, which.Reused = "", time.Time{}, false
		same.Release = &which
		if tagged, err = json.Marshal(&same); err != nil {
			return err
		}
	}
	tag := format.Weak(format.Tag(r.form, r.language, tagged))
	reply := format.Reply{Form: r.form, Language: r.language, Tag: tag, Document: json.RawMessage(document)}
	if a, isAnswer := answer.(*Answer); isAnswer {
		reply.Table = a.table()
	} else {
		reply.Form = format.JSON
	}
	return reply.Send(w, from)
}

// table is the answer as rows.
func (a *Answer) table() format.Table {
	columns := make([]format.Column, len(a.Columns))
	for i, c := range a.Columns {
		columns[i] = c.travels()
	}
	meta := format.Meta{
		Report: a.Report, Site: a.Site, Purpose: a.Purpose, Policy: a.Policy, From: a.From, To: a.To,
		TimeZone: a.TimeZone, Interval: a.Interval, Threshold: a.Threshold, Sample: a.Sample, Truncated: a.Truncated, Next: a.Next,
		Suppressed: format.Suppressed(a.Suppressed), Coverage: format.Coverage{Included: a.Coverage.Included},
	}
	if a.Compared != nil {
		meta.Compared = format.Period(*a.Compared)
	}
	if r := a.Release; r != nil {
		meta.Release = &format.Release{ID: r.ID, AsOf: r.AsOf, DroppedFilters: r.DroppedFilters}
		if r.Period != nil {
			meta.Release.Period = &format.Period{From: r.Period.From, To: r.Period.To}
		}
	}
	for _, remark := range a.Remarks {
		meta.Remarks = append(meta.Remarks, remark.Name)
	}
	for _, l := range a.Coverage.LeftOut {
		meta.Coverage.LeftOut = append(meta.Coverage.LeftOut, format.LeftOut{Reason: l.Reason, Count: l.Count})
	}
	return format.Table{Columns: columns, Rows: format.Named(columns, a.Rows), Meta: meta}
}

// kinds are how columns travel in a table.
var kinds = map[kind]format.Kind{text: format.Text, count: format.Count, ratio: format.Ratio, money: format.Money, clock: format.Clock, ordinal: format.Count}

func (c Column) travels() format.Column {
	column := format.Column{Name: c.Name, Kind: kinds[c.kind], LabelJA: c.Label.JA, LabelEN: c.Label.EN}
	if c.nested != nil {
		column.Kind = format.Rows
		for _, below := range c.nested {
			column.Columns = append(column.Columns, below.travels())
		}
	}
	return column
}

// forms are the names of the parameter format.
var forms = []string{format.JSON.String(), format.CSV.String(), format.NDJSON.String(), format.Parquet.String()}

// leaves reports whether the answer is a file that leaves the reach of the service's own pages and programs.
func (r *request) leaves() bool { return slices.Contains(forms[1:], r.form.String()) }
