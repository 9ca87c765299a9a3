package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is one of the programs, as a child of this process. It can be stopped
// and started again with the same command line. Its methods may be called from
// several goroutines.
type Process struct {
	// Name is the name of the program, LogFile where its output goes.
	Name, LogFile string
	// HTTP is the address of its health checks and metrics, "" if it has none.
	HTTP string

	path string
	args []string
	env  []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the running one has ended
	err  error         // how it ended
}

// NewProcess returns a process that is not started yet, of the program at path.
// The environment is empty but for env, so that no setting of the caller's
// shell gets in.
func NewProcess(name, path, logFile string, env []string, args ...string) *Process {
	return &Process{
		Name: name, LogFile: logFile, path: path, args: args,
		env: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(logFile)}, env...),
	}
}

// Start starts the program; its output is added to LogFile.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer out.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = out, out
	// If this process dies, so does the child. The signal comes when the thread
	// that started the child ends, so one thread stays for as long as the child.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			err = cmd.Wait()
			p.mu.Lock()
			p.err = err
			p.mu.Unlock()
		}
		close(done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.cmd, p.done, p.err = cmd, done, nil
	return nil
}

// PID returns the process id of the running program, 0 if it is not running.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Signal sends a signal to the running program.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s is not running", p.Name)
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Stop asks the program to end with SIGTERM and waits for it. One that does not
// end within 15 s is killed, and that is an error, as is a failed end.
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

// Kill ends the program with SIGKILL and waits for it.
func (p *Process) Kill() {
	_ = p.end(syscall.SIGKILL) // it says that it was killed
}

func (p *Process) end(sig syscall.Signal) error {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.cmd = nil
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("%s did not end within 15 s of %v", p.Name, sig)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return fmt.Errorf("%s ended with: %w", p.Name, p.err)
	}
	return nil
}

// Wait waits until the program has ended by itself and returns how.
func (p *Process) Wait(ctx context.Context) error {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd = nil
	return p.err
}

// Running tells whether the program was started and has not ended, by itself or
// by a call of this process.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Crashed returns an error if the program has ended though nobody asked it to.
func (p *Process) Crashed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself (%v)", p.Name, p.cmd.ProcessState)
	default:
		return nil
	}
}

// AwaitReady waits until the program says that it is ready.
func (p *Process) AwaitReady(ctx context.Context) error {
	var last error
	for {
		resp, err := http.Get("http://" + p.HTTP + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		last = err
		p.mu.Lock()
		done := p.done
		p.mu.Unlock()
		select {
		case <-done:
			return fmt.Errorf("%s has ended; its log ends with:\n%s", p.Name, p.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not become ready: %w; its log ends with:\n%s", p.Name, last, p.LogTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// LogTail returns the last 4,000 bytes of the log.
func (p *Process) LogTail() string {
	data, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4000):])
}

// program returns a process of the stack.
func (s *Stack) program(name string, env []string, args ...string) *Process {
	p := NewProcess(name, filepath.Join(s.options.Bin, name), filepath.Join(s.dir, name+".log"), env, args...)
	s.Processes = append(s.Processes, p)
	return p
}
