package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// runVerb is the service itself.
type runVerb struct {
	Sight     sight     `embed:""`
	Caution   caution   `embed:""`
	Resolvers resolvers `embed:""`

	Sweep   time.Duration `name:"sweep" default:"15m" help:"Time between consistency checks (default: ${default})."`
	Workers int           `name:"workers" default:"8" help:"How many names of a scope are worked on at a time, 1 to 64 (default: ${default})."`
	Lease   string        `name:"lease" default:"auto" placeholder:"auto|off|NAME" help:"Of several dnswriters with the same lease in NATS one writes and the others stand by: auto (a lease for this SOLIDserver and these scopes), off (none), or the name of a lease (default: ${default})."`
	Once    bool          `name:"once" help:"Do one consistency check and end. NATS and SOLIDserver are waited for, 1 minute each. Exit code 1 if something failed, 3 if removals are withheld, or if --policy does not allow all that is to be done."`
}

// Validate reports every setting that cannot work. It looks at files, but opens
// no connection.
func (v runVerb) Validate() error {
	errs := slices.Concat(v.Sight.check(), v.Caution.check(), v.Resolvers.check(v.Sight.Target.Scopes))
	wrong := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(v.Sweep < time.Second, "--sweep=%v: must be at least 1s", v.Sweep)
	wrong(v.Workers < 1 || v.Workers > 64, "--workers=%d: must be from 1 to 64", v.Workers)
	wrong(!leaseName.MatchString(v.Lease), "--lease=%s: give auto, off, or a name of up to 32 letters, digits, _ and -", v.Lease)
	return errors.Join(errs...)
}

var leaseName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// solidserver returns the settings of the client. Each worker has one call under
// way at a time, and so has the check of each scope while it reads a zone.
func (v runVerb) solidserver() solidserver.Config {
	return v.Sight.Appliance.config((v.Workers + 1) * len(v.Sight.Target.Scopes))
}

// Run runs the service until ctx ends, or does one check.
func (v *runVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	config := v.solidserver()
	config.Metrics, config.Log = solidserver.NewMetrics(d.Metrics), d.Log
	client, err := solidserver.New(config)
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := v.Sight.NATS.Connect(ctx, name, d.Log)
	if err != nil {
		return err
	}
	defer conn.Close()

	view := events.NewView()
	scopes, err := v.scopes(d, client, view)
	if err != nil {
		return err
	}
	handlers := scopes.handlers()
	handlers.Alive, handlers.Log = d.Progress("stream", time.Minute).Beat, d.Log
	scopes.serve(d, view)
	d.Ready("nats", func() error { return connected(conn) })
	d.Ready("stream", scopes[0].CaughtUp)
	tasks := []daemon.Task{{Name: "stream", Run: func(ctx context.Context) error {
		return events.Watch(ctx, conn, view, handlers)
	}}}
	if v.Once {
		tasks = append(tasks, daemon.Task{Name: "reconcile", Run: func(ctx context.Context) error { return scopes.once(ctx, d) }})
	}
	for _, s := range scopes {
		d.Ready("dns "+s.name, s.InStep)
		d.Ready("ownership marks "+s.name, s.KeepsMarks)
		if !v.Once {
			tasks = append(tasks, daemon.Task{Name: "reconcile " + s.name, Run: s.Run})
		}
	}
	if d.Interactive() {
		tasks = append(tasks, daemon.Task{Name: "progress", Run: func(ctx context.Context) error {
			return scopes.showProgress(ctx, d.Line)
		}})
	}
	return d.Run(ctx, tasks...)
}

// connected tells whether NATS is there. Without it DNS stays as it is.
func connected(conn *nats.Conn) error {
	switch err := conn.LastError(); {
	case conn.IsConnected():
		return nil
	case err != nil:
		return fmt.Errorf("not connected: %w", err)
	default:
		return nats.ErrConnectionClosed
	}
}

// A scope is one of the DNS servers that are kept in step, all by one picture of
// the reservations and one client of the appliance.
type scope struct {
	*reconcile.Reconciler
	name string
}

type scopes []scope

// scopes makes the reconcilers of all scopes.
func (v *runVerb) scopes(d *daemon.Daemon, client *solidserver.Client, view *events.View) (scopes, error) {
	configs, err := v.Sight.configs(d, client, view, v.Caution)
	if err != nil {
		return nil, err
	}
	metrics := reconcile.NewMetrics(d.Metrics)
	phases := newPhases(d.Status)
	var all scopes
	for _, c := range configs {
		c.Sweep, c.Workers, c.Metrics = v.Sweep, v.Workers, metrics
		c.Alive = d.Progress("reconcile "+c.Scope, time.Minute).Beat
		c.Phase = phases.of(c.Scope, len(configs))
		all = append(all, scope{name: c.Scope, Reconciler: reconcile.New(c)})
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
		fmt.Fprintf(d.Out, "scope %s: %d records created, %d updated, %d removed, %d removals withheld, %d conflicts, %d parked\n",
			s.name, result.Created, result.Updated, result.Removed, len(result.Withheld), status.Conflicts, status.ParkedInAll())
		for _, record := range result.Withheld {
			fmt.Fprintf(d.Out, "scope %s: withheld: %s\n", s.name, record)
		}
		if verdicts[i] = verdict(result, errs[i]); verdicts[i] != nil {
			verdicts[i] = fmt.Errorf("scope %s: %w", s.name, verdicts[i])
		}
	}
	return worst(verdicts)
}
