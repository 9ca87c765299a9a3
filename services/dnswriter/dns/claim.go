package dns

import (
	"fmt"
	"net/netip"

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

// Reason is why a reservation, or an address of it, gets no record. There are
// few of them, so they may be labels of metrics.
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
	// PrivateAddress: the address is private or link-local, and the scope shows
	// public ones only.
	PrivateAddress Reason = "private_address"
	// NoReverseZone: the address has no PTR record, for want of a zone. It does
	// have its A or AAAA record.
	NoReverseZone Reason = "no_reverse_zone"
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{InvalidName, OutsideZones, NoZone, ProtectedName, UnusableAddress, PrivateAddress, NoReverseZone}
}

// ParkedError says why a reservation, or an address of it, gets no record until
// it is changed.
type ParkedError struct {
	Host events.Key
	// Address is what is parked; the zero Addr if that is the whole reservation.
	Address netip.Addr
	Reason  Reason
	// Detail is a sentence that names the value and the remedy.
	Detail string
}

func (e *ParkedError) Error() string {
	return fmt.Sprintf("reservation %d of %s: %s", e.Host.HostID, e.Host.Source, e.Detail)
}
