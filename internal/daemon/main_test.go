package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/keastream/keastream/internal/daemon"
)

// asProgram makes this test binary the program under test, for what needs a
// process of its own: signals, crashes, real standard output.
const asProgram = "DAEMON_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(daemon.Main("keastream-test", "A program for tests.", &cli{}, kong.Vars{"http_addr": "127.0.0.1:0"}))
	}
	os.Exit(m.Run())
}

// cli is the command line of the program under test.
type cli struct {
	Daemon daemon.Settings `embed:""`
	Places placeSettings   `embed:""`

	Run    runVerb    `cmd:"" default:"withargs" help:"Run the loops."`
	Check  checkVerb  `cmd:"" help:"Compare once."`
	Remove removeVerb `cmd:"" help:"Remove one thing."`
}

type placeSettings struct {
	From string `default:"here" help:"Where from."`
	To   string `default:"there" help:"Where to."`
}

func (s placeSettings) Validate() error {
	var problems []error
	if s.From == s.To {
		problems = append(problems, fmt.Errorf("--from=%s --to=%s: the same place: change one", s.From, s.To))
	}
	if s.From == "nowhere" {
		problems = append(problems, fmt.Errorf("--from=%s: there is no such place: give another", s.From))
	}
	return errors.Join(problems...)
}

// colour is a type of flag with a rule of its own.
type colour string

func (c colour) Validate() error {
	if c == "blurple" {
		return errors.New("blurple is not a colour: give a real one")
	}
	return nil
}

type runVerb struct {
	Poll   time.Duration `default:"5s" help:"Pause between two looks."`
	Count  int           `default:"1" help:"How many."`
	Names  []string      `help:"Names."`
	Fast   bool          `help:"Be fast."`
	Colour colour        `help:"Colour."`
	User   string        `env:"OLD_USER" help:"User."`
	Behave string        `default:"well" enum:"well,panic,done" help:"How the loop behaves."`
}

func (v *runVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	fmt.Fprintf(d.Out, "poll=%v count=%d names=%q fast=%v user=%q\n", v.Poll, v.Count, v.Names, v.Fast, v.User)
	return d.Run(ctx, daemon.Task{Name: "loop", Run: func(ctx context.Context) error {
		switch v.Behave {
		case "panic":
			panic("a bug")
		case "done":
			return daemon.ErrDone
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}})
}

type checkVerb struct {
	Poll   time.Duration `default:"1h" help:"Another pause with the same name."`
	Result string        `default:"equal" help:"What the check finds."`
}

func (v *checkVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	fmt.Fprintf(d.Out, "checked with poll=%v\n", v.Poll)
	switch v.Result {
	case "different":
		return fmt.Errorf("3 records: %w", daemon.ErrDifference)
	case "own":
		return fmt.Errorf("check: %w", daemon.Exit(42, errors.New("nothing to check")))
	case "failed":
		return errors.New("read records: no connection")
	}
	return nil
}

type removeVerb struct {
	Hash  string `arg:"" help:"What to remove."`
	Force bool   `required:"" help:"Really."`
	Twice bool   `xor:"how" help:"Remove twice."`
	Once  bool   `xor:"how" help:"Remove once."`
}

func (v *removeVerb) Run(d *daemon.Daemon) error {
	fmt.Fprintln(d.Out, "removed", v.Hash)
	return nil
}

// run runs the program inside the test.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = daemon.Program{
		Name: "keastream-test", Description: "A program for tests.", CLI: &cli{},
		Vars: kong.Vars{"http_addr": "127.0.0.1:0"},
		Args: args, Stdout: &out, Stderr: &errOut,
	}.Run(t.Context())
	t.Logf("%q ended with %d\n%s%s", args, code, out.String(), errOut.String())
	return code, out.String(), errOut.String()
}

// problems are the lines of the message about wrong settings.
func problems(t *testing.T, stderr string) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if len(lines) < 3 || lines[0] != "keastream-test: wrong settings:" || lines[len(lines)-1] != "See keastream-test --help." {
		t.Fatalf("not a message about settings:\n%s", stderr)
	}
	var out []string
	for _, line := range lines[1 : len(lines)-1] {
		out = append(out, strings.TrimSpace(line))
	}
	return out
}
