package brake

import (
	"slices"
	"time"
)

const (
	// endless is after how many hold-downs a name is judged although others still
	// come: an endless trickle must not keep everything waiting.
	endless = 10
	// glance is how often replacements that do not fit are looked at before they
	// have come to rest: there may be more owned names by now.
	glance = time.Second
	// anew is how often what is withheld is judged again: the hour goes on, and
	// the number of owned names changes.
	anew = time.Minute
)

// due is when a side has to be judged next; the zero time means never.
func (s *side) due(holdDown time.Duration) time.Time {
	switch {
	case s.waiting == 0:
		return time.Time{}
	case s.changed || s.list == nil:
		due := s.moved.Add(holdDown)
		if last := s.unjudged.Add(endless * holdDown); !s.unjudged.IsZero() && last.Before(due) {
			due = last
		}
		return due
	default:
		return s.judged.Add(anew)
	}
}

// judge lets what is pending go, if all of it is within the limit, and returns
// its names. Otherwise, if it is due, all of it is withheld, and relist says that
// its list is to be made. The caller holds Brake.mu.
func (s *side) judge(limit Limit, owned int, checked, due bool, now time.Time) (names map[string]bool, relist bool) {
	names = make(map[string]bool)
	if s.waiting > 0 || now.Sub(s.measuredAt) >= anew { // it takes a while
		s.recall(names, now)
		s.measure(limit, owned, now)
	}
	fits := s.kind != Uncovered && s.measured+s.waiting <= s.allowed
	switch {
	case s.waiting == 0:
		relist = s.list != nil || checked && !s.spoken
	case fits && (due || s.kind == Replacement && s.list == nil):
		s.room -= s.waiting
		s.grant(names)
		relist = s.list != nil || !s.spoken
	case !due:
	default:
		s.judged, s.unjudged = now, time.Time{}
		relist = s.changed || s.list == nil
		s.changed = false
	}
	if relist {
		s.spoken, s.stored = true, false
	}
	return names, relist
}

func (s *side) measure(limit Limit, owned int, now time.Time) {
	s.owned, s.allowed, s.measured, s.measuredAt = owned, limit.Allowed(owned), s.used(now), now
	s.room = 0
	if s.waiting == 0 || s.measured+s.waiting <= s.allowed {
		s.room = max(0, s.allowed-s.measured)
	}
}

// lanesOf returns the lanes that want something of the names. The caller holds
// b.mu.
func (b *Brake) lanesOf(released map[Kind]map[string]bool) []string {
	if len(released[Removal])+len(released[Replacement])+len(released[Uncovered]) == 0 {
		return nil
	}
	var lanes []string
	for lane, items := range b.lanes {
		if slices.ContainsFunc(items, func(i Item) bool { return released[i.Kind][i.Name] }) {
			lanes = append(lanes, lane)
		}
	}
	slices.Sort(lanes)
	return lanes
}

// waitingItems returns the items of what waits, in no order. The caller holds b.mu.
func (b *Brake) waitingItems(s *side) []Item {
	items := make([]Item, 0, s.waiting)
	for _, of := range b.lanes {
		for _, item := range of {
			if item.Kind == s.kind && s.names[item.Name].state == waiting {
				items = append(items, item)
			}
		}
	}
	return items
}
