package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

func TestInstallAndInstallAgain(t *testing.T) {
	t.Parallel()
	dsn, role := pgtest.DB(t), pgtest.Role(t)
	kea := connect(t, dsn)
	if version, ok, err := outbox.Installed(t.Context(), kea); version != 0 || ok || err != nil {
		t.Errorf("before: version %d, %t, %v", version, ok, err)
	}
	// A reader, such as a pg_dump that takes hours, is not in the way.
	dump := connect(t, dsn)
	execute(t, dump, `BEGIN`)
	execute(t, dump, `SELECT FROM hosts, ipv6_reservations`)
	want := outbox.Report{Version: outbox.Version, KeaSchema: "13.0", Channel: outbox.DefaultChannel, Replaced: []string{}}
	o := outbox.InstallOptions{GrantTo: []string{role, pgtest.Kea}}
	if diff := cmp.Diff(want, install(t, dsn, o)); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
	execute(t, dump, `COMMIT`)
	for _, user := range []string{role, pgtest.Kea} {
		if version, ok, err := outbox.Installed(t.Context(), connect(t, pgtest.As(t, dsn, user))); version != outbox.Version || !ok || err != nil {
			t.Errorf("after, as %s: version %d, %t, %v", user, version, ok, err)
		}
	}
	if _, _, err := outbox.Installed(t.Context(), connect(t, pgtest.As(t, dsn, pgtest.Role(t)))); err == nil || !strings.Contains(err.Error(), "--grant-to") {
		t.Errorf("as a stranger: %v, want the remedy", err)
	}
	if n := one[int](t, kea, `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND pg_get_userbyid(relowner) <> 'kea'`); n != 0 {
		t.Errorf("%d relations in schema public that are not Kea's", n)
	}

	// Again, while a writer holds its locks: triggers that are right are left alone.
	const triggers = `SELECT array_agg(oid ORDER BY oid) FROM pg_trigger WHERE tgname LIKE 'reservation_notify_trigger%'`
	before := one[[]uint32](t, kea, triggers)
	if len(before) != 8 {
		t.Errorf("%d triggers, want 8", len(before))
	}
	execute(t, kea, `BEGIN`)
	execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	execute(t, kea, `INSERT INTO ipv6_reservations (address, host_id) VALUES ('x', 1)`)
	want.Previous = outbox.Version
	if diff := cmp.Diff(want, install(t, dsn, o)); diff != "" {
		t.Errorf("report of the second run (-want +got)\n%s", diff)
	}
	execute(t, kea, `COMMIT`)
	if after := one[[]uint32](t, kea, triggers); !slices.Equal(before, after) {
		t.Errorf("triggers %v became %v", before, after)
	}
	if got, want := takeMarks(t, dsn), []int{1}; !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}

	// A trigger that somebody switched off or dropped is put right, and everything
	// compared for what it missed.
	execute(t, kea, `ALTER TABLE hosts DISABLE TRIGGER reservation_notify_trigger`)
	execute(t, kea, `DROP TRIGGER reservation_notify_trigger_delete ON hosts`)
	install(t, dsn, o)
	execute(t, kea, `DELETE FROM hosts`)
	execute(t, kea, insertHost+`VALUES ('\x02', 0, 1, 'two')`)
	if got, want := takeMarks(t, dsn), []int{-1, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}
}

// TestInstallReplacesOldTrigger starts from what the replaced system left.
func TestInstallReplacesOldTrigger(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DB(t)
	kea := connect(t, dsn)
	const function = `CREATE FUNCTION notify_reservation_changes() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_notify('kea_lease_events', 'old: ' || NEW.hostname); RETURN NEW; END $$`
	const trigger = `CREATE TRIGGER reservation_notify_trigger AFTER INSERT OR UPDATE ON hosts
		FOR EACH ROW WHEN (NEW.hostname IS NOT NULL) EXECUTE FUNCTION notify_reservation_changes()`
	execute(t, kea, function)
	execute(t, kea, trigger)
	l := listen(t, dsn, outbox.DefaultChannel)
	for range 2 { // the second time somebody ran the old system's installation over ours
		if got, want := install(t, dsn, outbox.InstallOptions{}).Replaced, []string{"reservation_notify_trigger"}; !slices.Equal(got, want) {
			t.Errorf("replaced %v, want %v", got, want)
		}
		execute(t, kea, `UPDATE hosts SET hostname = 'x'`)
		execute(t, kea, `DELETE FROM hosts`)
		l.heard(t)
		execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
		if heard := l.heard(t); len(heard) != 1 || !strings.HasPrefix(heard[0], `{"operation":"INSERT"`) {
			t.Errorf("payloads %v, want one of ours", heard)
		}
		execute(t, kea, `DROP TRIGGER reservation_notify_trigger ON hosts`)
		execute(t, kea, trigger)
	}
	install(t, dsn, outbox.InstallOptions{})
	if got := install(t, dsn, outbox.InstallOptions{}).Replaced; len(got) != 0 {
		t.Errorf("replaced %v in a run that had nothing to replace", got)
	}

	// What was kept is enough to put the old one back, even if its function is gone.
	type kept struct{ Table, Trigger, Enabled, Definition, Function string }
	var replaced []kept
	if err := json.Unmarshal([]byte(one[string](t, kea, `SELECT replaced::text FROM keastream.installation`)), &replaced); err != nil {
		t.Fatal(err)
	}
	if len(replaced) != 1 || replaced[0].Table != "hosts" || replaced[0].Trigger != "reservation_notify_trigger" || replaced[0].Enabled != "O" {
		t.Fatalf("kept %+v", replaced)
	}
	execute(t, kea, `DROP TRIGGER reservation_notify_trigger ON hosts`)
	execute(t, kea, `DROP FUNCTION notify_reservation_changes()`) // it was still there
	execute(t, kea, replaced[0].Function)
	execute(t, kea, replaced[0].Definition)
	l.heard(t)
	execute(t, kea, insertHost+`VALUES ('\x02', 0, 1, 'two')`)
	l.expect(t, "old: two")
}

func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	refuse := func(t *testing.T, dsn string, o outbox.InstallOptions, want ...string) {
		t.Helper()
		conn := connect(t, dsn)
		_, err := outbox.Install(t.Context(), conn, o)
		if err == nil {
			t.Fatal("installed")
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q, want it to contain %q", err, part)
			}
		}
		if status := conn.PgConn().TxStatus(); status != 'I' {
			t.Errorf("the session was left in transaction status %c", status)
		}
	}
	t.Run("another database", func(t *testing.T) {
		t.Parallel()
		refuse(t, server.DSN("postgres", pgtest.Superuser), outbox.InstallOptions{},
			"database postgres is not that of Kea", "public.hosts, public.ipv6_reservations, public.schema_version", "connect to the database")
	})
	t.Run("unknown roles", func(t *testing.T) {
		t.Parallel()
		refuse(t, superuser(t, pgtest.DB(t)), outbox.InstallOptions{GrantTo: []string{pgtest.Kea, "nobody", `no "body" \ 'ß𝕂'`}},
			`no such role: nobody, "no ""body"" \ 'ß𝕂'"`, "create it")
	})
	t.Run("channel", func(t *testing.T) {
		t.Parallel()
		for _, channel := range []string{"1a", "a b", "a;b", `a'\"`, "a\x00b", "ä", strings.Repeat("x", 64)} {
			refuse(t, superuser(t, pgtest.DB(t)), outbox.InstallOptions{Channel: channel}, "is not an identifier", "letters, digits and _")
		}
	})
	t.Run("newer installation", func(t *testing.T) {
		t.Parallel()
		dsn := installed(t, outbox.InstallOptions{})
		execute(t, connect(t, superuser(t, dsn)), `UPDATE keastream.installation SET version = 99`)
		refuse(t, superuser(t, dsn), outbox.InstallOptions{}, "version 99, this program installs version 1", "as new as")
	})
	t.Run("schema of a stranger", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.DB(t)
		execute(t, connect(t, dsn), `CREATE SCHEMA keastream; CREATE VIEW keastream.installation AS SELECT 1/0 AS version`)
		refuse(t, superuser(t, dsn), outbox.InstallOptions{}, "schema keastream belongs to role kea", "rename or drop it")
		if _, ok, err := outbox.Installed(t.Context(), connect(t, superuser(t, dsn))); ok || err != nil {
			t.Errorf("installed: %t, %v", ok, err)
		}
	})
	t.Run("tables without a record", func(t *testing.T) {
		t.Parallel()
		dsn := installed(t, outbox.InstallOptions{})
		execute(t, connect(t, superuser(t, dsn)), `DROP TABLE keastream.installation`)
		refuse(t, superuser(t, dsn), outbox.InstallOptions{}, "no record of an installation", "rename or drop it")
	})
	t.Run("transaction", func(t *testing.T) {
		t.Parallel()
		conn := connect(t, superuser(t, pgtest.DB(t)))
		execute(t, conn, `BEGIN`)
		if _, err := outbox.Install(t.Context(), conn, outbox.InstallOptions{}); err == nil || !strings.Contains(err.Error(), "in a transaction") {
			t.Errorf("error %v", err)
		}
	})
}

// TestFirstInstallationOfACluster has a server to itself, on which the roles do not exist yet.
func TestFirstInstallationOfACluster(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	databases := []string{"kea1", "kea2", "kea3", "kea4"}
	for _, name := range databases {
		if err := server.CreateDatabase(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	root := connect(t, server.DSN("kea1", pgtest.Superuser))
	for _, role := range []string{"admin", "relay", "relay2"} {
		if err := server.CreateRole(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}

	// Without rights: the error names all that is missing, and gives no half of it.
	for _, c := range []struct {
		role string
		want []string
	}{
		{pgtest.Kea, []string{"role kea may not install", "CREATEROLE, to create role keastream_owner; CREATEROLE, to create role keastream_relay", "superuser"}},
		{"admin", []string{"role admin may not install keastream in database kea1", "membership in kea, the owner of Kea's tables", "CREATE on database kea1"}},
	} {
		_, err := outbox.Install(t.Context(), connect(t, server.DSN("kea1", c.role)), outbox.InstallOptions{})
		for _, part := range c.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("error %v, want it to contain %q", err, part)
			}
		}
	}
	if n := one[int](t, root, `SELECT count(*) FROM pg_roles WHERE rolname LIKE 'keastream%'`); n != 0 {
		t.Errorf("%d roles were left by what was refused", n)
	}

	// In all databases at once: the roles are common to them. The first round
	// creates them, the second meets only in the membership.
	for _, grantTo := range []string{"relay", "relay2"} {
		var work sync.WaitGroup
		for _, name := range databases {
			conn := connect(t, server.DSN(name, pgtest.Superuser))
			work.Go(func() {
				if _, err := outbox.Install(t.Context(), conn, outbox.InstallOptions{GrantTo: []string{grantTo}}); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
	}
	if got, want := one[[]string](t, root, `SELECT array_agg(rolname::text ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'keastream%' AND NOT rolcanlogin`),
		[]string{"keastream_owner", "keastream_relay"}; !slices.Equal(got, want) {
		t.Errorf("roles %v, want %v", got, want)
	}

	// Not a superuser, in the old and in a new database. Afterwards it is no
	// member of the owner any more.
	execute(t, root, `ALTER ROLE admin CREATEROLE; GRANT kea TO admin`)
	if one[int](t, root, `SELECT current_setting('server_version_num')::int`) >= 160000 {
		execute(t, root, `GRANT keastream_owner, keastream_relay TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`)
	}
	if err := server.CreateDatabase(t.Context(), "kea5"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kea1", "kea5"} {
		admin := connect(t, server.DSN(name, "admin"))
		if _, err := outbox.Install(t.Context(), admin, outbox.InstallOptions{GrantTo: []string{"relay"}}); err != nil {
			t.Fatal(err)
		}
		kea, relay := connect(t, server.DSN(name, pgtest.Kea)), connect(t, server.DSN(name, "relay"))
		execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
		if got := one[int](t, relay, `SELECT host_id FROM keastream.outbox`); got != 1 {
			t.Errorf("mark of host %d, want 1", got)
		}
		if code := refusal(t, admin, `SET ROLE keastream_owner`); code != "42501" {
			t.Errorf("SET ROLE keastream_owner after the installation: SQLSTATE %q", code)
		}
	}
}

func TestInstallWaitsForWriters(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DB(t)
	kea, watch := connect(t, dsn), connect(t, dsn)
	execute(t, kea, `BEGIN`)
	execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)

	// Cancelled between two attempts, or, if that took long, in the next one.
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	result := make(chan error)
	conn := connect(t, superuser(t, dsn))
	go func() {
		_, err := outbox.Install(ctx, conn, outbox.InstallOptions{})
		result <- err
	}()
	awaitGivenUp(t, watch, "hosts")
	cancel(enough)
	if err := <-result; !errors.Is(err, enough) && !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the cause of the cancellation", err)
	}

	// Not cancelled: it is done when the writer is.
	conn = connect(t, superuser(t, dsn)) // a cancelled statement ends the session
	go func() {
		_, err := outbox.Install(t.Context(), conn, outbox.InstallOptions{})
		result <- err
	}()
	awaitGivenUp(t, watch, "hosts")
	execute(t, kea, `COMMIT`)
	if err := <-result; err != nil {
		t.Error(err)
	}
	execute(t, kea, `DELETE FROM hosts`)
	if got, want := takeMarks(t, dsn), []int{1}; !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}
}

// awaitGivenUp returns when somebody waited for a lock on a table and gave up.
func awaitGivenUp(t *testing.T, conn *pgx.Conn, table string) {
	t.Helper()
	const waiting = `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted)`
	for _, want := range []bool{true, false} {
		for range time.Tick(5 * time.Millisecond) {
			if one[bool](t, conn, waiting, table) == want {
				break
			}
		}
	}
}

// TestScript runs for psql what Install runs.
func TestScript(t *testing.T) {
	t.Parallel()
	dsn, role := pgtest.DB(t), pgtest.Role(t)
	script := outbox.Script(outbox.InstallOptions{GrantTo: []string{role}})
	if strings.ContainsFunc(script, func(r rune) bool { return r > 0x7e }) {
		t.Error("the script is not ASCII: not every database and terminal can take it")
	}
	if out, err := psql(t, superuser(t, dsn), script); err != nil || !strings.Contains(out, `"version" : 1`) {
		t.Errorf("psql: %v\n%s", err, out)
	}
	execute(t, connect(t, dsn), insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	if got := one[int](t, connect(t, pgtest.As(t, dsn, role)), `SELECT host_id FROM keastream.outbox`); got != 1 {
		t.Errorf("mark of host %d, want 1", got)
	}
	out, err := psql(t, superuser(t, dsn), outbox.Script(outbox.InstallOptions{GrantTo: []string{"nobody"}}))
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 || !strings.Contains(out, "no such role: nobody") {
		t.Errorf("psql: %v\n%s", err, out)
	}
}

func psql(t *testing.T, dsn, script string) (output string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "install.sql")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return client(t, dsn, "psql", "--no-psqlrc", "--file="+path)
}

// client runs one of PostgreSQL's client programs. The password stays out of
// the argument list.
func client(t *testing.T, dsn, program string, args ...string) (output string, err error) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	cmd := exec.CommandContext(t.Context(), program, append(args, "--dbname="+u.String())...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestDumpByKea: pg_dump locks every table, also ours.
func TestDumpByKea(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	execute(t, connect(t, dsn), insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	out, err := client(t, dsn, "pg_dump")
	if err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, out)
	}
	for _, part := range []string{"COPY public.hosts ", "COPY keastream.outbox ", "COPY keastream.installation ", "CREATE TRIGGER reservation_notify_trigger "} {
		if !strings.Contains(out, part) {
			t.Errorf("the dump has no %q", part)
		}
	}
}
