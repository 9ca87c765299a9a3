package events_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
)

// BenchmarkWatchReplay reads a stream of 100,000 reservations to its end with
// Watch, which decodes them and fills a View, and with an ordered consumer that
// looks at nothing. The ratio of the two is to stay at 2 or below.
func BenchmarkWatchReplay(b *testing.B) {
	const reservations = 100_000
	server := eventstest.Start(b)
	conn := server.Connect()
	fill(b, conn, reservations)

	var bare, watched time.Duration
	for b.Loop() {
		began := time.Now()
		readBare(b, conn, reservations)
		bare += time.Since(began)

		began = time.Now()
		ctx, cancel := context.WithCancel(b.Context())
		view := events.NewView()
		if err := events.Watch(ctx, conn, view, events.Handlers{CaughtUp: cancel}); err != nil {
			b.Fatal(err)
		}
		watched += time.Since(began)
		if view.Len() != reservations {
			b.Fatalf("the view holds %d reservations, want %d", view.Len(), reservations)
		}
	}
	b.ReportMetric(watched.Seconds()/float64(b.N), "s/replay")
	b.ReportMetric(watched.Seconds()/bare.Seconds(), "x-bare")
}

// fill publishes reservations as they are at a real site.
func fill(b *testing.B, conn *nats.Conn, n int) {
	b.Helper()
	source := eventstest.NewSource(b, conn, "us3")
	for from := 0; from < n; from += 5000 {
		rs := make([]events.Reservation, 0, 5000)
		for i := from; i < min(from+5000, n); i++ {
			rs = append(rs, eventstest.Reservation("us3", int64(i+1),
				fmt.Sprintf("us3-cab%d-ru%d-idrac", i/40, i%40), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)))
		}
		source.Put(rs...)
	}
	source.Beat(time.Second)
}

// readBare reads every message with the client library's ordered consumer.
func readBare(b *testing.B, conn *nats.Conn, atLeast int) {
	b.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		b.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(b.Context(), events.StreamName, jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		b.Fatal(err)
	}
	defer messages.Stop()
	for n := 0; ; {
		msg, err := messages.Next()
		if err != nil {
			b.Fatal(err)
		}
		n++
		meta, err := msg.Metadata()
		if err != nil {
			b.Fatal(err)
		}
		if meta.NumPending == 0 {
			if n < atLeast {
				b.Fatalf("the ordered consumer read %d messages, want %d", n, atLeast)
			}
			return
		}
	}
}
