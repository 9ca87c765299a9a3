package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"pgregory.net/rapid"
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
		{"two devices", []dns.Claim{one, two}, nil,
			"conflict claimants A a.lab.example.com: wanted 192.0.2.1 (us3/1, hw-address 020000000001), 192.0.2.2 (us3/2, hw-address 020000000002); DNS has nothing\n"},
		{"two devices, one is there", []dns.Claim{one, two}, []dns.Row{row(name, "192.0.2.2"), row(name, "192.0.2.9")},
			"remove A a.lab.example.com -> 192.0.2.9\n" +
				"conflict claimants A a.lab.example.com: wanted 192.0.2.1 (us3/1, hw-address 020000000001), 192.0.2.2 (us3/2, hw-address 020000000002); DNS has 192.0.2.2 (ours), 192.0.2.9 (ours)\n"},
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

// server is a DNS server in memory that holds Plan to the rules of a real one.
type server struct {
	t    *rapid.T
	rows []dns.Row
	last int
}

// apply takes one step.
func (s *server) apply(step reconcile.Step) {
	at := slices.IndexFunc(s.rows, func(r dns.Row) bool { return r.ID == step.Row.ID })
	collides := slices.ContainsFunc(s.rows, func(r dns.Row) bool {
		return r.Record.Same(step.Record) && r.Zone == step.Zone && r.ID != step.Row.ID
	})
	switch step.Op {
	case reconcile.Create:
		typed := func(r dns.Row) bool {
			return r.Name == step.Record.Name && r.Type == step.Record.Type && r.Zone == step.Zone
		}
		if step.Exclusive && slices.ContainsFunc(s.rows, typed) || collides {
			s.t.Fatalf("%s: something is there:\n%v", step, s.rows)
		}
		s.last++
		s.rows = append(s.rows, dns.Row{Record: step.Record, Zone: step.Zone, ID: fmt.Sprintf("new-%d", s.last), Owner: &step.Owner})
	case reconcile.Update:
		if at < 0 || s.rows[at].Owner == nil || collides && s.rows[at].Value != step.Record.Value || s.rows[at].Zone != step.Zone {
			s.t.Fatalf("%s: not possible with\n%v", step, s.rows)
		}
		s.rows[at].Record, s.rows[at].Owner = step.Record, &step.Owner
	case reconcile.Remove:
		if at < 0 || s.rows[at].Owner == nil {
			s.t.Fatalf("%s: not possible with\n%v", step, s.rows)
		}
		s.rows = slices.Delete(s.rows, at, at+1)
	}
}

func (s *server) filter(f func(dns.Row) bool) []dns.Row {
	return slices.DeleteFunc(slices.Clone(s.rows), func(r dns.Row) bool { return !f(r) })
}

func drawClaims(t *rapid.T, names []string) []dns.Claim {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) dns.Claim {
		c := claim(key(rapid.SampledFrom([]string{"us3", "us4"}).Draw(t, "source"), rapid.Int64Range(1, 3).Draw(t, "host")),
			rapid.SampledFrom(names).Draw(t, "name"), drawAddress(t))
		c.Device.Identifier = rapid.SampledFrom([]string{"020000000001", "020000000002", ""}).Draw(t, "device")
		return c
	}), 0, 6).Draw(t, "claims")
}

func drawAddress(t *rapid.T) string {
	return fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 4).Draw(t, "address"))
}

func drawRows(t *rapid.T, names []string) []dns.Row {
	rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) dns.Row {
		r := row(rapid.SampledFrom(names).Draw(t, "name"), drawAddress(t))
		switch rapid.IntRange(0, 9).Draw(t, "type") {
		case 0:
			r.Type, r.Value, r.Owner = dns.CNAME, "x.example.com", nil
		case 1:
			r.Type, r.Value = dns.AAAA, "2001:db8::1"
		}
		r.TTL = rapid.SampledFrom([]uint32{600, 600, 300}).Draw(t, "ttl")
		r.Zone = rapid.SampledFrom([]string{zone, zone, zone, "example.com"}).Draw(t, "zone")
		r.Deleting = rapid.IntRange(0, 5).Draw(t, "deleting") == 0
		switch rapid.IntRange(0, 4).Draw(t, "owner") {
		case 0:
			r.Owner = nil
		case 1:
			r.Owner = ownedBy(key("us4", 1))
		case 2:
			r.Owner = ownedBy(key("us3", 1), key("us4", 1))
		}
		if r.Type == dns.CNAME {
			r.Owner = nil
		}
		return r
	}), 0, 8).Draw(t, "rows")
	for i := range rows {
		rows[i].ID = fmt.Sprintf("row-%d", i)
	}
	return rows
}

// TestPlanConverges starts from any state that a server can be in: doubled
// rows, wrong TTLs, aliases, foreign rows, rows on their way out.
func TestPlanConverges(t *testing.T) {
	t.Parallel()
	names := []string{"a.lab.example.com", "b.lab.example.com"}
	rapid.Check(t, func(t *rapid.T) {
		claims := drawClaims(t, names)
		w := want(claims...)
		s := &server{t: t, rows: drawRows(t, names)}
		before := slices.Clone(s.rows)

		plan := reconcile.Plan(w, s.rows, reconcile.Sync)
		shuffled := slices.Clone(s.rows)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if diff := cmp.Diff(plan, reconcile.Plan(w, shuffled, reconcile.Sync)); diff != "" {
			t.Fatalf("the plan depends on the order of rows:\n%s", diff)
		}
		if !slices.IsSortedFunc(plan.Steps, func(a, b reconcile.Step) int { return cmpName(a.Record.Name, b.Record.Name) }) {
			t.Fatalf("the plan is not sorted:\n%s", plan)
		}

		// What is on its way out goes at some time; here it does before the steps.
		s.rows = s.filter(func(r dns.Row) bool { return !r.Deleting })
		for _, step := range plan.Steps {
			s.apply(step)
			checkNoGap(t, w, before, s.rows, step)
		}
		if again := reconcile.Plan(w, s.rows, reconcile.Sync); len(again.Steps) > 0 {
			t.Fatalf("after the plan\n%sanother one is needed:\n%s", plan, again)
		}
		checkForeign(t, before, s.rows)
		checkMarks(t, before, s.rows)
		checkSets(t, w, before, s.rows)
		for _, step := range reconcile.Plan(w, before, reconcile.CreateOnly).Steps {
			if step.Op != reconcile.Create {
				t.Fatalf("create-only plans %s", step)
			}
		}
	})
}

func cmpName(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// checkNoGap: a name that is wanted and had a record has one at every moment.
func checkNoGap(t *rapid.T, w reconcile.Want, before, now []dns.Row, step reconcile.Step) {
	for _, set := range w.Sets {
		at := func(r dns.Row) bool {
			return r.Name == set.Name && r.Type == set.Type && r.Zone == set.Zone && !r.Deleting
		}
		if slices.ContainsFunc(before, at) && !slices.ContainsFunc(now, at) {
			t.Fatalf("after %s the name has no record", step)
		}
	}
}

// checkForeign: rows that are not ours are what they were.
func checkForeign(t *rapid.T, before, after []dns.Row) {
	theirs := func(rows []dns.Row) []dns.Row {
		return slices.DeleteFunc(slices.Clone(rows), func(r dns.Row) bool { return r.Owner != nil || r.Deleting })
	}
	if diff := cmp.Diff(theirs(before), theirs(after)); diff != "" {
		t.Fatalf("foreign rows were touched (-before +after):\n%s", diff)
	}
}

// checkMarks: a row that keeps its value keeps every source in its mark. Who does
// not ask for it now may only be missing from the stream.
func checkMarks(t *rapid.T, before, after []dns.Row) {
	for _, b := range before {
		for _, a := range after {
			if b.ID != a.ID || b.Owner == nil || !a.Record.Same(b.Record) {
				continue
			}
			for _, source := range b.Owner.Sources() {
				if !slices.Contains(a.Owner.Sources(), source) {
					t.Fatalf("%s was marked for %v and now is for %v", b.Record, b.Owner, a.Owner)
				}
			}
		}
	}
}

// checkSets: a name without anything foreign has what is wanted, all of it and
// nothing else; a contested one has only what is wanted.
func checkSets(t *rapid.T, w reconcile.Want, before, after []dns.Row) {
	for _, set := range w.Sets {
		if slices.ContainsFunc(before, func(r dns.Row) bool {
			return r.Name == set.Name && !r.Deleting && (r.Type == dns.CNAME || r.Type == set.Type && r.Owner == nil)
		}) {
			continue
		}
		var wanted, have []dns.Record
		for _, record := range set.Records {
			wanted = append(wanted, record.Record)
		}
		for _, r := range after {
			if r.Name == set.Name && r.Type == set.Type {
				have = append(have, r.Record)
			}
		}
		slices.SortFunc(have, dns.Record.Compare)
		if diff := cmp.Diff(wanted, have); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", set.Name, diff)
		}
	}
	for _, conflict := range w.Conflicts {
		for _, r := range after {
			if r.Name == conflict.Name && r.Type == conflict.Type && r.Owner != nil &&
				!slices.ContainsFunc(conflict.Records, func(c dns.Wanted) bool { return c.Record.Same(r.Record) }) &&
				!slices.ContainsFunc(after, func(o dns.Row) bool { return o.Name == r.Name && o.Type == dns.CNAME }) {
				t.Fatalf("%s is left although nobody wants it", r.Record)
			}
		}
		for _, b := range before {
			if !b.Deleting && b.Zone == zone && slices.ContainsFunc(conflict.Records, func(c dns.Wanted) bool { return c.Record.Same(b.Record) }) &&
				!slices.ContainsFunc(after, func(a dns.Row) bool { return a.Record.Same(b.Record) }) {
				t.Fatalf("%s went although one of the claimants wants it", b.Record)
			}
		}
	}
}
