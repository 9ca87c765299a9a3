package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
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
	// Resync is the time between two full comparisons; default 1 h. Without the
	// outbox it is at most a minute.
	Resync time.Duration
	// Heartbeat is the time between two heartbeats while nothing is published;
	// default 10 s.
	Heartbeat time.Duration
	// AcceptDatabase allows the database to be another one than the last
	// heartbeat in the stream names, and the source to have been retired.
	AcceptDatabase bool
	// WithoutOutbox makes Run work without the outbox even if there is one, or was.
	// Otherwise it does so only for a source that never had one, until it is
	// installed.
	WithoutOutbox bool
	// Once makes Run return after one comparison and its heartbeat, or with an
	// error if that cannot be had for a minute.
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

	instance   string
	toldDirect bool // the log says that there is no outbox
	status     status
}

const (
	defaultPoll      = 5 * time.Second
	defaultResync    = time.Hour
	defaultHeartbeat = 10 * time.Second
	// standbyPoll is how often a standby looks whether the lock is free.
	standbyPoll = time.Second
	// oncePatience is how long Once tries.
	oncePatience = time.Minute
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

// ErrRetired is why a relay refuses to publish: a person took the source out of
// service for good.
var ErrRetired = errors.New("the source was retired")

// needsPerson tells whether a relay refuses to publish until somebody decides.
func needsPerson(err error) bool {
	return errors.Is(err, ErrOtherDatabase) || errors.Is(err, ErrRetired) || errors.Is(err, ErrOutboxGone)
}

// errOnce ends a leadership that has done the one comparison that was wanted.
var errOnce = errors.New("compared once")

// instanceName returns an application_name that no other process has. The part
// that makes it so comes first: PostgreSQL keeps 63 bytes.
func instanceName(source string) string {
	const limit = 63
	host, _ := os.Hostname() // for people who read pg_stat_activity
	name := outbox.PublisherName + " " + rand.Text()[:12] + " " + source + " " + host
	return name[:min(len(name), limit)]
}

// Run publishes until ctx ends and then returns nil. Whatever fails is logged
// and tried again with a growing pause of at most 10 s; each attempt begins
// with a comparison of the whole database with the whole stream.
func (r *Relay) Run(ctx context.Context) error {
	r.instance = instanceName(r.Source)
	began := time.Now()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 10*time.Second
	for {
		r.Alive()
		led, err := r.lead(ctx)
		r.enter(phaseWaiting, err)
		if ctx.Err() != nil || errors.Is(err, errOnce) {
			return nil
		}
		if r.Once && (needsPerson(err) || time.Since(began) > oncePatience) {
			return err
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
	if err := r.reachNATS(ctx); err != nil {
		return false, err
	}
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
	defer r.Metrics.ended()
	err = l.run(ctx)
	return l.complete, err
}

// reachNATS makes sure that the server answers. Whoever cannot publish must leave
// the lock to a publisher that can.
func (r *Relay) reachNATS(ctx context.Context) error {
	if !r.NATS.IsConnected() {
		return errors.New("NATS is not connected")
	}
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	if err := r.NATS.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("reach NATS: %w", err)
	}
	return nil
}

// errStandby is why Once ends while another publisher works.
var errStandby = errors.New("another publisher of this database is active")

// awaitLock returns when this publisher holds the lock.
func (r *Relay) awaitLock(ctx context.Context, s *session) error {
	for told := ""; ; {
		mine, err := s.tryLock(ctx)
		if mine || err != nil {
			return err
		}
		if r.Once {
			return errStandby
		}
		holder, err := s.lockHolder(ctx)
		if err != nil {
			return err
		}
		if strings.HasPrefix(holder, outbox.PublisherName) {
			r.enter(phaseStandby, nil)
		} else {
			// Whoever may connect may take the lock. He is not a publisher, so
			// nobody publishes.
			r.enter(phaseStarting, fmt.Errorf("the advisory lock of the publishers is held by session %q", holder))
		}
		if told != holder {
			told = holder
			r.Log.InfoContext(ctx, "standing by: another session holds the lock of this database", "holder", holder)
		}
		r.Alive()
		if _, _, err := s.wait(ctx, standbyPoll); err != nil {
			return err
		}
	}
}
