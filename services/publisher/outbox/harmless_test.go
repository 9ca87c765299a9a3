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
		conn := connect(t, dsn)
		// What has to wait, waits for a session that does nothing meanwhile.
		execute(t, conn, `SET lock_timeout = '40ms'`)
		s.sessions[name] = conn
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
