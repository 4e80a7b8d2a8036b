package chdb

import (
	"regexp"
	"strconv"
)

// exception is an error of the engine. Its text may quote values of the statement, so it goes to the client that sent
// them and never to a log.
type exception struct {
	code int
	text string
}

func (e *exception) Error() string { return e.text }

var exceptionCode = regexp.MustCompile(`^Code: (\d+)\.`)

// newException reads the engine's error text; the empty text is no error.
func newException(text string) error {
	if text == "" {
		return nil
	}
	e := &exception{code: 1002, text: text} // 1002 is ClickHouse's UNKNOWN_EXCEPTION
	if m := exceptionCode.FindStringSubmatch(text); m != nil {
		if code, err := strconv.Atoi(m[1]); err == nil {
			e.code = code
		}
	}
	return e
}
