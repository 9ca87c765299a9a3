package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// Progress is the sign of life of one loop, see [Daemon.Progress].
type Progress struct {
	name   string
	within time.Duration
	born   time.Time
	last   atomic.Int64 // nanoseconds after born, on the monotonic clock
}

// Progress declares a loop that has to beat at least every within: /healthz
// is 200 only while all loops do, and only then is systemd's watchdog fed. The
// declaration counts as the first beat.
//
// Waiting for something that is away (the server, the database) is progress: a
// loop beats while it waits, so that no outage gets the process killed. What
// must not beat is a loop that hangs. Declare a loop only if it will run.
func (d *Daemon) Progress(name string, within time.Duration) *Progress {
	p := &Progress{name: name, within: within, born: time.Now()}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress = append(d.progress, p)
	return p
}

// Beat says that the loop goes round. It is cheap and safe for concurrent use.
func (p *Progress) Beat() { p.last.Store(int64(time.Since(p.born))) }

func (p *Progress) silent() time.Duration { return time.Since(p.born) - time.Duration(p.last.Load()) }

type condition struct {
	name  string
	check func() error
}

// Ready adds a condition to /readyz: the process is ready while check returns
// nil for every one; the text of the error is the reason shown, so it must hold
// no secret. check is called for every request, from several goroutines at
// once: it looks at memory and does not block.
func (d *Daemon) Ready(name string, check func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conditions = append(d.conditions, condition{name, check})
}

// loopState is one loop in the answer of /healthz.
type loopState struct {
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	Silent float64 `json:"silent_seconds"` // since the last beat
	Within float64 `json:"within_seconds"` // what is allowed
}

func (d *Daemon) loops() []loopState {
	d.mu.Lock()
	progress := slices.Clone(d.progress)
	d.mu.Unlock()
	loops := make([]loopState, 0, len(progress))
	for _, p := range progress {
		silent := p.silent()
		loops = append(loops, loopState{p.name, silent <= p.within, silent.Seconds(), p.within.Seconds()})
	}
	return loops
}

// stalled names the loops that hang. While the process stops, none does: its
// time is limited anyway.
func (d *Daemon) stalled() []string {
	if d.stopping.Load() {
		return nil
	}
	var names []string
	for _, l := range d.loops() {
		if !l.OK {
			names = append(names, l.Name)
		}
	}
	return names
}

func (d *Daemon) serveHealth(w http.ResponseWriter, _ *http.Request) {
	healthy := len(d.stalled()) == 0
	respond(w, healthy, struct {
		Healthy bool        `json:"healthy"`
		Loops   []loopState `json:"loops"`
	}{healthy, d.loops()})
}

func (d *Daemon) serveReady(w http.ResponseWriter, _ *http.Request) {
	type reason struct {
		Condition string `json:"condition"`
		Reason    string `json:"reason"`
	}
	d.mu.Lock()
	conditions := slices.Clone(d.conditions)
	d.mu.Unlock()

	reasons := []reason{}
	if d.stopping.Load() {
		reasons = append(reasons, reason{"running", "the process is stopping"})
	}
	for _, c := range conditions {
		if err := c.check(); err != nil {
			reasons = append(reasons, reason{c.name, err.Error()})
		}
	}
	ready := len(reasons) == 0
	respond(w, ready, struct {
		Ready   bool     `json:"ready"`
		Reasons []reason `json:"reasons"`
	}{ready, reasons})
}

// respond writes JSON, with status 503 if it is not well.
func respond(w http.ResponseWriter, well bool, body any) {
	status := http.StatusOK
	if !well {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		http.Error(w, fmt.Sprintf("encode answer: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(text, '\n'))
}
