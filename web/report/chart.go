package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// Pictures are drawn here, as SVG that needs no script and no style of its own. Lengths along the page are shares of its
// width, and only the line itself is stretched, so that texts keep their size on a phone. Every picture has a table of
// the same values below it.

// Measures of the pictures, in CSS pixels.
const (
	plotTop    = 22  // room for the topmost label
	plotHeight = 150 // of the plot
	axisHeight = 26  // room for the labels below
	barPitch   = 42  // from one bar to the next
	wasPitch   = 52  // the same where each has the bar of the earlier period below it
	barLabel   = 15  // baseline of a bar's label
	barTop     = 22
	barHeight  = 12
	wasTop     = 37
	wasHeight  = 6
	maxBars    = 10
	maxLines   = 6
	// Columns of a bar's label and its value together on a phone, and of the label where there is more room.
	phoneWidth = 36
	deskWidth  = 90
)

// The plot's own coordinates, before it is stretched.
const (
	plotUnits = 1000
	plotScale = 100
	plotLeft  = 0.13 // share of the width where the plot begins: before it, the labels of the heights
)

// point is a step of a series. NaN is no value.
type point struct {
	label       string
	now, before float64
}

// lineChart is a series.
type lineChart struct {
	ID, Title, Text      string
	NowText, WasText     string // of the legend
	Compared             bool
	Area, Now, Dots, Was string // paths in the plot's own coordinates
	Grid                 []tick
	Axis                 []tick
	Top, Plot            int // of the plot
	Height, Baseline     int
	Units, Scale         int
	Left, Width          string
}

// tick is a label with its place: Y in pixels, X as a share of the width.
type tick struct {
	X, Anchor, Label string
	Y, TextY         int
}

// drawLine draws a series. The text says in words what the line shows.
func drawLine(id, title, text string, points []point, write func(float64) string) *lineChart {
	c := &lineChart{
		ID: id, Title: title, Text: text, Top: plotTop, Plot: plotHeight, Height: plotTop + plotHeight + axisHeight,
		Baseline: plotTop + plotHeight + 18, Units: plotUnits, Scale: plotScale,
		Left: percentage(plotLeft), Width: percentage(1 - plotLeft),
	}
	highest := 0.0
	for _, p := range points {
		for _, y := range []float64{p.now, p.before} {
			if y > highest { // never true of NaN
				highest = y
			}
		}
		c.Compared = c.Compared || !math.IsNaN(p.before)
	}
	top := ceiling(highest)
	x := func(i int) float64 {
		if len(points) == 1 {
			return plotUnits / 2
		}
		return float64(i) * plotUnits / float64(len(points)-1)
	}
	y := func(value float64) float64 { return plotScale * (1 - value/top) }
	now := make([]float64, len(points))
	before := make([]float64, len(points))
	for i, p := range points {
		now[i], before[i] = p.now, p.before
	}
	c.Now, c.Area, c.Dots = trace(now, x, y)
	c.Was, _, _ = trace(before, x, y)
	for _, share := range []float64{1, 0.5, 0} {
		at := plotTop + int(math.Round(plotHeight*(1-share)))
		c.Grid = append(c.Grid, tick{Y: at, TextY: at - 5, Label: write(top * share)})
	}
	c.Axis = axis(points)
	return c
}

// axis labels the first step, the last and, where there is room, the one between them.
func axis(points []point) []tick {
	last := len(points) - 1
	across := func(share float64) string { return percentage(plotLeft + share*(1-plotLeft)) }
	if last == 0 {
		return []tick{{X: across(0.5), Anchor: "middle", Label: points[0].label}}
	}
	ticks := []tick{{X: across(0), Anchor: "start", Label: points[0].label}}
	if last >= 2 {
		middle := last / 2
		ticks = append(ticks, tick{X: across(float64(middle) / float64(last)), Anchor: "middle", Label: points[middle].label})
	}
	return append(ticks, tick{X: "100%", Anchor: "end", Label: points[last].label})
}

func percentage(share float64) string {
	return strconv.FormatFloat(math.Round(share*1e4)/100, 'f', -1, 64) + "%"
}

// trace draws a line through values, interrupted where there is none; the area below it; and a dot for every value
// where there are few, or else for those that stand alone.
func trace(values []float64, x func(int) float64, y func(float64) float64) (line, area, dots string) {
	var l, a, d strings.Builder
	const few = 31
	for i := 0; i < len(values); i++ {
		if math.IsNaN(values[i]) {
			continue
		}
		first := i
		for ; i < len(values) && !math.IsNaN(values[i]); i++ {
			command := "L"
			if i == first {
				command = "M"
				fmt.Fprintf(&a, "M%.1f %d", x(i), plotScale)
			}
			fmt.Fprintf(&l, "%s%.1f %.2f", command, x(i), y(values[i]))
			fmt.Fprintf(&a, "L%.1f %.2f", x(i), y(values[i]))
			if len(values) <= few {
				fmt.Fprintf(&d, "M%.1f %.2fh.01", x(i), y(values[i]))
			}
		}
		fmt.Fprintf(&a, "L%.1f %dZ", x(i-1), plotScale)
		if i == first+1 && len(values) > few {
			fmt.Fprintf(&d, "M%.1f %.2fh.01", x(first), y(values[first]))
		}
	}
	return l.String(), a.String(), d.String()
}

// ceiling is the next round number whose half is round too.
func ceiling(highest float64) float64 {
	if !(highest > 0) || math.IsInf(highest, 0) {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(highest)))
	for _, times := range []float64{1, 2, 3, 4, 5, 6, 8, 10} {
		if round := unit * times; highest <= round*(1+1e-9) {
			if round >= 1 && round < 2 && highest == math.Trunc(highest) {
				return 2
			}
			return round
		}
	}
	return unit * 10
}

// barChart compares rows.
type barChart struct {
	ID, Title, Text  string
	NowText, WasText string // of the legend
	Compared         bool
	Height           int
	Bars             []bar
}

// bar is a row. Widths are shares of the picture's.
type bar struct {
	Label, Short      string // Short: on a phone, where Label would run into Value
	Value             string
	Width, Was        string
	LabelY, Y, WasY   int
	Thick, WasThick   int
	now, before       float64
	hasBefore, hasNow bool
}

// drawBars draws rows in their order. Negative values have no length.
func drawBars(id, title, text string, bars []bar) *barChart {
	c := &barChart{ID: id, Title: title, Text: text}
	highest := 0.0
	for i := range bars {
		highest = max(highest, bars[i].now, bars[i].before)
		c.Compared = c.Compared || bars[i].hasBefore
	}
	pitch := barPitch
	if c.Compared {
		pitch = wasPitch
	}
	for i := range bars {
		b := &bars[i]
		b.LabelY, b.Y, b.WasY = i*pitch+barLabel, i*pitch+barTop, i*pitch+wasTop
		b.Thick, b.WasThick = barHeight, wasHeight
		b.Width, b.Was = "0%", ""
		if highest > 0 {
			b.Width = percentage(max(b.now, 0) / highest)
			if b.hasBefore {
				b.Was = percentage(max(b.before, 0) / highest)
			}
		}
		b.Short = shortened(b.Label, max(phoneWidth-columnsOf(b.Value), 12))
		b.Label = shortened(b.Label, deskWidth)
	}
	c.Bars, c.Height = bars, len(bars)*pitch
	return c
}

// shortened cuts a text to so many columns, of which a Japanese character takes two, and says with an ellipsis that it
// did.
func shortened(s string, columns int) string {
	if columnsOf(s) <= columns {
		return s
	}
	used := 1
	for i, r := range s {
		if used += columnsOfRune(r); used > columns {
			return s[:i] + "…"
		}
	}
	return s
}

func columnsOf(s string) (columns int) {
	for _, r := range s {
		columns += columnsOfRune(r)
	}
	return columns
}

func columnsOfRune(r rune) int {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	if unicode.Is(unicode.Mn, r) {
		return 0
	}
	return 1
}

// starts are the steps of an interval from the one that holds from up to to; nil for an interval that is none, and for
// more steps than a picture can show.
func starts(from, to time.Time, interval string) []time.Time {
	const most = 3000
	location := from.Location()
	midnight := func(t time.Time, days int) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, location)
	}
	var first time.Time
	var next func(time.Time) time.Time
	switch interval {
	case "hour":
		first = from.Add(-time.Duration(from.Minute())*time.Minute - time.Duration(from.Second())*time.Second - time.Duration(from.Nanosecond()))
		next = func(t time.Time) time.Time { return t.Add(time.Hour) }
	case "day":
		first = midnight(from, 0)
		next = func(t time.Time) time.Time { return midnight(t, 1) }
	case "week":
		first = midnight(from, -(int(from.Weekday())+6)%7)
		next = func(t time.Time) time.Time { return midnight(t, 7) }
	case "month":
		first = time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, location)
		next = func(t time.Time) time.Time {
			return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, location)
		}
	default:
		return nil
	}
	var all []time.Time
	for t := first; t.Before(to); t = next(t) {
		if len(all) == most {
			return nil
		}
		all = append(all, t)
	}
	return all
}
