package collector

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
)

// notice is what the policy in force says about a site's visits in one language (schema Notice). The consent settings
// load it when they are opened; it is apart from the tracker's configuration so that s.js stays small.
type notice struct {
	Policy       string                    `json:"policy"`
	Language     string                    `json:"language"`
	Jurisdiction string                    `json:"jurisdiction"`
	Categories   map[string]noticeCategory `json:"categories"`
	Purposes     []noticePurpose           `json:"purposes"`
	TCF          map[string][]string       `json:"tcf"`
}

type noticeCategory struct {
	Label string `json:"label"`
	Days  int    `json:"days"`
}

type noticePurpose struct {
	ID         string            `json:"id"`
	Label      string            `json:"label"`
	Text       string            `json:"text"`
	Basis      string            `json:"basis"`
	Categories []string          `json:"categories"`
	Recipients []noticeRecipient `json:"recipients"` // empty: the operator and nobody else
}

type noticeRecipient struct {
	Name      string `json:"name"`
	Entrusted bool   `json:"entrusted"` // handles it for the operator, under its supervision (Art. 8-1)
}

// noticeOf tells of every purpose that may use something a tracker collects, those that ask nobody too. A purpose with
// no basis in the site's jurisdiction is not used there, and not in it.
func noticeOf(s *site.Site, pack *policy.Pack, language string) notice {
	n := notice{
		Policy: pack.Version, Language: language, Jurisdiction: s.Jurisdiction,
		Categories: map[string]noticeCategory{}, Purposes: []noticePurpose{}, TCF: map[string][]string{},
	}
	for i := range pack.Purposes {
		p := &pack.Purposes[i]
		// Of every purpose of the pack: what a tag may do under a TCF purpose, it may do only if all that share it are granted.
		for _, id := range p.Mappings.TCF {
			n.TCF[id] = append(n.TCF[id], p.ID)
		}
		basis := p.Basis[s.Jurisdiction]
		if p.Categories&tracked == 0 || basis == core.NoBasis {
			continue
		}
		said := noticePurpose{
			ID: p.ID, Label: p.Label[language], Text: p.Text[language], Basis: basis.String(),
			Categories: []string{}, Recipients: recipientsOf(pack, p.Bit, language),
		}
		for j := range pack.Categories {
			c := &pack.Categories[j]
			if c.Denied || !p.Categories.Has(c.Category) {
				continue
			}
			id := c.Category.String()
			said.Categories = append(said.Categories, id)
			n.Categories[id] = noticeCategory{Label: c.Label[language], Days: int(c.Retention / (24 * time.Hour))}
		}
		n.Purposes = append(n.Purposes, said)
	}
	return n
}

// recipientsOf names everybody but the operator who is given data for a purpose, or handles it.
func recipientsOf(pack *policy.Pack, purpose core.Purpose, language string) []noticeRecipient {
	named := []noticeRecipient{}
	for i := range pack.Recipients {
		r := &pack.Recipients[i]
		if r.Kind != policy.OwnTag && r.Purposes.Has(purpose) {
			named = append(named, noticeRecipient{Name: r.Name[language], Entrusted: r.Processor != ""})
		}
	}
	for i := range pack.Processors {
		x := &pack.Processors[i]
		if x.Purposes.Has(purpose) {
			named = append(named, noticeRecipient{Name: x.Name[language], Entrusted: true})
		}
	}
	return named
}

type noticeKey struct{ site, language string }

// writtenNotice is a site's notice under one policy version.
type writtenNotice struct {
	pack *policy.Pack
	body []byte
	etag string
}

func (c *Collector) getNotice(g *gin.Context) {
	s, ok := c.deps.Sites.Get(g.Query("site"))
	if !ok {
		c.refuse(g, &core.Error{Code: core.CodeNotFound, Field: "site", Message: "there is no notice for it"})
		return
	}
	pack, inForce := c.deps.Policies.At(s.Policy, c.deps.Now())
	if !inForce {
		c.refuse(g, &core.Error{Code: core.CodeNotFound, Field: "site", Message: "no policy is in force for it"})
		return
	}
	language := g.Query("lang")
	if _, spoken := pack.Notice[language]; !spoken {
		c.refuse(g, &core.Error{Code: core.CodeNotFound, Field: "lang", Message: "the policy has no text in it"})
		return
	}
	key := noticeKey{s.ID, language}
	kept, _ := c.notices.Load(key)
	n, ok := kept.(*writtenNotice)
	if !ok || n.pack != pack {
		body, err := json.Marshal(noticeOf(s, pack, language))
		if err != nil {
			c.refuse(g, fmt.Errorf("write notice: %w", err))
			return
		}
		n = &writtenNotice{pack: pack, body: body, etag: etagOf(body)}
		c.notices.Store(key, n)
	}
	g.Header("ETag", n.etag)
	g.Header("Cache-Control", "public, max-age=300")
	if strings.Contains(g.GetHeader("If-None-Match"), n.etag) {
		g.Status(http.StatusNotModified)
		return
	}
	g.Data(http.StatusOK, "application/json; charset=utf-8", n.body)
}
