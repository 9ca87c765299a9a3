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
		reserve("a", "us3 cab10", "192.0.2.3", mac),
		reserve("a", "", "192.0.2.4", mac),
		reserve("a", "us3-cab10-ru3-bmc", "2001:db8::1", mac), // not what an event can say
	})
	want := cabinet.Grouping{
		Cabinets: map[string]cabinet.Cabinet{
			"us3-cab10-discovery.yml": {
				Site: "us3", Cabinet: "cab10", Sources: []string{"a", "b"},
				Targets: []cabinet.Target{
					{IP: netip.MustParseAddr("192.0.2.17"), MAC: mac, Hostname: "us3-cab10-ru17-idrac", Units: units(17, 17), Manufacturer: "Dell", Sources: "a,b"},
					{IP: netip.MustParseAddr("192.0.2.18"), MAC: mac, Hostname: "us3-cab10-ru17-idrac", Units: units(17, 17), Manufacturer: "Dell", Sources: "a"},
					{IP: netip.MustParseAddr("192.0.2.9"), Hostname: "us3-cab10-ru9-bmc", Units: units(9, 9), Manufacturer: "Supermicro", Sources: "a"},
				},
			},
			"us3-cab11-discovery.yml": {
				Site: "us3", Cabinet: "cab11", Sources: []string{"a"},
				Targets: []cabinet.Target{
					{IP: netip.MustParseAddr("198.51.100.1"), MAC: mac, Hostname: "us3-cab11-ru1-ilo.lab", Units: units(1, 1), Manufacturer: "HP", Sources: "a"},
				},
			},
		},
		Unplaced: []cabinet.Unplaced{
			{Hostname: "us3 cab10", Reason: cabinet.NotAHostname},
			{Hostname: "us3-cab10-ru1-{{x}}", Reason: cabinet.Template},
			{Hostname: "us3-cab10-ru3-bmc", Reason: cabinet.NoIPv4},
			{Hostname: "us3-cab11-ru2-ilo", Reason: cabinet.NoIPv4},
			{Hostname: "web1", Reason: cabinet.NoPattern},
		},
	}
	if diff := cmp.Diff(want, got, equateAddrs); diff != "" {
		t.Errorf("Group (-want +got):\n%s", diff)
	}
}

func reserve6(hostname, mac string, addrs ...string) events.Reservation {
	r := reserve("kea", hostname, "", mac)
	for _, a := range addrs {
		r.IPv6 = append(r.IPv6, netip.MustParseAddr(a))
	}
	return r
}

func TestIP6IsThatOfTheName(t *testing.T) {
	t.Parallel()
	const m1, m2, m3 = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
	rs := []events.Reservation{
		reserve("kea", "us3-cab1-ru1-a", "192.0.2.1", m1), reserve6("US3-cab1-ru1-a.", "", "2001:db8::12", "2001:db8::11"),
		reserve("kea", "us3-cab1-ru1-b", "192.0.2.2", m1), reserve6("us3-cab1-ru1-b", m3, "2001:db8::21"), // another MAC address, of nobody else
		reserve("kea", "us3-cab1-ru1-c", "192.0.2.3", m1), reserve("kea", "us3-cab1-ru1-c", "192.0.2.4", m2),
		reserve6("us3-cab1-ru1-c", m2, "2001:db8::32"), reserve6("us3-cab1-ru1-c", "", "2001:db8::33"),
		reserve("kea", "us3-cab1-ru1-d", "192.0.2.5", ""), reserve6("us3-cab1-ru1-d", "", "fe80::1"),
		reserve("kea", "us3-cab1-ru1-e", "192.0.2.6", m1),
		reserve("kea", "us3-cab1-ru1-f", "192.0.2.7", m1), reserve6("us3-cab1-ru1-f", "", "fe80::1%eth0"), // not what an event can say
	}
	want := map[string]string{
		"192.0.2.1": "2001:db8::11", "192.0.2.2": "2001:db8::21", "192.0.2.3": "2001:db8::33", "192.0.2.4": "2001:db8::32",
		"192.0.2.5": "fe80::1", "192.0.2.6": "invalid IP", "192.0.2.7": "invalid IP",
	}
	for range 2 {
		got := make(map[string]string)
		for _, line := range (cabinet.Patterns{}).Group(rs).Cabinets["us3-cab1-discovery.yml"].Targets {
			got[line.IP.String()] = line.IP6.String()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("IPv6 addresses (-want +got):\n%s", diff)
		}
		slices.Reverse(rs)
	}
}

// A text that Ansible would run takes its reservation out of the files, and no
// other.
func TestTemplatesAreParked(t *testing.T) {
	t.Parallel()
	const run = "{{ lookup('pipe', 'touch PWNED') }}"
	good := reserve("kea", "us3-cab1-ru1-ilo", "192.0.2.1", "02:00:00:00:00:01")
	zone := reserve("kea", "us3-cab1-ru4-ilo", "192.0.2.4", "")
	zone.IPv6 = []netip.Addr{netip.MustParseAddr("fe80::1").WithZone(run)}
	rs := []events.Reservation{
		good,
		reserve("kea", "us3-cab1-ru2-ilo-"+run, "192.0.2.2", ""), reserve("kea", "us3-cab1-ru3-ilo", "192.0.2.3", "{% x %}"), zone,
		reserve("kea", "us3-cab1-ru5-ilo{#", "192.0.2.5", ""), reserve("kea", "#jinja2: x", "192.0.2.6", ""),
	}
	g := cabinet.Patterns{}.Group(rs)
	if lines := texts(g.Cabinets["us3-cab1-discovery.yml"].Targets); !slices.Equal(lines, []string{"us3-cab1-ru1-ilo 1 02:00:00:00:00:01"}) {
		t.Errorf("the file holds %q", lines)
	}
	if len(g.Unplaced) != 5 || slices.ContainsFunc(g.Unplaced, func(u cabinet.Unplaced) bool { return u.Reason != cabinet.Template }) {
		t.Errorf("unplaced: %+v", g.Unplaced)
	}
	for _, r := range rs[1:] {
		if _, _, ok := (cabinet.Patterns{}).Line(r); ok {
			t.Errorf("%q has a line", r.Hostname)
		}
		if _, _, ok := (cabinet.Patterns{}).Concerns(r); ok {
			t.Errorf("%q concerns a file", r.Hostname)
		}
	}
}

func TestConcerns(t *testing.T) {
	t.Parallel()
	r := reserve6("US3-cab1-ru1-ilo", "02:00:00:00:00:01", "2001:db8::1", "2001:db8::2")
	id6 := func(addr string) cabinet.ID {
		return cabinet.ID{IP: netip.MustParseAddr(addr), Hostname: "us3-cab1-ru1-ilo"}
	}
	want := []cabinet.ID{id6("2001:db8::1"), id6("2001:db8::2")}
	if file, ids, ok := (cabinet.Patterns{}).Concerns(r); file != "us3-cab1-discovery.yml" || !slices.Equal(ids, want) || !ok {
		t.Errorf("an IPv6 reservation concerns %q, %v, %t", file, ids, ok)
	}
	r.IP = netip.MustParseAddr("192.0.2.1")
	_, line, _ := cabinet.Patterns{}.Line(r)
	if _, ids, ok := (cabinet.Patterns{}).Concerns(r); !slices.Equal(ids, append([]cabinet.ID{line.ID()}, want...)) || !ok {
		t.Errorf("one of both families concerns %v, %t", ids, ok)
	}
	if _, _, ok := (cabinet.Patterns{}).Concerns(reserve("kea", "web1", "192.0.2.1", "")); ok {
		t.Error("a name without a place concerns a file")
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

func withIP(r events.Reservation, ip string) events.Reservation {
	r.IP = netip.MustParseAddr(ip)
	return r
}

func TestLineSaysWhatGroupDoes(t *testing.T) {
	t.Parallel()
	rs := []events.Reservation{
		reserve("a", "US3-cab10-ru17-idrac", "192.0.2.17", "aa:bb:cc:dd:ee:01"),
		reserve6("us3-cab1-ru1-ilo", "", "2001:db8::1"), withIP(reserve6("us3-cab1-ru1-ilo", "", "2001:db8::2", "2001:db8::1"), "192.0.2.9"),
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
