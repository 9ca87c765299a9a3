package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/solidsim"
)

const (
	zone     = "site.com"
	user     = "keastream"
	password = "correct horse battery staple"
)

// world is what the service lives in: a real NATS, a source that stands for the
// publisher, and the simulated SOLIDserver over TLS.
type world struct {
	t        *testing.T
	nats     *eventstest.Server
	url      string // of nats
	src      *eventstest.Source
	sim      *solidsim.Sim
	password string // path of the file
	ca       string // path of the file
	quiets   int64  // calls of quiet
}

func newWorld(t *testing.T, moreZones ...string) *world {
	t.Helper()
	return newWorldOf(t, solidsim.Config{Zones: append(moreZones, zone)})
}

func newWorldOf(t *testing.T, cfg solidsim.Config) *world {
	t.Helper()
	cfg.Users = map[string]string{user: password}
	sim, err := solidsim.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if unknown := sim.Calls().UnknownParameters; len(unknown) > 0 {
			t.Errorf("the appliance would have ignored parameters: %v", unknown)
		}
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, nats: eventstest.Start(t), sim: sim}
	w.src = eventstest.NewSource(t, w.nats.Connect(), "us3")
	w.url = w.nats.URL()
	w.password = w.file("password", password)
	w.ca = w.file("ca.pem", string(sim.CAPEM()))
	return w
}

func (w *world) file(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// service is the program, running inside the test.
type service struct {
	w      *world
	log    *journal
	cancel context.CancelFunc
	exit   chan int
}

// start starts the program with the settings that every test needs and others.
// It is stopped at the end of the test, and must end well then.
func (w *world) start(args ...string) *service {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	s := &service{w: w, log: &journal{out: w.t.Output()}, cancel: cancel, exit: make(chan int, 1)}
	if !slices.Contains(args, "--hold-down") {
		args = append(args, "--hold-down", "1s")
	}
	program := daemon.Program{
		Name: name, Description: description, CLI: &cli{}, Vars: kong.Vars{"http_addr": "127.0.0.1:0"},
		Args: slices.Concat([]string{
			"--nats-url", w.url, "--dns-zone", zone, "--sds-host", w.sim.Addr(), "--sds-ca", w.ca,
			"--sds-username", user, "--sds-password-file", w.password, "--log-level", "debug",
		}, args),
		Stdout: s.log, Stderr: s.log,
	}
	go func() { s.exit <- program.Run(ctx) }()
	w.t.Cleanup(s.stop)
	return s
}

// stop ends the program as SIGTERM does. A second stop does nothing.
func (s *service) stop() {
	s.w.t.Helper()
	if s.exit == nil {
		return
	}
	s.cancel()
	if code := s.wait(); code != daemon.ExitOK {
		s.w.t.Errorf("the program ended with exit code %d", code)
	}
}

// wait waits for the end of the program and returns its exit code.
func (s *service) wait() int {
	s.w.t.Helper()
	select {
	case code := <-s.exit:
		s.exit = nil
		s.cancel()
		return code
	case <-time.After(60 * time.Second):
		s.w.t.Fatal("the program did not end")
		return 0
	}
}

// checked waits until the program has done n consistency checks in all.
func (s *service) checked(n int) {
	s.w.t.Helper()
	s.w.await("a consistency check", func() bool { return s.log.count("DNS consistency check complete") >= n })
}

// get asks the program's HTTP server.
func (s *service) get(path string) (status int, body string) {
	s.w.t.Helper()
	var addr string
	s.w.await("the HTTP server", func() bool {
		found := regexp.MustCompile(`http_addr=(\S+)`).FindStringSubmatch(s.log.String())
		if found != nil {
			addr = found[1]
		}
		return found != nil
	})
	req, err := http.NewRequestWithContext(s.w.t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		s.w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// metric waits until the metrics hold a line.
func (s *service) metric(line string) {
	s.w.t.Helper()
	s.w.await("the metric "+line, func() bool {
		_, text := s.get("/metrics")
		return slices.Contains(strings.Split(text, "\n"), line)
	})
}

// quiet waits until the program has taken in everything that was published and
// has nothing left to do: it follows the stream in order, so it has seen all
// that was published before when it acts on one thing more.
func (s *service) quiet() {
	s.w.t.Helper()
	s.w.quiets++
	name := fmt.Sprintf("quiet%d", s.w.quiets)
	s.w.src.Put(host(900+s.w.quiets, name, "203.0.113.250"))
	s.w.awaitRecord(name, "203.0.113.250")
	s.metric(`keastream_dns_queued_names{scope="internal"} 0`)
}

// journal is a log that can be looked at while it is written.
type journal struct {
	out io.Writer
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.buf.Write(p)
	return j.out.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) count(text string) int { return strings.Count(j.String(), text) }

// await looks again and again until cond holds.
func (w *world) await(what string, cond func() bool) {
	w.t.Helper()
	deadline := time.After(60 * time.Second)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !cond() {
		select {
		case <-ticker.C:
		case <-deadline:
			w.t.Fatalf("after 60 s still not: %s; records: %+v", what, w.sim.Records(solidsim.InternalServer))
		}
	}
}

// beating is await with a source that gives a sign of life again and again.
func (w *world) beating(what string, cond func() bool) {
	w.t.Helper()
	w.await(what, func() bool {
		if cond() {
			return true
		}
		w.src.Beat(6 * time.Second)
		return false
	})
}

// values returns the addresses of a name in the zone.
func (w *world) values(name string) []string {
	var all []string
	for _, r := range w.sim.Records(solidsim.InternalServer) {
		if r.Name == name+"."+zone && r.Type == "A" {
			all = append(all, r.Value)
		}
	}
	return all
}

func (w *world) awaitRecord(name string, values ...string) {
	w.t.Helper()
	w.await(name+" has "+strings.Join(values, " "), func() bool { return slices.Equal(w.values(name), values) })
}

// add adds a record as a person does.
func (w *world) add(name, value string) solidsim.Record {
	w.t.Helper()
	r := solidsim.Record{Name: name + "." + zone, Type: "A", Value: value, TTL: 3600}
	if err := w.sim.Add(solidsim.InternalServer, r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// remove takes one out as a person does.
func (w *world) remove(name, value string) {
	w.t.Helper()
	if err := w.sim.Remove(solidsim.InternalServer, solidsim.Record{Name: name + "." + zone, Type: "A", Value: value}); err != nil {
		w.t.Fatal(err)
	}
}

// untouched checks that a foreign record is what it was.
func (w *world) untouched(r solidsim.Record) {
	w.t.Helper()
	if !slices.Contains(w.sim.Records(solidsim.InternalServer), r) {
		w.t.Errorf("the foreign record %+v was touched", r)
	}
}

func host(id int64, name, ip string) events.Reservation {
	return eventstest.Reservation("us3", id, name, ip)
}
