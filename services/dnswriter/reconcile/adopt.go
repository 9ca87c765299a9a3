package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Adoption is a record of somebody else that a reservation asks for, as it is.
type Adoption struct {
	Scope string
	Row   dns.Row
	// Owner is what its mark is to say.
	Owner dns.Owner
}

// String says it in one line: "a.lab.example.com A 192.0.2.1".
func (a Adoption) String() string { return recordText(a.Row.Record) }

func recordText(r dns.Record) string { return fmt.Sprintf("%s %s %s", r.Name, r.Type, r.Value) }

// Findings are the records of others, seen from what reservations ask for.
type Findings struct {
	// Adoptions are equal to what is wanted but for the TTL, at names at which
	// nobody has anything else of the type.
	Adoptions []Adoption
	// Conflicts are names at which others have something else than what is wanted,
	// or the same twice: a person has to decide about them first.
	Conflicts []Conflict
	// Stale are records of others, in the zones that are written, that no
	// reservation asks for: PTR records only if they lead into one of these zones.
	Stale []dns.Row
}

// FindAdoptions reads all zones and looks which records of others could be adopted.
// It writes nothing. All lists are sorted.
func (r *Reconciler) FindAdoptions(ctx context.Context) (Findings, error) {
	if err := r.awaitView(ctx); err != nil {
		return Findings{}, err
	}
	if err := r.readAll(ctx); err != nil {
		return Findings{}, err
	}
	var found Findings
	for _, name := range r.foreignNames() {
		r.mu.Lock()
		r.findAt(name, &found)
		r.mu.Unlock()
	}
	return found, ctx.Err()
}

// foreignNames returns the names that have a row which is not ours, forward ones
// first.
func (r *Reconciler) foreignNames() (names []string) {
	r.mu.Lock()
	for name, first := range r.cache.rows.first {
		if !first.ours() || slices.ContainsFunc(r.cache.rows.more[name], func(p packed) bool { return !p.ours() }) {
			names = append(names, name)
		}
	}
	r.mu.Unlock()
	slices.SortFunc(names, compareNames)
	return names
}

// findAt sorts out the foreign rows of one name. The caller holds r.mu.
func (r *Reconciler) findAt(name string, found *Findings) {
	zone, ready := r.readyZone(name)
	if !ready {
		return
	}
	want, rows := r.index.want(name), r.cache.at(name)
	slices.SortFunc(rows, func(a, b dns.Row) int { return cmp.Or(a.Record.Compare(b.Record), cmp.Compare(a.ID, b.ID)) })
	conflicts := r.plan(name).Conflicts
	isAlias := slices.ContainsFunc(rows, func(row dns.Row) bool { return row.Type == dns.CNAME && row.Zone == zone && !row.Deleting })
	for _, rtype := range managedTypes {
		others := slices.DeleteFunc(slices.Clone(rows), func(row dns.Row) bool {
			return row.Type != rtype || ours(row) || row.Deleting || row.Zone != zone
		})
		set := slices.IndexFunc(want.Sets, func(s dns.Set) bool { return s.Type == rtype })
		claimed := slices.ContainsFunc(want.Conflicts, func(c dns.Conflict) bool { return c.Type == rtype })
		switch {
		case len(others) == 0 || claimed || isAlias: // a conflict is among the plan's
		case set < 0:
			for _, row := range others {
				if rtype != dns.PTR || r.cfg.concerns(row.Value) {
					found.Stale = append(found.Stale, row)
				}
			}
		default:
			adoptions := adoptable(want.Sets[set], rows, others)
			for _, a := range adoptions {
				a.Scope = r.cfg.Scope
				found.Adoptions = append(found.Adoptions, a)
			}
			known := func(c Conflict) bool { return c.Type == rtype && c.Kind == Foreign }
			switch {
			case len(adoptions) > 0: // what is missing beside them is made once they are ours
				conflicts = slices.DeleteFunc(conflicts, known)
			case !slices.ContainsFunc(conflicts, known):
				conflicts = append(conflicts, rowsConflict(Foreign, want.Sets[set], others))
			}
		}
	}
	found.Conflicts = append(found.Conflicts, conflicts...)
}

// concerns tells whether a name lies in one of the zones that are written.
func (c Config) concerns(name string) bool {
	_, ok := c.Zones.Of(name)
	return ok
}

// adoptable returns what can be adopted of the foreign rows of a name and type:
// all of them or none. One that differs from what is wanted would be in conflict
// with the others once they are ours, and of one that is there more than once it
// cannot be told which one to take.
func adoptable(set dns.Set, rows, others []dns.Row) (list []Adoption) {
	for _, row := range others {
		i := slices.IndexFunc(set.Records, func(w dns.Wanted) bool { return w.Record.Same(row.Record) })
		if i < 0 {
			return nil
		}
		equal := 0
		for _, other := range rows {
			if other.Record.Same(row.Record) && !other.Deleting {
				equal++
			}
		}
		if equal > 1 {
			return nil
		}
		list = append(list, Adoption{Row: row, Owner: set.Records[i].Owner})
	}
	return list
}

// CompareAdoptions orders them by scope, name and record, forward names first.
func CompareAdoptions(a, b Adoption) int {
	return cmp.Or(strings.Compare(a.Scope, b.Scope), compareNames(a.Row.Name, b.Row.Name), a.Row.Record.Compare(b.Row.Record))
}
