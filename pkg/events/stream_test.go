package events_test

import (
	"testing"

	"github.com/keastream/keastream/pkg/events"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func jetStream(t testing.TB, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func deleteStream(t testing.TB, conn *nats.Conn) {
	t.Helper()
	if err := jetStream(t, conn).DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
}

// publishRaw stores a message as a stranger would.
func publishRaw(t testing.TB, conn *nats.Conn, subject, body string) uint64 {
	t.Helper()
	ack, err := jetStream(t, conn).Publish(t.Context(), subject, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}
