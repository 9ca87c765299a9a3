package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/sourcegraph/conc"
)

// Lease says which of several instances works. It is a matter of double work
// alone: two that work at the same time converge all the same. Its methods may be
// called by several goroutines.
type Lease interface {
	// Lead calls lead whenever the lease is held, with a context that ends when it
	// is lost or ctx ends, and returns when ctx has ended and lead has returned.
	Lead(ctx context.Context, lead func(ctx context.Context))
	// Held tells whether the lease is held for at least this time to come.
	Held(left time.Duration) bool
}

const (
	// sending is for how long the lease has to be held when a change is sent:
	// twice the time that a Provider gives it.
	sending = 10 * time.Second
	// takeover is when after the begin of a leadership all is checked once more,
	// for what the last leader had sent just before, and then again each recheck
	// until lateness. A write that happens late has to be repaired within a minute;
	// of it the proof that a removal needs takes 20 to 30 s, with heartbeats each
	// 10 s and a hold-down of 10 s.
	takeover = 5 * time.Second
	recheck  = lateness / 3
)

// errUnheld ends the work on a name while the lease is about to be lost. A Provider
// that finds that out itself, after what it had to read, says dns.ErrNotNow.
var errUnheld = errors.New("the lease is not held for long enough to send a change")

// Run works until ctx ends; it then returns nil, and it returns for no other
// reason. It waits for the View to be filled and for the server to answer. Calls
// that are under way when ctx ends are given a few seconds to end.
//
// With a Lease it works while that is held. Each time it begins with nothing: all
// is read anew, since another instance may have written meanwhile.
func (r *Reconciler) Run(ctx context.Context) error {
	r.timed(ctx, func() {
		if r.cfg.Lease == nil {
			r.lead(ctx)
			return
		}
		r.cfg.Phase("waiting for the stream")
		if !r.AwaitCaughtUp(ctx) {
			return
		}
		r.cfg.Phase(standingBy)
		r.cfg.Lease.Lead(ctx, func(leadership context.Context) {
			r.log.InfoContext(ctx, "this instance works now")
			r.lead(leadership)
			if ctx.Err() == nil {
				r.standBy(ctx)
			}
		})
	})
	return nil
}

// standingBy is the phase in which another instance works.
const standingBy = "standing by"

// lead works until ctx ends.
func (r *Reconciler) lead(ctx context.Context) {
	_ = r.work(ctx, func(ctx context.Context) error {
		r.cfg.Phase("waiting for the stream")
		select {
		case <-r.caughtUp:
		case <-ctx.Done():
			return nil
		}
		r.begin()
		r.checks(ctx)
		return nil
	})
}

// begin lets events come into the queue. What was heard before is found by the
// first check.
func (r *Reconciler) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leading = true
}

// standBy forgets what is known of DNS: another instance writes from now on.
// Which reservations there are it keeps following.
func (r *Reconciler) standBy(ctx context.Context) {
	r.mu.Lock()
	r.leading = false
	r.tellNothing()
	r.blank()
	r.ledger.clear()
	r.metrics.unpublished.Set(0)
	r.mu.Unlock()
	r.queue.clear()
	r.log.InfoContext(ctx, "another instance works now, or none")
	r.cfg.Phase(standingBy)
}

// StandsBy tells whether this instance waits for the Lease.
func (r *Reconciler) StandsBy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.standsBy()
}

// standsBy is StandsBy for one who holds r.mu.
func (r *Reconciler) standsBy() bool { return r.cfg.Lease != nil && !r.leading && !r.single }

// maySend tells whether a change may be sent now.
func (r *Reconciler) maySend() bool {
	r.mu.Lock()
	free := r.cfg.Lease == nil || r.single
	r.mu.Unlock()
	return free || r.cfg.Lease.Held(sending)
}

const (
	// stopping is how long calls may go on after the end was asked for; it
	// stays below the 10 s after which the process gives up on its tasks.
	stopping = 6 * time.Second
	// hanging is how long a worker may have a name until it counts as hanging.
	// Every call is bounded by the Provider and there are few per name.
	hanging = 10 * time.Minute
	tick    = time.Second
)

// work runs the workers and the brake around main, and returns what main does.
func (r *Reconciler) work(ctx context.Context, main func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	calls, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(stopping):
			stop()
		case <-calls.Done():
		}
	})()

	var tasks conc.WaitGroup
	for range r.cfg.Workers {
		tasks.Go(func() {
			for {
				t, ok := r.queue.take(ctx)
				if !ok {
					return
				}
				r.process(calls, ctx, t)
			}
		})
	}
	tasks.Go(func() { _ = r.cfg.Brake.Run(ctx) })
	tasks.Go(func() { r.followPublications(ctx) })
	err := main(ctx)
	cancel()
	tasks.Wait()
	return err
}

// timed runs main beside the clock.
func (r *Reconciler) timed(ctx context.Context, main func()) {
	ctx, cancel := context.WithCancel(ctx)
	var clock conc.WaitGroup
	defer clock.Wait()
	defer cancel()
	clock.Go(func() { r.clock(ctx) })
	main()
}

// clock does what is due by time alone.
func (r *Reconciler) clock(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if !r.queue.stuck(hanging) {
			r.cfg.Alive()
		}
		r.mu.Lock()
		r.raise(ctx, time.Now())
		r.mu.Unlock()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
