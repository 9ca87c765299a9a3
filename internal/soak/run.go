package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/solidsim"
)

// ErrBroken is in the error of a run that found a promise broken. Without it the
// run could not be made, was interrupted, or proves too little.
var ErrBroken = errors.New("a promise is broken")

func broken(err error) error { return fmt.Errorf("%w: %w", ErrBroken, err) }

// Options are for Run.
type Options struct {
	// Publisher, DNSWriter and NATSServer are the programs' files.
	Publisher, DNSWriter, NATSServer string
	// Seed is what a run is a function of.
	Seed uint64
	// Form is where NATS is; "" lets the seed choose.
	Form Form
	// Length is how long new rounds begin; the last one is finished.
	Length time.Duration
	// Sweep is the time between two checks of the DNS writer; 0 lets the seed
	// choose. With one of minutes it is restarted when there is something that
	// only a check can find, and everything else has to be right without one.
	Sweep time.Duration
	// Limit is the --max-removals of the DNS writers; "" lets the seed choose. An
	// operator approves all that is withheld.
	Limit string
	// Log hears how the run goes on; nil means not at all.
	Log func(format string, args ...any)
}

// Patience of a run with a system that has been healed.
const (
	recoverLimit = 60 * time.Second // until a publisher is active and complete
	quietLimit   = 60 * time.Second // until the stream equals the rows
	calm         = time.Second      // of changes between the two
)

// run is one run.
type run struct {
	options    Options
	world      *world
	times      *timeline
	coverage   *coverage
	observer   *observer
	view       *events.View
	appliance  *appliance
	resolver   *resolver
	steady     *steady
	foreigners *foreigners
	schedules  [2]*schedule // of the faults of publishers and of the DNS writer

	compare     atomic.Bool // somebody touched the stream: a comparison has to find out
	misled      atomic.Bool // the DNS writers were told of the past, in this round
	credentials atomic.Bool // the password was changed since the last quiet point
	gate        sync.RWMutex
	fail        context.CancelCauseFunc // ends the run
}

// Run runs a soak. It returns a table of what was injected and reached, and an
// error that tells the first thing that went wrong, with all that is needed to
// find out why, or why the run could not be made. When it returns, every process
// has ended and every file is gone.
func Run(ctx context.Context, o Options) (table string, err error) {
	if o.Form == "" {
		o.Form = []Form{Single, Cluster, Embedded}[rand.New(rand.NewPCG(o.Seed, 1)).IntN(3)]
	}
	if o.Sweep == 0 {
		o.Sweep = []time.Duration{3 * time.Second, time.Hour}[rand.New(rand.NewPCG(o.Seed, 3)).IntN(2)]
	}
	if o.Limit == "" {
		o.Limit = []string{wideLimit, narrowLimit}[rand.New(rand.NewPCG(o.Seed, 4)).IntN(2)]
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	o.Log("seed %d, NATS %s, %v, a check of DNS every %v, removals limited to %s", o.Seed, o.Form, o.Length, o.Sweep, o.Limit)
	w, err := start(ctx, o)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	r := &run{
		options: o, world: w, times: newTimeline(), coverage: newCoverage(o.Limit == narrowLimit), view: events.NewView(),
		schedules:  [2]*schedule{newSchedule(o, 0, kinds), newSchedule(o, 2, dnsKinds)},
		foreigners: newForeigners(), fail: fail,
	}
	r.observer = &observer{source: source, times: r.times, failed: func(err error) { fail(broken(err)) }}
	r.steady = newSteady(func(err error) { fail(err) })
	r.resolver = newResolver(r)
	r.appliance = &appliance{
		Sim: w.solidserver, times: r.times, coverage: r.coverage, steady: r.steady, pointed: r.resolver.pointed,
		unclear: make(map[string]solidsim.Call),
	}
	r.appliance.SetFaults(r.appliance.decide)
	err = r.all(running)
	if cause := context.Cause(running); cause != nil && ctx.Err() == nil {
		err = cause // what failed after that, failed for that
	}
	r.measure()
	switch missed := r.coverage.missed(); {
	case ctx.Err() != nil: // interrupted from outside: nobody wants to know
	case err != nil:
		err = r.explain(err)
	case r.schedules[0].complete() && r.schedules[1].complete() && missed != nil:
		err = fmt.Errorf("the soak proves too little: %s; it was seed %d, form %s", strings.Join(missed, "; "), o.Seed, o.Form)
	}
	return r.coverage.String(), err
}

// all runs the rounds with everything that goes on beside them.
func (r *run) all(ctx context.Context) (err error) {
	conns := make([]*nats.Conn, 2)
	for i := range conns {
		if conns[i], err = r.world.connect(); err != nil {
			return err
		}
		defer conns[i].Close()
	}
	beside, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()

	r.observer.conn = conns[0]
	others.Go(func() { r.observer.run(beside) })
	others.Go(func() { _ = events.Watch(beside, conns[1], r.view, events.Handlers{}) }) // it returns nil
	for i, p := range r.world.publishers {
		others.Go(func() {
			r.watch(beside, i, p.measured, metricActive, &r.world.active, func(before int) { r.publishes(i, before) })
		})
	}
	for i, d := range r.world.dnswriters {
		others.Go(func() {
			r.watch(beside, i, d.measured, metricLeads, &r.world.leader, func(before int) { r.leads(i, before) })
		})
	}
	others.Go(func() { r.operate(beside) })
	others.Go(func() { r.resolver.work(beside) })
	others.Go(func() { r.breathe(beside) })
	for i := range uint64(writers + 1) {
		w := &writer{run: r, name: fmt.Sprintf("writer-%d", i+1), seed: r.options.Seed ^ (i+1)<<32, actions: actions}
		if i == writers {
			w.name, w.actions = "steady", steadyActions
		}
		others.Go(func() { w.work(beside, &r.gate) })
	}
	if err := r.warmUp(ctx); err != nil {
		return err
	}
	return r.rounds(ctx)
}

// warmUp waits until there is something that can be lost.
func (r *run) warmUp(ctx context.Context) error {
	const records = 50
	for deadline := time.Now().Add(recoverLimit); len(r.appliance.records()) < records; pause(ctx, 100*time.Millisecond) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			return broken(fmt.Errorf("%v after the start DNS has only %d records", recoverLimit, len(r.appliance.records())))
		}
	}
	return nil
}

// rounds runs rounds until the time is over.
func (r *run) rounds(ctx context.Context) error {
	began := time.Now()
	for n := 1; time.Since(began) < r.options.Length; n++ {
		plan := slices.Concat(r.schedules[0].round(), r.schedules[1].round())
		var names []string
		for _, p := range plan {
			names = append(names, p.kind.name)
		}
		r.times.note("ROUND", "%d: %s", n, strings.Join(names, "; "))
		started := time.Now()
		if err := r.round(ctx, plan); err != nil {
			return fmt.Errorf("round %d (%s): %w", n, strings.Join(names, "; "), err)
		}
		r.options.Log("round %d, %.1f s: %s", n, time.Since(started).Seconds(), strings.Join(names, "; "))
	}
	for _, s := range r.schedules {
		r.options.Log("%d faults were dealt, of %d kinds", s.dealt, len(s.kinds))
	}
	return nil
}

// round strikes, heals, waits, lets the writers write for a moment, and checks.
func (r *run) round(ctx context.Context, plan []planned) error {
	errs := make([]error, len(plan))
	var all sync.WaitGroup
	for i, p := range plan {
		all.Go(func() { errs[i] = r.strike(ctx, p) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := r.recover(ctx); err != nil {
		return err
	}
	if r.misled.Load() { // it has seen what was there no more
		if err := r.askForCheck(ctx); err != nil {
			return err
		}
	}
	if r.compare.Swap(false) {
		if err := r.askForComparison(ctx); err != nil {
			return err
		}
	}
	pause(ctx, calm)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	err := r.quiet(ctx)
	r.misled.Store(false)
	return err
}

// askForComparison asks as an operator would. A publisher that is not ready may
// not be listening to signals yet.
func (r *run) askForComparison(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	for _, p := range r.world.publishers {
		if err := p.AwaitReady(ctx); err != nil {
			return broken(err)
		}
		if err := p.Signal(syscall.SIGUSR1); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) strike(ctx context.Context, p planned) error {
	pause(ctx, p.after)
	r.times.note("FAULT", "begins: %s, for %v", p.kind.name, p.lasts.Round(time.Millisecond))
	r.coverage.add(r.coverage.dealt, p.kind.name, 1)
	struck, err := p.kind.strike(&strike{run: r, ctx: ctx, lasts: p.lasts, random: rand.New(rand.NewPCG(p.seed, 0))})
	if err != nil {
		err = fmt.Errorf("fault %q: %w", p.kind.name, err)
	}
	if struck {
		r.coverage.add(r.coverage.struck, p.kind.name, 1)
	}
	r.times.note("FAULT", "is over: %s (struck: %v)", p.kind.name, struck)
	return err
}

// recover waits until a publisher is the active one and complete. Faults take
// away what they did themselves; a process that ended by itself is a failure.
func (r *run) recover(ctx context.Context) error {
	deadline := time.Now().Add(recoverLimit)
	for {
		for _, p := range r.world.processes() {
			if err := p.Crashed(); err != nil {
				return broken(err)
			}
		}
		for _, p := range r.world.publishers {
			if p.gauge(metricActive) == 1 && p.gauge(metricComplete) == 1 {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return broken(fmt.Errorf("no publisher is active and complete %v after the last fault", recoverLimit))
		}
		pause(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// publishes notes that a publisher is the active one.
func (r *run) publishes(i, before int) {
	r.times.note(r.world.publishers[i].Name, "is the active publisher")
	if before != i && before >= 0 {
		r.coverage.add(r.coverage.reached, caseTakeover, 1)
	}
}

// leads notes that a DNS writer leads.
func (r *run) leads(i, before int) {
	r.times.note(r.world.dnswriters[i].Name, "leads")
	if before != i && before >= 0 {
		r.coverage.add(r.coverage.reached, caseLed, 1)
	}
}

// measure takes over what others counted.
func (r *run) measure() {
	var unclear, refused int
	for _, p := range r.world.publishers {
		unclear += int(min(p.total(metricUnclear), p.total(metricReadBacks)))
		refused += int(p.total(metricRefused))
	}
	over := 0
	for _, d := range r.world.dnswriters {
		over += said(d.Process, conflictOver)
	}
	r.coverage.mu.Lock()
	defer r.coverage.mu.Unlock()
	r.coverage.reached[caseConflict] = over
	r.coverage.reached[caseUnclear] = unclear
	r.coverage.reached[caseRefused] = refused
	r.coverage.reached[caseRefill] = int(r.observer.refilled.Load())
}

// conflictOver is what the DNS writer logs when a conflict that it had told of
// is over.
const conflictOver = "conflict is over"

// explain adds to an error all that helps to understand it.
func (r *run) explain(err error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n\nTo run it again: make soak SOAK=%v SEED=%d FORM=%s\n", r.options.Length, r.options.Seed, r.options.Form)
	fmt.Fprintf(&b, "\nWhat happened (seconds, who, what):\n%s", r.times.about(err.Error(), true))
	b.WriteString(r.logOf(err.Error()))
	for _, p := range r.world.processes() {
		fmt.Fprintf(&b, "\nThe log of %s ends with:\n%s", p.Name, p.LogTail())
	}
	return fmt.Errorf("%w%s", err, b.String())
}

// about tells what bears on the rows and names of a failure that may pass.
func (r *run) about(failure string) string {
	return r.times.about(failure, false) + r.logOf(failure)
}

// logOf is what the DNS writers have logged of the names of a failure.
func (r *run) logOf(failure string) string {
	var b strings.Builder
	for _, name := range namesIn(failure) {
		for _, d := range r.world.dnswriters {
			fmt.Fprintf(&b, "\n%s on %s:\n%s", d.Name, name, linesWith(d.Process, name))
		}
	}
	return b.String()
}
