package reconcile

import (
	"context"
	"errors"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// marks is what is known of the server's way with the marks on our rows.
type marks int

const (
	marksUnknown marks = iota // no row of ours was seen yet
	marksKept
	marksLost
)

var errMarksLost = errors.New("the DNS server keeps no class parameters, so records of ours cannot be told from others: " +
	"records are created, but not changed or removed; SOLIDserver keeps them from 8.0 on")

// policy is what may be done. Without marks nothing can be known to be ours. The
// caller holds r.mu.
func (r *Reconciler) policy() Policy {
	if r.marks == marksLost {
		return max(r.cfg.Policy, CreateOnly)
	}
	return r.cfg.Policy
}

// seen learns from rows that were read. The caller holds r.mu.
func (r *Reconciler) seen(rows []dns.Row) {
	if r.marks != marksUnknown {
		return
	}
	for _, row := range rows {
		if row.Owner != nil {
			r.marks = marksKept
			return
		}
	}
}

// lost notes that a row that we had just created came back without its mark. A
// single row may lose its mark in other ways, so this says something about the
// server only if no mark was seen before. The caller holds r.mu.
func (r *Reconciler) lost(ctx context.Context, row dns.Row) {
	if r.marks != marksUnknown {
		return
	}
	r.marks = marksLost
	r.metrics.createOnly.Set(1)
	r.log.ErrorContext(ctx, "running create-only until restarted", "err", errMarksLost, "record", row.Record.String())
}
