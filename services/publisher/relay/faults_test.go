package relay_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/relay"
)

// holdAfterRead stops a publisher between its reading and its publishing, as
// SIGSTOP would: at the end of the transaction that reads.
type holdAfterRead struct {
	once    sync.Once
	held    chan struct{} // closed when it is stopped
	release chan struct{} // closed to let it go on
}

func (h *holdAfterRead) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (h *holdAfterRead) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (h *holdAfterRead) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (h *holdAfterRead) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (h *holdAfterRead) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	if d.SQL == "commit" {
		h.once.Do(func() {
			close(h.held)
			<-h.release
		})
	}
}

// connectWith returns a Relay.Connect whose statements are traced.
func (r *rig) connectWith(tracer pgx.QueryTracer) func(context.Context, string) (*pgx.Conn, error) {
	return func(ctx context.Context, name string) (*pgx.Conn, error) {
		cfg, err := pgx.ParseConfig(r.dsn)
		if err != nil {
			return nil, err
		}
		cfg.RuntimeParams["application_name"] = name
		cfg.Tracer = tracer
		return pgx.ConnectConfig(ctx, cfg)
	}
}

// terminate ends the sessions of all publishers.
func (r *rig) terminate() {
	r.t.Helper()
	super := r.connect(pgtest.As(r.t, r.dsn, pgtest.Superuser))
	_, err := super.Exec(r.t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE 'keastream-publisher%'`)
	if err != nil {
		r.t.Fatal(err)
	}
}

// A publisher read a row, was held up, and lost its lock. The row is deleted and
// another publisher takes over. What the first one publishes afterwards must not
// stay.
func TestHeldUpPublisherLeavesNoGhost(t *testing.T) {
	t.Parallel()
	for name, before := range map[string][]string{
		"nothing was stored":   {insert(7, "ghost")},
		"a deletion is stored": {insert(7, "first"), `DELETE FROM hosts WHERE host_id = 7`, insert(7, "ghost")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if len(before) > 1 {
				run := r.start(nil)
				for _, s := range before[:len(before)-1] {
					r.exec(s)
					r.await()
				}
				run.stop()
			}
			r.exec(before[len(before)-1])
			hold := &holdAfterRead{held: make(chan struct{}), release: make(chan struct{})}
			first := r.start(func(rl *relay.Relay) { rl.Connect = r.connectWith(hold) })
			<-hold.held
			r.terminate()
			r.exec(`DELETE FROM hosts WHERE host_id = 7`)
			second := r.start(nil)
			second.log.await(compared, 1)
			close(hold.release)
			first.log.await("publishing was interrupted", 1)
			r.await()
			if got := r.stored()[7]; !got.Change.Deleted() {
				t.Errorf("the stream holds %+v, and the row does not exist", got)
			}
		})
	}
}

// The server acknowledged a change, lost it, and kept the heartbeat before it.
func TestLostTailIsRepairedAfterReconnect(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "old"))
	run := r.start(nil)
	r.await()
	r.exec(`UPDATE hosts SET hostname = 'new' WHERE host_id = 1`)
	r.await()
	run.log.await(compared, 1)
	js, err := r.conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	// What the publisher sent last was the heartbeat: take out what was before.
	if err := js.PurgeStream(events.StreamName, &nats.StreamPurgeRequest{Subject: "kea.reservations.us3.1"}); err != nil {
		t.Fatal(err)
	}
	r.nats.Stop()
	r.nats.Resume()
	run.log.await(compared, 2)
	r.await()
}

// A stream that takes no new rows takes changes of those that it has, and the
// source does not call itself complete.
func TestFullStreamStopsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
		SELECT decode(lpad(to_hex(i), 12, '0'), 'hex'), 0, 1, 167772160 + i, 'host-' || i FROM generate_series(1, 9000) i`)
	run := r.start(func(rl *relay.Relay) { rl.Stream.MaxBytes = 1 << 20; rl.Heartbeat = time.Second })
	run.log.await("the stream refused reservations", 1)
	run.log.await(compared, 1)
	var id int64
	for id = range r.stored() {
		break
	}
	r.exec(fmt.Sprintf(`UPDATE hosts SET hostname = 'changed' WHERE host_id = %d`, id))
	deadline := time.Now().Add(2 * time.Minute)
	for r.stored()[id].Change.Reservation.Hostname != "changed" {
		if time.Now().After(deadline) {
			t.Fatal("a stored row of a full stream does not change within 2 minutes")
		}
		<-time.After(200 * time.Millisecond)
	}
	stream := r.replay()
	if stream.Heartbeat.Complete || stream.Heartbeat.Hosts >= 9000 {
		t.Errorf("with rows refused the heartbeat is %+v", stream.Heartbeat)
	}
	// Room is made, and nobody asks for anything: the rest follows.
	js, err := r.conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	info.Config.MaxBytes = 1 << 30
	if _, err := js.UpdateStream(&info.Config); err != nil {
		t.Fatal(err)
	}
	r.await()
}

// While the table is locked the relay waits, and shows that it is alive.
func TestRelayIsAliveWhileTheTableIsLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"))
	signs := make(chan struct{})
	compareNow := make(chan struct{}, 1)
	run := r.start(func(rl *relay.Relay) {
		rl.CompareNow = compareNow
		rl.Alive = func() {
			select {
			case signs <- struct{}{}:
			default:
			}
		}
	})
	run.log.await(compared, 1)
	tx, err := r.connect(pgtest.As(t, r.dsn, pgtest.Superuser)).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE public.hosts IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	compareNow <- struct{}{}
	for range 5 {
		select {
		case <-signs:
		case <-time.After(30 * time.Second):
			t.Fatal("no sign of life for 30 s while the table is locked")
		}
	}
	run.log.await("lock timeout", 1) // and then it says what it waits for
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	run.log.await(compared, 2)
}

// A replay that takes longer than PostgreSQL lets a session be idle.
func TestSlowReplayKeepsTheSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
		SELECT decode(lpad(to_hex(i), 12, '0'), 'hex'), 0, 1, 167772160 + i, 'host-' || i FROM generate_series(1, 20000) i`)
	run := r.start(nil)
	run.log.await(compared, 1)
	run.stop()
	conn, err := nats.Connect("nats://"+slowLine(t, strings.TrimPrefix(r.nats.URL(), "nats://"), 280_000), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	slow := r.start(func(rl *relay.Relay) { rl.NATS = conn })
	slow.log.await(compared, 1)
	if strings.Contains(slow.log.String(), "idle-session timeout") {
		t.Error("PostgreSQL ended the session during a slow replay")
	}
	slow.stop() // before the connection is closed
}
