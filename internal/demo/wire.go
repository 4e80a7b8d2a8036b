package demo

import (
	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/web/sample"
)

// The shapes of schemas/openapi/collector.v1.yaml, as the tracker sends them. Times are milliseconds since the epoch.

type batch struct {
	Site     string       `json:"site"`
	Deny     []string     `json:"deny,omitempty"`
	CookieID string       `json:"cookie_id,omitempty"`
	UserID   string       `json:"user_id,omitempty"`
	Events   []event      `json:"events"`
	Env      *environment `json:"env,omitempty"`
	SentAt   int64        `json:"sent_at"`
}

type event struct {
	kind core.EventType

	ID         uuid.UUID     `json:"id"`
	Type       string        `json:"type"`
	URL        string        `json:"url"`
	ViewID     string        `json:"view_id"`
	Referrer   string        `json:"referrer,omitempty"`
	Title      string        `json:"title,omitempty"`
	Operation  *operation    `json:"operation,omitempty"`
	Engagement *engagement   `json:"engagement,omitempty"`
	Purchase   *sample.Order `json:"purchase,omitempty"`
	Ad         *ad           `json:"ad,omitempty"`
	Search     *search       `json:"search,omitempty"`
	Custom     *custom       `json:"custom,omitempty"`
	Time       int64         `json:"time"`
}

type operation struct {
	Name   string `json:"name"`
	Target string `json:"target,omitempty"`
}

type engagement struct {
	MS     int64 `json:"ms"`
	Scroll int   `json:"scroll"`
}

type ad struct {
	ID        string `json:"id"`
	Slot      string `json:"slot"`
	Campaign  string `json:"campaign"`
	Action    string `json:"action"`
	VisibleMS int64  `json:"visible_ms"`
}

type search struct {
	Query    string `json:"query"`
	Results  int    `json:"results"`
	Category string `json:"category"`
}

type custom struct {
	Name       string            `json:"name"`
	Properties map[string]string `json:"properties,omitempty"`
}

type environment struct {
	Language      string `json:"language"`
	Screen        string `json:"screen"`
	Viewport      string `json:"viewport"`
	Connection    string `json:"connection,omitempty"`
	ColorScheme   string `json:"color_scheme"`
	ReducedMotion bool   `json:"reduced_motion"`
	TimeZone      string `json:"time_zone"`
}

type act struct {
	ID            uuid.UUID `json:"id"`
	Site          string    `json:"site"`
	Subject       subject   `json:"subject"`
	Granted       []string  `json:"granted"`
	Refused       []string  `json:"refused"`
	Withdrawn     []string  `json:"withdrawn"`
	PolicyVersion string    `json:"policy_version"`
	Language      string    `json:"language"`
	Surface       string    `json:"surface"`
	Time          int64     `json:"time"`
	SentAt        int64     `json:"sent_at"`
}

type subject struct {
	CookieID string `json:"cookie_id"`
}
