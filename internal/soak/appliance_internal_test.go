package soak

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/solidsim"
)

// What a reading tells of a write that was spoiled depends on whether it was done.
func TestApplianceCountsWhatIsReadBack(t *testing.T) {
	t.Parallel()
	sim, err := solidsim.Start(t.Context(), solidsim.Config{Zones: []string{e2e.Zone}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	a := &appliance{
		Sim: sim, times: newTimeline(), coverage: newCoverage(false), unclear: make(map[string]solidsim.Call),
		steady: newSteady(func(err error) { t.Error(err) }),
	}
	write := func(method, name string) {
		defer a.spoiling(func(context.Context, solidsim.Call) solidsim.Fault { return solidsim.Fault{Reset: true} })()
		a.decide(t.Context(), solidsim.Call{Method: method, Service: "dns_rr_add", Writes: true, Params: map[string]string{"rr_name": name, "value1": "10.0.0.1"}})
	}
	happens := func(name string) {
		if err := sim.Add(solidsim.InternalServer, solidsim.Record{Name: name, Type: "A", Value: "10.0.0.1"}); err != nil {
			t.Fatal(err)
		}
	}
	write(http.MethodPost, "made.site.com")
	write(http.MethodPost, "not-made.site.com")
	write(http.MethodPut, "changed.site.com")
	happens("made.site.com")
	happens("changed.site.com")
	happens("there.site.com")
	write(http.MethodPost, "there.site.com") // it was there before
	for _, name := range []string{"made", "not-made", "changed", "there", "other"} {
		for range 2 { // once is enough
			a.decide(t.Context(), solidsim.Call{Method: http.MethodGet, Service: "dns_rr_list", Params: map[string]string{"WHERE": "dns_name='x' AND rr_full_name='" + name + ".site.com'"}})
		}
	}
	if want := map[string]int{caseMade: 1, caseNotMade: 1, caseChanged: 1}; !maps.Equal(a.coverage.reached, want) {
		t.Errorf("counted %v, want %v", a.coverage.reached, want)
	}
}

// What goes wrong with a call does not depend on what others come in between.
func TestDecisionsAreThoseOfTheSeed(t *testing.T) {
	t.Parallel()
	var calls []solidsim.Call
	for i := range 40 {
		calls = append(calls, solidsim.Call{Method: http.MethodPost, Service: "dns_rr_add", Writes: true, Params: map[string]string{"rr_name": steadyName(i)}})
	}
	decide := func(seed uint64, order []int) map[string]solidsim.Fault {
		d, all := newDecisions(seed, failing(true)), make(map[string]solidsim.Fault)
		for _, i := range order {
			all[steadyName(i)] = d.on(t.Context(), calls[i])
		}
		return all
	}
	order := make([]int, len(calls))
	for i := range order {
		order[i] = i
	}
	forth := decide(1, order)
	slices.Reverse(order)
	if back := decide(1, order); !maps.Equal(forth, back) {
		t.Errorf("in another order %v, before %v", back, forth)
	}
	if other := decide(2, order); maps.Equal(forth, other) {
		t.Error("another seed decides the same")
	}
	// And not always the same of one call.
	d, faults := newDecisions(1, failing(true)), make(map[solidsim.Fault]bool)
	for range 40 {
		faults[d.on(t.Context(), calls[0])] = true
	}
	if len(faults) < 3 {
		t.Errorf("of one call it decides %v", faults)
	}
	if d.hits.Load() == 0 {
		t.Error("nothing was spoiled")
	}
}
