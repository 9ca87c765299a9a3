package reconcile

import (
	"slices"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// matching is how the rows of one name and type meet what is wanted.
type matching struct {
	held      int          // wanted and there, as ours
	agreed    int          // wanted and there, as somebody else's
	wrong     []correction // of those held, the ones to be corrected
	missing   []int        // places in the set
	surplus   []dns.Row    // ours, but not needed
	strangers int          // foreign rows with a value that is not wanted
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

// match goes through the set and the rows side by side: all are ordered by value.
func match(set dns.Set, owned, foreign []dns.Row) (m matching) {
	var doubles []dns.Row
	for at, w := range set.Records {
		var mine, theirs, others []dns.Row
		others, mine, owned = cutAt(owned, w.Value)
		m.surplus = append(m.surplus, others...)
		others, theirs, foreign = cutAt(foreign, w.Value)
		m.strangers += len(others)
		switch {
		case len(mine) > 0:
			m.held++
			// Of several rows for one value, a right one stays.
			keep := max(0, slices.IndexFunc(mine, func(row dns.Row) bool { return right(w, row) }))
			if !right(w, mine[keep]) {
				m.wrong = append(m.wrong, correction{w, mine[keep]})
			}
			doubles = append(append(doubles, mine[:keep]...), mine[keep+1:]...)
		case len(theirs) > 0:
			m.agreed++
		default:
			m.missing = append(m.missing, at)
		}
	}
	m.surplus = slices.Concat(m.surplus, owned, doubles)
	m.strangers += len(foreign)
	return m
}

// cutAt parts rows that are ordered by value.
func cutAt(rows []dns.Row, value string) (before, equal, after []dns.Row) {
	n := 0
	for n < len(rows) && rows[n].Value < value {
		n++
	}
	before, rows = rows[:n], rows[n:]
	n = 0
	for n < len(rows) && rows[n].Value == value {
		n++
	}
	return before, rows[:n], rows[n:]
}

// right tells whether a row of ours with the wanted value is as it should be.
func right(w dns.Wanted, row dns.Row) bool {
	if row.TTL != w.TTL {
		return false
	}
	named := row.Owner.Sources()
	return !slices.ContainsFunc(w.Owner.Sources(), func(source string) bool { return !slices.Contains(named, source) })
}

// ours tells whether a row has our mark.
func ours(row dns.Row) bool { return row.Owner != nil }
