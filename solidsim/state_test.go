package solidsim_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// busy changes records of a simulator with members, views and PTRs, and leaves
// some of that pending.
func busy(t *testing.T, sim *solidsim.Sim) {
	t.Helper()
	c := newClient(t, sim)
	add := func(server, view, name, value string) string {
		t.Helper()
		return c.must(201, "POST", "dns_rr_add", on(server, name, value, "dnsview_name", view, "rr_class_parameters", "a=1&b=2")...)[0]["ret_oid"]
	}
	add(smart, "in", "a.site.com", "192.0.2.1")
	edited, deleted := add(smart, "in", "b.site.com", "192.0.2.2"), add(smart, "in", "c.site.com", "192.0.2.3")
	add(smart, "out", "a.site.com", "198.51.100.1")
	alone := add("alone.site.com", "", "b.site.com", "192.0.2.2")
	must(t, sim.HoldPushes("ns1.site.com"))
	must(t, sim.HoldPushes("alone.site.com"))
	c.must(200, "PUT", "dns_rr_add", "rr_id", edited, "value1", "192.0.2.22")
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", deleted)
	c.must(200, "PUT", "dns_rr_add", "rr_id", alone, "value1", "192.0.2.22")
	add("alone.site.com", "", "d.site.com", "192.0.2.4")
	c.must(201, "POST", "dns_zone_add", "dns_name", "alone.site.com", "dnszone_name", "new.com", "dnszone_class_parameters", "x=y")
}

func busyServers() []solidsim.Server {
	zones := []solidsim.Zone{{Name: "site.com"}, {Name: "2.0.192.in-addr.arpa"}}
	return []solidsim.Server{
		{
			Name: smart, Members: []string{"ns1.site.com", "ns2.site.com"}, ClassParameters: map[string]string{"dnsptr": "1"},
			Views: []solidsim.View{{Name: "in", Zones: zones}, {Name: "out", Zones: zones}},
		},
		{Name: "alone.site.com", Kind: solidsim.Standalone, Zones: append(zones, solidsim.Zone{Name: "slave.com", Type: solidsim.SlaveZone})},
	}
}

// everything is what the API lists and what DNS answers.
func everything(t *testing.T, sim *solidsim.Sim) []string {
	t.Helper()
	c := newClient(t, sim)
	var all []string
	for _, service := range []string{"dns_server_list", "dns_view_list", "dns_zone_list", "dns_rr_list"} {
		_, body := c.call("GET", service)
		all = append(all, strings.Split(body, "},{")...)
	}
	for _, server := range []string{"ns1.site.com/in", "ns1.site.com/out", "ns2.site.com/in", "ns2.site.com/out", "alone.site.com"} {
		for _, name := range []string{"a", "b", "c", "d"} {
			all = append(all, server+" "+name+" "+strings.Join(addrOf(t, sim, server, name+".site.com"), " "))
		}
	}
	return all
}

func save(t *testing.T, sim *solidsim.Sim) string {
	t.Helper()
	var b bytes.Buffer
	must(t, sim.Save(&b))
	return b.String()
}

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: busyServers()})
	busy(t, sim)
	saved := save(t, sim)
	if saved != save(t, sim) {
		t.Error("two documents of one state differ")
	}
	other := start(t, solidsim.Config{Servers: busyServers()})
	must(t, other.Load(strings.NewReader(saved)))
	if diff := cmp.Diff(saved, save(t, other)); diff != "" {
		t.Errorf("saved again: %s", diff)
	}
	// What was pending goes on.
	for _, release := range []bool{false, true} {
		if release {
			for _, s := range []*solidsim.Sim{sim, other} {
				must(t, s.ReleasePushes(smart))
				must(t, s.ReleasePushes("alone.site.com"))
			}
		}
		if diff := cmp.Diff(everything(t, sim), everything(t, other)); diff != "" {
			t.Errorf("released %t: %s", release, diff)
		}
	}
	c := newClient(t, other)
	if pending, body := c.call("GET", "dns_rr_list", "WHERE", "delayed_time='1'"); pending != 204 {
		t.Errorf("still pending: %s", body)
	}
	// New ids are above all old ones.
	id := c.must(201, "POST", "dns_rr_add", on(smart, "e.site.com", "192.0.2.5", "dnsview_name", "in")...)[0]["ret_oid"]
	if rows := c.must(200, "GET", "dns_rr_list", "WHERE", "rr_full_name='e.site.com' and rr_id="+id); len(rows) != 1 {
		t.Errorf("id %s: %v", id, rows)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: busyServers()})
	busy(t, sim)
	saved := save(t, sim)
	for _, test := range []struct{ old, new, want string }{
		{saved, "", "EOF"},
		{`"version": 1`, `"version": 2`, "this program reads 1"},
		{`"zones": [`, `"zonen": [`, `unknown field "zonen"`},
		{`"id":11,"name":"site.com"`, `"id":12,"name":"site.com"`, "zone 12: an id is given once"},
		{`"id":2,"name"`, `"id":20,"name"`, "DNS server 20: an id is given once"},
		{`"member_of":2`, `"member_of":3`, "no SMART that it can be a member of"},
		{`"kind":"vdns"`, `"kind":"aws"`, "as kind"},
		{`"name":"a.site.com"`, `"name":"a.site.org"`, "outside of the zone"},
		{`"values":["192.0.2.1"]`, `"values":["nowhere"]`, "A needs an IPv4 address"},
		{`"type":"A"`, `"type":"NULL"`, "the type must be one of"},
		{`"type":"master"`, `"type":"mistress"`, `type "mistress": want master`},
		{`"name":"in"`, `"name":"#"`, "a name of its own"},
		{`"name":"alone.site.com"`, `"name":"alone/site"`, "a name has no blanks"},
		{`"last_ids": {"server":`, `"last_ids": {"server":900000000000`, "want 0 to"},
		{`"pending":"delete"`, `"pending":"never"`, `not "never"`},
		{`"zone":11`, `"zone":99`, "no zone 99"},
		{`"copy_of":11`, `"copy_of":16`, "16 is no zone of its SMART"},
	} {
		broken := strings.Replace(saved, test.old, test.new, 1)
		if broken == saved {
			t.Fatalf("%s is not in %s", test.old, saved)
		}
		if err := sim.Load(strings.NewReader(broken)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s for %s: %v", test.new, test.old, err)
		}
	}
	if diff := cmp.Diff(saved, save(t, sim)); diff != "" {
		t.Errorf("changed by documents that were refused: %s", diff)
	}
}

func TestStateFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.json")
	var log strings.Builder
	cfg := solidsim.Config{Servers: busyServers(), StateFile: path, PushDelay: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil))}
	sim, err := solidsim.Start(t.Context(), cfg)
	must(t, err)
	r := solidsim.Record{Name: "h.site.com", Type: "A", Value: "192.0.2.1", TTL: 60}
	must(t, sim.Add("alone.site.com", r))
	eventually(t, func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), `"h.site.com"`)
	})
	last := r
	last.Name = "last.site.com"
	must(t, sim.Add("alone.site.com", last))
	must(t, sim.Close())
	if strings.Contains(log.String(), "loaded") {
		t.Errorf("loaded what was not there:\n%s", log.String())
	}

	// The file counts, not the description, and the log says so.
	cfg.Servers = nil
	cfg.DNSListen = map[string]string{"ns1.site.com/in": "127.0.0.1:0"}
	t.Cleanup(func() { // behind the end of the simulator
		if strings.Count(log.String(), "loaded the state file") != 1 {
			t.Errorf("the log does not say that the file counts:\n%s", log.String())
		}
	})
	again := start(t, cfg)
	if diff := cmp.Diff([]solidsim.Record{r, last}, again.Records("alone.site.com")); diff != "" {
		t.Error(diff)
	}
	if rows := newClient(t, again).must(200, "GET", "dns_rr_list", "WHERE", "delayed_create_time='1'"); len(rows) != 2 {
		t.Errorf("pending after the start: %v", rows)
	}
	if again.DNSAddr("ns1.site.com/in") == "" || again.DNSAddr(solidsim.InternalServer) != "" {
		t.Error("DNS is not answered for the servers of the file")
	}
	if files, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	must(t, os.WriteFile(path, []byte("{"), 0o600))
	if _, err := solidsim.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file: %v", err)
	}
}
