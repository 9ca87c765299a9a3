package solidsim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// viewServers are a SMART with two views, and one without.
func viewServers() []solidsim.Server {
	site := solidsim.Zone{Name: "site.com"}
	return []solidsim.Server{
		{Name: smart, Views: []solidsim.View{
			{Name: "internal", Zones: []solidsim.Zone{site, {Name: "lab.site.com"}}},
			{Name: "Default", Zones: []solidsim.Zone{site}},
			{Name: "default", Zones: []solidsim.Zone{site, {Name: "slave.com", Type: solidsim.SlaveZone}}},
		}},
		{Name: "alone.site.com", Zones: []solidsim.Zone{site}},
	}
}

func TestViews(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: viewServers()})
	c := newClient(t, sim)
	if diff := cmp.Diff([]string{"5 internal smart.site.com 2", "6 Default smart.site.com 2", "7 default smart.site.com 2"},
		picks(c.must(200, "GET", "dns_view_list"), "dnsview_id", "dnsview_name", "dns_name", "dns_id")); diff != "" {
		t.Error(diff)
	}
	c.must(204, "GET", "dns_view_list", "WHERE", "dns_name='alone.site.com'")
	c.must(204, "GET", "dns_view_list", "WHERE", "dnsview_name='Internal'")
	if rows := c.must(200, "GET", "dns_view_info", "dnsview_id", "6"); rows[0]["dnsview_name"] != "Default" {
		t.Errorf("%v", rows)
	}
	c.must(200, "GET", "dns_view_count")

	const outside = "RR cannot belong to given DNS zone"
	for _, test := range []struct {
		params []string
		status int
		errmsg string
	}{
		{on(smart, "h.site.com", "192.0.2.1", "dnsview_name", "internal"), 201, ""},
		{on(smart, "h.site.com", "192.0.2.1", "dnsview_id", "6"), 201, ""},
		{on(smart, "h.site.com", "192.0.2.9", "dnszone_id", "14"), 201, ""},
		{on(smart, "h.site.com", "192.0.2.1", "dnsview_name", "internal", "add_flag", "new_only"), 400, "DNS rr already exists"},
		{on(smart, "i.site.com", "192.0.2.1", "dnsview_name", "Internal"), 400, outside},
		{on(smart, "i.site.com", "192.0.2.1", "dnsview_name", "#"), 400, outside},
		{on(smart, "i.site.com", "192.0.2.1", "dnsview_name", "internal", "dnszone_id", "13"), 400, outside},
		{on(smart, "x.lab.site.com", "192.0.2.1", "dnsview_name", "Default", "dnszone_name", "lab.site.com"), 400, outside},
		{on(smart, "x.slave.com", "192.0.2.1", "dnsview_name", "default"), 400, outside},
		{on(smart, "i.site.com", "192.0.2.1"), 400, "the DNS server has views: name one"},
		{on(smart, "i.site.com", "192.0.2.1", "dnszone_name", "site.com"), 400, "the DNS server has views: name one"},
		{on("alone.site.com", "h.site.com", "192.0.2.1", "dnsview_name", "#"), 201, ""},
		{on("alone.site.com", "i.site.com", "192.0.2.1", "dnsview_name", "internal"), 400, outside},
	} {
		if row := c.must(test.status, "POST", "dns_rr_add", test.params...)[0]; row["errmsg"] != test.errmsg {
			t.Errorf("%q: %v", test.params, row)
		}
	}
	if diff := cmp.Diff([]solidsim.Record{
		{Name: "h.site.com", Type: "A", Value: "192.0.2.1", TTL: 3600, View: "Default"},
		{Name: "h.site.com", Type: "A", Value: "192.0.2.1", TTL: 3600, View: "internal"},
		{Name: "h.site.com", Type: "A", Value: "192.0.2.9", TTL: 3600, View: "default"},
	}, sim.Records(smart)); diff != "" {
		t.Error(diff)
	}

	// Each view answers on its own address.
	for view, want := range map[string]string{"internal": "192.0.2.1", "Default": "192.0.2.1", "default": "192.0.2.9"} {
		if got := addrOf(t, sim, smart+"/"+view, "h.site.com"); len(got) != 1 || got[0] != want {
			t.Errorf("view %s: %v", view, got)
		}
	}

	// A delete by name means one record, in whatever view.
	c.must(400, "DELETE", "dns_rr_delete", "dns_name", smart, "rr_name", "h.site.com")
	c.must(200, "DELETE", "dns_rr_delete", "dns_name", smart, "rr_name", "h.site.com", "dnsview_name", "Default")
	must(t, sim.Add(smart, solidsim.Record{Name: "by-hand.site.com", Type: "A", Value: "192.0.2.5", View: "internal"}))
	must(t, sim.Remove(smart, solidsim.Record{Name: "by-hand.site.com", Type: "A", Value: "192.0.2.5", View: "internal"}))
}

func TestWithoutView(t *testing.T) {
	t.Parallel()
	for noView, want := range map[solidsim.NoView][]string{
		solidsim.FirstView: {"default"}, solidsim.AllViews: {"internal", "Default", "default"},
	} {
		sim := start(t, solidsim.Config{Servers: viewServers(), Unknowns: solidsim.Unknowns{NoView: noView}})
		c := newClient(t, sim)
		id := c.must(201, "POST", "dns_rr_add", on(smart, "h.site.com", "192.0.2.1")...)[0]["ret_oid"]
		rows := c.must(200, "GET", "dns_rr_list", "WHERE", "rr_full_name='h.site.com'")
		if diff := cmp.Diff(want, picks(rows, "dnsview_name")); diff != "" || rows[0]["rr_id"] != id {
			t.Errorf("%s: id %s, %s", noView, id, diff)
		}
		c.must(204, "GET", "dns_rr_list", "WHERE", "rr_full_name='h.site.com' and dnsview_name='#'")
		c.must(400, "POST", "dns_rr_add", on(smart, "h.elsewhere.com", "192.0.2.1")...)
		c.must(400, "POST", "dns_rr_add", on(smart, "h.site.com", "192.0.2.1", "add_flag", "new_only")...)
	}
}
