package verify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the verifiers of all scopes do.
type Metrics struct {
	records  *prometheus.GaugeVec
	verdicts *prometheus.CounterVec
	answers  *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	delay    *prometheus.HistogramVec
}

// NewMetrics makes the collectors and registers them; with a nil registerer they
// count for nobody. It panics if they are registered there already.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		records: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "keastream_dns_verification_records",
			Help: "Changes of records by their state: accepted by SOLIDserver, published by it, verified by asking all name servers of the scope (the newest ones), unverified since these do not agree in time.",
		}, []string{"scope", "state"}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keastream_dns_verifications_total",
			Help: "Changes that became verified or unverified; one that became unverified may become verified later.",
		}, []string{"scope", "result"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keastream_dns_verification_answers_total",
			Help: "Answers of name servers to the questions of --verify-dns, by what they say.",
		}, []string{"scope", "result"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keastream_dns_verifications_dropped_total",
			Help: "Changes that were forgotten before all name servers agreed, because too many others were waiting.",
		}, []string{"scope"}),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "keastream_dns_verification_delay_seconds",
			Help:    "Time from a change being accepted by SOLIDserver until all name servers of the scope answer with it.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2.5, 10),
		}, []string{"scope"}),
	}
	if registerer != nil {
		registerer.MustRegister(m.records, m.verdicts, m.answers, m.dropped, m.delay)
	}
	return m
}

// begin makes the series of a scope be there from the start.
func (m *Metrics) begin(scope string) {
	for _, stage := range stages() {
		m.records.WithLabelValues(scope, string(stage))
	}
	m.verdicts.WithLabelValues(scope, string(Verified))
	m.verdicts.WithLabelValues(scope, string(Unverified))
	m.dropped.WithLabelValues(scope)
	m.delay.WithLabelValues(scope)
}

// moved counts a change that goes from one state to another; "" is none.
func (m *Metrics) moved(scope string, from, to Stage) {
	if from == to {
		return
	}
	if from != "" {
		m.records.WithLabelValues(scope, string(from)).Dec()
	}
	if to != "" {
		m.records.WithLabelValues(scope, string(to)).Inc()
	}
	if to == Verified || to == Unverified {
		m.verdicts.WithLabelValues(scope, string(to)).Inc()
	}
}

func (m *Metrics) verified(scope string, after time.Duration) {
	m.delay.WithLabelValues(scope).Observe(max(0, after).Seconds())
}
