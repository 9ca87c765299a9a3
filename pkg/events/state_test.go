package events

import (
	"testing"
	"time"
)

func stateWith(ids ...int64) state {
	s := newState()
	for _, id := range ids {
		s.apply(&Change{Operation: Insert, Reservation: Reservation{Source: "us3", HostID: id}})
	}
	return s
}

// A count that stays wrong means that something was missed, and reading anew
// mends it; not so if rows are merely unreadable, and not if the source itself
// says that it is incomplete.
func TestHeartbeatPatience(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		heartbeat  Heartbeat
		unreadable bool
		want       bool
	}{
		"equal":                         {Heartbeat{Source: "us3", Complete: true, Hosts: 2}, false, true},
		"more than were seen":           {Heartbeat{Source: "us3", Complete: true, Hosts: 3}, false, false},
		"fewer than were seen":          {Heartbeat{Source: "us3", Complete: true, Hosts: 1}, false, false},
		"more, and one is unreadable":   {Heartbeat{Source: "us3", Complete: true, Hosts: 3}, true, true},
		"more, by an incomplete source": {Heartbeat{Source: "us3", Hosts: 3}, false, true},
	} {
		s := stateWith(1, 2)
		if test.unreadable {
			s.park(Key{Source: "us3", HostID: 3})
		}
		s.heartbeat(test.heartbeat, now, patience)
		if got := s.heartbeat(test.heartbeat, now.Add(patience), patience); got != test.want {
			t.Errorf("%s: after %v heartbeat returns %v", name, patience, got)
		}
		if got, want := s.sources["us3"].Complete, name == "equal"; got != want {
			t.Errorf("%s: complete is %v", name, got)
		}
	}
}

// A row that was read well and then unreadable in one pass counts once.
func TestKeepCountsRowsOnce(t *testing.T) {
	t.Parallel()
	old, next := stateWith(1, 2), stateWith(1)
	next.park(Key{Source: "us3", HostID: 1})
	next.park(Key{Source: "us3", HostID: 2})
	next.keep(&old)
	if got := next.sources["us3"].Live; got != 2 || len(next.rows) != 2 {
		t.Errorf("%d live reservations and %d rows, want 2", got, len(next.rows))
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	v := NewView()
	v.state = stateWith(3, 1, 2)
	v.state.apply(&Change{Operation: Delete, Reservation: Reservation{Source: "us3", HostID: 2}})
	found := v.Find(func(c Change) bool { return c.Reservation.HostID != 3 })
	if len(found) != 2 || found[0].Reservation.HostID != 1 || found[1].Reservation.HostID != 2 || !found[1].Deleted() {
		t.Errorf("found %+v", found)
	}
}
