package reconcile

import (
	"hash/maphash"
	"iter"
	"slices"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// index finds the reservations of a View that speak of a name. It holds keys
// only: what they say is read from the View at the moment of asking, so an
// answer is never older than the View. It is not safe for concurrent use.
type index struct {
	last      func(events.Key) (events.Change, bool) // of the View
	placement *dns.Placement
	cares     func(events.Reservation) bool // the filter, see Config.Cares

	claimants multimap[string] // by owner name
	// occupants are by the hash of a slot. Who is found by a collision is told
	// apart when the reservations themselves are compared.
	occupants multimap[uint64]
	seed      maphash.Seed
	parked    map[events.Key][]*dns.ParkedError
	asking    map[events.Key]struct{} // all that ask for a record, also those that are parked
	crowds    map[string][]dns.Set    // what is wanted of names with many claimants, see setsOf
	crowd     int                     // how many are many

	// What the filter leaves out stands apart, and asks for nothing.
	leftOut   multimap[string]        // by forward name
	otherwise map[events.Key]struct{} // all that would ask for a record
}

// crowd is how many reservations claim a name until it is kept what they want.
const crowd = 16

// slot is a place that Kea gives to one reservation at a time, see
// events.Reservation.SameDevice. Two of them in one slot are the halves of a
// change, even if they have different names.
type slot struct {
	source, kind, identifier string
	family                   int
	subnet                   int64
}

// slots returns the hashes of the slots of a reservation.
func (x *index) slots(r events.Reservation) (all []uint64) {
	if r.Subnet4 != nil {
		all = append(all, maphash.Comparable(x.seed, slot{r.Source, r.IdentifierType, r.Identifier, 4, *r.Subnet4}))
	}
	if r.Subnet6 != nil {
		all = append(all, maphash.Comparable(x.seed, slot{r.Source, r.IdentifierType, r.Identifier, 6, *r.Subnet6}))
	}
	return all
}

// newIndex makes an index of the reservations that cares is true of, nil: of all.
// What cares says of a reservation must not change.
func newIndex(last func(events.Key) (events.Change, bool), placement *dns.Placement, cares func(events.Reservation) bool) *index {
	if cares == nil {
		cares = func(events.Reservation) bool { return true }
	}
	return &index{
		last: last, placement: placement, cares: cares,
		claimants: newMultimap[string](),
		occupants: newMultimap[uint64](),
		seed:      maphash.MakeSeed(),
		parked:    make(map[events.Key][]*dns.ParkedError),
		asking:    make(map[events.Key]struct{}),
		crowds:    make(map[string][]dns.Set),
		crowd:     crowd,
		leftOut:   newMultimap[string](),
		otherwise: make(map[events.Key]struct{}),
	}
}

// place places all reservations anew. Which of them ask for a record, and which
// stand in one slot, does not depend on where names go.
//
// The View may be ahead of the differences that were applied, so some of this is
// done again by those that are still to come.
func (x *index) place(placement *dns.Placement) {
	x.placement = placement
	x.claimants = newMultimap[string]()
	x.parked = make(map[events.Key][]*dns.ParkedError)
	clear(x.crowds)
	for key := range x.asking {
		r, ok := x.live(key)
		if !ok || !x.cares(r) {
			continue // the difference is still to come
		}
		claims, parked := placement.ForReservation(r)
		if len(parked) > 0 {
			x.parked[key] = parked
		}
		for _, name := range ownerNames(claims) {
			x.claimants.add(name, key)
		}
	}
	x.leftOut = newMultimap[string]()
	for key := range x.otherwise {
		if r, ok := x.live(key); ok && !x.cares(r) {
			claims, _ := placement.ForReservation(r)
			x.leaveOut(key, claims)
		}
	}
}

// apply takes in a difference. It returns the names of which something else may
// be wanted now: those of both states, and those of other reservations of the
// same device, which the row may replace. What the filter leaves out names them
// too: whether a row that is not wanted may go depends on it.
func (x *index) apply(d events.Difference) []string {
	var names []string
	if d.Before != nil {
		names = append(names, x.remove(*d.Before)...)
	}
	if d.After != nil {
		names = append(names, x.add(*d.After)...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		delete(x.crowds, name)
	}
	return names
}

// caresFor tells whether a difference has a state that the filter lets through.
func (x *index) caresFor(d events.Difference) bool {
	return d.Before != nil && x.cares(*d.Before) || d.After != nil && x.cares(*d.After)
}

func (x *index) add(r events.Reservation) []string {
	key := r.Key()
	names := x.neighbours(r)
	for _, s := range x.slots(r) {
		x.occupants.add(s, key)
	}
	claims, parked := x.placement.ForReservation(r)
	if !x.cares(r) {
		if len(claims)+len(parked) > 0 {
			x.otherwise[key] = struct{}{}
		}
		x.leaveOut(key, claims)
		return append(names, ownerNames(claims)...)
	}
	if len(parked) > 0 {
		x.parked[key] = parked
	}
	if len(claims)+len(parked) > 0 {
		x.asking[key] = struct{}{}
	}
	for _, name := range ownerNames(claims) {
		x.claimants.add(name, key)
		names = append(names, name)
	}
	return names
}

func (x *index) remove(r events.Reservation) []string {
	key := r.Key()
	for _, s := range x.slots(r) {
		x.occupants.remove(s, key)
	}
	delete(x.parked, key)
	names := x.neighbours(r)
	delete(x.asking, key)
	delete(x.otherwise, key)
	claims, _ := x.placement.ForReservation(r)
	for _, name := range ownerNames(claims) {
		x.claimants.remove(name, key)
		x.leftOut.remove(name, key)
		names = append(names, name)
	}
	return names
}

// leaveOut notes the forward names that a reservation which is left out asks for.
func (x *index) leaveOut(key events.Key, claims []dns.Claim) {
	for _, name := range ownerNames(claims) {
		if !dns.IsReverse(name) {
			x.leftOut.add(name, key)
		}
	}
}

// uncovered tells whether a forward name is asked for by a live reservation that
// the filter leaves out.
func (x *index) uncovered(name string) bool {
	for key := range x.leftOut.rows(name) {
		r, ok := x.live(key)
		if !ok || x.cares(r) || x.replaced(r) {
			continue
		}
		claims, _ := x.placement.ForReservation(r)
		if slices.ContainsFunc(claims, func(c dns.Claim) bool { return c.Record.Name == name }) {
			return true
		}
	}
	return false
}

// neighbours returns the names of the other rows in the slots of r.
func (x *index) neighbours(r events.Reservation) (names []string) {
	for _, s := range x.slots(r) {
		for key := range x.occupants.rows(s) {
			if other, ok := x.live(key); ok && key != r.Key() {
				claims, _ := x.placement.ForReservation(other)
				names = append(names, ownerNames(claims)...)
			}
		}
	}
	return names
}

func ownerNames(claims []dns.Claim) []string {
	names := make([]string, len(claims))
	for i, c := range claims {
		names[i] = c.Record.Name
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (x *index) live(key events.Key) (events.Reservation, bool) {
	c, ok := x.last(key)
	return c.Reservation, ok && !c.Deleted()
}

// reverses returns the reverse names of all that claim a forward name, ascending:
// what is planned for them depends on it.
func (x *index) reverses(name string) (all []string) {
	for c := range x.claimsBeside(name) {
		if c.Record.Type == dns.PTR && c.Record.Value == name {
			all = append(all, c.Record.Name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// want returns what is wanted of a name, by the View of this moment.
func (x *index) want(name string) Want {
	sets, conflicts := dns.Desired(x.claimsOf(name))
	return Want{Sets: sets, Conflicts: conflicts}
}

// setsOf returns the sets of want, for one who asks about a name again and again:
// if thousands of reservations share a name, each of their reverse names asks. It
// must not be changed. It may be older than the View by differences that are still
// to be applied, and those name all that has to be planned again.
func (x *index) setsOf(name string) []dns.Set {
	if sets, kept := x.crowds[name]; kept {
		return sets
	}
	sets := x.want(name).Sets
	if len(x.claimants.more[name]) >= x.crowd {
		x.crowds[name] = sets
	}
	return sets
}

// asksFor tells whether a reservation asks for a record, whatever its TTL.
func (x *index) asksFor(record dns.Record) bool {
	for c := range x.claimsOf(record.Name) {
		if c.Record.Same(record) {
			return true
		}
	}
	return false
}

// claimsOf returns the claims for records of a name.
func (x *index) claimsOf(name string) iter.Seq[dns.Claim] {
	return func(yield func(dns.Claim) bool) {
		for c := range x.claimsBeside(name) {
			if c.Record.Name == name && !yield(c) {
				return
			}
		}
	}
}

// claimsBeside returns all claims of the reservations that claim a name.
func (x *index) claimsBeside(name string) iter.Seq[dns.Claim] {
	return func(yield func(dns.Claim) bool) {
		for key := range x.claimants.rows(name) {
			r, ok := x.live(key)
			if !ok || !x.cares(r) || x.replaced(r) {
				continue
			}
			claims, _ := x.placement.ForReservation(r)
			for _, c := range claims {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// replaced tells whether a later row of the same device has taken the place of
// r.
func (x *index) replaced(r events.Reservation) bool {
	group := []events.Reservation{r}
	for _, s := range x.slots(r) {
		for key := range x.occupants.rows(s) {
			if other, ok := x.live(key); ok && key != r.Key() {
				group = append(group, other)
			}
		}
	}
	if len(group) == 1 {
		return false
	}
	return !slices.ContainsFunc(events.Current(group), func(c events.Reservation) bool { return c.Key() == r.Key() })
}
