package solidsim

import (
	"cmp"
	"slices"
)

// A table is a kind of object that can be listed.
type table[T any] struct {
	id      string // the column of the id
	columns columns[T]
	// source gives the rows that fit a clause. The caller holds the lock.
	source func(*listing[T]) source[T]
}

// frozen is the table with the rows that it has now.
func (t table[T]) frozen(st *store) table[T] {
	defer st.read()()
	every := everyRow[T]()
	src := t.source(every)
	rows := src.page(0, 0)
	return table[T]{id: t.id, columns: t.columns, source: whole(src.id, func() []T { return rows })}
}

// A source holds the rows that can fit a clause: in several lists, each by id.
type source[T any] struct {
	id    func(T) int64
	lists [][]T
	match func(T) bool // nil: all of them fit
}

// page returns the rows that fit, by id: after the first offset ones at most
// limit, or all if that is 0.
func (s source[T]) page(offset, limit int) []T {
	if s.match == nil && len(s.lists) == 1 {
		rest := s.lists[0][min(offset, len(s.lists[0])):]
		if limit > 0 {
			rest = rest[:min(limit, len(rest))]
		}
		return slices.Clone(rest)
	}
	var found []T
	for row := range s.merged {
		switch {
		case s.match != nil && !s.match(row):
		case offset > 0:
			offset--
		default:
			if found = append(found, row); len(found) == limit {
				return found
			}
		}
	}
	return found
}

func (s source[T]) count() int {
	total := 0
	for _, list := range s.lists {
		if s.match == nil {
			total += len(list)
			continue
		}
		for _, row := range list {
			if s.match(row) {
				total++
			}
		}
	}
	return total
}

// merged gives the rows of all lists by id. The lists stand in a heap, the one
// with the lowest id on top.
func (s source[T]) merged(yield func(T) bool) {
	heap := slices.DeleteFunc(slices.Clone(s.lists), func(list []T) bool { return len(list) == 0 })
	order := func(a, b []T) int { return cmp.Compare(s.id(a[0]), s.id(b[0])) }
	slices.SortFunc(heap, order)
	for len(heap) > 0 {
		if !yield(heap[0][0]) {
			return
		}
		if heap[0] = heap[0][1:]; len(heap[0]) == 0 {
			heap[0] = heap[len(heap)-1]
			heap = heap[:len(heap)-1]
		}
		for i := 0; ; {
			least := i
			for child := 2*i + 1; child <= 2*i+2 && child < len(heap); child++ {
				if order(heap[child], heap[least]) < 0 {
					least = child
				}
			}
			if least == i {
				break
			}
			heap[i], heap[least] = heap[least], heap[i]
			i = least
		}
	}
}

// whole is the source of objects that are few: it looks at each.
func whole[T any](id func(T) int64, all func() []T) func(*listing[T]) source[T] {
	return func(l *listing[T]) source[T] {
		return source[T]{id: id, lists: [][]T{all()}, match: l.match}
	}
}
