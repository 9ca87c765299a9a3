package soak

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/keastream/keastream/solidsim"
)

// appliance is the SOLIDserver simulator, in this process so that its faults can
// be decided and its records seen. Its methods may be called from several
// goroutines.
type appliance struct {
	*solidsim.Sim
	times    *timeline
	coverage *coverage
	steady   *steady
	// pointed hears of a PTR record that is about to be made or to lead to another
	// name.
	pointed func(reverse, target string)

	writes atomic.Int64 // that were to be made, whatever became of them

	mu sync.Mutex
	// spoil decides on a call while a fault is under way; nil without one.
	spoil solidsim.FaultFunc
	// unclear are the writes whose answer was spoiled, by name, until the name is
	// read back.
	unclear map[string]solidsim.Call
}

// records returns what the DNS server holds, ordered by name, type and value.
func (a *appliance) records() []solidsim.Record { return a.Records(solidsim.InternalServer) }

func (a *appliance) has(name, value string) bool {
	return slices.ContainsFunc(a.records(), func(r solidsim.Record) bool { return r.Name == name && r.Value == value })
}

// places are those that hold a record, whose it may be.
func (a *appliance) places() map[place]bool {
	all := make(map[place]bool)
	for _, r := range a.records() {
		all[placeOf(r)] = true
	}
	return all
}

// decide is the fault hook of the simulator. It sees every call just before the
// work is done.
func (a *appliance) decide(ctx context.Context, c solidsim.Call) (fault solidsim.Fault) {
	a.mu.Lock()
	spoil := a.spoil
	a.mu.Unlock()
	if spoil != nil {
		fault = spoil(ctx, c)
	}
	switch {
	case c.Writes:
		a.wrote(c, fault)
	case fault == solidsim.Fault{}:
		a.read(c)
	}
	return fault
}

// wrote takes note of a write. Deletions name nothing but an id: what they did
// is seen in the records.
func (a *appliance) wrote(c solidsim.Call, fault solidsim.Fault) {
	a.writes.Add(1)
	name, value := c.Params["rr_name"], c.Params["value1"]
	spoiled := fault != solidsim.Fault{}
	switch {
	case spoiled:
		a.times.noteName(name, "API", "%s %s id %s, spoiled by %+v", c.Method, value, c.Params["rr_id"], fault)
	default:
		a.times.noteName(name, "API", "%s %s id %s", c.Method, value, c.Params["rr_id"])
	}
	if name == "" {
		return
	}
	if c.Method == http.MethodPost && a.steady.knows(name) {
		// What was removed and is made again was gone for a moment.
		at := place{name, c.Params["rr_type"]}
		a.steady.look(at, a.places()[at])
	}
	if !spoiled && c.Params["rr_type"] == "PTR" && !a.has(name, value) {
		a.pointed(name, value)
	}
	if spoiled && !a.has(name, value) {
		a.mu.Lock()
		a.unclear[name] = c
		a.mu.Unlock()
	}
}

var askedName = regexp.MustCompile(`rr_full_name='([^']+)'`)

// read counts what a reading tells to whoever did not know whether his write was
// done.
func (a *appliance) read(c solidsim.Call) {
	asked := askedName.FindStringSubmatch(c.Params["WHERE"])
	if asked == nil {
		return
	}
	a.mu.Lock()
	write, known := a.unclear[asked[1]]
	delete(a.unclear, asked[1])
	a.mu.Unlock()
	if !known {
		return
	}
	happened := a.has(asked[1], write.Params["value1"])
	switch {
	case write.Method == http.MethodPost && happened:
		a.coverage.add(a.coverage.reached, caseMade, 1)
	case write.Method == http.MethodPost:
		a.coverage.add(a.coverage.reached, caseNotMade, 1)
	case happened:
		a.coverage.add(a.coverage.reached, caseChanged, 1)
	}
}

// spoiling makes every call go through a fault until done is called.
func (a *appliance) spoiling(spoil solidsim.FaultFunc) (done func()) {
	set := func(f solidsim.FaultFunc) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.spoil = f
	}
	set(spoil)
	return func() { set(nil) }
}
