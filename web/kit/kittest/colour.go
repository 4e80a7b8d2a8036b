package kittest

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// Colours are the colours of a style sheet that have two values, by their names: the relative luminance (WCAG 2.2) of
// the one in light and the one in dark.
type Colours map[string][2]float64

var twofold = regexp.MustCompile(`--([a-z-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)`)

// ReadColours finds them in a style sheet.
func ReadColours(css []byte) Colours {
	all := Colours{}
	for _, m := range twofold.FindAllSubmatch(css, -1) {
		all[string(m[1])] = [2]float64{luminance(string(m[2])), luminance(string(m[3]))}
	}
	return all
}

// Pair is a colour that the style sheet puts on others, and the contrast that WCAG 2.2 AA asks of it there: 4.5 to 1 for
// text (1.4.3), 3 to 1 for the edges of controls and the focus (1.4.11).
type Pair struct {
	Front string
	Least float64
	Back  []string
}

// Faults are the pairs without enough contrast in one of the two modes, and those of which a colour is not there.
func (c Colours) Faults(pairs ...Pair) (all []string) {
	for _, pair := range pairs {
		for _, back := range pair.Back {
			front, ok := c[pair.Front]
			behind, there := c[back]
			if !ok || !there {
				all = append(all, fmt.Sprintf("%s or %s is no colour", pair.Front, back))
				continue
			}
			for mode, name := range []string{"light", "dark"} {
				a, b := front[mode]+.05, behind[mode]+.05
				if got := max(a, b) / min(a, b); got < pair.Least {
					all = append(all, fmt.Sprintf("%s on %s, %s: %.2f, want %.1f", pair.Front, back, name, got, pair.Least))
				}
			}
		}
	}
	return all
}

// luminance is the relative luminance of WCAG 2.2, of six hexadecimal digits.
func luminance(hex string) float64 {
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, _ := strconv.ParseUint(hex[2*i:2*i+2], 16, 8) // twofold lets nothing else through
		c := float64(n) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
