package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
)

func TestKeaUpdateLeavesTheLineThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	path := filepath.Join(f.dir, cab10)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}

	// Kea deletes and inserts, here with a long pause and a heartbeat between.
	again := host(1, "us3-cab10-ru17-idrac")
	again.HostID = 3
	f.src.Delete(1)
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second)
	f.src.Put(again)
	s.beat(f.src, 20*time.Second, 20*time.Second)
	s.barrier(f.src, 101)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("the file was written though it says the same: %v", err)
	}

	// The same with another address: one line at any time.
	again.IP = hostAt(1, "x", 77).IP
	f.src.Delete(3)
	s.awaitLog(2, "wait for the proof", cab10, "withheld=1")
	again.HostID = 4
	f.src.Put(again)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 77", "us3-cab10-ru7-9-ilo 2")
	if n := s.log.count("INFO wrote inventory file", cab10); n != 2 {
		t.Errorf("the file was written %d times, want twice", n)
	}

	// A line that came back for a moment has to be absent anew for all the time.
	f.src.Delete(2)
	s.awaitLog(3, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second)
	f.src.Put(host(2, "us3-cab10-ru7-9-ilo"))
	s.beat(f.src, time.Millisecond)
	f.src.Delete(2)
	s.beat(f.src, 20*time.Second)
	s.barrier(f.src, 102)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 77", "us3-cab10-ru7-9-ilo 2")
	s.beat(f.src, 20*time.Second, 20*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 77")
}

// While the stream is read anew a line may have come back and gone again.
func TestAReplayStartsTheHoldDownAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")

	f.src.Delete(2)
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.barrier(f.src, 100)
	looks := s.log.count("looked at inventory files", "all=true")
	f.src.Epoch = "epoch-2" // has the stream read again
	s.beat(f.src, time.Second)
	s.awaitLog(looks+1, "looked at inventory files", "all=true")
	s.beat(f.src, 20*time.Second)
	s.barrier(f.src, 101)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	s.beat(f.src, 10*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1")
}

func TestAnIncompleteSourceRemovesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"), host(3, "us3-cab11-ru1-ilo"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")

	f.src.Delete(2, 3)
	s.awaitLog(1, "wait for the proof", cab11, "withheld=1")
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	for _, hb := range []events.Heartbeat{{Complete: false, Hosts: 1}, {Complete: true, Hosts: 2}, {Complete: false, Hosts: 1}} {
		f.src.Now = f.src.Now.Add(time.Hour)
		f.src.BeatAs(hb)
	}
	s.awaitBeat(f.src)
	// An addition works all the same.
	f.src.Put(host(4, "us3-cab10-ru1-bmc"))
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2", "us3-cab10-ru1-bmc 4")
	s.awaitHosts(cab11, "us3-cab11-ru1-ilo 3")

	// Complete again: the first word counts from now.
	s.beat(f.src, time.Hour)
	s.barrier(f.src, 101)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2", "us3-cab10-ru1-bmc 4")
	s.beat(f.src, 10*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru1-bmc 4")
	s.awaitHosts(cab11)
}

func TestAStreamThatIsFilledAgainChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rs := []events.Reservation{host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"), host(3, "us3-cab11-ru1-ilo")}
	f.src.Put(rs...)
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab11, "us3-cab11-ru1-ilo 3")
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	s.awaitLog(1, "wrote inventory file", cab10) // a file is there before the line that tells of it
	s.awaitLog(1, "wrote inventory file", cab11)
	written := s.log.count("INFO wrote")

	f.lose(t)
	f.src = eventstest.NewSource(t, f.server.Connect(), "us3")
	f.src.Now = f.src.Now.Add(time.Hour)
	f.src.Put(rs[0])
	f.src.BeatAs(events.Heartbeat{Complete: false, Hosts: 1})
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.awaitLog(1, "wait for the proof", cab11, "withheld=1")
	f.src.Put(rs[1:]...)
	s.beat(f.src, time.Hour, time.Hour)
	s.await("nothing is withheld", func() bool {
		_, text := s.get("/metrics")
		return strings.Contains(text, "keastream_inventory_withheld_hosts 0") && strings.Contains(text, "keastream_inventory_hosts 3")
	})
	s.checkAll(rs...)
	if n := s.log.count("INFO wrote") + s.log.count("INFO removed"); n != written {
		t.Errorf("%d files were written or removed, want none", n-written)
	}
}

// While a stream is filled again the line of somebody who has not come back yet
// is not replaced by one that is alike.
func TestAnIncompleteSourceReplacesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1")
	s.stop()

	f.lose(t)
	f.src = eventstest.NewSource(t, f.server.Connect(), "us3")
	f.src.Now = f.src.Now.Add(time.Hour)
	f.src.Put(hostAt(2, "us3-cab10-ru17-idrac", 77))
	f.src.BeatAs(events.Heartbeat{Complete: false, Hosts: 1})
	s = start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru17-idrac 77")
	f.src.Put(host(1, "us3-cab10-ru17-idrac"))
	s.beat(f.src, time.Second, time.Hour)
	s.barrier(f.src, 101)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru17-idrac 77")

	// Complete, an address is changed at once again.
	f.src.Put(hostAt(2, "us3-cab10-ru17-idrac", 78))
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru17-idrac 78")

	// What was not replaced goes with its proof.
	f.src.BeatAs(events.Heartbeat{Complete: false, Hosts: 1})
	s.awaitLog(1, "DEBUG heartbeat", "complete=false")
	f.src.Put(hostAt(2, "us3-cab10-ru17-idrac", 79))
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru17-idrac 78", "us3-cab10-ru17-idrac 79")
	s.beat(f.src, time.Second, 10*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru17-idrac 79")
}

func TestWhatVanishedWhileDownNeedsProof(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"), host(3, "us3-cab11-ru1-ilo"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab11, "us3-cab11-ru1-ilo 3")
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	s.stop()
	f.src.Delete(2, 3)
	f.src.Beat(time.Hour)

	s = start(t, f.url, f.dir, nil)
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.awaitLog(1, "wait for the proof", cab11, "withheld=1")
	s.stop()
	// The hold-down begins anew with each start: nothing is remembered.
	s = start(t, f.url, f.dir, nil)
	s.awaitLog(1, "wait for the proof", cab11, "withheld=1")
	s.beat(f.src, time.Second)
	s.barrier(f.src, 101)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	s.beat(f.src, 10*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1")
	s.awaitHosts(cab11)
	s.checkAll(host(1, "us3-cab10-ru17-idrac"), host(101, "us3-cab99-svr01-bmc"))
}

func TestTheReplacedSystemIsTakenOver(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old := func(name, lines string) {
		text := "bmc_targets:\n" + lines + "metadata:\n  updated_at: '2025-12-18T17:41:20.123456+00:00'\n  source: kea_lease_monitor\n  site: us3\n"
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	line := func(ip, mac, name string) string {
		return "- ip: 192.0.2." + ip + "\n  mac: " + mac + "\n  hostname: " + name + "\n  rack_unit: RU 17\n  manufacturer: Dell\n"
	}
	old(cab10, line("1", "02:00:00:00:00:01", "us3-cab10-ru17-idrac")+
		line("50", "02:00:00:00:00:50", "us3-cab10-ru17-ilo")+line("51", "x", "us3-cab10-{{x}}"))
	old(cab11, line("60", "02:00:00:00:00:60", "us3-cab11-ru17-bmc"))
	foreign := filepath.Join(f.dir, "us3-cab12-discovery.yml")
	if err := os.WriteFile(foreign, []byte("bmc_targets: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab12-ru1-idrac"), host(3, "us3-cab99-svr01-bmc"))

	// The source has not compared yet: current lines are taken over, none goes.
	s := start(t, f.url, f.dir, func(v *runVerb) { v.Sources = []string{"us3"} })
	s.awaitHosts(cab99, "us3-cab99-svr01-bmc 3")
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru17-ilo 50")
	s.awaitLog(1, "WARN dropped lines that no reservation can ask for", cab10, "{{x}}")
	s.awaitLog(1, "WARN removals are withheld", "[us3]")
	data, err := os.ReadFile(filepath.Join(f.dir, cab11))
	if err != nil || !strings.Contains(string(data), "kea_lease_monitor") {
		t.Errorf("the file of a cabinet that nobody asks for was changed: %q, %v", data, err)
	}

	s.beat(f.src, time.Second)
	s.beat(f.src, time.Second, 10*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1")
	s.awaitHosts(cab11)
	s.awaitLog(1, "INFO wrote inventory file", cab10, "removed_names=[us3-cab10-ru17-ilo 192.0.2.50]")
	s.awaitLog(1, "INFO removed inventory file", cab11, "removed_names=[us3-cab11-ru17-bmc 192.0.2.60]")

	// A file of somebody else is in the place of cabinet 12 and stays.
	if data, err := os.ReadFile(foreign); err != nil || string(data) != "bmc_targets: []\n" {
		t.Errorf("the file that is not ours is %q, %v", data, err)
	}
	if s.log.count("WARN a file that is not ours", "us3-cab12") != 1 {
		t.Error("the file that is not ours was not reported exactly once")
	}
	s.await("the metrics, which follow the round", func() bool {
		_, text := s.get("/metrics")
		return strings.Contains(text, `keastream_inventory_files{state="foreign"} 1`) &&
			strings.Contains(text, `keastream_inventory_files{state="current"} 2`)
	})
}

func TestEverySourceOfAFileMustAgree(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	standby := eventstest.NewSource(t, f.server.Connect(), "standby")
	both := host(1, "us3-cab10-ru17-idrac")
	f.src.Put(both, host(2, "us3-cab10-ru7-9-ilo"))
	standby.Put(both)
	f.src.Beat(time.Second)
	standby.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")

	// While one of two holds it, the line is wanted.
	f.src.Delete(1)
	s.beat(f.src, time.Second, time.Hour)
	s.barrier(f.src, 101)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")

	// It goes by the word of both, and of no fewer.
	standby.Delete(1)
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second, time.Hour)
	standby.Now = standby.Now.Add(time.Hour)
	standby.BeatAs(events.Heartbeat{Complete: false})
	s.barrier(f.src, 102)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")

	// The file tells a new start whose word it takes.
	s.stop()
	s = start(t, f.url, f.dir, nil)
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second, time.Hour)
	s.barrier(f.src, 103)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	s.beat(standby, time.Second, time.Hour)
	s.awaitHosts(cab10, "us3-cab10-ru7-9-ilo 2")
}

// While a stream is filled again a source may be missing from it. The files that
// name it go on doing so, and nothing goes without its word.
func TestAMissingSourceIsNotForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	standby := eventstest.NewSource(t, f.server.Connect(), "standby")
	rs := []events.Reservation{host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo")}
	f.src.Put(rs...)
	standby.Put(rs...)
	f.src.Beat(time.Second)
	standby.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	s.stop()

	f.lose(t)
	f.src = eventstest.NewSource(t, f.server.Connect(), "us3")
	f.src.Now = f.src.Now.Add(time.Hour)
	f.src.Put(rs...)
	f.src.Put(host(3, "us3-cab10-ru1-bmc"))
	f.src.Beat(time.Second)
	s = start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2", "us3-cab10-ru1-bmc 3")
	f.src.Delete(2)
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second, 10*time.Second)
	s.barrier(f.src, 101)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2", "us3-cab10-ru1-bmc 3")
	s.stop()

	// And again with nothing else to write.
	s = start(t, f.url, f.dir, nil)
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second, 10*time.Second)
	s.barrier(f.src, 102)
	if n := s.log.count("INFO wrote", cab10); n != 0 {
		t.Errorf("the file was written %d times", n)
	}
	standby = eventstest.NewSource(t, f.server.Connect(), "standby")
	s.beat(standby, time.Second, 20*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru1-bmc 3")
}
