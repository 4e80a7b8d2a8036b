package collector

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// maxBatch is how many events a request may hold.
const maxBatch = 1000

// item is one event as it was read. The first fault found is kept; an item with a fault is rejected alone.
type item struct {
	event      *sekishov1.Event
	id         uuid.UUID
	site       string
	time       int64 // microseconds since the epoch by the client's clock; 0: not said
	sentAt     int64 // the same
	fault      *core.Error
	undeclared int              // fields no contract declares
	named      core.CategorySet // categories that undeclared fields and properties are named after
}

func (it *item) reject(code core.Code, field, message string) {
	if it.fault == nil {
		it.fault = &core.Error{Code: code, Message: message, Field: field}
	}
}

// batch is a decoded body.
type batch struct {
	items  []item
	fields int // undeclared fields beside the events
}

func malformed() *core.Error {
	return &core.Error{Code: core.CodeMalformed, Message: "the body is not the JSON that its type says"}
}

// decode reads a body: one event, an array, a batch, or one event a line.
func decode(body []byte, lines bool) (*batch, *core.Error) {
	if !lines {
		return decodeDocument(body)
	}
	b := &batch{}
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(b.items) == maxBatch {
			return nil, tooMany()
		}
		s := scanner{b: line}
		var it item
		d := decoder{scanner: &s, item: &it}
		d.event(nil)
		if !s.end() {
			it = item{}
			it.reject(core.CodeMalformed, "", "the line is not one JSON object")
		}
		b.items = append(b.items, it)
	}
	return b.finish()
}

func decodeDocument(body []byte) (*batch, *core.Error) {
	s := scanner{b: body}
	b := &batch{}
	full := false
	one := func(int) {
		if full = full || len(b.items) == maxBatch; full {
			s.skip()
			return
		}
		b.items = append(b.items, item{})
		d := decoder{scanner: &s, item: &b.items[len(b.items)-1]}
		d.event(nil)
	}
	if s.peek() == '[' {
		s.array(one)
	} else {
		// A batch is an event that holds events: its other fields are their defaults.
		var head item
		isBatch, isArray := false, true
		d := decoder{scanner: &s, item: &head}
		d.event(func() {
			isBatch = true
			isArray = s.array(one)
		})
		switch {
		case !isBatch:
			b.items = []item{head}
		case !isArray:
			return nil, &core.Error{Code: core.CodeInvalid, Field: "/events", Message: "must be an array of events"}
		case head.fault != nil && !s.broken:
			return nil, head.fault
		default:
			b.fields = head.undeclared
			for i := range b.items {
				b.items[i].inherit(&head)
			}
		}
	}
	switch {
	case !s.end():
		return nil, malformed()
	case full:
		return nil, tooMany()
	}
	return b.finish()
}

func tooMany() *core.Error {
	return &core.Error{Code: core.CodeTooLarge, Message: "more than 1000 events in one request"}
}

func (b *batch) finish() (*batch, *core.Error) {
	if len(b.items) == 0 {
		return nil, &core.Error{Code: core.CodeMissing, Message: "the body holds no event"}
	}
	return b, nil
}

// inherit takes what the batch says and the event does not.
func (it *item) inherit(head *item) {
	if it.site == "" {
		it.site = head.site
	}
	if it.sentAt == 0 {
		it.sentAt = head.sentAt
	}
	it.named |= head.named
	e, h := it.event, head.event
	if e == nil || h == nil {
		return
	}
	if h.Identity != nil {
		if e.Identity == nil {
			e.Identity = &sekishov1.Identity{}
		}
		e.Identity.CookieId = or(e.Identity.CookieId, h.Identity.CookieId)
		e.Identity.DeviceId = or(e.Identity.DeviceId, h.Identity.DeviceId)
		e.Identity.UserId = or(e.Identity.UserId, h.Identity.UserId)
	}
	if e.Environment == nil {
		e.Environment = h.Environment
	}
	e.Lib = or(e.Lib, h.Lib)
	if len(e.Deny) == 0 {
		e.Deny = h.Deny
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// decoder reads into one item.
type decoder struct {
	*scanner
	item *item
}

// event reads an object into the item. events, when not nil, reads the field that makes the object a batch.
func (d *decoder) event(events func()) {
	e := &sekishov1.Event{Source: sekishov1.AcquisitionSource_ACQUISITION_SOURCE_SERVICE_COLLECTED}
	d.item.event = e
	isObject := d.object(func(key []byte) {
		switch string(key) {
		case "id":
			d.item.id = d.uuid("/id")
		case "site":
			d.item.site = d.str("/site", 1, 40)
		case "type":
			t, _ := core.ParseEventType(d.str("/type", 1, 40))
			if e.Type = sekishov1.EventType(t); t == core.NoEvent {
				d.item.reject(core.CodeInvalid, "/type", "must be one of the event types")
			}
		case "time":
			d.item.time = d.time("/time")
		case "sent_at":
			d.item.sentAt = d.time("/sent_at")
		case "source":
			if e.Source = sources[d.str("/source", 1, 40)]; e.Source == 0 {
				d.item.reject(core.CodeInvalid, "/source", "must be one of the acquisition sources")
			}
		case "provenance":
			e.Provenance = d.str("/provenance", 0, 120)
		case "url":
			e.Url = d.str("/url", 0, 2048)
		case "referrer":
			e.Referrer = d.str("/referrer", 0, 2048)
		case "title":
			e.Title = d.str("/title", 0, 500)
		case "view_id":
			e.ViewId = d.str("/view_id", 0, 36)
		case "cookie_id":
			d.identity().CookieId = d.str("/cookie_id", 1, 128)
		case "device_id":
			d.identity().DeviceId = d.str("/device_id", 1, 128)
		case "user_id":
			d.identity().UserId = d.str("/user_id", 1, 128)
		case "deny":
			e.Deny = d.list("/deny")
		case "lib":
			e.Lib = d.str("/lib", 0, 40)
		case "env":
			e.Environment = d.environment()
		case "operation":
			e.Operation = d.operation()
		case "engagement":
			e.Engagement = d.engagement()
		case "purchase":
			e.Purchase = d.purchase()
		case "ad":
			e.Ad = d.ad()
		case "search":
			e.Search = d.search()
		case "custom":
			e.Custom = d.custom()
		case "location": // no purpose names it: dropped and counted, never kept
			d.item.undeclared++
			d.skip()
		case "events":
			if events != nil {
				events()
				return
			}
			d.undeclared(key)
		default:
			d.undeclared(key)
		}
	})
	if !isObject {
		d.item.reject(core.CodeMalformed, "", "an event must be an object")
	}
}

var sources = map[string]sekishov1.AcquisitionSource{
	"user_input":         sekishov1.AcquisitionSource_ACQUISITION_SOURCE_USER_INPUT,
	"service_collected":  sekishov1.AcquisitionSource_ACQUISITION_SOURCE_SERVICE_COLLECTED,
	"direct_or_document": sekishov1.AcquisitionSource_ACQUISITION_SOURCE_DIRECT_OR_DOCUMENT,
	"third_party":        sekishov1.AcquisitionSource_ACQUISITION_SOURCE_THIRD_PARTY,
}

func (d *decoder) identity() *sekishov1.Identity {
	if d.item.event.Identity == nil {
		d.item.event.Identity = &sekishov1.Identity{}
	}
	return d.item.event.Identity
}

// undeclared steps over a field that no contract declares, and notes it and the category it is named after.
func (d *decoder) undeclared(key []byte) {
	d.item.undeclared++
	d.item.named |= categoryOf(string(key))
	d.skip()
}

// child reads an object below the event.
func (d *decoder) child(field string, read func(key []byte)) {
	if !d.object(read) {
		d.item.reject(core.CodeInvalid, field, "must be an object")
	}
}

func (d *decoder) operation() *sekishov1.Operation {
	o := &sekishov1.Operation{}
	d.child("/operation", func(key []byte) {
		switch string(key) {
		case "name":
			o.Name = d.str("/operation/name", 1, 120)
		case "target":
			o.Target = d.str("/operation/target", 0, 120)
		default:
			d.undeclared(key)
		}
	})
	d.need(o.Name != "", "/operation/name")
	return o
}

func (d *decoder) engagement() *sekishov1.Engagement {
	e := &sekishov1.Engagement{}
	d.child("/engagement", func(key []byte) {
		switch string(key) {
		case "ms":
			e.VisibleMs = d.count("/engagement/ms", 86_400_000)
		case "scroll":
			e.ScrollPercent = d.count("/engagement/scroll", 100)
		default:
			d.undeclared(key)
		}
	})
	return e
}

func (d *decoder) purchase() *sekishov1.Purchase {
	p := &sekishov1.Purchase{}
	d.child("/purchase", func(key []byte) {
		switch string(key) {
		case "order_id":
			p.OrderId = d.str("/purchase/order_id", 0, 120)
		case "currency":
			p.Currency = d.str("/purchase/currency", 1, 3)
			if len(p.Currency) != 3 || strings.Trim(p.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
				d.item.reject(core.CodeInvalid, "/purchase/currency", "must be an ISO 4217 code")
			}
		case "total":
			p.TotalE4, p.HasTotal = d.decimal(func() string { return "/purchase/total" }), true
		case "items":
			p.Items = nil
			if !d.array(func(i int) {
				if i == 200 {
					d.item.reject(core.CodeTooLong, "/purchase/items", "must have at most 200 items")
				}
				if i >= 200 {
					d.skip()
					return
				}
				p.Items = append(p.Items, d.line(i))
			}) {
				d.item.reject(core.CodeInvalid, "/purchase/items", "must be an array")
			}
		default:
			d.undeclared(key)
		}
	})
	d.need(p.Currency != "", "/purchase/currency")
	d.need(len(p.Items) > 0, "/purchase/items")
	return p
}

// line reads one item of a purchase.
func (d *decoder) line(i int) *sekishov1.Item {
	x := &sekishov1.Item{Quantity: 1}
	priced := false
	at := func(name string) string { return "/purchase/items" + core.Index(i) + name }
	short := func(name string, least, most int) string {
		text, fault := d.limited(least, most)
		if fault != nil && d.item.fault == nil {
			d.item.fault = fault.At(at(name))
		}
		return text
	}
	if !d.object(func(key []byte) {
		switch string(key) {
		case "sku":
			x.Sku = short("/sku", 1, 120)
		case "name":
			x.Name = short("/name", 0, 200)
		case "category":
			x.Category = short("/category", 0, 120)
		case "quantity":
			n, ok := d.integer(1, 1_000_000)
			if x.Quantity = uint32(n); !ok { //nolint:gosec // G115: bounded
				d.item.reject(core.CodeInvalid, at("/quantity"), "must be a whole number in range")
			}
		case "price":
			x.PriceE4, priced = d.decimal(func() string { return at("/price") }), true
		default:
			d.undeclared(key)
		}
	}) {
		d.item.reject(core.CodeInvalid, at(""), "must be an object")
	}
	if x.Sku == "" {
		d.need(false, at("/sku"))
	}
	if !priced {
		d.need(false, at("/price"))
	}
	return x
}

func (d *decoder) ad() *sekishov1.Ad {
	a := &sekishov1.Ad{}
	acted := false
	d.child("/ad", func(key []byte) {
		switch string(key) {
		case "id":
			a.Id = d.str("/ad/id", 1, 120)
		case "slot":
			a.Slot = d.str("/ad/slot", 0, 120)
		case "campaign":
			a.Campaign = d.str("/ad/campaign", 0, 120)
		case "action":
			action := d.str("/ad/action", 1, 20)
			acted, a.Click = true, action == "click"
			if action != "click" && action != "impression" {
				d.item.reject(core.CodeInvalid, "/ad/action", "must be impression or click")
			}
		case "visible_ms":
			a.VisibleMs = d.count("/ad/visible_ms", 86_400_000)
		default:
			d.undeclared(key)
		}
	})
	d.need(a.Id != "", "/ad/id")
	d.need(acted, "/ad/action")
	return a
}

func (d *decoder) search() *sekishov1.Search {
	s := &sekishov1.Search{}
	said := false
	d.child("/search", func(key []byte) {
		switch string(key) {
		case "query":
			s.Query, said = d.str("/search/query", 0, 500), true
		case "results":
			s.Results, s.HasResults = d.count("/search/results", math.MaxUint32), true
		case "category":
			s.Category = d.str("/search/category", 0, 120)
		default:
			d.undeclared(key)
		}
	})
	d.need(said, "/search/query")
	return s
}

// custom keeps every property for now: which are declared is known when the site is.
func (d *decoder) custom() *sekishov1.Custom {
	c := &sekishov1.Custom{}
	d.child("/custom", func(key []byte) {
		switch string(key) {
		case "name":
			c.Name = d.str("/custom/name", 1, 120)
		case "properties":
			c.Properties = map[string]string{}
			d.child("/custom/properties", func(key []byte) {
				d.item.named |= categoryOf(string(key))
				if len(c.Properties) == 30 {
					d.item.reject(core.CodeTooLong, "/custom/properties", "must have at most 30 properties")
					d.skip()
					return
				}
				c.Properties[string(key)] = d.property()
			})
		default:
			d.undeclared(key)
		}
	})
	d.need(c.Name != "", "/custom/name")
	return c
}

// property reads a string, a number as it is written, or a boolean. Its name came from the caller, so a fault names
// the properties only.
func (d *decoder) property() string {
	switch c := d.peek(); {
	case c == '"':
		return d.str("/custom/properties", 0, 500)
	case c == 't' || c == 'f':
		value, _ := d.boolean()
		return strconv.FormatBool(value)
	case c == '-' || c >= '0' && c <= '9':
		if literal, _ := d.number(); len(literal) <= 40 {
			return string(literal)
		}
	default:
		d.skip()
	}
	d.item.reject(core.CodeInvalid, "/custom/properties", "a property must be a string, a number or a boolean")
	return ""
}

var connections = map[string]bool{
	"slow-2g": true, "2g": true, "3g": true, "4g": true, "5g": true, "wifi": true, "ethernet": true, "offline": true, "unknown": true,
}

func (d *decoder) environment() *sekishov1.Environment {
	e := &sekishov1.Environment{}
	d.child("/env", func(key []byte) {
		switch string(key) {
		case "language":
			e.Language = d.str("/env/language", 0, 35)
		case "screen":
			e.Screen = d.size("/env/screen")
		case "viewport":
			e.Viewport = d.size("/env/viewport")
		case "connection":
			if e.Connection = d.str("/env/connection", 0, 20); !connections[e.Connection] {
				d.item.reject(core.CodeInvalid, "/env/connection", "must be one of the connection types")
			}
		case "save_data":
			e.SaveData = d.flag("/env/save_data")
		case "color_scheme":
			if e.ColorScheme = d.str("/env/color_scheme", 0, 20); e.ColorScheme != "light" && e.ColorScheme != "dark" {
				d.item.reject(core.CodeInvalid, "/env/color_scheme", "must be light or dark")
			}
		case "reduced_motion":
			e.ReducedMotion = d.flag("/env/reduced_motion")
		case "time_zone":
			e.TimeZone = d.str("/env/time_zone", 0, 64)
		default:
			d.undeclared(key)
		}
	})
	return e
}

// The leaves.

func (d *decoder) need(there bool, field string) {
	if !there {
		d.item.reject(core.CodeMissing, field, "is required")
	}
}

// limited reads a string of least to most characters.
func (d *decoder) limited(least, most int) (string, *core.Error) {
	b, ok := d.text()
	switch {
	case !ok:
		return "", &core.Error{Code: core.CodeInvalid, Message: "must be a string"}
	case len(b) < least:
		return "", &core.Error{Code: core.CodeInvalid, Message: "must not be empty"}
	case len(b) > most && utf8.RuneCount(b) > most:
		return "", &core.Error{Code: core.CodeTooLong, Message: "must have at most " + strconv.Itoa(most) + " characters"}
	}
	return string(b), nil
}

func (d *decoder) str(field string, least, most int) string {
	text, fault := d.limited(least, most)
	if fault != nil {
		d.item.reject(fault.Code, field, fault.Message)
	}
	return text
}

func (d *decoder) flag(field string) bool {
	value, ok := d.boolean()
	if !ok {
		d.item.reject(core.CodeInvalid, field, "must be true or false")
	}
	return value
}

// list reads an array of purpose ids.
func (d *decoder) list(field string) []string {
	const most = core.MaxPurposes
	var all []string
	if !d.array(func(i int) {
		text, fault := d.limited(1, 64)
		switch {
		case fault != nil && d.item.fault == nil:
			d.item.fault = fault.At(field + core.Index(i))
		case i >= most:
			d.item.reject(core.CodeTooLong, field, "must have at most "+strconv.Itoa(most)+" elements")
		default:
			all = append(all, text)
		}
	}) {
		d.item.reject(core.CodeInvalid, field, "must be an array")
	}
	return all
}

func (d *decoder) uuid(field string) uuid.UUID {
	b, _ := d.text()
	id, err := uuid.ParseBytes(b)
	if err != nil || len(b) != 36 || id == uuid.Nil {
		d.item.reject(core.CodeInvalid, field, "must be a UUID")
		return uuid.Nil
	}
	return id
}

func (d *decoder) integer(least, most int64) (int64, bool) {
	literal, ok := d.number()
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(string(literal), 10, 64)
	if err != nil || n < least || n > most {
		return 0, false
	}
	return n, true
}

func (d *decoder) count(field string, most int64) uint32 {
	n, ok := d.integer(0, most)
	if !ok {
		d.item.reject(core.CodeInvalid, field, "must be a whole number in range")
	}
	return uint32(n) //nolint:gosec // G115: callers' bounds fit
}

// size reads width x height in pixels.
func (d *decoder) size(field string) string {
	text := d.str(field, 1, 11)
	width, height, ok := strings.Cut(text, "x")
	if !ok || !isDigits(width, 5) || !isDigits(height, 5) {
		d.item.reject(core.CodeInvalid, field, "must be width x height")
	}
	return text
}

func isDigits(s string, most int) bool {
	return s != "" && len(s) <= most && strings.Trim(s, "0123456789") == ""
}

// lastTime is the end of the year 9999, in milliseconds.
const lastTime = 253_402_300_799_999

// time reads epoch milliseconds or RFC 3339 into microseconds.
func (d *decoder) time(field string) int64 {
	if d.peek() == '"' {
		b, _ := d.text()
		t, err := time.Parse(time.RFC3339Nano, string(b))
		if err == nil && t.UnixMilli() > 0 && t.UnixMilli() <= lastTime {
			return t.UnixMicro()
		}
	} else if ms, ok := d.integer(1, lastTime); ok {
		return ms * 1000
	}
	d.item.reject(core.CodeInvalid, field, "must be epoch milliseconds or RFC 3339")
	return 0
}

// decimal reads a number or a string that is one, exactly, into ten-thousandths.
func (d *decoder) decimal(field func() string) int64 {
	var literal []byte
	if d.peek() == '"' {
		literal, _ = d.text()
	} else {
		literal, _ = d.number()
	}
	n, ok := parseE4(literal)
	if !ok {
		d.item.reject(core.CodeInvalid, field(), "must be a decimal of at most 14 digits before and 4 after the point")
	}
	return n
}

// parseE4 reads -?[0-9]{1,14}(\.[0-9]{1,4})? into ten-thousandths: at most 18 digits, so it cannot overflow.
func parseE4(b []byte) (int64, bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	whole, fraction, point := bytes.Cut(b, []byte("."))
	if len(whole) == 0 || len(whole) > 14 || point && (len(fraction) == 0 || len(fraction) > 4) {
		return 0, false
	}
	var n int64
	for i := range len(whole) + 4 {
		c := byte('0')
		if i < len(whole) {
			c = whole[i]
		} else if j := i - len(whole); j < len(fraction) {
			c = fraction[j]
		}
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// categoryOf is the category that a field's name says it holds, as a set; empty for an ordinary name.
// camelCase, kebab-case and spaces are read as snake_case.
func categoryOf(key string) core.CategorySet {
	if len(key) > 64 {
		key = key[:64]
	}
	var b strings.Builder
	for i, r := range key {
		switch {
		case r >= 'A' && r <= 'Z':
			if i > 0 && key[i-1] >= 'a' && key[i-1] <= 'z' {
				b.WriteByte('_')
			}
			b.WriteRune(r + 'a' - 'A')
		case r == '-' || r == ' ' || r == '.':
			b.WriteByte('_')
		default:
			b.WriteRune(r)
		}
	}
	switch name := b.String(); name {
	case "my_number", "mynumber", "individual_number", "個人番号", "マイナンバー":
		return core.SetOf(core.IndividualNumber)
	case "location":
		return 0 // dropped and counted, see event
	default:
		if c, ok := core.ParseCategory(name); ok {
			return core.SetOf(c)
		}
		if strings.HasPrefix(name, "employee_") {
			return core.SetOf(core.EmployeeName)
		}
		return 0
	}
}
