package solidsim_test

import (
	"bufio"
	"crypto/sha3"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// The tests of this file send what public clients of SOLIDserver send, byte for
// byte: their parameters, order, encodings and headers. Each names the client
// and the place in it. What is checked is what that client reads, and no more.

// replay sends one request as it stands, with HOST for the address and lines
// that end in \n, on a connection of its own. The body of an answer without one
// must be empty, and then rows is nil.
func replay(t *testing.T, sim *solidsim.Sim, request string) (resp *http.Response, rows []map[string]string) {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: sim.CertPool()}}
	conn, err := dialer.DialContext(t.Context(), "tcp", sim.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request = strings.ReplaceAll(strings.ReplaceAll(request, "HOST", sim.Addr()), "\n", "\r\n")
	if !strings.Contains(request, "\r\n\r\n") {
		request += "\r\n\r\n"
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err = http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(body) == 0 {
		return resp, nil
	}
	if body[0] == '{' { // an error is one bare object; clients wrap it themselves
		body = []byte("[" + string(body) + "]")
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		t.Fatalf("%s: %s: %v", request, body, err)
	}
	return resp, rows
}

// answered fails unless the status is one of those wanted.
func answered(t *testing.T, what string, resp *http.Response, rows []map[string]string, want ...int) {
	t.Helper()
	if !slices.Contains(want, resp.StatusCode) {
		t.Fatalf("%s: status %d, want %v: %v", what, resp.StatusCode, want, rows)
	}
}

// has fails if a label that the client reads is not in the row.
func has(t *testing.T, what string, row map[string]string, labels string) {
	t.Helper()
	for label := range strings.FieldsSeq(labels) {
		if _, found := row[label]; !found {
			t.Errorf("%s: no column %s", what, label)
		}
	}
}

// nativeHeaders are user and password of the simulator's default user.
func nativeHeaders(username, password string) string {
	encode := base64.StdEncoding.EncodeToString
	return username + ": " + encode([]byte("ipmadmin")) + "\n" + password + ": " + encode([]byte("admin"))
}

// terraform sends as EfficientIP-Labs/terraform-provider-solidserver does,
// solidserver/soliderver.go, SubmitRequest: gorequest with Connection: close and
// without a body, keys ordered by name.
func terraform(t *testing.T, sim *solidsim.Sim, method, target string) (*http.Response, []map[string]string) {
	t.Helper()
	length := ""
	if method != "GET" {
		length = "\nContent-Length: 0"
	}
	return replay(t, sim, method+" /rest/"+target+" HTTP/1.1\nHost: HOST\nUser-Agent: gorequest\nConnection: close"+length+"\n"+
		nativeHeaders("X-Ipm-Username", "X-Ipm-Password")+"\nAccept-Encoding: gzip")
}

// TestTerraformProvider is the life of a solidserver_dns_rr:
// solidserver/resource_dns_rr.go, Create, Read, Update, ImportState, Delete;
// soliderver.go, GetVersion; data_source_dns_zone.go, Read.
func TestTerraformProvider(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Zones: []string{"site.com", "2.0.192.in-addr.arpa"}})
	resp, rows := terraform(t, sim, "GET", "member_list?WHERE=member_is_me%3D%271%27")
	answered(t, "version", resp, rows, 200)
	if major, _, _ := strings.Cut(rows[0]["member_version"], "."); major != "8" {
		t.Errorf("version %q: the provider leaves class parameters out below 8.0", rows[0]["member_version"])
	}
	resp, rows = terraform(t, sim, "GET", "dns_zone_list?WHERE=dnszone_name%3D%27site.com%27&limit=1&type=")
	answered(t, "zone", resp, rows, 200)
	has(t, "zone", rows[0], "dnszone_id dns_name dnsview_name dnszone_name dnszone_type dnszone_class_name dnszone_class_parameters")
	if len(rows) != 1 {
		t.Errorf("%d zones with limit=1", len(rows))
	}
	const columns = "rr_id dns_name rr_full_name rr_type value1 ttl dnsview_name dnszone_name rr_class_name rr_class_parameters"
	for _, rr := range []struct{ zone, name, rtype, value, stored string }{
		{"site.com", "tf.site.com", "A", "192.0.2.1", "192.0.2.1"},
		{"site.com", "tf.site.com", "AAAA", "2001%3Adb8%3A%3A10", "2001%3A0db8%3A0000%3A0000%3A0000%3A0000%3A0000%3A0010"},
		{"site.com", "tf.site.com", "TXT", "a+b%26c", "a+b%26c"},
		{"site.com", "tf.site.com", "CNAME", "www.example.com", "www.example.com"},
		{"site.com", "tf.site.com", "NS", "ns.example.com", "ns.example.com"},
		// The name is that of its data source ip_ptr, the value has no dot at its end.
		{"2.0.192.in-addr.arpa", "10.2.0.192.in-addr.arpa", "PTR", "tf.site.com", "tf.site.com"},
	} {
		common := "&dns_name=dns-internal-smart.site.com&dnszone_name=" + rr.zone + "&rr_class_name=&rr_class_parameters=owner%3Dkea%2Bpipeline%252F1"
		write := "&rr_name=" + rr.name + "&rr_ttl=TTL&rr_type=" + rr.rtype + "&value1=" + rr.value
		create := "dns_rr_add?add_flag=new_only" + common + strings.Replace(write, "TTL", "3600", 1)
		resp, rows = terraform(t, sim, "POST", create)
		answered(t, "create", resp, rows, 200, 201)
		id := rows[0]["ret_oid"]
		resp, rows = terraform(t, sim, "POST", create)
		answered(t, "create again", resp, rows, 400)
		if rows[0]["errmsg"] != "DNS rr already exists" {
			t.Errorf("create again: %v", rows)
		}
		read := "dns_rr_list?WHERE=dns_name%3D%27dns-internal-smart.site.com%27+AND+rr_full_name%3D%27" + rr.name +
			"%27+AND+rr_type%3D%27" + rr.rtype + "%27+AND+value1%3D%27" + rr.stored +
			"%27+AND+dnsview_name%3D%27%23%27+AND+dnszone_name%3D%27" + rr.zone + "%27+"
		resp, rows = terraform(t, sim, "GET", read)
		answered(t, "read", resp, rows, 200)
		has(t, "read", rows[0], columns)
		row := rows[0]
		if row["rr_id"] != id || row["ttl"] != "3600" || row["rr_full_name"] != rr.name || row["rr_type"] != rr.rtype ||
			row["dnsview_name"] != "#" {
			t.Errorf("read: %v", row)
		}
		// Encoded twice on the way, once in the row.
		if class, err := url.ParseQuery(row["rr_class_parameters"]); err != nil || class.Get("owner") != "kea pipeline/1" {
			t.Errorf("read: class parameters %q", row["rr_class_parameters"])
		}
		resp, rows = terraform(t, sim, "PUT", "dns_rr_add?add_flag=edit_only"+common+"&rr_id="+id+strings.Replace(write, "TTL", "60", 1))
		answered(t, "update", resp, rows, 200, 201)
		resp, rows = terraform(t, sim, "GET", "dns_rr_info?rr_id="+rows[0]["ret_oid"])
		answered(t, "import", resp, rows, 200)
		has(t, "import", rows[0], columns)
		if rows[0]["ttl"] != "60" {
			t.Errorf("import: %v", rows)
		}
		resp, rows = terraform(t, sim, "DELETE", "dns_rr_delete?rr_id="+rows[0]["rr_id"])
		answered(t, "delete", resp, rows, 200, 204)
		resp, rows = terraform(t, sim, "GET", read)
		answered(t, "read what is gone", resp, rows, 204)
	}
	if diff := cmp.Diff(map[string]int{"dns_zone_list type": 1}, sim.Calls().UnknownParameters); diff != "" {
		t.Error(diff)
	}
}

// TestTerraformProviderReadsViews: an empty list must be 204, since 200 and []
// would say that the server has views, and nothing could be created:
// resource_dns_rr.go, Create; solidserver-helper.go, dnsserverhasviews.
func TestTerraformProviderReadsViews(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	resp, rows := terraform(t, sim, "GET", "dns_view_list?WHERE=dns_name%3D%27dns-internal-smart.site.com%27")
	answered(t, "views", resp, rows, 204)
}

// TestTerraformProviderWithoutRights takes each 4xx for a lack of rights and
// the version from its settings then: soliderver.go, GetVersion.
func TestTerraformProviderWithoutRights(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Denied: map[string][]string{"ipmadmin": {"member_list"}}})
	resp, rows := terraform(t, sim, "GET", "member_list?WHERE=member_is_me%3D%271%27")
	answered(t, "version", resp, rows, 400, 401, 402, 403)
}

// python sends as vrtdev/solidserverrest does, SOLIDserverRest.py, query: a
// JSON content type on every call, never a body, and Content-Length: 0 only
// where requests adds it.
func python(t *testing.T, sim *solidsim.Sim, method, target string) (*http.Response, []map[string]string) {
	t.Helper()
	length := ""
	if method != "GET" {
		length = "\nContent-Length: 0"
	}
	return replay(t, sim, method+" /rest/"+target+" HTTP/1.1\nHost: HOST\nUser-Agent: python-requests/2.32.3\n"+
		"Accept-Encoding: gzip, deflate\nAccept: */*\nConnection: keep-alive\n"+
		nativeHeaders("X-IPM-Username", "X-IPM-Password")+"\ncontent-type: application/json"+length)
}

// The columns that SOLIDserverRest demands: adv/dns.py, adv/dns_zone.py and
// adv/dns_record.py, refresh.
const (
	pythonServer = `aws_keyid dns_allow_query dns_allow_query_cache dns_allow_recursion dns_allow_transfer dns_also_notify
		dns_class_name dns_comment dns_forward dns_forwarders dns_hybrid dns_id dns_key_name dns_key_proto dns_key_value dns_name
		dns_notify dns_recursion dns_role dns_state dns_synching dns_type dns_version dnsblast_enabled dnsblast_status
		dnsgslb_supported dnsguardian_supported dnssec_validation gss_enabled gss_keytab_id ipmdns_is_package ipmdns_type isolated
		multistatus querylog_state vdns_arch vdns_members_name vdns_parent_name vdns_parent_id`
	pythonZone = `dns_state dnszone_ad_integrated dnszone_allow_query dnszone_allow_transfer dnszone_allow_update dnszone_also_notify
		dnszone_class_name dnszone_forward dnszone_forwarders dnszone_is_reverse dnszone_is_rpz dnszone_masters dnszone_name
		dnszone_name_utf dnszone_notify dnszone_order dnszone_rev_sort_zone dnszone_type ds num_keys delayed_create_time`
	pythonRecord = `dns_class_name dns_cloud dns_comment dns_type dns_version rr_class_name rr_full_name_utf rr_glue ttl
		value1 value2 value3 value4 value5 value6 value7 delayed_create_time delayed_delete_time`
)

// TestReplacedSystem is the flow of the system that keastream replaces, on
// SOLIDserverRest: dns-add.py (connect, zone, refresh of server and zone, look for
// the name, create with a TTL of 600, poll) and kea_lease_monitor.py
// (record_exists), then update and delete as adv/dns_record.py does them.
func TestReplacedSystem(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	resp, rows := python(t, sim, "GET", "member_list?WHERE=member_is_me%3D1")
	answered(t, "connect", resp, rows, 200)
	has(t, "connect", rows[0], "member_is_me member_version")

	resp, rows = python(t, sim, "GET", "dns_zone_list?WHERE=dns_name+%3D+%27dns-internal-smart.site.com%27+AND+dnszone_name+%3D+%27site.com%27")
	answered(t, "zone", resp, rows, 200)
	if len(rows) != 1 {
		t.Fatalf("%d zones, want exactly one", len(rows))
	}
	zone := rows[0]["dnszone_id"]
	resp, rows = python(t, sim, "GET", "dns_server_list?WHERE=dns_name%3D%27dns-internal-smart.site.com%27")
	answered(t, "server", resp, rows, 200)
	if len(rows) != 1 || rows[0]["errno"] != "0" {
		t.Fatalf("servers: %v", rows)
	}
	server := rows[0]["dns_id"]
	resp, rows = python(t, sim, "GET", "dns_server_info?dns_id="+server)
	answered(t, "server info", resp, rows, 200)
	has(t, "server info", rows[0], pythonServer)
	if rows[0]["dns_synching"] != "0" {
		t.Errorf("the client waits for dns_synching 0, it is %q", rows[0]["dns_synching"])
	}
	if addr := rows[0]["ip_addr"]; rows[0]["dns_type"] != "vdns" {
		if _, err := strconv.ParseUint(addr, 16, 32); err != nil || len(addr) != 8 {
			t.Errorf("ip_addr %q of a server that is no SMART: want 8 hexadecimal digits", addr)
		}
	}
	resp, rows = python(t, sim, "GET", "dns_zone_info?dnszone_id="+zone)
	answered(t, "zone info", resp, rows, 200)
	has(t, "zone info", rows[0], pythonZone)

	const look = "dns_rr_list?WHERE=rr_full_name+%3D+%27cab1.site.com%27+AND+dns_name+%3D+%27dns-internal-smart.site.com%27+AND+dnszone_name+%3D+%27site.com%27"
	const lookLater = "dns_rr_list?WHERE=dns_name+%3D+%27dns-internal-smart.site.com%27+AND+rr_full_name+%3D+%27cab1.site.com%27"
	resp, rows = python(t, sim, "GET", look)
	answered(t, "no record yet", resp, rows, 204)
	create := "dns_rr_add?rr_name=cab1.site.com&rr_type=A&dns_id=" + server + "&dnszone_id=" + zone + "&rr_ttl=600&value1=192.0.2.7&add_flag=new_only"
	resp, rows = python(t, sim, "POST", create)
	answered(t, "create", resp, rows, 200, 201)
	id := rows[0]["ret_oid"]
	resp, rows = python(t, sim, "POST", create)
	if resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusUnauthorized {
		t.Errorf("create again: status %d means something else to the client", resp.StatusCode)
	}
	if errno, err := strconv.Atoi(rows[0]["errno"]); err != nil || errno <= 0 || rows[0]["errmsg"] == "" {
		t.Errorf("create again: %v, want errno over 0 and errmsg", rows)
	}
	resp, rows = python(t, sim, "GET", "dns_rr_info?rr_id="+id)
	answered(t, "poll", resp, rows, 200)
	has(t, "poll", rows[0], pythonRecord)
	if rows[0]["delayed_create_time"] != "0" || rows[0]["ttl"] != "600" {
		t.Errorf("poll: %v", rows)
	}
	for _, target := range []string{look, lookLater} {
		resp, rows = python(t, sim, "GET", target)
		answered(t, "the record", resp, rows, 200)
		if len(rows) != 1 || rows[0]["rr_full_name"] != "cab1.site.com" {
			t.Errorf("%s: %v", target, rows)
		}
	}
	// _get_id_by_name with additional where parameters: adv/dns_record.py, refresh.
	resp, rows = python(t, sim, "GET", "dns_rr_list?WHERE=rr_full_name%3D%27cab1.site.com%27+AND+rr_type%3D%27A%27+AND+dns_id%3D%27"+server+"%27&limit=1")
	answered(t, "by name", resp, rows, 200)
	resp, rows = python(t, sim, "PUT", "dns_rr_add?rr_id="+id+"&rr_ttl=300&value1=192.0.2.8&add_flag=edit_only")
	answered(t, "update", resp, rows, 200, 201)
	resp, rows = python(t, sim, "DELETE", "dns_rr_delete?rr_id="+id)
	answered(t, "delete", resp, rows, 200)
	if _, failed := rows[0]["errmsg"]; failed {
		t.Errorf("delete: %v", rows)
	}
	resp, rows = python(t, sim, "GET", "dns_rr_info?rr_id="+id)
	answered(t, "poll after the delete", resp, rows, 204)
	resp, rows = python(t, sim, "OPTIONS", "dns_rr_add")
	answered(t, "options", resp, rows, 200)
	if got := sim.Calls().UnknownParameters; len(got) != 0 {
		t.Errorf("unknown parameters: %v", got)
	}
}

// TestSOLIDserverRestWithBasic uses the scheme that is its default, and is
// refused with 401: SOLIDserverRest.py, use_basicauth_sds; adv/sds.py, query.
func TestSOLIDserverRestWithBasic(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	for password, want := range map[string]int{"admin": 200, "wrong": 401} {
		resp, rows := replay(t, sim, "GET /rest/member_list?WHERE=member_is_me%3D1 HTTP/1.1\nHost: HOST\nAccept: */*\ncontent-type: application/json\n"+
			"Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("ipmadmin:"+password)))
		answered(t, password, resp, rows, want)
	}
}

// TestAcmeSh is acmesh-official/acme.sh, dnsapi/dns_efficientip.sh: a POST
// without Content-Length and Content-Type, and success if the body has ret_oid.
func TestAcmeSh(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Tokens: map[string]solidsim.Token{"key": {User: "ipmadmin", Secret: "s3cret"}}})
	basic := func(string, string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ipmadmin:admin"))
	}
	token := func(method, target string) string {
		stamp := fmt.Sprint(time.Now().Unix())
		sum := sha3.Sum256([]byte("s3cret\n" + stamp + "\n" + method + "\nhttps://" + sim.Addr() + target))
		return "Authorization: SDS key:" + hex.EncodeToString(sum[:]) + "\nX-SDS-TS: " + stamp
	}
	const record = "rr_name=_acme-challenge.h.site.com&rr_value1=oPn-3vK0_xwBmSt5pA1bCq4RzYeD7fGh9iJkLmNuQsT&dns_name=dns-internal-smart.site.com"
	for name, authorization := range map[string]func(method, target string) string{"basic": basic, "token": token} {
		for _, call := range []struct{ method, target string }{
			{"POST", "/rest/dns_rr_add?rr_type=TXT&rr_ttl=300&" + record},
			{"DELETE", "/rest/dns_rr_delete?rr_type=TXT&" + record},
		} {
			resp, rows := replay(t, sim, call.method+" "+call.target+" HTTP/1.1\nHost: HOST\nUser-Agent: acme.sh/3.1.2 (https://github.com/acmesh-official/acme.sh)\n"+
				"Accept: */*\nAccept-Language:en-US\n"+authorization(call.method, call.target))
			answered(t, name+" "+call.method, resp, rows, 200, 201)
			if rows[0]["ret_oid"] == "" {
				t.Errorf("%s %s: %v", name, call.method, rows)
			}
		}
	}
	if got := sim.Records(solidsim.InternalServer); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// TestPoshACME sends JSON with POST and with DELETE, which a live instance
// took: rmbolger/Posh-ACME, Posh-ACME/Plugins/SOLIDServer.ps1.
func TestPoshACME(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	send := func(method, service, body string) []map[string]string {
		t.Helper()
		resp, rows := replay(t, sim, method+" /rest/"+service+" HTTP/1.1\nHost: HOST\nContent-Type: application/json; charset=utf-8\n"+
			"Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("ipmadmin:admin"))+
			"\nContent-Length: "+strconv.Itoa(len(body))+"\n\n"+body)
		answered(t, method, resp, rows, 200, 201)
		return rows
	}
	rows := send("POST", "dns_rr_add", `{"rr_name":"_acme-challenge.h.site.com","value1":"abc","rr_type":"TXT","rr_ttl":30,"add_flag":"new_edit","check_value":"yes",`+
		`"dns_name":"dns-internal-smart.site.com"}`)
	send("DELETE", "dns_rr_delete", `{"rr_id":"`+rows[0]["ret_oid"]+`"}`)
}
