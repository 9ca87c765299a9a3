package brake

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the gauges of all scopes. No label holds a name of a host.
type Metrics struct {
	withheld *prometheus.GaugeVec // scope, kind
	allowed  *prometheus.GaugeVec // scope, kind
	recent   *prometheus.GaugeVec // scope, kind
	failing  *prometheus.GaugeVec // scope
}

// NewMetrics registers the gauges. With nil they count for nobody.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "keastream_dns_brake_" + name, Help: help}, labels)
	}
	m := &Metrics{
		withheld: gauge("withheld_names", "Names whose records stay as they are until somebody approves, by kind: removal, replacement, uncovered. Above 0 a person has to look.", "scope", "kind"),
		allowed:  gauge("allowed_names", "Names that may go in an hour without approval.", "scope", "kind"),
		recent:   gauge("recent_names", "Names that went in the last hour, or are about to.", "scope", "kind"),
		failing:  gauge("store_failing", "1 if the counts and approvals in NATS cannot be read or written, so that nothing is removed.", "scope"),
	}
	if reg != nil {
		reg.MustRegister(m.withheld, m.allowed, m.recent, m.failing)
	}
	return m
}

// show sets the gauges. The caller holds b.mu, or has just made b.
func (b *Brake) show() {
	for _, s := range b.sides {
		withheld := 0
		if s.list != nil {
			withheld = s.list.Names
		}
		b.cfg.Metrics.withheld.WithLabelValues(b.cfg.Scope, string(s.kind)).Set(float64(withheld))
		if s.kind != Uncovered {
			b.cfg.Metrics.allowed.WithLabelValues(b.cfg.Scope, string(s.kind)).Set(float64(s.allowed))
		}
		b.cfg.Metrics.recent.WithLabelValues(b.cfg.Scope, string(s.kind)).Set(float64(s.measured))
	}
	failing := 0.0
	if b.trouble != nil || b.countTrouble != nil {
		failing = 1
	}
	b.cfg.Metrics.failing.WithLabelValues(b.cfg.Scope).Set(failing)
}

// setTrouble says why the store cannot be used; nil says that it can.
func (b *Brake) setTrouble(ctx context.Context, err error) { b.note(ctx, &b.trouble, err) }

// setCountTrouble does the same for the counts, which have a goroutine of their own.
func (b *Brake) setCountTrouble(ctx context.Context, err error) { b.note(ctx, &b.countTrouble, err) }

func (b *Brake) note(ctx context.Context, which *error, err error) {
	if ctx.Err() != nil {
		return // the store did not fail, it was not waited for
	}
	b.mu.Lock()
	before := *which
	*which = err
	b.show()
	b.mu.Unlock()
	switch {
	case err != nil && before == nil:
		b.log.WarnContext(ctx, "the store of counts and approvals fails: what has to be counted or approved waits", "err", err)
	case err == nil && before != nil:
		b.log.InfoContext(ctx, "the store of counts and approvals works again")
	}
}
