package solidserver_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/solidsim"
)

// What the statements have in common: alone is the server without views, h.site.com
// the record that most of them are about.
const (
	alone     = "dns_name=" + standalone
	inAlone   = "dns_name='" + standalone + "'"
	addH      = "POST dns_rr_add?" + alone + "&rr_name=h.site.com&rr_type=A&value1=192.0.2.1"
	listH     = "GET dns_rr_list?WHERE=" + inAlone + "+AND+rr_full_name='h.site.com'"
	written   = `^\[\{"ret_oid":"\d+"\}\]$`
	exists    = `^\{"errno":"[1-9]\d*","errmsg":"DNS rr already exists","severity":"Error",`
	missing   = `"errmsg":"DNS rr does not exist"`
	wrongZone = `"errmsg":"RR cannot belong to given DNS zone"`
	refused   = `^\{"errno":"[1-9]\d*","errmsg":".+","severity":"Error",`
	// more is the rest of a call that adds a record like h.site.com.
	more = alone + "&rr_type=A&value1=192.0.2.1&rr_name="
)

// apiStatements are those about the API alone.
func apiStatements() []statement {
	return []statement{
		{"1.1", "api: below /rest, /rpc, and with parameters in the path", exchanges(
			exchange{"GET /rest/dns_zone_list?WHERE=dnszone_name='lab.site.com'", 200, `"lab.site.com"`},
			exchange{"GET /rpc/dns_zone_list?WHERE=dnszone_name='lab.site.com'", 200, `"lab.site.com"`},
			exchange{"GET /rest/dns_zone_list/WHERE/dnszone_name='lab.site.com'", 200, `"lab.site.com"`},
			exchange{"GET /rest/dns_zone_list/WHERE/dnszone_name='none.com'", 204, ""},
			exchange{"GET /dns_zone_list", 404, refused},
			exchange{"PATCH dns_rr_add", 400, refused},
		)},
		{"1.1", "api: plain HTTP is sent to HTTPS", plainHTTP},
		{"1.2", "api: POST creates, PUT edits, by the same name", exchanges(
			exchange{addH, 201, written},
			exchange{"PUT dns_rr_add?rr_id=$1&rr_ttl=60", 200, written},
			exchange{"POST dns_rr_delete?rr_id=$1", 400, refused},
			exchange{"GET dns_rr_delete?rr_id=$1", 400, refused},
			exchange{"DELETE dns_rr_delete?rr_id=$1", 200, written},
			exchange{"POST dns_rr_create?" + more + "i.site.com", 404, refused},
			exchange{"PUT dns_rr_update?rr_id=$1", 404, refused},
			exchange{"POST dns_rr_list", 400, refused},
			exchange{"GET member_list?WHERE=member_is_me='1'", 200, `"member_version":"8\.4\.0"`},
			exchange{"GET member_list?WHERE=member_is_me=1", 200, `"member_is_me":"1"`},
			exchange{"OPTIONS dns_rr_add", 200, `"parameter":"rr_class_parameters"`},
		)},
		{"1.2", "api: zones, views and servers, of which the last have irregular names", exchanges(
			exchange{"POST dns_add?dns_name=new.site.com&dns_type=vdns&vdns_arch=single", 201, written},
			exchange{"POST dns_view_add?dns_name=new.site.com&dnsview_name=v", 201, written},
			exchange{"POST dns_zone_add?dns_name=new.site.com&dnsview_name=v&dnszone_name=new.com&dnszone_type=master", 201, written},
			exchange{"PUT dns_zone_add?dnszone_id=$3&dnszone_class_parameters=dnsptr%3D1", 200, written},
			exchange{"GET dns_zone_info?dnszone_id=$3", 200, `"dnszone_class_parameters":"dnsptr=1"`},
			exchange{"DELETE dns_zone_delete?dnszone_id=$3", 200, written},
			exchange{"DELETE dns_view_delete?dnsview_id=$2", 200, written},
			exchange{"DELETE dns_delete?dns_id=$1", 200, written},
			exchange{"POST dns_server_add?dns_name=x", 404, refused},
		)},
		{"1.3", "api: parameters in the query string, and an empty body of type JSON", exchanges(
			exchange{addH + "&rr_class_parameters=owner%3Dkea%2Bpipeline%252F1", 201, written},
			exchange{listH, 200, `"rr_class_parameters":"owner=kea\+pipeline%2F1"`},
			exchange{"GET dns_rr_list?WHERE=rr_full_name+%3D+'h.site.com'", 200, `"h\.site\.com"`},
			exchange{"GET dns_rr_list?WHERE=rr_full_name%20=%20'h.site.com'", 200, `"h\.site\.com"`},
			exchange{"GET dns_rr_list?WHERE=%zz", 400, refused},
		)},
		{"1.3", "api: a flat JSON object with POST, PUT and DELETE", exchanges(
			exchange{`POST dns_rr_add {"dns_name":"alone.site.com","rr_name":"h.site.com","rr_type":"A","value1":"192.0.2.1","rr_ttl":60}`, 201, written},
			exchange{`PUT dns_rr_add {"rr_id":$1,"rr_ttl":"61"}`, 200, written},
			exchange{listH, 200, `"ttl":"61"`},
			exchange{`DELETE dns_rr_delete {"rr_id":"$1"}`, 200, written},
			exchange{`POST dns_rr_add {"rr_name":{"a":1}}`, 400, refused},
			exchange{`POST dns_rr_add {"rr_name"`, 400, refused},
		)},
		{"1.3", "api: what is not known is ignored without a word", exchanges(
			exchange{addH + "&ttl=60&dns_zone_id=7&dns_view_name=x", 201, written},
			exchange{listH, 200, `"ttl":"3600"`},
			exchange{"GET dns_zone_list?WHERE=dnszone_name='lab.site.com'&limit=1&type=", 200, `"lab.site.com"`},
		)},
		{"1.4", "api: WHERE in upper case, limit and offset in lower case", exchanges(
			exchange{"GET dns_zone_list?WHERE=dnszone_name='none.com'", 204, ""},
			exchange{"GET dns_zone_list?where=dnszone_name='none.com'", 200, `"site.com"`},
			exchange{"GET dns_zone_list?SELECT=dnszone_name&WHERE=dnszone_name='site.com'&limit=1", 200, `^\[\{[^{]*\}\]$`},
			exchange{"GET dns_zone_list?SELECT=dnszone_name&WHERE=dnszone_name='site.com'&LIMIT=1", 200, `"site.com".*"site.com"`},
			exchange{"GET dns_zone_list?offset=1000", 204, ""},
			exchange{"GET dns_zone_list?OFFSET=1000", 200, `"site.com"`},
		)},
		{"1.4", "api: what is used is selected", exchanges(
			exchange{"GET dns_zone_list?SELECT=dnszone_name&WHERE=dnszone_name='lab.site.com'&ORDERBY=dnszone_name", 200, `^\[\{"errno":"0","dnszone_name":"lab.site.com"\}\]$`},
			exchange{"GET dns_zone_list?SELECT=dnszone_id&WHERE=dnszone_name='lab.site.com'", 400, refused},
			exchange{"GET dns_zone_list?SELECT=dnszone_id&ORDERBY=dnszone_name", 400, refused},
		)},
		{"1.4", "api: ORDERBY a column or its place, in either direction", exchanges(
			exchange{"GET dns_server_list?SELECT=dns_name&ORDERBY=dns_name+DESC", 200, `smart.*ns2.*ns1.*alone`},
			exchange{"GET dns_server_list?SELECT=dns_id,dns_name&ORDERBY=2+ASC", 200, `alone.*ns1.*ns2.*smart`},
			exchange{"GET dns_server_list?SELECT=vdns_parent_id,dns_name&ORDERBY=vdns_parent_id+desc,dns_name", 200, `ns1.*ns2.*alone.*smart`},
		)},
		{"1.4", "api: TAGS give columns, NO_PARENT_CLASS_PARAM takes inherited ones away", exchanges(
			exchange{"GET dns_zone_list?TAGS=dnszone.dnsptr%26dns.x&WHERE=tag_dnszone_dnsptr='1'", 200, `"dnszone_name":"auto.com".*"tag_dnszone_dnsptr":"1","tag_dns_x":""`},
			exchange{"GET dns_rr_list?TAGS=rr.owner", 400, refused},
			exchange{"PUT dns_add?" + alone + "&dns_class_parameters=room%3D7", 200, written},
			exchange{"GET dns_zone_list?WHERE=dnszone_name='lab.site.com'", 200, `"dnszone_class_parameters":"room=7"`},
			exchange{"GET dns_zone_list?WHERE=dnszone_name='lab.site.com'&NO_PARENT_CLASS_PARAM=1", 200, `"dnszone_class_parameters":""`},
		)},
		{"1.5", "api: the forms of clauses that clients use", whereForms},
		{"1.5", "api: an injection is a syntax error or a text", exchanges(
			exchange{addH, 201, written},
			exchange{"GET dns_rr_list?WHERE=rr_full_name='x'+OR+'1'='1'", 400, "syntax error"},
			exchange{"GET dns_rr_list?WHERE=rr_full_name='x''+OR+''1''=''1'", 204, ""},
			exchange{`GET dns_rr_list?WHERE=rr_full_name='x\'+OR+1=1'`, 400, "syntax error"},
			exchange{"GET dns_rr_list?WHERE=rr_full_name='it's'", 400, "syntax error"},
			exchange{"GET dns_rr_list?WHERE=rr_name='h.site.com'", 400, "unknown column"}, // the name of an input
			exchange{"GET dns_rr_list?WHERE=" + strings.Repeat("(", 1000), 400, "in each other"},
		)},
		{"2", "api: a signature that is right but late is 412, another is 401", lateSignature},
		{"3.1", "api: what must be given to add and to edit", exchanges(
			exchange{"POST dns_rr_add?" + alone + "&rr_type=A&value1=192.0.2.1", 400, "the name is needed"},
			exchange{"POST dns_rr_add?" + alone + "&rr_name=h.site.com&value1=192.0.2.1", 400, "the type is needed"},
			exchange{"POST dns_rr_add?" + alone + "&rr_name=h.site.com&rr_type=A", 400, "the value is needed"},
			exchange{"POST dns_rr_add?rr_name=h.site.com&rr_type=A&value1=192.0.2.1", 400, "the DNS server is needed"},
			exchange{addH, 201, written}, // the zone is found by the name
			exchange{"POST dns_rr_add?dns_id=2&rr_name=h.site.com&rr_type=a&value1=192.0.2.2&zone=site.com", 201, written},
			exchange{"POST dns_rr_add?hostaddr=192.0.2.2&rr_name=h.site.com&rr_type=A&rr_value1=192.0.2.3", 201, written},
			exchange{"POST dns_rr_add?" + alone + "&dnszone_name=site.com&rr_glue=h&rr_type=A&value1=192.0.2.4", 201, written},
			exchange{"PUT dns_rr_add?rr_id=$2&rr_ttl=0", 200, written},
			exchange{"PUT dns_rr_add?" + alone + "&rr_name=h.site.com&rr_type=A&value1=192.0.2.3&rr_ttl=1", 200, written},
			exchange{"GET dns_rr_list?SELECT=value1,ttl,rr_full_name&WHERE=rr_full_name='h.site.com'", 200,
				`"192.0.2.1","ttl":"3600".*"192.0.2.2","ttl":"0".*"192.0.2.3","ttl":"1".*"192.0.2.4","ttl":"3600"`},
			exchange{addH + "0&validate_warnings=accept&serial_type=date&dnszone_site_id=0", 201, written},
		)},
		{"3.1", "api: add_flag and check_value", exchanges(
			exchange{addH + "&add_flag=edit_only", 400, missing},
			exchange{addH + "&add_flag=new_only", 201, written},
			exchange{addH + "&add_flag=new_only", 400, exists},
			exchange{addH + "0&add_flag=new_only&check_value=no", 400, exists},
			exchange{addH + "0&add_flag=new_only&check_value=yes", 201, written},
			exchange{addH + "0&add_flag=edit_only&rr_ttl=5", 200, written},
			exchange{addH + "&add_flag=sometimes", 400, refused},
		)},
		{"3.1", "api: class and class parameters, which an edit merges", exchanges(
			exchange{addH + "&rr_class_name=kea&rr_class_parameters=a%3D1%26b%3D2", 201, written},
			exchange{"PUT dns_rr_add?rr_id=$1&rr_class_parameters=b%3D3%26c%3D4", 200, written},
			exchange{listH, 200, `"rr_class_name":"kea","rr_class_parameters":"a=1&b=3&c=4","rr_class_parameters_properties":"a=set`},
			exchange{"PUT dns_rr_add?rr_id=$1&class_parameters_to_delete=a%26c", 200, written},
			exchange{listH, 200, `"rr_class_parameters":"b=3"`},
		)},
		{"3.2", "api: one row, by its id or by what only it is", exchanges(
			exchange{addH, 201, written},
			exchange{addH + "0", 201, written},
			exchange{"DELETE dns_rr_delete?rr_name=h.site.com&rr_type=A&rr_value1=192.0.2.1", 400, "the DNS server is needed"},
			exchange{"DELETE dns_rr_delete?" + alone + "&rr_name=h.site.com", 400, "several records fit"},
			exchange{"DELETE dns_rr_delete?" + alone + "&rr_name=h.site.com&rr_type=A&rr_value1=192.0.2.1", 200, written},
			exchange{"DELETE dns_rr_delete?" + alone + "&rr_name=h.site.com&value1=192.0.2.1", 400, missing},
			exchange{"DELETE dns_rr_delete?rr_id=$2", 200, written},
			exchange{"DELETE dns_rr_delete?rr_id=$2+or+1=1", 400, refused},
			exchange{"DELETE dns_rr_delete", 400, refused},
		)},
		{"3.3", "api: list, info and count", exchanges(
			exchange{addH, 201, written},
			exchange{"GET dns_rr_info?rr_id=$1", 200, `^\[\{"errno":"0","rr_id":"\d+","rr_full_name":"h.site.com"`},
			exchange{"GET dns_rr_info?rr_id=99999", 204, ""},
			exchange{"GET dns_rr_info", 400, refused},
			exchange{"GET dns_rr_count?WHERE=rr_full_name='h.site.com'", 200, `^\[\{"errno":"0","total":"1"\}\]$`},
			exchange{"GET dns_rr_count?WHERE=rr_full_name='i.site.com'", 200, `^\[\{"errno":"0","total":"0"\}\]$`},
			exchange{"GET dns_view_info?dnsview_id=99999", 204, ""},
			exchange{"GET dns_server_info?dns_id=2", 200, `"dns_name":"alone.site.com"`},
		)},
	}
}

// plainHTTP: the API is for HTTPS alone.
func plainHTTP(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, solidsim.Config{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.sim.Addr()+"/rest/dns_zone_list?limit=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != a.sim.URL()+"/rest/dns_zone_list?limit=1" {
		t.Errorf("status %d, to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}

// whereForms are forms that were seen in clients that work, and how many of ten
// records they find.
func whereForms(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, solidsim.Config{})
	for i := range 10 {
		r := solidsim.Record{Name: "h" + string(rune('0'+i)) + ".site.com", Type: "A", Value: "192.0.2.1", TTL: 60 * (i + 1)}
		if err := a.sim.Add(standalone, r); err != nil {
			t.Fatal(err)
		}
	}
	for clause, want := range map[string]string{
		"rr_full_name='h1.site.com'": "1", "rr_full_name = 'h1.site.com'": "1", "RR_FULL_NAME='h1.site.com'": "",
		"ttl=60": "1", "ttl='60'": "1", "ttl!=60": "9", "ttl != '60'": "9", "ttl<=120": "2", "ttl>=120": "9", "ttl<120": "1", "ttl>120": "8",
		"rr_full_name like '%h1%'": "1", "rr_full_name LIKE 'h_.site.com'": "10", "rr_type in ('A','AAAA')": "10", "ttl IN (60,120)": "2",
		"rr_type IS NOT NULL": "10", "rr_type='A' AND ttl=60": "1", "rr_type='A' and ttl=60": "1", "ttl=60 OR ttl=120 or ttl=180": "3",
		"rr_type='A' and (ttl=60 or ttl=120)": "2", "rr_type='A' and ttl=60 or ttl=120": "2",
		"dns_name = 'alone.site.com' AND dnszone_name = 'site.com'":                                      "10",
		"rr_full_name = 'h1.site.com' AND dns_name = 'alone.site.com' AND dnszone_name='site.com'":       "1",
		"rr_full_name = 'h1.site.com' AND dns_name = 'alone.site.com'":                                   "1",
		"dns_name='alone.site.com' AND rr_full_name='h1.site.com' AND rr_type='A' AND dnsview_name='#' ": "1", // ends in a blank
		"rr_value1='192.0.2.1'": "", "server_name='alone.site.com'": "", // of the API v2.0
		"rr_full_name='H1.Site.COM'": "1", "dns_name='Alone.site.com'": "0", "": "10", " ": "10",
	} {
		status, body := a.send(t, http.MethodGet, a.sim.URL()+"/rest/dns_rr_count?WHERE="+strings.NewReplacer(
			"%", "%25", " ", "+", "#", "%23").Replace(clause), "")
		if want == "" && status != 400 || want != "" && body != `[{"errno":"0","total":"`+want+`"}]` {
			t.Errorf("%s: status %d, %s; want %s", clause, status, body, want)
		}
	}
}

// lateSignature is what the appliance says to a token whose clock is off.
func lateSignature(t *testing.T) {
	t.Parallel()
	a := newAppliance(t, solidsim.Config{
		Tokens:  map[string]solidsim.Token{tokenID: {User: user, Secret: tokenSecret}},
		Options: solidsim.Options{TokenWindow: time.Minute},
	})
	for _, test := range []struct {
		secret string
		apart  time.Duration
		want   int
	}{{tokenSecret, 0, 200}, {tokenSecret, -30 * time.Second, 200}, {tokenSecret, -time.Hour, 412}, {tokenSecret, time.Hour, 412}, {"another", 0, 401}} {
		req := signed(t, http.MethodGet, a.sim.URL()+"/rest/dns_zone_list?limit=1", test.secret, time.Now().Add(test.apart))
		resp, err := a.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s apart: status %d, want %d", test.apart, resp.StatusCode, test.want)
		}
	}
}
