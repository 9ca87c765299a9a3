package solidserver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// A trouble is something that goes wrong with a single call.
type trouble struct {
	name  string
	fault solidsim.Fault
	// paired: it comes in two, the call did nothing, and it did its work.
	paired bool
	// hangs: the work is not begun before the client has given up.
	hangs bool
}

// troubles are all the things that the simulator can make go wrong with a call.
func troubles() []trouble {
	const sorry = `{"errno":"12","errmsg":"sorry","severity":"Error"}`
	all := []trouble{
		{name: "reset", fault: solidsim.Fault{Reset: true}},
		{name: "cut off", fault: solidsim.Fault{Truncate: true}},
		{name: "200 without a body", fault: solidsim.Fault{Status: 200, Empty: true}},
		{name: "session lost", fault: solidsim.Fault{Status: 200, Body: `{"connected":false}`}},
		{name: "page of a proxy", fault: solidsim.Fault{Status: 502, Body: "<html>502</html>"}},
		{name: "sign-in page", fault: solidsim.Fault{Status: 200, Body: "<html>Sign in</html>"}},
		{name: "429 that tells when", fault: solidsim.Fault{Status: 429, RetryAfter: time.Second, Body: sorry}},
	}
	for _, status := range []int{401, 408, 412, 429, 500, 503} {
		all = append(all, trouble{name: fmt.Sprint("status ", status), fault: solidsim.Fault{Status: status, Body: sorry}})
	}
	for i := range all {
		all[i].paired = true
	}
	return append(all,
		trouble{name: "hangs and happens late", hangs: true},
		trouble{name: "answer held back", fault: solidsim.Fault{Hold: time.Hour}},
		trouble{name: "short page", fault: solidsim.Fault{Short: true}},
		trouble{name: "row twice in a page", fault: solidsim.Fault{Double: true}},
		trouble{name: "stale read", fault: solidsim.Fault{Stale: true}},
	)
}

// unclear tells whether a write that it strikes ends without an answer.
func (tr trouble) unclear() bool { return tr.paired || tr.hangs || tr.fault.Hold > 0 }

// A world is an appliance on which trouble strikes one call.
type world struct {
	sim     *solidsim.Sim
	scope   *solidserver.Scope
	struck  atomic.Pointer[solidsim.Call] // the call, once it was struck
	release chan struct{}                 // closed: calls that hang may happen
}

// foreign are rows of others beside ours: they have to outlive everything.
func foreign() []solidsim.Record {
	return []solidsim.Record{
		{Name: "neighbour.site.com", Type: "A", Value: "10.0.0.1", TTL: 60},
		{Name: host, Type: "AAAA", Value: "2001:db8::1", TTL: 60},
	}
}

// newWorld makes an appliance with rows of others and, if value is not empty, one
// of ours. Of what comes after, the nth call meets the trouble.
func newWorld(t *testing.T, value string, n int, tr trouble, committed bool) *world {
	sim := start(t)
	w := &world{sim: sim, release: make(chan struct{})}
	client := open(t, sim, solidserver.Config{ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second, Log: quiet()})
	for _, r := range foreign() {
		add(t, sim, r)
	}
	if value != "" {
		create(t, client.Scope("internal", solidsim.InternalServer, ""), record(host, value), owner(5))
	}
	w.scope = client.Scope("internal", solidsim.InternalServer, "") // one that knows nothing
	var calls atomic.Int64
	sim.SetFaults(func(ctx context.Context, c solidsim.Call) solidsim.Fault {
		if calls.Add(1) != int64(n) {
			return solidsim.Fault{}
		}
		w.struck.Store(&c)
		if tr.hangs {
			select {
			case <-w.release:
			case <-ctx.Done():
			}
		}
		fault := tr.fault
		fault.Committed = committed
		return fault
	})
	return w
}

// end lets calls that hang happen, waits for them, and returns the records.
func (w *world) end(t *testing.T) []solidsim.Record {
	close(w.release)
	if err := w.sim.Close(); err != nil {
		t.Error(err)
	}
	return w.sim.Records(solidsim.InternalServer)
}

// settle does what the reconciler does: it reads the name, decides, makes a change,
// and whatever comes of that it begins anew; when the name looks right it reads the
// whole zone, as each check does, which counts. It returns the errors on the way. An
// empty value means that there is to be no row of ours.
func (w *world) settle(ctx context.Context, value string) (errs []error) {
	checked := false
	for range 10 {
		rows, err := w.read(ctx, checked)
		if err == nil {
			step := w.decide(ctx, rows, value)
			if step == nil && checked {
				return errs
			}
			if checked = step == nil; !checked {
				err = step()
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return append(errs, errors.New("it does not come to rest"))
}

// read returns the rows of the name, by itself or from the whole zone.
func (w *world) read(ctx context.Context, whole bool) ([]dns.Row, error) {
	if !whole {
		return w.scope.Lookup(ctx, site, host)
	}
	rows, err := w.scope.Records(ctx, site)
	return slices.DeleteFunc(rows, func(r dns.Row) bool { return r.Name != host }), err
}

// decide returns the next change, nil if there is none to make.
func (w *world) decide(ctx context.Context, rows []dns.Row, value string) func() error {
	ours := slices.DeleteFunc(slices.Clone(rows), func(r dns.Row) bool { return r.Owner == nil || r.Deleting })
	right := slices.IndexFunc(ours, func(r dns.Row) bool { return r.Value == value })
	switch {
	case right >= 0 && len(ours) > 1, value == "" && len(ours) > 0:
		extra := ours[0]
		if right == 0 {
			extra = ours[1]
		}
		return func() error { return w.scope.Delete(ctx, extra) }
	case right >= 0, value == "":
		return nil
	case len(ours) > 0:
		return func() error { return w.scope.Update(ctx, ours[0], record(host, value), owner(5)) }
	}
	return func() error {
		_, err := w.scope.Create(ctx, site, record(host, value), owner(5), true)
		return err
	}
}

// Each trouble strikes each call of each operation, once without and once with the
// call's work done. Whatever the caller is told, reading back and deciding anew
// ends in the right state: nothing doubled, nothing lost, nothing of others
// touched.
func testFaultMatrix(t *testing.T) {
	t.Parallel()
	operations := map[string]struct {
		before, after string
		calls         int // zone, name, name before the write, write, name after it; then zone, count and list
	}{"create": {"", "10.0.0.1", 7}, "update": {"10.0.0.1", "10.0.0.2", 5}, "delete": {"10.0.0.1", "", 5}}
	for _, tr := range troubles() {
		for _, committed := range []bool{false, true} {
			if committed && !tr.paired {
				continue
			}
			t.Run(fmt.Sprintf("%s/committed=%t", tr.name, committed), func(t *testing.T) {
				t.Parallel()
				var all conc.WaitGroup // they mostly wait
				for name, op := range operations {
					for n := range op.calls {
						all.Go(func() {
							w := newWorld(t, op.before, n+1, tr, committed)
							errs := w.settle(t.Context(), op.after)
							call := w.struck.Load()
							what := fmt.Sprintf("%s, call %d %+v", name, n+1, call)
							if call == nil {
								t.Errorf("%s: there was none", what)
							} else if told := slices.ContainsFunc(errs, isUnclear); told != (call.Writes && tr.unclear()) {
								t.Errorf("%s: the caller was told %v", what, errs)
							}
							want := foreign()
							if op.after != "" {
								want = append(want, solidsim.Record{Name: host, Type: "A", Value: op.after, TTL: 600})
							}
							if diff := cmp.Diff(sorted(want), sorted(w.end(t))); diff != "" {
								t.Errorf("%s: told %v, the records are (-want +got):\n%s", what, errs, diff)
							}
						})
					}
				}
				all.Wait()
			})
		}
	}
}

func isUnclear(err error) bool { return errors.Is(err, dns.ErrUnclear) }

// sorted orders records, and leaves out what only the appliance keeps.
func sorted(records []solidsim.Record) (lines []string) {
	for _, r := range records {
		lines = append(lines, fmt.Sprint(r.Name, " ", r.TTL, " ", r.Type, " ", r.Value))
	}
	slices.Sort(lines)
	return lines
}

// The same for what reads: an operation returns all, or an error, and never a part.
func testFaultMatrixOfReads(t *testing.T) {
	t.Parallel()
	const many = 30
	whole := map[string]func(ctx context.Context, s *solidserver.Scope) (int, error){
		"list": func(ctx context.Context, s *solidserver.Scope) (int, error) {
			rows, err := s.Records(ctx, site)
			return len(rows), err
		},
		"lookup": func(ctx context.Context, s *solidserver.Scope) (int, error) {
			rows, err := s.Lookup(ctx, site, "neighbour.site.com")
			return len(rows) + many + 1, err
		},
		"zones": func(ctx context.Context, s *solidserver.Scope) (int, error) {
			zones, err := s.Zones(ctx)
			return len(zones) + many + 1, err
		},
	}
	for _, tr := range troubles() {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			var all conc.WaitGroup
			for name, read := range whole {
				for n := range 3 { // the count and the list, or the zone and the name; none has more than one page
					if name == "lookup" && n == 2 {
						continue
					}
					all.Go(func() {
						w := newWorld(t, "", n+1, tr, false)
						for i := range many {
							add(t, w.sim, solidsim.Record{Name: fmt.Sprintf("h%d.site.com", i), Type: "A", Value: "10.0.1.1", TTL: 60})
						}
						for {
							got, err := read(t.Context(), w.scope)
							call := w.struck.Load()
							if err == nil && got != many+2 && !tr.fault.Stale {
								t.Errorf("%s, call %+v: %d of %d", name, call, got, many+2)
							}
							if errors.Is(err, dns.ErrUnclear) || errors.Is(err, dns.ErrRefused) {
								t.Errorf("%s, call %+v: %v", name, call, err)
							}
							if err == nil {
								break
							}
						}
						if w.struck.Load() == nil {
							t.Errorf("%s has no call %d", name, n+1)
						}
						w.end(t)
					})
				}
			}
			all.Wait()
		})
	}
}

// Pushes that never end keep no change from being accepted, nor have it made twice.
func testPushesThatNeverEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "10.0.0.1", 0, trouble{}, false)
	if err := w.sim.HoldPushes(solidsim.InternalServer); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"10.0.0.2", "", "10.0.0.3", "", "10.0.0.3"} {
		w.sim.ResetCalls()
		for range 3 {
			if errs := w.settle(t.Context(), value); len(errs) > 0 {
				t.Errorf("%q: %v", value, errs)
			}
		}
		if n := w.sim.Calls().Writes; n != 1 {
			t.Errorf("%q was written %d times", value, n)
		}
		live := slices.DeleteFunc(lookup(t, w.scope, host), func(r dns.Row) bool { return r.Deleting || r.Type != dns.A })
		if value != "" && (len(live) != 1 || !live[0].Pending || live[0].Value != value) || value == "" && len(live) > 0 {
			t.Errorf("%q: the rows are %+v", value, live)
		}
	}
	if err := w.sim.ReleasePushes(solidsim.InternalServer); err != nil {
		t.Fatal(err)
	}
	want := append(foreign(), solidsim.Record{Name: host, Type: "A", Value: "10.0.0.3", TTL: 600})
	if diff := cmp.Diff(sorted(want), sorted(w.end(t))); diff != "" {
		t.Errorf("released (-want +got):\n%s", diff)
	}
}
