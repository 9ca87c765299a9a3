package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/outbox"
)

const (
	// marksPerRound bounds what one snapshot reads and one round publishes.
	marksPerRound = 5000
	// publishedAtOnce bounds how long the session is left alone meanwhile.
	publishedAtOnce = 1000
	// heartbeatAfter is how soon after a publication a heartbeat follows, so
	// that consumers learn quickly that they have seen everything.
	heartbeatAfter = time.Second
	// refusedPeriod is the pause before reservations that the stream refused are
	// tried again.
	refusedPeriod = 30 * time.Second
	// backlog is how many changes at once are logged one by one.
	backlog = 100
	// marksPerRemoval bounds one statement.
	marksPerRemoval = 10000
)

// leadership is the time in which one publisher is the active one. It belongs
// to one goroutine, so that nothing else is in flight when a heartbeat is sent.
type leadership struct {
	*Relay
	session  *session
	stream   *events.Stream
	position outbox.Position
	epoch    string

	known     map[int64]events.Stored // what the stream holds, as of the last replay and since
	heartbeat uint64                  // sequence of the last heartbeat
	complete  bool                    // a comparison has finished in this epoch
	refused   int                     // reservations that the stream did not take since then
	drainedAt time.Time               // clock of the database

	// reconnects of the connection to NATS before the last replay: after
	// another one the server may have lost what it had acknowledged.
	reconnects uint64

	compareAt   time.Time // when the next comparison is due
	comparedAt  time.Time
	comparing   time.Duration // what the last comparison took, without publishing
	beatAt      time.Time     // of the last heartbeat
	heartbeatAt time.Time     // when the next heartbeat is due
}

func (r *Relay) begin(ctx context.Context, s *session) (*leadership, error) {
	r.enter(phaseStarting, nil)
	reading, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	position, err := outbox.ReadPosition(reading, s.conn)
	if err != nil {
		return nil, err
	}
	stream, err := events.OpenStream(ctx, r.NATS, r.Stream)
	if err != nil {
		return nil, err
	}
	return &leadership{Relay: r, session: s, stream: stream, position: position, epoch: newEpoch()}, nil
}

// newEpoch returns a name that was never used before and sorts by time.
func newEpoch() string {
	return time.Now().UTC().Format("20060102T150405Z") + "-" + rand.Text()[:8]
}

// run compares, then follows marks, until something fails.
func (l *leadership) run(ctx context.Context) error {
	pause := lookAgain
	for {
		l.Alive()
		full := l.disturbed() || !time.Now().Before(l.compareAt)
		done, err := l.round(ctx, full)
		if err != nil {
			return err
		}
		if err := l.beat(ctx); err != nil {
			return err
		}
		if done.more {
			continue
		}
		if l.Once {
			return errOnce
		}
		active, err := l.await(ctx, pause)
		if err != nil {
			return err
		}
		if active || done.published > 0 {
			pause = lookAgain
		} else {
			pause = min(2*pause, orDefault(l.Poll, defaultPoll))
		}
	}
}

// progress is what a round got done.
type progress struct {
	published int
	more      bool // there are more marks
}

// round reads the marks and what they speak of, or everything, in one snapshot,
// publishes what the stream does not tell yet, and then removes exactly those
// marks. It is the drain and the comparison, and the start, in one: a crash at
// any point leaves marks that the next round reads again.
func (l *leadership) round(ctx context.Context, full bool) (progress, error) {
	started := time.Now()
	switch {
	case full:
		if err := l.lookForOutbox(ctx); err != nil {
			return progress{}, err
		}
		if err := l.replay(ctx); err != nil {
			return progress{}, err
		}
	case !l.session.outbox:
		return progress{}, nil // without marks nothing but a comparison tells
	}
	rd, todo, err := l.read(ctx, full)
	if err != nil {
		return progress{}, err
	}
	l.Metrics.read(rd)
	if !full && compareEverything(rd.Marks) {
		l.Log.InfoContext(ctx, "a table was truncated: comparing every reservation")
		return l.round(ctx, true)
	}
	if full {
		l.refused = 0
		l.comparing = time.Since(started)
	}
	if err := l.publish(ctx, todo); err != nil {
		return progress{}, err
	}
	if err := l.remove(ctx, rd.Marks); err != nil {
		return progress{}, err
	}
	if !rd.More {
		l.drainedAt = rd.At
	}
	if full {
		l.complete = true
		l.comparedAt = time.Now()
		l.compareAt = l.comparedAt.Add(l.comparePeriod())
		l.heartbeatAt = time.Time{} // at once: consumers wait for the word that nothing is missing
		l.enter(l.activePhase(), nil)
		l.Metrics.compared(time.Since(started), len(todo))
		l.Log.InfoContext(ctx, "compared the database with the stream",
			"reservations", live(l.known), "published", len(todo), "marks", len(rd.Marks),
			"duration", time.Since(started).Round(time.Millisecond))
	}
	return progress{published: len(todo), more: rd.More}, nil
}

// comparePeriod returns the time from the comparison that has just ended to the
// next one, if nobody asks for one.
func (l *leadership) comparePeriod() time.Duration {
	period := orDefault(l.Resync, defaultResync)
	if !l.session.outbox {
		period = min(period, max(directPeriod, l.rest()))
	}
	if l.refused > 0 {
		period = refusedPeriod
	}
	return period
}

// disturbed tells whether the connection to NATS was lost since the last replay.
func (l *leadership) disturbed() bool { return l.NATS.Stats().Reconnects != l.reconnects }

// remove deletes marks that were dealt with.
func (l *leadership) remove(ctx context.Context, marks []outbox.Mark) error {
	for some := range slices.Chunk(marks, marksPerRemoval) {
		l.Alive()
		removing, cancel := context.WithTimeout(ctx, 2*quick)
		err := outbox.Remove(removing, l.session.conn, some)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func compareEverything(marks []outbox.Mark) bool {
	for _, m := range marks {
		if m.HostID == nil {
			return true
		}
	}
	return false
}

// replay reads what the stream holds and checks that it is ours to go on with.
func (l *leadership) replay(ctx context.Context) error {
	if recreated, err := l.stream.Recreated(ctx); err != nil {
		return err
	} else if recreated {
		return fmt.Errorf("stream %s was deleted; filling a new one", events.StreamName)
	}
	l.reconnects = l.NATS.Stats().Reconnects
	// The states are let go of before they are read anew: 100,000 of them twice
	// would be most of the memory. If the replay fails, so does this leadership.
	before := liveSequences(l.known)
	l.known = nil
	held, err := l.readStream(ctx)
	if err != nil {
		return err
	}
	if held.HeartbeatErr != nil && !l.AcceptDatabase {
		return fmt.Errorf("%w, or not: its last heartbeat cannot be read: %w; use --accept-database if source %q is this database",
			ErrOtherDatabase, held.HeartbeatErr, l.Source)
	}
	if last := held.Heartbeat; last.Retired && !l.AcceptDatabase {
		// What is still there was stored by a publisher that had been held up and
		// did not know, or the retirement was broken off.
		return fmt.Errorf("%w: source %q, at %s; the stream holds %d reservations of it: stop this publisher, and if there are any, "+
			"run `keastream-publisher retire --source %s` again; or start it once with --accept-database to take the source back into service",
			ErrRetired, l.Source, last.At.Format(time.RFC3339), live(held.Hosts), l.Source)
	}
	if last := held.Heartbeat; last.Database != "" && !l.AcceptDatabase {
		if last.Database != l.position.Database {
			return fmt.Errorf("%w: source %q is database %s in the stream, and %s here; "+
				"use another --source, or --accept-database if the reservations moved here",
				ErrOtherDatabase, l.Source, last.Database, l.position.Database)
		}
		if last.Timeline > l.position.Timeline {
			return fmt.Errorf("%w: source %q is on timeline %d in the stream, and %d here: this is an old primary; "+
				"use --accept-database if the database was restored on purpose",
				ErrOtherDatabase, l.Source, last.Timeline, l.position.Timeline)
		}
	}
	if err := l.checkMode(ctx, held.Heartbeat); err != nil {
		return err
	}
	if lost(before, held.Hosts) {
		l.Log.WarnContext(ctx, "the stream lost messages; filling it again")
		l.epoch, l.complete = newEpoch(), false
	}
	for id, stored := range held.Hosts {
		if stored.Err != nil {
			l.Log.WarnContext(ctx, "replacing a message that cannot be read", "host_id", id, "sequence", stored.Sequence, "err", stored.Err)
		}
	}
	l.known, l.heartbeat = held.Hosts, held.HeartbeatSequence
	return nil
}

// readStream replays the stream and meanwhile keeps the session from looking
// idle to its server.
func (l *leadership) readStream(ctx context.Context) (events.Replayed, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pinged := time.Now()
	held, err := l.stream.Replay(ctx, l.Source, func() {
		l.Alive()
		if time.Since(pinged) < pingEvery {
			return
		}
		pinged = time.Now()
		if err := l.session.ping(ctx); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		return events.Replayed{}, cause
	}
	return held, err
}

// read reads the database and returns what has to be published. Rows are
// compared as they come, and what the stream tells already is dropped at once. A
// reading of every row takes seconds for each 100,000, in which nothing else
// shows that the relay is alive.
func (l *leadership) read(ctx context.Context, full bool) (rd outbox.Reading, todo []events.Publication, err error) {
	limit := quick
	if full {
		limit = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	var beats conc.WaitGroup
	beats.Go(func() {
		for ctx.Err() == nil {
			l.Alive()
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	defer beats.Wait()
	defer cancel()
	query := outbox.Query{Source: l.Source, Limit: marksPerRound, All: full, Direct: !l.session.outbox}
	rd, err = outbox.Read(ctx, l.session.conn, query, func(rd outbox.Reading, rows iter.Seq[events.Reservation]) {
		todo = changes(l.Source, l.known, rd, rows)
	})
	return rd, todo, err
}

// publish stores the changes and notes what is stored, also when only some are.
// What the stream refuses, because it is full for instance, keeps nothing else
// back: it is counted, the source does not call itself complete, and a
// comparison soon tries again.
func (l *leadership) publish(ctx context.Context, todo []events.Publication) error {
	for len(todo) > 0 {
		chunk := todo[:min(len(todo), publishedAtOnce)]
		todo = todo[len(chunk):]
		sequences, err := l.stream.Publish(ctx, chunk)
		refused := 0
		for i, seq := range sequences {
			if seq == 0 {
				refused++
				continue
			}
			c := chunk[i].Change
			l.known[c.Reservation.HostID] = events.Stored{Sequence: seq, Change: c}
			l.announce(ctx, c, len(chunk) <= backlog)
		}
		if len(chunk) > backlog {
			l.Log.InfoContext(ctx, "published a backlog", "reservations", len(chunk)-refused)
		}
		if errors.Is(err, events.ErrConflict) || errors.Is(err, events.ErrUnclear) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			l.refused += refused
			l.compareAt = earlier(l.compareAt, time.Now().Add(refusedPeriod))
			l.Log.ErrorContext(ctx, "the stream refused reservations, trying again later", "refused", refused, "err", err)
		}
		l.Alive()
		l.heartbeatAt = earlier(time.Now().Add(heartbeatAfter), l.beatAt.Add(l.heartbeatPeriod()))
		if len(todo) > 0 { // keep the session from looking idle to its server
			if err := l.session.ping(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// announce logs a stored change, an insertion that is not one of very many in
// the words that operators of the replaced system search for.
func (l *leadership) announce(ctx context.Context, c events.Change, few bool) {
	l.Metrics.published(c)
	r := c.Reservation
	if c.Operation == events.Insert && few {
		l.Log.InfoContext(ctx, fmt.Sprintf("New reservation from database: %s -> %s (%s)", address(r), r.Hostname, r.MAC),
			"host_id", r.HostID)
		return
	}
	l.Log.DebugContext(ctx, "published", "operation", c.Operation, "host_id", r.HostID, "hostname", r.Hostname, "ip", address(r), "seq", c.Seq)
}

func address(r events.Reservation) string {
	if all := r.Addresses(); len(all) > 0 {
		return all[0].String()
	}
	return "no address"
}

// beat publishes a heartbeat when one is due. The store refuses it if another
// publisher has sent one: then this leadership is over.
func (l *leadership) beat(ctx context.Context) error {
	now := time.Now()
	if now.Before(l.heartbeatAt) || l.disturbed() {
		return nil
	}
	complete := l.complete && l.refused == 0
	seq, err := l.stream.PublishHeartbeat(ctx, events.Heartbeat{
		Source: l.Source, Database: l.position.Database, Timeline: l.position.Timeline, Epoch: l.epoch,
		Hosts: live(l.known), Complete: complete, DrainedAt: l.drainedAt, At: now,
		Outbox: l.session.outbox,
	}, l.heartbeat)
	l.heartbeatAt = now.Add(l.heartbeatPeriod())
	switch {
	case errors.Is(err, events.ErrConflict) || errors.Is(err, events.ErrUnclear):
		return err
	case err != nil: // refused: consumers wait, and nothing else is kept back
		l.Log.ErrorContext(ctx, "the stream refused a heartbeat, trying again later", "err", err)
		return nil
	}
	l.heartbeat, l.beatAt = seq, now
	l.Metrics.beat(complete, live(l.known), l.refused, now)
	queue, err := l.session.notifyQueue(ctx)
	if err == nil {
		l.Metrics.notifyQueue.Set(queue)
	}
	return err
}

func (r *Relay) heartbeatPeriod() time.Duration { return orDefault(r.Heartbeat, defaultHeartbeat) }
