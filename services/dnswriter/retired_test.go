package main

import (
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
)

// A source is taken out of service while the program runs: its records go, and
// it does not stand in the way of what other sources remove later.
func TestRecordsOfARetiredSourceGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := eventstest.NewSource(t, w.nats.Connect(), "old")
	w.src.Put(host(1, "stays", "192.0.2.1"), host(2, "shared", "192.0.2.2"), host(3, "later", "192.0.2.3"))
	old.Put(host(2, "shared", "192.0.2.2"), host(3, "later", "192.0.2.3"), host(4, "goes", "192.0.2.4"))
	w.src.Beat(time.Second)
	old.Beat(time.Second)
	s := w.start("--sources", "us3,old")
	s.checked(1)
	w.awaitRecord("goes", "192.0.2.4")

	old.Retire()
	w.beating("the record of the retired source is gone", func() bool { return len(w.values("goes")) == 0 })
	w.beating("enough heartbeats", counted(4))
	s.quiet()
	w.awaitRecord("stays", "192.0.2.1")
	w.awaitRecord("shared", "192.0.2.2")
	w.awaitRecord("later", "192.0.2.3")

	w.src.Delete(3) // its mark names both
	w.beating("the record that was shared is gone", func() bool { return len(w.values("later")) == 0 })
	s.quiet()
	w.awaitRecord("shared", "192.0.2.2")
}

// The program was down when the only source was retired: nothing that is alive
// ever says anything to it.
func TestRecordsOfASourceThatWasRetiredBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := w.add("foreign", "192.0.2.9")
	rows := []events.Reservation{host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2")}
	w.src.Put(rows...)
	w.src.Beat(time.Second)
	s := w.start()
	s.checked(1)
	w.awaitRecord("b", "192.0.2.2")
	s.stop()
	w.src.Retire()

	s = w.start("--sources", "us3", "--once")
	if code := s.wait(); code != daemon.ExitOK {
		t.Errorf("the check ended with exit code %d", code)
	}
	if a, b := w.values("a"), w.values("b"); len(a)+len(b) > 0 {
		t.Errorf("the records of a retired source are still there: %v, %v", a, b)
	}
	w.untouched(foreign)

	// Back in service it gets its records again, and loses them again.
	w.src.Put(rows...)
	w.src.Beat(time.Second)
	s = w.start()
	w.awaitRecord("a", "192.0.2.1")
	w.awaitRecord("b", "192.0.2.2")
	s.checked(1)
	s.stop()
	w.src.Retire()
	w.start()
	w.await("the records are gone", func() bool { return len(w.values("a"))+len(w.values("b")) == 0 })
	w.untouched(foreign)
}
