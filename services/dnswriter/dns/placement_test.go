package dns_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

const ttl = 600

func reservation(hostname, ip string, subnet int64) events.Reservation {
	r := events.Reservation{
		Source: "us3", HostID: 5, Hostname: hostname,
		IdentifierType: "hw-address", Identifier: "aabbccddeeff", Subnet4: new(subnet),
	}
	if ip != "" {
		r.IP = netip.MustParseAddr(ip)
	}
	return r
}

// placement puts names into the zones of a setting, as long as nothing is known
// of the server.
func placement(t testing.TB, settings ...string) *dns.Placement {
	t.Helper()
	return &dns.Placement{Zones: zones(t, settings...), TTL: ttl}
}

func TestForReservation(t *testing.T) {
	t.Parallel()
	p := placement(t, "site.com", "12=lab.site.com", "other.org")
	const ip = "172.30.19.100"
	for hostname, test := range map[string]struct {
		subnet     int64
		name, zone string
	}{
		"US3-Cab10-ru20-idrac": {1, "us3-cab10-ru20-idrac.site.com", "site.com"},
		"a":                    {12, "a.lab.site.com", "lab.site.com"},
		"7":                    {12, "7.lab.site.com", "lab.site.com"},
		"b.lab.site.com":       {1, "b.lab.site.com", "lab.site.com"},
		"B.Site.com.":          {12, "b.site.com", "site.com"},
		"x.y.other.org":        {12, "x.y.other.org", "other.org"},
	} {
		got, parked := p.ForReservation(reservation(hostname, ip, test.subnet))
		want := []dns.Claim{{
			Record: dns.Record{Name: test.name, Type: dns.A, Value: ip, TTL: ttl},
			Zone:   test.zone,
			Host:   events.Key{Source: "us3", HostID: 5},
			Device: dns.Device{Type: "hw-address", Identifier: "aabbccddeeff"},
		}}
		if diff := cmp.Diff(want, got); len(parked) > 0 || diff != "" {
			t.Errorf("%s: parked %v (-want +got):\n%s", hostname, parked, diff)
		}
	}
}

func TestReservationsThatAskForNothing(t *testing.T) {
	t.Parallel()
	p := placement(t, "site.com")
	for _, r := range []events.Reservation{
		reservation("", "10.0.0.1", 1),
		reservation("a", "", 1),
		reservation("not valid", "", 1),
		reservation("a", "0.0.0.0", 1),
	} {
		if claims, parked := p.ForReservation(r); len(claims)+len(parked) > 0 {
			t.Errorf("%+v: claims %v, parked %v", r, claims, parked)
		}
	}
}

func TestParkedReservations(t *testing.T) {
	t.Parallel()
	z := placement(t, "site.com", "lab.site.com")
	without := placement(t, "12=lab.site.com")
	long := strings.Repeat("a", 63)
	for _, test := range []struct {
		placement *dns.Placement
		hostname  string
		ip        string
		want      dns.Reason
	}{
		{z, "a b", "10.0.0.1", dns.InvalidName},
		{z, "x' OR '1'='1", "10.0.0.1", dns.InvalidName},
		{z, "_acme-challenge", "10.0.0.1", dns.InvalidName},
		{z, "a..site.com", "10.0.0.1", dns.InvalidName},
		{z, ".", "10.0.0.1", dns.InvalidName},
		{z, "bücher", "10.0.0.1", dns.InvalidName},
		{z, "10.0.0.1", "10.0.0.1", dns.InvalidName},
		{z, long + "a", "10.0.0.1", dns.InvalidName},
		{z, strings.Repeat(long+".", 4) + "site.com", "10.0.0.1", dns.InvalidName},
		{z, "a.example.com", "10.0.0.1", dns.OutsideZones},
		{z, "a.", "10.0.0.1", dns.OutsideZones},
		{z, "a.evilsite.com", "10.0.0.1", dns.OutsideZones},
		{without, "a.site.com", "10.0.0.1", dns.OutsideZones},
		{without, "a", "10.0.0.1", dns.NoZone},
		{&dns.Placement{}, "a", "10.0.0.1", dns.NoZone},
		{z, "*", "10.0.0.1", dns.ProtectedName},
		{z, "*.site.com", "10.0.0.1", dns.ProtectedName},
		{z, "wpad", "10.0.0.1", dns.ProtectedName},
		{z, "WPAD.x.site.com", "10.0.0.1", dns.ProtectedName},
		{z, "isatap.site.com.", "10.0.0.1", dns.ProtectedName},
		{z, "site.com", "10.0.0.1", dns.ProtectedName},
		{z, "lab", "10.0.0.1", dns.ProtectedName}, // lab.site.com is a zone
		{z, "a", "127.0.0.1", dns.UnusableAddress},
		{z, "a", "224.0.0.1", dns.UnusableAddress},
		{z, "a", "255.255.255.255", dns.UnusableAddress},
	} {
		claims, parked := test.placement.ForReservation(reservation(test.hostname, test.ip, 1))
		if len(parked) != 1 || parked[0].Reason != test.want || len(claims) > 0 {
			t.Errorf("%.40q %s: claims %v, parked %v; want %s", test.hostname, test.ip, claims, parked, test.want)
			continue
		}
		if parked[0].Host != (events.Key{Source: "us3", HostID: 5}) || len(parked[0].Error()) > 300 {
			t.Errorf("%.40q: the error does not name its reservation, or is long: %v", test.hostname, parked[0])
		}
	}
}

func TestZoneTooLongForAName(t *testing.T) {
	t.Parallel()
	p := placement(t, strings.Repeat(strings.Repeat("z", 63)+".", 3)+"org")
	_, parked := p.ForReservation(reservation(strings.Repeat("a", 60), "10.0.0.1", 1))
	if len(parked) != 1 || parked[0].Reason != dns.InvalidName {
		t.Errorf("parked %v", parked)
	}
}

// FuzzForReservation: whatever a hostname holds, what is asked for is a host
// name inside a zone and not at its top, or nothing.
func FuzzForReservation(f *testing.F) {
	for _, hostname := range []string{"a", "a.site.com", "a.", "*", "x' OR '1'='1", "lab", "wpad.lab.site.com", "\x00", "ä.site.com"} {
		f.Add(hostname, int64(12))
	}
	p := placement(f, "site.com", "12=lab.site.com")
	f.Fuzz(func(t *testing.T, hostname string, subnet int64) {
		claims, parked := p.ForReservation(reservation(hostname, "10.0.0.1", subnet))
		if len(parked) > 0 || hostname == "" {
			if len(claims) > 0 || len(parked) > 1 {
				t.Fatalf("claims %v, parked %v", claims, parked)
			}
			return
		}
		if len(claims) != 1 {
			t.Fatalf("claims %v", claims)
		}
		name, zone := claims[0].Record.Name, claims[0].Zone
		canonical, err := events.CanonicalHostname(name)
		if err != nil || canonical != name || name != dns.CanonicalName(name) {
			t.Errorf("%q is not canonical: %v", name, err)
		}
		if found, ok := p.ZoneOf(name); !ok || found != zone || !strings.HasSuffix(name, "."+zone) {
			t.Errorf("%q is not in zone %q", name, zone)
		}
	})
}
