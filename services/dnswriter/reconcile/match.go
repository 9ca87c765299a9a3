package reconcile

import (
	"cmp"
	"slices"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// matching is how the rows of one name and type meet what is wanted.
type matching struct {
	held      int          // wanted and there, as ours
	agreed    int          // wanted and there, as somebody else's
	wrong     []correction // of those held, the ones to be corrected
	missing   []dns.Wanted
	surplus   []dns.Row // ours, but not needed
	strangers int       // foreign rows with a value that is not wanted
}

// correction turns a row of ours into what is wanted.
type correction struct {
	wanted dns.Wanted
	row    dns.Row
}

func (c correction) update(zone string) Step {
	return Step{Op: Update, Zone: zone, Record: c.wanted.Record, Owner: c.wanted.Owner, Row: c.row}
}

// mend corrects a row that has the wanted value. Its mark forgets nobody: who
// does not ask for the row now may only be missing from the stream, and the row
// must not go without his word.
func (c correction) mend(zone string) Step {
	s := c.update(zone)
	s.Owner = dns.NewOwner(slices.Concat(c.wanted.Owner.Hosts, c.row.Owner.Hosts)...)
	return s
}

func match(set dns.Set, owned, foreign []dns.Row) (m matching) {
	var doubles []dns.Row
	used := make([]bool, len(owned))
	for _, w := range set.Records {
		var same []int
		for i, row := range owned {
			if row.Record.Same(w.Record) {
				used[i] = true
				same = append(same, i)
			}
		}
		switch {
		case len(same) > 0:
			m.held++
			// Of several rows for one value, a right one stays.
			keep := max(0, slices.IndexFunc(same, func(i int) bool { return right(w, owned[i]) }))
			if row := owned[same[keep]]; !right(w, row) {
				m.wrong = append(m.wrong, correction{w, row})
			}
			for at, i := range same {
				if at != keep {
					doubles = append(doubles, owned[i])
				}
			}
		case slices.ContainsFunc(foreign, func(row dns.Row) bool { return row.Record.Same(w.Record) }):
			m.agreed++
		default:
			m.missing = append(m.missing, w)
		}
	}
	for i, row := range owned {
		if !used[i] {
			m.surplus = append(m.surplus, row)
		}
	}
	m.surplus = append(m.surplus, doubles...)
	for _, row := range foreign {
		if !slices.ContainsFunc(set.Records, func(w dns.Wanted) bool { return w.Record.Same(row.Record) }) {
			m.strangers++
		}
	}
	return m
}

// right tells whether a row of ours with the wanted value is as it should be.
func right(w dns.Wanted, row dns.Row) bool {
	if row.TTL != w.TTL {
		return false
	}
	named := row.Owner.Sources()
	return !slices.ContainsFunc(w.Owner.Sources(), func(source string) bool { return !slices.Contains(named, source) })
}

// sortRows returns the rows that are wanted here in an order that depends on
// nothing but the rows.
func sortRows(rows []dns.Row, here func(dns.Row) bool) []dns.Row {
	var sorted []dns.Row
	for _, row := range rows {
		if here(row) {
			sorted = append(sorted, row)
		}
	}
	slices.SortFunc(sorted, func(a, b dns.Row) int {
		return cmp.Or(a.Record.Compare(b.Record), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.ID, b.ID))
	})
	return sorted
}

// ours tells whether a row has our mark.
func ours(row dns.Row) bool { return row.Owner != nil }
