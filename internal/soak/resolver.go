package soak

import (
	"context"
	"fmt"
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
	// orphans are names with a record of ours that no row wanted when the DNS
	// writer was started.
	orphans map[string]bool
	// deleted are names whose record was deleted by hand.
	deleted map[string]bool
}

// work looks until ctx ends.
func (v *resolver) work(ctx context.Context) {
	before := make(map[string]string)
	for ctx.Err() == nil {
		before = v.look(before)
		pause(ctx, 20*time.Millisecond)
	}
}

// look notes what is different from before, and returns what is there.
func (v *resolver) look(before map[string]string) map[string]string {
	now := make(map[string]string)
	ours := make(map[string]bool)
	for _, r := range v.appliance.records() {
		now[r.Name] += fmt.Sprintf("%s %s (%s) ", r.Type, r.Value, whose(r))
		ours[r.Name] = ours[r.Name] || isOurs(r)
	}
	for i := range steadyRows {
		v.steady.look(steadyName(i), now[steadyName(i)] != "")
	}
	for name, was := range before {
		if now[name] == "" {
			v.times.noteName(name, "DNS", "was %sand is gone", was)
		}
	}
	for name, is := range now {
		if was := before[name]; was != is {
			v.times.noteName(name, "DNS", "is %s", is)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for name := range v.orphans {
		if !ours[name] {
			delete(v.orphans, name)
			v.coverage.add(v.coverage.reached, caseOrphan, 1)
		}
	}
	for name := range v.deleted {
		if ours[name] {
			delete(v.deleted, name)
			v.coverage.add(v.coverage.reached, caseRemade, 1)
		}
	}
	return now
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
	v.orphans = make(map[string]bool)
	for _, r := range v.appliance.records() {
		if isOurs(r) && !slices.Contains(wanted, r.Name) {
			v.orphans[r.Name] = true
		}
	}
}

// deletedByHand notes that somebody has deleted the record of a name.
func (v *resolver) deletedByHand(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.deleted[name] = true
	delete(v.orphans, name)
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
