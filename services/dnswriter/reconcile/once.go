package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/services/dnswriter/brake"
)

// Result is what one check did.
type Result struct {
	// Created, Updated and Removed are numbers of records.
	Created, Updated, Removed int
	// Skipped is the number of changes that the policy did not allow.
	Skipped int
	// Withheld are the records that are still there because it was not proved in
	// time that nobody asks for them, each as "a.lab.example.com A 192.0.2.1",
	// sorted. Incomplete are the sources without which it cannot be proved.
	Withheld, Incomplete []string
	// Stopped is what the brake withholds, at most one list of each kind.
	Stopped []brake.List
}

const (
	// patience is how long RunOnce waits for a server that is away.
	patience = time.Minute
	// grace is how long RunOnce waits for the proof of removals, beyond the
	// hold-down: a source gives a sign of life every 10 s, and two are needed.
	grace = 45 * time.Second
	// glance is how often RunOnce looks whether everything is done.
	glance = 100 * time.Millisecond
)

// RunOnce does one check and ends. It waits a while for the View to be filled,
// for the server, and for the proof of removals. The error says what could not
// be done; removals without proof and conflicts are no error.
//
// It needs no Lease and takes none: an instance that runs keeps its own for good,
// so one from cron would never get to work. Both write what the same reservations
// ask for, so side by side they only do some of it twice.
func (r *Reconciler) RunOnce(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watcher conc.WaitGroup
	defer watcher.Wait()
	defer cancel(nil)
	watcher.Go(func() { r.giveUp(ctx, cancel) })

	var result Result
	var err error
	r.mu.Lock()
	r.single = true
	r.mu.Unlock()
	r.timed(ctx, func() {
		err = r.work(ctx, func(ctx context.Context) (err error) {
			result, err = r.once(ctx)
			return err
		})
	})
	return result, err
}

// once does what RunOnce does while the workers run.
func (r *Reconciler) once(ctx context.Context) (Result, error) {
	if err := r.awaitView(ctx); err != nil {
		return Result{}, err
	}
	r.begin()
	r.announce(ctx)
	if err := r.checkOnce(ctx); err != nil {
		return r.result(ctx), err // what was done is done
	}
	r.awaitProof(ctx)
	return r.result(ctx), r.unfinished(ctx)
}

// giveUp ends the work when the server has been away for too long.
func (r *Reconciler) giveUp(ctx context.Context, cancel context.CancelCauseFunc) {
	for sleep(ctx, tick) {
		r.mu.Lock()
		away, since := r.away, r.awaySince
		r.mu.Unlock()
		if away != nil && time.Since(since) > patience {
			cancel(fmt.Errorf("the DNS server has not answered for %s: %w", patience, away))
		}
	}
}

func (r *Reconciler) awaitView(ctx context.Context) error {
	select {
	case <-r.caughtUp:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("the stream was not read to its end within %s; is NATS reachable, and does a publisher run?", patience)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// checkOnce checks everything. What cannot be read is tried for a while.
func (r *Reconciler) checkOnce(ctx context.Context) error {
	areas := r.areas()
	start := time.Now()
	for attempt := 1; ; attempt++ {
		areas = r.check(ctx, areas)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case len(areas) == 0:
			return nil
		case time.Since(start) > patience:
			return r.InStep()
		}
		sleep(ctx, r.readPause(attempt))
	}
}

// awaitProof waits until nothing is left to do but what the brake has judged and
// withholds, but not for ever.
func (r *Reconciler) awaitProof(ctx context.Context) {
	deadline := time.Now().Add(r.cfg.HoldDown + grace)
	for time.Now().Before(deadline) {
		r.mu.Lock()
		open := len(r.waiting) + r.queue.len()
		for _, h := range r.holds {
			if !r.braked(h) || r.cfg.Brake != nil && !h.told {
				open++
			}
		}
		r.mu.Unlock()
		if open == 0 && r.cfg.Brake.Judged() || !sleep(ctx, glance) {
			return
		}
	}
}

func (r *Reconciler) result(ctx context.Context) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.raise(ctx, time.Now().Add(r.cfg.HoldDown)) // there is no later
	result := Result{Created: r.total.created, Updated: r.total.updated, Removed: r.total.removed}
	result.Withheld, result.Incomplete = r.withheld()
	result.Stopped = r.cfg.Brake.Lists()
	for _, steps := range r.skipped {
		result.Skipped += len(steps)
	}
	return result
}

// unfinished is the error for what failed to the last.
func (r *Reconciler) unfinished(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if names := slices.Sorted(maps.Keys(r.failing)); len(names) > 0 {
		return fmt.Errorf("%d names could not be brought into step: %s", len(names), strings.Join(cut(names), ", "))
	}
	return nil
}
