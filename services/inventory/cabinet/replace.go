package cabinet

import "slices"

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
