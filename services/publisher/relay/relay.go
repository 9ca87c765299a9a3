package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// Relay publishes the reservations of one Kea database. The fields without a
// stated default must be set; none may change while Run runs.
type Relay struct {
	// Connect opens a connection to the database, with the credentials of that
	// moment, as a session with the given application_name. It must lead to the
	// primary.
	Connect func(ctx context.Context, applicationName string) (*pgx.Conn, error)
	// NATS is the connection to publish on.
	NATS *nats.Conn
	// Stream says how the stream is created when it is missing.
	Stream events.StreamConfig
	// Source is the name of the database in the stream.
	Source string

	// Channel is what the triggers notify on; default outbox.DefaultChannel.
	Channel string
	// Poll is how long a mark may lie unnoticed when its notification was lost;
	// default 5 s.
	Poll time.Duration
	// Resync is the time between two full comparisons; default 1 h.
	Resync time.Duration
	// Heartbeat is the time between two heartbeats while nothing is published;
	// default 10 s.
	Heartbeat time.Duration
	// AcceptDatabase allows the database to be another one than the last
	// heartbeat in the stream names.
	AcceptDatabase bool
	// Once makes Run return after one comparison and its heartbeat.
	Once bool
	// CompareNow asks for a full comparison; nil if nobody does.
	CompareNow <-chan struct{}

	Log     *slog.Logger
	Metrics *Metrics
	// Alive is called at least every few seconds as long as Run goes on, also
	// while it waits for something that is away.
	Alive func()
	// Phase hears in a few words what the relay is doing, whenever that changes;
	// may be nil.
	Phase func(text string)

	instance string
	status   status
}

const (
	defaultPoll      = 5 * time.Second
	defaultResync    = time.Hour
	defaultHeartbeat = 10 * time.Second
	// standbyPoll is how often a standby looks whether the lock is free.
	standbyPoll = time.Second
)

func (r *Relay) channel() string { return orDefault(r.Channel, outbox.DefaultChannel) }

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// ErrOtherDatabase is why a relay refuses to publish: the stream holds the
// reservations of another database under the same source, or of a later history
// of the same database. Publishing would take all of them for deleted.
var ErrOtherDatabase = errors.New("the stream belongs to another database")

// errOnce ends a leadership that has done the one comparison that was wanted.
var errOnce = errors.New("compared once")

// Run publishes until ctx ends and then returns nil. Whatever fails is logged
// and tried again with a growing pause of at most 10 s; each attempt begins
// with a comparison of the whole database with the whole stream.
func (r *Relay) Run(ctx context.Context) error {
	host, _ := os.Hostname() // for people who read pg_stat_activity only
	r.instance = fmt.Sprintf("keastream-publisher %s %.20s %s", r.Source, host, rand.Text()[:10])
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 10*time.Second
	for {
		r.Alive()
		led, err := r.lead(ctx)
		r.enter(phaseWaiting, err)
		if ctx.Err() != nil || errors.Is(err, errOnce) {
			return nil
		}
		if led {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		r.Log.ErrorContext(ctx, "publishing was interrupted", "err", err, "again_in", pause.Round(time.Millisecond))
		if !r.pause(ctx, pause) {
			return nil
		}
	}
}

// pause waits and reports whether ctx is still alive.
func (r *Relay) pause(ctx context.Context, d time.Duration) bool {
	for ; d > 0; d -= time.Second {
		r.Alive()
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(d, time.Second)):
		}
	}
	return true
}

// lead waits until this publisher is the active one, publishes, and returns why
// it stopped. led says that it published at all.
func (r *Relay) lead(ctx context.Context) (led bool, err error) {
	s, err := r.open(ctx)
	if err != nil {
		return false, err
	}
	defer s.close()
	if err := r.awaitLock(ctx, s); err != nil {
		return false, err
	}
	l, err := r.begin(ctx, s)
	if err != nil {
		return false, err
	}
	r.Metrics.Active.Set(1)
	defer r.Metrics.Active.Set(0)
	defer r.Metrics.Complete.Set(0)
	err = l.run(ctx)
	return l.complete, err
}

// awaitLock returns when this publisher holds the lock.
func (r *Relay) awaitLock(ctx context.Context, s *session) error {
	for told := false; ; {
		mine, err := s.tryLock(ctx)
		if mine || err != nil {
			return err
		}
		r.enter(phaseStandby, nil)
		if !told {
			told = true
			r.Log.InfoContext(ctx, "standing by: another publisher of this database is active")
		}
		r.Alive()
		if _, _, err := s.wait(ctx, standbyPoll); err != nil {
			return err
		}
	}
}
