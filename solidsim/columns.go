package solidsim

import (
	"slices"
	"strconv"
	"strings"
)

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

func decimal[T any](name string, number func(T) int64) column[T] {
	return column[T]{
		name: name, kind: numberKind, number: number,
		value: func(row T) string { return strconv.FormatInt(number(row), 10) },
	}
}

func flag[T any](name string, set func(T) bool) column[T] {
	return decimal(name, func(row T) int64 {
		if set(row) {
			return 1
		}
		return 0
	})
}

// classColumns are the columns of the class parameters of an object, nil for
// one that is not there.
func classColumns[T any](prefix string, params func(T) inheritance) columns[T] {
	return columns[T]{
		{name: prefix + "_class_parameters", value: func(row T) string { return params(row).effective().encode() }},
		{name: prefix + "_class_parameters_properties", value: func(row T) string { return params(row).properties() }},
		{name: prefix + "_class_parameters_inheritance_source", value: func(row T) string { return params(row).sources() }},
	}
}

// delayed are the columns that say what was not pushed everywhere yet.
func delayed[T any](of func(T) (*state, *server)) columns[T] {
	is := func(kind pendingKind) func(T) bool {
		return func(row T) bool { st, _ := of(row); return st.pending == kind }
	}
	return columns[T]{
		flag("delayed_create_time", is(pendingCreate)),
		flag("delayed_delete_time", is(pendingDelete)),
		{name: "multistatus", value: func(row T) string {
			if st, server := of(row); st.pending != notPending {
				return server.multistatus()
			}
			return ""
		}},
	}
}

// serverIdentity are the columns of a server that views, zones and records
// show too.
func serverIdentity() columns[*server] {
	return join(
		columns[*server]{
			decimal("dns_id", func(s *server) int64 { return s.id }),
			{name: "dns_name", value: func(s *server) string { return s.name }},
			{name: "dns_type", value: func(s *server) string { return string(s.kind) }},
			{name: "dns_class_name", value: func(s *server) string { return s.class }},
			{name: "dns_comment", value: func(s *server) string { return s.comment }},
			decimal("vdns_parent_id", func(s *server) int64 {
				if s.parent == nil {
					return 0
				}
				return s.parent.id
			}),
			{name: "vdns_parent_name", value: func(s *server) string {
				if s.parent == nil {
					return nullName
				}
				return s.parent.name
			}},
		},
		constants[*server](numberKind, "0", "dns_cloud"),
		constants[*server](textKind, "", "dns_version"),
	)
}

func serverColumns() columns[*server] {
	return join(
		serverIdentity(),
		columns[*server]{
			{name: "dns_state", value: (*server).condition},
			{name: "vdns_arch", value: func(s *server) string { return s.arch }},
			{name: "vdns_parent_arch", value: func(s *server) string {
				if s.parent == nil {
					return ""
				}
				return s.parent.arch
			}},
			{name: "vdns_members_name", value: func(s *server) string {
				var names []string
				for _, member := range s.members {
					names = append(names, member.name)
				}
				return strings.Join(names, ";")
			}},
			decimal("total_vdns_members", func(s *server) int64 { return int64(len(s.members)) }),
			{name: "ip_addr", value: func(s *server) string { return hexAddr(s.addr) }},
			flag("dns_synching", (*server).synching),
			{name: "multistatus", value: (*server).multistatus},
		},
		classColumns("dns", (*server).classParameters),
		constants[*server](textKind, "yes", "dns_recursion", "dns_notify"),
		constants[*server](numberKind, "0",
			"dns_hybrid", "dnsblast_enabled", "dnsblast_status", "dnsgslb_supported",
			"dnsguardian_supported", "gss_enabled", "gss_keytab_id", "ipmdns_is_package", "isolated", "querylog_state"),
		constants[*server](textKind, "",
			"aws_keyid", "dns_allow_query", "dns_allow_query_cache", "dns_allow_recursion", "dns_allow_transfer",
			"dns_also_notify", "dns_forward", "dns_forwarders", "dns_key_name", "dns_key_proto", "dns_key_value",
			"dns_role", "dnssec_validation", "ipmdns_protocol", "ipmdns_type"),
	)
}

// synching is the column dns_synching: changes are on their way.
func (s *server) synching() bool {
	return slices.ContainsFunc(s.targets(), func(t *server) bool { return len(t.queue) > 0 })
}

// condition is the column dns_state: Y, or ET when there is no answer.
func (s *server) condition() string {
	if s.held {
		return "ET"
	}
	return "Y"
}

// viewIdentity are the columns of a view that zones and records show too. A nil
// view is none: # and 0.
func viewIdentity() columns[*view] {
	return columns[*view]{
		decimal("dnsview_id", func(v *view) int64 {
			if v == nil {
				return 0
			}
			return v.id
		}),
		{name: "dnsview_name", value: func(v *view) string {
			if v == nil {
				return nullName
			}
			return v.name
		}},
		{name: "dnsview_class_name", value: func(v *view) string {
			if v == nil {
				return ""
			}
			return v.class
		}},
	}
}

// inherits is nil for no view.
func (v *view) inherits() inheritance {
	if v == nil {
		return nil
	}
	return v.classParameters()
}

func viewColumns() columns[*view] {
	return join(
		viewIdentity(),
		classColumns("dnsview", (*view).inherits),
		of(serverIdentity(), func(v *view) *server { return v.server }),
		of(classColumns("dns", (*server).classParameters), func(v *view) *server { return v.server }),
		constants[*view](numberKind, "0", "dnsview_order", "delayed_create_time", "delayed_delete_time"),
		constants[*view](numberKind, "1", "row_enabled"),
		constants[*view](textKind, "yes", "dnsview_recursion"),
		constants[*view](textKind, "",
			"dnsview_match_clients", "dnsview_match_to", "dnsview_allow_query", "dnsview_allow_recursion",
			"dnsview_allow_transfer", "dnsview_key_name", "multistatus"),
	)
}

// zoneIdentity are the columns of a zone that records show too, with those of
// its view and its server. What changes with the row is not among them.
func zoneIdentity() columns[*zone] {
	name := func(z *zone) string { return z.name }
	return join(
		of(serverIdentity(), func(z *zone) *server { return z.server }),
		of(viewIdentity(), func(z *zone) *view { return z.view }),
		columns[*zone]{
			decimal("dnszone_id", func(z *zone) int64 { return z.id }),
			{name: "dnszone_name", kind: nameKind, value: name},
			{name: "dnszone_name_utf", kind: nameKind, value: name},
			{name: "dnszone_sort_zone", kind: nameKind, value: name},
			{name: "dnszone_type", value: func(z *zone) string { return string(z.kind) }},
			{name: "dnszone_class_name", value: func(z *zone) string { return z.class }},
			flag("dnszone_is_reverse", (*zone).reverse),
		},
		constants[*zone](numberKind, "0", "dnszone_is_rpz"),
		constants[*zone](textKind, nullName, "dnszone_site_name"),
		constants[*zone](textKind, "", "dnszone_masters", "dnszone_forwarders"),
	)
}

func zoneColumns() columns[*zone] {
	return join(
		zoneIdentity(),
		classColumns("dnszone", (*zone).classParameters),
		of(classColumns("dnsview", (*view).inherits), func(z *zone) *view { return z.view }),
		of(classColumns("dns", (*server).classParameters), func(z *zone) *server { return z.server }),
		delayed(func(z *zone) (*state, *server) { return &z.state, z.server }),
		columns[*zone]{flag("dnszone_synching", func(z *zone) bool { return z.pending != notPending })},
		constants[*zone](textKind, "Y", "dns_state"),
		constants[*zone](numberKind, "1", "row_enabled"),
		constants[*zone](numberKind, "0",
			"dnszone_ad_integrated", "dnszone_order", "dnszone_site_id", "dnszone_xfer_done",
			"dns_force_hybrid", "gss_keytab_id", "ipmdns_hsm_enabled", "num_keys", "use_update_policy", "ds"),
		constants[*zone](textKind, "",
			"dnszone_allow_query", "dnszone_allow_transfer", "dnszone_allow_update", "dnszone_also_notify",
			"dnszone_forward", "dnszone_notify", "dnszone_rev_sort_zone", "ipmdns_protocol", "ipmdns_type", "ip_addr"),
	)
}
