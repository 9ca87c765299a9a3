package reconcile

import (
	"fmt"
	"slices"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// The states of an Explanation.
const (
	stateInStep   = "in_step"
	stateForeign  = "foreign"
	stateNothing  = "nothing"
	stateToDo     = "to_do"
	stateWithheld = "withheld"
	stateSkipped  = "skipped"
	stateConflict = "conflict"
	stateParked   = "parked"
	stateOutside  = "outside"
	stateUnread   = "unread"
)

// decide plans the name and says what comes of it. The caller holds r.mu.
func (r *Reconciler) decide(e *Explanation) {
	if state, why := r.undecided(e); state != "" {
		e.State, e.Decision = state, why
		return
	}
	changes := r.plan(e.Name)
	for _, c := range changes.Conflicts {
		d := &dispute{Conflict: c, since: time.Now()}
		if i := slices.IndexFunc(r.conflicts[e.Name], func(known *dispute) bool { return known.Equal(c) }); i >= 0 {
			d = r.conflicts[e.Name][i]
		}
		e.Conflicts = append(e.Conflicts, r.conflictItem(d))
	}
	held := r.heldBack(e.Name)
	ready := 0
	for _, row := range r.withdrawn[e.Name] {
		step := Step{Op: withdraw, Zone: row.Zone, Record: row.Record, Row: row}
		e.Steps = append(e.Steps, StepItem{Step: step.String(), Op: withdraw, Withheld: append([]string{}, held...)})
	}
	for _, s := range changes.Steps {
		why := append(r.whyNot(s), held...)
		if len(why) == 0 {
			ready++
		}
		e.Steps = append(e.Steps, StepItem{Step: s.String(), Op: s.Op, Withheld: append([]string{}, why...)})
	}
	for _, s := range changes.Skipped {
		why := fmt.Sprintf("the policy is %s", r.policy())
		if r.marks == marksLost {
			why = errMarksLost.Error()
		}
		e.Steps = append(e.Steps, StepItem{Step: s.String(), Op: s.Op, Withheld: []string{why}})
	}
	e.State, e.Decision = r.outcome(e, changes, ready)
}

// undecided says why nothing can be decided about a name.
func (r *Reconciler) undecided(e *Explanation) (state, why string) {
	served := r.index.placement.Served
	switch {
	case r.standsBy():
		return stateUnread, "this instance stands by, and does not know what DNS has: ask the one that holds the lease"
	case !r.isCaughtUp():
		return stateUnread, "the stream has not been read to its end yet"
	case served == nil && r.unread[zoneList] != nil:
		return stateUnread, fmt.Sprintf("the zones of the server could not be read: %s", bounded(r.unread[zoneList].Error()))
	case served == nil:
		return stateUnread, "the zones of the server were not read yet"
	case e.Zone == "" && len(e.Parked) > 0:
		return stateParked, e.Parked[0].Detail
	case e.Zone == "" && dns.IsReverse(e.Name):
		return stateOutside, "the DNS server has no reverse zone for it: nothing is done about the name"
	case e.Zone == "":
		return stateOutside, "it is in none of the zones of --dns-zone that the DNS server has: nothing is done about the name"
	}
	a := areaOf(e.Zone)
	switch {
	case r.read[a]:
		return "", ""
	case a == reverseZones && r.cfg.PTR == dns.PTROff:
		return stateOutside, "--ptr is off: reverse zones are not read, and PTR records stay as they are"
	case r.unread[a] != nil:
		return stateUnread, fmt.Sprintf("%s cannot be read: %s", a, bounded(r.unread[a].Error()))
	}
	return stateUnread, fmt.Sprintf("%s has not been read yet", a)
}

// outcome sums up a plan.
func (r *Reconciler) outcome(e *Explanation, changes Changes, ready int) (state, why string) {
	wanted := slices.ContainsFunc(e.Claims, func(c ClaimItem) bool { return c.Ignored == "" })
	ours := slices.ContainsFunc(e.Rows, func(row RowItem) bool { return row.Owner == "ours" })
	switch {
	case ready > 0:
		return stateToDo, fmt.Sprintf("what can be done now is being done: %d of %d", ready, len(e.Steps))
	case len(changes.Conflicts) > 0:
		return stateConflict, "the name is left as it is until a person decides: " + changes.Conflicts[0].String()
	case len(e.Steps) > 0 && len(changes.Skipped) == len(e.Steps):
		return stateSkipped, "a change is to be made, and is not allowed: " + e.Steps[0].Withheld[0]
	case len(e.Steps) > 0 && len(e.Steps[0].Withheld) == 0:
		return stateToDo, "our record is being taken out of a name that is somebody else's"
	case len(e.Steps) > 0:
		return stateWithheld, "a change is to be made, and waits: " + e.Steps[0].Withheld[0]
	case wanted && ours:
		return stateInStep, "DNS has what reservations ask for"
	case wanted && dns.IsReverse(e.Name) && len(e.Rows) == 0:
		return stateWithheld, "no PTR record is made before its name has the address in DNS, and none while that is in conflict"
	case wanted:
		return stateForeign, "DNS has what reservations ask for, in records of somebody else, which stay as they are; adopt takes them over"
	case len(e.Parked) > 0:
		return stateParked, e.Parked[0].Detail
	case ours:
		return stateInStep, "no reservation asks for our record, and it stays: what it belongs to is not known, or is still true"
	case len(e.Rows) > 0:
		return stateNothing, "no reservation asks for the name; the records are somebody else's and stay as they are"
	case len(e.Removed) > 0:
		return stateNothing, "the reservation that asked for the name is gone, and so is its record"
	}
	return stateNothing, "no reservation asks for the name, and DNS has nothing"
}

// heldBack says why nothing is done about a name at the moment, whatever it is.
func (r *Reconciler) heldBack(name string) (why []string) {
	now := time.Now()
	if r.away != nil {
		why = append(why, fmt.Sprintf("the DNS server has not answered since %s: %s", stamp(r.awaySince), bounded(r.away.Error())))
	}
	if r.failing[name] {
		failure := r.history.failures[name]
		if failure.Retry.After(now) {
			why = append(why, fmt.Sprintf("the last attempt failed, the next is at %s: %s", stamp(failure.Retry), failure.Error))
		}
	}
	if r.cfg.Lease != nil && r.leading && !r.cfg.Lease.Held(sending) {
		why = append(why, errUnheld.Error())
	}
	if due, isLate := r.late[name]; isLate && due.After(now) {
		why = append(why, fmt.Sprintf("the outcome of a change was unclear; the name is looked at again at %s", stamp(due)))
	}
	return why
}

// whyNot says why a step that the policy allows is not taken now.
func (r *Reconciler) whyNot(s Step) (why []string) {
	switch {
	case s.Op == Remove:
		why = append(why, r.unproven(s)...)
	case s.replaces() && !r.accounted(*s.Row.Owner):
		for _, key := range s.Row.Owner.Hosts {
			if source, _ := r.cfg.View.Source(key.Source); !source.Complete {
				why = append(why, fmt.Sprintf("the record belongs to %s, which the stream does not hold, and source %s is not complete", host(key), key.Source))
			}
		}
	}
	if len(why) == 0 && r.brakes(s) {
		why = append(why, r.brakeSays(s))
	}
	if r.follows(s) {
		why = append(why, "its name must have the address in DNS first")
	}
	return why
}

// brakeSays says why the brake does not let a step go.
func (r *Reconciler) brakeSays(s Step) string {
	kind, _ := r.kindOf(s)
	if r.cfg.Brake == nil {
		return "a reservation that the filters leave out asks for the name, and without a brake nobody could approve that it goes"
	}
	for _, list := range r.cfg.Brake.Lists() {
		if list.Kind == kind && list.Has(s.counted()) {
			return list.String()
		}
	}
	if err := r.cfg.Brake.Err(); err != nil {
		return bounded(err.Error())
	}
	return "--max-removals has not been judged yet: that needs a hold-down in which nothing else comes"
}

// unproven says what is missing to the proof that nobody asks for a record.
func (r *Reconciler) unproven(s Step) (why []string) {
	if r.proven(s) {
		return nil
	}
	sources := slices.Concat(r.cfg.Sources, s.Row.Owner.Sources())
	if h := r.holds[s.Record.Name]; h != nil {
		sources = append(sources, h.sources...)
	}
	slices.Sort(sources)
	for _, name := range slices.Compact(sources) {
		source, known := r.cfg.View.Source(name)
		switch age := time.Since(r.beats[name].came); {
		case source.Gone():
		case !known:
			why = append(why, fmt.Sprintf("source %s is not in the stream; if it is gone for good, retire it", name))
		case source.Unreadable > 0:
			why = append(why, fmt.Sprintf("source %s is not complete: %d of its reservations cannot be read from the stream", name, source.Unreadable))
		case !source.Complete && source.Heartbeat.Complete:
			why = append(why, fmt.Sprintf("source %s is not complete: it counts %d reservations, and %d are here", name, source.Heartbeat.Hosts, source.Live))
		case !source.Complete:
			why = append(why, fmt.Sprintf("source %s is not complete: its publisher has not compared database and stream yet", name))
		case age > heartbeatAge:
			why = append(why, fmt.Sprintf("source %s has given no sign of life for more than %s", name, heartbeatAge))
		}
	}
	if len(why) == 0 {
		why = append(why, fmt.Sprintf("nobody must ask for it for the hold-down of %s", r.cfg.HoldDown))
	}
	return why
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }
