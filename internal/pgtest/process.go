package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	stopLimit  = 30 * time.Second // for a shutdown that waits for the server's own work
	killLimit  = 10 * time.Second // for one that does not
	readyLimit = time.Minute
	readyPause = 10 * time.Millisecond
)

// Mode says how a server is stopped, in PostgreSQL's own terms (pg_ctl).
type Mode int

const (
	// Fast ends all sessions, writes everything and stops (SIGINT).
	Fast Mode = iota
	// Immediate stops as a crash would: the next start recovers from the
	// write-ahead log (SIGQUIT). Committed work survives.
	Immediate
)

func (m Mode) signal() syscall.Signal {
	if m == Immediate {
		return syscall.SIGQUIT
	}
	return syscall.SIGINT
}

// process is a running postgres.
type process struct {
	*os.Process
	exited chan struct{} // closed after the process was waited for
	status string        // how it ended; read it after exited is closed
}

// startProcess starts cmd such that it dies with this process.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	p := &process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The parent death signal comes when the *thread* ends that started
		// the process (prctl(2), PR_SET_PDEATHSIG). So this thread waits.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.Process = cmd.Process
		started <- nil
		_ = cmd.Wait() // its result is in ProcessState
		p.status = cmd.ProcessState.String()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// stop ends the process. It returns when the process is gone; the error says
// that it did not go in the way it was asked to.
func (p *process) stop(mode Mode) error {
	if p.signalAndWait(mode.signal(), stopLimit) {
		return nil
	}
	err := fmt.Errorf("PostgreSQL (process %d) did not stop within %s", p.Pid, stopLimit)
	if p.signalAndWait(syscall.SIGQUIT, killLimit) || p.signalAndWait(syscall.SIGKILL, killLimit) {
		return err
	}
	return fmt.Errorf("%w and cannot be killed", err)
}

func (p *process) signalAndWait(sig syscall.Signal, limit time.Duration) (gone bool) {
	_ = p.Signal(sig) // fails only if it has ended already
	select {
	case <-p.exited:
		return true
	case <-time.After(limit):
		return false
	}
}

// awaitReady returns when a login with dsn works, which is after recovery.
func (p *process) awaitReady(ctx context.Context, dsn string) error {
	for {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.exited:
			return fmt.Errorf("PostgreSQL ended while starting (%s)", p.status)
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(readyPause):
		}
	}
}

// run runs one of PostgreSQL's programs to its end and puts what it printed
// into the error.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Path, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// environment is that of this process without the PG… variables, which would
// change what the programs do, and with messages in English.
func environment(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") {
			env = append(env, v)
		}
	}
	return append(append(env, "LC_ALL=C"), more...)
}
