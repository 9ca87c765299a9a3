package solidsim_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// fill puts h01 to h12 into both servers; ids 101 to 112 are the internal ones.
func fill(t *testing.T, sim *solidsim.Sim) {
	t.Helper()
	for _, server := range []string{solidsim.InternalServer, solidsim.ExternalServer} {
		for i := 1; i <= 12; i++ {
			r := solidsim.Record{
				Name: fmt.Sprintf("h%02d.site.com", i), Type: "A", Value: fmt.Sprintf("192.0.2.%d", 100-i), TTL: 60 * (i % 3),
			}
			if err := sim.Add(server, r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	fill(t, sim)
	const internal = "dns_name='" + solidsim.InternalServer + "'"
	for _, test := range []struct {
		params []string
		want   string // the ids
	}{
		{[]string{"WHERE", internal, "limit", "3"}, "101 102 103"},
		{[]string{"WHERE", internal, "limit", "3", "offset", "3"}, "104 105 106"},
		{[]string{"WHERE", internal, "limit", "5", "offset", "10"}, "111 112"},
		{[]string{"WHERE", internal, "LIMIT", "3", "offset", "10"}, "111 112"},
		{[]string{"WHERE", "rr_full_name = 'H03.site.com' AND " + internal + " "}, "103"},
		{[]string{"WHERE", "rr_full_name = 'h03.site.com'", "ORDERBY", "rr_id DESC"}, "115 103"},
		{[]string{"WHERE", "rr_full_name = 'h03.site.com' or rr_id=104"}, "103 104 115"},
		{[]string{"WHERE", "rr_id='105' and dns_id=2"}, "105"},
		{[]string{"WHERE", "vdns_parent_id='0' and dnsview_name='#' and rr_type='A' and rr_id<103"}, "101 102"},
		{[]string{"WHERE", internal + " and value1 like '192.0.2.9_' and rr_id <= '103'"}, "101 102 103"},
		{[]string{"WHERE", internal, "ORDERBY", "value1", "limit", "2"}, "112 111"},
		{[]string{"WHERE", internal, "ORDERBY", "ttl desc, rr_full_name ASC", "limit", "5", "offset", "2"}, "109 112 102 105 108"},
		{[]string{"WHERE", internal + " and rr_id<104", "ORDERBY", "3 desc", "SELECT", "rr_id,dns_name,value1"}, "101 102 103"},
	} {
		var ids []string
		for _, row := range c.must(200, "GET", "dns_rr_list", test.params...) {
			ids = append(ids, row["rr_id"])
		}
		if got := strings.Join(ids, " "); got != test.want {
			t.Errorf("%q: %s, want %s", test.params, got, test.want)
		}
	}
	for _, params := range [][]string{
		{"WHERE", "rr_full_name='x.site.com'"},
		{"WHERE", "rr_id=1"},
		{"WHERE", "dns_name='dns-INTERNAL-smart.site.com'"},
		{"offset", "24"},
		{"offset", "24", "ORDERBY", "rr_id"},
	} {
		c.must(204, "GET", "dns_rr_list", params...)
	}
	for _, test := range []struct {
		params []string
		want   string
	}{
		{[]string{"WHERE", "rr_full_name='it's'"}, "syntax error: no closing quote for the string at 18"},
		{[]string{"WHERE", "rr_name='x'"}, `unknown column "rr_name"`},
		{[]string{"SELECT", "rr_id,rr_name"}, `unknown column "rr_name"`},
		{[]string{"SELECT", "rr_id", "WHERE", "rr_name='x'"}, `unknown column "rr_name"`},
		{[]string{"SELECT", "rr_id", "WHERE", "ttl=60"}, `column "ttl" is not in SELECT: every column of WHERE and ORDERBY has to be`},
		{[]string{"SELECT", "rr_id", "ORDERBY", "ttl"}, `column "ttl" is not in SELECT: every column of WHERE and ORDERBY has to be`},
		{[]string{"ORDERBY", "rr_id upwards"}, `want a column, then ASC or DESC, not "rr_id upwards"`},
		{[]string{"ORDERBY", "rr_id,"}, `want a column, then ASC or DESC, not ""`},
		{[]string{"ORDERBY", "999"}, "no column at place 999"},
		{[]string{"limit", "0"}, "an integer from 1 to 2147483647 is needed"},
		{[]string{"offset", "-1"}, "an integer from 0 to 2147483647 is needed"},
	} {
		row := c.must(400, "GET", "dns_rr_list", test.params...)[0]
		if row["errmsg"] != test.want || row["severity"] != "Error" || row["errno"] == "0" {
			t.Errorf("%q: %v, want %s", test.params, row, test.want)
		}
	}
}

func TestCountAndInfo(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Zones: []string{"site.com", "2.0.192.in-addr.arpa"}})
	c := newClient(t, sim)
	fill(t, sim)
	for _, test := range []struct{ service, where, want string }{
		{"dns_rr_count", "dns_name='" + solidsim.InternalServer + "'", "12"},
		{"dns_rr_count", "rr_id=1", "0"},
		{"dns_rr_count", "", "24"},
		{"dns_zone_count", "dnszone_is_reverse='1'", "2"},
		{"dns_server_count", "", "2"},
	} {
		want := []map[string]string{{"errno": "0", "total": test.want}}
		if diff := cmp.Diff(want, c.must(200, "GET", test.service, "WHERE", test.where)); diff != "" {
			t.Errorf("%s %s: %s", test.service, test.where, diff)
		}
	}
	if rows := c.must(200, "GET", "dns_rr_info", "rr_id", "103"); len(rows) != 1 || rows[0]["rr_full_name"] != "h03.site.com" {
		t.Errorf("info: %v", rows)
	}
	c.must(204, "GET", "dns_rr_info", "rr_id", "4711")
	c.must(400, "GET", "dns_rr_info")
	c.must(400, "GET", "dns_rr_info", "rr_id", "1 or 1=1")
}

// TestRows pins what stands in the rows, as clients read it.
func TestRows(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Zones: []string{"site.com", "2.0.192.in-addr.arpa"}})
	c := newClient(t, sim)
	id := c.add("H.site.com", "AAAA", "2001:db8::10", "rr_ttl", "600",
		"rr_class_name", "kea.class", "rr_class_parameters", "kea_host_id=5&managed_by=keastream")
	checkRow(t, c.must(200, "GET", "dns_rr_info", "rr_id", id)[0], map[string]string{
		"errno": "0", "rr_id": id, "rr_full_name": "h.site.com", "rr_glue": "h", "rr_type": "AAAA", "ttl": "600",
		"value1": "2001:0db8:0000:0000:0000:0000:0000:0010", "value2": "", "value7": "",
		"rr_all_value":        "2001:0db8:0000:0000:0000:0000:0000:0010",
		"delayed_create_time": "0", "delayed_delete_time": "0", "rr_class_name": "kea.class",
		"rr_class_parameters": "kea_host_id=5&managed_by=keastream",
		"dnszone_id":          "11", "dnszone_name": "site.com", "dnszone_type": "master", "dnszone_is_reverse": "0",
		"dns_id": "2", "dns_name": solidsim.InternalServer, "dns_type": "vdns",
		"vdns_parent_id": "0", "vdns_parent_name": "#", "dnsview_id": "0", "dnsview_name": "#",
	})
	c.must(204, "GET", "dns_rr_list", "WHERE", "value1='2001:db8::10'") // kept expanded: the short form misses
	zones := c.must(200, "GET", "dns_zone_list", "WHERE",
		"dns_name = '"+solidsim.ExternalServer+"' AND dnszone_name = '2.0.192.IN-ADDR.arpa'", "type", "")
	if len(zones) != 1 {
		t.Fatalf("zones: %v", zones)
	}
	checkRow(t, zones[0], map[string]string{
		"errno": "0", "dnszone_id": "14", "dnszone_name": "2.0.192.in-addr.arpa", "dnszone_is_reverse": "1",
		"dnszone_type": "master", "dns_id": "3", "vdns_parent_id": "0", "dnszone_class_parameters": "", "dns_state": "Y",
	})
	servers := c.must(200, "GET", "dns_server_list", "ORDERBY", "dns_name", "SELECT", "dns_name,dns_type,vdns_parent_id")
	if diff := cmp.Diff([]map[string]string{
		{"errno": "0", "dns_name": solidsim.InternalServer, "dns_type": "vdns", "vdns_parent_id": "0"},
		{"errno": "0", "dns_name": solidsim.ExternalServer, "dns_type": "vdns", "vdns_parent_id": "0"},
	}, servers); diff != "" {
		t.Error(diff)
	}
	for _, where := range []string{"member_is_me='1'", "member_is_me=1"} {
		members := c.must(200, "GET", "member_list", "WHERE", where)
		checkRow(t, members[0], map[string]string{"member_version": "8.4.0"})
	}
}

func checkRow(t *testing.T, row, want map[string]string) {
	t.Helper()
	for column, value := range want {
		if got, found := row[column]; !found || got != value {
			t.Errorf("%s = %q (%t), want %q", column, got, found, value)
		}
	}
}

// TestPagesAreComplete reads pages while records come and go: those that stay
// are all seen when the order is by id and the page starts after the last id.
func TestPagesAreComplete(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	fill(t, sim)
	seen := make(map[string]bool)
	for last := 0; ; {
		status, body := c.call("GET", "dns_rr_list", "WHERE", fmt.Sprintf("rr_id > %d", last), "ORDERBY", "rr_id", "limit", "5", "SELECT", "rr_id")
		if status == 204 {
			break
		}
		for _, row := range decode(t, body) {
			seen[row["rr_id"]] = true
			last, _ = strconv.Atoi(row["rr_id"])
		}
		id := strconv.Itoa(last)
		c.must(200, "DELETE", "dns_rr_delete", "rr_id", id)
	}
	if len(seen) != 24 {
		t.Errorf("saw %d records, want 24", len(seen))
	}
}
