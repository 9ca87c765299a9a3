package modeltest

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// caller is the instance that makes a call. The caller holds w.mu.
func (w *world) caller(c solidsim.Call) *process {
	for _, p := range w.instances {
		if username(p.place) == c.User {
			return p
		}
	}
	return nil
}

// hook decides what goes wrong with a call. A process that has crashed gets no
// answer any more, and does nothing.
func (w *world) hook(ctx context.Context, c solidsim.Call) solidsim.Fault {
	w.mu.Lock()
	fault, f := w.decide(c)
	w.mu.Unlock()
	if f != nil {
		f.await(ctx)
		w.mu.Lock()
		w.inspect() // what came before it is not its fault
		w.mu.Unlock()
	}
	return fault
}

// decide is hook for who holds w.mu. A call that it returns with a freeze has to
// wait for the end of that.
func (w *world) decide(c solidsim.Call) (solidsim.Fault, *freeze) {
	w.inspect()
	p := w.caller(c)
	switch {
	case p.crashed:
		return solidsim.Fault{Reset: true}, nil
	case w.away > 0:
		w.away--
		return solidsim.Fault{Reset: true}, nil
	case !c.Writes:
		return solidsim.Fault{}, nil
	}
	if f := w.stands(p, c); f != nil {
		w.effect(p, c)
		if f.answer {
			f = nil
		}
		return solidsim.Fault{}, f
	}
	if w.toCrash > 0 && (w.crashOn == "" || w.crashOn == c.Method) {
		if w.toCrash--; w.toCrash == 0 {
			w.crashes(p, c)
			w.effect(p, c)
			return solidsim.Fault{Reset: true, Committed: true}, nil
		}
	}
	armed := w.armed[c.Method]
	if len(armed) == 0 {
		w.effect(p, c)
		return solidsim.Fault{}, nil
	}
	fault := armed[0]
	w.armed[c.Method] = armed[1:]
	if fault.Committed {
		w.effect(p, c)
	}
	if fault.Status == http.StatusBadRequest {
		w.reached.add(caseRefused)
	} else {
		w.reached.add(caseUnclear(c.Method, fault.Committed))
	}
	return fault, nil
}

// effect counts a write that comes about. The caller holds w.mu.
func (w *world) effect(p *process, c solidsim.Call) {
	w.effects++
	w.takes(p, c)
	w.wrote[p.place] = true
}

// crashes notes that a process dies right after a write. The caller holds w.mu.
func (w *world) crashes(p *process, c solidsim.Call) {
	p.crashed = true
	p.die()
	w.reached.add(map[string]string{
		http.MethodPost: caseCrashCreate, http.MethodPut: caseCrashUpdate, http.MethodDelete: caseCrashRemove,
	}[c.Method])
	if c.Method == http.MethodDelete || c.Params["rr_type"] == "PTR" {
		return
	}
	for s, wish := range want(w.rows) {
		forward := record{set{c.Params["rr_name"], c.Params["rr_type"]}, c.Params["value1"]}
		if s.rtype == "PTR" && s.name == forward.reverse() && wish.values[forward.name] {
			w.reached.add(caseBetween)
		}
	}
}

// observed is a Provider that tells the world what comes of its calls, lets others
// get in between, and ends with its process.
type observed struct {
	*solidserver.Scope
	w *world
	p *process
}

var _ reconcile.Provider = observed{}

// alive returns a context that ends when the process dies. While it stands still
// nothing begins, and nothing comes to its end.
func (o observed) alive(ctx context.Context) (context.Context, func()) {
	o.pause()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(o.p.dead, cancel)
	return ctx, func() { stop(); cancel(); o.pause() }
}

// Zones implements reconcile.Provider.
func (o observed) Zones(ctx context.Context) ([]dns.Zone, error) {
	ctx, done := o.alive(ctx)
	defer done()
	return o.Scope.Zones(ctx)
}

// Reverse implements reconcile.Provider.
func (o observed) Reverse(ctx context.Context) ([]dns.Row, error) {
	ctx, done := o.alive(ctx)
	defer done()
	return o.Scope.Reverse(ctx)
}

// Records implements reconcile.Provider.
func (o observed) Records(ctx context.Context, zone string) ([]dns.Row, error) {
	ctx, done := o.alive(ctx)
	defer done()
	return o.Scope.Records(ctx, zone)
}

// Lookup implements reconcile.Provider.
func (o observed) Lookup(ctx context.Context, zone, name string) ([]dns.Row, error) {
	ctx, done := o.alive(ctx)
	defer done()
	return o.Scope.Lookup(ctx, zone, name)
}

// Create implements reconcile.Provider.
func (o observed) Create(ctx context.Context, zone string, rec dns.Record, owner dns.Owner, exclusive bool) (string, error) {
	ctx, done := o.alive(ctx)
	defer done()
	defer o.finished(http.MethodPost, set{rec.Name, string(rec.Type)})
	id, err := o.Scope.Create(ctx, zone, rec, owner, exclusive)
	if errors.Is(err, dns.ErrExists) {
		o.w.reached.add(caseExists)
	}
	if err == nil && exclusive && rec.Type == dns.A && !isFence(rec.Name) {
		o.w.intrude(o.p, rec)
	}
	return id, err
}

// Update implements reconcile.Provider.
func (o observed) Update(ctx context.Context, row dns.Row, rec dns.Record, owner dns.Owner) error {
	ctx, done := o.alive(ctx)
	defer done()
	defer o.finished(http.MethodPut, set{rec.Name, string(rec.Type)})
	o.p.rows.Store(row.ID, rowRecord(row))
	err := o.Scope.Update(ctx, row, rec, owner)
	if err == nil && row.Value != rec.Value && !isFence(rec.Name) {
		o.w.reached.add(caseReplaced)
	}
	return err
}

// Delete implements reconcile.Provider.
func (o observed) Delete(ctx context.Context, row dns.Row) error {
	ctx, done := o.alive(ctx)
	defer done()
	defer o.finished(http.MethodDelete, set{row.Name, string(row.Type)})
	o.p.rows.Store(row.ID, rowRecord(row))
	return o.Scope.Delete(ctx, row)
}

func rowRecord(row dns.Row) record { return record{set{row.Name, string(row.Type)}, row.Value} }

func isFence(name string) bool { return strings.HasPrefix(name, "fence.") }

// intrude puts a record of somebody else beside one that was created just now.
func (w *world) intrude(p *process, rec dns.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.intruders == 0 || p.crashed {
		return
	}
	w.intruders--
	w.intruded[set{rec.Name, string(rec.Type)}] = true
	err := w.plant(solidsim.Record{Name: rec.Name, Type: string(rec.Type), Value: "198.51.100.200", TTL: 3600})
	if err != nil {
		w.fault("intrude: %v", err)
	}
}
