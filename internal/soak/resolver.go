package soak

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/solidsim"
)

// resolver looks at all records of DNS every few milliseconds. It knows what a
// moment without a record is, and notes what changes.
type resolver struct {
	*run

	mu sync.Mutex
	// orphans are places of names with a record of ours that no row wanted when
	// the DNS writer was started.
	orphans map[place]bool
	// deleted are places whose record was deleted by hand.
	deleted map[place]bool
	// seen is when an address was last at a name, whoever wrote it.
	seen map[string]map[string]time.Time
}

func newResolver(r *run) *resolver {
	return &resolver{
		run: r, orphans: make(map[place]bool), deleted: make(map[place]bool), seen: make(map[string]map[string]time.Time),
	}
}

// sight is what the resolver sees at one look.
type sight struct {
	names map[string]string // all records of a name, as text
	ours  map[place]string  // all values of a place, as text
}

// work looks until ctx ends.
func (v *resolver) work(ctx context.Context) {
	before := v.see()
	for ctx.Err() == nil {
		now := v.see()
		v.remember()
		v.note(before, now)
		v.count(before, now)
		before = now
		pause(ctx, 20*time.Millisecond)
	}
}

func (v *resolver) see() sight {
	now := sight{make(map[string]string), make(map[place]string)}
	all := make(map[place]bool)
	for _, r := range v.appliance.records() {
		now.names[r.Name] += fmt.Sprintf("%s %s (%s) ", r.Type, r.Value, whose(r))
		all[placeOf(r)] = true
		if isOurs(r) {
			now.ours[placeOf(r)] += r.Value + " "
		}
	}
	for i := range steadyRows {
		for _, at := range steadyPlaces(i) {
			v.steady.look(at, all[at])
		}
	}
	return now
}

// remember takes note of all addresses.
func (v *resolver) remember() {
	records, now := v.appliance.records(), time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range records {
		if r.Type != "A" && r.Type != "AAAA" {
			continue
		}
		if v.seen[r.Name] == nil {
			v.seen[r.Name] = make(map[string]time.Time)
		}
		v.seen[r.Name][r.Value] = now
	}
}

// longAgo is more than a DNS writer may be wrong about what DNS has, stand still
// before a call, or have a call held back.
const longAgo = 75 * time.Second

// pointed takes in that a PTR record is about to be made, or made to lead to
// another name. It is true only if that name has the address: it must have had it
// not long ago, unless somebody touched it or told the DNS writer of the past.
func (v *resolver) pointed(reverse, target string) {
	v.remember()
	if v.misled.Load() || v.foreigners.isTouched(target) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for value, at := range v.seen[target] {
		if addr, err := netip.ParseAddr(value); err == nil && e2e.ReverseName(addr) == reverse && time.Since(at) < longAgo {
			return
		}
	}
	v.fail(broken(fmt.Errorf("%s is to lead to %s, which did not have that address in the last %v", reverse, target, longAgo)))
}

// note notes what is different from before.
func (v *resolver) note(before, now sight) {
	for name, was := range before.names {
		if now.names[name] == "" {
			v.times.noteName(name, "DNS", "was %sand is gone", was)
		}
	}
	for name, is := range now.names {
		if was := before.names[name]; was != is {
			v.times.noteName(name, "DNS", "is %s", is)
		}
	}
}

// count counts what shows that a hard case was reached.
func (v *resolver) count(before, now sight) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for at := range v.orphans {
		if now.ours[at] == "" {
			delete(v.orphans, at)
			v.coverage.add(v.coverage.reached, caseOrphan, 1)
		}
	}
	for at := range v.deleted {
		if now.ours[at] != "" {
			delete(v.deleted, at)
			v.coverage.add(v.coverage.reached, caseRemade, 1)
		}
	}
	for at, is := range now.ours {
		if was := before.ours[at]; at.rtype == "PTR" && was != "" && was != is && !v.foreigners.isTouched(at.name) {
			v.coverage.add(v.coverage.reached, caseRepointed, 1)
		}
	}
}

// lookForOrphans takes note of the records that the DNS writer, which starts now,
// has to remove one day. Without the database it does not know.
func (v *resolver) lookForOrphans(ctx context.Context) {
	wanted, err := v.hostnames(ctx)
	if err != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.orphans = make(map[place]bool)
	for _, r := range v.appliance.records() {
		if isOurs(r) && r.Type != "PTR" && !slices.Contains(wanted, r.Name) {
			v.orphans[placeOf(r)] = true
		}
	}
}

// deletedByHand notes that somebody has deleted the record of a place.
func (v *resolver) deletedByHand(at place) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.deleted[at] = true
	delete(v.orphans, at)
}

// isOurs tells whether a record has the mark of the DNS writer, or one that was
// copied from it.
func isOurs(r solidsim.Record) bool {
	return strings.Contains(r.ClassParameters, "managed_by=keastream")
}

func whose(r solidsim.Record) string {
	if isOurs(r) {
		return "ours"
	}
	return "foreign"
}

// hostnames returns the names in DNS of all rows, also of those that get none.
func (r *run) hostnames(ctx context.Context) (names []string, err error) {
	names, err = r.world.askAll(ctx, `SELECT lower(hostname) FROM hosts WHERE hostname <> '' ORDER BY hostname`)
	for i := range names {
		names[i] += "." + e2e.Zone
	}
	return names, err
}
