package soak

import (
	"context"
	"time"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
)

// dnsTypes are the types of records that the DNS writer writes.
var dnsTypes = []string{"A", "AAAA", "PTR"}

// dnsLimit is how long DNS may take to follow: the lease of a DNS writer that
// vanished has to end, names that failed wait for up to some seconds, one whose
// write may still happen is looked at again after a minute, as all names are a
// minute after a DNS writer began to lead; and a removal waits for its proof, and
// for an operator. dnsUsual is enough for what did not fail several times.
const dnsLimit, dnsUsual = 150*time.Second + leaseTerm, 18*time.Second + leaseTerm

// quiet pauses the writers and checks everything.
func (r *run) quiet(ctx context.Context) error {
	r.gate.Lock()
	defer r.gate.Unlock()
	r.times.note("QUIET", "writers pause")
	stream := e2e.Checker{
		DSN: r.world.pg.DSN(database, pgtest.Kea), NATS: r.world.nats, Source: source, View: r.view,
	}
	if err := await(ctx, &stream, quietLimit); err != nil {
		return err
	}
	if r.credentials.Swap(false) {
		r.coverage.add(r.coverage.reached, caseCredentials, 1) // nobody is complete without a session
	}
	r.times.note("QUIET", "the stream is equal")
	if err := r.quietDNS(ctx); err != nil {
		return err
	}
	r.times.note("QUIET", "all is equal")
	return nil
}

// quietDNS checks DNS. By now the stream is right; that rows change which have
// nothing to do with what has to be removed only brings heartbeats sooner than
// every 10 s.
func (r *run) quietDNS(ctx context.Context) error {
	touching, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for pause(touching, 1200*time.Millisecond); touching.Err() == nil; pause(touching, 1200*time.Millisecond) {
			_ = r.world.exec(touching, pgtest.Kea, sqlTouch)
		}
	}()
	if r.foreigners.anyTouched() && !r.checksItself() {
		// All other names have to be right without a check.
		if err := r.dnsEqual(ctx, r.foreigners.isTouched); err != nil {
			return err
		}
		if err := r.askForCheck(ctx); err != nil {
			return err
		}
	}
	if err := r.dnsEqual(ctx, nil); err != nil {
		return err
	}
	inDNS := r.appliance.places()
	r.steady.settle(func(at place) bool { return inDNS[at] })
	if err := r.foreigners.settle(r.appliance.records()); err != nil {
		return broken(err)
	}
	return context.Cause(ctx)
}

// dnsEqual waits until DNS equals what follows from the rows, but for the names to
// be skipped. It tells when that takes unusually long.
func (r *run) dnsEqual(ctx context.Context, skip func(name string) bool) error {
	checker := e2e.Checker{
		DSN: r.world.pg.DSN(database, pgtest.Kea), Records: r.appliance.records, Types: dnsTypes,
		Zone: e2e.Zone, Reverse: e2e.ReverseZones(), TTL: ttl, Foreign: r.foreigners.list(), Beside: true, Skip: skip,
	}
	began := time.Now()
	slow := await(ctx, &checker, dnsUsual)
	if slow == nil {
		return nil
	}
	r.times.note("QUIET", "DNS takes long: %v", slow)
	err := await(ctx, &checker, dnsLimit)
	r.options.Log("DNS took %.1f s; after %v: %v\n%s", time.Since(began).Seconds(), dnsUsual, slow, r.about(slow.Error()))
	return err
}

// await awaits that a checker finds nothing.
func await(ctx context.Context, c *e2e.Checker, limit time.Duration) error {
	checking, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := c.Await(checking)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return broken(err)
	}
	return nil
}

// breathe pauses the writers now and then for as long as it takes until the
// publisher has sent a heartbeat, which it does when nothing has changed for a
// second: so the proofs of removals come amid faults as well.
func (r *run) breathe(ctx context.Context) {
	const every, long = 3 * time.Second, 1300 * time.Millisecond
	for ctx.Err() == nil {
		pause(ctx, every)
		r.gate.Lock()
		pause(ctx, long)
		r.gate.Unlock()
	}
}
