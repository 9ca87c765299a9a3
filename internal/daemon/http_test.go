package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/internal/daemon"
	"github.com/prometheus/client_golang/prometheus"
)

// serve runs the daemon with a task that ends when it is told to, and returns
// its base URL.
func serve(t *testing.T, d *daemon.Daemon) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, daemon.Task{Name: "loop", Run: untilStopped}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("daemon: %v", err)
		}
	})
	addr, err := d.HTTPAddr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + addr
}

func request(t *testing.T, method, url string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
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

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	return request(t, http.MethodGet, url, nil)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, daemon.Settings{HTTPAddr: "127.0.0.1:0"})
	events := prometheus.NewCounter(prometheus.CounterOpts{Name: "keastream_test_events_total", Help: "Events."})
	d.Metrics.MustRegister(events)
	events.Add(3)
	status, body := get(t, serve(t, d)+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{"keastream_test_events_total 3\n", "go_goroutines ", "process_resident_memory_bytes ", "go_build_info{"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in /metrics", want)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, daemon.Settings{HTTPAddr: "127.0.0.1:0"})
	var caughtUp atomic.Bool
	d.Ready("nats", func() error { return nil })
	d.Ready("caught up", func() error {
		if caughtUp.Load() {
			return nil
		}
		return errors.New("the stream is being replayed")
	})
	url := serve(t, d) + "/readyz"

	type answer struct {
		Ready   bool
		Reasons []struct{ Condition, Reason string }
	}
	check := func(wantStatus int, want answer) {
		t.Helper()
		status, body := get(t, url)
		var got answer
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || status != wantStatus {
			t.Errorf("status %d (-want +got):\n%s", status, diff)
		}
	}
	check(http.StatusServiceUnavailable, answer{Reasons: []struct{ Condition, Reason string }{{"caught up", "the stream is being replayed"}}})
	caughtUp.Store(true)
	check(http.StatusOK, answer{Ready: true, Reasons: []struct{ Condition, Reason string }{}})
}

func TestReadyWhileStopping(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, daemon.Settings{HTTPAddr: "127.0.0.1:0"})
	ctx, cancel := context.WithCancel(t.Context())
	stopping, asked := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- d.Run(ctx, daemon.Task{Name: "slow to stop", Run: func(ctx context.Context) error {
			<-ctx.Done()
			close(stopping)
			<-asked
			return nil
		}})
	}()
	addr, err := d.HTTPAddr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-stopping
	// The task may see the end of its context before Run does.
	for {
		status, body := get(t, "http://"+addr+"/readyz")
		if status == http.StatusServiceUnavailable && strings.Contains(body, "the process is stopping") {
			break
		}
		if t.Context().Err() != nil {
			t.Fatalf("status %d: %s", status, body)
		}
	}
	close(asked)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + addr + "/readyz"); err == nil {
		t.Error("the HTTP server outlives Run")
	}
}

func TestHealthzOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, daemon.Settings{HTTPAddr: "127.0.0.1:0"})
	d.Progress("relay", time.Hour)
	url := serve(t, d) + "/healthz"
	if status, body := get(t, url); status != http.StatusOK || !strings.Contains(body, `"name": "relay"`) || !strings.Contains(body, `"within_seconds": 3600`) {
		t.Errorf("status %d: %s", status, body)
	}
	d.Progress("hangs", 0) // nothing is fast enough for this one
	if status, body := get(t, url); status != http.StatusServiceUnavailable || !strings.Contains(body, `"healthy": false`) {
		t.Errorf("status %d: %s", status, body)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(t, daemon.Settings{})
		p := d.Progress("relay", 10*time.Second)
		d.Progress("sweep", time.Hour)
		check := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, d.Stalled()); diff != "" {
				t.Errorf("stalled (-want +got):\n%s", diff)
			}
		}
		time.Sleep(10 * time.Second)
		check()
		time.Sleep(time.Nanosecond)
		check("relay")
		p.Beat()
		check()
		time.Sleep(time.Hour)
		check("relay", "sweep")
	})
}

func TestHTTPIsReadOnly(t *testing.T) {
	t.Parallel()
	url := serve(t, newDaemon(t, daemon.Settings{HTTPAddr: "127.0.0.1:0"}))
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
			if status, _ := request(t, method, url+path, strings.NewReader("x")); status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: status %d", method, path, status)
			}
		}
	}
	if status, _ := get(t, url+"/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("unknown path: status %d", status)
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	url := serve(t, newDaemon(t, daemon.Settings{HTTPAddr: "127.0.0.1:0"})) + "/healthz"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Large", strings.Repeat("x", 64<<10))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // the server may hang up before it has read everything
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestHTTPOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // a bubble cannot hold a listening socket
		for _, addr := range []string{"", "off"} {
			d := newDaemon(t, daemon.Settings{HTTPAddr: addr})
			err := d.Run(t.Context(), daemon.Task{Name: "once", Run: func(context.Context) error { return daemon.ErrDone }})
			if err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if addr, err := d.HTTPAddr(ctx); err == nil {
				t.Errorf("listens on %s", addr)
			}
			cancel()
		}
	})
}
