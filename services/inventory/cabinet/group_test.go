package cabinet_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// reserve makes a reservation with a row number of its own for each call.
func reserve(source, hostname, ip, mac string) events.Reservation {
	r := events.Reservation{Source: source, Hostname: hostname, MAC: mac, Identifier: hostname + ip, IdentifierType: "flex-id"}
	if ip != "" {
		r.IP = netip.MustParseAddr(ip)
	}
	return r
}

// equateAddrs lets cmp compare addresses, whose fields it cannot see.
var equateAddrs = cmpopts.EquateComparable(netip.Addr{})

func TestGroup(t *testing.T) {
	t.Parallel()
	const mac = "aa:bb:cc:dd:ee:01"
	got := cabinet.Patterns{}.Group([]events.Reservation{
		reserve("b", "US3-cab10-ru17-idrac.", "192.0.2.17", mac),
		reserve("a", "us3-cab10-ru17-idrac", "192.0.2.17", mac),    // the same line from another database
		reserve("a", "us3-cab10-ru17-idrac", "192.0.2.18", mac),    // one name on two addresses
		reserve("a", "us3-cab10-ru17-idrac", "", mac),              // the row of its IPv6 address
		reserve("a", "us3-cab10-ru9-bmc", "192.0.2.9", "AA:BB"),    // not a MAC address
		reserve("a", "us3-cab11-ru1-ilo.lab", "198.51.100.1", mac), // another cabinet
		reserve("a", "us3-cab11-ru2-ilo", "", mac),
		reserve("a", "web1", "192.0.2.1", mac),
		reserve("b", "web1", "192.0.2.2", mac),
		reserve("a", "us3-cab10-ru1-{{x}}", "192.0.2.3", mac),
		reserve("a", "", "192.0.2.4", mac),
		reserve("a", "us3-cab10-ru3-bmc", "2001:db8::1", mac), // not what an event can say
	})
	want := cabinet.Grouping{
		Cabinets: map[string]cabinet.Cabinet{
			"us3-cab10-discovery.yml": {
				Site: "us3", Cabinet: "cab10", Sources: []string{"a", "b"},
				Targets: []cabinet.Target{
					{IP: netip.MustParseAddr("192.0.2.17"), MAC: mac, Hostname: "us3-cab10-ru17-idrac", Units: units(17, 17), Manufacturer: "Dell"},
					{IP: netip.MustParseAddr("192.0.2.18"), MAC: mac, Hostname: "us3-cab10-ru17-idrac", Units: units(17, 17), Manufacturer: "Dell"},
					{IP: netip.MustParseAddr("192.0.2.9"), Hostname: "us3-cab10-ru9-bmc", Units: units(9, 9), Manufacturer: "Supermicro"},
				},
			},
			"us3-cab11-discovery.yml": {
				Site: "us3", Cabinet: "cab11", Sources: []string{"a"},
				Targets: []cabinet.Target{
					{IP: netip.MustParseAddr("198.51.100.1"), MAC: mac, Hostname: "us3-cab11-ru1-ilo.lab", Units: units(1, 1), Manufacturer: "HP"},
				},
			},
		},
		Unplaced: []cabinet.Unplaced{
			{Hostname: "us3-cab10-ru1-{{x}}", Reason: cabinet.NotAHostname},
			{Hostname: "us3-cab10-ru3-bmc", Reason: cabinet.NoIPv4},
			{Hostname: "us3-cab11-ru2-ilo", Reason: cabinet.NoIPv4},
			{Hostname: "web1", Reason: cabinet.NoPattern},
		},
	}
	if diff := cmp.Diff(want, got, equateAddrs); diff != "" {
		t.Errorf("Group (-want +got):\n%s", diff)
	}
}

func TestGroupGivesAFileToOneCabinet(t *testing.T) {
	t.Parallel()
	patterns, err := cabinet.ParsePatterns([]string{`^(?P<site>a-b)-(?P<cabinet>c)-x`, `^(?P<site>a)-(?P<cabinet>b-c)-`})
	if err != nil {
		t.Fatal(err)
	}
	rs := []events.Reservation{
		reserve("kea", "a-b-c-x1", "192.0.2.1", ""),
		reserve("kea", "a-b-c-y1", "192.0.2.2", ""),
	}
	for range 2 {
		got := patterns.Group(rs)
		if c := got.Cabinets["a-b-c-discovery.yml"]; len(got.Cabinets) != 1 || c.Site != "a" || c.Cabinet != "b-c" || len(c.Targets) != 1 {
			t.Errorf("the file holds %+v", got.Cabinets)
		}
		if !slices.Equal(got.Unplaced, []cabinet.Unplaced{{Hostname: "a-b-c-x1", Reason: cabinet.FileTaken}}) {
			t.Errorf("unplaced: %+v", got.Unplaced)
		}
		slices.Reverse(rs) // the order of the rows does not matter
	}
}

func TestOrderOfLines(t *testing.T) {
	t.Parallel()
	var rs []events.Reservation
	for name, ip := range map[string]string{
		"us3-cab1-ru9-bmc": "192.0.2.1", "us3-cab1-ru10-bmc": "192.0.2.2", "us3-cab1-ru7-12-bmc": "192.0.2.3",
		"us3-cab1-ru12-bmc": "192.0.2.4", "us3-cab1-a-bmc": "192.0.2.5", "us3-cab1-b-bmc": "192.0.2.6", "us3-cab1-ru0-bmc": "192.0.2.7",
	} {
		rs = append(rs, reserve("kea", name, ip, ""))
	}
	rs = append(rs, reserve("kea", "us3-cab1-ru9-bmc", "192.0.2.10", ""), reserve("kea", "us3-cab1-ru9-bmc", "192.0.2.1", "02:00:00:00:00:01"))
	var got []string
	for _, line := range (cabinet.Patterns{}).Group(rs).Cabinets["us3-cab1-discovery.yml"].Targets {
		got = append(got, line.Units.String()+" "+line.Hostname+" "+line.IP.String())
	}
	want := []string{
		"RU 12 us3-cab1-ru12-bmc 192.0.2.4",
		"RU 12-7 us3-cab1-ru7-12-bmc 192.0.2.3",
		"RU 10 us3-cab1-ru10-bmc 192.0.2.2",
		"RU 9 us3-cab1-ru9-bmc 192.0.2.1",
		"RU 9 us3-cab1-ru9-bmc 192.0.2.1",
		"RU 9 us3-cab1-ru9-bmc 192.0.2.10",
		"RU 0 us3-cab1-ru0-bmc 192.0.2.7",
		"Unknown us3-cab1-a-bmc 192.0.2.5",
		"Unknown us3-cab1-b-bmc 192.0.2.6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestLineSaysWhatGroupDoes(t *testing.T) {
	t.Parallel()
	rs := []events.Reservation{
		reserve("a", "US3-cab10-ru17-idrac", "192.0.2.17", "aa:bb:cc:dd:ee:01"),
		reserve("a", "us3-cab11-ru2-ilo", "", ""), reserve("a", "web1", "192.0.2.1", ""), reserve("a", "a b", "192.0.2.3", ""), reserve("a", "", "192.0.2.4", ""),
	}
	for _, r := range rs {
		file, line, ok := cabinet.Patterns{}.Line(r)
		grouped := cabinet.Patterns{}.Group([]events.Reservation{r}).Cabinets
		if ok != (len(grouped) == 1) || ok && grouped[file].Targets[0] != line {
			t.Errorf("Line(%q) = %q, %+v, %t; Group gives %+v", r.Hostname, file, line, ok, grouped)
		}
	}
}
