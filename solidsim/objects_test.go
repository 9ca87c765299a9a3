package solidsim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

func TestZoneServices(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: smartServers()})
	c := newClient(t, sim)
	must(t, sim.HoldPushes("ns1.site.com"))
	id := c.must(201, "POST", "dns_zone_add", "dns_name", smart, "dnszone_name", "New.com", "dnszone_type", "master",
		"dnszone_class_parameters", "dnsptr=1", "add_flag", "new_only", "dnszone_site_id", "0")[0]["ret_oid"]
	c.must(201, "POST", "dns_rr_add", on(smart, "h.new.com", "192.0.2.1")...)
	checkRow(t, c.must(200, "GET", "dns_zone_info", "dnszone_id", id)[0], map[string]string{
		"dnszone_name": "new.com", "dnszone_type": "master", "delayed_create_time": "1", "dnszone_class_parameters": "dnsptr=1",
		"multistatus": "1@No answer from ns1.site.com@40@dns",
	})
	must(t, sim.ReleasePushes("ns1.site.com"))
	zones := c.must(200, "GET", "dns_zone_list", "WHERE", "dnszone_name='new.com'")
	if diff := cmp.Diff([]string{"smart.site.com 0 dnsptr=1", "ns2.site.com 0 dnsptr=1", "ns1.site.com 0 dnsptr=1"},
		picks(zones, "dns_name", "delayed_create_time", "dnszone_class_parameters")); diff != "" {
		t.Error(diff)
	}
	if got := addrOf(t, sim, "ns1.site.com", "h.new.com"); len(got) != 1 {
		t.Errorf("new zone: %v", got)
	}
	c.must(400, "POST", "dns_zone_add", "dns_name", smart, "dnszone_name", "new.com", "add_flag", "new_only")
	c.must(400, "POST", "dns_zone_add", "dns_name", smart, "dnszone_name", "a..b")
	c.must(400, "POST", "dns_zone_add", "dns_name", smart, "dnszone_name", "hint.com", "dnszone_type", "hint")
	c.must(400, "POST", "dns_zone_add", "dnszone_name", "no-server.com")
	c.must(400, "PUT", "dns_zone_add", "dns_name", smart, "dnszone_name", "missing.com")
	c.must(400, "PUT", "dns_zone_add", "dnszone_id", id, "dnszone_type", "slave")
	c.must(200, "PUT", "dns_zone_add", "dnszone_id", id, "add_flag", "edit_only", "dnszone_class_parameters", "dnsptr=0&x=y")
	checkRow(t, c.must(200, "GET", "dns_zone_info", "dnszone_id", id)[0], map[string]string{"dnszone_class_parameters": "dnsptr=0&x=y"})

	must(t, sim.HoldPushes(smart))
	c.must(200, "DELETE", "dns_zone_delete", "dnszone_id", id)
	checkRow(t, c.must(200, "GET", "dns_zone_info", "dnszone_id", id)[0], map[string]string{"delayed_delete_time": "1"})
	c.must(400, "DELETE", "dns_zone_delete", "dnszone_id", id)
	c.must(400, "POST", "dns_rr_add", on(smart, "i.new.com", "192.0.2.1")...)
	must(t, sim.ReleasePushes(smart))
	c.must(204, "GET", "dns_zone_list", "WHERE", "dnszone_name='new.com'")
	c.must(204, "GET", "dns_rr_list", "WHERE", "rr_full_name='h.new.com'")
	if got := addrOf(t, sim, "ns1.site.com", "h.new.com"); got != nil {
		t.Errorf("deleted zone: %v", got)
	}
}

// TestNewZoneBelowRecords puts a zone between another one and its records.
func TestNewZoneBelowRecords(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	id := c.add("h.lab.site.com", "A", "192.0.2.1")
	zone := c.must(201, "POST", "dns_zone_add", "dns_name", solidsim.InternalServer, "dnszone_name", "lab.site.com")[0]["ret_oid"]
	if got := addrOf(t, sim, solidsim.InternalServer, "h.lab.site.com"); got != nil {
		t.Errorf("DNS sees through the new zone: %v", got)
	}
	checkRow(t, c.must(200, "GET", "dns_rr_info", "rr_id", id)[0], map[string]string{"dnszone_name": "site.com"})
	c.must(200, "DELETE", "dns_zone_delete", "dnszone_id", zone)
	if got := addrOf(t, sim, solidsim.InternalServer, "h.lab.site.com"); len(got) != 1 {
		t.Errorf("hidden by a zone that is gone: %v", got)
	}
}

func TestViewAndServerServices(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: smartServers()})
	c := newClient(t, sim)
	id := c.must(201, "POST", "dns_add", "dns_name", "new.site.com", "dns_type", "vdns", "vdns_arch", "multimaster",
		"vdns_dns_group_role", "ns8.site.com&master;ns9.site.com&master;", "dns_comment", "made by a test", "add_flag", "new_only")[0]["ret_oid"]
	checkRow(t, c.must(200, "GET", "dns_server_info", "dns_id", id)[0], map[string]string{
		"dns_name": "new.site.com", "dns_type": "vdns", "vdns_arch": "multimaster", "vdns_members_name": "ns8.site.com;ns9.site.com",
		"dns_comment": "made by a test", "dns_synching": "0",
	})
	c.must(400, "POST", "dns_add", "dns_name", "new.site.com", "add_flag", "new_only")
	c.must(400, "POST", "dns_add", "dns_name", "a b")
	c.must(400, "POST", "dns_add", "dns_name", "x.site.com", "dns_type", "aws")
	for _, members := range []string{"fresh.site.com;ns8.site.com", "fresh.site.com;fresh.site.com", "fresh.site.com;y.site.com", "fresh.site.com;a b"} {
		c.must(400, "POST", "dns_add", "dns_name", "y.site.com", "vdns_arch", "single", "vdns_members_name", members)
	}
	c.must(204, "GET", "dns_server_list", "WHERE", "dns_name in ('y.site.com','fresh.site.com')") // refused as a whole
	c.must(400, "DELETE", "dns_delete", "dns_name", "ns8.site.com")
	c.must(400, "DELETE", "dns_delete", "dns_name", smart)

	view := c.must(201, "POST", "dns_view_add", "dns_id", id, "dnsview_name", "In", "dnsview_class_parameters", "dnsptr=1")[0]["ret_oid"]
	if rows := c.must(200, "GET", "dns_view_list"); len(rows) != 3 {
		t.Errorf("views of a SMART and two members: %v", rows)
	}
	c.must(400, "POST", "dns_view_add", "dns_id", id, "dnsview_name", "In", "add_flag", "new_only")
	c.must(400, "POST", "dns_view_add", "dns_name", smart, "dnsview_name", "In") // it has zones outside of views
	c.must(200, "PUT", "dns_view_add", "dnsview_id", view, "dnsview_class_parameters", "dnsptr=0")
	c.must(400, "POST", "dns_zone_add", "dns_id", id, "dnszone_name", "v.com")
	zone := c.must(201, "POST", "dns_zone_add", "dns_id", id, "dnszone_name", "v.com", "dnsview_name", "In")[0]["ret_oid"]
	c.must(400, "DELETE", "dns_view_delete", "dnsview_id", view)
	c.must(400, "DELETE", "dns_delete", "dns_id", id)
	c.must(200, "DELETE", "dns_zone_delete", "dnszone_id", zone, "dnsview_name", "In")
	c.must(200, "DELETE", "dns_view_delete", "dns_name", "new.site.com", "dnsview_name", "In")
	c.must(204, "GET", "dns_view_list")
	c.must(200, "DELETE", "dns_delete", "dns_id", id)
	c.must(204, "GET", "dns_server_info", "dns_id", id)
	if unknown := sim.Calls().UnknownParameters; len(unknown) > 0 {
		t.Errorf("unknown parameters: %v", unknown)
	}
}

func TestInheritance(t *testing.T) {
	t.Parallel()
	params := func(pairs ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	sim := start(t, solidsim.Config{Servers: []solidsim.Server{{
		Name: smart, ClassParameters: params("dnsptr", "0", "ipam_replication", "0"),
		Views: []solidsim.View{{Name: "in", ClassParameters: params("dnsptr", "1"), Zones: []solidsim.Zone{
			{Name: "site.com"}, {Name: "own.com", ClassParameters: params("dnsptr", "0")},
		}}},
	}}})
	c := newClient(t, sim)
	zone := c.must(200, "GET", "dns_zone_list", "WHERE", "dnszone_name='site.com'")[0]
	checkRow(t, zone, map[string]string{
		"dnszone_class_parameters":                    "dnsptr=1&ipam_replication=0",
		"dnszone_class_parameters_properties":         "dnsptr=inherited,propagate&ipam_replication=inherited,propagate",
		"dnszone_class_parameters_inheritance_source": "dnsptr=real_dnsview,5&ipam_replication=real_dns,2",
		"dnsview_class_parameters_properties":         "dnsptr=set,propagate&ipam_replication=inherited,propagate",
		"dns_class_parameters":                        "dnsptr=0&ipam_replication=0",
	})
	own := c.must(200, "GET", "dns_zone_list", "WHERE", "dnszone_class_parameters like 'dnsptr=0%'")
	if diff := cmp.Diff([]string{"own.com"}, picks(own, "dnszone_name")); diff != "" {
		t.Error(diff)
	}

	// TAGS and NO_PARENT_CLASS_PARAM see the same.
	zone = c.must(200, "GET", "dns_zone_list", "WHERE", "tag_dnszone_dnsptr='1'", "TAGS", "dnszone.dnsptr&dns.dnsptr&dnsview.nothing")[0]
	checkRow(t, zone, map[string]string{"dnszone_name": "site.com", "tag_dns_dnsptr": "0", "tag_dnsview_nothing": ""})
	zone = c.must(200, "GET", "dns_zone_list", "WHERE", "dnszone_name='site.com'", "NO_PARENT_CLASS_PARAM", "1")[0]
	checkRow(t, zone, map[string]string{"dnszone_class_parameters": "", "dnsview_class_parameters": "dnsptr=1"})

	// A parameter that was set can be inherited again.
	c.must(200, "PUT", "dns_zone_add", "dnszone_id", own[0]["dnszone_id"], "dnszone_class_parameters_properties", "dnsptr=inherited,propagate")
	checkRow(t, c.must(200, "GET", "dns_zone_info", "dnszone_id", own[0]["dnszone_id"])[0], map[string]string{
		"dnszone_class_parameters": "dnsptr=1&ipam_replication=0",
	})
	c.must(201, "POST", "dns_rr_add", on(smart, "h.site.com", "192.0.2.1", "dnsview_name", "in", "rr_class_parameters", "a=b")...)
	checkRow(t, c.must(200, "GET", "dns_rr_list")[0], map[string]string{
		"rr_class_parameters": "a=b", "rr_class_parameters_properties": "a=set,propagate",
		"dnsview_class_parameters": "dnsptr=1&ipam_replication=0", "dnsview_name": "in", "dnsview_id": "5",
		"rr_value_ip_addr": "c0000201", "rr_type_id": "1",
	})
}
