package cabinet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// These tests ask the programs that read the files: Ansible, PyYAML and yamllint.
// They take seconds to start, so each reads the files of very many reservations
// at once.

// tool runs a program of deploy/debian-dependencies.sh.
func tool(t *testing.T, name string, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: install it with make deps", err)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &out, &errs
	config := filepath.Join(cmd.Dir, "ansible.cfg") // empty: that of this machine does not count
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+cmd.Dir, "ANSIBLE_CONFIG="+config, "ANSIBLE_LOCAL_TEMP="+cmd.Dir,
		"ANSIBLE_NOCOLOR=1", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=1")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes(), errs.String()
}

// loadAll has PyYAML load every file of a directory.
func loadAll(t *testing.T, dir string) map[string]map[string]any {
	t.Helper()
	out, _ := tool(t, "python3", "-c", `import glob, json, os, sys, yaml
print(json.dumps({os.path.basename(p): yaml.safe_load(open(p, encoding="utf-8")) for p in glob.glob(sys.argv[1] + "/*")}))`, dir)
	var files map[string]map[string]any
	if err := json.Unmarshal(out, &files); err != nil {
		t.Fatal(err)
	}
	return files
}

// writeAll writes the files of cabinets to a directory.
func writeAll(t *testing.T, layout cabinet.Layout, cabinets map[string]cabinet.Cabinet) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, c := range cabinets {
		data, err := layout.Render(c, updated)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// anyPattern takes names of places that a reader of YAML could mistake.
const anyPattern = `^(?P<site>[a-z0-9-]+)-c(?P<cabinet>[a-z0-9]+)(?:-ru(?P<ru>[0-9]+)(?:-(?P<ru_end>[0-9]+)\b)?)?(?:.*-v(?P<vendor>[a-z0-9]+))?`

// draw makes reservations by chance, hostile ones among them.
func draw(rnd *rand.Rand, n int) []events.Reservation {
	pick := func(texts ...string) string { return texts[rnd.IntN(len(texts))] }
	sites := []string{"no", "yes", "null", "true", "on", "1e3", "0x1f", "12", "1-2", "all", "bmc", "us3", "us-east-1", "localhost", "nan", "ungrouped", "a"}
	makers := []string{"-idrac", "-ilo", "-bmc", "-vno", "-v1e3", "-vnull", "-x", ""}
	odd := []string{
		"{{ lookup('pipe', 'touch PWNED') }}", "{% raw %}", "{#", "#jinja2: x", "\"", "\\", "\n  ansible_connection: local", ": ", " #", "&a", "*a", "!unsafe x",
		"\x00", "\x85", "\u2028", "é", "[1:9]", "../..", "%", "a_b", "'",
	}
	name := func() string {
		s := pick(sites...) + "-c" + pick("ab10", "1", "no", "e9")
		if rnd.IntN(4) > 0 {
			s += fmt.Sprintf("-ru%d", rnd.IntN(60))
			if rnd.IntN(3) == 0 {
				s += fmt.Sprintf("-%d", rnd.IntN(60))
			}
		}
		s += pick(makers...)
		switch rnd.IntN(12) {
		case 0:
			s += pick(odd...)
		case 1:
			s = pick(odd...) + s
		case 2:
			s += ".lab.example"
		case 3:
			s += "." + strings.Repeat("long-label-of-a-domain.", 9) + "x"
		case 4:
			s = strings.ToUpper(s) + "."
		}
		return s
	}
	mac := func() string {
		switch rnd.IntN(8) {
		case 0:
			return pick(odd...)
		case 1:
			return pick("", "no", "10:20:30", "1e3", "AA:BB:CC:DD:EE:FF")
		case 2:
			return fmt.Sprintf("%02d:%02d:%02d:%02d:%02d:%02d", 10+rnd.IntN(50), rnd.IntN(60), rnd.IntN(60), rnd.IntN(60), rnd.IntN(60), rnd.IntN(60))
		}
		return fmt.Sprintf("02:00:00:00:00:%02x", rnd.IntN(256))
	}
	var rs []events.Reservation
	for i := range n {
		r := events.Reservation{Source: pick("no", "1e3", "us3", "a-b_c", "12"), HostID: int64(i), Hostname: name(), MAC: mac()}
		if rnd.IntN(5) > 0 {
			r.IP = netip.AddrFrom4([4]byte{byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		}
		if rnd.IntN(3) == 0 {
			r.IPv6 = []netip.Addr{netip.AddrFrom16([16]byte{0x20, 0x01, 10: byte(rnd.IntN(3)), 15: byte(rnd.IntN(256))})}
		}
		rs = append(rs, r)
		if rnd.IntN(10) == 0 && r.IP.IsValid() {
			r.Source = "standby" // another database with the same subnet
			rs = append(rs, r)
		}
	}
	return rs
}

func TestToolsReadBackWhatIsReserved(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	patterns, err := cabinet.ParsePatterns([]string{anyPattern})
	if err != nil {
		t.Fatal(err)
	}
	rs := draw(rand.New(rand.NewPCG(seed, 0)), 600)
	cabinets := patterns.Group(rs).Cabinets
	checkReserved(t, patterns, rs, cabinets)

	for _, layout := range layouts {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			dir := writeAll(t, layout, cabinets)
			files := loadAll(t, dir)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(cabinets)), slices.Sorted(maps.Keys(files))); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			for name, c := range cabinets {
				if _, hasList := files[name]["bmc_targets"]; !hasList && layout == cabinet.Ansible {
					continue
				}
				if diff := cmp.Diff(wantList(c), files[name]["bmc_targets"]); diff != "" {
					t.Errorf("PyYAML reads from %s (-want +got):\n%s", name, diff)
				}
			}
			if layout != cabinet.List {
				checkAnsible(t, layout, dir, cabinets)
			}
			lint(t, layout, dir, `, line-length: disable`)
		})
	}
}

// checkReserved checks, without a word of the code under test but for the place,
// that just the reservations that can have a line have one.
func checkReserved(t *testing.T, patterns cabinet.Patterns, rs []events.Reservation, cabinets map[string]cabinet.Cabinet) {
	t.Helper()
	type line struct{ file, hostname, ip string }
	want, got := make(map[line]bool), make(map[line]bool)
	for _, r := range rs {
		name, err := events.CanonicalHostname(r.Hostname)
		template := strings.Contains(r.MAC, "{") || strings.HasPrefix(r.MAC, "#")
		if place, ok := patterns.Place(name); err == nil && ok && r.IP.IsValid() && !template {
			want[line{place.File(), name, r.IP.String()}] = true
		}
	}
	for name, c := range cabinets {
		for _, target := range c.Targets {
			got[line{name, target.Hostname, target.IP.String()}] = true
		}
	}
	if len(want) < len(rs)/3 {
		t.Errorf("only %d of %d reservations have a line: the draw shows little", len(want), len(rs))
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(line{})); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// wantList is bmc_targets as JSON reads it.
func wantList(c cabinet.Cabinet) any {
	var list []any
	for _, target := range c.Targets {
		list = append(list, map[string]any{
			"ip": target.IP.String(), "mac": target.MAC, "hostname": target.Hostname,
			"rack_unit": target.Units.String(), "manufacturer": target.Manufacturer,
		})
	}
	return list
}

// checkAnsible checks that Ansible shows exactly the hosts of the cabinets, with
// all variables and in their groups.
func checkAnsible(t *testing.T, layout cabinet.Layout, dir string, cabinets map[string]cabinet.Cabinet) {
	t.Helper()
	out, warnings := tool(t, "ansible-inventory", "-i", dir, "--list")
	var got map[string]struct {
		Hosts    []string
		Hostvars map[string]map[string]any
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	hosts := make(map[string]map[string]any)
	groups := make(map[string][]string)
	for _, c := range cabinets {
		for key, target := range inventoryKeys(c) {
			hosts[key] = wantVariables(c, target)
			for _, group := range []string{wantGroup(c), "bmc_" + strings.ToLower(target.Manufacturer)} {
				groups[group] = append(groups[group], key)
			}
		}
	}
	if diff := cmp.Diff(hosts, got["_meta"].Hostvars); diff != "" {
		t.Errorf("hosts (-want +got):\n%.5000s", diff)
	}
	for name, group := range got {
		if name == "_meta" || name == "all" {
			continue
		}
		slices.Sort(group.Hosts)
		slices.Sort(groups[name])
		if diff := cmp.Diff(groups[name], group.Hosts); diff != "" {
			t.Errorf("group %s (-want +got):\n%s", name, diff)
		}
		delete(groups, name)
	}
	for name := range groups {
		t.Errorf("there is no group %s", name)
	}
	for line := range strings.Lines(warnings) {
		if layout != cabinet.Both || !strings.Contains(line, "Skipping 'bmc_targets'") && !strings.Contains(line, "definition") {
			t.Errorf("Ansible warns: %s", line)
		}
	}
}

// inventoryKeys are the names by which Ansible knows the lines of a cabinet.
func inventoryKeys(c cabinet.Cabinet) map[string]cabinet.Target {
	keys := make(map[string]cabinet.Target)
	for _, target := range c.Targets {
		key := target.Hostname
		for _, more := range []string{target.IP.String(), strings.ReplaceAll(target.MAC, ":", "")} {
			if _, taken := keys[key]; taken {
				key += "_" + more
			}
		}
		keys[key] = target
	}
	return keys
}

func wantGroup(c cabinet.Cabinet) string {
	name := strings.ReplaceAll(c.Site+"_"+c.Cabinet, "-", "_")
	if c.Site == "bmc" || strings.ContainsAny(name[:1], "0123456789") {
		return "_" + name
	}
	return name
}

// wantVariables are the variables of a host as JSON reads them.
func wantVariables(c cabinet.Cabinet, target cabinet.Target) map[string]any {
	var sources []any
	for _, s := range c.Sources {
		sources = append(sources, s)
	}
	vars := map[string]any{
		"ansible_host": target.IP.String(), "ip": target.IP.String(), "manufacturer": target.Manufacturer, "kea_source": target.Sources,
		"metadata": map[string]any{
			"updated_at": "2025-12-18T17:41:20.123456+00:00", "source": "keastream", "site": c.Site, "cabinet": c.Cabinet,
			"total_count": float64(len(c.Targets)), "kea_sources": sources,
		},
	}
	if target.IP6.IsValid() {
		vars["ip6"] = target.IP6.String()
	}
	if target.MAC != "" {
		vars["mac"] = target.MAC
	}
	if target.Units.Known {
		var units []any
		for n := target.Units.High; n >= target.Units.Low; n-- {
			units = append(units, float64(n))
		}
		vars["rack_unit"], vars["rack_units"] = units[0], units
	}
	return vars
}

// lint has yamllint look at a directory, by its default rules. The replaced
// system's format indents no list and begins without ---.
func lint(t *testing.T, layout cabinet.Layout, dir, more string) {
	t.Helper()
	rules := "truthy: {check-keys: true}" + more
	if layout == cabinet.List {
		rules += ", document-start: disable, indentation: {spaces: 2, indent-sequences: false}"
	}
	tool(t, "yamllint", "--strict", "-d", "{extends: default, rules: {"+rules+"}}", dir)
}

func TestToolsReadTheGoldenFiles(t *testing.T) {
	t.Parallel()
	cabinets := cabinet.Patterns{}.Group(exampleRack()).Cabinets
	for _, layout := range layouts {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.Abs(filepath.Join("testdata", string(layout)))
			if err != nil {
				t.Fatal(err)
			}
			lint(t, layout, dir, "")
			if layout != cabinet.List {
				checkAnsible(t, layout, dir, cabinets)
			}
		})
	}
}
