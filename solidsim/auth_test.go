package solidsim_test

import (
	"crypto/sha3"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/solidsim"
)

func TestBasicAuthentication(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Users: map[string]string{"kea": "pä:ss"}})
	c := newClient(t, sim)
	for _, test := range []struct {
		name, header string
		want         int
	}{
		{"right", "Basic " + base64.StdEncoding.EncodeToString([]byte("kea:pä:ss")), 200},
		{"scheme in lower case", "basic " + base64.StdEncoding.EncodeToString([]byte("kea:pä:ss")), 200},
		{"wrong password", "Basic " + base64.StdEncoding.EncodeToString([]byte("kea:ss")), 401},
		{"no colon", "Basic " + base64.StdEncoding.EncodeToString([]byte("kea")), 401},
		{"not base64", "Basic kea:pass", 401},
		{"another scheme", "Bearer abc", 401},
	} {
		req := c.request("GET", "dns_zone_list", nil, "")
		clear(req.Header)
		req.Header.Set("Authorization", test.header)
		if status, body := c.send(req); status != test.want {
			t.Errorf("%s: status %d, want %d: %s", test.name, status, test.want, body)
		}
	}
	both := c.request("GET", "dns_zone_list", nil, "") // ipmadmin, who does not exist here
	both.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("kea:pä:ss")))
	if status, _ := c.send(both); status != 200 {
		t.Errorf("a wrong native scheme beside a right basic one: status %d", status)
	}
}

// signed makes a call with an API token, signed as clients of the vendor do.
func signed(c *client, id, secret, method, url string, at time.Time) *http.Request {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	stamp := fmt.Sprint(at.Unix())
	sum := sha3.Sum256([]byte(secret + "\n" + stamp + "\n" + method + "\n" + url))
	req.Header.Set("X-SDS-TS", stamp)
	req.Header.Set("Authorization", "SDS "+id+":"+hex.EncodeToString(sum[:]))
	return req
}

// TestSignature pins the signature to a sum that openssl made:
//
//	printf 's3cret\n1700000000\nGET\nhttps://192.0.2.1/rest/member_list?WHERE=member_is_me%%3D%%271%%27' | openssl dgst -sha3-256
//
// Its clock is from 2023, so that 412 says that it was right.
func TestSignature(t *testing.T) {
	t.Parallel()
	c := newClient(t, start(t, solidsim.Config{Tokens: map[string]solidsim.Token{"id": {User: "ipmadmin", Secret: "s3cret"}}}))
	req := c.request("GET", "member_list", nil, "")
	clear(req.Header)
	req.Host = "192.0.2.1"
	req.URL.RawQuery = "WHERE=member_is_me%3D%271%27"
	req.Header.Set("X-SDS-TS", "1700000000")
	req.Header.Set("Authorization", "SDS id:"+opensslSum)
	if status, body := c.send(req); status != 412 {
		t.Errorf("status %d: %s", status, body)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Tokens: map[string]solidsim.Token{"id": {User: "ipmadmin", Secret: "s3cret"}}})
	c := newClient(t, sim)
	now := time.Now()
	url := sim.URL() + "/rest/dns_rr_count?WHERE=rr_type%3D%27A%27+and+ttl%3E5"
	tamper := func(change func(*http.Request)) *http.Request {
		req := signed(c, "id", "s3cret", "GET", url, now)
		change(req)
		return req
	}
	for _, test := range []struct {
		name string
		req  *http.Request
		want int
	}{
		{"right", signed(c, "id", "s3cret", "GET", url, now), 200},
		{"again", signed(c, "id", "s3cret", "GET", url, now), 200},
		{"unknown id", signed(c, "di", "s3cret", "GET", url, now), 401},
		{"wrong secret", signed(c, "id", "secret", "GET", url, now), 401},
		{"slow clock", signed(c, "id", "s3cret", "GET", url, now.Add(-4*time.Minute)), 200},
		{"clock too slow", signed(c, "id", "s3cret", "GET", url, now.Add(-6*time.Minute)), 412},
		{"clock too fast", signed(c, "id", "s3cret", "GET", url, now.Add(6*time.Minute)), 412},
		{"another query", tamper(func(r *http.Request) { r.URL.RawQuery = "WHERE=rr_type%3D%27A%27+and+ttl%3E6" }), 401},
		{"the query encoded again", tamper(func(r *http.Request) { r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, "+", "%20") }), 401},
		{"without the query", tamper(func(r *http.Request) { r.URL.RawQuery = "" }), 401},
		{"another method", tamper(func(r *http.Request) { r.Method = "OPTIONS" }), 401},
		{"another host", tamper(func(r *http.Request) { r.Host = "192.0.2.1" }), 401},
		{"another time", tamper(func(r *http.Request) { r.Header.Set("X-SDS-TS", fmt.Sprint(now.Unix()+1)) }), 401},
		{"no time", tamper(func(r *http.Request) { r.Header.Del("X-SDS-TS") }), 401},
		{"upper case", tamper(func(r *http.Request) {
			r.Header.Set("Authorization", "SDS id:"+strings.ToUpper(r.Header.Get("Authorization")[len("SDS id:"):]))
		}), 401},
	} {
		if status, body := c.send(test.req); status != test.want {
			t.Errorf("%s: status %d, want %d: %s", test.name, status, test.want, body)
		}
	}
	// The port 443 may be written or not, and need not stand in the header Host.
	for _, hosts := range [][2]string{{"sds.example", "sds.example:443"}, {"sds.example:443", "sds.example"}} {
		req := signed(c, "id", "s3cret", "GET", "https://"+hosts[0]+"/rest/dns_zone_list", now)
		req.URL.Host, req.Host = sim.Addr(), hosts[1]
		if status, body := c.send(req); status != 200 {
			t.Errorf("signed %s, sent %s: status %d: %s", hosts[0], hosts[1], status, body)
		}
	}
}

func TestReplays(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{
		Tokens:  map[string]solidsim.Token{"id": {User: "ipmadmin", Secret: "s3cret"}},
		Options: solidsim.Options{RefuseReplays: true, TokenWindow: time.Hour},
	})
	c := newClient(t, sim)
	now := time.Now()
	url := sim.URL() + "/rest/dns_zone_list"
	for i, want := range []int{200, 401} {
		if status, _ := c.send(signed(c, "id", "s3cret", "GET", url, now)); status != want {
			t.Errorf("use %d: status %d, want %d", i+1, status, want)
		}
	}
	if status, _ := c.send(signed(c, "id", "s3cret", "GET", url, now.Add(-59*time.Minute))); status != 200 {
		t.Errorf("within the window: status %d", status)
	}
}

// TestRights denies services to a user, as to those who may do DNS alone, and
// to that user's token.
func TestRights(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ configured, want int }{{0, 403}, {400, 400}} {
		sim := start(t, solidsim.Config{
			Users:   map[string]string{"ipmadmin": "admin", "other": "x"},
			Tokens:  map[string]solidsim.Token{"id": {User: "ipmadmin", Secret: "s3cret"}},
			Denied:  map[string][]string{"ipmadmin": {"member_*", "dns_rr_delete"}},
			Options: solidsim.Options{ForbiddenStatus: test.configured},
		})
		c := newClient(t, sim)
		row := c.must(test.want, "GET", "member_list")[0]
		if row["errmsg"] != "Permission denied" {
			t.Errorf("refusal: %v", row)
		}
		c.must(test.want, "DELETE", "dns_rr_delete", "rr_id", c.add("h.site.com", "A", "192.0.2.1"))
		c.must(test.want, "OPTIONS", "member_list")
		if status, _ := c.send(signed(c, "id", "s3cret", "GET", sim.URL()+"/rest/member_list", time.Now())); status != test.want {
			t.Errorf("token: status %d, want %d", status, test.want)
		}
		req := c.request("GET", "member_list", nil, "")
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("other:x")))
		if status, _ := c.send(req); status != 200 {
			t.Errorf("another user: status %d", status)
		}
		if got := sim.Calls().ByService["GET member_list"]; got != 1 {
			t.Errorf("%d calls of member_list were counted as served, want 1", got)
		}
	}
}

func TestUnauthorizedForms(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		form        solidsim.UnauthorizedForm
		status      int
		body, ctype string
	}{
		{"", 401, `{"errno":"10001"`, "application/json"},
		{solidsim.UnauthorizedText, 401, "Authentication failed", "text/plain; charset=utf-8"},
		{solidsim.UnauthorizedDisconnected, 200, `{"connected":false}`, "application/json"},
	} {
		c := newClient(t, start(t, solidsim.Config{Options: solidsim.Options{Unauthorized: test.form}}))
		req := c.request("GET", "dns_zone_list", nil, "")
		clear(req.Header)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, len(test.body))
		_, err = resp.Body.Read(body)
		_ = resp.Body.Close()
		if resp.StatusCode != test.status || string(body) != test.body || resp.Header.Get("Content-Type") != test.ctype {
			t.Errorf("%q: %d %s %s, %v", test.form, resp.StatusCode, resp.Header.Get("Content-Type"), body, err)
		}
	}
}

const opensslSum = "b8f01351824aba415488aaa8ccc1f1c6a986b68e4c429f70f89887e8b09f9e94"
