package relay

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

func TestOldestMark(t *testing.T) {
	t.Parallel()
	m := NewMetrics(prometheus.NewRegistry())
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	mark := func(age time.Duration) outbox.Mark { return outbox.Mark{CreatedAt: now.Add(-age)} }
	m.read(outbox.Reading{At: now, Marks: []outbox.Mark{mark(time.Second), mark(3 * time.Second), mark(2 * time.Second)}})
	if got := testutil.ToFloat64(m.oldestMark); got != 3 {
		t.Errorf("the oldest mark is %v s old, want 3", got)
	}
	m.read(outbox.Reading{At: now})
	if got := testutil.ToFloat64(m.oldestMark); got != 0 {
		t.Errorf("without marks the oldest is %v s old, want 0", got)
	}
}

// What a stream counts shows in the metrics, also of a stream opened later.
func TestTroublesOfPublishingAreMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	conn := eventstest.Start(t).Connect()
	for range 2 {
		s, err := events.OpenStream(t.Context(), conn, events.StreamConfig{Statistics: m.Publishing})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Publish(t.Context(), []events.Publication{{
			Change: events.Change{
				Operation: events.Update, At: time.Now(), Reservation: eventstest.Reservation("us3", 1, "a", "192.0.2.1"),
			},
			Expect: 99,
		}})
		if err == nil {
			t.Fatal("nothing was there, and something was expected")
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue()
	}
	if got["keastream_publisher_publish_refused_expectations_total"] < 2 || got["keastream_publisher_publish_read_backs_total"] < 2 {
		t.Errorf("after two refusals the metrics are %v", got)
	}
}
