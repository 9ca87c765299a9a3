package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// lines returns what a file says of its hosts beside name and address.
func (s *service) lines(file string) []string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return nil
	}
	content, err := cabinet.Parse(data)
	if err != nil {
		s.t.Fatalf("%s: %v", file, err)
	}
	var all []string
	for _, t := range content.Targets {
		all = append(all, fmt.Sprintf("%s %s %s", t.Hostname, t.IP6, t.Sources))
	}
	return all
}

func (s *service) awaitLines(file string, want ...string) {
	s.t.Helper()
	s.await(file+" says "+strings.Join(want, ", "), func() bool { return slices.Equal(s.lines(file), want) })
}

// host6 is a reservation of IPv6 addresses, which Kea keeps in a row of its own.
func host6(id int64, name string, addrs ...string) events.Reservation {
	r := eventstest.Reservation("us3", id, name, "192.0.2.1")
	r.IP, r.Subnet4, r.MAC = netip.Addr{}, nil, ""
	for _, a := range addrs {
		r.IPv6 = append(r.IPv6, netip.MustParseAddr(a))
	}
	return r
}

// An IPv6 address is held back like a line: its absence needs a proof.
func TestAnIPv6AddressGoesWithProof(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const name = "us3-cab10-ru17-idrac"
	f.src.Put(host(1, name), host6(2, name, "2001:db8::1"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitLines(cab10, name+" 2001:db8::1 us3")
	f.src.Put(host6(2, name, "2001:db8::2")) // another one takes its place at once
	s.awaitLines(cab10, name+" 2001:db8::2 us3")

	f.src.Delete(2)
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second)
	f.src.Put(host6(3, name, "2001:db8::2")) // it was only rewritten
	s.beat(f.src, 20*time.Second)
	s.barrier(f.src, 101)
	s.awaitLines(cab10, name+" 2001:db8::2 us3")
	if n := s.log.count("INFO wrote inventory file", cab10); n != 2 {
		t.Errorf("the file was written %d times, want twice", n)
	}

	// Back for a moment: the hold-down begins anew.
	f.src.Delete(3)
	s.awaitLog(2, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second)
	f.src.Put(host6(4, name, "2001:db8::2"))
	s.beat(f.src, time.Millisecond)
	f.src.Delete(4)
	s.beat(f.src, 20*time.Second)
	s.barrier(f.src, 102)
	s.awaitLines(cab10, name+" 2001:db8::2 us3")
	s.beat(f.src, 20*time.Second, 20*time.Second)
	s.awaitLines(cab10, name+" invalid IP us3")
	s.awaitLog(1, "INFO wrote inventory file", cab10, "removed_names=["+name+" 2001:db8::2]")
}

// While a stream is filled again, neither addresses nor sources leave a file.
func TestAStreamThatIsFilledAgainKeepsWhatLinesSay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	standby := eventstest.NewSource(t, f.server.Connect(), "standby")
	const name = "us3-cab10-ru17-idrac"
	rs := []events.Reservation{host(1, name), host6(2, name, "2001:db8::1")}
	f.src.Put(rs...)
	standby.Put(rs[0])
	f.src.Beat(time.Second)
	standby.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitLines(cab10, name+" 2001:db8::1 standby,us3")
	s.awaitLog(1, "wrote inventory file", cab10)
	written := s.log.count("INFO wrote")

	f.lose(t)
	f.src = eventstest.NewSource(t, f.server.Connect(), "us3")
	f.src.Now = f.src.Now.Add(time.Hour)
	f.src.Put(rs[0])
	f.src.BeatAs(events.Heartbeat{Complete: false, Hosts: 1})
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	standby = eventstest.NewSource(t, f.server.Connect(), "standby")
	standby.Now = standby.Now.Add(time.Hour)
	standby.Put(rs[0])
	f.src.Put(rs[1:]...)
	s.beat(f.src, time.Hour)
	s.beat(standby, time.Hour)
	s.await("nothing is withheld", func() bool {
		_, text := s.get("/metrics")
		return strings.Contains(text, "keastream_inventory_withheld_hosts 0") && strings.Contains(text, "keastream_inventory_hosts 1")
	})
	s.awaitLines(cab10, name+" 2001:db8::1 standby,us3")
	if n := s.log.count("INFO wrote"); n != written {
		t.Errorf("%d files were written, want none", n-written)
	}
}

// A file in another layout is written anew, without losing a line that waits for
// its proof.
func TestTheLayoutCanBeChanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), hostAt(2, "us3-cab10-ru17-idrac", 2), host(3, "us3-cab11-ru1-ilo"), host(4, "us3-cab10-ru1-bmc"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, func(v *runVerb) { v.Layout = cabinet.List })
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru17-idrac 2", "us3-cab10-ru1-bmc 4")
	s.awaitHosts(cab11, "us3-cab11-ru1-ilo 3")
	s.stop()
	f.src.Delete(4)
	f.src.BeatAs(events.Heartbeat{Complete: false})
	for layout, want := range map[cabinet.Layout]struct{ inventory, list bool }{
		cabinet.Both: {true, true}, cabinet.Ansible: {true, false}, cabinet.List: {false, true},
	} {
		s = start(t, f.url, f.dir, func(v *runVerb) { v.Layout = layout })
		s.await("both files have the layout "+string(layout), func() bool {
			for _, name := range []string{cab10, cab11} {
				data, err := os.ReadFile(filepath.Join(f.dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(data), "\nall:\n") != want.inventory || strings.Contains(string(data), "bmc_targets:\n") != want.list {
					return false
				}
			}
			return true
		})
		s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru17-idrac 2", "us3-cab10-ru1-bmc 4")
		s.awaitHosts(cab11, "us3-cab11-ru1-ilo 3")
		s.stop()
	}
}
