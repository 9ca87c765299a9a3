package solidsim_test

import (
	"strings"
	"testing"

	"github.com/keastream/keastream/solidsim"
)

// TestColumnsThatClientsNeed has the columns without which public clients
// crash (EfficientIP-Labs/terraform-provider-solidserver, vrtdev/solidserverrest),
// and those of a row printed from a live SMART.
func TestColumnsThatClientsNeed(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Servers: busyServers()})
	busy(t, sim)
	c := newClient(t, sim)
	for service, names := range map[string]string{
		"dns_rr_list": `errno rr_id rr_full_name rr_full_name_utf rr_glue rr_type ttl rr_all_value
			value1 value2 value3 value4 value5 value6 value7 delayed_time delayed_create_time delayed_delete_time
			dnszone_id dnszone_name dnszone_name_utf dnszone_sort_zone dnszone_type dnszone_is_reverse dnszone_is_rpz
			dnszone_site_name dnszone_masters dnszone_forwarders dnszone_class_name
			dns_id dns_name dns_type dns_cloud dns_class_name dns_version dns_comment vdns_parent_id vdns_parent_name
			dnsview_id dnsview_name dnsview_class_name multistatus rr_auth_gsstsig rr_last_update_time rr_last_update_days
			rr_name_ip_addr rr_name_ip4_addr rr_value_ip_addr rr_value_ip4_addr rr_name_id rr_value_id rr_type_id rr_glue_id
			rr_class_name rr_class_parameters rr_class_parameters_properties rr_class_parameters_inheritance_source
			dnsview_class_parameters dnsview_class_parameters_properties dnsview_class_parameters_inheritance_source`,
		"dns_zone_list": `errno dns_state dnszone_ad_integrated dnszone_allow_query dnszone_allow_transfer dnszone_allow_update
			dnszone_also_notify dnszone_class_name dnszone_forward dnszone_forwarders dnszone_is_reverse dnszone_is_rpz
			dnszone_masters dnszone_name dnszone_name_utf dnszone_notify dnszone_order dnszone_rev_sort_zone dnszone_type ds
			num_keys delayed_create_time dnszone_class_parameters dnszone_site_name dnsview_name`,
		"dns_server_list": `errno aws_keyid dns_allow_query dns_allow_query_cache dns_allow_recursion dns_allow_transfer
			dns_also_notify dns_class_name dns_comment dns_forward dns_forwarders dns_hybrid dns_id dns_key_name dns_key_proto
			dns_key_value dns_name dns_notify dns_recursion dns_role dns_state dns_synching dns_type dns_version
			dnsblast_enabled dnsblast_status dnsgslb_supported dnsguardian_supported dnssec_validation gss_enabled
			gss_keytab_id ipmdns_is_package ipmdns_type isolated multistatus querylog_state vdns_arch vdns_members_name
			vdns_parent_name vdns_parent_id ip_addr dns_class_parameters`,
		"dns_view_list": "errno dnsview_id dnsview_name dns_id dns_name dnsview_class_parameters vdns_parent_id",
		"member_list":   "errno member_is_me member_version",
	} {
		for _, row := range c.must(200, "GET", service) {
			for name := range strings.FieldsSeq(names) {
				if _, found := row[name]; !found {
					t.Errorf("%s: no %s in %v", service, name, row)
				}
			}
			if service == "dns_server_list" && row["dns_type"] != "vdns" && len(row["ip_addr"]) != 8 {
				t.Errorf("%s: ip_addr %q, want 8 hexadecimal digits", row["dns_name"], row["ip_addr"])
			}
		}
	}
}
