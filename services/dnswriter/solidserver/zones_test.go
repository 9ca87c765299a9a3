package solidserver_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// zoneList answers to dns_zone_list with the rows, and to nothing else.
func zoneList(sim *solidsim.Sim, rows ...string) {
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		switch {
		case c.Service == "dns_zone_list" && c.Params["offset"] == "0":
			return solidsim.Fault{Status: http.StatusOK, Body: "[" + strings.Join(rows, ",") + "]"}
		case c.Service == "dns_zone_list":
			return solidsim.Fault{Status: http.StatusOK, Body: "[" + rows[len(rows)-1] + "]"}
		case c.Service == "dns_zone_count":
			return solidsim.Fault{Status: http.StatusOK, Body: fmt.Sprintf(`[{"total":"%d"}]`, len(rows))}
		}
		return solidsim.Fault{}
	})
}

// zoneRow is a row of dns_zone_list: a master zone of the internal server
// without views, but for the changes, each a field and its value.
func zoneRow(id int, name string, changes ...string) string {
	fields := map[string]string{
		"errno": "0", "dnszone_id": fmt.Sprint(id), "dnszone_name": name, "dnszone_type": "master", "dnszone_is_rpz": "0",
		"dns_name": solidsim.InternalServer, "vdns_parent_id": "0", "vdns_parent_name": "#", "dnsview_name": "#",
	}
	for i := 0; i < len(changes); i += 2 {
		fields[changes[i]] = changes[i+1]
	}
	row, _ := json.Marshal(fields) // cannot fail for text
	return string(row)
}

func TestZones(t *testing.T) {
	t.Parallel()
	sim := start(t, "site.com", "lab.site.com", "30.172.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa")
	s := open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "")
	got, err := s.Zones(t.Context())
	want := []dns.Zone{{Name: "30.172.in-addr.arpa"}, {Name: "8.b.d.0.1.0.0.2.ip6.arpa"}, {Name: "lab.site.com"}, {Name: "site.com"}}
	if diff := gocmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("zones (-want +got): %v\n%s", err, diff)
	}
}

// Of all that an appliance lists, the master zones of the view count.
func testZonesThatCount(t *testing.T) {
	t.Parallel()
	sim := start(t)
	zoneList(sim,
		zoneRow(1, "B.com.", "dnsview_name", "in", "dnsview_class_parameters", "ipam_replication=0&dnsptr=1"),
		zoneRow(2, "a.com", "dnsview_name", "in", "dnszone_class_parameters", "dnsptr=0", "dnsview_class_parameters", "dnsptr=1"),
		zoneRow(3, "c.com", "dnsview_name", "in", "dnszone_class_parameters", "x=%zz&dnsptr=1"),
		zoneRow(4, "d.com", "dnsview_name", "in", "dns_class_parameters", "dnsptr=1"),
		zoneRow(5, "e.com", "dnsview_name", "in", "dnsview_class_parameters", "nodnsptr=0&dnsptr=", "dns_class_parameters", "dnsptr=1"),
		zoneRow(6, "out.com", "dnsview_name", "out"),
		zoneRow(7, "in.com", "dnsview_name", "In"),
		zoneRow(8, "slave.com", "dnsview_name", "in", "dnszone_type", "slave"),
		zoneRow(9, "forward.com", "dnsview_name", "in", "dnszone_type", "forward"),
		zoneRow(10, "rpz.com", "dnsview_name", "in", "dnszone_is_rpz", "1"),
		zoneRow(11, "twice.com", "dnsview_name", "in"),
		zoneRow(12, "twice.com", "dnsview_name", "in"),
	)
	s := open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "in")
	got, err := s.Zones(t.Context())
	want := []dns.Zone{
		{Name: "a.com"}, {Name: "b.com", AutoPTR: true}, {Name: "c.com", AutoPTR: true}, {Name: "d.com", AutoPTR: true},
		{Name: "e.com", AutoPTR: true}, {Name: "twice.com"},
	}
	if diff := gocmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("zones (-want +got): %v\n%s", err, diff)
	}
	if _, err := s.Lookup(t.Context(), "twice.com", "a.twice.com"); !errors.Is(err, dns.ErrRefused) || !strings.Contains(err.Error(), "expected 1 zone, found") {
		t.Errorf("a zone that is there twice: %v", err)
	}
}

// What is not there exactly once is an error that says what there is.
func testZoneMustExistOnce(t *testing.T) {
	t.Parallel()
	sim := start(t)
	client := open(t, sim, solidserver.Config{})
	for _, test := range []struct {
		server, view string
		rows         []string
		want         string
	}{
		{"", "", []string{zoneRow(11, site), zoneRow(12, site)},
			`expected 1 zone, found 2: id 11 (master "site.com", DNS server "dns-internal-smart.site.com", view "#"), id 12`},
		{"", "", []string{zoneRow(11, site, "dnszone_type", "slave")}, "only master zones can, and there is id 11 (slave"},
		{"", "", []string{zoneRow(11, site, "vdns_parent_id", "7", "vdns_parent_name", "smart.site.com")},
			`is a member of "smart.site.com": give that name with --dns-server`},
		{"", "", []string{zoneRow(11, site, "vdns_parent_id", "7")}, `is a member of "the SMART with id 7"`},
		{"", "", []string{zoneRow(11, site, "dns_name", "other")}, `of DNS server "other"`},
		{"", "", []string{zoneRow(11, site, "dns_name", "DNS-internal-smart.site.com")}, `is spelled "DNS-internal-smart.site.com": give it so with --dns-server`},
		{"", "", []string{zoneRow(11, site, "dnsview_name", "out"), zoneRow(12, site, "dnsview_name", "in")},
			`has views: give one of "in", "out" with --dns-view`},
		{"", "In", []string{zoneRow(11, site, "dnsview_name", "out"), zoneRow(12, site, "dnsview_name", "in")},
			`found 0 in view "In", but in view "in", "out": check --dns-view, whose value is case-sensitive`},
		{"", "in", []string{zoneRow(11, site)}, `found 0 in view "in": the DNS server has no views, so leave out --dns-view`},
		{"DNS-internal-smart.site.com", "", nil,
			`there is no DNS server "DNS-internal-smart.site.com" to write to: give one of "dns-internal-smart.site.com", "dns-primary.site.com"`},
	} {
		sim.SetFaults(nil)
		if test.rows != nil {
			zoneList(sim, test.rows...)
		}
		server := solidsim.InternalServer
		if test.server != "" {
			server = test.server
		}
		s := client.Scope("internal", server, test.view)
		_, err := s.Create(t.Context(), site, record(host, "10.0.0.1"), owner(5), true)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error is %v, want %q in it", err, test.want)
		}
		if _, err := s.Records(t.Context(), site); err == nil {
			t.Errorf("%s: the zone was read", test.want)
		}
	}
	if writes := sim.Calls().Writes; writes > 0 {
		t.Errorf("%d writes", writes)
	}
}

// A name goes into the nearest of the zones that it is in, also when the caller
// does not know of that.
func testNearestZone(t *testing.T) {
	t.Parallel()
	sim := start(t, site, "lab.site.com")
	s := open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "")
	if _, err := s.Zones(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.lab.site.com", "lab.site.com"} {
		_, err := s.Create(t.Context(), site, record(name, "10.0.0.1"), owner(5), true)
		if !errors.Is(err, dns.ErrRefused) || !strings.Contains(err.Error(), "belongs into zone lab.site.com") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if writes := sim.Calls().Writes; writes > 0 {
		t.Errorf("%d writes", writes)
	}
	if _, err := s.Create(t.Context(), site, record("alab.site.com", "10.0.0.1"), owner(5), true); err != nil {
		t.Error(err)
	}
	if _, err := s.Create(t.Context(), "lab.site.com", record("a.lab.site.com", "10.0.0.1"), owner(5), true); err != nil {
		t.Error(err)
	}
	for zone, want := range map[string]string{site: "alab.site.com", "lab.site.com": "a.lab.site.com"} {
		rows, err := s.Records(t.Context(), zone)
		if err != nil || len(rows) != 1 || rows[0].Name != want {
			t.Errorf("zone %s has %v, %v", zone, rows, err)
		}
	}
}

// Every write names the view, and so does the list that is read before it: what a
// server does with a call that names none is not known.
func testCallsNameTheView(t *testing.T) {
	t.Parallel()
	sim := start(t)
	var mu sync.Mutex
	var mark string // of the row, as it was created
	named := make(map[string]string)
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		mu.Lock()
		defer mu.Unlock()
		rows := ""
		switch {
		case c.Service == "dns_zone_list":
			rows = zoneRow(1, site, "dnsview_name", "It's in")
		case c.Writes:
			named[c.Method] = c.Params["dnsview_name"]
			mark = cmp.Or(mark, c.Params["rr_class_parameters"])
			rows = `{"ret_oid":"5"}`
		case !strings.Contains(c.Params["WHERE"], "dnsview_name='It''s in'"):
			t.Errorf("%s asks for %s", c.Service, c.Params["WHERE"])
		default:
			rows = fmt.Sprintf(`{"rr_id":"5","rr_type":"A","rr_full_name":%q,"value1":"10.0.0.1","ttl":"600","dns_name":%q,`+
				`"dnszone_name":%q,"dnsview_name":"It's in","rr_class_parameters":%q}`, host, solidsim.InternalServer, site, mark)
		}
		return solidsim.Fault{Status: http.StatusOK, Body: "[" + rows + "]"}
	})
	s := open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "It's in")
	row := create(t, s, record(host, "10.0.0.1"), owner(5))
	if err := s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(5)); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), row); err != nil {
		t.Error(err)
	}
	want := map[string]string{http.MethodPost: "It's in", http.MethodPut: "It's in", http.MethodDelete: "It's in"}
	if diff := gocmp.Diff(want, named); diff != "" {
		t.Errorf("views of the writes (-want +got):\n%s", diff)
	}
}

// Many reverse zones cost no more calls than one.
func TestReverse(t *testing.T) {
	t.Parallel()
	zones := []string{site, "8.b.d.0.1.0.0.2.ip6.arpa"}
	for i := range 300 {
		zones = append(zones, fmt.Sprintf("%d.%d.10.in-addr.arpa", i%256, i/256))
	}
	sim := start(t, zones...)
	add(t, sim, solidsim.Record{Name: host, Type: "A", Value: "10.0.0.1", TTL: 600})
	want := make(map[string]string)
	for i := range 300 {
		name := fmt.Sprintf("1.%d.%d.10.in-addr.arpa", i%256, i/256)
		want[name] = name[2:]
		add(t, sim, solidsim.Record{Name: name, Type: "PTR", Value: host, TTL: 600})
	}
	long := strings.Repeat("0.", 24) + "8.b.d.0.1.0.0.2.ip6.arpa"
	want[long] = "8.b.d.0.1.0.0.2.ip6.arpa"
	add(t, sim, solidsim.Record{Name: long, Type: "PTR", Value: host, TTL: 600})

	s := open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "")
	sim.ResetCalls()
	rows, err := s.Reverse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, row := range rows {
		if row.Type != dns.PTR || row.Value != host {
			t.Errorf("row %+v", row)
		}
		got[row.Name] = row.Zone
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("names and their zones (-want +got):\n%s", diff)
	}
	if n := sim.Calls().Total; n > 6 {
		t.Errorf("%d calls", n)
	}
}

// A PTR record is written like any other, with its mark.
func TestPTR(t *testing.T) {
	t.Parallel()
	const zone = "30.172.in-addr.arpa"
	sim := start(t, site, zone)
	s := open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "")
	rec := dns.Record{Name: "100.19.30.172.in-addr.arpa", Type: dns.PTR, Value: host, TTL: 600}
	by := owner(5)
	id, err := s.Create(t.Context(), zone, rec, by, true)
	if err != nil {
		t.Fatal(err)
	}
	want := dns.Row{Record: rec, ID: id, Zone: zone, Owner: &by}
	rows, err := s.Reverse(t.Context())
	if diff := gocmp.Diff([]dns.Row{want}, rows); err != nil || diff != "" {
		t.Fatalf("created (-want +got): %v\n%s", err, diff)
	}
	changed := rec
	changed.Value = "b.site.com"
	if err := s.Update(t.Context(), want, changed, by); err != nil {
		t.Fatal(err)
	}
	want.Record = changed
	if err := s.Delete(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if rows, err := s.Reverse(t.Context()); err != nil || len(rows) > 0 {
		t.Errorf("after the deletion there is %v, %v", rows, err)
	}
}

// Nothing is read as an empty list because it is not there.
func TestReverseOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	sim := start(t)
	client := open(t, sim, solidserver.Config{})
	for _, s := range []*solidserver.Scope{
		client.Scope("internal", "nowhere", ""), client.Scope("internal", solidsim.InternalServer, "in"),
	} {
		if rows, err := s.Reverse(t.Context()); err == nil {
			t.Errorf("the rows are %v", rows)
		}
		if zones, err := s.Zones(t.Context()); err == nil {
			t.Errorf("the zones are %v", zones)
		}
	}
	zoneList(sim, zoneRow(1, "out.com", "dnszone_type", "slave"))
	if zones, err := client.Scope("internal", solidsim.InternalServer, "").Zones(t.Context()); err == nil {
		t.Errorf("the zones are %v", zones)
	}
}
