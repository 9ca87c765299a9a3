package solidsim_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// steer calls the control endpoint and returns status and body.
func steer(t *testing.T, sim *solidsim.Sim, method, path, body string, change ...func(*http.Request)) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+sim.ControlAddr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(req)
	}
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestControl(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Control: "127.0.0.1:0"})
	c := newClient(t, sim)
	c.must(200, "GET", "dns_zone_list", "type", "")
	state := func() solidsim.State {
		status, body := steer(t, sim, "GET", "/state", "")
		var got solidsim.State
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
			t.Fatalf("state: %d %s, %v", status, body, err)
		}
		return got
	}
	want := solidsim.State{API: sim.URL(), Calls: solidsim.Calls{
		Total: 1, ByService: map[string]int{"GET dns_zone_list": 1}, MaxConcurrent: 1,
		UnknownParameters: map[string]int{"dns_zone_list type": 1},
	}}
	if diff := cmp.Diff(want, state()); diff != "" {
		t.Error(diff)
	}
	const plan = `{"seed":7,"rules":[{"kind":"status","rate":1,"status":429,"retry_after":"2s","burst":5}]}`
	if status, body := steer(t, sim, "PUT", "/faults", plan); status != 200 || !strings.Contains(body, `"retry_after": "2s"`) {
		t.Errorf("put: %d %s", status, body)
	}
	c.must(429, "GET", "dns_zone_list")
	if got := state(); got.Faults == nil || got.Faults.Seed != 7 || got.Calls.Faults["status 429"] != 1 {
		t.Errorf("state with faults: %+v", got)
	}
	if status, body := steer(t, sim, "PUT", "/faults", `{"rules":[{"kind":"fire"}]}`); status != 400 || !strings.Contains(body, `"error"`) {
		t.Errorf("put of nonsense: %d %s", status, body)
	}
	c.must(429, "GET", "dns_zone_list") // the plan is still there
	if status, _ := steer(t, sim, "DELETE", "/faults", ""); status != 204 {
		t.Errorf("delete: %d", status)
	}
	c.must(200, "GET", "dns_zone_list")
	if status, _ := steer(t, sim, "POST", "/actions/reset-counts", ""); status != 204 {
		t.Errorf("reset: %d", status)
	}
	if diff := cmp.Diff(solidsim.State{API: sim.URL()}, state()); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]int{"/": 404, "/actions/explode": 404, "/actions/reset-counts": 405} {
		if status, _ := steer(t, sim, "GET", path, ""); status != want {
			t.Errorf("GET %s: %d, want %d", path, status, want)
		}
	}
}

// TestControlHoldsPushes keeps a record from the DNS side for a while.
func TestControlHoldsPushes(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Control: "127.0.0.1:0"})
	c := newClient(t, sim)
	const server = `{"server":"` + solidsim.InternalServer + `"}`
	if status, body := steer(t, sim, "POST", "/actions/hold-pushes", server); status != 204 {
		t.Fatalf("hold: %d %s", status, body)
	}
	id := c.add("h.site.com", "A", "192.0.2.1")
	pending := func() string { return c.must(200, "GET", "dns_rr_info", "rr_id", id)[0]["delayed_create_time"] }
	if got := pending(); got == "0" {
		t.Error("the record is not pending while pushes are held")
	}
	if status, body := steer(t, sim, "POST", "/actions/release-pushes", server); status != 204 {
		t.Fatalf("release: %d %s", status, body)
	}
	eventually(t, func() bool { return pending() == "0" })
	for _, body := range []string{"", "{", `{"server":"nobody"}`} {
		if status, text := steer(t, sim, "POST", "/actions/hold-pushes", body); status != 400 || !strings.Contains(text, `"error"`) {
			t.Errorf("%q: %d %s", body, status, text)
		}
	}
}

// TestControlIsLocal: what a page in a browser could send is refused, also
// under a name that leads to loopback.
func TestControlIsLocal(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{Control: "localhost:0"})
	_, port, _ := net.SplitHostPort(sim.ControlAddr())
	for name, change := range map[string]func(*http.Request){
		"another name":   func(r *http.Request) { r.Host = "evil.example:" + port },
		"another origin": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"no name":        func(r *http.Request) { r.Host = "192.0.2.1" },
	} {
		if status, _ := steer(t, sim, "DELETE", "/faults", "", change); status != http.StatusForbidden {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _ := steer(t, sim, "DELETE", "/faults", "", func(r *http.Request) { r.Host = "localhost:" + port }); status != 204 {
		t.Errorf("localhost: %d", status)
	}
}

func TestControlIsOff(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	if got := sim.ControlAddr(); got != "" {
		t.Errorf("listens on %s", got)
	}
	second, err := solidsim.Start(t.Context(), solidsim.Config{Control: sim.Addr()})
	if err == nil {
		_ = second.Close()
		t.Fatal("started on a taken address")
	}
	if !strings.Contains(err.Error(), "listen for the control endpoint") {
		t.Error(err)
	}
}
