package outbox

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"unicode/utf8"

	"github.com/keastream/keastream/pkg/events"
)

// row is the state that keastream.snapshot returns for one host: what stands in
// Kea's tables, uninterpreted. All judgement is made here, where a bad value
// cannot abort a transaction of Kea's.
type row struct {
	Identifier       string  `json:"identifier"`        // hex, cut to events.MaxIdentifier bytes
	IdentifierLength int     `json:"identifier_length"` // in bytes, uncut
	IdentifierType   int     `json:"identifier_type"`
	Subnet4          *int64  `json:"subnet4"`
	Subnet6          *int64  `json:"subnet6"`
	IPv4             *int64  `json:"ipv4"` // as Kea writes it: a number, 0 for none
	Hostname         *string `json:"hostname"`
	V6               []row6  `json:"v6"`
}

// row6 is a row of ipv6_reservations.
type row6 struct {
	Address string `json:"address"`
	Type    int    `json:"type"`
}

// typeNA is the type of an address in ipv6_reservations; 2 is a delegated
// prefix (Kea's table lease6_types).
const typeNA = 0

// maxInvalid bounds how many bad values of one row are named.
const maxInvalid = 16

// decodeState turns a state of keastream.snapshot into what is published. It
// fails only if state is not of the form that the function returns; whatever
// the row holds that cannot be published is left out and named in Invalid.
func decodeState(source string, hostID int64, state []byte) (events.Reservation, error) {
	var row row
	if err := json.Unmarshal(state, &row); err != nil {
		return events.Reservation{}, fmt.Errorf("read state of host %d: %w", hostID, err)
	}
	identifier, err := hex.DecodeString(row.Identifier)
	if err != nil {
		return events.Reservation{}, fmt.Errorf("read state of host %d: identifier: %w", hostID, err)
	}

	r := events.Reservation{
		Source: source, HostID: hostID,
		Identifier: row.Identifier, IdentifierType: events.IdentifierType(row.IdentifierType),
		Subnet4: row.Subnet4, Subnet6: row.Subnet6,
	}
	invalid := func(format string, args ...any) {
		if len(r.Invalid) < maxInvalid {
			r.Invalid = append(r.Invalid, fmt.Sprintf(format, args...))
		}
	}
	if row.IdentifierLength > len(identifier) {
		invalid("identifier: %d bytes, the first %d are kept", row.IdentifierLength, len(identifier))
	} else {
		r.MAC = events.MAC(r.IdentifierType, identifier)
	}
	if row.Hostname != nil {
		r.Hostname = *row.Hostname
		if !utf8.ValidString(r.Hostname) {
			r.Hostname = ""
			invalid("hostname: is not UTF-8")
		}
	}
	if row.IPv4 != nil && *row.IPv4 != 0 {
		if n := *row.IPv4; 0 < n && n <= 0xFFFFFFFF {
			r.IP = netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		} else {
			invalid("ip: %d is not an IPv4 address", n)
		}
	}
	for _, v6 := range row.V6 {
		if v6.Type != typeNA {
			continue
		}
		a, err := netip.ParseAddr(v6.Address)
		if err != nil || !a.Is6() || a.Zone() != "" {
			invalid("ipv6: %q is not an IPv6 address", v6.Address)
			continue
		}
		r.IPv6 = append(r.IPv6, a)
	}
	slices.SortFunc(r.IPv6, netip.Addr.Compare)
	r.IPv6 = slices.Compact(r.IPv6)
	if n := len(r.IPv6); n > events.MaxIPv6 {
		r.IPv6 = slices.Clip(r.IPv6[:events.MaxIPv6])
		invalid("ipv6: %d addresses, the first %d are kept", n, events.MaxIPv6)
	}
	return r, nil
}
