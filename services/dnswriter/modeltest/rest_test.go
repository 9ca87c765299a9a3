package modeltest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keastream/keastream/solidsim"
)

// rest waits until DNS is what it has to be, and stays so. It gives signs of life
// meanwhile, starts again what has crashed, and lets go on what stands still.
func (w *world) rest() {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	w.mu.Lock()
	w.toFreeze = nil
	w.mu.Unlock()
	w.await("all instances work", deadline, func() bool { return w.freezing() == nil && w.healAt.IsZero() })
	for {
		w.fence(deadline)
		problem := w.problem()
		if problem == "" {
			w.later(deadline)
			problem = w.problem()
		}
		if problem == "" {
			break
		}
		if time.Now().After(deadline) {
			w.fail("after %s still:\n%s", patience, problem)
		}
		w.pace()
	}
	if w.late {
		w.late = false
		w.reached.add(caseLateWrite)
	}
	held := w.isWithheld()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrote) > 1 && w.options.form == unleased {
		w.reached.add(caseBothWrote)
	}
	clear(w.wrote)
	wanted := want(w.rows)
	w.rested(held, wanted)
	w.steady = make(map[record]bool)
	for _, r := range w.ours() {
		at := set{r.Name, r.Type}
		if wish := wanted[at]; wish != nil && wish.values[r.Value] && !w.intruded[at] {
			w.steady[recordOf(r)] = true
		}
		if strings.Contains(r.ClassParameters, "standby%2Cus3") {
			w.reached.add(caseTwoSources)
		}
	}
}

// pace waits a moment.
func (w *world) pace() {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-w.broker.t.Context().Done():
		w.t.Fatalf("the test has ended")
	}
}

// problem says what DNS has that it must not have, and what it lacks.
func (w *world) problem() string {
	held := w.isWithheld()
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted, records := want(w.rows), w.sim.Records(server)
	return strings.Join(append(differences(wanted, records, held), held.vain(wanted, records)...), "\n")
}

// fence waits until all instances have taken in everything that was published: they
// follow the stream in order, so they have when they know of one thing more, and
// one acts on it.
func (w *world) fence(deadline time.Time) {
	w.t.Helper()
	w.fences++
	addr := fmt.Sprintf("203.0.113.%d", 1+w.fences%250)
	r := reservation("us3", 1, "fence", 0, addr)
	w.put(r)
	fence := record{set{"fence." + zone, "A"}, addr}
	w.await("the fence", deadline, func() bool {
		for _, p := range w.instances {
			last, _ := p.view.Last(r.Key())
			if last.Reservation.IP != r.IP {
				return false
			}
		}
		return slices.ContainsFunc(w.ours(), func(r solidsim.Record) bool { return recordOf(r) == fence })
	})
}

// later waits for a whole check, or else for one thing more from the stream.
func (w *world) later(deadline time.Time) {
	w.t.Helper()
	if w.options.sweep > time.Minute {
		w.fence(deadline)
		return
	}
	type state struct {
		*process
		checks int
	}
	var before []state
	for _, p := range w.instances {
		before = append(before, state{p, p.journal.count(checkComplete)})
	}
	w.await("two checks", deadline, func() bool {
		n := 0
		for i, p := range w.instances {
			if p != before[i].process || p.journal.count(checkComplete) >= before[i].checks+2 {
				n++
			}
		}
		return n == len(w.instances) || n > 0 && w.options.form == leased
	})
}

// await gives signs of life until cond holds.
func (w *world) await(what string, deadline time.Time, cond func() bool) {
	w.t.Helper()
	for {
		w.tend()
		w.sound()
		w.beat(step)
		if cond() {
			return
		}
		if time.Now().After(deadline) {
			w.fail("after %s still not: %s; %s", patience, what, w.problem())
		}
		w.pace()
	}
}
