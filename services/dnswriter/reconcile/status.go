package reconcile

import (
	"time"

	"github.com/keastream/keastream/pkg/events"
)

// Status is how a scope stands. The names of the JSON fields, here and in the other
// answers for people, keep their meaning; others may be added.
type Status struct {
	Scope string `json:"scope"`
	// Phase is one line about what is going on.
	Phase string `json:"phase"`
	// Policy is what may be done; create-only too if the server keeps no marks.
	Policy string `json:"policy"`
	// CaughtUp tells whether the reservations are known, InStep whether the last
	// check could read all zones and the server answers.
	CaughtUp bool `json:"caught_up"`
	InStep   bool `json:"in_step"`
	// StandsBy tells whether another instance works.
	StandsBy bool `json:"stands_by"`
	// Problems are the reasons why not, and zones that cannot be read, each with
	// its reason.
	Problems []string `json:"problems"`
	// Marks is kept, lost or unknown: what the server does with the marks of our
	// rows.
	Marks string `json:"marks"`
	// Records counts records by type and by state: in_sync, missing, wrong, orphan,
	// foreign.
	Records map[string]map[string]int `json:"records"`
	// Names counts names that reservations ask for.
	Names int `json:"names"`
	// Owned counts names with a record of ours, Withheld those that --max-removals
	// withholds.
	Owned    int `json:"owned"`
	Withheld int `json:"withheld"`
	// Queued counts names that wait for a worker, or for the next attempt.
	Queued int `json:"queued"`
	// Failing counts names whose last attempt failed.
	Failing int `json:"failing"`
	// Conflicts counts names in conflict, Parked reservations and addresses that
	// get no record, by reason.
	Conflicts int            `json:"conflicts"`
	Parked    map[string]int `json:"parked"`
	// Skipped counts changes that the policy does not allow.
	Skipped int `json:"skipped"`
	// Unproven counts names with a removal or replacement for which the proof that
	// nobody asks for the record any more is not there yet; not those that the
	// brake alone keeps.
	Unproven int `json:"unproven"`
	// LastCheck is the last consistency check.
	LastCheck LastCheck `json:"last_check"`
	// Created, Updated and Removed count changes since the start.
	Created int `json:"created"`
	Updated int `json:"updated"`
	Removed int `json:"removed"`
	// AwaySince is since when the server has not answered, the zero Time if it does.
	AwaySince time.Time `json:"away_since,omitzero"`
}

// ParkedInAll is how many reservations and addresses get no record.
func (s Status) ParkedInAll() (n int) {
	for _, parked := range s.Parked {
		n += parked
	}
	return n
}

// SourceStatus is how far a source can be relied on.
type SourceStatus struct {
	Source string `json:"source"`
	// Complete tells whether absence means anything: nothing of a source is removed
	// before.
	Complete bool `json:"complete"`
	// Live counts its reservations here, Hosts those that its last heartbeat
	// counted, Unreadable those whose message cannot be read.
	Live       int `json:"live"`
	Hosts      int `json:"hosts"`
	Unreadable int `json:"unreadable"`
	// Heartbeat is the time of the last one, by the clock of the publisher.
	Heartbeat time.Time `json:"heartbeat,omitzero"`
	// Retired tells that it was taken out of service for good.
	Retired bool `json:"retired"`
}

// Sources tells of all sources of a View.
func Sources(view *events.View) []SourceStatus {
	all := []SourceStatus{}
	for _, s := range view.Sources() {
		all = append(all, SourceStatus{
			Source: s.Source, Complete: s.Complete, Live: s.Live, Hosts: s.Heartbeat.Hosts, Unreadable: s.Unreadable,
			Heartbeat: s.Heartbeat.At, Retired: s.Heartbeat.Retired,
		})
	}
	return all
}

// Status tells how the scope stands. It looks at memory only.
func (r *Reconciler) Status() Status {
	s := Status{
		Scope: r.cfg.Scope, Phase: r.running.told(), CaughtUp: r.isCaughtUp(), Problems: []string{},
		Queued: r.queue.len(), Records: make(map[string]map[string]int), Parked: make(map[string]int),
	}
	for _, err := range []error{r.CaughtUp(), r.InStep(), r.KeepsMarks()} {
		if err != nil {
			s.Problems = append(s.Problems, bounded(err.Error()))
		}
	}
	s.InStep = r.InStep() == nil
	s.Owned = r.Owned()
	for _, list := range r.cfg.Brake.Lists() {
		s.Withheld += list.Names
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.StandsBy = r.standsBy()
	s.Policy = r.policy().String()
	s.Marks = [...]string{marksUnknown: "unknown", marksKept: "kept", marksLost: "lost"}[r.marks]
	var sum tallies
	for _, t := range r.tallies {
		for i := range sum {
			sum[i] = sum[i].plus(t[i])
		}
	}
	for i, rtype := range managedTypes {
		counts := make(map[string]int)
		for state := range states {
			counts[state.String()] = sum[i][state]
		}
		s.Records[string(rtype)] = counts
	}
	s.Names, s.Failing, s.Conflicts = len(r.index.claimants.first), len(r.failing), len(r.conflicts)
	for _, parked := range r.index.parked {
		for _, p := range parked {
			s.Parked[string(p.Reason)]++
		}
	}
	for _, steps := range r.skipped {
		s.Skipped += len(steps)
	}
	for _, h := range r.holds {
		if !r.brakedAlone(h) {
			s.Unproven++
		}
	}
	for name := range r.waiting {
		if r.holds[name] == nil {
			s.Unproven++
		}
	}
	s.LastCheck = r.history.checks
	s.Created, s.Updated, s.Removed = r.total.created, r.total.updated, r.total.removed
	if r.away != nil {
		s.AwaySince = r.awaySince
	}
	return s
}
