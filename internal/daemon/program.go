package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes of every program.
const (
	// ExitOK is a clean end; the one after SIGTERM too.
	ExitOK = 0
	// ExitFailed is any failure that is not one of the two below.
	ExitFailed = 1
	// ExitSettings means wrong settings: starting again changes nothing. But
	// the Go runtime uses the same number after a panic, so a supervisor should
	// start again after it too.
	ExitSettings = 2
	// ExitDifference means that the program did its work and found a
	// difference, see [ErrDifference].
	ExitDifference = 3
)

// ErrDifference is returned (wrapped or not) by a verb or a [Task] that did its
// work but found that two things are not equal, or withheld removals that
// somebody has to approve. The process ends with [ExitDifference].
var ErrDifference = errors.New("a difference was found")

// Exit makes an error end the process with a code of the verb's own, one that stands
// in its --help. The codes above stay what they are, so it is from 4 to 125.
func Exit(code int, err error) error { return &exit{code, err} }

type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }

func (e *exit) Unwrap() error { return e.err }

// Main runs a program with the arguments, environment and signals of this
// process and returns its exit code:
//
//	os.Exit(daemon.Main("keastream-example", "What it is for.", &cli{}, nil))
//
// name is the name of the program, description one sentence for --help, cli a
// pointer to its kong struct, vars are what ${…} in its tags stand for. The
// variable http_addr is the default of --http-addr; without it that is "off".
func Main(name, description string, cli any, vars kong.Vars) int {
	// Nearly all of a service's memory is its picture of the reservations, which
	// lives as long as the process. Half of it again is room enough for garbage.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	return Program{
		Name: name, Description: description, CLI: cli, Vars: vars,
		Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr,
	}.Run(context.Background())
}

// Program is one call of a program. [Main] fills it from the process; a test
// fills it by hand and runs the whole program inside the test.
type Program struct {
	Name        string    // as in the service's unit file, for example keastream-publisher
	Description string    // one sentence for --help
	CLI         any       // pointer to the kong struct; it is written to
	Vars        kong.Vars // what ${…} in the struct's tags stand for
	Args        []string  // the command line without the program's name
	Stdout      io.Writer // output of verbs, JSON log; nil means none
	Stderr      io.Writer // text log, wrong settings; nil means none
}

// Run reads the settings, runs the verb and returns the exit code. The verb's
// context ends with ctx and with SIGTERM or SIGINT; a second signal then ends
// the process in the usual way of the system, so that a hanging program can be
// stopped by hand.
//
// Wrong settings are listed on Stderr, all at once, each with flag or variable,
// value and remedy, and the exit code is [ExitSettings].
func (p Program) Run(ctx context.Context) int {
	p.Stdout = cmp.Or[io.Writer](p.Stdout, io.Discard)
	p.Stderr = cmp.Or[io.Writer](p.Stderr, io.Discard)

	vars := kong.Vars{"http_addr": "off"}
	maps.Copy(vars, p.Vars)
	parser, err := kong.New(p.CLI, kong.Name(p.Name), kong.Description(p.Description), vars,
		kong.PostBuild(nameVariables), kong.Writers(p.Stdout, p.Stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		panic(fmt.Sprintf("the settings struct of %s is wrong: %v", p.Name, err))
	}
	settings := findSettings(reflect.ValueOf(p.CLI))
	if settings == nil {
		panic(fmt.Sprintf("the settings struct of %s does not embed daemon.Settings", p.Name))
	}

	call, err := parse(parser, p.Args)
	switch {
	case errors.Is(err, errHelp):
		if err := printHelp(parser, call); err != nil {
			fmt.Fprintf(p.Stderr, "%s: print help: %v\n", p.Name, err)
			return ExitFailed
		}
		return ExitOK
	case errors.Is(err, errVersion):
		fmt.Fprintln(p.Stdout, p.Name, Version())
		return ExitOK
	case err != nil:
		fmt.Fprintf(p.Stderr, "%s: wrong settings:\n", p.Name)
		for _, line := range flatten(err) {
			fmt.Fprintf(p.Stderr, "  %s\n", indent(line.Error()))
		}
		fmt.Fprintf(p.Stderr, "See %s --help.\n", p.Name)
		return ExitSettings
	}

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)

	var screen *screen
	if settings.LogFormat != "json" {
		if screen = newScreen(p.Stderr); screen != nil {
			p.Stderr = screen
		}
	}
	d := New(p.Name, *settings, newLogger(*settings, p.Stdout, p.Stderr))
	d.Out, d.screen = p.Stdout, screen
	call.BindTo(ctx, (*context.Context)(nil))
	return d.exitCode(ctx, call.Run(d))
}

// exitCode logs how the verb ended. This is the one place where an error that
// ends the process is logged.
func (d *Daemon) exitCode(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrDifference):
		d.Log.WarnContext(ctx, "ended with a difference", "err", err)
		return ExitDifference
	default:
		d.Log.ErrorContext(ctx, "failed", "err", err)
		if own, ok := errors.AsType[*exit](err); ok {
			return own.code
		}
		return ExitFailed
	}
}

// Version says what this binary was built from, as far as the Go toolchain
// wrote it down: the version of the module, which holds the commit between two
// releases, and the version of Go.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown " + runtime.Version()
	}
	return cmp.Or(info.Main.Version, "(devel)") + " " + info.GoVersion
}

// findSettings finds the Settings inside a kong struct.
func findSettings(v reflect.Value) *Settings {
	v = reflect.Indirect(v)
	if s, ok := v.Addr().Interface().(*Settings); ok {
		return s
	}
	for _, f := range v.Fields() {
		if f.Kind() == reflect.Struct && f.CanInterface() {
			if s := findSettings(f); s != nil {
				return s
			}
		}
	}
	return nil
}
