package solidsim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

func TestAuthentication(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Users: map[string]string{"kea": "pä:ss"}})
	c := newClient(t, sim)
	for _, test := range []struct {
		name, user, password string // as on the wire
		want                 int
	}{
		{"right", "a2Vh", "cMOkOnNz", 200},
		{"wrong password", "a2Vh", "cMOkOnN6", 401},
		{"unknown user", "cm9vdA==", "cMOkOnNz", 401},
		{"unknown user, empty password", "cm9vdA==", "", 401},
		{"nothing", "", "", 401},
		{"not base64", "kea", "pä:ss", 401},
	} {
		req := c.request("GET", "dns_zone_list", nil, "")
		req.Header.Set("X-IPM-Username", test.user)
		req.Header.Set("X-IPM-Password", test.password)
		status, body := c.send(req)
		if status != test.want {
			t.Errorf("%s: status %d, want %d", test.name, status, test.want)
		}
		if status == 401 && !strings.HasPrefix(body, `{"errno":"`) {
			t.Errorf("%s: body %s, want a bare object", test.name, body)
		}
	}
	if got := sim.Calls(); got.Total != 6 || got.ByService["GET dns_zone_list"] != 1 {
		t.Errorf("calls: %+v", got)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Listen: "localhost:0"})
	if _, err := http.Get(sim.URL()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a client without the CA got %v", err)
	}
	c := newClient(t, sim)
	_, port, _ := net.SplitHostPort(sim.Addr())
	c.base = "https://localhost:" + port
	c.must(200, "GET", "dns_zone_list")
	if !strings.HasPrefix(string(sim.CAPEM()), "-----BEGIN CERTIFICATE-----") {
		t.Errorf("CA: %s", sim.CAPEM())
	}
}

func TestUnknownService(t *testing.T) {
	t.Parallel()
	c := newClient(t, start(t, solidsim.Config{}))
	c.must(404, "GET", "dns_rr_update")
	c.must(404, "GET", "")
	c.must(400, "GET", "dns_rr_add")
	c.must(400, "POST", "dns_rr_list")
	c.must(400, "PATCH", "dns_rr_add")
	req := c.request("GET", "dns_zone_list", nil, "")
	req.URL.Path = "/dns_zone_list"
	if status, _ := c.send(req); status != 404 {
		t.Errorf("outside /rest: status %d", status)
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	base := query("dns_name", solidsim.InternalServer, "rr_name", "h.site.com", "rr_type", "A", "value1", "192.0.2.1", "add_flag", "new_only")
	for _, test := range []struct {
		name, method, service, body string
		query                       []string
		status                      int
	}{
		{"JSON alone", "POST", "dns_rr_add", `{"dns_id":2,"rr_name":"a.site.com","rr_type":"A","value1":"192.0.2.1","rr_ttl":60,"rr_class_name":null}`, nil, 201},
		{"JSON and query", "POST", "dns_rr_add", `{"rr_name":"b.site.com","rr_ttl":"60"}`, []string{"dns_id", "2", "rr_name", "c.site.com", "rr_type", "A", "value1", "192.0.2.1"}, 201},
		{"PUT", "PUT", "dns_rr_add", `{"rr_id":101,"rr_ttl":61}`, nil, 200},
		{"DELETE", "DELETE", "dns_rr_delete", `{"rr_id":101}`, nil, 200},
		{"GET has no body", "GET", "dns_rr_list", `{"WHERE":"nonsense"}`, nil, 200},
		{"array", "POST", "dns_rr_add", `[]`, nil, 400},
		{"nested", "POST", "dns_rr_add", `{"rr_name":{"a":"b"}}`, nil, 400},
		{"form", "POST", "dns_rr_add", base.Encode(), nil, 400},
		{"too large", "POST", "dns_rr_add", `{"rr_name":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 400},
	} {
		if status, body := c.send(c.request(test.method, test.service, query(test.query...), test.body)); status != test.status {
			t.Errorf("%s: status %d, want %d: %s", test.name, status, test.status, body)
		}
	}
	empty := c.request("POST", "dns_rr_add", base, "")
	empty.Header.Set("Content-Type", "application/json")
	if status, body := c.send(empty); status != 201 {
		t.Errorf("JSON without a body: status %d: %s", status, body)
	}
	broken := c.request("GET", "dns_rr_list", nil, "")
	broken.URL.RawQuery = "WHERE=%zz"
	if status, _ := c.send(broken); status != 400 {
		t.Errorf("broken query: status %d", status)
	}
	want := []solidsim.Record{
		{Name: "c.site.com", Type: "A", Value: "192.0.2.1", TTL: 60},
		{Name: "h.site.com", Type: "A", Value: "192.0.2.1", TTL: 3600},
	}
	if diff := cmp.Diff(want, sim.Records(solidsim.InternalServer)); diff != "" {
		t.Error(diff)
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	c.must(200, "GET", "dns_zone_list", "where", "x", "type", "")
	c.must(200, "GET", "dns_zone_list", "type", "")
	id := c.add("h.site.com", "A", "192.0.2.1", "ttl", "60")
	c.must(400, "POST", "dns_rr_add")
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", id)
	c.must(404, "GET", "nothing")
	want := solidsim.Calls{
		Total:             6,
		ByService:         map[string]int{"GET dns_zone_list": 2, "POST dns_rr_add": 2, "DELETE dns_rr_delete": 1},
		Writes:            3,
		Changes:           2,
		UnknownParameters: map[string]int{"dns_zone_list type": 2, "dns_zone_list where": 1, "dns_rr_add ttl": 1},
		MaxConcurrent:     1,
	}
	if diff := cmp.Diff(want, sim.Calls()); diff != "" {
		t.Error(diff)
	}
	sim.ResetCalls()
	if diff := cmp.Diff(solidsim.Calls{}, sim.Calls()); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownParametersAreBounded(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	for i := range 3 {
		q := query()
		for j := range 500 {
			q.Set(fmt.Sprintf("p%d-%d", i, j), "")
		}
		c.send(c.request("GET", "dns_zone_list", q, ""))
	}
	got := sim.Calls().UnknownParameters
	if len(got) != 1001 || got["other"] != 500 {
		t.Errorf("%d names, %d others", len(got), got["other"])
	}
}

// TestPaths checks the ways to name a service beside /rest/<service>?query.
func TestPaths(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	c.add("a/b.site.com", "TXT", "x")
	for _, test := range []struct {
		target string
		status int
		want   string // a part of the body
	}{
		{"/rpc/dns_zone_list", 200, `"dnszone_name":"site.com"`},
		{"/rpc/dns_rr_delete", 400, "no method"},
		{"/rest/dns_zone_list/WHERE/dnszone_name='site.com'", 200, `"dnszone_name":"site.com"`}, // remche/externaldns-solidserver: driver.py
		{"/rest/dns_zone_list/WHERE/dnszone_name='lab.example'", 204, ""},
		{"/rest/dns_rr_list/WHERE/rr_full_name='a%2Fb.site.com'/limit/1?limit=2", 200, `"rr_full_name":"a/b.site.com"`},
		{"/rest/dns_rr_list/WHERE/rr_id=1?WHERE=", 200, `"rr_full_name":"a/b.site.com"`}, // the query string wins
		{"/rest/dns_zone_list/WHERE", 400, "pairs of a parameter"},
		{"/rest/dns_zone_list/", 400, "pairs of a parameter"},
		{"/rest/", 404, ""},
		{"/rest", 404, ""},
		{"/REST/dns_zone_list", 404, ""},
		{"/", 404, ""},
	} {
		req := c.request("GET", "", nil, "")
		parsed, err := req.URL.Parse(test.target)
		if err != nil {
			t.Fatal(err)
		}
		req.URL = parsed
		if status, body := c.send(req); status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s: status %d, %s", test.target, status, body)
		}
	}
	if got := sim.Calls().UnknownParameters; len(got) != 0 {
		t.Errorf("unknown parameters: %v", got)
	}
}

// TestOptions asks for the parameters of a service, as SOLIDserverRest does,
// which sends none.
func TestOptions(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	rows := c.must(200, "OPTIONS", "dns_rr_add")
	seen := make(map[string]bool)
	for _, row := range rows {
		seen[row["parameter"]] = true
		if row["errno"] != "0" || row["service"] != "dns_rr_add" || row["methods"] != "POST,PUT" {
			t.Errorf("row: %v", row)
		}
	}
	for _, parameter := range []string{"rr_name", "value7", "add_flag", "rr_class_parameters"} {
		if !seen[parameter] {
			t.Errorf("%s is missing in %v", parameter, rows)
		}
	}
	c.must(404, "OPTIONS", "nothing")
	if calls := sim.Calls(); calls.Writes != 0 || calls.Changes != 0 || calls.ByService["OPTIONS dns_rr_add"] != 1 {
		t.Errorf("calls: %+v", calls)
	}
}

func TestUnknownServiceStatus(t *testing.T) {
	t.Parallel()
	newClient(t, start(t, solidsim.Config{Options: solidsim.Options{UnknownServiceStatus: 400}})).must(400, "GET", "nothing")
}

// TestMaxPage has pages that are shorter than the limit.
func TestMaxPage(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Options: solidsim.Options{MaxPage: 2}})
	c := newClient(t, sim)
	fill(t, sim)
	for limit, want := range map[string]int{"": 2, "1": 1, "2": 2, "1000": 2} {
		if got := len(c.must(200, "GET", "dns_rr_list", "limit", limit)); got != want {
			t.Errorf("limit %q: %d rows, want %d", limit, got, want)
		}
	}
	c.must(400, "GET", "dns_rr_list", "limit", "many")
	if got := c.must(200, "GET", "dns_rr_count")[0]["total"]; got != "24" {
		t.Errorf("count: %s", got)
	}
}

// TestParallel writes from many clients at once: each record once, ids unique,
// and calls really run at the same time.
func TestParallel(t *testing.T) {
	t.Parallel()
	const clients, each = 8, 25
	sim := start(t, solidsim.Config{})
	var barrier sync.WaitGroup
	barrier.Add(clients)
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		if c.Number <= clients { // the first call of all clients
			barrier.Done()
			barrier.Wait()
		}
		return solidsim.Fault{}
	})
	var mu sync.Mutex
	ids := make(map[string]bool)
	var wg sync.WaitGroup
	for i := range clients {
		c := newClient(t, sim)
		wg.Go(func() {
			for j := range each {
				own, _ := c.call("POST", "dns_rr_add", "dns_name", solidsim.InternalServer, "rr_name", fmt.Sprintf("h%d-%d.site.com", i, j),
					"rr_type", "A", "value1", "192.0.2.1", "add_flag", "new_only")
				shared, body := c.call("POST", "dns_rr_add", "dns_name", solidsim.InternalServer, "rr_name", fmt.Sprintf("s%d.site.com", j),
					"rr_type", "A", "value1", fmt.Sprintf("192.0.2.%d", i), "add_flag", "new_only", "check_value", "no")
				c.call("GET", "dns_rr_list", "WHERE", "rr_type='A'", "limit", "10")
				mu.Lock()
				if own != 201 || shared == 201 && ids[body] {
					t.Errorf("status %d, id %s", own, body)
				}
				if shared == 201 {
					ids[body] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(ids) != each {
		t.Errorf("%d shared names were created, want %d", len(ids), each)
	}
	if got := len(sim.Records(solidsim.InternalServer)); got != clients*each+each {
		t.Errorf("%d records, want %d", got, clients*each+each)
	}
	if got := sim.Calls(); got.MaxConcurrent != clients || got.Changes != clients*each+each {
		t.Errorf("calls: %+v", got)
	}
}

func TestLatencyChanges(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Latency: time.Nanosecond})
	c := newClient(t, sim)
	c.must(200, "GET", "dns_zone_list")
	sim.SetLatency(24 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	req := c.request("GET", "dns_zone_list", nil, "").WithContext(ctx)
	go func() {
		resp, err := c.Do(req)
		if err == nil {
			err = errors.Join(errors.New("answered"), resp.Body.Close())
		}
		result <- err
	}()
	eventually(t, func() bool { return sim.Calls().Total == 2 })
	sim.SetLatency(0)
	c.must(200, "GET", "dns_zone_list") // the slow one holds nobody up
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("the slow call: %v", err)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	c.must(200, "GET", "dns_zone_list")
	idle, err := net.Dial("tcp", sim.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	addr := sim.DNSAddr(solidsim.InternalServer)
	for range 2 {
		if err := sim.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadAll(idle); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("unused connection: %v", err)
	}
	for network, addr := range map[string]string{"tcp": addr, "tcp4": sim.Addr()} {
		if conn, err := net.Dial(network, addr); err == nil {
			_ = conn.Close()
			t.Errorf("%s still listens", addr)
		}
	}
}

func TestAddressTaken(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	for _, cfg := range []solidsim.Config{
		{Listen: sim.Addr()},
		{DNSListen: map[string]string{solidsim.ExternalServer: sim.DNSAddr(solidsim.InternalServer)}},
	} {
		second, err := solidsim.Start(t.Context(), cfg)
		if err == nil {
			_ = second.Close()
			t.Fatalf("%+v: started on a taken address", cfg)
		}
		if !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	err := solidsim.Config{
		Listen:    "nowhere",
		DNSListen: map[string]string{"dns.example": "127.0.0.1:x"},
		Zones:     []string{"site.com", "SITE.com", "a b", "c d"},
		Users:     map[string]string{"": "x"},
		Latency:   -time.Second,
		Tokens:    map[string]solidsim.Token{"a:b": {User: "", Secret: "s"}, "c": {User: "nobody", Secret: "s"}},
		Denied:    map[string][]string{"ghost": {"a["}},
		Options:   solidsim.Options{ForbiddenStatus: 200, UnknownServiceStatus: 500, Unauthorized: "x", TokenWindow: -1, MaxPage: -2},
		Faults:    &solidsim.FaultPlan{Rules: []solidsim.FaultRule{{Kind: "fire", Rate: 2}}},
		Control:   "192.0.2.1:80",
	}.Validate()
	for _, want := range []string{
		`token "a:b": want an id`, `user "nobody" does not exist`, `"ghost": no such user`, `"a[" is no pattern`, "200: want one of [403 400]",
		"500: want one of [404 400]", "x: want one of [object text disconnected]", "-1ns", "largest page -2", `fault rule 1: kind "fire"`, "rate 2",
		`control address "192.0.2.1:80"`,
		`"nowhere"`, `"dns.example"`, `"127.0.0.1:x"`, `"site.com" is given twice`, `"a b"`, `"c d"`, "no name", "-1s",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %s is missing", err, want)
		}
	}
	if err := (solidsim.Config{}).Validate(); err != nil {
		t.Error(err)
	}
}
