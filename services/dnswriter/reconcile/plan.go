package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Want is what reservations ask for, as dns.Desired makes it.
type Want struct {
	Sets      []dns.Set
	Conflicts []dns.Conflict
}

// Policy says which steps may be planned. The zero value is Sync.
type Policy int

const (
	// Sync creates, changes and removes.
	Sync Policy = iota
	// CreateOnly creates and does nothing else.
	CreateOnly
)

// Op is what a Step does.
type Op string

// The steps, in the order in which they are taken for one name: nothing goes
// before its replacement is there.
const (
	Create Op = "create"
	Update Op = "update"
	Remove Op = "remove"
)

// Step is one change of one row.
type Step struct {
	Op   Op
	Zone string
	// Record is what will be there; of a Remove, what will not.
	Record dns.Record
	// Owner goes into the mark. A Remove has none.
	Owner dns.Owner
	// Exclusive asks for a Create that fails if the name has any row of the type.
	Exclusive bool
	// Row is the row to update or remove.
	Row dns.Row
}

// String says the step in one line.
func (s Step) String() string {
	switch {
	case s.Op == Update && s.Row.Value != s.Record.Value:
		return fmt.Sprintf("update %s %s: %s -> %s (ttl %d)", s.Record.Type, s.Record.Name, s.Row.Value, s.Record.Value, s.Record.TTL)
	case s.Op == Update && s.Row.TTL != s.Record.TTL:
		return fmt.Sprintf("update %s %s -> %s: ttl %d -> %d", s.Record.Type, s.Record.Name, s.Record.Value, s.Row.TTL, s.Record.TTL)
	case s.Op == Update:
		return fmt.Sprintf("update %s %s -> %s: new mark", s.Record.Type, s.Record.Name, s.Record.Value)
	case s.Op == Remove:
		return fmt.Sprintf("remove %s %s -> %s", s.Record.Type, s.Record.Name, s.Record.Value)
	}
	return fmt.Sprintf("%s %s %s -> %s (ttl %d)", s.Op, s.Record.Type, s.Record.Name, s.Record.Value, s.Record.TTL)
}

// Changes is a plan: what is to be done, and what cannot be.
type Changes struct {
	// Steps are sorted by name and type and, within those, in the order in
	// which they must be taken. Removals are only proposed: whoever takes the
	// steps has to prove first that nobody asks for the row any more.
	Steps []Step
	// Conflicts are sorted by name; of one name, those between reservations come
	// first.
	Conflicts []Conflict
	// Tallies count the records by the state that was found.
	Tallies map[dns.Type]Tally
}

// String lists steps and conflicts, one in a line. It is empty if there is
// nothing to tell.
func (c Changes) String() string {
	var text strings.Builder
	for _, s := range c.Steps {
		fmt.Fprintln(&text, s)
	}
	for _, k := range c.Conflicts {
		fmt.Fprintln(&text, "conflict", k)
	}
	return text.String()
}

// Plan compares what is wanted with the rows that DNS has and says what to do.
// It is pure, and its result does not depend on the order of its arguments.
// rows must hold every row of the names that are spoken of, and every row of
// ours that may be removed.
//
// For each name and type:
//
//   - Rows without our mark are never touched, and a name with a CNAME is left
//     alone altogether. If they hold every value that is wanted, nothing is
//     left to do; if not, that is a conflict, and nothing is added.
//   - A row of ours with a value that nobody wants becomes the row of a wanted
//     value that is missing; what is still missing is created; rows of ours
//     that are left over are removed.
//   - A row of ours with a wanted value is corrected in place if its TTL is
//     wrong or if its mark does not name all the sources that ask for it. The
//     mark may name others too, and keeps them: Kea's own updates make new rows,
//     and each would cost a write; and a source that does not ask may be missing
//     from the stream.
//   - When reservations contradict one another, of the values that they ask for
//     those stay that DNS has, and none is added.
func Plan(want Want, rows []dns.Row, policy Policy) Changes {
	names := make(map[string]*situation)
	at := func(name string) *situation {
		if names[name] == nil {
			names[name] = &situation{sets: make(map[dns.Type]dns.Set)}
		}
		return names[name]
	}
	for _, row := range rows {
		s := at(row.Name)
		s.rows = append(s.rows, row)
	}
	for _, set := range want.Sets {
		at(set.Name).sets[set.Type] = set
	}
	for _, conflict := range want.Conflicts {
		s := at(conflict.Name)
		s.sets[conflict.Type] = conflict.Keep(s.has)
		s.claimed = append(s.claimed, conflict)
	}

	c := Changes{Tallies: make(map[dns.Type]Tally)}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c.plan(names[name])
	}
	if policy == CreateOnly {
		c.Steps = slices.DeleteFunc(c.Steps, func(s Step) bool { return s.Op != Create })
	}
	return c
}

// situation is all that concerns one name.
type situation struct {
	sets    map[dns.Type]dns.Set
	claimed []dns.Conflict
	rows    []dns.Row
}

// has tells whether DNS has the record, whoever made it.
func (s *situation) has(record dns.Record) bool {
	return slices.ContainsFunc(s.rows, func(row dns.Row) bool { return !row.Deleting && row.Record.Same(record) })
}

// managed tells whether rows of the type are written by this version. Rows of
// others are left alone, even with our mark: another version may care for them.
func managed(t dns.Type) bool { return t == dns.A }

func (c *Changes) plan(s *situation) {
	slices.SortFunc(s.claimed, func(a, b dns.Conflict) int { return cmp.Compare(a.Type, b.Type) })
	for _, conflict := range s.claimed {
		c.Conflicts = append(c.Conflicts, claimsConflict(conflict, s.rows))
		c.missing(conflict.Type, len(conflict.Records)-len(s.sets[conflict.Type].Records))
	}
	for _, rtype := range dns.Types() {
		set, wanted := s.sets[rtype]
		if !managed(rtype) || len(s.rows) == 0 && !wanted {
			continue
		}
		if aliases := s.aliases(set.Zone); len(aliases) > 0 {
			// Something else has the name (RFC 1034, 3.6.2); adding to it would
			// break it, and our rows at it are not seen by anybody.
			if len(set.Records) > 0 {
				c.Conflicts = append(c.Conflicts, rowsConflict(Alias, set, aliases))
				c.missing(rtype, len(set.Records))
			}
			continue
		}
		c.planSet(rtype, set, s.rows)
	}
}

// missing counts records that are wanted and will not be made.
func (c *Changes) missing(t dns.Type, n int) {
	tally := c.Tallies[t]
	tally[Missing] += n
	c.Tallies[t] = tally
}

// aliases returns the CNAME rows of the name in the zone; without a zone, in
// any.
func (s *situation) aliases(zone string) []dns.Row {
	var found []dns.Row
	for _, row := range s.rows {
		if row.Type == dns.CNAME && !row.Deleting && (zone == "" || row.Zone == zone) {
			found = append(found, row)
		}
	}
	return found
}

// planSet plans one name and type. The set is empty if nothing is wanted.
func (c *Changes) planSet(rtype dns.Type, set dns.Set, rows []dns.Row) {
	here := sortRows(rows, func(row dns.Row) bool { return row.Type == rtype && !row.Deleting })
	var owned, foreign, elsewhere []dns.Row
	for _, row := range here {
		switch inZone := row.Zone == set.Zone; {
		case row.Owner != nil && inZone:
			owned = append(owned, row)
		case row.Owner != nil:
			elsewhere = append(elsewhere, row)
		case inZone:
			foreign = append(foreign, row)
		}
	}
	m := match(set, owned, foreign)
	var creates, updates, removes []Step
	for _, pair := range m.wrong {
		updates = append(updates, pair.mend(set.Zone))
	}
	if len(foreign) > 0 {
		if len(m.missing) > 0 || m.held > 0 && m.strangers > 0 {
			c.Conflicts = append(c.Conflicts, rowsConflict(Foreign, set, foreign))
		}
	} else {
		replaced := min(len(m.missing), len(m.surplus))
		for i := range replaced {
			updates = append(updates, correction{m.missing[i], m.surplus[i]}.update(set.Zone))
		}
		for i, w := range m.missing[replaced:] {
			creates = append(creates, Step{
				Op: Create, Zone: set.Zone, Record: w.Record, Owner: w.Owner,
				Exclusive: i == 0 && !slices.ContainsFunc(rows, func(row dns.Row) bool { return row.Type == rtype && row.Owner != nil }),
			})
		}
		m.surplus = m.surplus[replaced:]
	}
	for _, row := range append(m.surplus, elsewhere...) {
		removes = append(removes, Step{Op: Remove, Zone: row.Zone, Record: row.Record, Row: row})
	}
	c.Steps = slices.Concat(c.Steps, creates, updates, removes)

	t := c.Tallies[rtype]
	t[InSync] += m.held - len(m.wrong)
	t[ForeignRow] += m.agreed
	t[Wrong] += len(updates)
	t[Missing] += len(m.missing) - (len(updates) - len(m.wrong))
	t[Orphan] += len(removes)
	c.Tallies[rtype] = t
}

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
