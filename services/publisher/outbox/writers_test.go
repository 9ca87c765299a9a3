package outbox_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// TestBusyWriters lets several sessions work on the same hosts at once while a
// reader takes marks. The only failures are those that they have without triggers: none.
func TestBusyWriters(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	setup := connect(t, dsn)
	const hosts, writers, rounds = 5, 8, 40
	execute(t, setup, fmt.Sprintf(`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) SELECT int4send(n), 0 FROM generate_series(1, %d) n`, hosts))

	var work sync.WaitGroup
	for w := range writers {
		conn := connect(t, dsn)
		work.Go(func() {
			for r := range rounds {
				// The IPv6 rows lock all hosts against deletion, in different orders,
				// and the UPDATE one of them: without triggers there is no deadlock.
				host := (w*r)%hosts + 1
				for _, sql := range []string{
					`BEGIN`,
					fmt.Sprintf(`INSERT INTO ipv6_reservations (address, host_id) SELECT 'x', n FROM generate_series(1, %d) n ORDER BY n * %d`, hosts, 1-2*(w%2)),
					fmt.Sprintf(`UPDATE hosts SET hostname = 'w%d-%d' WHERE host_id = %d`, w, r, host),
					`COMMIT`,
				} {
					if _, err := conn.Exec(t.Context(), sql); err != nil {
						t.Errorf("%s: %v", sql, err)
						return
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	marks := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		marks += len(takeMarks(t, dsn)) // once more after the last commit
	}
	if want := hosts + writers*rounds*hosts; marks != want {
		t.Errorf("%d marks, want %d: one per host and transaction", marks, want)
	}
}

// TestRights asks what each role must be able to do, and what it must not.
func TestRights(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	const relay, writer, stranger = "relay", "writer", "stranger"
	for _, role := range []string{relay, writer, stranger} {
		if err := server.CreateRole(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.CreateDatabase(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	root := connect(t, server.DSN("db", pgtest.Superuser))
	if _, err := outbox.Install(t.Context(), root, outbox.InstallOptions{GrantTo: []string{relay}}); err != nil {
		t.Fatal(err)
	}
	execute(t, root, `GRANT INSERT ON hosts TO writer`)
	execute(t, root, `GRANT USAGE ON SEQUENCE hosts_host_id_seq TO writer`)
	execute(t, root, `GRANT CREATE ON SCHEMA public TO stranger`)

	const attach = `CREATE TABLE mine_%[1]s (host_id int, address text);
		CREATE TRIGGER t AFTER INSERT ON mine_%[1]s REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keastream.v6_changed('x')`
	for _, c := range []struct {
		role    string
		allowed []string
		refused []string
	}{
		{writer, []string{insertHost + `VALUES ('\x01', 0, 1, 'one')`}, []string{`SELECT host_id FROM hosts`, `SELECT * FROM keastream.outbox`}},
		{relay, []string{
			`LISTEN kea_lease_events`, `SELECT * FROM keastream.snapshot()`, `SELECT * FROM keastream.snapshot('{1}')`, `SELECT * FROM keastream.position()`,
			`SELECT * FROM keastream.outbox`, `DELETE FROM keastream.outbox`, `SELECT version FROM keastream.installation`,
		}, []string{
			`SELECT host_id FROM hosts`, `SELECT host_id FROM ipv6_reservations`, `SELECT * FROM schema_version`, `INSERT INTO keastream.outbox (host_id) VALUES (1)`,
			`UPDATE keastream.outbox SET host_id = 1`, `TRUNCATE keastream.outbox`, `DELETE FROM keastream.installation`, `CREATE TABLE keastream.mine ()`,
			`SELECT keastream.wake('x', '{}')`, `SELECT keastream.readable('x')`, `SET ROLE keastream_owner`, `SET ROLE kea`,
		}},
		{pgtest.Kea, []string{
			`UPDATE hosts SET hostname = 'two'`, `SELECT * FROM keastream.outbox`, `DELETE FROM hosts`,
		}, []string{
			`INSERT INTO keastream.outbox (host_id) VALUES (1)`, `DELETE FROM keastream.outbox`, `UPDATE keastream.outbox SET host_id = 1`,
			`SELECT * FROM keastream.snapshot()`, `SELECT * FROM keastream.position()`, `SELECT keastream.wake('x', '{}')`,
			`DROP SCHEMA keastream CASCADE`, `CREATE TABLE keastream.mine ()`, fmt.Sprintf(attach, "kea"),
		}},
		{stranger, nil, []string{
			`SELECT * FROM keastream.outbox`, `SELECT * FROM keastream.snapshot()`, `SELECT keastream.readable('x')`, fmt.Sprintf(attach, "stranger"),
		}},
	} {
		conn := connect(t, server.DSN("db", c.role))
		for _, sql := range c.allowed {
			execute(t, conn, sql)
		}
		for _, sql := range c.refused {
			if code := refusal(t, conn, sql); code != "42501" {
				t.Errorf("role %s: %s: SQLSTATE %q, want insufficient_privilege", c.role, sql, code)
			}
		}
	}
	// The relay role took the mark of the writer's INSERT; left are Kea's UPDATE and DELETE.
	if got := one[[]int](t, root, `SELECT array_agg(host_id) FROM keastream.outbox`); !slices.Equal(got, []int{1, 1}) {
		t.Errorf("marks %v, want [1 1]", got)
	}
	execute(t, root, `SET ROLE keastream_owner`)
	if code := refusal(t, root, `SELECT auth_key FROM hosts`); code != "42501" {
		t.Errorf("the functions' owner may read the secret auth_key: SQLSTATE %q", code)
	}
}

// refusal gives the SQLSTATE of the error, or "".
func refusal(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	return sqlState(err)
}

func sqlState(err error) string {
	if refused, ok := err.(*pgconn.PgError); ok {
		return refused.Code
	}
	return ""
}
