package dns_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// serve returns the zones of a server. One that begins with + keeps PTR records
// by itself.
func serve(names ...string) *dns.Served {
	var all []dns.Zone
	for _, name := range names {
		bare, auto := strings.CutPrefix(name, "+")
		all = append(all, dns.Zone{Name: bare, AutoPTR: auto})
	}
	return dns.NewServed(all)
}

func TestServed(t *testing.T) {
	t.Parallel()
	s := serve("site.com", "+lab.site.com", "2.0.192.in-addr.arpa", "", "site.com")
	all := []dns.Zone{{Name: "2.0.192.in-addr.arpa"}, {Name: "lab.site.com", AutoPTR: true}, {Name: "site.com"}}
	if diff := cmp.Diff(all, s.All()); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{
		"a.site.com": "site.com", "a.lab.site.com": "lab.site.com", "lab.site.com": "lab.site.com", "x.y.lab.site.com": "lab.site.com",
		"xlab.site.com": "site.com", "com": "", "": "", "10.2.0.192.in-addr.arpa": "2.0.192.in-addr.arpa", "10.3.0.192.in-addr.arpa": "",
	} {
		if zone, ok := s.Of(name); zone.Name != want || ok != (want != "") || zone.AutoPTR != (want == "lab.site.com") {
			t.Errorf("zone of %q is %v, want %q", name, zone, want)
		}
	}
	var unknown *dns.Served
	if zone, ok := unknown.Of("a.site.com"); ok || unknown.All() != nil {
		t.Errorf("zones that are not known: %v and %v", zone, unknown.All())
	}
	for _, test := range []struct {
		a, b *dns.Served
		want bool
	}{
		{s, dns.NewServed(all), true}, {s, serve("site.com"), false}, {serve("a.org"), serve("+a.org"), false},
		{nil, nil, true}, {nil, serve(), false},
	} {
		if test.a.Equal(test.b) != test.want || test.b.Equal(test.a) != test.want {
			t.Errorf("%v and %v: equal is not %t", test.a.All(), test.b.All(), test.want)
		}
	}
}

// TestZonesOfTheServerDecide: a name belongs to the longest zone that the server
// has, and is parked if that is none of ours.
func TestZonesOfTheServerDecide(t *testing.T) {
	t.Parallel()
	p := placement(t, "site.com", "12=lab.site.com", "gone.org")
	p.Served = serve("site.com", "office.site.com", "deep.lab.site.com", "com", "org")
	for _, test := range []struct {
		hostname, zone string // zone "" is parked
		reason         dns.Reason
		detail         string
	}{
		{"a", "site.com", "", ""},
		{"a.lab.site.com", "site.com", "", ""}, // the server has no such zone: it is a part of site.com
		{"a.office.site.com", "", dns.OutsideZones, "belongs to the zone office.site.com"},
		{"a.deep.lab.site.com", "", dns.OutsideZones, "belongs to the zone deep.lab.site.com"},
		{"office", "", dns.ProtectedName, "is the name of a zone"},
		{"lab", "", dns.ProtectedName, "is the name of a zone"},
		{"a.gone.org", "", dns.OutsideZones, "has the zone org for it, but not gone.org"},
	} {
		claims, parked := p.ForReservation(reservation(test.hostname, "192.0.2.1", 1))
		zone, ok := p.ZoneOf(dns.CanonicalName(test.hostname))
		if test.zone != "" {
			if len(parked) > 0 || len(claims) != 1 || claims[0].Zone != test.zone {
				t.Errorf("%s: claims %v, parked %v", test.hostname, claims, parked)
			} else if zone, ok := p.ZoneOf(claims[0].Record.Name); !ok || zone != test.zone {
				t.Errorf("the zone of %s is %q", claims[0].Record.Name, zone)
			}
			continue
		}
		if len(claims) > 0 || len(parked) != 1 || parked[0].Reason != test.reason || !strings.Contains(parked[0].Detail, test.detail) {
			t.Errorf("%s: claims %v, parked %v; want %s, %s", test.hostname, claims, parked, test.reason, test.detail)
		}
		if ok {
			t.Errorf("%s is parked, and has the zone %s", test.hostname, zone)
		}
	}
	p.Served = serve("2.0.192.in-addr.arpa")
	if claims, parked := p.ForReservation(reservation("a", "192.0.2.1", 1)); len(claims) > 0 || len(parked) != 1 ||
		!strings.Contains(parked[0].Detail, "create site.com there") {
		t.Errorf("a server without the zone: claims %v, parked %v", claims, parked)
	}
}

// addresses gives the reservation more of them.
func addresses(r events.Reservation, v6 ...string) events.Reservation {
	for _, text := range v6 {
		r.IPv6 = append(r.IPv6, netip.MustParseAddr(text))
	}
	return r
}

func lines(claims []dns.Claim, parked []*dns.ParkedError) (text []string) {
	for _, c := range claims {
		text = append(text, fmt.Sprintf("%s in %s", c.Record, c.Zone))
	}
	for _, p := range parked {
		text = append(text, fmt.Sprintf("%s %s", p.Reason, p.Address))
	}
	return text
}

func TestPTR(t *testing.T) {
	t.Parallel()
	const (
		a    = "a.site.com 600 A 192.0.2.1 in site.com"
		aaaa = "a.site.com 600 AAAA 2001:db8::1 in site.com"
		ptr4 = "1.2.0.192.in-addr.arpa 600 PTR a.site.com in 2.0.192.in-addr.arpa"
		ptr6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa 600 PTR a.site.com in 8.b.d.0.1.0.0.2.ip6.arpa"
		no6  = "no_reverse_zone 2001:db8::1"
	)
	both := []string{"site.com", "192.in-addr.arpa", "2.0.192.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"}
	only4 := []string{"site.com", "2.0.192.in-addr.arpa"}
	auto := []string{"+site.com", "2.0.192.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"}
	for _, test := range []struct {
		policy dns.PTRPolicy
		served []string // nil: not known
		want   []string
	}{
		{dns.PTRAuto, both, []string{a, ptr4, aaaa, ptr6}},
		{dns.PTRAuto, only4, []string{a, ptr4, aaaa}},
		{dns.PTRAuto, auto, []string{a, aaaa}},
		{dns.PTRAuto, nil, []string{a, aaaa}},
		{dns.PTROn, both, []string{a, ptr4, aaaa, ptr6}},
		{dns.PTROn, only4, []string{a, ptr4, aaaa, no6}},
		{dns.PTROn, auto, []string{a, ptr4, aaaa, ptr6}},
		{dns.PTROn, nil, []string{a, aaaa}},
		{dns.PTROff, both, []string{a, aaaa}},
	} {
		p := placement(t, "site.com")
		p.PTR = test.policy
		if test.served != nil {
			p.Served = serve(test.served...)
		}
		got := lines(p.ForReservation(addresses(reservation("a", "192.0.2.1", 1), "2001:db8::1")))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s with %v (-want +got):\n%s", test.policy, test.served, diff)
		}
	}
}

// TestOneBadAddressStopsNoOther: what is wrong with an address parks the address,
// what is wrong with the name parks all.
func TestOneBadAddressStopsNoOther(t *testing.T) {
	t.Parallel()
	p := placement(t, "site.com")
	p.Served = serve("site.com", "2.0.192.in-addr.arpa", "10.in-addr.arpa")
	p.PublicOnly = true
	r := addresses(reservation("a", "10.0.0.1", 1), "::", "::1", "::ffff:10.0.0.2", "2001:db8::1", "fd00::1", "fe80::1", "ff02::1")
	want := []string{
		"a.site.com 600 AAAA 2001:db8::1 in site.com",
		"private_address 10.0.0.1", "unusable_address ::", "unusable_address ::1", "unusable_address ::ffff:10.0.0.2",
		"private_address fd00::1", "private_address fe80::1", "unusable_address ff02::1",
	}
	if diff := cmp.Diff(want, lines(p.ForReservation(r))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.Hostname = "wpad"
	if diff := cmp.Diff([]string{"protected_name invalid IP"}, lines(p.ForReservation(r))); diff != "" {
		t.Errorf("a bad name (-want +got):\n%s", diff)
	}
	p.PublicOnly = false
	r = addresses(reservation("a", "10.0.0.1", 1), "fd00::1")
	want = []string{
		"a.site.com 600 A 10.0.0.1 in site.com", "1.0.0.10.in-addr.arpa 600 PTR a.site.com in 10.in-addr.arpa",
		"a.site.com 600 AAAA fd00::1 in site.com",
	}
	if diff := cmp.Diff(want, lines(p.ForReservation(r))); diff != "" {
		t.Errorf("private addresses inside (-want +got):\n%s", diff)
	}
}

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	p := placement(t, "site.com")
	p.PublicOnly = true
	for ip, public := range map[string]bool{
		"192.0.2.1": true, "172.32.0.1": true, "172.30.19.100": false, "192.168.0.1": false, "169.254.1.1": false,
	} {
		if claims, parked := p.ForReservation(reservation("a", ip, 1)); len(claims) == 1 != public || len(parked) == 0 != public {
			t.Errorf("%s: claims %v, parked %v", ip, claims, parked)
		}
	}
}

// TestAReservationHasOneName: the subnet of IPv4 comes first, that of IPv6 then,
// for all addresses alike.
func TestAReservationHasOneName(t *testing.T) {
	t.Parallel()
	p := placement(t, "site.com", "4=four.site.com", "6=six.site.com")
	for _, test := range []struct {
		subnet4, subnet6 *int64
		want             string
	}{
		{nil, nil, "a.site.com"},
		{new(int64(4)), nil, "a.four.site.com"},
		{nil, new(int64(6)), "a.six.site.com"},
		{new(int64(4)), new(int64(6)), "a.four.site.com"},
		{new(int64(1)), new(int64(6)), "a.six.site.com"},
		{new(int64(4)), new(int64(1)), "a.four.site.com"},
		{new(int64(1)), new(int64(1)), "a.site.com"},
	} {
		r := addresses(reservation("a", "192.0.2.1", 0), "2001:db8::1")
		r.Subnet4, r.Subnet6 = test.subnet4, test.subnet6
		claims, _ := p.ForReservation(r)
		if len(claims) != 2 || slices.ContainsFunc(claims, func(c dns.Claim) bool { return c.Record.Name != test.want }) {
			t.Errorf("want %s, got %v", test.want, claims)
		}
	}
}

func TestPTRPolicyText(t *testing.T) {
	t.Parallel()
	for _, policy := range []dns.PTRPolicy{dns.PTRAuto, dns.PTROn, dns.PTROff} {
		var again dns.PTRPolicy
		if err := again.UnmarshalText([]byte(policy.String())); err != nil || again != policy {
			t.Errorf("%s is read as %s, %v", policy, again, err)
		}
	}
	var p dns.PTRPolicy
	if err := p.UnmarshalText([]byte("yes")); err == nil || !strings.Contains(err.Error(), `"yes" is none of auto, on, off`) {
		t.Errorf("error is %v", err)
	}
}

// TestPlacementProperties: whatever a reservation holds and a server has, each
// address is claimed once or parked once; a record stands in the longest zone
// that the server has for it, which is one of ours or a reverse zone; and each
// PTR record speaks of a record that is claimed too.
func TestPlacementProperties(t *testing.T) {
	t.Parallel()
	names := []string{"site.com", "lab.site.com", "x.lab.site.com", "in-addr.arpa", "2.0.192.in-addr.arpa", "1.2.0.192.in-addr.arpa", "ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"}
	v4 := []string{"192.0.2.1", "192.0.2.2", "10.0.0.1", "127.0.0.1", "0.0.0.0", "198.51.100.1"}
	v6 := []string{"2001:db8::1", "2001:db8::2", "fd00::1", "::", "::1", "::ffff:192.0.2.1"}
	valid := []string{"a", "a.site.com", "a.LAB.site.com.", "a.x.lab.site.com", "a.b.com"}
	invalid := []string{"A.", "x.lab.site.com", "lab", "wpad", "*", "-", "site.com.", "é"}
	// most draws most of a list, so that zones lie in one another.
	most := func(t *rapid.T, label string, all []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 })
	}
	rapid.Check(t, func(t *rapid.T) {
		z, err := dns.ParseZones(most(t, "zone", []string{"site.com", "12=lab.site.com", "b.com"}))
		if err != nil {
			t.Fatal(err)
		}
		p := &dns.Placement{
			Zones: z, TTL: ttl, PublicOnly: rapid.Bool().Draw(t, "public only"),
			PTR: rapid.SampledFrom([]dns.PTRPolicy{dns.PTRAuto, dns.PTROn, dns.PTROff}).Draw(t, "ptr"),
		}
		var served []dns.Zone
		if rapid.IntRange(0, 3).Draw(t, "known") > 0 {
			some := most(t, "served", names)
			if rapid.IntRange(0, 3).Draw(t, "com") == 0 {
				some = append(some, "com")
			}
			for _, name := range some {
				served = append(served, dns.Zone{Name: name, AutoPTR: rapid.Bool().Draw(t, "auto")})
			}
			p.Served = dns.NewServed(served)
		}
		r := reservation(rapid.OneOf(rapid.SampledFrom(valid), rapid.SampledFrom(valid), rapid.SampledFrom(invalid)).Draw(t, "hostname"), rapid.SampledFrom(v4).Draw(t, "ip"), 12)
		r = addresses(r, rapid.SliceOfNDistinct(rapid.SampledFrom(v6), 0, 4, rapid.ID).Draw(t, "ipv6")...)

		claims, parked := p.ForReservation(r)
		if again, _ := p.ForReservation(r); !slices.Equal(claims, again) {
			t.Fatalf("asked twice: %v and %v", claims, again)
		}
		met := make(map[string]int)
		for _, p := range parked {
			if p.Host != r.Key() || p.Detail == "" || !slices.Contains(dns.Reasons(), p.Reason) {
				t.Fatalf("parked without a reason of ours: %+v", p)
			}
			if p.Reason != dns.NoReverseZone {
				met[p.Address.String()]++
			}
		}
		for _, c := range claims {
			checkPlaced(t, p, served, c)
			if c.Record.Type != dns.PTR {
				met[c.Record.Value]++
				continue
			}
			forward, ok := c.Record.Forward()
			if !ok || !slices.ContainsFunc(claims, func(o dns.Claim) bool { return o.Record.Same(forward) }) {
				t.Fatalf("%s speaks of a record that is not claimed: %v", c.Record, claims)
			}
		}
		for _, addr := range r.Addresses() {
			want := 1
			if addr == netip.IPv4Unspecified() || met["invalid IP"] == 1 {
				want = 0
			}
			if met[addr.String()] != want {
				t.Fatalf("%s is met %d times, want %d: %v", addr, met[addr.String()], want, lines(claims, parked))
			}
		}
	})
}

// checkPlaced looks for the zone in another way than Placement: at all of them.
func checkPlaced(t *rapid.T, p *dns.Placement, served []dns.Zone, c dns.Claim) {
	longest := ""
	candidates := p.Zones.All()
	if p.Served != nil {
		candidates = nil
		for _, z := range served {
			candidates = append(candidates, z.Name)
		}
	}
	for _, zone := range candidates {
		if (c.Record.Name == zone || strings.HasSuffix(c.Record.Name, "."+zone)) && len(zone) > len(longest) {
			longest = zone
		}
	}
	if c.Zone != longest || longest == "" {
		t.Fatalf("%s is put into %q, want %q", c.Record, c.Zone, longest)
	}
	if zone, ok := p.ZoneOf(c.Record.Name); !ok || zone != c.Zone {
		t.Fatalf("%s is put into %q, and ZoneOf says %q", c.Record, c.Zone, zone)
	}
	if reverse := c.Record.Type == dns.PTR; reverse != dns.IsReverse(c.Zone) || !reverse && !slices.Contains(p.Zones.All(), c.Zone) {
		t.Fatalf("%s is put into %q", c.Record, c.Zone)
	}
	if name := c.Record.Name; c.Record.Type != dns.PTR && (name == c.Zone || strings.HasPrefix(name, "wpad.") || strings.HasPrefix(name, "*")) {
		t.Fatalf("%s is protected", name)
	}
}
