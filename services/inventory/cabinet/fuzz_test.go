package cabinet_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
	"go.yaml.in/yaml/v3"
)

// file is what a reader of the replaced system's format sees.
type file struct {
	Targets []struct {
		IP           string `yaml:"ip"`
		MAC          string `yaml:"mac"`
		Hostname     string `yaml:"hostname"`
		RackUnit     string `yaml:"rack_unit"`
		Manufacturer string `yaml:"manufacturer"`
	} `yaml:"bmc_targets"`
	Metadata struct {
		UpdatedAt string   `yaml:"updated_at"`
		Source    string   `yaml:"source"`
		Site      string   `yaml:"site"`
		Cabinet   string   `yaml:"cabinet"`
		Total     int      `yaml:"total_count"`
		Sources   []string `yaml:"kea_sources"`
	} `yaml:"metadata"`
}

var (
	fileName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*-discovery\.yml$`)
	harmless = regexp.MustCompile(`^[A-Za-z0-9.: -]*$`)
)

// FuzzFiles checks that whatever stands in reservations, every file has a name
// that stays in its directory and is YAML that gives back exactly the lines,
// with no text in it that anything could take for more than a string.
func FuzzFiles(f *testing.F) {
	f.Add("us3-cab10-ru17-idrac", "aa:bb:cc:dd:ee:ff", "us3", uint32(0xac131e2a), "^(?P<site>.*?)-(?P<cabinet>.*)$")
	f.Add("US3-cab10-ru7-9-ilo.site.com.", "10:20:30:40:50:59", "kea", uint32(1), "")
	f.Add("us3-cab10-{{ lookup('pipe', 'id') }}", "no: yes", "a-b_c", uint32(7), "(?P<site>)(?P<cabinet>x)")
	f.Add("../../etc/passwd", "\x00", "a", uint32(0xffffffff), "(?P<site>/)(?P<cabinet>..)")
	f.Fuzz(func(t *testing.T, name, mac, source string, ip uint32, expression string) {
		if events.CheckSource(source) != nil {
			return // no reservation comes from such a source
		}
		patterns, err := cabinet.ParsePatterns([]string{expression})
		if err != nil {
			patterns = cabinet.Patterns{}
		}
		var rs []events.Reservation
		for i := range uint32(3) {
			n := ip + i
			addr := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
			rs = append(rs,
				events.Reservation{Source: source, HostID: int64(2 * i), Hostname: name, IP: addr, MAC: mac},
				events.Reservation{Source: "b", HostID: int64(2*i + 1), Hostname: fmt.Sprintf("%s-ru%d", name, n), IP: addr, MAC: mac})
		}
		cabinets := patterns.Group(rs).Cabinets
		for name, c := range cabinets {
			data, err := cabinet.List.Render(c, updated)
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, name, data, c)
		}
	})
}

func checkFile(t *testing.T, name string, data []byte, want cabinet.Cabinet) {
	t.Helper()
	if !fileName.MatchString(name) || !filepath.IsLocal(name) || filepath.Base(name) != name {
		t.Errorf("file name %q", name)
	}
	var got file
	if err := yaml.Unmarshal(data, &got); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	m := got.Metadata
	if m.Site != want.Site || m.Cabinet != want.Cabinet || m.Total != len(want.Targets) || len(got.Targets) != m.Total ||
		m.Source != "keastream" || !slices.Equal(m.Sources, want.Sources) {
		t.Errorf("metadata %+v of %+v", m, want)
	}
	for i, line := range got.Targets {
		w := want.Targets[i]
		if line.IP != w.IP.String() || line.MAC != w.MAC || line.Hostname != w.Hostname ||
			line.RackUnit != w.Units.String() || line.Manufacturer != w.Manufacturer {
			t.Errorf("line %d is %+v, want %+v", i, line, w)
		}
		for _, text := range []string{line.IP, line.MAC, line.Hostname, line.RackUnit, line.Manufacturer} {
			if !harmless.MatchString(text) {
				t.Errorf("line %d holds %q", i, text)
			}
		}
	}
	back, err := cabinet.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cabinet.Content{Targets: want.Targets, Sources: want.Sources}, back, equateAddrs); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

// FuzzParse checks that no file makes Parse panic, and that what it reads can be
// written and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("bmc_targets:\n- ip: 192.0.2.1\n  hostname: A\n  mac: AABB.CCDD.EEFF\n  rack_unit: RU 0009-3\nmetadata: {source: kea_lease_monitor}\n"))
	f.Add([]byte("a: &a [*a]\nmetadata: {source: keastream, <<: *a}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		content, err := cabinet.Parse(data)
		if err != nil {
			return
		}
		c := cabinet.Cabinet{Site: "us3", Cabinet: "cab10"}.With(content.Targets, content.Sources)
		rendered, err := cabinet.List.Render(c, updated)
		if err != nil {
			t.Fatal(err)
		}
		back, err := cabinet.Parse(rendered)
		if err != nil {
			t.Fatalf("%v in\n%s", err, rendered)
		}
		if diff := cmp.Diff(cabinet.Content{Targets: content.Targets, Sources: content.Sources}, back, equateAddrs, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("read again (-want +got):\n%s", diff)
		}
	})
}
