package events

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
)

// Limits of what one reservation may carry in an event, so that every event
// fits into [MaxMessageSize].
const (
	// MaxIdentifier is the greatest number of identifier bytes that an event
	// carries. Kea sets no limit; what is longer is cut and named in Invalid.
	MaxIdentifier = 1024
	// MaxIPv6 is the greatest number of IPv6 addresses of one reservation.
	MaxIPv6 = 256
	// MaxHostname is the greatest number of characters of a name, that of Kea's
	// column.
	MaxHostname = 255
	// MaxInvalid is the greatest number of bytes of all texts in Invalid.
	MaxInvalid = 4096
)

// Key names one row of one Kea database for as long as the row exists.
//
// Kea writes an update as a deletion and an insertion, so the same device may
// continue under another HostID: a Key is the name of a row, not of a device.
type Key struct {
	Source string
	HostID int64
}

// Compare orders keys by source, then by host_id.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Source, o.Source), cmp.Compare(k.HostID, o.HostID))
}

// Reservation is the published state of one row of Kea's hosts table together
// with its rows of ipv6_reservations.
//
// A Reservation is a value: neither this package nor a consumer changes one
// that was handed out, and so it may be shared between goroutines.
type Reservation struct {
	// Source names the Kea database that the row lives in.
	Source string
	// HostID is the row's host_id.
	HostID int64
	// Hostname is the reserved name exactly as stored, "" if there is none.
	// It may hold any text. Use CanonicalHostname before it goes anywhere.
	Hostname string
	// IP is the reserved IPv4 address, the zero Addr if there is none.
	IP netip.Addr
	// IPv6 holds the reserved IPv6 addresses, ascending and distinct. Delegated
	// prefixes are not part of it.
	IPv6 []netip.Addr
	// MAC is the hardware address as six lower-case octets with colons, "" if
	// none can be told from the identifier. See MAC.
	MAC string
	// Identifier is what Kea recognises the client by, in lower-case hex.
	Identifier string
	// IdentifierType is hw-address, duid, circuit-id, client-id or flex-id, or
	// a decimal number for a type that Kea may add.
	IdentifierType string
	// Subnet4 and Subnet6 are Kea's subnet ids: nil means unused, 0 a global
	// reservation.
	Subnet4, Subnet6 *int64
	// Invalid names what the row holds but the event does not, each as
	// "field: what is wrong".
	Invalid []string
}

// Key returns the name of the row.
func (r Reservation) Key() Key { return Key{Source: r.Source, HostID: r.HostID} }

// Equal tells whether both describe the same row in the same state.
func (r Reservation) Equal(o Reservation) bool {
	return r.Source == o.Source &&
		r.HostID == o.HostID &&
		r.Hostname == o.Hostname &&
		r.IP == o.IP &&
		slices.Equal(r.IPv6, o.IPv6) &&
		r.MAC == o.MAC &&
		r.Identifier == o.Identifier &&
		r.IdentifierType == o.IdentifierType &&
		equalSubnet(r.Subnet4, o.Subnet4) &&
		equalSubnet(r.Subnet6, o.Subnet6) &&
		slices.Equal(r.Invalid, o.Invalid)
}

// Addresses returns the IPv4 address, if any, followed by the IPv6 addresses.
func (r Reservation) Addresses() []netip.Addr {
	var all []netip.Addr
	if r.IP.IsValid() {
		all = append(all, r.IP)
	}
	return append(all, r.IPv6...)
}

// Current returns rs without those that a later row of the same device has
// replaced. Kea's database allows one row at a time for a source, identifier
// type, identifier and subnet, where a subnet is set. So two of them are the
// halves of a change that has not been seen to its end, and the one with the
// higher HostID counts. The result is ordered by Key.
func Current(rs []Reservation) []Reservation {
	sorted := slices.Clone(rs)
	slices.SortFunc(sorted, func(a, b Reservation) int { return a.Key().Compare(b.Key()) })

	type slot struct {
		source, kind, identifier string
		family                   int
		subnet                   int64
	}
	holder := make(map[slot]Key, len(sorted))
	replaced := make(map[Key]bool)
	occupy := func(r Reservation, family int, subnet *int64) {
		if subnet == nil {
			return
		}
		s := slot{r.Source, r.IdentifierType, r.Identifier, family, *subnet}
		if older, taken := holder[s]; taken {
			replaced[older] = true
		}
		holder[s] = r.Key()
	}
	for _, r := range sorted {
		occupy(r, 4, r.Subnet4)
		occupy(r, 6, r.Subnet6)
	}
	if len(replaced) == 0 {
		return sorted
	}
	return slices.DeleteFunc(sorted, func(r Reservation) bool { return replaced[r.Key()] })
}

// IdentifierType returns the name of Kea's numeric dhcp_identifier_type
// (Kea 2.2 to 3.3, table host_identifier_type). An unknown number is returned
// in decimal.
func IdentifierType(n int) string {
	names := [...]string{"hw-address", "duid", "circuit-id", "client-id", "flex-id"}
	if n >= 0 && n < len(names) {
		return names[n]
	}
	return strconv.Itoa(n)
}

// MAC returns the Ethernet address that an identifier of Kea tells, in the form
// aa:bb:cc:dd:ee:ff, or "" if it tells none.
//
// It is told by a hw-address of six bytes; by a duid of the forms DUID-LLT and
// DUID-LL with hardware type Ethernet (RFC 8415, 11.2 and 11.4); and by a duid
// of exactly six bytes, which is no valid DUID but the way in which many sites
// wrote MAC addresses into Kea's table by hand.
func MAC(identifierType string, identifier []byte) string {
	const ethernet = 6
	var mac []byte
	switch identifierType {
	case "hw-address":
		mac = identifier
	case "duid":
		switch {
		case len(identifier) == ethernet:
			mac = identifier
		case len(identifier) == 8+ethernet && bytes.HasPrefix(identifier, []byte{0, 1, 0, 1}):
			mac = identifier[8:]
		case len(identifier) == 4+ethernet && bytes.HasPrefix(identifier, []byte{0, 3, 0, 1}):
			mac = identifier[4:]
		}
	}
	if len(mac) != ethernet {
		return ""
	}
	text := make([]byte, 0, 3*ethernet)
	for i, b := range mac {
		if i > 0 {
			text = append(text, ':')
		}
		text = hex.AppendEncode(text, []byte{b})
	}
	return string(text)
}

func equalSubnet(a, b *int64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
