package pgtest_test

import (
	"bufio"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keastream/keastream/internal/pgtest"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func query[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// parentOpenToServer gives a directory that is short enough for a socket and
// open to the server's user, unlike t.TempDir() for root.
func parentOpenToServer(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, o pgtest.Options) *pgtest.Server {
	t.Helper()
	server, err := pgtest.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestDatabaseHasKeaSchemaAndIsItsOwn(t *testing.T) {
	t.Parallel()
	first, second := pgtest.DB(t), pgtest.DB(t)
	conn := connect(t, first)
	execute(t, conn, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) VALUES ('\x020000000001', 0)`)
	if got := query[int64](t, conn, "SELECT count(*) FROM hosts"); got != 1 {
		t.Errorf("%d hosts in the first database, want 1", got)
	}
	conn = connect(t, second)
	if got := query[int64](t, conn, "SELECT count(*) FROM hosts"); got != 0 {
		t.Errorf("%d hosts in the second database, want 0", got)
	}
	if got := query[int32](t, conn, "SELECT version FROM schema_version"); got != 13 {
		t.Errorf("schema %d, want 13", got)
	}
}

func TestEncodedDatabase(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.EncodedDB(t, "LATIN1"))
	if got := query[string](t, conn, "SHOW server_encoding"); got != "LATIN1" {
		t.Errorf("encoding %s, want LATIN1", got)
	}
	if got := query[int64](t, conn, "SELECT count(*) FROM hosts"); got != 0 {
		t.Errorf("%d hosts in a new database", got)
	}
}

func TestKeaOwnsItsTablesAndIsNoSuperuser(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.DB(t))
	owner := query[string](t, conn, "SELECT tableowner FROM pg_tables WHERE tablename = 'hosts'")
	if owner != pgtest.Kea {
		t.Errorf("hosts belongs to %s, want %s", owner, pgtest.Kea)
	}
	if query[bool](t, conn, "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user") {
		t.Errorf("role %s has rights that a real deployment does not give it", pgtest.Kea)
	}
}

func TestLoginNeedsPassword(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(pgtest.DB(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{u.Host, ""} { // TCP and the socket
		u.Host, u.User = host, url.UserPassword(pgtest.Kea, "wrong")
		if host == "" {
			u.RawQuery += "&host=" + url.QueryEscape(pgtest.Shared(t).SocketDir()) + "&port=" + portOf(t)
		}
		_, err = pgx.Connect(t.Context(), u.String())
		if refusal, ok := errors.AsType[*pgconn.PgError](err); !ok || refusal.Code != "28P01" {
			t.Errorf("host %q: %v, want invalid_password", host, err)
		}
	}
}

func portOf(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(pgtest.Shared(t).DSN("postgres", pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func TestRoleLogsIn(t *testing.T) {
	t.Parallel()
	dsn, role := pgtest.DB(t), pgtest.Role(t)
	if got := query[string](t, connect(t, pgtest.As(t, dsn, role)), "SELECT current_user::text"); got != role {
		t.Errorf("logged in as %s, want %s", got, role)
	}
}

func TestRestartKeepsPortAndCommittedRows(t *testing.T) {
	t.Parallel()
	server := start(t, pgtest.Options{})
	if err := server.CreateDatabase(t.Context(), "kea"); err != nil {
		t.Fatal(err)
	}
	dsn := server.DSN("kea", pgtest.Kea)
	for i, mode := range []pgtest.Mode{pgtest.Fast, pgtest.Immediate} {
		conn := connect(t, dsn)
		execute(t, conn, "INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) VALUES (decode(md5(random()::text), 'hex'), 0)")
		if err := server.Restart(mode); err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(t.Context()); err == nil {
			t.Errorf("mode %d: the old session survived", mode)
		}
		if got := query[int64](t, connect(t, dsn), "SELECT count(*) FROM hosts"); got != int64(i+1) {
			t.Errorf("mode %d: %d hosts, want %d", mode, got, i+1)
		}
	}
}

func TestHaltRefusesConnectionsUntilResume(t *testing.T) {
	t.Parallel()
	server := start(t, pgtest.Options{Settings: map[string]string{"work_mem": "5MB"}})
	dsn := server.DSN("postgres", pgtest.Superuser)
	for range 2 { // the second call finds nothing to do
		if err := server.Halt(pgtest.Fast); err != nil {
			t.Fatal(err)
		}
	}
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		t.Error("login to a halted server", conn.Close(t.Context()))
	}
	for range 2 {
		if err := server.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := query[string](t, connect(t, dsn), "SHOW work_mem"); got != "5MB" {
		t.Errorf("work_mem %s, want the 5MB of Options.Settings", got)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	parent := parentOpenToServer(t)
	server := start(t, pgtest.Options{Parent: parent, Durable: true})
	if got := query[string](t, connect(t, server.DSN("postgres", pgtest.Superuser)), "SHOW fsync"); got != "on" {
		t.Errorf("fsync %s, want on", got)
	}
	for range 2 {
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if left := entries(t, parent); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := server.Resume(t.Context()); err == nil {
		t.Error("a stopped server was started again")
	}
}

func TestStartErrorShowsLogAndLeavesNothing(t *testing.T) {
	t.Parallel()
	parent := parentOpenToServer(t)
	_, err := pgtest.Start(t.Context(), pgtest.Options{Parent: parent, Settings: map[string]string{"work_mem": "it's much"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "work_mem": "it's much"`) {
		t.Errorf("error %v, want the server's own words", err)
	}
	if left := entries(t, parent); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestStartRefusesPathTooLongForSocket(t *testing.T) {
	t.Parallel()
	parent := filepath.Join(parentOpenToServer(t), strings.Repeat("x", 90))
	if err := os.Mkdir(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := pgtest.Start(t.Context(), pgtest.Options{Parent: parent})
	if err == nil || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("error %v, want the remedy", err)
	}
	if left := entries(t, parent); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestKilledOwnerLeavesNoServer kills a process that owns a server, without a
// chance to clean up.
func TestKilledOwnerLeavesNoServer(t *testing.T) {
	t.Parallel()
	parent := parentOpenToServer(t)
	owner := exec.CommandContext(t.Context(), os.Args[0])
	owner.Env = append(os.Environ(), ownerVariable+"="+parent)
	owner.Stderr = t.Output()
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, strings.TrimSpace(line))

	// While its owner lives, a server is not touched by the start of another.
	start(t, pgtest.Options{Parent: parent})
	if err := conn.Ping(t.Context()); err != nil {
		t.Fatalf("the start of another server ended this one: %v", err)
	}
	if n := len(entries(t, parent)); n != 2 {
		t.Fatalf("%d directories, want 2", n)
	}

	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // "signal: killed"
	awaitGone(t, entries(t, parent))

	server := start(t, pgtest.Options{Parent: parent})
	left := entries(t, parent)
	if len(left) != 2 || !strings.Contains(strings.Join(left, " "), server.SocketDir()) {
		t.Errorf("directories %v, want those of the two servers that live", left)
	}
}

// awaitGone returns when only one of the directories still has a server at work.
func awaitGone(t *testing.T, dirs []string) {
	t.Helper()
	for range time.Tick(10 * time.Millisecond) { // the limit is that of go test
		running := 0
		for _, dir := range dirs {
			if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); err == nil {
				running++
			}
		}
		if running == 1 {
			return
		}
	}
}
