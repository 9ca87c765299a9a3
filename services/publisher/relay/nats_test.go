package relay_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/publisher/relay"
)

// A publisher that cannot publish must leave the lock to one that can, also when
// its connection to NATS looks alive.
func TestPublisherWithoutNATSTakesNoLock(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"))
	address, silence := silentLine(t, strings.TrimPrefix(r.nats.URL(), "nats://"))
	conn, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	silence.Store(true)
	cutOff := r.start(func(rl *relay.Relay) { rl.NATS = conn })
	cutOff.log.await("reach NATS", 1)
	if strings.Contains(cutOff.log.String(), "Listening for database lease events") {
		t.Error("a publisher without NATS opened a session in the database")
	}
	r.start(nil)
	r.await()
	cutOff.stop() // before the connection is closed
}

// Of two histories of a database the older one must not be published over the
// newer: a standby was promoted, and the old primary came back.
func TestOldPrimaryIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(insert(1, "a"))
	r.start(func(rl *relay.Relay) { rl.Once = true })
	r.await()
	held := r.replay()
	promoted := held.Heartbeat
	promoted.Timeline++
	stream := eventstest.Open(t, r.conn, events.StreamConfig{})
	if _, err := stream.PublishHeartbeat(t.Context(), promoted, held.HeartbeatSequence); err != nil {
		t.Fatal(err)
	}
	r.exec(`UPDATE hosts SET hostname = 'old'`)
	old := r.newRelay()
	old.Once = true
	if err := old.Run(t.Context()); !errors.Is(err, relay.ErrOtherDatabase) || !strings.Contains(err.Error(), "timeline") {
		t.Errorf("on an older timeline Run returned %v, want ErrOtherDatabase", err)
	}
	if got := r.stored()[1].Change.Reservation.Hostname; got != "a" {
		t.Errorf("the stream holds %q of the older timeline", got)
	}
	old.AcceptDatabase = true
	if err := old.Run(t.Context()); err != nil {
		t.Errorf("with AcceptDatabase Run returned %v", err)
	}
	r.await()
}
