package soak

import (
	"context"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/solidsim"
)

// A PTR record must lead to a name that has the address, or had it a moment ago.
func TestResolverSeesAPTRRecordWithoutItsAddress(t *testing.T) {
	t.Parallel()
	sim, err := solidsim.Start(t.Context(), solidsim.Config{Zones: []string{e2e.Zone}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	record := solidsim.Record{Name: "a.site.com", Type: "A", Value: "10.0.0.1"}
	for title, test := range map[string]struct {
		reverse string
		before  time.Duration // the address was there for the last time
		do      func(*run)
		bad     bool
	}{
		"it is there":           {"1.0.0.10.in-addr.arpa", 0, nil, false},
		"it was there":          {"1.0.0.10.in-addr.arpa", longAgo / 2, nil, false},
		"it was there long ago": {"1.0.0.10.in-addr.arpa", longAgo, nil, true},
		"another one is there":  {"2.0.0.10.in-addr.arpa", 0, nil, true},
		"somebody touched it":   {"1.0.0.10.in-addr.arpa", longAgo, func(r *run) { r.foreigners.touch(record.Name) }, false},
		"an answer was old":     {"1.0.0.10.in-addr.arpa", longAgo, func(r *run) { r.misled.Store(true) }, false},
	} {
		if err := sim.Add(solidsim.InternalServer, record); err != nil {
			t.Fatal(err)
		}
		ctx, fail := context.WithCancelCause(t.Context())
		r := &run{appliance: &appliance{Sim: sim}, foreigners: newForeigners(), fail: fail}
		v := newResolver(r)
		v.remember()
		if test.do != nil {
			test.do(r)
		}
		if test.before > 0 {
			if err := sim.Remove(solidsim.InternalServer, record); err != nil {
				t.Fatal(err)
			}
			v.seen[record.Name][record.Value] = time.Now().Add(-test.before)
		}
		v.pointed(test.reverse, record.Name)
		if got := context.Cause(ctx); (got != nil) != test.bad {
			t.Errorf("%s: got %v, want an error: %v", title, got, test.bad)
		}
		if test.before == 0 {
			_ = sim.Remove(solidsim.InternalServer, record)
		}
		fail(nil)
	}
}
