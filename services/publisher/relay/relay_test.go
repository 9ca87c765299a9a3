package relay_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/publisher/relay"
)

func TestMain(m *testing.M) {
	if os.Getenv(measureEnv) != "" {
		os.Exit(measureRelay())
	}
	os.Exit(pgtest.Run(m))
}

func TestRelayFollowsChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "before"))
	run := r.start(nil)
	r.await()

	r.exec(insert(2, "us3-cab10-ru20-idrac"))
	r.await()
	if got := r.stored()[2].Change; got.Operation != events.Insert || got.Seq == 0 || got.Reservation.Hostname != "us3-cab10-ru20-idrac" {
		t.Errorf("after an INSERT the stream holds %+v", got)
	}
	r.exec(`UPDATE hosts SET ipv4_address = ipv4_address + 100 WHERE host_id = 2`)
	r.await()
	if got := r.stored()[2].Change; got.Operation != events.Update {
		t.Errorf("after an UPDATE the stream holds %+v", got)
	}
	r.exec(`INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) VALUES ('2001:db8::2', 128, 0, 2), ('2001:db8:1::', 48, 2, 2)`)
	r.await()
	r.exec(`DELETE FROM hosts WHERE host_id = 2`)
	r.await()
	if got := r.stored()[2].Change; !got.Deleted() || len(got.Reservation.IPv6) != 1 || got.Reservation.Hostname != "us3-cab10-ru20-idrac" {
		t.Errorf("after a DELETE the stream holds %+v, want the last state", got)
	}
	r.exec(`TRUNCATE hosts CASCADE`)
	r.await()
	if got := r.stored()[1].Change; got.Operation != events.Delete {
		t.Errorf("after a TRUNCATE the stream holds %+v", got)
	}
	run.log.await("New reservation from database: 10.0.0.2 -> us3-cab10-ru20-idrac (00:00:00:00:00:02)", 1)
	run.log.await(`Received database notification: {\"operation\":\"INSERT\",\"hostname\":\"us3-cab10-ru20-idrac\"`, 1)
	run.log.await("Listening for database lease events on channel 'kea_lease_events'", 1)
	if n := r.marks(); n != 0 {
		t.Errorf("%d marks are left", n)
	}
}

func (r *rig) marks() (n int) {
	r.t.Helper()
	conn := r.connect(r.dsn)
	if err := conn.QueryRow(r.t.Context(), `SELECT count(*) FROM keastream.outbox`).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func TestRelayCatchesUpAfterItWasDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 150 {
		r.exec(insert(i+1, fmt.Sprintf("host-%d", i)))
	}
	run := r.start(nil)
	r.await()
	run.stop()
	r.exec(
		`UPDATE hosts SET hostname = hostname || '-moved' WHERE host_id <= 50`,
		`DELETE FROM hosts WHERE host_id BETWEEN 51 AND 75`,
		`UPDATE hosts SET host_id = host_id + 1000 WHERE host_id BETWEEN 76 AND 100`)
	r.start(nil)
	r.await()
}

// Changes that left no mark are found by the comparison.
func TestComparisonRepairsWhatNoMarkTells(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"), insert(2, "b"), insert(3, "c"))
	compareNow := make(chan struct{}, 1)
	run := r.start(func(r *relay.Relay) { r.CompareNow = compareNow })
	r.await()
	super := r.connect(pgtest.As(t, r.dsn, pgtest.Superuser))
	for _, s := range []string{
		`SET session_replication_role = replica`, // as logical replication does: no trigger fires
		`UPDATE hosts SET hostname = 'changed' WHERE host_id = 1`, `DELETE FROM hosts WHERE host_id = 2`, insert(4, "d"),
	} {
		if _, err := super.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	compareNow <- struct{}{}
	r.await()
	for id, want := range map[int64]events.Operation{1: events.Snapshot, 2: events.Delete, 4: events.Snapshot} {
		if got := r.stored()[id].Change; got.Operation != want || got.Seq != 0 {
			t.Errorf("host %d was repaired by %s with seq %d, want %s without", id, got.Operation, got.Seq, want)
		}
	}

	// And what a stranger wrote, or the stream lost.
	js, err := r.conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish("kea.reservations.us3.1", []byte("vandalism")); err != nil {
		t.Fatal(err)
	}
	if err := js.PurgeStream(events.StreamName, &nats.StreamPurgeRequest{Subject: "kea.reservations.us3.3"}); err != nil {
		t.Fatal(err)
	}
	compareNow <- struct{}{}
	r.await()
	run.log.await("the stream lost messages", 1)
}

func TestRelayFillsADeletedStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"), insert(2, "b"))
	r.start(func(r *relay.Relay) { r.Heartbeat = 200 * time.Millisecond })
	r.await()
	js, err := r.conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(events.StreamName); err != nil {
		t.Fatal(err)
	}
	r.await() // no change was needed to notice
}

func TestRelaySurvivesNATSRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"))
	r.start(nil)
	r.await()
	r.nats.Stop()
	r.exec(insert(2, "b"), `DELETE FROM hosts WHERE host_id = 1`)
	r.nats.Resume()
	r.await()
}

func TestRelaySurvivesTerminatedSessions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"))
	run := r.start(nil)
	r.await()
	super := r.connect(pgtest.As(t, r.dsn, pgtest.Superuser))
	for i := range 3 {
		_, err := super.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name LIKE 'keastream-publisher%'`)
		if err != nil {
			t.Fatal(err)
		}
		r.exec(insert(10+i, fmt.Sprintf("later-%d", i)))
		r.await()
	}
	run.log.await(compared, 4)
}

func TestRelaySurvivesPostgresRestart(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start(t.Context(), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop() })
	if err := pg.CreateDatabase(t.Context(), "kea"); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dsn: pg.DSN("kea", pgtest.Kea), nats: eventstest.Start(t)}
	r.install(pg.DSN("kea", pgtest.Superuser))
	r.conn = r.nats.Connect()
	r.exec(insert(1, "a"))
	r.start(nil)
	r.await()
	for i, mode := range []pgtest.Mode{pgtest.Fast, pgtest.Immediate} {
		if err := pg.Restart(mode); err != nil {
			t.Fatal(err)
		}
		r.exec(insert(10+i, fmt.Sprintf("later-%d", i)))
		r.await()
	}
}

func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.start(nil)
	first.log.await(compared, 1)
	second := r.start(nil)
	second.log.await("standing by", 1)
	r.exec(insert(1, "a"))
	r.await()
	if err := second.Ready(); err != nil {
		t.Errorf("the standby is not ready: %v", err)
	}
	first.stop()
	r.exec(insert(2, "b"))
	second.log.await(compared, 1)
	r.await()
}

func TestRelayRefusesAnotherDatabase(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"))
	run := r.start(nil)
	r.await()
	run.stop()

	other := &rig{t: t, dsn: pgtest.DB(t), nats: r.nats, conn: r.conn}
	other.install(pgtest.As(t, other.dsn, pgtest.Superuser))
	refused := other.start(nil)
	refused.log.await("the stream belongs to another database", 2)
	refused.stop()
	if got := r.stored()[1].Change; got.Deleted() {
		t.Error("a publisher of another database deleted the reservations of the first")
	}
	other.start(func(r *relay.Relay) { r.AcceptDatabase = true })
	other.await()
}

func TestForeignNotificationStartsAComparison(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.start(nil)
	run.log.await(compared, 1)
	r.exec(`SELECT pg_notify('kea_lease_events', '{"test":"data"}')`)
	run.log.await(`Received database notification: {\"test\":\"data\"}`, 1)
	run.log.await(compared, 2)
}

func TestOnceEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"))
	run := r.start(func(r *relay.Relay) { r.Once = true })
	select {
	case <-run.done:
	case <-time.After(60 * time.Second):
		t.Fatal("Run with Once goes on for 60 s")
	}
	r.await()
}

func TestOnceGivesUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"))
	r.start(func(r *relay.Relay) { r.Once = true })
	r.await()
	other := &rig{t: t, dsn: pgtest.DB(t), nats: r.nats, conn: r.conn}
	other.install(pgtest.As(t, other.dsn, pgtest.Superuser))
	refused := other.newRelay()
	refused.Once = true
	if err := refused.Run(t.Context()); !errors.Is(err, relay.ErrOtherDatabase) {
		t.Errorf("Run with Once on another database returned %v, want ErrOtherDatabase", err)
	}
}

// Anybody who can connect can take the lock: that is no publisher to stand by
// for.
func TestStrangerWithTheLockIsNotReady(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stranger := r.connect(r.dsn)
	if _, err := stranger.Exec(t.Context(), `SELECT pg_advisory_lock(7738698683208852833)`); err != nil {
		t.Fatal(err)
	}
	run := r.start(nil)
	run.log.await("another session holds the lock", 1)
	if err := run.Ready(); err == nil || !strings.Contains(err.Error(), "held by session") {
		t.Errorf("with the lock in a stranger's hands the publisher's readiness is %v", err)
	}
	if _, err := stranger.Exec(t.Context(), `SELECT pg_advisory_unlock_all()`); err != nil {
		t.Fatal(err)
	}
	run.log.await(compared, 1)
}

// The connection of this process that the server still has holds the lock.
func TestOwnDeadSessionIsEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var first *pgx.Conn
	run := r.start(func(rl *relay.Relay) {
		rl.Source = "a-source-with-the-longest-name-01"[:32]
		connect := rl.Connect
		rl.Connect = func(ctx context.Context, name string) (*pgx.Conn, error) {
			if first == nil { // a session that hangs, with the lock, beside the new one
				var err error
				if first, err = connect(ctx, name); err != nil {
					return nil, err
				}
				if _, err := first.Exec(ctx, `SELECT pg_advisory_lock(7738698683208852833)`); err != nil {
					return nil, err
				}
			}
			return connect(ctx, name)
		}
	})
	run.log.await("ended a dead connection of this process", 1)
	run.log.await(compared, 1)
	run.stop()
	_ = first.Close(context.Background())
}

// A message of a stranger that can hardly be handled must not keep the others
// from being published.
func TestStrangersMessageStopsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.start(nil)
	run.log.await(compared, 1)
	run.stop()
	js, err := r.conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	for id, hostname := range map[int]string{999: strings.Repeat("\u2028", 20000), 998: strings.Repeat("\u0001", 8000), 997: strings.Repeat("x", 50000)} {
		body := fmt.Sprintf(`{"v":1,"operation":"INSERT","source":"us3","host_id":%d,"at":"2026-11-23T10:00:00Z","hostname":"%s"}`, id, hostname)
		if len(body) > events.MaxMessageSize-1024 {
			body = strings.ReplaceAll(body, `\u2028`, "\u2028")
		}
		if _, err := js.Publish(fmt.Sprintf("kea.reservations.us3.%d", id), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	r.exec(insert(1, "innocent"))
	r.start(nil)
	r.await()
}

// A backlog of more marks than one round reads, and of more changes than one
// batch takes.
func TestRelayDrainsALargeBacklog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.start(nil)
	run.log.await(compared, 1)
	for _, s := range []string{
		`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
		 SELECT decode(lpad(to_hex(i), 12, '0'), 'hex'), 0, 1, 167772160 + i, 'host-' || i FROM generate_series(1, 6000) i`,
		`UPDATE hosts SET ipv4_address = ipv4_address + 65536 WHERE host_id % 2 = 0`,
		`DELETE FROM hosts WHERE host_id % 3 = 0`,
	} {
		r.exec(s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	want, deleted := 4000, 2000
	for {
		live, gone := 0, 0
		for _, s := range r.stored() {
			if s.Change.Deleted() {
				gone++
			} else {
				live++
			}
		}
		if live == want && gone <= deleted {
			break
		}
		select { // a replay costs the server something
		case <-ctx.Done():
			t.Fatalf("the stream holds %d reservations and %d deletions, want %d and at most %d", live, gone, want, deleted)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
