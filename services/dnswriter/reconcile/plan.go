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

// Targets returns the names that PTR records may be made for, ascending and
// distinct: a plan needs what is wanted of these and their rows as well. Those of
// a conflict are not among them, since of it nothing is made.
func (w Want) Targets() []string {
	var names []string
	for _, set := range w.Sets {
		if set.Type == dns.PTR {
			for _, record := range set.Records {
				names = append(names, record.Value)
			}
		}
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
//   - Rows without our mark are never touched. If they hold every value that is
//     wanted, nothing is left to do; if not, that is a conflict, and nothing is
//     added.
//   - A name that has a CNAME in a zone is left alone there, whatever the type. If
//     it is the zone that a wanted record belongs into, that is a conflict.
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
//
// The reconciler plans name by name, with PlanName. That its plans add up to this
// one is tested.
func Plan(want Want, rows []dns.Row, policy Policy) Changes {
	p := newPlanner(want, rows)
	p.planAll()
	c := Changes{Tallies: make(map[dns.Type]Tally)}
	if policy != Observe {
		c.Steps = slices.Grow(c.Steps, p.steps()) // a step is large, and there may be very many
	}
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

// managedTypes are the types that are written, in the order of their steps. Rows
// of others are left alone, even with our mark: another version may care for
// them.
var managedTypes = [...]dns.Type{dns.A, dns.AAAA, dns.PTR}

// managed tells whether rows of the type are written by this version.
func managed(t dns.Type) bool { return slices.Contains(managedTypes[:], t) }

// situation is all that concerns one name.
type situation struct {
	name    string
	reverse bool
	rows    []dns.Row // sorted by record
	aliases []dns.Row // those of type CNAME that are there to stay
	types   []planned // sorted, of those types that are wanted or there
}

// planned is what is wanted of a name and type, and what was planned for it.
type planned struct {
	rtype   dns.Type
	set     dns.Set // of what is in conflict, the part that stays
	claimed *dns.Conflict

	fates     []fate // of the records of the set
	steps     []Step // by the policy Sync
	conflicts []Conflict
	tally     Tally
}

// fate is what becomes of a record that is wanted.
type fate uint8

const (
	unmade  fate = iota
	present      // DNS has it, from whomever
	created      // a step creates it
	updated      // a step makes it of another one
)

// op is the step that makes the record; of one that is not made, none.
func (f fate) op() Op { return [...]Op{created: Create, updated: Update}[f] }

func newPlanner(want Want, rows []dns.Row) *planner {
	p := &planner{names: make(map[string]*situation)}
	sorted := slices.SortedFunc(slices.Values(rows), func(a, b dns.Row) int {
		return cmp.Or(a.Record.Compare(b.Record), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.ID, b.ID))
	})
	for len(sorted) > 0 {
		s := p.at(sorted[0].Name)
		n := slices.IndexFunc(sorted, func(row dns.Row) bool { return row.Name != s.name })
		if n < 0 {
			n = len(sorted)
		}
		s.rows, sorted = sorted[:n:n], sorted[n:]
		s.aliases = s.find(dns.CNAME, func(dns.Row) bool { return true })
		for _, row := range s.rows {
			if managed(row.Type) {
				s.of(row.Type)
			}
		}
	}
	for _, set := range want.Sets {
		if managed(set.Type) {
			p.at(set.Name).of(set.Type).set = set
		}
	}
	for i, conflict := range want.Conflicts {
		if managed(conflict.Type) {
			s := p.at(conflict.Name)
			t := s.of(conflict.Type)
			t.set, t.claimed = conflict.Keep(func(r dns.Record) bool { return s.has(conflict.Zone, r) }), &want.Conflicts[i]
		}
	}
	slices.SortFunc(p.sorted, func(a, b *situation) int {
		switch {
		case a.reverse == b.reverse:
			return cmp.Compare(a.name, b.name)
		case a.reverse:
			return 1
		}
		return -1
	})
	return p
}

func (p *planner) at(name string) *situation {
	s := p.names[name]
	if s == nil {
		s = &situation{name: name, reverse: dns.IsReverse(name)}
		p.names[name] = s
		p.sorted = append(p.sorted, s)
	}
	return s
}

// search returns where a type stands in s.types, or would.
func (s *situation) search(rtype dns.Type) (at int, found bool) {
	return slices.BinarySearchFunc(s.types, rtype, func(t planned, rtype dns.Type) int { return cmp.Compare(t.rtype, rtype) })
}

// of returns what is wanted of a type, which s has from now on. It is valid until
// another type is added.
func (s *situation) of(rtype dns.Type) *planned {
	at, found := s.search(rtype)
	if !found {
		s.types = slices.Insert(s.types, at, planned{rtype: rtype})
	}
	return &s.types[at]
}

func (p *planner) planAll() {
	for _, s := range p.sorted {
		for i := range s.types {
			p.plan(s, &s.types[i])
		}
	}
}

func (p *planner) steps() (n int) {
	for _, s := range p.sorted {
		for i := range s.types {
			n += len(s.types[i].steps)
		}
	}
	return n
}

// report adds what was planned for a name, sorted out by the policy.
func (p *planner) report(c *Changes, s *situation, policy Policy) {
	for i := range s.types {
		t := &s.types[i]
		for _, step := range t.steps {
			if p.allowed(step, policy) {
				c.Steps = append(c.Steps, step)
			} else {
				c.Skipped = append(c.Skipped, step)
			}
		}
		c.Conflicts = append(c.Conflicts, t.conflicts...)
		if t.tally != (Tally{}) {
			c.Tallies[t.rtype] = c.Tallies[t.rtype].plus(t.tally)
		}
	}
}

// allowed tells whether the policy allows a step and the one that it requires.
func (p *planner) allowed(step Step, policy Policy) bool {
	if step.Requires == (dns.Record{}) {
		return policy.allows(step.Op)
	}
	_, fate := p.fate(step.Requires)
	return policy.allows(step.Op) && policy.allows(fate.op())
}

// fate returns what becomes of an A or AAAA record, whatever its TTL, and the
// record as it is wanted. It is unmade too if nobody wants it, since what DNS has
// may be about to go, and if its name and type are in conflict.
func (p *planner) fate(record dns.Record) (dns.Record, fate) {
	s := p.names[record.Name]
	if s == nil || s.reverse { // what leads to a reverse name is no device's
		return dns.Record{}, unmade
	}
	at, found := s.search(record.Type)
	if !found || len(s.types[at].conflicts) > 0 {
		return dns.Record{}, unmade
	}
	t := s.types[at]
	at, found = slices.BinarySearchFunc(t.set.Records, record.Value, func(w dns.Wanted, value string) int {
		return cmp.Compare(w.Value, value)
	})
	if !found {
		return dns.Record{}, unmade
	}
	return t.set.Records[at].Record, t.fates[at]
}

// has tells whether DNS has the record in the zone, whoever made it.
func (s *situation) has(zone string, record dns.Record) bool {
	record.TTL = 0
	at, _ := slices.BinarySearchFunc(s.rows, record, func(row dns.Row, r dns.Record) int { return row.Record.Compare(r) })
	for _, row := range s.rows[at:] {
		if !row.Record.Same(record) {
			return false
		}
		if row.Zone == zone && !row.Deleting {
			return true
		}
	}
	return false
}

// find returns the rows of a type that are there to stay.
func (s *situation) find(rtype dns.Type, which func(dns.Row) bool) []dns.Row {
	var found []dns.Row
	for _, row := range s.rows {
		if row.Type == rtype && !row.Deleting && which(row) {
			found = append(found, row)
		}
	}
	return found
}

// aliased tells whether the name has a CNAME in the zone. Then something else
// has the name (RFC 1034, 3.6.2): adding to it would break it, and our rows at it
// are not seen by anybody.
func (s *situation) aliased(zone string) bool {
	return slices.ContainsFunc(s.aliases, func(row dns.Row) bool { return row.Zone == zone })
}

// plan plans one name and type.
func (p *planner) plan(s *situation, t *planned) {
	t.fates = make([]fate, len(t.set.Records))
	if t.claimed != nil {
		t.conflicts = append(t.conflicts, claimsConflict(*t.claimed, s.find(t.rtype, func(dns.Row) bool { return true })))
		t.tally[Missing] += len(t.claimed.Records) - len(t.set.Records)
	}
	zone := t.set.Zone // "" if nothing is wanted
	if s.aliased(zone) {
		if len(t.set.Records) > 0 {
			here := s.find(dns.CNAME, func(row dns.Row) bool { return row.Zone == zone })
			t.conflicts = append(t.conflicts, rowsConflict(Alias, t.set, here))
			t.tally[Missing] += len(t.set.Records)
		}
		return
	}
	owned := s.find(t.rtype, func(row dns.Row) bool { return row.Zone == zone && ours(row) })
	foreign := s.find(t.rtype, func(row dns.Row) bool { return row.Zone == zone && !ours(row) })
	elsewhere := s.find(t.rtype, func(row dns.Row) bool { return row.Zone != zone && ours(row) && !s.aliased(row.Zone) })
	m := match(t.set, owned, foreign)
	t.tally[InSync] += m.held - len(m.wrong)
	t.tally[ForeignRow] += m.agreed
	for at := range t.fates {
		t.fates[at] = present
	}
	var creates, updates []Step
	for _, pair := range m.wrong {
		updates = append(updates, pair.mend(zone))
	}
	if len(foreign) > 0 && (len(m.missing) > 0 || m.held > 0 && m.strangers > 0) {
		t.conflicts = append(t.conflicts, rowsConflict(Foreign, t.set, foreign))
	}
	exclusive := s.vacant(t.rtype, zone)
	for _, at := range m.missing {
		w := t.set.Records[at]
		requires, ok := p.support(w.Record)
		switch {
		case len(foreign) > 0 || !ok:
			t.fates[at] = unmade
			t.tally[Missing]++
		case len(m.surplus) > 0:
			t.fates[at] = updated
			step := correction{w, m.surplus[0]}.update(zone)
			step.Requires = requires
			updates = append(updates, step)
			m.surplus = m.surplus[1:]
		default:
			t.fates[at] = created
			t.tally[Missing]++
			creates = append(creates, Step{
				Op: Create, Zone: zone, Record: w.Record, Owner: w.Owner, Exclusive: exclusive, Requires: requires,
			})
			exclusive = false
		}
	}
	t.tally[Wrong] += len(updates)
	t.steps = append(creates, updates...)
	for _, row := range slices.Concat(m.surplus, elsewhere) {
		t.tally[Orphan]++
		t.steps = append(t.steps, Step{Op: Remove, Zone: row.Zone, Record: row.Record, Row: row})
	}
}

// vacant tells whether a record can be created on the condition that it is the
// only one of its name and type. A row that is on its way out stands in its way
// until it is gone.
func (s *situation) vacant(rtype dns.Type, zone string) bool {
	return !slices.ContainsFunc(s.rows, func(row dns.Row) bool {
		return row.Type == rtype && (ours(row) || row.Zone == zone)
	})
}

// support tells whether a record may be made: a PTR record needs the record that
// it speaks of. requires is what to wait for, if that is not there yet.
func (p *planner) support(record dns.Record) (requires dns.Record, ok bool) {
	if record.Type != dns.PTR {
		return dns.Record{}, true
	}
	forward, ok := record.Forward()
	if !ok {
		return dns.Record{}, false
	}
	wanted, fate := p.fate(forward)
	if fate == unmade || fate == present {
		return dns.Record{}, fate == present
	}
	return wanted, true
}
