package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/enrich/channel"
	"github.com/sekisho/sekisho/internal/enrich/device"
	"github.com/sekisho/sekisho/internal/enrich/geo"
	"github.com/sekisho/sekisho/internal/enrich/geodb"
	"github.com/sekisho/sekisho/internal/fetch"
	"github.com/sekisho/sekisho/pipeline"
)

// enricher joins the tables of internal/enrich with the country database.
type enricher struct {
	*geo.DB
	channels *channel.Table
}

func newEnricher(ctx context.Context, cfg *config.Config) (enricher, error) {
	path := cfg.Geo.Database
	if path == "" {
		var err error
		if path, err = geodb.Ensure(ctx, fetch.CacheDir(), os.Stderr); err != nil {
			return enricher{}, fmt.Errorf("make country database: %w", err)
		}
	}
	db, err := geo.Open(path)
	if err != nil {
		return enricher{}, err
	}
	channels, err := channel.New()
	if err != nil {
		return enricher{}, errors.Join(err, db.Close())
	}
	return enricher{db, channels}, nil
}

// Place implements pipeline.Enricher.
func (e enricher) Place(a netip.Addr) pipeline.Place { return pipeline.Place(e.Lookup(a)) }

// Device implements pipeline.Enricher.
func (enricher) Device(userAgent, mobile, platform string) pipeline.Device {
	return pipeline.Device(device.Parse(userAgent, device.Hints{Mobile: mobile, Platform: platform}))
}

// Channel implements pipeline.Enricher.
func (e enricher) Channel(pageURL, referrer string) pipeline.Channel {
	c := e.channels.Visit(pageURL, referrer)
	return pipeline.Channel{
		Kind: c.Kind, Source: c.Source, Medium: c.Medium, Campaign: c.Campaign, Term: c.Term, Content: c.Content,
		ClickIDKind: c.ClickID, ReferrerHost: c.ReferrerHost,
	}
}
