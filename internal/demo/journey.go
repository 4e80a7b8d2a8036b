package demo

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/web/sample"
)

// browser is a visitor's browser with the tracker in it: the clock, the page that is open, the decision in force, and
// what was sent.
type browser struct {
	player *Player
	who    *visitor
	rng    *rand.Rand
	end    time.Time // nothing happens later
	now    time.Time

	// The decision.
	decided bool
	id      string // while a grant stands
	grants  []string
	deny    []string
	account string // signed in as

	// The page.
	url    string
	view   string
	opened time.Time
	events []event
	env    *environment

	cart []sample.OrderItem
	sent []request
}

// visits plays the visits of a visitor, one after the other.
func (b *browser) visits(times []time.Time) {
	b.env = b.who.environment(b.rng)
	if b.who.gpc {
		b.deny = b.player.config.Terms.GPC // until there is a decision
	}
	for i, at := range times {
		b.now, b.cart, b.url = at, nil, ""
		source := b.who.source
		if i > 0 { // who comes again knows the way, or follows the letter
			source = again(b.rng)
		}
		b.visit(source, i == len(times)-1)
	}
}

func again(rng *rand.Rand) *source {
	if rng.Float64() < 0.2 {
		return &source{tags: "utm_source=newsletter&utm_medium=email&utm_campaign=autumn_letters", campaign: true}
	}
	return &source{}
}

// visit is one journey through the shop: in, looking for something, perhaps buying, perhaps the settings, out.
func (b *browser) visit(from *source, last bool) {
	b.enter(from)
	withdraws := last && b.who.choice == Withdrew
	if b.id != "" && !withdraws && b.rng.Float64() < 0.24 {
		b.leave() // it was not what they looked for
		return
	}
	b.adOf("catalogue_top", 0.09)
	if b.rng.Float64() < 0.68 {
		b.searchFor()
	}
	for range 1 + b.rng.IntN(3) {
		if b.rng.Float64() < 0.75 {
			b.lookAt(b.favourite())
			if b.rng.Float64() < b.zeal() {
				b.addToCart()
			}
		}
	}
	if len(b.cart) > 0 && b.rng.Float64() < 0.85 {
		b.order()
	}
	if b.rng.Float64() < 0.3 {
		b.read()
	}
	if b.rng.Float64() < 0.18 {
		b.about()
	}
	if withdraws || b.mustAct() || b.rng.Float64() < 0.34 {
		b.settings(withdraws)
	}
	b.leave()
}

// zeal is how readily a visitor puts a thing into the cart.
func (b *browser) zeal() float64 {
	if b.account != "" {
		return 0.7
	}
	return 0.5
}

// mustAct reports whether nothing would be told of this visitor otherwise: without a grant only what is done is.
func (b *browser) mustAct() bool { return b.id == "" && b.who.choice != Withdrew && len(b.sent) == 0 }

// pause lets time pass.
func (b *browser) pause(least, most float64) { b.now = b.now.Add(seconds(b.rng, least, most)) }

// enter opens the first page. On the first visit the banner asks, and some visitors answer.
func (b *browser) enter(from *source) {
	path, name := "/", ""
	q := from.tags
	if from.click != "" {
		q += "&" + from.click + "=" + "Cj0K" + hexOf(b.rng, 12)
	}
	if !from.campaign && from.referrer != "" && b.rng.Float64() < 0.35 { // the search engine knew the thing itself
		p := b.favourite()
		path, name = "/product/"+p.SKU, p.Name.In(b.who.language)
	}
	b.load(path, strings.TrimPrefix(q, "&"))
	if !b.decided {
		b.answer()
	}
	b.see(from.referrer, name)
}

// load makes a page the one that is open, without counting a view of it yet.
func (b *browser) load(path, query string) {
	b.url = b.player.config.Page + "/" + b.who.language + path
	if query != "" {
		b.url += "?" + query
	}
	b.view = strconv.FormatFloat(b.rng.Float64(), 'f', -1, 64)
	b.opened = b.now
}

// answer is what the visitor says to the banner. The act goes before the events that it permits.
func (b *browser) answer() {
	terms := &b.player.config.Terms
	var grants []string
	switch b.who.choice {
	case Undecided, Robot:
		return
	case Granted, Withdrew:
		grants = terms.all()
	case Granular:
		grants = slices.Concat(pick(b.rng, terms.Ask), terms.OptOut)
	case Refused:
		if b.rng.Float64() < 0.7 { // the others object to the rest as well
			grants = terms.OptOut
		}
	}
	b.pause(3, 14)
	b.decide(grants, "banner")
	b.pause(1, 2)
}

// decide puts a decision in force and tells the collector where it must know: of a grant, and of its end.
func (b *browser) decide(grants []string, surface string) {
	terms := &b.player.config.Terms
	var refused, withdrawn []string
	for _, p := range terms.all() {
		switch {
		case slices.Contains(grants, p):
		case b.id != "" && slices.Contains(b.grants, p):
			withdrawn = append(withdrawn, p)
		default:
			refused = append(refused, p)
		}
	}
	b.flush()
	known := b.id
	b.decided, b.grants, b.deny, b.id = true, grants, slices.Concat(refused, withdrawn), ""
	if slices.ContainsFunc(terms.Ask, func(p string) bool { return slices.Contains(grants, p) }) {
		b.id = b.who.cookie
	}
	subjectID := b.id
	if subjectID == "" {
		subjectID = known
	}
	if subjectID == "" {
		return // a refusal needs no identifier
	}
	b.sent = append(b.sent, request{at: b.now, who: b.who, act: &act{
		ID: newUUID(b.rng), Site: b.player.config.Site, Subject: subject{CookieID: subjectID},
		Granted: list(grants), Refused: list(refused), Withdrawn: list(withdrawn),
		PolicyVersion: terms.Policy, Language: b.who.language, Surface: surface, Time: b.now.UnixMilli(),
	}})
}

// list is never null in JSON.
func list(of []string) []string {
	if of == nil {
		return []string{}
	}
	return of
}

// see counts the view of the open page.
func (b *browser) see(referrer, name string) {
	b.track(core.PageView, event{Referrer: referrer, Title: b.player.title(b.who.language, b.url, name)})
}

// open leaves the page for another one of the shop.
func (b *browser) open(path, query, name string) {
	from := b.url
	b.leave()
	b.pause(0.2, 1.2)
	b.load(path, query)
	b.see(from, name)
}

// leave ends the page: its engagement, and all that is not yet sent.
func (b *browser) leave() {
	b.pause(2, 45)
	visible := b.now.Sub(b.opened)
	visible -= time.Duration(b.rng.Float64() * 0.3 * float64(visible)) // in another tab
	b.track(core.Engagement, event{Engagement: &engagement{MS: visible.Milliseconds(), Scroll: 25 + b.rng.IntN(76)}})
	b.flush()
}

// track is the gate: without a grant only what is free is collected, and the rest is never sent.
func (b *browser) track(kind core.EventType, e event) {
	if b.id == "" && !b.player.config.Terms.free(kind) || !b.now.Before(b.end) {
		return
	}
	e.kind, e.Type, e.ID = kind, kind.String(), newUUID(b.rng)
	e.URL, e.ViewID, e.Time = b.url, b.view, b.now.UnixMilli()
	b.events = append(b.events, e)
	if len(b.events) == 10 {
		b.flush()
	}
}

// flush sends what is queued, as one batch under the decision and the account in force.
func (b *browser) flush() {
	if len(b.events) == 0 {
		return
	}
	sending := &batch{Site: b.player.config.Site, Deny: b.deny, Events: b.events}
	if b.id != "" {
		sending.CookieID, sending.UserID = b.id, b.account
	}
	if b.id != "" || b.player.config.Terms.free(core.Environment) {
		sending.Env = b.env
	}
	b.sent = append(b.sent, request{at: b.now, who: b.who, batch: sending})
	b.events = nil
}

// do is an operation on the open page.
func (b *browser) do(name, target string) {
	b.pause(0.8, 9)
	b.track(core.Operation, event{Operation: &operation{Name: name, Target: target}})
}

// good is a product and how well it is liked.
type good struct {
	sample.Product
	weight int
}

func (g good) share() int { return g.weight + 2 }

// favourite is a product, some more often than others.
func (b *browser) favourite() sample.Product {
	likings := map[string]int{"sencha-uji": 15, "matcha-yame": 14, "letter-washi": 11, "brush-pen": 10, "kyusu-tokoname": 9, "notebook-asanoha": 9, "hojicha-kaga": 8, "ink-ai": 7, "chasen": 6}
	var goods []good
	for _, p := range sample.Products() {
		goods = append(goods, good{p, likings[p.SKU]})
	}
	return draw(b.rng, goods).Product
}

// adOf sees the advertisement of a slot, and follows it as often as the rate says.
func (b *browser) adOf(slot string, rate float64) {
	i := slices.IndexFunc(sample.Ads(), func(a sample.Ad) bool { return a.Slot == slot })
	if i < 0 || b.rng.Float64() < 0.12 { // not scrolled to
		return
	}
	shown := sample.Ads()[i]
	onPage := "/" + b.who.language + map[string]string{"catalogue_top": "/", "search_side": "/search", "product_bottom": "/product/"}[slot]
	if path := b.path(); path != onPage && (slot != "product_bottom" || !strings.HasPrefix(path, onPage) || strings.HasSuffix(path, "/"+shown.SKU)) {
		return
	}
	said := ad{ID: shown.ID, Slot: shown.Slot, Campaign: shown.Campaign, Action: "impression", VisibleMS: 1000 + b.rng.Int64N(20)}
	b.pause(1.1, 4)
	b.track(core.AdView, event{Ad: &said})
	if b.rng.Float64() >= rate {
		return
	}
	b.pause(0.5, 4)
	click := said
	click.Action, click.VisibleMS = "click", said.VisibleMS+500+b.rng.Int64N(3000)
	b.track(core.AdView, event{Ad: &click})
	if p, ok := sample.Named(shown.SKU); ok {
		b.lookAt(p)
	}
}

// path is the open page's.
func (b *browser) path() string {
	path, _, _ := strings.Cut(strings.TrimPrefix(b.url, b.player.config.Page), "?")
	return path
}

// query is one that the shop's visitors type.
type query struct {
	weight int
	text   string
}

func (q query) share() int { return q.weight }

func queries(language string) []query {
	if language == "ja" {
		return []query{{18, "煎茶"}, {17, "抹茶"}, {16, "紅茶"}, {13, "便箋"}, {13, "急須"}, {10, "筆ペン"}, {8, "ほうじ茶"}, {6, "ノート"}, {3, "湯のみ"}, {2, "お香"}, {2, "風呂敷"}}
	}
	return []query{{22, "matcha"}, {18, "teapot"}, {14, "notebook"}, {12, "green tea"}, {9, "whisk"}, {7, "incense"}, {5, "letter paper"}, {3, "ink"}}
}

// searchFor searches the shop, and once more when it found nothing.
func (b *browser) searchFor() {
	for range 2 {
		asked := draw(b.rng, queries(b.who.language)).text
		found := sample.Find(asked, "")
		b.open("/search", b.with(url.Values{"q": {asked}}), "")
		b.track(core.Search, event{Search: &search{Query: asked, Results: len(found)}})
		b.adOf("search_side", 0.05)
		if len(found) > 0 {
			return
		}
	}
}

// lookAt opens a product's page.
func (b *browser) lookAt(p sample.Product) {
	b.open("/product/"+p.SKU, b.with(nil), p.Name.In(b.who.language))
	b.adOf("product_bottom", 0.06)
}

// addToCart puts the open product into the cart, and is shown the cart.
func (b *browser) addToCart() {
	_, sku, ok := strings.Cut(b.path(), "/product/")
	p, known := sample.Named(sku)
	if !ok || !known {
		return
	}
	b.do("add_to_cart", sku)
	quantity := 1
	if p.Category == "tea" && b.rng.Float64() < 0.3 {
		quantity = 2
	}
	if i := slices.IndexFunc(b.cart, func(l sample.OrderItem) bool { return l.SKU == sku }); i >= 0 {
		b.cart[i].Quantity += quantity
	} else {
		b.cart = append(b.cart, p.Item(quantity))
	}
	b.open("/checkout", b.with(nil), "")
}

// order orders what is in the cart.
func (b *browser) order() {
	if !strings.HasSuffix(b.path(), "/checkout") {
		b.open("/checkout", b.with(nil), "")
	}
	if b.rng.Float64() < 0.25 {
		b.do("gift_wrap", "")
	}
	b.do("place_order", "")
	id, items := "T-"+strings.ToUpper(hexOf(b.rng, 4)), b.inCart()
	bought, total := b.cart, 0
	for _, l := range bought {
		price, _ := strconv.Atoi(l.Price) // the catalogue's own
		total += price * l.Quantity
	}
	b.cart = nil
	b.open("/done", url.Values{"items": {items}, "order": {id}}.Encode(), "")
	b.track(core.Purchase, event{Purchase: &sample.Order{OrderID: id, Currency: "JPY", Total: strconv.Itoa(total), Items: bought}})
}

// inCart is the cart as the shop's links carry it.
func (b *browser) inCart() string {
	parts := make([]string, len(b.cart))
	for i, l := range b.cart {
		parts[i] = fmt.Sprintf("%s.%d", l.SKU, l.Quantity)
	}
	return strings.Join(parts, "~")
}

// with is a query that carries the cart as well.
func (b *browser) with(q url.Values) string {
	if q == nil {
		q = url.Values{}
	}
	if len(b.cart) > 0 {
		q.Set("cart", b.inCart())
	}
	return q.Encode()
}

// read turns the pages of the journal, which is a single-page app.
func (b *browser) read() {
	b.open("/journal", b.with(nil), "")
	for _, tab := range sample.Tabs()[1 : 1+b.rng.IntN(len(sample.Tabs()))] {
		b.open("/journal/"+tab, b.with(nil), "")
	}
}

func (b *browser) about() {
	b.open("/about", b.with(nil), "")
	if b.rng.Float64() < 0.5 {
		b.do("download", "letter-paper.svg")
	}
	if b.rng.Float64() < 0.4 {
		b.do("outbound_link", b.who.language+".wikipedia.org")
	}
}

// settings does one or two things there, and perhaps takes the consent back.
func (b *browser) settings(withdraws bool) {
	b.open("/settings", b.with(nil), "")
	if b.who.account != "" && b.account == "" && b.id != "" {
		b.do("sign_in", "")
		b.flush()
		b.account = b.who.account
	}
	things := []func(){
		func() { b.do("switch_theme", []string{"dark", "light", "auto"}[b.rng.IntN(3)]) },
		func() {
			b.do("export", "csv")
			b.now = b.now.Add(time.Millisecond)
			b.track(core.Operation, event{Operation: &operation{Name: "download", Target: "export.csv"}}) // what the tracker makes of the link
		},
		func() { b.do("toggle_notifications", "on") },
		func() { b.do("change_plan", []string{"standard", "premium", "light"}[b.rng.IntN(3)]) },
		func() {
			b.pause(1, 6)
			b.track(core.Custom, event{Custom: &custom{Name: "newsletter_signup", Properties: map[string]string{"plan": []string{"monthly", "weekly"}[b.rng.IntN(2)], "placement": "settings"}}})
		},
	}
	for _, at := range b.rng.Perm(len(things))[:1+b.rng.IntN(2)] {
		things[at]()
	}
	if b.account != "" && b.rng.Float64() < 0.15 {
		b.do("sign_out", "")
		b.flush()
		b.account = ""
	}
	if withdraws {
		b.pause(2, 9)
		b.decide(b.player.config.Terms.OptOut, "settings")
	}
}

// title is the page's title; a product's goes by its name.
func (p *Player) title(language, page, name string) string {
	texts := p.texts[language]
	path, _, _ := strings.Cut(strings.TrimPrefix(page, p.config.Page+"/"+language), "?")
	switch part, tab, _ := strings.Cut(strings.Trim(path, "/"), "/"); part {
	case "":
		return texts["shop.name"] + " | " + texts["shop.trade"]
	case "product":
		return texts.Title(name)
	case "journal":
		if tab == "" {
			tab = sample.Tabs()[0]
		}
		return texts.Title(texts["journal."+tab+".title"])
	default:
		return texts.Title(texts[part+".title"])
	}
}
