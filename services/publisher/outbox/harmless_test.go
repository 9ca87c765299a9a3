package outbox_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// step is a statement of one of the sessions a, b, c of Kea's role.
type step struct {
	session byte
	sql     string
	args    []any
}

// scene is what writers do to the fixture of TestMarks, one statement after the
// other.
type scene struct {
	name  string
	steps []step
	// marks are those that must be there afterwards; nil: any.
	marks []int
}

// in makes steps of one session.
func in(session byte, sql ...string) (steps []step) {
	for _, s := range sql {
		steps = append(steps, step{session, s, nil})
	}
	return steps
}

// TestWritesAsWithoutUs plays each scene in a database with the triggers and in
// one without, and wants the same of both: the same statements succeed with the
// same number of rows, the same fail with the same SQLSTATE, the same have to
// wait for another session (55P03), and the same rows are left.
func TestWritesAsWithoutUs(t *testing.T) {
	t.Parallel()
	scenes := slices.Concat(meetings(), oddRows(), everyByte(), refusedWrites())
	// The tables of the others are the same.
	for _, schema := range []pgtest.Schema{pgtest.Kea13, pgtest.Kea18, pgtest.Kea34} {
		t.Run(string(schema), func(t *testing.T) {
			t.Parallel()
			bare, ours := pgtest.SchemaDB(t, schema), pgtest.SchemaDB(t, schema)
			install(t, ours, outbox.InstallOptions{})
			without, with := openStage(t, bare), openStage(t, ours)
			for _, s := range scenes {
				t.Run(s.name, func(t *testing.T) {
					want, got := without.play(t, s), with.play(t, s)
					if d := cmp.Diff(want, got); d != "" {
						t.Errorf("(-without +with)\n%s", d)
					}
					marks := one[[]int](t, with.observer, `SELECT coalesce(array_agg(coalesce(host_id, -1) ORDER BY host_id), '{}') FROM keastream.outbox`)
					if s.marks != nil && !slices.Equal(marks, s.marks) {
						t.Errorf("marks %v, want %v", marks, s.marks)
					}
				})
			}
		})
	}
}

// stage is a database with the sessions of a scene.
type stage struct {
	sessions map[byte]*pgx.Conn
	observer *pgx.Conn
	marks    bool
}

func openStage(t *testing.T, dsn string) stage {
	t.Helper()
	s := stage{sessions: make(map[byte]*pgx.Conn), observer: connect(t, superuser(t, dsn))}
	for _, name := range []byte("abc") {
		s.sessions[name] = connect(t, dsn)
	}
	// It would make a TRUNCATE wait now and then.
	execute(t, s.observer, `ALTER TABLE hosts SET (autovacuum_enabled = off)`)
	execute(t, s.observer, `ALTER TABLE ipv6_reservations SET (autovacuum_enabled = off)`)
	s.marks = one[bool](t, s.observer, `SELECT to_regclass('keastream.outbox') IS NOT NULL`)
	return s
}

// play gives what came of each step, and then each row that is left.
func (s stage) play(t *testing.T, sc scene) (transcript []string) {
	t.Helper()
	reset := []string{`DELETE FROM hosts`, `SELECT setval('hosts_host_id_seq', 1, false), setval('ipv6_reservations_reservation_id_seq', 1, false)`}
	for _, sql := range append(reset, fixture[1:]...) { // a TRUNCATE takes longer
		execute(t, s.observer, sql)
	}
	if s.marks {
		execute(t, s.observer, `DELETE FROM keastream.outbox`)
	}
	// What has to wait, waits for a session that does nothing meanwhile. Alone, a
	// session has no limit: with one it sends no wake-ups.
	limit := "0"
	if slices.ContainsFunc(sc.steps, func(s step) bool { return s.session != 'a' }) {
		limit = "40ms"
	}
	for _, conn := range s.sessions {
		execute(t, conn, `SELECT set_config('lock_timeout', $1, false)`, limit)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, step := range sc.steps {
		tag, err := s.sessions[step.session].Exec(ctx, step.sql, step.args...)
		outcome := fmt.Sprintf("%s, %d rows", tag, tag.RowsAffected())
		if err != nil {
			if outcome = sqlState(err); outcome == "" {
				t.Fatalf("%s: %v", step.sql, err)
			}
		}
		transcript = append(transcript, fmt.Sprintf("%c: %.120s: %s", step.session, step.sql, outcome))
	}
	for _, conn := range s.sessions {
		if status := conn.PgConn().TxStatus(); status != 'I' {
			t.Fatalf("a session is left in transaction status %c", status)
		}
	}
	rows, err := s.observer.Query(ctx, `
		SELECT 'hosts ' || to_jsonb(h)::text FROM hosts h UNION ALL
		SELECT 'ipv6_reservations ' || to_jsonb(r)::text FROM ipv6_reservations r ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return append(transcript, left...)
}

// TestSceneTellsDifferences: the comparison must be able to fail.
func TestSceneTellsDifferences(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DB(t)
	s := openStage(t, dsn)
	sc := scene{steps: slices.Concat(in('a', `BEGIN`, addV6(1), addV6(2)), in('b', `BEGIN`, addV6(2), addV6(1), `COMMIT`), in('a', `COMMIT`))}
	before := s.play(t, sc)
	// A trigger of the kind that outbox does without.
	execute(t, s.observer, `CREATE FUNCTION lock_host() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM FROM hosts WHERE host_id = NEW.host_id FOR NO KEY UPDATE; RETURN NULL; END $$`)
	execute(t, s.observer, `CREATE TRIGGER lock_host AFTER INSERT ON ipv6_reservations FOR EACH ROW EXECUTE FUNCTION lock_host()`)
	if after := s.play(t, sc); cmp.Equal(before, after) {
		t.Errorf("a trigger that locks hosts makes no difference:\n%v", after)
	}
}

// TestNotifyMakesNoImpatientWriterFail: the lock that NOTIFY takes at COMMIT is
// one for all databases of a cluster. Somebody holds it, whose commit waits for a
// standby that does not answer, and a writer has a limit for locks.
func TestNotifyMakesNoImpatientWriterFail(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{"synchronous_standby_names": "absent", "synchronous_commit": "local"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := server.CreateDatabase(t.Context(), "kea"); err != nil {
		t.Fatal(err)
	}
	root := connect(t, server.DSN("kea", pgtest.Superuser))
	if _, err := outbox.Install(t.Context(), root, outbox.InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	holder := connect(t, server.DSN("postgres", pgtest.Superuser))
	execute(t, holder, `CREATE TABLE x ()`)
	execute(t, holder, `BEGIN`)
	execute(t, holder, `SET LOCAL synchronous_commit = on`)
	execute(t, holder, `DROP TABLE x`) // a NOTIFY alone has nothing to wait for
	execute(t, holder, `NOTIFY x`)
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan struct{})
	go func() {
		defer close(held)
		_, _ = holder.Exec(ctx, `COMMIT`) // until it is cancelled
	}()
	t.Cleanup(func() { cancel(); <-held })
	for range time.Tick(5 * time.Millisecond) {
		if one[bool](t, root, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')`) {
			break
		}
	}
	writer := connect(t, server.DSN("kea", pgtest.Kea))
	execute(t, writer, `SET lock_timeout = '1s'`)
	execute(t, writer, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	execute(t, writer, addV6(1))
	execute(t, writer, `UPDATE hosts SET hostname = 'two'`)
	execute(t, writer, `UPDATE ipv6_reservations SET prefix_len = 64`)
	execute(t, writer, `DELETE FROM hosts`)
	execute(t, writer, `TRUNCATE hosts CASCADE`)
	if n := one[int](t, root, `SELECT count(*) FROM keastream.outbox`); n != 7 {
		t.Errorf("%d marks, want 7", n)
	}
}
