package chdb

import (
	"errors"
	"strings"
)

// kind says which of the engine's entrances a statement takes.
type kind int

const (
	// kindExecute runs whole: DDL, INSERT ... VALUES, INSERT ... SELECT. It is not interrupted when its client leaves.
	kindExecute kind = iota
	// kindRead runs whole and changes nothing: SHOW, DESCRIBE, EXPLAIN. It is abandoned when its client leaves.
	kindRead
	// kindSelect streams its result: libchdb's streaming entrance takes SELECT and nothing else.
	kindSelect
	// kindInsert streams its data: INSERT ... FORMAT x, the data behind it or in the request's body.
	kindInsert
)

// statement is one SQL statement as the engine's entrances want it.
type statement struct {
	kind kind
	// sql is the statement, without the FORMAT clause and the data if kind is kindInsert.
	sql string
	// format names the format of an insert's data; empty for every other kind.
	format string
	// data is the beginning of an insert's data, byte for byte.
	data string
}

var (
	errEmptyStatement = errors.New("Code: 62. DB::Exception: Syntax error: empty query. (SYNTAX_ERROR)")
	errManyStatements = errors.New("Code: 62. DB::Exception: Syntax error: multi-statements are not allowed. (SYNTAX_ERROR)")
)

// parseStatement finds out how to run sql, which is untrusted. It reads tokens and no grammar: the engine's own parser
// judges the statement later. More than one statement is refused, as ClickHouse's HTTP interface does.
func parseStatement(sql string) (statement, error) {
	st := statement{sql: sql, kind: kindExecute}
	lex := lexer{src: sql}
	first, inline, ended := "", false, false
	for {
		tok := lex.next()
		switch {
		case tok == "":
			if first == "" {
				return statement{}, errEmptyStatement
			}
			return st, nil
		case ended:
			return statement{}, errManyStatements
		case tok == ";":
			ended = first != ""
			continue
		case first == "" && tok == "(":
			continue // (SELECT ...) UNION ALL (SELECT ...)
		case first == "":
			first = strings.ToUpper(tok)
			st.kind = kindOf(first)
			continue
		}
		if first != "INSERT" || lex.depth > 0 || inline {
			continue
		}
		switch strings.ToUpper(tok) {
		case "VALUES", "SELECT", "WITH":
			inline = true
		case "FORMAT":
			end := lex.start
			name := lex.next()
			if !isWord(name) {
				continue // a column or table called format
			}
			if strings.EqualFold(name, "VALUES") {
				inline = true
				continue
			}
			return statement{kind: kindInsert, sql: sql[:end], format: name, data: inlineData(lex.rest())}, nil
		}
	}
}

func kindOf(keyword string) kind {
	switch keyword {
	case "SELECT", "WITH":
		return kindSelect
	case "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK":
		return kindRead
	}
	return kindExecute
}

// inlineData is what follows a FORMAT clause, by ClickHouse's rule: the data starts after the first newline if only
// blanks stand before it, or after the blanks.
func inlineData(rest string) string {
	rest = strings.TrimLeft(rest, " \t\f\r")
	return strings.TrimPrefix(rest, "\n")
}

// lexer splits SQL into words, quoted pieces and single characters, and drops blanks and comments. It never fails: an
// unclosed quote or comment runs to the end.
type lexer struct {
	src   string
	pos   int
	start int // of the token next returned last
	depth int // of open parentheses
}

func (l *lexer) rest() string { return l.src[l.pos:] }

// next is the next token, or "" at the end.
func (l *lexer) next() string {
	l.skipBlank()
	l.start = l.pos
	if l.pos == len(l.src) {
		return ""
	}
	switch c := l.src[l.pos]; {
	case c == '\'' || c == '"' || c == '`':
		l.quoted(c)
	case c == '$':
		l.heredoc()
	case isWordByte(c):
		for l.pos < len(l.src) && isWordByte(l.src[l.pos]) {
			l.pos++
		}
	default:
		l.pos++
		if c == '(' {
			l.depth++
		} else if c == ')' && l.depth > 0 {
			l.depth--
		}
	}
	return l.src[l.start:l.pos]
}

func (l *lexer) skipBlank() {
	for l.pos < len(l.src) {
		rest := l.rest()
		switch {
		case strings.ContainsRune(" \t\n\r\f\v\x00", rune(rest[0])):
			l.pos++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "# "), strings.HasPrefix(rest, "#!"):
			l.skipPast("\n", 2)
		case strings.HasPrefix(rest, "/*"):
			l.skipPast("*/", 2)
		default:
			return
		}
	}
}

// skipPast moves behind the first mark that stands at least from bytes ahead, or to the end.
func (l *lexer) skipPast(mark string, from int) {
	if i := strings.Index(l.src[l.pos+from:], mark); i >= 0 {
		l.pos += from + i + len(mark)
		return
	}
	l.pos = len(l.src)
}

// quoted moves behind a quoted piece. A doubled quote closes it and opens the next, which comes to the same.
func (l *lexer) quoted(quote byte) {
	for l.pos++; l.pos < len(l.src); l.pos++ {
		switch l.src[l.pos] {
		case '\\':
			l.pos++
		case quote:
			l.pos++
			return
		}
	}
	l.pos = len(l.src)
}

// heredoc moves behind $tag$ ... $tag$, or behind a lone dollar.
func (l *lexer) heredoc() {
	end := l.pos + 1
	for end < len(l.src) && isWordByte(l.src[end]) {
		end++
	}
	if end == len(l.src) || l.src[end] != '$' {
		l.pos++
		return
	}
	tag := l.src[l.pos : end+1]
	l.skipPast(tag, len(tag))
}

func isWordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isWord(s string) bool {
	return s != "" && isWordByte(s[0])
}
