package solidsim_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/keastream/keastream/solidsim"
)

// TestFaults checks each fault in both worlds: "it failed" and "it failed but
// happened".
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		fault  solidsim.Fault
		status int
		body   string // a part of it
		err    error
	}{
		{"status", solidsim.Fault{Status: 500}, 500, `{"errno":"10099","errmsg":"Internal Server Error"`, nil},
		{"status with body", solidsim.Fault{Status: 200, Body: `{"connected":false}`}, 200, `{"connected":false}`, nil},
		{"nothing", solidsim.Fault{Status: 204}, 204, ``, nil},
		{"wrong 401", solidsim.Fault{Status: 401}, 401, `Unauthorized`, nil},
		{"reset", solidsim.Fault{Reset: true}, 0, ``, syscall.ECONNRESET},
		{"truncated", solidsim.Fault{Truncate: true}, 201, `[{"ret_`, io.ErrUnexpectedEOF},
	} {
		for _, committed := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				sim := start(t, solidsim.Config{})
				c := newClient(t, sim)
				fault := test.fault
				fault.Committed = committed
				sim.SetFaults(func(_ context.Context, call solidsim.Call) solidsim.Fault {
					if !call.Writes || call.Params["rr_name"] != "h.site.com" {
						return solidsim.Fault{}
					}
					return fault
				})
				status, body, err := exchange(c, "dns_name", solidsim.InternalServer, "rr_name", "h.site.com", "rr_type", "A", "value1", "192.0.2.1")
				want := test.status
				if want == 201 && !committed {
					want = 200
				}
				if status != want || !strings.Contains(body, test.body) || !errors.Is(err, test.err) {
					t.Errorf("status %d, body %q, error %v", status, body, err)
				}
				if got := len(sim.Records(solidsim.InternalServer)) == 1; got != committed {
					t.Errorf("happened: %t, want %t", got, committed)
				}
				calls := sim.Calls()
				if calls.Faulty != 1 || calls.Writes != 1 || calls.Changes == 1 != committed {
					t.Errorf("calls: %+v", calls)
				}
				c.must(200, "GET", "dns_zone_list") // the next call is well
				sim.SetFaults(nil)
				c.must(map[bool]int{true: 200, false: 201}[committed], "POST", "dns_rr_add",
					"dns_name", solidsim.InternalServer, "rr_name", "h.site.com", "rr_type", "A", "value1", "192.0.2.1")
			})
		}
	}
}

// exchange creates a record. It returns what came, even if it is cut.
func exchange(c *client, pairs ...string) (status int, body string, err error) {
	resp, err := c.Do(c.request("POST", "dns_rr_add", query(pairs...), ""))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

// TestLateWrite lets the client give up before the write happens.
func TestLateWrite(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	arrived, release := make(chan struct{}), make(chan struct{})
	sim.SetFaults(func(ctx context.Context, _ solidsim.Call) solidsim.Fault {
		close(arrived)
		select {
		case <-release:
		case <-ctx.Done():
		}
		return solidsim.Fault{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	req := c.request("POST", "dns_rr_add",
		query("dns_name", solidsim.InternalServer, "rr_name", "h.site.com", "rr_type", "A", "value1", "192.0.2.1"), "").WithContext(ctx)
	go func() {
		resp, err := c.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		result <- err
	}()
	<-arrived
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("the client got %v", err)
	}
	if got := sim.Records(solidsim.InternalServer); got != nil {
		t.Fatalf("written too early: %v", got)
	}
	close(release)
	eventually(t, func() bool { return sim.Calls().Changes == 1 })
	if got := sim.Records(solidsim.InternalServer); len(got) != 1 {
		t.Errorf("records: %v", got)
	}
}

// TestCloseEndsHooks checks that a hook that holds a call back does not keep
// the simulator alive.
func TestCloseEndsHooks(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	arrived := make(chan struct{})
	sim.SetFaults(func(ctx context.Context, _ solidsim.Call) solidsim.Fault {
		close(arrived)
		<-ctx.Done()
		return solidsim.Fault{Reset: true}
	})
	result := make(chan error)
	go func() {
		_, _, err := exchange(c)
		result <- err
	}()
	<-arrived
	if err := sim.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; err == nil {
		t.Error("the call was answered")
	}
}
