package reconcile

import (
	"iter"
	"slices"

	"github.com/keastream/keastream/pkg/events"
)

// multimap holds the rows that belong to a key. Nearly always that is a single
// one, and then there is no slice for it: with a hundred thousand keys this is
// half of the memory.
type multimap[K comparable] struct {
	first map[K]events.Key
	more  map[K][]events.Key // the second and later ones
}

func newMultimap[K comparable]() multimap[K] {
	return multimap[K]{first: make(map[K]events.Key), more: make(map[K][]events.Key)}
}

// add puts in a row; nothing happens if it is there.
func (m multimap[K]) add(k K, row events.Key) {
	switch first, taken := m.first[k]; {
	case !taken:
		m.first[k] = row
	case first != row && !slices.Contains(m.more[k], row):
		m.more[k] = append(m.more[k], row)
	}
}

// remove takes out one row; nothing happens if it is not there.
func (m multimap[K]) remove(k K, row events.Key) {
	more := m.more[k]
	switch i := slices.Index(more, row); {
	case m.first[k] == row && len(more) > 0:
		m.first[k], more = more[0], more[1:]
	case m.first[k] == row:
		delete(m.first, k)
	case i >= 0:
		more = slices.Delete(more, i, i+1)
	}
	if len(more) == 0 {
		delete(m.more, k)
		return
	}
	m.more[k] = more
}

// rows returns the rows of a key.
func (m multimap[K]) rows(k K) iter.Seq[events.Key] {
	return func(yield func(events.Key) bool) {
		first, ok := m.first[k]
		if !ok || !yield(first) {
			return
		}
		for _, row := range m.more[k] {
			if !yield(row) {
				return
			}
		}
	}
}
