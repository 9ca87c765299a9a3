package solidsim

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// fruit is a row for the tests of the WHERE language.
type fruit struct{ id, name, note string }

func fruitColumns() columns[fruit] {
	return columns[fruit]{
		{name: "id", kind: numberKind, value: func(f fruit) string { return f.id }},
		{name: "name", kind: nameKind, value: func(f fruit) string { return f.name }},
		{name: "note", value: func(f fruit) string { return f.note }},
	}
}

func pick(t *testing.T, clause string, rows []fruit) ([]string, error) {
	t.Helper()
	e, err := parseWhere(clause)
	if err != nil {
		return nil, err
	}
	match, err := compileWhere(e, fruitColumns())
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, row := range rows {
		if match(row) {
			ids = append(ids, row.id)
		}
	}
	return ids, nil
}

func TestWhere(t *testing.T) {
	t.Parallel()
	rows := []fruit{
		{"2", "apple.example", "red"},
		{"10", "pear.example", ""},
		{"30", "plum.example", "it's 100% blue_ish"},
	}
	for _, test := range []struct{ clause, want string }{
		{"", "2 10 30"},
		{"  \t", "2 10 30"},
		{"id=10", "10"},
		{"id='10' ", "10"},
		{"id='010'", "10"},
		{"id<10", "2"},
		{"id<=10", "2 10"},
		{"id > '9'", "10 30"},
		{"id>=-1", "2 10 30"},
		{"id!=10", "2 30"},
		{"name='Pear.EXAMPLE'", "10"},
		{"note='Red'", ""},
		{"note='it''s 100% blue_ish'", "30"},
		{"note IS NULL", "10"},
		{"note is not null", "2 30"},
		{"note=''", "10"},
		{"name like 'P%'", "10 30"},
		{"note like '%blue_ish'", "30"},
		{`note like '%100\%%'`, "30"},
		{`note like '%100\_%'`, ""},
		{"note LIKE '%E_'", ""},
		{"name like '_____.example'", "2"},
		{"note like '%'", "2 10 30"},
		{"id in (2, '30')", "2 30"},
		{"name IN ('plum.example')", "30"},
		{"id=2 or id=10 and note='x'", "2"},
		{"(id=2 or id=10) and note='x'", ""},
		{"id=2 OR (id=10 AND (note is null))", "2 10"},
		{"((id=2))or id=30", "2 30"},
		{"id=2\nor\tid=30", "2 30"},
	} {
		got, err := pick(t, test.clause, rows)
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%s: %v, %v, want %s", test.clause, got, err, test.want)
		}
	}
}

func TestWhereRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ clause, want string }{
		{"id", "want an operator"},
		{"id=", "unexpected end at 3"},
		{"id=name", `unexpected "name" at 3`},
		{"id='x'", "holds integers"},
		{"id in (1,'x')", "holds integers"},
		{"id='99999999999999999999'", "holds integers"},
		{"'1'='1'", "want a column"},
		{"1=1", "want a column"},
		{"id=1 or '1'='1'", "want a column"},
		{"id=1; drop", `unexpected ';' at 4`},
		{"id=1 -- x", `unexpected '-' at 5`},
		{"id=1 id=2", "want and, or, or the end"},
		{"name='it's'", "no closing quote for the string at 10"},
		{"name='it' s", "want and, or, or the end"},
		{"name='open", "no closing quote for the string at 5"},
		{"name='open''", "no closing quote"},
		{`name="x"`, `unexpected '"'`},
		{"(id=1", "want )"},
		{"id=1)", "want and, or, or the end"},
		{"()", "want a column"},
		{"id in ()", "want a string or a number"},
		{"id in (1", "want , or )"},
		{"id in 1", "want ("},
		{"name like 5", "want a string"},
		{"id is 5", "want null"},
		{"id not null", "want an operator"},
		{"and", "want a column"},
		{"id=1 and", "unexpected end"},
		{"ID=1", `unknown column "ID"`},
		{"id=1 or colour='x'", `unknown column "colour"`},
		{"id=1 and (name='a' and colour='x')", `unknown column "colour"`},
		{"name='a\x00b'", "NUL"},
		{"name='\xff'", "invalid UTF-8"},
		{strings.Repeat("(", 65) + "id=1" + strings.Repeat(")", 65), "parentheses"},
		{strings.Repeat("(", 1_000_000), "parentheses"},
	} {
		if _, err := pick(t, test.clause, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.80s: error %v, want %s", test.clause, err, test.want)
		}
	}
}

// FuzzWhere checks that no clause makes the parser or the test that it
// compiles panic, and that a clause is true when all of its parts are.
func FuzzWhere(f *testing.F) {
	for _, seed := range []string{
		"id=1 and name like '%a\\%' or (note is not null)", "id != 7 or id<=8 and note >= 'x' ", "name in ('a','b''')", "((id>=-3))", "name='a", "note like '\\'",
		"id=7 and (note='x' and name='y')",
	} {
		f.Add(seed, "apple.example")
	}
	f.Fuzz(func(t *testing.T, clause, value string) {
		e, err := parseWhere(clause)
		if err != nil {
			return
		}
		match, err := compileWhere(e, fruitColumns())
		if err != nil {
			return
		}
		again, err := parseWhere(written(e))
		if err != nil && strings.Contains(err.Error(), "parentheses") {
			return // written has more of them than the clause
		}
		if err != nil || !reflect.DeepEqual(e, again) {
			t.Errorf("%q was read as %#v, and %q as %#v, %v", clause, e, written(e), again, err)
		}
		row := fruit{"7", value, value}
		all := true
		for _, part := range conjuncts(e) {
			test, err := compileWhere(part, fruitColumns())
			if err != nil {
				t.Fatalf("%q: a part of what compiles does not: %v", clause, err)
			}
			all = all && test(row)
		}
		if match(row) != all {
			t.Errorf("%q is %t, its parts are %t", clause, match(row), all)
		}
	})
}

// written is a clause that means the expression.
func written(e expression) string {
	chain := func(terms []expression, between string) string {
		var parts []string
		for _, term := range terms {
			parts = append(parts, "("+written(term)+")")
		}
		return strings.Join(parts, between)
	}
	switch e := e.(type) {
	case allOf:
		return chain(e, " AND ")
	case anyOf:
		return chain(e, " or ")
	case condition:
		var literals []string
		for _, literal := range e.literals {
			literals = append(literals, "'"+strings.ReplaceAll(literal, "'", "''")+"'")
		}
		operator := []string{"=", "!=", "<", ">", "<=", ">=", "like", "in", "is null", "is not null"}[e.operator]
		if e.operator == in {
			return e.column + " in (" + strings.Join(literals, ",") + ")"
		}
		return e.column + " " + operator + strings.Join(literals, "")
	default:
		return ""
	}
}

// FuzzQuotes checks that a string with doubled quotes is one string, whatever
// is in it: the rule by which clients quote.
func FuzzQuotes(f *testing.F) {
	for _, seed := range []string{"", "'", "''", "a'b", `\'`, "' or '1'='1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return
		}
		e, err := parseWhere("note = '" + strings.ReplaceAll(s, "'", "''") + "'")
		if err != nil {
			t.Fatal(err)
		}
		c, ok := e.(condition)
		if !ok || !slices.Equal(c.literals, []string{s}) {
			t.Errorf("%q became %#v", s, e)
		}
	})
}

// FuzzLike compares with the regular expression of the same meaning.
func FuzzLike(f *testing.F) {
	f.Add("a%b_", "axxbc")
	f.Add(`100\%%`, "100%x")
	f.Add("%a%a%", "banana")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(s) || strings.HasSuffix(pattern, `\`) {
			return
		}
		var b strings.Builder
		escaped := false
		for _, r := range pattern {
			switch {
			case escaped, r != '%' && r != '_' && r != '\\':
				b.WriteString(regexp.QuoteMeta(string(r)))
				escaped = false
			case r == '\\':
				escaped = true
			case r == '%':
				b.WriteString(".*")
			default:
				b.WriteString(".")
			}
		}
		want := regexp.MustCompile(`(?s)\A` + b.String() + `\z`).MatchString(s)
		if got := matchLike([]rune(pattern), []rune(s)); got != want {
			t.Errorf("%q like %q is %t, want %t", s, pattern, got, want)
		}
	})
}
