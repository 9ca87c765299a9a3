package reconcile

import (
	"slices"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// hold is the proof that nobody asks any more for some rows of one name. It
// begins when the plan first wants to remove them, and starts again when it
// wants to remove another one as well. It ends when the plan wants none of them
// removed: Kea's own updates delete a row and insert another one, seconds apart.
type hold struct {
	absence *events.Absence
	sources []string
	rows    map[rowKey]bool
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
// is down a complete source looks complete for ever.
const heartbeatAge = 30 * time.Second

// beat is the last heartbeat of a source: its own time, and ours when it came.
type beat struct{ at, came time.Time }

// observe keeps the hold of a name in line with its plan. The caller holds r.mu.
func (r *Reconciler) observe(name string, changes Changes) {
	rows := make(map[rowKey]bool)
	sources := slices.Clone(r.cfg.Sources)
	for _, s := range changes.Steps {
		if s.Op == Remove {
			rows[keyOf(s.Row)] = true
			sources = append(sources, s.Row.Owner.Sources()...)
		}
	}
	if len(rows) == 0 {
		delete(r.holds, name)
		return
	}
	if h := r.holds[name]; h != nil && h.covers(rows) {
		return
	}
	slices.Sort(sources)
	sources = slices.Compact(sources)
	r.holds[name] = &hold{absence: events.NewAbsence(r.cfg.View, sources...), sources: sources, rows: rows}
}

func (h *hold) covers(rows map[rowKey]bool) bool {
	for key := range rows {
		if !h.rows[key] {
			return false
		}
	}
	return true
}

// proven tells whether a removal may be made now. The caller holds r.mu and has
// just planned the name.
func (r *Reconciler) proven(s Step) bool {
	h := r.holds[s.Record.Name]
	if h == nil || !h.rows[keyOf(s.Row)] || !h.absence.Confirmed(r.cfg.View, r.cfg.HoldDown) {
		return false
	}
	return !slices.ContainsFunc(h.sources, func(source string) bool {
		return time.Since(r.beats[source].came) > heartbeatAge
	})
}

// heartbeat lets every hold hear the heartbeat, so that none misses that a
// source was incomplete in between, and asks for the names that have their
// proof.
func (r *Reconciler) heartbeat(s events.SourceState) {
	r.mu.Lock()
	if !s.Heartbeat.At.Equal(r.beats[s.Source].at) { // a replay brings the last one again
		r.beats[s.Source] = beat{at: s.Heartbeat.At, came: time.Now()}
	}
	var names []string
	for name, h := range r.holds {
		if h.absence.Confirmed(r.cfg.View, r.cfg.HoldDown) {
			names = append(names, name)
		}
	}
	r.mu.Unlock()
	slices.Sort(names)
	for _, name := range names {
		r.queue.nudge(name)
	}
}
