package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

const (
	reverse2  = "2.0.192.in-addr.arpa"
	reverse51 = "51.198.in-addr.arpa"
	reverse6  = "8.b.d.0.1.0.0.2.ip6.arpa"
)

// withReverse is a server with forward and reverse zones that knows that it
// keeps marks.
func withReverse(zones ...string) *memory {
	m := &memory{}
	m.serve(append([]string{labZone, reverse2, reverse51, reverse6}, zones...)...)
	m.put("known", "203.0.113.1", "us3")
	return m
}

const (
	knownHost = "known 203.0.113.1" // it has no reverse zone
)

func TestPTRFollowsItsAddress(t *testing.T) {
	t.Parallel()
	m := withReverse()
	m.latency = 100 * time.Millisecond
	inBubble(t, Config{}, m, []string{knownHost, "a 192.0.2.1 2001:db8::1"}, func(b *bench) {
		b.run(func() {
			b.after(5*time.Second, "192.0.2.1 ptr a", "2001:db8::1 ptr a", "a 192.0.2.1", "a 2001:db8::1", knownHost)
			if m.count("lookup") != 0 || m.count("reverse") != 2 || m.count("zones") != 1 {
				t.Errorf("the calls are %v: the check reads all of it once more, and no single name", m.made())
			}
			b.put(3, "b 192.0.2.2")
			b.after(101*time.Millisecond, "192.0.2.1 ptr a", "2001:db8::1 ptr a", "a 192.0.2.1", "a 2001:db8::1", "b 192.0.2.2", knownHost)
			// Its PTR record after it was read back that the name is ours.
			b.after(200*time.Millisecond, "192.0.2.1 ptr a", "192.0.2.2 ptr b", "2001:db8::1 ptr a", "a 192.0.2.1", "a 2001:db8::1", "b 192.0.2.2", knownHost)
			for _, line := range []string{"Created PTR record: 1.2.0.192.in-addr.arpa -> a.lab.example.com (scope: internal)", "Created AAAA record"} {
				if b.logged(line) != 1 {
					t.Errorf("the log does not say %q once", line)
				}
			}
		})
	})
}

// Nothing is written, read or asked for again while a PTR record waits.
func TestPTRWaitsWithoutACall(t *testing.T) {
	t.Parallel()
	m := withReverse()
	m.before = func(call, name string) error {
		return onlyFor(call == "create" && name == "a."+labZone, fmt.Errorf("no: %w", dns.ErrRefused))
	}
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, []string{knownHost, "a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Hour, knownHost)
			if lookups, creates := m.count("lookup"), m.count("create"); lookups > 2*creates {
				t.Errorf("the calls are %v", m.made())
			}
			if lines := b.logged("level=WARN"); lines != 1 {
				t.Errorf("%d warnings", lines)
			}
			m.do(func() { m.before = nil })
			b.after(longestPause+time.Second, "192.0.2.1 ptr a", "a 192.0.2.1", knownHost)
		})
	})
}

// An address of a name that is refused keeps the others from nothing.
func TestOneAddressRefusedStopsNoOtherPTR(t *testing.T) {
	t.Parallel()
	m := withReverse()
	m.before = func(call, name string) error {
		return onlyFor(call == "create" && strings.HasSuffix(name, "."+reverse6), fmt.Errorf("no: %w", dns.ErrRefused))
	}
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, []string{knownHost}, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Second)
			b.put(2, "a 192.0.2.1 2001:db8::1")
			b.after(time.Second, "192.0.2.1 ptr a", "a 192.0.2.1", "a 2001:db8::1", knownHost)
		})
	})
}

// Names and addresses change hands, all at once, and no record is removed.
func TestPTRThroughChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		before []string
		after  map[int64]string
		want   []string
	}{
		{"rename", []string{"a 192.0.2.1"}, map[int64]string{2: "b 192.0.2.1"},
			[]string{"192.0.2.1 ptr b", "a 192.0.2.1", "b 192.0.2.1"}}, // a waits for its proof
		{"move", []string{"a 192.0.2.1"}, map[int64]string{2: "a 192.0.2.9"},
			[]string{"192.0.2.1 ptr a", "192.0.2.9 ptr a", "a 192.0.2.9"}}, // so does the old PTR record
		{"swap of addresses", []string{"a 192.0.2.1", "b 192.0.2.2"}, map[int64]string{2: "a 192.0.2.2", 3: "b 192.0.2.1"},
			[]string{"192.0.2.1 ptr b", "192.0.2.2 ptr a", "a 192.0.2.2", "b 192.0.2.1"}},
		{"swap across families", []string{"a 192.0.2.1 2001:db8::1", "b 192.0.2.2 2001:db8::2"},
			map[int64]string{2: "a 192.0.2.1 2001:db8::2", 3: "b 192.0.2.2 2001:db8::1"},
			[]string{"192.0.2.1 ptr a", "192.0.2.2 ptr b", "2001:db8::1 ptr b", "2001:db8::2 ptr a",
				"a 192.0.2.1", "a 2001:db8::2", "b 192.0.2.2", "b 2001:db8::1"}},
		{"a second address", []string{"a 192.0.2.1"}, map[int64]string{2: "a 192.0.2.1 2001:db8::1"},
			[]string{"192.0.2.1 ptr a", "2001:db8::1 ptr a", "a 192.0.2.1", "a 2001:db8::1"}},
		{"a ring", []string{"a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3"},
			map[int64]string{2: "a 192.0.2.2", 3: "b 192.0.2.3", 4: "c 192.0.2.1"},
			[]string{"192.0.2.1 ptr c", "192.0.2.2 ptr a", "192.0.2.3 ptr b", "a 192.0.2.2", "b 192.0.2.3", "c 192.0.2.1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := withReverse()
			m.latency = 100 * time.Millisecond
			inBubble(t, Config{Sweep: 24 * time.Hour}, m, append([]string{knownHost}, test.before...), func(b *bench) {
				b.run(func() {
					time.Sleep(10 * time.Second)
					for id, host := range test.after {
						b.put(id, host)
					}
					b.after(3*time.Second, append(test.want, knownHost)...)
					if m.count("delete") != 0 {
						t.Errorf("the calls are %v", m.made())
					}
				})
			})
		})
	}
}

// One address for two names: of one device both are right, of two devices only a
// person knows.
func TestPTROfASharedAddress(t *testing.T) {
	t.Parallel()
	m := withReverse()
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, []string{knownHost, "a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Second, "192.0.2.1 ptr a", "a 192.0.2.1", knownHost)
			b.put(3, "b 192.0.2.1") // another device
			b.after(time.Minute, "192.0.2.1 ptr a", "a 192.0.2.1", "b 192.0.2.1", knownHost)
			if b.logged("conflict: the name is left as it is") != 1 {
				t.Error("the conflict of the reverse name is not told of")
			}
			b.gone(2) // the PTR record goes over to the one that is left
			b.after(time.Second, "192.0.2.1 ptr b", "a 192.0.2.1", "b 192.0.2.1", knownHost)
		})
	})
}

// The name is somebody else's: no PTR record is made for it, and one that is there
// stays while the reservation asks for it.
func TestForwardTakenBySomebodyElse(t *testing.T) {
	t.Parallel()
	m := withReverse()
	m.put("a", "192.0.2.99")
	inBubble(t, Config{Sweep: time.Hour}, m, []string{knownHost, "a 192.0.2.1", "b 192.0.2.2"}, func(b *bench) {
		b.run(func() {
			b.after(time.Minute, "192.0.2.2 ptr b", "a 192.0.2.99", "b 192.0.2.2", knownHost)
			m.do(func() { // a person takes b, and gives back a
				m.rows = slices.DeleteFunc(m.rows, func(r dns.Row) bool {
					return r.Name == "a."+labZone || r.Name == "b."+labZone
				})
				m.put("b", "192.0.2.98")
			})
			b.after(time.Hour, "192.0.2.1 ptr a", "192.0.2.2 ptr b", "a 192.0.2.1", "b 192.0.2.98", knownHost)
		})
	})
}

// A conflict of a name keeps its PTR records waiting. When it is over they are made,
// though nothing is left to do for the name itself.
func TestPTRIsMadeWhenAConflictIsOver(t *testing.T) {
	t.Parallel()
	m := withReverse()
	m.put("a", "192.0.2.1", "us3")
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, []string{knownHost, "a 192.0.2.1", "a 192.0.2.2"}, func(b *bench) {
		b.run(func() {
			b.after(time.Hour, "a 192.0.2.1", knownHost)
			b.gone(3)
			b.after(time.Second, "192.0.2.1 ptr a", "a 192.0.2.1", knownHost)
		})
	})
}

// What a look at a name brings to light, for whatever reason it was taken, is told
// to the lanes of its addresses.
func TestPTRIsMadeAfterALook(t *testing.T) {
	t.Parallel()
	m := withReverse()
	m.put("a", "192.0.2.99")
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, []string{knownHost, "a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Hour, "a 192.0.2.99", knownHost)
			unclear := true
			m.do(func() {
				m.rows = slices.DeleteFunc(m.rows, func(r dns.Row) bool { return r.Name == "a."+labZone })
				m.before = func(call, _ string) error {
					if call != "create" || !unclear {
						return nil
					}
					unclear = false
					return errNoAnswer
				}
			})
			b.put(2, "a 192.0.2.1 2001:db8::1")
			b.after(time.Second, "192.0.2.1 ptr a", "2001:db8::1 ptr a", "a 192.0.2.1", "a 2001:db8::1", knownHost)
		})
	})
}

// The look that confirms a creation fails at first: the PTR record is made when it
// does not.
func TestPTRWaitsForTheConfirmation(t *testing.T) {
	t.Parallel()
	m := withReverse()
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, []string{knownHost}, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Second)
			m.do(func() {
				m.before = func(call, _ string) error { return onlyFor(call == "lookup", errors.New("not now")) }
			})
			b.put(2, "a 192.0.2.1")
			b.after(time.Minute, "a 192.0.2.1", knownHost)
			m.do(func() { m.before = nil })
			b.after(unservedPause, "192.0.2.1 ptr a", "a 192.0.2.1", knownHost)
		})
	})
}

// A foreign record with the address that is wanted is as good as ours.
func TestPTRForAForeignAddress(t *testing.T) {
	t.Parallel()
	m := withReverse()
	m.put("a", "192.0.2.1")
	inBubble(t, Config{}, m, []string{knownHost, "a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Second, "192.0.2.1 ptr a", "a 192.0.2.1", knownHost)
		})
	})
}

// A creation that is withdrawn leaves no PTR record behind.
func TestNoPTRBeforeTheNameIsKnownToBeOurs(t *testing.T) {
	t.Parallel()
	m := withReverse()
	m.latency = 100 * time.Millisecond
	m.ignoresExclusive = true
	m.before = func(call, name string) error {
		if call == "create" && name == "a."+labZone {
			m.put("a", "192.0.2.99")
		}
		return nil
	}
	inBubble(t, Config{}, m, []string{knownHost}, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Second)
			b.put(2, "a 192.0.2.1")
			time.Sleep(150 * time.Millisecond) // it was created, and is being read
			b.put(2, "a 192.0.2.1")
			b.after(time.Minute, "a 192.0.2.99", knownHost)
			if n := m.count("create"); n != 1 {
				t.Errorf("%d creations", n)
			}
		})
	})
}

// What the server keeps by itself is neither made twice nor taken away.
func TestAutomaticPTRIsNotFought(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.serve(labZone+"+", reverse2)
	m.put("known", "203.0.113.1", "us3")
	m.put("old", "192.0.2.7", "us3")
	m.putPTR(reverse2, "192.0.2.7", "old", "us3") // ours, of before the server did it
	m.before = func(call, name string) error {
		if call == "create" && name == "a."+labZone {
			m.putPTR(reverse2, "192.0.2.1", "a")
		}
		return nil
	}
	cfg := Config{Sweep: time.Minute, HoldDown: time.Nanosecond}
	inBubble(t, cfg, m, []string{knownHost, "a 192.0.2.1", "old 192.0.2.7"}, func(b *bench) {
		b.run(func() {
			b.after(time.Hour, "192.0.2.1 ptr a", "192.0.2.7 ptr old", "a 192.0.2.1", knownHost, "old 192.0.2.7")
			if m.count("create") != 1 || m.count("delete")+m.count("update") != 0 {
				t.Errorf("the calls are %v", m.made())
			}
			b.r.mu.Lock()
			defer b.r.mu.Unlock()
			if len(b.r.holds) != 0 {
				t.Errorf("the removal of a PTR record that is true is planned: %v", b.r.holds)
			}
		})
	})
}

// A reverse zone that comes later is filled, and one that goes is let go.
func TestReverseZoneComesAndGoes(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("known", "203.0.113.1", "us3")
	inBubble(t, Config{Sweep: time.Minute}, m, []string{knownHost, "a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(10*time.Second, "a 192.0.2.1", knownHost)
			if m.count("reverse") != 0 {
				t.Errorf("the calls are %v", m.made())
			}
			m.do(func() { m.serve(labZone, reverse2) })
			b.after(time.Minute, "192.0.2.1 ptr a", "a 192.0.2.1", knownHost)
			if b.logged("the zones of the dns server have changed") != 1 {
				t.Error("the log does not say it")
			}
			m.do(func() {
				m.serve(labZone)
				m.rows = slices.DeleteFunc(m.rows, func(r dns.Row) bool { return r.Zone == reverse2 })
			})
			b.after(5*time.Minute, "a 192.0.2.1", knownHost)
			b.r.mu.Lock()
			defer b.r.mu.Unlock()
			for name := range b.r.tallies {
				if dns.IsReverse(name) {
					t.Errorf("%s is still counted", name)
				}
			}
		})
	})
}

// Without PTR no reverse zone is read, and PTR records that are there stay.
func TestPTROff(t *testing.T) {
	t.Parallel()
	m := withReverse()
	m.putPTR(reverse2, "192.0.2.9", "gone", "us3")
	inBubble(t, Config{PTR: dns.PTROff, Sweep: time.Minute}, m, []string{knownHost, "a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Hour, "192.0.2.9 ptr gone", "a 192.0.2.1", knownHost)
			if m.count("reverse") != 0 || b.r.InStep() != nil {
				t.Errorf("the calls are %v, and InStep says %v", m.made(), b.r.InStep())
			}
		})
	})
}

// What leads to a name stays when the zone of the name is away, or another one has
// taken it over: nobody knows what is to become of the name.
func TestPTROfANameWithoutItsZoneStays(t *testing.T) {
	t.Parallel()
	const nested = "rack." + labZone
	for what, zones := range map[string][]string{
		"gone":   {reverse2},
		"nested": {labZone, nested, reverse2},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m := withReverse()
			inBubble(t, Config{Sweep: time.Minute, HoldDown: time.Nanosecond}, m, []string{"a.rack." + labZone + " 192.0.2.1"}, func(b *bench) {
				planned := func() int {
					b.r.mu.Lock()
					defer b.r.mu.Unlock()
					delete(b.r.holds, "known."+labZone) // which nobody asks for
					return len(b.r.holds)
				}
				b.run(func() {
					b.after(10*time.Second, "192.0.2.1 ptr a.rack", "a.rack 192.0.2.1", knownHost)
					m.do(func() { m.serve(zones...) })
					time.Sleep(5 * time.Minute)
					if n := planned(); n != 0 {
						t.Errorf("%d removals are planned: %v", n, b.r.holds)
					}
					m.do(func() { m.serve(labZone, reverse2) })
					b.after(5*time.Minute, "192.0.2.1 ptr a.rack", "a.rack 192.0.2.1", knownHost)
					b.gone(1)
					time.Sleep(time.Second)
					if n := planned(); n != 2 {
						t.Errorf("%d removals are planned of what is not asked for any more", n)
					}
				})
			})
		})
	}
}

// The start-up with PTR records is as parallel as that without, though each waits
// for its address.
func TestStartUpWithPTRIsAsParallel(t *testing.T) {
	t.Parallel()
	const n, workers, latency = 1000, 8, 100 * time.Millisecond
	m := withReverse()
	m.latency = latency
	inBubble(t, Config{Workers: workers}, m, append(manyHosts(n), knownHost), func(b *bench) {
		start := time.Now()
		b.run(func() {
			for b.r.InStep() != nil {
				time.Sleep(latency / 10)
			}
			if took, bar := time.Since(start), 2*n*latency/workers*12/10; took > bar {
				t.Errorf("%d records took %v, want at most %v", 2*n, took, bar)
			}
			if len(m.have()) != 2*n+1 || m.count("create") != 2*n || m.count("records")+m.count("reverse") != 4 || m.count("lookup") > workers {
				t.Errorf("%d rows after the calls %v", len(m.have()), m.made())
			}
		})
	})
}

// Where all is in step, a check costs the readings alone.
func TestConvergedStartWithPTR(t *testing.T) {
	t.Parallel()
	m := withReverse()
	hosts := manyHosts(100)
	for i := range hosts {
		var name, ip string
		fmt.Sscan(hosts[i], &name, &ip)
		m.put(name, ip, "us3")
		m.putPTR(reverse51, ip, name, "us3")
	}
	inBubble(t, Config{}, m, append(hosts, knownHost), func(b *bench) {
		b.run(func() {
			time.Sleep(lateness / 2) // the check after it reads once more
			if made := m.made(); made != "map[records:1 reverse:1 zones:1]" {
				t.Errorf("a start in step made the calls %v", made)
			}
		})
	})
}

// Whatever the engine thinks, nothing is written while it observes.
func TestObservingProviderRefuses(t *testing.T) {
	t.Parallel()
	m := &memory{}
	p := New(Config{Provider: m, View: events.NewView(), Zones: parseZones(t, labZone), Policy: Observe}).cfg.Provider
	row := dns.Row{Record: dns.Record{Name: "a." + labZone, Type: dns.A, Value: "192.0.2.1"}, Zone: labZone}
	_, create := p.Create(t.Context(), labZone, row.Record, dns.Owner{}, true)
	for call, err := range map[string]error{
		"create": create, "update": p.Update(t.Context(), row, row.Record, dns.Owner{}), "delete": p.Delete(t.Context(), row),
		"adopt": p.Adopt(t.Context(), row, dns.Owner{}),
	} {
		if !errors.Is(err, errObserving) || m.count(call) != 0 {
			t.Errorf("%s was not refused: %v", call, err)
		}
	}
}

// An unclear outcome is looked at again a minute later. What a check makes of the name
// meanwhile, sooner than the name itself is tried again, is confirmed all the same.
func TestPTRDoesNotWaitForTheLateLook(t *testing.T) {
	t.Parallel()
	m := withReverse()
	failed := false
	m.before = func(call, name string) error {
		if call != "create" || name != "a."+labZone || failed {
			return nil
		}
		failed = true
		return fmt.Errorf("no answer: %w", dns.ErrUnclear)
	}
	inBubble(t, Config{Sweep: firstPause / 4}, m, []string{knownHost, "a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(lateness/2, "192.0.2.1 ptr a", "a 192.0.2.1", knownHost)
		})
	})
}
