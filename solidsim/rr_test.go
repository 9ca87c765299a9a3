package solidsim_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// A write is one call to dns_rr_add or dns_rr_delete. In a parameter $1 is the
// id of the first record that the test put in, $2 of the second.
type write struct {
	method string
	params map[string]string
	status int
	errmsg string // of a refusal
}

const (
	post   = "POST"
	put    = "PUT"
	remove = "DELETE"
)

// p builds parameters for the internal server.
func p(name, rtype, value string, more ...string) map[string]string {
	params := map[string]string{
		"dns_name": solidsim.InternalServer, "rr_name": name, "rr_type": rtype, "value1": value,
	}
	for i := 0; i < len(more); i += 2 {
		if params[more[i]] = more[i+1]; more[i+1] == "" {
			delete(params, more[i])
		}
	}
	return params
}

func byID(id string, more ...string) map[string]string {
	return p("", "", "", append([]string{"dns_name", "", "rr_name", "", "rr_type", "", "value1", "", "rr_id", id}, more...)...)
}

func TestWrites(t *testing.T) {
	t.Parallel()
	a1 := solidsim.Record{Name: "h.site.com", Type: "A", Value: "192.0.2.1", TTL: 3600}
	a2 := solidsim.Record{Name: "h.site.com", Type: "A", Value: "192.0.2.2", TTL: 3600}
	txt := solidsim.Record{Name: "h.site.com", Type: "TXT", Value: `"it's 50% + \ ü"`, TTL: 3600}
	alias := solidsim.Record{Name: "h.site.com", Type: "CNAME", Value: "other.example", TTL: 3600}
	marked := a1
	marked.ClassParameters = "kea_host_id=5&managed_by=keastream"
	with := func(r solidsim.Record, change func(*solidsim.Record)) solidsim.Record {
		change(&r)
		return r
	}
	ttl := func(seconds int) func(*solidsim.Record) { return func(r *solidsim.Record) { r.TTL = seconds } }
	const exists, missing, outside = "DNS rr already exists", "DNS rr does not exist", "RR cannot belong to given DNS zone"

	for _, test := range []struct {
		name   string
		have   []solidsim.Record
		writes []write
		want   []solidsim.Record
	}{
		// Creating.
		{"default TTL", nil, []write{{post, p("h.site.com", "A", "192.0.2.1"), 201, ""}}, []solidsim.Record{a1}},
		{"TTL zero", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "rr_ttl", "0"), 201, ""}}, []solidsim.Record{with(a1, ttl(0))}},
		{"TTL not a number", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "rr_ttl", "1h"), 400, "an integer from 0 to 2147483647 is needed"}}, nil},
		{"case folded", nil, []write{{post, p("H.Site.COM", "a", "192.0.2.1"), 201, ""}}, []solidsim.Record{a1}},
		{"rr_value1", nil, []write{{post, p("h.site.com", "A", "", "rr_value1", "192.0.2.1"), 201, ""}}, []solidsim.Record{a1}},
		{"value1 against rr_value1", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "rr_value1", "192.0.2.2"), 400, "value1 says something else"}}, nil},
		{"glue and zone", nil, []write{{post, p("", "A", "192.0.2.1", "rr_glue", "h", "dnszone_name", "site.com"), 201, ""}}, []solidsim.Record{a1}},
		{"server by id", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "dns_name", "", "dns_id", "2"), 201, ""}}, []solidsim.Record{a1}},
		{"server id of another name", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "dns_id", "3"), 400, "DNS server does not exist"}}, nil},
		{"unknown server", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "dns_name", "DNS-internal-smart.site.com"), 400, "DNS server does not exist"}}, nil},
		{"no server", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "dns_name", ""), 400, "the DNS server is needed, as dns_id or dns_name"}}, nil},
		{"no name", nil, []write{{post, p("", "A", "192.0.2.1"), 400, "the name is needed"}}, nil},
		{"no type", nil, []write{{post, p("h.site.com", "", "192.0.2.1"), 400, "the type is needed"}}, nil},
		{"no value", nil, []write{{post, p("h.site.com", "A", ""), 400, "the value is needed"}}, nil},
		{"text untouched", nil, []write{{post, p("h.site.com", "TXT", txt.Value), 201, ""}}, []solidsim.Record{txt}},
		{"views do not exist", nil, []write{
			{post, p("h.site.com", "A", "192.0.2.2", "dnsview_name", "internal"), 400, outside},
			{post, p("h.site.com", "A", "192.0.2.1", "dnsview_name", "#", "dnsview_id", "0"), 201, ""},
		}, []solidsim.Record{a1}},
		{"class parameters", nil, []write{
			{post, p("h.site.com", "A", "192.0.2.1", "rr_class_parameters", "managed_by=keastream&kea_host_id=5"), 201, ""},
		}, []solidsim.Record{marked}},
		{"class parameters encoded", nil, []write{
			{post, p("h.site.com", "A", "192.0.2.1", "rr_class_parameters", "owner=a%26b%3Dc+d"), 201, ""},
		}, []solidsim.Record{with(a1, func(r *solidsim.Record) { r.ClassParameters = "owner=a%26b%3Dc+d" })}},
		{"class parameters broken", nil, []write{
			{post, p("h.site.com", "A", "192.0.2.1", "rr_class_parameters", "a=%zz"), 400, "class parameters are url-encoded name=value pairs joined by &"},
		}, nil},

		// Zones.
		{"zone by name", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "dnszone_name", "Site.com"), 201, ""}}, []solidsim.Record{a1}},
		{"zone by alias", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "zone", "site.com"), 201, ""}}, []solidsim.Record{a1}},
		{"zone by id", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "dnszone_id", "11"), 201, ""}}, []solidsim.Record{a1}},
		{"zone id of another server", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "dnszone_id", "14"), 400, "DNS zone does not exist on this DNS server"}}, nil},
		{"name outside the zone", nil, []write{{post, p("h.example.com", "A", "192.0.2.1", "dnszone_name", "site.com"), 400, outside}}, nil},
		{"name outside all zones", nil, []write{{post, p("h.mysite.com", "A", "192.0.2.1"), 400, outside}}, nil},
		{"name of a nested zone", nil, []write{{post, p("h.lab.site.com", "A", "192.0.2.1", "dnszone_name", "site.com"), 400, outside}}, nil},
		{"longest zone", nil, []write{{post, p("lab.site.com", "A", "192.0.2.1", "dnszone_id", "12"), 201, ""}}, []solidsim.Record{
			with(a1, func(r *solidsim.Record) { r.Name = "lab.site.com" }),
		}},

		// The same again.
		{"new_only, same value", []solidsim.Record{a1}, []write{{post, p("h.site.com", "A", "192.0.2.1", "add_flag", "new_only"), 400, exists}}, []solidsim.Record{a1}},
		{"new_only, other value", []solidsim.Record{a1}, []write{{post, p("h.site.com", "A", "192.0.2.2", "add_flag", "new_only"), 201, ""}}, []solidsim.Record{a1, a2}},
		{"new_only, values not checked", []solidsim.Record{a1}, []write{
			{post, p("h.site.com", "A", "192.0.2.2", "add_flag", "new_only", "check_value", "no"), 400, exists},
			{post, p("h.site.com", "TXT", txt.Value, "add_flag", "new_only", "check_value", "no"), 201, ""},
		}, []solidsim.Record{a1, txt}},
		{"new_edit, same value", []solidsim.Record{marked}, []write{
			{post, p("h.site.com", "A", "192.0.2.1", "rr_ttl", "60"), 200, ""},
		}, []solidsim.Record{with(marked, ttl(60))}},
		{"new_edit, values not checked", []solidsim.Record{a1}, []write{{post, p("h.site.com", "A", "192.0.2.2", "check_value", "no"), 200, ""}}, []solidsim.Record{a2}},
		{"edit_only, no such record", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "add_flag", "edit_only"), 400, missing}}, nil},
		{"IPv6 in another form", nil, []write{
			{post, p("h.site.com", "AAAA", "2001:DB8:0::0:1", "add_flag", "new_only"), 201, ""},
			{post, p("h.site.com", "AAAA", "2001:db8::1", "add_flag", "new_only"), 400, exists},
		}, []solidsim.Record{{Name: "h.site.com", Type: "AAAA", Value: "2001:db8::1", TTL: 3600}}},
		{"unknown flag", nil, []write{{post, p("h.site.com", "A", "192.0.2.1", "add_flag", "new"), 400, `the value must be one of ["new_edit" "new_only" "edit_only"]`}}, nil},
		{"CNAME beside data", []solidsim.Record{a1}, []write{{post, p("h.site.com", "CNAME", "other.example"), 400, "CNAME and other data: the name has a A"}}, []solidsim.Record{a1}},
		{"data beside CNAME", []solidsim.Record{alias}, []write{{post, p("h.site.com", "A", "192.0.2.1"), 400, "CNAME and other data: the name has a CNAME"}}, []solidsim.Record{alias}},
		{"two CNAME", []solidsim.Record{alias}, []write{{post, p("h.site.com", "CNAME", "third.example"), 400, "CNAME and other data: the name has a CNAME"}}, []solidsim.Record{alias}},
		{"CNAME at the zone", nil, []write{{post, p("site.com", "CNAME", "other.example"), 400, "CNAME and other data: the name is that of the zone"}}, nil},

		// Editing.
		{"edit the value", []solidsim.Record{marked}, []write{
			{put, byID("$1", "value1", "192.0.2.2", "add_flag", "edit_only"), 200, ""},
		}, []solidsim.Record{with(marked, func(r *solidsim.Record) { r.Value = "192.0.2.2" })}},
		{"edit to a value that stands there", []solidsim.Record{a1, a2}, []write{{put, byID("$1", "value1", "192.0.2.2"), 400, exists}}, []solidsim.Record{a1, a2}},
		{"edit merges class parameters", []solidsim.Record{marked}, []write{
			{put, byID("$1", "rr_class_parameters", "kea_host_id=6&extra=1"), 200, ""},
		}, []solidsim.Record{with(a1, func(r *solidsim.Record) { r.ClassParameters = "extra=1&kea_host_id=6&managed_by=keastream" })}},
		{"edit removes class parameters", []solidsim.Record{marked}, []write{
			{put, byID("$1", "class_parameters_to_delete", "kea_host_id&managed_by"), 200, ""},
		}, []solidsim.Record{a1}},
		{"edit with all that a client knows", []solidsim.Record{a1}, []write{
			{put, byID("$1", "dnszone_name", "site.com", "rr_name", "h.site.com", "rr_type", "a", "rr_ttl", "5", "add_flag", "edit_only"), 200, ""},
		}, []solidsim.Record{with(a1, ttl(5))}},
		{"edit by name", []solidsim.Record{a1, a2}, []write{
			{put, p("h.site.com", "A", "192.0.2.2", "rr_ttl", "5"), 200, ""},
		}, []solidsim.Record{a1, with(a2, ttl(5))}},
		{"PUT never creates", nil, []write{
			{put, p("h.site.com", "A", "192.0.2.1", "add_flag", "new_edit"), 400, missing},
			{put, p("h.site.com", "A", "192.0.2.1", "add_flag", "new_only"), 400, "PUT edits: use POST to create"},
			{put, byID("4711"), 400, missing},
		}, nil},
		{"edit cannot rename", []solidsim.Record{a1}, []write{
			{put, byID("$1", "rr_name", "i.site.com"), 400, "server, zone, name and type of a record cannot be changed"},
			{put, byID("$1", "rr_type", "TXT"), 400, "server, zone, name and type of a record cannot be changed"},
			{put, byID("$1", "dns_id", "3"), 400, "server, zone, name and type of a record cannot be changed"},
		}, []solidsim.Record{a1}},
		{"edit to a wrong value", []solidsim.Record{a1}, []write{{put, byID("$1", "value1", "nowhere"), 400, "A needs an IPv4 address"}}, []solidsim.Record{a1}},
		{"POST with the id", []solidsim.Record{a1}, []write{
			{post, byID("$1", "add_flag", "new_only"), 400, exists},
			{post, byID("$1", "rr_ttl", "7"), 200, ""},
		}, []solidsim.Record{with(a1, ttl(7))}},

		// Deleting.
		{"delete by id", []solidsim.Record{a1, a2}, []write{
			{remove, byID("$1"), 200, ""},
			{remove, byID("$1"), 400, missing},
		}, []solidsim.Record{a2}},
		{"delete by name", []solidsim.Record{a1}, []write{
			{remove, p("h.site.com", "", "", "dns_name", ""), 400, "the DNS server is needed, as dns_id or dns_name"},
			{remove, p("h.site.com", "", "", "dns_name", solidsim.ExternalServer), 400, missing},
			{remove, p("h.site.com", "", ""), 200, ""},
			{remove, p("h.site.com", "", ""), 400, missing},
		}, nil},
		{"delete by value", []solidsim.Record{a1, a2}, []write{
			{remove, p("h.site.com", "", ""), 400, "several records fit: give rr_id, or type and value"},
			{remove, p("h.site.com", "A", "192.0.2.2", "rr_ttl", "60"), 400, missing},
			{remove, p("h.site.com", "A", "", "rr_value1", "192.0.2.2", "rr_ttl", "3600"), 200, ""},
		}, []solidsim.Record{a1}},
		{"delete nothing", []solidsim.Record{a1}, []write{
			{remove, p("", "", ""), 400, "the id, or the name and the DNS server are needed"},
			{remove, byID("0"), 400, "an integer from 1 to 2147483647 is needed"},
			{remove, byID("1 or 1=1"), 400, "an integer from 1 to 2147483647 is needed"},
		}, []solidsim.Record{a1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sim := start(t, solidsim.Config{Zones: []string{"site.com", "lab.site.com"}})
			c := newClient(t, sim)
			for _, r := range test.have {
				if err := sim.Add(solidsim.InternalServer, r); err != nil {
					t.Fatal(err)
				}
			}
			for _, w := range test.writes {
				service := "dns_rr_add"
				if w.method == remove {
					service = "dns_rr_delete"
				}
				row := c.must(w.status, w.method, service, withIDs(c, test.have, w.params)...)[0]
				if row["errmsg"] != w.errmsg {
					t.Errorf("%s %v: errmsg %q, want %q", w.method, w.params, row["errmsg"], w.errmsg)
				}
				if w.status < 300 && row["ret_oid"] == "" {
					t.Errorf("%s %v: no ret_oid in %v", w.method, w.params, row)
				}
			}
			if diff := cmp.Diff(test.want, sim.Records(solidsim.InternalServer)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// withIDs puts ids in the place of $1 and $2: ids rise in the order in which
// records were put in, from 101.
func withIDs(c *client, have []solidsim.Record, params map[string]string) []string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(params)) {
		value := params[key]
		if i := slices.Index([]string{"$1", "$2"}, value); i >= 0 {
			if i >= len(have) {
				c.t.Fatalf("no record for %s", value)
			}
			value = []string{"101", "102"}[i]
		}
		pairs = append(pairs, key, value)
	}
	return pairs
}

func TestRefusedValues(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	for _, test := range []struct{ name, rtype, value string }{
		{"h.site.com", "A", "192.0.2.256"},
		{"h.site.com", "A", "2001:db8::1"},
		{"h.site.com", "AAAA", "192.0.2.1"},
		{"h.site.com", "AAAA", "fe80::1%eth0"},
		{"h.site.com", "CNAME", "other.example."},
		{"h.site.com", "PTR", "a b.example"},
		{"h.site.com", "TXT", "line\nline"},
		{"h.site.com", "TXT", string(make([]byte, 256))},
		{"h.site.com", "NULL", "x"},
		{"h.site.com.", "A", "192.0.2.1"},
		{".site.com", "A", "192.0.2.1"},
		{"h..site.com", "A", "192.0.2.1"},
		{"*.site.com", "A", "192.0.2.1"},
		{"h'.site.com", "A", "192.0.2.1"},
		{"bücher.site.com", "A", "192.0.2.1"},
		{"a1234567890123456789012345678901234567890123456789012345678901234.site.com", "A", "192.0.2.1"},
	} {
		if err := sim.Add(solidsim.InternalServer, solidsim.Record{Name: test.name, Type: test.rtype, Value: test.value}); err == nil {
			t.Errorf("%s %s %q was taken", test.name, test.rtype, test.value)
		}
	}
	if got := sim.Records(solidsim.InternalServer); got != nil {
		t.Errorf("records: %v", got)
	}
}

func TestByHand(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	record := solidsim.Record{Name: "h.site.com", Type: "A", Value: "192.0.2.1", TTL: 60}
	if err := sim.Add(solidsim.ExternalServer, record); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]solidsim.Record{record}, sim.Records(solidsim.ExternalServer)); diff != "" {
		t.Error(diff)
	}
	if err := sim.Remove(solidsim.InternalServer, record); err == nil {
		t.Error("removed from a server that does not have it")
	}
	if err := sim.Remove(solidsim.ExternalServer, record); err != nil {
		t.Error(err)
	}
	if got := sim.Records(solidsim.ExternalServer); got != nil {
		t.Errorf("records: %v", got)
	}
	if err := sim.Double(solidsim.ExternalServer, record); err == nil {
		t.Error("doubled what is not there")
	}
	if err := sim.Add(solidsim.ExternalServer, record); err != nil {
		t.Fatal(err)
	}
	if err := sim.Double(solidsim.ExternalServer, record); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]solidsim.Record{record, record}, sim.Records(solidsim.ExternalServer)); diff != "" {
		t.Error(diff)
	}
	if got := sim.Calls(); got.Total != 0 || got.Changes != 0 {
		t.Errorf("counted as calls: %+v", got)
	}
}
