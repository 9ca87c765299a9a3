package solidsim

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A listing is a call to a list service, read and compiled: which rows, which
// of their columns, in which order, which part of them.
type listing[T any] struct {
	id       string // the column that tells the rows apart
	where    expression
	match    func(T) bool
	selected columns[T]
	order    []sortKey[T] // empty: by id
	offset   int
	limit    int // 0: no limit
}

type sortKey[T any] struct {
	column     column[T]
	descending bool
}

// listParameters are the parameters that newListing knows. On /rest their
// names are upper case, except for the two of the page. In another case they
// are unknown, and so ignored.
func listParameters() []string {
	return []string{"WHERE", "ORDERBY", "SELECT", "TAGS", "NO_PARENT_CLASS_PARAM", "limit", "offset"}
}

// countParameters are those of a count: what can change which rows fit.
func countParameters() []string { return []string{"WHERE", "TAGS", "NO_PARENT_CLASS_PARAM"} }

// everyRow is the listing of all rows.
func everyRow[T any]() *listing[T] { return &listing[T]{match: func(T) bool { return true }} }

// newListing reads the parameters. What WHERE and ORDERBY use must be selected
// (the vendor's OpenAPI file says so); the columns of TAGS always are.
func newListing[T any](t table[T], p params) (l listing[T], err error) {
	l.id = t.id
	all := t.columns
	if value := p["NO_PARENT_CLASS_PARAM"]; value != "" && value != "0" {
		all = withoutInherited(all)
	}
	tags, err := tagColumns(all, p["TAGS"])
	if err != nil {
		return l, refuseParameter("TAGS", p["TAGS"], err.Error())
	}
	if l.selected, err = selectColumns(join(all, tags), p["SELECT"]); err != nil {
		return l, refuseParameter("SELECT", p["SELECT"], err.Error())
	}
	for _, tag := range tags {
		if _, err := l.selected.find(tag.name); err != nil {
			l.selected = append(l.selected, tag)
		}
	}
	if l.where, err = parseWhere(p["WHERE"]); err != nil {
		return l, refuseParameter("WHERE", p["WHERE"], "syntax error: "+err.Error())
	}
	if l.match, err = compileWhere(l.where, l.selected); err != nil {
		return l, refuseParameter("WHERE", p["WHERE"], notSelected(all, err).Error())
	}
	if l.order, err = orderBy(l.selected, p["ORDERBY"]); err != nil {
		return l, refuseParameter("ORDERBY", p["ORDERBY"], notSelected(all, err).Error())
	}
	limit, _, err := p.integer("limit", 1)
	if err != nil {
		return l, err
	}
	offset, _, err := p.integer("offset", 0)
	l.limit, l.offset = int(limit), int(offset)
	return l, err
}

// notSelected says of a column that is there, but not selected, that this is what
// is wrong: whoever reads only "unknown column" looks for a typing error.
func notSelected[T any](all columns[T], err error) error {
	name, ok := errors.AsType[unknownColumn](err)
	if _, missing := all.find(string(name)); !ok || missing != nil {
		return err
	}
	return fmt.Errorf("column %q is not in SELECT: every column of WHERE and ORDERBY has to be", string(name))
}

func selectColumns[T any](all columns[T], names string) (columns[T], error) {
	if strings.TrimSpace(names) == "" {
		return all, nil
	}
	var selected columns[T]
	for name := range strings.SplitSeq(names, ",") {
		col, err := all.find(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		if _, err := selected.find(col.name); err != nil { // a JSON object has a name once
			selected = append(selected, col)
		}
	}
	return selected, nil
}

// orderBy reads `column [ASC|DESC], ...`, where a number stands for the column
// at that place, from 1.
func orderBy[T any](cols columns[T], keys string) ([]sortKey[T], error) {
	if strings.TrimSpace(keys) == "" {
		return nil, nil
	}
	var order []sortKey[T]
	for part := range strings.SplitSeq(keys, ",") {
		words := strings.Fields(part)
		direction := "asc"
		if len(words) == 2 {
			direction = strings.ToLower(words[1])
		}
		if len(words) == 0 || len(words) > 2 || direction != "asc" && direction != "desc" {
			return nil, fmt.Errorf("want a column, then ASC or DESC, not %q", part)
		}
		col, err := orderColumn(cols, words[0])
		if err != nil {
			return nil, err
		}
		order = append(order, sortKey[T]{column: col, descending: direction == "desc"})
	}
	return order, nil
}

func orderColumn[T any](cols columns[T], word string) (column[T], error) {
	ordinal, err := strconv.Atoi(word)
	if err != nil {
		return cols.find(word)
	}
	if ordinal < 1 || ordinal > len(cols) {
		return column[T]{}, fmt.Errorf("no column at place %d", ordinal)
	}
	return cols[ordinal-1], nil
}

// page returns the rows that the call asks for. In the order of the ids it
// stops at the end of the page, in another one it has to see all.
func (l *listing[T]) page(src source[T]) []T {
	if l.byID() {
		return src.page(l.offset, l.limit)
	}
	found := src.page(0, 0)
	slices.SortStableFunc(found, l.compare)
	found = found[min(l.offset, len(found)):]
	if l.limit > 0 {
		found = found[:min(l.limit, len(found))]
	}
	return found
}

func (l *listing[T]) byID() bool {
	return len(l.order) == 0 || l.order[0].column.name == l.id && !l.order[0].descending
}

func (l *listing[T]) compare(a, b T) int {
	for _, key := range l.order {
		order := key.column.compare(a, b)
		if key.descending {
			order = -order
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

// render writes the rows out, each with errno 0, as the appliance does.
func render[T any](selected columns[T], rows []T) answer {
	objectRows := make([][]field, len(rows))
	for i, row := range rows {
		fields := make([]field, 0, len(selected)+1)
		fields = append(fields, field{"errno", "0"})
		for _, col := range selected {
			fields = append(fields, field{col.name, col.value(row)})
		}
		objectRows[i] = fields
	}
	return objects(http.StatusOK, objectRows)
}

// listService makes a list service.
func listService[T any](st *store, t table[T]) handler {
	return func(_ string, p params) (answer, error) {
		l, err := newListing(t, p)
		if err != nil {
			return answer{}, err
		}
		defer st.read()()
		return render(l.selected, l.page(t.source(&l))), nil
	}
}

// countService makes a count service: one row with the number of rows.
func countService[T any](st *store, t table[T]) handler {
	return func(_ string, p params) (answer, error) {
		asked := make(params)
		for _, name := range countParameters() {
			asked[name] = p[name]
		}
		l, err := newListing(t, asked)
		if err != nil {
			return answer{}, err
		}
		defer st.read()()
		total := strconv.Itoa(t.source(&l).count())
		return objects(http.StatusOK, [][]field{{{"errno", "0"}, {"total", total}}}), nil
	}
}

// infoService makes an info service, which gives the row with one id. An id
// that does not exist is an empty answer, not an error.
func infoService[T any](st *store, t table[T]) handler {
	return func(_ string, p params) (answer, error) {
		if _, given, err := p.integer(t.id, 1); err != nil {
			return answer{}, err
		} else if !given {
			return answer{}, refuseParameter(t.id, "", "the id is needed")
		}
		l, err := newListing(t, params{"WHERE": t.id + "=" + p[t.id]})
		if err != nil {
			return answer{}, err
		}
		defer st.read()()
		return render(l.selected, l.page(t.source(&l))), nil
	}
}
