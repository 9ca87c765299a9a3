package relay_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/publisher/relay"
)

// newPlainRig is a rig whose database has Kea's tables alone. The rig that it
// also returns connects as a role with these rights only.
func newPlainRig(t testing.TB, grants ...string) (kea, reader *rig, role string) {
	t.Helper()
	kea = &rig{t: t, dsn: pgtest.DB(t), nats: eventstest.Start(t)}
	kea.conn = kea.nats.Connect()
	role = pgtest.Role(t)
	for _, grant := range grants {
		kea.exec(grant + " TO " + role)
	}
	reader = new(*kea)
	reader.dsn = pgtest.As(t, kea.dsn, role)
	return kea, reader, role
}

const readTables = `GRANT SELECT ON hosts, ipv6_reservations`

// awaitSoon is await for what must not wait for the comparison of each minute.
func (r *rig) awaitSoon() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 40*time.Second)
	defer cancel()
	c := e2e.Checker{DSN: r.dsn, NATS: r.conn, Source: "us3"}
	if err := c.Await(ctx); err != nil {
		r.t.Fatal(err)
	}
}

const withoutOutbox = "working without the outbox"

// A role that may connect and read Kea's two tables, and nothing else.
func TestWithoutOutbox(t *testing.T) {
	t.Parallel()
	kea, reader, role := newPlainRig(t, readTables)
	kea.exec(insert(1, "a"), `INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) VALUES ('2001:DB8::1', 128, 0, 1)`)
	registry := prometheus.NewRegistry()
	var phases []string
	run := reader.start(func(rl *relay.Relay) {
		rl.Metrics = relay.NewMetrics(registry)
		rl.Phase = func(text string) { phases = append(phases, text) }
	})
	kea.awaitSoon()
	if got := kea.stored()[1].Change; got.Operation != events.Snapshot || got.Seq != 0 {
		t.Errorf("without marks a row was published by %s with seq %d, want SNAPSHOT without", got.Operation, got.Seq)
	}
	if kea.replay().Heartbeat.Outbox {
		t.Error("the heartbeat speaks of an outbox")
	}
	if got := metric(registry, "without_outbox"); got != 1 {
		t.Errorf("the metric without_outbox is %v, want 1", got)
	}
	if err := run.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}

	// It says so once, whatever happens later; the lock is that of every publisher.
	kea.terminate()
	run.log.await(compared, 2)
	second := reader.start(nil)
	second.log.await("standing by", 1)
	run.stop()
	second.log.await(compared, 1)
	second.stop()
	if text := run.log.String(); strings.Count(text, withoutOutbox) != 1 || !strings.Contains(text, "remedy=\"run `keastream-publisher install`") {
		t.Error("the log does not say once that there is no outbox, and what to do")
	}
	if last := phases[len(phases)-2]; !strings.Contains(last, "without the outbox") {
		t.Errorf("the phase is %q", last)
	}
	if got := metric(registry, "without_outbox"); got != 0 {
		t.Errorf("after the end the metric without_outbox is %v, want 0", got)
	}
	var owned int
	if err := kea.connect(kea.dsn).QueryRow(t.Context(), `SELECT count(*) FROM pg_shdepend WHERE deptype = 'o' AND refobjid = $1::regrole`, role).Scan(&owned); err != nil {
		t.Fatal(err)
	}
	if owned != 0 {
		t.Errorf("the publisher made %d things in the database", owned)
	}
}

// replacedTrigger is what the replaced system installs.
var replacedTrigger = []string{
	`CREATE FUNCTION notify_reservation_changes() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_notify('kea_lease_events', json_build_object('operation', TG_OP, 'hostname', NEW.hostname,
				'ipv4_address', NEW.ipv4_address, 'dhcp_identifier', encode(NEW.dhcp_identifier, 'hex'))::text);
			RETURN NEW;
		END $$`,
	`CREATE TRIGGER reservation_notify_trigger AFTER INSERT OR UPDATE ON hosts
		FOR EACH ROW WHEN (NEW.hostname IS NOT NULL) EXECUTE FUNCTION notify_reservation_changes()`,
}

func TestBesideTheReplacedTrigger(t *testing.T) {
	t.Parallel()
	kea, reader, _ := newPlainRig(t, readTables)
	kea.exec(replacedTrigger...)
	run := reader.start(nil)
	run.log.await(compared, 1)
	kea.exec(insert(1, "us3-cab10-ru20-idrac"))
	kea.awaitSoon()
	run.log.await(`Received database notification: {\"operation\" : \"INSERT\", \"hostname\" : \"us3-cab10-ru20-idrac\", \"ipv4_address\" : 167772161`, 1)
	kea.exec(`UPDATE hosts SET ipv4_address = ipv4_address + 100`)
	kea.awaitSoon()
	for _, payload := range []string{`192.0.2.1:aabbccddeeff:name`, `{"test":"data"}`, ``, `{"operation":"INSERT","host_id":7}`} {
		// The trigger does not tell of rows without a name.
		kea.exec(`UPDATE hosts SET ipv4_address = ipv4_address + 1, hostname = NULL`, `SELECT pg_notify('kea_lease_events', '`+payload+`')`)
		kea.awaitSoon()
	}
	// Of a deletion it does not tell either: the comparison of each minute does.
	kea.exec(`DELETE FROM hosts WHERE host_id = 1`)
	kea.await()
	if got := kea.stored()[1].Change; got.Operation != events.Delete || got.Seq != 0 {
		t.Errorf("the deletion was published by %s with seq %d", got.Operation, got.Seq)
	}
}

// Whoever can connect can notify, and must not keep the publisher comparing.
func TestFloodOfNotifications(t *testing.T) {
	t.Parallel()
	kea, reader, _ := newPlainRig(t, readTables)
	registry := prometheus.NewRegistry()
	run := reader.start(func(rl *relay.Relay) { rl.Metrics = relay.NewMetrics(registry) })
	run.log.await(compared, 1)
	began := time.Now()
	stranger := kea.connect(pgtest.As(t, kea.dsn, pgtest.Role(t)))
	for i := 0; time.Since(began) < 5*time.Second; i++ {
		if _, err := stranger.Exec(t.Context(), `SELECT pg_notify('kea_lease_events', $1)`, fmt.Sprint("nonsense ", i)); err != nil {
			t.Fatal(err)
		}
		if i == 100 {
			kea.exec(insert(1, "a"))
		}
	}
	// One before, one for each second, and one at either edge.
	n, most := metric(registry, "comparisons_total"), 3+time.Since(began).Seconds()
	if n > most {
		t.Errorf("%v comparisons in %v, want at most %v", n, time.Since(began), most)
	}
	if n < 2 {
		t.Error("no notification led to a comparison")
	}
	kea.awaitSoon()
}

// Rows that a policy hides are not gone.
func TestHiddenRowsAreNotDeleted(t *testing.T) {
	t.Parallel()
	kea, reader, _ := newPlainRig(t, readTables)
	kea.exec(insert(1, "a"))
	run := reader.start(nil)
	run.log.await(compared, 1)
	kea.exec(`ALTER TABLE hosts ENABLE ROW LEVEL SECURITY`, `NOTIFY kea_lease_events`)
	run.log.await("row-level security policy", 1)
	if kea.stored()[1].Change.Deleted() {
		t.Error("a row that a policy hides was published as deleted")
	}
}

func TestMissingRightsAreNamed(t *testing.T) {
	t.Parallel()
	kea, reader, role := newPlainRig(t)
	kea.exec(insert(1, "a"))
	run := reader.start(nil)
	run.log.await("publishing was interrupted", 1)
	for _, table := range []string{"public.hosts", "public.ipv6_reservations"} {
		grant := regexp.MustCompile(`GRANT SELECT \([a-z0-9_, ]+\) ON ` + table + ` TO ` + role).FindString(run.log.String())
		if grant == "" || strings.Contains(grant, "auth_key") {
			t.Fatalf("the log has no statement for table %s", table)
		}
		if run.Ready() == nil {
			t.Error("ready without the right to read")
		}
		kea.exec(grant)
	}
	kea.await()
	kea.exec(`REVOKE SELECT ON ipv6_reservations FROM ` + role)
	kea.exec(`NOTIFY kea_lease_events`)
	run.log.await("may not read table public.ipv6_reservations", 2)
}

// A source that was published with the outbox is not stepped down in silence.
func TestDroppedOutboxIsRefused(t *testing.T) {
	t.Parallel()
	r, reader, role := newPlainRig(t)
	grantTo := func() { r.install(pgtest.As(t, r.dsn, pgtest.Superuser), role) }
	grantTo()
	r.exec(insert(1, "a"), insert(2, "b"))
	run := reader.start(nil)
	r.await()
	if !r.replay().Heartbeat.Outbox {
		t.Error("the heartbeat does not tell of the outbox")
	}
	super := r.connect(pgtest.As(t, r.dsn, pgtest.Superuser))
	if _, err := super.Exec(t.Context(), `DROP SCHEMA keastream CASCADE; DELETE FROM hosts WHERE host_id = 1`); err != nil {
		t.Fatal(err)
	}
	before := r.stored()
	run.log.await("the outbox is gone", 2)
	if err := run.Ready(); err == nil || !strings.Contains(err.Error(), "keastream-publisher install") || !strings.Contains(err.Error(), "--outbox none") {
		t.Errorf("the readiness is %v, want the remedies", err)
	}
	run.stop()
	once := reader.newRelay()
	once.Once = true
	if err := once.Run(t.Context()); !errors.Is(err, relay.ErrOutboxGone) {
		t.Errorf("Run with Once returned %v, want ErrOutboxGone", err)
	}
	for id, was := range before {
		if now := r.stored()[id]; now.Sequence != was.Sequence {
			t.Errorf("host %d was published again: %+v", id, now)
		}
	}
	r.exec(readTables + ` TO ` + role)
	none := reader.start(func(rl *relay.Relay) { rl.WithoutOutbox = true })
	r.await()
	if r.replay().Heartbeat.Outbox {
		t.Error("without the outbox the heartbeat tells of it")
	}
	none.stop()
	grantTo()
	none = reader.start(func(rl *relay.Relay) { rl.WithoutOutbox = true })
	none.log.await("marks to pile up", 1)
	r.await()
}

// An outbox that is there and may not be used is no reason to work without it.
func TestUnusableOutboxIsAnError(t *testing.T) {
	t.Parallel()
	for name, grants := range map[string]string{
		"no right on the schema":             ``,
		"the rights that a dump of it takes": `GRANT USAGE ON SCHEMA keastream TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA keastream TO %[1]s`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kea, reader, role := newPlainRig(t, readTables)
			kea.exec(insert(1, "a"))
			kea.install(pgtest.As(t, kea.dsn, pgtest.Superuser), pgtest.Role(t))
			if grants != "" {
				if _, err := kea.connect(pgtest.As(t, kea.dsn, pgtest.Superuser)).Exec(t.Context(), fmt.Sprintf(grants, role)); err != nil {
					t.Fatal(err)
				}
			}
			refused := reader.start(nil)
			refused.log.await("run the installation with --grant-to "+role, 2)
			if refused.Ready() == nil {
				t.Error("ready with an outbox that may not be used")
			}
			if strings.Contains(refused.log.String(), compared) {
				t.Error("it works without the outbox")
			}
		})
	}
}

// The outbox is installed while a publisher runs without it and Kea writes. The
// comparison after that is an hour away: what is lost here stays lost.
func TestChangeOverToTheOutbox(t *testing.T) {
	t.Parallel()
	kea, reader, role := newPlainRig(t, readTables)
	kea.exec(`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
		SELECT decode(lpad(to_hex(i), 12, '0'), 'hex'), 0, 1, 167772160 + i, 'host-' || i FROM generate_series(1, 200) i`)
	registry := prometheus.NewRegistry()
	run := reader.start(func(rl *relay.Relay) { rl.Metrics = relay.NewMetrics(registry) })
	run.log.await(compared, 1)
	kea.exec(`UPDATE hosts SET hostname = 'before' WHERE host_id = 1`, `DELETE FROM hosts WHERE host_id = 2`)

	over := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			conn := kea.connect(kea.dsn)
			for i := 0; ; i++ {
				for _, s := range []string{
					insert(1000*(w+1)+i, fmt.Sprint("during-", i)),
					fmt.Sprintf(`UPDATE hosts SET hostname = 'during-%d' WHERE host_id = %d`, i, 10+w*100+i%80),
					fmt.Sprintf(`DELETE FROM hosts WHERE host_id = %d`, 1000*(w+1)+i-10),
				} {
					if _, err := conn.Exec(t.Context(), s); err != nil {
						t.Error(err)
						return
					}
				}
				select {
				case <-over:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	kea.install(pgtest.As(t, kea.dsn, pgtest.Superuser), role)
	run.log.await("the outbox was installed", 1)
	run.log.await(compared, 2)
	close(over)
	writers.Wait()
	kea.exec(`UPDATE hosts SET hostname = 'after' WHERE host_id = 3`)
	kea.await()
	if got := kea.stored()[3].Change; got.Operation != events.Update || got.Seq == 0 {
		t.Errorf("after the change-over a row was published by %s with seq %d", got.Operation, got.Seq)
	}
	if !kea.replay().Heartbeat.Outbox {
		t.Error("the heartbeat does not tell of the outbox")
	}
	if got := metric(registry, "without_outbox"); got != 0 {
		t.Errorf("the metric without_outbox is %v, want 0", got)
	}
	if n := kea.marks(); n != 0 {
		t.Errorf("%d marks are left", n)
	}
}

// The outbox is installed after a comparison has read the rows: what changed in
// between is in neither, and the next comparison must not be an hour away.
func TestInstalledDuringAComparison(t *testing.T) {
	t.Parallel()
	kea, reader, role := newPlainRig(t, readTables)
	kea.exec(insert(1, "a"), insert(2, "b"))
	hold := &holdAfterRead{held: make(chan struct{}), release: make(chan struct{})}
	run := reader.start(func(rl *relay.Relay) { rl.Connect = reader.connectWith(hold) })
	<-hold.held
	kea.exec(`UPDATE hosts SET hostname = 'between' WHERE host_id = 1`)
	kea.install(pgtest.As(t, kea.dsn, pgtest.Superuser), role)
	close(hold.release)
	run.log.await(compared, 1)
	kea.exec(`UPDATE hosts SET hostname = 'after' WHERE host_id = 2`)
	kea.await()
	run.log.await("the outbox was installed", 1)
}
