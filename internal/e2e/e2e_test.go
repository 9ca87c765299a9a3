package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/solidsim"
)

// bin is where TestMain builds the real programs.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "keastream-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for name, pkg := range map[string]string{
		e2e.PublisherProgram: "github.com/keastream/keastream/services/publisher",
		e2e.DNSWriterProgram: "github.com/keastream/keastream/services/dnswriter",
		e2e.InventoryProgram: "github.com/keastream/keastream/services/inventory",
		e2e.NATSProgram:      "github.com/nats-io/nats-server/v2",
	} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	bin = dir
	// The tests wait most of the time: more of them at once than there are cores.
	const atOnce = 3
	flag.Parse()
	if runtime.GOMAXPROCS(0) < atOnce && flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// start starts the whole system for one test.
func start(t *testing.T, o e2e.Options) *e2e.Stack {
	t.Helper()
	o.Bin = bin
	if o.HoldDown == 0 {
		o.HoldDown = time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := e2e.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range s.Processes {
				t.Logf("the log of %s ends with:\n%s", p.Name, p.LogTail())
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// unbraked are the settings of a dnswriter for a test that changes so much in a
// minute as people do in days.
var unbraked = []string{"--max-removals", "1000,100%,1000"}

func await(t *testing.T, c *e2e.Checker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.Await(ctx); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exec1(t *testing.T, s *e2e.Stack, sql string) {
	t.Helper()
	if err := s.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// addresses asks the name server as dig would.
func addresses(t *testing.T, s *e2e.Stack, name string) []string {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name+".", dns.TypeA)
	answer, err := dns.Exchange(q, s.Sim.DNSAddr(solidsim.InternalServer))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rr := range answer.Answer {
		if a, ok := rr.(*dns.A); ok {
			all = append(all, a.A.String())
		}
	}
	slices.Sort(all)
	return all
}

// The INSERT of the replaced system's guide, unchanged.
const guideInsert = `INSERT INTO hosts (dhcp_identifier_type, dhcp_identifier, dhcp4_subnet_id, ipv4_address, hostname) VALUES (1, decode('aabbccddeeff', 'hex'), 1, ('172.30.19.100'::inet - '0.0.0.0'::inet), 'us3-cab10-ru20-idrac');`

// insert makes a reservation as Kea stores one.
func insert(n int, name string) string {
	return fmt.Sprintf(`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
		VALUES (decode(lpad(to_hex(%d), 12, '0'), 'hex'), 0, 1, ('10.0.0.0'::inet - '0.0.0.0'::inet) + %d, '%s')`, n, n, name)
}

// insert6 makes one with an IPv6 address as well.
func insert6(n int, name string) string {
	return fmt.Sprintf(`WITH h AS (%s RETURNING host_id)
		INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) SELECT '2001:db8::%x', 128, 0, host_id FROM h`, insert(n, name), n)
}

func TestReservationBecomesRecordAndLine(t *testing.T) {
	t.Parallel()
	s := start(t, e2e.Options{})
	const name = "us3-cab10-ru20-idrac.site.com"
	foreign := []solidsim.Record{
		{Name: "us3-cab10-ru18-idrac.site.com", Type: "A", Value: "192.0.2.18", TTL: 3600}, // has the name of a reservation
		{Name: "by-hand.site.com", Type: "A", Value: "172.30.19.100", TTL: 300},            // has the address of one
		{Name: "us3-cab10-ru19-ilo.site.com", Type: "A", Value: "10.0.0.19", TTL: 300},     // has both
	}
	for _, r := range foreign {
		must(t, s.Sim.Add(solidsim.InternalServer, r))
	}
	c := s.Checker(foreign...)

	exec1(t, s, guideInsert)
	exec1(t, s, insert(18, "us3-cab10-ru18-idrac"))
	exec1(t, s, insert(19, "us3-cab10-ru19-ilo"))
	exec1(t, s, insert6(7, "us3-cab10-ru7-9-bmc"))
	await(t, c)
	if got := addresses(t, s, name); !slices.Equal(got, []string{"172.30.19.100"}) {
		t.Errorf("%s resolves to %v", name, got)
	}

	exec1(t, s, `UPDATE hosts SET ipv4_address = ('172.30.19.101'::inet - '0.0.0.0'::inet) WHERE hostname = 'us3-cab10-ru20-idrac'`)
	await(t, c)
	if got := addresses(t, s, name); !slices.Equal(got, []string{"172.30.19.101"}) {
		t.Errorf("after the address changed, %s resolves to %v", name, got)
	}

	exec1(t, s, `DELETE FROM hosts WHERE hostname LIKE 'us3-cab10-%'`)
	await(t, c)
	if got := addresses(t, s, name); len(got) != 0 {
		t.Errorf("after the deletion, %s resolves to %v", name, got)
	}
	if files, _ := filepath.Glob(filepath.Join(s.OutputDir, "*")); len(files) != 0 {
		t.Errorf("the emptied cabinet left %v behind", files)
	}
}

func TestHostileRowsStopNothing(t *testing.T) {
	t.Parallel()
	s := start(t, e2e.Options{})
	for i, name := range []string{"{{ lookup(''pipe'', ''id'') }}", "../../etc/cron.d/x", "a b", "x'' OR ''1''=''1", "*", "wpad",
		"us3-cab10-ru1-idrac.elsewhere.example", "US3-CAB10-RU2-iDRAC", "us3-cab10-ru3-ilo.site.com.", "us3-cab10-ru4_bmc", ""} {
		exec1(t, s, insert(100+i, name))
	}
	exec1(t, s, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
		VALUES (decode(repeat('ab', 200000), 'hex'), 4, 1, 99999999999, 'us3-cab10-ru5-bmc')`)
	exec1(t, s, `INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) SELECT 'not-an-ip', 128, 0, max(host_id) FROM hosts`)
	exec1(t, s, insert(1, "us3-cab11-ru6-idrac"))
	await(t, s.Checker())
	if got := addresses(t, s, "us3-cab11-ru6-idrac.site.com"); len(got) != 1 {
		t.Errorf("beside hostile rows a good one resolves to %v", got)
	}
}

func TestSecondStartDoesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, e2e.Options{})
	for i := range 60 {
		exec1(t, s, insert(i+1, fmt.Sprintf("us3-cab%02d-ru%d-idrac", i%3, i)))
	}
	await(t, s.Checker())
	before := mtimes(t, s.OutputDir)
	s.Sim.ResetCalls()
	for _, p := range []*e2e.Process{s.DNSWriter, s.Inventory} {
		must(t, p.Stop())
		must(t, p.Start())
		must(t, p.AwaitReady(t.Context()))
	}
	await(t, s.Checker())
	awaitLog(t, s.DNSWriter, "DNS consistency check complete: 0 records created")
	if calls := s.Sim.Calls(); calls.Writes != 0 {
		t.Errorf("a second start made %d writing calls: %v", calls.Writes, calls.ByService)
	}
	if after := mtimes(t, s.OutputDir); !maps.Equal(before, after) {
		t.Errorf("a second start touched files: %v, before %v", after, before)
	}
}

func mtimes(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	all := make(map[string]time.Time)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		all[e.Name()] = info.ModTime()
	}
	return all
}

func awaitLog(t *testing.T, p *e2e.Process, text string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		data, err := os.ReadFile(p.LogFile)
		must(t, err)
		if strings.Contains(string(data), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute the log of %s does not say %q", p.Name, text)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// Everything that can go away does, while rows change, and all heals.
func TestOutagesHeal(t *testing.T) {
	t.Parallel()
	s := start(t, e2e.Options{ExternalNATS: true, DNSWriter: unbraked})
	c := s.Checker()
	next := 0
	change := func(n int) { // rows inserted, moved, renamed and deleted
		t.Helper()
		for range n {
			next++
			form := insert
			if next%3 == 0 {
				form = insert6
			}
			exec1(t, s, form(next, fmt.Sprintf("us3-cab%02d-ru%d-idrac", next%4, next)))
		}
		exec1(t, s, fmt.Sprintf(`UPDATE ipv6_reservations SET address = replace(address::text, 'db8::', 'db8::1:')::inet WHERE host_id %% 6 = %d AND address::text NOT LIKE '%%:1:%%'`, next%6))
		exec1(t, s, fmt.Sprintf(`UPDATE hosts SET ipv4_address = ipv4_address + 65536 WHERE host_id %% 5 = %d`, next%5))
		exec1(t, s, fmt.Sprintf(`UPDATE hosts SET hostname = replace(hostname, 'idrac', 'ilo') WHERE host_id %% 7 = %d`, next%7))
		exec1(t, s, fmt.Sprintf(`DELETE FROM hosts WHERE host_id %% 11 = %d`, next%11))
	}
	change(20)
	await(t, c)

	t.Log("publisher stopped, 100 rows changed")
	must(t, s.Publisher.Stop())
	change(100)
	must(t, s.Publisher.Start())
	await(t, c)

	t.Log("PostgreSQL restarted under the running publisher")
	for _, mode := range []pgtest.Mode{pgtest.Fast, pgtest.Immediate} {
		must(t, s.PG.Restart(mode))
		change(10)
		await(t, c)
	}

	t.Log("NATS killed under all")
	s.NATSServer.Kill()
	change(10)
	must(t, s.NATSServer.Start())
	await(t, c)

	t.Log("every service killed while rows change")
	for _, p := range []*e2e.Process{s.Publisher, s.DNSWriter, s.Inventory} {
		p.Kill()
		change(10)
		must(t, p.Start())
		change(10)
		await(t, c)
	}

	t.Log("publisher frozen and awakened")
	must(t, s.Publisher.Signal(syscall.SIGSTOP))
	change(10)
	must(t, s.Publisher.Signal(syscall.SIGCONT))
	await(t, c)
}

// The checker itself must see what is wrong.
func TestCheckerSeesDifferences(t *testing.T) {
	t.Parallel()
	s := start(t, e2e.Options{})
	exec1(t, s, insert(1, "us3-cab10-ru1-idrac"))
	exec1(t, s, insert(2, "us3-cab10-ru2-idrac"))
	c := s.Checker()
	await(t, c)
	for _, p := range s.Processes {
		must(t, p.Signal(syscall.SIGSTOP)) // nothing heals from here on
	}
	t.Cleanup(func() {
		for _, p := range s.Processes {
			_ = p.Signal(syscall.SIGCONT)
		}
	})
	records := s.Sim.Records(solidsim.InternalServer)
	ours := records[slices.IndexFunc(records, func(r solidsim.Record) bool { return r.Type == "A" })]
	file := filepath.Join(s.OutputDir, "us3-cab10-discovery.yml")
	good, err := os.ReadFile(file)
	must(t, err)

	c.NATS = nil // the publisher, and NATS in it, is frozen: look at DNS and files alone
	expect := func(when, want string) {
		t.Helper()
		if err := c.Check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s the checker says %v, want %q", when, err, want)
		}
	}
	must(t, s.Sim.Remove(solidsim.InternalServer, ours))
	expect("with a record missing", "us3-cab10-ru1-idrac.site.com A is [], want [10.0.0.1] (host 1)")
	must(t, s.Sim.Add(solidsim.InternalServer, ours))
	must(t, s.Sim.Add(solidsim.InternalServer, solidsim.Record{Name: "stray.site.com", Type: "A", Value: "10.0.0.9", ClassParameters: ours.ClassParameters}))
	expect("with a record too many", "stray.site.com A is [10.0.0.9], and no row wants it")
	c.Foreign = []solidsim.Record{{Name: "by-hand.site.com", Type: "A", Value: "10.0.0.8", TTL: 60}}
	expect("with a foreign record gone", "is gone or changed")
	must(t, os.WriteFile(file, []byte(strings.Replace(string(good), "10.0.0.2", "10.0.0.3", 1)), 0o644))
	expect("with a wrong host", "us3-cab10-discovery.yml has the hosts")
	must(t, os.WriteFile(file, []byte(strings.Replace(string(good), `- ip: "10.0.0.2"`, `- ip: "10.0.0.3"`, 1)), 0o644))
	expect("with a wrong line", "us3-cab10-discovery.yml lists")
	must(t, os.Remove(file))
	expect("with a file missing", "us3-cab10-discovery.yml is missing")
}
