package solidsim

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxNesting limits the parentheses of a WHERE clause, so that hostile input
// cannot make the parser recurse without end.
const maxNesting = 64

// An expression is a parsed WHERE clause: allOf, anyOf or condition.
type expression any

type (
	allOf []expression
	anyOf []expression

	// condition compares one column with its literals: one for a comparison
	// and for like, one or more for in, none for is null.
	condition struct {
		column   string
		operator operator
		literals []string
	}
)

type operator int

const (
	equal operator = iota
	notEqual
	less
	greater
	lessOrEqual
	greaterOrEqual
	like
	in
	isNull
	isNotNull
)

// parseWhere reads a WHERE clause:
//
//	or        = and { "or" and }
//	and       = term { "and" term }
//	term      = "(" or ")" | condition
//	condition = column ( "=" | "!=" | "<" | ">" | "<=" | ">=" ) literal
//	          | column "like" string
//	          | column "in" "(" literal { "," literal } ")"
//	          | column "is" [ "not" ] "null"
//	literal   = string | number
//
// Keywords are read in any case. A string stands in single quotes; a quote in
// it is doubled. A blank clause gives a nil expression, which is true for all.
func parseWhere(clause string) (expression, error) {
	tokens, err := tokenize(clause)
	if err != nil {
		return nil, err
	}
	p := whereParser{tokens: tokens}
	if p.next().kind == endToken {
		return nil, nil
	}
	e, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if t := p.next(); t.kind != endToken {
		return nil, t.unexpected("and, or, or the end")
	}
	return e, nil
}

type whereParser struct {
	tokens []token
	at     int
}

func (p *whereParser) next() token { return p.tokens[p.at] }

// take returns the next token and steps over it. The end is never passed.
func (p *whereParser) take() token {
	t := p.tokens[p.at]
	if t.kind != endToken {
		p.at++
	}
	return t
}

// accept steps over the next token if it is this keyword or symbol.
func (p *whereParser) accept(kind tokenKind, text string) bool {
	if t := p.next(); t.kind != kind || t.text != text {
		return false
	}
	p.at++
	return true
}

func (p *whereParser) or(depth int) (expression, error) {
	terms, err := p.chain("or", func() (expression, error) { return p.and(depth) })
	if err != nil || len(terms) > 1 {
		return anyOf(terms), err
	}
	return terms[0], nil
}

func (p *whereParser) and(depth int) (expression, error) {
	terms, err := p.chain("and", func() (expression, error) { return p.term(depth) })
	if err != nil || len(terms) > 1 {
		return allOf(terms), err
	}
	return terms[0], nil
}

// chain reads one or more terms with the keyword between them.
func (p *whereParser) chain(keyword string, term func() (expression, error)) ([]expression, error) {
	var terms []expression
	for {
		e, err := term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, e)
		if !p.accept(keywordToken, keyword) {
			return terms, nil
		}
	}
}

func (p *whereParser) term(depth int) (expression, error) {
	if !p.accept(symbolToken, "(") {
		return p.condition()
	}
	if depth == maxNesting {
		return nil, fmt.Errorf("more than %d parentheses in each other", maxNesting)
	}
	e, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	if !p.accept(symbolToken, ")") {
		return nil, p.next().unexpected(")")
	}
	return e, nil
}

func (p *whereParser) condition() (expression, error) {
	column := p.take()
	if column.kind != columnToken {
		return nil, column.unexpected("a column")
	}
	c := condition{column: column.text}
	switch op := p.take(); {
	case op.kind == symbolToken && comparisons(op.text) >= 0:
		c.operator = comparisons(op.text)
		return p.literal(c)
	case op.kind == keywordToken && op.text == "like":
		c.operator = like
		if p.next().kind != stringToken {
			return nil, p.next().unexpected("a string")
		}
		return p.literal(c)
	case op.kind == keywordToken && op.text == "in":
		c.operator = in
		return p.literals(c)
	case op.kind == keywordToken && op.text == "is":
		c.operator = isNull
		if p.accept(keywordToken, "not") {
			c.operator = isNotNull
		}
		if !p.accept(keywordToken, "null") {
			return nil, p.next().unexpected("null")
		}
		return c, nil
	default:
		return nil, op.unexpected("an operator")
	}
}

func (p *whereParser) literal(c condition) (expression, error) {
	t := p.take()
	if t.kind != stringToken && t.kind != numberToken {
		return nil, t.unexpected("a string or a number")
	}
	c.literals = append(c.literals, t.text)
	return c, nil
}

func (p *whereParser) literals(c condition) (expression, error) {
	if !p.accept(symbolToken, "(") {
		return nil, p.next().unexpected("(")
	}
	for {
		t := p.take()
		if t.kind != stringToken && t.kind != numberToken {
			return nil, t.unexpected("a string or a number")
		}
		c.literals = append(c.literals, t.text)
		if p.accept(symbolToken, ")") {
			return c, nil
		}
		if !p.accept(symbolToken, ",") {
			return nil, p.next().unexpected(", or )")
		}
	}
}

// comparisons returns the operator of a symbol, and -1 for another symbol.
func comparisons(symbol string) operator {
	switch symbol {
	case "=":
		return equal
	case "!=":
		return notEqual
	case "<":
		return less
	case ">":
		return greater
	case "<=":
		return lessOrEqual
	case ">=":
		return greaterOrEqual
	default:
		return -1
	}
}

type tokenKind int

const (
	endToken tokenKind = iota
	columnToken
	keywordToken // text is lower case
	stringToken  // text is without the quotes
	numberToken
	symbolToken
)

type token struct {
	kind tokenKind
	text string
	at   int // offset in bytes
}

func (t token) unexpected(want string) error {
	if t.kind == endToken {
		return fmt.Errorf("unexpected end at %d: want %s", t.at, want)
	}
	return fmt.Errorf("unexpected %q at %d: want %s", t.text, t.at, want)
}

// tokenize splits a WHERE clause. The last token is always an endToken.
func tokenize(clause string) ([]token, error) {
	if !utf8.ValidString(clause) || strings.ContainsRune(clause, 0) {
		return nil, fmt.Errorf("NUL or invalid UTF-8 in the clause")
	}
	var tokens []token
	for i := 0; i < len(clause); {
		rest, c := clause[i:], clause[i]
		t := token{at: i}
		size := 1
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
			continue
		case c == '\'':
			t.kind = stringToken
			if t.text, size = quoted(rest); size == 0 {
				return nil, fmt.Errorf("no closing quote for the string at %d", i)
			}
		case letter(c):
			size = span(rest, func(c byte) bool { return letter(c) || digit(c) })
			t.kind, t.text = word(rest[:size])
		case digit(c), c == '-' && len(rest) > 1 && digit(rest[1]):
			size = 1 + span(rest[1:], digit)
			t.kind, t.text = numberToken, rest[:size]
		case strings.HasPrefix(rest, "!="), strings.HasPrefix(rest, "<="), strings.HasPrefix(rest, ">="):
			size = 2
			t.kind, t.text = symbolToken, rest[:2]
		case strings.IndexByte("=<>(),", c) >= 0:
			t.kind, t.text = symbolToken, rest[:1]
		default:
			r, _ := utf8.DecodeRuneInString(rest)
			return nil, fmt.Errorf("unexpected %q at %d", r, i)
		}
		tokens = append(tokens, t)
		i += size
	}
	return append(tokens, token{at: len(clause)}), nil
}

// quoted reads the string that s starts with and returns its text and its size
// with the quotes, and size 0 if it has no end.
func quoted(s string) (text string, size int) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 == len(s) || s[i+1] != '\'' {
			return b.String(), i + 1
		}
		b.WriteByte('\'')
		i++
	}
	return "", 0
}

func word(s string) (tokenKind, string) {
	switch lower := strings.ToLower(s); lower {
	case "and", "or", "like", "in", "is", "not", "null":
		return keywordToken, lower
	default:
		return columnToken, s
	}
}

func span(s string, member func(byte) bool) int {
	n := 0
	for n < len(s) && member(s[n]) {
		n++
	}
	return n
}

func letter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

func digit(c byte) bool { return '0' <= c && c <= '9' }
