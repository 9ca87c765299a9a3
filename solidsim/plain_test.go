package solidsim_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/keastream/keastream/solidsim"
)

// TestPlainHTTP checks that a call without TLS is sent to the same port with
// TLS, and never answered.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	conn := dial(t, sim)
	if _, err := fmt.Fprintf(conn, "POST /rest/dns_rr_add?rr_name=h.site.com HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", sim.Addr()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	want := sim.URL() + "/rest/dns_rr_add?rr_name=h.site.com"
	if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusFound || got != want {
		t.Errorf("status %d to %q, want 302 to %q", resp.StatusCode, got, want)
	}
	if got := sim.Calls().Total; got != 0 {
		t.Errorf("%d calls", got)
	}
}

// TestSilentConnections checks that connections without a byte hold up neither
// others nor the end.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	silent := dial(t, sim)
	gone := dial(t, sim)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	newClient(t, sim).must(200, "GET", "dns_zone_list")
	if err := sim.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(silent); err != nil && !errors.Is(err, net.ErrClosed) && !isReset(err) {
		t.Errorf("silent connection: %v", err)
	}
}

func dial(t *testing.T, sim *solidsim.Sim) net.Conn {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", sim.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
