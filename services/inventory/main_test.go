package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/internal/daemon"
)

// program runs the whole program with arguments.
func program(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = daemon.Program{
		Name: "keastream-inventory", CLI: &cli{}, Vars: kong.Vars{"http_addr": "127.0.0.1:0"},
		Args: args, Stdout: &out, Stderr: &errs,
	}.Run(t.Context())
	return code, out.String(), errs.String()
}

func TestMatchPrintsPlaces(t *testing.T) {
	t.Parallel()
	code, out, _ := program(t, "match", "US3-cab10-ru7-9-ilo.site.com.", "us1-cab01-svr01-bmc")
	if diff := cmp.Diff(""+
		"NAME                          FILE                     RACK UNIT  MANUFACTURER\n"+
		"us3-cab10-ru7-9-ilo.site.com  us3-cab10-discovery.yml  RU 9-7     HP\n"+
		"us1-cab01-svr01-bmc           us1-cab01-discovery.yml  Unknown    Supermicro\n", out); diff != "" || code != daemon.ExitOK {
		t.Errorf("exit code %d, output (-want +got):\n%s", code, diff)
	}
	code, out, errs := program(t, "match", "--pattern", `^(?P<site>x)-(?P<cabinet>y{1,2});^(?P<site>a)(?P<cabinet>b)`, "x-yy", "ab", "us3-cab10-ru1", "a_b")
	if code != daemon.ExitDifference || !strings.Contains(out, "x-yy-discovery.yml") || !strings.Contains(out, "a-b-discovery.yml") ||
		!strings.Contains(errs, "no pattern matches us3-cab10-ru1") || !strings.Contains(errs, "a_b") {
		t.Errorf("exit code %d, output:\n%s%s", code, out, errs)
	}
}

func TestWrongSettingsAreAllNamed(t *testing.T) {
	t.Parallel()
	code, _, errs := program(t, "--pattern=(", "--sources=us3,US4", "--hold-down=-1s", "--once-wait=-1s",
		"--output-dir=", "--layout=table", "--file-mode=0440", "--nats-url=http://x")
	if code != daemon.ExitSettings {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		"--pattern: (: error parsing regexp", `source "US4"`, "--hold-down=-1s", "--once-wait=-1s", "--output-dir", "not one of list", "0440", "--nats-url",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("the message does not name %q:\n%s", want, errs)
		}
	}
}

func TestTheProgramKeepsFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"))
	if code, _, errs := program(t, "--once", "--nats-url", f.url, "--output-dir", f.dir, "--file-mode=0604"); code != daemon.ExitOK {
		t.Fatalf("exit code %d:\n%s", code, errs)
	}
	if info, err := os.Stat(filepath.Join(f.dir, cab10)); err != nil || info.Mode() != fs.FileMode(0o604) {
		t.Errorf("the file is %v, %v", info, err)
	}
}
