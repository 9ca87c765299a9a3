package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// checkEvery is how often the loops are looked at if no watchdog asks for it.
const checkEvery = 10 * time.Second

// Status tells systemd in one line what the process is doing; systemctl status
// shows it. Without systemd it does nothing. It must hold no secret.
func (d *Daemon) Status(text string) {
	d.notify("STATUS=" + strings.ReplaceAll(text, "\n", " "))
}

// notify sends a state to systemd, see sd_notify(3). Outside of systemd the
// socket is not there, which is no error.
func (d *Daemon) notify(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		d.Log.Warn("systemd was not notified", "state", state, "err", err)
	}
}

// watch looks at the loops until the function that it returns is called: it
// logs when one hangs and when all go on, and feeds systemd's watchdog at half
// its interval while none hangs.
func (d *Daemon) watch(ctx context.Context) (stop func()) {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		d.Log.WarnContext(ctx, "the watchdog of systemd is not fed", "err", err)
	}
	every := checkEvery
	if interval > 0 {
		every = interval / 2
	}

	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		var before []string
		for {
			now := d.stalled()
			if !slices.Equal(now, before) {
				d.logStalled(ctx, now)
				before = now
			}
			if interval > 0 && len(now) == 0 {
				d.notify("WATCHDOG=1")
			}
			select {
			case <-ticker.C:
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

func (d *Daemon) logStalled(ctx context.Context, loops []string) {
	if len(loops) == 0 {
		d.Log.InfoContext(ctx, "all loops go on")
		return
	}
	d.Log.ErrorContext(ctx, "a loop hangs: restart the process if it does not go on", "loops", loops)
}
