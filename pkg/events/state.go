package events

import (
	"iter"
	"slices"
	"time"
)

// state is the fold over the messages of the stream. It is not safe for
// concurrent use.
type state struct {
	// rows has the newest change of each row, deletions included. What a pointer
	// leads to never changes: it is shared with whoever was told of it.
	rows    map[Key]*Change
	sources map[string]*sourceFold
}

type sourceFold struct {
	SourceState
	unreadable map[Key]bool
	// mismatch is since when heartbeats count other reservations than we do.
	mismatch time.Time
}

func newState() state {
	return state{rows: make(map[Key]*Change), sources: make(map[string]*sourceFold)}
}

func (s *state) source(name string) *sourceFold {
	fold, ok := s.sources[name]
	if !ok {
		fold = &sourceFold{SourceState: SourceState{Source: name}, unreadable: make(map[Key]bool)}
		s.sources[name] = fold
	}
	return fold
}

// apply takes in the newest change of a row and returns what it means.
func (s *state) apply(c *Change) Difference {
	key := c.Reservation.Key()
	d := s.compare(key, c)
	fold := s.source(key.Source)
	if d.Before != nil {
		fold.Live--
	}
	if d.After != nil {
		fold.Live++
	}
	delete(fold.unreadable, key)
	fold.Unreadable = len(fold.unreadable)
	s.rows[key] = c
	return d
}

// compare compares c with what is known of the row.
func (s *state) compare(key Key, c *Change) Difference {
	d := Difference{Change: *c}
	if old, ok := s.rows[key]; ok && !old.Deleted() {
		d.Before = &old.Reservation
	}
	if !c.Deleted() {
		d.After = &c.Reservation
	}
	return d
}

// park notes that the newest message of a row cannot be read. The last state
// that could be read stays, and the source is not complete.
func (s *state) park(key Key) {
	fold := s.source(key.Source)
	fold.unreadable[key] = true
	fold.Unreadable = len(fold.unreadable)
	fold.Complete = false
}

// keep takes over from an older state the rows whose newest message cannot be
// read.
func (s *state) keep(old *state) {
	for _, fold := range s.sources {
		for key := range fold.unreadable {
			if _, known := s.rows[key]; known {
				continue // read well before, in this very pass
			}
			if c, ok := old.rows[key]; ok {
				s.rows[key] = c
				if !c.Deleted() {
					fold.Live++
				}
			}
		}
	}
}

// heartbeat takes in what a source says of itself. It returns false when the
// source has said for longer than patience that there are more or fewer
// reservations than were seen, though all could be read: then some were missed.
func (s *state) heartbeat(h Heartbeat, now time.Time, patience time.Duration) bool {
	fold := s.source(h.Source)
	fold.Heartbeat = h
	agrees := h.Hosts == fold.Live
	fold.Complete = h.Complete && agrees && fold.Unreadable == 0
	if !h.Complete || agrees || fold.Unreadable > 0 {
		fold.mismatch = time.Time{}
		return true
	}
	if fold.mismatch.IsZero() {
		fold.mismatch = now
	}
	return now.Sub(fold.mismatch) < patience
}

// differences goes through what leads from the state s to the state next,
// ordered by Key. A row that next does not know has vanished from the stream:
// its Difference has a Change without an operation. Neither state may change
// meanwhile.
func (s *state) differences(next *state) iter.Seq[Difference] {
	keys := make([]Key, 0, len(next.rows))
	for key, c := range next.rows {
		if old, ok := s.rows[key]; !ok && c.Deleted() || ok && old.same(c) {
			continue
		}
		keys = append(keys, key)
	}
	for key, old := range s.rows {
		if _, ok := next.rows[key]; !ok && !old.Deleted() {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, Key.Compare)
	return func(yield func(Difference) bool) {
		for _, key := range keys {
			d := Difference{}
			if c, ok := next.rows[key]; ok {
				d = s.compare(key, c)
			} else {
				d.Before = &s.rows[key].Reservation
			}
			if !yield(d) {
				return
			}
		}
	}
}

// same tells whether two changes leave the row in the same state.
func (c *Change) same(other *Change) bool {
	if c.Deleted() || other.Deleted() {
		return c.Deleted() && other.Deleted()
	}
	return c.Reservation.Equal(other.Reservation)
}
