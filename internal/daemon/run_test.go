package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/internal/daemon"
)

func newDaemon(t *testing.T, settings daemon.Settings) *daemon.Daemon {
	return daemon.New("keastream-test", settings, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

// untilStopped is a task that does what it is told.
func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

var errBroken = errors.New("it is broken")

func TestRunEndsWithItsFirstTask(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  error    // of the first task
		then error    // of the other task, after it was stopped
		want []string // in the error; none means no error
		is   error
	}{
		{"an error", fmt.Errorf("read: %w", errBroken), nil, []string{"task first: read: it is broken"}, errBroken},
		{"nil", nil, nil, []string{"task first: came back although nothing told it to stop"}, nil},
		{"done", fmt.Errorf("once: %w", daemon.ErrDone), nil, nil, nil},
		{"a difference", fmt.Errorf("once: %w", daemon.ErrDifference), nil, []string{"a difference was found"}, daemon.ErrDifference},
		{"a context of its own", context.DeadlineExceeded, nil, []string{"task first: context deadline exceeded"}, nil},
		{"a cancel of its own", context.Canceled, nil, []string{"task first: context canceled"}, nil},
		{"the other cannot finish", daemon.ErrDone, errBroken, []string{"task other, while stopping: it is broken"}, errBroken},
		{"both fail", errors.New("no space"), errBroken, []string{"task first: no space", "task other, while stopping: it is broken"}, errBroken},
		{"the other is cancelled", daemon.ErrDone, fmt.Errorf("read: %w", context.Canceled), nil, nil},
		{"both are done", daemon.ErrDone, daemon.ErrDone, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stopped := false
				err := newDaemon(t, daemon.Settings{}).Run(t.Context(),
					daemon.Task{Name: "first", Run: func(context.Context) error { time.Sleep(time.Hour); return test.end }},
					daemon.Task{Name: "other", Run: func(ctx context.Context) error {
						<-ctx.Done()
						time.Sleep(9 * time.Second) // within the limit
						stopped = true
						return test.then
					}})
				if !stopped {
					t.Error("Run did not wait for the other task")
				}
				if (err != nil) != (test.want != nil) || test.is != nil && !errors.Is(err, test.is) {
					t.Fatalf("error: %v", err)
				}
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q is not in: %v", want, err)
					}
				}
			})
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Hour, func() { cancel(errBroken) })
		start := time.Now()
		err := newDaemon(t, daemon.Settings{}).Run(ctx,
			daemon.Task{Name: "nil", Run: untilStopped},
			daemon.Task{Name: "error", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			daemon.Task{Name: "cause", Run: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }})
		if err != nil || time.Since(start) != time.Hour {
			t.Errorf("ended after %v with %v", time.Since(start), err)
		}
	})
}

func TestRunGivesUpOnTasksThatDoNotStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		hang := func(context.Context) error { <-release; return nil }
		time.AfterFunc(time.Minute, cancel)
		start := time.Now()
		err := newDaemon(t, daemon.Settings{}).Run(ctx,
			daemon.Task{Name: "relay", Run: hang}, daemon.Task{Name: "sweep", Run: hang},
			daemon.Task{Name: "good", Run: untilStopped})
		if took := time.Since(start); took != time.Minute+10*time.Second {
			t.Errorf("gave up after %v", took)
		}
		if err == nil || err.Error() != "still running 10s after being stopped: relay, sweep" {
			t.Errorf("error: %v", err)
		}
		close(release)
	})
}

func TestWatchdogIsFedWhileTheLoopsGoOn(t *testing.T) {
	// The other side of sd_notify(3): a datagram socket. It is read outside of
	// the bubble, where time is real.
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	states := make(chan []string)
	go func() {
		var got []string
		defer func() { states <- got }()
		buffer := make([]byte, 1024)
		for {
			n, err := socket.Read(buffer)
			if err != nil || string(buffer[:n]) == "END" {
				return
			}
			got = append(got, string(buffer[:n]))
		}
	}()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000000") // 20 s: fed every 10 s
	t.Setenv("WATCHDOG_PID", "")

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := newDaemon(t, daemon.Settings{})
		p := d.Progress("loop", 15*time.Second)
		ended := make(chan error)
		go func() { ended <- d.Run(ctx, daemon.Task{Name: "loop", Run: untilStopped}) }()

		time.Sleep(9 * time.Second)
		p.Beat()
		time.Sleep(9 * time.Second)
		p.Beat()
		d.Status("it goes\non")
		// Fed at 0, 10, 20 and 30 s; the last beat was at 18 s, so from 33 s on
		// the loop hangs and 40 and 50 s give nothing.
		time.Sleep(37 * time.Second)
		p.Beat() // at 55 s: fed again at 60 s
		time.Sleep(6 * time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	end, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := end.Write([]byte("END")); err != nil {
		t.Fatal(err)
	}
	got := <-states
	count := map[string]int{}
	for _, state := range got {
		count[state]++
	}
	if count["READY=1"] != 1 || count["STOPPING=1"] != 1 || count["WATCHDOG=1"] != 5 || count["STATUS=it goes on"] != 1 {
		t.Errorf("systemd was told %q", got)
	}
	if slices.Index(got, "READY=1") > 1 || slices.Index(got, "STOPPING=1") < len(got)-2 {
		t.Errorf("in the wrong order: %q", got)
	}
}
