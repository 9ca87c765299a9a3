package relay

import (
	"errors"
	"fmt"
	"sync"
)

// phase is what a relay is doing.
type phase string

const (
	phaseWaiting  phase = "waiting to try again"
	phaseStandby  phase = "standing by: another publisher of this database is active"
	phaseStarting phase = "comparing the database with the stream"
	phaseActive   phase = "publishing"
	phaseDirect   phase = "publishing without the outbox, from notifications and comparisons"
)

// status is read by health checks while the relay runs.
type status struct {
	mu    sync.Mutex
	phase phase
	err   error
}

// enter notes what the relay does from now on.
func (r *Relay) enter(p phase, err error) {
	r.status.mu.Lock()
	changed := r.status.phase != p
	r.status.phase, r.status.err = p, err
	r.status.mu.Unlock()
	if changed && r.Phase != nil {
		r.Phase(string(p))
	}
}

// Ready returns nil when this publisher has compared the database with the
// stream and publishes, or stands by for one that does; otherwise what it waits
// for. It may be called from any goroutine.
func (r *Relay) Ready() error {
	r.status.mu.Lock()
	defer r.status.mu.Unlock()
	switch p := r.status.phase; {
	case p == phaseActive || p == phaseDirect || p == phaseStandby:
		return nil
	case r.status.err != nil:
		return fmt.Errorf("%s: %w", p, r.status.err)
	case p == "":
		return errors.New("not started")
	default:
		return errors.New(string(p))
	}
}
