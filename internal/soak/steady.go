package soak

import (
	"fmt"
	"sync"
	"time"

	"github.com/keastream/keastream/internal/e2e"
)

// steady are names whose rows change all the time, in the ways of Kea and of
// people, and are never gone for as long as the hold-down. So from the moment that
// such a name has a record in DNS, it has one at every moment. Who looks, and
// when: the resolver every few milliseconds; the appliance before it creates a
// record of such a name, since what was removed too early is made again; and the
// check at the end of the round.
//
// Its methods may be called from several goroutines.
type steady struct {
	failed func(error) // is called at once when a name was gone

	mu    sync.Mutex
	names map[string]*presence
}

// presence is what is known of one name.
type presence struct {
	host int64 // the row that had it last
	// absent is since when its row may be gone; zero: it is there.
	absent time.Time
	// excused: since the last quiet point the row may have been gone for as long
	// as the hold-down, so that a removal is right, whenever it comes.
	excused bool
	inDNS   bool
}

// steadyRows is how many there are.
const steadyRows = 12

func steadyHostname(i int) string { return fmt.Sprintf("us3-cab90-ru%d-steady", i+1) }
func steadyName(i int) string     { return steadyHostname(i) + "." + e2e.Zone }

func newSteady(failed func(error)) *steady {
	s := &steady{failed: failed, names: make(map[string]*presence)}
	for i := range steadyRows {
		s.names[steadyName(i)] = &presence{absent: time.Now(), excused: true}
	}
	return s
}

func (s *steady) knows(name string) bool {
	_, ok := s.names[name] // the keys never change
	return ok
}

// leaves notes that the row of a name is about to go.
func (s *steady) leaves(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.names[name]; p.absent.IsZero() {
		p.absent = time.Now()
	}
}

// isBack notes that the name has a row.
func (s *steady) isBack(name string, host int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.names[name]
	p.excused = p.excused || p.overdue()
	p.absent, p.host = time.Time{}, host
}

// isAbsent tells whether the row of the name may be gone.
func (s *steady) isAbsent(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.names[name].absent.IsZero()
}

func (p *presence) overdue() bool { return !p.absent.IsZero() && time.Since(p.absent) >= holdDown }

// excuse notes that something is about to be done to all the names after which
// removals are right.
func (s *steady) excuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.names {
		p.excused = true
	}
}

// look takes in whether the name has a record at the moment.
func (s *steady) look(name string, inDNS bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.names[name]
	was := p.inDNS
	p.inDNS = inDNS
	if was && !inDNS && !p.excused && !p.overdue() {
		s.failed(broken(fmt.Errorf("for a moment %s had no record, and its rows were never gone for %v (host %d)", name, holdDown, p.host)))
	}
}

// settle begins anew at a quiet point, where DNS follows from the rows.
func (s *steady) settle(inDNS func(name string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range s.names {
		p.inDNS, p.excused = inDNS(name), !p.absent.IsZero()
	}
}
