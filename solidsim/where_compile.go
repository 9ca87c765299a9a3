package solidsim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kind says how the values of a column are compared.
type kind int

const (
	textKind   kind = iota // byte by byte
	nameKind               // a DNS name: without regard to case
	numberKind             // an integer
)

// A column is one field of the rows of an object. Every value is a string, as
// in the answers of the API; an empty one counts as null.
type column[T any] struct {
	name   string
	kind   kind
	value  func(T) string
	number func(T) int64 // the same without the detour; only of a numberKind, nil: there is none
}

// integer is the value of a column of integers.
func (c column[T]) integer(row T) int64 {
	if c.number != nil {
		return c.number(row)
	}
	n, _ := strconv.ParseInt(c.value(row), 10, 64)
	return n
}

type columns[T any] []column[T]

// find returns the column of this name. Column names are case-sensitive.
func (c columns[T]) find(name string) (column[T], error) {
	i := slices.IndexFunc(c, func(c column[T]) bool { return c.name == name })
	if i < 0 {
		return column[T]{}, unknownColumn(name)
	}
	return c[i], nil
}

// unknownColumn is the name of a column that is not there.
type unknownColumn string

func (name unknownColumn) Error() string { return fmt.Sprintf("unknown column %q", string(name)) }

// compare orders the rows a and b by this column.
func (c column[T]) compare(a, b T) int {
	if c.kind == numberKind {
		return cmp.Compare(c.integer(a), c.integer(b))
	}
	x, y := c.value(a), c.value(b)
	switch c.kind {
	case nameKind:
		return cmp.Compare(strings.ToLower(x), strings.ToLower(y))
	default:
		return cmp.Compare(x, y)
	}
}

// compileWhere turns a parsed clause into a test for rows. It fails for a
// column that does not exist and for a literal that is no integer where the
// column holds integers.
func compileWhere[T any](e expression, cols columns[T]) (func(T) bool, error) {
	switch e := e.(type) {
	case nil:
		return func(T) bool { return true }, nil
	case allOf:
		tests, err := compileTerms(e, cols)
		return func(row T) bool {
			return !slices.ContainsFunc(tests, func(test func(T) bool) bool { return !test(row) })
		}, err
	case anyOf:
		tests, err := compileTerms(e, cols)
		return func(row T) bool {
			return slices.ContainsFunc(tests, func(test func(T) bool) bool { return test(row) })
		}, err
	case condition:
		col, err := cols.find(e.column)
		if err != nil {
			return nil, err
		}
		return compileCondition(e, col)
	default:
		return nil, fmt.Errorf("unknown expression %T", e)
	}
}

func compileTerms[T any](terms []expression, cols columns[T]) ([]func(T) bool, error) {
	tests := make([]func(T) bool, len(terms))
	for i, term := range terms {
		var err error
		if tests[i], err = compileWhere(term, cols); err != nil {
			return nil, err
		}
	}
	return tests, nil
}

func compileCondition[T any](c condition, col column[T]) (func(T) bool, error) {
	switch c.operator {
	case isNull:
		return func(row T) bool { return col.value(row) == "" }, nil
	case isNotNull:
		return func(row T) bool { return col.value(row) != "" }, nil
	case like:
		if col.kind == nameKind {
			pattern := []rune(strings.ToLower(c.literals[0]))
			return func(row T) bool { return matchLike(pattern, []rune(strings.ToLower(col.value(row)))) }, nil
		}
		pattern := []rune(c.literals[0])
		return func(row T) bool { return matchLike(pattern, []rune(col.value(row))) }, nil
	case in:
		var tests []func(T) bool
		for _, literal := range c.literals {
			test, err := compileComparison(equal, literal, col)
			if err != nil {
				return nil, err
			}
			tests = append(tests, test)
		}
		return func(row T) bool {
			return slices.ContainsFunc(tests, func(test func(T) bool) bool { return test(row) })
		}, nil
	default:
		return compileComparison(c.operator, c.literals[0], col)
	}
}

func compileComparison[T any](op operator, literal string, col column[T]) (func(T) bool, error) {
	var order func(T) int // of the row's value against the literal
	switch col.kind {
	case numberKind:
		want, err := strconv.ParseInt(literal, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("column %s holds integers: %q is none", col.name, literal)
		}
		order = func(row T) int { return cmp.Compare(col.integer(row), want) }
	case nameKind:
		want := strings.ToLower(literal)
		order = func(row T) int { return cmp.Compare(strings.ToLower(col.value(row)), want) }
	default:
		order = func(row T) int { return cmp.Compare(col.value(row), literal) }
	}
	switch op {
	case equal:
		return func(row T) bool { return order(row) == 0 }, nil
	case notEqual:
		return func(row T) bool { return order(row) != 0 }, nil
	case less:
		return func(row T) bool { return order(row) < 0 }, nil
	case greater:
		return func(row T) bool { return order(row) > 0 }, nil
	case lessOrEqual:
		return func(row T) bool { return order(row) <= 0 }, nil
	case greaterOrEqual:
		return func(row T) bool { return order(row) >= 0 }, nil
	default:
		return nil, fmt.Errorf("unknown operator %d", op)
	}
}

// matchLike tells whether t fits the SQL LIKE pattern p: % is any run of
// characters, _ is one character, a backslash takes the next one literally. It
// never goes back further than the last %, so that it cannot be made slow.
func matchLike(p, t []rune) bool {
	i, j := 0, 0
	star, mark := -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '%':
			star, mark = i, j
			i++
			continue
		case i+1 < len(p) && p[i] == '\\' && p[i+1] == t[j]:
			i, j = i+2, j+1
			continue
		case i < len(p) && p[i] != '\\' && (p[i] == '_' || p[i] == t[j]):
			i, j = i+1, j+1
			continue
		case star < 0:
			return false
		}
		mark++
		i, j = star+1, mark
	}
	for i < len(p) && p[i] == '%' {
		i++
	}
	return i == len(p)
}

// conjuncts are the parts of a clause that all have to be true.
func conjuncts(e expression) []expression {
	switch e := e.(type) {
	case nil:
		return nil
	case allOf:
		var parts []expression
		for _, term := range e {
			parts = append(parts, conjuncts(term)...)
		}
		return parts
	default:
		return []expression{e}
	}
}

// about tells whether a clause looks at these columns alone.
func about[T any](e expression, cols columns[T]) bool {
	var terms []expression
	switch e := e.(type) {
	case condition:
		_, err := cols.find(e.column)
		return err == nil
	case allOf:
		terms = e
	case anyOf:
		terms = e
	}
	return !slices.ContainsFunc(terms, func(term expression) bool { return !about(term, cols) })
}
