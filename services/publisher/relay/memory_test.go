package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/publisher/relay"
)

// measureEnv makes this test binary a process with nothing but a relay in it,
// for BenchmarkMemory: it holds the settings as JSON.
const measureEnv = "KEASTREAM_MEASURE_RELAY"

// measured is what such a process prints.
type measured struct {
	Held int // bytes of heap after a garbage collection that are there since the start
	Peak int // bytes, greatest resident size of the process (VmHWM)
}

// BenchmarkMemory runs a relay in a process of its own against rows that the
// stream does not have yet, and then against a stream that equals the rows. A
// round is a start of the process with two comparisons. It reports
//
//	B/row          heap that the relay keeps for each reservation
//	peak-first-MB  greatest resident size (VmHWM) when every row differs
//	peak-MB        the same when none does
func BenchmarkMemory(b *testing.B) {
	for _, rows := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(rows), func(b *testing.B) {
			r := &rig{t: b, dsn: pgtest.DB(b), nats: eventstest.Start(b)}
			r.exec(fmt.Sprintf(`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
				SELECT decode(lpad(to_hex(i), 12, '0'), 'hex'), 0, 1, 167772160 + i, 'us3-cab' || i / 40 || '-ru' || mod(i, 40) || '-idrac'
				  FROM generate_series(1, %d) i`, rows), `ANALYZE hosts`)
			r.install(pgtest.As(b, r.dsn, pgtest.Superuser)) // without a mark: the rows were there before
			first := r.measure()
			var last measured
			for b.Loop() {
				last = r.measure()
			}
			b.ReportMetric(float64(last.Held)/float64(rows), "B/row")
			b.ReportMetric(float64(first.Peak)/(1<<20), "peak-first-MB")
			b.ReportMetric(float64(last.Peak)/(1<<20), "peak-MB")
		})
	}
}

// measure starts this binary again.
func (r *rig) measure() (got measured) {
	r.t.Helper()
	settings, err := json.Marshal([]string{r.dsn, r.nats.URL()})
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.CommandContext(r.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), measureEnv+"="+string(settings))
	cmd.Stderr = r.t.Output()
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal(out, &got); err != nil {
		r.t.Fatal(err)
	}
	return got
}

// measureRelay is the whole of such a process. It returns the exit code.
func measureRelay() int {
	got, err := measureComparisons()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(got)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// measureComparisons runs a relay for two comparisons: only at the second one
// does it know something already that must not be held twice.
func measureComparisons() (got measured, err error) {
	var settings [2]string
	if err := json.Unmarshal([]byte(os.Getenv(measureEnv)), &settings); err != nil {
		return got, err
	}
	conn, err := nats.Connect(settings[1])
	if err != nil {
		return got, err
	}
	defer conn.Close()
	before := heap()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	registry, compareNow, asked := prometheus.NewRegistry(), make(chan struct{}, 1), false
	r := &relay.Relay{
		Connect: func(ctx context.Context, _ string) (*pgx.Conn, error) { return pgx.Connect(ctx, settings[0]) },
		NATS:    conn, Source: "us3", Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Metrics: relay.NewMetrics(registry), CompareNow: compareNow,
	}
	r.Alive = func() { // between two rounds, too
		switch n := metric(registry, "comparisons_total"); {
		case n == 1 && !asked:
			asked = true
			compareNow <- struct{}{}
		case n == 2 && got.Held == 0:
			got.Held = heap() - before
			cancel()
		}
	}
	if err := r.Run(ctx); err != nil {
		return got, err
	}
	got.Peak, err = peakResident()
	return got, err
}

// metric returns the value of a counter or gauge of a relay.
func metric(g prometheus.Gatherer, name string) float64 {
	families, _ := g.Gather() // of such metrics it does not fail
	for _, f := range families {
		if m := f.Metric[0]; f.GetName() == "keastream_publisher_"+name {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return -1
}

// peakResident returns the greatest resident size of this process so far, in
// bytes (proc(5)).
func peakResident() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
	if found == nil {
		return 0, errors.New("/proc/self/status has no VmHWM")
	}
	kB, err := strconv.Atoi(string(found[1]))
	return kB << 10, err
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
