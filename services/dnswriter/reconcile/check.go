package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// checks checks all zones at the start and every Config.Sweep, until ctx ends.
// Zones that could not be read are tried again sooner, alone.
func (r *Reconciler) checks(ctx context.Context) {
	for ctx.Err() == nil {
		due := time.Now().Add(r.cfg.Sweep)
		zones := r.cfg.Zones.All()
		r.announce(ctx)
		for attempt := 1; ; attempt++ {
			zones = r.check(ctx, zones)
			if len(zones) == 0 || !time.Now().Before(due) {
				break
			}
			if !sleep(ctx, min(pause(attempt, firstPause, unservedPause), time.Until(due))) {
				return
			}
		}
		sleep(ctx, time.Until(due))
	}
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

// check compares everything that is wanted in the zones with everything that is
// there, has the workers make it equal, and returns the zones that could not be
// read. Of these nothing is planned: what was not read is not absent.
//
// What was created without being read back is read back at the end, all of it
// at once. So a check of a zone that is in step costs one reading of the zone.
func (r *Reconciler) check(ctx context.Context, zones []string) (unread []string) {
	start := time.Now()
	r.mu.Lock()
	r.made = counts{}
	r.mu.Unlock()
	read, unread := r.readZones(ctx, zones)
	if len(read) == 0 {
		return unread
	}
	r.mu.Lock()
	for _, zone := range read {
		r.read[zone] = true
	}
	found := r.index.asking
	r.mu.Unlock()
	r.log.InfoContext(ctx, fmt.Sprintf("Found %d static reservations to check", found))

	for names := range slices.Chunk(r.names(read), portion) {
		r.queue.check(r.review(ctx, names))
		r.queue.open()
		if !r.queue.checkLeft(ctx, portion) {
			return nil
		}
	}
	r.queue.open()
	if !r.queue.checkLeft(ctx, 0) {
		return nil
	}
	if fresh := r.freshZones(); len(fresh) > 0 {
		reread, failed := r.readZones(ctx, fresh)
		r.confirmAll(ctx, reread)
		for _, zone := range failed { // its creations are confirmed when it is read again
			if !slices.Contains(unread, zone) {
				unread = append(unread, zone)
			}
		}
	}
	if ctx.Err() == nil {
		r.report(ctx, time.Since(start), len(unread) == 0)
	}
	return unread
}

// readZones reads zones into the cache. It returns those that were read and
// those that were not.
func (r *Reconciler) readZones(ctx context.Context, zones []string) (read, unread []string) {
	for _, zone := range zones {
		r.mu.Lock()
		r.cache.begin()
		r.mu.Unlock()
		rows, err := r.cfg.Provider.Records(ctx, zone)
		if err != nil {
			// Perhaps it is the zone alone: this says nothing about the server.
			unread = append(unread, zone)
			r.cannotRead(ctx, zone, err)
			continue
		}
		read = append(read, zone)
		r.note(ctx, nil, false)
		r.mu.Lock()
		r.cache.install(zone, rows)
		r.seen(rows)
		delete(r.unread, zone)
		r.mu.Unlock()
	}
	return read, unread
}

// cannotRead tells of a zone that cannot be read, once for each reason.
func (r *Reconciler) cannotRead(ctx context.Context, zone string, err error) {
	if ctx.Err() != nil {
		return // the reading was cut off by us
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if before := r.unread[zone]; before == nil || before.Error() != err.Error() {
		r.log.WarnContext(ctx, "a zone cannot be read, trying on", "zone", zone, "err", err)
	}
	r.unread[zone] = err
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

// names returns all names of the zones that are wanted, that have a row of ours,
// or that were counted for before.
func (r *Reconciler) names(zones []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := make(map[string]bool, len(r.index.claimants.first))
	for name := range r.index.claimants.first {
		set[name] = true
	}
	for name, rows := range r.cache.rows {
		if slices.ContainsFunc(rows, ours) {
			set[name] = true
		}
	}
	for key := range r.tallies {
		set[key.name] = true
	}
	names := make([]string, 0, len(set))
	for name := range set {
		if zone, ok := r.cfg.Zones.Of(name); ok && slices.Contains(zones, zone) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// freshZones returns the zones with rows that were created and not read back.
func (r *Reconciler) freshZones() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var zones []string
	for _, rows := range r.fresh {
		for _, row := range rows {
			if !slices.Contains(zones, row.Zone) {
				zones = append(zones, row.Zone)
			}
		}
	}
	slices.Sort(zones)
	return zones
}

// confirmAll judges what was created by a reading of the zones, and asks for
// the names where it did not go as it should. Names that a worker has read
// itself meanwhile are none of its business.
func (r *Reconciler) confirmAll(ctx context.Context, zones []string) {
	r.mu.Lock()
	var odd []string
	for name, rows := range r.fresh {
		inZones := slices.ContainsFunc(rows, func(row dns.Row) bool { return slices.Contains(zones, row.Zone) })
		if inZones && !r.suspect[name] {
			r.confirm(ctx, name)
			if len(r.plan(name).Steps)+len(r.withdrawn[name]) > 0 {
				r.suspect[name] = true
				odd = append(odd, name)
			}
		}
	}
	if len(r.fresh) == 0 {
		r.fresh = make(map[string][]dns.Row) // a map does not become smaller
	}
	r.mu.Unlock()
	slices.Sort(odd)
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
	r.cfg.Phase("following the stream")
	if failing == 0 {
		r.metrics.success.SetToCurrentTime()
	}
}
