package outbox_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// states gives what snapshot says as text, by host_id.
func states(t *testing.T, conn *pgx.Conn, call string) map[int]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT host_id, state::text FROM `+call)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[int]string)
	var id int
	var state string
	if _, err := pgx.ForEachRow(rows, []any{&id, &state}, func() error { got[id] = state; return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

const (
	stateOne   = `{"v6": [], "ipv4": 3232235777, "subnet4": 1, "hostname": "one", "identifier": "020000000001", "identifier_type": 0, "identifier_length": 6}`
	stateTwo   = `{"v6": [{"type": 0, "address": "2001:db8::1", "prefix_len": 128}, {"type": 2, "address": "2001:db8:1::", "prefix_len": 48}], "ipv4": 0, "subnet6": 1, "hostname": "", "identifier": "00030001020000000002", "identifier_type": 1, "identifier_length": 10}`
	stateThree = `{"v6": [], "identifier": "020000000003", "identifier_type": 2, "identifier_length": 6}`
)

func TestSnapshot(t *testing.T) {
	t.Parallel()
	dsn, relay := pgtest.DB(t), pgtest.Role(t)
	install(t, dsn, outbox.InstallOptions{GrantTo: []string{relay}})
	kea, conn := connect(t, dsn), connect(t, pgtest.As(t, dsn, relay))
	for _, sql := range fixture {
		execute(t, kea, sql)
	}
	for _, c := range []struct {
		call string
		want map[int]string
	}{
		{`keastream.snapshot()`, map[int]string{1: stateOne, 2: stateTwo, 3: stateThree}},
		{`keastream.snapshot(NULL)`, map[int]string{1: stateOne, 2: stateTwo, 3: stateThree}},
		{`keastream.snapshot('{3,1}')`, map[int]string{1: stateOne, 3: stateThree}},
		{`keastream.snapshot('{2,2,99,-1,NULL}')`, map[int]string{2: stateTwo}},
		{`keastream.snapshot('{}')`, map[int]string{}},
	} {
		got := states(t, conn, c.call)
		if len(got) != len(c.want) {
			t.Errorf("%s: %d hosts, want %d", c.call, len(got), len(c.want))
		}
		for id, want := range c.want {
			if got[id] != want {
				t.Errorf("%s: host %d\n%s\nwant\n%s", c.call, id, got[id], want)
			}
		}
	}
}

// TestMarksAndStatesInOneSnapshot: between the two statements of a reader, a
// writer commits. The reader sees neither its mark nor its change.
func TestMarksAndStatesInOneSnapshot(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	kea, reader := connect(t, dsn), connect(t, superuser(t, dsn))
	for _, sql := range fixture {
		execute(t, kea, sql)
	}
	takeMarks(t, dsn)
	execute(t, reader, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`)
	if n := one[int](t, reader, `SELECT count(*) FROM keastream.outbox`); n != 0 {
		t.Fatalf("%d marks, want 0", n)
	}
	execute(t, kea, `UPDATE hosts SET hostname = 'new' WHERE host_id = 1`)
	if got := states(t, reader, `keastream.snapshot('{1}')`)[1]; got != stateOne {
		t.Errorf("state %s, want that of the snapshot", got)
	}
	execute(t, reader, `COMMIT`)
	if got, want := takeMarks(t, dsn), []int{1}; !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}
}

// TestSnapshotOfFreshBulkLoad asks for many hosts right after they came, before
// any ANALYZE, in a session that asked before, when there was one. A quadratic
// plan would look at 10^9 rows.
func TestSnapshotOfFreshBulkLoad(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	kea, reader := connect(t, dsn), connect(t, superuser(t, dsn))
	execute(t, reader, `SET statement_timeout = '60s'`)
	// Tables of one row make the planner choose what is best for them.
	execute(t, kea, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) VALUES ('\x00', 0)`)
	execute(t, kea, `INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::', 1)`)
	execute(t, kea, `ANALYZE hosts, ipv6_reservations`)
	const all, some = `keastream.snapshot()`, `keastream.snapshot(ARRAY(SELECT generate_series(1, 30000)))`
	for range 6 { // PostgreSQL may settle for one plan after five
		states(t, reader, all)
		states(t, reader, some)
	}
	execute(t, kea, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) SELECT int4send(n), 0 FROM generate_series(2, 30000) n`)
	execute(t, kea, `INSERT INTO ipv6_reservations (address, host_id) SELECT '2001:db8::' || to_hex(n), n FROM generate_series(2, 30000) n`)
	for _, call := range []string{all, some} {
		got := states(t, reader, call)
		if len(got) != 30000 || !strings.Contains(got[30000], `"address": "2001:db8::7530"`) {
			t.Errorf("%s: %d hosts, the last %s", call, len(got), got[30000])
		}
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	dsn, relay := pgtest.DB(t), pgtest.Role(t)
	install(t, dsn, outbox.InstallOptions{GrantTo: []string{relay}})
	rows, err := connect(t, pgtest.As(t, dsn, relay)).Query(t.Context(), `SELECT * FROM keastream.position()`)
	if err != nil {
		t.Fatal(err)
	}
	type position struct {
		Database   string
		Timeline   int64
		InRecovery bool
		KeaSchema  string
		At         time.Time
	}
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[position])
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, dsn)
	if want := one[string](t, conn, `SELECT system_identifier || '/' || current_database() FROM pg_control_system()`); got.Database != want {
		t.Errorf("database %s, want %s", got.Database, want)
	}
	if got.Timeline != 1 || got.InRecovery || got.KeaSchema != "13.0" || got.At.IsZero() {
		t.Errorf("%+v", got)
	}
}

// TestKeaUpgradeBesideTriggers does what Kea's scripts do to our tables after
// schema 13: 17 -> 18 changes the type of the address, 24 -> 25 adds columns.
// A session whose plans are older goes on.
func TestKeaUpgradeBesideTriggers(t *testing.T) {
	t.Parallel()
	dsn, relay := pgtest.DB(t), pgtest.Role(t)
	install(t, dsn, outbox.InstallOptions{GrantTo: []string{relay}})
	writer, reader, kea := connect(t, dsn), connect(t, pgtest.As(t, dsn, relay)), connect(t, dsn)
	l := listen(t, dsn, outbox.DefaultChannel)
	change := func() {
		execute(t, writer, `INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::3', 3)`)
		execute(t, writer, `UPDATE ipv6_reservations SET address = '2001:db8::4' WHERE host_id = 3`)
		execute(t, writer, `UPDATE ipv6_reservations SET dhcp6_iaid = 5 WHERE host_id = 3`)
		execute(t, writer, `DELETE FROM ipv6_reservations WHERE host_id = 3`)
	}
	check := func() {
		t.Helper()
		change()
		l.expect(t,
			`{"operation":"INSERT","host_id":3,"address":"2001:db8::3"}`,
			`{"operation":"UPDATE","host_id":3,"address":"2001:db8::4"}`,
			`{"operation":"DELETE","host_id":3,"address":"2001:db8::4"}`)
		if got, want := takeMarks(t, dsn), []int{3, 3, 3}; !slices.Equal(got, want) {
			t.Errorf("marks %v, want %v", got, want)
		}
		if got := states(t, reader, `keastream.snapshot()`); got[2] != stateTwo {
			t.Errorf("state %s, want %s", got[2], stateTwo)
		}
	}
	for _, sql := range fixture {
		execute(t, writer, sql)
	}
	takeMarks(t, dsn)
	l.heard(t)
	check()

	execute(t, kea, `ALTER TABLE ipv6_reservations ALTER COLUMN address TYPE INET USING address::INET`)
	execute(t, kea, `UPDATE schema_version SET version = '18', minor = '0'`)
	l.expect(t)
	if got := takeMarks(t, dsn); len(got) > 0 {
		t.Errorf("the upgrade made marks: %v", got)
	}
	check()

	execute(t, kea, `ALTER TABLE ipv6_reservations ADD COLUMN excluded_prefix INET DEFAULT NULL, ADD COLUMN excluded_prefix_len SMALLINT NOT NULL DEFAULT 0`)
	execute(t, kea, `UPDATE schema_version SET version = '25', minor = '0'`)
	check()
	if got := one[string](t, reader, `SELECT kea_schema FROM keastream.position()`); got != "25.0" {
		t.Errorf("Kea's schema %s, want 25.0", got)
	}
	if got := install(t, dsn, outbox.InstallOptions{}).KeaSchema; got != "25.0" {
		t.Errorf("report has Kea's schema %s, want 25.0", got)
	}
	check()

	// No Kea does this yet.
	execute(t, kea, `ALTER TABLE hosts ALTER COLUMN dhcp_identifier_type TYPE int, ALTER COLUMN hostname TYPE text, ALTER COLUMN host_id TYPE bigint`)
	execute(t, kea, `ALTER TABLE ipv6_reservations ALTER COLUMN type TYPE int, ALTER COLUMN prefix_len TYPE int, ALTER COLUMN host_id TYPE bigint`)
	check()
	execute(t, writer, `UPDATE hosts SET dhcp_identifier_type = 4 WHERE host_id = 3`)
	execute(t, writer, `DELETE FROM hosts WHERE host_id = 3`)
	if got, want := takeMarks(t, dsn), []int{3, 3}; !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}
}
