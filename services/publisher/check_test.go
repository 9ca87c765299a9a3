package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DB(t)
	publisher := pgtest.As(t, dsn, pgtest.Role(t))
	if code, out, _ := program(t.Context(), t, publisher, "check"); code != daemon.ExitDifference || !strings.Contains(out, "warning: there is no outbox") || !strings.Contains(out, "-> run `keastream-publisher install`") {
		t.Errorf("not installed: exit code %d:\n%s", code, out)
	}
	if code, _, errs := program(t.Context(), t, pgtest.As(t, dsn, pgtest.Superuser), "install", "--grant-to="+connect(t, publisher).Config().User); code != daemon.ExitOK {
		t.Fatalf("install: exit code %d:\n%s", code, errs)
	}
	stop := publish(t, publisher)
	if code, out, errs := program(t.Context(), t, publisher, "check"); code != daemon.ExitOK || !strings.Contains(out, "\npublisher  keastream-publisher ") || !strings.HasSuffix(out, "\nall is well\n") {
		t.Errorf("all is well: exit code %d:\n%s%s", code, out, errs)
	}
	code, out, errs := program(t.Context(), t, publisher, "check", "--json")
	var checkup outbox.Checkup
	if err := json.Unmarshal([]byte(out), &checkup); err != nil || code != daemon.ExitOK || checkup.KeaSchema != "13.0" || !strings.Contains(out, `"findings": []`) {
		t.Errorf("all is well, as JSON: %v, exit code %d:\n%s%s", err, code, out, errs)
	}

	stop()
	if code, out, _ := program(t.Context(), t, publisher, "check"); code != daemon.ExitDifference || !strings.Contains(out, "\npublisher  none\n") ||
		!strings.Contains(out, "\nerror: no publisher works on this database\n  -> start keastream-publisher; if it runs, its log and /readyz say what it waits for\n") {
		t.Errorf("no publisher: exit code %d:\n%s", code, out)
	}
	code, out, _ = program(t.Context(), t, publisher, "check", "--json")
	checkup = outbox.Checkup{}
	if err := json.Unmarshal([]byte(out), &checkup); err != nil || code != daemon.ExitDifference || len(checkup.Findings) != 1 || checkup.Findings[0].Key != "no_publisher" {
		t.Errorf("no publisher, as JSON: %v, exit code %d:\n%s", err, code, out)
	}

	if code, _, errs := program(t.Context(), t, strings.Replace(dsn, "/test_", "/nowhere_", 1), "check"); code != daemon.ExitFailed || !strings.Contains(errs, "connect to PostgreSQL") {
		t.Errorf("no such database: exit code %d:\n%s", code, errs)
	}
	if code, _, errs := program(t.Context(), t, dsn, "check", "--max-age=0s", "--examples=0"); code != daemon.ExitSettings || !strings.Contains(errs, "--max-age 0s") || !strings.Contains(errs, "--examples 0") {
		t.Errorf("wrong settings: exit code %d:\n%s", code, errs)
	}
}

// TestVerbsOnAStandby: only check connects to one.
func TestVerbsOnAStandby(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), pgtest.Options{})
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
	if err := server.Halt(pgtest.Fast); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(server.SocketDir(), "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	dsn := server.DSN("kea", pgtest.Superuser)
	if code, out, errs := program(t.Context(), t, dsn, "check"); code != daemon.ExitDifference || !strings.Contains(out, "this server is a standby") {
		t.Errorf("check: exit code %d:\n%s%s", code, out, errs)
	}
	if code, _, errs := program(t.Context(), t, dsn, "uninstall"); code != daemon.ExitFailed || !strings.Contains(errs, "connect to PostgreSQL") {
		t.Errorf("uninstall: exit code %d:\n%s", code, errs)
	}
}
