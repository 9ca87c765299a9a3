package main

import (
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/solidsim"
	"github.com/nats-io/nats.go/jetstream"
)

// A name that is wanted again and given up again has to be absent anew for all
// the time, also if nobody could look at it in between.
func TestHoldDownBeginsAnewWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start("--sweep", "1h")
	s.checked(1)

	w.src.Delete(1)
	s.quiet()
	var tried, looked, removed atomic.Bool
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		if c.Method == http.MethodDelete || tried.Load() {
			tried.Store(true)
			return solidsim.Fault{Status: http.StatusBadGateway}
		}
		return solidsim.Fault{}
	}))
	w.beating("the removal is proven and fails", tried.Load)
	w.src.Put(host(2, "a", "192.0.2.1"), host(3, "seen", "192.0.2.3"))
	s.metric(`keastream_dns_queued_names{scope="internal"} 2`)
	w.src.Beat(time.Hour)
	w.src.Delete(2) // the first half of an update, say
	w.src.Put(host(4, "too", "192.0.2.4"))
	s.metric(`keastream_dns_queued_names{scope="internal"} 3`)
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		switch {
		case c.Method == http.MethodDelete:
			removed.Store(true)
		case strings.Contains(c.Params["WHERE"], "'a.site.com'"):
			looked.Store(true)
		}
		return solidsim.Fault{}
	}))
	w.awaitRecord("seen", "192.0.2.3")
	w.awaitRecord("too", "192.0.2.4")
	w.await("the name is looked at", looked.Load)
	w.src.Beat(9 * time.Second)
	w.src.Put(host(5, "last", "192.0.2.5"))
	w.awaitRecord("last", "192.0.2.5")
	if removed.Load() {
		t.Error("the record went by a proof from before")
	}
}

// A reservation that comes back while its many records are removed keeps those
// that are still there: the proof is over.
func TestRemovalStopsWhenTheNameIsWantedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := host(1, "a", "192.0.2.1")
	for i := range byte(20) {
		r.IPv6 = append(r.IPv6, netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: i + 1}))
	}
	w.src.Put(r)
	w.src.Beat(time.Second)
	s := w.start("--sweep", "1h")
	s.checked(1)
	w.src.Delete(1)
	s.quiet()
	var removals atomic.Int64
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		if c.Method == http.MethodDelete {
			removals.Add(1)
			return solidsim.Fault{Delay: 200 * time.Millisecond}
		}
		return solidsim.Fault{}
	}))
	w.beating("a record is removed", func() bool { return removals.Load() > 0 })
	r.HostID = 2
	w.src.Put(r)
	s.quiet()
	w.await("all are there", func() bool {
		n := 0
		for _, record := range w.sim.Records(solidsim.InternalServer) {
			if record.Name == "a.site.com" {
				n++
			}
		}
		return n == 21
	})
	if n := removals.Load(); n > 10 {
		t.Errorf("%d records of a name that is wanted were removed", n)
	}
}

// While the stream is read anew a name may have been wanted again, and given up
// again, without a word of it.
func TestHoldDownBeginsAnewWithEachReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start("--sweep", "1h", "--hold-down", "3s")
	s.checked(1)

	w.src.Delete(1)
	s.quiet()
	w.src.Beat(time.Second)
	s.quiet()
	w.src.Epoch = "epoch-2"
	w.src.Beat(time.Second)
	s.quiet()
	w.src.Beat(20 * time.Second)
	s.quiet()
	if len(w.values("a")) == 0 {
		t.Fatal("the record went by a proof from before")
	}
	w.beating("the record is gone", func() bool { return len(w.values("a")) == 0 })
}

// A source that is named in a mark is not forgotten because it is missing from
// the stream at a moment when the record is corrected.
func TestCorrectionForgetsNoSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	standby := eventstest.NewSource(t, w.nats.Connect(), "standby")
	w.src.Put(host(1, "a", "192.0.2.1"))
	standby.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	standby.Beat(time.Second)
	s := w.start()
	s.checked(1)
	s.stop()

	js, err := jetstream.New(w.nats.Connect())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
	w.src = eventstest.NewSource(t, w.nats.Connect(), "us3")
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Hour)
	s = w.start("--ttl", "300", "--once")
	if code := s.wait(); code != daemon.ExitOK || s.log.count("Updated A record: a.site.com") != 1 {
		t.Fatalf("the record was not corrected; exit code %d", code)
	}

	w.src.Delete(1)
	s = w.start("--ttl", "300")
	s.checked(1)
	for range 4 {
		w.src.Beat(6 * time.Second)
		s.quiet()
	}
	if len(w.values("a")) == 0 {
		t.Fatal("the record went without the word of a source that its mark named")
	}
	standby = eventstest.NewSource(t, w.nats.Connect(), "standby")
	w.await("the record goes by the word of both", func() bool {
		w.src.Beat(6 * time.Second)
		standby.Beat(6 * time.Second)
		return len(w.values("a")) == 0
	})
}

// Two equal rows of ours are one too many.
func TestDoubledRowIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start("--once")
	s.wait()
	if err := w.sim.Double(solidsim.InternalServer, w.sim.Records(solidsim.InternalServer)[0]); err != nil {
		t.Fatal(err)
	}
	w.src.Put(host(1, "a", "192.0.2.1"))
	s = w.start("--ttl", "300")
	w.beating("one of them is removed", func() bool { return len(w.values("a")) == 1 })
	s.quiet()
	w.awaitRecord("a", "192.0.2.1")
	s.metric(`keastream_parked_names{reason="failing",scope="internal"} 0`)
}
