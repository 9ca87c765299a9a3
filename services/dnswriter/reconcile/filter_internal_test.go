package reconcile

import (
	"testing"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// A name that only the filter does not cover keeps its records, also its PTR
// records, until its reservation is gone.
func TestNamesThatAreLeftOutKeepTheirRecords(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.serve(labZone, "2.0.192.in-addr.arpa")
	for host, ip := range map[string]string{"a": "192.0.2.1", "b": "192.0.2.2", "orphan": "192.0.2.3"} {
		m.put(host, ip, "us3")
		m.putPTR("2.0.192.in-addr.arpa", ip, host, "us3")
	}
	cares := func(r events.Reservation) bool { return r.Hostname != "b" && r.Hostname != "-" }
	l := follow(t, Config{Cares: cares}, m,
		eventstest.Reservation("us3", 1, "a", "192.0.2.1"), eventstest.Reservation("us3", 2, "b", "192.0.2.2"),
		eventstest.Reservation("us3", 3, "-", "192.0.2.9"))
	l.run(func() {
		a, b := []string{"192.0.2.1 ptr a", "a 192.0.2.1"}, []string{"192.0.2.2 ptr b", "b 192.0.2.2"}
		l.awaitRows(a[0], b[0], a[1], b[1])
		l.awaitProof(2)
		l.awaitRows(a[0], b[0], a[1], b[1])
		if err := l.r.InStep(); err != nil {
			t.Errorf("InStep says %v", err)
		}
		l.r.mu.Lock()
		asking, parked := len(l.r.index.asking), len(l.r.index.parked)
		l.r.mu.Unlock()
		if asking != 1 || parked != 0 {
			t.Errorf("%d reservations ask for records and %d are parked", asking, parked)
		}
		l.src.Delete(2)
		l.awaitRows(a...)
	})
}

// What is left out is found by the name that it asks for, not by its address.
func TestStepsCountUnderTheirForwardName(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("a", "192.0.2.1", "us3")
	m.putPTR("2.0.192.in-addr.arpa", "192.0.2.1", "a", "us3")
	for _, row := range m.rows {
		if name := (Step{Op: Remove, Record: row.Record, Row: row}).counted(); name != "a."+labZone {
			t.Errorf("%s counts under %s", row.Record, name)
		}
	}
	ptr := Step{Op: Update, Record: dns.Record{Name: m.rows[1].Name, Type: dns.PTR, Value: "b." + labZone}, Row: m.rows[1]}
	if name := ptr.counted(); name != "a."+labZone {
		t.Errorf("%s counts under %s", ptr, name)
	}
}
