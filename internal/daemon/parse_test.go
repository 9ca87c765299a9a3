package daemon_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/internal/daemon"
)

func TestWrongSettingsAreNamedAtOnce(t *testing.T) {
	const instead = " (the default is "
	for _, test := range []struct {
		name string
		env  map[string]string
		args []string
		want []string
	}{
		{"flags and variables, types and rules",
			map[string]string{"KEASTREAM_LOG_LEVEL": "loud", "KEASTREAM_POLL": "soon"},
			[]string{"--count=many", "--log-format", "xml", "--from=there", "--colour=blurple", "--http-addr=9641"},
			[]string{
				`--count=many: expected a valid 64 bit int but got "many"` + instead + "1)",
				"--log-format=xml: not one of text, json" + instead + "text)",
				"KEASTREAM_LOG_LEVEL=loud: not a log level: give debug, info, warn or error" + instead + "info)",
				`KEASTREAM_POLL=soon: expected duration but got "soon": time: invalid duration "soon"` + instead + "5s)",
				`--http-addr=9641: address 9641: missing port in address: give host:port, as in 127.0.0.1:9641, or "off"`,
				"--from=there --to=there: the same place: change one",
				"--colour: blurple is not a colour: give a real one",
			}},
		{"one rule names two",
			nil, []string{"--from=nowhere", "--to=nowhere"},
			[]string{"--from=nowhere --to=nowhere: the same place: change one", "--from=nowhere: there is no such place: give another"}},
		{"unknown flags, with values and without, beside a wrong one",
			nil, []string{"--pol", "5s", "--fastt", "--shape=round", "--count=x", "check"},
			[]string{
				`unknown flag --pol, did you mean one of "--to", "--poll"?: see --help for what there is`,
				`unknown flag --fastt, did you mean "--fast"?: see --help for what there is`,
				`unknown flag --shape: see --help for what there is`,
				`flag --count applies to the default command "run", not "check": see --help for what there is`,
				`--count=x: expected a valid 64 bit int but got "x"` + instead + "1)",
			}},
		{"an unknown verb",
			nil, []string{"chek", "--poll=x"},
			[]string{"unexpected argument chek: see --help for what there is"}},
		{"no value, at the end and before a flag",
			nil, []string{"--poll", "--count", "x", "--names"},
			[]string{
				"--poll: no value is given" + instead + "5s)",
				`--count=x: expected a valid 64 bit int but got "x"` + instead + "1)",
				"--names: no value is given",
			}},
		{"a switch with a wrong value",
			map[string]string{"KEASTREAM_FAST": "perhaps"}, nil,
			[]string{`KEASTREAM_FAST=perhaps: bool value must be true, 1, yes, false, 0 or no but got "perhaps"`}},
		{"what is required",
			map[string]string{"KEASTREAM_FORCE": ""}, []string{"remove"},
			[]string{"--force: must be set: give the flag or KEASTREAM_FORCE", "<hash>: must be set: give it as an argument"}},
		{"one of two",
			nil, []string{"remove", "x", "--force", "--once", "--twice"},
			[]string{"--twice and --once can't be used together"}},
		{"ports",
			nil, []string{"--http-addr=127.0.0.1:http"},
			[]string{`--http-addr=127.0.0.1:http: strconv.ParseUint: parsing "http": invalid syntax: give host:port, as in 127.0.0.1:9641, or "off"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			code, stdout, stderr := run(t, test.args...)
			if code != daemon.ExitSettings || stdout != "" {
				t.Errorf("exit code %d, standard output %q", code, stdout)
			}
			if diff := cmp.Diff(test.want, problems(t, stderr)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhereValuesComeFrom(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"defaults", nil, nil, `poll=5s count=1 names=[] fast=false user=""`},
		{"environment over default",
			map[string]string{"KEASTREAM_POLL": "2s", "KEASTREAM_COUNT": "7", "KEASTREAM_NAMES": "a,b", "KEASTREAM_FAST": "true", "KEASTREAM_USER": "kea"},
			nil, `poll=2s count=7 names=["a" "b"] fast=true user="kea"`},
		{"flag over environment",
			map[string]string{"KEASTREAM_POLL": "2s", "KEASTREAM_NAMES": "a,b"},
			[]string{"--poll=3s", "--names=c", "--names", "d,e"}, `poll=3s count=1 names=["c" "d" "e"] fast=false user=""`},
		{"a wrong variable under a flag does not matter",
			map[string]string{"KEASTREAM_POLL": "soon"},
			[]string{"--poll=3s"}, `poll=3s count=1 names=[] fast=false user=""`},
		{"empty variables are not set",
			map[string]string{"KEASTREAM_POLL": "", "KEASTREAM_COUNT": "", "KEASTREAM_NAMES": "", "KEASTREAM_FAST": "", "KEASTREAM_HTTP_ADDR": ""},
			nil, `poll=5s count=1 names=[] fast=false user=""`},
		{"a name of its own", map[string]string{"OLD_USER": "old"}, nil, `poll=5s count=1 names=[] fast=false user="old"`},
		{"our name over it", map[string]string{"OLD_USER": "old", "KEASTREAM_USER": "new"}, nil, `poll=5s count=1 names=[] fast=false user="new"`},
		{"ours is empty", map[string]string{"OLD_USER": "old", "KEASTREAM_USER": ""}, nil, `poll=5s count=1 names=[] fast=false user="old"`},
		{"the default verb by its name", nil, []string{"run", "--count", "2"}, `poll=5s count=2 names=[] fast=false user=""`},
		{"flags of all verbs before the verb", nil, []string{"--log-level=error", "check"}, "checked with poll=1h0m0s"},
		{"two verbs with one variable",
			map[string]string{"KEASTREAM_POLL": "9s", "KEASTREAM_COUNT": "not for check"},
			[]string{"check"}, "checked with poll=9s"},
		{"version is not read from the environment", map[string]string{"KEASTREAM_VERSION": "1.2.3"}, []string{"check"}, "checked with poll=1h0m0s"},
		{"old names of levels", map[string]string{"KEASTREAM_LOG_LEVEL": "WARNING"}, []string{"check"}, "checked with poll=1h0m0s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			args := test.args
			if !strings.HasPrefix(test.want, "checked") {
				args = append(args, "--behave=done")
			}
			code, stdout, _ := run(t, args...)
			if code != daemon.ExitOK {
				t.Errorf("exit code %d", code)
			}
			if got := strings.TrimSpace(stdout); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestHelpIsComplete(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "--help", "--poll=nonsense", "--no-such-flag")
	if code != daemon.ExitOK || stderr != "" {
		t.Errorf("exit code %d, standard error %q", code, stderr)
	}
	for _, want := range []string{
		"A program for tests.", "check", "remove", "Compare once.",
		"--log-level", "--log-format", "--http-addr", "--version", "127.0.0.1:0)",
		"--poll=5s", "Pause between two looks", "$KEASTREAM_POLL", "--from", "$KEASTREAM_USER", "$OLD_USER",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("--help does not show %q", want)
		}
	}
	if strings.Contains(stdout, "API") {
		t.Error("--help promises an API that no service has")
	}
	if strings.Contains(stdout, "KEASTREAM_VERSION") {
		t.Error("--help offers a variable for --version")
	}
	for _, args := range [][]string{{"check", "--help"}, {"--help", "check"}} {
		_, stdout, _ = run(t, args...)
		if !strings.Contains(stdout, "--poll=1h") || strings.Contains(stdout, "--count") {
			t.Errorf("%q does not print the help of check", args)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, stdout, _ := run(t, "--version", "--poll=nonsense")
	if code != daemon.ExitOK || stdout != "keastream-test "+daemon.Version()+"\n" {
		t.Errorf("exit code %d, printed %q", code, stdout)
	}
	if !strings.Contains(stdout, "go1.") {
		t.Errorf("no version of Go in %q", stdout)
	}
}

func TestWrongStructsPanic(t *testing.T) {
	t.Parallel()
	for name, cli := range map[string]any{
		"without settings": &struct{}{},
		"with a default that does not parse": &struct {
			Daemon daemon.Settings `embed:""`
			Count  int             `default:"many"`
		}{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			daemon.Program{Name: "keastream-test", CLI: cli}.Run(t.Context())
		})
	}
}
