package reconcile_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

// BenchmarkPlan plans views of 10,000 and 100,000 reservations with an address of
// each family, half of whose records are there. It reports how much longer a
// reservation takes in the larger one, where 1 is linear; and the same for that
// many reservations of one device, which share a name. Of each size the fastest
// run counts: what else the machine does makes runs slower and none faster. A plan
// sorts, so the figure is above 1.
func BenchmarkPlan(b *testing.B) {
	for _, shape := range []struct {
		name   string
		shared bool
	}{{"names", false}, {"one name", true}} {
		b.Run(shape.name, func(b *testing.B) {
			const few, many = 10_000, 100_000
			fewWant, fewRows := view(few, shape.shared)
			manyWant, manyRows := view(many, shape.shared)
			fastest := func(before time.Duration, w reconcile.Want, rows []dns.Row) time.Duration {
				runtime.GC() // the garbage of one size is not to be paid for by the other
				start := time.Now()
				reconcile.Plan(w, rows, reconcile.Sync)
				return min(before, time.Since(start))
			}
			short, long := time.Hour, time.Hour
			for b.Loop() {
				short = fastest(short, fewWant, fewRows)
				long = fastest(long, manyWant, manyRows)
			}
			b.ReportMetric(float64(long)/many/(float64(short)/few), "times-linear")
		})
	}
}

// view makes the wants of n reservations and the rows of half of them.
func view(n int, shared bool) (reconcile.Want, []dns.Row) {
	var claims []dns.Claim
	var rows []dns.Row
	for i := range n {
		name, device := fmt.Sprintf("host-%06d.lab.example.com", i), key("us3", int64(i))
		if shared {
			name, device = nameA, key("us3", 1)
		}
		last := [3]byte{byte(i >> 16), byte(i >> 8), byte(i)}
		v4 := netip.AddrFrom4([4]byte{10, last[0], last[1], last[2]}).String()
		v6 := netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 13: last[0], 14: last[1], 15: last[2]}).String()
		claims = append(append(claims, dual(device, name, v4)...), dual(device, name, v6)...)
		if i%2 == 0 {
			rows = append(rows, row(name, v4), ptr(name, v4))
		}
	}
	return want(claims...), rows
}
