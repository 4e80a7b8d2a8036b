package query

var (
	bounces     = column{name: "bounce_rate", kind: ratio, label: label{"直帰率", "Bounce rate"}}
	host        = column{name: "host", label: label{"ホスト", "Host"}}
	page        = column{name: "path", label: label{"ページ", "Page"}}
	viewed      = column{name: "views", kind: count, label: label{"表示回数", "Views"}}
	source      = column{name: "source", from: "source_name", label: label{"流入元", "Source"}}
	medium      = column{name: "medium", label: label{"メディア", "Medium"}}
	campaign    = column{name: "campaign", label: label{"キャンペーン", "Campaign"}}
	country     = column{name: "country", label: label{"国", "Country"}}
	searched    = column{name: "query", label: label{"検索した語", "Query"}}
	fruitless   = column{name: "without_result", kind: count, label: label{"結果なし", "Without result"}}
	impressions = column{name: "impressions", kind: count, label: label{"表示回数", "Impressions"}}
	viewable    = column{name: "viewable_impressions", from: "viewable", within: "impressions", kind: count, label: label{"視認可能な表示回数", "Viewable impressions"}}
	viewability = column{name: "viewability", kind: ratio, quotient: [2]string{"viewable_impressions", "impressions"}, label: label{"視認率", "Viewability"}}
	clicks      = column{name: "clicks", kind: count, label: label{"クリック", "Clicks"}}
	clickRate   = column{name: "rate", kind: ratio, quotient: [2]string{"clicks", "impressions"}, label: label{"クリック率", "Click rate"}}
	reach       = column{name: "reach", from: "people", kind: count, label: label{"リーチ", "Reach"}}
	kindOfEvent = column{name: "type", from: "kind", label: label{"イベントの種類", "Event type"}}
	events      = column{name: "events", kind: count, label: label{"イベント", "Events"}}
	asked       = column{name: "purpose", label: label{"利用目的", "Purpose"}}
)

// visits are the reports of where visits come from and with what, of what is searched for, bought and advertised, and of
// what consent lets through.
var visits = []report{
	{name: "entries", label: label{"閲覧開始ページ", "Entry pages"}, parts: []part{{file: "entries", reads: []string{"time", "host", "path"}, columns: []column{
		host, page, visitors, sessions, views, bounces,
	}, order: "sessions DESC, host, path"}}},
	{name: "exits", label: label{"離脱ページ", "Exit pages"}, parts: []part{{file: "exits", reads: []string{"time", "host", "path"}, columns: []column{
		host, page, visitors,
		{name: "exits", within: "views", kind: count, label: label{"離脱", "Exits"}},
		viewed,
		{name: "exit_rate", kind: ratio, quotient: [2]string{"exits", "views"}, label: label{"離脱率", "Exit rate"}},
	}, order: "exits DESC, host, path"}}},
	{name: "titles", label: label{"ページの題名", "Page titles"}, parts: []part{{file: "titles", reads: []string{"title"}, columns: []column{
		{name: "title", label: label{"ページの題名", "Page title"}}, viewed, visitors, sessions,
	}, order: "views DESC, title"}}},

	{name: "channels", label: label{"流入経路", "Channels"}, parts: []part{{file: "channels", reads: []string{"time", "channel"}, columns: []column{
		{name: "channel", label: label{"流入経路", "Channel"}}, visitors, sessions, views, bounces,
	}, order: "sessions DESC, channel"}}},
	{name: "referrers", label: label{"参照元", "Referrers"}, parts: []part{{file: "referrers", reads: []string{"time", "referrer_host"}, columns: []column{
		{name: "referrer", label: label{"参照元", "Referrer"}}, visitors, sessions, views, bounces,
	}, order: "sessions DESC, referrer"}}},
	{name: "campaigns", label: label{"キャンペーン", "Campaigns"}, parts: []part{{
		file: "campaigns", reads: []string{"time", "channel_source", "utm_medium", "utm_campaign"},
		columns: []column{source, medium, campaign, visitors, sessions, views, bounces}, order: "sessions DESC, source_name, medium, campaign",
	}}},
	{name: "campaign_contents", label: label{"キャンペーンの語と内容", "Campaign terms and contents"}, parts: []part{{
		file: "campaign_contents", reads: []string{"time", "channel_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"},
		columns: []column{
			source, medium, campaign,
			{name: "term", label: label{"キャンペーンの語", "Campaign term"}},
			{name: "content", label: label{"キャンペーンの内容", "Campaign content"}},
			visitors, sessions, views, bounces,
		}, order: "sessions DESC, source_name, medium, campaign, term, content",
	}}},

	{name: "countries", label: label{"国", "Countries"}, parts: []part{{file: "countries", reads: []string{"country"}, columns: []column{
		country, visitors, sessions, views,
	}, order: "people DESC, country"}}},
	{name: "regions", label: label{"国内の地域", "Regions"}, parts: []part{{file: "regions", reads: []string{"country", "region"}, columns: []column{
		country, {name: "region", label: label{"地域", "Region"}}, visitors, sessions, views,
	}, order: "people DESC, country, region"}}, fine: true},
	{name: "languages", label: label{"言語", "Languages"}, parts: []part{{file: "languages", reads: []string{"language"}, columns: []column{
		{name: "language", label: label{"言語", "Language"}}, visitors, sessions, views,
	}, order: "people DESC, language"}}},

	{name: "browsers", label: label{"ブラウザ", "Browsers"}, parts: []part{{file: "browsers", reads: []string{"browser", "browser_version"}, columns: []column{
		{name: "browser", label: label{"ブラウザ", "Browser"}},
		{name: "version", label: label{"バージョン", "Version"}},
		visitors, sessions, views,
	}, order: "people DESC, browser, version"}}},
	{name: "systems", label: label{"OS", "Operating systems"}, parts: []part{{file: "systems", reads: []string{"os", "os_version"}, columns: []column{
		{name: "os", label: label{"OS", "Operating system"}},
		{name: "os_version", label: label{"OSのバージョン", "Version of the operating system"}},
		visitors, sessions, views,
	}, order: "people DESC, os, os_version"}}},
	{name: "screens", label: label{"画面", "Screens"}, parts: []part{{file: "screens", reads: []string{"screen", "viewport"}, columns: []column{
		{name: "screen", label: label{"画面の大きさ", "Screen size"}},
		{name: "viewport_width", label: label{"表示領域の幅（px）", "Viewport width (px)"}},
		visitors, sessions, views,
	}, order: "people DESC, screen, viewport_width"}}},
	{name: "connections", label: label{"通信環境", "Connections"}, parts: []part{{file: "connections", reads: []string{"connection", "save_data"}, columns: []column{
		{name: "connection", label: label{"通信の状態", "Connection"}},
		{name: "save_data", label: label{"データ節約", "Data saver"}},
		visitors, sessions, views,
	}, order: "people DESC, connection, save_data"}}},
	{name: "preferences", label: label{"表示の設定", "Display preferences"}, parts: []part{{file: "preferences", reads: []string{"color_scheme", "reduced_motion"}, columns: []column{
		{name: "color_scheme", label: label{"配色", "Colour scheme"}},
		{name: "reduced_motion", label: label{"動きを減らす設定", "Reduced motion"}},
		visitors, sessions, views,
	}, order: "people DESC, color_scheme, reduced_motion"}}},

	{name: "searches_without_result", label: label{"結果のない検索", "Searches without result"}, parts: []part{{
		file: "searches_without_result", reads: []string{"search_query", "search_results"},
		columns: []column{
			searched, fruitless, users,
			{name: "searches", kind: count, label: label{"この語の検索回数", "Searches for it"}},
			{name: "share", kind: ratio, quotient: [2]string{"without_result", "searches"}, label: label{"結果のない割合", "Share without result"}},
		}, order: "without_result DESC, query",
	}}},

	{name: "orders", label: label{"注文", "Orders"}, parts: []part{{
		file: "orders", reads: []string{"order_key", "currency", "amount", "item_quantity"},
		columns: []column{
			currency, orders,
			{name: "buyers", from: "people", kind: count, label: label{"購入者", "Buyers"}},
			{name: "items", from: "sold", kind: count, label: label{"商品数", "Items"}},
			{name: "items_per_order", kind: ratio, quotient: [2]string{"items", "orders"}, label: label{"1注文あたりの商品数", "Items per order"}},
			revenue,
			{name: "mean_value", kind: money, label: label{"平均注文額", "Mean order value"}},
			{name: "median_value", kind: money, label: label{"注文額の中央値", "Median order value"}},
		}, order: "currency",
	}}},
	// Whether an event is a purchase is told by its type, which every purpose may see: reads makes it a matter of purchases.
	{name: "conversion", label: label{"購入率", "Conversion"}, parts: []part{{file: "conversion", reads: []string{"order_key"}, columns: []column{
		visitors,
		{name: "buyers", kind: count, label: label{"購入者", "Buyers"}},
		sessions,
		{name: "buying_sessions", within: "sessions", kind: count, label: label{"購入のあったセッション", "Sessions with a purchase"}},
		{name: "conversion_rate", kind: ratio, quotient: [2]string{"buying_sessions", "sessions"}, label: label{"購入率", "Conversion rate"}},
	}, order: "people"}}},

	{name: "ad_campaigns", label: label{"広告キャンペーン", "Ad campaigns"}, parts: []part{{
		file: "ad_campaigns", reads: []string{"ad_campaign", "ad_click", "ad_visible_ms"},
		columns: []column{
			{name: "ad_campaign", label: label{"広告キャンペーン", "Ad campaign"}},
			impressions, viewable, viewability, clicks, clickRate, reach,
		}, order: "impressions DESC, ad_campaign",
	}}},

	{name: "consent", label: label{"目的ごとの同意", "Consent by purpose"}, parts: []part{{file: "consent", columns: []column{
		asked,
		{name: "basis", label: label{"根拠", "Basis"}},
		{name: "decided", from: "people", kind: count, label: label{"選択した人", "People who chose"}},
		{name: "granted", within: "decided", kind: count, label: label{"同意", "Granted"}},
		{name: "not_granted", kind: count, label: label{"拒否・取り消し・期限切れ", "Refused, withdrawn or expired"}},
		{name: "opt_in_rate", kind: ratio, quotient: [2]string{"granted", "decided"}, label: label{"同意率", "Opt-in rate"}},
	}, order: "purpose, basis"}}, records: true, remarks: []string{"unrecorded_refusals"}},
	{name: "consent_choices", label: label{"同意の内訳", "Choices of consent"}, parts: []part{{file: "consent_choices", columns: []column{
		asked,
		{name: "state", from: "stands", label: label{"状態", "State"}},
		{name: "language", label: label{"表示した言語", "Language shown"}},
		{name: "surface", label: label{"選択した画面", "Where they chose"}},
		{name: "people", kind: count, label: label{"人数", "People"}},
	}, order: "purpose, people DESC, stands, language, surface"}}, records: true, remarks: []string{"unrecorded_refusals"}},
	{name: "drops", label: label{"保存しなかったイベント", "Events that were not stored"}, parts: []part{{file: "drop_series", columns: []column{
		{name: "time", from: "start", kind: clock, label: label{"期間の始まり", "Start"}},
		{name: "reason", label: label{"理由", "Reason"}},
		kindOfEvent, events,
	}, order: "start, reason, kind"}}, takes: []parameter{interval}, whole: true, records: true},
	{name: "coverage", label: label{"集計の範囲", "Coverage"}, parts: []part{{file: "coverage_types", columns: []column{
		kindOfEvent,
		{name: "outcome", label: label{"扱い", "Outcome"}},
		events,
	}, order: "kind, outcome"}}, records: true},
}
