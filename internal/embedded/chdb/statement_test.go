package chdb

import (
	"strings"
	"testing"
)

func TestStatementsFindTheirEntrance(t *testing.T) {
	for name, tc := range map[string]struct {
		sql  string
		want statement
	}{
		"a select streams":                 {"/* x */ select 1", statement{kind: kindSelect}},
		"a union in parentheses streams":   {"(SELECT 1) UNION ALL (SELECT 2)", statement{kind: kindSelect}},
		"describe runs whole":              {"DESCRIBE TABLE t", statement{kind: kindRead}},
		"ddl runs to its end":              {"CREATE TABLE t (x UInt8) ORDER BY x;", statement{kind: kindExecute}},
		"insert values is inline":          {"INSERT INTO t VALUES (1), (';')", statement{kind: kindExecute}},
		"insert select is inline":          {"INSERT INTO t SELECT 1 FORMAT Native", statement{kind: kindExecute}},
		"insert format takes data":         {"INSERT INTO t (a) FORMAT Native\n\n\x00;", statement{kindInsert, "INSERT INTO t (a) ", "Native", "\n\x00;"}},
		"format in a name is no clause":    {"INSERT INTO `t FORMAT x` (`FORMAT`) FORMAT TSV", statement{kindInsert, "INSERT INTO `t FORMAT x` (`FORMAT`) ", "TSV", ""}},
		"format in a comment is none":      {"INSERT INTO t -- FORMAT x\nFORMAT TSV 1", statement{kindInsert, "INSERT INTO t -- FORMAT x\n", "TSV", "1"}},
		"a semicolon in a heredoc stays":   {"SELECT $a$ ; select $a$", statement{kind: kindSelect}},
		"a semicolon in a literal stays":   {`SELECT 'a\'; b'`, statement{kind: kindSelect}},
		"an unclosed comment ends nothing": {"SELECT 1 /* ; SELECT 2", statement{kind: kindSelect}},
	} {
		t.Run(name, func(t *testing.T) {
			want := tc.want
			if want.sql == "" {
				want.sql = tc.sql
			}
			if got, err := parseStatement(tc.sql); err != nil || got != want {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
	for name, sql := range map[string]string{
		"nothing": " -- only a comment", "two statements": "SELECT 1; DROP TABLE t", "two after a comment": "SELECT 1 -- ;\n; DROP TABLE t",
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			if got, err := parseStatement(sql); err == nil {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzParseStatement(f *testing.F) {
	for _, s := range []string{"", "INSERT INTO t FORMAT Native\n\x00", "SELECT '\\", "$a$", "/*", "((", "insert format $"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		st, err := parseStatement(sql)
		if err != nil {
			return
		}
		if !strings.HasPrefix(sql, st.sql) || !strings.HasSuffix(sql, st.data) {
			t.Errorf("the pieces are not of the statement: %+v", st)
		}
		if (st.kind == kindInsert) != (st.format != "") {
			t.Errorf("kind and format disagree: %+v", st)
		}
	})
}
