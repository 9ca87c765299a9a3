package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// hold is the proof that nobody asks any more for some rows of one name. It
// begins when the plan first wants to remove them, and starts again when it
// wants to remove another one as well, and with each event that concerns the
// name: the plan may be made much later, and would not see that the rows were
// wanted in between. It ends when the plan wants none of them removed: Kea's own
// updates delete a row and insert another one, seconds apart.
type hold struct {
	absence *events.Absence
	sources []string
	rows    map[rowKey]bool
	told    bool // the brake knows of it
}

// rowKey is what a row is recognised by. Its id may change.
type rowKey struct {
	zone, name string
	rtype      dns.Type
	value      string
}

func keyOf(row dns.Row) rowKey { return rowKey{row.Zone, row.Name, row.Type, row.Value} }

// heartbeatAge is how old, by our own clock, the last heartbeat of a source may
// be at the moment of a removal. They come every 10 s. Behind a connection that
// is down a complete source looks complete for ever. One that was retired says
// nothing any more, and is no less gone for that.
const heartbeatAge = 30 * time.Second

// beat is the last heartbeat of a source: its own time, and ours when it came.
type beat struct{ at, came time.Time }

// observe keeps the hold of a name in line with its plan, remembers which steps
// have to wait, and tells the brake. The caller holds r.mu.
func (r *Reconciler) observe(name string, changes Changes) {
	defer r.tell(name)
	rows := make(map[rowKey]bool)
	sources := slices.Clone(r.cfg.Sources)
	waits := false
	var replacements []brake.Item
	for _, s := range changes.Steps {
		switch {
		case s.Op == Remove:
			rows[keyOf(s.Row)] = true
			sources = append(sources, s.Row.Owner.Sources()...)
		case s.replaces() && !r.accounted(*s.Row.Owner):
			waits = true
		case s.replaces() && r.cfg.Brake != nil:
			replacements = append(replacements, taking(brake.Replacement, s))
		}
	}
	if len(replacements) > 0 {
		r.replacements[name] = replacements
	} else {
		delete(r.replacements, name)
	}
	if waits {
		r.waiting[name] = true
	} else {
		delete(r.waiting, name)
	}
	if len(rows) == 0 {
		delete(r.holds, name)
		return
	}
	slices.Sort(sources)
	sources = slices.Compact(sources)
	if h := r.holds[name]; h != nil && h.covers(rows, sources) {
		h.rows = rows // one that is wanted again starts from the beginning
		return
	}
	r.holds[name] = &hold{absence: events.NewAbsence(r.cfg.View, sources...), sources: sources, rows: rows}
}

// restartHold starts the hold of a name again, if it has one. The caller holds
// r.mu, and is called by Watch: the View is as the hold has to begin with.
func (r *Reconciler) restartHold(name string) {
	if h := r.holds[name]; h != nil {
		h.absence = events.NewAbsence(r.cfg.View, h.sources...)
	}
}

// covers tells whether the hold is a proof for all the rows, by the word of all
// the sources.
func (h *hold) covers(rows map[rowKey]bool, sources []string) bool {
	for key := range rows {
		if !h.rows[key] {
			return false
		}
	}
	return !slices.ContainsFunc(sources, func(s string) bool { return !slices.Contains(h.sources, s) })
}

// mayTake tells whether a step may be taken now. The caller holds r.mu.
func (r *Reconciler) mayTake(s Step) bool {
	switch {
	case s.Op == Remove:
		return r.proven(s) && !r.brakes(s)
	case s.replaces():
		return r.accounted(*s.Row.Owner) && !r.brakes(s)
	default:
		return true
	}
}

// replaces tells whether the step takes away a value that DNS has.
func (s Step) replaces() bool { return s.Op == Update && s.Row.Value != s.Record.Value }

// accounted tells whether it is known what became of those who asked for a row:
// the view has the reservation, or its deletion, or its source is complete. A
// change of address is made at once, but while a stream is being filled again
// the row may belong to somebody who has not come back yet.
func (r *Reconciler) accounted(owner dns.Owner) bool {
	for _, key := range owner.Hosts {
		if _, known := r.index.last(key); known {
			continue
		}
		if s, _ := r.cfg.View.Source(key.Source); !s.Complete {
			return false
		}
	}
	return true
}

// proven tells whether a removal may be made now.
func (r *Reconciler) proven(s Step) bool {
	h := r.holds[s.Record.Name]
	if h == nil || !h.rows[keyOf(s.Row)] || !h.absence.Confirmed(r.cfg.View, r.cfg.HoldDown) {
		return false
	}
	return !slices.ContainsFunc(h.sources, func(source string) bool {
		if s, _ := r.cfg.View.Source(source); s.Gone() {
			return false
		}
		return time.Since(r.beats[source].came) > heartbeatAge
	})
}

// still tells whether a step may still be taken: there may be many steps between
// it and its plan, and each event of the name begins the proof of a removal anew.
func (r *Reconciler) still(s Step) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mayTake(s)
}

// heartbeat lets every hold hear the heartbeat, so that none misses that a
// source was incomplete in between, and asks for the names that may have their
// proof. Those that the brake holds back are asked for when it lets them go.
func (r *Reconciler) heartbeat(s events.SourceState) {
	r.mu.Lock()
	if !s.Heartbeat.At.Equal(r.beats[s.Source].at) { // a replay brings the last one again
		r.beats[s.Source] = beat{at: s.Heartbeat.At, came: time.Now()}
	}
	names := slices.Collect(maps.Keys(r.waiting))
	for name, h := range r.holds {
		if h.told != r.allComplete(h.sources) {
			r.tell(name)
		}
		if h.absence.Confirmed(r.cfg.View, r.cfg.HoldDown) && !r.braked(h) {
			names = append(names, name)
		}
	}
	r.mu.Unlock()
	slices.Sort(names)
	for _, name := range names {
		r.queue.nudge(name)
	}
}

// withheld lists what waits for its proof and not for the brake alone, each as "a.lab.example.com A
// 192.0.2.1", sorted, and the sources that are not complete. The caller holds
// r.mu.
func (r *Reconciler) withheld() (records, incomplete []string) {
	text := func(k rowKey) string { return fmt.Sprintf("%s %s %s", k.name, k.rtype, k.value) }
	sources := make(map[string]bool)
	for _, h := range r.holds {
		if r.brakedAlone(h) {
			continue // see brake.List
		}
		for key := range h.rows {
			records = append(records, text(key))
		}
		for _, source := range h.sources {
			sources[source] = true
		}
	}
	for name := range r.waiting {
		for _, s := range r.plan(name).Steps {
			if s.replaces() {
				records = append(records, text(keyOf(s.Row)))
				for _, source := range s.Row.Owner.Sources() {
					sources[source] = true
				}
			}
		}
	}
	slices.Sort(records)
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		if s, _ := r.cfg.View.Source(source); !s.Complete {
			incomplete = append(incomplete, source)
		}
	}
	return records, incomplete
}
