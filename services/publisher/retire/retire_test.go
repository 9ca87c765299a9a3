package retire_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/publisher/retire"
)

// What Run logs before each of its steps.
const (
	waits   = "waiting to see that no publisher of the source is active"
	fenced  = "publishers of the source are refused from now on"
	deleted = "deleted reservations"
)

// rig is a stream with two sources: us3, which is retired, and us4.
type rig struct {
	t     testing.TB
	conn  *nats.Conn
	us3   *eventstest.Source
	view  *events.View // of a consumer that runs all the time
	after map[string]func()
}

func newRig(t testing.TB) *rig {
	t.Helper()
	srv := eventstest.Start(t)
	r := &rig{t: t, conn: srv.Connect(), view: events.NewView(), after: make(map[string]func())}
	r.us3 = eventstest.NewSource(t, r.conn, "us3")
	us4 := eventstest.NewSource(t, r.conn, "us4")
	us4.Put(reservation(1))
	us4.Beat(time.Second)
	for id := range int64(40) { // more than one batch takes
		r.us3.Put(reservation(id))
	}
	r.us3.Delete(7)
	r.us3.Beat(time.Second)

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var watching conc.WaitGroup
	watching.Go(func() { _ = events.Watch(ctx, srv.Connect(), r.view, events.Handlers{}) })
	t.Cleanup(func() { cancel(); watching.Wait() })
	r.await("the consumer has caught up", func(s events.SourceState) bool { return s.Complete && s.Live == 39 })
	return r
}

func reservation(id int64) events.Reservation {
	return eventstest.Reservation("us3", id, "a", "192.0.2.1")
}

// await waits until the consumer knows of us3 what cond wants.
func (r *rig) await(what string, cond func(events.SourceState) bool) {
	r.t.Helper()
	deadline := time.After(time.Minute)
	for {
		s, _ := r.view.Source("us3")
		if cond(s) {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			r.t.Fatalf("after a minute still not: %s; the source is %+v", what, s)
		}
	}
}

// config retires us3; the functions of r.after run in the middle of it.
func (r *rig) config() retire.Config {
	return retire.Config{
		NATS: r.conn, Source: "us3", Quiet: 100 * time.Millisecond,
		Log: slog.New(hooks{slog.NewTextHandler(r.t.Output(), nil), r.after}),
	}
}

// hooks is a log that runs a function, once, after a message.
type hooks struct {
	slog.Handler
	after map[string]func()
}

func (h hooks) Handle(ctx context.Context, rec slog.Record) error {
	err := h.Handler.Handle(ctx, rec)
	if f := h.after[rec.Message]; f != nil {
		delete(h.after, rec.Message)
		f()
	}
	return err
}

func (r *rig) stream() *events.Stream {
	r.t.Helper()
	return eventstest.Open(r.t, r.conn, events.StreamConfig{})
}

func (r *rig) replay() events.Replayed {
	r.t.Helper()
	held, err := r.stream().Replay(r.t.Context(), "us3", func() {})
	if err != nil {
		r.t.Fatal(err)
	}
	return held
}

// gone checks that nothing of us3 is left, and that all of us4 is.
func (r *rig) gone() {
	r.t.Helper()
	r.await("the source is gone", events.SourceState.Gone)
	for id, stored := range r.replay().Hosts {
		if stored.Err != nil || !stored.Change.Deleted() {
			r.t.Errorf("host %d is still there: %+v", id, stored)
		}
	}
	if s, _ := r.view.Source("us4"); !s.Complete || s.Live != 1 || s.Heartbeat.Retired {
		r.t.Errorf("the other source is %+v", s)
	}
}

func TestRetire(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before := r.replay().Heartbeat
	unreadable := events.ReservationSubject(events.Key{Source: "us3", HostID: 3})
	if err := r.conn.Publish(unreadable, []byte("?")); err != nil {
		t.Fatal(err)
	}
	r.await("the row that cannot be read", func(s events.SourceState) bool { return s.Unreadable == 1 })

	found, err := retire.Look(t.Context(), r.config())
	if err != nil || found.Live != 39 || found.Last != before || found.Done() {
		t.Errorf("Look returns %+v, %v", found, err)
	}
	if found, err = retire.Run(t.Context(), r.config()); err != nil || found.Live != 39 || found.Last != before {
		t.Fatalf("Run returns %+v, %v", found, err)
	}
	r.gone()
	held := r.replay()
	if h := held.Heartbeat; h.Database != before.Database || h.DrainedAt.Before(before.DrainedAt) || h.Epoch == before.Epoch || h.Hosts != 0 {
		t.Errorf("the heartbeat is %+v, after %+v", h, before)
	}
	js, err := jetstream.New(r.conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), unreadable)
	if err != nil || msg.Header.Get(jetstream.MsgTTLHeader) != (720*time.Hour).String() {
		t.Errorf("a deletion is %+v, %v", msg, err)
	}

	// A second time there is nothing to do, and nothing to wait for.
	again := r.config()
	again.Quiet = time.Hour
	if found, err = retire.Run(t.Context(), again); err != nil || !found.Done() {
		t.Errorf("Run returns %+v, %v", found, err)
	}
	if now := r.replay(); now.HeartbeatSequence != held.HeartbeatSequence {
		t.Error("a second retirement published something")
	}
}

// A source with a publisher is left alone, whatever that publishes.
func TestActiveSourceIsNotRetired(t *testing.T) {
	t.Parallel()
	for name, publish := range map[string]func(*eventstest.Source){
		"a heartbeat": func(s *eventstest.Source) { s.Beat(time.Second) },
		"a change":    func(s *eventstest.Source) { s.Put(reservation(1)) },
		"a new row":   func(s *eventstest.Source) { s.Put(reservation(100)) },
	} {
		r := newRig(t)
		live := r.us3.Live()
		r.after[waits] = func() { publish(r.us3); live = r.us3.Live() }
		if _, err := retire.Run(t.Context(), r.config()); !errors.Is(err, retire.ErrActive) {
			t.Errorf("after %s Run returns %v", name, err)
		}
		r.us3.Beat(time.Second) // nobody has come between
		r.await("the source is as it was", func(s events.SourceState) bool { return s.Complete && s.Live == live })
	}
}

// A publisher that was held up for longer than anybody waits cannot take the
// source back without noticing, and what it stores is deleted, too.
func TestPublisherThatWasHeldUp(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.after[fenced] = func() {
		last := r.replay()
		h := last.Heartbeat
		h.Retired, h.Complete = false, true
		if _, err := r.stream().PublishHeartbeat(t.Context(), h, last.HeartbeatSequence-1); !errors.Is(err, events.ErrConflict) {
			t.Errorf("the heartbeat of a publisher was not refused: %v", err)
		}
		r.us3.Put(reservation(101))
	}
	r.after[deleted] = func() { r.us3.Put(reservation(102)) }
	if found, err := retire.Run(t.Context(), r.config()); err != nil || found.Live != 39 {
		t.Fatalf("Run returns %+v, %v", found, err)
	}
	r.gone()

	r.us3.Put(reservation(103)) // later still
	r.await("the late reservation", func(s events.SourceState) bool { return s.Live == 1 })
	if found, err := retire.Run(t.Context(), r.config()); err != nil || found.Live != 1 {
		t.Fatalf("Run returns %+v, %v", found, err)
	}
	r.gone()
}

// Of two retirements, and of a retirement and a publisher that takes the source
// back, one is refused.
func TestTakenAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := r.config()
	r.after[deleted] = func() {
		if _, err := retire.Run(t.Context(), other); err != nil {
			t.Errorf("the second retirement returns %v", err)
		}
	}
	if _, err := retire.Run(t.Context(), r.config()); !errors.Is(err, retire.ErrActive) {
		t.Errorf("the first retirement returns %v", err)
	}
	r.gone()
}

// Broken off anywhere it does no harm, and the next one brings it to its end.
func TestRetireAgainAfterACrash(t *testing.T) {
	t.Parallel()
	for _, at := range []string{waits, fenced, deleted} {
		r := newRig(t)
		ctx, crash := context.WithCancel(t.Context())
		r.after[at] = crash
		if _, err := retire.Run(ctx, r.config()); !errors.Is(err, context.Canceled) {
			t.Errorf("cut off after %q Run returns %v", at, err)
		}
		if held := r.replay(); held.Heartbeat.Retired == (at == waits) || held.Heartbeat.Retired && held.Heartbeat.Complete {
			t.Errorf("cut off after %q the heartbeat is %+v", at, held.Heartbeat)
		}
		if _, err := retire.Run(t.Context(), r.config()); err != nil {
			t.Errorf("after it was cut off after %q Run returns %v", at, err)
		}
		r.gone()
	}
}

func TestUnknownSource(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	config := r.config()
	config.Source = "us5"
	for name, run := range map[string]func(context.Context, retire.Config) (retire.Found, error){"Look": retire.Look, "Run": retire.Run} {
		if _, err := run(t.Context(), config); !errors.Is(err, retire.ErrUnknown) || !strings.Contains(err.Error(), "us3, us4") {
			t.Errorf("of an unknown source %s returns %v", name, err)
		}
	}
	config.AllowUnknown = true
	if _, err := retire.Run(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	r.await("the unknown source is gone", func(events.SourceState) bool { s, _ := r.view.Source("us5"); return s.Gone() })
}

// A heartbeat that cannot be read is replaced like any other.
func TestUnreadableHeartbeat(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if err := r.conn.Publish(events.SourceSubject("us3"), []byte("?")); err != nil {
		t.Fatal(err)
	}
	if _, err := retire.Run(t.Context(), r.config()); err != nil {
		t.Fatal(err)
	}
	r.gone()
}

// A wrong address must not become an empty stream that nobody publishes to.
func TestNoStream(t *testing.T) {
	t.Parallel()
	conn := eventstest.Start(t).Connect()
	_, err := retire.Run(t.Context(), retire.Config{NATS: conn, Source: "us3", Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without a stream Run returns %v", err)
	}
	if _, err := events.FindStream(t.Context(), conn, events.StreamConfig{}); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("after that there is a stream: %v", err)
	}
	conn.Close()
	if _, err := retire.Run(t.Context(), retire.Config{NATS: conn, Source: "us3", Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("without a server Run returns nil")
	}
}
