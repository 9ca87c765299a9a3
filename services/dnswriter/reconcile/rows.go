package reconcile

import (
	"iter"
	"maps"
	"slices"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// rows holds rows by name. Nearly always a name has a single one, and then there
// is no slice for it. It is not safe for concurrent use.
type rows struct {
	*packer
	first map[string]packed
	more  map[string][]packed // the second and later ones
	owned *int                // how many forward names have a row of ours
}

func newRows() rows {
	return rows{packer: newPacker(), first: make(map[string]packed), more: make(map[string][]packed), owned: new(int)}
}

func (t rows) add(row dns.Row) {
	p := t.pack(row)
	if p.ours() && !t.hasOurs(row.Name) {
		t.own(row.Name, 1)
	}
	if _, taken := t.first[row.Name]; taken {
		t.more[row.Name] = append(t.more[row.Name], p)
		return
	}
	t.first[row.Name] = p
}

// at returns the rows of a name, nil if there is none.
func (t rows) at(name string) []dns.Row {
	first, ok := t.first[name]
	if !ok {
		return nil
	}
	more := t.more[name]
	all := make([]dns.Row, 0, 1+len(more))
	all = append(all, t.unpack(name, first))
	for _, p := range more {
		all = append(all, t.unpack(name, p))
	}
	return all
}

// put replaces all rows of a name.
func (t rows) put(name string, all []dns.Row) {
	t.set(name, nil)
	for _, row := range all {
		t.add(row)
	}
}

func (t rows) set(name string, all []packed) {
	switch had, has := t.hasOurs(name), slices.ContainsFunc(all, packed.ours); {
	case had && !has:
		t.own(name, -1)
	case has && !had:
		t.own(name, 1)
	}
	delete(t.more, name)
	if len(all) == 0 {
		delete(t.first, name)
		return
	}
	t.first[name] = all[0]
	if len(all) > 1 {
		t.more[name] = all[1:]
	}
}

// hasOurs tells whether a name has a row of ours.
func (t rows) hasOurs(name string) bool {
	return t.first[name].ours() || slices.ContainsFunc(t.more[name], packed.ours)
}

// own counts a name that has a row of ours now, or has none any more.
func (t rows) own(name string, n int) {
	if !dns.IsReverse(name) {
		*t.owned += n
	}
}

// of returns the packed rows of a name.
func (t rows) of(name string) []packed {
	first, ok := t.first[name]
	if !ok {
		return nil
	}
	return append([]packed{first}, t.more[name]...)
}

// drop takes out rows by name and zone.
func (t rows) drop(gone func(name, zone string) bool) {
	for name, first := range t.first {
		more, hasMore := t.more[name]
		switch {
		case hasMore && slices.ContainsFunc(more, func(p packed) bool { return gone(name, t.texts[p.zone]) }),
			gone(name, t.texts[first.zone]):
			t.set(name, slices.DeleteFunc(t.of(name), func(p packed) bool { return gone(name, t.texts[p.zone]) }))
		}
	}
}

// dropAt takes out rows of a name.
func (t rows) dropAt(name string, gone func(dns.Row) bool) {
	t.set(name, slices.DeleteFunc(t.of(name), func(p packed) bool { return gone(t.unpack(name, p)) }))
}

// names returns the names that have rows, in no order.
func (t rows) names() iter.Seq[string] { return maps.Keys(t.first) }

// zones returns the zones that rows stand in.
func (t rows) zones() (all []string) {
	seen := make(map[uint32]bool)
	for _, p := range t.first {
		seen[p.zone] = true
	}
	for _, more := range t.more {
		for _, p := range more {
			seen[p.zone] = true
		}
	}
	for number := range seen {
		all = append(all, t.texts[number])
	}
	return all
}

// ours returns those that have a row of ours.
func (t rows) ours() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range t.first {
			if t.hasOurs(name) && !yield(name) {
				return
			}
		}
	}
}
