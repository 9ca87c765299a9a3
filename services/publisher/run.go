package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/natsconn"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/embeddednats"
	"github.com/keastream/keastream/services/publisher/relay"
)

// runVerb is the service itself.
type runVerb struct {
	NATS     natsconn.Settings     `embed:""`
	Embedded embeddednats.Settings `embed:""`

	Source         string        `name:"source" default:"kea" help:"Name of this Kea database in the stream: 1 to 32 of a-z, 0-9, _ and - (default: ${default})."`
	Channel        string        `name:"channel" default:"kea_lease_events" help:"Channel on which the triggers notify (default: ${default})."`
	Poll           time.Duration `name:"poll" default:"5s" help:"How long a change may lie unnoticed when its notification was lost (default: ${default})."`
	Resync         time.Duration `name:"resync" default:"1h" help:"Time between comparisons of the whole database with the whole stream; SIGUSR1 asks for one now (default: ${default})."`
	Outbox         string        `name:"outbox" default:"auto" enum:"auto,none" help:"auto: work with the outbox, or, as long as none was ever installed for this source, without; none: work without it even so. Without it a change is found when something notifies on the channel, or within a minute (default: ${default})."`
	Once           bool          `name:"once" help:"Compare once, publish what differs, and end; with exit code 1 if that is not possible for a minute."`
	AcceptDatabase bool          `name:"accept-database" help:"Publish although the stream holds the reservations of another database under this source, or although the source was retired. What the other one had and this one has not is then published as deleted."`

	Replicas     int           `name:"stream-replicas" default:"1" help:"Replicas of the stream, 1 or 3, when it is created (default: ${default})."`
	MaxBytes     int64         `name:"stream-max-bytes" default:"1073741824" help:"Size limit of the stream in bytes when it is created; 1 GiB holds about 3 million reservations (default: ${default})."`
	TombstoneTTL time.Duration `name:"tombstone-ttl" default:"720h" help:"How long a deletion stays in the stream (default: ${default})."`
}

// Validate reports every setting that cannot work.
func (v runVerb) Validate() error {
	var errs []error
	wrong := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if err := events.CheckSource(v.Source); err != nil {
		errs = append(errs, fmt.Errorf("--source: %w", err))
	}
	wrong(v.Embedded.Embedded == (len(v.NATS.URL) > 0), "give exactly one of --nats-url and --embedded-nats")
	wrong(v.Channel == "" || len(v.Channel) > 63, "--channel %q: must be 1 to 63 bytes, as an identifier of PostgreSQL", v.Channel)
	wrong(v.Poll < 10*time.Millisecond || v.Poll > time.Minute, "--poll %v: must be from 10ms to 1m", v.Poll)
	wrong(v.Resync < time.Second, "--resync %v: must be at least 1s", v.Resync)
	wrong(v.Replicas != 1 && v.Replicas != 3, "--stream-replicas %d: must be 1 or 3", v.Replicas)
	wrong(v.Embedded.Embedded && v.Replicas > 1, "--stream-replicas %d: --embedded-nats is a single server, use 1", v.Replicas)
	wrong(v.MaxBytes < 1<<20, "--stream-max-bytes %d: must be at least 1 MiB", v.MaxBytes)
	wrong(v.TombstoneTTL < time.Hour, "--tombstone-ttl %v: must be at least 1h", v.TombstoneTTL)
	return errors.Join(errs...)
}

// Run runs the service until ctx ends.
func (v *runVerb) Run(ctx context.Context, d *daemon.Daemon, c *cli) error {
	// First of all: until somebody listens, the signal ends the process.
	compareNow := forwardSignal(ctx)

	var tasks []daemon.Task
	if v.Embedded.Embedded {
		// Before everything and until after everything: the consumers need it even
		// while the database is away.
		server, err := embeddednats.Start(ctx, v.Embedded, d.Log)
		if err != nil {
			return err
		}
		defer server.Shutdown()
		v.NATS.InProcess = server
		d.Ready("embedded NATS", server.Ready)
		tasks = append(tasks, daemon.Task{Name: "embedded NATS", Run: server.Run})
	}
	conn, err := v.NATS.Connect(ctx, "keastream-publisher", d.Log)
	if err != nil {
		return err
	}
	defer conn.Close()

	metrics := relay.NewMetrics(d.Metrics)
	r := &relay.Relay{
		Connect: c.Database.connect,
		NATS:    conn,
		Stream: events.StreamConfig{
			Replicas: v.Replicas, MaxBytes: v.MaxBytes, TombstoneTTL: v.TombstoneTTL, Statistics: metrics.Publishing,
		},
		Source: v.Source, Channel: v.Channel, Poll: v.Poll, Resync: v.Resync, Once: v.Once,
		AcceptDatabase: v.AcceptDatabase, WithoutOutbox: v.Outbox == "none", CompareNow: compareNow,
		Log: d.Log, Metrics: metrics,
		Alive: d.Progress("relay", time.Minute).Beat,
		Phase: d.Status,
	}
	d.Ready("relay", r.Ready)
	tasks = append(tasks, daemon.Task{Name: "relay", Run: func(ctx context.Context) error {
		if err := r.Run(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		return daemon.ErrDone
	}})
	return d.Run(ctx, tasks...)
}

// forwardSignal turns SIGUSR1 into a wish for a comparison, until ctx ends.
func forwardSignal(ctx context.Context) <-chan struct{} {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	wishes := make(chan struct{}, 1)
	go func() { // ends with ctx, which ends before the process does
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				select {
				case wishes <- struct{}{}:
				default: // one is asked for already
				}
			}
		}
	}()
	return wishes
}
