package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the service tells about itself. No label holds anything of a
// reservation.
type metrics struct {
	files       *prometheus.GaugeVec // by state
	hosts       prometheus.Gauge
	withheld    prometheus.Gauge
	unplaced    *prometheus.GaugeVec // by reason
	unreadable  prometheus.Gauge
	lastSuccess prometheus.Gauge

	// of writes, by result
	written, removed, failed prometheus.Counter
}

// newMetrics makes the collectors and registers them. It panics if they are
// registered already.
func newMetrics(r prometheus.Registerer) *metrics {
	const prefix = "keastream_inventory_"
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, []string{label})
	}
	writes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "writes_total", Help: "Inventory files written and removed, and attempts at it that failed.",
	}, []string{"result"})
	m := &metrics{
		files:       vector("files", "Inventory files by state: current, withheld, foreign, failed.", "state"),
		hosts:       gauge("hosts", "Lines in inventory files that are ours."),
		withheld:    gauge("withheld_hosts", "Lines that no reservation asks for and that stay until their source is complete for the hold-down."),
		unplaced:    vector("unplaced_hostnames", "Reserved names that stand in no inventory file.", "reason"),
		unreadable:  gauge("unreadable_reservations", "Reservations whose newest event cannot be read."),
		lastSuccess: gauge("last_success_timestamp_seconds", "When files were looked at and all could be read and written."),
		written:     writes.WithLabelValues("written"),
		removed:     writes.WithLabelValues("removed"),
		failed:      writes.WithLabelValues("failed"),
	}
	r.MustRegister(m.files, m.hosts, m.withheld, m.unplaced, m.unreadable, m.lastSuccess, writes)
	return m
}

// write counts an attempt to write or remove a file that ended with err.
func (m *metrics) write(err error) {
	if err != nil {
		m.failed.Inc()
		return
	}
	m.written.Inc()
}

// show sets the gauges to what a round found.
func (m *metrics) show(r *report, now time.Time) {
	for _, s := range []state{current, withheld, foreign, failed} {
		m.files.WithLabelValues(string(s)).Set(float64(r.files[s]))
	}
	m.hosts.Set(float64(r.hosts))
	m.withheld.Set(float64(r.withheld))
	if r.failure() == nil {
		m.lastSuccess.Set(float64(now.UnixMilli()) / 1000)
	}
}
