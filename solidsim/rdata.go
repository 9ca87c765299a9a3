package solidsim

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
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

// canonicalType returns the type in upper case, if the simulator has it.
func canonicalType(rtype string) (string, error) {
	switch upper := strings.ToUpper(rtype); upper {
	case "A", "AAAA", "CNAME", "PTR", "TXT":
		return upper, nil
	default:
		return "", refuseParameter("rr_type", rtype, "the type must be one of A, AAAA, CNAME, PTR, TXT")
	}
}

// canonicalValues checks the values of a type and returns them as SOLIDserver
// keeps them: AAAA written out in 8 groups of 4 digits, names in lower case,
// text untouched.
func canonicalValues(rtype string, v rdata) (rdata, error) {
	for i, value := range v[1:] {
		if value != "" {
			return rdata{}, refuseParameter(fmt.Sprintf("value%d", i+2), value, rtype+" has one value")
		}
	}
	var err error
	switch rtype {
	case "A":
		addr, parseErr := netip.ParseAddr(v[0])
		if parseErr != nil || !addr.Is4() {
			return rdata{}, refuseParameter("value1", v[0], "A needs an IPv4 address")
		}
		v[0] = addr.String()
	case "AAAA":
		addr, parseErr := netip.ParseAddr(v[0])
		if parseErr != nil || !addr.Is6() || addr.Zone() != "" {
			return rdata{}, refuseParameter("value1", v[0], "AAAA needs an IPv6 address")
		}
		v[0] = addr.StringExpanded()
	case "CNAME", "PTR":
		v[0], err = canonicalName("value1", v[0])
	case "TXT":
		if v[0] == "" || len(v[0]) > maxTXT || strings.ContainsFunc(v[0], control) {
			err = refuseParameter("value1", v[0], fmt.Sprintf("TXT needs 1 to %d bytes without control characters", maxTXT))
		}
	}
	return v, err
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
	header := func(rtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: dns.Fqdn(r.name), Rrtype: rtype, Class: dns.ClassINET, Ttl: r.ttl}
	}
	switch r.rtype {
	case "A":
		return &dns.A{Hdr: header(dns.TypeA), A: netip.MustParseAddr(r.values[0]).AsSlice()}
	case "AAAA":
		return &dns.AAAA{Hdr: header(dns.TypeAAAA), AAAA: netip.MustParseAddr(r.values[0]).AsSlice()}
	case "CNAME":
		return &dns.CNAME{Hdr: header(dns.TypeCNAME), Target: dns.Fqdn(r.values[0])}
	case "PTR":
		return &dns.PTR{Hdr: header(dns.TypePTR), Ptr: dns.Fqdn(r.values[0])}
	default:
		return &dns.TXT{Hdr: header(dns.TypeTXT), Txt: []string{characterString(r.values[0])}}
	}
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

// classParameters are the class parameters of an object by their names.
type classParameters map[string]string

// parseClassParameters reads the form `k=v&k2=v2`, in which names and values
// are url-encoded. As a list of names alone it is what
// class_parameters_to_delete holds.
func parseClassParameters(parameter, encoded string) (classParameters, error) {
	query, err := url.ParseQuery(encoded)
	if err != nil {
		return nil, refuseParameter(parameter, encoded, "class parameters are url-encoded name=value pairs joined by &")
	}
	params := make(classParameters, len(query))
	for key, values := range query {
		if key == "" {
			return nil, refuseParameter(parameter, encoded, "a class parameter needs a name")
		}
		params[key] = values[len(values)-1]
	}
	return params, nil
}

// encode writes the parameters in the order of their names.
func (c classParameters) encode() string {
	query := make(url.Values, len(c))
	for key, value := range c {
		query.Set(key, value)
	}
	return query.Encode()
}
