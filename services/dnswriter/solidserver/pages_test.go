package solidserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// fill puts n records into the internal server, and as many others that are
// not to be read.
func fill(t *testing.T, sim *solidsim.Sim, n int) {
	t.Helper()
	for i := range n {
		r := solidsim.Record{Name: fmt.Sprintf("h%d.site.com", i), Type: "A", Value: fmt.Sprintf("10.1.%d.%d", i/250, i%250), TTL: 600}
		add(t, sim, r)
		if err := sim.Add(solidsim.ExternalServer, r); err != nil {
			t.Fatal(err)
		}
	}
}

// checkWhole checks that the rows are h0 to h(n-1), each once.
func checkWhole(t *testing.T, rows []dns.Row, n int) {
	t.Helper()
	names := make(map[string]bool)
	for _, row := range rows {
		names[row.Name] = true
	}
	for i := range n {
		if name := fmt.Sprintf("h%d.site.com", i); !names[name] {
			t.Fatalf("%s is missing; %d rows", name, len(rows))
		}
	}
	if len(rows) != n || len(names) != n {
		t.Fatalf("%d rows of %d names, want %d", len(rows), len(names), n)
	}
}

// A zone costs as many calls as it fills pages, and a few.
func TestCallsOfALargeZone(t *testing.T) {
	t.Parallel()
	const records = 5000
	sim := start(t)
	fillZone(t, sim, records)
	s := open(t, sim, solidserver.Config{Log: quiet()}).Scope("internal", solidsim.InternalServer, "")
	sim.ResetCalls()
	rows, err := s.Records(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	checkWhole(t, rows, records)
	if n := sim.Calls().Total; n > records/1000+4 {
		t.Errorf("%d calls for %d records", n, records)
	}
}

func testPages(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	if rows, err := s.Records(t.Context(), site); err != nil || len(rows) > 0 {
		t.Fatalf("an empty zone: %v, %v", rows, err)
	}
	const n = 2500
	fill(t, sim, n)
	add(t, sim, solidsim.Record{Name: "t.site.com", Type: "TXT", Value: "counted, but not returned"})
	sim.ResetCalls()
	rows, err := s.Records(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	checkWhole(t, rows, n)
	// Each page after the first has 999 new rows; the last has none.
	calls := sim.Calls()
	if lists, counts := calls.ByService["GET dns_rr_list"], calls.ByService["GET dns_rr_count"]; lists != 4 || counts != 1 || calls.Total != 6 {
		t.Errorf("%d lists, %d counts, %d calls in all", lists, counts, calls.Total)
	}
}

// before is a real server before the simulator.
func before(t *testing.T, sim *solidsim.Sim, proxy *httputil.ReverseProxy) *solidserver.Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = sim.CertPool()
	t.Cleanup(transport.CloseIdleConnections)
	proxy.Transport = transport
	server := httptest.NewTLSServer(proxy)
	t.Cleanup(server.Close)
	return open(t, sim, solidserver.Config{Host: server.URL, Insecure: true})
}

func target(t *testing.T, sim *solidsim.Sim) *url.URL {
	t.Helper()
	target, err := url.Parse(sim.URL())
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// smallPages gives fewer rows than are asked for, which the API may do.
func smallPages(t *testing.T, sim *solidsim.Sim, size int) *solidserver.Client {
	t.Helper()
	to := target(t, sim)
	return before(t, sim, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		if query := r.Out.URL.Query(); query.Get("limit") != "" {
			query.Set("limit", fmt.Sprint(size))
			r.Out.URL.RawQuery = query.Encode()
		}
	}})
}

// unreadable is the internal DNS server, with an object in place of the text in
// one column of the rows of one name.
func unreadable(t *testing.T, sim *solidsim.Sim, name, column string) *solidserver.Scope {
	t.Helper()
	to := target(t, sim)
	return before(t, sim, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(r *http.Response) error {
			if !strings.HasSuffix(r.Request.URL.Path, "dns_rr_list") || r.StatusCode != http.StatusOK {
				return nil
			}
			var rows []map[string]any
			if err := json.NewDecoder(r.Body).Decode(&rows); err != nil {
				return err
			}
			for _, row := range rows {
				if row["rr_full_name"] == name {
					row[column] = map[string]any{"was": row[column]}
				}
			}
			body, err := json.Marshal(rows)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", fmt.Sprint(len(body)))
			return err
		},
	}).Scope("internal", solidsim.InternalServer, "")
}

func testShortPagesAreNotTheEnd(t *testing.T) {
	t.Parallel()
	sim := start(t)
	fill(t, sim, 50)
	for _, size := range []int{2, 7, 49, 50, 51} {
		rows, err := smallPages(t, sim, size).Scope("internal", solidsim.InternalServer, "").Records(t.Context(), site)
		if err != nil {
			t.Fatalf("pages of %d: %v", size, err)
		}
		checkWhole(t, rows, 50)
	}
	// A page of one row cannot be told from the end, but the count can.
	_, err := smallPages(t, sim, 1).Scope("internal", solidsim.InternalServer, "").Records(t.Context(), site)
	if err == nil || !strings.Contains(err.Error(), "50 were counted, 1 were listed") {
		t.Errorf("pages of 1: %v", err)
	}
}

// A name with very many rows is read to the end, too.
func TestLookupOfManyRows(t *testing.T) {
	t.Parallel()
	sim := start(t)
	const n = 150
	for i := range n {
		add(t, sim, solidsim.Record{Name: host, Type: "A", Value: fmt.Sprintf("10.0.0.%d", i)})
	}
	s := smallPages(t, sim, 100).Scope("internal", solidsim.InternalServer, "")
	if rows := lookup(t, s, host); len(rows) != n {
		t.Errorf("%d rows, want %d", len(rows), n)
	}
}

func TestPagesThatFail(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		service, offset string
		fault           solidsim.Fault
	}{
		"a page in the middle":        {"dns_rr_list", "999", solidsim.Fault{Status: http.StatusBadRequest}},
		"an end that comes too early": {"dns_rr_list", "not 0", solidsim.Fault{Status: http.StatusNoContent}},
		"an empty list":               {"dns_rr_list", "not 0", solidsim.Fault{Status: http.StatusOK, Body: "[]"}},
		"no rows at all":              {"dns_rr_list", "0", solidsim.Fault{Status: http.StatusNoContent}},
		"the count":                   {"dns_rr_count", "", solidsim.Fault{Status: http.StatusBadRequest}},
		"a larger count":              {"dns_rr_count", "", solidsim.Fault{Status: http.StatusOK, Body: `[{"errno":"0","total":"1201"}]`}},
		"a count of no form":          {"dns_rr_count", "", solidsim.Fault{Status: http.StatusOK, Body: `[{"errno":"0","total":"many"}]`}},
		"two counts":                  {"dns_rr_count", "", solidsim.Fault{Status: http.StatusOK, Body: `[{"total":"1"},{"total":"2"}]`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, s := scope(t)
			fill(t, sim, 1200)
			sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
				offset := c.Params["offset"]
				if c.Service == test.service && (offset == test.offset || test.offset == "not 0" && offset != "0") {
					return test.fault
				}
				return solidsim.Fault{}
			})
			if rows, err := s.Records(t.Context(), site); err == nil || len(rows) > 0 {
				t.Errorf("%d rows, error %v", len(rows), err)
			}
			if n := sim.Calls().Total; n > 100 {
				t.Errorf("%d calls were made", n)
			}
		})
	}
}

// Rows come and go while the zone is read. No row that was there all the time
// may be missing from the result.
func testZoneThatMoves(t *testing.T) {
	t.Parallel()
	first := solidsim.Record{Name: "h0.site.com", Type: "A", Value: "10.1.0.0", TTL: 600}
	last := solidsim.Record{Name: "h1499.site.com", Type: "A", Value: "10.1.5.249", TTL: 600}
	for name, test := range map[string]struct {
		move    func(t *testing.T, sim *solidsim.Sim)
		missing string
	}{
		"a row that was read goes":     {func(t *testing.T, sim *solidsim.Sim) { remove(t, sim, first) }, first.Name},
		"a row that was not read goes": {func(t *testing.T, sim *solidsim.Sim) { remove(t, sim, last) }, last.Name},
		"a row that was read gets another id": {func(t *testing.T, sim *solidsim.Sim) {
			remove(t, sim, first)
			add(t, sim, first)
		}, ""},
		"a row comes": {func(t *testing.T, sim *solidsim.Sim) {
			add(t, sim, solidsim.Record{Name: "new.site.com", Type: "A", Value: "10.0.0.1"})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, s := scope(t)
			fill(t, sim, 1500)
			var moved atomic.Bool
			var readings atomic.Int64
			sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
				if c.Service == "dns_rr_list" && c.Params["offset"] == "0" {
					readings.Add(1)
				}
				if c.Service == "dns_rr_list" && c.Params["offset"] == "999" && !moved.Swap(true) {
					test.move(t, sim)
				}
				return solidsim.Fault{}
			})
			rows, err := s.Records(t.Context(), site)
			if err != nil {
				t.Fatal(err)
			}
			if n := readings.Load(); n != 1 {
				t.Errorf("the zone was read %d times", n)
			}
			names := make(map[string]int)
			for _, row := range rows {
				names[row.Name]++
			}
			for i := range 1500 {
				if name := fmt.Sprintf("h%d.site.com", i); name != test.missing && names[name] != 1 {
					t.Errorf("%s is there %d times", name, names[name])
				}
			}
		})
	}
}

// However often rows go, and however many, the zone is read in one go.
func TestZoneThatNeverHoldsStill(t *testing.T) {
	t.Parallel()
	const n, pages = 4500, 5
	for _, each := range []int{1, 7, 150} {
		t.Run(fmt.Sprint(each, " rows go with each page"), func(t *testing.T) {
			t.Parallel()
			sim, s := scope(t)
			fill(t, sim, n)
			var gone atomic.Int64
			sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
				if c.Service == "dns_rr_list" && c.Params["offset"] != "0" {
					for range each {
						i := gone.Add(1)
						remove(t, sim, solidsim.Record{Name: fmt.Sprintf("h%d.site.com", i), Type: "A", Value: fmt.Sprintf("10.1.%d.%d", i/250, i%250)})
					}
				}
				return solidsim.Fault{}
			})
			rows, err := s.Records(t.Context(), site)
			if err != nil {
				t.Fatal(err)
			}
			names := make(map[string]int)
			for _, row := range rows {
				names[row.Name]++
			}
			for i := gone.Load() + 1; i < n; i++ {
				if name := fmt.Sprintf("h%d.site.com", i); names[name] != 1 {
					t.Fatalf("%s is there %d times", name, names[name])
				}
			}
			calls := sim.Calls().ByService
			if lists, counts := calls["GET dns_rr_list"], calls["GET dns_rr_count"]; lists > 4*pages || counts > 2 {
				t.Errorf("%d calls for pages and %d counts", lists, counts)
			}
		})
	}
}

func testRowsThatCannotBeReadDoNotHideOthers(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	const row = `{"rr_id":%d,"rr_type":%q,"rr_full_name":%q,"value1":%q,"ttl":%q,"dnszone_name":"site.com","dnsview_name":"#","dns_name":"` + solidsim.InternalServer + `"}`
	body := "[" + strings.Join([]string{
		fmt.Sprintf(row, 1, "a", "A.Site.com.", "10.0.0.1", "60"),
		fmt.Sprintf(row, 2, "A", "odd.site.com", "garbage", "-1"),
		fmt.Sprintf(row, 3, "WKS", "w.site.com", "x", "1"),
		fmt.Sprintf(row, 4, "A", "", "", "99999999999"),
	}, ",") + "]"
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		switch {
		case c.Service == "dns_rr_count":
			return solidsim.Fault{Status: http.StatusNoContent}
		case c.Params["offset"] == "0" && c.Service == "dns_rr_list":
			return solidsim.Fault{Status: http.StatusOK, Body: body}
		case c.Service == "dns_rr_list":
			return solidsim.Fault{Status: http.StatusOK, Body: "[" + fmt.Sprintf(row, 4, "A", "", "", "") + "]"}
		}
		return solidsim.Fault{}
	})
	rows, err := s.Records(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range rows {
		got = append(got, row.String())
	}
	if want := []string{"a.site.com 60 A 10.0.0.1", "odd.site.com 0 A garbage", " 0 A "}; !slices.Equal(got, want) {
		t.Errorf("rows are %q, want %q", got, want)
	}
}

// A row with a value that is neither text nor number hides no other, and is not
// taken for one that is not there: nothing is created over it or removed.
func TestUnreadableRowsAreThereToStay(t *testing.T) {
	t.Parallel()
	columns := []string{
		"rr_id", "rr_full_name", "rr_type", "value1", "ttl", "rr_class_parameters",
		"delayed_create_time", "delayed_delete_time", "dnszone_name", "dns_name", "dnsview_name",
	}
	for _, column := range columns {
		t.Run(column, func(t *testing.T) {
			t.Parallel()
			sim, whole := scope(t)
			other := create(t, whole, record("other.site.com", "10.0.0.9"), owner(9))
			row := create(t, whole, record(host, "10.0.0.1"), owner(5))
			s := unreadable(t, sim, host, column)

			rows, err := s.Records(t.Context(), site)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) != 2 || !slices.ContainsFunc(rows, func(r dns.Row) bool { return r.Record == other.Record && r.Owner != nil }) {
				t.Errorf("rows are %+v", rows)
			}
			at := lookup(t, s, host)
			if len(at) != 1 || at[0].Owner != nil || at[0].Deleting || at[0].Name != host || at[0].Zone != site {
				t.Fatalf("at the name: %+v", at)
			}

			wanted := reconcile.Want{Sets: []dns.Set{{Zone: site, Name: host, Type: dns.A, Records: []dns.Wanted{{Record: record(host, "10.0.0.2"), Owner: owner(5)}}}}}
			for _, want := range []reconcile.Want{wanted, {}} {
				if steps := reconcile.Plan(want, at, reconcile.Sync).Steps; len(steps) > 0 {
					t.Errorf("planned %v", steps)
				}
			}
			writes := sim.Calls().Writes
			if err := s.Delete(t.Context(), row); !errors.Is(err, dns.ErrChanged) {
				t.Errorf("delete: %v", err)
			}
			if err := s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(5)); !errors.Is(err, dns.ErrChanged) {
				t.Errorf("update: %v", err)
			}
			if n := sim.Calls().Writes; n != writes {
				t.Errorf("%d writes", n-writes)
			}
			// Who does not know that the row is there is stopped by the appliance.
			if _, err := s.Create(t.Context(), site, record(host, "10.0.0.2"), owner(5), true); !errors.Is(err, dns.ErrExists) {
				t.Errorf("create: %v", err)
			}
			if r := stored(t, sim, host); r.Value != "10.0.0.1" {
				t.Errorf("stored is %v", r)
			}
		})
	}
}
