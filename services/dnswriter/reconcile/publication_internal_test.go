package reconcile

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// witness writes down what it is told.
type witness struct {
	mu  sync.Mutex
	all []string
}

func (w *witness) note(what string, rec dns.Record, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if gone {
		what += " gone"
	}
	w.all = append(w.all, what+" "+rec.Value)
}

func (w *witness) Accepted(rec dns.Record, gone bool, _ time.Time)  { w.note("accepted", rec, gone) }
func (w *witness) Published(rec dns.Record, gone bool, _ time.Time) { w.note("published", rec, gone) }

// told returns what was told since it was last asked.
func (w *witness) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.all = nil }()
	return fmt.Sprint(w.all)
}

// What is published at once is seen by the reading back. Of a change that is not
// read back somebody has to want to know.
func TestPublishedAtOnce(t *testing.T) {
	t.Parallel()
	for _, asked := range []bool{true, false} {
		m := &memory{}
		m.put("known", "203.0.113.1", "us3")
		w := &witness{}
		cfg := Config{Sweep: time.Hour}
		if asked {
			cfg.Verify = w
		}
		inBubble(t, cfg, m, []string{knownHost}, func(b *bench) {
			b.run(func() {
				b.after(2*time.Minute, knownHost)
				b.put(2, "a 192.0.2.1")
				b.after(time.Minute, "a 192.0.2.1", knownHost)
				if told := w.told(); asked && told != "[accepted 192.0.2.1 published 192.0.2.1]" {
					t.Errorf("it was told %s", told)
				}
				if n := m.count("lookup"); n != 1 {
					t.Errorf("%d lookups of a record that was created", n)
				}
				b.put(2, "a 192.0.2.2")
				b.after(time.Minute, "a 192.0.2.2", knownHost)
				want, lookups := "[accepted 192.0.2.2 accepted gone 192.0.2.1 published 192.0.2.2 published gone 192.0.2.1]", 2
				if !asked {
					want, lookups = "[]", 1
				}
				told := w.told()
				if told == "[accepted 192.0.2.2 accepted gone 192.0.2.1 published gone 192.0.2.1 published 192.0.2.2]" {
					told = want
				}
				if n := m.count("lookup"); told != want || n != lookups {
					t.Errorf("it was told %s after %d lookups", told, n)
				}
			})
		})
	}
}

// What is delayed is looked at again, less and less often, until it is published.
func TestPublishedLater(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("known", "203.0.113.1", "us3")
	w := &witness{}
	reg := prometheus.NewRegistry()
	const unpublished = "keastream_dns_unpublished_records"
	inBubble(t, Config{Sweep: 24 * time.Hour, Verify: w, Metrics: NewMetrics(reg)}, m, []string{knownHost}, func(b *bench) {
		b.run(func() {
			b.after(2*time.Minute, knownHost)
			m.do(func() { m.delay = time.Hour })
			b.put(2, "a 192.0.2.1")
			b.after(59*time.Minute, "a 192.0.2.1", knownHost)
			if told, n := w.told(), m.count("lookup"); told != "[accepted 192.0.2.1]" || n < 10 || n > 40 || gauges(t, reg, unpublished) != 1 {
				t.Errorf("within an hour it was told %s, after %d lookups; %v are not published", told, n, gauges(t, reg, unpublished))
			}
			b.after(longestPause+time.Minute, "a 192.0.2.1", knownHost)
			if told := w.told(); told != "[published 192.0.2.1]" || gauges(t, reg, unpublished) != 0 {
				t.Errorf("after an hour it was told %s", told)
			}
			lookups := m.count("lookup")
			b.after(time.Hour, "a 192.0.2.1", knownHost)
			if n := m.count("lookup"); n != lookups {
				t.Errorf("%d more lookups", n-lookups)
			}
		})
	})
}

// Many are looked at by reading the zone, some times.
func TestManyArePublished(t *testing.T) {
	t.Parallel()
	const n = 500
	m := &memory{delay: 10 * time.Second, latency: 10 * time.Millisecond}
	m.put("known", "203.0.113.1", "us3")
	w := &witness{}
	inBubble(t, Config{Sweep: time.Hour, Verify: w}, m, append(manyHosts(n), knownHost), func(b *bench) {
		b.run(func() {
			time.Sleep(lateness - time.Second)
			if lookups, readings := m.count("lookup"), m.count("records"); lookups > fewLooks || readings > 6 {
				t.Errorf("the calls are %s", m.made())
			}
			w.mu.Lock()
			told := len(w.all)
			w.mu.Unlock()
			if told != 2*n {
				t.Errorf("it was told of %d changes, want %d", told, 2*n)
			}
		})
	})
}

// A removal is published when the row is not there any more at all.
func TestRemovalIsPublished(t *testing.T) {
	t.Parallel()
	m := &memory{delay: 300 * time.Millisecond}
	m.put("a", "192.0.2.1", "us3")
	w := &witness{}
	l := follow(t, Config{Verify: w, HoldDown: 100 * time.Millisecond}, m,
		eventstest.Reservation("us3", 1, "a", "192.0.2.1"), eventstest.Reservation("us3", 2, "b", "192.0.2.2"))
	l.run(func() {
		l.await("the other one", func() bool { return len(l.memory.have()) == 2 })
		l.src.Delete(1)
		var told []string
		l.await("the removal", func() bool {
			l.src.Beat(20 * time.Second)
			w.mu.Lock()
			defer w.mu.Unlock()
			told = slices.DeleteFunc(slices.Clone(w.all), func(text string) bool { return text[len(text)-1] != '1' })
			return slices.Contains(told, "published gone 192.0.2.1")
		})
		if fmt.Sprint(told) != "[accepted gone 192.0.2.1 published gone 192.0.2.1]" || len(l.memory.have()) != 1 {
			t.Errorf("it was told %q, and DNS has %q", told, l.memory.have())
		}
	})
}

// Where others have changed it since, nothing was published; and no more are
// followed than can be remembered.
func TestPublicationsEnd(t *testing.T) {
	t.Parallel()
	w := &witness{}
	r := New(Config{View: events.NewView(), Zones: parseZones(t, labZone), Verify: w})
	rec := dns.Record{Name: "a." + labZone, Type: dns.A, Value: "192.0.2.1", TTL: 600}
	all := func(string) bool { return true }
	r.accepted(Step{Op: Create, Zone: labZone, Record: rec})
	r.looked(rec.Name, all, []dns.Row{{Record: rec, Zone: "other.example.com"}})
	if told := w.told(); told != "[accepted 192.0.2.1]" || r.publications.n != 0 {
		t.Errorf("of a row that is gone it was told %s", told)
	}
	for i := range mostPublications + 5 {
		rec.Name = fmt.Sprintf("a%d.%s", i, labZone)
		r.accepted(Step{Op: Create, Zone: labZone, Record: rec})
	}
	r.accepted(Step{Op: Create, Zone: labZone, Record: dns.Record{Name: "a1." + labZone, Type: dns.A, Value: "192.0.2.1", TTL: 60}})
	if r.publications.n != mostPublications || len(r.publications.byName) != mostPublications || len(w.all) != mostPublications+1 {
		t.Errorf("%d are followed, %d were told", r.publications.n, len(w.all))
	}
}
