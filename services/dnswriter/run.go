package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/services/dnswriter/lease"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// runVerb is the service itself.
type runVerb struct {
	Sight     sight     `embed:""`
	Caution   caution   `embed:""`
	Resolvers resolvers `embed:""`

	Sweep   time.Duration `name:"sweep" default:"15m" help:"Time between consistency checks (default: ${default})."`
	Workers int           `name:"workers" default:"8" help:"How many names of a scope are worked on at a time, 1 to 64 (default: ${default})."`
	Lease   string        `name:"lease" default:"auto" placeholder:"auto|off|NAME" help:"Of several dnswriters with the same lease in NATS one writes and the others stand by: auto (one for this SOLIDserver and these scopes, servers, views, zones and filters), off (none), or the name of a lease (default: ${default})."`
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
	if err := lease.CheckName(v.Lease); err != nil {
		errs = append(errs, fmt.Errorf("--lease: %w, or auto or off", err))
	}
	return errors.Join(errs...)
}

// solidserver returns the settings of the client. Each worker has one call under
// way at a time, and so has the check of each scope while it reads a zone.
func (v runVerb) solidserver() solidserver.Config {
	return v.Sight.Appliance.config((v.Workers + 1) * len(v.Sight.Target.Scopes))
}

// Run runs the service until ctx ends, or does one check.
func (v *runVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	conn, err := v.Sight.NATS.Connect(ctx, name, d.Log)
	if err != nil {
		return err
	}
	defer conn.Close()
	documents := bucket.New(conn)
	lease := v.newLease(d, documents)
	client, err := v.writer(d, lease)
	if err != nil {
		return err
	}
	defer client.Close()

	view := events.NewView()
	of := parts{client: client, view: view, bucket: documents, lease: lease}
	scopes, err := v.scopes(d, of)
	if err != nil {
		return err
	}
	handlers := scopes.handlers()
	handlers.Alive, handlers.Log = d.Progress("stream", time.Minute).Beat, d.Log
	scopes.serve(d, view, of.lease)
	d.Ready("nats", func() error { return connected(conn) })
	d.Ready("stream", scopes[0].CaughtUp)
	tasks := []daemon.Task{{Name: "stream", Run: func(ctx context.Context) error {
		return events.Watch(ctx, conn, view, handlers)
	}}}
	if v.Once {
		tasks = append(tasks, daemon.Task{Name: "reconcile", Run: func(ctx context.Context) error { return scopes.once(ctx, d) }})
	}
	if of.lease != nil {
		d.Ready("lease", func() error { return led(of.lease) })
		tasks = append(tasks, daemon.Task{Name: "lease", Run: func(ctx context.Context) error { return scopes.compete(ctx, of.lease) }})
	}
	for _, s := range scopes {
		d.Ready("dns "+s.name, s.InStep)
		d.Ready("ownership marks "+s.name, s.KeepsMarks)
		d.Ready("brake "+s.name, s.brake.Err)
		if !v.Once {
			tasks = append(tasks, daemon.Task{Name: "reconcile " + s.name, Run: s.Run})
		}
		if s.verify != nil {
			tasks = append(tasks, daemon.Task{Name: "verify " + s.name, Run: s.verify.Run})
		}
	}
	if d.Interactive() {
		tasks = append(tasks, daemon.Task{Name: "progress", Run: func(ctx context.Context) error {
			return scopes.showProgress(ctx, d.Line)
		}})
	}
	return d.Run(ctx, tasks...)
}

// led tells whether some instance is known to hold the lease: while none does, nothing is
// written.
func led(l *lease.Lease) error {
	if holder, mine := l.Holder(); holder == "" && !mine {
		return errors.New("no instance is known to hold the lease: is NATS reachable, and may its user use the key-value bucket " + bucket.Name + "?")
	}
	return nil
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
