package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/natsconn"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// beatWithin is how long a loop may show no sign of life. Both show one at
// least every few seconds; one write to a slow disk may take longer.
const beatWithin = time.Minute

// runVerb keeps the files up to date.
type runVerb struct {
	NATS natsconn.Settings `embed:""`

	OutputDir string         `name:"output-dir" default:"/var/lib/kea/discovery" placeholder:"DIR" help:"Directory of the inventory files; it must exist (default: ${default})."`
	Layout    cabinet.Layout `name:"layout" default:"both" enum:"both,list,ansible" help:"Form of the files: an Ansible inventory (ansible), the list of the replaced system (list), or the inventory with the list beside it (both) (default: ${default})."`
	FileMode  fileMode       `name:"file-mode" default:"0640" placeholder:"OCTAL" help:"Permissions of the files (default: ${default}). Their group is that of this process, or of the directory if that is set-group-ID."`
	Sources   []string       `name:"sources" placeholder:"SOURCE" help:"Kea databases, by the --source of their publishers, that must be complete before anything is removed, besides those that a file names. Give them all before files of the replaced system are taken over, which name none."`
	HoldDown  time.Duration  `name:"hold-down" default:"10s" help:"How long a reservation must be gone before its line is (default: ${default})."`
	Once      bool           `name:"once" help:"Bring the files up to date and end: with 0, or with 3 if removals are withheld for too long or a file that is not ours is in the way."`
	OnceWait  time.Duration  `name:"once-wait" default:"1m" help:"How much longer than the hold-down --once waits for the stream, and for the proof that what it is to remove is gone (default: ${default})."`
}

// fileMode are permissions that are read from octal digits.
type fileMode fs.FileMode

// UnmarshalText reads octal digits. The owner must be allowed to read and write.
func (m *fileMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 || n&0o600 != 0o600 {
		return errors.New("not permissions with which the owner can read and write: give octal digits as in 0640")
	}
	*m = fileMode(n)
	return nil
}

// Validate reports everything that is wrong with the settings.
func (v *runVerb) Validate() error {
	var problems []error
	if v.OutputDir == "" {
		problems = append(problems, errors.New("--output-dir: must be set: give the directory of the inventory files"))
	}
	for _, s := range v.Sources {
		if err := events.CheckSource(s); err != nil {
			problems = append(problems, fmt.Errorf("--sources: %w", err))
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"--hold-down", v.HoldDown}, {"--once-wait", v.OnceWait}} {
		if d.value < 0 {
			problems = append(problems, fmt.Errorf("%s=%v: is negative: give 0 or more", d.flag, d.value))
		}
	}
	return errors.Join(problems...)
}

// Run keeps the files up to date until ctx ends, or as --once says.
func (v *runVerb) Run(ctx context.Context, d *daemon.Daemon, c *cli) error {
	patterns, err := c.Naming.patterns()
	if err != nil {
		return err
	}
	conn, err := v.NATS.Connect(ctx, d.Name, d.Log)
	if err != nil {
		return err
	}
	defer conn.Close()

	view := events.NewView()
	todo := newPending()
	beat := d.Progress("files", beatWithin).Beat
	k := &keeper{
		directory: v.OutputDir, mode: fs.FileMode(v.FileMode), layout: v.Layout, patterns: patterns, sources: v.Sources,
		view: view, absences: newAbsences(view, v.HoldDown), metrics: newMetrics(d.Metrics), log: d.Log, alive: beat,
		status: make(map[string]status), digests: make(map[string][32]byte),
	}
	l := loop{pending: todo, alive: beat, round: func(ctx context.Context, due work) work {
		again := k.round(ctx, due)
		k.revisitProven(todo) // by sources that were retired, and say nothing any more
		d.Status(k.last.Load().summary())
		return again
	}}
	if v.Once {
		l.ended = once{keeper: k, deadline: time.Now().Add(v.HoldDown + v.OnceWait)}.ended
	}

	d.Ready("stream", func() error {
		switch {
		case !conn.IsConnected():
			return errors.New("not connected to NATS")
		case !view.CaughtUp():
			return errors.New("the stream has not been read to its end yet")
		}
		return nil
	})
	d.Ready("directory", func() error {
		r := k.last.Load()
		if r == nil {
			return errors.New("the files have not been looked at yet")
		}
		return r.failure()
	})
	handlers := k.handlers(todo)
	handlers.Alive = d.Progress("stream", beatWithin).Beat
	return d.Run(ctx,
		daemon.Task{Name: "stream", Run: func(ctx context.Context) error { return events.Watch(ctx, conn, view, handlers) }},
		daemon.Task{Name: "files", Run: l.Run},
	)
}

// handlers add what changes in the view to what is pending.
func (k *keeper) handlers(todo *pending) events.Handlers {
	touch := func(r *events.Reservation) {
		if r == nil {
			return
		}
		if file, lines, ok := k.patterns.Concerns(*r); ok {
			for _, line := range lines {
				k.absences.touch(file, line)
			}
			todo.change(file)
		}
	}
	known := make(map[string]bool)
	return events.Handlers{
		Log: k.log,
		Changed: func(d events.Difference) {
			touch(d.Before)
			touch(d.After)
			todo.change() // other cabinets may follow: of a row that this one replaces, say
		},
		CaughtUp: func() {
			k.absences.restart()
			todo.everything()
		},
		Heartbeat: func(s events.SourceState) {
			if !known[s.Source] {
				// Files that name no source wait for the word of all of them.
				known[s.Source] = true
				todo.everything()
			}
			k.log.Debug("heartbeat", "source", s.Source, "complete", s.Complete, "hosts", s.Live, "drained_at", s.Heartbeat.DrainedAt)
			k.revisitProven(todo)
		},
	}
}

// revisitProven adds the files with lines that are proven to be gone since it was
// called last.
func (k *keeper) revisitProven(todo *pending) {
	if files := k.absences.testify(); len(files) > 0 {
		todo.change(files...)
	}
}

// once tells when a run that ends by itself has reached its end.
type once struct {
	keeper   *keeper
	deadline time.Time
}

// ended returns nil as long as waiting may help.
func (o once) ended() error {
	late := !time.Now().Before(o.deadline)
	r := o.keeper.last.Load()
	switch {
	case r == nil && late:
		return errors.New("the stream could not be read to its end in time")
	case r == nil:
		return nil
	case r.failure() != nil:
		return r.failure()
	case r.files[withheld] > 0 && !late:
		return nil
	case r.files[withheld] > 0:
		return fmt.Errorf("%d lines in %d files are not removed, because it is not proven in time that they are gone; sources that are not complete: %q: %w",
			r.withheld, r.files[withheld], o.keeper.absences.waiting(), daemon.ErrDifference)
	case len(r.blocked) > 0:
		return fmt.Errorf("files that are not ours are in the place of inventory files: %s: %w",
			strings.Join(r.blocked, ", "), daemon.ErrDifference)
	}
	return daemon.ErrDone
}
