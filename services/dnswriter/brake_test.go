package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/solidsim"
)

// hash finds the hash of a list in an output.
func hash(t *testing.T, output string) string {
	t.Helper()
	found := regexp.MustCompile(`list ([0-9a-f]{12}): `).FindStringSubmatch(output)
	if found == nil {
		t.Fatalf("there is no list: %s", output)
	}
	return found[1]
}

// approve calls the verb approve.
func (w *world) approve(hash string) (code int, output string) {
	w.t.Helper()
	return w.callWith([]string{"approve", hash, "--nats-url", w.url})
}

func rack(from, to int64) (hosts []events.Reservation, ids []int64) {
	for id := from; id <= to; id++ {
		hosts = append(hosts, host(id, fmt.Sprintf("h%d", id), fmt.Sprintf("198.51.100.%d", id%250)))
		ids = append(ids, id)
	}
	return hosts, ids
}

// names counts the names with an A record.
func (w *world) names() int {
	names := make(map[string]bool)
	for _, r := range w.sim.Records("dns-internal-smart.site.com") {
		if r.Type == "A" {
			names[r.Name] = true
		}
	}
	return len(names)
}

// What removes more than is allowed stops, from event to readiness, plan and API,
// and goes when exactly that list was approved. What is wanted again stays.
func TestBrake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hosts, ids := rack(1, 60)
	w.src.Put(hosts...)
	w.src.Beat(time.Second)
	settings := []string{"--hold-down", "1s", "--max-removals", "3,10%,200"}
	s := w.start(settings...)
	s.checked(1)
	w.src.Delete(ids[:6]...)
	w.beating("as many as are allowed are gone", func() bool { return w.names() == 54 })
	w.src.Delete(ids[6:20]...)
	ready := func() string { _, body := s.get("/readyz"); return body }
	w.beating("the rest is withheld", func() bool { return strings.Contains(ready(), "14 names") })
	if w.names() != 54 {
		t.Errorf("%d names are left", w.names())
	}
	s.metric(`keastream_dns_queued_names{scope="internal"} 0`)
	_, body := s.get("/api/v1/withheld?limit=2")
	says(t, body, `"total": 14`, `"truncated": true`, `"kind": "removal"`, `"record": "h10.site.com A 198.51.100.10"`, `"approve": "keastream-dnswriter approve `)
	_, output := s.ask("h10")
	says(t, output, "h10.site.com (scope internal): withheld\n", "more than the 5 that --max-removals allows in an hour")

	w.readOnlyWhile(func() {
		code, planned := w.call("plan", settings...)
		if code != daemon.ExitDifference {
			t.Errorf("the exit code of plan is %d", code)
		}
		says(t, planned, "scope internal: 14 changes to be made, 14 of them withheld", "remove A h10.site.com -> 198.51.100.10\n      withheld: list ")
		output = planned
	})
	first := hash(t, output)
	if !strings.Contains(body, first) {
		t.Errorf("plan has another list than the dnswriter: %s", body)
	}
	w.src.Delete(ids[20])
	w.beating("one more is withheld", func() bool { return strings.Contains(ready(), "15 names") })
	if code, output := w.approve(first); code != daemon.ExitFailed || output != "" {
		t.Errorf("an outdated list was approved, exit code %d: %s", code, output)
	}
	_, planned := w.call("plan", settings...)
	code, output := w.approve(hash(t, planned))
	if code != daemon.ExitOK {
		t.Errorf("the exit code of approve is %d", code)
	}
	says(t, output, "of scope internal: removal of 15 names", "  h10.site.com A 198.51.100.10\n")
	w.beating("they are gone", func() bool { return w.names() == 39 })
	w.await("it is ready again", func() bool { status, _ := s.get("/readyz"); return status == http.StatusOK })
	if code, _ = w.approve(first); code != daemon.ExitFailed {
		t.Errorf("approving what is over ends with %d", code)
	}
}

// The same from cron: each run ends, and the next one knows what was approved.
func TestBrakeOfSingleChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hosts, ids := rack(1, 30)
	w.src.Put(hosts...)
	w.src.Beat(time.Second)
	settings := []string{"--once", "--hold-down", "1s", "--max-removals", "2,10%,200"}
	if code := w.start(settings...).wait(); code != daemon.ExitOK {
		t.Fatalf("the exit code is %d", code)
	}
	w.src.Delete(ids[:10]...)
	once := func() (code int, output string) {
		s := w.start(settings...)
		ended := make(chan struct{})
		go func() { defer close(ended); code = s.wait() }()
		w.beating("the check ends", func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		return code, s.log.String()
	}
	code, output := once()
	if code != daemon.ExitDifference || w.names() != 30 {
		t.Errorf("the exit code is %d, and %d names are left", code, w.names())
	}
	says(t, output, "10 removals withheld", "scope internal: withheld: h1.site.com A 198.51.100.1\n")
	if code, _ = w.approve(hash(t, output)); code != daemon.ExitOK {
		t.Errorf("the exit code of approve is %d", code)
	}
	w.src.Put(hosts[:2]...) // wanted again
	code, output = once()
	if code != daemon.ExitOK || w.names() != 22 {
		t.Errorf("the exit code is %d, and %d names are left: %s", code, w.names(), output)
	}
	w.src.Delete(ids[:4]...) // was covered once, and is not any more
	if code, _ = once(); code != daemon.ExitDifference || w.names() != 22 {
		t.Errorf("the exit code is %d, and %d names are left", code, w.names())
	}
}

// Of names that a narrower filter leaves out each one needs approval.
func TestNarrowedFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "node-bmc", "192.0.2.1"), host(2, "node-os", "192.0.2.2"))
	w.src.Beat(time.Second)
	s := w.start("--hold-down", "1s")
	s.checked(1)
	s.stop()
	settings := []string{"--hold-down", "1s", "--name-pattern=-bmc$"}
	s = w.start(settings...)
	s.checked(1)
	w.beating("it is withheld", func() bool { _, body := s.get("/readyz"); return strings.Contains(body, "--name-pattern") })
	w.src.Put(host(3, "other-bmc", "192.0.2.3"), host(4, "other-os", "192.0.2.4"))
	w.awaitRecord("other-bmc", "192.0.2.3")
	code, output := w.call("plan", settings...)
	if code != daemon.ExitDifference {
		t.Errorf("the exit code of plan is %d", code)
	}
	says(t, output, "scope internal: 1 change to be made, 1 of them withheld", "remove A node-os.site.com -> 192.0.2.2\n      withheld: list ")
	if code, _ = w.approve(hash(t, output)); code != daemon.ExitOK {
		t.Errorf("the exit code of approve is %d", code)
	}
	w.beating("it is gone", func() bool { return len(w.values("node-os")) == 0 })
	if len(w.values("node-bmc")) != 1 || len(w.values("other-os")) != 0 {
		t.Errorf("the records are %+v", w.sim.Records("dns-internal-smart.site.com"))
	}
}

// A Kea before 2.6 deletes every host of a subnet where one was meant (its bug
// 3294). DNS stops at the brake, and comes to no harm when the hosts are put back.
func TestMassDeletionByKea(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.kea(pgtest.Kea13)
	insert := func(numbers string) {
		k.exec(fmt.Sprintf(`INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp6_subnet_id, ipv4_address, hostname)
			SELECT n, decode('0001', 'hex') || int4send(n), 1, 1, 0, 'h' || n FROM %[1]s n;
			INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) SELECT '2001:db8::' || to_hex(n), 128, 0, n FROM %[1]s n`, numbers))
	}
	insert("generate_series(1, 40)")
	k.run()
	s := w.start("--sources", "kea")
	s.checked(1)
	records := func() (n int) {
		for _, r := range w.sim.Records(solidsim.InternalServer) {
			if r.Type == "AAAA" {
				n++
			}
		}
		return n
	}
	w.await("all have their record", func() bool { return records() == 40 })

	k.exec(`DELETE FROM hosts USING ipv6_reservations WHERE dhcp6_subnet_id = 1 AND ipv6_reservations.address = '2001:db8::7'`)
	if left := k.snapshot(); len(left) != 0 {
		t.Fatalf("the statement left %d hosts", len(left))
	}
	w.await("all is withheld", func() bool { _, body := s.get("/readyz"); return strings.Contains(body, "40 names are withheld") })
	_, planned := w.call("plan", "--sources", "kea", "--hold-down", "1s")
	says(t, planned, "scope internal: 40 changes to be made, 40 of them withheld")
	insert("generate_series(1, 6)")
	insert("generate_series(8, 39)")
	w.await("nothing is withheld any more", func() bool { status, _ := s.get("/readyz"); return status == http.StatusOK })
	if code, _ := w.approve(hash(t, planned)); code != daemon.ExitFailed {
		t.Errorf("the list of what is wanted again was approved: exit code %d", code)
	}
	if n := records(); n < 38 { // two are not wanted any more, and go in time
		t.Errorf("%d records are left of 38 that are wanted", n)
	}
}

// run has the publisher run until the test ends.
func (k *kea) run() {
	k.w.t.Helper()
	program, err := publisherProgram()
	if err != nil {
		k.w.t.Fatal(err)
	}
	cmd := exec.Command(program, "run", "--source", "kea", "--nats-url", k.w.url, "--http-addr", "off")
	cmd.Env = append(os.Environ(), "KEASTREAM_DB_URL="+k.dsn)
	cmd.Stderr = k.w.t.Output()
	if err := cmd.Start(); err != nil {
		k.w.t.Fatal(err)
	}
	k.w.t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			k.w.t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			k.w.t.Errorf("the publisher ended with %v", err)
		}
	})
}
