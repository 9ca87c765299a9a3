package reconcile

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// ledger is what a Reconciler tells of itself: it says once that something has
// come up and once that it is over, and counts in between. It is guarded by the
// Reconciler's mutex.
type ledger struct {
	metrics   scoped
	tallies   map[string]*tallies   // by name, without those that are zero
	shared    map[tallies]*tallies  // each of them once: nearly all are equal
	conflicts map[string][]*dispute // by name
	failing   map[string]bool       // names that are tried again
	skipped   map[string][]Step     // by name, what the policy does not allow

	history history
	made    counts // by the running check
	total   counts // since the start
	checked bool   // a check of all zones has succeeded
	// unread says why the last reading failed.
	unread map[area]error
	// away says why the server does not answer, awaySince since when.
	away      error
	awaySince time.Time
}

// tallies are those of one name, by the places of managedTypes.
type tallies [len(managedTypes)]Tally

// dispute is a conflict that was found.
type dispute struct {
	Conflict
	since  time.Time
	raised bool
}

// counts are changes that were accepted.
type counts struct{ created, updated, removed int }

func (c *counts) add(op Op) {
	switch op {
	case Create:
		c.created++
	case Update:
		c.updated++
	case Remove:
		c.removed++
	}
}

func newLedger(metrics scoped) ledger {
	return ledger{
		metrics:   metrics,
		tallies:   make(map[string]*tallies),
		shared:    make(map[tallies]*tallies),
		conflicts: make(map[string][]*dispute),
		failing:   make(map[string]bool),
		skipped:   make(map[string][]Step),
		unread:    make(map[area]error),
	}
}

// clear forgets all but the totals.
func (l *ledger) clear() {
	for name := range l.tallies {
		l.tally(name, nil)
	}
	for _, disputes := range l.conflicts {
		for _, d := range disputes {
			if d.raised {
				l.metrics.conflict(d.Kind, -1)
			}
		}
	}
	for _, steps := range l.skipped {
		for _, s := range steps {
			l.metrics.skipped(s.Op, -1)
		}
	}
	l.metrics.parked(reasonFailing, float64(-len(l.failing)))
	total := l.total
	*l = newLedger(l.metrics)
	l.total = total
}

// enter takes note of the plan of one name.
func (r *Reconciler) enter(ctx context.Context, name string, changes Changes) {
	r.tally(name, changes.Tallies)
	r.skip(ctx, name, changes.Skipped)
	before := r.conflicts[name]
	var now []*dispute
	for _, c := range changes.Conflicts {
		i := slices.IndexFunc(before, func(d *dispute) bool { return d.Equal(c) })
		if i >= 0 {
			now = append(now, before[i])
		} else {
			now = append(now, &dispute{Conflict: c, since: time.Now()})
		}
	}
	for _, d := range before {
		if !slices.Contains(now, d) && d.raised {
			r.metrics.conflict(d.Kind, -1)
			r.log.InfoContext(ctx, "conflict is over", "name", d.Name, "type", string(d.Type), "kind", string(d.Kind))
		}
	}
	if len(now) == 0 {
		delete(r.conflicts, name)
		return
	}
	r.conflicts[name] = now
}

// tally replaces what a name counts for.
func (l *ledger) tally(name string, found map[dns.Type]Tally) {
	var before, now tallies
	if known := l.tallies[name]; known != nil {
		before = *known
	}
	for i, rtype := range managedTypes {
		if now[i] = found[rtype]; now[i] != before[i] {
			l.metrics.tally(rtype, before[i], now[i])
		}
	}
	switch {
	case now == before:
	case now == tallies{}:
		delete(l.tallies, name)
	default:
		if l.shared[now] == nil {
			l.shared[now] = new(now)
		}
		l.tallies[name] = l.shared[now]
	}
}

// skip tells of steps that the policy does not allow.
func (r *Reconciler) skip(ctx context.Context, name string, steps []Step) {
	before := r.skipped[name]
	same := func(a, b Step) bool { return a.String() == b.String() }
	for _, s := range before {
		r.metrics.skipped(s.Op, -1)
	}
	for _, s := range steps {
		r.metrics.skipped(s.Op, 1)
		if !slices.ContainsFunc(before, func(b Step) bool { return same(s, b) }) {
			r.log.InfoContext(ctx, "would change dns, but the policy does not allow it", "step", s, "policy", r.policy())
		}
	}
	if len(steps) == 0 {
		delete(r.skipped, name)
		return
	}
	r.skipped[name] = steps
}

// noted returns the names of which something is noted, in no order and some of
// them twice.
func (r *Reconciler) noted() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, names := range []iter.Seq[string]{
			maps.Keys(r.tallies), maps.Keys(r.conflicts), maps.Keys(r.skipped), maps.Keys(r.holds), maps.Keys(r.waiting),
			maps.Keys(r.replacements), maps.Keys(r.following),
		} {
			for name := range names {
				if !yield(name) {
					return
				}
			}
		}
	}
}

// raise tells of the conflicts that have come up. Those between reservations
// have to last for the hold-down: they also appear while somebody gives a name
// from one device to another.
func (r *Reconciler) raise(ctx context.Context, now time.Time) {
	for _, disputes := range r.conflicts {
		for _, d := range disputes {
			if d.raised || d.Kind == Claimants && now.Sub(d.since) < r.cfg.HoldDown {
				continue
			}
			d.raised = true
			r.metrics.conflict(d.Kind, 1)
			r.log.WarnContext(ctx, "conflict: the name is left as it is", "name", d.Name, "type", string(d.Type),
				"kind", string(d.Kind), "wanted", d.Wanted, "present", d.Present)
		}
	}
}

// reportParked tells of a reservation that gets no record, or not all of them,
// or does again.
func (r *Reconciler) reportParked(was, is []*dns.ParkedError) {
	same := func(a, b *dns.ParkedError) bool { return a.Detail == b.Detail }
	if slices.EqualFunc(was, is, same) {
		return
	}
	for _, p := range was {
		r.metrics.parked(string(p.Reason), -1)
	}
	for _, p := range is {
		r.metrics.parked(string(p.Reason), 1)
		r.log.Warn("parked a reservation", "source", p.Host.Source, "host_id", p.Host.HostID,
			"reason", string(p.Reason), "err", p)
	}
	if len(is) == 0 {
		r.log.Info("reservation is not parked any more", "source", was[0].Host.Source, "host_id", was[0].Host.HostID)
	}
}

// fails notes that a name has to be tried again. It returns whether that is new.
func (l *ledger) fails(name string) bool {
	if l.failing[name] {
		return false
	}
	l.failing[name] = true
	l.metrics.parked(reasonFailing, 1)
	return true
}

// mended notes that a name is settled.
func (r *Reconciler) mended(ctx context.Context, name string) {
	if !r.failing[name] {
		return
	}
	delete(r.failing, name)
	delete(r.history.failures, name)
	r.metrics.parked(reasonFailing, -1)
	r.log.InfoContext(ctx, "dns change succeeded after failures", "name", name)
}
