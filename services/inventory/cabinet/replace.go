package cabinet

import (
	"net/netip"
	"slices"
)

// Without returns the lines of ts that are not among others, by [ID].
func Without(ts, others []Target) []Target {
	ids := make(map[ID]bool, len(others))
	for _, t := range others {
		ids[t.ID()] = true
	}
	var rest []Target
	for _, t := range ts {
		if !ids[t.ID()] {
			rest = append(rest, t)
		}
	}
	return rest
}

// likeness returns what two lines have in common that show the same device or
// name: equal keys. ok is false if the line cannot be compared in this way.
type likeness func(Target) (key ID, ok bool)

// likenesses is ordered from the closest to the most distant one.
func likenesses() []likeness {
	return []likeness{
		func(t Target) (ID, bool) { return ID{MAC: t.MAC, Hostname: t.Hostname}, t.MAC != "" },
		func(t Target) (ID, bool) { return ID{MAC: t.MAC, IP: t.IP}, t.MAC != "" },
		func(t Target) (ID, bool) { return ID{MAC: t.MAC}, t.MAC != "" },
		func(t Target) (ID, bool) { return ID{Hostname: t.Hostname, IP: t.IP}, true },
		func(t Target) (ID, bool) { return ID{Hostname: t.Hostname}, true },
		func(t Target) (ID, bool) { return ID{IP: t.IP}, t.MAC == "" },
	}
}

// Unreplaced returns the lines of stale, which no reservation asks for any
// more, without those whose place a line of fresh takes, one that is new in the
// same file. It does so if it is the same device, told by the MAC address, or
// has the same name, or, where both have no MAC address, the same address. One
// new line takes the place of one old line, the most alike: a device or a name
// may have several lines, and each stays until it is known to be gone.
func Unreplaced(stale, fresh []Target) []Target {
	rest := slices.Clone(stale)
	taken := make([]bool, len(fresh))
	for _, like := range likenesses() {
		free := make(map[ID][]int) // indexes of fresh
		for i, t := range fresh {
			if key, ok := like(t); ok && !taken[i] {
				free[key] = append(free[key], i)
			}
		}
		rest = slices.DeleteFunc(rest, func(t Target) bool {
			key, ok := like(t)
			if !ok || len(free[key]) == 0 {
				return false
			}
			taken[free[key][0]] = true
			free[key] = free[key][1:]
			return true
		})
	}
	return rest
}

// LostIP6 returns a stand-in for each line that is wanted without an IPv6 address
// and stands in a file with one: a line with that address as its IP, and the host
// name. An address that another one takes the place of is not lost.
func LostIP6(want, have []Target) []Target {
	before := make(map[ID]Target, len(have))
	for _, t := range have {
		before[t.ID()] = t
	}
	var lost []Target
	for _, t := range want {
		if old := before[t.ID()]; old.IP6.IsValid() && !t.IP6.IsValid() {
			lost = append(lost, Target{IP: old.IP6, Hostname: t.Hostname})
		}
	}
	return lost
}

// WithIP6 returns the cabinet with the addresses that stand-ins of [LostIP6]
// stand for, in the lines that have none.
func (c Cabinet) WithIP6(standIns []Target) Cabinet {
	addrs := make(map[string]netip.Addr, len(standIns))
	for _, t := range standIns {
		addrs[t.Hostname] = t.IP
	}
	c.Targets = slices.Clone(c.Targets)
	for i, t := range c.Targets {
		if !t.IP6.IsValid() {
			c.Targets[i].IP6 = addrs[t.Hostname]
		}
	}
	return c
}

// WithSources returns the cabinet with those sources of the same lines in a file
// that are to be kept.
func (c Cabinet) WithSources(have []Target, keep func(source string) bool) Cabinet {
	before := make(map[ID]string, len(have))
	for _, t := range have {
		before[t.ID()] = t.Sources
	}
	c.Targets = slices.Clone(c.Targets)
	for i, t := range c.Targets {
		names := slices.DeleteFunc(splitSources(before[t.ID()]), func(s string) bool { return !keep(s) })
		c.Targets[i].Sources = joinSources(append(names, splitSources(t.Sources)...))
	}
	return c
}
