package soak

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/solidsim"
)

// steady are rows that change all the time, in the ways of Kea and of people, and
// are never gone for as long as the hold-down. So from the moment that one of
// their places has a record in DNS, it has one at every moment. Who looks, and
// when: the resolver every few milliseconds; the appliance before it creates a
// record of such a place, since what was removed too early is made again; and the
// check at the end of the round.
//
// Its methods may be called from several goroutines.
type steady struct {
	failed func(error) // is called at once when a place was empty

	mu    sync.Mutex
	rows  [steadyRows]presence
	inDNS map[place]bool
}

// presence is what is known of one row.
type presence struct {
	host int64 // the host_id that it had last
	// absent is since when the row may be gone; zero: it is there.
	absent time.Time
	// excused: since the last quiet point the row may have been gone for as long
	// as the hold-down, so that a removal is right, whenever it comes.
	excused bool
}

// place is a name and a type in DNS.
type place struct{ name, rtype string }

func placeOf(r solidsim.Record) place { return place{r.Name, r.Type} }

func (p place) String() string { return p.name + " " + p.rtype }

// steadyRows is how many there are.
const steadyRows = 12

func steadyHostname(i int) string { return fmt.Sprintf("us3-cab90-ru%d-steady", i+1) }
func steadyName(i int) string     { return steadyHostname(i) + "." + e2e.Zone }

// steadyAddress is the IPv6 address that the row always has.
func steadyAddress(i int) string { return fmt.Sprintf("2001:db8:90::%x", i+1) }

// steadyPlaces are those of a row at which there is a record at every moment. Its
// IPv4 address changes, so the reverse name of that is not among them.
func steadyPlaces(i int) []place {
	return []place{{steadyName(i), "A"}, {steadyName(i), "AAAA"}, {e2e.ReverseName(netip.MustParseAddr(steadyAddress(i))), "PTR"}}
}

// steadyNumbers are the rows by the names of their places.
var steadyNumbers = func() map[string]int {
	numbers := make(map[string]int)
	for i := range steadyRows {
		for _, p := range steadyPlaces(i) {
			numbers[p.name] = i
		}
	}
	return numbers
}()

func newSteady(failed func(error)) *steady {
	s := &steady{failed: failed, inDNS: make(map[place]bool)}
	for i := range s.rows {
		s.rows[i] = presence{absent: time.Now(), excused: true}
	}
	return s
}

// knows tells whether a name is that of a steady row, or leads back to one.
func (s *steady) knows(name string) bool {
	_, ok := steadyNumbers[name]
	return ok
}

// leaves notes that a row is about to go.
func (s *steady) leaves(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := &s.rows[i]; p.absent.IsZero() {
		p.absent = time.Now()
	}
}

// isBack notes that a row is there.
func (s *steady) isBack(i int, host int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.rows[i]
	p.excused = p.excused || p.overdue()
	p.absent, p.host = time.Time{}, host
}

// isAbsent tells whether a row may be gone.
func (s *steady) isAbsent(i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.rows[i].absent.IsZero()
}

func (p *presence) overdue() bool { return !p.absent.IsZero() && time.Since(p.absent) >= holdDown }

// excuse notes that something is about to be done to all the rows after which
// removals are right.
func (s *steady) excuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.rows {
		s.rows[i].excused = true
	}
}

// look takes in whether a place has a record at the moment.
func (s *steady) look(at place, inDNS bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.rows[steadyNumbers[at.name]]
	was := s.inDNS[at]
	s.inDNS[at] = inDNS
	if was && !inDNS && !p.excused && !p.overdue() {
		s.failed(broken(fmt.Errorf("for a moment %s had no record, and its rows were never gone for %v (host %d)", at, holdDown, p.host)))
	}
}

// settle begins anew at a quiet point, where DNS follows from the rows.
func (s *steady) settle(inDNS func(place) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.rows {
		p := &s.rows[i]
		p.excused = !p.absent.IsZero()
		for _, at := range steadyPlaces(i) {
			s.inDNS[at] = inDNS(at)
		}
	}
}
