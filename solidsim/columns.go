package solidsim

import "strconv"

// nullName is how the appliance writes a name that is not there: no view, no
// parent, no space. A missing id is 0.
const nullName = "#"

// constants returns columns that hold the same value in every row. They are
// there because clients read them.
func constants[T any](kind kind, value string, names ...string) columns[T] {
	var cols columns[T]
	for _, name := range names {
		cols = append(cols, column[T]{name: name, kind: kind, value: func(T) string { return value }})
	}
	return cols
}

// of returns columns of one object as columns of another one that leads to it.
func of[T, U any](cols columns[U], to func(T) U) columns[T] {
	var result columns[T]
	for _, c := range cols {
		result = append(result, column[T]{name: c.name, kind: c.kind, value: func(row T) string { return c.value(to(row)) }})
	}
	return result
}

func join[T any](parts ...columns[T]) columns[T] {
	var all columns[T]
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

func decimal[T any](name string, value func(T) int64) column[T] {
	return column[T]{name: name, kind: numberKind, value: func(row T) string { return strconv.FormatInt(value(row), 10) }}
}

// serverIdentity are the columns of a server that zones and records show too.
func serverIdentity() columns[*server] {
	return join(
		columns[*server]{
			decimal("dns_id", func(s *server) int64 { return s.id }),
			{name: "dns_name", value: func(s *server) string { return s.name }},
		},
		constants[*server](textKind, "vdns", "dns_type"),
		constants[*server](numberKind, "0", "dns_cloud", "vdns_parent_id"),
		constants[*server](textKind, nullName, "vdns_parent_name"),
		constants[*server](textKind, "", "dns_class_name", "dns_version", "dns_comment", "multistatus"),
	)
}

func serverColumns() columns[*server] {
	return join(
		serverIdentity(),
		constants[*server](textKind, "Y", "dns_state"),
		constants[*server](textKind, "single", "vdns_arch"),
		constants[*server](textKind, "yes", "dns_recursion", "dns_notify"),
		constants[*server](numberKind, "0",
			"dns_synching", "dns_hybrid", "dnsblast_enabled", "dnsblast_status", "dnsgslb_supported",
			"dnsguardian_supported", "gss_enabled", "gss_keytab_id", "ipmdns_is_package", "isolated", "querylog_state",
			"total_vdns_members"),
		constants[*server](textKind, "",
			"aws_keyid", "dns_allow_query", "dns_allow_query_cache", "dns_allow_recursion", "dns_allow_transfer",
			"dns_also_notify", "dns_forward", "dns_forwarders", "dns_key_name", "dns_key_proto", "dns_key_value",
			"dns_role", "dnssec_validation", "ip_addr", "ipmdns_protocol", "ipmdns_type", "vdns_members_name",
			"vdns_parent_arch", "dns_class_parameters", "dns_class_parameters_properties"),
	)
}

// zoneIdentity are the columns of a zone that records show too.
func zoneIdentity() columns[*zone] {
	sorted := func(z *zone) string { return z.name }
	return join(
		of(serverIdentity(), func(z *zone) *server { return z.server }),
		columns[*zone]{
			decimal("dnszone_id", func(z *zone) int64 { return z.id }),
			{name: "dnszone_name", kind: nameKind, value: sorted},
			{name: "dnszone_name_utf", kind: nameKind, value: sorted},
			{name: "dnszone_sort_zone", kind: nameKind, value: sorted},
			{name: "dnszone_is_reverse", kind: numberKind, value: func(z *zone) string {
				if z.reverse() {
					return "1"
				}
				return "0"
			}},
		},
		constants[*zone](textKind, "master", "dnszone_type"),
		constants[*zone](numberKind, "0", "dnszone_is_rpz", "dnsview_id", "delayed_create_time", "delayed_delete_time"),
		constants[*zone](textKind, nullName, "dnsview_name", "dnszone_site_name"),
		constants[*zone](textKind, "",
			"dnszone_masters", "dnszone_forwarders", "dnszone_class_name", "dnsview_class_name",
			"dnsview_class_parameters", "dnsview_class_parameters_properties"),
	)
}

func zoneColumns() columns[*zone] {
	return join(
		zoneIdentity(),
		constants[*zone](textKind, "Y", "dns_state"),
		constants[*zone](numberKind, "1", "row_enabled"),
		constants[*zone](numberKind, "0",
			"dnszone_synching", "dnszone_ad_integrated", "dnszone_order", "dnszone_site_id", "dnszone_xfer_done",
			"dns_force_hybrid", "gss_keytab_id", "ipmdns_hsm_enabled", "num_keys", "use_update_policy", "ds"),
		constants[*zone](textKind, "",
			"dnszone_allow_query", "dnszone_allow_transfer", "dnszone_allow_update", "dnszone_also_notify",
			"dnszone_forward", "dnszone_notify", "dnszone_rev_sort_zone", "ipmdns_protocol", "ipmdns_type", "ip_addr",
			"dnszone_class_parameters", "dnszone_class_parameters_properties",
			"dnszone_class_parameters_inheritance_source", "dns_class_parameters", "dns_class_parameters_properties"),
	)
}

func rrColumns() columns[*rr] {
	fullName := func(r *rr) string { return r.name }
	cols := columns[*rr]{
		decimal("rr_id", func(r *rr) int64 { return r.id }),
		{name: "rr_full_name", kind: nameKind, value: fullName},
		{name: "rr_full_name_utf", kind: nameKind, value: fullName},
		{name: "rr_glue", kind: nameKind, value: (*rr).glue},
		{name: "rr_type", value: func(r *rr) string { return r.rtype }},
		decimal("ttl", func(r *rr) int64 { return int64(r.ttl) }),
		{name: "rr_all_value", value: func(r *rr) string { return r.values.all() }},
	}
	for i := range len(rdata{}) {
		cols = append(cols, column[*rr]{
			name: "value" + strconv.Itoa(i+1), value: func(r *rr) string { return r.values[i] },
		})
	}
	return join(
		cols,
		columns[*rr]{
			{name: "rr_class_name", value: func(r *rr) string { return r.class }},
			{name: "rr_class_parameters", value: func(r *rr) string { return r.classParams.encode() }},
		},
		of(zoneIdentity(), func(r *rr) *zone { return r.zone }),
		constants[*rr](numberKind, "0", "delayed_time", "rr_auth_gsstsig"),
		constants[*rr](textKind, "",
			"rr_last_update_time", "rr_last_update_days", "rr_name_ip_addr", "rr_name_ip4_addr", "rr_value_ip_addr",
			"rr_value_ip4_addr", "rr_class_parameters_properties", "rr_class_parameters_inheritance_source",
			"dnsview_class_parameters_inheritance_source"),
	)
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
