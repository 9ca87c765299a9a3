// Package retire takes a source out of the stream for good, when its database
// is gone or Kea does not use it any more.
//
// Consumers remove what came from a source only by its word, and a source
// without a publisher says nothing. So a retirement speaks in its place, in this
// order:
//
//	wait and see that no publisher is active
//	a heartbeat that is retired and not complete   publishers are refused from here on
//	every reservation as deleted
//	a heartbeat that is retired and complete       consumers remove what is left
//
// The first heartbeat is stored over the one that was there and no other, so of
// a publisher and a retirement one is refused. A publisher that was held up all
// the time finds its next heartbeat refused and the source retired. What it may
// have published in between is found by running the retirement again.
//
// A crash at any point is repaired in the same way: until the last heartbeat
// consumers remove nothing, and after it there is nothing left to do.
package retire

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events"
)

var (
	// ErrActive is returned by Run when something was published for the source
	// meanwhile: it has a publisher that runs.
	ErrActive = errors.New("a publisher of the source is active")

	// ErrUnknown is returned when the stream holds nothing of the source.
	ErrUnknown = errors.New("the stream does not know the source")
)

// defaultQuiet is longer than the 10 s between two heartbeats of a publisher.
const defaultQuiet = 15 * time.Second

// unknownDatabase stands in the heartbeats of a source of which no database is
// known. No publisher has it, so none takes the source for its own.
const unknownDatabase = "unknown"

// Config says which source is retired. NATS, Source and Log must be set.
type Config struct {
	// NATS is a connection to the server with the stream.
	NATS   *nats.Conn
	Source string
	// AllowUnknown retires a source of which the stream holds nothing: records
	// and files may still name it after the stream was deleted.
	AllowUnknown bool
	// TombstoneTTL is how long the deletions stay readable; default 720 h.
	TombstoneTTL time.Duration
	// Quiet is for how long nothing may be published for the source before it is
	// retired; default 15 s.
	Quiet time.Duration
	Log   *slog.Logger
}

// Found is what the stream holds of a source.
type Found struct {
	// Live is the number of reservations that are to be deleted.
	Live int
	// Last is the last heartbeat, the zero value if there is none that can be
	// read.
	Last events.Heartbeat
}

// Done tells whether the source is retired and nothing of it is left.
func (f Found) Done() bool { return f.Last.Retired && f.Last.Complete && f.Live == 0 }

// retirement is one source in an open stream.
type retirement struct {
	Config
	stream *events.Stream
	held   events.Replayed // as of the last replay
}

// Look returns what the stream holds of the source and changes nothing. There
// must be a stream; if it does not know the source, the error is ErrUnknown and
// names those that it knows.
func Look(ctx context.Context, cfg Config) (Found, error) {
	r, err := open(ctx, cfg)
	if err != nil {
		return Found{}, err
	}
	return r.found(), nil
}

// Run retires the source and returns what the stream held of it. Of a source
// that is retired already nothing is published.
//
// The errors are those of Look, ErrActive, and what the server said. After any
// of them Run may be called again, and goes on where it stopped.
func Run(ctx context.Context, cfg Config) (Found, error) {
	r, err := open(ctx, cfg)
	if err != nil {
		return Found{}, err
	}
	found := r.found()
	if found.Done() {
		return found, nil
	}
	if err := r.awaitQuiet(ctx); err != nil {
		return found, err
	}
	seq, err := r.beat(ctx, r.held.HeartbeatSequence, false)
	if err != nil {
		return found, err
	}
	r.Log.InfoContext(ctx, "publishers of the source are refused from now on", "source", r.Source)
	if err := r.finish(ctx, seq); err != nil {
		return found, fmt.Errorf("the retirement of source %s has begun and is not complete, run it again: %w", r.Source, err)
	}
	return found, nil
}

func open(ctx context.Context, cfg Config) (*retirement, error) {
	cfg.Quiet = cmp.Or(cfg.Quiet, defaultQuiet)
	if !cfg.NATS.IsConnected() {
		return nil, fmt.Errorf("NATS is not reachable: %w", cmp.Or(cfg.NATS.LastError(), nats.ErrNoServers))
	}
	stream, err := events.FindStream(ctx, cfg.NATS, events.StreamConfig{TombstoneTTL: cfg.TombstoneTTL})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: retire on the NATS server that the publisher of the source used", err)
	}
	if err != nil {
		return nil, err
	}
	r := &retirement{Config: cfg, stream: stream}
	if err := r.replay(ctx); err != nil {
		return nil, err
	}
	if len(r.held.Hosts) == 0 && r.held.HeartbeatSequence == 0 && !r.AllowUnknown {
		return nil, r.unknown(ctx)
	}
	return r, nil
}

func (r *retirement) unknown(ctx context.Context) error {
	sources, err := r.stream.Sources(ctx)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w %q; it knows: %s", ErrUnknown, r.Source, cmp.Or(strings.Join(sources, ", "), "none"))
}

func (r *retirement) replay(ctx context.Context) (err error) {
	r.held, err = r.stream.Replay(ctx, r.Source, func() {})
	return err
}

// awaitQuiet replays the stream again after a while. It returns ErrActive if
// anything was published for the source meanwhile.
func (r *retirement) awaitQuiet(ctx context.Context) error {
	before := r.newest()
	r.Log.InfoContext(ctx, "waiting to see that no publisher of the source is active", "source", r.Source, "for", r.Quiet)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(r.Quiet):
	}
	if err := r.replay(ctx); err != nil {
		return err
	}
	if r.newest() != before {
		return r.active(nil)
	}
	return nil
}

// newest returns the highest sequence of all messages of the source.
func (r *retirement) newest() uint64 {
	newest := r.held.HeartbeatSequence
	for _, stored := range r.held.Hosts {
		newest = max(newest, stored.Sequence)
	}
	return newest
}

func (r *retirement) active(err error) error {
	active := fmt.Errorf("%w: something was published for source %q just now; stop its publisher, and those that stand by for it, and try again",
		ErrActive, r.Source)
	if err == nil {
		return active
	}
	return fmt.Errorf("%w: %w", active, err)
}

// finish deletes what is there, looks again until there is nothing, and says so
// over the heartbeat with sequence seq.
func (r *retirement) finish(ctx context.Context, seq uint64) error {
	for {
		if err := r.replay(ctx); err != nil {
			return err
		}
		todo := r.deletions()
		if len(todo) == 0 {
			break
		}
		if _, err := r.stream.Publish(ctx, todo); errors.Is(err, events.ErrConflict) {
			return r.active(err)
		} else if err != nil {
			return err
		}
		r.Log.InfoContext(ctx, "deleted reservations", "source", r.Source, "reservations", len(todo))
	}
	_, err := r.beat(ctx, seq, true)
	return err
}

// deletions returns a deletion for each live row. One whose message cannot be
// read counts as live.
func (r *retirement) deletions() []events.Publication {
	var all []events.Publication
	for _, stored := range r.held.Hosts {
		if stored.Change.Deleted() {
			continue
		}
		all = append(all, events.Publication{
			Change: events.Change{Operation: events.Delete, At: time.Now(), Reservation: stored.Change.Reservation},
			Expect: stored.Sequence,
		})
	}
	slices.SortFunc(all, func(a, b events.Publication) int {
		return a.Change.Reservation.Key().Compare(b.Change.Reservation.Key())
	})
	return all
}

func (r *retirement) found() Found {
	return Found{Live: len(r.deletions()), Last: r.held.Heartbeat}
}

// beat publishes a retired heartbeat over the one with sequence expect. Its
// drained_at stays that of the last publisher, since the clock is the
// database's. Each has an epoch of its own, so that consumers read the stream
// anew: no later heartbeat would show them that they have missed something.
func (r *retirement) beat(ctx context.Context, expect uint64, complete bool) (uint64, error) {
	last, now := r.held.Heartbeat, time.Now()
	h := events.Heartbeat{
		Source: r.Source, Database: cmp.Or(last.Database, unknownDatabase), Timeline: last.Timeline,
		Epoch: "retired-" + rand.Text()[:8], Hosts: len(r.deletions()), Complete: complete, Retired: true,
		DrainedAt: last.DrainedAt, At: now,
	}
	if h.DrainedAt.IsZero() {
		h.DrainedAt = now
	}
	seq, err := r.stream.PublishHeartbeat(ctx, h, expect)
	if errors.Is(err, events.ErrConflict) {
		return 0, r.active(err)
	}
	return seq, err
}
