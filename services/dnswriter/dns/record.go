package dns

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
)

// Type is the type of a record, in upper case.
type Type string

// The types that are read. CNAME records are written for a person alone, by the
// verb add.
const (
	A     Type = "A"
	AAAA  Type = "AAAA"
	PTR   Type = "PTR"
	CNAME Type = "CNAME"
)

// Types returns all known types.
func Types() []Type { return []Type{A, AAAA, PTR, CNAME} }

// Record is one resource record in canonical form: two records are the same
// exactly when they are ==.
type Record struct {
	// Name is the complete owner name: lower case, no trailing dot. See
	// CanonicalName.
	Name string
	Type Type
	// Value is the address or the target. See CanonicalValue.
	Value string
	// TTL is in seconds.
	TTL uint32
}

// String returns the record in the order of a zone file.
func (r Record) String() string { return fmt.Sprintf("%s %d %s %s", r.Name, r.TTL, r.Type, r.Value) }

// Compare orders records by name, type, value and TTL.
func (r Record) Compare(o Record) int {
	if by := cmp.Compare(r.Name, o.Name); by != 0 {
		return by // most are told apart by this, and cmp.Or would compare all
	}
	return cmp.Or(cmp.Compare(r.Type, o.Type), cmp.Compare(r.Value, o.Value), cmp.Compare(r.TTL, o.TTL))
}

// Same tells whether both are the same record but for the TTL: DNS holds one
// record of a name, type and value (RFC 2181, section 5).
func (r Record) Same(o Record) bool {
	return r.Name == o.Name && r.Type == o.Type && r.Value == o.Value
}

// Row is a record as it stands on a DNS server.
type Row struct {
	Record
	// ID is the server's own number for the row. It may change at any time, so
	// it is for reading only.
	ID string
	// Zone is the zone that the row stands in, in the form of Record.Name.
	Zone string
	// Owner is what the row's mark says; nil if the row is not ours.
	Owner *Owner
	// Pending tells that the row was accepted, but is not published yet.
	Pending bool
	// Deleting tells that the row's removal was accepted, but is not published
	// yet: it is on its way out and must not be counted on.
	Deleting bool
}

// CanonicalName returns the form in which names are compared: ASCII letters in
// lower case (RFC 4343), without the trailing dot. It is made for what is read
// from a server, and so takes any text: a name that is to be written is
// checked by events.CanonicalHostname.
func CanonicalName(name string) string {
	bare := strings.TrimSuffix(name, ".")
	if strings.HasSuffix(bare, `\`) { // an escaped dot is part of the name
		bare = name
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, bare)
}

// CanonicalValue returns the form in which values of the type are compared: an
// address as netip writes it, which is the form of RFC 5952 for IPv6, and a
// target as CanonicalName does. The error names the value.
func CanonicalValue(t Type, value string) (string, error) {
	switch t {
	case A, AAAA:
		addr, err := netip.ParseAddr(value)
		if err != nil || addr.Is4() != (t == A) || addr.Zone() != "" {
			return "", fmt.Errorf("%q is not the value of a record of type %s", value, t)
		}
		return addr.String(), nil
	case PTR, CNAME:
		if value == "" {
			return "", fmt.Errorf("a record of type %s has no target", t)
		}
		return CanonicalName(value), nil
	default:
		return "", fmt.Errorf("records of type %q are not known", t)
	}
}
