package soak

import (
	"math/rand/v2"
	"slices"
	"time"
)

// class is what a fault touches. Two faults of one class would undo each other,
// so they do not meet in a round.
type class int

const (
	ofPublisher class = iota
	ofDatabase
	ofNATS
	ofDatabaseRoute
	ofNATSRoute
	ofStream
	ofRows
	ofDNSWriter
	ofDNSNATSRoute
	ofAPIRoute
	ofAppliance
	ofLatency
	ofPushes
	ofRecords
)

// kind is a kind of fault.
type kind struct {
	name  string
	class class
	// alone keeps other faults out of its round: it is there to bring about a
	// hard case, which others would prevent.
	alone bool
	// shortest and longest bound how long it lasts.
	shortest, longest time.Duration
	// length is that of the shortest soak that it is for: it lasts long.
	length time.Duration
	// forms are those in which it can happen; nil means all.
	forms []Form
	// strike does it, waits for that long, and takes it away again. It reports
	// whether it struck: false means that there was nothing to strike at.
	strike func(s *strike) (bool, error)
}

// planned is a fault of the plan.
type planned struct {
	kind  *kind
	after time.Duration // the begin of the round
	lasts time.Duration
	seed  uint64
}

// schedule deals the kinds of faults in an order of the seed, each once before
// any comes again, and puts them together to rounds.
type schedule struct {
	random *rand.Rand
	kinds  []*kind
	deck   []*kind
	dealt  int
}

// newSchedule makes a schedule of those of the kinds that the run can have. Each
// schedule of a run has another number.
func newSchedule(o Options, number uint64, kinds []kind) *schedule {
	s := &schedule{random: rand.New(rand.NewPCG(o.Seed, number))}
	for i := range kinds {
		if k := &kinds[i]; o.Length >= k.length && (k.forms == nil || slices.Contains(k.forms, o.Form)) {
			s.kinds = append(s.kinds, k)
		}
	}
	return s
}

// complete tells whether every kind was dealt.
func (s *schedule) complete() bool { return s.dealt >= len(s.kinds) }

// round returns the faults of the next round: one that stays alone, or up to four.
// After the first they are of the classes that have the most kinds left, so that
// the deck is dealt in few rounds.
func (s *schedule) round() []planned {
	if len(s.deck) == 0 {
		s.deck = slices.Clone(s.kinds)
		s.random.Shuffle(len(s.deck), func(i, j int) { s.deck[i], s.deck[j] = s.deck[j], s.deck[i] })
		// What takes long comes last, so that a run has seen the most when it ends.
		slices.SortStableFunc(s.deck, func(a, b *kind) int { return int(a.length - b.length) })
	}
	round := []planned{s.plan(0)}
	if round[0].kind.alone {
		return round
	}
	for range 2 + s.random.IntN(2) {
		i := s.fitting(round)
		if i < 0 {
			break
		}
		round = append(round, s.plan(i))
	}
	return round
}

// fitting returns the place of a kind that fits into a round, -1 if there is none.
func (s *schedule) fitting(round []planned) int {
	left := make(map[class]int)
	for _, k := range s.deck {
		if !k.alone {
			left[k.class]++
		}
	}
	for _, p := range round {
		delete(left, p.kind.class)
	}
	best := -1
	for i, k := range s.deck {
		if !k.alone && left[k.class] > 0 && (best < 0 || left[k.class] > left[s.deck[best].class]) {
			best = i
		}
	}
	return best
}

// plan takes a kind from the deck.
func (s *schedule) plan(i int) planned {
	k := s.deck[i]
	s.deck = slices.Delete(s.deck, i, i+1)
	s.dealt++
	return planned{
		kind:  k,
		after: time.Duration(200+s.random.IntN(1300)) * time.Millisecond,
		lasts: k.shortest + time.Duration(s.random.Int64N(int64(k.longest-k.shortest)+1)),
		seed:  s.random.Uint64(),
	}
}
