package solidserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// unclearFaults are all the ways in which the answer to a write can say
// nothing about the write.
func unclearFaults() map[string]solidsim.Fault {
	const refusal = `{"errno":"12","errmsg":"sorry","severity":"Error"}`
	faults := map[string]solidsim.Fault{
		"connection reset":      {Reset: true},
		"answer cut off":        {Truncate: true},
		"empty body":            {Status: http.StatusOK, Body: " "},
		"no content":            {Status: http.StatusNoContent},
		"session lost":          {Status: http.StatusOK, Body: `{"connected":false}`},
		"page of a proxy":       {Status: http.StatusOK, Body: "<html><body>Sign in</body></html>"},
		"page with a refusal":   {Status: http.StatusForbidden, Body: "<html>no</html>"},
		"redirect":              {Status: http.StatusFound, Body: "<html>elsewhere</html>"},
		"id missing":            {Status: http.StatusCreated, Body: `[{"ret_oid":""}]`},
		"id zero":               {Status: http.StatusCreated, Body: `[{"ret_oid":"0"}]`},
		"no rows":               {Status: http.StatusCreated, Body: `[]`},
		"null":                  {Status: http.StatusCreated, Body: `null`},
		"two rows":              {Status: http.StatusCreated, Body: `[{"ret_oid":"1"},{"ret_oid":"2"}]`},
		"error that looks good": {Status: http.StatusOK, Body: refusal},
		"id of a strange form":  {Status: http.StatusOK, Body: `[{"ret_oid":{"id":1}}]`},
	}
	for _, status := range []int{401, 408, 412, 429, 500, 502, 503, 504} {
		faults[fmt.Sprint("status ", status)] = solidsim.Fault{Status: status, Body: refusal}
	}
	return faults
}

// An operation is one of the three that write.
type operation struct {
	method   string
	run      func(ctx context.Context, s *solidserver.Scope, row dns.Row) error
	prepared bool   // it needs the row to be there
	after    string // the value that the name has if it happened, "" for none
}

func operations() map[string]operation {
	return map[string]operation{
		"create": {http.MethodPost, func(ctx context.Context, s *solidserver.Scope, row dns.Row) error {
			_, err := s.Create(ctx, site, row.Record, owner(5), true)
			return err
		}, false, "10.0.0.1"},
		"update": {http.MethodPut, func(ctx context.Context, s *solidserver.Scope, row dns.Row) error {
			return s.Update(ctx, row, record(row.Name, "10.0.0.2"), owner(5))
		}, true, "10.0.0.2"},
		"delete": {http.MethodDelete, func(ctx context.Context, s *solidserver.Scope, row dns.Row) error {
			return s.Delete(ctx, row)
		}, true, ""},
	}
}

// Each fault is tried twice on each operation: the call failed, and the call
// failed but happened. Both must be told as unclear, and must be sent once.
func testUnclearWrites(t *testing.T) {
	t.Parallel()
	for opName, op := range operations() {
		for faultName, fault := range unclearFaults() {
			for _, committed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/committed=%t", opName, faultName, committed), func(t *testing.T) {
					t.Parallel()
					sim, s := scope(t)
					row := dns.Row{Record: record(host, "10.0.0.1"), Zone: site}
					before := ""
					if op.prepared {
						row = create(t, s, row.Record, owner(5))
						before = row.Value
					}
					sim.ResetCalls()
					sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
						if c.Method != op.method {
							return solidsim.Fault{}
						}
						f := fault
						f.Committed = committed
						return f
					})
					err := op.run(t.Context(), s, row)
					failed, ok := errors.AsType[*solidserver.Error](err)
					if !errors.Is(err, dns.ErrUnclear) || !ok || failed.Outcome != solidserver.Unclear || errors.Is(err, dns.ErrRefused) {
						t.Fatalf("error is %v", err)
					}
					if errors.Is(err, dns.ErrUnauthorised) != (fault.Status == http.StatusUnauthorized) {
						t.Errorf("unauthorised or not: %v", err)
					}
					if n := sim.Calls().Writes; n != 1 {
						t.Errorf("the write was sent %d times", n)
					}
					want := before
					if committed {
						want = op.after
					}
					rows := lookup(t, s, host)
					if want == "" && len(rows) > 0 || want != "" && (len(rows) != 1 || rows[0].Value != want) {
						t.Errorf("rows are %v, want %q", rows, want)
					}
				})
			}
		}
	}
}

func testRefusedWrites(t *testing.T) {
	t.Parallel()
	refusals := map[string]solidsim.Fault{
		"bare object": {Status: http.StatusBadRequest, Body: `{"errno":"9","errmsg":"RR cannot belong to given DNS zone","parameters":"dnszone_id"}`},
		"array":       {Status: http.StatusForbidden, Body: `[{"errmsg":"no right"}]`},
		"by number":   {Status: http.StatusBadRequest, Body: `{"errno":9}`},
	}
	for opName, op := range operations() {
		for name, fault := range refusals {
			t.Run(opName+"/"+name, func(t *testing.T) {
				t.Parallel()
				sim, s := scope(t)
				row := dns.Row{Record: record(host, "10.0.0.1"), Zone: site}
				if op.prepared {
					row = create(t, s, row.Record, owner(5))
				}
				sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
					if c.Method == op.method {
						return fault
					}
					return solidsim.Fault{}
				})
				err := op.run(t.Context(), s, row)
				failed, ok := errors.AsType[*solidserver.Error](err)
				if !errors.Is(err, dns.ErrRefused) || errors.Is(err, dns.ErrUnclear) || !ok || failed.Outcome != solidserver.Refused {
					t.Errorf("error is %v", err)
				}
			})
		}
	}
}

// A write that ran into its time-out may be carried out later.
func testLateWrite(t *testing.T) {
	t.Parallel()
	sim := start(t)
	s := open(t, sim, solidserver.Config{WriteTimeout: 50 * time.Millisecond}).
		Scope("internal", solidsim.InternalServer, "")
	release := make(chan struct{})
	sim.SetFaults(func(ctx context.Context, c solidsim.Call) solidsim.Fault {
		if c.Writes {
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return solidsim.Fault{}
	})
	_, err := s.Create(t.Context(), site, record(host, "10.0.0.1"), owner(5), true)
	if !errors.Is(err, dns.ErrUnclear) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v", err)
	}
	if rows := lookup(t, s, host); len(rows) > 0 {
		t.Fatalf("there is %v already", rows)
	}
	close(release)
	for len(lookup(t, s, host)) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the write was never carried out")
		}
	}
}

func TestWriteThatIsGivenUp(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	lookup(t, s, host) // the zone is known
	ctx, cancel := context.WithCancel(t.Context())
	sim.SetFaults(func(simCtx context.Context, c solidsim.Call) solidsim.Fault {
		if c.Writes {
			cancel()
			<-simCtx.Done()
		}
		return solidsim.Fault{}
	})
	_, err := s.Create(ctx, site, record(host, "10.0.0.1"), owner(5), true)
	if !errors.Is(err, dns.ErrUnclear) || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	writes := sim.Calls().Writes
	_, err = s.Create(cancelled, site, record(host, "10.0.0.1"), owner(5), true)
	if err == nil || errors.Is(err, dns.ErrUnclear) || sim.Calls().Writes != writes {
		t.Errorf("a write that was not begun: %v", err)
	}
}

// Reads are repeated when the appliance is busy or the connection breaks.
func testReadsAreRepeated(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]solidsim.Fault{
		"reset":    {Reset: true},
		"cut off":  {Truncate: true, Committed: true},
		"busy":     {Status: http.StatusServiceUnavailable},
		"too many": {Status: http.StatusTooManyRequests},
		"internal": {Status: http.StatusInternalServerError, Body: "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, s := scope(t)
			row := create(t, s, record(host, "10.0.0.1"), owner(5))
			first := sim.Calls().Total + 1
			sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
				if c.Service == "dns_rr_list" && c.Number == first {
					return fault
				}
				return solidsim.Fault{}
			})
			if err := s.Delete(t.Context(), row); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a read says while the appliance does not answer properly is an error,
// and never an empty list.
func testReadsThatFail(t *testing.T) {
	t.Parallel()
	const rowOf = `[{"rr_id":"1","rr_type":"A","rr_full_name":"` + host + `","value1":"10.0.0.1","dns_name":"` + solidsim.InternalServer +
		`","dnszone_name":%q,"dnsview_name":%q,"vdns_parent_id":%q}]`
	for name, fault := range map[string]solidsim.Fault{
		"empty body":       {Status: http.StatusOK, Body: " "},
		"session lost":     {Status: http.StatusOK, Body: `{"connected":false}`},
		"null":             {Status: http.StatusOK, Body: `null`},
		"page of a proxy":  {Status: http.StatusOK, Body: "<html></html>"},
		"redirect":         {Status: http.StatusFound, Body: "<html></html>"},
		"refused":          {Status: http.StatusBadRequest},
		"unauthorised":     {Status: http.StatusUnauthorized},
		"an error as row":  {Status: http.StatusOK, Body: `[{"errno":"4","errmsg":"no"}]`},
		"another's row":    {Status: http.StatusOK, Body: `[{"errno":"0","rr_id":"1","dns_name":"x"}]`},
		"another's name":   {Status: http.StatusOK, Body: `[{"rr_id":"1","rr_type":"A","rr_full_name":"x.site.com","dnszone_name":"site.com","dns_name":"` + solidsim.InternalServer + `"}]`},
		"another's view":   {Status: http.StatusOK, Body: fmt.Sprintf(rowOf, site, "in", "0")},
		"another's zone":   {Status: http.StatusOK, Body: fmt.Sprintf(rowOf, "lab.site.com", "#", "0")},
		"a member's row":   {Status: http.StatusOK, Body: fmt.Sprintf(rowOf, site, "#", "7")},
		"rows of no form":  {Status: http.StatusOK, Body: `[1,2]`},
		"more than a list": {Status: http.StatusOK, Body: `[] []`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, s := scope(t)
			row := create(t, s, record(host, "10.0.0.1"), owner(5))
			sim.ResetCalls()
			fail(sim, "dns_rr_list", fault)
			if rows, err := s.Lookup(t.Context(), site, host); err == nil || len(rows) > 0 {
				t.Errorf("looked up %v, %v", rows, err)
			}
			err := s.Delete(t.Context(), row)
			if err == nil || errors.Is(err, dns.ErrUnclear) {
				t.Errorf("delete: %v", err)
			}
			err = s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(5))
			if err == nil || errors.Is(err, dns.ErrUnclear) {
				t.Errorf("update: %v", err)
			}
			if n := sim.Calls().Writes; n > 0 {
				t.Errorf("%d writes after a read that failed", n)
			}
		})
	}
}
