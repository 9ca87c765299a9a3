package outbox_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// ground is a database to measure on, with the triggers or without. What is
// measured runs in session writer, what prepares it in session other, so that
// the time of the one process is that of the writes alone.
type ground struct {
	writer, other *pgx.Conn
	installed     bool
}

// grounds gives two databases of one server that differ in the triggers.
func grounds(b *testing.B) (bare, ours ground) {
	b.Helper()
	for _, g := range []*ground{&bare, &ours} {
		dsn := pgtest.DB(b)
		g.installed = g == &ours
		g.other, g.writer = benchConn(b, pgtest.As(b, dsn, pgtest.Superuser)), benchConn(b, dsn)
		if g.installed {
			if _, err := outbox.Install(b.Context(), g.other, outbox.InstallOptions{}); err != nil {
				b.Fatal(err)
			}
			benchExec(b, benchConn(b, dsn), `LISTEN `+outbox.DefaultChannel)
		}
	}
	return bare, ours
}

func benchConn(b *testing.B, dsn string) *pgx.Conn {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.Context())) })
	return conn
}

func benchExec(b *testing.B, conn *pgx.Conn, sql string, args ...any) {
	b.Helper()
	if _, err := conn.Exec(b.Context(), sql, args...); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
}

// empty removes all rows and marks.
func (g ground) empty(b *testing.B) {
	b.Helper()
	benchExec(b, g.other, `TRUNCATE hosts RESTART IDENTITY CASCADE`)
	if g.installed {
		benchExec(b, g.other, `TRUNCATE keastream.outbox`)
	}
}

// cpu is the processor time that the writer's process has taken, as the kernel
// counts it, in ticks of 10 ms.
func (g ground) cpu(b *testing.B) time.Duration {
	b.Helper()
	return processTime(b, g.writer)
}

func processTime(b *testing.B, conn *pgx.Conn) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", conn.PgConn().PID()))
	if err != nil {
		b.Fatal(err)
	}
	// Behind the name, which may hold spaces, utime and stime are the fields 14 and 15 (proc(5)).
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		b.Fatalf("%s: %v, %v", stat, err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

const benchHost = `INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
	SELECT n, decode(lpad(to_hex(n), 12, '0'), 'hex'), 0, 1, 167772160 + n, 'us3-cab10-ru' || n || '-idrac' FROM generate_series($1::int, $2::int) n`

// BenchmarkRow measures what the triggers add to the processor time of a
// statement of one row, as Kea writes them.
func BenchmarkRow(b *testing.B) {
	for _, c := range []struct {
		name, prepare, write string
	}{
		{"InsertHost", "", `INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
			VALUES ($1, int4send($1), 0, 1, 167772160, 'us3-cab10-ru20-idrac')`},
		{"UpdateHost", benchHost, `UPDATE hosts SET ipv4_address = ipv4_address + 1000000 WHERE host_id = $1`},
		{"DeleteHost", benchHost, `DELETE FROM hosts WHERE host_id = $1`},
		{"InsertV6", benchHost, `INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::1', $1)`},
	} {
		b.Run(c.name, func(b *testing.B) {
			const batch = 500
			bare, ours := grounds(b)
			var took [2]time.Duration
			rows := 0
			for b.Loop() {
				for i, g := range []ground{bare, ours} {
					first := 1 + rows%5000
					if first == 1 {
						g.empty(b)
					}
					if c.prepare != "" {
						benchExec(b, g.other, c.prepare, first, first+batch-1)
					}
					before := g.cpu(b)
					for n := range batch {
						benchExec(b, g.writer, c.write, first+n)
					}
					took[i] += g.cpu(b) - before
				}
				rows += batch
			}
			reportCost(b, took[0], took[1], rows)
		})
	}
}

// reportCost prints the processor time for one of n, in microseconds.
func reportCost(b *testing.B, bare, ours time.Duration, n int) {
	b.Helper()
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	b.ReportMetric(0, "ns/op") // of both databases, and with the client
	b.ReportMetric(each(bare), "bare-µs")
	b.ReportMetric(each(ours-bare), "added-µs")
	b.ReportMetric(each(ours)/each(bare), "ratio")
}

// BenchmarkBulk measures the same for statements of very many rows, each of
// them in a transaction of its own.
func BenchmarkBulk(b *testing.B) {
	const rows = 100_000
	bare, ours := grounds(b)
	steps := []struct{ name, sql string }{
		{"InsertHosts", strings.NewReplacer("$1", "1", "$2", strconv.Itoa(rows)).Replace(benchHost)},
		{"InsertV6", `INSERT INTO ipv6_reservations (address, host_id) SELECT '2001:db8::' || to_hex(host_id), host_id FROM hosts`},
		{"UpdateV6", `UPDATE ipv6_reservations SET prefix_len = 127`},
		{"UpdateHosts", `UPDATE hosts SET hostname = hostname || '.lab'`},
		{"DeleteHosts", `DELETE FROM hosts`},
	}
	took := make(map[string][2]time.Duration)
	n := 0
	for b.Loop() {
		for i, g := range []ground{bare, ours} {
			g.empty(b)
			for _, s := range steps {
				before := g.cpu(b)
				benchExec(b, g.writer, s.sql)
				t := took[s.name]
				t[i] += g.cpu(b) - before
				took[s.name] = t
				benchExec(b, g.other, `ANALYZE hosts, ipv6_reservations`)
			}
		}
		n++
	}
	for _, s := range steps {
		// In a benchmark of its own, for a line of its own.
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
			}
			reportCost(b, took[s.name][0], took[s.name][1], n)
		})
	}
}

// BenchmarkWriters has 16 sessions insert at once, each row in a transaction of
// its own that waits for the disk. kept is the share of the speed without
// triggers that is left.
func BenchmarkWriters(b *testing.B) {
	const writers, each = 16, 25
	server, err := pgtest.Start(b.Context(), pgtest.Options{Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop() })
	var sessions [2][]*pgx.Conn
	for i, name := range []string{"bare", "ours"} {
		if err := server.CreateDatabase(b.Context(), name); err != nil {
			b.Fatal(err)
		}
		if name == "ours" {
			if _, err := outbox.Install(b.Context(), benchConn(b, server.DSN(name, pgtest.Superuser)), outbox.InstallOptions{}); err != nil {
				b.Fatal(err)
			}
			benchExec(b, benchConn(b, server.DSN(name, pgtest.Superuser)), `LISTEN kea_lease_events`)
		}
		for range writers {
			sessions[i] = append(sessions[i], benchConn(b, server.DSN(name, pgtest.Kea)))
		}
	}
	var wall, cpu [2]time.Duration
	rounds := 0
	for b.Loop() {
		for k := range sessions {
			i := (rounds + k) % 2 // by turns first
			cpu[i] -= processTimes(b, sessions[i])
			began := time.Now()
			var work sync.WaitGroup
			for w, conn := range sessions[i] {
				work.Go(func() {
					for n := range each {
						_, err := conn.Exec(b.Context(), `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
							VALUES (int4send($1) || int4send($2), 0, 1, 167772160, 'us3-cab10-ru20-idrac')`, w, rounds*each+n)
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			work.Wait()
			wall[i] += time.Since(began)
			cpu[i] += processTimes(b, sessions[i])
		}
		rounds++
	}
	reportCost(b, cpu[0], cpu[1], rounds*writers*each)
	b.ReportMetric(float64(rounds*writers*each)/wall[0].Seconds(), "bare-rows/s")
	b.ReportMetric(wall[0].Seconds()/wall[1].Seconds(), "kept")
}

func processTimes(b *testing.B, conns []*pgx.Conn) (sum time.Duration) {
	b.Helper()
	for _, conn := range conns {
		sum += processTime(b, conn)
	}
	return sum
}
