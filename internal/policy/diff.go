package policy

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/core"
)

// Class is what a change means for the people whose data it is (Art. 6).
type Class string

// The classes. Initial is the first version of a policy, which changes nothing.
const (
	Editorial Class = "editorial" // says the same otherwise
	Related   Class = "related"   // published before it takes effect
	Unrelated Class = "unrelated" // needs fresh consent
	Initial   Class = "initial"
)

// exceeds reports whether a change of class c is more than a version that declares d may hold.
func (c Class) exceeds(d Class) bool {
	order := []Class{"", Editorial, Related, Unrelated}
	return slices.Index(order, c) > slices.Index(order, d)
}

// Kind is what happened to one thing that a pack says. The list is closed.
type Kind string

// The kinds.
const (
	Wording          Kind = "wording"
	TimeZone         Kind = "time_zone"
	ForeignName      Kind = "foreign_name"
	ProcessorRecord  Kind = "processor_record"
	PurposeRemoved   Kind = "purpose_removed"
	CategoryRemoved  Kind = "category_removed"
	BasisStricter    Kind = "basis_stricter"
	GPCDenied        Kind = "gpc_denied"
	Pseudonymised    Kind = "pseudonymised"
	RetentionShorter Kind = "retention_shorter"
	IngestDenied     Kind = "ingest_denied"
	JurisdictionGone Kind = "jurisdiction_removed"
	ProcessorRemoved Kind = "processor_removed"
	ProcessorNarrow  Kind = "processor_narrowed"
	RecipientRemoved Kind = "recipient_removed"
	RecipientNarrow  Kind = "recipient_narrowed"

	PurposeAdded      Kind = "purpose_added"
	CategoryAdded     Kind = "category_added"
	BasisOptOut       Kind = "basis_opt_out"
	GPCAllowed        Kind = "gpc_allowed"
	ParentChanged     Kind = "parent_changed"
	TCFChanged        Kind = "tcf_changed"
	RetentionLonger   Kind = "retention_longer"
	IngestAccepted    Kind = "ingest_accepted"
	SensitivityChange Kind = "class_changed"
	JurisdictionAdded Kind = "jurisdiction_added"
	ProcessorAdded    Kind = "processor_added"
	ProcessorWidened  Kind = "processor_widened"
	RecipientAdded    Kind = "recipient_added"
	RecipientWidened  Kind = "recipient_widened"

	PurposeReplaced   Kind = "purpose_replaced"
	ConsentStretched  Kind = "category_added_to_consent"
	ChoiceRemoved     Kind = "choice_removed"
	PseudonymRemoved  Kind = "pseudonym_removed"
	RecipientUnagreed Kind = "recipient_without_consent"
)

// rule says what a kind of change is and does. {1}, {2} and {3} stand for what changed.
type rule struct {
	class                  Class
	what, stored, consents Text
}

// What a change does to data that is stored.
var (
	storedSame      = Text{"ja": "保存済みのデータは変わりません。", "en": "Stored data stays as it is."}
	storedUnread    = Text{"ja": "保存済みの行は、この目的ではもう読めません。ほかに目的のないデータは廃棄の対象になります。", "en": "Stored rows can no longer be read for it; data that no other purpose needs is due for disposal (Art. 7-5)."}
	storedLess      = Text{"ja": "保存済みの行でも、この目的ではこの項目を読めなくなります。", "en": "The category can no longer be read for it, in stored rows either."}
	storedMore      = Text{"ja": "この目的で保存済みの行でも、ほかの目的のために保存されていたこの項目を読めるようになります。", "en": "Where another purpose had the category stored, it can be read for this one too, in rows that were already permitted for it."}
	storedThen      = Text{"ja": "保存済みの行は、取得した時の根拠のまま残ります。新しい扱いは発効後の取得分からです。", "en": "Stored rows keep the basis of the time they were collected; the change is for what is collected once it is in effect."}
	storedShorter   = Text{"ja": "保存済みのデータも、新しい期間を過ぎたものは消えます。", "en": "Stored data that is older than the new period expires too."}
	storedLonger    = Text{"ja": "保存済みのデータも長く残ります。すでに消えたものは戻りません。", "en": "Stored data is kept longer too; what has expired stays gone."}
	storedUntilEnd  = Text{"ja": "保存済みのデータは期間の終わりまで残り、新しくは受け付けません。", "en": "Stored data stays until its period ends; nothing new is accepted."}
	storedFresh     = Text{"ja": "これまでのデータを、この目的で読むことはできません。", "en": "Data collected before cannot be read for it."}
	storedForbidden = Text{"ja": "同じビットのままでは、保存済みのデータを承諾のない使い方に開いてしまうため、公開できません。", "en": "Refused under the same bit: it would open stored data to a use that nobody agreed to."}
)

// What a change does to the consents and refusals that stand.
var (
	consentsStand     = Text{"ja": "これまでの同意と拒否はそのまま有効です。", "en": "Consents and refusals stand."}
	consentsEnd       = Text{"ja": "この目的への同意は終わります。目的が戻るときは、改めて同意を求めます。", "en": "Consents to it end; should the purpose come back, it has to ask again."}
	consentsAsk       = Text{"ja": "まだ誰も選んでいません。同意が要る地域では新たに求めます。", "en": "Nobody has decided on it yet; where it needs consent, it is asked for."}
	consentsAskAgain  = Text{"ja": "これまでの同意は及びません。この目的についてだけ、改めて同意を求めます。ほかの目的の同意は変わりません。", "en": "Earlier consents do not cover it: consent is asked for again, for this purpose only. Those for other purposes stand."}
	consentsNeeded    = Text{"ja": "記録にある同意と拒否は有効です。同意が必要になる地域では、まだ同意していない人に求めます。", "en": "Consents and refusals on record stand; where consent is needed now, whoever has not given it is asked."}
	consentsOptOut    = Text{"ja": "拒否と取り消しはそのまま有効です。選んでいない人は、発効後は断っていないものとして扱います。", "en": "Refusals and withdrawals stand; from then on, whoever never decided counts as not having objected."}
	consentsLost      = Text{"ja": "拒否が効かなくなるため、同じビットのままでは公開できません。", "en": "Refused under the same bit: refusals would lose their force."}
	consentsStretched = Text{"ja": "これまでの同意はそれを含まずに与えられたため、及びません。使われていないビットへ移し、改めて同意を求める必要があります。", "en": "Consents were given without it and do not cover it: the purpose has to move to an unused bit and ask again."}
	consentsSignal    = Text{"ja": "これまでの同意と拒否は有効です。信号だけで拒否とみなす扱いが、発効後の取得分から変わります。", "en": "Consents and refusals stand; what the signal alone decides changes for what is collected from then on."}
	consentsImport    = Text{"ja": "これまでの同意と拒否は有効です。TCF文字列から読み取る選択が、以後の分から変わります。", "en": "Consents and refusals stand; what a TCF string says of it changes for strings received from then on."}
	consentsFamily    = Text{"ja": "これまでの同意と拒否は有効です。親の目的への選択が及ぶ範囲が、以後の分から変わります。", "en": "Consents and refusals stand; whom a choice on the parent covers changes for choices made from then on."}
)

// rules is the whole of Art. 6: the class of a change follows from its kind (docs/adr/0006-purpose-identity.md).
var rules = map[Kind]rule{
	Wording:         {Editorial, Text{"ja": "{1}の書き方が変わります。", "en": "{1} is worded otherwise."}, storedSame, consentsStand},
	TimeZone:        {Editorial, Text{"ja": "日付の区切りが{1}から{2}に変わります。", "en": "Dates are those of {2}, no longer of {1}."}, storedSame, consentsStand},
	ForeignName:     {Editorial, Text{"ja": "目的「{1}」の{2}での呼び名が変わります。", "en": "The name of purpose “{1}” in {2} changes."}, storedSame, consentsStand},
	ProcessorRecord: {Editorial, Text{"ja": "委託先「{1}」の契約・点検の記録が変わります。", "en": "The contract or checklist record of processor “{1}” changes."}, storedSame, consentsStand},

	PurposeRemoved:   {Related, Text{"ja": "目的「{1}」をやめます。", "en": "Purpose “{1}” ends."}, storedUnread, consentsEnd},
	CategoryRemoved:  {Related, Text{"ja": "目的「{1}」では「{2}」を使わなくなります。", "en": "Purpose “{1}” no longer uses “{2}”."}, storedLess, consentsStand},
	BasisStricter:    {Related, Text{"ja": "目的「{1}」の根拠が厳しくなります（{2}：{3}）。", "en": "The basis of purpose “{1}” becomes stricter ({2}: {3})."}, storedThen, consentsNeeded},
	GPCDenied:        {Related, Text{"ja": "目的「{1}」は、GPC信号があれば拒否とみなします。", "en": "The GPC signal denies purpose “{1}”."}, storedThen, consentsSignal},
	Pseudonymised:    {Related, Text{"ja": "目的「{1}」では、仮名にしたデータだけを使います。", "en": "Purpose “{1}” uses data under a pseudonym only."}, storedSame, consentsStand},
	RetentionShorter: {Related, Text{"ja": "「{1}」の保存期間を{2}日から{3}日に縮めます。", "en": "“{1}” is kept for {3} days instead of {2}."}, storedShorter, consentsStand},
	IngestDenied:     {Related, Text{"ja": "「{1}」を受け付けなくなります。", "en": "“{1}” is no longer accepted."}, storedUntilEnd, consentsStand},
	JurisdictionGone: {Related, Text{"ja": "地域区分「{1}」の定めをなくします。", "en": "Jurisdiction “{1}” is no longer served."}, storedSame, consentsStand},
	ProcessorRemoved: {Related, Text{"ja": "「{1}」への委託をやめます。", "en": "“{1}” is no longer a processor."}, storedSame, consentsStand},
	ProcessorNarrow:  {Related, Text{"ja": "「{1}」への委託の範囲を狭めます。", "en": "Processor “{1}” is entrusted with less."}, storedSame, consentsStand},
	RecipientRemoved: {Related, Text{"ja": "「{1}」へ送らなくなります。", "en": "Nothing is sent to “{1}” any more."}, storedSame, consentsStand},
	RecipientNarrow:  {Related, Text{"ja": "「{1}」へ送る範囲を狭めます。", "en": "“{1}” is sent less."}, storedSame, consentsStand},

	PurposeAdded:      {Related, Text{"ja": "目的「{1}」を加えます。", "en": "Purpose “{1}” is new."}, storedFresh, consentsAsk},
	CategoryAdded:     {Related, Text{"ja": "目的「{1}」で「{2}」も使います。", "en": "Purpose “{1}” uses “{2}” too."}, storedMore, consentsStand},
	BasisOptOut:       {Related, Text{"ja": "目的「{1}」の根拠が同意から、断らないかぎり使う方式に変わります（{2}）。", "en": "Purpose “{1}” rests on opt-out instead of consent ({2})."}, storedThen, consentsOptOut},
	GPCAllowed:        {Related, Text{"ja": "目的「{1}」は、GPC信号だけでは拒否とみなさなくなります。", "en": "The GPC signal no longer denies purpose “{1}”."}, storedThen, consentsSignal},
	ParentChanged:     {Related, Text{"ja": "目的「{1}」の親が変わります。", "en": "The parent of purpose “{1}” changes."}, storedSame, consentsFamily},
	TCFChanged:        {Related, Text{"ja": "目的「{1}」に対応するTCFの目的が変わります。", "en": "The TCF purposes of “{1}” change."}, storedSame, consentsImport},
	RetentionLonger:   {Related, Text{"ja": "「{1}」の保存期間を{2}日から{3}日に延ばします。", "en": "“{1}” is kept for {3} days instead of {2}."}, storedLonger, consentsStand},
	IngestAccepted:    {Related, Text{"ja": "「{1}」を受け付けるようになります。", "en": "“{1}” is accepted."}, storedSame, consentsStand},
	SensitivityChange: {Related, Text{"ja": "「{1}」の区分（個人情報・利用者情報）が変わります。", "en": "“{1}” is classed otherwise (personal information or user information)."}, storedSame, consentsStand},
	JurisdictionAdded: {Related, Text{"ja": "地域区分「{1}」の定めを加えます。", "en": "Jurisdiction “{1}” is served."}, storedSame, consentsStand},
	ProcessorAdded:    {Related, Text{"ja": "「{1}」に取り扱いを委託します。", "en": "“{1}” becomes a processor."}, storedSame, consentsStand},
	ProcessorWidened:  {Related, Text{"ja": "「{1}」への委託の範囲・期限・地域が変わります。", "en": "What processor “{1}” is entrusted with, until when or where changes."}, storedSame, consentsStand},
	RecipientAdded:    {Related, Text{"ja": "「{1}」へ送るようになります。", "en": "Data is sent to “{1}”."}, storedSame, consentsStand},
	RecipientWidened:  {Related, Text{"ja": "「{1}」へ送る範囲または根拠が変わります。", "en": "What “{1}” is sent, or on what ground, changes."}, storedSame, consentsStand},

	PurposeReplaced:   {Unrelated, Text{"ja": "目的「{1}」が関連のない別の目的に変わります（ビット{2}→{3}）。", "en": "Purpose “{1}” becomes an unrelated one (bit {2} to {3})."}, storedFresh, consentsAskAgain},
	ConsentStretched:  {Unrelated, Text{"ja": "同意にもとづく目的「{1}」で「{2}」も使います。", "en": "Purpose “{1}”, which rests on consent, uses “{2}” too."}, storedForbidden, consentsStretched},
	ChoiceRemoved:     {Unrelated, Text{"ja": "目的「{1}」を断れなくなります（{2}：{3}）。", "en": "Purpose “{1}” leaves no choice any more ({2}: {3})."}, storedThen, consentsLost},
	PseudonymRemoved:  {Unrelated, Text{"ja": "目的「{1}」で、仮名にしていないデータも使います。", "en": "Purpose “{1}” uses data without the pseudonym."}, storedForbidden, consentsStretched},
	RecipientUnagreed: {Unrelated, Text{"ja": "同意にもとづいて「{1}」へ新たに送ります（目的「{2}」）。", "en": "By consent, “{1}” is sent what it was not sent before, for purpose “{2}”."}, storedForbidden, consentsStretched},
}

// Change is one difference between two versions. What, Stored and Consents are texts by language: what it is, and what
// it does to stored data and to the consents and refusals that stand.
type Change struct {
	Place    string `json:"place"` // as a JSON Pointer, with ids for the elements of lists
	Kind     Kind   `json:"kind"`
	Class    Class  `json:"class"`
	What     Text   `json:"what"`
	Stored   Text   `json:"stored"`
	Consents Text   `json:"consents"`
}

// Diff is everything in which one version of a policy differs from another.
type Diff struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Declared Class    `json:"declared"`        // by the later version
	Class    Class    `json:"class,omitempty"` // the gravest of the changes; empty without any
	Reopens  []string `json:"reopens"`         // purposes whose consent is asked for again
	Changes  []Change `json:"changes"`
}

// Compare lists every change from a to b, in the order of b. Dates, the declared class and the order of lists are not
// changes.
func Compare(a, b *Pack) *Diff {
	d := &differ{a: a, b: b, diff: &Diff{From: a.Version, To: b.Version, Declared: b.Change, Reopens: []string{}, Changes: []Change{}}}
	d.wording("/title", Text{"ja": "表題", "en": "The title"}, a.Title, b.Title)
	d.wording("/notice", Text{"ja": "同意画面", "en": "The consent banner"}, a.Notice, b.Notice)
	if a.Location.String() != b.Location.String() {
		d.add(TimeZone, "/time_zone", same(a.Location.String()), same(b.Location.String()))
	}
	d.jurisdictions()
	d.purposes()
	d.categories()
	d.processors()
	d.recipients()
	return d.diff
}

type differ struct {
	a, b *Pack
	diff *Diff
}

func same(s string) Text { return Text{"ja": s, "en": s} }

func (d *differ) add(kind Kind, place string, words ...Text) {
	r := rules[kind]
	what := Text{}
	for language, text := range r.what {
		var pairs []string
		for i, w := range words {
			pairs = append(pairs, "{"+strconv.Itoa(i+1)+"}", w[language])
		}
		what[language] = strings.NewReplacer(pairs...).Replace(text)
	}
	d.diff.Changes = append(d.diff.Changes, Change{Place: place, Kind: kind, Class: r.class, What: what, Stored: r.stored, Consents: r.consents})
	if r.class.exceeds(d.diff.Class) {
		d.diff.Class = r.class
	}
}

func (d *differ) wording(place string, of Text, a, b any) {
	if !reflect.DeepEqual(a, b) {
		d.add(Wording, place, of)
	}
}

// of puts a label into a phrase by language.
func of(ja, en string, label Text) Text {
	return Text{"ja": strings.ReplaceAll(ja, "{}", label["ja"]), "en": strings.ReplaceAll(en, "{}", label["en"])}
}

func (d *differ) jurisdictions() {
	for _, j := range d.b.Jurisdictions {
		if !slices.Contains(d.a.Jurisdictions, j) {
			d.add(JurisdictionAdded, "/jurisdictions/"+j, same(j))
		}
	}
	for _, j := range d.a.Jurisdictions {
		if !slices.Contains(d.b.Jurisdictions, j) {
			d.add(JurisdictionGone, "/jurisdictions/"+j, same(j))
		}
	}
}

func (d *differ) purposes() {
	for i := range d.b.Purposes {
		b := &d.b.Purposes[i]
		a, known := d.a.Purpose(b.ID)
		switch {
		case !known:
			d.add(PurposeAdded, "/purposes/"+b.ID, b.Label)
		case a.Bit != b.Bit: // another purpose by the same name: there is nothing to compare
			d.add(PurposeReplaced, "/purposes/"+b.ID, b.Label, same(strconv.Itoa(int(a.Bit))), same(strconv.Itoa(int(b.Bit))))
			d.diff.Reopens = append(d.diff.Reopens, b.ID)
		default:
			d.purpose(a, b)
		}
	}
	for i := range d.a.Purposes {
		if a := &d.a.Purposes[i]; !d.b.has(a.ID) {
			d.add(PurposeRemoved, "/purposes/"+a.ID, a.Label)
		}
	}
}

func (d *differ) purpose(a, b *Purpose) {
	place := "/purposes/" + b.ID
	d.wording(place+"/label", of("目的「{}」の名前", "The label of purpose “{}”", b.Label), a.Label, b.Label)
	d.wording(place+"/text", of("目的「{}」の説明", "The text of purpose “{}”", b.Label), a.Text, b.Text)
	d.wording(place+"/article", of("目的「{}」の条番号", "The article of purpose “{}”", b.Label), a.Article, b.Article)
	d.bases(a, b, place)
	for _, c := range core.Categories() {
		switch had, has := a.Categories.Has(c), b.Categories.Has(c); {
		case has && !had && (a.needsConsent() || b.needsConsent()):
			d.add(ConsentStretched, place+"/categories/"+c.String(), b.Label, d.label(c))
		case has && !had:
			d.add(CategoryAdded, place+"/categories/"+c.String(), b.Label, d.label(c))
		case had && !has:
			d.add(CategoryRemoved, place+"/categories/"+c.String(), b.Label, d.label(c))
		}
	}
	if a.GPCDenied != b.GPCDenied {
		d.add(either(b.GPCDenied, GPCDenied, GPCAllowed), place+"/gpc", b.Label)
	}
	if a.Pseudonymised != b.Pseudonymised {
		d.add(either(b.Pseudonymised, Pseudonymised, PseudonymRemoved), place+"/pseudonymised", b.Label)
	}
	if a.Parent != b.Parent {
		d.add(ParentChanged, place+"/parent", b.Label)
	}
	if !sameSet(a.Mappings.TCF, b.Mappings.TCF) {
		d.add(TCFChanged, place+"/mappings/tcf", b.Label)
	}
	if a.Mappings.DPV != b.Mappings.DPV {
		d.add(ForeignName, place+"/mappings/dpv", b.Label, same("DPV"))
	}
	if a.Mappings.Fideslang != b.Mappings.Fideslang {
		d.add(ForeignName, place+"/mappings/fideslang", b.Label, same("Fideslang"))
	}
}

func either(condition bool, yes, no Kind) Kind {
	if condition {
		return yes
	}
	return no
}

func (d *differ) bases(a, b *Purpose, place string) {
	for _, j := range d.b.Jurisdictions {
		from, served := a.Basis[j]
		to := b.Basis[j]
		if !served || from == to {
			continue
		}
		where := place + "/basis/" + j
		step := Text{"ja": basisLabels[from]["ja"] + "→" + basisLabels[to]["ja"], "en": basisLabels[from]["en"] + " to " + basisLabels[to]["en"]}
		switch {
		case to > from:
			d.add(BasisStricter, where, b.Label, same(j), step)
		case to == core.OptOut:
			d.add(BasisOptOut, where, b.Label, same(j))
		default:
			d.add(ChoiceRemoved, where, b.Label, same(j), step)
		}
	}
}

// basisLabels are the bases as a reader sees them.
var basisLabels = map[core.Basis]Text{
	core.Notified: {"ja": "通知・公表", "en": "notified"},
	core.OptOut:   {"ja": "オプトアウト", "en": "opt-out"},
	core.Consent:  {"ja": "同意", "en": "consent"},
}

// BasisLabel is a basis as a reader sees it.
func BasisLabel(b core.Basis) Text { return basisLabels[b] }

// label is what the later version calls a category.
func (d *differ) label(c core.Category) Text {
	said, ok := d.b.Category(c)
	if !ok {
		return same(c.String())
	}
	return said.Label
}

func (d *differ) categories() {
	for i := range d.b.Categories {
		b := &d.b.Categories[i]
		a, ok := d.a.Category(b.Category)
		if !ok {
			continue // a pack names every category, or it does not load
		}
		place := "/categories/" + b.Category.String()
		d.wording(place+"/label", of("項目「{}」の名前", "The label of category “{}”", b.Label), a.Label, b.Label)
		d.wording(place+"/article", of("項目「{}」の条番号", "The article of category “{}”", b.Label), a.Article, b.Article)
		days := func(t time.Duration) Text { return same(strconv.Itoa(int(t / (24 * time.Hour)))) }
		switch {
		case b.Retention < a.Retention:
			d.add(RetentionShorter, place+"/retention_days", b.Label, days(a.Retention), days(b.Retention))
		case b.Retention > a.Retention:
			d.add(RetentionLonger, place+"/retention_days", b.Label, days(a.Retention), days(b.Retention))
		}
		if a.Denied != b.Denied {
			d.add(either(b.Denied, IngestDenied, IngestAccepted), place+"/ingest", b.Label)
		}
		if a.Personal != b.Personal {
			d.add(SensitivityChange, place+"/class", b.Label)
		}
	}
}

func (d *differ) processors() {
	for i := range d.b.Processors {
		b := &d.b.Processors[i]
		place := "/processors/" + b.ID
		a, known := d.a.Processor(b.ID)
		if !known {
			d.add(ProcessorAdded, place, b.Name)
			continue
		}
		d.wording(place+"/name", of("委託先「{}」の名称", "The name of processor “{}”", b.Name), a.Name, b.Name)
		if a.Contract != b.Contract || !a.Signed.Equal(b.Signed) || !a.Reviewed.Equal(b.Reviewed) {
			d.add(ProcessorRecord, place, b.Name)
		}
		was, is := scope{a.Categories, d.carry(a.Purposes), a.Hosts}, scope{b.Categories, b.Purposes, b.Hosts}
		switch {
		case is.exceeds(was) || b.Expires.After(a.Expires) || a.Region != b.Region:
			d.add(ProcessorWidened, place, b.Name)
		case was.exceeds(is) || b.Expires.Before(a.Expires):
			d.add(ProcessorNarrow, place, b.Name)
		}
	}
	for i := range d.a.Processors {
		if _, stays := d.b.Processor(d.a.Processors[i].ID); !stays {
			d.add(ProcessorRemoved, "/processors/"+d.a.Processors[i].ID, d.a.Processors[i].Name)
		}
	}
}

// scope is how much of what for what may go where.
type scope struct {
	categories core.CategorySet
	purposes   core.PurposeSet
	hosts      []string
}

// exceeds reports whether s lets something through that t does not.
func (s scope) exceeds(t scope) bool {
	return s.categories&^t.categories != 0 || s.purposes&^t.purposes != 0 ||
		slices.ContainsFunc(s.hosts, func(h string) bool { return !slices.Contains(t.hosts, h) })
}

// carry is the set in the bits of the later version: who handled data for a purpose goes on doing so when it moves.
func (d *differ) carry(purposes core.PurposeSet) (carried core.PurposeSet) {
	for i := range d.a.Purposes {
		p := &d.a.Purposes[i]
		if !purposes.Has(p.Bit) {
			continue
		}
		if later, ok := d.b.Purpose(p.ID); ok {
			p = later
		}
		carried = carried.With(p.Bit)
	}
	return carried
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func (d *differ) recipients() {
	for i := range d.b.Recipients {
		b := &d.b.Recipients[i]
		a, known := d.a.recipient(b.ID)
		if !known {
			d.recipient(&Recipient{}, b, RecipientAdded)
			continue
		}
		place := "/recipients/" + b.ID
		d.wording(place+"/name", of("送信先「{}」の名称", "The name of recipient “{}”", b.Name), a.Name, b.Name)
		d.wording(place+"/sent/text", of("送信先「{}」に送るものの説明", "The text of what “{}” is sent", b.Name), a.SentText, b.SentText)
		d.wording(place+"/use", of("送信先「{}」の利用目的の説明", "The text of what “{}” is used for", b.Name),
			[]Text{a.OperatorUse, a.RecipientUse}, []Text{b.OperatorUse, b.RecipientUse})
		d.wording(place+"/policy_url", of("送信先「{}」のポリシーの場所", "The place of the policy of “{}”", b.Name), a.PolicyURL, b.PolicyURL)
		d.wording(place+"/opt_out", of("送信先「{}」の停止方法の案内", "The opt-out of “{}”", b.Name),
			[]any{a.OptOutURL, a.OptOutText}, []any{b.OptOutURL, b.OptOutText})
		d.wording(place+"/justification", of("送信先「{}」の根拠の記録", "The record of the ground of “{}”", b.Name),
			[]any{a.Justification, a.ConsentDifficult}, []any{b.Justification, b.ConsentDifficult})
		d.recipient(a, b, RecipientWidened)
	}
	for i := range d.a.Recipients {
		if _, stays := d.b.recipient(d.a.Recipients[i].ID); !stays {
			d.add(RecipientRemoved, "/recipients/"+d.a.Recipients[i].ID, d.a.Recipients[i].Name)
		}
	}
}

func (p *Pack) recipient(id string) (*Recipient, bool) {
	for i := range p.Recipients {
		if p.Recipients[i].ID == id {
			return &p.Recipients[i], true
		}
	}
	return nil, false
}

// recipient compares what may be sent. A recipient by consent is part of what was agreed to: for a purpose that goes
// on, whose consents stand, it may not get more.
func (d *differ) recipient(a, b *Recipient, more Kind) {
	place := "/recipients/" + b.ID
	was, is := scope{a.Sent, d.carry(a.Purposes), a.Hosts}, scope{b.Sent, b.Purposes, b.Hosts}
	otherwise := a.Kind != b.Kind || a.Ground != b.Ground || a.TreatedAs != b.TreatedAs || a.Processor != b.Processor
	switch {
	case !otherwise && !is.exceeds(was):
		if was.exceeds(is) {
			d.add(RecipientNarrow, place, b.Name)
		}
		return
	case b.Effective() == ByConsent:
		unagreed := false
		for i := range d.b.Purposes {
			p := &d.b.Purposes[i]
			before, known := d.a.Purpose(p.ID)
			goesOn := known && before.Bit == p.Bit && b.Purposes.Has(p.Bit)
			agreed := a.Purposes.Has(p.Bit) && a.Effective() == ByConsent && a.Kind == b.Kind && b.Sent&^a.Sent == 0
			if goesOn && !agreed {
				d.add(RecipientUnagreed, place+"/purposes/"+p.ID, b.Name, p.Label)
				unagreed = true
			}
		}
		if unagreed {
			return
		}
	}
	d.add(more, place, b.Name)
}
