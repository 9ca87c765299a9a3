package solidserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// byHand is a row as the replaced system or a person made it.
func byHand() solidsim.Record {
	return solidsim.Record{Name: host, Type: "A", Value: "10.0.0.1", TTL: 3600, ClassParameters: "contact=x%40y&room=7"}
}

// found is the only row of the name.
func found(t testing.TB, s *solidserver.Scope) dns.Row {
	t.Helper()
	rows := lookup(t, s, host)
	if len(rows) != 1 {
		t.Fatalf("looked up %+v", rows)
	}
	return rows[0]
}

// testAdoption: the mark comes, and everything else stays. Doing it again writes
// nothing.
func testAdoption(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]solidsim.Record{
		"A":    byHand(),
		"AAAA": {Name: host, Type: "AAAA", Value: "2001:db8::10", TTL: 5},
		"mark of a row that it was copied from": {Name: host, Type: "A", Value: "10.0.0.1", TTL: 600,
			ClassParameters: "kea_host_id=5&kea_source=us3&keastream_digest=00&managed_by=keastream"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, s := scope(t)
			add(t, sim, r)
			row := found(t, s)
			if row.Owner != nil {
				t.Fatalf("it is ours already: %+v", row)
			}
			sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
				if got := c.Params["rr_ttl"]; c.Writes && got != fmt.Sprint(r.TTL) {
					t.Errorf("the TTL that is sent is %q", got) // what a call without does to it is not known
				}
				return solidsim.Fault{}
			})
			for range 2 {
				if err := s.Adopt(t.Context(), row, owner(5, 7)); err != nil {
					t.Fatal(err)
				}
			}
			if n := sim.Calls().Writes; n != 1 {
				t.Errorf("%d writes", n)
			}
			if got := found(t, s); got.Owner == nil || !got.Owner.Equal(owner(5, 7)) || got.ID != row.ID {
				t.Errorf("the row is %+v", got)
			}
			got := stored(t, sim, host)
			if name == "A" && (!strings.Contains(got.ClassParameters, "contact=x%40y") || !strings.Contains(got.ClassParameters, "room=7")) {
				t.Errorf("others' class parameters are lost: %s", got.ClassParameters)
			}
			got.ClassParameters = r.ClassParameters
			if diff := cmp.Diff(r, got); diff != "" {
				t.Errorf("the row has changed (-want +got):\n%s", diff)
			}
		})
	}
}

// testAdoptionOfWhatHasChanged: what is not as it was seen is not adopted, and not
// even written to.
func testAdoptionOfWhatHasChanged(t *testing.T) {
	t.Parallel()
	for name, happens := range map[string]func(t *testing.T, sim *solidsim.Sim, s *solidserver.Scope){
		"it is gone": func(t *testing.T, sim *solidsim.Sim, _ *solidserver.Scope) { remove(t, sim, byHand()) },
		"it has another value": func(t *testing.T, sim *solidsim.Sim, _ *solidserver.Scope) {
			remove(t, sim, byHand())
			add(t, sim, solidsim.Record{Name: host, Type: "A", Value: "10.0.0.2", TTL: 600})
		},
		"it was created anew": func(t *testing.T, sim *solidsim.Sim, _ *solidserver.Scope) {
			remove(t, sim, byHand())
			add(t, sim, byHand())
		},
		"it stands twice": func(t *testing.T, sim *solidsim.Sim, _ *solidserver.Scope) {
			if err := sim.Double(solidsim.InternalServer, byHand()); err != nil {
				t.Fatal(err)
			}
		},
		"it is ours for others": func(t *testing.T, _ *solidsim.Sim, s *solidserver.Scope) {
			if err := s.Adopt(t.Context(), found(t, s), owner(6)); err != nil {
				t.Fatal(err)
			}
		},
		"another tool has it": func(t *testing.T, sim *solidsim.Sim, _ *solidserver.Scope) {
			remove(t, sim, byHand())
			r := byHand()
			r.ClassParameters = "managed_by=terraform"
			add(t, sim, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, s := scope(t)
			add(t, sim, byHand())
			row := found(t, s)
			happens(t, sim, s)
			if name == "another tool has it" {
				row = found(t, s)
			}
			before, writes := sim.Records(solidsim.InternalServer), sim.Calls().Writes
			if err := s.Adopt(t.Context(), row, owner(5)); !errors.Is(err, dns.ErrChanged) {
				t.Errorf("the error is %v", err)
			}
			if n := sim.Calls().Writes; n != writes {
				t.Errorf("%d writes", n-writes)
			}
			if diff := cmp.Diff(before, sim.Records(solidsim.InternalServer)); diff != "" {
				t.Errorf("records have changed (-before +after):\n%s", diff)
			}
		})
	}
}

// What changes between the read and the write is told as changed, not as refused.
func TestAdoptionThatComesTooLate(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	add(t, sim, byHand())
	row := found(t, s)
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		if c.Writes {
			remove(t, sim, byHand())
		}
		return solidsim.Fault{}
	})
	if err := s.Adopt(t.Context(), row, owner(5)); !errors.Is(err, dns.ErrChanged) || errors.Is(err, dns.ErrRefused) {
		t.Errorf("the error is %v", err)
	}
}

func TestAdoptionThatIsRefused(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	add(t, sim, byHand())
	row := found(t, s)
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		if c.Writes {
			return solidsim.Fault{Status: http.StatusBadRequest, Body: `{"errno":"9","errmsg":"no right"}`}
		}
		return solidsim.Fault{}
	})
	if err := s.Adopt(t.Context(), row, owner(5)); !errors.Is(err, dns.ErrRefused) || errors.Is(err, dns.ErrUnclear) {
		t.Errorf("the error is %v", err)
	}
}

// testUnclearAdoption: as with every write, no answer is no verdict, and nothing is
// sent twice.
func testUnclearAdoption(t *testing.T) {
	t.Parallel()
	for faultName, fault := range unclearFaults() {
		for _, committed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/committed=%t", faultName, committed), func(t *testing.T) {
				t.Parallel()
				sim, s := scope(t)
				add(t, sim, byHand())
				row := found(t, s)
				sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
					if !c.Writes {
						return solidsim.Fault{}
					}
					f := fault
					f.Committed = committed
					return f
				})
				if err := s.Adopt(t.Context(), row, owner(5)); !errors.Is(err, dns.ErrUnclear) || errors.Is(err, dns.ErrRefused) {
					t.Errorf("the error is %v", err)
				}
				if n := sim.Calls().Writes; n != 1 {
					t.Errorf("the write was sent %d times", n)
				}
				if got := found(t, s); (got.Owner != nil) != committed {
					t.Errorf("the row is %+v", got)
				}
				sim.SetFaults(nil)
				if err := s.Adopt(t.Context(), row, owner(5)); err != nil {
					t.Errorf("again: %v", err)
				}
				if got := found(t, s); got.Owner == nil || got.Value != row.Value || got.TTL != row.TTL {
					t.Errorf("after the second one the row is %+v", got)
				}
			})
		}
	}
}

// testFaultsOfAdoption: each trouble strikes each call. Whatever the caller is told,
// reading back and beginning anew ends with the mark on the row, and nothing else
// different.
func testFaultsOfAdoption(t *testing.T) {
	t.Parallel()
	const calls = 4 // zone, name, name before the write, write
	for _, tr := range troubles() {
		for _, committed := range []bool{false, true} {
			if committed && !tr.paired {
				continue
			}
			t.Run(fmt.Sprintf("%s/committed=%t", tr.name, committed), func(t *testing.T) {
				t.Parallel()
				var all conc.WaitGroup // they mostly wait
				for n := range calls {
					all.Go(func() {
						w := newWorld(t, "", n+1, tr, committed)
						errs := w.adopt(t.Context())
						call := w.struck.Load()
						if call == nil {
							t.Errorf("there was no call %d", n+1)
						} else if told := slices.ContainsFunc(errs, isUnclear); told != (call.Writes && tr.unclear()) {
							t.Errorf("call %d %+v: the caller was told %v", n+1, call, errs)
						}
						got := w.end(t)
						if diff := cmp.Diff(sorted(foreign()), sorted(got)); diff != "" {
							t.Errorf("call %d %+v: told %v, the records are (-want +got):\n%s", n+1, call, errs, diff)
						}
						for _, r := range got {
							if (r.ClassParameters != "") != (r.Name == host) {
								t.Errorf("call %d %+v: told %v, there is %+v", n+1, call, errs, r)
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// adopt adopts the row of others that the name has, and begins anew until that is
// done. It returns the errors on the way.
func (w *world) adopt(ctx context.Context) (errs []error) {
	for range 10 {
		rows, err := w.scope.Lookup(ctx, site, host)
		if err == nil && len(rows) == 1 {
			if rows[0].Owner != nil {
				return errs
			}
			err = w.scope.Adopt(ctx, rows[0], owner(5))
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return append(errs, errors.New("it does not come to rest"))
}
