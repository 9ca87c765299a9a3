package outbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// watched is a database in which all is well: installed, with a publisher that
// holds its lock.
type watched struct {
	t         *testing.T
	kea, root *pgx.Conn
	publisher *pgx.Conn // of a role with no rights but those of keastream_relay
	lock      *pgx.Conn
}

func watch(t *testing.T) *watched {
	t.Helper()
	dsn, role := pgtest.DB(t), pgtest.Role(t)
	install(t, dsn, outbox.InstallOptions{GrantTo: []string{role}})
	w := &watched{t: t, kea: connect(t, dsn), root: connect(t, superuser(t, dsn)), publisher: connect(t, pgtest.As(t, dsn, role))}
	w.lock = connect(t, pgtest.As(t, dsn, role)+"&application_name=keastream-publisher%20ABC")
	execute(t, w.lock, `SELECT pg_advisory_lock($1)`, outbox.PublisherLock)
	return w
}

// expect checks as conn's role and compares the keys of the findings. It gives
// their texts and remedies.
func expect(t *testing.T, conn *pgx.Conn, o outbox.CheckOptions, keys ...string) string {
	t.Helper()
	got, err := outbox.Check(t.Context(), conn, o)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	var gotKeys []string
	for _, f := range got.Findings {
		gotKeys = append(gotKeys, f.Key)
		fmt.Fprintf(&text, "%s %s: %s -> %s\n", f.Severity, f.Key, f.Text, f.Remedy)
		if f.Text == "" || f.Remedy == "" || f.Severity != outbox.Warning && f.Severity != outbox.Problem {
			t.Errorf("finding without a text, a remedy or a severity: %+v", f)
		}
	}
	if !slices.Equal(gotKeys, keys) {
		t.Errorf("findings %v, want %v\n%s", gotKeys, keys, text.String())
	}
	if status := conn.PgConn().TxStatus(); status != 'I' {
		t.Errorf("the session was left in transaction status %c", status)
	}
	return text.String()
}

func contains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, part := range want {
		if !strings.Contains(text, part) {
			t.Errorf("findings\n%swant %q", text, part)
		}
	}
}

// TestCheck makes one thing wrong after the other, and right again.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key          string
		as           string // kea, or else the superuser
		wrong, right string // SQL; "install" stands for the verb
		want         []string
		alsoAfter    string // for what the first remedy does not reach
	}{
		{key: "kea_schema", as: "kea", wrong: `UPDATE schema_version SET version = 12`, right: `UPDATE schema_version SET version = 13`,
			want: []string{"error kea_schema", "12.0", "kea-admin db-upgrade"}},
		{key: "kea_schema", as: "kea", wrong: `UPDATE schema_version SET version = 99`, right: `UPDATE schema_version SET version = 34`,
			want: []string{"warning kea_schema", "99.0", "newer keastream"}},
		{key: "kea_tables", as: "kea", wrong: `ALTER TABLE ipv6_reservations RENAME TO x`, right: `ALTER TABLE x RENAME TO ipv6_reservations`,
			want: []string{"lacks ipv6_reservations", "--db-name"}},
		{key: "schema_owner", wrong: `ALTER SCHEMA keastream OWNER TO postgres`, right: `ALTER SCHEMA keastream OWNER TO keastream_owner`,
			want: []string{"belongs to role postgres", "ALTER SCHEMA keastream OWNER TO keastream_owner"}},
		{key: "objects", wrong: `ALTER FUNCTION keastream.mac(int, bytea) RENAME TO x; ALTER TABLE keastream.outbox RENAME TO y`,
			right: `ALTER FUNCTION keastream.x(int, bytea) RENAME TO mac; ALTER TABLE keastream.y RENAME TO outbox`,
			want:  []string{"lacks table outbox, function mac", "install"}},
		{key: "objects", wrong: `ALTER TABLE keastream.installation RENAME TO y`, right: `ALTER TABLE keastream.y RENAME TO installation`,
			want: []string{"lacks table installation", "DROP SCHEMA keastream CASCADE"}},
		{key: "rights", wrong: `REVOKE DELETE ON keastream.outbox FROM keastream_relay; REVOKE EXECUTE ON FUNCTION keastream.snapshot FROM keastream_relay`,
			right: `GRANT DELETE ON keastream.outbox TO keastream_relay; GRANT EXECUTE ON FUNCTION keastream.snapshot TO keastream_relay`,
			want:  []string{"lacks DELETE on table keastream.outbox, EXECUTE on function keastream.snapshot", "install --grant-to test_role"}},
		{key: "version", wrong: `UPDATE keastream.installation SET version = 0`, right: `UPDATE keastream.installation SET version = 1`,
			want: []string{"version 0, and this program needs 1", "install"}},
		{key: "version", wrong: `UPDATE keastream.installation SET version = 9`, right: `UPDATE keastream.installation SET version = 1`,
			want: []string{"version 9, and this program knows 1", "use the program that installed it"}},
		{key: "trigger_missing", as: "kea", wrong: `DROP TRIGGER reservation_notify_trigger_delete ON ipv6_reservations`, right: "install",
			want: []string{"no trigger reservation_notify_trigger_delete on ipv6_reservations", "install"}},
		{key: "trigger_changed", wrong: `DROP TRIGGER reservation_notify_trigger_delete ON hosts;
			CREATE TRIGGER reservation_notify_trigger_delete AFTER DELETE ON hosts FOR EACH STATEMENT EXECUTE FUNCTION keastream.truncated('x')`,
			right: "install", want: []string{"trigger reservation_notify_trigger_delete on hosts is not the one", "install"}},
		{key: "trigger_disabled", as: "kea", wrong: `ALTER TABLE hosts DISABLE TRIGGER reservation_notify_trigger`,
			right: `ALTER TABLE hosts ENABLE TRIGGER reservation_notify_trigger`,
			want:  []string{"switched off", "ALTER TABLE hosts ENABLE TRIGGER reservation_notify_trigger"}},
		{key: "trigger_disabled", as: "kea", wrong: `ALTER TABLE hosts ENABLE REPLICA TRIGGER reservation_notify_trigger`,
			right: `ALTER TABLE hosts ENABLE ALWAYS TRIGGER reservation_notify_trigger`,
			want:  []string{"for replication only", "ALTER TABLE hosts ENABLE TRIGGER reservation_notify_trigger"}},
		{key: "replication_role", wrong: `DO $$ BEGIN EXECUTE format('ALTER ROLE kea IN DATABASE %I SET session_replication_role = replica', current_database()); END $$`,
			right: `DO $$ BEGIN EXECUTE format('ALTER ROLE kea IN DATABASE %I RESET session_replication_role', current_database()); END $$`,
			want:  []string{"replica for role kea in database test_db", "RESET session_replication_role"}},
		{key: "lock_timeout", wrong: `DO $$ BEGIN EXECUTE format('ALTER ROLE kea IN DATABASE %I SET lock_timeout = 2000', current_database()); END $$`,
			right: `DO $$ BEGIN EXECUTE format('ALTER ROLE kea IN DATABASE %I SET lock_timeout = 0', current_database()); END $$`,
			want:  []string{"warning", "lock_timeout is set for role kea in database test_db", "RESET lock_timeout"}},
		{key: "foreign_trigger", as: "kea", wrong: oldFunction + `;CREATE TRIGGER old AFTER INSERT ON hosts EXECUTE FUNCTION notify_reservation_changes()`, right: "install",
			want: []string{"trigger old on hosts", "install"}},
		{key: "foreign_trigger", as: "kea", wrong: oldFunction + `;CREATE TRIGGER kea_lease_notify_trigger AFTER INSERT ON lease4 EXECUTE FUNCTION notify_reservation_changes()`,
			right: `DROP TRIGGER kea_lease_notify_trigger ON lease4`, want: []string{"on lease4", "DROP TRIGGER kea_lease_notify_trigger ON lease4"}},
		{key: "owner", wrong: `ALTER FUNCTION keastream.truncated() OWNER TO kea`, right: `ALTER FUNCTION keastream.truncated() OWNER TO keastream_owner`,
			want: []string{"function keastream.truncated to kea", "OWNER TO keastream_owner"}},
		{key: "grants", wrong: `GRANT EXECUTE ON FUNCTION keastream.snapshot TO PUBLIC; GRANT INSERT ON keastream.outbox TO kea`, right: "install",
			want:      []string{"EXECUTE on function keastream.snapshot to PUBLIC", "INSERT on table keastream.outbox to kea", "REVOKE"},
			alsoAfter: `REVOKE INSERT ON keastream.outbox FROM kea`},
		{key: "dump_rights", wrong: `REVOKE SELECT ON SEQUENCE keastream.outbox_seq_seq FROM kea`, right: "install",
			want: []string{"role kea, which owns Kea's tables", "pg_dump fails", "install"}},
		{key: "snapshot", as: "kea", wrong: `REVOKE SELECT ON ipv6_reservations FROM keastream_owner`, right: "install",
			want: []string{"permission denied for table ipv6_reservations", "install"}},
		{key: "rows_identifier", as: "kea", wrong: `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) VALUES (decode(repeat('ab', 1025), 'hex'), 0)`, right: `DELETE FROM hosts`,
			want: []string{"warning", "1 reservations lose something", "host_id 1 (identifier: 1025 bytes", "hosts.dhcp_identifier"}},
		{key: "rows_ip", as: "kea", wrong: `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, ipv4_address) SELECT decode(to_hex(n), 'hex'), 0, 99999999999 FROM generate_series(16, 18) n`,
			right: `UPDATE hosts SET ipv4_address = 0`, want: []string{"3 reservations", "host_id 1, 2, … (ip: 99999999999 is not an IPv4 address)", "hosts.ipv4_address"}},
		{key: "rows_ipv6", as: "kea", wrong: insertHost + `VALUES ('\x01', 0, 1, 'one'); INSERT INTO ipv6_reservations (address, host_id) VALUES ('nowhere', 1), ('::x', 1)`,
			right: `DELETE FROM ipv6_reservations`, want: []string{"1 reservations", `host_id 1 (ipv6: "nowhere" is not`, "correct ipv6_reservations.address"}},
	} {
		t.Run(c.key, func(t *testing.T) {
			t.Parallel()
			w := watch(t)
			o := outbox.CheckOptions{Examples: 2}
			expect(t, w.publisher, o)
			conn := w.root
			if c.as == "kea" {
				conn = w.kea
			}
			execute(t, conn, c.wrong)
			contains(t, expect(t, w.publisher, o, c.key), c.want...)
			if c.right == "install" {
				if _, err := outbox.Install(t.Context(), w.root, outbox.InstallOptions{}); err != nil {
					t.Fatal(err)
				}
			} else {
				execute(t, conn, c.right)
			}
			if c.alsoAfter != "" {
				expect(t, w.publisher, o, c.key)
				execute(t, w.root, c.alsoAfter)
			}
			expect(t, w.publisher, o)
		})
	}
}

func TestCheckNotInstalled(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DB(t)
	contains(t, expect(t, connect(t, dsn), outbox.CheckOptions{}, "not_installed"), "warning", "no outbox", "keastream-publisher install")
	// A role that may not even use Kea's schema.
	execute(t, connect(t, superuser(t, dsn)), `REVOKE ALL ON SCHEMA public FROM PUBLIC`)
	stranger := connect(t, pgtest.As(t, dsn, pgtest.Role(t)))
	contains(t, expect(t, stranger, outbox.CheckOptions{}, "not_installed", "table_rights", "table_rights", "table_rights"),
		"may not read table public.hosts", "-> GRANT SELECT (host_id, ", "GRANT USAGE ON SCHEMA public TO")
	install(t, dsn, outbox.InstallOptions{})
	contains(t, expect(t, stranger, outbox.CheckOptions{}, "rights"), "USAGE on schema keastream", "SELECT on table keastream.outbox", "SELECT on table keastream.installation")
}

// TestCheckReports has the facts that are no findings.
func TestCheckReports(t *testing.T) {
	t.Parallel()
	w := watch(t)
	execute(t, w.kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	got, err := outbox.Check(t.Context(), w.publisher, outbox.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	oldest := one[time.Time](t, w.root, `SELECT created_at FROM keastream.outbox`)
	if got.Database != one[string](t, w.root, `SELECT current_database()`) || got.Server != one[string](t, w.root, `SHOW server_version`) || got.KeaSchema != "13.0" ||
		got.Version != outbox.Version || got.Publisher != fmt.Sprintf("keastream-publisher ABC (pid %d)", w.lock.PgConn().PID()) ||
		got.Marks != 1 || !got.OldestMark.Equal(oldest) || len(got.Findings) != 0 {
		t.Errorf("%+v", got)
	}
	expect(t, w.root, outbox.CheckOptions{})
	execute(t, w.publisher, `SET default_transaction_read_only = on`)
	contains(t, expect(t, w.publisher, outbox.CheckOptions{}, "read_only"), "RESET default_transaction_read_only")
	execute(t, w.publisher, `RESET default_transaction_read_only`)
	expect(t, w.publisher, outbox.CheckOptions{})
	if got := takeMarks(t, w.kea.Config().ConnString()); len(got) != 1 {
		t.Errorf("marks %v", got)
	}
}

func TestCheckPublisher(t *testing.T) {
	t.Parallel()
	w := watch(t)
	execute(t, w.lock, `SELECT pg_advisory_unlock_all()`)
	contains(t, expect(t, w.publisher, outbox.CheckOptions{}, "no_publisher"), "no publisher works", "start keastream-publisher")
	execute(t, w.kea, `SET application_name = 'psql'`)
	execute(t, w.kea, `SELECT pg_advisory_lock($1)`, outbox.PublisherLock)
	contains(t, expect(t, w.publisher, outbox.CheckOptions{}, "lock_holder"), `session "psql"`, fmt.Sprintf("pg_terminate_backend(%d)", w.kea.PgConn().PID()))
	execute(t, w.kea, `SELECT pg_advisory_unlock_all()`)
	execute(t, w.lock, `SELECT pg_advisory_lock($1)`, outbox.PublisherLock)
	expect(t, w.publisher, outbox.CheckOptions{})
}

func TestCheckMarks(t *testing.T) {
	t.Parallel()
	w := watch(t)
	execute(t, w.kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	expect(t, w.publisher, outbox.CheckOptions{})
	execute(t, w.root, `UPDATE keastream.outbox SET created_at = now() - interval '1 hour'`)
	contains(t, expect(t, w.publisher, outbox.CheckOptions{}, "marks"), "1 changes are not published, the oldest for 1h0m", "/readyz")
	expect(t, w.publisher, outbox.CheckOptions{Patience: 2 * time.Hour})
	execute(t, w.publisher, `DELETE FROM keastream.outbox`)
	expect(t, w.publisher, outbox.CheckOptions{})
}

func TestCheckTransactions(t *testing.T) {
	t.Parallel()
	w := watch(t)
	soon := outbox.CheckOptions{Patience: time.Microsecond}
	execute(t, w.kea, `BEGIN`)
	execute(t, w.kea, `SELECT FROM hosts`)
	expect(t, w.root, soon) // a reader keeps nothing back
	execute(t, w.kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	expect(t, w.root, outbox.CheckOptions{})
	terminate := fmt.Sprintf("pg_terminate_backend(%d)", w.kea.PgConn().PID())
	contains(t, expect(t, w.root, soon, "long_transaction"), "of role kea", terminate)
	expect(t, w.publisher, soon) // which may not see since when
	execute(t, w.kea, `ROLLBACK`)
	expect(t, w.root, soon)

	execute(t, w.kea, `BEGIN`)
	execute(t, w.kea, `LOCK TABLE hosts`)
	contains(t, expect(t, w.root, outbox.CheckOptions{}, "locked"), fmt.Sprintf("(pid %d)", w.kea.PgConn().PID()), "pg_terminate_backend")
	execute(t, w.kea, `ROLLBACK`)
	expect(t, w.root, soon)
}

// TestCheckPreparedTransaction has a server that allows them.
func TestCheckPreparedTransaction(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := server.CreateDatabase(t.Context(), "kea1"); err != nil {
		t.Fatal(err)
	}
	root, kea, other := connect(t, server.DSN("kea1", pgtest.Superuser)), connect(t, server.DSN("kea1", pgtest.Kea)), connect(t, server.DSN("kea1", pgtest.Kea))
	installAs(t, server.DSN("kea1", pgtest.Superuser), outbox.InstallOptions{GrantTo: []string{pgtest.Kea}})
	execute(t, other, `BEGIN; SELECT pg_advisory_xact_lock(1801806195, 1)`) // then the writer does not notify, which would forbid PREPARE
	execute(t, kea, `BEGIN`)
	execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	execute(t, kea, `PREPARE TRANSACTION 'it''s'`)
	soon := outbox.CheckOptions{Patience: time.Microsecond}
	contains(t, expect(t, root, soon, "no_publisher", "prepared_transaction"), `"it's" of role kea`, `ROLLBACK PREPARED 'it''s'`)
	execute(t, kea, `COMMIT PREPARED 'it''s'`)
	expect(t, root, outbox.CheckOptions{}, "no_publisher")
}

func TestCheckNotifyQueue(t *testing.T) {
	t.Parallel()
	w := watch(t)
	o := outbox.CheckOptions{QueueUsage: 0.0002} // of 8 GB
	listener := connect(t, w.kea.Config().ConnString()+"&application_name=sleeper")
	execute(t, listener, `LISTEN nobody`)
	execute(t, listener, `BEGIN`)
	execute(t, listener, `SELECT`)
	execute(t, w.kea, `SELECT pg_notify('somebody', n || repeat('x', 7900)) FROM generate_series(1, 500) n`)
	// The oldest transactions of the server, among which those of other tests may be.
	contains(t, expect(t, w.root, o, "notify_queue"), "the NOTIFY queue is full to ", "the oldest transactions: ", "idle in transaction", "pg_terminate_backend")
	execute(t, listener, `COMMIT`)
	for deadline := time.Now().Add(time.Minute); one[float64](t, w.root, `SELECT pg_notification_queue_usage()`) > o.QueueUsage; {
		if time.Now().After(deadline) {
			t.Fatal("the queue is full after a minute")
		}
	}
	expect(t, w.root, o)
}

// TestCheckHostnames has names that only some encodings can hold.
func TestCheckHostnames(t *testing.T) {
	t.Parallel()
	dsn := pgtest.EncodedDB(t, "LATIN1")
	install(t, dsn, outbox.InstallOptions{GrantTo: []string{pgtest.Kea}})
	kea := connect(t, dsn)
	execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, 'bär')`)
	contains(t, expect(t, kea, outbox.CheckOptions{}, "no_publisher", "rows_hostname"), "host_id 1 (hostname: ", "LATIN1", "write hosts.hostname in ASCII")
	execute(t, kea, `UPDATE hosts SET hostname = 'bear'`)
	expect(t, kea, outbox.CheckOptions{}, "no_publisher")
}

// TestStandby: what looks finds it out, what writes refuses.
func TestStandby(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	if err := server.CreateDatabase(t.Context(), "kea1"); err != nil {
		t.Fatal(err)
	}
	root := server.DSN("kea1", pgtest.Superuser)
	if err := server.Halt(pgtest.Fast); err != nil {
		t.Fatal(err)
	}
	// One that nobody sends anything to.
	if err := os.WriteFile(filepath.Join(server.SocketDir(), "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, root)
	contains(t, expect(t, conn, outbox.CheckOptions{}, "standby"), "the address of the primary")
	if _, err := outbox.Uninstall(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "a standby, connect to the primary") {
		t.Errorf("uninstall: %v", err)
	}
	if _, err := outbox.Install(t.Context(), conn, outbox.InstallOptions{}); err == nil || !strings.Contains(err.Error(), "a standby, connect to the primary") {
		t.Errorf("install: %v", err)
	}
}
