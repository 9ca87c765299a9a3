package reconcile

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// checks checks everything at the start, again for what was sent just before it,
// and every Config.Sweep, until ctx ends. What could not be read is tried again
// sooner, alone.
func (r *Reconciler) checks(ctx context.Context) {
	start := time.Now()
	again := []time.Time{start.Add(lateness)}
	if r.cfg.Lease != nil {
		again = append(again, start.Add(takeover))
		for after := recheck; after < lateness; after += recheck {
			again = append(again, start.Add(after))
		}
	}
	sweep := start
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(sweep) {
			sweep = now.Add(r.cfg.Sweep)
		}
		again = slices.DeleteFunc(again, func(at time.Time) bool { return !now.Before(at) })
		due := soonest(sweep, again)
		areas := r.areas()
		r.announce(ctx)
		for attempt := 1; ; attempt++ {
			areas = r.check(ctx, areas)
			if len(areas) == 0 || !time.Now().Before(due) {
				break
			}
			if !sleep(ctx, min(r.readPause(attempt), time.Until(due))) {
				return
			}
		}
		sleep(ctx, time.Until(due))
	}
}

// soonest returns the earliest of some times.
func soonest(first time.Time, others []time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}

// readPause is the time before what could not be read is tried again.
func (r *Reconciler) readPause(attempt int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := pause(attempt, firstPause, unservedPause)
	for _, err := range r.unread {
		wait = max(wait, wished(err))
	}
	return wait
}

// sleep returns false if ctx ended before d was over.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// announce says that a check begins. Operators search their logs for this line
// and for those of report; they keep the form of the replaced system.
func (r *Reconciler) announce(ctx context.Context) {
	r.cfg.Phase("checking the records")
	r.log.InfoContext(ctx, "Starting DNS consistency check for existing reservations", "zones", r.cfg.Zones.All())
}

// check compares everything that is wanted in some areas with everything that is
// there, has the workers make it equal, and returns the areas that could not be
// read. Of these nothing is planned: what was not read is not absent. If there
// are other zones than before, all areas are checked.
//
// What was created without being read back is read back at the end, all of it
// at once. So a check of zones that are in step costs one reading of them, and of
// the list of zones.
func (r *Reconciler) check(ctx context.Context, areas []area) (unread []area) {
	start := time.Now()
	r.metrics.attempt.SetToCurrentTime()
	r.running.begin()
	defer r.running.end()
	r.mu.Lock()
	r.made = counts{}
	r.mu.Unlock()
	anew, err := r.survey(ctx)
	switch {
	case err != nil && !r.surveyed():
		return areas
	case err != nil:
		unread = append(unread, zoneList)
	case anew:
		areas = r.areas()
	}
	areas = slices.DeleteFunc(areas, func(a area) bool { return a == zoneList })
	read, failed := r.readAreas(ctx, areas)
	unread = append(unread, failed...)
	if len(read) == 0 && !anew && len(unread) > 0 {
		return unread
	}
	r.mu.Lock()
	found := len(r.index.asking)
	r.mu.Unlock()
	r.log.InfoContext(ctx, fmt.Sprintf("Found %d static reservations to check", found))

	if !r.settle(ctx, r.names(read, anew)) {
		return nil
	}
	if fresh := r.freshAreas(); len(fresh) > 0 {
		reread, failed := r.readAreas(ctx, fresh)
		r.confirmAll(ctx, reread)
		for _, a := range failed { // its creations are confirmed when it is read again
			if !slices.Contains(unread, a) {
				unread = append(unread, a)
			}
		}
	}
	if ctx.Err() == nil {
		r.report(ctx, time.Since(start), len(unread) == 0)
	}
	return unread
}

// surveyed tells whether the zones of the server are known.
func (r *Reconciler) surveyed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.index.placement.Served != nil
}

// settle plans names and waits until the workers have been through those of which
// something is to be done. It returns false if ctx ended before.
func (r *Reconciler) settle(ctx context.Context, names []string) bool {
	r.running.found(len(names))
	for some := range slices.Chunk(names, portion) {
		r.queue.check(r.review(ctx, some))
		r.running.reviewed(len(some))
		r.queue.open()
		if !r.queue.checkLeft(ctx, portion) {
			return false
		}
	}
	r.queue.open()
	return r.queue.checkLeft(ctx, 0)
}

// portion is how many names of a check are planned ahead of the workers, so that
// the first are written while the last are planned, and the queue stays short.
const portion = 1000

// review plans the names, takes note of the plans, and returns the names that
// have something to be done.
func (r *Reconciler) review(ctx context.Context, names []string) []string {
	var todo []string
	for _, name := range names {
		steps := r.next(ctx, name)
		if len(steps) > 0 {
			todo = append(todo, name)
		}
		for _, s := range steps {
			r.log.DebugContext(ctx, "planned", "step", s)
		}
	}
	return todo
}

// names returns the names that are to be planned after areas were read: those
// that are wanted there, that have a row of ours, or that were counted for
// before. Reverse names are always among them, since what is planned for them
// depends on forward names as well. With all it returns those of every area that
// was ever read. Forward names come first, so that PTR records find what they need.
func (r *Reconciler) names(areas []area, all bool) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, len(r.index.claimants.first))
	add := func(from iter.Seq[string], known func(string) bool) {
		for name := range from {
			if known(name) {
				continue
			}
			zone, ok := r.readyZone(name)
			if ok && (all || dns.IsReverse(name) || slices.Contains(areas, areaOf(zone))) {
				names = append(names, name)
			}
		}
	}
	wanted := func(name string) bool { _, ok := r.index.claimants.first[name]; return ok }
	add(maps.Keys(r.index.claimants.first), func(string) bool { return false })
	add(r.cache.ours(), wanted)
	add(r.noted(), wanted)
	slices.SortFunc(names, compareNames)
	return slices.Compact(names)
}

// freshAreas returns the areas with rows that were created and not read back.
func (r *Reconciler) freshAreas() []area {
	r.mu.Lock()
	defer r.mu.Unlock()
	var areas []area
	for _, zone := range r.fresh.zones() {
		areas = append(areas, areaOf(zone))
	}
	slices.Sort(areas)
	return slices.Compact(areas)
}

// confirmAll judges what was created by a reading of the areas, and asks for
// the names where it did not go as it should. Names that a worker has read
// itself meanwhile are none of its business.
func (r *Reconciler) confirmAll(ctx context.Context, areas []area) {
	r.mu.Lock()
	var odd []string
	for _, name := range slices.Collect(r.fresh.names()) {
		rows := r.fresh.at(name)
		wasRead := slices.ContainsFunc(rows, func(row dns.Row) bool { return slices.Contains(areas, areaOf(row.Zone)) })
		if wasRead && !r.suspect[name] {
			r.confirm(ctx, name)
			if len(r.plan(name).Steps)+len(r.withdrawn[name]) > 0 {
				r.suspect[name] = true
				odd = append(odd, name)
			}
		}
	}
	if len(r.fresh.first) == 0 {
		r.fresh = newRows() // a map does not become smaller
	}
	r.mu.Unlock()
	slices.SortFunc(odd, compareNames)
	for _, name := range odd {
		r.queue.nudge(name)
	}
}

// report tells of a check that is complete. whole says that all zones were read.
func (r *Reconciler) report(ctx context.Context, took time.Duration, whole bool) {
	r.mu.Lock()
	made, failing := r.made, len(r.failing)
	withheld, incomplete := r.withheld()
	conflicts, parked := len(r.conflicts), len(r.index.parked)
	r.checked = r.checked || whole
	r.history.checks = LastCheck{time.Now(), took.Seconds(), whole, made.created, made.updated, made.removed}
	r.mu.Unlock()
	r.log.InfoContext(ctx, fmt.Sprintf("DNS consistency check complete: %d records created", made.created),
		"updated", made.updated, "removed", made.removed,
		"withheld", len(withheld), "incomplete_sources", incomplete,
		"conflicts", conflicts, "parked", parked, "failing", failing,
		"in", took.Round(time.Millisecond))
	r.metrics.duration.Observe(took.Seconds())
	if !whole {
		return
	}
	r.cfg.Brake.Checked()
	r.cfg.Phase("following the stream")
	if failing == 0 {
		r.metrics.success.SetToCurrentTime()
	}
}
