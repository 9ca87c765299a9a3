package cabinet

import "net/netip"

// claim is an IPv6 address that is reserved for a name, with the MAC address of
// its reservation.
type claim struct {
	addr netip.Addr
	mac  string
}

// isIP6 tells whether addr is an address that a file may show. A zone could be
// any text.
func isIP6(addr netip.Addr) bool { return addr.Is6() && addr.Zone() == "" }

// addIP6 gives every line the lowest IPv6 address that is reserved for its name
// and its MAC address, or else for its name and no other line's MAC address.
func (c *Cabinet) addIP6(claims map[string][]claim) {
	type device struct{ name, mac string }
	devices := make(map[device]bool)
	for _, t := range c.Targets {
		if len(claims[t.Hostname]) > 0 && t.MAC != "" {
			devices[device{t.Hostname, t.MAC}] = true
		}
	}
	for i, t := range c.Targets {
		var own, shared netip.Addr
		for _, claim := range claims[t.Hostname] {
			lowest := &shared
			if t.MAC != "" && claim.mac == t.MAC {
				lowest = &own
			} else if devices[device{t.Hostname, claim.mac}] {
				continue
			}
			if !lowest.IsValid() || claim.addr.Less(*lowest) {
				*lowest = claim.addr
			}
		}
		if !own.IsValid() {
			own = shared
		}
		c.Targets[i].IP6 = own
	}
}
