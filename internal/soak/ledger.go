package soak

import (
	"fmt"

	"github.com/keastream/keastream/pkg/events"
)

// ledger knows of each row what was seen last, and what must not come after
// it. It belongs to one goroutine.
type ledger map[int64]*page

type page struct {
	sequence uint64 // in the stream
	version  int64  // the highest that was seen
	deleted  bool   // the last event was a deletion
}

// take notes an event and returns an error if the row went back by it: to a
// version that is lower than one that was seen, or, after a deletion, not
// higher. Writers give each state of a row a higher version than the one
// before, in the order of their commits (see sqlVersion). Changes of IPv6 rows
// alone keep it.
//
// An event that was taken before, or is older than the one that was, is a
// reader's that began anew; it says nothing.
func (l ledger) take(sequence uint64, c events.Change) error {
	id := c.Reservation.HostID
	p := l[id]
	if p == nil {
		p = new(page)
		l[id] = p
	}
	if sequence <= p.sequence {
		return nil
	}
	before := *p
	p.sequence, p.deleted = sequence, c.Deleted()
	if c.Deleted() {
		return nil
	}
	v := version(c.Reservation)
	p.version = max(p.version, v)
	if v < before.version || before.deleted && v == before.version {
		was := "version"
		if before.deleted {
			was = "a deletion after version"
		}
		return fmt.Errorf("host %d went back: sequence %d holds version %d (mark %d), and sequence %d was %s %d",
			id, sequence, v, c.Seq, before.sequence, was, before.version)
	}
	return nil
}

// version is what sqlVersion put into the row.
func version(r events.Reservation) int64 {
	var v int64
	for _, subnet := range []*int64{r.Subnet4, r.Subnet6} {
		if subnet != nil {
			v = max(v, *subnet)
		}
	}
	return v
}
