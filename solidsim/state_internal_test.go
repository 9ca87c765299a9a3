package solidsim

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// busyStore has a SMART with a member and views, a server by itself, records of
// several types, and one of each kind of change under way.
func busyStore(t testing.TB) *store {
	t.Helper()
	zones := []Zone{{Name: "site.com"}, {Name: "2.0.192.in-addr.arpa"}}
	st, err := Config{Servers: []Server{
		{Name: "smart", Members: []string{"ns1"}, ClassParameters: map[string]string{"dnsptr": "1"}, Views: []View{{Name: "in", Zones: zones}}},
		{Name: "alone", Kind: Standalone, Zones: append(zones, Zone{Name: "slave.com", Type: SlaveZone})},
	}, Unknowns: Unknowns{ListApex: true}}.describe()
	if err != nil {
		t.Fatal(err)
	}
	services := newServices(st)
	call := func(method, name string, p params) {
		if _, err := services[name].handlers[method](method, p); err != nil {
			t.Fatal(err)
		}
	}
	add := func(server, view, name, value string) {
		call(http.MethodPost, "dns_rr_add", params{"dns_name": server, "dnsview_name": view, "rr_name": name, "rr_type": "A", "value1": value, "rr_class_parameters": "a=1"})
	}
	add("smart", "in", "a.site.com", "192.0.2.1")
	add("smart", "in", "b.site.com", "192.0.2.2")
	add("alone", "", "a.site.com", "192.0.2.1")
	for _, name := range []string{"smart", "alone"} {
		if err := st.hold(name, true); err != nil {
			t.Fatal(err)
		}
	}
	add("alone", "", "c.site.com", "192.0.2.3")
	call(http.MethodPut, "dns_rr_add", params{"dns_name": "smart", "dnsview_name": "in", "rr_name": "a.site.com", "rr_type": "A", "value1": "192.0.2.1", "rr_ttl": "5"})
	call(http.MethodDelete, "dns_rr_delete", params{"dns_name": "smart", "rr_name": "b.site.com", "rr_type": "A"})
	call(http.MethodPost, "dns_zone_add", params{"dns_name": "alone", "dnszone_name": "new.com"})
	return st
}

func saved(t testing.TB, st *store) string {
	t.Helper()
	var b bytes.Buffer
	if err := st.save(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// FuzzLoad: a document of the state, whoever edited it, is refused or taken whole.
// What was taken is saved as the same document again, can be listed and changed,
// and its pushes come to an end.
func FuzzLoad(f *testing.F) {
	text := saved(f, busyStore(f))
	f.Add(text)
	for _, edit := range []string{
		`"kind":"vdns"|"kind":"ipm"`, `"type":"master"|"type":"forward"`, `"type":"master"|"type":""`, `"pending":"delete"|"pending":"create"`,
		`"live":true|"live":false`, `"name":"in"|"name":"#"`, `"name":"alone"|"name":"a/b, c"`, `"view":5|"view":0`, `"serial":|"serial":9`,
		`"rr":|"rr":9223372036854775807,"x":`, `"zone":11|"zone":13`, `"copy_of":|"copy_of":1`, `"ttl":3600|"ttl":4294967295`, `"member_of":2|"member_of":0`,
		`"unserved":true|"served":{"values":["192.0.2.9"],"ttl":1}`, `"automatic":true|"automatic":false`,
	} {
		old, new, _ := strings.Cut(edit, "|")
		f.Add(strings.Replace(text, old, new, 1))
		f.Add(strings.ReplaceAll(text, old, new))
	}
	f.Fuzz(func(t *testing.T, text string) {
		st := newStore()
		st.unknowns = Unknowns{WriteOnMember: true, NoView: AllViews}
		if err := st.load(strings.NewReader(text)); err != nil {
			return
		}
		first := saved(t, st)
		again := newStore()
		if err := again.load(strings.NewReader(first)); err != nil {
			t.Fatalf("what was saved is refused: %v\n%s", err, first)
		}
		if second := saved(t, again); second != first {
			t.Fatalf("saved again as\n%s\nnot\n%s", second, first)
		}
		services := newServices(st)
		for name, svc := range services {
			if list := svc.handlers[http.MethodGet]; list != nil && !strings.HasSuffix(name, "_info") {
				if _, err := list(http.MethodGet, params{}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		if len(st.rows) > 100 || len(st.zones) > 100 {
			return
		}
		for _, r := range append(rows(nil), st.rows...) {
			_ = r.wire()
			_, _ = services["dns_rr_delete"].handlers[http.MethodDelete](http.MethodDelete, params{"rr_id": strconv.FormatInt(r.id, 10)})
		}
		for _, z := range append([]*zone(nil), st.zones...) {
			_, _ = services["dns_zone_delete"].handlers[http.MethodDelete](http.MethodDelete, params{"dnszone_id": strconv.FormatInt(z.id, 10)})
		}
		for _, s := range st.servers {
			if err := st.hold(s.name, false); err != nil {
				t.Fatal(err)
			}
		}
		st.settle(time.Now().Add(time.Hour))
		for _, s := range st.servers {
			if len(s.queue) > 0 {
				t.Fatalf("%d pushes to %s are left", len(s.queue), s.name)
			}
		}
	})
}
