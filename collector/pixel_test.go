package collector

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

func TestThePixelTakesAViewAndAlwaysAnswersTheSameImage(t *testing.T) {
	page := origin + "/items/1"
	query := func(pairs ...string) string {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		return "/v1/pixel.gif?" + q.Encode()
	}
	for name, tc := range map[string]struct {
		target  string
		referer string
		fault   string // Sekisho-Error
		check   func(*sekishov1.Event) bool
	}{
		"a page view": {
			query("site", "shop", "u", page, "t", "Tea", "r", "https://search.example/"), "", "", func(e *sekishov1.Event) bool {
				return e.Type == sekishov1.EventType_EVENT_TYPE_PAGE_VIEW && e.Url == page && e.Title == "Tea" && e.Referrer == "https://search.example/"
			},
		},
		"a page view by its name": {
			query("site", "shop", "u", page, "e", "page_view"), "", "", func(e *sekishov1.Event) bool { return e.Type == sekishov1.EventType_EVENT_TYPE_PAGE_VIEW },
		},
		"a page that the browser names": {
			query("site", "shop"), page, "", func(e *sekishov1.Event) bool { return e.Url == page },
		},
		"a page below an origin that the browser names": {
			query("site", "shop", "u", page), origin + "/", "", func(e *sekishov1.Event) bool { return e.Url == page },
		},
		"an ad view": {
			query("site", "shop", "u", page, "e", "ad_view", "ad", "a1", "slot", "top"), "", "", func(e *sekishov1.Event) bool {
				return e.Type == sekishov1.EventType_EVENT_TYPE_AD_VIEW && e.Ad.Id == "a1" && e.Ad.Slot == "top" && !e.Ad.Click
			},
		},
		"an ad view without an ad": {query("site", "shop", "u", page, "e", "ad_view"), "", "missing", nil},
		"another event":            {query("site", "shop", "u", page, "e", "purchase"), "", "invalid", nil},
		"an unknown site":          {query("site", "other", "u", page), "", "invalid", nil},
		"no site":                  {query("u", page), "", "missing", nil},
		"a foreign page":           {query("site", "shop", "u", "https://evil.example/"), "", "forbidden", nil},
		"a foreign page that claims to be the site's": {query("site", "shop", "u", page), "https://evil.example/", "forbidden", nil},
		"no page at all":        {query("site", "shop"), "", "unauthenticated", nil},
		"a page that is no URL": {query("site", "shop", "u", "%zz"), "", "unauthenticated", nil},
		"a title as long as may be, in characters": {
			query("site", "shop", "u", page, "t", strings.Repeat("茶", 500)), "", "", func(e *sekishov1.Event) bool { return len(e.Title) == 1500 },
		},
		"a title that is too long": {query("site", "shop", "u", page, "t", strings.Repeat("x", 501)), "", "too_long", nil},
		"a page that is too long":  {query("site", "shop", "u", page+strings.Repeat("x", 2048)), "", "too_long", nil},
		"a title that is no text":  {query("site", "shop", "u", page, "t", "\xff"), "", "too_long", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, broker, _ := build(t, 1<<20)
			w := get(c, tc.target, "Referer", tc.referer)
			h := w.Header()
			if w.Code != 200 || w.Body.String() != gif || len(gif) != 43 || h.Get("Content-Type") != "image/gif" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("%d, %d bytes, %v", w.Code, w.Body.Len(), h)
			}
			if got := h.Get("Sekisho-Error"); got != tc.fault {
				t.Errorf("error %q, want %q", got, tc.fault)
			}
			events := broker.events(t)
			if tc.fault != "" {
				if len(events) != 0 {
					t.Error("it was taken")
				}
				return
			}
			if len(events) != 1 || !tc.check(events[0]) {
				t.Fatalf("taken: %v", events)
			}
			if e := events[0]; e.Identity != nil || e.Receipt == nil || e.Lib != "pixel" || e.TimeUs != now.UnixMicro() {
				t.Errorf("taken: %v", e)
			}
		})
	}
}

func TestAPixelThatIsNotDurableSaysSo(t *testing.T) {
	for name, tc := range map[string]struct {
		fault error
		code  string
	}{"a full spool": {core.Retryable{Err: errors.New("away")}, "unavailable"}, "a broker that refuses": {errors.New("refused"), "internal"}} {
		t.Run(name, func(t *testing.T) {
			c, broker, _ := build(t, 1)
			broker.set(tc.fault)
			w := get(c, "/v1/pixel.gif?site=shop&u="+origin)
			if w.Code != 503 || w.Body.String() != gif || w.Header().Get("Sekisho-Error") != tc.code || w.Header().Get("Retry-After") == "" {
				t.Errorf("%d, %v", w.Code, w.Header())
			}
		})
	}
}
