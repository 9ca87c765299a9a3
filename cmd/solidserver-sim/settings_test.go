package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// TestConfig checks that each flag arrives where it belongs.
func TestConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, []byte(`{"seed":4,"rules":[{"kind":"reset","rate":0.5}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := cli{
		Listen: "127.0.0.1:1", DNSListen: []string{"127.0.0.1:2", "dns-primary.site.com=127.0.0.1:4"}, Control: "127.0.0.1:3",
		Zones: []string{"lab.example"}, Latency: time.Second, PushDelay: time.Minute, StateFile: "/tmp/state.json",
		Users:  []string{"a:b:c", "d:e"},
		Tokens: []string{"a:id:x:y"},
		Deny:   []string{"a:member_list", "a:dns_zone_*", "d:*"},
		Faults: file,
		Switches: switches{
			ForbiddenStatus: 400, UnknownServiceStatus: 404, Unauthorized: "text", TokenWindow: time.Hour, RefuseReplays: true, MaxPage: 7,
			NoView: "first", WriteOnMember: true, EditedStatus: 201, EditDoubles: true, CNAMEBesideData: true, ListApex: true,
		},
	}
	got, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	want := solidsim.Config{
		Listen: "127.0.0.1:1", DNSListen: map[string]string{"": "127.0.0.1:2", solidsim.ExternalServer: "127.0.0.1:4"}, Control: "127.0.0.1:3",
		Zones: []string{"lab.example"}, Latency: time.Second, PushDelay: time.Minute, StateFile: "/tmp/state.json",
		Users:  map[string]string{"a": "b:c", "d": "e"},
		Tokens: map[string]solidsim.Token{"id": {User: "a", Secret: "x:y"}},
		Denied: map[string][]string{"a": {"member_list", "dns_zone_*"}, "d": {"*"}},
		Faults: &solidsim.FaultPlan{Seed: 4, Rules: []solidsim.FaultRule{{Kind: solidsim.FaultReset, Rate: 0.5}}},
		Options: solidsim.Options{
			ForbiddenStatus: 400, UnknownServiceStatus: 404, Unauthorized: solidsim.UnauthorizedText, TokenWindow: time.Hour,
			RefuseReplays: true, MaxPage: 7,
		},
		Unknowns: solidsim.Unknowns{
			NoView: solidsim.FirstView, WriteOnMember: true, EditedStatus: 201, EditDoubles: true, CNAMEBesideData: true, ListApex: true,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestServers reads DNS servers from a file, beside which the default of --zones
// does not count and --zones itself is refused.
func TestServers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "servers.json")
	if err := os.WriteFile(file, []byte(`[{"name":"smart","members":["ns1"],"views":[{"name":"in","zones":[{"name":"site.com"}]},{"name":"out"}]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := cli{Listen: "127.0.0.1:1", DNSListen: []string{"127.0.0.1:2", "ns1/out=127.0.0.1:3"}, Servers: file, Zones: []string{"site.com"}}
	got, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	want := []solidsim.Server{{Name: "smart", Members: []string{"ns1"}, Views: []solidsim.View{
		{Name: "in", Zones: []solidsim.Zone{{Name: "site.com"}}}, {Name: "out"},
	}}}
	if diff := cmp.Diff(want, got.Servers); diff != "" || got.Zones != nil {
		t.Errorf("zones %v, servers %s", got.Zones, diff)
	}
	for want, change := range map[string]func(*cli){
		"zones are given beside servers":      func(c *cli) { c.Zones = []string{"lab.example"} },
		`DNS server "smart": want one of`:     func(c *cli) { c.DNSListen = []string{"smart=127.0.0.1:3"} },
		"has an address already":              func(c *cli) { c.DNSListen = []string{"127.0.0.1:3", "127.0.0.1:4"} },
		"--servers: open /none":               func(c *cli) { c.Servers = "/none" },
		"settings_test.go: read DNS servers:": func(c *cli) { c.Servers = "settings_test.go" },
	} {
		changed := c
		change(&changed)
		if _, err := changed.config(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}
