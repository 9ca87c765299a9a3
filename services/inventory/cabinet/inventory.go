package cabinet

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// inventory makes the group all of an Ansible inventory.
//
// Ansible reads the files of a directory as one inventory, in which the variables
// of all are those of the last file. So the group of the cabinet has its metadata
// too: that is what its hosts see.
func inventory(c Cabinet, metadata *yaml.Node) *yaml.Node {
	hosts := mapping()
	makers := mapping()
	members := make(map[string]*yaml.Node) // hosts by group of makers
	keys := make(map[string]bool, len(c.Targets))
	for _, t := range c.Targets {
		key := hostKey(t, keys)
		hosts.Content = append(hosts.Content, quoted(key), hostVariables(t))
		group := makerGroup(t.Manufacturer)
		if members[group] == nil {
			members[group] = mapping()
			makers.Content = append(makers.Content, mapping(group, mapping("hosts", members[group])).Content...)
		}
		members[group].Content = append(members[group].Content, quoted(key), &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle})
	}
	children := mapping(c.group(), mapping("hosts", hosts, "vars", mapping("metadata", metadata)))
	children.Content = append(children.Content, makers.Content...)
	return mapping("vars", mapping("metadata", metadata), "children", children)
}

// hostKey returns the name of a host in the inventory and notes it. Ansible knows
// each name once: the second line of a name has its address behind it, and where
// that is not enough its MAC address. No host name has an underscore.
func hostKey(t Target, taken map[string]bool) string {
	key := t.Hostname
	if taken[key] {
		key += "_" + t.IP.String()
	}
	if taken[key] {
		key += "_" + strings.ReplaceAll(t.MAC, ":", "")
	}
	taken[key] = true
	return key
}

// hostname returns the host name of a host in the inventory.
func hostname(key string) string {
	name, _, _ := strings.Cut(key, "_")
	return name
}

// hostVariables makes the variables of a host. What is not known is not there.
func hostVariables(t Target) *yaml.Node {
	pairs := []any{"ansible_host", quoted(t.IP.String()), "ip", quoted(t.IP.String())}
	if t.IP6.IsValid() {
		pairs = append(pairs, "ip6", quoted(t.IP6.String()))
	}
	if t.MAC != "" {
		pairs = append(pairs, "mac", quoted(t.MAC))
	}
	if t.Units.Known {
		units := &yaml.Node{Kind: yaml.SequenceNode}
		for unit := t.Units.High; unit >= t.Units.Low; unit-- {
			units.Content = append(units.Content, number(unit))
		}
		pairs = append(pairs, "rack_unit", number(t.Units.High), "rack_units", units)
	}
	pairs = append(pairs, "manufacturer", quoted(t.Manufacturer))
	if t.Sources != "" {
		pairs = append(pairs, "kea_source", quoted(t.Sources))
	}
	return mapping(pairs...)
}

// groupPrefix begins the groups of manufacturers.
const groupPrefix = "bmc_"

// group returns the name of the cabinet's group. An underscore goes before a
// digit, with which no group can begin, and before what could be a group of a
// manufacturer. Different files have different groups.
func (c Cabinet) group() string {
	name := c.Site + "_" + c.Cabinet
	name = strings.ReplaceAll(name, "-", "_")
	if '0' <= name[0] && name[0] <= '9' || strings.HasPrefix(name, groupPrefix) {
		return "_" + name
	}
	return name
}

func makerGroup(manufacturer string) string {
	return groupPrefix + strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(manufacturer))
}
