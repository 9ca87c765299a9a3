package reconcile

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Lists for people are cut: they return the first of what there is, in an order
// that stays, and how much there is in all. The lock is held only to look up what
// is returned.

// ConflictItem is a name that is left as it is until a person decides.
type ConflictItem struct {
	Scope string   `json:"scope"`
	Name  string   `json:"name"`
	Type  dns.Type `json:"type"`
	// Kind is foreign, cname or claimants, see Kind.
	Kind Kind `json:"kind"`
	// Wanted and Present say what reservations ask for and what DNS has, cut after
	// a few.
	Wanted  []string `json:"wanted"`
	Present []string `json:"present"`
	// Since is when it was found. Raised tells that it was told of; before that it
	// may be a change of which only the first half was seen.
	Since  time.Time `json:"since"`
	Raised bool      `json:"raised"`
}

// Conflicts returns the first conflicts by name, and how many there are.
func (r *Reconciler) Conflicts(limit int) (list []ConflictItem, total int) {
	r.mu.Lock()
	names := slices.Collect(maps.Keys(r.conflicts))
	for _, disputes := range r.conflicts {
		total += len(disputes)
	}
	r.mu.Unlock()
	slices.SortFunc(names, compareNames)
	r.mu.Lock()
	defer r.mu.Unlock()
	list = []ConflictItem{}
	for _, name := range names {
		for _, d := range r.conflicts[name] {
			if len(list) == limit {
				return list, total
			}
			list = append(list, r.conflictItem(d))
		}
	}
	return list, total
}

func (r *Reconciler) conflictItem(d *dispute) ConflictItem {
	return ConflictItem{
		Scope: r.cfg.Scope, Name: d.Name, Type: d.Type, Kind: d.Kind,
		Wanted: append([]string{}, d.Wanted...), Present: append([]string{}, d.Present...), Since: d.since, Raised: d.raised,
	}
}

// ParkedItem is what was set aside: a reservation, or an address of it, that gets
// no record, or a name whose last attempt failed.
type ParkedItem struct {
	Scope string `json:"scope"`
	// Source, HostID and Hostname are those of the reservation, Address what is
	// parked of it if that is not all. They are left out of a name that fails.
	Source   string     `json:"source,omitzero"`
	HostID   int64      `json:"host_id,omitzero"`
	Hostname string     `json:"hostname,omitzero"`
	Address  netip.Addr `json:"address,omitzero"`
	// Name is the name that fails.
	Name string `json:"name,omitzero"`
	// Reason is one of dns.Reasons, or failing.
	Reason string `json:"reason"`
	// Detail says what is wrong and what helps.
	Detail string `json:"detail"`
	// Retry is when a name that fails is tried again.
	Retry time.Time `json:"retry,omitzero"`
}

// Parked returns the first of what is parked, and how much that is: reservations
// by their key, and then the names that fail.
func (r *Reconciler) Parked(limit int) (list []ParkedItem, total int) {
	r.mu.Lock()
	keys := slices.Collect(maps.Keys(r.index.parked))
	for _, parked := range r.index.parked {
		total += len(parked)
	}
	names := slices.Collect(maps.Keys(r.failing))
	total += len(names)
	r.mu.Unlock()
	slices.SortFunc(keys, events.Key.Compare)
	slices.SortFunc(names, compareNames)
	r.mu.Lock()
	defer r.mu.Unlock()
	list = []ParkedItem{}
	for _, key := range keys {
		for _, p := range r.index.parked[key] {
			if len(list) == limit {
				return list, total
			}
			c, _ := r.index.last(key)
			list = append(list, r.parkedItem(c.Reservation, p))
		}
	}
	for _, name := range names {
		if len(list) == limit {
			break
		}
		failure := r.history.failures[name]
		list = append(list, ParkedItem{
			Scope: r.cfg.Scope, Name: name, Reason: reasonFailing,
			Detail: cmp.Or(failure.Error, "see the log"), Retry: failure.Retry,
		})
	}
	return list, total
}

func (r *Reconciler) parkedItem(of events.Reservation, p *dns.ParkedError) ParkedItem {
	return ParkedItem{
		Scope: r.cfg.Scope, Source: p.Host.Source, HostID: p.Host.HostID, Hostname: of.Hostname, Address: p.Address,
		Reason: string(p.Reason), Detail: p.Detail,
	}
}
