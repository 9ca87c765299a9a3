package solidserver_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// other is a server that is not a SOLIDserver.
func other(t *testing.T, handler http.HandlerFunc) *solidserver.Scope {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return open(t, nil, solidserver.Config{Host: server.URL, Insecure: true}).Scope("internal", solidsim.InternalServer, "")
}

func testRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	thief := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the call went to another host, with the password")
	}))
	t.Cleanup(thief.Close)
	s := other(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	if _, err := s.Records(t.Context(), site); err == nil || !strings.Contains(err.Error(), "status 307") {
		t.Errorf("error is %v", err)
	}
}

func TestHugeAnswer(t *testing.T) {
	t.Parallel()
	s := other(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte(" "), 1<<20)
		for range 40 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if _, err := s.Records(t.Context(), site); err == nil || !strings.Contains(err.Error(), "more than 8388608 bytes") {
		t.Errorf("error is %v", err)
	}
}

// Each of these rows has 3 bytes, and hundreds of them once it is decoded.
func TestVeryManyRows(t *testing.T) {
	t.Parallel()
	body := "[" + strings.Repeat("{},", 1<<20) + "{}]"
	s := other(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "dns_zone_list"):
			fmt.Fprintf(w, `[{"dnszone_id":"1","dnszone_name":%q,"dnszone_type":"master","dns_name":%q}]`, site, solidsim.InternalServer)
		case strings.HasSuffix(r.URL.Path, "dns_rr_list"):
			row := fmt.Sprintf(`{"rr_id":"1","dns_name":%q,"dnszone_name":%q},`, solidsim.InternalServer, site)
			fmt.Fprint(w, "["+strings.Repeat(row, 1000)+body[1:])
		default:
			fmt.Fprint(w, body)
		}
	})
	_, err := s.Lookup(t.Context(), site, host)
	failed, ok := errors.AsType[*solidserver.Error](err)
	if !ok || failed.Outcome != solidserver.Unclear || !strings.Contains(err.Error(), "the answer has more than 1000 rows") {
		t.Errorf("a list: %v", err)
	}
	_, err = s.Create(t.Context(), site, record(host, "10.0.0.1"), owner(5), true)
	if !errors.Is(err, dns.ErrUnclear) {
		t.Errorf("a write: %v", err)
	}
}

func TestHostileErrorText(t *testing.T) {
	t.Parallel()
	const nasty = "\n\x1b[2J\u2028"
	long := strings.Repeat("9", 5000)
	for what, body := range map[string]string{
		"an error":       `{"errno":"` + long + `","errmsg":"\n\u001b[2J` + long + `","parameters":"\n\u001b"}`,
		"its number":     `{"errno":"9\n\u001b[2J\u2028","errmsg":"x"}`,
		"a row":          `[{"errno":"9\n\u001b[2J","errmsg":"\n"}]`,
		"what is a zone": "[" + zoneRow(1, nasty, "dnszone_type", nasty, "dnsview_name", nasty) + "," + zoneRow(2, nasty) + "]",
		"its id":         `[{"dnszone_id":"1\n\u001b","dnszone_name":"site.com","dnszone_type":"a\n\u001b","dns_name":"` + solidsim.InternalServer + `"}]`,
		"its SMART":      `[{"dnszone_id":"1","vdns_parent_id":"\n\u001b","dns_name":"` + solidsim.InternalServer + `"}]`,
		"its server":     `[{"dnszone_id":"1","dns_name":"\n\u001b"}]`,
	} {
		for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized} {
			s := other(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				fmt.Fprint(w, body)
			})
			_, err := s.Lookup(t.Context(), site, host)
			if err == nil || len(err.Error()) > 1500 || strings.ContainsAny(err.Error(), "\n\x1b\u2028") {
				t.Errorf("%s, status %d: error is %q", what, status, err)
			}
		}
	}
}

// A list that is not the one that was asked for is not read for ever.
func TestListWithoutEnd(t *testing.T) {
	t.Parallel()
	sim := start(t)
	fill(t, sim, 1200)
	to := target(t, sim)
	client := before(t, sim, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		if query := r.Out.URL.Query(); query.Get("offset") != "" {
			query.Set("offset", "0")
			r.Out.URL.RawQuery = query.Encode()
		}
	}})
	rows, err := client.Scope("internal", solidsim.InternalServer, "").Records(t.Context(), site)
	if err == nil || len(rows) > 0 || errors.Is(err, dns.ErrUnclear) {
		t.Errorf("%d rows, error %v", len(rows), err)
	}
	if n := sim.Calls().ByService["GET dns_rr_count"]; n != 3 {
		t.Errorf("the zone was read %d times", n)
	}
}

// Nor is one that has a thousand new rows on each page.
func TestRowsWithoutEnd(t *testing.T) {
	t.Parallel()
	total := "12"
	s := other(t, func(w http.ResponseWriter, r *http.Request) {
		row := fmt.Sprintf(`{"rr_id":"%%d","dns_name":%q,"dnszone_name":%q}`, solidsim.InternalServer, site)
		from, _ := strconv.Atoi(r.URL.Query().Get("offset"))
		switch {
		case strings.HasSuffix(r.URL.Path, "dns_zone_list"):
			fmt.Fprint(w, "["+zoneRow(1, site)+"]")
		case strings.HasSuffix(r.URL.Path, "_count"):
			fmt.Fprintf(w, `[{"total":%q}]`, total)
		default:
			var rows []string
			for i := range 1000 {
				rows = append(rows, fmt.Sprintf(row, from+i))
			}
			fmt.Fprint(w, "["+strings.Join(rows, ",")+"]")
		}
	})
	if _, err := s.Records(t.Context(), site); err == nil || !strings.Contains(err.Error(), "goes on after 20") {
		t.Errorf("error is %v", err)
	}
	total = "9000000000000000000"
	if _, err := s.Records(t.Context(), site); err == nil || !strings.Contains(err.Error(), "it counts 9000000000000000000 rows") {
		t.Errorf("error is %v", err)
	}
}

func testHostileNames(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	create(t, s, record(host, "10.0.0.1"), owner(5))
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		for name, value := range c.Params {
			if strings.Contains(value, "'1'") || strings.Contains(value, "1=1") || strings.Contains(value, "\x00") {
				t.Errorf("%s=%s was sent to %s", name, value, c.Service)
			}
		}
		return solidsim.Fault{}
	})
	for _, name := range []string{
		"x' OR '1'='1", "x' OR rr_full_name like '%", `x\' OR 1=1`, "a\x00b.site.com", "ä.site.com", "a b.site.com",
		"", ".site.com", "site.com", "A.site.com", "a.site.com.", "a.other.com", "*.site.com", strings.Repeat("a", 64) + ".site.com",
		"a.site.com&rr_id=1", "a.site.com#",
	} {
		if _, err := s.Create(t.Context(), site, record(name, "10.0.0.1"), owner(5), true); err == nil {
			t.Errorf("%q was created", name)
		}
		if rows, err := s.Lookup(t.Context(), site, name); len(rows) > 0 {
			t.Errorf("%q: looked up %v, %v", name, rows, err)
		}
		row := dns.Row{Record: record(name, "10.0.0.1"), Zone: site}
		if err := s.Update(t.Context(), row, record(name, "10.0.0.2"), owner(5)); err == nil {
			t.Errorf("%q was changed", name)
		}
		if err := s.Delete(t.Context(), row); err != nil && errors.Is(err, dns.ErrUnclear) {
			t.Errorf("%q: delete: %v", name, err)
		}
	}
	for _, value := range []string{"", "x", "10.0.0.01", "2001:db8::1", "10.0.0.1' OR 1=1"} {
		if _, err := s.Create(t.Context(), site, record("v.site.com", value), owner(5), true); err == nil {
			t.Errorf("value %q was created", value)
		}
	}
	calls := sim.Calls().Total
	for _, zone := range []string{"x' OR '1'='1", "", "a b", "%"} {
		if _, err := s.Records(t.Context(), zone); err == nil {
			t.Errorf("zone %q was read", zone)
		}
	}
	if sim.Calls().Total != calls {
		t.Error("a call was made for a zone with such a name")
	}
	if changes := sim.Calls().Writes; changes != 1 {
		t.Errorf("%d writes, want the first one", changes)
	}
}

// Answers that are small on the wire and large in memory, or never end.
func TestBombs(t *testing.T) {
	t.Parallel()
	zeros := func(w http.ResponseWriter) {
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		chunk := make([]byte, 1<<20)
		for range 1 << 10 {
			if _, err := packed.Write(chunk); err != nil {
				return
			}
		}
	}
	for name, bomb := range map[string]struct {
		answer  http.HandlerFunc
		want    string
		timeout time.Duration
	}{
		"nested arrays":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("[", 4<<20)) }, "not a list of rows", 0},
		"nested objects": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(`{"a":`, 1<<20)) }, "no JSON", 0},
		"nested in a row": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `[{"dnszone_id":`+strings.Repeat("[", 4<<20))
		}, "not a list of rows", 0},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) { zeros(w) }, "more than 8388608 bytes", 0},
		"no end": {func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "no answer within 200ms", 200 * time.Millisecond},
		"headers": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 12 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1<<20))
			}
		}, "header", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewTLSServer(bomb.answer)
			t.Cleanup(server.Close)
			client := open(t, nil, solidserver.Config{Host: server.URL, Insecure: true, ReadTimeout: bomb.timeout, Log: quiet()})
			_, err := client.Scope("internal", solidsim.InternalServer, "").Lookup(t.Context(), site, host)
			if err == nil || !strings.Contains(err.Error(), bomb.want) || len(err.Error()) > 1000 {
				t.Errorf("error is %.1000v", err)
			}
		})
	}
}
