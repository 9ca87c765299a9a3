package events_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/nats-io/nats.go"
)

// watcher runs Watch for a test and lets it await what the view shows.
type watcher struct {
	t    testing.TB
	view *events.View

	mu          sync.Mutex
	changed     chan struct{} // closed and replaced at each sign of life
	differences []events.Difference
	parked      []events.ParkedMessage
	passes      int
}

func watch(t testing.TB, conn *nats.Conn) *watcher {
	t.Helper()
	w := &watcher{t: t, view: events.NewView(), changed: make(chan struct{})}
	note := func(f func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
		close(w.changed)
		w.changed = make(chan struct{})
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		err := events.Watch(ctx, conn, w.view, events.Handlers{
			Changed:   func(d events.Difference) { note(func() { w.differences = append(w.differences, d) }) },
			CaughtUp:  func() { note(func() { w.passes++ }) },
			Heartbeat: func(events.SourceState) { note(func() {}) },
			Parked:    func(p events.ParkedMessage) { note(func() { w.parked = append(w.parked, p) }) },
			Log:       slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		if err != nil {
			t.Errorf("Watch returned %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

// await waits until cond holds, which is looked at after each callback.
func (w *watcher) await(what string, cond func() bool) {
	w.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		w.mu.Lock()
		changed := w.changed
		ok := cond()
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			w.t.Fatalf("after 60 s still not: %s; sources: %+v", what, w.view.Sources())
		}
	}
}

func (w *watcher) awaitComplete(live int) {
	w.t.Helper()
	w.await("source us3 is complete", func() bool {
		s, _ := w.view.Source("us3")
		return s.Complete && s.Live == live
	})
}

func TestWatchReplaysAndFollows(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	conn := srv.Connect()
	src := eventstest.NewSource(t, conn, "us3")
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"), eventstest.Reservation("us3", 2, "b", "192.0.2.2"))
	src.Delete(1)
	src.Beat(time.Second)

	w := watch(t, srv.Connect())
	w.awaitComplete(1)
	if got := w.view.Reservations(); len(got) != 1 || got[0].Hostname != "b" {
		t.Errorf("after the replay the view holds %+v", got)
	}
	if c, ok := w.view.Last(events.Key{Source: "us3", HostID: 1}); !ok || !c.Deleted() {
		t.Errorf("the deletion of host 1 is not in the view: %+v", c)
	}

	src.Put(eventstest.Reservation("us3", 2, "b", "192.0.2.99"))
	w.await("the change of host 2", func() bool {
		return len(w.differences) == 2 && w.differences[1].After.IP.String() == "192.0.2.99"
	})
	if d := w.differences[1]; d.Before.IP.String() != "192.0.2.2" || d.Change.Operation != events.Update {
		t.Errorf("the difference is %+v", d)
	}
	src.Delete(2)
	src.Beat(time.Second)
	w.awaitComplete(0)
}

func TestWatchStartsBeforeServerAndStream(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	conn := srv.Connect()
	w := watch(t, srv.Connect())
	src := eventstest.NewSource(t, conn, "us3")
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"))
	src.Beat(time.Second)
	w.awaitComplete(1)
}

func TestWatchSurvivesServerRestart(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	conn := srv.Connect()
	src := eventstest.NewSource(t, conn, "us3")
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"))
	src.Beat(time.Second)
	w := watch(t, srv.Connect())
	w.awaitComplete(1)

	srv.Stop()
	srv.Resume()
	src = eventstest.NewSource(t, srv.Connect(), "us3")
	src.Put(eventstest.Reservation("us3", 2, "b", "192.0.2.2"))
	src.Beat(time.Second)
	w.awaitComplete(2)
}

func TestWatchNoticesRecreatedStream(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	conn := srv.Connect()
	src := eventstest.NewSource(t, conn, "us3")
	for i := range int64(20) {
		src.Put(eventstest.Reservation("us3", i+1, "a", "192.0.2.1"))
	}
	src.Beat(time.Second)
	w := watch(t, srv.Connect())
	w.awaitComplete(20)

	deleteStream(t, conn)
	src = eventstest.NewSource(t, conn, "us3")
	src.Put(eventstest.Reservation("us3", 3, "a", "192.0.2.1"), eventstest.Reservation("us3", 99, "new", "192.0.2.9"))
	src.Beat(time.Second)
	w.awaitComplete(2)
	// Row 3 vanishes too, for a moment, if the new stream is read while it is empty.
	w.await("the 19 vanished rows are reported", func() bool {
		vanished := make(map[int64]bool)
		for _, d := range w.differences {
			if d.After == nil && d.Change.Operation == "" && d.Before.HostID != 3 {
				vanished[d.Before.HostID] = true
			}
		}
		return len(vanished) == 19
	})
}

func TestWatchReplaysAtNewEpoch(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	src := eventstest.NewSource(t, srv.Connect(), "us3")
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"))
	src.Beat(time.Second)
	w := watch(t, srv.Connect())
	w.awaitComplete(1)
	src.Epoch = "epoch-2"
	src.Beat(time.Second)
	w.await("a second pass", func() bool { return w.passes == 2 })
	w.awaitComplete(1)
	if len(w.differences) != 1 {
		t.Errorf("a second pass over an unchanged stream reported differences: %+v", w.differences)
	}
}

func TestWatchIsNotCompleteWhenCountsDiffer(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	src := eventstest.NewSource(t, srv.Connect(), "us3")
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"))
	w := watch(t, srv.Connect())
	for _, hb := range []events.Heartbeat{
		{Complete: true, Hosts: 2},
		{Complete: false, Hosts: 1},
	} {
		src.Now = src.Now.Add(time.Second)
		src.BeatAs(hb)
		w.await("the heartbeat", func() bool {
			s, _ := w.view.Source("us3")
			return s.Heartbeat.DrainedAt.Equal(src.Now)
		})
		if s, _ := w.view.Source("us3"); s.Complete {
			t.Errorf("the source counts as complete after %+v", hb)
		}
	}
	src.Beat(time.Second)
	w.awaitComplete(1)
}

func TestWatchParksForeignMessages(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	conn := srv.Connect()
	src := eventstest.NewSource(t, conn, "us3")
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"), eventstest.Reservation("us3", 2, "b", "192.0.2.2"))
	src.Beat(time.Second)
	w := watch(t, srv.Connect())
	w.awaitComplete(2)

	publishRaw(t, conn, "kea.reservations.us3.1", `{"v":2}`)
	publishRaw(t, conn, "kea.reservations.us3.2", `{"v":1,"operation":"DELETE","source":"us3","host_id":1,"at":"2026-11-23T10:00:00Z"}`)
	publishRaw(t, conn, "kea.reservations.us3.x", `{}`)
	publishRaw(t, conn, "kea.sources.us3", `[]`)
	publishRaw(t, conn, "kea.sources.us3.more", `{}`)
	publishRaw(t, conn, "kea.later.version", `whatever`)
	w.await("five messages are parked", func() bool { return len(w.parked) == 5 })
	if w.view.Len() != 2 {
		t.Errorf("the view holds %d reservations, the last readable states were 2", w.view.Len())
	}
	if s, _ := w.view.Source("us3"); s.Complete || s.Unreadable != 2 {
		t.Errorf("with two unreadable rows the source is %+v", s)
	}

	// A new pass keeps what it cannot read, and a good message heals it.
	src = eventstest.NewSource(t, conn, "us3")
	src.Epoch = "epoch-2"
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"))
	src.BeatAs(events.Heartbeat{Complete: true, Hosts: 2})
	w.await("host 2 is unreadable alone", func() bool {
		s, _ := w.view.Source("us3")
		return s.Unreadable == 1 && s.Live == 2 && !s.Complete
	})
	src.Put(eventstest.Reservation("us3", 2, "b", "192.0.2.3"))
	src.Beat(time.Second)
	w.awaitComplete(2)
	if len(w.parked) != 5 {
		t.Errorf("after a second pass %d messages were reported as parked, want the same 5", len(w.parked))
	}
}
