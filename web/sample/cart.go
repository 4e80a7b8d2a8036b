package sample

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxQuantity is how many of one thing a cart holds.
const maxQuantity = 20

// cart is what the visitor has chosen. It travels in the pages' own links, as "sencha-uji.2~chasen.1", so that the
// shop needs neither a cookie nor a session. Prices are never in it: they are the catalogue's.
type cart []line

type line struct {
	Product  Product
	Quantity int
}

// Yen is the price of the line.
func (l line) Yen() int { return l.Product.Yen * l.Quantity }

// parseCart reads a cart. What is no product or no quantity is left out, so every cart that comes of it is sound.
func parseCart(text string) cart {
	var c cart
	for part := range strings.SplitSeq(text, "~") {
		sku, number, _ := strings.Cut(part, ".")
		if quantity, err := strconv.Atoi(number); err == nil {
			c = c.add(sku, quantity)
		}
	}
	return c
}

// add puts more of a product into the cart.
func (c cart) add(sku string, quantity int) cart {
	product, ok := Named(sku)
	if !ok || quantity < 1 || quantity > maxQuantity {
		return c
	}
	i := slices.IndexFunc(c, func(l line) bool { return l.Product.SKU == sku })
	if i < 0 {
		return append(c, line{product, quantity})
	}
	c = slices.Clone(c)
	c[i].Quantity = min(c[i].Quantity+quantity, maxQuantity)
	return c
}

// with is the cart with a product in another quantity; 0 takes it out.
func (c cart) with(sku string, quantity int) cart {
	if quantity < 0 || quantity > maxQuantity {
		return c
	}
	var changed cart
	for _, l := range c {
		if l.Product.SKU == sku {
			l.Quantity = quantity
		}
		if l.Quantity > 0 {
			changed = append(changed, l)
		}
	}
	return changed
}

// String is the cart as its links carry it.
func (c cart) String() string {
	parts := make([]string, len(c))
	for i, l := range c {
		parts[i] = l.Product.SKU + "." + strconv.Itoa(l.Quantity)
	}
	return strings.Join(parts, "~")
}

// Count is how many things are in the cart.
func (c cart) Count() (n int) {
	for _, l := range c {
		n += l.Quantity
	}
	return n
}

// Yen is what the cart costs.
func (c cart) Yen() (sum int) {
	for _, l := range c {
		sum += l.Yen()
	}
	return sum
}

// Order is a purchase as the tracker reports it: amounts are decimal strings, for no float may hold money. The names
// are the Japanese ones on every page, so that one thing is one row in a report.
type Order struct {
	OrderID  string      `json:"order_id"`
	Currency string      `json:"currency"`
	Total    string      `json:"total"`
	Items    []OrderItem `json:"items"`
}

// OrderItem is one thing bought; Price is of one piece.
type OrderItem struct {
	SKU      string `json:"sku"`
	Name     string `json:"name"`
	Category string `json:"category"`
	Quantity int    `json:"quantity"`
	Price    string `json:"price"`
}

// Item is a product as an order names it.
func (p Product) Item(quantity int) OrderItem {
	return OrderItem{SKU: p.SKU, Name: p.Name.JA, Category: p.Category, Quantity: quantity, Price: strconv.Itoa(p.Yen)}
}

// order is the attribute data-order of the page that thanks for a purchase.
func (c cart) order(id string) (string, error) {
	o := Order{OrderID: id, Currency: "JPY", Total: strconv.Itoa(c.Yen())}
	for _, l := range c {
		o.Items = append(o.Items, l.Product.Item(l.Quantity))
	}
	text, err := json.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("write order: %w", err)
	}
	return string(text), nil
}

// price writes an amount of yen as the language does: 1,620円, ¥1,620.
func price(language string, yen int) string {
	digits := strconv.Itoa(yen)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if language == "ja" {
		return digits + "円"
	}
	return "¥" + digits
}
