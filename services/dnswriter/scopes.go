package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/services/dnswriter/lease"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/services/dnswriter/verify"
)

// A scope is one of the DNS servers that are kept in step, all by one picture of
// the reservations and one client of the appliance.
type scope struct {
	*reconcile.Reconciler
	name   string
	brake  *brake.Brake     // nil of a verb that looks at something else
	verify *verify.Verifier // nil without --verify-dns
}

type scopes []scope

// newScope makes the Reconciler of a scope, with a brake whose counts stand in the
// store. With readOnly nothing is written there.
func newScope(c reconcile.Config, cfg brake.Config) scope {
	s := scope{name: c.Scope}
	cfg.Scope, cfg.HoldDown, cfg.Log = c.Scope, c.HoldDown, c.Log
	cfg.Owned = func() int { return s.Owned() }
	cfg.Released = func(lanes []string) { s.Released(lanes) }
	s.brake = brake.New(cfg)
	c.Brake = s.brake
	s.Reconciler = reconcile.New(c)
	return s
}

// parts are what the scopes of the service share beside the picture.
type parts struct {
	client *solidserver.Client
	view   *events.View
	bucket *bucket.Bucket
	lease  *lease.Lease // nil: none
}

// newLease makes the lease that this instance competes for; nil if it does not: a
// single check is made whoever else is at work, and to observe needs no turn.
func (v *runVerb) newLease(d *daemon.Daemon, documents *bucket.Bucket) *lease.Lease {
	if v.Lease == off || v.Once || v.Caution.Policy == reconcile.Observe.String() {
		return nil
	}
	name := v.Lease
	if name == auto {
		name = v.leaseName()
	}
	return lease.New(lease.Config{Bucket: documents, Name: name, Log: d.Log, Metrics: d.Metrics})
}

// compete competes for the lease until ctx ends, but not before the reservations are
// known: an instance that cannot read the stream would hold it and do nothing, while
// another one stands by that could work.
func (all scopes) compete(ctx context.Context, l *lease.Lease) error {
	if !all[0].AwaitCaughtUp(ctx) { // all have one picture
		return nil
	}
	return l.Run(ctx)
}

// writer makes the client of the appliance. Under a lease it sends a change only while
// that is held for long enough: the reconciler asks as well, but what an operation
// reads first, and waits for, comes after that.
func (v *runVerb) writer(d *daemon.Daemon, held *lease.Lease) (*solidserver.Client, error) {
	config := v.solidserver()
	config.Metrics, config.Log = solidserver.NewMetrics(d.Metrics), d.Log
	if held != nil {
		config.MayWrite = func() error {
			if !held.Held(2 * solidserver.WriteTimeout) {
				return errShort
			}
			return nil
		}
	}
	return solidserver.New(config)
}

var errShort = errors.New("the lease is not held for long enough")

// auto is the value of settings that follow from others.
const auto = "auto"

// leaseName is the name of the lease of all instances that write the same records
// of the same reservations.
func (v *runVerb) leaseName() string {
	target, placing, filter := v.Sight.Target, v.Sight.Placing, v.Sight.Filter
	servers, _ := target.Names.servers()
	views, _ := target.Names.views()
	of := []string{v.Sight.Appliance.place()}
	for _, scope := range target.Scopes {
		of = append(of, scope, servers[scope], views[scope])
	}
	return lease.AutoName(append(of, fmt.Sprint(placing.Zones), fmt.Sprint(filter.Subnets), fmt.Sprint(filter.Patterns))...)
}

// scopes makes the reconcilers of all scopes.
func (v *runVerb) scopes(d *daemon.Daemon, of parts) (scopes, error) {
	configs, err := v.Sight.configs(d, of.client, of.view, v.Caution)
	if err != nil {
		return nil, err
	}
	limit, err := v.Caution.limit()
	if err != nil {
		return nil, err
	}
	resolvers, err := v.Resolvers.servers()
	if err != nil {
		return nil, err
	}
	metrics, brakes, verifiers := reconcile.NewMetrics(d.Metrics), brake.NewMetrics(d.Metrics), verify.NewMetrics(d.Metrics)
	phases := newPhases(d.Status)
	var all scopes
	for _, c := range configs {
		c.Sweep, c.Workers, c.Metrics = v.Sweep, v.Workers, metrics
		c.Alive = d.Progress("reconcile "+c.Scope, time.Minute).Beat
		c.Phase = phases.of(c.Scope, len(configs))
		if of.lease != nil {
			c.Lease = of.lease
		}
		var verifier *verify.Verifier
		if servers := resolvers[c.Scope]; len(servers) > 0 {
			verifier = verify.New(verify.Config{Scope: c.Scope, Servers: servers, Metrics: verifiers, Log: d.Log})
			c.Verify = verifier
		}
		s := newScope(c, v.Sight.braked(c.Scope, brake.Config{
			Limit: limit, Store: of.bucket, Metrics: brakes,
			ReadOnly: c.Policy == reconcile.Observe,
		}))
		s.verify = verifier
		all = append(all, s)
	}
	return all, nil
}

// handlers hands everything to every scope, one after the other.
func (all scopes) handlers() events.Handlers {
	each := make([]events.Handlers, len(all))
	for i, s := range all {
		each[i] = s.Handlers()
	}
	return events.Handlers{
		Changed: func(d events.Difference) {
			for _, h := range each {
				h.Changed(d)
			}
		},
		CaughtUp: func() {
			for _, h := range each {
				h.CaughtUp()
			}
		},
		Heartbeat: func(s events.SourceState) {
			for _, h := range each {
				h.Heartbeat(s)
			}
		},
	}
}

// once does one check of each scope, all at a time.
func (all scopes) once(ctx context.Context, d *daemon.Daemon) error {
	results := make([]reconcile.Result, len(all))
	errs := make([]error, len(all))
	var checks conc.WaitGroup
	for i, s := range all {
		checks.Go(func() { results[i], errs[i] = s.RunOnce(ctx) })
	}
	checks.Wait()
	d.Line("")
	verdicts := make([]error, len(all))
	for i, s := range all {
		result := results[i]
		status := s.Status()
		fmt.Fprintf(d.Out, "scope %s: %d records created, %d updated, %d removed, %d removals withheld, %s, %d parked\n",
			s.name, result.Created, result.Updated, result.Removed, len(result.Withheld)+stopped(result), plural(status.Conflicts, "conflict"), status.ParkedInAll())
		for _, record := range result.Withheld {
			fmt.Fprintf(d.Out, "scope %s: withheld: %s\n", s.name, record)
		}
		for _, list := range result.Stopped {
			fmt.Fprintf(d.Out, "scope %s: list %s: %s\n", s.name, list.Hash, list)
			for _, item := range list.Items {
				fmt.Fprintf(d.Out, "scope %s: withheld: %s\n", s.name, item.Record)
			}
		}
		if verdicts[i] = verdict(result, errs[i]); verdicts[i] != nil {
			verdicts[i] = fmt.Errorf("scope %s: %w", s.name, verdicts[i])
		}
	}
	return worst(verdicts)
}

// stopped counts the removals that the brake withholds.
func stopped(result reconcile.Result) (n int) {
	for _, list := range result.Stopped {
		if list.Kind != brake.Replacement {
			n += len(list.Items)
		}
	}
	return n
}
