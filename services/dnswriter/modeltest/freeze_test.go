package modeltest

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"pgregory.net/rapid"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/solidsim"
)

// freeze is an instance that stands still around one write, as with SIGSTOP, and
// goes on when another one has taken over: the write sits in a socket meanwhile, or
// its answer does.
//
// A late write may take away what somebody asked for all the time, until the
// instance that leads looks again, and nothing can be done against that: the server
// knows no condition under which to write. So the name and type of a write that was
// held back are not steady any more when it goes on. Nothing else is loosened for
// two instances: neither what others have nor any other record of ours may be
// touched by a write of the past, also when both instances write all the time.
type freeze struct {
	method string // of the write; "": any
	name   string // that it concerns; "": any
	answer bool   // the write is carried out, and its answer is late

	p        *process
	at       set
	released chan struct{}
	finished chan struct{} // the write has been carried out, and was answered
	// until is when it ends at the latest; zero while no other instance works.
	until time.Time
}

// await returns when the freeze is over, or ctx.
func (f *freeze) await(ctx context.Context) {
	select {
	case <-f.released:
	case <-ctx.Done():
	}
}

// holdWrite has the next write of a kind stand still. With a change of rows before,
// there is one; with another one after, it is of the past when it goes on.
func (w *world) holdWrite(rt *rapid.T) {
	if w.options.form == alone {
		rt.Skip("nobody would take over")
	}
	if w.freezes++; w.freezes > 2 {
		rt.Skip("twice is enough")
	}
	if rapid.IntRange(0, 2).Draw(rt, "with changes") > 0 {
		w.holdMove(rt)
		return
	}
	f := &freeze{
		method: rapid.SampledFrom([]string{"", http.MethodPost, http.MethodPut, http.MethodDelete}).Draw(rt, "method"),
		answer: rapid.Bool().Draw(rt, "only its answer"),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.toFreeze = f
}

// holdMove moves a device, has the write for that stand still, and moves the device
// again: what was held back is of the past then. With the device of the fence there
// is always such a write.
func (w *world) holdMove(rt *rapid.T) {
	f := &freeze{method: http.MethodPut, answer: rapid.IntRange(0, 3).Draw(rt, "only its answer") == 0}
	rows, ips := []events.Reservation{reservation("us3", 1, "fence", 0)}, []string{"203.0.113.251", "203.0.113.252"}
	if rapid.IntRange(0, 2).Draw(rt, "any device") == 0 {
		rows, ips = w.pick(rt), []string{drawIP(rt), drawIP(rt)}
	}
	f.name = rows[0].Hostname + "." + zone
	w.mu.Lock()
	w.toFreeze = f
	w.mu.Unlock()
	for _, ip := range ips {
		for i := range rows {
			rows[i].IP = netip.MustParseAddr(ip)
		}
		w.put(rows...)
		for deadline := time.Now().Add(time.Second); w.freezing() == nil && time.Now().Before(deadline); w.pace() {
			w.tend()
			w.sound()
		}
	}
	w.await("the other instance has taken over", time.Now().Add(patience), func() bool { return w.freezing() == nil })
}

// freezing is what stands still now.
func (w *world) freezing() *freeze {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frozen
}

// stands begins the freeze that was asked for, if the write is one for it. An
// instance that stands still renews no lease. The caller holds w.mu.
func (w *world) stands(p *process, c solidsim.Call) *freeze {
	f := w.toFreeze
	if f == nil || w.frozen != nil || f.method != "" && f.method != c.Method || p.lease != nil && !p.lease.Held(0) {
		return nil
	}
	at := set{c.Params["rr_name"], c.Params["rr_type"]}
	if row, known := p.rows.Load(c.Params["rr_id"]); c.Method == http.MethodDelete && known {
		at = row.(record).set
	}
	if f.name == "" && isFence(at.name) || f.name != "" && f.name != at.name {
		return nil
	}
	f.p, f.at, f.method = p, at, c.Method
	f.released, f.finished = make(chan struct{}), make(chan struct{})
	w.toFreeze, w.frozen = nil, f
	p.cable.cut()
	if f.answer {
		w.reached.add(caseAnswerHeld)
	} else {
		w.reached.add(caseWriteHeld)
	}
	w.note("  instance %d stands still at %s %v", p.number, c.Method, at)
	return f
}

// pause waits while a process stands still: it makes no other calls.
func (o observed) pause() {
	f := o.w.freezing()
	if f == nil || f.p != o.p {
		return
	}
	select {
	case <-f.released:
	case <-o.p.dead.Done():
	}
}

// finished notes that a write is over.
func (o observed) finished(method string, at set) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	f := o.w.frozen
	if f == nil || f.p != o.p || f.at != at || f.method != method {
		return
	}
	select {
	case <-f.finished:
	default:
		close(f.finished)
	}
}

// tendFrozen lets go on what stands still when another instance has set right what
// it can, or cannot for a while.
func (w *world) tendFrozen() {
	f := w.freezing()
	if f == nil {
		return
	}
	leader := w.leader()
	switch {
	case w.options.form == leased && (leader == nil || leader == f.p):
		return
	case f.until.IsZero():
		// Before the leader checks all for the second time.
		f.until = time.Now().Add(1500 * time.Millisecond)
		return
	}
	if time.Now().After(f.until) || w.problemAt(f.at) == "" {
		w.thaw(f.p)
	}
}

// thaw ends the freeze of a process, if it has one, and waits for the write.
func (w *world) thaw(p *process) {
	f := w.freezing()
	if f == nil || f.p != p {
		return
	}
	before := w.problemAt(f.at)
	w.mu.Lock()
	for r := range w.steady {
		if r.set == f.at {
			delete(w.steady, r)
		}
	}
	w.mu.Unlock()
	w.note("instance %d goes on", p.number)
	close(f.released)
	select {
	case <-f.finished:
	case <-p.dead.Done():
	case <-time.After(patience):
		w.fail("the write of instance %d that stood still does not come to its end", p.number)
	}
	w.mu.Lock()
	w.frozen = nil
	w.mu.Unlock()
	p.cable.heal()
	if before == "" && w.problemAt(f.at) != "" {
		w.note("  what it wrote is of the past: %s", w.problemAt(f.at))
		w.late = true
	}
}

// problemAt is what is wrong at one name and type.
func (w *world) problemAt(at set) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ours, foreign := split(w.sim.Records(server))
	return difference(at, want(w.rows), ours, foreign, withheld{})
}
