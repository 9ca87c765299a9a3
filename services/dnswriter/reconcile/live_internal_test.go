package reconcile

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
)

// live is a Reconciler that follows a real stream: removals need heartbeats.
type live struct {
	t      *testing.T
	server *eventstest.Server
	src    *eventstest.Source
	memory *memory
	log    *journal
	r      *Reconciler
}

// follow makes a Reconciler that follows a stream with these reservations.
func follow(t *testing.T, cfg Config, m *memory, hosts ...events.Reservation) *live {
	t.Helper()
	l := &live{t: t, server: eventstest.Start(t), memory: m, log: &journal{out: t.Output()}}
	l.src = eventstest.NewSource(t, l.server.Connect(), "us3")
	l.src.Put(hosts...)
	l.src.Beat(time.Second)
	l.again(cfg)
	return l
}

// again makes another Reconciler, as after a restart.
func (l *live) again(cfg Config) {
	l.t.Helper()
	cfg.Provider, cfg.View = l.memory, events.NewView()
	if len(cfg.Zones.All()) == 0 {
		cfg.Zones = parseZones(l.t, labZone)
	}
	cfg.Log = slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l.r = New(cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.t.Context()))
	var watching conc.WaitGroup
	l.t.Cleanup(watching.Wait)
	l.t.Cleanup(cancel)
	conn := l.server.Connect()
	watching.Go(func() { _ = events.Watch(ctx, conn, cfg.View, l.r.Handlers()) })
}

// run runs the Reconciler while the test looks at it.
func (l *live) run(test func()) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	var running conc.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		if err := l.r.Run(ctx); err != nil {
			l.t.Errorf("Run returned %v", err)
		}
	})
	test()
}

// await waits until something is so.
func (l *live) await(what string, cond func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(deadline) {
			l.t.Fatalf("after a minute still not: %s; DNS has %q", what, l.memory.have())
		}
		<-time.After(5 * time.Millisecond)
	}
}

// awaitRows waits until DNS has these rows, while the source beats.
func (l *live) awaitRows(want ...string) {
	l.t.Helper()
	l.await("the rows", func() bool {
		l.src.Beat(20 * time.Second)
		return slices.Equal(l.memory.have(), want)
	})
}

// awaitProof waits until it is proven that nobody asks for any of the rows that
// are to be removed, n of them, and all names have been looked at since.
func (l *live) awaitProof(n int) {
	l.t.Helper()
	l.await("the proof", func() bool {
		l.src.Beat(20 * time.Second)
		l.r.mu.Lock()
		defer l.r.mu.Unlock()
		rows := 0
		for _, h := range l.r.holds {
			if h.absence.Confirmed(l.r.cfg.View, l.r.cfg.HoldDown) {
				rows += len(h.rows)
			}
		}
		return rows == n
	})
	before := 0
	l.r.mu.Lock()
	for _, b := range l.r.beats {
		before += int(b.at.Unix())
	}
	l.r.mu.Unlock()
	l.src.Beat(20 * time.Second)
	l.await("another look", func() bool {
		l.r.mu.Lock()
		defer l.r.mu.Unlock()
		after := 0
		for _, b := range l.r.beats {
			after += int(b.at.Unix())
		}
		return after > before
	})
	l.await("all names have been looked at", func() bool { return l.r.queue.len() == 0 })
}
