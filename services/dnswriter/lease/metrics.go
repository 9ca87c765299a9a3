package lease

import "github.com/prometheus/client_golang/prometheus"

// Values of the label to.
const (
	toHeld      = "held"
	toLost      = "lost"
	toGivenBack = "given_back"
)

// newMetrics registers the collectors of one lease. Those that an alert looks at are
// there from the start, with 0.
func newMetrics(reg prometheus.Registerer, name string, held func() bool) (transitions *prometheus.CounterVec) {
	labels := prometheus.Labels{"lease": name}
	transitions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keastream_dns_lease_transitions_total", ConstLabels: labels,
		Help: "Changes of whether this process holds the lease, by what they led to: held, lost, given_back.",
	}, []string{"to"})
	for _, to := range []string{toHeld, toLost, toGivenBack} {
		transitions.WithLabelValues(to)
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "keastream_dns_lease_held", ConstLabels: labels,
		Help: "1 if this process holds the lease and writes to DNS, 0 if it stands by.",
	}, func() float64 {
		if held() {
			return 1
		}
		return 0
	})
	if reg != nil {
		reg.MustRegister(transitions, gauge)
	}
	return transitions
}
