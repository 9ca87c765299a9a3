package main

import (
	"os"
	"path/filepath"
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
		Listen: "127.0.0.1:1", DNSListen: "127.0.0.1:2", Control: "127.0.0.1:3",
		Zones: []string{"lab.example"}, Latency: time.Second, StateFile: "/tmp/state.json",
		Users:  []string{"a:b:c", "d:e"},
		Tokens: []string{"a:id:x:y"},
		Deny:   []string{"a:member_list", "a:dns_zone_*", "d:*"},
		Faults: file,
		Switches: switches{
			ForbiddenStatus: 400, UnknownServiceStatus: 404, Unauthorized: "text", TokenWindow: time.Hour, RefuseReplays: true, MaxPage: 7,
		},
	}
	got, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	want := solidsim.Config{
		Listen: "127.0.0.1:1", DNSListen: map[string]string{solidsim.InternalServer: "127.0.0.1:2"}, Control: "127.0.0.1:3",
		Zones: []string{"lab.example"}, Latency: time.Second, StateFile: "/tmp/state.json",
		Users:  map[string]string{"a": "b:c", "d": "e"},
		Tokens: map[string]solidsim.Token{"id": {User: "a", Secret: "x:y"}},
		Denied: map[string][]string{"a": {"member_list", "dns_zone_*"}, "d": {"*"}},
		Faults: &solidsim.FaultPlan{Seed: 4, Rules: []solidsim.FaultRule{{Kind: solidsim.FaultReset, Rate: 0.5}}},
		Options: solidsim.Options{
			ForbiddenStatus: 400, UnknownServiceStatus: 404, Unauthorized: solidsim.UnauthorizedText, TokenWindow: time.Hour,
			RefuseReplays: true, MaxPage: 7,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
