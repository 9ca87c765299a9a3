package solidserver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// BenchmarkCreate is 1,000 creates with 16 workers on an appliance that takes
// 200 ms for each call. It reports the calls, and the time in relation to that
// of a client that costs nothing and makes one call for each record.
func BenchmarkCreate(b *testing.B) {
	const records, workers, latency = 1000, 16, 200 * time.Millisecond
	ideal := (records + workers - 1) / workers * latency
	for b.Loop() {
		b.StopTimer()
		sim := start(b)
		s := open(b, sim, solidserver.Config{Concurrency: workers, Log: quiet()}).Scope("internal", solidsim.InternalServer, "")
		if _, err := s.Zones(b.Context()); err != nil {
			b.Fatal(err)
		}
		sim.SetLatency(latency)
		sim.ResetCalls()
		b.StartTimer()
		began := time.Now()
		all := pool.New().WithMaxGoroutines(workers).WithErrors()
		for i := range records {
			all.Go(func() error {
				rec := record(fmt.Sprintf("h%d.site.com", i), fmt.Sprintf("10.0.%d.%d", i/250, i%250))
				_, err := s.Create(b.Context(), site, rec, owner(int64(i+1)), true)
				return err
			})
		}
		if err := all.Wait(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began))/float64(ideal), "x-ideal")
		b.ReportMetric(float64(sim.Calls().Total), "calls")
	}
}

// BenchmarkZone is the reading of a zone with 100,000 records. It reports the
// calls beyond those for full pages.
func BenchmarkZone(b *testing.B) {
	const records, page = 100_000, 1000
	sim := start(b)
	fillZone(b, sim, records)
	s := open(b, sim, solidserver.Config{Log: quiet()}).Scope("internal", solidsim.InternalServer, "")
	for b.Loop() {
		sim.ResetCalls()
		rows, err := s.Records(b.Context(), site)
		if err != nil || len(rows) != records {
			b.Fatalf("%d rows, error %v", len(rows), err)
		}
		b.ReportMetric(float64(sim.Calls().Total-records/page), "calls-beyond-pages")
	}
}
