package solidserver_test

import (
	"errors"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// testOwnRequests pins what goes over the wire in the life of a record. All that an
// appliance can misread stands here: it ignores a parameter that it does not know.
func testOwnRequests(t *testing.T) {
	t.Parallel()
	sim := start(t)
	add(t, sim, solidsim.Record{Name: "other.site.com", Type: "A", Value: "10.0.0.9"})
	var mu sync.Mutex
	var sent []string
	to := target(t, sim)
	s := before(t, sim, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.In.Method+" "+r.In.RequestURI)
		if r.In.ContentLength != 0 || r.In.Header.Get("Content-Type") != "" {
			t.Errorf("%s has a body of %d bytes, type %q", r.In.RequestURI, r.In.ContentLength, r.In.Header.Get("Content-Type"))
		}
		for name, want := range map[string]string{
			"X-Ipm-Username": "aXBtYWRtaW4=", "X-Ipm-Password": "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==", "Authorization": "",
			"Accept": "application/json", "Accept-Language": "en",
		} {
			if got := r.In.Header.Get(name); got != want {
				t.Errorf("%s has %s: %s", r.In.RequestURI, name, got)
			}
		}
	}}).Scope("internal", solidsim.InternalServer, "")
	row := create(t, s, record("a.site.com", "10.0.0.1"), owner(5))
	changed := dns.Record{Name: "a.site.com", Type: dns.A, Value: "10.0.0.2", TTL: 0}
	if err := s.Update(t.Context(), row, changed, owner(5)); err != nil {
		t.Fatal(err)
	}
	row.Record = changed
	if err := s.Delete(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reverse(t.Context()); err != nil {
		t.Fatal(err)
	}
	const (
		zones = "GET /rest/dns_zone_list?ORDERBY=dnszone_id&SELECT=dnszone_id%2Cdnszone_name%2Cdnszone_type%2Cdnszone_is_rpz%2Cdns_name" +
			"%2Cvdns_parent_id%2Cvdns_parent_name%2Cdnsview_name%2Cdnszone_class_parameters%2Cdnsview_class_parameters%2Cdns_class_parameters"
		rows = "GET /rest/dns_rr_list?ORDERBY=rr_id&SELECT=rr_id%2Crr_full_name%2Crr_type%2Cvalue1%2Cttl%2Crr_class_parameters" +
			"%2Cdelayed_create_time%2Cdelayed_delete_time%2Cdnszone_name%2Cdns_name%2Cvdns_parent_id%2Cdnsview_name"
		server  = "dns_name%3D%27dns-internal-smart.site.com%27"
		oneZone = server + "+AND+dnszone_name%3D%27site.com%27"
		page    = "&limit=1000&offset=0"
		mark    = "rr_class_parameters=kea_host_id%3D5%26kea_source%3Dus3%26keastream_digest%3D7f8cc216f223de24468381d0b14fdef0%26managed_by%3Dkeastream"
	)
	const named = rows + "&WHERE=" + oneZone + "+AND+rr_full_name%3D%27a.site.com%27" + page
	want := []string{
		zones + "&WHERE=" + oneZone + page,
		"POST /rest/dns_rr_add?add_flag=new_only&check_value=yes&dns_name=dns-internal-smart.site.com&dnszone_id=11&dnszone_name=site.com&" +
			mark + "&rr_name=a.site.com&rr_ttl=600&rr_type=A&value1=10.0.0.1",
		named, // by the test
		named,
		"PUT /rest/dns_rr_add?add_flag=edit_only&dns_name=dns-internal-smart.site.com&dnszone_name=site.com&" +
			mark + "&rr_id=102&rr_name=a.site.com&rr_ttl=0&rr_type=A&value1=10.0.0.2",
		named,
		"DELETE /rest/dns_rr_delete?rr_id=102",
		"GET /rest/dns_zone_count?WHERE=" + server,
		zones + "&WHERE=" + server + page,
		zones + "&WHERE=" + server + page, // from the only row on: nothing follows it
		"GET /rest/dns_rr_count?WHERE=" + server + "+AND+dnszone_is_reverse%3D%271%27+AND+dnszone_type%3D%27master%27",
		rows + "%2Cdnszone_is_reverse%2Cdnszone_type&WHERE=" + server + "+AND+dnszone_is_reverse%3D%271%27+AND+dnszone_type%3D%27master%27" + page,
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// testUserWithFewRights: users for DNS alone often may call nothing else. Where a
// list of servers would make an error clearer, the error does without.
func testUserWithFewRights(t *testing.T) {
	t.Parallel()
	sim, err := solidsim.Start(t.Context(), solidsim.Config{
		Users:  map[string]string{user: password},
		Denied: map[string][]string{user: {"member_*", "dns_server_*", "dns_view_*", "dns_zone_info", "dns_rr_info", "dns_zone_add", "dns_add"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	client := open(t, sim, solidserver.Config{})
	s := client.Scope("internal", solidsim.InternalServer, "")
	if _, err := s.Zones(t.Context()); err != nil {
		t.Error(err)
	}
	row := create(t, s, record(host, "10.0.0.1"), owner(5))
	if err := s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(5)); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), lookup(t, s, host)[0]); err != nil {
		t.Error(err)
	}
	// Lists of zones and rows, the count of zones, and three ways to write.
	if calls := sim.Calls(); calls.Changes != 3 || len(calls.ByService) != 6 {
		t.Errorf("calls: %+v", calls)
	}
	_, err = client.Scope("internal", "nowhere", "").Records(t.Context(), site)
	// It is not the list of servers, which was denied, that he is told of.
	if _, ofCall := errors.AsType[*solidserver.Error](err); err == nil || ofCall || !strings.Contains(err.Error(), "check --dns-server") {
		t.Errorf("a server that is not there: %v", err)
	}
}

// testServerWithoutClassParameters: before 8.0 an appliance ignores them. Then no
// row is ours, and none is changed or deleted.
func testServerWithoutClassParameters(t *testing.T) {
	t.Parallel()
	sim := start(t)
	to := target(t, sim)
	s := before(t, sim, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		query := r.Out.URL.Query()
		query.Del("rr_class_parameters")
		r.Out.URL.RawQuery = query.Encode()
	}}).Scope("internal", solidsim.InternalServer, "")
	row := create(t, s, record(host, "10.0.0.1"), owner(5))
	if row.Owner != nil {
		t.Fatalf("the row is %+v", row)
	}
	if err := s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(5)); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("update: %v", err)
	}
	if err := s.Delete(t.Context(), row); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("delete: %v", err)
	}
	if calls := sim.Calls(); calls.Writes != 1 {
		t.Errorf("%d writes", calls.Writes)
	}
}
