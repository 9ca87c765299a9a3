package dns

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

const (
	suffix4 = ".in-addr.arpa" // RFC 1035, section 3.5
	suffix6 = ".ip6.arpa"     // RFC 3596, section 2.5
)

// ReverseName returns the name of the PTR records of an address: its octets, or
// for IPv6 its 32 nibbles, from the last to the first, below in-addr.arpa or
// ip6.arpa. It is canonical. An address that is none has no name.
func ReverseName(addr netip.Addr) string {
	switch {
	case addr.Is4():
		a := addr.As4()
		name := make([]byte, 0, len("255.255.255.255")+len(suffix4))
		for i := len(a) - 1; i >= 0; i-- {
			name = strconv.AppendUint(name, uint64(a[i]), 10)
			if i > 0 {
				name = append(name, '.')
			}
		}
		return string(append(name, suffix4...))
	case addr.Is6():
		const digits = "0123456789abcdef"
		a := addr.As16()
		name := make([]byte, 0, 64+len(suffix6))
		for i := len(a) - 1; i >= 0; i-- {
			name = append(name, digits[a[i]&15], '.', digits[a[i]>>4])
			if i > 0 {
				name = append(name, '.')
			}
		}
		return string(append(name, suffix6...))
	}
	return ""
}

// ReverseAddr returns the address that a canonical reverse name stands for; ok
// is false if it is no such name, or only that of a network. It is the inverse
// of ReverseName.
func ReverseAddr(name string) (addr netip.Addr, ok bool) {
	if labels, found := strings.CutSuffix(name, suffix4); found {
		parts := strings.Split(labels, ".")
		for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
			parts[i], parts[j] = parts[j], parts[i]
		}
		addr, err := netip.ParseAddr(strings.Join(parts, "."))
		return addr, err == nil && addr.Is4()
	}
	labels, found := strings.CutSuffix(name, suffix6)
	if !found || len(labels) != 63 {
		return netip.Addr{}, false
	}
	nibbles := make([]byte, 32)
	for i := range nibbles {
		if i > 0 && labels[2*i-1] != '.' {
			return netip.Addr{}, false
		}
		nibbles[len(nibbles)-1-i] = labels[2*i]
	}
	var a [16]byte
	if _, err := hex.Decode(a[:], nibbles); err != nil || strings.ToLower(labels) != labels {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(a), true
}

// IsReverse tells whether a canonical name is that of a reverse zone or lies in
// one.
func IsReverse(name string) bool {
	return strings.HasSuffix(name, suffix4) || strings.HasSuffix(name, suffix6) ||
		name == suffix4[1:] || name == suffix6[1:]
}

// Forward returns the record without which a PTR record is not true: that of
// its target with the address of its name. Its TTL is 0. ok is false if r is no
// PTR record of an address.
func (r Record) Forward() (forward Record, ok bool) {
	if r.Type != PTR {
		return Record{}, false
	}
	addr, ok := ReverseAddr(r.Name)
	return Record{Name: r.Value, Type: TypeOf(addr), Value: addr.String()}, ok
}

// Reverse returns the name of the PTR records of an A or AAAA record, or "" if
// r is none.
func (r Record) Reverse() string {
	if r.Type != A && r.Type != AAAA {
		return ""
	}
	addr, err := netip.ParseAddr(r.Value)
	if err != nil {
		return ""
	}
	return ReverseName(addr)
}

// TypeOf returns the type of the records that hold an address.
func TypeOf(addr netip.Addr) Type {
	if addr.Is4() {
		return A
	}
	return AAAA
}
