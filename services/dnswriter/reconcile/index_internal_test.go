package reconcile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

func parseZones(t rapid.TB, settings ...string) dns.Zones {
	zones, err := dns.ParseZones(settings)
	if err != nil {
		t.Fatal(err)
	}
	return zones
}

func drawReservation(t *rapid.T) events.Reservation {
	id := rapid.Int64Range(1, 6).Draw(t, "host")
	r := events.Reservation{
		Source: rapid.SampledFrom([]string{"us3", "us4"}).Draw(t, "source"), HostID: id,
		Hostname:       rapid.SampledFrom([]string{"a", "b", "A.lab.example.com.", "c.example.com", "", "-"}).Draw(t, "hostname"),
		Identifier:     rapid.SampledFrom([]string{"020000000001", "020000000002"}).Draw(t, "identifier"),
		IdentifierType: "hw-address",
	}
	if n := rapid.Byte().Draw(t, "address"); n%4 != 0 {
		r.IP = netip.AddrFrom4([4]byte{192, 0, 2, n % 4})
	}
	if n := rapid.Int64Range(0, 2).Draw(t, "subnet"); n > 0 {
		r.Subnet4 = new(n)
	}
	return r
}

// filters are what a Reconciler may be told to care for.
var filters = []func(events.Reservation) bool{
	nil,
	func(r events.Reservation) bool { return r.Hostname != "b" },
	func(r events.Reservation) bool { return r.Subnet4 != nil && *r.Subnet4 == 1 },
	func(r events.Reservation) bool { return false },
}

// TestIndexIsDesired compares, after every difference, what the index says of
// each name with what all reservations together ask for, and checks that every
// name of which something else is wanted was named.
func TestIndexIsDesired(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		placement := &dns.Placement{Zones: parseZones(t, "lab.example.com", "2=example.com"), TTL: 600}
		rows := make(map[events.Key]events.Change)
		x := newIndex(func(k events.Key) (events.Change, bool) { c, ok := rows[k]; return c, ok }, placement, rapid.SampledFrom(filters).Draw(t, "filter"))
		x.crowd = 1

		desired := func() (wanted map[string]Want, uncovered map[string]bool) {
			var live []events.Reservation
			for _, c := range rows {
				if !c.Deleted() {
					live = append(live, c.Reservation)
				}
			}
			var claims []dns.Claim
			uncovered = make(map[string]bool)
			for _, r := range events.Current(live) {
				found, _ := placement.ForReservation(r)
				if x.cares(r) {
					claims = append(claims, found...)
					continue
				}
				for _, c := range found {
					uncovered[c.Record.Name] = true
				}
			}
			all := make(map[string]Want)
			sets, conflicts := dns.Desired(slices.Values(claims))
			for _, s := range sets {
				all[s.Name] = Want{Sets: []dns.Set{s}}
			}
			for _, c := range conflicts {
				all[c.Name] = Want{Conflicts: []dns.Conflict{c}}
			}
			return all, uncovered
		}

		before, uncoveredBefore := desired()
		for range rapid.IntRange(1, 20).Draw(t, "differences") {
			r := drawReservation(t)
			d := events.Difference{Change: events.Change{Operation: events.Update, Reservation: r}}
			if old, ok := rows[r.Key()]; ok && !old.Deleted() {
				d.Before = new(old.Reservation)
			}
			if d.Before != nil && rapid.Bool().Draw(t, "delete") {
				d.Change = events.Change{Operation: events.Delete, Reservation: *d.Before}
			} else {
				d.After = &r
			}
			rows[r.Key()] = d.Change // the View takes it in first
			dirty := x.apply(d)

			after, uncovered := desired()
			for name := range maps.Keys(after) {
				if diff := cmp.Diff(after[name], x.want(name), cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("%s after %+v (-all +index):\n%s", name, d, diff)
				}
				if diff := cmp.Diff(after[name].Sets, x.setsOf(name), cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("sets of %s after %+v (-all +index):\n%s", name, d, diff)
				}
			}
			for _, name := range []string{"a.lab.example.com", "b.lab.example.com", "a.example.com", "b.example.com", "c.example.com"} {
				if !cmp.Equal(before[name], after[name]) && !slices.Contains(dirty, name) {
					t.Fatalf("%+v changes what is wanted of %s, but only %v are named", d, name, dirty)
				}
				if x.uncovered(name) != uncovered[name] {
					t.Fatalf("%s is asked for by what is left out: %v, the index says %v", name, uncovered[name], !uncovered[name])
				}
				if uncovered[name] != uncoveredBefore[name] && !slices.Contains(dirty, name) {
					t.Fatalf("%+v changes whether %s may go, but only %v are named", d, name, dirty)
				}
				if _, wanted := after[name]; !wanted && len(x.want(name).Sets)+len(x.want(name).Conflicts) > 0 {
					t.Fatalf("%s is wanted by nobody, the index says %+v", name, x.want(name))
				}
			}
			before, uncoveredBefore = after, uncovered
			checkIndex(t, x, rows)
		}
	})
}

// The zones of the server may change while differences are still to be applied:
// in the end the index is as if all had been applied by the last placement.
func TestPlacingAnewBetweenDifferences(t *testing.T) {
	t.Parallel()
	placements := []*dns.Placement{
		{Zones: parseZones(t, "lab.example.com", "2=example.com"), TTL: 600},
		{Zones: parseZones(t, "lab.example.com", "2=example.com"), TTL: 600, Served: dns.NewServed([]dns.Zone{{Name: "lab.example.com"}})},
		{Zones: parseZones(t, "lab.example.com", "2=example.com"), TTL: 600, Served: dns.NewServed([]dns.Zone{
			{Name: "lab.example.com"}, {Name: "example.com"}, {Name: "2.0.192.in-addr.arpa"}})},
	}
	rapid.Check(t, func(t *rapid.T) {
		rows := make(map[events.Key]events.Change)
		x := newIndex(func(k events.Key) (events.Change, bool) { c, ok := rows[k]; return c, ok }, placements[0], rapid.SampledFrom(filters).Draw(t, "filter"))
		x.crowd = 1
		var due []events.Difference
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			for _, name := range slices.Collect(maps.Keys(x.claimants.first)) {
				x.setsOf(name)
			}
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				x.place(rapid.SampledFrom(placements).Draw(t, "placement"))
			case 1, 2:
				r := drawReservation(t)
				d := events.Difference{Change: events.Change{Operation: events.Update, Reservation: r}, After: &r}
				if old, ok := rows[r.Key()]; ok && !old.Deleted() {
					d.Before = new(old.Reservation)
				}
				if d.Before != nil && rapid.Bool().Draw(t, "delete") {
					d.After, d.Change = nil, events.Change{Operation: events.Delete, Reservation: *d.Before}
				}
				rows[r.Key()] = d.Change
				due = append(due, d)
			case 3, 4:
				if len(due) > 0 {
					x.apply(due[0])
					due = due[1:]
				}
			}
		}
		for _, d := range due {
			x.apply(d)
		}
		checkIndex(t, x, rows)
		for _, c := range rows {
			if c.Deleted() {
				continue
			}
			claims, _ := x.placement.ForReservation(c.Reservation)
			for _, name := range ownerNames(claims) {
				if !x.cares(c.Reservation) {
					if !dns.IsReverse(name) && !slices.Contains(slices.Collect(x.leftOut.rows(name)), c.Reservation.Key()) {
						t.Fatalf("the index does not know that %v is left out and asks for %s", c.Reservation.Key(), name)
					}
					continue
				}
				if !slices.Contains(slices.Collect(x.claimants.rows(name)), c.Reservation.Key()) {
					t.Fatalf("the index does not know that %v claims %s", c.Reservation.Key(), name)
				}
				if diff := cmp.Diff(x.want(name).Sets, x.setsOf(name), cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("sets of %s (-anew +kept):\n%s", name, diff)
				}
			}
		}
	})
}

// checkIndex compares what the index keeps with the rows.
func checkIndex(t *rapid.T, x *index, rows map[events.Key]events.Change) {
	asking, parked, wanted, otherwise, leftOut := 0, 0, 0, 0, 0
	for _, c := range rows {
		if c.Deleted() {
			continue
		}
		claims, failed := x.placement.ForReservation(c.Reservation)
		if !x.cares(c.Reservation) {
			if len(claims)+len(failed) > 0 {
				otherwise++
			}
			leftOut += len(slices.DeleteFunc(ownerNames(claims), dns.IsReverse))
			continue
		}
		if len(failed) > 0 {
			parked++
		}
		if len(claims)+len(failed) > 0 {
			asking++
		}
		wanted += len(ownerNames(claims))
	}
	if len(x.asking) != asking || len(x.parked) != parked {
		t.Fatalf("%d ask and %d are parked, the index counts %d and %d", asking, parked, len(x.asking), len(x.parked))
	}
	keptOut := 0
	for name := range x.leftOut.first {
		keptOut += len(slices.Collect(x.leftOut.rows(name)))
	}
	if len(x.otherwise) != otherwise || keptOut != leftOut {
		t.Fatalf("%d with %d names are left out, the index counts %d and %d", otherwise, leftOut, len(x.otherwise), keptOut)
	}
	kept := 0
	for name := range x.claimants.first {
		kept += len(slices.Collect(x.claimants.rows(name)))
	}
	if kept != wanted || len(x.claimants.more) > len(x.claimants.first) {
		t.Fatalf("the index keeps %d claims, want %d: %v", kept, wanted, x.claimants)
	}
}

func TestIndexParksPrivateAddresses(t *testing.T) {
	t.Parallel()
	x := newIndex(nil, &dns.Placement{Zones: parseZones(t, "lab.example.com"), TTL: 600, PublicOnly: true}, nil)
	for _, test := range []struct {
		ip     string
		parked bool
	}{
		{"192.0.2.1", false}, {"10.1.2.3", true}, {"172.30.19.100", true}, {"192.168.0.1", true}, {"169.254.1.1", true}, {"172.32.0.1", false},
	} {
		r := events.Reservation{Source: "us3", HostID: 1, Hostname: "a", IP: netip.MustParseAddr(test.ip)}
		claims, failed := x.placement.ForReservation(r)
		if parked := len(failed) > 0; parked != test.parked || parked == (len(claims) > 0) {
			t.Errorf("%s: claims %v, parked %v", test.ip, claims, failed)
		}
		x.add(r)
		if _, parked := x.parked[r.Key()]; parked != test.parked {
			t.Errorf("%s: parked is %v", test.ip, parked)
		}
		x.remove(r)
		if len(x.parked)+len(x.claimants.first)+len(x.occupants.first)+len(x.asking) != 0 {
			t.Errorf("%s: something is left: %+v", test.ip, fmt.Sprint(x.parked, x.claimants))
		}
	}
}
