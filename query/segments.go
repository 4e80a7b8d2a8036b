package query

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/query/access"
)

// The names under which it is recorded that segments were looked at and changed.
const (
	segmentsRead    = "segments"
	segmentsChanged = "segments_changed"
)

// Limits of segments.
const (
	maxSegments     = 200 // of a site
	maxSegmentBytes = 16 << 10
)

var segmentForm = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// Segment is a set of filters that analysts keep under a name (schemas/openapi/query.v1.yaml). A report that names it
// reads as if the filters stood in the request.
type Segment struct {
	Name      string    `json:"name"`
	Filters   []string  `json:"filters"`
	CreatedBy string    `json:"created_by"` // as in the audit
	Time      time.Time `json:"time"`       // of the last change

	deleted bool
	parsed  []filter
}

// Segments are those of a site that the purpose may use.
type Segments struct {
	Segments []Segment `json:"segments"`
}

// segmentRequest is a request about segments that the caller's grants cover.
type segmentRequest struct {
	*request
	name   string // empty: all
	caller *access.Caller
	record *audit
}

// segmentRoute is the journey of a request about segments. do returns what is answered; nil is no content.
func (q *Query) segmentRoute(report string, do func(context.Context, *gin.Context, *segmentRequest) (any, error)) gin.HandlerFunc {
	return func(g *gin.Context) {
		record := audit{time: q.deps.Now(), report: report}
		answer, err := q.aboutSegments(g, &record, do)
		if err = q.conclude(g.Request.Context(), &record, err); err != nil {
			httpx.WriteProblem(g.Writer, err)
			return
		}
		if answer == nil {
			g.Status(http.StatusNoContent)
			return
		}
		httpx.WriteJSON(g.Writer, http.StatusOK, answer)
	}
}

func (q *Query) aboutSegments(g *gin.Context, record *audit, do func(context.Context, *gin.Context, *segmentRequest) (any, error)) (any, error) {
	caller, err := q.guard.Authenticate(g.Request.Context(), g.GetHeader("Authorization"))
	if err != nil {
		return nil, err
	}
	record.actor = caller.ID
	values := g.Request.URL.Query()
	for name, given := range values {
		switch {
		case name != "site" && name != "purpose":
			return nil, &core.Error{Code: core.CodeUndeclared, Message: "the request has a parameter that does not exist"}
		case len(given) > 1:
			return nil, invalid(name, "given more than once")
		}
	}
	r := &segmentRequest{request: &request{}, name: g.Param("name"), caller: caller, record: record}
	if fault := q.admit(r.request, values.Get("site"), values.Get("purpose"), caller, record); fault != nil {
		return nil, fault
	}
	if fault := q.guard.Allow(caller, access.Request{
		Action: access.Segments, Report: segmentsRead, Site: r.site.ID, Jurisdiction: r.site.Jurisdiction, Policy: r.pack.Version,
	}); fault != nil {
		return nil, fault
	}
	if g.Param("name") != "" && !segmentForm.MatchString(r.name) {
		return nil, invalid("name", "not 1 to 40 of a to z, 0 to 9 and -")
	}
	ctx, cancel := context.WithTimeout(g.Request.Context(), q.config.Timeout)
	defer cancel()
	return do(ctx, g, r)
}

// listSegments answers with the segments that the purpose may use.
func (q *Query) listSegments(ctx context.Context, _ *gin.Context, r *segmentRequest) (any, error) {
	all, err := q.readSegments(ctx, r.site.ID, "")
	if err != nil {
		return nil, err
	}
	list := &Segments{Segments: []Segment{}}
	for _, s := range all {
		if !s.deleted && q.mayUse(r.request, &s) == nil {
			list.Segments = append(list.Segments, s)
		}
	}
	r.record.rows = len(list.Segments)
	return list, nil
}

func (q *Query) getSegment(ctx context.Context, _ *gin.Context, r *segmentRequest) (any, error) {
	s, err := q.segment(ctx, r)
	if err != nil {
		return nil, err
	}
	r.record.rows = 1
	return s, nil
}

// segment is the one that is asked for, where it is there and the purpose may use it.
func (q *Query) segment(ctx context.Context, r *segmentRequest) (*Segment, error) {
	found, err := q.readSegments(ctx, r.site.ID, r.name)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || found[0].deleted {
		return nil, &core.Error{Code: core.CodeNotFound, Message: "the site has no such segment"}
	}
	r.record.filters = found[0].shapes()
	if fault := q.mayUse(r.request, &found[0]); fault != nil {
		return nil, fault
	}
	return &found[0], nil
}

// mayUse says why a segment is not for the purpose (Art. 5).
func (q *Query) mayUse(r *request, s *Segment) *core.Error {
	columns := make([]string, len(s.parsed))
	for i, f := range s.parsed {
		columns[i] = dimensions[f.dimension].column
	}
	return q.planner.refused(r.purpose.Categories, columns)
}

func (s *Segment) shapes() []string {
	shapes := make([]string, len(s.parsed))
	for i, f := range s.parsed {
		shapes[i] = f.shape()
	}
	return shapes
}

// putSegment keeps filters under a name. A segment of that name is replaced, if the purpose may use it.
func (q *Query) putSegment(ctx context.Context, g *gin.Context, r *segmentRequest) (any, error) {
	s, fault := readSegment(g)
	if fault != nil {
		return nil, fault
	}
	r.record.filters = s.shapes()
	if fault := q.mayUse(r.request, s); fault != nil {
		return nil, fault
	}
	all, err := q.readSegments(ctx, r.site.ID, "")
	if err != nil {
		return nil, err
	}
	s.Name, s.CreatedBy, s.Time = r.name, r.caller.ID, q.deps.Now()
	others := 0
	for _, was := range all {
		if was.Name != s.Name {
			if !was.deleted {
				others++
			}
			continue
		}
		if !was.deleted {
			if fault := q.mayUse(r.request, &was); fault != nil {
				return nil, fault
			}
		}
		s.Time = after(was.Time, s.Time)
	}
	if others >= maxSegments {
		return nil, invalid("name", "the site has 200 other segments; delete one first")
	}
	s.Time = s.Time.UTC().Truncate(time.Microsecond)
	if err := q.writeSegment(ctx, r.site.ID, s); err != nil {
		return nil, err
	}
	return s, nil
}

func (q *Query) deleteSegment(ctx context.Context, _ *gin.Context, r *segmentRequest) (any, error) {
	s, err := q.segment(ctx, r)
	if err != nil {
		return nil, err
	}
	gone := &Segment{Name: s.Name, Filters: []string{}, CreatedBy: r.caller.ID, Time: after(s.Time, q.deps.Now()), deleted: true}
	return nil, q.writeSegment(ctx, r.site.ID, gone)
}

// after is now, or just after the last change if a clock says otherwise.
func after(last, now time.Time) time.Time {
	if now.After(last) {
		return now
	}
	return last.Add(time.Microsecond)
}

// readSegment reads the body of a request: {"filters": ["country:JP"]}.
func readSegment(g *gin.Context) (*Segment, *core.Error) {
	if media, _, err := mime.ParseMediaType(g.GetHeader("Content-Type")); err != nil || media != "application/json" {
		return nil, &core.Error{Code: core.CodeMediaType, Field: "Content-Type", Message: "not application/json"}
	}
	var body struct {
		Filters []string `json:"filters"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(g.Writer, g.Request.Body, maxSegmentBytes))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&body)
	if err == nil {
		if _, err = decoder.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			err = errors.New("something follows")
		}
	}
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, &core.Error{Code: core.CodeTooLarge, Message: "larger than 16 KiB"}
	case err != nil:
		return nil, &core.Error{Code: core.CodeMalformed, Message: `not a JSON object with the field "filters" and nothing else`}
	case len(body.Filters) == 0:
		return nil, &core.Error{Code: core.CodeMissing, Field: "/filters", Message: "a segment has at least one filter"}
	case len(body.Filters) > maxFilters:
		return nil, &core.Error{Code: core.CodeTooLong, Field: "/filters", Message: "more than 10 filters"}
	}
	s := &Segment{Filters: body.Filters}
	for i, text := range body.Filters {
		f, fault := parseFilter(text)
		if fault != nil {
			return nil, &core.Error{Code: fault.Code, Field: "/filters" + core.Index(i), Message: fault.Message}
		}
		s.parsed = append(s.parsed, f)
	}
	return s, nil
}

// addSegment adds the filters of the segment that a report is asked for to those of the request.
func (q *Query) addSegment(ctx context.Context, r *request, name string, record *audit) *core.Error {
	if !segmentForm.MatchString(name) {
		return invalid("segment", "not the name of a segment")
	}
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout)
	defer cancel()
	found, err := q.readSegments(ctx, r.site.ID, name)
	if err != nil {
		q.deps.Log.ErrorContext(ctx, "read of a segment failed", "error", err)
		return &core.Error{Code: core.CodeUnavailable, Field: "segment", Message: "the segment could not be read; try again later"}
	}
	if len(found) == 0 || found[0].deleted {
		return invalid("segment", "the site has no such segment")
	}
	if len(r.filters)+len(found[0].parsed) > maxFilters {
		return &core.Error{Code: core.CodeTooLong, Field: "segment", Message: "more than 10 filters with those of the segment"}
	}
	for _, f := range found[0].parsed {
		// What a dimension may be are alternatives: the request would widen the segment that it means to narrow.
		if slices.ContainsFunc(r.filters, func(g filter) bool { return g.dimension == f.dimension && !g.not && !f.not }) {
			return invalid("filter", "the segment says already what the dimension may be")
		}
	}
	r.filters = append(r.filters, found[0].parsed...)
	record.filters = append(record.filters, "segment")
	record.filters = append(record.filters, found[0].shapes()...)
	return nil
}

// readSegments reads the segments of a site as they are now, deleted ones with them: the one with a name, or all. A
// stored filter that cannot be understood any more is an error: without it, the segment would be another.
func (q *Query) readSegments(ctx context.Context, site, name string) ([]Segment, error) {
	var all []Segment
	err := q.deps.Store.Select(ctx, q.planner.text("segments", nil, nil), map[string]string{"site": site, "name": name}, q.limits(), func(rows clickhouse.Rows) error {
		for rows.Next() {
			var s Segment
			if err := rows.Scan(&s.Name, &s.Filters, &s.CreatedBy, &s.Time, &s.deleted); err != nil {
				return err
			}
			s.Time = s.Time.UTC()
			for i, text := range s.Filters {
				f, fault := parseFilter(text)
				if fault != nil {
					return fmt.Errorf("filter %s of a stored segment: %s", strconv.Itoa(i), fault.Message)
				}
				s.parsed = append(s.parsed, f)
			}
			all = append(all, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read segments: %w", err)
	}
	slices.SortFunc(all, func(a, b Segment) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// writeSegment stores what a segment is from now on.
func (q *Query) writeSegment(ctx context.Context, site string, s *Segment) error {
	token, err := uuid.NewRandomFromReader(q.deps.Random)
	if err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	err = q.deps.Store.Insert(ctx, "segments", token.String(), []clickhouse.Column{
		{Name: "site", Values: []string{site}},
		{Name: "name", Values: []string{s.Name}},
		{Name: "filters", Values: [][]string{s.Filters}},
		{Name: "created_by", Values: []string{s.CreatedBy}},
		{Name: "time", Values: []time.Time{s.Time.UTC()}},
		{Name: "deleted", Values: []bool{s.deleted}},
	})
	if err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	return nil
}
