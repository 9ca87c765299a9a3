package events

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// View is the state of all reservations as the stream tells it. It is filled
// by Watch and may be read from any goroutine.
//
// A View is empty until the stream has been read to its end once, and whole
// from then on: when Watch has to read the stream anew, the View keeps the old
// state until the new one is complete.
type View struct {
	mu       sync.RWMutex
	state    state
	caughtUp bool
}

// NewView returns an empty View.
func NewView() *View { return &View{state: newState()} }

// SourceState is what a View knows of one source.
type SourceState struct {
	Source string
	// Heartbeat is the newest one.
	Heartbeat Heartbeat
	// Live is the number of reservations of the source in the View.
	Live int
	// Unreadable is the number of rows whose message could not be read.
	Unreadable int
	// Complete says that at its newest heartbeat the source was complete and
	// the View held all of it. Only then does absence mean anything.
	Complete bool
}

// Gone tells whether the source was retired and nothing of it is left. Nobody
// will publish it again, and no later heartbeat confirms that: a person did.
//
// A source that comes back into service all the same is not gone from its first
// reservation on, before its first heartbeat tells of it.
func (s SourceState) Gone() bool { return s.Heartbeat.Retired && s.Complete && s.Live == 0 }

// CaughtUp tells whether the View has been filled.
func (v *View) CaughtUp() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.caughtUp
}

// Len returns the number of live reservations.
func (v *View) Len() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := 0
	for _, s := range v.state.sources {
		n += s.Live
	}
	return n
}

// Reservations returns all live reservations, without those that a later row
// of the same device has replaced (see Current), ordered by Key.
func (v *View) Reservations() []Reservation {
	v.mu.RLock()
	live := make([]Reservation, 0, len(v.state.rows))
	for _, row := range v.state.rows {
		if !row.Deleted() {
			live = append(live, row.Reservation)
		}
	}
	v.mu.RUnlock()
	return Current(live)
}

// Last returns the newest change of a row, also when that was its deletion. ok
// is false if the stream holds nothing of the row.
func (v *View) Last(k Key) (c Change, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row, ok := v.state.rows[k]
	if !ok {
		return Change{}, false
	}
	return *row, true
}

// Find returns the newest changes of the rows that match says yes to, deletions
// included, ordered by Key. match must be quick and must not use the View, which
// waits for it.
func (v *View) Find(match func(Change) bool) []Change {
	v.mu.RLock()
	var found []Change
	for _, row := range v.state.rows {
		if match(*row) {
			found = append(found, *row)
		}
	}
	v.mu.RUnlock()
	slices.SortFunc(found, func(a, b Change) int { return a.Reservation.Key().Compare(b.Reservation.Key()) })
	return found
}

// Source returns the state of a source. ok is false if the stream holds
// nothing of it.
func (v *View) Source(name string) (s SourceState, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	st, ok := v.state.sources[name]
	if !ok {
		return SourceState{Source: name}, false
	}
	return st.SourceState, true
}

// Sources returns the states of all sources, ordered by name.
func (v *View) Sources() []SourceState {
	v.mu.RLock()
	defer v.mu.RUnlock()
	names := slices.Sorted(maps.Keys(v.state.sources))
	all := make([]SourceState, len(names))
	for i, name := range names {
		all[i] = v.state.sources[name].SourceState
	}
	return all
}

// Absence is the hold-down of one thing that no reservation asks for any more:
// it proves, by heartbeats, that the thing has been absent for a while and was
// not merely overlooked. All times are of the databases' clocks, so the clocks
// of the publisher and of the consumer do not matter. A source that is gone for
// good (SourceState.Gone) proves it at once. An Absence belongs to one goroutine.
type Absence struct {
	began map[string]time.Time // last heartbeat before the absence, by source
	since map[string]time.Time // first heartbeat that testifies to it
}

// NewAbsence starts a hold-down now, by the word of the given sources.
func NewAbsence(v *View, sources ...string) *Absence {
	a := &Absence{began: make(map[string]time.Time), since: make(map[string]time.Time)}
	for _, name := range sources {
		s, _ := v.Source(name)
		a.began[name] = s.Heartbeat.DrainedAt
	}
	return a
}

// Confirmed tells whether every source has said twice that it is complete, the
// first time after the absence began and the last time at least hold later. A
// source that was not complete in between starts from the beginning; one that
// the stream does not know never confirms. One that is Gone has confirmed: it
// will say nothing any more.
func (a *Absence) Confirmed(v *View, hold time.Duration) bool {
	confirmed := len(a.began) > 0
	for name, began := range a.began {
		s, _ := v.Source(name)
		drained := s.Heartbeat.DrainedAt
		switch since, testified := a.since[name]; {
		case s.Gone():
		case !s.Complete:
			delete(a.since, name)
			confirmed = false
		case !drained.After(began):
			confirmed = false
		case !testified:
			a.since[name] = drained
			confirmed = confirmed && hold <= 0
		case drained.Before(since.Add(hold)):
			confirmed = false
		}
	}
	return confirmed
}
