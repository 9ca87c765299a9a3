package reconcile

import (
	"cmp"
	"slices"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// A PTR record is true only while the name that it leads to has the address. So
// the lane of a reverse name does not take a step before it knows of the address
// record; it goes to rest, and the lane of the forward name asks for it when
// something about its addresses has changed. Nobody waits in between.

// follows tells whether a step has to wait for the lane of another name: the
// record that it requires is not there yet, or was made and not confirmed. The
// caller holds r.mu.
func (r *Reconciler) follows(s Step) bool {
	if s.Requires != (dns.Record{}) {
		return true
	}
	forward, ok := s.Record.Forward()
	if !ok || s.Op == Remove || s.Op == withdraw || s.Op == Update && !s.replaces() {
		return false
	}
	same := func(row dns.Row) bool { return row.Record.Same(forward) }
	return r.suspect[forward.Name] && slices.ContainsFunc(r.fresh.at(forward.Name), same) ||
		slices.ContainsFunc(r.withdrawn[forward.Name], same)
}

// addressesOf returns the address records that a forward name is known to have.
func (r *Reconciler) addressesOf(name string) []address {
	if dns.IsReverse(name) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return addresses(r.cache.at(name))
}

// address is what matters of a forward row to the PTR records that lead to it.
type address struct {
	rtype dns.Type
	value string
	zone  string
	ours  bool
}

func addresses(rows []dns.Row) []address {
	all := make([]address, 0, len(rows))
	for _, row := range rows {
		if !row.Deleting {
			all = append(all, address{row.Type, row.Value, row.Zone, row.Owner != nil})
		}
	}
	return all
}

// followers returns the reverse names whose lanes have to look again after a
// forward name was worked on: those of all its addresses if something else may be
// wanted of it, or if it has other addresses than before; and else those that wait
// for it.
func (r *Reconciler) followers(t task, before []address) []string {
	if dns.IsReverse(t.name) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := !t.since.IsZero() || !slices.Equal(before, addresses(r.cache.at(t.name)))
	if !all && len(r.following) == 0 {
		return nil
	}
	return slices.DeleteFunc(r.index.reverses(t.name), func(reverse string) bool {
		return !all && !r.following[reverse]
	})
}

// spare leaves out the removal of PTR records that nobody asks for and that must
// not go all the same:
//
//   - One that leads to a name whose zone is none of ours, or was not read: as
//     little as of that name is known what is to become of its PTR record. The zone
//     may only be missing for a while.
//   - One that is true where none is asked for, since the server keeps them by
//     itself now: it makes one only when it is given the address.
//
// The caller holds r.mu.
func (r *Reconciler) spare(name string, changes *Changes, want Want) {
	if !dns.IsReverse(name) {
		return
	}
	asked := slices.ContainsFunc(want.Sets, func(s dns.Set) bool { return s.Name == name }) ||
		slices.ContainsFunc(want.Conflicts, func(c dns.Conflict) bool { return c.Name == name })
	isTrue := 0
	spared := func(s Step) bool {
		if s.Op != Remove {
			return false
		}
		if _, ready := r.readyZone(s.Record.Value); !ready {
			return true
		}
		forward, ok := s.Record.Forward()
		if !ok || asked || !r.index.asksFor(forward) {
			return false
		}
		isTrue++
		return true
	}
	changes.Steps = slices.DeleteFunc(changes.Steps, spared)
	changes.Skipped = slices.DeleteFunc(changes.Skipped, spared)
	if isTrue > 0 {
		tally := changes.Tallies[dns.PTR]
		tally[Orphan] -= isTrue
		tally[InSync] += isTrue
		changes.Tallies[dns.PTR] = tally
	}
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
