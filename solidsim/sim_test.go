package solidsim_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/solidsim"
)

// start starts a simulator for one test.
func start(t *testing.T, cfg solidsim.Config) *solidsim.Sim {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	sim, err := solidsim.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

// A client calls the API of a simulator as its only user.
type client struct {
	*http.Client
	t    testing.TB
	base string
}

func newClient(t testing.TB, sim *solidsim.Sim) *client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.CertPool()}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{Client: &http.Client{Transport: transport}, t: t, base: sim.URL()}
}

func (c *client) request(method, service string, query url.Values, body string) *http.Request {
	req, err := http.NewRequestWithContext(c.t.Context(), method,
		c.base+"/rest/"+service+"?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("X-IPM-Username", base64.StdEncoding.EncodeToString([]byte("ipmadmin")))
	req.Header.Set("X-IPM-Password", base64.StdEncoding.EncodeToString([]byte("admin")))
	return req
}

// send returns the status and the body.
func (c *client) send(req *http.Request) (int, string) {
	c.t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// call sends a request whose parameters are pairs of name and value, all in
// the query string.
func (c *client) call(method, service string, pairs ...string) (int, string) {
	c.t.Helper()
	return c.send(c.request(method, service, query(pairs...), ""))
}

func query(pairs ...string) url.Values {
	q := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

// must checks the status and returns the rows of the answer, none for a 204.
func (c *client) must(status int, method, service string, pairs ...string) []map[string]string {
	c.t.Helper()
	got, body := c.call(method, service, pairs...)
	if got != status {
		c.t.Fatalf("%s %s %q: status %d, want %d: %s", method, service, pairs, got, status, body)
	}
	if status == http.StatusNoContent {
		if body != "" {
			c.t.Fatalf("%s %s %q: body %q with status 204", method, service, pairs, body)
		}
		return nil
	}
	if status >= 400 {
		var object map[string]string
		if err := json.Unmarshal([]byte(body), &object); err != nil {
			c.t.Fatalf("error body %q: %v", body, err)
		}
		return []map[string]string{object}
	}
	return decode(c.t, body)
}

// decode reads rows. It fails if a value is not a string.
func decode(t testing.TB, body string) []map[string]string {
	t.Helper()
	var rows []map[string]string
	if err := json.Unmarshal([]byte(body), &rows); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	return rows
}

// add creates a record on the internal server and returns its id.
func (c *client) add(name, rtype, value string, more ...string) string {
	c.t.Helper()
	pairs := append([]string{
		"dns_name", solidsim.InternalServer, "rr_name", name, "rr_type", rtype, "value1", value, "add_flag", "new_only",
	}, more...)
	return c.must(http.StatusCreated, "POST", "dns_rr_add", pairs...)[0]["ret_oid"]
}

// eventually waits for what happens soon, on another goroutine.
func eventually(t *testing.T, happened func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it did not happen")
		}
	}
}

func TestCreateIsSeenByPeople(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	c.add("Host1.site.com", "a", "192.0.2.1", "rr_ttl", "600", "rr_class_parameters", "managed_by=keastream&kea_host_id=5")
	c.add("host1.site.com", "AAAA", "2001:db8::10")
	want := []solidsim.Record{
		{Name: "host1.site.com", Type: "A", Value: "192.0.2.1", TTL: 600, ClassParameters: "kea_host_id=5&managed_by=keastream"},
		{Name: "host1.site.com", Type: "AAAA", Value: "2001:db8::10", TTL: 3600},
	}
	if diff := cmp.Diff(want, sim.Records(solidsim.InternalServer)); diff != "" {
		t.Error(diff)
	}
	if got := sim.Records(solidsim.ExternalServer); got != nil {
		t.Errorf("external server has %v", got)
	}
}

// isReset tells whether the other side ended a connection hard.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF)
}
