package solidsim_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keastream/keastream/solidsim"
)

func TestDescriptionsThatAreWrong(t *testing.T) {
	t.Parallel()
	site := []solidsim.Zone{{Name: "site.com"}}
	for want, cfg := range map[string]solidsim.Config{
		"zones are given beside servers": {Zones: []string{"site.com"}, Servers: []solidsim.Server{{Name: "a"}}},
		`push delay -1s`:                 {PushDelay: -time.Second},
		`no view "some"`:                 {Unknowns: solidsim.Unknowns{NoView: "some"}},
		`edited status 204`:              {Unknowns: solidsim.Unknowns{EditedStatus: 204}},
		`want one of ["a" "m" "v/x" "v/y"]`: {DNSListen: map[string]string{"s": "127.0.0.1:0"}, Servers: []solidsim.Server{
			{Name: "a"}, {Name: "s", Members: []string{"m"}}, {Name: "v", Views: []solidsim.View{{Name: "x"}, {Name: "y"}}},
		}},
		`DNS server ""`:                      {Servers: []solidsim.Server{{}}},
		`DNS server "a/b"`:                   {Servers: []solidsim.Server{{Name: "a/b"}}},
		`DNS server "a" is given twice`:      {Servers: []solidsim.Server{{Name: "a"}, {Name: "a"}}},
		`kind is vdns or ipm, not "aws"`:     {Servers: []solidsim.Server{{Name: "a", Kind: "aws"}}},
		`unknown architecture "round"`:       {Servers: []solidsim.Server{{Name: "a", Arch: "round"}}},
		`only a SMART has an architecture`:   {Servers: []solidsim.Server{{Name: "a", Kind: solidsim.Standalone, Members: []string{"m"}}}},
		`"m" cannot be a member of "b"`:      {Servers: []solidsim.Server{{Name: "a", Members: []string{"m"}}, {Name: "b", Members: []string{"m"}}}},
		`"a" cannot be a member of "b"`:      {Servers: []solidsim.Server{{Name: "a", Kind: solidsim.Standalone, Zones: site}, {Name: "b", Members: []string{"a"}}}},
		`"a" has views: put its zones`:       {Servers: []solidsim.Server{{Name: "a", Zones: site, Views: []solidsim.View{{Name: "v"}}}}},
		`view "#" of a`:                      {Servers: []solidsim.Server{{Name: "a", Views: []solidsim.View{{Name: "#"}}}}},
		`view "v" of a is given twice`:       {Servers: []solidsim.Server{{Name: "a", Views: []solidsim.View{{Name: "v"}, {Name: "v"}}}}},
		`zone "site.com": the type is`:       {Servers: []solidsim.Server{{Name: "a", Zones: []solidsim.Zone{{Name: "site.com", Type: "hint"}}}}},
		`zone "site.com" is given twice`:     {Servers: []solidsim.Server{{Name: "a", Zones: append(site, site...)}}},
		`zone "a..b": a name is made`:        {Servers: []solidsim.Server{{Name: "a", Zones: []solidsim.Zone{{Name: "a..b"}}}}},
		`DNS address "localhost": want host`: {DNSListen: map[string]string{solidsim.InternalServer: "localhost"}},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
}

// TestDescriptionAsJSON reads servers as they stand in a file.
func TestDescriptionAsJSON(t *testing.T) {
	t.Parallel()
	servers, err := solidsim.ParseServers([]byte(`[
		{"name": "smart", "arch": "stealth", "members": ["ns1"], "class_parameters": {"dnsptr": "1"},
		 "views": [{"name": "in", "zones": [{"name": "site.com"}, {"name": "other.com", "type": "forward"}]}]},
		{"name": "alone", "kind": "ipm", "zones": [{"name": "site.com", "class_parameters": {"x": "y"}}]}
	]`))
	must(t, err)
	for text, want := range map[string]string{
		"": "EOF", "[]": "there is none", `[{"name":"a"}] {}`: "something follows", `[{"name":"a","view":"in"}]`: `unknown field "view"`, `{"name":"a"}`: "cannot unmarshal",
	} {
		if got, err := solidsim.ParseServers([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	sim := start(t, solidsim.Config{Servers: servers})
	c := newClient(t, sim)
	for _, row := range c.must(200, "GET", "dns_zone_list", "WHERE", "vdns_parent_id=0 and dnszone_type='master'") {
		if got := pick(row, "dns_name", "dnsview_name", "dnszone_name", "dnszone_class_parameters"); got != "smart in site.com dnsptr=1" && got != "alone # site.com x=y" {
			t.Error(got)
		}
	}
	// A view alone on its server answers under the server's name.
	must(t, sim.Add("smart", solidsim.Record{Name: "h.site.com", Type: "A", Value: "192.0.2.1", View: "in"}))
	if got := addrOf(t, sim, "ns1", "h.site.com"); len(got) != 1 {
		t.Errorf("%v", got)
	}
	// Loading what has no such server leaves its address without an answer.
	var saved bytes.Buffer
	must(t, start(t, solidsim.Config{}).Save(&saved))
	must(t, sim.Load(&saved))
	if got := addrOf(t, sim, "ns1", "h.site.com"); got != nil {
		t.Errorf("%v", got)
	}
}

// TestAtOnce does everything at the same time, for the race detector.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: busyServers(), PushDelay: time.Millisecond})
	c := newClient(t, sim)
	work := []func(i int){
		func(i int) {
			c.call("POST", "dns_rr_add", on(smart, fmt.Sprintf("h%d.site.com", i), fmt.Sprintf("192.0.2.%d", i), "dnsview_name", "in")...)
		},
		func(i int) { c.call("DELETE", "dns_rr_delete", "rr_id", fmt.Sprint(100+3*i)) },
		func(int) { c.call("GET", "dns_rr_list", "ORDERBY", "ttl") },
		func(int) { c.call("GET", "dns_rr_count", "WHERE", "dnszone_is_reverse=1") },
		func(i int) { _ = addrOf(t, sim, "ns2.site.com/in", fmt.Sprintf("h%d.site.com", i)) },
		func(i int) { _ = sim.Resynchronize(smart, i%2 == 0) },
		func(int) { _ = sim.HoldPushes("ns1.site.com"); _ = sim.ReleasePushes("ns1.site.com") },
		func(int) {
			var b bytes.Buffer
			if err := sim.Save(&b); err != nil {
				t.Error(err)
			}
			_ = sim.Load(&b)
		},
		func(int) { _ = sim.Records(smart) },
	}
	var wg sync.WaitGroup
	for _, do := range work {
		wg.Go(func() {
			for i := range 20 {
				do(i)
			}
		})
	}
	wg.Wait()
	eventually(t, func() bool {
		status, _ := c.call("GET", "dns_rr_list", "WHERE", "delayed_time='1'")
		return status == 204
	})
}
