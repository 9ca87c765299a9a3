package outbox_test

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// connect opens a session that ends with the test.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// installed makes a database with Kea's schema and ours and gives its
// connection string for Kea's role.
func installed(t *testing.T, o outbox.InstallOptions) (dsn string) {
	t.Helper()
	dsn = pgtest.DB(t)
	install(t, dsn, o)
	return dsn
}

// install installs as superuser.
func install(t *testing.T, dsn string, o outbox.InstallOptions) outbox.Report {
	t.Helper()
	report, err := outbox.Install(t.Context(), connect(t, superuser(t, dsn)), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func execute(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// one gives the only row of a result with one column.
func one[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// takeMarks gives the marks that are visible to conn, sorted, and deletes them.
// A mark without host_id is -1.
func takeMarks(t *testing.T, dsn string) []int {
	t.Helper()
	conn := connect(t, superuser(t, dsn))
	rows, err := conn.Query(t.Context(), "DELETE FROM keastream.outbox RETURNING coalesce(host_id, -1)")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

// superuser turns a connection string into that of the superuser.
func superuser(t *testing.T, dsn string) string {
	t.Helper()
	return pgtest.As(t, dsn, pgtest.Superuser)
}

// ownServer is for a test to which it matters which roles exist and who is a
// member of them: roles are common to all databases of a server.
func ownServer(t *testing.T) *pgtest.Server {
	t.Helper()
	server, err := pgtest.Start(t.Context(), pgtest.Options{})
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
