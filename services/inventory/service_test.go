package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/natsconn"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// journal is a log that a test can wait for and look at.
type journal struct {
	slog.Handler
	*entries
}

type entries struct {
	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed and replaced at each line
}

func newJournal(t testing.TB) journal {
	return journal{
		Handler: slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}),
		entries: &entries{changed: make(chan struct{})},
	}
}

func (j journal) Handle(ctx context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(r.Level.String() + " " + r.Message)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(" " + a.String())
		return true
	})
	j.mu.Lock()
	j.lines = append(j.lines, line.String())
	close(j.changed)
	j.changed = make(chan struct{})
	j.mu.Unlock()
	return j.Handler.Handle(ctx, r)
}

// count returns how many lines contain all texts.
func (j journal) count(texts ...string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, line := range j.lines {
		if !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(line, s) }) {
			n++
		}
	}
	return n
}

// service is a running keastream-inventory.
type service struct {
	t      testing.TB
	dir    string
	log    journal
	daemon *daemon.Daemon
	ended  chan error
	stop   func()
}

// start runs the service as its main function would.
func start(t testing.TB, url, dir string, change func(*runVerb)) *service {
	t.Helper()
	verb := &runVerb{
		NATS:      natsconn.Settings{URL: []string{url}},
		OutputDir: dir, Layout: cabinet.Both, HoldDown: 10 * time.Second,
	}
	if change != nil {
		change(verb)
	}
	if err := verb.Validate(); err != nil {
		t.Fatal(err)
	}
	log := newJournal(t)
	s := &service{t: t, dir: dir, log: log, ended: make(chan error, 1)}
	s.daemon = daemon.New("keastream-inventory", daemon.Settings{HTTPAddr: "127.0.0.1:0"}, slog.New(log))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { s.ended <- verb.Run(ctx, s.daemon, &cli{}) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-s.ended; err != nil {
			t.Errorf("the service ended with %v", err)
		}
	})
	if !verb.Once {
		t.Cleanup(s.stop)
	}
	return s
}

// await waits until cond holds, which is looked at after each line of the log.
func (s *service) await(what string, cond func() bool) {
	s.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		s.log.mu.Lock()
		changed := s.log.changed
		s.log.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			s.t.Fatalf("after 60 s still not: %s", what)
		}
	}
}

// awaitLog waits for n lines that contain all texts.
func (s *service) awaitLog(n int, texts ...string) {
	s.t.Helper()
	s.await(strings.Join(texts, " … "), func() bool { return s.log.count(texts...) >= n })
}

// hosts returns the lines of a file as "name ip", nil if there is no file.
func (s *service) hosts(file string) []string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, file))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := cabinet.Parse(data)
	if err != nil {
		s.t.Fatalf("%s: %v", file, err)
	}
	all := []string{}
	for _, line := range content.Targets {
		all = append(all, line.Hostname+" "+strings.TrimPrefix(line.IP.String(), "192.0.2."))
	}
	return all
}

// awaitHosts waits until a file has exactly these lines; none at all means that
// there is no file.
func (s *service) awaitHosts(file string, want ...string) {
	s.t.Helper()
	s.await(file+" holds "+strings.Join(want, ", "), func() bool {
		got := s.hosts(file)
		return slices.Equal(got, want) && (got == nil) == (want == nil)
	})
}

// beat has a source send heartbeats, each the given time after the one before.
// Each is waited for: the stream keeps the newest one only.
func (s *service) beat(src *eventstest.Source, forward ...time.Duration) {
	s.t.Helper()
	for _, d := range forward {
		src.Beat(d)
		s.awaitBeat(src)
	}
}

// awaitBeat waits until the service has heard the newest heartbeat of a source.
func (s *service) awaitBeat(src *eventstest.Source) {
	s.t.Helper()
	s.awaitLog(1, "DEBUG heartbeat", "drained_at="+src.Now.UTC().Round(0).String())
}

// get asks the service over HTTP.
func (s *service) get(path string) (int, string) {
	s.t.Helper()
	addr, err := s.daemon.HTTPAddr(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.Get("http://" + addr + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// host is a reservation of the source us3 with the address 192.0.2.<id>.
func host(id int64, name string) events.Reservation { return hostAt(id, name, id) }

func hostAt(id int64, name string, ip int64) events.Reservation {
	return eventstest.Reservation("us3", id, name, fmt.Sprintf("192.0.2.%d", ip))
}
