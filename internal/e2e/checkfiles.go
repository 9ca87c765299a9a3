package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cabinetFile is a file of layout both, as a playbook reads it, and Ansible.
type cabinetFile struct {
	Targets []struct {
		IP       string `yaml:"ip"`
		MAC      string `yaml:"mac"`
		Hostname string `yaml:"hostname"`
		RackUnit string `yaml:"rack_unit"`
	} `yaml:"bmc_targets"`
	All struct {
		Vars struct {
			Metadata struct {
				Source  string `yaml:"source"`
				Site    string `yaml:"site"`
				Cabinet string `yaml:"cabinet"`
				Total   int    `yaml:"total_count"`
			} `yaml:"metadata"`
		} `yaml:"vars"`
		Children map[string]struct {
			Hosts map[string]struct {
				AnsibleHost string `yaml:"ansible_host"`
			} `yaml:"hosts"`
		} `yaml:"children"`
	} `yaml:"all"`
}

// hosts returns "ip hostname" for each host of the inventory, in the group of the
// cabinet. A second host of a name has its address behind an underscore.
func (f cabinetFile) hosts() (all []string) {
	m := f.All.Vars.Metadata
	for key, h := range f.All.Children[m.Site+"_"+m.Cabinet].Hosts {
		name, _, _ := strings.Cut(key, "_")
		label, _, _ := strings.Cut(name, ".")
		all = append(all, h.AnsibleHost+" "+label)
	}
	slices.Sort(all)
	return all
}

var (
	placed   = regexp.MustCompile(`^([a-z0-9]+(?:-+[a-z0-9]+)*?)-(cab[0-9]+)-`)
	rackUnit = regexp.MustCompile(`ru([0-9]+)(?:-([0-9]+))?`)
)

// checkFiles compares the cabinet files with the rows.
func (c *Checker) checkFiles(hosts []host) (errs []error) {
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf("files: "+format, args...)) }

	wanted := make(map[string][]string) // file -> "ip hostname", sorted
	for _, h := range hosts {
		name := strings.TrimSuffix(strings.ToLower(h.hostname), ".")
		m := placed.FindStringSubmatch(name)
		if m == nil || !validName.MatchString(name) || !h.ip.IsValid() {
			continue
		}
		file := m[1] + "-" + m[2] + "-discovery.yml"
		label, _, _ := strings.Cut(name, ".")
		wanted[file] = append(wanted[file], h.ip.String()+" "+label)
	}
	paths, err := filepath.Glob(filepath.Join(c.Dir, "*"))
	if err != nil {
		return []error{err}
	}
	for _, path := range paths {
		name := filepath.Base(path)
		data, err := os.ReadFile(path)
		if err != nil {
			report("%w", err)
			continue
		}
		var f cabinetFile
		if err := yaml.Unmarshal(data, &f); err != nil {
			report("%s: %w", name, err)
			continue
		}
		metadata := f.All.Vars.Metadata
		if metadata.Source != "keastream" {
			continue // not ours
		}
		want := wanted[name]
		delete(wanted, name)
		var got []string
		last := 1 << 30
		for _, t := range f.Targets {
			label, _, _ := strings.Cut(t.Hostname, ".")
			got = append(got, t.IP+" "+label)
			unit := highestUnit(label)
			if unit > last {
				report("%s: %s stands below unit %d", name, t.Hostname, last)
			}
			last = unit
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			report("%s lists %v, want %v", name, got, want)
		}
		if hosts := f.hosts(); !slices.Equal(hosts, want) {
			report("%s has the hosts %v, want %v", name, hosts, want)
		}
		if metadata.Total != len(f.Targets) || name != metadata.Site+"-"+metadata.Cabinet+"-discovery.yml" {
			report("%s has the metadata %+v", name, metadata)
		}
	}
	for name, want := range wanted {
		report("%s is missing, want %v", name, want)
	}
	return errs
}

// highestUnit returns the rack unit that a name is sorted by, -1 for none.
func highestUnit(name string) int {
	m := rackUnit.FindStringSubmatch(name)
	if m == nil {
		return -1
	}
	low, _ := strconv.Atoi(m[1])
	high, _ := strconv.Atoi(m[2])
	return max(low, high)
}
