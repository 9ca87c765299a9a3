package solidserver

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the calls of one or more clients.
type Metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	throttled prometheus.Counter
	breaker   prometheus.Gauge
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
		throttled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keastream_dns_throttled_seconds_total",
			Help: "Time that calls of the SOLIDserver API waited for --api-rate, or because SOLIDserver wished it (Retry-After).",
		}),
		breaker: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "keastream_dns_api_breaker_open",
			Help: "1 while no calls but single ones, to try, are sent to a SOLIDserver that did not answer.",
		}),
	}
	if registerer != nil {
		registerer.MustRegister(m.requests, m.duration, m.inFlight, m.throttled, m.breaker)
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

// throttle counts the time from now until the function that it returns is called.
func (m *Metrics) throttle() func() {
	start := time.Now()
	return func() { m.throttled.Add(time.Since(start).Seconds()) }
}
