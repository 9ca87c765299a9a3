package events_test

import (
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
)

func TestAbsenceNeedsTwoHeartbeats(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	src := eventstest.NewSource(t, srv.Connect(), "us3")
	src.Put(eventstest.Reservation("us3", 1, "a", "192.0.2.1"))
	src.Beat(time.Second)
	w := watch(t, srv.Connect())
	w.awaitComplete(1)

	absence := events.NewAbsence(w.view, "us3")
	heard := func() {
		t.Helper()
		w.await("the heartbeat", func() bool {
			s, _ := w.view.Source("us3")
			return s.Heartbeat.DrainedAt.Equal(src.Now)
		})
	}
	expect := func(want bool, when string) {
		t.Helper()
		if got := absence.Confirmed(w.view, hold); got != want {
			t.Errorf("%s the absence is confirmed: %v, want %v", when, got, want)
		}
	}
	expect(false, "before any heartbeat")
	src.Beat(time.Minute) // however old the last one is: it testifies for the first time
	heard()
	expect(false, "at the first heartbeat")
	src.Beat(9 * time.Second)
	heard()
	expect(false, "9 s after the first heartbeat")
	src.Beat(time.Second)
	heard()
	expect(true, "10 s after the first heartbeat")

	src.BeatAs(events.Heartbeat{Complete: false, Hosts: 1})
	w.await("the source is incomplete", func() bool { s, _ := w.view.Source("us3"); return !s.Complete })
	expect(false, "at an incomplete heartbeat")
	src.Beat(time.Minute)
	heard()
	expect(false, "at the first heartbeat after an incomplete one")
	src.Beat(10 * time.Second)
	heard()
	expect(true, "10 s later")

	if events.NewAbsence(w.view, "us3", "us4").Confirmed(w.view, 0) {
		t.Error("a source that the stream does not know confirms an absence")
	}
	if events.NewAbsence(w.view).Confirmed(w.view, 0) {
		t.Error("nobody's word confirms an absence")
	}
}
