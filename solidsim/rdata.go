package solidsim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// rdata holds the fields value1 to value7 of a row. Fields that a type does
// not use are empty.
type rdata [7]string

// all is the column rr_all_value.
func (v rdata) all() string {
	last := slices.IndexFunc(v[:], func(s string) bool { return s == "" })
	if last < 0 {
		last = len(v)
	}
	return strings.Join(v[:last], ", ")
}

// maxTXT is the longest text that SOLIDserver takes, in bytes.
const maxTXT = 255

// A valueKind says how one value of a type is checked and kept.
type valueKind int

const (
	addr4Value valueKind = iota
	addr6Value           // kept written out in 8 groups of 4 digits
	nameValue            // kept in lower case
	textValue            // kept untouched
	uint16Value
	uint32Value
)

// recordTypes are the types that the simulator has, with their values.
func recordTypes() map[string][]valueKind {
	return map[string][]valueKind{
		"A":     {addr4Value},
		"AAAA":  {addr6Value},
		"CNAME": {nameValue},
		"MX":    {uint16Value, nameValue},
		"NS":    {nameValue},
		"PTR":   {nameValue},
		"SOA":   {nameValue, nameValue, uint32Value, uint32Value, uint32Value, uint32Value, uint32Value},
		"SRV":   {uint16Value, uint16Value, uint16Value, nameValue},
		"TXT":   {textValue},
	}
}

// canonicalType returns the type in upper case, if the simulator has it.
func canonicalType(rtype string) (string, error) {
	types := recordTypes()
	upper := strings.ToUpper(rtype)
	if _, known := types[upper]; !known {
		names := strings.Join(slices.Sorted(maps.Keys(types)), ", ")
		return "", refuseParameter("rr_type", rtype, "the type must be one of "+names)
	}
	return upper, nil
}

// canonicalValues checks the values of a type and returns them as SOLIDserver
// keeps them.
func canonicalValues(rtype string, v rdata) (rdata, error) {
	kinds := recordTypes()[rtype]
	for i, value := range v {
		parameter := fmt.Sprintf("value%d", i+1)
		if i >= len(kinds) {
			if value != "" {
				return rdata{}, refuseParameter(parameter, value, fmt.Sprintf("%s has %d values", rtype, len(kinds)))
			}
			continue
		}
		var err error
		if v[i], err = kinds[i].canonical(rtype, parameter, value); err != nil {
			return rdata{}, err
		}
	}
	return v, nil
}

func (k valueKind) canonical(rtype, parameter, value string) (string, error) {
	addr, err := netip.ParseAddr(value)
	switch k {
	case addr4Value:
		if err != nil || !addr.Is4() {
			return "", refuseParameter(parameter, value, rtype+" needs an IPv4 address")
		}
		return addr.String(), nil
	case addr6Value:
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", refuseParameter(parameter, value, rtype+" needs an IPv6 address")
		}
		return addr.StringExpanded(), nil
	case nameValue:
		return canonicalName(parameter, value)
	case textValue:
		if value == "" || len(value) > maxTXT || strings.ContainsFunc(value, control) {
			return "", refuseParameter(parameter, value, fmt.Sprintf("%s needs 1 to %d bytes without control characters", rtype, maxTXT))
		}
		return value, nil
	default:
		bits := 16
		if k == uint32Value {
			bits = 32
		}
		n, err := strconv.ParseUint(value, 10, bits)
		if err != nil {
			return "", refuseParameter(parameter, value, fmt.Sprintf("%s needs a number of %d bits", rtype, bits))
		}
		return strconv.FormatUint(n, 10), nil
	}
}

// canonicalName checks a full DNS name and returns it in lower case. Labels
// hold letters, digits, hyphens, underscores, and the slash of RFC 2317 zones.
func canonicalName(parameter, name string) (string, error) {
	lower := strings.ToLower(name)
	if len(lower) > 253 {
		return "", refuseParameter(parameter, name, "a name has at most 253 bytes")
	}
	for label := range strings.SplitSeq(lower, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInLabel) {
			return "", refuseParameter(parameter, name, "a name is made of labels of 1 to 63 letters, digits, - _ /, without a dot at the end")
		}
	}
	return lower, nil
}

func notInLabel(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '/')
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// wire returns the row as a DNS record of the owner name.
func (r *rr) wire() dns.RR {
	header := dns.RR_Header{Name: dns.Fqdn(r.name), Rrtype: dns.StringToType[r.rtype], Class: dns.ClassINET, Ttl: r.ttl}
	v := r.values
	switch r.rtype {
	case "A":
		return &dns.A{Hdr: header, A: netip.MustParseAddr(v[0]).AsSlice()}
	case "AAAA":
		return &dns.AAAA{Hdr: header, AAAA: netip.MustParseAddr(v[0]).AsSlice()}
	case "CNAME":
		return &dns.CNAME{Hdr: header, Target: dns.Fqdn(v[0])}
	case "MX":
		return &dns.MX{Hdr: header, Preference: short(v[0]), Mx: dns.Fqdn(v[1])}
	case "NS":
		return &dns.NS{Hdr: header, Ns: dns.Fqdn(v[0])}
	case "PTR":
		return &dns.PTR{Hdr: header, Ptr: dns.Fqdn(v[0])}
	case "SRV":
		return &dns.SRV{Hdr: header, Priority: short(v[0]), Weight: short(v[1]), Port: short(v[2]), Target: dns.Fqdn(v[3])}
	default:
		return &dns.TXT{Hdr: header, Txt: []string{characterString(v[0])}}
	}
}

// short is the number in a value that was checked.
func short(value string) uint16 {
	n, _ := strconv.ParseUint(value, 10, 16)
	return uint16(n)
}

// characterString turns a TXT value into one string of a DNS message. The
// quotes that a value may be kept with are not part of its text. What the DNS
// library reads as an escape is escaped.
func characterString(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value)
}
