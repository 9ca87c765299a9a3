package reconcile

import (
	"net/netip"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
)

// A hold goes on as long as it stands for the same absence, and begins anew
// with each row and each source that was not part of it.
func TestHoldBeginsAnew(t *testing.T) {
	t.Parallel()
	r := New(Config{View: events.NewView(), Zones: parseZones(t, labZone), Sources: []string{"us3"}})
	removal := func(value string, sources ...string) Step {
		m := &memory{}
		m.put("a", value, sources...)
		return Step{Op: Remove, Zone: labZone, Record: m.rows[0].Record, Row: m.rows[0]}
	}
	one, two := removal("192.0.2.1", "us3"), removal("192.0.2.2", "us3")
	oneOfBoth := removal("192.0.2.1", "us3", "us4")
	const name = "a." + labZone
	var last *hold
	for i, step := range []struct {
		removals []Step
		anew     bool
	}{
		{[]Step{one, two}, true},
		{[]Step{one, two}, false},
		{[]Step{two}, false},      // the first is wanted again
		{[]Step{one, two}, true},  // and then it is not
		{[]Step{oneOfBoth}, true}, // its mark names another source
		{[]Step{one}, false},
		{nil, true},
		{[]Step{one}, true},
	} {
		r.observe(name, Changes{Steps: step.removals})
		if anew := r.holds[name] != last; anew != step.anew {
			t.Errorf("step %d: the hold is new: %v", i, anew)
		}
		if last = r.holds[name]; last != nil && len(last.rows) != len(step.removals) {
			t.Errorf("step %d: the hold is of %d rows", i, len(last.rows))
		}
	}
}

// What is old news does not count as a sign of life.
func TestReplayedHeartbeatIsNoSignOfLife(t *testing.T) {
	t.Parallel()
	r := New(Config{View: events.NewView(), Zones: parseZones(t, labZone)})
	state := events.SourceState{Source: "us3", Heartbeat: events.Heartbeat{At: time.Unix(1, 0)}}
	r.heartbeat(state)
	first := r.beats["us3"]
	r.heartbeat(state)
	if r.beats["us3"] != first {
		t.Error("the same heartbeat counted twice")
	}
	state.Heartbeat.At = time.Unix(2, 0)
	r.heartbeat(state)
	if r.beats["us3"] == first {
		t.Error("another heartbeat did not count")
	}
}

// The first row of a key is kept apart from the others.
func TestMultimap(t *testing.T) {
	t.Parallel()
	m := newMultimap[string]()
	rows := []events.Key{{Source: "us3", HostID: 1}, {Source: "us3", HostID: 2}, {Source: "us4", HostID: 1}}
	for _, row := range rows {
		m.add("a", row)
	}
	m.remove("a", events.Key{Source: "us5"})
	for left := len(rows); left > 0; left-- {
		n := 0
		for range m.rows("a") {
			n++
		}
		if n != left {
			t.Errorf("%d rows, want %d", n, left)
		}
		m.remove("a", rows[len(rows)-left])
	}
	if len(m.first)+len(m.more) != 0 {
		t.Errorf("something is left: %+v", m)
	}
}

// What is heard of a name starts its hold again, and so does a stream that was
// read anew, from which something may be missing.
func TestEventsStartTheHoldAgain(t *testing.T) {
	t.Parallel()
	r := New(Config{View: events.NewView(), Zones: parseZones(t, labZone), Sources: []string{"us3"}})
	m := &memory{}
	m.put("a", "192.0.2.1", "us3")
	m.put("b", "192.0.2.2", "us3")
	for _, row := range m.rows {
		r.observe(row.Name, Changes{Steps: []Step{{Op: Remove, Zone: labZone, Record: row.Record, Row: row}}})
	}
	for _, step := range []struct {
		what    string
		happens func()
		a, b    bool // the hold begins anew
	}{
		{"an insertion", func() {
			r.changed(events.Difference{After: &events.Reservation{Source: "us3", HostID: 2, Hostname: "a", IP: netip.MustParseAddr("192.0.2.1"), Subnet4: new(int64(1))}})
		}, true, false},
		{"its deletion", func() {
			r.changed(events.Difference{Before: &events.Reservation{Source: "us3", HostID: 2, Hostname: "a", IP: netip.MustParseAddr("192.0.2.1"), Subnet4: new(int64(1))}})
		}, true, false},
		{"another replay", r.filled, true, true},
	} {
		a, b := r.holds["a."+labZone].absence, r.holds["b."+labZone].absence
		step.happens()
		if newA, newB := r.holds["a."+labZone].absence != a, r.holds["b."+labZone].absence != b; newA != step.a || newB != step.b {
			t.Errorf("after %s the hold of a is new: %v, and that of b: %v", step.what, newA, newB)
		}
	}
}
