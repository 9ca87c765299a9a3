package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

const (
	nestedZone = "rack." + labZone
	nestedHost = "b.rack." + labZone + " 192.0.2.2"
)

// Without the zones nothing is done; once they are known a failure to list them
// keeps nothing from going on.
func TestListOfZonesFails(t *testing.T) {
	t.Parallel()
	m := &memory{}
	failing := func(call, _ string) error { return onlyFor(call == "zones", errors.New("status 500")) }
	m.before = failing
	inBubble(t, Config{Sweep: 2 * time.Minute}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Hour)
			if err := b.r.InStep(); fmt.Sprint(err) != "the list of zones cannot be read: status 500" {
				t.Errorf("InStep says %v", err)
			}
			if n := m.count("records") + m.count("reverse"); n != 0 {
				t.Errorf("%d zones were read", n)
			}
			m.do(func() { m.before = nil })
			b.after(unservedPause, "a 192.0.2.1")
			if err := b.r.InStep(); err != nil {
				t.Errorf("InStep says %v", err)
			}
			m.do(func() {
				m.before = failing
				m.rows = nil
			})
			b.put(2, "b 192.0.2.2")
			b.after(2*time.Minute+10*time.Second, "a 192.0.2.1", "b 192.0.2.2") // the check goes on too
			if b.r.InStep() == nil || b.logged("a zone cannot be read") != 2 {
				t.Error("it is not told of")
			}
			// When it is listed again there is one more, which is read at once.
			m.do(func() {
				m.before = nil
				m.serve(labZone, reverse2)
			})
			b.after(unservedPause, "192.0.2.1 ptr a", "192.0.2.2 ptr b", "a 192.0.2.1", "b 192.0.2.2")
		})
	})
}

// A check whose last missing part is the list of zones is complete when that can
// be read: readiness and metrics must not wait for the next one.
func TestListOfZonesComesLast(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.serve(labZone)
	m.before = func(call, _ string) error {
		return onlyFor(call == "records" && m.calls["records"] == 1 || call == "zones" && m.calls["zones"] == 2, errors.New("status 500"))
	}
	inBubble(t, Config{}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Minute, "a 192.0.2.1")
			if err := b.r.InStep(); err != nil {
				t.Errorf("InStep says %v", err)
			}
		})
	})
}

// A zone that the server has below ours takes its names away from ours, unless
// it is ours too. What was written before stays.
func TestNestedZone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		zones []string
		want  []string
	}{
		{[]string{labZone}, []string{"a 192.0.2.1", "b.rack 192.0.2.2"}},
		{[]string{labZone, nestedZone}, []string{"a 192.0.2.1", "b.rack 192.0.2.2", "b.rack 192.0.2.2", "c.rack 192.0.2.3"}},
	} {
		m := &memory{}
		cfg := Config{Sweep: time.Minute, Zones: parseZones(t, test.zones...)}
		inBubble(t, cfg, m, []string{"a 192.0.2.1", nestedHost}, func(b *bench) {
			b.run(func() {
				b.after(10*time.Second, "a 192.0.2.1", "b.rack 192.0.2.2")
				m.do(func() { m.serve(labZone, nestedZone) })
				time.Sleep(time.Minute)
				b.put(3, "c.rack."+labZone+" 192.0.2.3")
				b.after(time.Minute, test.want...)
				inStep := b.r.InStep()
				if inStep != nil {
					t.Errorf("InStep says %v", inStep)
				}
				if parked := b.logged("parked a reservation"); (parked == 2) != (len(test.zones) == 1) {
					t.Errorf("%d are parked", parked)
				}
				if m.count("delete")+m.count("update") != 0 {
					t.Errorf("the calls are %v", m.made())
				}

				m.do(func() { // it was a mistake
					m.serve(labZone)
					m.rows = slices.DeleteFunc(m.rows, func(r dns.Row) bool { return r.Zone == nestedZone })
				})
				b.after(2*time.Minute, "a 192.0.2.1", "b.rack 192.0.2.2", "c.rack 192.0.2.3")
				b.r.mu.Lock()
				defer b.r.mu.Unlock()
				if len(b.r.holds) != 0 {
					t.Errorf("the removal of rows is planned that went with their zone: %v", b.r.holds)
				}
			})
		})
	}
}

// A zone that vanishes takes what is known of it along, and when it is back, maybe
// with something in it, it is read before anything is written.
func TestZoneVanishesAndComesBack(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.serve(labZone, "other.example.com")
	m.before = func(call, name string) error {
		return onlyFor((call == "create" || call == "lookup") && name == "c.other.example.com" && len(m.zones) == 1, errors.New("there is no such zone"))
	}
	cfg := Config{Sweep: time.Minute, Zones: parseZones(t, labZone, "2=other.example.com")}
	inBubble(t, cfg, m, []string{"a 192.0.2.1", "b.other.example.com 192.0.2.2"}, func(b *bench) {
		b.run(func() {
			b.after(10*time.Second, "a 192.0.2.1", "b.other.example.com 192.0.2.2")
			m.do(func() {
				m.serve(labZone)
				m.rows = m.rows[:1]
				if m.rows[0].Zone != labZone {
					t.Fatal("the rows are in another order")
				}
			})
			time.Sleep(2 * time.Minute)
			b.put(3, "c.other.example.com 192.0.2.3")
			b.put(4, "d 192.0.2.4")
			b.after(time.Hour, "a 192.0.2.1", "d 192.0.2.4")
			if err := b.r.InStep(); err == nil {
				t.Error("the missing zone is not told of")
			}
			if n := m.count("lookup"); n > 3 {
				t.Errorf("the calls are %v", m.made())
			}
			m.do(func() {
				m.serve(labZone, "other.example.com")
				m.putRecord("other.example.com", dns.Record{Name: "b.other.example.com", Type: dns.A, Value: "192.0.2.99", TTL: 60})
			})
			b.after(time.Minute, "a 192.0.2.1", "b.other.example.com 192.0.2.99", "c.other.example.com 192.0.2.3", "d 192.0.2.4")
			if err := b.r.InStep(); err != nil {
				t.Errorf("InStep says %v", err)
			}
		})
	})
}

// An event that comes while a new reverse zone is not read yet waits for it.
func TestNewReverseZoneIsReadFirst(t *testing.T) {
	t.Parallel()
	m := &memory{latency: 100 * time.Millisecond}
	m.put("known", "203.0.113.1", "us3")
	inBubble(t, Config{Sweep: time.Minute}, m, []string{knownHost, "a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(10*time.Second, "a 192.0.2.1", knownHost)
			m.do(func() {
				m.serve(labZone, reverse2)
				m.putPTR(reverse2, "192.0.2.1", "theirs")
				m.before = func(call, _ string) error {
					return onlyFor(call == "reverse", errors.New("not now"))
				}
			})
			time.Sleep(time.Minute)
			b.put(2, "a 192.0.2.2")
			b.after(time.Minute, "192.0.2.1 ptr theirs", "a 192.0.2.2", knownHost)
			if err := b.r.InStep(); fmt.Sprint(err) != "the records of the reverse zones cannot be read: not now" {
				t.Errorf("InStep says %v", err)
			}
			m.do(func() { m.before = nil })
			b.after(time.Minute, "192.0.2.1 ptr theirs", "192.0.2.2 ptr a", "a 192.0.2.2", knownHost)
		})
	})
}

// Many zones are read several at a time, and not all at once.
func TestZonesAreReadTogether(t *testing.T) {
	t.Parallel()
	m := &memory{latency: time.Second}
	settings := []string{labZone}
	for i := range 40 {
		settings = append(settings, fmt.Sprintf("z%d.example.com", i))
	}
	m.serve(settings...)
	inBubble(t, Config{Zones: parseZones(t, settings...)}, m, nil, func(b *bench) {
		b.run(func() {
			time.Sleep(14 * time.Second)
			if err := b.r.InStep(); err != nil || m.most != readings {
				t.Errorf("after 14 s InStep says %v, with %d calls at a time", err, m.most)
			}
		})
	})
}

// Who asks to be left alone is, up to a minute.
func TestWishToBeLeftAlone(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("known", "203.0.113.1", "us3")
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, []string{knownHost}, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Second)
			m.do(func() { m.before = func(string, string) error { return busyError(40 * time.Second) } })
			for id := range int64(20) {
				b.put(10+id, fmt.Sprintf("h%d 198.51.100.%d", id, id))
			}
			time.Sleep(time.Second)
			tries := m.count("create") + m.count("lookup")
			time.Sleep(10 * time.Minute)
			if n := m.count("create") + m.count("lookup") - tries; n > 15 {
				t.Errorf("%d calls in 10 minutes to one who wants 40 s of rest", n)
			}
		})
	})
}

// busyError wishes for a pause.
type busyError time.Duration

func (e busyError) Error() string       { return "not now" }
func (e busyError) Wait() time.Duration { return time.Duration(e) }

// The answer to a write that comes after its zone has vanished is no news of it:
// what was written went with the zone, and the name has its place in another one.
func TestZoneVanishesDuringAWrite(t *testing.T) {
	t.Parallel()
	const inner = "rack." + labZone
	for _, call := range []string{"create", "lookup"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			m := &memory{}
			m.serve(labZone, inner)
			m.put("known", "192.0.2.100", "us3")
			m.slow = func(made, name string) time.Duration {
				if made != call || !strings.HasSuffix(name, inner) {
					return 0
				}
				m.slow = nil
				m.rows = m.rows[:1]
				m.serve(labZone)
				return 10 * time.Second
			}
			cfg := Config{Sweep: 10 * time.Minute, Zones: parseZones(t, labZone, "2="+inner)}
			inBubble(t, cfg, m, []string{"known 192.0.2.100"}, func(b *bench) {
				b.run(func() {
					time.Sleep(10*time.Minute - 5*time.Second) // the check sees it before the answer
					b.put(2, nestedHost)
					b.after(time.Minute, "b.rack 192.0.2.2", "known 192.0.2.100")
					b.after(time.Hour, "b.rack 192.0.2.2", "known 192.0.2.100")
					if n := b.logged("dns change failed"); n != 0 {
						t.Errorf("%d failures", n)
					}
				})
			})
		})
	}
}
