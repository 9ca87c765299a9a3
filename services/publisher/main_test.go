package main

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// program runs the whole program with arguments, on the database that dsn leads to.
func program(ctx context.Context, t *testing.T, dsn string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	u.User = url.User(u.User.Username())
	var out, errs bytes.Buffer
	code = daemon.Program{
		Name: "keastream-publisher", CLI: &cli{}, Vars: kong.Vars{"http_addr": "127.0.0.1:0"},
		Args:   append(args, "--db-url="+u.String(), "--db-password-file="+file),
		Stdout: &out, Stderr: &errs,
	}.Run(ctx)
	return code, out.String(), errs.String()
}

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

// publish runs the publisher until stop is called or the test ends. It returns
// when the publisher is the active one.
func publish(t *testing.T, dsn string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if code, _, errs := program(ctx, t, dsn, "run", "--source=us3", "--embedded-nats", "--nats-listen=127.0.0.1:0", "--nats-store-dir="+t.TempDir()); code != daemon.ExitOK {
			t.Errorf("the publisher ended with exit code %d:\n%s", code, errs)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	conn := connect(t, dsn)
	deadline := time.After(time.Minute)
	for active := false; !active; {
		err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND (classid::bigint << 32 | objid::bigint) = $1)`, outbox.PublisherLock).Scan(&active)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-deadline:
			t.Fatal("the publisher does not hold its lock after a minute")
		case <-time.After(5 * time.Millisecond):
		}
	}
	return stop
}

func TestInstallAndUninstall(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DB(t)
	superuser := pgtest.As(t, dsn, pgtest.Superuser)
	// A role with no right but those that --grant-to gives.
	publisher := pgtest.As(t, dsn, pgtest.Role(t))
	role := connect(t, publisher).Config().User
	if code, _, errs := program(t.Context(), t, superuser, "install", "--grant-to="+role); code != daemon.ExitOK {
		t.Fatalf("install: exit code %d:\n%s", code, errs)
	}

	// With these rights alone the publisher does all of its work.
	root := connect(t, superuser)
	if _, err := root.Exec(t.Context(), `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, hostname) VALUES ('\x01', 0, 'one')`); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := program(t.Context(), t, publisher, "run", "--once", "--embedded-nats", "--nats-listen=127.0.0.1:0", "--nats-store-dir="+t.TempDir()); code != daemon.ExitOK {
		t.Errorf("run --once: exit code %d:\n%s", code, errs)
	}
	var marks int
	if err := root.QueryRow(t.Context(), `SELECT count(*) FROM keastream.outbox`).Scan(&marks); err != nil || marks != 0 {
		t.Errorf("%d marks are left, %v", marks, err)
	}

	// The carpet is not pulled from under a publisher.
	stop := publish(t, publisher)
	code, _, errs := program(t.Context(), t, superuser, "uninstall")
	if code != daemon.ExitFailed || !strings.Contains(errs, "a publisher works on database") || !strings.Contains(errs, "'keastream-publisher ") || !strings.Contains(errs, "stop it") {
		t.Errorf("uninstall beside a publisher: exit code %d:\n%s", code, errs)
	}
	stop()

	if code, _, errs := program(t.Context(), t, dsn, "uninstall"); code != daemon.ExitFailed || !strings.Contains(errs, "it lacks: ") {
		t.Errorf("uninstall without rights: exit code %d:\n%s", code, errs)
	}
	if code, _, errs := program(t.Context(), t, superuser, "uninstall"); code != daemon.ExitOK || !strings.Contains(errs, "msg=uninstalled") {
		t.Errorf("uninstall: exit code %d:\n%s", code, errs)
	}
	if code, _, errs := program(t.Context(), t, dsn, "uninstall"); code != daemon.ExitOK || !strings.Contains(errs, "nothing was installed") {
		t.Errorf("uninstall again: exit code %d:\n%s", code, errs)
	}
	if code, out, errs := program(t.Context(), t, dsn, "uninstall", "--print"); code != daemon.ExitOK || out != outbox.UninstallScript() {
		t.Errorf("uninstall --print: exit code %d:\n%s%s", code, out, errs)
	}
}
