package solidsim

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// An appliance keeps the data and pushes it to what answers DNS: a SMART to
// its members, any other server, and a SMART without members, to itself. Each
// of these has a queue. What was not pushed everywhere yet is pending; what is
// being deleted stays listed until then.
//
// Nothing runs in the background: a push is made when somebody looks after its
// time has come.

// pushed is the part of a server that is about pushes to it.
type pushed struct {
	queue []push
	held  bool            // pushes to it do not end
	zones map[*zone]*zone // what it has of the zones that were pushed to it
	rows  map[int64]*rr   // and of the rows, by their key
}

// A push brings one row or, without a row, a zone to a server, or takes it
// away.
type push struct {
	due  time.Time
	zone *zone
	row  *rr
	drop bool
	left *int // to how many servers the change has not come yet
}

type pendingKind int

const (
	notPending pendingKind = iota
	pendingCreate
	pendingDelete
)

// state says how far the newest change of a zone or a row was pushed.
type state struct {
	pending pendingKind
	left    *int
}

// targets are the servers to which a server's data is pushed.
func (s *server) targets() []*server {
	if len(s.members) > 0 {
		return s.members
	}
	return []*server{s}
}

// pushRow sends a row, or the deletion of one, on its way. The row stands in
// the listing.
func (st *store) pushRow(r *rr, drop bool) {
	if len(r.zone.server.members) > 0 {
		r.zone.serial++ // no push comes back to the SMART
	}
	st.enqueue(r.zone.server, &r.state, push{zone: r.zone, row: r, drop: drop})
}

// pushZone does the same for a zone. Forward zones and slave zones are of no
// account for DNS here, but are pushed all the same.
func (st *store) pushZone(z *zone, drop bool) {
	st.enqueue(z.server, &z.state, push{zone: z, drop: drop})
}

func (st *store) enqueue(from *server, about *state, p push) {
	targets := from.targets()
	p.left = new(len(targets))
	if about.left, about.pending = p.left, pendingCreate; p.drop {
		about.pending = pendingDelete
	}
	p.due = time.Now().Add(st.delay)
	for _, t := range targets {
		t.queue = append(t.queue, p)
	}
	st.revision++
}

// settle makes all pushes that are due and returns the time of the next one,
// in Unix nanoseconds, and 0 if there is none.
func (m *model) settle(now time.Time) (next int64) {
	for _, t := range m.servers {
		if t.held {
			continue
		}
		for len(t.queue) > 0 && !t.queue[0].due.After(now) {
			p := t.queue[0]
			t.queue = t.queue[1:]
			m.apply(t, p)
			m.revision++
		}
		if len(t.queue) > 0 {
			if due := t.queue[0].due.UnixNano(); next == 0 || due < next {
				next = due
			}
		}
	}
	return next
}

// apply makes one push to one server. With the last server that has the newest
// change nothing is pending any more, and what was to go is gone.
func (m *model) apply(t *server, p push) {
	*p.left--
	about := &p.zone.state
	if p.row != nil {
		about = &p.row.state
		m.applyRow(t, p.row, p.drop)
	} else {
		m.applyZone(t, p.zone, p.drop)
	}
	if *p.left > 0 || about.left != p.left {
		return
	}
	about.pending = notPending
	switch {
	case p.drop && p.row == nil:
		m.removeZone(p.zone)
	case p.drop && m.rows.get(p.row.id) == p.row:
		m.unlist(p.row)
	}
}

func (m *model) applyZone(t *server, z *zone, drop bool) {
	if t == z.server {
		if z.live = !drop; drop {
			m.withdraw(z)
		}
		return
	}
	copied := t.zones[z]
	switch {
	case drop && copied != nil:
		m.withdraw(copied)
		delete(t.zones, z)
		m.removeZone(copied)
	case drop:
	case copied != nil:
		copied.class, copied.own = z.class, z.own
	default:
		copied = &zone{name: z.name, kind: z.kind, server: t, class: z.class, own: z.own, live: true}
		if z.view != nil {
			copied.view = m.view(t, z.view.name)
		}
		t.zones[z] = copied
		m.addZone(copied)
	}
}

// withdraw ends the service of all rows of a zone.
func (m *model) withdraw(z *zone) {
	for _, r := range z.rows {
		if have := z.server.rows[r.key()]; have != nil {
			m.unserve(have)
			delete(z.server.rows, r.key())
		}
	}
}

// applyRow makes a server answer with a row, or without it. On a member this
// is also the moment at which its copy is listed.
func (m *model) applyRow(t *server, r *rr, drop bool) {
	z := r.zone
	if t != z.server {
		z = t.zones[r.zone]
	}
	if z == nil || !z.live {
		return // the zone went first
	}
	key := r.key()
	have := t.rows[key]
	if drop && have == nil || !drop && have != nil && have.says(r) {
		return // it was pushed before the state was saved and loaded
	}
	if have != nil {
		m.unserve(have)
		delete(t.rows, key)
	}
	now := r
	if t != r.zone.server {
		now = m.copyTo(z, r, have, drop)
	}
	if !drop {
		t.rows[key] = now
		m.serve(now)
	}
	z.serial++
}

// says tells whether two versions of a row are equal.
func (r *rr) says(other *rr) bool {
	return r.values == other.values && r.ttl == other.ttl && r.class == other.class && maps.Equal(r.classParams, other.classParams)
}

// copyTo lists the copy of a row in a zone of a member in the place of the one
// that is there, and takes it out when the row is dropped.
func (m *model) copyTo(z *zone, r, have *rr, drop bool) *rr {
	if have != nil && m.rows.get(have.id) == nil {
		have = nil
	}
	if drop {
		if have != nil {
			m.unlist(have)
		}
		return nil
	}
	copied := *r
	copied.zone, copied.origin, copied.state = z, r.id, state{}
	if have != nil {
		copied.id = have.id
		m.replace(&copied)
		return &copied
	}
	copied.id = 0
	m.list(&copied)
	return &copied
}

// serve lets a DNS server answer with a row.
func (m *model) serve(r *rr) {
	p := r.place()
	at := m.served[p]
	at.insert(r)
	m.served[p] = at
	m.count(r, 1)
}

func (m *model) unserve(r *rr) {
	p := r.place()
	at := m.served[p]
	if at.remove(r.id); len(at) > 0 {
		m.served[p] = at
	} else {
		delete(m.served, p)
	}
	m.count(r, -1)
}

// count keeps the number of rows at each node between a row and its zone: a
// name without rows of its own that has some below it does exist in DNS
// (RFC 8020).
func (m *model) count(r *rr, by int) {
	for p := r.place(); r.zone.contains(p.name); {
		if m.nodes[p] += by; m.nodes[p] == 0 {
			delete(m.nodes, p)
		}
		_, p.name, _ = strings.Cut(p.name, ".")
	}
}

// stuck names the held servers that a server's pushes wait for.
func (s *server) stuck() []string {
	var names []string
	for _, t := range s.targets() {
		if t.held {
			names = append(names, t.name)
		}
	}
	return names
}

// multistatus is the column of this name: `<instances>@<message>@<severity>@
// <module>`, where 34 to 50 is an error.
func (s *server) multistatus() string {
	names := s.stuck()
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("%d@No answer from %s@40@dns", len(names), strings.Join(names, " "))
}

// HoldPushes keeps all that is changed from now on from the DNS side of a
// server: a member, a server alone, or a SMART, which stands for all of its
// members. Rows stay pending and multistatus says so. It fails if there is no
// such server.
func (s *Sim) HoldPushes(server string) error { return s.store.hold(server, true) }

// ReleasePushes ends that. What was held and is due is pushed at once.
func (s *Sim) ReleasePushes(server string) error { return s.store.hold(server, false) }

func (st *store) hold(name string, held bool) error {
	defer st.write()()
	s := st.server(name)
	if s == nil {
		return fmt.Errorf("DNS server %q does not exist", name)
	}
	for _, t := range s.targets() {
		t.held = held
	}
	st.revision++
	return nil
}

// SetPushDelay sets how long it takes until a change is pushed, for changes
// from now on. Pushes to one server keep their order: one that waits longer
// holds up those behind it.
func (s *Sim) SetPushDelay(d time.Duration) {
	defer s.store.write()()
	s.store.delay = d
}
