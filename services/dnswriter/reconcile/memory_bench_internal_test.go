package reconcile

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// BenchmarkMemory gives what a Reconciler in step holds for each reservation with
// an A and a PTR record, in bytes, without the View.
func BenchmarkMemory(b *testing.B) {
	const n = 50_000
	for b.Loop() {
		m := &memory{}
		m.serve(labZone, "10.in-addr.arpa")
		reservations := make(map[events.Key]*events.Change, n)
		for i := range n {
			r := events.Reservation{
				Source: "us3", HostID: int64(i), Hostname: fmt.Sprintf("us3-cab%d-ru%d-idrac", i/40, i%40),
				IP:         netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}),
				Identifier: fmt.Sprintf("02%010x", i), IdentifierType: "hw-address", Subnet4: new(int64(1)),
			}
			reservations[r.Key()] = &events.Change{Operation: events.Update, Reservation: r}
			m.put(r.Hostname, r.IP.String(), "us3")
			m.putPTR("10.in-addr.arpa", r.IP.String(), r.Hostname, "us3")
		}
		zones, err := dns.ParseZones([]string{labZone})
		if err != nil {
			b.Fatal(err)
		}
		before := heapInUse()
		r := New(Config{Provider: m, View: events.NewView(), Zones: zones})
		r.index.last = func(k events.Key) (events.Change, bool) {
			c, ok := reservations[k]
			return *c, ok
		}
		for _, c := range reservations {
			r.changed(events.Difference{After: &c.Reservation, Change: *c})
		}
		r.filled()
		if result, err := r.RunOnce(context.Background()); err != nil || result.Created != 0 {
			b.Fatalf("%+v, %v", result, err)
		}
		b.ReportMetric(float64(heapInUse()-before)/n, "B/reservation")
		runtime.KeepAlive(r)
	}
	b.ReportMetric(0, "ns/op")
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
