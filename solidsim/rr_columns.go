package solidsim

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"

	"github.com/miekg/dns"
)

func rrColumns() columns[*rr] {
	fullName := func(r *rr) string { return r.name }
	cols := columns[*rr]{
		decimal("rr_id", func(r *rr) int64 { return r.id }),
		{name: "rr_full_name", kind: nameKind, value: fullName},
		{name: "rr_full_name_utf", kind: nameKind, value: fullName},
		{name: "rr_glue", kind: nameKind, value: (*rr).glue},
		{name: "rr_type", value: func(r *rr) string { return r.rtype }},
		decimal("ttl", func(r *rr) int64 { return int64(r.ttl) }),
		{name: "rr_all_value", value: func(r *rr) string { return r.shown().all() }},
	}
	for i := range len(rdata{}) {
		cols = append(cols, column[*rr]{
			name: "value" + strconv.Itoa(i+1), value: func(r *rr) string { return r.shown()[i] },
		})
	}
	return join(
		cols,
		columns[*rr]{
			{name: "rr_class_name", value: func(r *rr) string { return r.class }},
			{name: "rr_class_parameters", value: func(r *rr) string { return r.classParams.encode() }},
			{name: "rr_class_parameters_properties", value: func(r *rr) string { return r.classParams.setOnly() }},
			{name: "rr_value_ip_addr", value: func(r *rr) string { return r.hexValue("A", "AAAA") }},
			{name: "rr_value_ip4_addr", value: func(r *rr) string { return r.hexValue("A") }},
			decimal("rr_type_id", func(r *rr) int64 { return int64(dns.StringToType[r.rtype]) }),
			flag("delayed_time", func(r *rr) bool { return r.pending != notPending }),
		},
		delayed(func(r *rr) (*state, *server) { return &r.state, r.zone.server }),
		of(zoneIdentity(), func(r *rr) *zone { return r.zone }),
		of(classColumns("dnsview", (*view).inherits), func(r *rr) *view { return r.zone.view }),
		constants[*rr](numberKind, "0", "rr_auth_gsstsig", "rr_name_id", "rr_value_id", "rr_glue_id"),
		constants[*rr](textKind, "",
			"rr_last_update_time", "rr_last_update_days", "rr_name_ip_addr", "rr_name_ip4_addr",
			"rr_class_parameters_inheritance_source"),
	)
}

// shown are the values of a row: those of a SOA have the serial of the moment.
func (r *rr) shown() rdata {
	v := r.values
	if r.rtype == "SOA" {
		v[2] = strconv.FormatUint(uint64(r.zone.serial), 10)
	}
	return v
}

// hexValue is the address of a row of one of these types, in hexadecimal.
func (r *rr) hexValue(rtypes ...string) string {
	if slices.Contains(rtypes, r.rtype) {
		return hexAddr(r.values[0])
	}
	return ""
}

// hexAddr writes an address in hexadecimal, as the appliance shows it, and
// nothing for no address.
func hexAddr(addr string) string {
	parsed, err := netip.ParseAddr(addr)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(parsed.AsSlice())
}

// A member is an appliance of the cluster: here this one.
type member struct{ id int64 }

func memberColumns() columns[member] {
	return join(
		columns[member]{decimal("member_id", func(m member) int64 { return m.id })},
		constants[member](numberKind, "1", "member_is_me"),
		constants[member](textKind, "8.4.0", "member_version"),
		constants[member](textKind, "solidserver-sim", "member_name"),
		constants[member](textKind, "", "member_class_name", "member_class_parameters", "multistatus"),
	)
}
