package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/solidsim"
)

// A migration: the records stand there as the replaced system left them, without
// marks, some of them stale and one wrong.
func TestMigration(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, solidsim.Config{Zones: []string{zone, "2.0.192.in-addr.arpa"}})
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"), host(3, "wrong", "192.0.2.3"), host(4, "missing", "192.0.2.4"), host(5, "twice", "192.0.2.5"))
	w.src.Beat(time.Second)
	w.add("a", "192.0.2.1")
	w.add("b", "192.0.2.2")
	ptr := solidsim.Record{Name: "1.2.0.192.in-addr.arpa", Type: "PTR", Value: "a.site.com", TTL: 3600}
	elsewhere := solidsim.Record{Name: "9.2.0.192.in-addr.arpa", Type: "PTR", Value: "host.example.org", TTL: 3600}
	for _, r := range []solidsim.Record{ptr, elsewhere} {
		if err := w.sim.Add(solidsim.InternalServer, r); err != nil {
			t.Fatal(err)
		}
	}
	foreign := []solidsim.Record{w.add("wrong", "192.0.2.33"), w.add("stale", "192.0.2.77"), w.add("twice", "192.0.2.5"), w.add("twice", "192.0.2.55"), elsewhere}
	before := w.sim.Records(solidsim.InternalServer)

	// To observe writes nothing, and neither does a dry run.
	w.readOnly()
	s := w.start("--policy", "observe", "--hold-down", "1s")
	s.checked(1)
	s.stop()
	code, output := w.call("adopt", "--dry-run")
	if code != daemon.ExitDifference || strings.Contains(output, "example.org") {
		t.Errorf("the exit code of the dry run is %d", code)
	}
	says(t, output, "scope internal: 3 records to adopt, 2 conflicts, 1 record that no reservation asks for\n",
		"  adopt: a.site.com A 192.0.2.1, for us3/1\n  adopt: b.site.com A 192.0.2.2, for us3/2\n  adopt: 1.2.0.192.in-addr.arpa PTR a.site.com, for us3/1\n",
		"  conflict: foreign A wrong.site.com", "  conflict: foreign A twice.site.com", "  no reservation asks for it: stale.site.com A 192.0.2.77\n")
	hash := regexp.MustCompile(`keastream-dnswriter adopt ([0-9a-f]{12})\n`).FindStringSubmatch(output)
	if hash == nil {
		t.Fatalf("there is no hash: %s", output)
	}
	if got := w.sim.Records(solidsim.InternalServer); len(got) != len(before) {
		t.Errorf("there are %d records instead of %d", len(got), len(before))
	}
	if code, output = w.call("adopt", "--dry-run", "--name", "b.site.com"); !strings.Contains(output, "scope internal: 1 record to adopt, 0 conflicts, 0 records") {
		t.Errorf("of one name the exit code is %d", code)
	}
	if code, output = w.call("adopt", "--dry-run", "--zone", "2.0.192.in-addr.arpa"); !strings.Contains(output, "scope internal: 1 record to adopt, 0 conflicts") {
		t.Errorf("of one zone the exit code is %d", code)
	}

	// Another list than the one that was looked at is refused.
	w.add("missing", "192.0.2.4")
	if code, output = w.call("adopt", hash[1]); code != daemon.ExitFailed || strings.Contains(output, "adopted ") {
		t.Errorf("of an outdated hash the exit code is %d", code)
	}
	w.remove("missing", "192.0.2.4")
	w.sim.SetFaults(nil)
	w.sim.ResetCalls()
	code, output = w.call("adopt", hash[1])
	if calls := w.sim.Calls(); code != daemon.ExitOK || calls.Writes != 3 {
		t.Errorf("the exit code is %d after %d writes", code, calls.Writes)
	}
	says(t, output, "adopted 3 of 3 records; 0 had changed meanwhile, 0 failed\n")
	if code, output = w.call("adopt"); code != daemon.ExitOK || !strings.Contains(output, "list e3b0c44298fc: 0 records to adopt\n") {
		t.Errorf("a second time the exit code is %d", code)
	}

	// From now on they are as ours as all others.
	s = w.start("--hold-down", "1s")
	s.checked(1)
	w.awaitRecord("missing", "192.0.2.4")
	s.metric(`keastream_dns_records{scope="internal",state="in_sync",type="A"} 3`)
	w.src.Put(host(2, "b", "192.0.2.22"))
	w.awaitRecord("b", "192.0.2.22")
	w.src.Delete(1)
	w.beating("the adopted record goes with its reservation", func() bool { return len(w.values("a")) == 0 })
	for _, r := range foreign {
		w.untouched(r)
	}
}

// What changed since it was read is left alone, and told; what failed is an error.
func TestAdoptionThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"), host(3, "c", "192.0.2.3"))
	w.src.Beat(time.Second)
	for name, ip := range map[string]string{"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"} {
		w.add(name, ip)
	}
	var once onlyOnce
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		if c.Method == http.MethodPut && once.first() {
			w.remove("c", "192.0.2.3")
			w.add("c", "192.0.2.33")
		}
		return solidsim.Fault{}
	}))
	code, output := w.call("adopt")
	if code != daemon.ExitDifference {
		t.Errorf("the exit code is %d", code)
	}
	says(t, output, "  not adopted: c.site.com A 192.0.2.3: ", "adopted 2 of 3 records; 1 had changed meanwhile, 0 failed\n")

	w.add("d", "192.0.2.4")
	w.src.Put(host(4, "d", "192.0.2.4"))
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		if c.Method == http.MethodPut {
			return solidsim.Fault{Status: http.StatusForbidden}
		}
		return solidsim.Fault{}
	}))
	if code, output = w.call("adopt"); code != daemon.ExitFailed {
		t.Errorf("the exit code is %d", code)
	}
	says(t, output, "adopted 0 of 1 record; 0 had changed meanwhile, 1 failed\n")
}

func TestAdoptSettings(t *testing.T) {
	t.Parallel()
	code, output := call(t, "adopt", "xyz", "--zone", "bad zone")
	if code != daemon.ExitSettings {
		t.Errorf("the exit code is %d", code)
	}
	says(t, output, `"xyz" is no hash of a list`, "--zone, --name: ", "--dns-zone: must be set")
}
