package relay_test

import (
	"errors"
	"testing"
	"time"

	"github.com/keastream/keastream/services/publisher/relay"
	"github.com/keastream/keastream/services/publisher/retire"
)

func (r *rig) retire() {
	r.t.Helper()
	config := retire.Config{NATS: r.conn, Source: "us3", Quiet: 10 * time.Millisecond, Log: r.newRelay().Log}
	if _, err := retire.Run(r.t.Context(), config); err != nil {
		r.t.Fatal(err)
	}
}

// gone checks that the stream holds nothing of the source.
func (r *rig) gone(when string) {
	r.t.Helper()
	held := r.replay()
	for id, stored := range held.Hosts {
		if !stored.Change.Deleted() {
			r.t.Errorf("%s host %d is in the stream", when, id)
		}
	}
	if !held.Heartbeat.Retired || !held.Heartbeat.Complete {
		r.t.Errorf("%s the heartbeat is %+v", when, held.Heartbeat)
	}
}

// A publisher that starts after the source was retired publishes nothing, until
// a person says otherwise.
func TestRelayRefusesARetiredSource(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"), insert(2, "b"))
	run := r.start(nil)
	r.await()
	run.stop()
	r.retire()

	r.exec(insert(3, "c"))
	refused := r.start(nil)
	refused.log.await(relay.ErrRetired.Error(), 2)
	refused.stop()
	once := r.newRelay()
	once.Once = true
	if err := once.Run(t.Context()); !errors.Is(err, relay.ErrRetired) {
		t.Errorf("Run with Once on a retired source returned %v, want ErrRetired", err)
	}
	r.gone("after publishers that were refused")

	back := r.start(func(r *relay.Relay) { r.AcceptDatabase = true })
	r.await()
	back.stop()
	last := r.start(nil) // and from then on without the word of a person
	last.log.await(compared, 1)
	r.await()
}

// A publisher that has been silent for so long that its source was retired finds
// out with its first heartbeat. What it published before that is deleted by
// another retirement.
func TestSilentRelayIsFenced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"))
	silent := r.start(func(r *relay.Relay) { r.Heartbeat = time.Hour })
	r.await()
	r.retire()
	r.gone("at first")

	r.exec(insert(2, "b"))
	silent.log.await(relay.ErrRetired.Error(), 1)
	r.retire()
	r.gone("after a silent publisher has spoken")
}
