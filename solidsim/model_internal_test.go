package solidsim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestModel does calls by chance, with pushes held and released between them,
// and checks after each that the indexes agree with each other and, when
// nothing is held, that all servers have all that they should have.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		st, err := Config{Servers: []Server{
			{
				Name: "smart", Members: []string{"ns1", "ns2"}, ClassParameters: map[string]string{"dnsptr": "1"},
				Views: []View{{Name: "in", Zones: []Zone{{Name: "site.com"}, {Name: "in-addr.arpa"}}}, {Name: "out", Zones: []Zone{{Name: "site.com"}}}},
			},
			{Name: "alone", Kind: Standalone, Zones: []Zone{{Name: "site.com"}, {Name: "in-addr.arpa"}}},
		}}.describe()
		if err != nil {
			t.Fatal(err)
		}
		actions := randomActions(st)
		actions[""] = func(t *rapid.T) { consistent(t, st) }
		t.Repeat(actions)
		for _, s := range st.servers {
			if err := st.hold(s.name, false); err != nil {
				t.Fatal(err)
			}
		}
		consistent(t, st)
		complete(t, st)
	})
}

func randomActions(st *store) map[string]func(*rapid.T) {
	servers := rapid.SampledFrom([]string{"smart", "alone", "ns1"})
	// A call may be refused; what it may not do is harm.
	call := func(h handler, method string, p params) { _, _ = h(method, p) }
	place := func(t *rapid.T, p params) params {
		p["dns_name"] = servers.Draw(t, "server")
		p["dnsview_name"] = rapid.SampledFrom([]string{"", "in", "out"}).Draw(t, "view")
		return p
	}
	id := func(t *rapid.T, last int64) string { return fmt.Sprint(rapid.Int64Range(1, last).Draw(t, "id")) }
	zoneName := rapid.SampledFrom([]string{"site.com", "lab.site.com", "in-addr.arpa"})
	return map[string]func(*rapid.T){
		"add": func(t *rapid.T) {
			call(st.addRR, "POST", place(t, params{
				"rr_name": rapid.SampledFrom([]string{"a.site.com", "b.a.site.com", "c.lab.site.com", "1.2.0.192.in-addr.arpa"}).Draw(t, "name"),
				"rr_type": rapid.SampledFrom([]string{"A", "A", "AAAA", "TXT", "PTR"}).Draw(t, "type"),
				"value1":  rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "a.site.com"}).Draw(t, "value"),
				"rr_ttl":  rapid.SampledFrom([]string{"60", "600"}).Draw(t, "ttl"),
			}))
		},
		"edit": func(t *rapid.T) {
			call(st.addRR, "PUT", params{
				"rr_id": id(t, st.last.Row), "rr_ttl": "5",
				"value1": rapid.SampledFrom([]string{"", "192.0.2.1", "192.0.2.3"}).Draw(t, "value"),
			})
		},
		"delete": func(t *rapid.T) { call(st.deleteRR, "DELETE", params{"rr_id": id(t, st.last.Row)}) },
		"addZone": func(t *rapid.T) {
			call(st.addZoneService, "POST", place(t, params{"dnszone_name": zoneName.Draw(t, "zone")}))
		},
		"deleteZone": func(t *rapid.T) { call(st.deleteZoneService, "DELETE", params{"dnszone_id": id(t, st.last.Zone)}) },
		"hold": func(t *rapid.T) {
			_ = st.hold(servers.Draw(t, "server"), rapid.Bool().Draw(t, "held"))
		},
		"doubles": func(t *rapid.T) { st.unknowns.EditDoubles = rapid.Bool().Draw(t, "doubles") },
		"resynchronize": func(t *rapid.T) {
			defer st.write()()
			_ = st.resynchronize(servers.Draw(t, "server"), rapid.Bool().Draw(t, "lose"))
		},
		"reload": func(t *rapid.T) {
			var saved, again bytes.Buffer
			if err := st.save(&saved); err != nil {
				t.Fatal(err)
			}
			text := saved.String()
			if err := st.load(&saved); err != nil {
				t.Fatal(err)
			}
			if err := st.save(&again); err != nil || again.String() != text {
				t.Fatalf("loaded and saved, %v:\n%s\nis not\n%s", err, again.String(), text)
			}
		},
	}
}

// consistent checks the indexes against the rows.
func consistent(t *rapid.T, st *store) {
	named, zoned := 0, 0
	for i, r := range st.rows {
		if i > 0 && st.rows[i-1].id >= r.id {
			t.Fatalf("ids %d and %d are out of order", st.rows[i-1].id, r.id)
		}
		if st.byName[r.name].get(r.id) != r || r.zone.rows.get(r.id) != r || !slices.Contains(st.zones, r.zone) {
			t.Fatalf("row %d is not in the indexes", r.id)
		}
	}
	for _, list := range st.byName {
		named += len(list)
	}
	for _, z := range st.zones {
		zoned += len(z.rows)
	}
	if named != len(st.rows) || zoned != len(st.rows) {
		t.Fatalf("%d rows, %d by name, %d by zone", len(st.rows), named, zoned)
	}
	nodes, served := make(map[place]int), 0
	for _, s := range st.servers {
		for key, r := range s.rows {
			served++
			if r.key() != key || st.served[r.place()].get(r.id) != r || !r.zone.live {
				t.Fatalf("%s has row %d of %s, but does not serve it", s.name, key, r.name)
			}
			for p := r.place(); r.zone.contains(p.name); p.name = p.name[min(len(p.name), slices.Index([]byte(p.name+"."), '.')+1):] {
				nodes[p]++
			}
		}
	}
	for _, list := range st.served {
		served -= len(list)
	}
	if served != 0 || !maps.Equal(nodes, st.nodes) {
		t.Fatalf("%d rows are served by nobody; nodes %v, want %v", -served, st.nodes, nodes)
	}
}

// complete checks that nothing is pending and that DNS has all that is listed.
func complete(t *rapid.T, st *store) {
	for _, r := range st.rows {
		if r.pending != notPending {
			t.Fatalf("row %d is pending", r.id)
		}
		if r.origin != 0 {
			continue
		}
		for _, target := range r.zone.server.targets() {
			if have := target.rows[r.key()]; have == nil || have.values != r.values || have.ttl != r.ttl {
				t.Fatalf("row %d %s is not served by %s", r.id, r.name, target.name)
			}
		}
	}
	for _, s := range st.servers {
		for key := range s.rows {
			if st.rows.get(key) == nil {
				t.Fatalf("%s serves row %d, which is not listed", s.name, key)
			}
		}
	}
}
