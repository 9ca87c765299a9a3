package relay_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

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
