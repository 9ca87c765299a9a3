package reconcile_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

const zone = "lab.example.com"

func ownedBy(hosts ...events.Key) *dns.Owner { return new(dns.NewOwner(hosts...)) }

func key(source string, id int64) events.Key { return events.Key{Source: source, HostID: id} }

// row is a row of ours in the zone, of host 1 of us3.
func row(name, value string) dns.Row {
	return dns.Row{
		Record: dns.Record{Name: name, Type: dns.A, Value: value, TTL: 600},
		Zone:   zone, ID: name + " " + value, Owner: ownedBy(key("us3", 1)),
	}
}

func foreign(r dns.Row) dns.Row {
	r.Owner = nil
	return r
}

// claim is the claim of one host, which is a device of its own.
func claim(host events.Key, name, value string) dns.Claim {
	return dns.Claim{
		Record: dns.Record{Name: name, Type: dns.A, Value: value, TTL: 600}, Zone: zone, Host: host,
		Device: dns.Device{Type: "hw-address", Identifier: fmt.Sprintf("02%010x", host.HostID)},
	}
}

func want(claims ...dns.Claim) reconcile.Want {
	sets, conflicts := dns.Desired(slices.Values(claims))
	return reconcile.Want{Sets: sets, Conflicts: conflicts}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	const name = "a.lab.example.com"
	one := claim(key("us3", 1), name, "192.0.2.1")
	two := claim(key("us3", 2), name, "192.0.2.2")
	sibling := two
	sibling.Device = one.Device
	twin := one
	twin.Host = key("us4", 9)
	cname := dns.Row{Record: dns.Record{Name: name, Type: dns.CNAME, Value: "b.lab.example.com", TTL: 600}, Zone: zone}
	with := func(r dns.Row, f func(*dns.Row)) dns.Row { f(&r); return r }

	for _, test := range []struct {
		name string
		want []dns.Claim
		rows []dns.Row
		plan string
	}{
		{"missing", []dns.Claim{one}, nil, "create A a.lab.example.com -> 192.0.2.1 (ttl 600)\n"},
		{"in step", []dns.Claim{one}, []dns.Row{row(name, "192.0.2.1")}, ""},
		{"moved", []dns.Claim{one}, []dns.Row{row(name, "192.0.2.9")}, "update A a.lab.example.com: 192.0.2.9 -> 192.0.2.1 (ttl 600)\n"},
		{"ttl", []dns.Claim{one}, []dns.Row{with(row(name, "192.0.2.1"), func(r *dns.Row) { r.TTL = 60 })}, "update A a.lab.example.com -> 192.0.2.1: ttl 60 -> 600\n"},
		{"another source asks too", []dns.Claim{one, twin}, []dns.Row{row(name, "192.0.2.1")}, "update A a.lab.example.com -> 192.0.2.1: new mark\n"},
		{"another row of a source asks", []dns.Claim{one}, []dns.Row{with(row(name, "192.0.2.1"), func(r *dns.Row) { r.Owner = ownedBy(key("us3", 77)) })}, ""},
		{"gone", nil, []dns.Row{row(name, "192.0.2.1")}, "remove A a.lab.example.com -> 192.0.2.1\n"},
		{"going", nil, []dns.Row{with(row(name, "192.0.2.1"), func(r *dns.Row) { r.Deleting = true })}, ""},
		{"wanted and going", []dns.Claim{one}, []dns.Row{with(row(name, "192.0.2.1"), func(r *dns.Row) { r.Deleting = true })}, "create A a.lab.example.com -> 192.0.2.1 (ttl 600)\n"},
		{"two addresses of a device", []dns.Claim{one, sibling}, []dns.Row{row(name, "192.0.2.1")}, "create A a.lab.example.com -> 192.0.2.2 (ttl 600)\n"},
		{"one address less", []dns.Claim{one}, []dns.Row{row(name, "192.0.2.1"), row(name, "192.0.2.2")}, "remove A a.lab.example.com -> 192.0.2.2\n"},
		{"two rows for one", []dns.Claim{one}, []dns.Row{row(name, "192.0.2.8"), row(name, "192.0.2.9")},
			"update A a.lab.example.com: 192.0.2.8 -> 192.0.2.1 (ttl 600)\nremove A a.lab.example.com -> 192.0.2.9\n"},
		{"doubled row", []dns.Claim{one}, []dns.Row{row(name, "192.0.2.1"), with(row(name, "192.0.2.1"), func(r *dns.Row) { r.ID = "2" })}, "remove A a.lab.example.com -> 192.0.2.1\n"},
		{"doubled row, one of them is right", []dns.Claim{one},
			[]dns.Row{with(row(name, "192.0.2.1"), func(r *dns.Row) { r.ID, r.TTL = "0", 60 }), row(name, "192.0.2.1")}, "remove A a.lab.example.com -> 192.0.2.1\n"},
		{"foreign with the value", []dns.Claim{one}, []dns.Row{foreign(row(name, "192.0.2.1"))}, ""},
		{"foreign with another value", []dns.Claim{one}, []dns.Row{foreign(row(name, "192.0.2.9"))},
			"conflict foreign A a.lab.example.com: wanted 192.0.2.1 (us3/1); DNS has 192.0.2.9 (foreign)\n"},
		{"foreign beside ours", []dns.Claim{one}, []dns.Row{row(name, "192.0.2.1"), foreign(row(name, "192.0.2.9"))},
			"conflict foreign A a.lab.example.com: wanted 192.0.2.1 (us3/1); DNS has 192.0.2.9 (foreign)\n"},
		{"foreign beside ours that is out of date", []dns.Claim{one}, []dns.Row{row(name, "192.0.2.2"), foreign(row(name, "192.0.2.9"))},
			"remove A a.lab.example.com -> 192.0.2.2\nconflict foreign A a.lab.example.com: wanted 192.0.2.1 (us3/1); DNS has 192.0.2.9 (foreign)\n"},
		{"foreign that nobody wants", nil, []dns.Row{foreign(row(name, "192.0.2.9"))}, ""},
		{"foreign of another type", []dns.Claim{one}, []dns.Row{{Record: dns.Record{Name: name, Type: dns.AAAA, Value: "2001:db8::1"}, Zone: zone}},
			"create A a.lab.example.com -> 192.0.2.1 (ttl 600)\n"},
		{"ours of a type that is not managed", nil, []dns.Row{{Record: dns.Record{Name: name, Type: "TXT", Value: "x"}, Zone: zone, Owner: ownedBy(key("us3", 1))}}, ""},
		{"alias", []dns.Claim{one}, []dns.Row{cname, row(name, "192.0.2.9")},
			"conflict cname A a.lab.example.com: wanted 192.0.2.1 (us3/1); DNS has CNAME b.lab.example.com (foreign)\n"},
		{"alias in the zone above", []dns.Claim{one}, []dns.Row{with(cname, func(r *dns.Row) { r.Zone = "example.com" })},
			"create A a.lab.example.com -> 192.0.2.1 (ttl 600)\n"},
		{"alias in both zones", []dns.Claim{one}, []dns.Row{cname, with(cname, func(r *dns.Row) { r.Zone, r.Value = "example.com", "c.example.com" })},
			"conflict cname A a.lab.example.com: wanted 192.0.2.1 (us3/1); DNS has CNAME b.lab.example.com (foreign)\n"},
		{"alias that is leaving", []dns.Claim{one}, []dns.Row{with(cname, func(r *dns.Row) { r.Deleting = true })},
			"create A a.lab.example.com -> 192.0.2.1 (ttl 600)\n"},
		{"alias beside ours that nobody wants", nil, []dns.Row{cname, row(name, "192.0.2.9")}, ""},
		{"two devices", []dns.Claim{one, two}, nil,
			"conflict claimants A a.lab.example.com: wanted 192.0.2.1 (us3/1, hw-address 020000000001), 192.0.2.2 (us3/2, hw-address 020000000002); DNS has nothing\n"},
		{"two devices, one is there", []dns.Claim{one, two}, []dns.Row{row(name, "192.0.2.2"), row(name, "192.0.2.9")},
			"remove A a.lab.example.com -> 192.0.2.9\n" +
				"conflict claimants A a.lab.example.com: wanted 192.0.2.1 (us3/1, hw-address 020000000001), 192.0.2.2 (us3/2, hw-address 020000000002); DNS has 192.0.2.2 (ours), 192.0.2.9 (ours)\n"},
		{"two devices, one is in the zone above", []dns.Claim{one, two}, []dns.Row{with(row(name, "192.0.2.1"), func(r *dns.Row) { r.Zone = "example.com" })},
			"remove A a.lab.example.com -> 192.0.2.1\n" +
				"conflict claimants A a.lab.example.com: wanted 192.0.2.1 (us3/1, hw-address 020000000001), 192.0.2.2 (us3/2, hw-address 020000000002); DNS has 192.0.2.1 (ours)\n"},
		{"two devices, one is leaving", []dns.Claim{one, two}, []dns.Row{with(row(name, "192.0.2.1"), func(r *dns.Row) { r.Deleting = true })},
			"conflict claimants A a.lab.example.com: wanted 192.0.2.1 (us3/1, hw-address 020000000001), 192.0.2.2 (us3/2, hw-address 020000000002); DNS has nothing\n"},
		{"row in the zone above", []dns.Claim{one}, []dns.Row{with(row(name, "192.0.2.1"), func(r *dns.Row) { r.Zone = "example.com" })},
			"create A a.lab.example.com -> 192.0.2.1 (ttl 600)\nremove A a.lab.example.com -> 192.0.2.1\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			plan := reconcile.Plan(want(test.want...), test.rows, reconcile.Sync)
			if diff := cmp.Diff(test.plan, plan.String()); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanCreatesIntoEmptyNamesExclusively(t *testing.T) {
	t.Parallel()
	a := claim(key("us3", 1), "a.lab.example.com", "192.0.2.1")
	b := a
	b.Record.Value, b.Host.HostID = "192.0.2.2", 2
	leaving := row("a.lab.example.com", "192.0.2.9")
	leaving.Deleting = true
	for _, test := range []struct {
		name string
		rows []dns.Row
		want []bool
	}{
		{"empty", nil, []bool{true, false}},
		{"ours is there", []dns.Row{row("a.lab.example.com", "192.0.2.1")}, []bool{false}},
		{"ours is leaving", []dns.Row{leaving}, []bool{false, false}},
		{"foreign is leaving", []dns.Row{foreign(leaving)}, []bool{false, false}},
	} {
		var got []bool
		for _, s := range reconcile.Plan(want(a, b), test.rows, reconcile.Sync).Steps {
			got = append(got, s.Exclusive)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: exclusive is %v, want %v", test.name, got, test.want)
		}
	}
}
