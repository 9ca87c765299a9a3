package cabinet

import (
	"fmt"
	"net/netip"

	"github.com/keastream/keastream/pkg/events"
	"go.yaml.in/yaml/v3"
)

// inventoryHost is a host of an Ansible inventory, with its variables.
type inventoryHost struct {
	key       string
	variables map[string]*yaml.Node
}

// parseInventory returns the metadata of a file, and the hosts that have variables
// in a group of the inventory, none in a file that holds no inventory.
func parseInventory(top map[string]*yaml.Node) (metadata map[string]*yaml.Node, hosts []inventoryHost, err error) {
	if top["all"] == nil {
		if metadata, err = fields(top["metadata"]); err != nil {
			return nil, nil, fmt.Errorf("metadata: %w", err)
		}
		return metadata, nil, nil
	}
	all, err := fields(top["all"])
	if err != nil {
		return nil, nil, fmt.Errorf("all: %w", err)
	}
	vars, err := fields(all["vars"])
	if err != nil {
		return nil, nil, fmt.Errorf("all.vars: %w", err)
	}
	if metadata, err = fields(vars["metadata"]); err != nil {
		return nil, nil, fmt.Errorf("all.vars.metadata: %w", err)
	}
	children := all["children"]
	if _, err := fields(children); err != nil {
		return nil, nil, fmt.Errorf("all.children: %w", err)
	}
	for i := 0; i < len(children.Content); i += 2 {
		more, err := parseGroup(children.Content[i+1])
		if err != nil {
			return nil, nil, fmt.Errorf("all.children.%s: %w", Shorten(text(children.Content[i])), err)
		}
		hosts = append(hosts, more...)
	}
	return metadata, hosts, nil
}

func parseGroup(node *yaml.Node) (hosts []inventoryHost, err error) {
	group, err := fields(node)
	if err != nil {
		return nil, err
	}
	members := group["hosts"]
	if _, err := fields(members); err != nil {
		return nil, fmt.Errorf("hosts: %w", err)
	}
	for i := 0; i < len(members.Content); i += 2 {
		variables, err := fields(members.Content[i+1])
		if err == nil && len(variables) > 0 {
			hosts = append(hosts, inventoryHost{text(members.Content[i]), variables})
		}
	}
	return hosts, nil
}

// target returns the host as a line.
func (h inventoryHost) target() (Target, error) {
	t, err := parseTarget(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		quoted("ip"), quoted(text(h.variables["ip"])),
		quoted("hostname"), quoted(hostname(h.key)),
		quoted("mac"), quoted(text(h.variables["mac"])),
		quoted("manufacturer"), quoted(text(h.variables["manufacturer"])),
	}})
	if err != nil {
		return Target{}, err
	}
	t.Units = h.units()
	if addr, err := netip.ParseAddr(text(h.variables["ip6"])); err == nil && isIP6(addr) {
		t.IP6 = addr
	}
	var sources []string
	for _, name := range splitSources(text(h.variables["kea_source"])) {
		if events.CheckSource(Shorten(name)) == nil {
			sources = append(sources, name)
		}
	}
	t.Sources = joinSources(sources)
	return t, nil
}

// units reads the list rack_units, whose ends are all that counts.
func (h inventoryHost) units() Units {
	list, err := items(h.variables["rack_units"])
	if err != nil || len(list) == 0 {
		return Units{}
	}
	return unitsOf(text(list[0]), text(list[len(list)-1]))
}

// complete adds to the lines of a list what only the hosts beside it tell.
func (c *Content) complete(hosts []inventoryHost) {
	byID := make(map[ID]Target, len(hosts))
	for _, h := range hosts {
		if t, err := h.target(); err == nil {
			byID[t.ID()] = t
		}
	}
	for i, t := range c.Targets {
		host := byID[t.ID()]
		c.Targets[i].IP6, c.Targets[i].Sources = host.IP6, host.Sources
	}
}
