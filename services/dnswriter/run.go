package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// Run runs the service until ctx ends, or does one check.
func (v *runVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	zones, err := dns.ParseZones(v.Zones)
	if err != nil {
		return err
	}
	servers, err := v.servers()
	if err != nil {
		return err
	}
	views, err := v.views()
	if err != nil {
		return err
	}
	config := v.solidserver()
	config.Metrics, config.Log = solidserver.NewMetrics(d.Metrics), d.Log
	client, err := solidserver.New(config)
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := v.NATS.Connect(ctx, name, d.Log)
	if err != nil {
		return err
	}
	defer conn.Close()

	view := events.NewView()
	reconciler := reconcile.New(reconcile.Config{
		Provider: client.Scope(v.Scope, servers[v.Scope], views[v.Scope]),
		View:     view, Zones: zones, Sources: v.Sources,
		Scope: v.Scope, PublicOnly: v.Scope == externalScope, TTL: v.TTL,
		HoldDown: v.HoldDown, Sweep: v.Sweep, Workers: v.Workers,
		Metrics: reconcile.NewMetrics(d.Metrics), Log: d.Log,
		Alive: d.Progress("reconcile", time.Minute).Beat,
		Phase: d.Status,
	})
	handlers := reconciler.Handlers()
	handlers.Alive, handlers.Log = d.Progress("stream", time.Minute).Beat, d.Log

	d.Ready("nats", func() error { return connected(conn) })
	d.Ready("stream", reconciler.CaughtUp)
	d.Ready("dns", reconciler.InStep)
	d.Ready("ownership marks", reconciler.KeepsMarks)
	return d.Run(ctx,
		daemon.Task{Name: "stream", Run: func(ctx context.Context) error {
			return events.Watch(ctx, conn, view, handlers)
		}},
		daemon.Task{Name: "reconcile", Run: func(ctx context.Context) error {
			if v.Once {
				return once(ctx, d, reconciler)
			}
			return reconciler.Run(ctx)
		}})
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

// once does one check.
func once(ctx context.Context, d *daemon.Daemon, reconciler *reconcile.Reconciler) error {
	result, err := reconciler.RunOnce(ctx)
	fmt.Fprintf(d.Out, "%d records created, %d updated, %d removed, %d removals withheld\n",
		result.Created, result.Updated, result.Removed, len(result.Withheld))
	for _, record := range result.Withheld {
		fmt.Fprintln(d.Out, "withheld:", record)
	}
	return verdict(result, err)
}

// verdict is what the process ends with after one check.
func verdict(result reconcile.Result, err error) error {
	switch {
	case err != nil:
		return err
	case len(result.Incomplete) > 0:
		return fmt.Errorf("%d removals are withheld, because these sources are not complete: %s: %w",
			len(result.Withheld), strings.Join(result.Incomplete, ", "), daemon.ErrDifference)
	case len(result.Withheld) > 0:
		return fmt.Errorf("%d removals are withheld, because the proof that no reservation asks for the records did not come in time: %w",
			len(result.Withheld), daemon.ErrDifference)
	}
	return daemon.ErrDone
}
