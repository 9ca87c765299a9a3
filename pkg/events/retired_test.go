package events_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
)

const hold = 10 * time.Second

// A source that is retired in front of a consumer's eyes confirms what is absent
// since before and what is found absent later, though it says nothing any more.
func TestRetiredSourceConfirmsAbsence(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	src := eventstest.NewSource(t, srv.Connect(), "us3")
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"), eventstest.Reservation("us3", 2, "b", "192.0.2.2"))
	src.Beat(time.Second)
	other := eventstest.NewSource(t, srv.Connect(), "us4")
	other.Put(eventstest.Reservation("us4", 1, "c", "192.0.2.3"))
	other.Beat(time.Second)
	w := watch(t, srv.Connect())
	w.awaitComplete(2)
	before := events.NewAbsence(w.view, "us3")

	// As long as reservations are there it is only announced.
	src.BeatAs(events.Heartbeat{Retired: true, Hosts: 2})
	w.await("the announcement", func() bool { s, _ := w.view.Source("us3"); return s.Heartbeat.Retired })
	if s, _ := w.view.Source("us3"); s.Gone() || s.Complete || before.Confirmed(w.view, hold) {
		t.Errorf("a retirement that is not finished confirms an absence: %+v", s)
	}
	src.Retire()
	w.await("the end", func() bool { s, _ := w.view.Source("us3"); return s.Gone() })
	if !before.Confirmed(w.view, hold) || !events.NewAbsence(w.view, "us3").Confirmed(w.view, hold) {
		t.Error("a retired source does not confirm an absence")
	}

	// It neither speaks for others nor stands in their way.
	both := events.NewAbsence(w.view, "us3", "us4")
	heard := func() bool { s, _ := w.view.Source("us4"); return s.Heartbeat.DrainedAt.Equal(other.Now) }
	other.Beat(time.Second)
	w.await("the heartbeat of the other source", heard)
	if both.Confirmed(w.view, hold) {
		t.Error("a retired source confirms for another one, too")
	}
	other.Beat(hold)
	w.await("the heartbeat of the other source", heard)
	if !both.Confirmed(w.view, hold) {
		t.Error("a retired source stands in the way of another one")
	}

	// Back in service it is not gone from its first reservation on.
	again := events.NewAbsence(w.view, "us3")
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"))
	w.await("the reservation", func() bool { s, _ := w.view.Source("us3"); return s.Live == 1 })
	if again.Confirmed(w.view, hold) {
		t.Error("a source that comes back confirms that the rest of it is absent")
	}
	src.Beat(time.Second)
	w.await("the heartbeat", func() bool { s, _ := w.view.Source("us3"); return !s.Heartbeat.Retired && s.Complete })
	if again.Confirmed(w.view, hold) {
		t.Error("a source that is back confirms an absence with one heartbeat")
	}
}

// A consumer that was away until the deletions have expired finds nothing but
// the last heartbeat, and needs nothing else.
func TestRetiredSourceOutlivesItsDeletions(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	stream := openStream(t, srv.Connect(), events.StreamConfig{TombstoneTTL: time.Second})
	sequences, err := stream.Publish(t.Context(), []events.Publication{{Change: change(events.Insert, 1, "a")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Publish(t.Context(), []events.Publication{{Change: change(events.Delete, 1, "a"), Expect: sequences[0]}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.PublishHeartbeat(t.Context(), events.Heartbeat{
		Source: "us3", Database: "7000000000000000000/kea", Epoch: "retired", Complete: true, Retired: true,
		DrainedAt: time.Now(), At: time.Now(),
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(replay(t, stream).Hosts) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the deletion does not expire")
		}
		<-time.After(50 * time.Millisecond)
	}
	w := watch(t, srv.Connect())
	w.awaitComplete(0)
	if s, _ := w.view.Source("us3"); !s.Gone() || !events.NewAbsence(w.view, "us3").Confirmed(w.view, hold) {
		t.Errorf("the last heartbeat alone does not confirm an absence: %+v", s)
	}
}

func TestFindStreamAndItsSources(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	conn := srv.Connect()
	if _, err := events.FindStream(t.Context(), conn, events.StreamConfig{}); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without a stream FindStream returns %v", err)
	}
	for _, name := range []string{"us4", "us3"} {
		src := eventstest.NewSource(t, conn, name)
		src.Put(eventstest.Reservation(name, 1, "a", "192.0.2.1"))
		src.Beat(time.Second)
	}
	s, err := events.FindStream(t.Context(), conn, events.StreamConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if names, err := s.Sources(t.Context()); err != nil || !slices.Equal(names, []string{"us3", "us4"}) {
		t.Errorf("the sources are %q, %v", names, err)
	}
}
