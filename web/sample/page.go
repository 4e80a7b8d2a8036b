package sample

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
)

// Texts are the shop's texts in one language, by key.
type Texts map[string]string

// ReadTexts reads the texts of a language.
func ReadTexts(language string) (Texts, error) {
	data, err := files.ReadFile("messages/" + language + ".json")
	if err != nil {
		return nil, fmt.Errorf("read texts: %w", err)
	}
	var texts Texts
	if err := json.Unmarshal(data, &texts); err != nil {
		return nil, fmt.Errorf("read texts of %s: %w", language, err)
	}
	return texts, nil
}

// Title is what the browser shows of a page; a product's goes by its name.
func (t Texts) Title(name string) string { return name + " | " + t["shop.name"] }

// page is what a template sees.
type page struct {
	shop    *shop
	request *http.Request

	Language string
	Path     string // below the language, such as "/search"
	Name     string // of the template
	Status   int
	Location string // to go to instead of showing the page
	Raw      []byte // to send instead of the page

	Cart     cart
	Ad       Ad
	Products []Product
	Product  Product
	Query    string
	Category string
	Tab      string
	Bought   cart
	OrderID  string
	Order    string // JSON
}

// T is a text in the page's language. A text that is missing is an error: half a page is no page.
func (p *page) T(key string, args ...any) (string, error) {
	text, ok := p.shop.texts[p.Language][key]
	if !ok {
		return "", fmt.Errorf("no text %q in %s", key, p.Language)
	}
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	return text, nil
}

// Say is a product's text in the page's language.
func (p *page) Say(t Text) string { return t.In(p.Language) }

// Title is the page's title.
func (p *page) Title() (string, error) {
	texts := p.shop.texts[p.Language]
	switch p.Name {
	case "catalogue":
		return texts["shop.name"] + " | " + texts["shop.trade"], nil
	case "product":
		return texts.Title(p.Say(p.Product.Name)), nil
	case "journal":
		return texts.Title(texts["journal."+p.Tab+".title"]), nil
	}
	name, err := p.T(p.Name + ".title")
	return texts.Title(name), err
}

// To is the address of a page of the shop in the page's language, with the cart.
func (p *page) To(path string) string { return p.link(p.Language, path, url.Values{}) }

// Shelf is the address of a category.
func (p *page) Shelf(category string) string {
	return p.link(p.Language, "/search", url.Values{"category": {category}})
}

// In is the address of this page in another language; of a page that is not there, the shop's.
func (p *page) In(language string) string {
	if p.Status == http.StatusNotFound {
		return p.link(language, "/", url.Values{})
	}
	q := url.Values{}
	if p.Query != "" {
		q.Set("q", p.Query)
	}
	if p.Category != "" {
		q.Set("category", p.Category)
	}
	if p.OrderID != "" {
		q.Set("order", p.OrderID)
		q.Set("items", p.Bought.String())
	}
	return p.link(language, p.Path, q)
}

func (p *page) link(language, path string, q url.Values) string {
	if len(p.Cart) > 0 {
		q.Set("cart", p.Cart.String())
	}
	at := url.URL{Path: "/" + language + path, RawQuery: q.Encode()}
	return at.String()
}

// Other is the language that the page is not in.
func (p *page) Other() string {
	if p.Language == "ja" {
		return "en"
	}
	return "ja"
}

// Asset is the address of a file, with its version.
func (p *page) Asset(name string) (string, error) {
	version, ok := p.shop.versions[name]
	if !ok {
		return "", fmt.Errorf("no asset %q", name)
	}
	return "/assets/" + name + "?v=" + version, nil
}

// Tracker is the address of the tracker's script; empty without a collector.
func (p *page) Tracker() string {
	if p.shop.collector == "" {
		return ""
	}
	return p.shop.collector + "/s.js?" + url.Values{"site": {p.shop.site}}.Encode()
}

// Art is a product's picture. It adds nothing to the name beside it, so a screen reader passes over it.
func (p *page) Art(sku string) template.HTML { return p.shop.art[sku] }

// Price writes an amount.
func (p *page) Price(yen int) string { return price(p.Language, yen) }

// Categories are the shelves.
func (p *page) Categories() []string { return Categories() }

// Tabs are the parts of the journal.
func (p *page) Tabs() []string { return Tabs() }

// Quantities are what the choice of a quantity offers.
func (p *page) Quantities() []int { return []int{1, 2, 3, 4, 5} }

// OutOfCart is the address that takes a product out of the cart.
func (p *page) OutOfCart(sku string) string {
	return p.link(p.Language, "/checkout", url.Values{"set": {sku}, "quantity": {"0"}})
}
