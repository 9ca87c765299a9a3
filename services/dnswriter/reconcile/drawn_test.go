package reconcile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"pgregory.net/rapid"
)

// The world of the properties is small, so that things meet: four names in two
// zones, one inside the other, and addresses in two reverse zones, one inside the
// other, and outside of both.
var (
	hostnames = []string{"a", "b", "A.Example.com.", "c.lab.example.com", "wpad", "d.nested.lab.example.com"}
	addresses = []string{"192.0.2.1", "192.0.2.2", "192.0.3.3", "198.51.100.4", "2001:db8::1", "2001:db8::2"}
	zones     = []dns.Zone{
		{Name: "example.com"}, {Name: "lab.example.com"}, {Name: "nested.lab.example.com"},
		{Name: "192.in-addr.arpa"}, {Name: "2.0.192.in-addr.arpa"}, {Name: "8.b.d.0.1.0.0.2.ip6.arpa"},
	}
)

func drawPlacement(t *rapid.T) *dns.Placement {
	z, err := dns.ParseZones([]string{"lab.example.com", "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	served := slices.Clone(zones)
	served[0].AutoPTR = rapid.IntRange(0, 3).Draw(t, "auto ptr") == 0
	return &dns.Placement{
		Zones: z, Served: dns.NewServed(served), TTL: 600,
		PTR: rapid.SampledFrom([]dns.PTRPolicy{dns.PTRAuto, dns.PTRAuto, dns.PTRAuto, dns.PTROn, dns.PTROff}).Draw(t, "ptr"),
	}
}

func drawReservations(t *rapid.T, label string) []events.Reservation {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) events.Reservation {
		r := events.Reservation{
			Source: rapid.SampledFrom([]string{"us3", "us4"}).Draw(t, "source"), HostID: rapid.Int64Range(1, 3).Draw(t, "host"),
			Hostname: rapid.SampledFrom(hostnames).Draw(t, "hostname"), IdentifierType: "hw-address",
			Identifier: rapid.SampledFrom([]string{"020000000001", "020000000002", "020000000003", ""}).Draw(t, "device"),
		}
		for _, text := range rapid.SliceOfNDistinct(rapid.SampledFrom(addresses), 1, 3, rapid.ID).Draw(t, "addresses") {
			if addr := netip.MustParseAddr(text); addr.Is4() {
				r.IP = addr
			} else {
				r.IPv6 = append(r.IPv6, addr)
			}
		}
		return r
	}), 0, 5).Draw(t, label)
}

// drawChanges draws what becomes of reservations: each may stay, go, or get
// another name, address or number of its row, and others come.
func drawChanges(t *rapid.T, before []events.Reservation) []events.Reservation {
	var after []events.Reservation
	for _, r := range before {
		switch rapid.IntRange(0, 5).Draw(t, "becomes") {
		case 0:
			continue
		case 1:
			r.Hostname = rapid.SampledFrom(hostnames).Draw(t, "new hostname")
		case 2:
			r.IP = netip.MustParseAddr(rapid.SampledFrom(addresses[:4]).Draw(t, "new address"))
		case 3:
			r.HostID += 10
		}
		after = append(after, r)
	}
	if rapid.Bool().Draw(t, "others") {
		after = append(after, drawReservations(t, "new reservations")...)
	}
	return after
}

// claimed is what reservations ask for, one by one.
func claimed(p *dns.Placement, all []events.Reservation) (claims []dns.Claim) {
	for _, r := range all {
		found, _ := p.ForReservation(r)
		claims = append(claims, found...)
	}
	return claims
}

// wanted is what reservations ask for.
func wanted(t *rapid.T, p *dns.Placement, all []events.Reservation) reconcile.Want {
	return want(rapid.Permutation(claimed(p, all)).Draw(t, "order of claims")...)
}

// drawServer makes a server in any state: doubled rows, wrong TTLs, aliases, rows
// of others, of other sources, in other zones, on their way in or out, and
// written in forms that are not canonical. Half of the records are among those
// that the reservations ask for, since few would be by chance.
func drawServer(t *rapid.T, p *dns.Placement, reservations []events.Reservation) *server {
	s := &server{t: t, served: p.Served}
	claims := claimed(p, reservations)
	forward := []string{"a.lab.example.com", "b.lab.example.com", "a.example.com", "c.lab.example.com", "d.nested.lab.example.com"}
	targets := append([]string{"old.example.com"}, forward...)
	for range rapid.IntRange(0, 14).Draw(t, "rows") {
		addr := netip.MustParseAddr(rapid.SampledFrom(addresses).Draw(t, "address"))
		var r dns.Row
		if len(claims) > 0 && rapid.Bool().Draw(t, "asked for") {
			r.Record = rapid.SampledFrom(claims).Draw(t, "claim").Record
		} else if rapid.Bool().Draw(t, "reverse") {
			r.Record = dns.Record{Name: dns.ReverseName(addr), Type: dns.PTR, Value: rapid.SampledFrom(targets).Draw(t, "target")}
		} else {
			r.Record = dns.Record{Name: rapid.SampledFrom(forward).Draw(t, "name"), Type: dns.TypeOf(addr), Value: addr.String()}
		}
		r.TTL = rapid.SampledFrom([]uint32{600, 600, 300}).Draw(t, "ttl")
		switch rapid.IntRange(0, 7).Draw(t, "mark") {
		case 0, 1:
		case 2:
			r.Owner = ownedBy(key("gone", 9))
		case 3:
			r.Owner = ownedBy(key("us4", 1))
		case 4:
			r.Owner = ownedBy(key("us3", 1), key("us4", 1))
		default:
			r.Owner = ownedBy(key("us3", 1))
		}
		if rapid.IntRange(0, 15).Draw(t, "alias") == 0 {
			r.Type, r.Value, r.Owner = dns.CNAME, "x.example.com", nil
		}
		zone, ok := p.Served.Of(r.Name)
		if !ok {
			continue
		}
		r.Zone = zone.Name
		if _, above, _ := strings.Cut(zone.Name, "."); rapid.IntRange(0, 7).Draw(t, "other zone") == 0 {
			if other, ok := p.Served.Of(above); ok {
				r.Zone = other.Name
			}
		}
		r.Deleting = rapid.IntRange(0, 7).Draw(t, "deleting") == 0
		r.Pending = !r.Deleting && rapid.IntRange(0, 3).Draw(t, "pending") == 0
		name, value := r.Name, r.Value
		if rapid.IntRange(0, 3).Draw(t, "form") == 0 {
			name = strings.ToUpper(r.Name) + "."
			switch r.Type {
			case dns.AAAA:
				value = strings.ToUpper(netip.MustParseAddr(r.Value).StringExpanded())
			case dns.PTR, dns.CNAME:
				value = strings.ToUpper(r.Value) + "."
			}
		}
		s.add(r, name, value)
	}
	return s
}

// shuffle returns the same wants in another order.
func shuffle(t *rapid.T, w reconcile.Want) reconcile.Want {
	return reconcile.Want{
		Sets:      rapid.Permutation(w.Sets).Draw(t, "order of sets"),
		Conflicts: rapid.Permutation(w.Conflicts).Draw(t, "order of conflicts"),
	}
}

// part returns what is wanted of some names.
func part(w reconcile.Want, names ...string) reconcile.Want {
	var some reconcile.Want
	for _, set := range w.Sets {
		if slices.Contains(names, set.Name) {
			some.Sets = append(some.Sets, set)
		}
	}
	for _, conflict := range w.Conflicts {
		if slices.Contains(names, conflict.Name) {
			some.Conflicts = append(some.Conflicts, conflict)
		}
	}
	return some
}

// records returns all that is wanted, contested or not.
func records(w reconcile.Want) []dns.Wanted {
	var all []dns.Wanted
	for _, set := range w.Sets {
		all = append(all, set.Records...)
	}
	for _, conflict := range w.Conflicts {
		all = append(all, conflict.Records...)
	}
	return all
}

// contested are the names and types of which the plan reports a conflict.
func contested(plan reconcile.Changes) map[string]bool {
	all := make(map[string]bool)
	for _, c := range plan.Conflicts {
		all[spot(c.Name, c.Type)] = true
	}
	return all
}

func spot(name string, rtype dns.Type) string { return fmt.Sprintf("%s %s", name, rtype) }
