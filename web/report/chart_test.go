package report

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"
)

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func TestALineIsInterruptedWhereThereIsNoValue(t *testing.T) {
	nothing := math.NaN()
	c := drawLine("id", "title", "text", []point{{"a", 10, nothing}, {"b", 20, 5}, {"c", nothing, nothing}, {"d", 0, nothing}}, plain)
	if c.Now != "M0.0 50.00L333.3 0.00M1000.0 100.00" {
		t.Errorf("now: %s", c.Now)
	}
	if c.Area != "M0.0 100L0.0 50.00L333.3 0.00L333.3 100ZM1000.0 100L1000.0 100.00L1000.0 100Z" {
		t.Errorf("area: %s", c.Area)
	}
	if c.Was != "M333.3 75.00" || !c.Compared {
		t.Errorf("was: %s", c.Was)
	}
	if c.Dots != "M0.0 50.00h.01M333.3 0.00h.01M1000.0 100.00h.01" {
		t.Errorf("dots: %s", c.Dots)
	}
	if c.Grid[0].Label != "20" || c.Grid[1].Label != "10" || c.Grid[2].Label != "0" || c.Grid[0].Y >= c.Grid[1].Y || c.Grid[1].Y >= c.Grid[2].Y {
		t.Errorf("%v", c.Grid)
	}
	if len(c.Axis) != 3 || c.Axis[0].Label != "a" || c.Axis[1].Label != "b" || c.Axis[2].Label != "d" || c.Axis[2].X != "100%" {
		t.Errorf("%v", c.Axis)
	}
	if one := drawLine("id", "t", "t", []point{{"a", 3, nothing}}, plain); one.Compared || one.Now != "M500.0 0.00" || len(one.Axis) != 1 || one.Was != "" {
		t.Errorf("%+v", one)
	}
}

func TestOfManyValuesOnlyTheLonelyHaveDots(t *testing.T) {
	points := make([]point, 50)
	for i := range points {
		points[i] = point{"", float64(i), math.NaN()}
	}
	points[10].now, points[12].now = math.NaN(), math.NaN()
	c := drawLine("id", "t", "t", points, plain)
	if strings.Count(c.Dots, "M") != 1 || !strings.HasPrefix(c.Dots, "M224.5 ") {
		t.Errorf("%s", c.Dots)
	}
}

var number = regexp.MustCompile(`-?\d+(?:\.\d+)?`)

func TestALineStaysWithinItsPlot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.OneOf(rapid.Just(math.NaN()), rapid.Float64Range(0, 1e15), rapid.Float64Range(0, 3)), 1, 60).Draw(t, "values")
		points := make([]point, len(values))
		for i, v := range values {
			points[i] = point{"x", v, values[len(values)-1-i]}
		}
		c := drawLine("id", "t", "t", points, plain)
		for _, path := range []string{c.Now, c.Area, c.Was} {
			all := number.FindAllString(path, -1)
			for i, text := range all {
				v, err := strconv.ParseFloat(text, 64)
				most := float64(plotUnits)
				if i%2 == 1 {
					most = plotScale
				}
				if err != nil || v < 0 || v > most {
					t.Fatalf("%s in %s", text, path)
				}
			}
		}
	})
}

func TestTheScaleEndsAtARoundNumber(t *testing.T) {
	for highest, want := range map[float64]float64{0: 1, -3: 1, 1: 2, 2: 2, 7: 8, 9: 10, 10: 10, 11: 20, 101: 200, 250: 300, 0.031: 0.04, 999: 1000, 1e9: 1e9, 5.5: 6} {
		if got := ceiling(highest); math.Abs(got-want) > want*1e-9 {
			t.Errorf("%v: %v, want %v", highest, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		highest := rapid.Float64Range(1e-12, 1e60).Draw(t, "highest")
		if top := ceiling(highest); top < highest*(1-1e-9) || top > highest*2.0001 && top > 2 {
			t.Errorf("%v: %v", highest, top)
		}
	})
}

func TestBarsAreAsLongAsTheirValues(t *testing.T) {
	c := drawBars("id", "t", "t", []bar{
		{Label: "a", Value: "40", now: 40, hasNow: true}, {Label: strings.Repeat("長い", 30), Value: "10,000（100.0%）", now: 10, before: 50, hasBefore: true}, {Label: "c", Value: "–"}, {Label: "d", now: -4, Value: "−4"},
	})
	if c.Bars[0].Width != "80%" || c.Bars[1].Width != "20%" || c.Bars[1].Was != "100%" || c.Bars[2].Width != "0%" || c.Bars[2].Was != "" || c.Bars[3].Width != "0%" || !c.Compared {
		t.Errorf("%+v", c)
	}
	if short := c.Bars[1].Short; columnsOf(short)+columnsOf(c.Bars[1].Value) > phoneWidth || !strings.HasSuffix(short, "…") || columnsOf(c.Bars[1].Label) > deskWidth || columnsOf(c.Bars[1].Label) < deskWidth-2 {
		t.Errorf("%q", short)
	}
	if last := c.Bars[3]; last.WasY+last.WasThick > c.Height || c.Height != 4*wasPitch {
		t.Errorf("%d of %d", last.WasY, c.Height)
	}
	if none := drawBars("id", "t", "t", []bar{{}, {}}); none.Bars[0].Width != "0%" || none.Compared || none.Height != 2*barPitch {
		t.Errorf("%+v", none)
	}
}

func TestALabelIsCutBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		text    string
		columns int
		want    string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"ｱｲｳ", 3, "ｱｲｳ"}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"}, {"", 3, ""}} {
		if got := shortened(c.text, c.columns); got != c.want {
			t.Errorf("%q in %d: %q, want %q", c.text, c.columns, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text, most := rapid.String().Draw(t, "text"), rapid.IntRange(1, 40).Draw(t, "columns")
		if got := shortened(text, most); columnsOf(got) > most {
			t.Errorf("%q takes %d", got, columnsOf(got))
		}
	})
}

func TestStepsFollowTheCalendar(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	at := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, newYork)
	}
	if all := starts(at(11, 1, 0), at(11, 2, 0), "hour"); len(all) != 25 {
		t.Errorf("the day on which daylight saving ends has %d hours", len(all))
	}
	if all := starts(at(3, 8, 0), at(3, 9, 0), "hour"); len(all) != 23 {
		t.Errorf("the day on which it begins has %d hours", len(all))
	}
	if all := starts(at(10, 30, 5), at(11, 3, 1), "day"); len(all) != 5 || !all[0].Equal(at(10, 30, 0)) || !all[4].Equal(at(11, 3, 0)) {
		t.Errorf("%v", all)
	}
	if all := starts(at(11, 1, 0), at(11, 3, 0), "week"); len(all) != 2 || !all[0].Equal(at(10, 26, 0)) || !all[1].Equal(at(11, 2, 0)) {
		t.Errorf("weeks begin on Monday: %v", all)
	}
	if all := starts(at(1, 31, 0), at(4, 1, 0), "month"); len(all) != 3 || !all[2].Equal(at(3, 1, 0)) {
		t.Errorf("%v", all)
	}
	if starts(at(1, 1, 0), at(12, 31, 0), "hour") != nil || starts(at(1, 1, 0), at(1, 2, 0), "minute") != nil {
		t.Error("too many steps, or ones that are not known")
	}
}

func TestAnHourThatComesTwiceIsToldApart(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	first := time.Date(2026, 11, 1, 0, 0, 0, 0, newYork).Add(time.Hour)
	v := voice{language: "en", texts: texts(t)["en"]}
	for after, want := range []string{"1 November 2026, 01:00 (UTC-04:00)", "1 November 2026, 01:00 (UTC-05:00)", "1 November 2026, 02:00"} {
		if got := v.at(first.Add(time.Duration(after)*time.Hour), "hour", false); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestNumbersAreExact(t *testing.T) {
	v := voice{language: "ja", texts: texts(t)["ja"]}
	for text, want := range map[string]string{
		"0": "0", "999": "999", "1000": "1,000", "-1234567.5": "−1,234,567.50", "12345678901234567890.123": "12,345,678,901,234,567,890.12", "3.00": "3", "2.999": "3",
	} {
		n, ok := decimalOf(json.Number(text))
		if got := v.number(n); !ok || got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for code, want := range map[string]string{"JPY": "1,235円", "USD": "$1,234.57", "EUR": "€1,234.57", "KWD": "KWD\u00a01,234.568", "jpy": "1,235円", "": "1,234.57", "nonsense": "1,234.57"} {
		if got := v.money(decimal.RequireFromString("1234.5678"), code); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
	v = voice{language: "en", texts: texts(t)["en"]}
	if got := v.money(decimal.RequireFromString("-5"), "USD"); got != "−$5.00" {
		t.Error(got)
	}
	for text, want := range map[string]string{"0": "0 s", "0.25": "0.3 s", "59.4": "59.4 s", "60": "1 min 0 s", "3599": "59 min 59 s", "3600": "1 h 0 min", "4000000": "1,111 h 6 min"} {
		if got := v.duration(decimal.RequireFromString(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{"0.25": "+25.0%", "-0.3": "−30.0%", "0": "0.0%", "12": "+1,200.0%"} {
		if got := v.change(decimal.RequireFromString(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, value := range []any{nil, true, "", "x", "1,5", "--1", "1.", ".5", json.Number("1e999"), json.Number("1e-999"), strings.Repeat("9", 99)} {
		if n, ok := decimalOf(value); ok {
			t.Errorf("%v is %s", value, n)
		}
	}
}

func TestARequestPassesThroughTheWholeAPI(t *testing.T) {
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		if r.URL.Query().Get("quiet") == "" {
			w.WriteHeader(http.StatusTeapot)
			w.WriteHeader(http.StatusOK)
		}
		w.(http.Flusher).Flush()
		fmt.Fprint(w, r.Method, " ", r.URL.Path, " ", r.URL.RawQuery, " ", r.RequestURI, " ", r.Header.Get("Authorization"), " ", r.Header.Get("Accept-Language"), " ", r.Context().Value(spoken{}))
	})
	status, body := Through(api)(context.WithValue(t.Context(), spoken{}, "ja"), "k", "/v1/x", url.Values{"a": {"1&2"}})
	if status != http.StatusTeapot || string(body) != "GET /v1/x a=1%262 /v1/x?a=1%262 Bearer k ja ja" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := Through(api)(t.Context(), "k", "/v1/x", url.Values{"quiet": {"1"}}); status != http.StatusOK || !strings.HasSuffix(string(body), "Bearer k  <nil>") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := Through(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))(t.Context(), "k", "/v1/x", nil); status != http.StatusOK {
		t.Errorf("%d", status)
	}
}
