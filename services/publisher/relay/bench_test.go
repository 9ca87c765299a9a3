package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/publisher/relay"
)

// BenchmarkInsertToStored commits 200 INSERTs a second and measures the time
// from the end of each to the delivery of its event by a consumer of the stream,
// which comes after it was stored. In the same run it measures what cannot be
// saved: a row with a NOTIFY until it is received, and the publication of one
// message. The ratio of the medians is to stay at 2 or below.
func BenchmarkInsertToStored(b *testing.B) {
	r := newRig(b)
	conn := r.connect(r.dsn)
	stored := r.followReservations(b)

	listener := r.connect(r.dsn)
	mustExec(b, listener, `LISTEN bench`)
	mustExec(b, conn, `CREATE TABLE bench (n int, payload text)`)
	js, err := jetstream.New(r.conn)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "BENCH", Subjects: []string{"bench.>"}, MaxMsgsPerSubject: 1}); err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 250)

	var whole, notified, published []time.Duration
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for n := 1; b.Loop(); n++ {
		<-pace.C
		mustExec(b, conn, insert(n, fmt.Sprintf("us3-cab%d-ru%d-idrac", n/40, n%40)))
		began := time.Now()
		if id := <-stored; id != int64(n) {
			b.Fatalf("the event of host %d came, want that of %d", id, n)
		}
		whole = append(whole, time.Since(began))

		<-pace.C
		began = time.Now()
		mustExec(b, conn, `WITH row AS (INSERT INTO bench VALUES ($1, $2)) SELECT pg_notify('bench', $2)`, n, fmt.Sprintf("%0250d", n))
		if _, err := listener.WaitForNotification(b.Context()); err != nil {
			b.Fatal(err)
		}
		notified = append(notified, time.Since(began))

		began = time.Now()
		if _, err := js.Publish(b.Context(), fmt.Sprintf("bench.%d", n), payload); err != nil {
			b.Fatal(err)
		}
		published = append(published, time.Since(began))
	}
	if len(whole) < 100 {
		return // of a run that only tries how long one takes
	}
	w, n, p := median(whole), median(notified), median(published)
	b.ReportMetric(float64(w.Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(percentile(whole, 99).Microseconds())/1000, "ms-p99")
	b.ReportMetric(float64(n.Microseconds())/1000, "ms-notify-p50")
	b.ReportMetric(float64(p.Microseconds())/1000, "ms-publish-p50")
	b.ReportMetric(w.Seconds()/(n+p).Seconds(), "x-limit")
}

func median(d []time.Duration) time.Duration { return percentile(d, 50) }

func percentile(d []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)*p/100]
}

// followReservations gives the host_id of each event, in the order of the stream.
func (r *rig) followReservations(b *testing.B) <-chan int64 {
	b.Helper()
	r.start(func(rl *relay.Relay) { rl.Log = slog.New(slog.DiscardHandler) })
	r.await()
	js, err := jetstream.New(r.conn)
	if err != nil {
		b.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(b.Context(), events.StreamName, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.ReservationsFilter("us3")}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		b.Fatal(err)
	}
	ids := make(chan int64, 1000)
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		c, err := events.Decode(msg.Data())
		if err != nil {
			b.Error(err)
			return
		}
		ids <- c.Reservation.HostID
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(consuming.Stop)
	return ids
}

// BenchmarkBacklog relays 50,000 rows with a mark each, from the start of the
// publisher until it is done, and stores the same messages with nothing but
// atomic batches. The relay is to reach half of the latter's rate.
func BenchmarkBacklog(b *testing.B) {
	const rows = 50_000
	var relayed, batched time.Duration
	for b.Loop() {
		b.StopTimer()
		r := newRig(b)
		r.exec(fmt.Sprintf(`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname)
			SELECT decode(lpad(to_hex(i), 12, '0'), 'hex'), 0, 1, 167772160 + i, 'us3-cab' || i / 40 || '-ru' || i %% 40 || '-idrac'
			  FROM generate_series(1, %d) i`, rows), `ANALYZE hosts`)
		rl := r.newRelay()
		rl.Once, rl.Log = true, slog.New(slog.DiscardHandler)
		b.StartTimer()
		began := time.Now()
		if err := rl.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		relayed += time.Since(began)
		b.StopTimer()
		held := r.stored()
		if len(held) != rows || r.marks() != 0 {
			b.Fatalf("the stream holds %d reservations with %d marks left, want %d and 0", len(held), r.marks(), rows)
		}
		bodies := make([][]byte, 0, rows)
		for _, s := range held {
			body, err := events.Encode(s.Change)
			if err != nil {
				b.Fatal(err)
			}
			bodies = append(bodies, body)
		}
		batched += storeBatches(b, eventstest.Start(b).Connect(), bodies)
		b.StartTimer()
	}
	b.ReportMetric(rows*float64(b.N)/relayed.Seconds(), "rows/s")
	b.ReportMetric(rows*float64(b.N)/batched.Seconds(), "rows/s-batches")
	b.ReportMetric(batched.Seconds()/relayed.Seconds(), "of-batches")
}

// storeBatches stores the bodies in atomic batches of 1000, each on a subject of
// its own and with the expectation that nothing is there.
func storeBatches(b *testing.B, conn *nats.Conn, bodies [][]byte) time.Duration {
	b.Helper()
	eventstest.Open(b, conn, events.StreamConfig{})
	js, err := jetstream.New(conn)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	n := 0
	for batch := range slices.Chunk(bodies, 1000) {
		msgs := make([]*nats.Msg, len(batch))
		for i, body := range batch {
			n++
			msgs[i] = nats.NewMsg(fmt.Sprintf("kea.reservations.us3.%d", n))
			msgs[i].Data = body
			msgs[i].Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
		}
		if _, err := jetstreamext.PublishMsgBatch(b.Context(), js, msgs); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

func mustExec(b *testing.B, conn *pgx.Conn, sql string, args ...any) {
	b.Helper()
	if _, err := conn.Exec(context.WithoutCancel(b.Context()), sql, args...); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
}
