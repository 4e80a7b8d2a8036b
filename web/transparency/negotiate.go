package transparency

import (
	"strconv"
	"strings"
)

// prefers is the media type of those on offer that Accept gives the highest weight (RFC 9110, 12.5.1); of equals, and
// where it accepts none, the first.
func prefers(accept string, offers ...string) string {
	best, highest := offers[0], 0.0
	for _, offer := range offers {
		if q := weight(accept, offer); q > highest {
			best, highest = offer, q
		}
	}
	return best
}

// weight is what Accept gives a media type: the most specific range that covers it decides.
func weight(accept, offer string) (q float64) {
	whole, _, _ := strings.Cut(offer, "/")
	specific := -1
	for part := range strings.SplitSeq(accept, ",") {
		media, parameters, _ := strings.Cut(part, ";")
		covers := -1
		switch strings.ToLower(strings.TrimSpace(media)) {
		case offer:
			covers = 2
		case whole + "/*":
			covers = 1
		case "*/*":
			covers = 0
		}
		if covers <= specific {
			continue
		}
		specific, q = covers, 1
		for parameter := range strings.SplitSeq(parameters, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if strings.EqualFold(strings.TrimSpace(name), "q") {
				var err error
				if q, err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil {
					q = 0
				}
			}
		}
	}
	return q
}
