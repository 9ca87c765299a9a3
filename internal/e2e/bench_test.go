package e2e_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/solidsim"
)

// BenchmarkResident gives the most memory that each service had in use, in MB
// of resident set: "first" while it published, created or wrote everything,
// "again" after a start that found everything in order. The bars are 50 MB at
// 10,000 reservations and 250 MB at 100,000.
func BenchmarkResident(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				measureResident(b, n)
			}
		})
	}
}

func measureResident(b *testing.B, n int) {
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Minute)
	defer cancel()
	s, err := e2e.Start(ctx, e2e.Options{Bin: bin, ExternalNATS: true})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	err = s.Exec(ctx, fmt.Sprintf(`
		INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
		SELECT decode(lpad(to_hex(i), 12, '0'), 'hex'), 0, 1, 167772160 + i, 'us3-cab' || i / 40 || '-ru' || i %% 40 || '-idrac'
		  FROM generate_series(1, %d) i`, n))
	if err != nil {
		b.Fatal(err)
	}
	services := map[string]*e2e.Process{"publisher": s.Publisher, "dnswriter": s.DNSWriter, "inventory": s.Inventory}
	awaitAll(ctx, b, s, n)
	for name, p := range services {
		b.ReportMetric(peak(b, p), "MB-first-"+name)
		if err := p.Stop(); err != nil {
			b.Fatal(err)
		}
	}
	for _, p := range []*e2e.Process{s.Publisher, s.DNSWriter, s.Inventory} {
		if err := p.Start(); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.AwaitReady(ctx); err != nil {
		b.Fatal(err)
	}
	for name, p := range services {
		b.ReportMetric(peak(b, p), "MB-again-"+name)
	}
}

// awaitAll waits until n reservations are records, forward and reverse, and lines.
func awaitAll(ctx context.Context, b *testing.B, s *e2e.Stack, n int) {
	b.Helper()
	for {
		files, err := os.ReadDir(s.OutputDir)
		if err != nil {
			b.Fatal(err)
		}
		lines := 0
		for _, f := range files {
			text, err := os.ReadFile(s.OutputDir + "/" + f.Name())
			if err != nil {
				continue // replaced at this moment
			}
			lines += strings.Count(string(text), "- ip:")
		}
		records := len(s.Sim.Records(solidsim.InternalServer))
		if lines == n && records == 2*n { // A and PTR
			return
		}
		select {
		case <-ctx.Done():
			b.Fatalf("of %d reservations %d are records and %d are lines", n, records, lines)
		case <-time.After(time.Second):
		}
	}
}

// peak reads the greatest resident set that the process has had, in MB (proc(5)).
func peak(b *testing.B, p *e2e.Process) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kB) / 1024
		}
	}
	b.Fatal("/proc gives no VmHWM")
	return 0
}
