package reconcile

import (
	"cmp"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the collectors of all scopes. No label holds a name of a host.
type Metrics struct {
	records     *prometheus.GaugeVec     // scope, type, state
	changes     *prometheus.CounterVec   // scope, type, op, result
	duration    *prometheus.HistogramVec // scope
	success     *prometheus.GaugeVec     // scope
	attempt     *prometheus.GaugeVec     // scope
	events      *prometheus.CounterVec   // scope, operation, result
	skips       *prometheus.GaugeVec     // scope, op
	conflicts   *prometheus.GaugeVec     // scope
	parked      *prometheus.GaugeVec     // scope, reason
	latency     *prometheus.HistogramVec // scope
	lag         *prometheus.HistogramVec // scope
	createOnly  *prometheus.GaugeVec     // scope
	unpublished *prometheus.GaugeVec     // scope
	queue       *queueLength
}

// NewMetrics registers the collectors. With nil they count for nobody.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	opts := func(name, help string) prometheus.Opts { return prometheus.Opts{Name: "keastream_" + name, Help: help} }
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(name, help)), labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "keastream_" + name, Help: help, Buckets: buckets}, []string{"scope"})
	}
	m := &Metrics{
		records: gauge("dns_records",
			"Records by how they stand in DNS: in_sync, missing, wrong (about to be corrected), orphan (ours, not wanted), foreign (there, not ours).",
			"scope", "type", "state"),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts(opts("dns_changes_total",
			"Changes tried, by outcome: ok, exists, changed, refused, unclear, unreached.")), []string{"scope", "type", "op", "result"}),
		duration: histogram("dns_reconcile_duration_seconds", "Time that a consistency check took.",
			prometheus.ExponentialBuckets(0.05, 3, 10)),
		success: gauge("dns_reconcile_last_success_timestamp_seconds",
			"Time of the last consistency check after which nothing was left to do but withheld removals and conflicts.", "scope"),
		attempt: gauge("dns_reconcile_last_attempt_timestamp_seconds",
			"Time at which the last consistency check began, or what could not be read was last tried again.", "scope"),
		events: prometheus.NewCounterVec(prometheus.CounterOpts(opts("dns_events_total",
			"Differences between reservations that were taken in, by result: queued, parked (none of it, or not all of it, can be written), ignored (asks for no record).")),
			[]string{"scope", "operation", "result"}),
		skips:     gauge("dns_skipped_changes", "Changes that would be made, but which the policy does not allow.", "scope", "op"),
		conflicts: gauge("conflicts", "Names that are left as they are because of a conflict.", "scope"),
		parked:    gauge("parked_names", "Names and reservations set aside, by reason.", "scope", "reason"),
		latency: histogram("dns_event_to_accepted_seconds", "Time from an event to the acceptance of the change by the DNS server.",
			prometheus.ExponentialBuckets(0.005, 2, 16)),
		lag: histogram("dns_event_lag_seconds",
			"Time from a change in Kea's database, by its clock, to the acceptance by the DNS server, by ours.",
			prometheus.ExponentialBuckets(0.01, 2, 18)),
		createOnly: gauge("dns_create_only", "1 if the DNS server keeps no marks, so that nothing is changed or removed.", "scope"),
		unpublished: gauge("dns_unpublished_records",
			"Records whose change the DNS server has accepted and, as far as is known, not published yet; at most 10,000 are followed.", "scope"),
		queue: &queueLength{desc: prometheus.NewDesc("keastream_dns_queued_names",
			"Names that wait for a worker, have one, or wait to be tried again.", []string{"scope"}, nil)},
	}
	if reg != nil {
		reg.MustRegister(m.records, m.changes, m.duration, m.success, m.attempt, m.events, m.skips,
			m.conflicts, m.parked, m.latency, m.lag, m.createOnly, m.unpublished, m.queue)
	}
	return m
}

// queueLength asks the queues when it is scraped.
type queueLength struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	len  map[string]func() int // by scope
}

// Describe implements prometheus.Collector.
func (q *queueLength) Describe(ch chan<- *prometheus.Desc) { ch <- q.desc }

// Collect implements prometheus.Collector.
func (q *queueLength) Collect(ch chan<- prometheus.Metric) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for scope, length := range q.len {
		ch <- prometheus.MustNewConstMetric(q.desc, prometheus.GaugeValue, float64(length()), scope)
	}
}

func (m *Metrics) queued(scope string, length func() int) {
	m.queue.mu.Lock()
	defer m.queue.mu.Unlock()
	if m.queue.len == nil {
		m.queue.len = make(map[string]func() int)
	}
	m.queue.len[scope] = length
}

// scoped are the metrics of one scope.
type scoped struct {
	name string
	all  *Metrics

	duration, latency, lag                  prometheus.Observer
	success, attempt, conflicts, createOnly prometheus.Gauge
	unpublished                             prometheus.Gauge
}

// reasonFailing counts the names that are tried again after a failure.
const reasonFailing = "failing"

// scope returns the metrics of one scope. Those that an alert looks at are
// there from the start, with 0.
func (m *Metrics) scope(name string) scoped {
	s := scoped{
		name: name, all: m,
		duration: m.duration.WithLabelValues(name), latency: m.latency.WithLabelValues(name),
		lag:     m.lag.WithLabelValues(name),
		success: m.success.WithLabelValues(name), attempt: m.attempt.WithLabelValues(name), conflicts: m.conflicts.WithLabelValues(name),
		createOnly: m.createOnly.WithLabelValues(name), unpublished: m.unpublished.WithLabelValues(name),
	}
	for _, rtype := range dns.Types() {
		if managed(rtype) {
			s.tally(rtype, Tally{}, Tally{}) // makes the series
		}
	}
	reasons := []string{reasonFailing, string(Foreign), string(Alias), string(Claimants)}
	for _, reason := range dns.Reasons() {
		reasons = append(reasons, string(reason))
	}
	for _, reason := range reasons {
		s.parked(reason, 0)
	}
	for _, op := range []Op{Create, Update, Remove} {
		s.skipped(op, 0)
	}
	return s
}

// tally replaces what one name and type counts for.
func (s scoped) tally(rtype dns.Type, before, after Tally) {
	for state := range states {
		s.all.records.WithLabelValues(s.name, string(rtype), state.String()).Add(float64(after[state] - before[state]))
	}
}

// event counts a difference between reservations.
func (s scoped) event(operation events.Operation, queued, parked bool) {
	result := "ignored"
	switch {
	case parked:
		result = "parked"
	case queued:
		result = "queued"
	}
	s.all.events.WithLabelValues(s.name, strings.ToLower(string(cmp.Or(operation, "lost"))), result).Inc()
}

// answered notes that an event led to a change that was accepted.
func (s scoped) answered(t task) {
	s.latency.Observe(time.Since(t.since).Seconds())
	if !t.committed.IsZero() {
		s.lag.Observe(max(0, time.Since(t.committed).Seconds()))
	}
}

func (s scoped) skipped(op Op, n float64) { s.all.skips.WithLabelValues(s.name, string(op)).Add(n) }

func (s scoped) parked(reason string, n float64) {
	s.all.parked.WithLabelValues(s.name, reason).Add(n)
}

// conflict counts a name in conflict; it is parked too.
func (s scoped) conflict(kind Kind, n float64) {
	s.conflicts.Add(n)
	s.parked(string(kind), n)
}

func (s scoped) change(step Step, err error) {
	s.all.changes.WithLabelValues(s.name, string(step.Record.Type), string(step.Op), result(err)).Inc()
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, dns.ErrExists):
		return "exists"
	case errors.Is(err, dns.ErrChanged):
		return "changed"
	case errors.Is(err, dns.ErrRefused):
		return "refused"
	case errors.Is(err, dns.ErrUnclear):
		return "unclear"
	default:
		return "unreached"
	}
}
