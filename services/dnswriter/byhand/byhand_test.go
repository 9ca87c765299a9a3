package byhand_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/byhand"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

const server = solidsim.InternalServer

// start starts a simulator whose internal server has the zones, site.com if there
// are none.
func start(t *testing.T, zones ...solidsim.Zone) *solidsim.Sim {
	t.Helper()
	if len(zones) == 0 {
		zones = []solidsim.Zone{{Name: "site.com"}}
	}
	sim, err := solidsim.Start(t.Context(), solidsim.Config{Servers: []solidsim.Server{
		{Name: server, Zones: zones}, {Name: solidsim.ExternalServer, Zones: []solidsim.Zone{{Name: "other.com"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if unknown := sim.Calls().UnknownParameters; len(unknown) > 0 {
			t.Errorf("unknown parameters: %v", unknown)
		}
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

func scope(t *testing.T, sim *solidsim.Sim) *solidserver.Scope {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, sim.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	source := func(text string) secrets.Source {
		return func(context.Context) (secrets.Value, error) { return secrets.New(text), nil }
	}
	client, err := solidserver.New(solidserver.Config{
		Host: sim.Addr(), CAFile: ca, Username: source("ipmadmin"), Password: source("admin"), WriteTimeout: time.Second,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client.Scope("internal", server, "")
}

// adder adds in the internal server. Names in no zone of it are resolved by the
// external one.
func adder(t *testing.T, sim *solidsim.Sim) byhand.Adder {
	t.Helper()
	return byhand.Adder{
		Scope: scope(t, sim),
		Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, sim.DNSAddr(solidsim.ExternalServer))
		}},
		Pauses: slices.Repeat([]time.Duration{2 * time.Millisecond}, 3),
	}
}

func put(t *testing.T, sim *solidsim.Sim, on, name, rtype, value string) {
	t.Helper()
	if err := sim.Add(on, solidsim.Record{Name: name, Type: rtype, Value: value, TTL: 60}); err != nil {
		t.Fatal(err)
	}
}

func request(t *testing.T, name, rtype, target string) byhand.Request {
	t.Helper()
	r, err := byhand.NewRequest(name, "site.com", rtype, target, 600)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRequests(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, zone, rtype, target string
		want                      string // of the record; "" if it is refused, for the reason that stands in target's place
		reason                    string
	}{
		{"Web", "Site.COM.", "a", "192.0.2.1", "web.site.com 600 A 192.0.2.1", ""},
		{"web.site.com", "site.com", "A", "192.0.2.1", "web.site.com 600 A 192.0.2.1", ""},
		{"web.site.com.", "site.com", "AAAA", "2001:DB8:0::1", "web.site.com 600 AAAA 2001:db8::1", ""},
		{"a.b", "site.com", "cname", "Web.Other.com.", "a.b.site.com 600 CNAME web.other.com", ""},
		{"web", "site.com", "A", "2001:db8::1", "", "--target=2001:db8::1: not an address for a record of type A"},
		{"web", "site.com", "AAAA", "192.0.2.1", "", "--target=192.0.2.1"},
		{"web", "site.com", "A", "web.other.com", "", "--target=web.other.com"},
		{"web", "site.com", "CNAME", "192.0.2.1", "", "--target=192.0.2.1: an alias leads to a name"},
		{"web", "site.com", "CNAME", "2001:db8::1", "", "an alias leads to a name"},
		{"web", "site.com", "CNAME", "WEB.site.com", "", "an alias cannot lead to itself"},
		{"web", "site.com", "CNAME", "we b", "", "--target=we b"},
		{"web", "site.com", "TXT", "text", "", "--type=TXT: not A, AAAA or CNAME"},
		{"site.com", "site.com", "A", "192.0.2.1", "", "--name=site.com: it is the zone itself"},
		{"web.other.com.", "site.com", "A", "192.0.2.1", "", "--name=web.other.com.: it is a complete name outside of zone"},
		{"we'b", "site.com", "A", "192.0.2.1", "", "--name=we'b"},
		{"*", "site.com", "A", "192.0.2.1", "", "--name=*"},
		{"web", "si te", "A", "192.0.2.1", "", "--zone=si te"},
	} {
		r, err := byhand.NewRequest(test.name, test.zone, test.rtype, test.target, 600)
		switch {
		case test.reason != "" && (err == nil || !strings.Contains(err.Error(), test.reason)):
			t.Errorf("%v: %v", test, err)
		case test.reason == "" && (err != nil || r.Record.String() != test.want || r.Zone != "site.com"):
			t.Errorf("%v: %+v, %v", test, r, err)
		}
	}
	_, err := byhand.NewRequest("we'b", "site.com", "A", "here", 600)
	if err == nil || !strings.Contains(err.Error(), "--name") || !strings.Contains(err.Error(), "--target") {
		t.Errorf("two things are wrong: %v", err)
	}
}

// The record stands there as it was asked for, and nothing on it says that it is
// ours.
func TestRecords(t *testing.T) {
	t.Parallel()
	sim := start(t)
	a := adder(t, sim)
	want := []solidsim.Record{
		{Name: "alias.site.com", Type: "CNAME", Value: "web.site.com", TTL: 600},
		{Name: "six.site.com", Type: "AAAA", Value: "2001:db8::10", TTL: 600},
		{Name: "web.site.com", Type: "A", Value: "192.0.2.1", TTL: 600},
	}
	for _, r := range []byhand.Request{request(t, "web", "A", "192.0.2.1"), request(t, "six", "AAAA", "2001:db8::10"), request(t, "alias", "CNAME", "web.site.com")} {
		writes := sim.Calls().Writes
		if err := a.Check(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if n := sim.Calls().Writes; n != writes {
			t.Errorf("a check has written %d times", n-writes)
		}
		if state, err := a.Add(t.Context(), r); err != nil || state != byhand.Published {
			t.Fatalf("%v, %v", state, err)
		}
	}
	if diff := cmp.Diff(want, sim.Records(server)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// Whatever stands at the name, nothing is made.
func TestNamesThatExist(t *testing.T) {
	t.Parallel()
	for what, before := range map[string]func(t *testing.T, sim *solidsim.Sim){
		"the same record": func(t *testing.T, sim *solidsim.Sim) { put(t, sim, server, "web.site.com", "A", "192.0.2.1") },
		"another value":   func(t *testing.T, sim *solidsim.Sim) { put(t, sim, server, "web.site.com", "A", "192.0.2.2") },
		"another type":    func(t *testing.T, sim *solidsim.Sim) { put(t, sim, server, "web.site.com", "AAAA", "2001:db8::1") },
		"an unknown type": func(t *testing.T, sim *solidsim.Sim) { put(t, sim, server, "web.site.com", "TXT", "v=spf1 -all") },
		"an alias":        func(t *testing.T, sim *solidsim.Sim) { put(t, sim, server, "web.site.com", "CNAME", "x.other.com") },
		"on its way out": func(t *testing.T, sim *solidsim.Sim) {
			put(t, sim, server, "web.site.com", "A", "192.0.2.1")
			if err := sim.HoldPushes(server); err != nil {
				t.Fatal(err)
			}
			if err := sim.Remove(server, solidsim.Record{Name: "web.site.com", Type: "A", Value: "192.0.2.1"}); err != nil {
				t.Fatal(err)
			}
		},
		"keastream's": func(t *testing.T, sim *solidsim.Sim) {
			owner := dns.NewOwner(events.Key{Source: "us3", HostID: 5})
			if _, err := scope(t, sim).Create(t.Context(), "site.com", request(t, "web", "A", "192.0.2.1").Record, owner, true); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			sim := start(t)
			before(t, sim)
			err := adder(t, sim).Check(t.Context(), request(t, "web", "A", "192.0.2.1"))
			if !errors.Is(err, byhand.ErrExists) || !strings.Contains(err.Error(), "web.site.com") ||
				strings.Contains(err.Error(), "made by keastream") != (what == "keastream's") ||
				strings.Contains(err.Error(), "on its way out") != (what == "on its way out") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestZonesThatAreNotThere(t *testing.T) {
	t.Parallel()
	for what, zones := range map[string][]solidsim.Zone{
		"found 0":                     {{Name: "lab.com"}},
		"found 0 that can be written": {{Name: "site.com", Type: solidsim.SlaveZone}, {Name: "lab.com"}},
		"found 0 that":                {{Name: "site.com", Type: solidsim.SlaveZone}},
		"belongs into zone lab.site.com, which is nearer": {{Name: "site.com"}, {Name: "lab.site.com"}},
	} {
		sim := start(t, zones...)
		err := adder(t, sim).Check(t.Context(), request(t, "web.lab", "A", "192.0.2.1"))
		if !errors.Is(err, byhand.ErrNoZone) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Zone{Name: "site.com"}, solidsim.Zone{Name: "lab.com"})
	put(t, sim, server, "a.site.com", "A", "192.0.2.1")
	put(t, sim, server, "six.site.com", "AAAA", "2001:db8::1")
	put(t, sim, server, "text.site.com", "TXT", "text")
	put(t, sim, server, "a.lab.com", "A", "192.0.2.1")
	put(t, sim, server, "alias.lab.com", "CNAME", "a.site.com")
	put(t, sim, server, "alias.site.com", "CNAME", "alias.lab.com")
	put(t, sim, server, "out.site.com", "CNAME", "a.other.com")
	put(t, sim, server, "nowhere.site.com", "CNAME", "gone.other.com")
	put(t, sim, server, "one.site.com", "CNAME", "two.site.com")
	put(t, sim, server, "two.site.com", "CNAME", "one.site.com")
	put(t, sim, solidsim.ExternalServer, "a.other.com", "A", "198.51.100.1")
	put(t, sim, solidsim.ExternalServer, "six.other.com", "AAAA", "2001:db8::1")
	put(t, sim, server, "leaving.site.com", "A", "192.0.2.2")
	if err := sim.HoldPushes(server); err != nil {
		t.Fatal(err)
	}
	if err := sim.Remove(server, solidsim.Record{Name: "leaving.site.com", Type: "A", Value: "192.0.2.2"}); err != nil {
		t.Fatal(err)
	}
	a := adder(t, sim)
	for target, want := range map[string]bool{
		"a.site.com": true, "six.site.com": true, "a.lab.com": true, "alias.site.com": true, "out.site.com": true, "a.other.com": true, "six.other.com": true,
		"gone.site.com": false, "leaving.site.com": false, "text.site.com": false, "nowhere.site.com": false, "one.site.com": false, "gone.other.com": false, "site.com": false,
	} {
		err := a.Check(t.Context(), request(t, "web", "CNAME", target))
		if want && err != nil || !want && !errors.Is(err, byhand.ErrNoTarget) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// A check that cannot be made is none that is passed.
func TestChecksThatCannotBeMade(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"dns_zone_list", "dns_zone_count", "dns_rr_list"} {
		sim := start(t)
		sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
			if c.Service == service {
				return solidsim.Fault{Status: 400, Body: `{"errno":"1","errmsg":"no right"}`}
			}
			return solidsim.Fault{}
		})
		err := adder(t, sim).Check(t.Context(), request(t, "web", "A", "192.0.2.1"))
		if err == nil || errors.Is(err, byhand.ErrExists) || errors.Is(err, byhand.ErrNoZone) {
			t.Errorf("%s: %v", service, err)
		}
	}
}

// onWrite has the fault strike each write.
func onWrite(sim *solidsim.Sim, fault solidsim.Fault) {
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		if c.Writes {
			return fault
		}
		return solidsim.Fault{}
	})
}

// A call that failed, and one that failed but happened: the verdict is what is
// there, and the call is made once.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]solidsim.Fault{
		"reset": {Reset: true}, "cut off": {Truncate: true}, "500": {Status: 500}, "empty": {Status: 200, Empty: true},
		"page of a proxy": {Status: 502, Body: "<html>"}, "session lost": {Status: 200, Body: `{"connected":false}`},
	} {
		for _, committed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/committed=%t", name, committed), func(t *testing.T) {
				t.Parallel()
				sim := start(t)
				fault := fault
				fault.Committed = committed
				onWrite(sim, fault)
				state, err := adder(t, sim).Add(t.Context(), request(t, "web", "A", "192.0.2.1"))
				if committed && (err != nil || state != byhand.Published) || !committed && !errors.Is(err, byhand.ErrUnknown) {
					t.Errorf("%v, %v", state, err)
				}
				if there := len(sim.Records(server)) == 1; there != committed || sim.Calls().Writes != 1 {
					t.Errorf("there are %v after %d writes", sim.Records(server), sim.Calls().Writes)
				}
			})
		}
	}
}

// A request that sits somewhere until the client has given up, and happens then.
func TestLateCreation(t *testing.T) {
	t.Parallel()
	sim := start(t)
	a := adder(t, sim)
	a.Pauses = slices.Repeat([]time.Duration{2 * time.Millisecond}, 10_000)
	if _, err := a.Scope.Zones(t.Context()); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	var reads atomic.Int64
	sim.SetFaults(func(ctx context.Context, c solidsim.Call) solidsim.Fault {
		switch {
		case c.Writes:
			select {
			case <-release:
			case <-ctx.Done():
			}
		case reads.Add(1) == 2: // it was not there when it was looked for first
			close(release)
		}
		return solidsim.Fault{}
	})
	if state, err := a.Add(t.Context(), request(t, "web", "A", "192.0.2.1")); err != nil || state != byhand.Published {
		t.Errorf("%v, %v", state, err)
	}
	if n := sim.Calls().Writes; n != 1 {
		t.Errorf("%d writes", n)
	}
}

// Somebody else was faster, with and without an answer to our call.
func TestIntruders(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]solidsim.Fault{"answered": {}, "lost": {Reset: true}, "lost and refused": {Reset: true, Committed: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := start(t)
			sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
				if !c.Writes {
					return solidsim.Fault{}
				}
				put(t, sim, server, "web.site.com", "A", "192.0.2.9")
				return fault
			})
			if _, err := adder(t, sim).Add(t.Context(), request(t, "web", "A", "192.0.2.1")); !errors.Is(err, byhand.ErrExists) {
				t.Errorf("the error is %v", err)
			}
			if records := sim.Records(server); len(records) != 1 || records[0].Value != "192.0.2.9" {
				t.Errorf("the records are %v", records)
			}
		})
	}
}

// What is said of a record that was made is what was read.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	sim := start(t)
	if err := sim.HoldPushes(server); err != nil {
		t.Fatal(err)
	}
	if state, err := adder(t, sim).Add(t.Context(), request(t, "web", "A", "192.0.2.1")); err != nil || state != byhand.Accepted {
		t.Errorf("not pushed: %v, %v", state, err)
	}

	sim = start(t)
	onWrite(sim, solidsim.Fault{Status: 201, Body: `[{"ret_oid":"77"}]`}) // says so and does nothing
	if state, err := adder(t, sim).Add(t.Context(), request(t, "web", "A", "192.0.2.1")); !errors.Is(err, byhand.ErrUnknown) {
		t.Errorf("not there: %v, %v", state, err)
	}

	sim = start(t)
	var written atomic.Bool
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		if written.Load() {
			return solidsim.Fault{Status: 400, Body: `{"errno":"1","errmsg":"no right"}`}
		}
		written.Store(c.Writes)
		return solidsim.Fault{}
	})
	if state, err := adder(t, sim).Add(t.Context(), request(t, "web", "A", "192.0.2.1")); err != nil || state != byhand.Unread {
		t.Errorf("not read: %v, %v", state, err)
	}

	sim = start(t)
	onWrite(sim, solidsim.Fault{Status: 400, Body: `{"errno":"1","errmsg":"no right"}`})
	_, err := adder(t, sim).Add(t.Context(), request(t, "web", "A", "192.0.2.1"))
	if !errors.Is(err, dns.ErrRefused) || errors.Is(err, byhand.ErrUnknown) || errors.Is(err, byhand.ErrExists) {
		t.Errorf("refused: %v", err)
	}
}
