package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/services/inventory/cabinet"
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
	_, table, _ := strings.Cut(out, "\n\n")
	if diff := cmp.Diff(""+
		"NAME                          PATTERN  RESULT          FILE                     RACK UNIT  SLOT  ROLE   MANUFACTURER\n"+
		"us3-cab10-ru7-9-ilo.site.com  1        used            us3-cab10-discovery.yml  RU 9-7     -     -      HP\n"+
		"us3-cab10-ru7-9-ilo.site.com  2        not asked       us3-cab10-discovery.yml  Unknown    -     ru7    HP\n"+
		"us1-cab01-svr01-bmc           1        does not match  -                        -          -     -      -\n"+
		"us1-cab01-svr01-bmc           2        used            us1-cab01-discovery.yml  Unknown    -     svr01  Supermicro\n", table); diff != "" || code != daemon.ExitOK {
		t.Errorf("exit code %d, output (-want +got):\n%s", code, diff)
	}
	for i, text := range cabinet.DefaultPatterns() {
		if want := fmt.Sprintf("pattern %d: %s\n", i+1, text); !strings.Contains(out, want) {
			t.Errorf("the output does not show %q:\n%s", want, out)
		}
	}
	code, out, errs := program(t, "match", "--pattern", `^(?P<site>x)-(?P<cabinet>y{1,2});^(?P<site>a)(?P<cabinet>b)`, "x-yy", "ab", "us3-cab10-ru1", "a_b")
	if code != daemon.ExitDifference || !strings.Contains(out, "x-yy-discovery.yml") || !strings.Contains(out, "a-b-discovery.yml") ||
		!strings.Contains(errs, "no pattern matches us3-cab10-ru1") || !strings.Contains(errs, "a_b") {
		t.Errorf("exit code %d, output:\n%s%s", code, out, errs)
	}
	if code, out, errs = program(t, "match", "a_b"); code != daemon.ExitDifference || strings.Contains(out, "NAME") {
		t.Errorf("exit code %d, output:\n%s%s", code, out, errs)
	}
	if code, out, _ = program(t, "match", "--help"); code != daemon.ExitOK || !strings.Contains(strings.Join(strings.Fields(out), " "), "and 3 if one has none") {
		t.Errorf("exit code %d, the help does not tell of exit code 3:\n%s", code, out)
	}
}

func TestPatternsFromAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "patterns")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# racks\n\n  ^(?P<site>a)(?P<cabinet>b)\r\n^(?P<site>.)(?P<cabinet>[cd];?)\n")
	code, out, errs := program(t, "match", "--pattern", `^(?P<site>ad)-(?P<cabinet>.)`, "--pattern-file", path, "--manufacturer", "x=Acme Corp.,ilo=HPE", "ab-x", "ad-1-ilo", "ac")
	for _, want := range []string{"pattern 1: ^(?P<site>ad)", "pattern 2: ^(?P<site>a)(?P<cabinet>b)\n", "[cd];?)\n", "a-b-discovery.yml", "Acme Corp.", "ad-1-discovery.yml", "HPE", "a-c-discovery.yml"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output does not show %q:\n%s", want, out)
		}
	}
	if code != daemon.ExitOK {
		t.Errorf("exit code %d:\n%s", code, errs)
	}

	write("# racks\n^(?P<site>a)\n^(?P<site>a)(?P<cabinet>b)\n(\n")
	code, _, errs = program(t, "match", "--pattern-file", path, "--manufacturer=x={{y}}", "--pattern=)", "ab")
	for _, want := range []string{path + ":2: ^(?P<site>a): there is no group", path + ":4: (: error parsing", `"{{y}}" cannot be a manufacturer`, "--pattern: ): error parsing"} {
		if !strings.Contains(errs, want) {
			t.Errorf("the message does not say %q:\n%s", want, errs)
		}
	}
	if code != daemon.ExitSettings || strings.Contains(errs, path+":3") {
		t.Errorf("exit code %d:\n%s", code, errs)
	}
	for _, text := range []string{"", "# nothing\n"} {
		write(text)
		if code, _, errs = program(t, "match", "--pattern-file", path, "ab"); code != daemon.ExitSettings || !strings.Contains(errs, "holds no pattern") {
			t.Errorf("with %q: exit code %d:\n%s", text, code, errs)
		}
	}
	if code, _, errs = program(t, "--pattern-file", path+"x"); code != daemon.ExitSettings || !strings.Contains(errs, "no such file") {
		t.Errorf("without the file: exit code %d:\n%s", code, errs)
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
		"--pattern: (: error parsing regexp", `source "US4"`, "--hold-down=-1s", "--once-wait=-1s", "--output-dir", "not one of both, list, ansible", "0440", "--nats-url",
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
