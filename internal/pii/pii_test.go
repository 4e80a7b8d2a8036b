package pii

import (
	"maps"
	"strings"
	"testing"
)

// one is the counts of a single find of each kind given.
func one(kinds ...Kind) (c Counts) {
	for _, k := range kinds {
		c[k]++
	}
	return c
}

func TestTextReplacesWhatMustNotBeKept(t *testing.T) {
	guard := New()
	for _, test := range []struct {
		name, in, out string
		counts        Counts
	}{
		{"my number, the valid ones of the law's example", "123456789018", "[my_number]", one(MyNumber)},
		{"my number, second valid", "x 983205673214 y", "x [my_number] y", one(MyNumber)},
		{"my number, third valid", "111111111118", "[my_number]", one(MyNumber)},
		{"my number in groups", "番号 1234-5678-9018 です", "番号 [my_number] です", one(MyNumber)},
		{"my number in spaced groups", "1234 5678 9018", "[my_number]", one(MyNumber)},
		{"my number in full width", "１２３４５６７８９０１８", "[my_number]", one(MyNumber)},
		{"my number in full width with dashes", "１２３４－５６７８－９０１８", "[my_number]", one(MyNumber)},
		{"my number with the long vowel mark for a dash", "1234ー5678ー9018", "[my_number]", one(MyNumber)},
		{"my number with wide spaces", "1234　5678　9018", "[my_number]", one(MyNumber)},
		{"my number, percent-encoded full width", "%EF%BC%91%EF%BC%92%EF%BC%93456789018", "[my_number]", one(MyNumber)},
		{"my number, encoded twice", "%253123456789018", "[my_number]", one(MyNumber)},
		{"my number with invisible runes within", "1234\u200b5678\u200b9018", "[my_number]", one(MyNumber)},
		{"my number glued to Japanese", "私の123456789018です", "私の[my_number]です", one(MyNumber)},
		{"my number before another number", "123456789018 2024", "[my_number] 2024", one(MyNumber)},
		{"my number by its name, check digit wrong", "マイナンバー：983205673210", "マイナンバー：[my_number]", one(MyNumber)},
		{"my number by its name in English", "my number is: 1; My Number: 9832-0567-3210", "my number is: 1; My Number: [my_number]", one(MyNumber)},
		{"my number by its name, grouped oddly", "個人番号は98-3205-673210", "個人番号は[my_number]", one(MyNumber)},
		{"my number of zeros", "000000000000", "[my_number]", one(MyNumber)},
		{"my number in Arabic-Indic digits", "١٢٣٤٥٦٧٨٩٠١٨", "[my_number]", one(MyNumber)},

		{"e-mail", "mail taro.yamada+tag@example.co.jp now", "mail [email] now", one(Email)},
		{"e-mail in Japanese text", "連絡はtaro@example.comまで", "連絡は[email]まで", one(Email)},
		{"e-mail, percent-encoded", "q=taro%40example.com&x", "q=[email]&x", one(Email)},
		{"e-mail, encoded twice", "taro%2540example.com", "[email]", one(Email)},
		{"e-mail in full width", "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｃｏｍ", "[email]", one(Email)},
		{"e-mail, internationalised", "太郎@例え.テスト へ", "[email] へ", one(Email)},
		{"e-mail, internationalised domain", "info@bücher.example", "[email]", one(Email)},
		{"e-mail with a Latin letter beyond ASCII", "jürgen@example.de", "[email]", one(Email)},
		{"e-mail with an ideographic stop", "taro@example。com", "[email]", one(Email)},
		{"e-mail, quoted local part", `"taro yamada"@example.com`, "[email]", one(Email)},
		{"e-mail that begins like a telephone number", "090-1234-5678@docomo.ne.jp", "[email]", one(Email)},
		{"e-mail after mailto", "mailto:taro@example.com?subject=a", "mailto:[email]?subject=a", one(Email)},
		{"two e-mails", "a@b.co,c@d.co", "[email],[email]", one(Email, Email)},

		{"phone", "電話 03-1234-5678", "電話 [phone]", one(Phone)},
		{"phone, mobile", "090-1234-5678", "[phone]", one(Phone)},
		{"phone, mobile, together", "08012345678", "[phone]", one(Phone)},
		{"phone in two groups", "070-12345678", "[phone]", one(Phone)},
		{"phone, four-digit area", "0123-45-6789", "[phone]", one(Phone)},
		{"phone, free", "0120-444-444", "[phone]", one(Phone)},
		{"phone, free, eleven digits", "0800-123-4567", "[phone]", one(Phone)},
		{"phone, area in parentheses", "(03) 1234-5678", "[phone]", one(Phone)},
		{"phone, exchange in parentheses", "03(1234)5678", "[phone]", one(Phone)},
		{"phone in full width", "０９０－１２３４－５６７８", "[phone]", one(Phone)},
		{"phone, +81", "+81-90-1234-5678", "[phone]", one(Phone)},
		{"phone, +81 (0)", "+81 (0)3-1234-5678", "[phone]", one(Phone)},
		{"phone, +1", "call +1 (415) 555-0132 now", "call [phone] now", one(Phone)},
		{"phone, +44, together", "+442071838750", "[phone]", one(Phone)},
		{"phone, full-width plus", "＋８１９０１２３４５６７８", "[phone]", one(Phone)},
		{"phone by the word before", "TEL: 1234-5678", "TEL: [phone]", one(Phone)},
		{"phone glued to the word before", "TEL0312345678", "TEL[phone]", one(Phone)},

		{"card", "4111 1111 1111 1111", "[card]", one(Card)},
		{"card with dashes", "5500-0000-0000-0004", "[card]", one(Card)},
		{"card, together", "378282246310005", "[card]", one(Card)},
		{"card, printed as American Express", "3782 822463 10005", "[card]", one(Card)},
		{"card, JCB, full width", "３５３０１１１３３３３０００００", "[card]", one(Card)},
		{"card, Diners", "3056 930902 5904", "[card]", one(Card)},
		{"card, its security code after it", "4111 1111 1111 1111 123", "[card] 123", one(Card)},

		{"bearer token", "Authorization: Bearer abc123def456", "Authorization: [token]", one(Token)},
		{"basic credentials", "Basic dGFybzpoaW1pdHN1", "[token]", one(Token)},
		{"JWT", "t eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln x", "t [token] x", one(Token)},
		{"AWS key", "AKIAIOSFODNN7EXAMPLE", "[token]", one(Token)},
		{"GitHub token", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[token]", one(Token)},
		{"Stripe key", "sk_live_abcdefghijklmnop", "[token]", one(Token)},
		{"private key", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY----- end", "[token] end", one(Token)},
		{"user information of a URL", "see https://taro:himitsu@example.com/a", "see https://[secret_parameter]@example.com/a", one(SecretParameter)},
		{"secret in a URL in text", "https://e.com/?a=1&token=xyz&b=2", "https://e.com/?a=1&token=[secret_parameter]&b=2", one(SecretParameter)},
		{"secret in prose", "password=himitsu ok", "password=[secret_parameter] ok", one(SecretParameter)},
		{"name in a query", "/p?name=太郎&x=1", "/p?name=[name]&x=1", one(Name)},

		{"IPv4", "from 192.0.2.10:8080.", "from [ip]:8080.", one(IP)},
		{"IPv6", "from 2001:db8::1 to", "from [ip] to", one(IP)},
		{"IPv6 in full", "[2001:db8:0:0:0:0:2:1]", "[[ip]]", one(IP)},
		{"IPv6 without digits", "fe::ab", "[ip]", one(IP)},
		{"IPv4 in IPv6", "::ffff:192.0.2.1", "[ip]", one(IP)},
		{"IPv6 before a colon", "2001:db8::1: refused", "[ip]: refused", one(IP)},

		{"invalid UTF-8", "a\xffb", "a\uFFFDb", Counts{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var counts Counts
			if got := guard.Text(test.in, &counts); got != test.out {
				t.Errorf("Text(%q) = %q, want %q", test.in, got, test.out)
			}
			if counts != test.counts {
				t.Errorf("counts = %v, want %v", counts, test.counts)
			}
		})
	}
}

func TestTextKeepsWhatIsNobodys(t *testing.T) {
	guard := New()
	for _, s := range []string{
		"", "関所 — プライバシーに配慮したアクセス解析", "A plain title", "2024年9月12日(木)", "2024-09-12T10:11:12.123Z", "20240912101112",
		"983205673210",        // a wrong check digit
		"1234567890123456",    // no card
		"SKU4901234567894",    // an article number on a word
		"4901234567894",       // JAN
		"4512345678906",       // JAN
		"9784101010014",       // ISBN
		"ABC-123456789018X",   // glued to a letter
		"0.123456789018",      // a fraction
		"1234-5678-9018-5555", // a longer chain
		"¥1,234,567", "12,345円", "$1,234.56", "1726100000000", "1726100000000000",
		"550e8400-e29b-41d4-a716-123456789018", "d41d8cd98f00b204e9800998ecf8427e", "v1.2.3.4", "version 1.2.3.4", "Chrome/120.0.0.0",
		"10.0.19045.1", "127.0.0.1", "::1", "0.0.0.0", "10:11:12", "std::vector", "C++", "1+1=2", "a=b", "50% off", "100%",
		"icon@2x.png", "@user", "lodash@4.17.21", "@scope/pkg", "me @ home", "user@localhost", "name=", "code=1", "size=L", "==",
		"bearer of bad news", "Basic understanding", "sk-ii-facial-treatment-essence", "eyJ", "AKIA", "order 250-1234567-1234567",
		"〒100-0001", "第123456789回", "3,000 km", "1234-5678", "03-12", "+09:00", "+0900", "+10", "[email]", "[my_number][phone]",
		"カレンダー2024", "スーパー1234", "iPhone 15 Pro", "phone 12", "👍👍", "ＡＢＣ！？",
	} {
		var counts Counts
		if got := guard.Text(s, &counts); got != s || counts != (Counts{}) {
			t.Errorf("Text(%q) = %q, %v", s, got, counts)
		}
	}
}

func TestURLKeepsOnlyTheRest(t *testing.T) {
	guard := New("invite_ref")
	for _, test := range []struct {
		name, in, out string
		counts        Counts
	}{
		{"nothing to do", "https://example.com/a/b?x=1&y=%E6%97%A5", "https://example.com/a/b?x=1&y=%E6%97%A5", Counts{}},
		{"user information", "https://taro:pw@example.com/", "https://example.com/", one(SecretParameter)},
		{"fragment", "https://example.com/a#access_token=xyz", "https://example.com/a", Counts{}},
		{"route in the fragment", "https://example.com/#/u/taro@example.com?token=x", "https://example.com/#/u/[email]?token=[secret_parameter]", one(Email, SecretParameter)},
		{"route in the fragment, old form", "https://example.com/#!/a?b=1", "https://example.com/#!/a?b=1", Counts{}},
		{"secret parameters", "/p?a=1&access_token=t&password=p&code=c&SESSION=s&sig=g&key=k", "/p?a=1&access_token=[token]&password=[secret_parameter]&code=[secret_parameter]&SESSION=[secret_parameter]&sig=[secret_parameter]&key=[secret_parameter]", one(Token, SecretParameter, SecretParameter, SecretParameter, SecretParameter, SecretParameter)},
		{"personal parameters", "/p?email=x&tel=1&name=%E5%A4%AA%E9%83%8E&billing_address=y&ip=z", "/p?email=[email]&tel=[phone]&name=[name]&billing_address=[address]&ip=[ip]", one(Email, Phone, Name, Address, IP)},
		{"Japanese keys", "/p?%E6%B0%8F%E5%90%8D=a&お客様の電話番号=1&マイナンバー=1", "/p?%E6%B0%8F%E5%90%8D=[name]&お客様の電話番号=[phone]&マイナンバー=[my_number]", one(Name, Phone, MyNumber)},
		{"keys in other spellings", "/p?accessToken=t&user%5Bemail%5D=a&E-Mail=b&address2=c", "/p?accessToken=[token]&user%5Bemail%5D=[email]&E-Mail=[email]&address2=[address]", one(Token, Email, Email, Address)},
		{"the operator's own key", "/p?inviteRef=abc", "/p?inviteRef=[secret_parameter]", one(SecretParameter)},
		{"path segments", "https://e.com/users/taro%40example.com/orders/123456789018/x", "https://e.com/users/[email]/orders/[my_number]/x", one(Email, MyNumber)},
		{"path segment, encoded anew", "/%E5%A4%AA%20a%40b.co%2F", "/%E5%A4%AA%20[email]%2F", one(Email)},
		{"opaque ids", "/o/550e8400-e29b-41d4-a716-446655440000/d41d8cd98f00b204e9800998ecf8427e/SKU-10293", "/o/550e8400-e29b-41d4-a716-446655440000/d41d8cd98f00b204e9800998ecf8427e/SKU-10293", Counts{}},
		{"matrix parameter", "/a;jsessionid=ABC123?x", "/a;jsessionid=[secret_parameter]?x", one(SecretParameter)},
		{"value by content", "/s?q=call+090-1234-5678&p=+819012345678", "/s?q=call+[phone]&p=[phone]", one(Phone, Phone)},
		{"URL within a parameter", "/r?next=https%3A%2F%2Fe.com%2F%3Ftoken%3Dabc%26x%3D1", "/r?next=https:%2F%2Fe.com%2F%3Ftoken%3D[secret_parameter]%26x%3D1", one(SecretParameter)},
		{"key that is a find", "/p?taro@example.com", "/p?[email]", one(Email)},
		{"host that is an address", "http://192.0.2.1:8080/x", "http://ip.invalid:8080/x", one(IP)},
		{"host that is an IPv6 address", "http://[2001:db8::1]/x", "http://ip.invalid/x", one(IP)},
		{"own machine", "http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x", Counts{}},
		{"own machine by IPv6", "http://[::1]:8080/x", "http://[::1]:8080/x", Counts{}},
		{"host that is a My Number", "https://123456789018.example.com/", "https://my-number.invalid/", one(MyNumber)},
		{"mailto", "mailto:taro@example.com", "mailto:[email]", one(Email)},
		{"mailto of nothing valid", "mailto:taro", "mailto:[email]", one(Email)},
		{"tel", "tel:110", "tel:[phone]", one(Phone)},
		{"data", "data:text/plain,taro@example.com", "data:", Counts{}},
		{"file", "file:///home/taro/a.html", "file:", Counts{}},
		{"about", "about:blank", "about:blank", Counts{}},
		{"app referrer", "android-app://com.google.android.gm/", "android-app://com.google.android.gm/", Counts{}},
		{"no scheme", "//example.com/a@b.co", "//example.com/[email]", one(Email)},
		{"not a URL", "taro@example.com", "[email]", one(Email)},
		{"broken encodings", "/a%zz?b=%&c=%4", "/a%zz?b=%&c=%4", Counts{}},
		{"empty pieces", "/?&&a=&=b&", "/?&&a=&=b&", Counts{}},
		{"empty query", "/?", "/?", Counts{}},
		{"empty", "", "", Counts{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var counts Counts
			if got := guard.URL(test.in, &counts); got != test.out {
				t.Errorf("URL(%q) =\n%q, want\n%q", test.in, got, test.out)
			}
			if counts != test.counts {
				t.Errorf("counts = %v, want %v", counts, test.counts)
			}
		})
	}
}

func TestPropertiesAreJudgedByKeyAndValue(t *testing.T) {
	in := map[string]string{
		"plan": "pro", "customerEmail": "whatever", "note": "call 090-1234-5678", "マイナンバー": "1", "password": "x",
		"code": "SALE10", "landing": "https://e.com/?token=a#frag", "taro@example.com": "1", "empty_name": "", "name": "",
	}
	want := map[string]string{
		"plan": "pro", "customerEmail": "[email]", "note": "call [phone]", "マイナンバー": "[my_number]", "password": "[secret_parameter]",
		"code": "SALE10", "landing": "https://e.com/?token=[secret_parameter]", "empty_name": "", "name": "",
	}
	before := maps.Clone(in)
	var counts Counts
	got := New().Properties(in, &counts)
	if !maps.Equal(got, want) {
		t.Errorf("Properties = %v, want %v", got, want)
	}
	if want := one(Email, Phone, MyNumber, SecretParameter, SecretParameter, Email); counts != want {
		t.Errorf("counts = %v, want %v", counts, want)
	}
	if !maps.Equal(in, before) {
		t.Error("the map given was changed")
	}
}

func TestCleanPropertiesAreNotCopied(t *testing.T) {
	in := map[string]string{"plan": "pro", "size": "L"}
	var counts Counts
	got := New().Properties(in, &counts)
	got["plan"] = "same"
	if in["plan"] != "same" {
		t.Error("a clean map was copied")
	}
	if New().Properties(nil, &counts) != nil {
		t.Error("nil did not stay nil")
	}
}

func TestZeroGuardTakesEveryKeyForASecrets(t *testing.T) {
	var guard Guard
	var counts Counts
	if got := guard.URL("/?a=b", &counts); got != "/?a=[secret_parameter]" {
		t.Errorf("got %q", got)
	}
}

func TestKindsHaveNamesAndMarkers(t *testing.T) {
	seen := map[string]bool{}
	for k := range NumKinds {
		if k.String() == "" || k.Marker() != "["+k.String()+"]" || seen[k.String()] {
			t.Errorf("kind %d: %q %q", k, k.String(), k.Marker())
		}
		seen[k.String()] = true
	}
	if NumKinds.String() != "" || NumKinds.Marker() != "" {
		t.Error("a kind beyond the last has a name")
	}
}

func TestNoMarkerIsEverAFind(t *testing.T) {
	guard := New()
	for a := range NumKinds {
		for b := range NumKinds {
			for _, sep := range []string{"", "@", "=", ".", "-", ":", "+", "0", "x=", "token=", "&token="} {
				s := a.Marker() + sep + b.Marker()
				var counts Counts
				if got := guard.Text(s, &counts); got != s {
					t.Errorf("Text(%q) = %q", s, got)
				}
			}
		}
	}
}

func TestLongInputIsLinear(t *testing.T) {
	guard := New()
	for _, piece := range []string{"a@", "1-", "=", "a=", ":", "a:", "%25", "１", "@.", "eyJ", "0 ", "://a@", `"@`, "+1", "b.c@d.e "} {
		s := strings.Repeat(piece, 1<<18/len(piece))
		var counts Counts
		got := guard.Text(s, &counts) // quadratic work would take minutes
		if again := guard.Text(got, &counts); again != got {
			t.Errorf("%q repeated: not idempotent", piece)
		}
	}
}

func TestPageIsHostAndPathOnly(t *testing.T) {
	guard := New()
	for _, test := range []struct{ in, host, path string }{
		{"https://Example.com:8443/a/b?x=1&token=y#z", "example.com", "/a/b"},
		{"https://example.com", "example.com", "/"},
		{"https://example.com?x=1", "example.com", "/"},
		{"https://example.com/app?x=1#/orders/123456789018?y=2", "example.com", "/app#/orders/[my_number]"},
		{"https://u:p@example.com/taro%40example.com", "example.com", "/[email]"},
		{"http://192.0.2.1/", "ip.invalid", "/"},
		{"http://[::1]:80/a", "[::1]", "/a"},
		{"/a?b", "", "/a"},
		{"mailto:a@b.co", "", ""},
		{"about:blank", "", ""},
		{"", "", ""},
	} {
		var counts Counts
		if host, path := guard.Page(test.in, &counts); host != test.host || path != test.path {
			t.Errorf("Page(%q) = %q, %q", test.in, host, path)
		}
	}
}
