package brake

import (
	"slices"
	"time"
)

// window is how long a name that went counts against the limit.
const window = time.Hour

// state is what may become of a pending name.
type state uint8

const (
	waiting  state = iota // for a judgement or an approval
	within                // the limit
	again                 // it went already, in the last hour
	approved              // by a person
)

// pending is a name that some lanes want to take away or to change.
type pending struct {
	items   int32 // of all lanes
	state   state
	arrived uint64 // when, see Brake.arrival
}

// side is what the brake knows of one kind. All of it needs Brake.mu.
type side struct {
	kind    Kind
	names   map[string]pending
	waiting int // how many of them wait
	// moved is when one that waits last came or left, unjudged since when the first
	// one came that no judgement has seen; zero if there is none.
	moved, unjudged time.Time
	// changed says that the list is not what waits.
	changed bool
	judged  time.Time // when it last was
	list    *List     // what is withheld
	// spoken says that Run has judged what stands in the store of an earlier process;
	// stored says that the list, or that there is none, stands there.
	spoken, stored bool

	// recent are the names that went within the limit, and when; approvals know
	// those that were approved.
	recent    map[string]time.Time
	approvals []*approval
	// listed are the lists that were made last: an approval does not cover who came
	// later.
	listed []listing

	approvedNames int // how many of the names are approved

	owned, allowed int // at the last judgement
	measured       int // how many names were used then, see used
	measuredAt     time.Time
	granted        int // allowed when names were last let go
	room           int // how many replacements may still go at once
}

func newSide(kind Kind) *side {
	return &side{
		kind: kind, names: make(map[string]pending),
		recent: make(map[string]time.Time),
	}
}

// arrive takes note of an item. The caller holds b.mu.
func (b *Brake) arrive(item Item, now time.Time) {
	s := b.side(item.Kind)
	p, ok := s.names[item.Name]
	p.items++
	if ok {
		s.names[item.Name] = p
		b.touch(s, p, now)
		return
	}
	b.arrival++
	p.arrived = b.arrival
	p.state = b.first(s, item.Name, now)
	s.names[item.Name] = p
	switch p.state {
	case within, again:
		return
	case approved:
		s.approvedNames++
		return
	case waiting:
	}
	s.waiting++
	b.touch(s, p, now)
	if s.unjudged.IsZero() {
		s.unjudged = now
		b.poke()
	}
}

// first is what a name may that has just come. The caller holds b.mu.
func (b *Brake) first(s *side, name string, now time.Time) state {
	switch {
	case !b.loaded:
		return waiting
	case !b.checked && s.covered(name) != nil:
		return approved
	case s.went(name, now):
		return again
	case s.kind == Replacement && s.waiting == 0 && s.room > 0:
		s.room--
		s.granted = s.allowed
		return within
	default:
		return waiting
	}
}

// leave takes note that an item is not wanted any more. The caller holds b.mu.
func (b *Brake) leave(item Item, now time.Time) {
	s := b.side(item.Kind)
	p := s.names[item.Name]
	p.items--
	b.touch(s, p, now)
	if p.items > 0 {
		s.names[item.Name] = p
		return
	}
	delete(s.names, item.Name)
	switch p.state {
	case waiting:
		s.waiting--
		if s.waiting == 0 {
			s.unjudged = time.Time{}
			b.poke()
		}
	case approved:
		s.approvedNames--
		if !b.loaded {
			return // a leadership is over, and nobody asks for the name because of that
		}
		for _, a := range s.approvals {
			a.drop(item.Name)
			b.pokeToSave(a)
		}
	case within, again:
	}
}

// touch begins the time of rest before a judgement anew. It counts for names that
// leave, too: while a database is being restored, the list of what is withheld
// becomes shorter, and must not be let go as soon as it is short enough. Run has to
// hear of the first touch since a judgement: it would else look again when what was
// judged is to be judged anew. The caller holds b.mu.
func (b *Brake) touch(s *side, p pending, now time.Time) {
	before := s.changed
	s.touch(p, now)
	if s.changed && !before {
		b.poke()
	}
}

func (s *side) touch(p pending, now time.Time) {
	if p.state == waiting {
		s.moved, s.changed = now, true
	}
}

// went tells whether a name is one of those of the last hour, in which it may
// change again.
func (s *side) went(name string, now time.Time) bool {
	if at, ok := s.recent[name]; ok && now.Sub(at) < window {
		return true
	}
	for _, a := range s.approvals {
		if at, ok := a.done[name]; ok && now.Sub(at) < window {
			return true
		}
	}
	return false
}

// may tells whether a name may go now.
func (s *side) may(name string, now time.Time) bool {
	switch p, ok := s.names[name]; {
	case !ok:
		return false
	case p.state == again:
		return s.went(name, now)
	default:
		return p.state != waiting
	}
}

// covered returns the approval that covers a name, nil if there is none.
func (s *side) covered(name string) *approval {
	for _, a := range s.approvals {
		if !a.taken.IsZero() && a.names[name] {
			return a
		}
	}
	return nil
}

// open tells whether something is pending that was not judged, or not published.
func (s *side) open(checked bool) bool {
	return s.waiting > 0 && (s.changed || s.list == nil) || s.waiting == 0 && s.list != nil ||
		s.spoken && !s.stored || checked && !s.spoken
}

// listing is a list that was made, and Brake.arrival when its items were
// collected.
type listing struct {
	hash    string
	arrival uint64
}

// listings is how many are kept: nobody approves what he saw so long ago.
const listings = 100

func (s *side) remember(l listing) {
	s.listed = append(s.listed, l)
	s.listed = slices.Delete(s.listed, 0, max(0, len(s.listed)-listings))
}

// newest returns the arrival of the newest name that an approval of a list can
// mean. A list that is not known is that of another process.
func (s *side) newest(hash string) (arrival uint64, known bool) {
	for _, l := range slices.Backward(s.listed) {
		if l.hash == hash {
			return l.arrival, true
		}
	}
	return 0, false
}

// used is how many names went in the last hour or may go now.
func (s *side) used(now time.Time) int {
	n := 0
	for name, at := range s.recent {
		if at.After(now) {
			s.recent[name] = now // the clock was set back, or it was rounded up
		}
		if now.Sub(at) >= window {
			delete(s.recent, name)
			continue
		}
		n++
	}
	for _, a := range s.approvals {
		n += a.used(s, now)
	}
	for name, p := range s.names {
		if p.state != waiting && !s.went(name, now) && s.covered(name) == nil {
			n++
		}
	}
	return n
}

// recall lets those go on that went in the last hour, and adds them to names. Those
// whose hour is over wait as all others do.
func (s *side) recall(names map[string]bool, now time.Time) {
	for name, p := range s.names {
		if p.state == waiting && s.went(name, now) {
			p.state = again
			s.names[name] = p
			s.waiting--
			s.changed = true
			names[name] = true
		} else if p.state == again && !s.went(name, now) {
			s.hold(name, p, now)
		}
	}
	if s.waiting == 0 {
		s.unjudged = time.Time{}
	}
}

// grant lets everything go that waits, and adds it to names.
func (s *side) grant(names map[string]bool) {
	for name, p := range s.names {
		if p.state == waiting {
			p.state = within
			s.names[name] = p
			names[name] = true
		}
	}
	s.waiting, s.unjudged, s.changed = 0, time.Time{}, false
	s.granted = s.allowed
}
