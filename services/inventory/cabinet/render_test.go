package cabinet_test

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

var update = flag.Bool("update", false, "write the golden files anew")

var updated = time.Date(2025, 12, 18, 18, 41, 20, 123456789, time.FixedZone("CET", 3600))

func exampleRack() []events.Reservation {
	second := reserve("us3", "us3-cab10-ru17-idrac", "172.30.19.46", "aa:bb:cc:dd:ee:fe") // one name on two addresses
	own6 := reserve("us3", "us3-cab10-ru17-idrac", "", "aa:bb:cc:dd:ee:ff")
	own6.IPv6 = []netip.Addr{netip.MustParseAddr("2001:db8::17:1"), netip.MustParseAddr("2001:db8::17:2")}
	return []events.Reservation{
		reserve("us3", "us3-cab10-ru17-idrac", "172.30.19.42", "aa:bb:cc:dd:ee:ff"),
		reserve("standby", "us3-cab10-ru17-idrac", "172.30.19.42", "aa:bb:cc:dd:ee:ff"), // has the same subnets
		second, own6,
		reserve("us3", "us3-cab10-ru7-9-ilo", "172.30.19.43", "10:20:30:40:50:59"), // a number to base 60 in YAML 1.1
		reserve("standby", "us3-cab10-svr01-bmc", "172.30.19.44", ""),
		reserve("us3", "us3-cab10-ru38-switch.mgmt.site.com", "172.30.19.45", "02:00:00:00:00:01"),
	}
}

func TestRenderGolden(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		for name, c := range (cabinet.Patterns{}).Group(exampleRack()).Cabinets {
			got, err := layout.Render(c, updated)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", string(layout), name)
			if *update {
				if err := errors.Join(os.MkdirAll(filepath.Dir(golden), 0o755), os.WriteFile(golden, got, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
			checkFile(t, layout, name, got, c)
		}
	}
}

func TestGroupNames(t *testing.T) {
	t.Parallel()
	line := cabinet.Target{IP: netip.MustParseAddr("192.0.2.1"), Hostname: "a", Manufacturer: "A&B Co."}
	for want, c := range map[string]cabinet.Cabinet{
		"us3_cab10":    {Site: "us3", Cabinet: "cab10"},
		"us_east_cab1": {Site: "us-east", Cabinet: "cab1"},
		"_1_cab1":      {Site: "1", Cabinet: "cab1"},
		"_bmc_dell":    {Site: "bmc", Cabinet: "dell"},
		"bmcs_dell":    {Site: "bmcs", Cabinet: "dell"},
		"bmc_a_b_co_":  {Site: "us3", Cabinet: "cab10"},
	} {
		c.Targets = []cabinet.Target{line}
		data, err := cabinet.Ansible.Render(c, updated)
		if err != nil || !strings.Contains(string(data), "\n    "+want+":\n") {
			t.Errorf("no group %s (%v) in\n%s", want, err, data)
		}
	}
}

func TestRenderRefusesTemplates(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{{ x }}", "a {% x", "{#", " #jinja2: variable_start_string:'[['"} {
		good := cabinet.Target{IP: netip.MustParseAddr("192.0.2.1"), Hostname: "a", Manufacturer: "Dell"}
		for i, t2 := range []*cabinet.Target{{Hostname: text}, {MAC: text}, {Manufacturer: text}, {Sources: text}} {
			t2.IP = good.IP
			c := cabinet.Cabinet{Site: "us3", Cabinet: "cab10", Targets: []cabinet.Target{good, *t2}}
			for _, layout := range layouts {
				if layout == cabinet.List && t2.Sources != "" {
					continue // it does not show them
				}
				if _, err := layout.Render(c, updated); err == nil || !strings.Contains(err.Error(), "would be run by Ansible") {
					t.Errorf("field %d, layout %s: %q gives %v", i, layout, text, err)
				}
			}
		}
	}
}

func TestRenderRefusesAnUnknownLayout(t *testing.T) {
	t.Parallel()
	if _, err := cabinet.Layout("table").Render(cabinet.Cabinet{Site: "a", Cabinet: "b"}, updated); err == nil || !strings.Contains(err.Error(), "a-b-discovery.yml") {
		t.Errorf("the error is %v", err)
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			testSame(t, layout)
		})
	}
}

func testSame(t *testing.T, layout cabinet.Layout) {
	c := cabinet.Patterns{}.Group(exampleRack()).Cabinets["us3-cab10-discovery.yml"]
	render := func(c cabinet.Cabinet, at time.Time) string {
		data, err := layout.Render(c, at)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	data := render(c, updated)
	if !cabinet.Same([]byte(data), []byte(render(c, time.Time{}))) {
		t.Error("a file is not the same at another time")
	}
	if cabinet.Digest([]byte(data)) != cabinet.Digest([]byte(render(c, time.Time{}))) {
		t.Error("a file has another digest at another time")
	}
	for what, other := range map[string]string{
		"a line less":      render(cabinet.Cabinet{Site: "us3", Cabinet: "cab10", Targets: c.Targets[1:], Sources: c.Sources}, updated),
		"a source less":    render(cabinet.Cabinet{Site: "us3", Cabinet: "cab10", Targets: c.Targets, Sources: c.Sources[1:]}, updated),
		"a comment":        data + "# by hand\n",
		"a broken time":    strings.Replace(data, `updated_at: "2025-12-18`, `updated_at: {"2025-12-18`, 1),
		"a time elsewhere": `updated_at: "2025-12-18T17:41:20.123456+00:00"` + "\n" + data,
		"no time":          strings.Replace(data, `updated_at: "2025-12-18T17:41:20.123456+00:00"`, "", 1),
		"an empty line":    strings.Replace(data, `  updated_at: "2025-12-18T17:41:20.123456+00:00"`, "", 1),
		"nothing":          "",
		"a time less":      strings.Replace(data, `updated_at: "2025-12-18T17:41:20.123456+00:00"`, "updated_at:", 1),
	} {
		if cabinet.Same([]byte(data), []byte(other)) {
			t.Errorf("a file with %s counts as the same", what)
		}
		if cabinet.Digest([]byte(data)) == cabinet.Digest([]byte(other)) {
			t.Errorf("a file with %s has the same digest", what)
		}
	}
}

func TestParseReadsTheReplacedSystem(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "replaced.yml"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := cabinet.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, target := range got.Targets {
		lines = append(lines, strings.Join([]string{target.Units.String(), target.Hostname, target.IP.String(), target.MAC, target.Manufacturer}, "|"))
	}
	if diff := cmp.Diff([]string{
		"RU 38|us3-cab10-ru38-idrac|172.30.19.41|10:20:30:40:50:59|Dell",
		"RU 17|us3-cab10-ru17-idrac|172.30.19.42|aa:bb:cc:dd:ee:ff|Dell",
		"RU 9-7|us3-cab10-ru7-9-ilo|172.30.19.43||HP",
		"Unknown|us3-cab10-svr01-bmc|172.30.19.44||Unknown",
	}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		`bmc_targets[4]: hostname: "us3-cab10-{{ lookup('pipe', 'id') }}" is not a host name: '{' is not a letter, digit or hyphen`,
		`bmc_targets[5]: ip: "172.30.19" is not an IPv4 address`,
		`bmc_targets[6]: it is not a mapping`,
	}, got.Unusable); diff != "" {
		t.Errorf("unusable (-want +got):\n%s", diff)
	}
	if len(got.Sources) != 0 {
		t.Errorf("sources: %q", got.Sources)
	}
}

func TestParseRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	const good = "bmc_targets: []\nmetadata:\n  source: keastream\n"
	if _, err := cabinet.Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string]string{
		"empty":             "",
		"only a comment":    "# nothing\n",
		"null":              "---\n",
		"text":              "hello",
		"a list":            "- source: keastream\n",
		"not YAML":          "metadata: {source: keastream\n",
		"no metadata":       "bmc_targets: []\n",
		"metadata is text":  "bmc_targets: []\nmetadata: keastream\n",
		"another writer":    "bmc_targets: []\nmetadata:\n  source: ansible\n",
		"no writer":         "bmc_targets: []\nmetadata: {}\n",
		"writer is a list":  "bmc_targets: []\nmetadata:\n  source: [keastream]\n",
		"targets a mapping": "bmc_targets: {}\nmetadata:\n  source: keastream\n",
		"a key twice":       "metadata:\n  source: keastream\nmetadata:\n  source: keastream\n",
		"two writers":       "metadata:\n  source: keastream\n  source: ansible\n",
		"two documents":     good + "---\n" + good,
		"a broken second":   good + "---\n{",
		"odd source":        good + "  kea_sources: ['{{ x }}']\n",
		"sources are text":  good + "  kea_sources: us3\n",
	} {
		if got, err := cabinet.Parse([]byte(data)); !errors.Is(err, cabinet.ErrNotOurs) {
			t.Errorf("%s: Parse gives %+v, %v, want ErrNotOurs", what, got, err)
		}
	}
}

// Each of these nodes has 2 to 4 bytes, and some 300 in a tree.
func TestParseMakesNoLargeTree(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	for _, unit := range []string{"-\n", "- ", "? ", "-\u0085", "x:\n", "[", "{", "? - "} {
		data := "source: keastream\nx:\n" + strings.Repeat(unit, size/len(unit))
		if _, err := cabinet.Parse([]byte(data)); !errors.Is(err, cabinet.ErrNotOurs) || !strings.Contains(err.Error(), "more nodes") {
			t.Errorf("%q: %v", unit, err)
		}
	}
	for _, unit := range []string{",", "x,", "{x: y},"} {
		data := "source: keastream\nx: [" + strings.Repeat(unit, size/len(unit)) + "]"
		if _, err := cabinet.Parse([]byte(data)); !errors.Is(err, cabinet.ErrNotOurs) || !strings.Contains(err.Error(), "more nodes") {
			t.Errorf("%q: %v", unit, err)
		}
	}
}

func TestParseReadsTheLargestFile(t *testing.T) {
	t.Parallel()
	for layout, devices := range map[cabinet.Layout]int{cabinet.List: 20_000, cabinet.Both: 6_000, cabinet.Ansible: 7_000} {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			testLargest(t, layout, devices)
		})
	}
}

func testLargest(t *testing.T, layout cabinet.Layout, devices int) {
	c := cabinet.Cabinet{Site: "us3", Cabinet: "cab10", Sources: []string{"us3"}}
	for i := range devices {
		c.Targets = append(c.Targets, cabinet.Target{
			IP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), MAC: "aa:bb:cc:dd:ee:ff",
			Hostname: fmt.Sprintf("us3-cab10--a-ru17-%d-idrac.lab.site.com", i), Manufacturer: "Dell", Sources: "us3",
			IP6: netip.MustParseAddr("2001:db8::1"), Units: units(17, 17),
		})
	}
	data, err := layout.Render(c, updated)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cabinet.Parse(data)
	if err != nil || len(got.Targets) != devices {
		t.Errorf("%d bytes give %d lines, %v", len(data), len(got.Targets), err)
	}
}

func TestUnusableLinesAreCounted(t *testing.T) {
	t.Parallel()
	data := "metadata: {source: keastream}\nbmc_targets:\n" + strings.Repeat("- x\n", 1000)
	got, err := cabinet.Parse([]byte(data))
	if err != nil || len(got.Unusable) != 20 || got.UnusableCount != 1000 {
		t.Errorf("%d of %d lines, %v", len(got.Unusable), got.UnusableCount, err)
	}
}
