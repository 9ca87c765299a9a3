package soak

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/solidsim"
)

// foreigners are the records of other hands that are in DNS. Its methods may be
// called from several goroutines.
type foreigners struct {
	mu  sync.Mutex
	all map[solidsim.Record]*neighbours
	// touched are the names at which somebody did anything since the last quiet
	// point: of these the DNS writer learns by a check.
	touched map[string]bool
}

// neighbours are the records of ours that stand beside a foreign one. Some may,
// when it came; after the quiet point that follows none is added any more.
type neighbours struct {
	settled bool
	values  []string
}

func newForeigners() *foreigners {
	return &foreigners{all: make(map[solidsim.Record]*neighbours), touched: make(map[string]bool)}
}

func (f *foreigners) touch(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.touched[name] = true
}

func (f *foreigners) isTouched(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.touched[name]
}

func (f *foreigners) anyTouched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.touched) > 0
}

func (f *foreigners) add(r solidsim.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[r] = new(neighbours)
}

func (f *foreigners) remove(r solidsim.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, r)
}

// list returns them in an order that does not change by itself.
func (f *foreigners) list() []solidsim.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []solidsim.Record
	for r := range f.all {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b solidsim.Record) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return all
}

// settle returns an error if a record of ours was added beside a foreign one
// since the last quiet point, and takes note of what stands there now.
func (f *foreigners) settle(records []solidsim.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.touched)
	for r, n := range f.all {
		var values []string
		for _, other := range records {
			_, foreign := f.all[other]
			if !foreign && other.Name == r.Name && (other.Type == r.Type || r.Type == "CNAME") {
				values = append(values, other.Value)
			}
		}
		if n.settled && slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(n.values, v) }) {
			return fmt.Errorf("%s has the foreign %s %s, and ours beside it: %v, before %v", r.Name, r.Type, r.Value, values, n.values)
		}
		n.settled, n.values = true, values
	}
	return nil
}

// ours returns a record of ours by chance, other than of a steady name.
func (s *strike) ours() (r solidsim.Record, ok bool) {
	foreign := s.foreigners.list()
	all := slices.DeleteFunc(s.appliance.records(), func(r solidsim.Record) bool {
		return !isOurs(r) || s.steady.knows(r.Name) || slices.Contains(foreign, r)
	})
	if len(all) == 0 {
		return r, false
	}
	return all[s.random.IntN(len(all))], true
}

// byHand does something to a few records of ours. It struck if one was there.
func (s *strike) byHand(n int, do func(r solidsim.Record) error) (struck bool, err error) {
	for range n {
		struck = s.until(func() bool {
			r, ok := s.ours()
			return ok && do(r) == nil // it may be gone by now
		}) || struck
	}
	return struck, nil
}

// put adds a record as a person does.
func (s *strike) put(r solidsim.Record) error {
	s.foreigners.touch(r.Name)
	err := s.appliance.Add(solidsim.InternalServer, r)
	if err == nil {
		s.times.noteName(r.Name, "HAND", "adds %+v", r)
	}
	return err
}

// take removes one.
func (s *strike) take(r solidsim.Record) error {
	s.foreigners.touch(r.Name)
	err := s.appliance.Remove(solidsim.InternalServer, r)
	if err == nil {
		s.times.noteName(r.Name, "HAND", "removes %+v", r)
	}
	return err
}

func deleteOurs(s *strike) (bool, error) {
	return s.byHand(8, func(r solidsim.Record) error {
		err := s.take(r)
		if err == nil {
			s.resolver.deletedByHand(placeOf(r))
		}
		return err
	})
}

// changeOurs gives records another value or another TTL and leaves the mark on
// them.
func changeOurs(s *strike) (bool, error) {
	return s.byHand(8, func(r solidsim.Record) error {
		changed := r
		if changed.TTL = 60; s.random.IntN(3) > 0 {
			changed.TTL, changed.Value = r.TTL, testValue(s.random, r.Type)
		}
		return errors.Join(s.take(r), s.put(changed))
	})
}

// loseMarks takes the mark off records of ours: they are foreign from then on.
func loseMarks(s *strike) (bool, error) {
	return s.byHand(3, func(r solidsim.Record) error {
		if err := s.take(r); err != nil {
			return err
		}
		r.ClassParameters = ""
		err := s.put(r)
		if err == nil {
			s.foreigners.add(r)
		}
		return err
	})
}

// occupy adds records at names of reservations, and at names that lead back to
// them: with another value, as a CNAME, with the mark of another record.
func occupy(s *strike) (struck bool, err error) {
	var names []string
	if !s.until(func() bool { names, err = s.hostnames(s.ctx); return err == nil && len(names) > 0 }) {
		return false, nil
	}
	for range 6 {
		r := solidsim.Record{Name: names[s.random.IntN(len(names))], Type: "A", TTL: 3600}
		ours, ok := s.ours()
		switch n := s.random.IntN(7); {
		case n == 0:
			r.Type, r.Value = "CNAME", "elsewhere.example.com" // refused beside others
		case n == 1:
			r.Type, r.Value = "TXT", "somebody wrote this"
		case n == 2 && ok && ours.Name != r.Name:
			r.ClassParameters = ours.ClassParameters
		case n < 5 && ok:
			r.Name, r.Type = ours.Name, ours.Type
		}
		if s.steady.knows(r.Name) {
			continue
		}
		r.Value = cmp.Or(r.Value, testValue(s.random, r.Type))
		if s.put(r) == nil { // it need not be a name that DNS takes
			s.foreigners.add(r)
			struck = true
		}
	}
	return struck, nil
}

// settleElsewhere adds records that have nothing to do with reservations, but for
// the value of one.
func settleElsewhere(s *strike) (struck bool, err error) {
	for range 6 {
		name := fmt.Sprintf("hand-%d.%s", s.random.IntN(1_000_000), e2e.Zone)
		r := solidsim.Record{Name: name, Type: "A", Value: testValue(s.random, "A"), TTL: 300}
		if ours, ok := s.ours(); ok {
			r.Type, r.Value = ours.Type, ours.Value
			if r.Type == "PTR" {
				r.Name = e2e.ReverseName(netip.MustParseAddr(fmt.Sprintf("10.255.%d.%d", s.random.IntN(256), s.random.IntN(256))))
			}
			if s.random.IntN(2) == 0 {
				r.ClassParameters = ours.ClassParameters
			}
		}
		if err := s.put(r); err != nil {
			return struck, err
		}
		s.foreigners.add(r)
		struck = true
	}
	return struck, nil
}

// vacate removes half of the foreign records, and first adds some if there are
// none.
func vacate(s *strike) (struck bool, err error) {
	if len(s.foreigners.list()) == 0 {
		if _, err := occupy(s); err != nil {
			return false, err
		}
		s.wait()
	}
	all := s.foreigners.list()
	s.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, r := range all[:(len(all)+1)/2] {
		s.foreigners.remove(r)
		if err := s.take(r); err != nil {
			return struck, broken(fmt.Errorf("%s: a foreign record is gone: %w", r.Name, err))
		}
		struck = true
	}
	return struck, nil
}

// renumber deletes records, ours and foreign ones, and adds them again, so that
// they have other ids, as after a resynchronisation.
func renumber(s *strike) (struck bool, err error) {
	s.until(func() bool { _, ok := s.ours(); return ok })
	foreign := s.foreigners.list()
	for _, r := range s.appliance.records() {
		if s.steady.knows(r.Name) || s.random.IntN(3) > 0 || s.take(r) != nil {
			continue
		}
		struck = true
		again := s.put(r) // the DNS writer may have been faster
		if slices.Contains(foreign, r) {
			s.foreigners.remove(r)
			if again == nil {
				s.foreigners.add(r)
			}
		}
	}
	return struck, nil
}

// double stores records of ours a second time.
func double(s *strike) (bool, error) {
	return s.byHand(4, func(r solidsim.Record) error {
		s.foreigners.touch(r.Name)
		err := s.appliance.Double(solidsim.InternalServer, r)
		if err == nil {
			s.times.noteName(r.Name, "HAND", "doubles %+v", r)
		}
		return err
	})
}

// resynchronize gives all records other ids, time and again.
func resynchronize(s *strike) (bool, error) {
	for end := time.Now().Add(s.lasts); time.Now().Before(end) && s.ctx.Err() == nil; pause(s.ctx, 200*time.Millisecond) {
		if err := s.appliance.Resynchronize(solidsim.InternalServer, false); err != nil {
			return false, err
		}
	}
	return s.until(func() bool { return len(s.appliance.records()) > 0 }), nil
}

// testValue is a value that no reservation asks for (RFC 5737).
func testValue(r *rand.Rand, rtype string) string {
	n := 1 + r.IntN(254)
	switch rtype {
	case "AAAA":
		return fmt.Sprintf("2001:db8:ffff::%x", n)
	case "PTR":
		return fmt.Sprintf("hand-%d.%s", n, e2e.Zone)
	default:
		return fmt.Sprintf("192.0.2.%d", n)
	}
}
