package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/publisher/outbox"
	"github.com/keastream/keastream/services/publisher/relay"
)

// rig is a database with Kea's schema and the outbox, and a nats-server.
type rig struct {
	t    testing.TB
	dsn  string // role kea
	nats *eventstest.Server
	conn *nats.Conn
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigOn(t, pgtest.DB(t))
}

// newRigOn is newRig for a database that is there.
func newRigOn(t testing.TB, dsn string) *rig {
	t.Helper()
	r := &rig{t: t, dsn: dsn, nats: eventstest.Start(t)}
	r.install(pgtest.As(t, r.dsn, pgtest.Superuser))
	r.conn = r.nats.Connect()
	return r
}

// install installs for these roles, by default Kea's.
func (r *rig) install(superuser string, grantTo ...string) {
	r.t.Helper()
	if grantTo == nil {
		grantTo = []string{pgtest.Kea}
	}
	conn := r.connect(superuser)
	if _, err := outbox.Install(r.t.Context(), conn, outbox.InstallOptions{GrantTo: grantTo}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) connect(dsn string) *pgx.Conn {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// exec runs statements in transactions of their own, as Kea's role.
func (r *rig) exec(statements ...string) {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(r.t.Context())
	for _, s := range statements {
		if _, err := conn.Exec(r.t.Context(), s); err != nil {
			r.t.Fatalf("%s: %v", s, err)
		}
	}
}

// running is a relay that runs.
type running struct {
	*relay.Relay
	stop func()
	done chan struct{} // closed when Run has returned
	log  *logWatch
}

// start runs a relay until the test ends or stop is called.
func (r *rig) start(change func(*relay.Relay)) *running {
	r.t.Helper()
	log := &logWatch{t: r.t, more: make(chan struct{})}
	run := &running{log: log, done: make(chan struct{}), Relay: r.newRelay()}
	run.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if change != nil {
		change(run.Relay)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	go func() {
		defer close(run.done)
		if err := run.Run(ctx); err != nil {
			r.t.Errorf("Run returned %v", err)
		}
	}()
	run.stop = func() { cancel(); <-run.done }
	r.t.Cleanup(run.stop)
	return run
}

// newRelay returns a relay of this database that logs to the test.
func (r *rig) newRelay() *relay.Relay {
	return &relay.Relay{
		Connect: func(ctx context.Context, name string) (*pgx.Conn, error) {
			cfg, err := pgx.ParseConfig(r.dsn)
			if err != nil {
				return nil, err
			}
			cfg.RuntimeParams["application_name"] = name
			return pgx.ConnectConfig(ctx, cfg)
		},
		NATS: r.conn, Source: "us3",
		Log:     slog.New(slog.NewTextHandler(r.t.Output(), nil)),
		Metrics: relay.NewMetrics(prometheus.NewRegistry()),
		Alive:   func() {},
	}
}

// await waits until the stream equals the rows.
func (r *rig) await() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	c := e2e.Checker{DSN: r.dsn, NATS: r.conn, Source: "us3"}
	if err := c.Await(ctx); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) stored() map[int64]events.Stored {
	r.t.Helper()
	return r.replay().Hosts
}

// replay reads the stream, again and again as the relay itself would: one
// request to a server that waits for a busy disk may well run out of its time.
func (r *rig) replay() events.Replayed {
	r.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		all, err := eventstest.Open(r.t, r.conn, events.StreamConfig{}).Replay(r.t.Context(), "us3", func() {})
		if err == nil {
			return all
		}
		if time.Now().After(deadline) {
			r.t.Fatal(err)
		}
	}
}

// logWatch writes to the test's log and lets a test wait for a text.
type logWatch struct {
	t    testing.TB
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (l *logWatch) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	close(l.more)
	l.more = make(chan struct{})
	return l.t.Output().Write(p)
}

func (l *logWatch) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logWatch) await(text string, times int) {
	l.t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		l.mu.Lock()
		n, more := strings.Count(l.text.String(), text), l.more
		l.mu.Unlock()
		if n >= times {
			return
		}
		select {
		case <-more:
		case <-deadline:
			l.t.Fatalf("after 2 minutes the log says %q %d times, want %d", text, n, times)
		}
	}
}

const compared = "compared the database with the stream"

func insert(id int, name string) string {
	return fmt.Sprintf(`INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
		VALUES (%d, decode(lpad(to_hex(%d), 12, '0'), 'hex'), 0, 1, ('10.0.0.0'::inet - '0.0.0.0'::inet) + %d, '%s')`, id, id, id, name)
}
