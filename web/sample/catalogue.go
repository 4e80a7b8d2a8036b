package sample

import (
	"slices"
	"strings"
)

// Text is a text in the languages of the shop.
type Text struct{ JA, EN string }

// In is the text in a language; what is not Japanese is English.
func (t Text) In(language string) string {
	if language == "ja" {
		return t.JA
	}
	return t.EN
}

// Product is one thing that the shop sells.
type Product struct {
	SKU      string
	Category string // one of Categories
	Yen      int    // with tax
	Name     Text
	Line     Text // one line, below the name
	Story    Text
	Words    string // what it is found by besides
}

// Categories are the shop's shelves, in their order.
func Categories() []string { return []string{"tea", "teaware", "paper", "writing"} }

// Products is the whole catalogue, in the order of the shelves. No such thing is for sale anywhere.
func Products() []Product {
	return []Product{
		{
			SKU: "sencha-uji", Category: "tea", Yen: 1620,
			Name:  Text{"宇治の煎茶 100g", "Uji sencha, 100 g"},
			Line:  Text{"朝霧の畑で摘んだ、澄んだ旨み", "Clear and savoury, picked in the morning mist"},
			Story: Text{"霧の深い谷の畑で、新芽だけを摘みました。70℃ほどのお湯で一分。二煎目は少し熱めに、三煎目までお楽しみいただけます。", "Only the young leaves, from fields in a misty valley. One minute at 70 °C; a little hotter the second time. It gives three good cups."},
			Words: "緑茶 日本茶 green tea japanese leaf",
		},
		{
			SKU: "hojicha-kaga", Category: "tea", Yen: 1080,
			Name:  Text{"加賀の棒ほうじ茶 80g", "Kaga roasted stem tea, 80 g"},
			Line:  Text{"香ばしい茎茶。夜の一杯にも", "Toasted stems, gentle enough for the evening"},
			Story: Text{"一番茶の茎を浅く炒りました。熱湯をたっぷり注いで三十秒、部屋じゅうに香りが立ちます。", "Stems of the first harvest, lightly roasted. Half a minute in boiling water, and the whole room smells of it."},
			Words: "焙じ茶 ほうじちゃ hojicha houjicha japanese",
		},
		{
			SKU: "genmaicha", Category: "tea", Yen: 972,
			Name:  Text{"山里の玄米茶 200g", "Hill country genmaicha, 200 g"},
			Line:  Text{"炒り米の甘い香り。毎日のお茶に", "The sweet smell of toasted rice, for every day"},
			Story: Text{"丸い炒り米と柳の葉を半分ずつ。熱いお湯でさっと淹れて、食事と一緒にどうぞ。", "Half toasted rice, half late leaves. Brew it quickly with hot water and drink it with a meal."},
			Words: "げんまいちゃ 玄米 rice tea japanese",
		},
		{
			SKU: "matcha-yame", Category: "tea", Yen: 2484,
			Name:  Text{"八女の抹茶 30g", "Yame matcha, 30 g"},
			Line:  Text{"石臼でゆっくり挽いた、なめらかな緑", "Stone-ground slowly, and smooth"},
			Story: Text{"覆いの下で育てた葉を、石臼で一時間に四十グラム。薄茶でも、ミルクに溶いても、まろやかです。", "Leaves grown in the shade, ground at forty grams an hour. Mellow by itself, and with milk."},
			Words: "まっちゃ 薄茶 powdered green tea ceremony",
		},
		{
			SKU: "kyusu-tokoname", Category: "teaware", Yen: 6600,
			Name:  Text{"常滑の急須 280ml", "Tokoname teapot, 280 ml"},
			Line:  Text{"朱泥の横手。軽い注ぎ心地", "Red clay, side handle, a light pour"},
			Story: Text{"細かい土を締めて焼いた急須です。陶製の細かい網が、深蒸しの葉も通しません。", "Fired from fine clay. Its strainer, of clay as well, holds back even the finest leaf."},
			Words: "きゅうす ティーポット teapot pot pottery kyusu",
		},
		{
			SKU: "yunomi-mino", Category: "teaware", Yen: 2200,
			Name:  Text{"美濃の湯のみ", "Mino teacup"},
			Line:  Text{"手になじむ、土灰の釉薬", "Ash glaze that suits the hand"},
			Story: Text{"たっぷり入る筒形です。釉薬の流れは一つずつ違います。", "A tall cup that holds plenty. The glaze runs differently on each."},
			Words: "湯呑み ゆのみ 茶碗 cup mug pottery yunomi",
		},
		{
			SKU: "chasen", Category: "teaware", Yen: 3850,
			Name:  Text{"高山の茶筌 百本立", "Takayama bamboo whisk, 100 tines"},
			Line:  Text{"一本の竹から割り出した穂先", "Split by hand from one piece of bamboo"},
			Story: Text{"白竹を百本に割り、糸で編みました。使う前にお湯に浸すと、穂先が長持ちします。", "White bamboo, split into a hundred tines and bound with thread. Soak it in warm water first, and it lasts."},
			Words: "茶筅 ちゃせん 茶道 whisk chasen matcha 抹茶 ceremony",
		},
		{
			SKU: "letter-washi", Category: "paper", Yen: 880,
			Name:  Text{"越前和紙の便箋 20枚", "Echizen washi letter paper, 20 sheets"},
			Line:  Text{"にじみにくく、筆にもペンにも", "For brush and pen; the ink does not bleed"},
			Story: Text{"楮を漉いた薄手の紙に、縦の罫を淡く刷りました。封筒四枚つき。", "Thin mulberry paper with faint vertical lines. Four envelopes are in the pack."},
			Words: "びんせん 手紙 レターセット letter stationery washi 文具",
		},
		{
			SKU: "notebook-asanoha", Category: "paper", Yen: 1320,
			Name:  Text{"麻の葉の和綴じノート", "Hemp leaf notebook, thread-bound"},
			Line:  Text{"四つ目綴じ。どのページも平らに開く", "Four-hole binding that opens flat"},
			Story: Text{"魔よけの麻の葉文様を藍で刷った表紙に、クリーム色の無地の紙を綴じました。", "A cover printed in indigo with the lucky hemp leaf; plain cream paper inside."},
			Words: "帳面 手帳 ノート notebook journal stationery 文具",
		},
		{
			SKU: "furoshiki-seigaiha", Category: "paper", Yen: 1980,
			Name:  Text{"青海波の風呂敷 70cm", "Seigaiha wrapping cloth, 70 cm"},
			Line:  Text{"包む、提げる、敷く", "To wrap, to carry, to spread"},
			Story: Text{"穏やかな波を染めた綿の布です。お酒もお弁当も、結び方ひとつで。", "Cotton dyed with quiet waves. A bottle or a lunch box: it is all in the knot."},
			Words: "ふろしき ラッピング 包装 wrapping cloth furoshiki gift",
		},
		{
			SKU: "brush-pen", Category: "writing", Yen: 660,
			Name:  Text{"筆ペン 中字", "Brush pen, medium"},
			Line:  Text{"とめ、はね、はらいが楽しい", "Stops, flicks and sweeps"},
			Story: Text{"しなやかな穂先の筆ペンです。顔料インクなので、水にぬれてもにじみません。", "A supple tip, and pigment ink that water does not blur."},
			Words: "ふでぺん 書道 毛筆 年賀状 pen calligraphy stationery 文具",
		},
		{
			SKU: "ink-ai", Category: "writing", Yen: 2420,
			Name:  Text{"藍のインク 50ml", "Indigo ink, 50 ml"},
			Line:  Text{"夜明け前の空の青", "The blue before dawn"},
			Story: Text{"万年筆とガラスペンのための染料インクです。乾くほどに、青が深くなります。", "Dye ink for fountain and glass pens. It deepens as it dries."},
			Words: "万年筆 ガラスペン インキ fountain pen bottle stationery 文具",
		},
	}
}

// Named finds a product by its code.
func Named(sku string) (Product, bool) {
	all := Products()
	i := slices.IndexFunc(all, func(p Product) bool { return p.SKU == sku })
	if i < 0 {
		return Product{}, false
	}
	return all[i], true
}

// Find answers the products of a category ("" is every one) that every word of the query fits, in either language.
func Find(query, category string) []Product {
	words := strings.Fields(fold(query))
	var found []Product
	for _, p := range Products() {
		if category != "" && p.Category != category {
			continue
		}
		text := fold(strings.Join([]string{p.SKU, p.Category, p.Name.JA, p.Name.EN, p.Line.JA, p.Line.EN, p.Words}, " "))
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			found = append(found, p)
		}
	}
	return found
}

// fold makes alike what a visitor types alike: upper and lower case, full and half width, katakana and hiragana.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '！' && r <= '～':
			return r - '！' + '!'
		case r >= 'ァ' && r <= 'ヶ':
			return r - 'ァ' + 'ぁ'
		}
		return r
	}, strings.ToLower(s))
}

// Ad is an advertisement of the shop's own in one of its slots.
type Ad struct {
	ID, Slot, Campaign string
	SKU                string // what it leads to, and what is drawn on it
	Head, Line         Text
}

// Ads are the advertisements, one a slot.
func Ads() []Ad {
	return []Ad{
		{
			ID: "shincha-2026", Slot: "catalogue_top", Campaign: "first_flush", SKU: "sencha-uji",
			Head: Text{"新茶まつり", "First flush fair"},
			Line: Text{"今年の一番摘みが、峠に届きました。", "This year's first picking has reached the pass."},
		},
		{
			ID: "letter-week", Slot: "search_side", Campaign: "autumn_letters", SKU: "letter-washi",
			Head: Text{"手紙の週間", "Letter week"},
			Line: Text{"越前和紙の便箋に、封筒四枚をそえて。", "Echizen letter paper, with four envelopes."},
		},
		{
			ID: "tea-time-set", Slot: "product_bottom", Campaign: "first_flush", SKU: "kyusu-tokoname",
			Head: Text{"ひと息つく道具", "Tools for a pause"},
			Line: Text{"朱泥の急須で、いつもの葉をもっとおいしく。", "A red clay pot makes more of the leaves you have."},
		},
	}
}

// adIn is the advertisement of a slot.
func adIn(slot string) Ad {
	ads := Ads()
	i := slices.IndexFunc(ads, func(a Ad) bool { return a.Slot == slot })
	if i < 0 {
		return Ad{}
	}
	return ads[i]
}
