package solidsim_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

func plan(t *testing.T, text string) solidsim.FaultPlan {
	t.Helper()
	p, err := solidsim.ParseFaultPlan([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// decide asks a plan about calls 1 to n of a service.
func decide(p solidsim.FaultPlan, c solidsim.Call, n int) []solidsim.Fault {
	f := p.Func()
	faults := make([]solidsim.Fault, n)
	for i := range faults {
		c.Number = i + 1
		faults[i] = f(context.Background(), c)
	}
	return faults
}

// TestFaultPlanIsAFunction: the decisions are those of seed and number, and
// each rule strikes as often as it says.
func TestFaultPlanIsAFunction(t *testing.T) {
	t.Parallel()
	const n = 20_000
	const rules = `"rules":[
		{"kind":"reset","rate":0.1,"services":["dns_rr_add"],"after_commit":true},
		{"kind":"status","rate":0.05,"status":429,"retry_after":"2s","burst":20},
		{"kind":"short","rate":0.2,"services":["dns_*_list"]},
		{"kind":"delay","rate":0.5,"duration":"10ms","jitter":"5ms"}]}`
	p := plan(t, `{"seed":1,`+rules)
	add := solidsim.Call{Service: "dns_rr_add", Method: "POST", Writes: true}
	list := solidsim.Call{Service: "dns_rr_list", Method: "GET"}
	first := decide(p, add, n)
	if diff := cmp.Diff(first, decide(p, add, n)); diff != "" {
		t.Error("the same seed and numbers decide differently")
	}
	if slices.Equal(first, decide(plan(t, `{"seed":2,`+rules), add, n)) {
		t.Error("another seed decides the same")
	}
	counts := make(map[string]float64)
	for _, f := range first {
		counts[f.Kind]++
		if f.Delay != 0 && (f.Delay < 10*time.Millisecond || f.Delay > 15*time.Millisecond) {
			t.Fatalf("delay %s", f.Delay)
		}
	}
	near := func(name string, got, want float64) {
		if math.Abs(got-want*n) > 0.15*want*n {
			t.Errorf("%s: %v of %d calls, want about %v", name, got, n, want*n)
		}
	}
	near("reset after commit", counts["reset after commit"], 0.1)
	near("status 429", counts["status 429"], 0.9*0.05)
	near("delay alone", counts["delay"], 0.5*0.9*0.95)
	if counts["short"] != 0 {
		t.Error("a write was given a short page")
	}
	short := 0.0
	for _, f := range decide(p, list, n) {
		if f.Short {
			short++
		}
		if f.Reset {
			t.Fatal("a rule for dns_rr_add struck a list")
		}
	}
	near("short", short, 0.95*0.2)
	storms := decide(solidsim.FaultPlan{Seed: p.Seed, Rules: p.Rules[1:2]}, list, n)
	for block := range slices.Chunk(storms, 20) {
		for _, f := range block {
			if f != block[0] || f.Status != 0 && (f.Status != 429 || f.RetryAfter != 2*time.Second) {
				t.Fatalf("a storm strikes all of a block or nothing of it: %v", block)
			}
		}
	}
}

// TestFaultPlanStrikes has each kind at work, in both worlds where there are
// two.
func TestFaultPlanStrikes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule   string
		status int
		body   string
		header map[string]string
		failed bool
	}{
		{`"kind":"status"`, 500, `{"errno":"10099"`, nil, false},
		{`"kind":"status","status":429,"retry_after":"7s"`, 429, `{"errno"`, map[string]string{"Retry-After": "7"}, false},
		{`"kind":"status","status":401`, 401, `{"errno"`, nil, false},
		{`"kind":"empty"`, 200, "", map[string]string{"Content-Type": "", "Content-Length": "0"}, false},
		{`"kind":"disconnected"`, 200, `{"connected":false}`, map[string]string{"Content-Type": "application/json"}, false},
		{`"kind":"html"`, 502, "<!DOCTYPE html>", map[string]string{"Content-Type": "text/html; charset=utf-8"}, false},
		{`"kind":"truncate"`, 0, "", nil, true},
		{`"kind":"reset"`, 0, "", nil, true},
	} {
		for _, committed := range []bool{false, true} {
			t.Run(test.rule, func(t *testing.T) {
				t.Parallel()
				rule := test.rule + `,"rate":1,"services":["dns_rr_add"]`
				if committed {
					rule += `,"after_commit":true`
				}
				p := plan(t, `{"rules":[{`+rule+`}]}`)
				sim := start(t, solidsim.Config{Faults: &p})
				c := newClient(t, sim)
				resp, err := c.Do(c.request("POST", "dns_rr_add",
					query("dns_name", solidsim.InternalServer, "rr_name", "h.site.com", "rr_type", "A", "value1", "192.0.2.1"), ""))
				var body []byte
				if err == nil {
					body, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
				}
				switch {
				case test.failed:
					if !isReset(err) {
						t.Errorf("error %v", err)
					}
				case err != nil || resp.StatusCode != test.status || !strings.HasPrefix(string(body), test.body) || test.body == "" && len(body) > 0:
					t.Errorf("%v, %v, %s", resp, err, body)
				default:
					for name, want := range test.header {
						if got := resp.Header.Get(name); got != want {
							t.Errorf("%s: %q, want %q", name, got, want)
						}
					}
				}
				if got := len(sim.Records(solidsim.InternalServer)) == 1; got != committed {
					t.Errorf("happened: %t, want %t", got, committed)
				}
				kinds := slices.Collect(maps.Keys(sim.Calls().Faults))
				if len(kinds) != 1 || strings.HasSuffix(kinds[0], " after commit") != committed {
					t.Errorf("counted as %q", kinds)
				}
			})
		}
	}
}

// TestWaits: a delay is before the work and a hold after it. Both are so long
// that only the state can tell, and end when the client gives up or the
// simulator closes.
func TestWaits(t *testing.T) {
	t.Parallel()
	for kind, happened := range map[string]bool{"delay": false, "hold": true} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			sim := start(t, solidsim.Config{})
			if err := sim.SetFaultPlan(plan(t, `{"rules":[{"kind":"`+kind+`","rate":1,"duration":"24h","services":["dns_rr_add"]}]}`)); err != nil {
				t.Fatal(err)
			}
			c := newClient(t, sim)
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error)
			req := c.request("POST", "dns_rr_add",
				query("dns_name", solidsim.InternalServer, "rr_name", "h.site.com", "rr_type", "A", "value1", "192.0.2.1"), "").WithContext(ctx)
			go func() {
				resp, err := c.Do(req)
				if err == nil {
					err = errors.Join(errors.New("answered"), resp.Body.Close())
				}
				result <- err
			}()
			eventually(t, func() bool { return sim.Calls().Faults[kind] == 1 })
			if happened {
				eventually(t, func() bool { return len(sim.Records(solidsim.InternalServer)) == 1 })
			} else if got := sim.Records(solidsim.InternalServer); got != nil {
				t.Errorf("written before the end of the delay: %v", got)
			}
			c.must(200, "GET", "dns_zone_list") // others go on
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("the client got %v", err)
			}
			if err := sim.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSpoiledLists: pages lose rows at their end or have one twice, and only
// pages of lists.
func TestSpoiledLists(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	fill(t, sim)
	c := newClient(t, sim)
	ids := func(pairs ...string) string {
		var ids []string
		for _, row := range c.must(200, "GET", "dns_rr_list", append(pairs, "WHERE", "rr_id<106", "SELECT", "rr_id")...) {
			ids = append(ids, row["rr_id"])
		}
		return strings.Join(ids, " ")
	}
	for _, test := range []struct{ kind, page, whole string }{
		{"short", "101 102", "101 102 103"},
		{"double", "101 102 102 103", "101 102 103 103 104 105"},
	} {
		if err := sim.SetFaultPlan(plan(t, `{"rules":[{"kind":"`+test.kind+`","rate":1}]}`)); err != nil {
			t.Fatal(err)
		}
		if got := ids("limit", "3"); got != test.page {
			t.Errorf("%s: page %s, want %s", test.kind, got, test.page)
		}
		if got := ids(); got != test.whole {
			t.Errorf("%s: all %s, want %s", test.kind, got, test.whole)
		}
		if got := len(c.must(200, "GET", "dns_rr_info", "rr_id", "101")); got != 1 {
			t.Errorf("%s: info has %d rows", test.kind, got)
		}
		c.must(204, "GET", "dns_rr_list", "WHERE", "rr_id=1")
		c.must(400, "GET", "dns_rr_list", "WHERE", "rr_id")
	}
	if got := ids("limit", "1"); got != "101 101" {
		t.Errorf("a row twice in a page of one: %s", got)
	}
}

// TestStaleReads: lists, counts and infos are behind by ten changes or more.
func TestStaleReads(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	c.add("old.site.com", "A", "192.0.2.1")
	if err := sim.SetFaultPlan(plan(t, `{"rules":[{"kind":"stale","rate":1}]}`)); err != nil {
		t.Fatal(err)
	}
	total := func() string { return c.must(200, "GET", "dns_rr_count")[0]["total"] }
	for i := range 45 {
		id := c.add("h.site.com", "A", "192.0.2."+strconv.Itoa(i+10))
		c.must(204, "GET", "dns_rr_info", "rr_id", id)
		changes := i + 1
		want := max(0, changes/10-1)*10 + 1
		if got := total(); got != strconv.Itoa(want) {
			t.Fatalf("after %d changes: %s rows, want %d", changes, got, want)
		}
	}
	if got := len(c.must(200, "GET", "dns_rr_list")); got != 31 {
		t.Errorf("the list has %d rows, want 31", got)
	}
	c.must(200, "GET", "dns_rr_list", "WHERE", "rr_full_name='old.site.com'")
	sim.SetFaults(nil)
	if got := total(); got != "46" {
		t.Errorf("without the fault: %s rows, want 46", got)
	}
	sim.SetFaults(func(context.Context, solidsim.Call) solidsim.Fault { return solidsim.Fault{Stale: true} })
	if got := total(); got != "46" {
		t.Errorf("right after the hook came: %s rows, want 46", got)
	}
}

func TestFaultPlanInForce(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	if got, found := sim.FaultPlan(); found {
		t.Errorf("plan %v at the start", got)
	}
	want := plan(t, `{"seed":3,"rules":[{"kind":"delay","rate":0.5,"duration":"20ms","jitter":"30ms"}]}`)
	if err := sim.SetFaultPlan(want); err != nil {
		t.Fatal(err)
	}
	got, found := sim.FaultPlan()
	if diff := cmp.Diff(want, got); diff != "" || !found {
		t.Error(found, diff)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, plan(t, string(text))); diff != "" {
		t.Errorf("%s: %s", text, diff)
	}
	if err := sim.SetFaultPlan(solidsim.FaultPlan{Rules: []solidsim.FaultRule{{}}}); err == nil {
		t.Error("a plan that is not valid was taken")
	}
	typo := plan(t, `{"rules":[{"kind":"reset","rate":1,"services":["dns_rr_ad"]}]}`)
	if err := sim.SetFaultPlan(typo); err == nil || !strings.Contains(err.Error(), `fault rule 1: no service fits "dns_rr_ad"`) {
		t.Errorf("a plan for no service: %v", err)
	}
	for _, cfg := range []solidsim.Config{{Faults: &typo}, {Denied: map[string][]string{"ipmadmin": {"*", "dns_rr_ad"}}}} {
		second, err := solidsim.Start(t.Context(), cfg)
		if err == nil {
			_ = second.Close()
			t.Error("started with a mistyped service")
		} else if !strings.Contains(err.Error(), `no service fits "dns_rr_ad"`) {
			t.Error(err)
		}
	}
	if _, found := sim.FaultPlan(); !found {
		t.Error("a refused plan took the other one away")
	}
	sim.SetFaults(func(context.Context, solidsim.Call) solidsim.Fault { return solidsim.Fault{} })
	if _, found := sim.FaultPlan(); found {
		t.Error("the plan is still there beside a hook")
	}
}

func TestFaultPlanRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{`:                                      "unexpected EOF",
		`[]`:                                     "cannot unmarshal array",
		`{"rules":[]} x`:                         "something follows",
		`{"rulez":[]}`:                           "rulez",
		`{"rules":[{"kind":"fire","rate":0.1}]}`: `rule 1: kind "fire": want one of delay, disconnected, double, empty, hold, html, reset, short, stale, status, truncate`,
		`{"rules":[{"kind":"reset","rate":1},{"kind":"reset"}]}`:                   "rule 2: rate 0",
		`{"rules":[{"kind":"reset","rate":1.01}]}`:                                 "rate 1.01",
		`{"rules":[{"kind":"reset","rate":1,"services":[""]}]}`:                    "no pattern",
		`{"rules":[{"kind":"stale","rate":1,"after_commit":true}]}`:                "spoils no answer",
		`{"rules":[{"kind":"reset","rate":1,"burst":-1}]}`:                         "burst -1",
		`{"rules":[{"kind":"reset","rate":1,"status":500}]}`:                       "status and retry_after",
		`{"rules":[{"kind":"status","rate":1,"status":200}]}`:                      "status 200",
		`{"rules":[{"kind":"status","rate":1,"retry_after":"5ms"}]}`:               "retry_after 5ms",
		`{"rules":[{"kind":"delay","rate":1}]}`:                                    "duration and jitter",
		`{"rules":[{"kind":"reset","rate":1,"duration":"1s"}]}`:                    "duration and jitter",
		`{"rules":[{"kind":"delay","rate":1,"duration":"-1s","jitter":"1s"}]}`:     "0 or more",
		`{"rules":[{"kind":"delay","rate":1,"duration":"soon"}]}`:                  "soon",
		`{"rules":[{"kind":"hold","rate":1,"duration":"1s","after_commit":true}]}`: "spoils no answer",
	} {
		if _, err := solidsim.ParseFaultPlan([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
