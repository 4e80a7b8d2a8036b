package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/enrich"
	"github.com/sekisho/sekisho/internal/enrich/geo"
	"github.com/sekisho/sekisho/internal/enrich/geodb"
	"github.com/sekisho/sekisho/internal/fetch"
	"github.com/sekisho/sekisho/pipeline"
)

// enricher joins the tables of internal/enrich with the country database.
type enricher struct{ *geo.DB }

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
	return enricher{db}, nil
}

// Place implements pipeline.Enricher.
func (e enricher) Place(a netip.Addr) pipeline.Place {
	country, region := enrich.Place(e.DB, a)
	return pipeline.Place{Country: country, Region: region}
}

// Device implements pipeline.Enricher.
func (enricher) Device(userAgent, mobile, platform string) pipeline.Device {
	return pipeline.Device(enrich.ParseDevice(userAgent, mobile, platform))
}

// Channel implements pipeline.Enricher.
func (enricher) Channel(pageURL, referrer string) pipeline.Channel {
	return pipeline.Channel(enrich.ParseChannel(pageURL, referrer))
}
