package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// drainLimit is how long the tasks have to end after they were told to. It
// stays far below the 90 s after which systemd kills.
const drainLimit = 10 * time.Second

// ErrDone is returned (wrapped or not) by a [Task] that has done all there is
// to do, as under --once: the other tasks are stopped and [Daemon.Run] returns
// nil.
var ErrDone = errors.New("all is done")

// Daemon is one running process. Its methods can be called from several
// goroutines at once, [Daemon.Run] only once.
type Daemon struct {
	// Name is the program's name.
	Name string

	// Log is the logger that --log-level and --log-format ask for.
	Log *slog.Logger

	// Metrics is the registry behind /metrics. It has the collectors of the Go
	// runtime, the process and the build. Nothing uses the default registry.
	Metrics *prometheus.Registry

	// Out is where a verb prints its result, a plan for example: standard
	// output. Never nil.
	Out io.Writer

	settings  Settings
	screen    *screen // nil: nobody is looking
	mux       *http.ServeMux
	questions chan struct{} // holds one entry for each that is being answered
	listening chan struct{} // closed when addr is set
	addr      net.Addr
	stopping  atomic.Bool

	mu         sync.Mutex // guards what follows
	progress   []*Progress
	conditions []condition
}

// Task is a loop of the service.
type Task struct {
	// Name stands in the log and in errors.
	Name string

	// Run blocks until its context ends, and then comes back within 10 s with
	// nil or with [context.Canceled] or the cause of the context, wrapped or
	// not; any other error then is one of the daemon. A return before that ends
	// the daemon: an error as failed, [ErrDone] as done, nil as failed too,
	// because half a daemon is worse than none.
	Run func(ctx context.Context) error
}

// New makes a daemon without running anything. [Program.Run] does it for a
// service; a test can do it by itself. The logger must not be nil.
func New(name string, settings Settings, log *slog.Logger) *Daemon {
	d := &Daemon{
		Name:      name,
		Log:       log,
		Metrics:   prometheus.NewRegistry(),
		Out:       io.Discard,
		settings:  settings,
		mux:       http.NewServeMux(),
		questions: make(chan struct{}, maxQuestions),
		listening: make(chan struct{}),
	}
	d.Metrics.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	d.routes()
	return d
}

// ended is what one task returned.
type ended struct {
	task string
	err  error
}

// Run runs the tasks and the HTTP server until ctx ends or the first task
// does; then it stops the others and waits for them, at most 10 s.
//
// It returns nil after ctx ended or a task returned [ErrDone]. Else it returns
// the error of the task that ended first, joined with those of tasks that
// failed while stopping and with the names of tasks that did not stop. If the
// HTTP address cannot be had, no task is started.
//
// A panic in a task is not caught: the process crashes with its stack.
func (d *Daemon) Run(ctx context.Context, tasks ...Task) error {
	server, err := d.listen(ctx)
	if err != nil {
		return err
	}
	defer server.shutdown()

	tasksCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make(chan ended, len(tasks))
	running := map[string]int{}
	for _, t := range tasks {
		running[t.Name]++
		go func() { results <- ended{t.Name, t.Run(tasksCtx)} }()
	}
	unwatch := d.watch(ctx)
	defer unwatch()
	d.notify("READY=1")
	d.Log.InfoContext(ctx, "started", "version", Version(), "tasks", len(tasks), "http_addr", server.name())

	var failures []error
	select {
	case <-ctx.Done():
		// The end of a context reaches those that were made from it a moment later.
		cancel(context.Cause(ctx))
	case err := <-server.failed:
		err = fmt.Errorf("HTTP server: %w", err)
		failures = append(failures, err)
		cancel(err)
	case e := <-results:
		running[e.task]--
		if err := firstEnd(ctx, e); err != nil {
			failures = append(failures, err)
			cancel(err)
		}
		cancel(ErrDone) // unless there is a cause already
	}

	d.stopping.Store(true)
	d.notify("STOPPING=1")
	cause := context.Cause(tasksCtx)
	d.Log.InfoContext(ctx, "stopping", "cause", cause)
	failures = append(failures, drain(results, running, cause)...)
	return errors.Join(failures...)
}

// firstEnd judges the end of the first task. The context may have ended at the
// same moment: then it was told to.
func firstEnd(ctx context.Context, e ended) error {
	switch {
	case errors.Is(e.err, ErrDone):
		return nil
	case ctx.Err() != nil:
		return stopError(e, context.Cause(ctx))
	case e.err == nil:
		return fmt.Errorf("task %s: came back although nothing told it to stop", e.task)
	}
	return fmt.Errorf("task %s: %w", e.task, e.err)
}

// stopError is what is wrong with the end of a task that was told to stop for
// that cause.
func stopError(e ended, cause error) error {
	if e.err == nil || errors.Is(e.err, ErrDone) || errors.Is(e.err, context.Canceled) || errors.Is(e.err, cause) {
		return nil
	}
	return fmt.Errorf("task %s, while stopping: %w", e.task, e.err)
}

// drain waits for the tasks that still run.
func drain(results <-chan ended, running map[string]int, cause error) (failures []error) {
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	for {
		maps.DeleteFunc(running, func(_ string, n int) bool { return n == 0 })
		if len(running) == 0 {
			return failures
		}
		select {
		case e := <-results:
			running[e.task]--
			if err := stopError(e, cause); err != nil {
				failures = append(failures, err)
			}
		case <-limit.C:
			names := strings.Join(slices.Sorted(maps.Keys(running)), ", ")
			return append(failures, fmt.Errorf("still running %v after being stopped: %s", drainLimit, names))
		}
	}
}
