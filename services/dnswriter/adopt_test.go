package main

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/solidsim"
)

// bare are the records of both servers without their marks, and foreign those that
// have none.
func (w *world) bare() (bare, foreign []solidsim.Record) {
	for _, server := range []string{solidsim.InternalServer, solidsim.ExternalServer} {
		for _, r := range w.sim.Records(server) {
			if !strings.Contains(r.ClassParameters, "managed_by=keastream") {
				foreign = append(foreign, r)
			}
			r.ClassParameters = ""
			bare = append(bare, r)
		}
	}
	return bare, foreign
}

// The replaced system wrote A records of short names with a TTL of 600 and no mark,
// in one scope, and never changed or removed one again. SOLIDserver made PTR records
// of some, and people made records beside them.
func TestMigration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, reverse4)
	add := func(server, name, rtype, value string, ttl int) solidsim.Record {
		r := solidsim.Record{Name: name, Type: rtype, Value: value, TTL: ttl}
		if err := w.sim.Add(server, r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	old := func(name, value string) solidsim.Record {
		return add(solidsim.InternalServer, name+"."+zone, "A", value, 600)
	}
	for name, value := range map[string]string{"a": "192.0.2.1", "b": "192.0.2.2", "moves": "192.0.2.3", "leaves": "192.0.2.4", "stale": "192.0.2.77", "twice": "192.0.2.5"} {
		old(name, value)
	}
	add(solidsim.InternalServer, "1."+reverse4, "PTR", "a.site.com", 3600)
	add(solidsim.InternalServer, "9."+reverse4, "PTR", "host.example.org", 3600)
	add(solidsim.InternalServer, "www.site.com", "CNAME", "a.site.com", 3600)
	add(solidsim.InternalServer, "b.site.com", "TXT", "owner=team", 3600)
	add(solidsim.ExternalServer, "a.site.com", "A", "192.0.2.1", 600)
	w.add("twice", "192.0.2.55")
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"), host(3, "moves", "192.0.2.3"), host(4, "leaves", "192.0.2.4"), host(5, "twice", "192.0.2.5"), host(6, "missing", "192.0.2.6"))
	w.src.Beat(time.Second)
	before, _ := w.bare()

	// To observe for a while writes nothing, whatever happens meanwhile.
	w.readOnly()
	s := w.start("--policy", "observe", "--sweep", "1s")
	s.checked(1)
	w.src.Put(host(3, "moves", "192.0.2.33"), host(7, "later", "192.0.2.7"), host6(8, "both", "192.0.2.8", "2001:db8::8"))
	w.src.Delete(4)
	s.metric(`keastream_dns_skipped_changes{op="create",scope="internal"} 9`) // missing, later, both twice; PTR records of these, b and twice
	n := s.log.count("DNS consistency check complete")
	w.beating("it has checked again and again", func() bool { return s.log.count("DNS consistency check complete") >= n+2 })
	_, body := s.get("/api/v1/conflicts")
	says(t, body, `"name": "moves.site.com"`, `"192.0.2.33 (us3/3)"`, `"total": 1`)
	s.stop()

	code, output := w.call("adopt", "--dry-run")
	if code != daemon.ExitDifference || strings.Contains(output, "example.org") {
		t.Errorf("the exit code of the dry run is %d", code)
	}
	says(t, output, "scope internal: 3 records to adopt, 2 conflicts, 2 records that no reservation asks for\n",
		"  adopt: a.site.com A 192.0.2.1, for us3/1\n  adopt: b.site.com A 192.0.2.2, for us3/2\n  adopt: 1.2.0.192.in-addr.arpa PTR a.site.com, for us3/1\n",
		"  conflict: foreign A moves.site.com", "  conflict: foreign A twice.site.com",
		"  no reservation asks for it: leaves.site.com A 192.0.2.4\n  no reservation asks for it: stale.site.com A 192.0.2.77\n")
	hash := regexp.MustCompile(`keastream-dnswriter adopt ([0-9a-f]{12})\n`).FindStringSubmatch(output)
	if hash == nil {
		t.Fatalf("there is no hash: %s", output)
	}
	if code, output = w.call("adopt", "--dry-run", "--name", "b.site.com"); !strings.Contains(output, "scope internal: 1 record to adopt, 0 conflicts, 0 records") {
		t.Errorf("of one name the exit code is %d", code)
	}
	if code, output = w.call("adopt", "--dry-run", "--zone", reverse4); !strings.Contains(output, "scope internal: 1 record to adopt, 0 conflicts") {
		t.Errorf("of one zone the exit code is %d", code)
	}
	if all, foreign := w.bare(); !slices.Equal(all, before) || len(foreign) != len(before) {
		t.Errorf("something was written (-before +after):\n%s", cmp.Diff(before, all))
	}

	// Another list than the one that was looked at is refused.
	missing := old("missing", "192.0.2.6")
	if code, output = w.call("adopt", hash[1]); code != daemon.ExitFailed || strings.Contains(output, "adopted ") {
		t.Errorf("of an outdated hash the exit code is %d", code)
	}
	w.remove("missing", missing.Value)
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
	adopted, foreign := w.bare()
	if diff := cmp.Diff(before, adopted); diff != "" || len(foreign) != len(before)-3 {
		t.Errorf("%d records have no mark; more than marks was changed (-before +after):\n%s", len(foreign), diff)
	}

	// From now on they are as ours as all others, and nothing else is.
	s = w.start()
	s.checked(1)
	w.awaitPointer("192.0.2.7", "later")
	s.metric(`keastream_dns_records{scope="internal",state="in_sync",type="A"} 5`)
	s.metric(`keastream_dns_records{scope="internal",state="in_sync",type="AAAA"} 1`)
	s.metric(`keastream_dns_records{scope="internal",state="in_sync",type="PTR"} 6`)
	w.src.Put(host(2, "b", "192.0.2.22"))
	w.awaitPointer("192.0.2.22", "b")
	w.src.Delete(1)
	w.beating("the adopted records go with their reservation", func() bool { return len(w.values("a"))+len(w.pointers("192.0.2.1")) == 0 })
	if _, after := w.bare(); !slices.Equal(foreign, after) {
		t.Errorf("foreign records were touched (-before +after):\n%s", cmp.Diff(foreign, after))
	}
	_, output = w.call("adopt", "--dry-run")
	says(t, output, "scope internal: 0 records to adopt, 2 conflicts, 2 records that no reservation asks for\n",
		"  no reservation asks for it: leaves.site.com A 192.0.2.4\n  no reservation asks for it: stale.site.com A 192.0.2.77\n")
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

// A server that keeps no marks gets one change, not one for each record, also when the
// first record of the list has changed and got none.
func TestAdoptionWithoutMarks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"), host(3, "c", "192.0.2.3"))
	w.src.Beat(time.Second)
	for name, ip := range map[string]string{"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"} {
		w.add(name, ip)
	}
	var once onlyOnce
	var changes atomic.Int64
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		switch {
		case c.Method == http.MethodPut:
			changes.Add(1)
		case changes.Load() > 0:
			if err := w.sim.Resynchronize(solidsim.InternalServer, true); err != nil {
				t.Error(err)
			}
		case strings.Contains(c.Params["WHERE"], "'a."+zone+"'") && once.first():
			w.remove("a", "192.0.2.1")
		}
		return solidsim.Fault{}
	}))
	code, output := w.call("adopt")
	if code != daemon.ExitFailed || changes.Load() != 1 {
		t.Errorf("the exit code is %d, after %d changes", code, changes.Load())
	}
	says(t, output, "  not adopted: a.site.com A 192.0.2.1: ")
}
