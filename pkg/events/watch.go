package events

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Difference is one difference between two states of a View.
type Difference struct {
	// Before is the reservation as it was, nil if there was none.
	Before *Reservation
	// After is the reservation as it is, nil if there is none any more.
	After *Reservation
	// Change is the event that told of it. It is the zero Change if the row
	// vanished from the stream without one, because the stream lost it.
	Change Change
}

// Handlers are called by Watch, one at a time, from the goroutine that called
// it. All are optional. A handler must not block for long: whoever has work to
// do notes what changed and does the work elsewhere.
type Handlers struct {
	// Changed is called for every difference, in stream order, after the View
	// has taken it in. Nothing is reported before the first CaughtUp: the
	// differences to the empty View come right before it, ordered by Key.
	Changed func(Difference)
	// CaughtUp is called each time the stream has been read to its end from the
	// first message: at the start, and after every disturbance.
	CaughtUp func()
	// Heartbeat is called for every heartbeat, after the View has taken it in.
	Heartbeat func(SourceState)
	// Parked is called once for every message that cannot be read.
	Parked func(ParkedMessage)
	// Alive is called at least every few seconds, also while waiting for a
	// server, so that a health check can see that Watch goes on.
	Alive func()
	// Log hears of disturbances and parked messages; nil means not at all.
	Log *slog.Logger
}

// ParkedMessage is a message that was set aside.
type ParkedMessage struct {
	Subject  string
	Sequence uint64
	Err      error
}

// patience is how long a source may count other reservations than the View
// before the stream is read anew.
const patience = 30 * time.Second

// passLimit is how long one pass follows the stream.
const passLimit = 24 * time.Hour

// Watch fills view and keeps it equal to the stream until ctx ends; it then
// returns nil, and it returns for no other reason. It waits for the server and
// for the stream, reads the stream from its first message, follows it, and
// starts from the first message again whenever it may have missed something: a
// lost connection, a stream that was deleted, filled again or lost its end, a
// publisher that took over, a source that counts other reservations; and once a
// day. The view changes over at once when such a pass is complete, and handlers
// hear of the differences only.
//
// A view belongs to one Watch at a time.
func Watch(ctx context.Context, conn *nats.Conn, view *View, h Handlers) error {
	w := &watch{conn: conn, view: view, handlers: h.withDefaults()}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 50*time.Millisecond, 5*time.Second
	told := ""
	for w.connected(ctx) {
		err := w.pass(ctx)
		if ctx.Err() != nil {
			break
		}
		w.handlers.Alive()
		pause := wait.NextBackOff()
		if w.live {
			wait.Reset()
			pause = wait.InitialInterval
		}
		level := slog.LevelWarn
		switch {
		case !w.live && err.Error() == told:
			level = slog.LevelDebug // still the same
		case errors.Is(err, jetstream.ErrStreamNotFound):
			level = slog.LevelInfo // the publisher has not been here yet
		}
		told = err.Error()
		w.handlers.Log.Log(ctx, level, "reading the stream again from its first message", "err", err, "in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

func (h Handlers) withDefaults() Handlers {
	if h.Changed == nil {
		h.Changed = func(Difference) {}
	}
	if h.CaughtUp == nil {
		h.CaughtUp = func() {}
	}
	if h.Heartbeat == nil {
		h.Heartbeat = func(SourceState) {}
	}
	if h.Parked == nil {
		h.Parked = func(ParkedMessage) {}
	}
	if h.Alive == nil {
		h.Alive = func() {}
	}
	if h.Log == nil {
		h.Log = slog.New(slog.DiscardHandler)
	}
	return h
}

type watch struct {
	conn     *nats.Conn
	view     *View
	handlers Handlers

	next  state     // what this pass has read, until it is caught up
	live  bool      // this pass is caught up: messages go to the view
	began time.Time // of this pass

	// By subject, the sequence of what was parked in this pass and before it.
	parked, parkedBefore map[string]uint64
}

// connected waits for the connection, about which its owner logs, and reports
// whether ctx is still alive.
func (w *watch) connected(ctx context.Context) bool {
	for ctx.Err() == nil && !w.conn.IsConnected() {
		w.handlers.Alive()
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return ctx.Err() == nil
}

// pass reads the stream once from its first message, and follows it.
func (w *watch) pass(ctx context.Context) error {
	w.next, w.live, w.began = newState(), false, time.Now()
	w.parked, w.parkedBefore = make(map[string]uint64), w.parked
	return reading{
		conn:     w.conn,
		message:  w.message,
		caughtUp: w.caughtUp,
		alive:    w.handlers.Alive,
	}.run(ctx)
}

func (w *watch) message(subject string, data []byte, header nats.Header, sequence uint64) error {
	park := func(err error) {
		w.parked[subject] = sequence
		if w.parkedBefore[subject] == sequence {
			return // said in an earlier pass
		}
		w.handlers.Log.Warn("parked a message that cannot be read", "subject", subject, "sequence", sequence, "err", err)
		w.handlers.Parked(ParkedMessage{Subject: subject, Sequence: sequence, Err: err})
	}
	if source, err := parseSourceSubject(subject); err == nil {
		hb, err := decodeHeartbeatMessage(source, data)
		if err != nil {
			park(err)
			return nil
		}
		return w.heartbeat(hb)
	} else if !errors.Is(err, errForeignSubject) {
		park(err)
		return nil
	}

	key, err := parseReservationSubject(subject)
	if errors.Is(err, errForeignSubject) {
		return nil // of a later version of the contract
	}
	if err != nil {
		park(err)
		return nil
	}
	change, err := decodeMessage(key, data, header)
	if err != nil {
		park(err)
		w.edit(func(s *state) { s.park(key) })
		return nil
	}
	var diff Difference
	w.edit(func(s *state) { diff = s.apply(&change) })
	if w.live && (diff.Before != nil || diff.After != nil) {
		w.handlers.Changed(diff)
	}
	return nil
}

func (w *watch) heartbeat(hb Heartbeat) error {
	var known SourceState
	agrees := true
	w.edit(func(s *state) {
		fold := s.source(hb.Source)
		known = fold.SourceState
		agrees = s.heartbeat(hb, time.Now(), patience)
	})
	if !w.live {
		return nil
	}
	st, _ := w.view.Source(hb.Source)
	w.handlers.Heartbeat(st)
	switch {
	case known.Heartbeat.Epoch != "" && known.Heartbeat.Epoch != hb.Epoch:
		return errEpoch
	case !agrees:
		return errCount
	case time.Since(w.began) > passLimit:
		return errOldPass
	}
	return nil
}

var (
	errEpoch = errors.New("a publisher began a new epoch")
	errCount = errors.New("the source counts other reservations than were seen")
	// Nothing tells a reader that the server has let a deletion expire, so the
	// view would keep them all.
	errOldPass = errors.New("a day has passed")
)

// edit changes the state that this pass works on.
func (w *watch) edit(change func(*state)) {
	if !w.live {
		change(&w.next)
		return
	}
	w.view.mu.Lock()
	defer w.view.mu.Unlock()
	change(&w.view.state)
}

// caughtUp puts the new state in the place of the old one and reports the
// differences.
func (w *watch) caughtUp() error {
	w.view.mu.Lock()
	before := w.view.state
	w.next.keep(&before)
	w.view.state, w.view.caughtUp = w.next, true
	w.view.mu.Unlock()
	w.next, w.live = newState(), true
	// The view has no other writer than this goroutine, which is here.
	for d := range before.differences(&w.view.state) {
		w.handlers.Changed(d)
	}
	w.handlers.CaughtUp()
	for _, s := range w.view.Sources() {
		if !s.Heartbeat.At.IsZero() {
			w.handlers.Heartbeat(s)
		}
	}
	return nil
}
