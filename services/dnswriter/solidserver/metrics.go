package solidserver

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the calls of one or more clients.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

// NewMetrics makes the collectors and registers them; with a nil registerer
// they count for nobody. It panics if they are registered there already.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keastream_dns_api_requests_total",
			Help: "Calls of the SOLIDserver API, by service and HTTP status; code none is a call without an answer.",
		}, []string{"service", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "keastream_dns_api_request_duration_seconds",
			Help:    "Time from sending a call of the SOLIDserver API to the end of its answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"service"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "keastream_dns_api_requests_in_flight",
			Help: "Calls of the SOLIDserver API that wait for their answer now.",
		}),
	}
	if registerer != nil {
		registerer.MustRegister(m.requests, m.duration, m.inFlight)
	}
	return m
}

// begin counts a call that is being sent and returns the function for its end,
// which takes the HTTP status, 0 without an answer.
func (m *Metrics) begin(service string) func(status int) {
	start := time.Now()
	m.inFlight.Inc()
	return func(status int) {
		code := "none"
		if status != 0 {
			code = strconv.Itoa(status)
		}
		m.inFlight.Dec()
		m.requests.WithLabelValues(service, code).Inc()
		m.duration.WithLabelValues(service).Observe(time.Since(start).Seconds())
	}
}
