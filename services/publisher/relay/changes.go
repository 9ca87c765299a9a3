package relay

import (
	"cmp"
	"maps"
	"slices"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// changes decides what has to be published so that the stream, which holds
// known, tells what was read. It is ordered by mark, unmarked rows first, and
// then by host_id.
//
// A row with a mark is published even if its state equals the last message:
// another publisher, or a copy of this one that was thought dead, may have
// written that message from an older reading, and the state may have gone
// there and back since. Only a message that carries the number of this very
// mark is known to be its own.
//
// For the same reason a row that has a mark and does not exist is published as
// deleted even if the stream knows nothing of it: a publisher that read it while
// it existed, and was held up since, is refused then.
func changes(source string, known map[int64]events.Stored, rd outbox.Reading) []events.Publication {
	marks := make(map[int64]outbox.Mark, len(rd.Marks))
	for _, m := range rd.Marks {
		if m.HostID != nil {
			marks[*m.HostID] = m // of several marks of a row the last one counts
		}
	}
	rows := make(map[int64]bool, len(marks))
	for id := range marks {
		rows[id] = true
	}
	if rd.All {
		for id := range rd.Hosts {
			rows[id] = true
		}
		for id := range known {
			rows[id] = true
		}
	}
	var all []events.Publication
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		stored, isStored := known[id]
		row, exists := rd.Hosts[id]
		mark, isMarked := marks[id]

		c := events.Change{Seq: mark.Seq, At: mark.CreatedAt, Reservation: row}
		if !isMarked {
			c.At = rd.At
		}
		live := isStored && stored.Err == nil && !stored.Change.Deleted()
		switch {
		case exists && live && stored.Change.Reservation.Equal(row) && (!isMarked || stored.Change.Seq == mark.Seq):
			continue
		case exists && !isMarked:
			c.Operation = events.Snapshot
		case exists && live:
			c.Operation = events.Update
		case exists:
			c.Operation = events.Insert
		case live, isStored && stored.Err != nil:
			c.Operation = events.Delete
			c.Reservation = stored.Change.Reservation
		case isMarked && (!isStored || stored.Change.Seq != mark.Seq):
			c.Operation = events.Delete
			c.Reservation = stored.Change.Reservation
			c.Reservation.Source, c.Reservation.HostID = source, id
		default: // neither in the database nor in the stream
			continue
		}
		all = append(all, events.Publication{
			Change:          c,
			Expect:          stored.Sequence,
			ExpectTombstone: isStored && stored.Change.Deleted(),
		})
	}
	slices.SortStableFunc(all, func(a, b events.Publication) int { return cmp.Compare(a.Change.Seq, b.Change.Seq) })
	return all
}

// live counts the reservations that the stream holds.
func live(known map[int64]events.Stored) int {
	n := 0
	for _, stored := range known {
		if stored.Err == nil && !stored.Change.Deleted() {
			n++
		}
	}
	return n
}

// lost tells whether the stream has lost a reservation, or holds another
// message for it, though nobody else publishes: then consumers must read it
// anew. Expired deletions do not count.
func lost(before, now map[int64]events.Stored) bool {
	for id, stored := range before {
		if stored.Change.Deleted() {
			continue
		}
		if now[id].Sequence != stored.Sequence {
			return true
		}
	}
	return false
}
