package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/solidsim"
)

func TestRecordsFollowReservations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start()
	w.awaitRecord("a", "192.0.2.1")
	s.checked(1)

	w.src.Put(host(2, "b", "192.0.2.2"))
	w.awaitRecord("b", "192.0.2.2")
	w.src.Put(host(2, "b", "192.0.2.22"))
	w.awaitRecord("b", "192.0.2.22")

	w.src.Put(host(2, "c", "192.0.2.22")) // a rename: the new name at once, the old one after the hold-down
	w.awaitRecord("c", "192.0.2.22")
	if got := w.values("b"); !slices.Equal(got, []string{"192.0.2.22"}) {
		t.Errorf("before the hold-down is over the old name has %v", got)
	}
	w.beating("the old name is gone", func() bool { return len(w.values("b")) == 0 })

	w.src.Delete(1)
	w.beating("the deleted reservation's record is gone", func() bool { return len(w.values("a")) == 0 })
	w.awaitRecord("c", "192.0.2.22")

	for _, line := range []string{
		"Starting DNS consistency check for existing reservations",
		"Found 1 static reservations to check",
		"Created A record: a.site.com -> 192.0.2.1 (scope: internal)",
		"DNS consistency check complete: 1 records created",
		"Created A record: b.site.com -> 192.0.2.2 (scope: internal)",
		"Updated A record: b.site.com -> 192.0.2.22 (scope: internal)",
		"Removed A record: b.site.com -> 192.0.2.22 (scope: internal)",
		"Removed A record: a.site.com -> 192.0.2.1 (scope: internal)",
	} {
		w.await(line, func() bool { return s.log.count(line) == 1 })
	}
	s.metric(`keastream_dns_records{scope="internal",state="in_sync",type="A"} 1`)
	s.metric(`keastream_dns_records{scope="internal",state="orphan",type="A"} 0`)
	s.metric(`keastream_dns_changes_total{op="remove",result="ok",scope="internal",type="A"} 2`)
	if status, body := s.get("/readyz"); status != 200 {
		t.Errorf("/readyz is %d: %s", status, body)
	}
	if strings.Contains(s.log.String(), password) {
		t.Error("the password is in the log")
	}
}

// Kea writes an update as a deletion and an insertion under another host_id.
func TestDeletionAndInsertionKeepTheRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"))
	w.src.Beat(time.Second)
	s := w.start()
	s.checked(1)
	w.sim.ResetCalls()

	w.src.Delete(1, 2)
	w.src.Beat(time.Second)
	same := host(1, "a", "192.0.2.1")
	same.HostID = 11
	moved := host(2, "b", "192.0.2.22")
	moved.HostID = 12
	w.src.Put(same, moved)
	w.awaitRecord("b", "192.0.2.22")
	for range 4 {
		w.src.Beat(6 * time.Second)
	}
	s.quiet()
	w.awaitRecord("a", "192.0.2.1")
	calls := w.sim.Calls()
	if calls.ByService["DELETE dns_rr_delete"] != 0 || calls.ByService["PUT dns_rr_add"] != 1 || calls.ByService["POST dns_rr_add"] != 1 {
		t.Errorf("one update, and the creation of the name that tells when all is quiet, were expected: %v", calls.ByService)
	}
}

func TestForeignRecordsAreNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sameValue := w.add("same-value", "192.0.2.1")
	otherValue := w.add("other-value", "192.0.2.99")
	unrelated := w.add("unrelated", "192.0.2.3")
	alias := solidsim.Record{Name: "alias.site.com", Type: "CNAME", Value: "unrelated.site.com", TTL: 60}
	if err := w.sim.Add(solidsim.InternalServer, alias); err != nil {
		t.Fatal(err)
	}
	w.src.Put(host(1, "same-value", "192.0.2.1"), host(2, "other-value", "192.0.2.2"), host(3, "alias", "192.0.2.4"))
	w.src.Beat(time.Second)
	s := w.start("--sweep", "1s")
	s.checked(1)
	w.await("the conflicts are raised", func() bool { return s.log.count("conflict: the name is left as it is") == 2 })

	late := w.add("late", "192.0.2.98") // behind the back of the service
	w.src.Put(host(4, "late", "192.0.2.4"))
	w.await("the conflict of the late name", func() bool { return s.log.count("conflict: the name is left as it is") == 3 })
	s.metric(`keastream_conflicts{scope="internal"} 3`)
	s.metric(`keastream_parked_names{reason="foreign",scope="internal"} 2`)
	s.metric(`keastream_parked_names{reason="cname",scope="internal"} 1`)
	s.metric(`keastream_dns_records{scope="internal",state="foreign",type="A"} 1`)

	w.src.Delete(1, 2, 3, 4)
	for range 4 {
		w.src.Beat(6 * time.Second)
	}
	s.quiet()
	w.await("the conflicts are over", func() bool { return s.log.count("conflict is over") == 3 })
	for _, r := range []solidsim.Record{sameValue, otherValue, unrelated, alias, late} {
		w.untouched(r)
	}

	// A person who clears the name gives it to the reservation at the next check.
	w.src.Put(host(2, "other-value", "192.0.2.2"))
	w.await("the conflict is there again", func() bool { return s.log.count("conflict: the name is left as it is") == 4 })
	w.remove("other-value", "192.0.2.99")
	w.awaitRecord("other-value", "192.0.2.2")
}

// Somebody else takes the name between our creation and the read that confirms
// it: the name is his.
func TestCreationIsWithdrawnFromAForeignName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Beat(time.Second)
	s := w.start()
	s.checked(1)
	var foreign solidsim.Record
	var once onlyOnce
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		if c.Service == "dns_rr_list" && len(w.values("a")) == 1 && once.first() {
			foreign = w.add("a", "192.0.2.99")
		}
		return solidsim.Fault{}
	}))
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.await("the creation is withdrawn", func() bool {
		return s.log.count("Withdrawn A record: a.site.com -> 192.0.2.1") == 1 && slices.Equal(w.values("a"), []string{"192.0.2.99"})
	})
	s.metric(`keastream_conflicts{scope="internal"} 1`)
	w.untouched(foreign)
}

func TestConflictOfTwoDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"), host(3, "b", "192.0.2.3"))
	w.src.Beat(time.Second)
	s := w.start("--hold-down", "100ms")
	s.checked(1)
	w.src.Put(host(4, "a", "192.0.2.4"))
	w.await("both conflicts are raised", func() bool { return s.log.count("conflict: the name is left as it is") == 2 })
	if log := s.log.String(); !strings.Contains(log, "192.0.2.2 (us3/2") || !strings.Contains(log, "192.0.2.3 (us3/3") {
		t.Error("the log does not name both sides")
	}
	if a, b := w.values("a"), w.values("b"); !slices.Equal(a, []string{"192.0.2.1"}) || len(b) != 0 {
		t.Errorf("a has %v and b has %v: what was there stays, and nothing is added", a, b)
	}
	w.src.Delete(1, 2)
	w.awaitRecord("a", "192.0.2.4")
	w.awaitRecord("b", "192.0.2.3")
	s.metric(`keastream_conflicts{scope="internal"} 0`)
}

func TestNothingIsRemovedWithoutProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := eventstest.NewSource(t, w.nats.Connect(), "us4")
	w.src.Put(host(1, "a", "192.0.2.1"))
	other.Put(eventstest.Reservation("us4", 1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	other.Beat(time.Second)
	s := w.start("--sources", "us3")
	w.awaitRecord("a", "192.0.2.1")
	s.checked(1)

	stays := func(when string) {
		t.Helper()
		s.quiet()
		if len(w.values("a")) == 0 {
			t.Fatalf("the record went while %s", when)
		}
	}
	w.src.Delete(1)
	w.beating("enough heartbeats", counted(4))
	stays("another source asks for it")

	other.Delete(1)
	incomplete := events.Heartbeat{Complete: false}
	for range 4 {
		w.src.Beat(6 * time.Second)
		other.Now = other.Now.Add(6 * time.Second)
		other.BeatAs(incomplete)
	}
	stays("the other source of its mark was not complete")

	for range 4 {
		other.Beat(6 * time.Second)
		w.src.Now = w.src.Now.Add(6 * time.Second)
		w.src.BeatAs(events.Heartbeat{Complete: true, Hosts: w.src.Live() + 1}) // the view lacks one
	}
	stays("a source of --sources counts more than the view holds")

	w.await("the record is gone", func() bool {
		w.src.Beat(6 * time.Second)
		other.Beat(6 * time.Second)
		return len(w.values("a")) == 0
	})
}

// counted returns a condition that holds at the n-th look.
func counted(n int) func() bool {
	return func() bool { n--; return n < 0 }
}

func TestRestartWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 1500 // more than a page
	var all []events.Reservation
	for id := range int64(n) {
		all = append(all, host(id+1, fmt.Sprintf("h%d", id), "198.51.100.1"))
	}
	w.src.Put(all...)
	w.src.Beat(time.Second)
	s := w.start("--workers", "16")
	s.checked(1)
	if got := len(w.sim.Records(solidsim.InternalServer)); got != n {
		t.Fatalf("%d records, want %d", got, n)
	}
	s.stop()

	w.sim.ResetCalls()
	s = w.start()
	s.checked(1)
	calls := w.sim.Calls()
	if calls.Writes != 0 || calls.Total > 8 {
		t.Errorf("a restart in step took %d writes and %d calls: %v", calls.Writes, calls.Total, calls.ByService)
	}
	w.await("nothing is created", func() bool { return s.log.count("DNS consistency check complete: 0 records created") == 1 })
}

func TestSweepRepairs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "deleted", "192.0.2.1"), host(2, "changed", "192.0.2.2"))
	w.src.Beat(time.Second)
	s := w.start("--sweep", "1s")
	s.checked(1)
	var mark string
	for _, r := range w.sim.Records(solidsim.InternalServer) {
		if r.Name == "changed.site.com" {
			mark = r.ClassParameters
		}
	}
	w.remove("deleted", "192.0.2.1")
	w.remove("changed", "192.0.2.2")
	if err := w.sim.Add(solidsim.InternalServer, solidsim.Record{
		Name: "changed.site.com", Type: "A", Value: "192.0.2.77", TTL: 60, ClassParameters: mark,
	}); err != nil {
		t.Fatal(err)
	}
	w.awaitRecord("deleted", "192.0.2.1")
	w.awaitRecord("changed", "192.0.2.2")
	s.checked(s.log.count("DNS consistency check complete") + 2)
	w.sim.ResetCalls()
	s.checked(s.log.count("DNS consistency check complete") + 1)
	if calls := w.sim.Calls(); calls.Writes != 0 {
		t.Errorf("a check of records in step wrote: %v", calls.ByService)
	}
}

func TestWorkersWorkInParallel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n, workers = 60, 6
	var all []events.Reservation
	for id := range int64(n) {
		all = append(all, host(id+1, fmt.Sprintf("h%d", id), "198.51.100.1"))
	}
	w.src.Put(all...)
	w.src.Beat(time.Second)
	w.sim.SetLatency(50 * time.Millisecond)
	s := w.start("--workers", "6")
	s.checked(1)
	calls := w.sim.Calls()
	if calls.MaxConcurrent != workers {
		t.Errorf("%d calls at a time, want %d", calls.MaxConcurrent, workers)
	}
	if writes := calls.ByService["POST dns_rr_add"]; writes != n {
		t.Errorf("%d creations, want %d", writes, n)
	}
	// Whether marks are kept is found out by each worker with its first record.
	if rest := calls.Total - n; rest > workers+10 {
		t.Errorf("%d calls beside the creations: %v", rest, calls.ByService)
	}
	took := regexp.MustCompile(`records created" .* in=(\S+)`).FindStringSubmatch(s.log.String())
	t.Logf("%d records with %d workers at 50 ms: %v", n, workers, took)
}
