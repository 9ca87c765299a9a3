package solidsim_test

import (
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// The tests of this file are those of clients_test.go on servers with views, and
// what more clients send there.

// basic sends as the clients that authenticate so do, without a body.
func basic(t *testing.T, sim *solidsim.Sim, what, method, target string, want ...int) []map[string]string {
	t.Helper()
	resp, rows := replay(t, sim, method+" /rest/"+target+" HTTP/1.1\nHost: HOST\nAccept: */*\n"+
		"Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("ipmadmin:admin")))
	answered(t, what, resp, rows, want...)
	return rows
}

// TestTerraformProviderOnViews: a server with views lists them, and then every
// call names one: resource_dns_rr.go.
func TestTerraformProviderOnViews(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: viewServers()})
	resp, rows := terraform(t, sim, "GET", "dns_view_list?WHERE=dns_name%3D%27smart.site.com%27")
	answered(t, "views", resp, rows, 200)
	const record = "&dns_name=smart.site.com&dnsview_name=internal&dnszone_name=site.com&rr_class_name=&rr_class_parameters=" +
		"&rr_name=tf.site.com&rr_ttl=3600&rr_type=A&value1=192.0.2.1"
	resp, rows = terraform(t, sim, "POST", "dns_rr_add?add_flag=new_only"+record)
	answered(t, "create", resp, rows, 200, 201)
	id := rows[0]["ret_oid"]
	const read = "dns_rr_list?WHERE=dns_name%3D%27smart.site.com%27+AND+rr_full_name%3D%27tf.site.com%27+AND+rr_type%3D%27A%27" +
		"+AND+value1%3D%27192.0.2.1%27+AND+dnsview_name%3D%27internal%27+AND+dnszone_name%3D%27site.com%27+"
	resp, rows = terraform(t, sim, "GET", read)
	answered(t, "read", resp, rows, 200)
	if len(rows) != 1 || rows[0]["rr_id"] != id || rows[0]["dnsview_name"] != "internal" {
		t.Errorf("read: %v", rows)
	}
	resp, rows = terraform(t, sim, "PUT", "dns_rr_add?add_flag=edit_only&rr_id="+id+record)
	answered(t, "update", resp, rows, 200, 201)
	resp, rows = terraform(t, sim, "DELETE", "dns_rr_delete?dnsview_name=internal&rr_id="+id)
	answered(t, "delete", resp, rows, 200, 204)
	resp, rows = terraform(t, sim, "GET", read)
	answered(t, "read what is gone", resp, rows, 204)
}

// TestSOLIDserverRestOnViews is the newer client, adv/dns_record.py: the id of the
// zone and of the view if they were set, class parameters, and records of two values.
func TestSOLIDserverRestOnViews(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: viewServers()})
	resp, rows := python(t, sim, "GET", "dns_view_list?WHERE=dnsview_name%3D%27internal%27&limit=1")
	answered(t, "view", resp, rows, 200)
	view, server := rows[0]["dnsview_id"], rows[0]["dns_id"]
	resp, rows = python(t, sim, "GET", "dns_zone_list?WHERE=dnszone_name%3D%27site.com%27+AND+dnsview_id%3D%27"+view+"%27&limit=1")
	answered(t, "zone", resp, rows, 200)
	zone := rows[0]["dnszone_id"]
	for _, values := range []string{
		"&rr_type=A&dns_id=" + server + "&dnszone_id=" + zone + "&dnsview_id=" + view + "&rr_ttl=3600&value1=192.0.2.7&rr_class_parameters=owner%3Dkea%2520pipeline",
		"&rr_type=MX&dns_id=" + server + "&dnszone_id=" + zone + "&rr_ttl=5&value1=10&value2=mail.site.com",
		"&rr_type=MX&dns_id=" + server + "&dnszone_id=" + zone + "&rr_ttl=5&value1=20&value2=mail.site.com",
		"&rr_type=SRV&dns_id=" + server + "&dnsview_id=" + view + "&rr_ttl=3600&value1=1&value2=2&value3=443&value4=www.site.com",
	} {
		resp, rows = python(t, sim, "POST", "dns_rr_add?rr_name=py.site.com"+values+"&add_flag=new_only")
		answered(t, values, resp, rows, 200, 201)
		resp, rows = python(t, sim, "GET", "dns_rr_info?rr_id="+rows[0]["ret_oid"])
		answered(t, values, resp, rows, 200)
		has(t, values, rows[0], pythonRecord)
		if rows[0]["dnsview_name"] != "internal" {
			t.Errorf("%s: %v", values, rows)
		}
	}
	resp, rows = python(t, sim, "GET", "dns_rr_list?WHERE=rr_full_name%3D%27py.site.com%27+AND+rr_type%3D%27A%27+AND+dns_id%3D%27"+server+
		"%27+AND+dnszone_name%3D%27site.com%27&limit=1")
	answered(t, "by name", resp, rows, 200)
	if rows[0]["rr_class_parameters"] != "owner=kea+pipeline" {
		t.Errorf("by name: %v", rows)
	}
	resp, rows = python(t, sim, "PUT", "dns_rr_add?rr_id="+rows[0]["rr_id"]+"&rr_ttl=300&value1=192.0.2.8&rr_class_parameters=owner%3Dx&add_flag=edit_only")
	answered(t, "update", resp, rows, 200, 201)
	if unknown := sim.Calls().UnknownParameters; len(unknown) > 0 {
		t.Errorf("unknown parameters: %v", unknown)
	}
}

// TestAcmeShOnViews is dns_efficientip.sh with EfficientIP_View, and the later
// variant of it, which deletes by the id that a list gives.
func TestAcmeShOnViews(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: viewServers()})
	const record = "rr_name=_acme-challenge.site.com&rr_value1=abc&dns_name=smart.site.com&dnsview_name=default"
	add := func() string {
		t.Helper()
		return basic(t, sim, "add", "POST", "dns_rr_add?rr_type=TXT&rr_ttl=300&"+record, 200, 201)[0]["ret_oid"]
	}
	add()
	if basic(t, sim, "delete", "DELETE", "dns_rr_delete?rr_type=TXT&"+record, 200)[0]["ret_oid"] == "" {
		t.Error("the answer to the delete has no ret_oid")
	}
	id := add()
	rows := basic(t, sim, "list", "GET", "dns_rr_list?WHERE=rr_full_name%3D%27_acme-challenge.site.com%27%20AND%20rr_type%3D%27TXT%27", 200)
	if len(rows) != 1 || rows[0]["rr_id"] != id {
		t.Fatalf("rows: %v", rows)
	}
	basic(t, sim, "delete by id", "DELETE", "dns_rr_delete?rr_id="+id, 200)
}

// TestLexicon checks first that it writes to no member of a SMART, and gives the
// view by a wrong name, which is ignored: dns-lexicon, providers/efficientip.py.
func TestLexicon(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	if rows := basic(t, sim, "server", "GET", "dns_server_list?WHERE=dns_name%3D%27dns-internal-smart.site.com%27", 200); rows[0]["vdns_parent_id"] != "0" {
		t.Errorf("server: %v", rows)
	}
	const record = "dns_name=dns-internal-smart.site.com&rr_type=TXT&rr_ttl=3600&rr_name=lex.site.com&rr_value1=challenge&dns_view_name=x"
	basic(t, sim, "create", "POST", "dns_rr_add?"+record, 200, 201)
	rows := basic(t, sim, "list", "GET", "dns_rr_list?SELECT=rr_id,rr_type,rr_full_name,ttl,rr_all_value,dns_name,vdns_parent_id&WHERE=dns_name%3D%27dns-internal-smart.site.com%27+AND+vdns_parent_id%3D%270%27", 200)
	if diff := cmp.Diff([]string{"lex.site.com TXT 3600 challenge"}, picks(rows, "rr_full_name", "rr_type", "ttl", "rr_all_value")); diff != "" {
		t.Error(diff)
	}
	basic(t, sim, "delete", "DELETE", "dns_rr_delete?"+record, 200)
}

// TestMorpheus sends two parameters that the API does not know, so that the TTL is
// the default, and reads pages of 100: morpheus-efficientip-plugin,
// SolidServerProvider.groovy.
func TestMorpheus(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	id := basic(t, sim, "create", "POST", "dns_rr_add?rr_name=m.site.com&rr_type=A&value1=192.0.2.1&ttl=60&dns_id=2&dns_zone_id=11", 200, 201)[0]["ret_oid"]
	rows := basic(t, sim, "page", "GET", "dns_rr_list?WHERE=dnszone_id%3D11+and+value1%3D%27192.0.2.1%27&limit=100&offset=0", 200)
	if len(rows) != 1 || rows[0]["rr_id"] != id || rows[0]["ttl"] != "3600" {
		t.Errorf("page: %v", rows)
	}
	basic(t, sim, "delete", "DELETE", "dns_rr_delete?rr_id="+id, 200)
	if diff := cmp.Diff(map[string]int{"dns_rr_add ttl": 1, "dns_rr_add dns_zone_id": 1}, sim.Calls().UnknownParameters); diff != "" {
		t.Error(diff)
	}
}
