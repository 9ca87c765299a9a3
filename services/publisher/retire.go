package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/natsconn"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/embeddednats"
	"github.com/keastream/keastream/services/publisher/retire"
)

// retireVerb takes a source out of service for good. It needs no database.
type retireVerb struct {
	NATS     natsconn.Settings     `embed:""`
	Embedded embeddednats.Settings `embed:""`

	// Not from the environment: what a publisher's settings name is not what a
	// person wants to be rid of.
	Source       string        `name:"source" required:"" env:"-" placeholder:"SOURCE" help:"Source to retire, as its publisher named it."`
	AllowUnknown bool          `name:"allow-unknown" env:"-" help:"Retire the source although the stream holds nothing of it: records and files may still name it after the stream was deleted."`
	DryRun       bool          `name:"dry-run" env:"-" help:"Print what would be done, and do nothing."`
	TombstoneTTL time.Duration `name:"tombstone-ttl" default:"720h" help:"How long a deletion stays in the stream (default: ${default})."`

	// Quiet is how long the source must have been silent; 0 means the default.
	Quiet time.Duration `kong:"-"`
}

// Validate reports every setting that cannot work.
func (v retireVerb) Validate() error {
	var errs []error
	if err := events.CheckSource(v.Source); v.Source != "" && err != nil {
		errs = append(errs, fmt.Errorf("--source: %w", err))
	}
	if v.Embedded.Embedded == (len(v.NATS.URL) > 0) {
		errs = append(errs, errors.New("give exactly one of --nats-url and --embedded-nats"))
	}
	if v.TombstoneTTL < time.Hour {
		errs = append(errs, fmt.Errorf("--tombstone-ttl %v: must be at least 1h", v.TombstoneTTL))
	}
	return errors.Join(errs...)
}

// Run retires the source, or says what that would do.
func (v *retireVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	if v.Embedded.Embedded {
		server, err := embeddednats.Start(ctx, v.Embedded, d.Log)
		if err != nil {
			return err
		}
		defer server.Shutdown()
		v.NATS.InProcess = server
	}
	conn, err := v.NATS.Connect(ctx, d.Name, d.Log)
	if err != nil {
		return err
	}
	defer conn.Close()

	config := retire.Config{
		NATS: conn, Source: v.Source, AllowUnknown: v.AllowUnknown, TombstoneTTL: v.TombstoneTTL, Quiet: v.Quiet, Log: d.Log,
	}
	if v.DryRun {
		found, err := retire.Look(ctx, config)
		if err != nil {
			return err
		}
		return v.describe(d.Out, found)
	}
	found, err := retire.Run(ctx, config)
	switch {
	case err != nil:
		return err
	case found.Done():
		d.Log.InfoContext(ctx, "the source is retired already", "source", v.Source, "at", found.Last.At)
	default:
		d.Log.InfoContext(ctx, "the source is retired", "source", v.Source, "reservations", found.Live, "database", found.Last.Database)
	}
	return nil
}

// describe prints for people what was found.
func (v *retireVerb) describe(out io.Writer, found retire.Found) error {
	text := fmt.Sprintf("source %s: %d reservations would be published as deleted\n", v.Source, found.Live)
	if found.Done() {
		text = fmt.Sprintf("source %s: retired already, nothing would be done\n", v.Source)
	}
	switch last := found.Last; {
	case last.At.IsZero():
		text += "last heartbeat: none that can be read\n"
	default:
		text += fmt.Sprintf("last heartbeat: %s, %s ago, of database %s with %d reservations\n",
			last.At.Format(time.RFC3339), time.Since(last.At).Round(time.Second), last.Database, last.Hosts)
	}
	_, err := io.WriteString(out, text)
	return err
}
