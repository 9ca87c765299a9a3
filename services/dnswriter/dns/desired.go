package dns

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/keastream/keastream/pkg/events"
)

// Set is what is wanted of one name and type.
type Set struct {
	Name string
	Type Type
	Zone string
	// Records are ordered by value, which is different in each.
	Records []Wanted
}

// Wanted is a record that somebody asks for.
type Wanted struct {
	Record
	Owner Owner
}

// Conflict is a name and type for which different devices ask for different
// values. Only a person can say who is right. Until then nothing is added for
// it, and of what DNS has, that stays which one of the claimants wants: Keep.
type Conflict struct {
	// Set holds every value that is asked for.
	Set
	// Claims are all that take part, ordered by value and row.
	Claims []Claim
}

// Keep returns the part of the conflict that stays: the records that exists
// says DNS has. With none of them, the Set has no Records.
func (c Conflict) Keep(exists func(Record) bool) Set {
	kept := c.Set
	kept.Records = nil
	for _, w := range c.Records {
		if exists(w.Record) {
			kept.Records = append(kept.Records, w)
		}
	}
	return kept
}

// Desired unites claims. Several claims for one value are one record that all
// of them own. Several values of one name and type are united if the same
// device claims all of them, and are a Conflict otherwise. Both results are
// ordered by name and type and do not depend on the order of the claims.
func Desired(claims iter.Seq[Claim]) ([]Set, []Conflict) {
	type key struct {
		name  string
		rtype Type
	}
	groups := make(map[key][]Claim)
	for c := range claims {
		k := key{c.Record.Name, c.Record.Type}
		groups[k] = append(groups[k], c)
	}
	keys := slices.SortedFunc(maps.Keys(groups), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.rtype, b.rtype))
	})
	var sets []Set
	var conflicts []Conflict
	for _, k := range keys {
		group := groups[k]
		slices.SortFunc(group, Claim.compare)
		set := unite(group)
		if len(set.Records) > 1 && !oneDevice(group) {
			conflicts = append(conflicts, Conflict{Set: set, Claims: group})
		} else {
			sets = append(sets, set)
		}
	}
	return sets, conflicts
}

func (c Claim) compare(o Claim) int {
	return cmp.Or(
		c.Record.Compare(o.Record), c.Host.Compare(o.Host), cmp.Compare(c.Zone, o.Zone),
		cmp.Compare(c.Device.Type, o.Device.Type), cmp.Compare(c.Device.Identifier, o.Device.Identifier))
}

// unite makes one Set of the sorted claims for a name and type.
func unite(claims []Claim) Set {
	first := claims[0]
	set := Set{Name: first.Record.Name, Type: first.Record.Type, Zone: first.Zone}
	for len(claims) > 0 {
		record := claims[0].Record
		n := 0
		var hosts []events.Key
		for n < len(claims) && claims[n].Record.Same(record) {
			hosts = append(hosts, claims[n].Host)
			n++
		}
		set.Records = append(set.Records, Wanted{Record: record, Owner: NewOwner(hosts...)})
		claims = claims[n:]
	}
	return set
}

// oneDevice tells whether all claims come from the same device. A claim
// without an identifier is not known to be of the same device as another.
func oneDevice(claims []Claim) bool {
	first := claims[0].Device
	if first.Identifier == "" {
		return false
	}
	return !slices.ContainsFunc(claims, func(c Claim) bool { return c.Device != first })
}
