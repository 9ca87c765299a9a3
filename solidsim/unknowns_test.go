package solidsim_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/keastream/keastream/solidsim"
)

func TestUnknowns(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	id := c.add("h.site.com", "A", "192.0.2.1")
	c.add("h.site.com", "A", "192.0.2.2")
	again := on(solidsim.InternalServer, "h.site.com", "192.0.2.1")
	alias := []string{"dns_name", solidsim.InternalServer, "rr_name", "h.site.com", "rr_type", "CNAME", "value1", "other.example"}

	c.must(200, "POST", "dns_rr_add", again...)
	c.must(400, "PUT", "dns_rr_add", "rr_id", id, "value1", "192.0.2.2")
	c.must(400, "POST", "dns_rr_add", alias...)

	must(t, sim.SetUnknowns(solidsim.Unknowns{EditedStatus: 201, EditDoubles: true, CNAMEBesideData: true}))
	c.must(201, "POST", "dns_rr_add", again...)
	c.must(200, "PUT", "dns_rr_add", "rr_id", id, "value1", "192.0.2.2")
	if got := sim.Records(solidsim.InternalServer); len(got) != 2 || got[0] != got[1] {
		t.Errorf("%v", got)
	}
	c.must(201, "POST", "dns_rr_add", alias...)
	reply := ask(t, sim, "udp", question("h.site.com.", dns.TypeA))
	if diff := cmp.Diff([]string{"h.site.com. 3600 CNAME other.example."}, show(reply.Answer)); diff != "" {
		t.Error(diff)
	}
	err := sim.SetUnknowns(solidsim.Unknowns{NoView: "some", EditedStatus: 204})
	if err == nil || !strings.Contains(err.Error(), `"some"`) || !strings.Contains(err.Error(), "204") {
		t.Error(err)
	}
}

func TestListApex(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Unknowns: solidsim.Unknowns{ListApex: true}})
	c := newClient(t, sim)
	c.add("h.site.com", "A", "192.0.2.1")
	rows := c.must(200, "GET", "dns_rr_list", "WHERE", "dnszone_id=11", "ORDERBY", "rr_type")
	if diff := cmp.Diff([]string{
		"A h.site.com h 192.0.2.1",
		"NS site.com  dns-internal-smart.site.com",
		"SOA site.com  dns-internal-smart.site.com, hostmaster.site.com, 4, 1200, 600, 1209600, 60",
	}, picks(rows, "rr_type", "rr_full_name", "rr_glue", "rr_all_value")); diff != "" {
		t.Error(diff)
	}
	soa := ask(t, sim, "udp", question("site.com.", dns.TypeSOA))
	if len(soa.Answer) != 1 || soa.Answer[0].(*dns.SOA).Serial != 4 {
		t.Errorf("%v", soa.Answer)
	}
	c.must(400, "DELETE", "dns_rr_delete", "rr_id", rows[2]["rr_id"])
	c.must(400, "POST", "dns_rr_add", "dns_name", solidsim.InternalServer, "rr_name", "site.com", "rr_type", "SOA",
		"value1", "x", "value2", "y", "value3", "1", "value4", "1", "value5", "1", "value6", "1", "value7", "1")
	// An NS of one's own takes the place of the one that DNS makes up.
	c.must(200, "PUT", "dns_rr_add", "rr_id", rows[1]["rr_id"], "value1", "ns.example")
	ns := ask(t, sim, "udp", question("site.com.", dns.TypeNS))
	if diff := cmp.Diff([]string{"site.com. 3600 NS ns.example."}, show(ns.Answer)); diff != "" {
		t.Error(diff)
	}
}

func TestTypesWithSeveralValues(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	c.add("site.com", "mx", "010", "value2", "Mail.site.com")
	c.add("site.com", "MX", "20", "value2", "mail.site.com")
	must(t, sim.Add(solidsim.InternalServer, solidsim.Record{Name: "_sip._tcp.site.com", Type: "SRV", Value: "1, 2, 5060, sip.site.com"}))
	if diff := cmp.Diff([]solidsim.Record{
		{Name: "_sip._tcp.site.com", Type: "SRV", Value: "1, 2, 5060, sip.site.com", TTL: 3600},
		{Name: "site.com", Type: "MX", Value: "10, mail.site.com", TTL: 3600},
		{Name: "site.com", Type: "MX", Value: "20, mail.site.com", TTL: 3600},
	}, sim.Records(solidsim.InternalServer)); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string][]string{
		"site.com.":           {"site.com. 3600 MX 10 mail.site.com.", "site.com. 3600 MX 20 mail.site.com."},
		"_sip._tcp.site.com.": {"_sip._tcp.site.com. 3600 SRV 1 2 5060 sip.site.com."},
	} {
		qtype := dns.TypeMX
		if name != "site.com." {
			qtype = dns.TypeSRV
		}
		if diff := cmp.Diff(want, show(ask(t, sim, "udp", question(name, qtype)).Answer)); diff != "" {
			t.Error(diff)
		}
	}
	for _, values := range [][]string{
		{"value1", "10"}, {"value1", "65536", "value2", "mail.site.com"}, {"value1", "x", "value2", "mail.site.com"},
		{"value1", "10", "value2", "mail.site.com", "value3", "x"},
	} {
		c.must(400, "POST", "dns_rr_add", append(values, "dns_name", solidsim.InternalServer, "rr_name", "site.com", "rr_type", "MX")...)
	}
	c.must(200, "DELETE", "dns_rr_delete", "dns_name", solidsim.InternalServer, "rr_name", "site.com", "rr_type", "MX",
		"rr_value1", "20", "rr_value2", "mail.site.com")
}

// TestResynchronize gives rows new ids while one of each kind of change is
// under way: the ids are gone, all else goes on.
func TestResynchronize(t *testing.T) {
	t.Parallel()
	for _, server := range []string{smart, "ns1.site.com", "alone.site.com"} {
		sim := start(t, solidsim.Config{Servers: smartServers()})
		c := newClient(t, sim)
		owner := smart
		if server == "alone.site.com" {
			owner = server
		}
		answering := map[string]string{smart: "ns1.site.com"}[server]
		if answering == "" {
			answering = server
		}
		add := func(name, value string) string {
			return c.must(201, "POST", "dns_rr_add", on(owner, name, value, "rr_class_parameters", "a=1")...)[0]["ret_oid"]
		}
		still, edited, deleted := add("still.site.com", "192.0.2.1"), add("edited.site.com", "192.0.2.2"), add("deleted.site.com", "192.0.2.3")
		must(t, sim.HoldPushes(owner))
		c.must(200, "PUT", "dns_rr_add", "rr_id", edited, "value1", "192.0.2.22")
		c.must(200, "PUT", "dns_rr_add", "rr_id", edited, "value1", "192.0.2.23")
		c.must(200, "DELETE", "dns_rr_delete", "rr_id", deleted)
		add("created.site.com", "192.0.2.4")

		where := "dns_name='" + server + "'"
		old := c.must(200, "GET", "dns_rr_list", "WHERE", where, "ORDERBY", "rr_full_name")
		must(t, sim.Resynchronize(server, true))
		rows := c.must(200, "GET", "dns_rr_list", "WHERE", where, "ORDERBY", "rr_full_name")
		if diff := cmp.Diff(picks(old, "rr_full_name", "value1", "delayed_time"), picks(rows, "rr_full_name", "value1", "delayed_time")); diff != "" {
			t.Errorf("%s: %s", server, diff)
		}
		for _, row := range rows {
			if slices.Contains(picks(old, "rr_id"), row["rr_id"]) || row["rr_class_parameters"] != "" {
				t.Errorf("%s: %s has id %s and class parameters %q", server, row["rr_full_name"], row["rr_id"], row["rr_class_parameters"])
			}
		}
		if server == owner {
			c.must(204, "GET", "dns_rr_info", "rr_id", still)
		}
		names := []string{"still", "edited", "deleted", "created"}
		look := func(want ...string) {
			t.Helper()
			for i, name := range names {
				if got := strings.Join(addrOf(t, sim, answering, name+".site.com"), " "); got != want[i] {
					t.Errorf("%s: %s is %q, want %q", server, name, got, want[i])
				}
			}
		}
		look("192.0.2.1", "192.0.2.2", "192.0.2.3", "")
		must(t, sim.ReleasePushes(owner))
		look("192.0.2.1", "192.0.2.23", "", "192.0.2.4")
		if rows := c.must(200, "GET", "dns_rr_list", "WHERE", where); len(rows) != 3 {
			t.Errorf("%s: %d rows in the end", server, len(rows))
		}
		if pending, body := c.call("GET", "dns_rr_list", "WHERE", "delayed_time='1'"); pending != 204 {
			t.Errorf("%s: still pending: %s", server, body)
		}
	}
}
