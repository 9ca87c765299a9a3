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
	Metadata metadata `yaml:"metadata"`
	All      struct {
		Vars struct {
			Metadata metadata `yaml:"metadata"`
		} `yaml:"vars"`
	} `yaml:"all"`
}

type metadata struct {
	UpdatedAt string   `yaml:"updated_at"`
	Source    string   `yaml:"source"`
	Site      string   `yaml:"site"`
	Cabinet   string   `yaml:"cabinet"`
	Total     int      `yaml:"total_count"`
	Sources   []string `yaml:"kea_sources"`
}

var (
	fileName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*-discovery\.yml$`)
	// quotedText is a string as it stands in a file.
	quotedText = regexp.MustCompile(`"[^"\n]*"`)
	harmless   = regexp.MustCompile(`^"[A-Za-z0-9.:,+_ -]*"$`)
	// plainText are keys, numbers and punctuation, and nothing else.
	plainText = regexp.MustCompile(`^[a-z0-9_:?{} \n-]*$`)
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
				events.Reservation{Source: "b", HostID: int64(2*i + 1), Hostname: fmt.Sprintf("%s-ru%d", name, n), IP: addr, MAC: mac,
					IPv6: []netip.Addr{netip.AddrFrom16([16]byte{0x20, byte(n)}).WithZone(mac)}},
				events.Reservation{Source: source, HostID: int64(2*i + 1000), Hostname: name, IPv6: []netip.Addr{netip.AddrFrom16([16]byte{0xfd, 15: byte(n)})}})
		}
		cabinets := patterns.Group(rs).Cabinets
		for name, c := range cabinets {
			for _, layout := range layouts {
				data, err := layout.Render(c, updated)
				if err != nil {
					t.Fatal(err)
				}
				checkFile(t, layout, name, data, c)
			}
		}
	})
}

var layouts = []cabinet.Layout{cabinet.Both, cabinet.List, cabinet.Ansible}

// checkFile checks that a file of a layout gives back a cabinet, whoever reads it.
func checkFile(t *testing.T, layout cabinet.Layout, name string, data []byte, want cabinet.Cabinet) {
	t.Helper()
	if !fileName.MatchString(name) || !filepath.IsLocal(name) || filepath.Base(name) != name {
		t.Errorf("file name %q", name)
	}
	var got file
	if err := yaml.Unmarshal(data, &got); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	m := got.Metadata
	if layout != cabinet.List {
		m = got.All.Vars.Metadata
	}
	if m.Site != want.Site || m.Cabinet != want.Cabinet || m.Total != len(want.Targets) ||
		m.Source != "keastream" || !slices.Equal(m.Sources, want.Sources) {
		t.Errorf("metadata %+v of %+v", m, want)
	}
	if layout != cabinet.Ansible {
		checkList(t, got, want)
	}
	if text := (quotedText).ReplaceAllString(string(data), ""); !plainText.MatchString(text) {
		t.Errorf("without its strings the file is\n%s", text)
	}
	for _, text := range quotedText.FindAllString(string(data), -1) {
		if !harmless.MatchString(text) {
			t.Errorf("the file holds %s", text)
		}
	}
	back, err := cabinet.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cabinet.Content{Targets: shown(layout, want.Targets), Sources: want.Sources}, back, equateAddrs); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func checkList(t *testing.T, got file, want cabinet.Cabinet) {
	t.Helper()
	if len(got.Targets) != len(want.Targets) {
		t.Fatalf("%d lines, want %d", len(got.Targets), len(want.Targets))
	}
	for i, line := range got.Targets {
		w := want.Targets[i]
		if line.IP != w.IP.String() || line.MAC != w.MAC || line.Hostname != w.Hostname ||
			line.RackUnit != w.Units.String() || line.Manufacturer != w.Manufacturer {
			t.Errorf("line %d is %+v, want %+v", i, line, w)
		}
	}
}

// shown returns lines as a layout shows them.
func shown(layout cabinet.Layout, ts []cabinet.Target) []cabinet.Target {
	ts = slices.Clone(ts)
	for i := range ts {
		if layout == cabinet.List {
			ts[i].IP6, ts[i].Sources = netip.Addr{}, ""
		}
	}
	return ts
}

// FuzzParse checks that no file makes Parse panic, and that what it reads can be
// written and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("bmc_targets:\n- ip: 192.0.2.1\n  hostname: A\n  mac: AABB.CCDD.EEFF\n  rack_unit: RU 0009-3\nmetadata: {source: kea_lease_monitor}\n"))
	f.Add([]byte("all: {vars: {metadata: {source: keastream}}, children: {x: {hosts: {a_b: {ip: 192.0.2.1, ip6: '::%x', rack_units: [3, 2], kea_source: 'b,{,a'}}}}}\n"))
	f.Add([]byte("a: &a [*a]\nmetadata: {source: keastream, <<: *a}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		content, err := cabinet.Parse(data)
		if err != nil {
			return
		}
		c := cabinet.Cabinet{Site: "us3", Cabinet: "cab10"}.With(content.Targets, content.Sources)
		for _, layout := range layouts {
			rendered, err := layout.Render(c, updated)
			if err != nil {
				t.Fatal(err)
			}
			back, err := cabinet.Parse(rendered)
			if err != nil {
				t.Fatalf("%v in\n%s", err, rendered)
			}
			want := cabinet.Content{Targets: shown(layout, content.Targets), Sources: content.Sources}
			if diff := cmp.Diff(want, back, equateAddrs, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("read again from layout %s (-want +got):\n%s", layout, diff)
			}
		}
	})
}
