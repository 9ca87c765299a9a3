package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/solidsim"
)

// Reverse zones of 192.0.2.0/24 and 2001:db8::/32.
const (
	reverse4 = "2.0.192.in-addr.arpa"
	reverse6 = "8.b.d.0.1.0.0.2.ip6.arpa"
)

// pointers returns the targets of an address, without the zone.
func (w *world) pointers(addr string) (all []string) {
	name := dns.ReverseName(netip.MustParseAddr(addr))
	for _, r := range w.sim.Records(solidsim.InternalServer) {
		if r.Name == name && r.Type == "PTR" {
			all = append(all, r.Value[:len(r.Value)-len("."+zone)])
		}
	}
	return all
}

func (w *world) awaitPointer(addr string, names ...string) {
	w.t.Helper()
	w.await("the PTR record of "+addr, func() bool { return slices.Equal(w.pointers(addr), names) })
}

// gone gives signs of life until nothing is left of names and addresses.
func (w *world) gone(names, addrs []string) {
	w.t.Helper()
	w.beating("all of it is gone", func() bool {
		return !slices.ContainsFunc(names, func(n string) bool { return len(w.values(n)) > 0 }) &&
			!slices.ContainsFunc(addrs, func(a string) bool { return len(w.pointers(a)) > 0 })
	})
}

func host6(id int64, name, ip, ip6 string) events.Reservation {
	r := host(id, name, ip)
	r.IPv6 = []netip.Addr{netip.MustParseAddr(ip6)}
	return r
}

func TestReverseRecordsFollowReservations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, reverse4, reverse6)
	w.src.Put(host6(1, "a", "192.0.2.1", "2001:db8::1"))
	w.src.Beat(time.Second)
	s := w.start()
	s.checked(1)
	w.awaitPointer("192.0.2.1", "a")
	w.awaitPointer("2001:db8::1", "a")

	w.src.Put(host(2, "b", "192.0.2.2"))
	w.awaitPointer("192.0.2.2", "b")
	w.src.Put(host(2, "b", "192.0.2.22")) // moves
	w.awaitPointer("192.0.2.22", "b")
	w.src.Put(host(2, "c", "192.0.2.22")) // is renamed
	w.awaitPointer("192.0.2.22", "c")
	w.gone([]string{"b"}, []string{"192.0.2.2"})
	w.awaitRecord("c", "192.0.2.22")
	w.awaitPointer("192.0.2.22", "c")

	w.src.Delete(1, 2)
	w.gone([]string{"a", "c"}, []string{"192.0.2.1", "2001:db8::1", "192.0.2.22"})
	s.quiet()
	s.metric(`keastream_dns_records{scope="internal",state="in_sync",type="PTR"} 0`)
	s.metric(`keastream_dns_changes_total{op="remove",result="ok",scope="internal",type="PTR"} 4`)
	s.metric(`keastream_dns_changes_total{op="update",result="ok",scope="internal",type="PTR"} 1`)
	s.metric(`keastream_dns_events_total{operation="delete",result="queued",scope="internal"} 2`)

	w.sim.ResetCalls()
	w.start("--once").wait()
	if calls := w.sim.Calls(); calls.Writes != 0 {
		t.Errorf("a second start wrote: %v", calls.ByService)
	}
}

// Kea writes the deletion and the insertion in either order, and the reservations
// of one address may be deleted in either order.
func TestSharedAddressInEitherOrder(t *testing.T) {
	t.Parallel()
	for _, first := range []int64{1, 2} {
		w := newWorld(t, reverse4)
		other := host(2, "b", "192.0.2.1")
		other.Identifier, other.IdentifierType = host(1, "a", "192.0.2.1").Identifier, host(1, "a", "192.0.2.1").IdentifierType
		other.Subnet4 = new(int64(7)) // the same device in another subnet
		w.src.Put(host(1, "a", "192.0.2.1"), other)
		w.src.Beat(time.Second)
		s := w.start()
		s.checked(1)
		w.awaitPointer("192.0.2.1", "a", "b")
		last := map[int64]string{1: "b", 2: "a"}[first]
		w.src.Delete(first)
		w.beating("one of them is gone", func() bool { return slices.Equal(w.pointers("192.0.2.1"), []string{last}) })
		w.awaitRecord(last, "192.0.2.1")
		w.src.Delete(3 - first)
		w.gone([]string{"a", "b"}, []string{"192.0.2.1"})
		s.stop()
	}
}

// What somebody else has made at a reverse name stays, and is not added to.
func TestForeignPTRIsNotTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, reverse4)
	add := func(addr, target string) solidsim.Record {
		r := solidsim.Record{Name: dns.ReverseName(netip.MustParseAddr(addr)), Type: "PTR", Value: target + "." + zone, TTL: 3600}
		if err := w.sim.Add(solidsim.InternalServer, r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	same, other := add("192.0.2.1", "a"), add("192.0.2.2", "theirs")
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"))
	w.src.Beat(time.Second)
	s := w.start()
	s.checked(1)
	w.awaitRecord("b", "192.0.2.2")
	s.metric(`keastream_parked_names{reason="foreign",scope="internal"} 1`)
	w.src.Delete(1, 2)
	w.gone([]string{"a", "b"}, nil)
	s.quiet()
	w.untouched(same)
	w.untouched(other)
}

func TestPTROnReportsMissingZones(t *testing.T) {
	t.Parallel()
	w := newWorld(t, reverse4)
	w.src.Put(host6(1, "a", "192.0.2.1", "2001:db8::1"))
	w.src.Beat(time.Second)
	s := w.start("--ptr", "on")
	s.checked(1)
	w.awaitPointer("192.0.2.1", "a")
	s.metric(`keastream_parked_names{reason="no_reverse_zone",scope="internal"} 1`)
	s.metric(`keastream_dns_records{scope="internal",state="in_sync",type="AAAA"} 1`)
}

// PTR records that are there stay when they are not wanted any more by setting.
func TestPTROffLeavesThemAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, reverse4)
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"))
	w.src.Beat(time.Second)
	w.start("--once").wait()
	w.awaitPointer("192.0.2.1", "a")
	s := w.start("--ptr", "off")
	s.checked(1)
	w.src.Delete(2)
	w.src.Put(host(3, "c", "192.0.2.3"))
	w.gone([]string{"b"}, nil)
	s.quiet()
	w.awaitPointer("192.0.2.1", "a")
	w.awaitPointer("192.0.2.2", "b")
	if got := w.pointers("192.0.2.3"); len(got) != 0 {
		t.Errorf("a PTR record was made: %v", got)
	}
}

// Both scopes in one process: each has its own server, and what is private stays
// inside.
func TestTwoScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, reverse4, "10.in-addr.arpa")
	w.src.Put(host(1, "inside", "10.0.0.1"), host(2, "both", "192.0.2.2"))
	w.src.Beat(time.Second)
	s := w.start("--dns-scope", "internal,external")
	s.checked(2)
	count := func(server string) int { return len(w.sim.Records(server)) }
	if in, out := count(solidsim.InternalServer), count(solidsim.ExternalServer); in != 4 || out != 2 {
		t.Errorf("%d records inside and %d outside, want 4 and 2", in, out)
	}
	s.metric(`keastream_parked_names{reason="private_address",scope="external"} 1`)
	s.metric(`keastream_parked_names{reason="private_address",scope="internal"} 0`)
	s.metric(`keastream_dns_records{scope="external",state="in_sync",type="PTR"} 1`)
	if status, body := s.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz is %d: %s", status, body)
	}

	// One server that is away holds up only its own scope.
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		return solidsim.Fault{Reset: c.Writes && c.Params["dns_name"] == solidsim.ExternalServer}
	}))
	w.src.Put(host(3, "late", "192.0.2.3"))
	w.awaitPointer("192.0.2.3", "late")
	w.sim.SetFaults(nil)
	w.await("it is outside too", func() bool { return count(solidsim.ExternalServer) == 4 })

	w.src.Delete(1, 2, 3)
	w.beating("all is gone", func() bool { return count(solidsim.InternalServer)+count(solidsim.ExternalServer) == 0 })
	s.stop()

	w.src.Put(host(1, "inside", "10.0.0.1"))
	s = w.start("--dns-scope", "internal,external", "--allow-private", "external", "--once")
	if code := s.wait(); code != daemon.ExitOK || s.log.count("2 records created, 0 updated, 0 removed") != 2 {
		t.Errorf("the exit code is %d", code)
	}
}

// Nothing is written, and log and metrics say what would be.
func TestObserve(t *testing.T) {
	t.Parallel()
	w := newWorld(t, reverse4)
	w.src.Put(host(1, "stays", "192.0.2.1"), host(2, "moves", "192.0.2.2"), host(3, "goes", "192.0.2.3"))
	w.src.Beat(time.Second)
	w.start("--once").wait()
	w.sim.ResetCalls()
	before := w.sim.Records(solidsim.InternalServer)

	w.src.Put(host(2, "moves", "192.0.2.22"), host(4, "comes", "192.0.2.4"))
	w.src.Delete(3)
	s := w.start("--policy", "observe", "--hold-down", "100ms")
	s.checked(1)
	w.src.Put(host(5, "later", "192.0.2.5"))
	s.metric(`keastream_dns_skipped_changes{op="create",scope="internal"} 5`) // two A, three PTR
	s.metric(`keastream_dns_skipped_changes{op="update",scope="internal"} 1`)
	s.metric(`keastream_dns_skipped_changes{op="remove",scope="internal"} 3`) // the old PTR record of moves too
	for range 4 {
		w.src.Beat(6 * time.Second)
	}
	w.await("the log tells of all", func() bool { return s.log.count("would change dns, but the policy does not allow it") == 9 })
	if status, body := s.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz is %d: %s", status, body)
	}
	s = w.start("--policy", "observe", "--once")
	if code := s.wait(); code != daemon.ExitDifference || s.log.count("9 changes are not allowed by --policy") == 0 {
		t.Errorf("the exit code is %d", code)
	}
	if calls := w.sim.Calls(); calls.Writes != 0 || !slices.Equal(before, w.sim.Records(solidsim.InternalServer)) {
		t.Errorf("something was written: %v", calls.ByService)
	}
}

func TestUpsertOnlyRemovesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, reverse4)
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"))
	w.src.Beat(time.Second)
	s := w.start("--policy", "upsert-only", "--hold-down", "100ms")
	s.checked(1)
	w.src.Put(host(1, "a", "192.0.2.11"))
	w.src.Delete(2)
	w.awaitPointer("192.0.2.11", "a")
	w.beating("enough heartbeats", counted(4))
	s.quiet()
	w.awaitRecord("a", "192.0.2.11")
	w.awaitRecord("b", "192.0.2.2")
	w.awaitPointer("192.0.2.1", "a")
	w.awaitPointer("192.0.2.2", "b")
}

// A scope whose zone is missing says so and keeps nothing else waiting.
func TestMissingZoneStopsNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, reverse4)
	w.src.Put(host(1, "a", "192.0.2.1"), eventstest.Reservation("us3", 2, "b.missing.example", "192.0.2.2"))
	w.src.Beat(time.Second)
	s := w.start("--dns-zone", "missing.example")
	w.awaitPointer("192.0.2.1", "a")
	s.awaitReadiness(http.StatusServiceUnavailable, "the DNS server has no zone missing.example: create it there")
	s.metric(`keastream_parked_names{reason="outside_zones",scope="internal"} 1`)
}

// addZone makes a zone on the internal server, as a person does.
func (w *world) addZone(name string) {
	w.t.Helper()
	w.byHand(http.MethodPost, "dns_zone_add", url.Values{
		"dns_name": {solidsim.InternalServer}, "dnszone_name": {name}, "dnszone_type": {"master"}, "add_flag": {"new_only"},
	})
}

// deleteZone deletes a zone of the internal server, with all that is in it.
func (w *world) deleteZone(name string) {
	w.t.Helper()
	w.byHand(http.MethodDelete, "dns_zone_delete", url.Values{"dns_name": {solidsim.InternalServer}, "dnszone_name": {name}})
}

// byHand calls a service of the appliance.
func (w *world) byHand(method, service string, query url.Values) {
	w.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.sim.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.sim.URL()+"/rest/"+service+"?"+query.Encode(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(resp.Body)
		w.t.Fatalf("%s: status %d: %s", service, resp.StatusCode, text)
	}
}

// A zone that is deleted between two checks keeps its own names waiting, and
// does not make the server count as away, which would slow down all others.
func TestDeletedZoneStopsNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "other.com")
	w.src.Put(eventstest.Reservation("us3", 1, "a.other.com", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start("--dns-zone", "other.com")
	s.checked(1)
	w.deleteZone("other.com")
	for id := range int64(20) {
		w.src.Put(eventstest.Reservation("us3", 100+id, fmt.Sprintf("b%d.other.com", id), fmt.Sprintf("192.0.2.%d", 100+id)))
	}
	s.metric(`keastream_parked_names{reason="failing",scope="internal"} 20`)
	w.src.Put(host(2, "good", "192.0.2.2"))
	w.awaitRecord("good", "192.0.2.2")
	if n := s.log.count("the dns server does not answer"); n != 0 {
		t.Errorf("the log says %d times that the server does not answer", n)
	}
}

// A reverse zone that is made later is found and filled at the next check.
func TestReverseZoneIsAddedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host6(1, "a", "192.0.2.1", "2001:db8::1"))
	w.src.Beat(time.Second)
	s := w.start("--sweep", "1s")
	s.checked(1)
	w.awaitRecord("a", "192.0.2.1")
	w.addZone(reverse4)
	w.awaitPointer("192.0.2.1", "a")
	w.addZone(reverse6)
	w.awaitPointer("2001:db8::1", "a")
	w.src.Delete(1)
	w.gone([]string{"a"}, []string{"192.0.2.1", "2001:db8::1"})
}

// SOLIDserver keeps the PTR records of the zone by itself: none is made twice, and
// none stands in the way of anything.
func TestSOLIDserverKeepsThePTRRecords(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, solidsim.Config{Servers: []solidsim.Server{{Name: solidsim.InternalServer, Zones: []solidsim.Zone{
		{Name: zone, ClassParameters: map[string]string{"dnsptr": "1"}}, {Name: reverse4},
	}}}})
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start("--sweep", "1s")
	s.checked(1)
	w.src.Put(host(2, "b", "192.0.2.2"))
	w.awaitPointer("192.0.2.1", "a")
	w.awaitPointer("192.0.2.2", "b")
	w.src.Put(host(2, "b", "192.0.2.22"))
	w.awaitPointer("192.0.2.22", "b")
	s.checked(3)
	s.metric(`keastream_conflicts{scope="internal"} 0`)
	if n := s.log.count("Created PTR record"); n != 0 {
		t.Errorf("%d PTR records were made", n)
	}
	w.src.Delete(1, 2)
	w.gone([]string{"a", "b"}, []string{"192.0.2.1", "192.0.2.22"})
	if n := s.log.count("Removed PTR record"); n != 0 {
		t.Errorf("%d PTR records were removed", n)
	}
}
