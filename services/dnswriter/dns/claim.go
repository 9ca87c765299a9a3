package dns

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/keastream/keastream/pkg/events"
)

// Device is what Kea recognises a client by. One device may have several
// reservations, in several subnets and sources.
type Device struct {
	Type       string // hw-address, duid, …
	Identifier string // lower-case hex
}

// Claim is the wish of one reservation for one record. It is comparable.
type Claim struct {
	Record Record
	// Zone is the zone that the record stands in.
	Zone   string
	Host   events.Key
	Device Device
}

// Reason is why a reservation gets no record. There are few of them, so they
// may be labels of metrics.
type Reason string

const (
	// InvalidName: the hostname is no host name.
	InvalidName Reason = "invalid_name"
	// OutsideZones: the hostname is complete and in none of the zones.
	OutsideZones Reason = "outside_zones"
	// NoZone: the hostname is short and there is no zone for its subnet.
	NoZone Reason = "no_zone"
	// ProtectedName: whoever owns this name can turn others' traffic to himself.
	ProtectedName Reason = "protected_name"
	// UnusableAddress: the address cannot be that of a host.
	UnusableAddress Reason = "unusable_address"
)

// ParkedError says why a reservation gets no record until it is changed.
type ParkedError struct {
	Host   events.Key
	Reason Reason
	// Detail is a sentence that names the value and the remedy.
	Detail string
}

func (e *ParkedError) Error() string {
	return fmt.Sprintf("reservation %d of %s: %s", e.Host.HostID, e.Host.Source, e.Detail)
}

// ForReservation returns what the reservation asks for: a record of type A with
// its IPv4 address. A reservation without a hostname or without an address
// asks for nothing. The error is always a *ParkedError.
//
// A hostname without a dot is short: it is put into the zone of its subnet, or
// else into the first plain zone. One with a dot inside is complete and is
// taken as it is when it is in one of the zones. A trailing dot makes any name
// complete, as in Kea.
func (z Zones) ForReservation(r events.Reservation, ttl uint32) ([]Claim, error) {
	// Kea stores 0.0.0.0 for "no address" (2.2 to 3.3).
	if r.Hostname == "" || !r.IP.IsValid() || r.IP.IsUnspecified() {
		return nil, nil
	}
	name, zone, parked := z.place(r.Hostname, r.Subnet4)
	if parked == nil {
		parked = checkAddress(r.IP)
	}
	if parked != nil {
		parked.Host = r.Key()
		return nil, parked
	}
	return []Claim{{
		Record: Record{Name: name, Type: A, Value: r.IP.String(), TTL: ttl},
		Zone:   zone,
		Host:   r.Key(),
		Device: Device{Type: r.IdentifierType, Identifier: r.Identifier},
	}}, nil
}

// place returns the complete canonical name for a hostname and its zone.
func (z Zones) place(hostname string, subnet *int64) (name, zone string, parked *ParkedError) {
	park := func(reason Reason, format string, args ...any) (string, string, *ParkedError) {
		return "", "", &ParkedError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
	if hostname == "*" || strings.HasPrefix(hostname, "*.") {
		return park(ProtectedName, "%.80q is a wildcard and would answer for all names", hostname)
	}
	name, err := events.CanonicalHostname(hostname)
	if err != nil {
		return park(InvalidName, "%v", err)
	}
	if !strings.Contains(hostname, ".") {
		suffix := z.forShort(subnet)
		if suffix == "" {
			return park(NoZone, "%q is a short name and there is no zone for it; give one with --dns-zone", name)
		}
		if name, err = events.CanonicalHostname(name + "." + suffix); err != nil {
			return park(InvalidName, "%v", err)
		}
	}
	zone, ok := z.Of(name)
	switch label, _, _ := strings.Cut(name, "."); {
	case !ok:
		return park(OutsideZones, "%q is outside the zones; shorten the hostname or add its zone with --dns-zone", name)
	case name == zone:
		return park(ProtectedName, "%q is the name of a zone", name)
	case label == "wpad" || label == "isatap":
		// Clients look these up without being told and trust the answer.
		return park(ProtectedName, "%q: hosts look for the name %s by themselves and trust it", name, label)
	}
	return name, zone, nil
}

// checkAddress parks addresses that a name must not lead to.
func checkAddress(addr netip.Addr) *ParkedError {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if addr.IsLoopback() || addr.IsMulticast() || addr == broadcast {
		return &ParkedError{
			Reason: UnusableAddress,
			Detail: fmt.Sprintf("%s is no address of a host; correct the reservation", addr),
		}
	}
	return nil
}
