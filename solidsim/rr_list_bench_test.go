package solidsim

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// full is a store with n A records on a SMART with a member, each with its PTR
// in one of 300 reverse zones.
func full(b *testing.B, n int) *store {
	b.Helper()
	zones := []Zone{{Name: "site.com"}}
	for i := range 300 {
		zones = append(zones, Zone{Name: fmt.Sprintf("%d.%d.10.in-addr.arpa", i%250, i/250)})
	}
	st, err := Config{Servers: []Server{
		{Name: "smart", Members: []string{"ns1"}, ClassParameters: map[string]string{"dnsptr": "1"}, Zones: zones},
	}}.describe()
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		zone := i % 300
		if _, err := st.addRR("POST", params{
			"dns_name": "smart", "rr_name": fmt.Sprintf("h%d.site.com", i), "rr_type": "A",
			"value1": fmt.Sprintf("10.%d.%d.%d", zone/250, zone%250, i/300%250), "rr_class_parameters": "managed_by=x&owner=y",
		}); err != nil {
			b.Fatal(err)
		}
	}
	return st
}

// BenchmarkList measures calls on an appliance with 100,000 names against the
// same calls on one with 2,000: a ratio near 1 means that the size does not
// matter. Counts may look at each row of the zones in question.
func BenchmarkList(b *testing.B) {
	const few, many = 2_000, 100_000
	small, large := full(b, few), full(b, many)
	types := " and rr_type in ('A','AAAA','PTR','CNAME')"
	for _, bench := range []struct {
		name string
		p    params
	}{
		{"Name", params{"WHERE": "rr_full_name='h1500.site.com' and dns_name='smart'" + types}},
		{"ID", params{"WHERE": "rr_id=1500"}},
		{"FirstPage", params{"WHERE": "dnszone_name='site.com' and dns_name='smart'" + types, "ORDERBY": "rr_id", "limit": "1000"}},
		{"PageAfterID", params{"WHERE": "dnszone_id=11 and rr_id>3000" + types, "ORDERBY": "rr_id", "limit": "1000"}},
		{"PageAtOffset", params{"WHERE": "dnszone_id=11", "ORDERBY": "rr_id", "limit": "500", "offset": "1500"}},
		{"ReversePage", params{"WHERE": "dns_name='smart' and dnszone_is_reverse='1' and rr_id>3000", "ORDERBY": "rr_id", "limit": "1000"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			base := measure(b, small, bench.p, b.N)
			b.ResetTimer()
			b.ReportMetric(float64(measure(b, large, bench.p, b.N))/float64(base), "x-of-2000")
		})
	}
	b.Run("Count", func(b *testing.B) {
		count := countService(large, large.rrTable())
		for b.Loop() {
			if _, err := count("GET", params{"WHERE": "dns_name='smart' and dnszone_name='site.com'" + types}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// measure returns how long the fastest of n calls takes: the others had to wait
// for somebody.
func measure(b *testing.B, st *store, p params, n int) time.Duration {
	b.Helper()
	list := listService(st, st.rrTable())
	fastest := time.Duration(math.MaxInt64)
	for range n {
		start := time.Now()
		result, err := list("GET", p)
		if err != nil || result.status != 200 {
			b.Fatalf("%v: status %d, %v", p, result.status, err)
		}
		fastest = min(fastest, time.Since(start))
	}
	return fastest
}
