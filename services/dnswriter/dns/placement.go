package dns

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/keastream/keastream/pkg/events"
)

// Placement says how a scope places the records of reservations. Its methods
// may be called concurrently as long as nobody changes it.
type Placement struct {
	// Zones are those of the setting --dns-zone: names are put into them and into
	// no others.
	Zones Zones
	// Served are the zones that the server has, nil while they are not known. A
	// name belongs to the longest of them, and is parked if that is not one of
	// Zones. While they are not known, Zones alone decide, and nothing is said of
	// PTR records.
	Served *Served
	// TTL of the records, in seconds.
	TTL uint32
	// PTR says whether addresses get a PTR record.
	PTR PTRPolicy
	// PublicOnly parks private (RFC 1918, RFC 4193) and link-local addresses.
	PublicOnly bool
}

// PTRPolicy says whether addresses get a PTR record. The zero value is PTRAuto.
type PTRPolicy int

const (
	// PTRAuto makes a PTR record where the server has a reverse zone for it and
	// does not keep PTR records by itself, see Zone.AutoPTR.
	PTRAuto PTRPolicy = iota
	// PTROn makes a PTR record always. Without a reverse zone it is parked.
	PTROn
	// PTROff makes none.
	PTROff
)

var ptrPolicies = [...]string{"auto", "on", "off"}

// String returns auto, on or off.
func (p PTRPolicy) String() string { return ptrPolicies[p] }

// UnmarshalText reads what String gives.
func (p *PTRPolicy) UnmarshalText(text []byte) error {
	for i, name := range ptrPolicies {
		if name == string(text) {
			*p = PTRPolicy(i)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(ptrPolicies[:], ", "))
}

// ZoneOf returns the zone in which the records of a canonical name, forward or
// reverse, are kept; ok is false if the name is none of ours.
func (p *Placement) ZoneOf(name string) (zone string, ok bool) {
	if IsReverse(name) {
		served, ok := p.Served.Of(name)
		return served.Name, ok
	}
	if p.Served == nil {
		return p.Zones.Of(name)
	}
	served, ok := p.Served.Of(name)
	if !ok || !p.Zones.Has(served.Name) {
		return "", false
	}
	return served.Name, true
}

// ForReservation returns what the reservation asks for: a record of type A or
// AAAA with each of its addresses and, as PTR says, a PTR record for each of
// these; and what of it is parked. A name that is not right parks all of the
// reservation, an address that is not right only itself. A reservation without
// a hostname or without an address asks for nothing.
//
// A hostname without a dot is short: it is put into the zone that is given for
// its subnet, or else into the first plain zone. All addresses of a reservation
// have one name, so if it has a subnet of each family, that of IPv4 comes first:
// a name that is in use does not move when the device gets IPv6 as well. A
// hostname with a dot inside is complete and is taken as it is when it is in one
// of the zones. A trailing dot makes any name complete, as in Kea.
//
// PTR records stand in the longest reverse zone that the server has. Classless
// zones (RFC 2317), in which the reverse name is an alias, are not served: the
// alias is found at the name, which is then left as it is.
func (p *Placement) ForReservation(r events.Reservation) (claims []Claim, parked []*ParkedError) {
	// Kea stores 0.0.0.0 for "no address" (2.2 to 3.3).
	ip4 := r.IP.IsValid() && !r.IP.IsUnspecified()
	if r.Hostname == "" || !ip4 && len(r.IPv6) == 0 {
		return nil, nil
	}
	name, zone, err := p.place(r.Hostname, r.Subnet4, r.Subnet6)
	if err != nil {
		err.Host = r.Key()
		return nil, []*ParkedError{err}
	}
	claims = make([]Claim, 0, 2*(1+len(r.IPv6)))
	template := Claim{Host: r.Key(), Device: Device{Type: r.IdentifierType, Identifier: r.Identifier}}
	add := func(addr netip.Addr) {
		if err := p.checkAddress(addr); err != nil {
			err.Host, err.Address = r.Key(), addr
			parked = append(parked, err)
			return
		}
		c := template
		c.Zone = zone.Name
		c.Record = Record{Name: name, Type: TypeOf(addr), Value: addr.String(), TTL: p.TTL}
		claims = append(claims, c)

		c.Record, c.Zone, err = p.reverse(addr, name, zone)
		if err != nil {
			err.Host, err.Address = r.Key(), addr
			parked = append(parked, err)
		} else if c.Zone != "" {
			claims = append(claims, c)
		}
	}
	if ip4 {
		add(r.IP)
	}
	for _, addr := range r.IPv6 {
		add(addr)
	}
	return claims, parked
}

// place returns the complete canonical name for a hostname and its zone.
func (p *Placement) place(hostname string, subnet4, subnet6 *int64) (name string, zone Zone, parked *ParkedError) {
	park := func(reason Reason, format string, args ...any) (string, Zone, *ParkedError) {
		return "", Zone{}, &ParkedError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
	if hostname == "*" || strings.HasPrefix(hostname, "*.") {
		return park(ProtectedName, "%.80q is a wildcard and would answer for all names", hostname)
	}
	name, err := events.CanonicalHostname(hostname)
	if err != nil {
		return park(InvalidName, "%v", err)
	}
	if !strings.Contains(hostname, ".") {
		suffix := p.Zones.forShort(subnet4, subnet6)
		if suffix == "" {
			return park(NoZone, "%q is a short name and there is no zone for it; give one with --dns-zone", name)
		}
		if name, err = events.CanonicalHostname(name + "." + suffix); err != nil {
			return park(InvalidName, "%v", err)
		}
	}
	configured, ok := p.Zones.Of(name)
	if !ok {
		return park(OutsideZones, "%q is outside the zones; shorten the hostname or add its zone with --dns-zone", name)
	}
	zone = Zone{Name: configured}
	if p.Served != nil {
		zone, ok = p.Served.Of(name)
	}
	switch label, _, _ := strings.Cut(name, "."); {
	case name == configured || name == zone.Name:
		return park(ProtectedName, "%q is the name of a zone", name)
	case label == "wpad" || label == "isatap":
		// Clients look these up without being told and trust the answer.
		return park(ProtectedName, "%q: hosts look for the name %s by themselves and trust it", name, label)
	case !ok:
		return park(OutsideZones, "%q: the DNS server has no zone for it; create %s there", name, configured)
	case !p.Zones.Has(zone.Name) && len(zone.Name) > len(configured):
		return park(OutsideZones, "%q belongs to the zone %s, which lies in %s and is not given; add it with --dns-zone or change the hostname",
			name, zone.Name, configured)
	case !p.Zones.Has(zone.Name):
		return park(OutsideZones, "%q: the DNS server has the zone %s for it, but not %s; create that, or give %[2]s with --dns-zone",
			name, zone.Name, configured)
	}
	return name, zone, nil
}

// reverse returns the PTR record of an address of a name, and its zone, which
// is "" if there is to be none.
func (p *Placement) reverse(addr netip.Addr, name string, zone Zone) (rec Record, reverseZone string, parked *ParkedError) {
	if p.Served == nil || p.PTR == PTROff || p.PTR == PTRAuto && zone.AutoPTR {
		return Record{}, "", nil
	}
	reverse := ReverseName(addr)
	found, ok := p.Served.Of(reverse)
	switch {
	case ok && IsReverse(found.Name):
		return Record{Name: reverse, Type: PTR, Value: name, TTL: p.TTL}, found.Name, nil
	case p.PTR == PTRAuto:
		return Record{}, "", nil
	}
	return Record{}, "", &ParkedError{Reason: NoReverseZone, Detail: fmt.Sprintf(
		"%s: the DNS server has no reverse zone for its PTR record; create one, or say --ptr auto", addr)}
}

// checkAddress parks addresses that a name must not lead to.
func (p *Placement) checkAddress(addr netip.Addr) *ParkedError {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	switch {
	case addr.IsUnspecified(), addr.IsLoopback(), addr.IsMulticast(), addr == broadcast, addr.Is4In6(), addr.Zone() != "":
		return &ParkedError{
			Reason: UnusableAddress,
			Detail: fmt.Sprintf("%s is no address of a host; correct the reservation", addr),
		}
	case p.PublicOnly && (addr.IsPrivate() || addr.IsLinkLocalUnicast()):
		return &ParkedError{
			Reason: PrivateAddress,
			Detail: fmt.Sprintf("%s is private (RFC 1918, RFC 4193) or link-local and must not be seen outside; "+
				"give the reservation a public address or none", addr),
		}
	}
	return nil
}
