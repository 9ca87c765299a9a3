package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// Metrics are what a relay measures. It is made once per process.
type Metrics struct {
	Active, Complete prometheus.Gauge
	// Publishing is for the Statistics of Relay.Stream: one for all streams that
	// the relay opens in its life.
	Publishing *events.Statistics

	withoutOutbox     prometheus.Gauge
	reservations      prometheus.Gauge
	refused           prometheus.Gauge
	heartbeat         prometheus.Gauge
	marks             prometheus.Gauge
	oldestMark        prometheus.Gauge
	notifyQueue       prometheus.Gauge
	publishedTotal    *prometheus.CounterVec
	commitToStored    prometheus.Histogram
	comparisons       prometheus.Counter
	comparisonSeconds prometheus.Histogram
	differences       prometheus.Counter
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "keastream_publisher_" + name, Help: help})
	}
	publishing := new(events.Statistics)
	counted := func(name, help string, count func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "keastream_publisher_" + name, Help: help},
			func() float64 { return float64(count()) })
	}
	m := &Metrics{
		Publishing:    publishing,
		Active:        gauge("active", "1 while this publisher is the active one of its database."),
		Complete:      gauge("complete", "1 while the stream is known to hold every reservation."),
		withoutOutbox: gauge("without_outbox", "1 while this publisher works without the outbox, so that changes may be a minute late."),
		reservations:  gauge("reservations", "Live reservations in the stream."),
		refused:       gauge("refused", "Reservations that the stream refused and that are not in it."),
		heartbeat:     gauge("heartbeat_timestamp_seconds", "Time of the last heartbeat that was stored."),
		marks:         gauge("marks", "Marks in the last reading of the outbox."),
		oldestMark:    gauge("oldest_mark_seconds", "Age of the oldest of those marks when they were read; 0 if there was none."),
		notifyQueue:   gauge("notify_queue_ratio", "Part of PostgreSQL's NOTIFY queue that is full, at the last heartbeat. Whoever notifies fails at 1; the triggers stop at 0.5."),
		publishedTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keastream_publisher_published_total", Help: "Events stored in the stream, by operation.",
		}, []string{"operation"}),
		commitToStored: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "keastream_publisher_change_to_stored_seconds",
			Help: "Time from the change, by the clock of the database, to its event being stored.",
			// 0.5 ms to half an hour: usually the time of a commit, after an outage its length.
			Buckets: prometheus.ExponentialBuckets(0.0005, 3, 14),
		}),
		comparisons: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keastream_publisher_comparisons_total", Help: "Finished comparisons of the whole database with the whole stream.",
		}),
		comparisonSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "keastream_publisher_comparison_duration_seconds", Help: "Duration of a comparison with all that it published.",
			Buckets: prometheus.ExponentialBuckets(0.005, 3, 10),
		}),
		differences: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keastream_publisher_comparison_differences_total", Help: "Events that comparisons published.",
		}),
	}
	reg.MustRegister(m.Active, m.Complete, m.withoutOutbox, m.reservations, m.refused, m.heartbeat, m.marks, m.oldestMark, m.notifyQueue, m.publishedTotal,
		m.commitToStored, m.comparisons, m.comparisonSeconds, m.differences,
		counted("publish_refused_expectations_total", "Attempts to store an event that the server refused because another message than the expected one was there.", publishing.Refused),
		counted("publish_unclear_total", "Attempts to store an event that were not answered.", publishing.Unclear),
		counted("publish_read_backs_total", "Readings of what an attempt to store an event had led to.", publishing.ReadBacks),
		counted("publish_retries_total", "Attempts to store an event after the first one.", publishing.Retries))
	for _, op := range []events.Operation{events.Insert, events.Update, events.Delete, events.Snapshot} {
		m.publishedTotal.WithLabelValues(string(op))
	}
	return m
}

func (m *Metrics) mode(outbox bool) {
	m.withoutOutbox.Set(0)
	if !outbox {
		m.withoutOutbox.Set(1)
	}
}

func (m *Metrics) read(rd outbox.Reading) {
	m.marks.Set(float64(len(rd.Marks)))
	var age time.Duration // by the clock of the database alone
	for _, mark := range rd.Marks {
		age = max(age, rd.At.Sub(mark.CreatedAt))
	}
	m.oldestMark.Set(age.Seconds())
}

func (m *Metrics) published(c events.Change) {
	m.publishedTotal.WithLabelValues(string(c.Operation)).Inc()
	if c.Operation != events.Snapshot {
		m.commitToStored.Observe(max(0, time.Since(c.At).Seconds())) // the clocks may differ
	}
}

func (m *Metrics) compared(d time.Duration, differences int) {
	m.comparisons.Inc()
	m.comparisonSeconds.Observe(d.Seconds())
	m.differences.Add(float64(differences))
}

// ended says that this publisher is not the active one any more.
func (m *Metrics) ended() {
	m.Active.Set(0)
	m.Complete.Set(0)
	m.withoutOutbox.Set(0)
}

func (m *Metrics) beat(complete bool, reservations, refused int, at time.Time) {
	m.Complete.Set(0)
	if complete {
		m.Complete.Set(1)
	}
	m.reservations.Set(float64(reservations))
	m.refused.Set(float64(refused))
	m.heartbeat.Set(float64(at.UnixMilli()) / 1000)
}
