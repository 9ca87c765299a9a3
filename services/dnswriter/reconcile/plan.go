package reconcile

import (
	"cmp"
	"slices"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Want is what reservations ask for, as dns.Desired makes it.
type Want struct {
	Sets      []dns.Set
	Conflicts []dns.Conflict
}

// Targets returns the names that the PTR records in w lead to, ascending and
// distinct: a plan needs what is wanted of these and their rows as well.
func (w Want) Targets() []string {
	var names []string
	add := func(set dns.Set) {
		if set.Type == dns.PTR {
			for _, record := range set.Records {
				names = append(names, record.Value)
			}
		}
	}
	for _, set := range w.Sets {
		add(set)
	}
	for _, conflict := range w.Conflicts {
		add(conflict.Set)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Plan compares what is wanted with the rows that DNS has and says what to do.
// It is pure, and its result does not depend on the order of its arguments.
//
// The arguments speak of a closed set of names. want has all that is wanted of
// each, and rows every row that DNS has of it and every row of ours that may be
// removed. With a reverse name the names that its PTR records are to lead to are
// part of the set, see Want.Targets: without them none of these is made. To plan
// a single name, see PlanName.
//
// For each name and type:
//
//   - Rows without our mark are never touched, and where a name has a CNAME it is
//     left alone altogether, whatever the type. If foreign rows hold every value
//     that is wanted, nothing is left to do; if not, that is a conflict, and
//     nothing is added.
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
//   - A PTR record is made, or made of another one, only if the name that it
//     leads to has its address: DNS has the A or AAAA record, from whomever, or
//     another step makes it, and then the step requires that one. If that name
//     and type are in conflict, or have a CNAME, a PTR record that is there
//     stays, and none is made.
//
// Rows that are on their way out do not count as there, those on their way in
// do.
func Plan(want Want, rows []dns.Row, policy Policy) Changes {
	p := newPlanner(want, rows)
	p.planAll()
	c := Changes{Tallies: make(map[dns.Type]Tally)}
	for _, s := range p.sorted {
		p.report(&c, s, policy)
	}
	return c
}

// PlanName returns the part of Plan that concerns one name. want and rows must
// be those of the name and, if it is a reverse name, of its targets; others do
// not matter.
func PlanName(name string, want Want, rows []dns.Row, policy Policy) Changes {
	p := newPlanner(want, rows)
	p.planAll()
	c := Changes{Tallies: make(map[dns.Type]Tally)}
	if s := p.names[name]; s != nil {
		p.report(&c, s, policy)
	}
	return c
}

// planner holds the situations of a closed set of names.
type planner struct {
	names  map[string]*situation
	sorted []*situation // forward names first, so that reverse ones can build on their plans
}

// situation is all that concerns one name, and what was planned for it.
type situation struct {
	name    string
	sets    []dns.Set // one of a type
	claimed []dns.Conflict
	rows    []dns.Row

	steps     []Step // by the policy Sync
	conflicts []Conflict
	tallies   [len(managedTypes)]Tally
}

// managedTypes are the types that are written, in the order of their steps. Rows
// of others are left alone, even with our mark: another version may care for
// them.
var managedTypes = [...]dns.Type{dns.A, dns.AAAA, dns.PTR}

// managed tells whether rows of the type are written by this version.
func managed(t dns.Type) bool { return slices.Contains(managedTypes[:], t) }

func newPlanner(want Want, rows []dns.Row) *planner {
	p := &planner{names: make(map[string]*situation)}
	at := func(name string) *situation {
		s := p.names[name]
		if s == nil {
			s = &situation{name: name}
			p.names[name] = s
			p.sorted = append(p.sorted, s)
		}
		return s
	}
	for _, row := range rows {
		s := at(row.Name)
		s.rows = append(s.rows, row)
	}
	for _, set := range want.Sets {
		s := at(set.Name)
		s.sets = append(s.sets, set)
	}
	for _, conflict := range want.Conflicts {
		s := at(conflict.Name)
		s.sets = append(s.sets, conflict.Keep(s.has))
		s.claimed = append(s.claimed, conflict)
	}
	slices.SortFunc(p.sorted, func(a, b *situation) int { return compareNames(a.name, b.name) })
	return p
}

// compareNames orders forward names before reverse ones.
func compareNames(a, b string) int {
	switch reverse := dns.IsReverse(a); {
	case reverse == dns.IsReverse(b):
		return cmp.Compare(a, b)
	case reverse:
		return 1
	}
	return -1
}

func (p *planner) planAll() {
	for _, s := range p.sorted {
		p.plan(s)
	}
}

// report adds what was planned for a name, sorted out by the policy.
func (p *planner) report(c *Changes, s *situation, policy Policy) {
	for _, step := range s.steps {
		if p.allowed(step, policy) {
			c.Steps = append(c.Steps, step)
		} else {
			c.Skipped = append(c.Skipped, step)
		}
	}
	c.Conflicts = append(c.Conflicts, s.conflicts...)
	for i, found := range s.tallies {
		if found == (Tally{}) {
			continue
		}
		tally := c.Tallies[managedTypes[i]]
		for state, n := range found {
			tally[state] += n
		}
		c.Tallies[managedTypes[i]] = tally
	}
}

// allowed tells whether the policy allows a step and the one that it requires.
func (p *planner) allowed(step Step, policy Policy) bool {
	if !policy.allows(step.Op) {
		return false
	}
	if step.Requires == (dns.Record{}) {
		return true
	}
	maker, ok := p.names[step.Requires.Name].maker(step.Requires)
	return ok && policy.allows(maker.Op)
}

// has tells whether DNS has the record, whoever made it.
func (s *situation) has(record dns.Record) bool {
	return slices.ContainsFunc(s.rows, func(row dns.Row) bool { return !row.Deleting && row.Record.Same(record) })
}

// set returns what is wanted of a type.
func (s *situation) set(rtype dns.Type) (dns.Set, bool) {
	i := slices.IndexFunc(s.sets, func(set dns.Set) bool { return set.Type == rtype })
	if i < 0 {
		return dns.Set{}, false
	}
	return s.sets[i], true
}

// aliases returns the CNAME rows of the name in the zone.
func (s *situation) aliases(zone string) []dns.Row {
	return sortRows(s.rows, func(row dns.Row) bool {
		return row.Type == dns.CNAME && !row.Deleting && row.Zone == zone
	})
}

func (p *planner) plan(s *situation) {
	slices.SortFunc(s.claimed, func(a, b dns.Conflict) int { return cmp.Compare(a.Type, b.Type) })
	for _, conflict := range s.claimed {
		s.conflicts = append(s.conflicts, claimsConflict(conflict, s.rows))
	}
	for i, rtype := range managedTypes {
		set, _ := s.set(rtype)
		tally := &s.tallies[i]
		for _, conflict := range s.claimed {
			if conflict.Type == rtype {
				tally[Missing] += len(conflict.Records) - len(set.Records)
			}
		}
		if aliases := s.aliases(set.Zone); len(aliases) > 0 {
			// Something else has the name (RFC 1034, 3.6.2); adding to it would
			// break it, and our rows at it are not seen by anybody.
			if len(set.Records) > 0 {
				s.conflicts = append(s.conflicts, rowsConflict(Alias, set, aliases))
				tally[Missing] += len(set.Records)
			}
			continue
		}
		p.planSet(s, rtype, set, tally)
	}
}

// planSet plans one name and type. The set is empty if nothing is wanted.
func (p *planner) planSet(s *situation, rtype dns.Type, set dns.Set, tally *Tally) {
	here := sortRows(s.rows, func(row dns.Row) bool { return row.Type == rtype && !row.Deleting })
	if len(here) == 0 && len(set.Records) == 0 {
		return
	}
	var owned, foreign, elsewhere []dns.Row
	for _, row := range here {
		switch inZone := row.Zone == set.Zone; {
		case row.Owner != nil && inZone:
			owned = append(owned, row)
		case row.Owner != nil && len(s.aliases(row.Zone)) == 0:
			elsewhere = append(elsewhere, row)
		case row.Owner == nil && inZone:
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
			s.conflicts = append(s.conflicts, rowsConflict(Foreign, set, foreign))
		}
	} else {
		exclusive := s.vacant(rtype, set.Zone)
		for _, w := range m.missing {
			requires, ok := p.support(w.Record)
			switch {
			case !ok: // it is not made
			case len(m.surplus) > 0:
				step := correction{w, m.surplus[0]}.update(set.Zone)
				step.Requires = requires
				updates = append(updates, step)
				m.surplus = m.surplus[1:]
			default:
				creates = append(creates, Step{
					Op: Create, Zone: set.Zone, Record: w.Record, Owner: w.Owner, Exclusive: exclusive, Requires: requires,
				})
				exclusive = false
			}
		}
	}
	for _, row := range append(m.surplus, elsewhere...) {
		removes = append(removes, Step{Op: Remove, Zone: row.Zone, Record: row.Record, Row: row})
	}
	s.steps = slices.Concat(s.steps, creates, updates, removes)

	tally[InSync] += m.held - len(m.wrong)
	tally[ForeignRow] += m.agreed
	tally[Wrong] += len(updates)
	tally[Missing] += len(m.missing) - (len(updates) - len(m.wrong))
	tally[Orphan] += len(removes)
}

// vacant tells whether a record can be created on the condition that it is the
// only one of its name and type. A row that is on its way out stands in its way
// until it is gone.
func (s *situation) vacant(rtype dns.Type, zone string) bool {
	return !slices.ContainsFunc(s.rows, func(row dns.Row) bool {
		return row.Type == rtype && (row.Owner != nil || row.Zone == zone)
	})
}

// support tells whether a record may be made: a PTR record needs the record that
// it speaks of. requires is the step's record to wait for, if there is one.
func (p *planner) support(record dns.Record) (requires dns.Record, ok bool) {
	if record.Type != dns.PTR {
		return dns.Record{}, true
	}
	forward, ok := record.Forward()
	if !ok {
		return dns.Record{}, false
	}
	s := p.names[forward.Name]
	if s == nil || slices.ContainsFunc(s.conflicts, func(c Conflict) bool { return c.Type == forward.Type }) {
		return dns.Record{}, false
	}
	set, _ := s.set(forward.Type)
	wanted := slices.ContainsFunc(set.Records, func(w dns.Wanted) bool { return w.Record.Same(forward) })
	if !wanted {
		return dns.Record{}, false // what DNS has may be about to go
	}
	if slices.ContainsFunc(s.rows, func(row dns.Row) bool {
		return row.Record.Same(forward) && row.Zone == set.Zone && !row.Deleting
	}) {
		return dns.Record{}, true
	}
	maker, ok := s.maker(forward)
	return maker.Record, ok
}

// maker returns the step that makes a record.
func (s *situation) maker(record dns.Record) (Step, bool) {
	i := slices.IndexFunc(s.steps, func(step Step) bool { return step.Op != Remove && step.Record.Same(record) })
	if i < 0 {
		return Step{}, false
	}
	return s.steps[i], true
}
