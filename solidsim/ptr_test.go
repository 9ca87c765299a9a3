package solidsim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// TestAutomaticPTR sets dnsptr=1 in each place from which the zone inherits it.
func TestAutomaticPTR(t *testing.T) {
	t.Parallel()
	on1 := map[string]string{"dnsptr": "1"}
	zones := []solidsim.Zone{
		{Name: "site.com"}, {Name: "2.0.192.in-addr.arpa"}, {Name: "8.b.d.0.1.0.0.2.ip6.arpa"},
		{Name: "off.com", ClassParameters: map[string]string{"dnsptr": "0"}},
	}
	own := append([]solidsim.Zone{}, zones...)
	own[0].ClassParameters = on1
	for place, server := range map[string]solidsim.Server{
		"zone":   {Name: smart, Members: []string{"ns1.site.com"}, Views: []solidsim.View{{Name: "in", Zones: own}}},
		"view":   {Name: smart, Members: []string{"ns1.site.com"}, Views: []solidsim.View{{Name: "in", ClassParameters: on1, Zones: zones}}},
		"server": {Name: smart, Members: []string{"ns1.site.com"}, ClassParameters: on1, Views: []solidsim.View{{Name: "in", Zones: zones}}},
	} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			automaticPTR(t, server)
		})
	}
}

func automaticPTR(t *testing.T, server solidsim.Server) {
	sim := start(t, solidsim.Config{Servers: []solidsim.Server{server}})
	c := newClient(t, sim)
	write := func(status int, method string, params ...string) string {
		t.Helper()
		return c.must(status, method, "dns_rr_add", append(params, "dns_name", smart, "dnsview_name", "in")...)[0]["ret_oid"]
	}
	ptrs := func(want ...string) {
		t.Helper()
		for _, server := range []string{smart, "ns1.site.com"} {
			var rows []map[string]string
			if status, body := c.call("GET", "dns_rr_list", "WHERE", "rr_type='PTR' and dns_name='"+server+"'"); status == 200 {
				rows = decode(t, body)
			}
			if diff := cmp.Diff(want, picks(rows, "rr_full_name", "value1", "ttl")); diff != "" {
				t.Errorf("%s: %s", server, diff)
			}
		}
	}
	const v4, v6 = "1.2.0.192.in-addr.arpa", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	id := write(201, "POST", "rr_name", "h.site.com", "rr_type", "A", "value1", "192.0.2.1", "rr_ttl", "60")
	id6 := write(201, "POST", "rr_name", "h.site.com", "rr_type", "AAAA", "value1", "2001:db8::1")
	write(201, "POST", "rr_name", "far.site.com", "rr_type", "A", "value1", "198.51.100.1") // no zone for its PTR
	write(201, "POST", "rr_name", "h.off.com", "rr_type", "A", "value1", "192.0.2.7")
	ptrs(v4+" h.site.com 60", v6+" h.site.com 3600")

	// One's own PTR collides with it.
	write(400, "POST", "rr_name", v4, "rr_type", "PTR", "value1", "h.site.com", "add_flag", "new_only")
	write(200, "PUT", "rr_id", id, "rr_ttl", "120")
	ptrs(v4+" h.site.com 120", v6+" h.site.com 3600")
	write(200, "PUT", "rr_id", id, "value1", "192.0.2.2")
	ptrs(v6+" h.site.com 3600", "2.2.0.192.in-addr.arpa h.site.com 120")
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", id)
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", id6)
	ptrs()

	// It touches none that others made.
	write(201, "POST", "rr_name", v4, "rr_type", "PTR", "value1", "h.site.com", "rr_ttl", "5")
	id = write(201, "POST", "rr_name", "h.site.com", "rr_type", "A", "value1", "192.0.2.1")
	ptrs(v4 + " h.site.com 5")
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", id)
	ptrs(v4 + " h.site.com 5")

	// The record may stand twice; the PTR goes with the last one.
	r := solidsim.Record{Name: "twice.site.com", Type: "A", Value: "192.0.2.9", View: "in"}
	id = write(201, "POST", "rr_name", r.Name, "rr_type", r.Type, "value1", r.Value)
	must(t, sim.Double(smart, r))
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", id)
	ptrs(v4+" h.site.com 5", "9.2.0.192.in-addr.arpa twice.site.com 3600")
	must(t, sim.Remove(smart, r))
	ptrs(v4 + " h.site.com 5")
}
