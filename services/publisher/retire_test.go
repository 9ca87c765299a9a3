package main

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/natsconn"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/publisher/embeddednats"
)

// runRetire runs the program, which sees a source as silent soon, and returns
// its exit code and what it printed.
func runRetire(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	printed := &paper{out: t.Output()}
	code = daemon.Program{
		Name: "keastream-publisher", CLI: &cli{Retire: retireVerb{Quiet: 10 * time.Millisecond}}, Vars: kong.Vars{"http_addr": "off"},
		Args: append([]string{"retire"}, args...), Stdout: printed, Stderr: printed,
	}.Run(t.Context())
	return code, printed.String()
}

// paper takes what several goroutines print.
type paper struct {
	out  io.Writer
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text.Write(b)
	return p.out.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// On a host with nothing but a publisher the stream is in the publisher's own
// store, and it is stopped.
func TestRetireInTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	settings := embeddednats.Settings{Embedded: true, Listen: "127.0.0.1:0", StoreDir: t.TempDir() + "/nats"}
	embedded := []string{"--embedded-nats", "--nats-listen", settings.Listen, "--nats-store-dir", settings.StoreDir, "--source", "us3"}
	if code, out := runRetire(t, embedded...); code != daemon.ExitFailed || !strings.Contains(out, "stream not found") {
		t.Errorf("without a stream the exit code is %d: %s", code, out)
	}
	withStream := func(f func(*eventstest.Source, *events.Stream)) {
		t.Helper()
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		server, err := embeddednats.Start(t.Context(), settings, log)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Shutdown()
		conn, err := natsconn.Settings{InProcess: server}.Connect(t.Context(), "keastream-test", log)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		f(eventstest.NewSource(t, conn, "us3"), eventstest.Open(t, conn, events.StreamConfig{}))
	}
	check := func(want string, ok func(events.Replayed) bool) {
		t.Helper()
		withStream(func(_ *eventstest.Source, stream *events.Stream) {
			held, err := stream.Replay(t.Context(), "us3", func() {})
			if err != nil || !ok(held) {
				t.Errorf("%s; the stream holds %+v, %v", want, held, err)
			}
		})
	}
	withStream(func(src *eventstest.Source, _ *events.Stream) {
		src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"), eventstest.Reservation("us3", 2, "b", "192.0.2.2"))
		src.Beat(time.Second)
	})

	code, out := runRetire(t, append(embedded, "--dry-run")...)
	for _, text := range []string{"source us3: 2 reservations", "2026-11-23T10:00:01Z", " ago, of database 7000000000000000000/kea"} {
		if code != daemon.ExitOK || !strings.Contains(out, text) {
			t.Errorf("a dry run ends with exit code %d and does not say %q", code, text)
		}
	}
	check("a dry run changes nothing", func(held events.Replayed) bool {
		return !held.Heartbeat.Retired && !held.Hosts[1].Change.Deleted() && !held.Hosts[2].Change.Deleted()
	})

	if code, _ := runRetire(t, embedded...); code != daemon.ExitOK {
		t.Errorf("the exit code is %d", code)
	}
	check("the source is retired", func(held events.Replayed) bool {
		return held.Heartbeat.Retired && held.Heartbeat.Complete && held.Hosts[1].Change.Deleted() && held.Hosts[2].Change.Deleted()
	})
	if code, out := runRetire(t, append(embedded, "--dry-run")...); code != daemon.ExitOK || !strings.Contains(out, "retired already") {
		t.Errorf("after that a dry run ends with exit code %d", code)
	}
	if code, _ := runRetire(t, embedded...); code != daemon.ExitOK {
		t.Errorf("the second time the exit code is %d", code)
	}
}

func TestRetireSettings(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--embedded-nats":              "--source",
		"--source US3 --embedded-nats": `source "US3"`,
		"--source us3":                 "exactly one of --nats-url and --embedded-nats",
		"--source us3 --embedded-nats --nats-url nats://127.0.0.1:4222": "exactly one of --nats-url and --embedded-nats",
		"--source us3 --embedded-nats --tombstone-ttl 1m":               "--tombstone-ttl",
	} {
		if code, out := runRetire(t, strings.Fields(args)...); code != daemon.ExitSettings || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d", args, code)
		}
	}
}
