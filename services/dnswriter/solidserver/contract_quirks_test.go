package solidserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keastream/keastream/solidsim"
)

// quirkStatements are those about answers and about what surprises.
func quirkStatements() []statement {
	const (
		inView  = "dns_name=" + smart + "&dnsview_name=in"
		addIn   = "POST dns_rr_add?" + inView + "&rr_type=A&value1=192.0.2.1&rr_name="
		addAAAA = "POST dns_rr_add?" + alone + "&rr_name=h.site.com&rr_type=AAAA&value1="
		byName  = "GET dns_rr_list?SELECT=rr_id,rr_full_name,value1,dns_name,dnsview_name,vdns_parent_id,delayed_create_time,delayed_delete_time,multistatus&WHERE=rr_full_name='h.site.com'"
	)
	return []statement{
		{"4.1", "api: status and shape of each kind of answer", exchanges(
			exchange{listH, 204, ""},
			exchange{"GET dns_rr_info?rr_id=101", 204, ""},
			exchange{addH, 201, written},
			exchange{listH, 200, `^\[\{"errno":"0",`},
			exchange{"PUT dns_rr_add?rr_id=$1&rr_ttl=60", 200, written},
			exchange{addH + "&rr_ttl=61", 200, `^\[\{"ret_oid":"101"\}\]$`}, // new_edit, the id of what is there
			exchange{addH + "&add_flag=new_only", 400, `^\{"errno":"\d+","errmsg":"DNS rr already exists","severity":"Error","parameters":"","param_format":"","param_value":"","ret_code":"0"\}$`},
			exchange{"GET dns_rr_list?limit=x", 400, `"parameters":"limit","param_format":"","param_value":"x"`},
			exchange{"GET dns_nothing_list", 404, refused},
			exchange{"DELETE dns_rr_delete?rr_id=$1", 200, written},
			exchange{"DELETE dns_rr_delete?rr_id=$1", 400, missing},
		)},
		{"4.1", "api: every value is text", everyValueIsText},
		{"4.1", "api: no such user, no right", strangers},
		{"4.2", "api: columns of a row, # and 0 for what there is not", exchanges(
			exchange{addH, 201, written},
			exchange{listH, 200, `"rr_glue":"h","rr_type":"A","ttl":"3600","rr_all_value":"192.0.2.1","value1":"192.0.2.1","value2":""`},
			exchange{listH, 200, `"dns_name":"alone.site.com","dns_type":"ipm".*"vdns_parent_id":"0","vdns_parent_name":"#".*"dnsview_id":"0","dnsview_name":"#"`},
			exchange{listH, 200, `"dnszone_type":"master".*"dnszone_is_reverse":"0".*"dnszone_is_rpz":"0"`},
			exchange{"POST dns_rr_add?" + alone + "&rr_name=h.site.com&rr_type=MX&value1=10&value2=mail.site.com", 201, written},
			exchange{"GET dns_rr_info?rr_id=$2", 200, `"rr_all_value":"10, mail.site.com","value1":"10","value2":"mail.site.com"`},
			exchange{"GET dns_view_list?WHERE=" + inAlone, 204, ""}, // and no empty array
		)},
		{"4.3", "api: types and states of servers and zones", exchanges(
			exchange{"GET dns_server_list?SELECT=dns_name,dns_type,vdns_arch,dns_state,dns_synching&ORDERBY=dns_name", 200,
				`"alone.site.com","dns_type":"ipm","vdns_arch":"","dns_state":"Y","dns_synching":"0".*"dns_type":"vdns","vdns_arch":"masterslave","dns_state":"Y","dns_synching":"0"`},
			exchange{"GET dns_zone_list?SELECT=dnszone_name,dnszone_type,dnszone_is_reverse&WHERE=dnszone_type!='master'", 200, `^\[\{[^{]*"slave.com"[^{]*\}\]$`},
			exchange{"GET dns_zone_count?WHERE=dnszone_is_reverse='1'+and+vdns_parent_id='0'", 200, `"total":"3"`},
		)},
		{"5.1", "api: a row stands once more for each member, which is not written to", exchanges(
			exchange{addIn + "h.site.com", 201, written},
			exchange{byName, 200, `"smart.site.com".*"vdns_parent_id":"0".*"ns1.site.com".*"vdns_parent_id":"[1-9].*"ns2.site.com".*"vdns_parent_id":"[1-9]`},
			exchange{"GET dns_rr_count?WHERE=rr_full_name='h.site.com'+and+vdns_parent_id='0'", 200, `"total":"1"`},
			exchange{"POST dns_rr_add?dns_name=" + member + "&dnsview_name=in&rr_type=A&value1=192.0.2.1&rr_name=i.site.com", 400, "member of the SMART"},
		)},
		{"5.2", "api: pending until all members have it", pushes},
		{"5.3", "api: views by name, and case-sensitive", exchanges(
			exchange{"POST dns_rr_add?dns_name=" + smart + "&rr_type=A&value1=192.0.2.1&rr_name=h.site.com", 400, "the DNS server has views"},
			exchange{addIn + "h.site.com", 201, written},
			exchange{strings.Replace(addIn, "=in&", "=In&", 1) + "i.site.com", 400, wrongZone},
			exchange{byName + "+and+dnsview_name='%23'", 204, ""},
			exchange{byName + "+and+dnsview_name='In'", 204, ""},
			exchange{byName + "+and+dnsview_name='out'", 204, ""},
			exchange{byName + "+and+dnsview_name='in'", 200, `"dnsview_name":"in"`},
			exchange{"GET dns_view_list?WHERE=dns_name='" + smart + "'", 200, `"dnsview_name":"in".*"dnsview_name":"out"`},
		)},
		{"5.4", "api: zone and view or server have to fit", exchanges(
			exchange{addIn + "h.site.com&dnszone_name=none.com", 400, wrongZone},
			exchange{addH + "&dnszone_name=lab.site.com", 400, wrongZone},
			exchange{"POST dns_rr_add?" + more + "h.lab.site.com&dnszone_name=site.com", 400, wrongZone},
			exchange{"POST dns_rr_add?" + more + "h.slave.com", 400, wrongZone},
			exchange{"POST dns_rr_add?" + more + "h.elsewhere.org", 400, wrongZone},
			exchange{"POST dns_rr_add?" + more + "h.lab.site.com", 201, written},
			exchange{"GET dns_rr_info?rr_id=$1", 200, `"dnszone_name":"lab.site.com"`},
		)},
		{"5.5", "api: ids change, and with them what is found by one", idsChange},
		{"5.6", "api: names in lower case without a dot at the end, compared without case", exchanges(
			exchange{"POST dns_rr_add?" + more + "H.Site.COM", 201, written},
			exchange{"POST dns_rr_add?" + more + "h.SITE.com&add_flag=new_only", 400, exists},
			exchange{"GET dns_rr_list?WHERE=rr_full_name='H.SITE.com'", 200, `"rr_full_name":"h.site.com"`},
			exchange{"POST dns_rr_add?" + more + "i.site.com.", 400, refused},
			exchange{"POST dns_rr_add?dns_name=Alone.site.com&rr_type=A&value1=192.0.2.1&rr_name=i.site.com", 400, "DNS server does not exist"},
		)},
		{"5.7", "api: AAAA is stored expanded", exchanges(
			exchange{addAAAA + "2001:db8::10", 201, written},
			exchange{addAAAA + "2001:DB8:0::0010&add_flag=new_only", 400, exists},
			exchange{byName + "+and+value1='2001:db8::10'", 204, ""},
			exchange{byName + "+and+value1='2001:0db8:0000:0000:0000:0000:0000:0010'", 200, `"value1":"2001:0db8:0000:0000:0000:0000:0000:0010"`},
		)},
		{"5.8", "api: a row for each value, which an edit by id changes in place", exchanges(
			exchange{addH + "&add_flag=new_only", 201, written},
			exchange{addH + "&add_flag=new_only", 400, exists},
			exchange{addH + "0&add_flag=new_only", 201, written},
			exchange{byName, 200, `^\[\{[^{]*"192.0.2.1"[^{]*\{[^{]*"192.0.2.10"[^{]*$`},
			exchange{"PUT dns_rr_add?rr_id=$1&value1=192.0.2.3&add_flag=edit_only", 200, written},
			exchange{"GET dns_rr_info?rr_id=$1", 200, `"value1":"192.0.2.3"`},
			exchange{"PUT dns_rr_add?rr_id=$1&value1=192.0.2.10&add_flag=edit_only", 400, exists},
			exchange{"POST dns_rr_add?" + alone + "&rr_name=h.site.com&rr_type=CNAME&value1=i.site.com", 400, "CNAME and other data"},
		)},
		{"5.10", "api: dnsptr=1 makes and removes the PTR", exchanges(
			exchange{"POST dns_rr_add?" + more + "h.auto.com&value1=172.30.0.1", 201, written},
			exchange{"GET dns_rr_list?WHERE=rr_full_name='1.0.30.172.in-addr.arpa'", 200, `"rr_type":"PTR".*"value1":"h.auto.com"`},
			exchange{"POST dns_rr_add?" + alone + "&rr_name=1.0.30.172.in-addr.arpa&rr_type=PTR&value1=h.auto.com&add_flag=new_only", 400, exists},
			exchange{"DELETE dns_rr_delete?rr_id=$1", 200, written},
			exchange{"GET dns_rr_list?WHERE=rr_full_name='1.0.30.172.in-addr.arpa'", 204, ""},
		)},
		{"5.11", "api: a TTL of 3600, of 0, and none that is no number", exchanges(
			exchange{addH, 201, written},
			exchange{listH, 200, `"ttl":"3600"`},
			exchange{addH + "&rr_ttl=0", 200, written},
			exchange{listH, 200, `"ttl":"0"`},
			exchange{addH + "&rr_ttl=600", 200, written},
			exchange{listH, 200, `"ttl":"600"`},
			exchange{addH + "&rr_ttl=1h", 400, `"parameters":"rr_ttl"`},
			exchange{addH + "&rr_ttl=-1", 400, `"parameters":"rr_ttl"`},
		)},
		{"5.12", "api: pages by id", exchanges(
			exchange{addH, 201, written}, exchange{addH + "0", 201, written}, exchange{addH + "1", 201, written},
			exchange{"GET dns_rr_list?SELECT=rr_id&ORDERBY=rr_id&limit=2", 200, `^\[\{"errno":"0","rr_id":"101"\},\{"errno":"0","rr_id":"102"\}\]$`},
			exchange{"GET dns_rr_list?SELECT=rr_id&ORDERBY=rr_id&limit=2&offset=2", 200, `^\[\{"errno":"0","rr_id":"103"\}\]$`},
			exchange{"GET dns_rr_list?SELECT=rr_id&ORDERBY=rr_id&limit=2&offset=3", 204, ""},
		)},
		{"5.14", "api: what a second try answers", exchanges(
			exchange{addH + "&add_flag=new_only", 201, written},
			exchange{addH + "&add_flag=new_only", 400, exists},
			exchange{addH, 200, `"ret_oid":"101"`},
			exchange{"PUT dns_rr_add?rr_id=$1&value1=192.0.2.2", 200, written},
			exchange{"PUT dns_rr_add?rr_id=$1&value1=192.0.2.2", 200, written},
			exchange{"DELETE dns_rr_delete?rr_id=$1", 200, written},
			exchange{"DELETE dns_rr_delete?rr_id=$1", 400, missing},
			exchange{"GET dns_rr_count", 200, `"total":"0"`},
		)},
		{"5.17", "api: TXT as given, with its quotes, up to 255 characters", exchanges(
			exchange{`POST dns_rr_add?` + alone + `&rr_name=h.site.com&rr_type=TXT&value1="heritage%3Dkea,+it's"`, 201, written},
			exchange{listH, 200, `"value1":"\\"heritage=kea, it's\\""`},
			exchange{"POST dns_rr_add?" + alone + "&rr_name=h.site.com&rr_type=TXT&value1=" + strings.Repeat("x", 255), 201, written},
			exchange{"POST dns_rr_add?" + alone + "&rr_name=h.site.com&rr_type=TXT&value1=" + strings.Repeat("x", 256), 400, refused},
		)},
	}
}

func everyValueIsText(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, solidsim.Config{})
	a.exchange(t, exchange{addH, 201, written})
	for _, service := range []string{
		"member_list", "dns_server_list", "dns_view_list", "dns_zone_list", "dns_rr_list",
		"member_count", "dns_server_count", "dns_view_count", "dns_zone_count", "dns_rr_count",
	} {
		_, body := a.send(t, http.MethodGet, a.sim.URL()+"/rest/"+service, "")
		var rows []map[string]string
		if err := json.Unmarshal([]byte(body), &rows); err != nil || len(rows) == 0 || rows[0]["errno"] != "0" {
			t.Errorf("%s: %s, %v", service, body, err)
		}
	}
}

// strangers are callers who are not known, or may not do what they ask for.
func strangers(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, solidsim.Config{Denied: map[string][]string{user: {"member_list"}}})
	a.exchange(t, exchange{"GET member_list", 403, refused})
	resp, err := a.http.Get(a.sim.URL() + "/rest/dns_zone_list")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var object map[string]string
	if err := json.NewDecoder(resp.Body).Decode(&object); err != nil || resp.StatusCode != 401 || object["errno"] == "0" {
		t.Errorf("status %d, %v, %v", resp.StatusCode, object, err)
	}
}

func pushes(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, solidsim.Config{})
	const state = "GET dns_rr_list?SELECT=dns_name,rr_full_name,value1,delayed_create_time,delayed_delete_time,multistatus&WHERE=dns_name='" + smart + "'"
	held := func(server string, hold func(string) error) {
		if err := hold(server); err != nil {
			t.Fatal(err)
		}
	}
	row := func(created, deleted, status string) string {
		return fmt.Sprintf(`^\[[^{]*{[^{]*"delayed_create_time":"%s","delayed_delete_time":"%s","multistatus":"%s"\}\]$`, created, deleted, status)
	}
	const stuck = "1@No answer from ns1.site.com@40@dns"
	held(member, a.sim.HoldPushes)
	a.exchange(t, exchange{"POST dns_rr_add?dns_name=" + smart + "&dnsview_name=in&rr_name=h.site.com&rr_type=A&value1=192.0.2.1", 201, written})
	a.exchange(t, exchange{state, 200, row("1", "0", stuck)})
	a.exchange(t, exchange{"GET dns_server_list?SELECT=dns_name,dns_state,dns_synching&WHERE=dns_name='" + member + "'", 200, `"dns_state":"ET","dns_synching":"1"`})
	held(member, a.sim.ReleasePushes)
	a.exchange(t, exchange{state, 200, row("0", "0", "")})
	held(member, a.sim.HoldPushes)
	a.exchange(t, exchange{"DELETE dns_rr_delete?rr_id=$1", 200, written})
	a.exchange(t, exchange{state, 200, row("0", "1", stuck)})
	held(member, a.sim.ReleasePushes)
	a.exchange(t, exchange{state, 204, ""})
}

func idsChange(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, solidsim.Config{})
	a.exchange(t, exchange{addH + "&rr_class_parameters=a%3D1", 201, written})
	if err := a.sim.Resynchronize(standalone, true); err != nil {
		t.Fatal(err)
	}
	a.exchange(t, exchange{"GET dns_rr_info?rr_id=$1", 204, ""})
	a.exchange(t, exchange{"PUT dns_rr_add?rr_id=$1&rr_ttl=60", 400, missing})
	a.exchange(t, exchange{"DELETE dns_rr_delete?rr_id=$1", 400, missing})
	a.exchange(t, exchange{listH, 200, `"value1":"192.0.2.1".*"rr_class_parameters":""`})
}
