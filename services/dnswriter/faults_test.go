package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/solidsim"
)

func faults(f func(solidsim.Call) solidsim.Fault) solidsim.FaultFunc {
	return func(_ context.Context, c solidsim.Call) solidsim.Fault { return f(c) }
}

// onlyOnce lets the first caller through.
type onlyOnce struct{ taken atomic.Bool }

func (o *onlyOnce) first() bool { return !o.taken.Swap(true) }

// Every step is tried with every way in which a call fails, each in two worlds:
// nothing happened, and it happened all the same. In the end the records are
// right, and nothing was done twice.
func TestFaultsOfEachStep(t *testing.T) {
	t.Parallel()
	ways := map[string]solidsim.Fault{
		"connection reset": {Reset: true},
		"answer cut":       {Truncate: true},
		"status 500":       {Status: http.StatusInternalServerError},
		"status 401":       {Status: http.StatusUnauthorized},
		"empty 200":        {Status: http.StatusOK, Body: "[]"},
		"refused":          {Status: http.StatusBadRequest},
		"HTML page":        {Status: http.StatusBadGateway, Body: "<html>Bad Gateway</html>"},
	}
	steps := map[string]struct {
		method string
		act    func(w *world)
		done   func(w *world) bool
	}{
		"create": {http.MethodPost,
			func(w *world) { w.src.Put(host(2, "b", "192.0.2.2")) },
			func(w *world) bool { return slices.Equal(w.values("b"), []string{"192.0.2.2"}) }},
		"update": {http.MethodPut,
			func(w *world) { w.src.Put(host(1, "a", "192.0.2.11")) },
			func(w *world) bool { return slices.Equal(w.values("a"), []string{"192.0.2.11"}) }},
		"remove": {http.MethodDelete,
			func(w *world) { w.src.Delete(1) },
			func(w *world) bool { w.src.Beat(6 * time.Second); return len(w.values("a")) == 0 }},
	}
	for way, fault := range ways {
		for _, committed := range []bool{false, true} {
			world := " and nothing happened"
			if committed {
				world = " but it happened"
			}
			fault.Committed = committed
			t.Run(way+world, func(t *testing.T) {
				t.Parallel()
				for step, test := range steps {
					t.Run(step, func(t *testing.T) {
						t.Parallel()
						w := newWorld(t)
						w.src.Put(host(1, "a", "192.0.2.1"))
						w.src.Beat(time.Second)
						s := w.start()
						s.checked(1)
						w.sim.ResetCalls()
						var once onlyOnce
						w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
							if c.Method == test.method && once.first() {
								return fault
							}
							return solidsim.Fault{}
						}))
						test.act(w)
						w.await(step, func() bool { return test.done(w) && w.sim.Calls().Faulty == 1 })
						s.metric(`keastream_parked_names{reason="failing",scope="internal"} 0`)
						if calls := w.sim.Calls(); calls.Changes != 1 {
							t.Errorf("%d changes were made, want 1: %v", calls.Changes, calls.ByService)
						}
					})
				}
			})
		}
	}
}

func TestServerAwayAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	away := faults(func(solidsim.Call) solidsim.Fault { return solidsim.Fault{Reset: true} })
	w.sim.SetFaults(away)
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start()
	s.awaitReadiness(http.StatusServiceUnavailable, "the list of zones cannot be read")
	w.sim.SetFaults(nil)
	s.checked(1)
	w.awaitRecord("a", "192.0.2.1")
	s.awaitReadiness(http.StatusOK, "")

	w.sim.SetFaults(away)
	for id := range int64(30) {
		w.src.Put(host(100+id, fmt.Sprintf("h%d", id), "198.51.100.1"))
	}
	s.awaitReadiness(http.StatusServiceUnavailable, "the DNS server does not answer")
	if status, body := s.get("/healthz"); status != http.StatusOK {
		t.Errorf("waiting is no reason to be restarted: /healthz is %d: %s", status, body)
	}
	w.sim.SetFaults(nil)
	w.await("everything is written", func() bool { return len(w.sim.Records(solidsim.InternalServer)) == 31 })
	s.awaitReadiness(http.StatusOK, "")
	if s.log.count("the dns server does not answer") == 0 || s.log.count("the dns server answers again") == 0 {
		t.Error("the log does not say that the server was away and came back")
	}
}

// awaitReadiness waits until /readyz answers with the status and a text.
func (s *service) awaitReadiness(want int, text string) {
	s.w.t.Helper()
	s.w.await("/readyz says "+text, func() bool {
		status, body := s.get("/readyz")
		return status == want && strings.Contains(body, text)
	})
}

func TestNATSAwayAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	w.nats.Stop()
	s := w.start()
	s.awaitReadiness(http.StatusServiceUnavailable, "stream")
	w.nats.Resume()
	w.awaitRecord("a", "192.0.2.1")

	w.nats.Stop()
	s.awaitReadiness(http.StatusServiceUnavailable, "nats")
	w.nats.Resume()
	w.src = eventstest.NewSource(t, w.nats.Connect(), "us3")
	w.src.Put(host(2, "b", "192.0.2.2"))
	w.awaitRecord("b", "192.0.2.2")
	s.awaitReadiness(http.StatusOK, "")
}

func TestWrongPasswordIsCorrectedWithoutARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write(w.password, "wrong\n")
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start()
	s.awaitReadiness(http.StatusServiceUnavailable, "does not accept user and password")
	w.write(w.password, password+"\n")
	w.awaitRecord("a", "192.0.2.1")
	s.awaitReadiness(http.StatusOK, "")
	if log := s.log.String(); strings.Contains(log, password) || strings.Contains(log, "wrong\n") {
		t.Error("a password is in the log")
	}
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// A name that the server refuses keeps no other one from being written, and is
// written when the server takes it.
func TestOneBadNameStopsNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Beat(time.Second)
	s := w.start("--workers", "1")
	s.checked(1)
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		if c.Writes && c.Params["rr_name"] == "bad.site.com" {
			return solidsim.Fault{Status: http.StatusBadRequest}
		}
		return solidsim.Fault{}
	}))
	w.src.Put(host(1, "bad", "192.0.2.1"))
	s.metric(`keastream_parked_names{reason="failing",scope="internal"} 1`)
	w.src.Put(host(2, "good", "192.0.2.2"))
	w.awaitRecord("good", "192.0.2.2")
	if n := s.log.count("dns change failed, trying again"); n == 0 {
		t.Error("the log does not say that the name failed")
	}
	w.sim.SetFaults(nil)
	w.awaitRecord("bad", "192.0.2.1")
	s.metric(`keastream_parked_names{reason="failing",scope="internal"} 0`)
}

// The service is stopped at any call, whose effect may or may not have come
// about, and started again: every point is one from which it gets to the end.
func TestStopAtEveryCall(t *testing.T) {
	t.Parallel()
	const calls = 12 // of the whole way, without heartbeats; more do no harm
	for n := range calls {
		for _, committed := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d, committed %v", n+1, committed), func(t *testing.T) {
				t.Parallel()
				stopAtCall(t, int64(n+1), committed)
			})
		}
	}
}

func stopAtCall(t *testing.T, n int64, committed bool) {
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"))
	w.src.Beat(time.Second)
	s := w.start("--once")
	s.wait()
	w.src.Put(host(1, "a", "192.0.2.11"), host(3, "c", "192.0.2.3"))
	w.src.Delete(2)

	var made atomic.Int64
	stop := make(chan struct{})
	w.sim.SetFaults(faults(func(solidsim.Call) solidsim.Fault {
		switch call := made.Add(1); {
		case call == n:
			close(stop)
			return solidsim.Fault{Reset: true, Committed: committed}
		case call > n:
			return solidsim.Fault{Reset: true}
		}
		return solidsim.Fault{}
	}))
	s = w.start("--workers", "1")
	w.await("the call", func() bool {
		w.src.Beat(6 * time.Second)
		select {
		case <-stop:
			return true
		default:
			return len(w.values("b")) == 0 && s.log.count("Removed A record") == 1
		}
	})
	s.stop()
	w.sim.SetFaults(nil)

	s = w.start()
	w.awaitRecord("a", "192.0.2.11")
	w.awaitRecord("c", "192.0.2.3")
	w.beating("b is gone", func() bool { return len(w.values("b")) == 0 })
	s.checked(1)
}
