package reconcile_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

// dual is what a reservation of one device asks for: a record with the address,
// and its PTR record.
func dual(host events.Key, name, address string) []dns.Claim {
	forward := claim(host, name, address)
	forward.Record.Type = dns.TypeOf(netip.MustParseAddr(address))
	reverse := forward
	reverse.Record = ptr(name, address).Record
	reverse.Zone = "2.0.192.in-addr.arpa"
	return []dns.Claim{forward, reverse}
}

// ptr is a PTR row of ours.
func ptr(name, address string) dns.Row {
	reverse := dns.ReverseName(netip.MustParseAddr(address))
	return dns.Row{
		Record: dns.Record{Name: reverse, Type: dns.PTR, Value: name, TTL: 600},
		Zone:   "2.0.192.in-addr.arpa", ID: reverse + " " + name, Owner: ownedBy(key("us3", 1)),
	}
}

const (
	nameA = "a.lab.example.com"
	nameB = "b.lab.example.com"
)

func TestPlanReverse(t *testing.T) {
	t.Parallel()
	one := dual(key("us3", 1), nameA, "192.0.2.1")
	cname := dns.Row{Record: dns.Record{Name: nameA, Type: dns.CNAME, Value: "b.lab.example.com", TTL: 600}, Zone: zone}
	leaving := row(nameA, "192.0.2.1")
	leaving.Deleting = true
	above := ptr(nameA, "192.0.2.1")
	above.Zone = "192.in-addr.arpa"
	sameDevice := dual(key("us3", 2), nameB, "192.0.2.1")
	for i := range sameDevice {
		sameDevice[i].Device = one[0].Device
	}

	for _, test := range []struct {
		name string
		want [][]dns.Claim
		rows []dns.Row
		plan string
	}{
		{"both are missing", [][]dns.Claim{one}, nil,
			"create A a.lab.example.com -> 192.0.2.1 (ttl 600)\n" +
				"create PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com (ttl 600), after A a.lab.example.com -> 192.0.2.1\n"},
		{"the forward record is there", [][]dns.Claim{one}, []dns.Row{row(nameA, "192.0.2.1")},
			"create PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com (ttl 600)\n"},
		{"it is somebody else's", [][]dns.Claim{one}, []dns.Row{foreign(row(nameA, "192.0.2.1"))},
			"create PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com (ttl 600)\n"},
		{"it is leaving", [][]dns.Claim{one}, []dns.Row{leaving},
			"create A a.lab.example.com -> 192.0.2.1 (ttl 600)\n" +
				"create PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com (ttl 600), after A a.lab.example.com -> 192.0.2.1\n"},
		{"in step", [][]dns.Claim{one}, []dns.Row{row(nameA, "192.0.2.1"), ptr(nameA, "192.0.2.1")}, ""},
		{"the server keeps the PTR record", [][]dns.Claim{one}, []dns.Row{row(nameA, "192.0.2.1"), foreign(ptr(nameA, "192.0.2.1"))}, ""},
		{"new address", [][]dns.Claim{one}, []dns.Row{row(nameA, "192.0.2.9"), ptr(nameA, "192.0.2.9")},
			"update A a.lab.example.com: 192.0.2.9 -> 192.0.2.1 (ttl 600)\n" +
				"create PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com (ttl 600), after A a.lab.example.com -> 192.0.2.1\n" +
				"remove PTR 9.2.0.192.in-addr.arpa -> a.lab.example.com\n"},
		{"new name", [][]dns.Claim{one}, []dns.Row{row(nameB, "192.0.2.1"), ptr(nameB, "192.0.2.1")},
			"create A a.lab.example.com -> 192.0.2.1 (ttl 600)\n" +
				"remove A b.lab.example.com -> 192.0.2.1\n" +
				"update PTR 1.2.0.192.in-addr.arpa: b.lab.example.com -> a.lab.example.com (ttl 600), after A a.lab.example.com -> 192.0.2.1\n"},
		{"two devices change names", [][]dns.Claim{one, dual(key("us3", 2), nameB, "192.0.2.2")},
			[]dns.Row{row(nameA, "192.0.2.2"), row(nameB, "192.0.2.1"), ptr(nameA, "192.0.2.2"), ptr(nameB, "192.0.2.1")},
			"update A a.lab.example.com: 192.0.2.2 -> 192.0.2.1 (ttl 600)\n" +
				"update A b.lab.example.com: 192.0.2.1 -> 192.0.2.2 (ttl 600)\n" +
				"update PTR 1.2.0.192.in-addr.arpa: b.lab.example.com -> a.lab.example.com (ttl 600), after A a.lab.example.com -> 192.0.2.1\n" +
				"update PTR 2.2.0.192.in-addr.arpa: a.lab.example.com -> b.lab.example.com (ttl 600), after A b.lab.example.com -> 192.0.2.2\n"},
		{"the zone above has it", [][]dns.Claim{one}, []dns.Row{row(nameA, "192.0.2.1"), above},
			"create PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com (ttl 600)\nremove PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com\n"},
		{"the name is somebody else's", [][]dns.Claim{one}, []dns.Row{foreign(row(nameA, "192.0.2.9"))},
			"conflict foreign A a.lab.example.com: wanted 192.0.2.1 (us3/1); DNS has 192.0.2.9 (foreign)\n"},
		{"the name is somebody else's, and the PTR record is there", [][]dns.Claim{one}, []dns.Row{foreign(row(nameA, "192.0.2.9")), ptr(nameA, "192.0.2.1")},
			"conflict foreign A a.lab.example.com: wanted 192.0.2.1 (us3/1); DNS has 192.0.2.9 (foreign)\n"},
		{"the name is an alias", [][]dns.Claim{one}, []dns.Row{cname, row(nameA, "192.0.2.1")},
			"conflict cname A a.lab.example.com: wanted 192.0.2.1 (us3/1); DNS has CNAME b.lab.example.com (foreign)\n"},
		{"the name is contested", [][]dns.Claim{one, dual(key("us3", 2), nameA, "192.0.2.2")},
			[]dns.Row{row(nameA, "192.0.2.2"), ptr(nameA, "192.0.2.1")},
			"conflict claimants A a.lab.example.com: wanted 192.0.2.1 (us3/1, hw-address 020000000001), 192.0.2.2 (us3/2, hw-address 020000000002); DNS has 192.0.2.2 (ours)\n"},
		{"the reverse name is an alias, as in a classless zone", [][]dns.Claim{one},
			[]dns.Row{row(nameA, "192.0.2.1"), {Record: dns.Record{Name: one[1].Record.Name, Type: dns.CNAME, Value: "1.0/25.2.0.192.in-addr.arpa"}, Zone: one[1].Zone}},
			"conflict cname PTR 1.2.0.192.in-addr.arpa: wanted a.lab.example.com (us3/1); DNS has CNAME 1.0/25.2.0.192.in-addr.arpa (foreign)\n"},
		{"one device has two names", [][]dns.Claim{one, sameDevice}, []dns.Row{row(nameA, "192.0.2.1"), row(nameB, "192.0.2.1"), ptr(nameA, "192.0.2.1")},
			"create PTR 1.2.0.192.in-addr.arpa -> b.lab.example.com (ttl 600)\n"},
		{"two devices have one address", [][]dns.Claim{one, dual(key("us3", 2), nameB, "192.0.2.1")}, []dns.Row{row(nameA, "192.0.2.1"), row(nameB, "192.0.2.1"), ptr(nameB, "192.0.2.1")},
			"conflict claimants PTR 1.2.0.192.in-addr.arpa: wanted a.lab.example.com (us3/1, hw-address 020000000001), " +
				"b.lab.example.com (us3/2, hw-address 020000000002); DNS has b.lab.example.com (ours)\n"},
		{"nobody asks any more", nil, []dns.Row{row(nameA, "192.0.2.1"), ptr(nameA, "192.0.2.1")},
			"remove A a.lab.example.com -> 192.0.2.1\nremove PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com\n"},
		{"nobody asks, and it is not ours", nil, []dns.Row{foreign(ptr(nameA, "192.0.2.1"))}, ""},
		{"both families", [][]dns.Claim{one, {claimAAAA(nameA, "2001:db8::1")}}, []dns.Row{row(nameA, "192.0.2.1"), ptr(nameA, "192.0.2.1")},
			"create AAAA a.lab.example.com -> 2001:db8::1 (ttl 600)\n"},
		{"one family is somebody else's", [][]dns.Claim{one, {claimAAAA(nameA, "2001:db8::1")}},
			[]dns.Row{{Record: dns.Record{Name: nameA, Type: dns.AAAA, Value: "2001:db8::9"}, Zone: zone}},
			"create A a.lab.example.com -> 192.0.2.1 (ttl 600)\n" +
				"create PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com (ttl 600), after A a.lab.example.com -> 192.0.2.1\n" +
				"conflict foreign AAAA a.lab.example.com: wanted 2001:db8::1 (us3/1); DNS has 2001:db8::9 (foreign)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			plan := reconcile.Plan(want(slices.Concat(test.want...)...), test.rows, reconcile.Sync)
			if diff := cmp.Diff(test.plan, plan.String()); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func claimAAAA(name, address string) dns.Claim { return dual(key("us3", 1), name, address)[0] }

// TestPlanOfReverseNameAlone: without the names that its PTR records lead to,
// none of them is made, and none is taken away.
func TestPlanOfReverseNameAlone(t *testing.T) {
	t.Parallel()
	w := want(dual(key("us3", 1), nameA, "192.0.2.1")...)
	rows := []dns.Row{row(nameA, "192.0.2.1")}
	reverse := "1.2.0.192.in-addr.arpa"
	if got := w.Targets(); !slices.Equal(got, []string{nameA}) {
		t.Errorf("targets are %v", got)
	}
	if got := reconcile.PlanName(reverse, part(w, reverse), rows, reconcile.Sync); len(got.Steps) > 0 {
		t.Errorf("planned without what is wanted of the target:\n%s", got)
	}
	if got := reconcile.PlanName(reverse, part(w, reverse), append(rows, ptr(nameA, "192.0.2.1")), reconcile.Sync); len(got.Steps) > 0 {
		t.Errorf("taken away without what is wanted of the target:\n%s", got)
	}
	got := reconcile.PlanName(reverse, w, rows, reconcile.Sync)
	if len(got.Steps) != 1 || got.Steps[0].Record.Name != reverse || got.Tallies[dns.A] != (reconcile.Tally{}) {
		t.Errorf("planned with it: %+v", got)
	}
	if got := reconcile.PlanName("nobody.example.com", w, rows, reconcile.Sync); got.String() != "" {
		t.Errorf("a name that is not spoken of:\n%s", got)
	}
}

// TestPlanMakesNoStrangeReverse: a PTR record is not made if it speaks of no
// address, of a reverse name, or of a record that nobody asks for.
func TestPlanMakesNoStrangeReverse(t *testing.T) {
	t.Parallel()
	reverse := dual(key("us3", 1), "1.2.0.192.in-addr.arpa", "192.0.2.1")
	network := dual(key("us3", 2), nameA, "192.0.2.2")
	network[1].Record.Name = "2.0.192.in-addr.arpa"
	other := dual(key("us3", 3), nameB, "192.0.2.3")
	other[0].Record.Value = "192.0.2.4"
	rows := []dns.Row{row(nameB, "192.0.2.3"), row(nameB, "192.0.2.4")}
	for _, s := range reconcile.Plan(want(slices.Concat(reverse, network, other)...), rows, reconcile.Sync).Steps {
		if s.Record.Type == dns.PTR {
			t.Errorf("planned %s", s)
		}
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	w := want(slices.Concat(dual(key("us3", 1), nameA, "192.0.2.1"), dual(key("us3", 2), nameB, "192.0.2.2"))...)
	rows := []dns.Row{row(nameA, "192.0.2.9"), row("old.lab.example.com", "192.0.2.3")}
	const (
		createB    = "create A b.lab.example.com -> 192.0.2.2 (ttl 600)\n"
		updateA    = "update A a.lab.example.com: 192.0.2.9 -> 192.0.2.1 (ttl 600)\n"
		removeOld  = "remove A old.lab.example.com -> 192.0.2.3\n"
		createPTRA = "create PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com (ttl 600), after A a.lab.example.com -> 192.0.2.1\n"
		createPTRB = "create PTR 2.2.0.192.in-addr.arpa -> b.lab.example.com (ttl 600), after A b.lab.example.com -> 192.0.2.2\n"
		skip       = "skipped: "
	)
	for policy, text := range map[reconcile.Policy]string{
		reconcile.Sync:       updateA + createB + removeOld + createPTRA + createPTRB,
		reconcile.UpsertOnly: updateA + createB + createPTRA + createPTRB + skip + removeOld,
		reconcile.CreateOnly: createB + createPTRB + skip + updateA + skip + removeOld + skip + createPTRA,
		reconcile.Observe:    skip + updateA + skip + createB + skip + removeOld + skip + createPTRA + skip + createPTRB,
	} {
		if diff := cmp.Diff(text, reconcile.Plan(w, rows, policy).String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", policy, diff)
		}
		var again reconcile.Policy
		if err := again.UnmarshalText([]byte(policy.String())); err != nil || again != policy {
			t.Errorf("%s is read as %s, %v", policy, again, err)
		}
	}
	var p reconcile.Policy
	if err := p.UnmarshalText([]byte("all")); err == nil || err.Error() != `"all" is none of sync, upsert-only, create-only, observe` {
		t.Errorf("error is %v", err)
	}
	if steps := reconcile.Plan(w, rows, reconcile.Policy(99)).Steps; len(steps) > 0 {
		t.Errorf("a policy that is none allows %v", steps)
	}
}
