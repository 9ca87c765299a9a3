package modeltest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// bench is a reconciler between a real nats-server and the simulator.
type bench struct {
	b     *testing.B
	src   *eventstest.Source
	sim   *solidsim.Sim
	watch func() // begins to fill the view
	*reconcile.Reconciler
}

func newBench(b *testing.B, workers int, latency time.Duration) *bench {
	b.Helper()
	sim, err := solidsim.Start(b.Context(), solidsim.Config{Zones: []string{zone}, Users: map[string]string{user: password}, Latency: latency})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sim.Close() })
	ca := filepath.Join(b.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, sim.CAPEM(), 0o600); err != nil {
		b.Fatal(err)
	}
	secret := func(text string) secrets.Source {
		return func(context.Context) (secrets.Value, error) { return secrets.New(text), nil }
	}
	client, err := solidserver.New(solidserver.Config{
		Host: sim.Addr(), CAFile: ca, Username: secret(user), Password: secret(password), Concurrency: workers + 1,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	zones, err := dns.ParseZones([]string{zone})
	if err != nil {
		b.Fatal(err)
	}
	srv := eventstest.Start(b)
	view := events.NewView()
	w := &bench{b: b, sim: sim, src: eventstest.NewSource(b, srv.Connect(), "us3"), Reconciler: reconcile.New(reconcile.Config{
		Provider: client.Scope("internal", server, ""), View: view, Zones: zones, Workers: workers,
	})}
	w.watch = func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
		done := make(chan struct{})
		conn := srv.Connect()
		go func() {
			defer close(done)
			_ = events.Watch(ctx, conn, view, w.Handlers())
		}()
		b.Cleanup(func() { cancel(); <-done })
	}
	return w
}

func (w *bench) await(cond func() bool) {
	w.b.Helper()
	deadline := time.After(10 * time.Minute)
	for !cond() {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			w.b.Fatal("it does not come to its end")
		}
	}
}

// fill publishes n reservations, and lets the reconciler know of them: it finds them
// at its start, and does not hear of them one by one.
func (w *bench) fill(n int) {
	var rows []events.Reservation
	for i := range n {
		rows = append(rows, eventstest.Reservation("us3", int64(i+1), fmt.Sprintf("h%d", i), address(i)))
	}
	for some := range slices.Chunk(rows, 1000) {
		w.src.Put(some...)
	}
	w.src.Beat(time.Second)
	w.watch()
	w.await(func() bool { return w.CaughtUp() == nil })
}

func address(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }

// BenchmarkMissingRecords gives how much longer the creation of 10,000 missing
// records takes, with all that belongs to a check, than 32 workers need for as many
// calls. The bar is 1.2.
func BenchmarkMissingRecords(b *testing.B) {
	const n, workers, latency = 10_000, 32, 100 * time.Millisecond
	for b.Loop() {
		b.StopTimer()
		w := newBench(b, workers, latency)
		w.fill(n)
		b.StartTimer()
		start := time.Now()
		result, err := w.RunOnce(b.Context())
		if err != nil || result.Created != n {
			b.Fatal(result, err)
		}
		ideal := latency * n / workers
		b.ReportMetric(float64(time.Since(start))/float64(ideal), "x-ideal")
		b.ReportMetric(float64(w.sim.Calls().Total)/n, "calls/record")
	}
}

// BenchmarkConverged gives what a check costs of a zone of 100,000 records that is
// in step: no writes, the pages of the zone, and a few calls more.
func BenchmarkConverged(b *testing.B) {
	const n, page = 100_000, 1000
	for b.Loop() {
		b.StopTimer()
		w := newBench(b, 8, 0)
		for i := range n {
			r := solidsim.Record{Name: fmt.Sprintf("h%d.%s", i, zone), Type: "A", Value: address(i), TTL: 600}
			r.ClassParameters = mark(r, int64(i+1))
			if err := w.sim.Add(server, r); err != nil {
				b.Fatal(err)
			}
		}
		w.fill(n)
		w.sim.ResetCalls()
		b.StartTimer()
		result, err := w.RunOnce(b.Context())
		calls := w.sim.Calls()
		if err != nil || calls.Writes != 0 {
			b.Fatal(result, calls, err)
		}
		b.ReportMetric(float64(calls.Writes), "writes")
		b.ReportMetric(float64(calls.Total)/(n/page), "calls/page")
		b.ReportMetric(float64(calls.Total-n/page), "calls-beyond-pages")
	}
}

func mark(r solidsim.Record, id int64) string {
	return url.Values{
		"managed_by": {"keastream"}, "kea_source": {"us3"}, "kea_host_id": {fmt.Sprint(id)}, "keastream_digest": {digest(r)},
	}.Encode()
}

// BenchmarkInsertToAccepted gives how long it takes from a reservation that is
// about to be published until its record is there, when each call takes 100 ms and
// the cache is fresh: the median, and as a multiple of the one call. The bar is
// 110 ms.
func BenchmarkInsertToAccepted(b *testing.B) {
	const latency = 100 * time.Millisecond
	w := newBench(b, 8, latency)
	w.fill(100)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx)
	}()
	defer func() { cancel(); <-ended }()
	w.await(func() bool { return w.InStep() == nil && len(w.sim.Records(server)) == 100 })
	var took []time.Duration
	for id := 101; b.Loop(); id++ {
		start := time.Now()
		w.src.Put(eventstest.Reservation("us3", int64(id), fmt.Sprintf("h%d", id), address(id)))
		w.await(func() bool { return len(w.sim.Records(server)) == id })
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	p50 := took[len(took)/2]
	b.ReportMetric(float64(p50)/float64(time.Millisecond), "ms-p50")
	b.ReportMetric(float64(p50)/float64(latency), "x-call")
}
