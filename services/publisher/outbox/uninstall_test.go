package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// What the replaced system puts into Kea's database.
const (
	oldFunction = `CREATE FUNCTION notify_reservation_changes() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_notify('kea_lease_events', 'old: ' || NEW.hostname); RETURN NEW; END $$`
	oldTrigger = `CREATE TRIGGER reservation_notify_trigger AFTER INSERT OR UPDATE ON hosts
		FOR EACH ROW WHEN (NEW.hostname IS NOT NULL) EXECUTE FUNCTION notify_reservation_changes()`
)

// installAs is install for a server that is not the shared one.
func installAs(t *testing.T, superuser string, o outbox.InstallOptions) outbox.Report {
	t.Helper()
	report, err := outbox.Install(t.Context(), connect(t, superuser), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

var rolesInUse sync.Once

// removable is installed for tests that uninstall. On the shared server that
// must not drop the roles, which other tests are about to use: one database
// keeps them.
func removable(t *testing.T) (dsn string) {
	t.Helper()
	rolesInUse.Do(func() {
		server := pgtest.Shared(t)
		if err := server.CreateDatabase(t.Context(), "keeps_roles"); err != nil {
			t.Fatal(err)
		}
		installAs(t, server.DSN("keeps_roles", pgtest.Superuser), outbox.InstallOptions{})
	})
	return installed(t, outbox.InstallOptions{})
}

func uninstall(t *testing.T, dsn string) outbox.Removal {
	t.Helper()
	removal, err := outbox.Uninstall(t.Context(), connect(t, dsn))
	if err != nil {
		t.Fatal(err)
	}
	return removal
}

// dump gives all that a backup of a database and of the roles holds.
func dump(t *testing.T, dsn string) string {
	t.Helper()
	var all strings.Builder
	for _, args := range [][]string{{"pg_dump"}, {"pg_dumpall", "--globals-only"}} {
		out, err := client(t, dsn, args[0], args[1:]...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
		all.WriteString(out)
	}
	return regexp.MustCompile(`(?m)^\\(un)?restrict .*$`).ReplaceAllString(all.String(), "") // a random word
}

// TestUninstallLeavesNothing has servers to themselves, because the roles count.
func TestUninstallLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{
		"Kea alone":           `SELECT`,
		"the replaced system": oldFunction + ";" + oldTrigger,
		"a trigger that is switched off": oldFunction + ";" + oldTrigger +
			`; ALTER TABLE hosts DISABLE TRIGGER reservation_notify_trigger`,
		"several triggers": oldFunction + ";" + oldTrigger + `; ALTER TABLE hosts ENABLE ALWAYS TRIGGER reservation_notify_trigger;
			CREATE TRIGGER "my ""own" AFTER UPDATE OF hostname ON hosts FOR EACH ROW EXECUTE FUNCTION notify_reservation_changes();
			ALTER TABLE hosts ENABLE REPLICA TRIGGER "my ""own";
			CREATE TRIGGER reservation_notify_trigger_v6 AFTER INSERT ON ipv6_reservations EXECUTE FUNCTION notify_reservation_changes()`,
		"a closed schema public": `REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT SELECT (hostname) ON hosts TO reader`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := ownServer(t)
			for _, role := range []string{"reader", "relay"} {
				if err := server.CreateRole(t.Context(), role); err != nil {
					t.Fatal(err)
				}
			}
			if err := server.CreateDatabase(t.Context(), "kea1"); err != nil {
				t.Fatal(err)
			}
			root, kea := server.DSN("kea1", pgtest.Superuser), connect(t, server.DSN("kea1", pgtest.Kea))
			execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, NULL)`)
			execute(t, kea, `INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::1', 1)`)
			execute(t, connect(t, root), `SET SESSION AUTHORIZATION kea;`+before)
			want := dump(t, root)

			for range 2 { // the second time there is nothing to do
				replaced := installAs(t, root, outbox.InstallOptions{GrantTo: []string{"relay", pgtest.Kea}})
				if got := dump(t, root); got == want {
					t.Fatal("the dump does not show the installation")
				}
				execute(t, kea, `UPDATE hosts SET hostname = 'x'`)
				execute(t, kea, `UPDATE hosts SET hostname = NULL`)
				got := uninstall(t, root)
				wantRemoval := outbox.Removal{Installed: true, Version: outbox.Version, Marks: 2, Restored: replaced.Replaced,
					NotRestored: []outbox.LostTrigger{}, DroppedRoles: []string{"keastream_owner", "keastream_relay"}, KeptRoles: []outbox.KeptRole{}}
				if diff := cmp.Diff(wantRemoval, got); diff != "" {
					t.Errorf("report (-want +got)\n%s", diff)
				}
				if diff := cmp.Diff(want, dump(t, root)); diff != "" {
					t.Errorf("dump (-before +after)\n%s", diff)
				}
				nothing := outbox.Removal{Restored: []string{}, NotRestored: []outbox.LostTrigger{}, DroppedRoles: []string{}, KeptRoles: []outbox.KeptRole{}}
				if diff := cmp.Diff(nothing, uninstall(t, server.DSN("kea1", "reader"))); diff != "" {
					t.Errorf("report where nothing is installed, of a role without rights (-want +got)\n%s", diff)
				}
			}
		})
	}
}

// TestUninstallFinishesHalves takes out what was left when something else,
// or somebody, removed a part.
func TestUninstallFinishesHalves(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	for name, c := range map[string]struct {
		as, sql   string
		installed bool
	}{
		"Kea's tables are dropped":      {pgtest.Kea, `DROP TABLE hosts, ipv6_reservations, schema_version CASCADE`, true},
		"one table is dropped":          {pgtest.Kea, `DROP TABLE ipv6_reservations`, true},
		"the schema is dropped":         {pgtest.Superuser, `DROP SCHEMA keastream CASCADE`, false},
		"a trigger is dropped":          {pgtest.Kea, `DROP TRIGGER reservation_notify_trigger ON hosts`, true},
		"the record is empty":           {pgtest.Superuser, `DELETE FROM keastream.installation`, false},
		"nothing but the schema":        {pgtest.Superuser, `DROP TABLE keastream.installation, keastream.outbox`, false},
		"the rights are revoked":        {pgtest.Kea, `REVOKE ALL ON hosts, ipv6_reservations, schema_version FROM keastream_owner`, true},
		"Kea's tables have a new owner": {pgtest.Superuser, `ALTER TABLE hosts OWNER TO postgres`, true},
	} {
		database := strings.ReplaceAll(strings.ReplaceAll(name, " ", "_"), "'", "")
		if err := server.CreateDatabase(t.Context(), database); err != nil {
			t.Fatal(err)
		}
		root := server.DSN(database, pgtest.Superuser)
		installAs(t, root, outbox.InstallOptions{GrantTo: []string{pgtest.Kea}})
		execute(t, connect(t, server.DSN(database, c.as)), c.sql)
		want := outbox.Removal{Installed: c.installed, Restored: []string{}, NotRestored: []outbox.LostTrigger{},
			DroppedRoles: []string{"keastream_owner", "keastream_relay"}, KeptRoles: []outbox.KeptRole{}}
		if c.installed {
			want.Version = outbox.Version
		}
		if diff := cmp.Diff(want, uninstall(t, root)); diff != "" {
			t.Errorf("%s: report (-want +got)\n%s", name, diff)
		}
		if out := dump(t, root); strings.Contains(out, "keastream") || strings.Contains(out, "reservation_notify") {
			t.Errorf("%s: the dump still has\n%s", name, regexp.MustCompile(`(?m)^.*(keastream|reservation_notify).*$`).FindString(out))
		}
	}
}

// TestUninstallKeepsWhatOthersNeed has two databases with the same two roles.
func TestUninstallKeepsWhatOthersNeed(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	for _, name := range []string{"kea1", "kea2"} {
		if err := server.CreateDatabase(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		installAs(t, server.DSN(name, pgtest.Superuser), outbox.InstallOptions{GrantTo: []string{pgtest.Kea}})
	}
	const why = "it has rights in database kea2"
	want := []outbox.KeptRole{{Role: "keastream_owner", Why: why}, {Role: "keastream_relay", Why: why}}
	if diff := cmp.Diff(want, uninstall(t, server.DSN("kea1", pgtest.Superuser)).KeptRoles); diff != "" {
		t.Errorf("kept roles (-want +got)\n%s", diff)
	}
	// The other one works as before.
	kea := connect(t, server.DSN("kea2", pgtest.Kea))
	execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	if got := one[string](t, kea, `SELECT state->>'hostname' FROM keastream.snapshot()`); got != "one" {
		t.Errorf("hostname %q", got)
	}

	// Rights that somebody else gave keep a role, and are not taken from it.
	root := connect(t, server.DSN("kea2", pgtest.Superuser))
	execute(t, root, `GRANT CONNECT ON DATABASE kea2 TO keastream_relay`)
	execute(t, root, `GRANT SELECT ON lease4 TO keastream_relay`)
	got := uninstall(t, server.DSN("kea2", pgtest.Superuser))
	if len(got.KeptRoles) != 1 || got.KeptRoles[0].Role != "keastream_relay" ||
		!strings.Contains(got.KeptRoles[0].Why, "privileges for database kea2") || !strings.Contains(got.KeptRoles[0].Why, "privileges for table public.lease4") {
		t.Errorf("kept roles %+v", got.KeptRoles)
	}
	if want := []string{"keastream_owner"}; !slices.Equal(got.DroppedRoles, want) {
		t.Errorf("dropped roles %v, want %v", got.DroppedRoles, want)
	}
}

// TestUninstallPutsBackWhatItCan has triggers of the replaced system whose
// place was taken meanwhile.
func TestUninstallPutsBackWhatItCan(t *testing.T) {
	t.Parallel()
	prepare := func(t *testing.T, meanwhile string, byRoot ...string) (dsn string, removal outbox.Removal) {
		dsn = removable(t)
		kea := connect(t, dsn)
		execute(t, kea, `DROP TRIGGER reservation_notify_trigger ON hosts`)
		execute(t, kea, oldFunction)
		execute(t, kea, oldTrigger)
		install(t, dsn, outbox.InstallOptions{})
		execute(t, kea, meanwhile)
		for _, sql := range byRoot {
			execute(t, connect(t, superuser(t, dsn)), sql)
		}
		return dsn, uninstall(t, superuser(t, dsn))
	}
	t.Run("the function is gone", func(t *testing.T) {
		t.Parallel()
		dsn, removal := prepare(t, `DROP FUNCTION notify_reservation_changes()`)
		if len(removal.Restored) != 0 || len(removal.NotRestored) != 1 || removal.NotRestored[0].Why != "its function is gone" ||
			!strings.Contains(removal.NotRestored[0].Function, "'old: '") {
			t.Errorf("report %+v", removal)
		}
		if n := one[int](t, connect(t, dsn), `SELECT count(*) FROM pg_proc WHERE proname = 'notify_reservation_changes'`); n != 0 {
			t.Error("the function was made again, by a role that need not be its own")
		}
	})
	t.Run("the function is somebody else's now", func(t *testing.T) {
		t.Parallel()
		dsn, removal := prepare(t, `DROP FUNCTION notify_reservation_changes()`, oldFunction)
		if len(removal.Restored) != 0 || len(removal.NotRestored) != 1 || removal.NotRestored[0].Why != "its function belongs to another role now" {
			t.Errorf("report %+v", removal)
		}
		if n := one[int](t, connect(t, dsn), `SELECT count(*) FROM pg_trigger WHERE tgname = 'reservation_notify_trigger'`); n != 0 {
			t.Error("Kea's writes run the function of somebody else")
		}
	})
	t.Run("the function is another one now", func(t *testing.T) {
		t.Parallel()
		dsn, removal := prepare(t, `CREATE OR REPLACE FUNCTION notify_reservation_changes() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN PERFORM pg_notify('kea_lease_events', 'new: ' || NEW.hostname); RETURN NEW; END $$`)
		if len(removal.Restored) != 1 || len(removal.NotRestored) != 0 {
			t.Errorf("report %+v", removal)
		}
		l := listen(t, dsn, outbox.DefaultChannel)
		execute(t, connect(t, dsn), insertHost+`VALUES ('\x01', 0, 1, 'one')`)
		l.expect(t, "new: one")
	})
	t.Run("somebody put the trigger back", func(t *testing.T) {
		t.Parallel()
		_, removal := prepare(t, `DROP TRIGGER reservation_notify_trigger ON hosts; `+oldTrigger)
		if len(removal.Restored) != 0 || len(removal.NotRestored) != 0 {
			t.Errorf("report %+v", removal)
		}
	})
	t.Run("another trigger has the name", func(t *testing.T) {
		t.Parallel()
		dsn, removal := prepare(t, `DROP TRIGGER reservation_notify_trigger ON hosts;
			CREATE TRIGGER reservation_notify_trigger AFTER DELETE ON hosts EXECUTE FUNCTION notify_reservation_changes()`)
		if len(removal.Restored) != 0 || len(removal.NotRestored) != 1 || removal.NotRestored[0].Why != "another trigger has its name now" ||
			!strings.Contains(removal.NotRestored[0].Definition, "WHEN ((new.hostname IS NOT NULL))") || !strings.Contains(removal.NotRestored[0].Function, "'old: '") {
			t.Errorf("report %+v", removal)
		}
		if got := one[string](t, connect(t, dsn), `SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'reservation_notify_trigger'`); !strings.Contains(got, "AFTER DELETE") {
			t.Errorf("the trigger became %s", got)
		}
	})
	t.Run("it does not work any more", func(t *testing.T) {
		t.Parallel()
		dsn, removal := prepare(t, `ALTER TABLE hosts RENAME COLUMN hostname TO name`)
		if len(removal.NotRestored) != 1 || !strings.Contains(removal.NotRestored[0].Why, "hostname does not exist") {
			t.Errorf("report %+v", removal)
		}
		if one[bool](t, connect(t, dsn), `SELECT to_regnamespace('keastream') IS NOT NULL`) {
			t.Error("the schema is still there")
		}
	})
}

func TestUninstallRefuses(t *testing.T) {
	t.Parallel()
	refuse := func(t *testing.T, dsn string, want ...string) {
		t.Helper()
		conn := connect(t, dsn)
		_, err := outbox.Uninstall(t.Context(), conn)
		if err == nil {
			t.Fatal("uninstalled")
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
	t.Run("schema of a stranger", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.DB(t)
		execute(t, connect(t, dsn), `CREATE SCHEMA keastream; CREATE VIEW keastream.installation AS SELECT 1/0 AS version`)
		refuse(t, superuser(t, dsn), "schema keastream belongs to role kea", "rename or drop it")
	})
	t.Run("tables without a record", func(t *testing.T) {
		t.Parallel()
		dsn := removable(t)
		execute(t, connect(t, superuser(t, dsn)), `DROP TABLE keastream.installation`)
		refuse(t, superuser(t, dsn), "no record of an installation", "rename or drop it")
	})
	t.Run("newer installation", func(t *testing.T) {
		t.Parallel()
		dsn := removable(t)
		execute(t, connect(t, superuser(t, dsn)), `UPDATE keastream.installation SET version = 99`)
		refuse(t, superuser(t, dsn), "version 99, this program knows version 1", "as new as")
	})
	t.Run("others' objects", func(t *testing.T) {
		t.Parallel()
		dsn := removable(t)
		root := connect(t, superuser(t, dsn))
		execute(t, root, `CREATE TABLE keastream.notes (n int)`)
		refuse(t, superuser(t, dsn), "table keastream.notes depends on schema keastream", "whoever made it has to drop it")
		execute(t, root, `DROP TABLE keastream.notes; CREATE VIEW public.waiting AS SELECT count(*) FROM keastream.outbox`)
		refuse(t, superuser(t, dsn), "view public.waiting depends on table keastream.outbox", "whoever made it has to drop it")
		if n := one[int](t, root, `SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'reservation_notify_trigger%'`); n != 8 {
			t.Errorf("%d triggers are left of what was refused", n)
		}
		execute(t, root, `DROP VIEW public.waiting`)
		uninstall(t, superuser(t, dsn))
	})
	t.Run("a publisher works", func(t *testing.T) {
		t.Parallel()
		dsn := removable(t)
		publisher := connect(t, dsn+"&application_name=keastream-publisher%20us3")
		execute(t, publisher, `SELECT pg_advisory_lock($1)`, outbox.PublisherLock)
		refuse(t, superuser(t, dsn), "a publisher works on database", "'keastream-publisher us3' (pid ", "stop it", "pg_terminate_backend")
		execute(t, publisher, `SELECT pg_advisory_unlock_all()`)
		uninstall(t, superuser(t, dsn))
	})
	t.Run("transaction", func(t *testing.T) {
		t.Parallel()
		conn := connect(t, superuser(t, pgtest.DB(t)))
		execute(t, conn, `BEGIN`)
		if _, err := outbox.Uninstall(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "in a transaction") {
			t.Errorf("error %v", err)
		}
	})
}

// TestUninstallWithoutSuperuser has a server to itself: it drops the roles.
func TestUninstallWithoutSuperuser(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	for _, name := range []string{"kea1", "kea2"} {
		if err := server.CreateDatabase(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		installAs(t, server.DSN(name, pgtest.Superuser), outbox.InstallOptions{})
	}
	root := connect(t, server.DSN("kea1", pgtest.Superuser))
	if err := server.CreateRole(t.Context(), "admin"); err != nil {
		t.Fatal(err)
	}
	refused := func(database string, want string) {
		t.Helper()
		_, err := outbox.Uninstall(t.Context(), connect(t, server.DSN(database, "admin")))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want it to contain %q", err, want)
		}
	}
	// As long as another database has the roles, nobody needs to be able to drop them.
	refused("kea1", "role admin may not take keastream out of database kea1, it lacks: membership in kea, the owner of Kea's tables; membership in keastream_owner (")
	execute(t, root, `GRANT kea, keastream_owner TO admin`)
	if kept := uninstall(t, server.DSN("kea1", "admin")).KeptRoles; len(kept) != 2 {
		t.Errorf("kept roles %v", kept)
	}
	execute(t, root, `REVOKE keastream_owner FROM admin`)
	refused("kea2", "it lacks: membership in keastream_owner; CREATEROLE, to drop role keastream_owner; CREATEROLE, to drop role keastream_relay (")
	execute(t, root, `ALTER ROLE admin CREATEROLE`)
	if one[int](t, root, `SELECT current_setting('server_version_num')::int`) >= 160000 {
		refused("kea2", "the admin option, to drop role keastream_owner")
		execute(t, root, `GRANT keastream_owner, keastream_relay TO admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`)
	}
	if dropped := uninstall(t, server.DSN("kea2", "admin")).DroppedRoles; len(dropped) != 2 {
		t.Errorf("dropped roles %v", dropped)
	}
}

// TestUninstallWaitsForWriters: Kea goes first, and its transaction is not harmed.
func TestUninstallWaitsForWriters(t *testing.T) {
	t.Parallel()
	dsn := removable(t)
	kea, watch := connect(t, dsn), connect(t, dsn)
	execute(t, kea, `BEGIN`)
	execute(t, kea, `SELECT FROM hosts`)

	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	result := make(chan error)
	conn := connect(t, superuser(t, dsn))
	go func() {
		_, err := outbox.Uninstall(ctx, conn)
		result <- err
	}()
	awaitGivenUp(t, watch, "hosts")
	cancel(enough)
	if err := <-result; !errors.Is(err, enough) && !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the cause of the cancellation", err)
	}

	execute(t, kea, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	conn = connect(t, superuser(t, dsn)) // a cancelled statement ends the session
	go func() {
		_, err := outbox.Uninstall(t.Context(), conn)
		result <- err
	}()
	awaitGivenUp(t, watch, "keastream.outbox")
	execute(t, kea, `INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::1', 1)`) // the other table, in Kea's order
	execute(t, kea, `COMMIT`)
	if err := <-result; err != nil {
		t.Error(err)
	}
	execute(t, kea, `DELETE FROM hosts`)
}

// TestUninstallWaitsForReaders: somebody who looks at the outbox and stays in
// his transaction does not make Kea wait, but only the uninstallation.
func TestUninstallWaitsForReaders(t *testing.T) {
	t.Parallel()
	dsn := removable(t)
	reader, watch := connect(t, superuser(t, dsn)), connect(t, superuser(t, dsn))
	execute(t, reader, `BEGIN`)
	execute(t, reader, `SELECT FROM keastream.outbox`)
	result := make(chan error)
	conn := connect(t, superuser(t, dsn))
	go func() {
		_, err := outbox.Uninstall(t.Context(), conn)
		result <- err
	}()
	for range time.Tick(5 * time.Millisecond) {
		waiting := one[[]string](t, watch, `SELECT array_agg(relation::regclass || ' ' || granted ORDER BY granted) FROM pg_locks
			WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
		if len(waiting) > 0 {
			if want := []string{"keastream.outbox false"}; !slices.Equal(waiting, want) {
				t.Errorf("exclusive locks %v, want %v", waiting, want)
			}
			break
		}
	}
	execute(t, reader, `COMMIT`)
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// TestUninstallScript runs for psql what Uninstall runs.
func TestUninstallScript(t *testing.T) {
	t.Parallel()
	dsn := removable(t)
	script := outbox.UninstallScript()
	if strings.ContainsFunc(script, func(r rune) bool { return r > 0x7e }) {
		t.Error("the script is not ASCII: not every database and terminal can take it")
	}
	if out, err := psql(t, dsn, script); err == nil || !strings.Contains(out, "role kea may not take keastream out") {
		t.Errorf("psql as kea: %v\n%s", err, out)
	}
	if out, err := psql(t, superuser(t, dsn)+"&options=-cstandard_conforming_strings%3Doff", script); err != nil || !strings.Contains(out, `"version" : 1`) {
		t.Errorf("psql: %v\n%s", err, out)
	}
	if one[bool](t, connect(t, dsn), `SELECT to_regnamespace('keastream') IS NOT NULL`) {
		t.Error("the schema is still there")
	}
}

// TestKeaAdminWhileInstalled runs Kea's own tool with the rights of Kea's role;
// TestDumpByKea does the same with its backup.
func TestKeaAdminWhileInstalled(t *testing.T) {
	t.Parallel()
	conn := connect(t, installed(t, outbox.InstallOptions{}))
	config := conn.Config()
	cmd := exec.CommandContext(t.Context(), "kea-admin", "db-version", "pgsql", "--host", config.Host, "--port", fmt.Sprint(config.Port),
		"--user", config.User, "--password", config.Password, "--name", config.Database)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "13.0" {
		t.Errorf("kea-admin db-version: %v\n%s", err, out)
	}
}
