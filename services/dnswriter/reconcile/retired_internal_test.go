package reconcile

import (
	"context"
	"testing"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
)

// When the server comes back after hours, or the check of a large zone takes
// long, the last heartbeat of a retired source is old, and as true as ever. A
// source that is silent without having been retired proves nothing.
func TestLastHeartbeatDoesNotAge(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	view := events.NewView()
	r := New(Config{View: view, Zones: parseZones(t, labZone)})
	conn := srv.Connect()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var watching conc.WaitGroup
	defer watching.Wait()
	defer cancel()
	heard := make(chan events.SourceState, 1000)
	handlers := r.Handlers()
	handlers.Heartbeat = func(s events.SourceState) { r.heartbeat(s); heard <- s }
	watching.Go(func() { _ = events.Watch(ctx, conn, view, handlers) })
	await := func(what string, cond func(events.SourceState) bool) {
		t.Helper()
		deadline := time.After(time.Minute)
		for {
			select {
			case s := <-heard:
				if cond(s) {
					return
				}
			case <-deadline:
				t.Fatalf("after a minute still not: %s", what)
			}
		}
	}

	m := &memory{}
	m.put("a", "192.0.2.1", "us3")
	removal := Step{Op: Remove, Zone: labZone, Record: m.rows[0].Record, Row: m.rows[0]}
	proven := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.beats["us3"] = beat{at: r.beats["us3"].at, came: time.Now().Add(-time.Hour)}
		return r.proven(removal)
	}
	src := eventstest.NewSource(t, srv.Connect(), "us3")
	src.Beat(time.Second)
	await("the first heartbeat", func(s events.SourceState) bool { return s.Complete })
	r.mu.Lock()
	r.observe(removal.Record.Name, Changes{Steps: []Step{removal}})
	r.mu.Unlock()
	for range 2 {
		src.Beat(20 * time.Second)
		await("the heartbeat", func(s events.SourceState) bool { return s.Heartbeat.DrainedAt.Equal(src.Now) })
	}
	if proven() {
		t.Error("a heartbeat of an hour ago proves an absence")
	}
	src.Retire()
	await("the retirement", events.SourceState.Gone)
	if !proven() {
		t.Error("a source that was retired an hour ago does not prove an absence")
	}
}
