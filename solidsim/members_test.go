package solidsim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/keastream/keastream/solidsim"
)

const smart = "smart.site.com"

// smartServers are a SMART with two members and a server by itself.
func smartServers() []solidsim.Server {
	zones := []solidsim.Zone{{Name: "site.com"}, {Name: "2.0.192.in-addr.arpa"}}
	return []solidsim.Server{
		{Name: smart, Members: []string{"ns1.site.com", "ns2.site.com"}, Zones: zones},
		{Name: "alone.site.com", Kind: solidsim.Standalone, Zones: zones},
	}
}

// on builds parameters of an A record on a server.
func on(server, name, value string, more ...string) []string {
	return append([]string{"dns_name", server, "rr_name", name, "rr_type", "A", "value1", value}, more...)
}

// addrOf asks a DNS server for the A records of a name.
func addrOf(t *testing.T, sim *solidsim.Sim, server, name string) []string {
	t.Helper()
	reply, _, err := new(dns.Client).ExchangeContext(t.Context(), question(name+".", dns.TypeA), sim.DNSAddr(server))
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, record := range reply.Answer {
		if a, ok := record.(*dns.A); ok {
			addrs = append(addrs, a.A.String())
		}
	}
	return addrs
}

// pick returns these columns of a row, in one line.
func pick(row map[string]string, names ...string) string {
	var values []string
	for _, name := range names {
		values = append(values, row[name])
	}
	return strings.Join(values, " ")
}

func picks(rows []map[string]string, names ...string) (lines []string) {
	for _, row := range rows {
		lines = append(lines, pick(row, names...))
	}
	return lines
}

func TestServersAndMembers(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: smartServers()})
	c := newClient(t, sim)
	want := []string{
		"2 smart.site.com vdns masterslave 0 # 2 ns1.site.com;ns2.site.com ",
		"3 ns1.site.com ipm  2 smart.site.com 0  c0000203",
		"4 ns2.site.com ipm  2 smart.site.com 0  c0000204",
		"5 alone.site.com ipm  0 # 0  c0000205",
	}
	servers := c.must(200, "GET", "dns_server_list")
	if diff := cmp.Diff(want, picks(servers, "dns_id", "dns_name", "dns_type", "vdns_arch",
		"vdns_parent_id", "vdns_parent_name", "total_vdns_members", "vdns_members_name", "ip_addr")); diff != "" {
		t.Error(diff)
	}
	if zones := c.must(200, "GET", "dns_zone_list", "WHERE", "dnszone_name='site.com' and vdns_parent_id='0'"); len(zones) != 2 {
		t.Errorf("zones that can be written to: %v", zones)
	}
	if sim.DNSAddr(smart) != "" {
		t.Error("a SMART with members answers DNS itself")
	}

	// A row and its copies.
	id := c.must(201, "POST", "dns_rr_add", on(smart, "h.site.com", "192.0.2.1", "rr_class_parameters", "a=1")...)[0]["ret_oid"]
	rows := c.must(200, "GET", "dns_rr_list", "WHERE", "rr_full_name='h.site.com'")
	if diff := cmp.Diff([]string{
		"101 smart.site.com 0 # vdns 192.0.2.1 a=1 0",
		"102 ns1.site.com 2 smart.site.com ipm 192.0.2.1 a=1 0",
		"103 ns2.site.com 2 smart.site.com ipm 192.0.2.1 a=1 0",
	}, picks(rows, "rr_id", "dns_name", "vdns_parent_id", "vdns_parent_name", "dns_type", "value1", "rr_class_parameters", "delayed_create_time")); diff != "" {
		t.Error(diff)
	}
	for _, server := range []string{"ns1.site.com", "ns2.site.com"} {
		if got := addrOf(t, sim, server, "h.site.com"); len(got) != 1 {
			t.Errorf("%s answers %v", server, got)
		}
	}
	if got := addrOf(t, sim, "alone.site.com", "h.site.com"); got != nil {
		t.Errorf("another server answers %v", got)
	}

	// Members are not written to.
	for _, call := range [][]string{
		append([]string{"POST", "dns_rr_add"}, on("ns1.site.com", "i.site.com", "192.0.2.2")...),
		{"POST", "dns_rr_add", "hostaddr", "192.0.2.3", "rr_name", "i.site.com", "rr_type", "A", "value1", "192.0.2.2"},
		{"PUT", "dns_rr_add", "rr_id", "102", "rr_ttl", "5"},
		{"DELETE", "dns_rr_delete", "rr_id", "103"},
		{"POST", "dns_zone_add", "dns_name", "ns1.site.com", "dnszone_name", "new.com"},
		{"DELETE", "dns_zone_delete", "dnszone_id", "15"},
	} {
		row := c.must(400, call[0], call[1], call[2:]...)[0]
		if !strings.Contains(row["errmsg"], "member of the SMART smart.site.com") {
			t.Errorf("%q: %v", call, row)
		}
	}

	// An edit keeps the ids, a delete takes the copies too.
	c.must(200, "PUT", "dns_rr_add", "rr_id", id, "value1", "192.0.2.9")
	rows = c.must(200, "GET", "dns_rr_list", "WHERE", "rr_full_name='h.site.com'")
	if diff := cmp.Diff([]string{"101 192.0.2.9", "102 192.0.2.9", "103 192.0.2.9"}, picks(rows, "rr_id", "value1")); diff != "" {
		t.Error(diff)
	}
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", id)
	c.must(204, "GET", "dns_rr_list", "WHERE", "rr_full_name='h.site.com'")
	if got := addrOf(t, sim, "ns1.site.com", "h.site.com"); got != nil {
		t.Errorf("deleted, but answered %v", got)
	}
}

func TestWriteOnMember(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: smartServers(), Unknowns: solidsim.Unknowns{WriteOnMember: true}})
	c := newClient(t, sim)
	c.must(201, "POST", "dns_rr_add", on("ns1.site.com", "own.site.com", "192.0.2.1")...)
	c.must(201, "POST", "dns_rr_add", on(smart, "h.site.com", "192.0.2.2")...)
	copied := c.must(200, "GET", "dns_rr_list", "WHERE", "rr_full_name='h.site.com' and dns_name='ns1.site.com'")[0]["rr_id"]
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", copied)
	for _, test := range []struct{ server, name, want string }{
		{"ns1.site.com", "own.site.com", "192.0.2.1"},
		{"ns2.site.com", "own.site.com", ""},
		{"ns1.site.com", "h.site.com", ""},
		{"ns2.site.com", "h.site.com", "192.0.2.2"},
	} {
		if got := strings.Join(addrOf(t, sim, test.server, test.name), " "); got != test.want {
			t.Errorf("%s on %s: %q, want %q", test.name, test.server, got, test.want)
		}
	}
	// The next change of the SMART brings the copy back.
	c.must(200, "POST", "dns_rr_add", on(smart, "h.site.com", "192.0.2.2", "rr_ttl", "60")...)
	if got := addrOf(t, sim, "ns1.site.com", "h.site.com"); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// TestPending holds the pushes and looks at each kind of change before and
// after it was pushed.
func TestPending(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: smartServers()})
	c := newClient(t, sim)
	c.must(201, "POST", "dns_rr_add", on(smart, "edited.site.com", "192.0.2.1")...)
	deleted := c.must(201, "POST", "dns_rr_add", on(smart, "deleted.site.com", "192.0.2.2")...)[0]["ret_oid"]
	must(t, sim.HoldPushes("ns2.site.com"))

	c.must(200, "PUT", "dns_rr_add", "rr_id", "101", "value1", "192.0.2.11")
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", deleted)
	c.must(201, "POST", "dns_rr_add", on(smart, "created.site.com", "192.0.2.3")...)

	list := func() []string {
		return picks(c.must(200, "GET", "dns_rr_list", "WHERE", "dns_name='"+smart+"'"),
			"rr_full_name", "value1", "delayed_create_time", "delayed_delete_time", "delayed_time", "multistatus")
	}
	const stuck = "1@No answer from ns2.site.com@40@dns"
	if diff := cmp.Diff([]string{
		"edited.site.com 192.0.2.11 1 0 1 " + stuck,
		"deleted.site.com 192.0.2.2 0 1 1 " + stuck,
		"created.site.com 192.0.2.3 1 0 1 " + stuck,
	}, list()); diff != "" {
		t.Error(diff)
	}
	servers := c.must(200, "GET", "dns_server_list", "WHERE", "dns_name in ('smart.site.com','ns1.site.com','ns2.site.com')")
	if diff := cmp.Diff([]string{"Y 1 " + stuck, "Y 0 ", "ET 1 " + stuck}, picks(servers, "dns_state", "dns_synching", "multistatus")); diff != "" {
		t.Error(diff)
	}
	look := func(server string, want ...string) {
		t.Helper()
		var got []string
		for _, name := range []string{"edited", "deleted", "created"} {
			got = append(got, strings.Join(addrOf(t, sim, server, name+".site.com"), " "))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", server, diff)
		}
	}
	look("ns1.site.com", "192.0.2.11", "", "192.0.2.3")
	look("ns2.site.com", "192.0.2.1", "192.0.2.2", "")

	// What is being deleted is not there for writes, and may be made anew.
	c.must(400, "DELETE", "dns_rr_delete", "rr_id", deleted)
	c.must(400, "PUT", "dns_rr_add", "rr_id", deleted, "rr_ttl", "5")
	again := c.must(201, "POST", "dns_rr_add", on(smart, "deleted.site.com", "192.0.2.2", "add_flag", "new_only")...)[0]["ret_oid"]
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", again)

	must(t, sim.ReleasePushes(smart))
	if diff := cmp.Diff([]string{"edited.site.com 192.0.2.11 0 0 0 ", "created.site.com 192.0.2.3 0 0 0 "}, list()); diff != "" {
		t.Error(diff)
	}
	look("ns2.site.com", "192.0.2.11", "", "192.0.2.3")
	if err := sim.HoldPushes("nobody"); err == nil {
		t.Error("held a server that does not exist")
	}
}

// TestPushDelay waits for a push as a client does.
func TestPushDelay(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{PushDelay: time.Hour})
	c := newClient(t, sim)
	slow := c.add("slow.site.com", "A", "192.0.2.1")
	sim.SetPushDelay(time.Millisecond)
	quick := c.must(201, "POST", "dns_rr_add", on(solidsim.ExternalServer, "quick.site.com", "192.0.2.1")...)[0]["ret_oid"]
	pending := func(id string) string {
		return c.must(200, "GET", "dns_rr_info", "rr_id", id)[0]["delayed_create_time"]
	}
	eventually(t, func() bool { return pending(quick) == "0" })
	if got := pending(slow); got != "1" {
		t.Errorf("pending in the first hour: %s", got)
	}
	if got := addrOf(t, sim, solidsim.InternalServer, "slow.site.com"); got != nil {
		t.Errorf("answered before the push: %v", got)
	}
	if got := addrOf(t, sim, solidsim.ExternalServer, "quick.site.com"); len(got) != 1 {
		t.Errorf("not answered after the push: %v", got)
	}
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", quick)
	eventually(t, func() bool {
		status, _ := c.call("GET", "dns_rr_info", "rr_id", quick)
		return status == 204
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
