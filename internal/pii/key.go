package pii

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// scope is where a key stands, as a set.
type scope uint8

const (
	inURL      scope = 1 << iota // a query parameter, a matrix parameter
	inProperty                   // a property of an event
	inProse                      // key=value in the middle of free text
)

type rule struct {
	kind  Kind
	scope scope
	last  bool // also as the last words of a longer key: billing_address, お客様の電話番号
}

// maxKey is how much of a key is looked at, from its end, in bytes.
const maxKey = 64

// vocabulary lists the key names, as normal writes them: lower case, words parted by one '_'.
var vocabulary = []struct {
	rule
	words string
}{
	{rule{MyNumber, inURL | inProperty | inProse, true}, `my_number mynumber my_no individual_number kojin_bango kojinbango
		kojin_bangou マイナンバー マイナンバー番号 マイナンバーカード番号 個人番号`},
	{rule{Email, inURL | inProperty, true}, `email e_mail mailaddress mail_address emailaddress email_address mailto
		login_hint メール メールアドレス メアド 電子メール eメール`},
	{rule{Email, inURL | inProperty, false}, `mail`},
	{rule{Phone, inURL | inProperty, true}, `tel phone telephone telno tel_no phone_no phone_number phonenumber telephone_number
		tel_number cellphone cell_phone mobile_phone mobile_number fax fax_no fax_number msisdn keitai denwa denwa_bango
		電話 電話番号 携帯 携帯番号 携帯電話 携帯電話番号 ファックス ファックス番号 fax番号 連絡先番号`},
	{rule{Card, inURL | inProperty, true}, `card_number cardnumber card_no cardno credit_card creditcard cc_number ccnumber ccnum
		cvv cvc csc card_code security_code card_expiry クレジットカード クレジットカード番号 カード番号 セキュリティコード`},
	{rule{Name, inURL | inProperty, false}, `name full_name fullname first_name firstname last_name lastname middle_name family_name
		familyname given_name givenname surname maiden_name real_name nickname user_name username customer_name contact_name
		employee_name recipient_name sender_name applicant_name cardholder cardholder_name name_kana kana furigana sei mei
		shimei seimei onamae 名 姓 氏 カナ`},
	{rule{Name, inURL | inProperty, true}, `氏名 姓名 名前 本名 フリガナ ふりがな 氏名カナ 担当者名 宛名 ニックネーム 契約者名 名義`},
	{rule{Address, inURL | inProperty, true}, `address addr street street_address address_line postal_code postalcode post_code postcode
		zip zipcode zip_code jusho juusho yubin_bango 住所 所在地 番地 郵便番号 届け先 お届け先`},
	{rule{IP, inURL | inProperty, true}, `ip ip_address ipaddress ip_addr ipaddr remote_addr remote_ip client_ip x_forwarded_for
		forwarded_for ipアドレス`},
	{rule{Token, inURL | inProperty | inProse, true}, `access_token accesstoken refresh_token refreshtoken id_token idtoken auth_token
		authtoken bearer_token jwt api_key apikey api_secret secret_access_key private_key`},
	{rule{SecretParameter, inURL | inProperty | inProse, true}, `password passwd passphrase passcode pwd secret token client_secret
		credential credentials パスワード 暗証番号 認証コード 確認コード 合言葉 トークン ワンタイムパスワード 秘密の質問`},
	{rule{SecretParameter, inURL | inProperty, true}, `otp totp csrf xsrf csrfmiddlewaretoken authenticity_token signature hmac
		authorization session_id sessionid sessid jsessionid phpsessid session_key session_token birthday birthdate birth_date
		birth_day date_of_birth dob 生年月日 誕生日`},
	{rule{SecretParameter, inURL | inProperty, false}, `pass pin`},
	{rule{SecretParameter, inURL, false}, `code state nonce key sig session sid auth assertion ticket hash oobcode oob_code
		samlrequest samlresponse saml_request saml_response relaystate relay_state confirmation verification activation invite
		invitation aspsessionid cfid cftoken user uid user_id userid login account account_id
		x_amz_credential awsaccesskeyid key_pair_id`},
	// The values of click identifiers: they name one click of one person at the advertiser.
	{rule{SecretParameter, inURL, false}, `gclid gbraid wbraid dclid yclid fbclid msclkid ttclid twclid ldtag_cl li_fat_id epik
		igshid mc_eid mc_cid sccid rdt_cid irclickid _hsenc _hsmi hsenc hsmi gclsrc _gl gl`},
}

func ruleTable(secretKeys []string) map[string]rule {
	table := make(map[string]rule, 512)
	for _, v := range vocabulary {
		for _, word := range strings.Fields(v.words) {
			table[string(normal(nil, word))] = v.rule
		}
	}
	for _, key := range secretKeys {
		if word := normal(nil, key); len(word) > 0 {
			table[string(word)] = rule{SecretParameter, inURL | inProperty, false}
		}
	}
	return table
}

// keyKind tells what a key says its value is.
func (g *Guard) keyKind(key string, where scope) (Kind, bool) {
	if g.keys == nil {
		return SecretParameter, true
	}
	var buf [2 * maxKey]byte
	word := normal(buf[:0], key)
	if r, ok := g.keys[string(word)]; ok {
		return r.kind, r.scope&where != 0
	}
	for i := 1; i < len(word); i++ {
		// The start of a word: after '_', or, where words are not parted by anything, of any letter.
		if word[i-1] != '_' && (word[i] < utf8.RuneSelf || !utf8.RuneStart(word[i])) && (word[i] >= utf8.RuneSelf || word[i-1] < utf8.RuneSelf) {
			continue
		}
		if r, ok := g.keys[string(word[i:])]; ok && r.last {
			return r.kind, r.scope&where != 0
		}
	}
	return 0, false
}

// normal appends the key as the vocabulary writes it: NFKC, lower case, words parted by one '_' (customerEmail,
// Customer-Email and customer[email] are customer_email), no number at its end (address2).
func normal(dst []byte, key string) []byte {
	if len(key) > maxKey {
		key = key[len(key)-maxKey:]
		for len(key) > 0 && !utf8.RuneStart(key[0]) {
			key = key[1:]
		}
	}
	for i := 0; i < len(key); i++ {
		if key[i] >= utf8.RuneSelf {
			key = norm.NFKC.String(key)
			break
		}
	}
	for i := range len(key) {
		c := key[i]
		switch {
		case c >= 'A' && c <= 'Z':
			if i > 0 && len(dst) > 0 && dst[len(dst)-1] != '_' {
				before := key[i-1]
				if before >= 'a' && before <= 'z' || isDigit(before) ||
					before >= 'A' && before <= 'Z' && i+1 < len(key) && key[i+1] >= 'a' && key[i+1] <= 'z' {
					dst = append(dst, '_')
				}
			}
			dst = append(dst, c|0x20)
		case c >= 'a' && c <= 'z', isDigit(c), c >= utf8.RuneSelf:
			dst = append(dst, c)
		default:
			if len(dst) > 0 && dst[len(dst)-1] != '_' {
				dst = append(dst, '_')
			}
		}
	}
	for len(dst) > 1 && (dst[len(dst)-1] == '_' || isDigit(dst[len(dst)-1])) {
		dst = dst[:len(dst)-1]
	}
	return dst
}
