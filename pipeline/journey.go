package pipeline

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/shopspring/decimal"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// journey takes one opened event through the checkpoint. This is the whole list of steps, in their order; each takes
// the stage before it, so none can be skipped or moved. An error is of this house, not of the event: the batch MUST NOT
// be loaded.
func (s *shard) journey(o open.Opened) (*minimised, core.Reason, error) {
	decided, reason := s.decide(o)
	if !reason.Stores() {
		return nil, reason, nil
	}
	pseudonymised, err := s.pseudonymise(decided)
	if err != nil {
		return nil, reason, err
	}
	enriched, reason := s.enrich(pseudonymised)
	if !reason.Stores() {
		return nil, reason, nil
	}
	return s.scrub(enriched), reason, nil
}

// decided is an event with the purposes it may be used for.
type decided struct {
	opened   open.Opened
	event    *sekishov1.Event
	site     *site.Site
	pack     *policy.Pack
	decision consent.Decision
}

// decide looks up the policy and the consent as of event time. Unknown means deny.
func (s *shard) decide(o open.Opened) (decided, core.Reason) {
	d := decided{opened: o, event: o.Event()}
	var ok bool
	if d.site, ok = s.p.deps.Sites.Get(o.Site()); !ok {
		return d, core.ReasonUnknownSite
	}
	at := time.UnixMicro(d.event.TimeUs)
	if d.pack, ok = s.p.deps.Policies.At(d.site.Policy, at); !ok {
		return d, core.ReasonNoPolicy
	}
	rules, ok := d.pack.Rules(d.site.Jurisdiction)
	if !ok {
		return d, core.ReasonNoPolicy
	}
	kind := core.EventType(d.event.Type) //nolint:gosec // G115: an unknown type has no category, which denies
	if keep, ok := d.pack.Retention(kind.Category()); !ok || s.p.deps.Now().Sub(at) > keep {
		return d, core.ReasonExpired
	}
	cookie, device, account := s.p.subjects(o.Site(), d.event.Identity)
	receipt := d.event.GetReceipt()
	d.decision = consent.Decide(rules, &consent.Inputs{
		Type: kind, Time: d.event.TimeUs, GPC: receipt.GetGpc(),
		Word:          s.p.states.word(d.event.TimeUs, cookie, device, account),
		DeviceRefused: refusedOnDevice(d.pack, d.event.Deny),
	})
	return d, d.decision.Reason
}

// subjects are the ids under which the consent of an identity is kept; 0 where it names none.
func (p *Pipeline) subjects(siteID string, who *sekishov1.Identity) (cookie, device, account uint64) {
	if id := who.GetCookieId(); id != "" {
		cookie = p.deps.Keys.Subject(siteID, open.Cookie, id)
	}
	if id := who.GetDeviceId(); id != "" {
		device = p.deps.Keys.Subject(siteID, open.Device, id)
	}
	if id := who.GetUserId(); id != "" {
		account = p.deps.Keys.Subject(siteID, open.Account, id)
	}
	return cookie, device, account
}

// pseudonyms are what an identity's rows of an epoch carry; 0 where it names none, and open.ErrDestroyed when the
// epoch's key is gone.
func (p *Pipeline) pseudonyms(epoch open.Epoch, siteID string, who *sekishov1.Identity) (cookie, device, account uint64, err error) {
	for _, one := range []struct {
		kind open.Kind
		id   string
		to   *uint64
	}{{open.Cookie, who.GetCookieId(), &cookie}, {open.Device, who.GetDeviceId(), &device}, {open.Account, who.GetUserId(), &account}} {
		if one.id == "" {
			continue
		}
		if *one.to, err = p.deps.Keys.Pseudonym(epoch, siteID, one.kind, one.id); err != nil {
			return 0, 0, 0, err
		}
	}
	return cookie, device, account, nil
}

// refusedOnDevice reads the deny-only hint. What it does not understand it takes as a refusal of everything.
func refusedOnDevice(pack *policy.Pack, deny []string) (refused core.PurposeSet) {
	for _, id := range deny {
		purpose, ok := pack.Purpose(id)
		if !ok {
			return ^core.PurposeSet(0)
		}
		refused = refused.With(purpose.Bit)
		for _, child := range pack.Children(id) {
			refused = refused.With(child.Bit)
		}
	}
	return refused
}

// pseudonymised is a decided event whose identifiers are replaced. Its address and user agent are still there for
// one step.
type pseudonymised struct {
	decided
	row Row
}

// pseudonymise replaces the identifiers. A subject who consented is recognised again within an epoch, under its
// pseudonym key; anybody else only within a day and a site. Both keys are random, and destroyed afterwards.
func (s *shard) pseudonymise(d decided) (pseudonymised, error) {
	x := pseudonymised{decided: d}
	t, who := d.event.TimeUs, d.event.Identity
	if !d.decision.Consented || who.GetCookieId() == "" && who.GetDeviceId() == "" && who.GetUserId() == "" {
		var err error
		x.row.linkage = "cookieless"
		if x.row.visitorID, err = s.cookieless(d); err != nil {
			return x, err
		}
		if x.row.visitorID == 0 {
			x.row.linkage = "none"
			return x, nil
		}
		x.row.sessionID = s.sessions.touch(x.row.visitorID, t)
		return x, nil
	}
	x.row.linkage = "visitor"
	if who.GetUserId() != "" {
		x.row.linkage = "account"
	}
	cookie, device, account, err := s.p.pseudonyms(open.EpochOf(time.UnixMicro(t)), d.site.ID, who)
	if errors.Is(err, open.ErrDestroyed) {
		return x, nil // a row whose pseudonym is past its period; the linkage says that it had one
	}
	if err != nil {
		return x, err
	}
	x.row.accountID, x.row.deviceKey = account, device
	x.row.visitorID = cmp.Or(cookie, device, account)
	x.row.sessionID = s.sessions.touch(x.row.visitorID, t)
	return x, nil
}

// cookieless is the visitor of the day. A session that runs over midnight goes on under yesterday's pseudonym, for as
// long as yesterday's key is kept. 0 when the day's key is gone.
func (s *shard) cookieless(d decided) (uint64, error) {
	receipt := d.event.GetReceipt()
	ip := core.RawIPFromBytes(receipt.GetClientIp())
	local := time.UnixMicro(d.event.TimeUs).In(d.site.Location)
	before, err := s.p.deps.Keys.Cookieless(d.site.ID, local.AddDate(0, 0, -1).Format(time.DateOnly), ip, receipt.GetUserAgent())
	if err == nil && s.sessions.running(before, d.event.TimeUs) {
		return before, nil
	}
	if err != nil && !errors.Is(err, open.ErrDestroyed) {
		return 0, err
	}
	today, err := s.p.deps.Keys.Cookieless(d.site.ID, local.Format(time.DateOnly), ip, receipt.GetUserAgent())
	if errors.Is(err, open.ErrDestroyed) {
		return 0, nil
	}
	return today, err
}

// enriched is an event without address and user agent, with what followed from them.
type enriched struct{ pseudonymised }

// enrich derives place, device and channel, and then the address and the user agent go. Robots go with them.
func (s *shard) enrich(x pseudonymised) (enriched, core.Reason) {
	receipt := x.event.GetReceipt()
	x.row.device = s.p.deps.Enricher.Device(receipt.GetUserAgent(), receipt.GetUaMobile(), receipt.GetUaPlatform())
	if x.row.device.Bot {
		return enriched{}, core.ReasonBot
	}
	x.row.place = core.Reveal(core.RawIPFromBytes(receipt.GetClientIp()), func(a netip.Addr) Place {
		if !a.IsValid() {
			return Place{}
		}
		return s.p.deps.Enricher.Place(a)
	})
	x.row.channel = s.p.deps.Enricher.Channel(x.event.Url, x.event.Referrer)
	if receipt.GetGpc() {
		x.row.signals |= signalGPC
	}
	if receipt.GetDnt() {
		x.row.signals |= signalDNT
	}
	if x.decision.GPCConflict {
		x.row.signals |= signalGPCConflict
	}
	x.event.Receipt, x.event.Identity = nil, nil
	return enriched{x}, x.decision.Reason
}

// minimised is a row with the categories that may be stored of it.
type minimised struct {
	Row
	categories core.CategorySet
}

// scrub takes personal data out of every text and fills the row. Which of it is stored is decided a column at a time
// when the row is added to a block: a column whose category no permitted purpose may use stays empty.
func (s *shard) scrub(x enriched) *minimised {
	guard, e, r := s.p.deps.Scrubber, x.event, &x.row
	r.site = x.site.ID
	r.time = time.UnixMicro(e.TimeUs).UTC()
	r.receivedAt = x.opened.ReceivedAt().UTC()
	r.eventID = eventID(x.site.ID, x.opened.ID())
	r.shard = uint16(s.partition)   //nolint:gosec // G115: topics have far fewer partitions
	r.kind = core.EventType(e.Type) //nolint:gosec // G115: small enum
	r.source = sourceNames[e.Source]
	r.provenance = guard.Text(e.Provenance)
	r.policy = x.pack.Version
	r.jurisdiction = x.site.Jurisdiction
	r.purposes, r.reason = x.decision.Purposes, x.decision.Reason

	r.host, r.path = guard.Page(e.Url)
	r.title = guard.Text(e.Title)
	if e.ViewId != "" {
		r.viewID = xxhash.Sum64String(e.ViewId)
	}
	r.channel.Source = guard.Text(r.channel.Source)
	r.channel.Medium = guard.Text(r.channel.Medium)
	r.channel.Campaign = guard.Text(r.channel.Campaign)
	r.channel.Term = guard.Text(r.channel.Term)
	r.channel.Content = guard.Text(r.channel.Content)

	if env := e.Environment; env != nil {
		r.language, r.screen, r.viewport = guard.Text(env.Language), env.Screen, env.Viewport
		r.connection, r.scheme, r.localZone = env.Connection, env.ColorScheme, guard.Text(env.TimeZone)
		r.saveData, r.reducedMotion = env.SaveData, env.ReducedMotion
	}
	if op := e.Operation; op != nil {
		r.operation, r.operationTarget = guard.Text(op.Name), guard.Text(op.Target)
	}
	if engagement := e.Engagement; engagement != nil {
		r.visibleMS = engagement.VisibleMs
		r.scrollPercent = uint8(min(engagement.ScrollPercent, 100))
	}
	r.searchResults = -1
	if search := e.Search; search != nil {
		r.searchQuery, r.searchCategory = guard.Text(search.Query), guard.Text(search.Category)
		if search.HasResults {
			r.searchResults = int64(search.Results)
		}
	}
	if ad := e.Ad; ad != nil {
		r.adID, r.adSlot, r.adCampaign = guard.Text(ad.Id), guard.Text(ad.Slot), guard.Text(ad.Campaign)
		r.adClick, r.adVisibleMS = ad.Click, ad.VisibleMs
	}
	if custom := e.Custom; custom != nil {
		r.customName = guard.Text(custom.Name)
		r.properties = make(map[string]string, len(custom.Properties))
		for key, value := range custom.Properties {
			r.properties[key] = guard.Property(key, value)
		}
	}
	if purchase := e.Purchase; purchase != nil {
		s.fillPurchase(r, purchase)
	}
	return &minimised{*r, x.decision.Categories}
}

// e4 is a decimal from ten-thousandths.
func e4(v int64) decimal.Decimal { return decimal.New(v, -4) }

func (s *shard) fillPurchase(r *Row, purchase *sekishov1.Purchase) {
	guard := s.p.deps.Scrubber
	if purchase.OrderId != "" {
		r.orderKey = s.p.deps.Keys.Subject(r.site, open.Order, purchase.OrderId)
	}
	r.currency = purchase.Currency
	total := purchase.TotalE4
	var sum int64
	for _, item := range purchase.Items {
		quantity := max(item.Quantity, 1)
		sum += item.PriceE4 * int64(quantity)
		r.itemSKU = append(r.itemSKU, guard.Text(item.Sku))
		r.itemName = append(r.itemName, guard.Text(item.Name))
		r.itemKind = append(r.itemKind, guard.Text(item.Category))
		r.itemCount = append(r.itemCount, quantity)
		r.itemPrice = append(r.itemPrice, e4(item.PriceE4))
	}
	if !purchase.HasTotal {
		total = sum
	}
	r.amount = e4(total)
}

var sourceNames = map[sekishov1.AcquisitionSource]string{
	sekishov1.AcquisitionSource_ACQUISITION_SOURCE_UNSPECIFIED:        "unspecified",
	sekishov1.AcquisitionSource_ACQUISITION_SOURCE_USER_INPUT:         "user_input",
	sekishov1.AcquisitionSource_ACQUISITION_SOURCE_SERVICE_COLLECTED:  "service_collected",
	sekishov1.AcquisitionSource_ACQUISITION_SOURCE_DIRECT_OR_DOCUMENT: "direct_or_document",
	sekishov1.AcquisitionSource_ACQUISITION_SOURCE_THIRD_PARTY:        "third_party",
}

// eventID is the stored form of an event's id: 64 bits of a hash, bound to its site.
func eventID(siteID string, id [16]byte) uint64 {
	h := xxhash.New()
	_, _ = h.WriteString(siteID) // never fails
	_, _ = h.Write(binary.BigEndian.AppendUint64(id[:], 0))
	return max(h.Sum64(), 1)
}
