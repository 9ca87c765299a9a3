package solidsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/sourcegraph/conc"
)

// controls serve the control endpoint: JSON over plain HTTP on loopback, by
// which another process looks at a simulator and steers it. There is no
// password: who can reach loopback may do all.
type controls struct {
	sim      *Sim
	listener net.Listener
	http     *http.Server
}

// State is what GET /state of the control endpoint answers.
type State struct {
	// API is the base of the API.
	API string `json:"api"`
	// Calls is what clients did.
	Calls Calls `json:"calls"`
	// Faults is the plan in force, nil if there is none.
	Faults *FaultPlan `json:"faults"`
}

// checkControl checks the address of the control endpoint.
func checkControl(addr string) error {
	if addr == "" {
		return nil
	}
	if err := checkAddr("control", addr); err != nil {
		return err
	}
	if !isLoopback(addr) {
		return fmt.Errorf("control address %q: want an address of loopback, as in 127.0.0.1:8444: the endpoint has no password", addr)
	}
	return nil
}

// isLoopback tells whether the host of host:port is localhost or an address of
// loopback.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func listenControl(ctx context.Context, s *Sim, addr string) (*controls, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the control endpoint: %w", err)
	}
	c := &controls{sim: s, listener: listener}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", c.state)
	mux.HandleFunc("PUT /faults", c.setFaults)
	mux.HandleFunc("DELETE /faults", c.clearFaults)
	mux.HandleFunc("POST /actions/reset-counts", c.resetCounts)
	mux.HandleFunc("POST /actions/hold-pushes", forServer(s.HoldPushes))
	mux.HandleFunc("POST /actions/release-pushes", forServer(s.ReleasePushes))
	c.http = &http.Server{
		Handler: local(mux), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(s.api.log.Handler(), slog.LevelDebug),
	}
	return c, nil
}

// local refuses what a page in a browser on this host could send: a request to
// a name that leads to loopback, and one from another origin.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) || r.Header.Get("Origin") != "" {
			refuseControl(w, http.StatusForbidden, errors.New("the control endpoint is for programs on this host: call it by an address of loopback"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (c *controls) serve(tasks *conc.WaitGroup, failed func(error)) {
	tasks.Go(func() {
		if err := c.http.Serve(c.listener); !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("serve the control endpoint: %w", err))
		}
	})
}

func (c *controls) close(ctx context.Context) error {
	if err := c.http.Shutdown(ctx); err != nil {
		return c.http.Close()
	}
	return nil
}

func (c *controls) state(w http.ResponseWriter, _ *http.Request) {
	state := State{API: c.sim.URL(), Calls: c.sim.Calls()}
	if plan, found := c.sim.FaultPlan(); found {
		state.Faults = &plan
	}
	writeControl(w, http.StatusOK, state)
}

func (c *controls) setFaults(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuseControl(w, http.StatusBadRequest, fmt.Errorf("read the body: %w", err))
		return
	}
	plan, err := ParseFaultPlan(text)
	if err == nil {
		err = c.sim.SetFaultPlan(plan)
	}
	if err != nil {
		refuseControl(w, http.StatusBadRequest, err)
		return
	}
	writeControl(w, http.StatusOK, plan)
}

func (c *controls) clearFaults(w http.ResponseWriter, _ *http.Request) {
	c.sim.SetFaults(nil)
	w.WriteHeader(http.StatusNoContent)
}

func (c *controls) resetCounts(w http.ResponseWriter, _ *http.Request) {
	c.sim.ResetCalls()
	w.WriteHeader(http.StatusNoContent)
}

// forServer does what the body names a DNS server for: {"server":"name"}.
func forServer(act func(server string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Server string `json:"server"`
		}
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&body)
		if err != nil {
			err = fmt.Errorf(`read the body, want {"server":"name"}: %w`, err)
		} else {
			err = act(body.Server)
		}
		if err != nil {
			refuseControl(w, http.StatusBadRequest, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func refuseControl(w http.ResponseWriter, status int, err error) {
	writeControl(w, status, map[string]string{"error": err.Error()})
}

func writeControl(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value) // a client that went away is its own affair
}

// ControlAddr is the address of the control endpoint, host:port, and empty if
// there is none.
func (s *Sim) ControlAddr() string {
	if s.control == nil {
		return ""
	}
	return s.control.listener.Addr().String()
}
