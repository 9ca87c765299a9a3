package daemon_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/keastream/keastream/internal/daemon"
)

// program is the program under test as a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		code int
		want string // in standard error
	}{
		{[]string{"check"}, daemon.ExitOK, ""},
		{[]string{"check", "--result=failed"}, daemon.ExitFailed, `level=ERROR msg=failed err="read records: no connection"`},
		{[]string{"check", "--result=different"}, daemon.ExitDifference, "3 records: a difference was found"},
		{[]string{"check", "--result=own"}, 42, `level=ERROR msg=failed err="check: nothing to check"`},
		{[]string{"check", "--result"}, daemon.ExitSettings, "--result: no value is given"},
		{[]string{"--behave=done"}, daemon.ExitOK, "msg=started"},
		{[]string{"--behave=panic"}, 2, "panic: a bug"}, // the 2 is the Go runtime's
		{[]string{"--version"}, daemon.ExitOK, ""},
		{[]string{"remove", "x", "--force"}, daemon.ExitOK, ""},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			var stderr strings.Builder
			cmd := program(t, test.args...)
			cmd.Stderr = &stderr
			err := cmd.Run()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d, not %d", code, test.code)
			}
			if !strings.Contains(stderr.String(), test.want) {
				t.Errorf("%q is not in standard error:\n%s", test.want, stderr.String())
			}
		})
	}
}

func TestSignalsEndCleanly(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd := program(t)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var lines []string
			for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
				lines = append(lines, scanner.Text())
				if strings.Contains(scanner.Text(), "msg=started") {
					if err := cmd.Process.Signal(signal); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("ended with %v", err)
			}
			if want := `msg=stopping cause="` + signal.String() + ` signal received"`; !strings.Contains(lines[len(lines)-1], want) {
				t.Errorf("%s is not in the last line of:\n%s", want, strings.Join(lines, "\n"))
			}
		})
	}
}

func TestLogFormats(t *testing.T) {
	t.Parallel()
	stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)$`)

	out, err := program(t, "--behave=done", "--log-format=json").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 3 { // what the verb prints, started, stopping
		t.Fatalf("standard output:\n%s", out)
	}
	var record struct{ Time, Level, Msg string }
	if err := json.Unmarshal([]byte(lines[1]), &record); err != nil {
		t.Fatal(err)
	}
	if !stamp.MatchString(record.Time) || record.Level != "INFO" || record.Msg != "started" {
		t.Errorf("JSON record: %s", lines[1])
	}

	cmd := program(t, "--behave=done", "--log-format=text", "--log-level=DEBUG")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(stderr.String(), " ")
	if !stamp.MatchString(strings.TrimPrefix(first, "time=")) {
		t.Errorf("text record: %s", stderr.String())
	}

	cmd = program(t, "--behave=done", "--log-level=WARNING")
	stderr.Reset()
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil || stderr.String() != "" {
		t.Errorf("at level WARNING: %v, standard error %q", err, stderr.String())
	}
}

func TestAddressTaken(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	code, _, stderr := run(t, "--http-addr="+listener.Addr().String())
	if code != daemon.ExitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{listener.Addr().String(), "address already in use", "--http-addr", "KEASTREAM_HTTP_ADDR"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not in: %s", want, stderr)
		}
	}
	if strings.Contains(stderr, "started") {
		t.Error("the tasks were started")
	}
}
