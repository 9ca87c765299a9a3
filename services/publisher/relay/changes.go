package relay

import (
	"cmp"
	"iter"
	"slices"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// changes decides what has to be published so that the stream, which holds
// known, tells what was read. It is ordered by mark, unmarked rows first, and
// then by host_id. Of the rows it keeps those that differ, and the numbers of
// all.
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
func changes(source string, known map[int64]events.Stored, rd outbox.Reading, rows iter.Seq[events.Reservation]) []events.Publication {
	marks := make(map[int64]outbox.Mark, len(rd.Marks))
	for _, m := range rd.Marks {
		if m.HostID != nil {
			marks[*m.HostID] = m // of several marks of a row the last one counts
		}
	}
	var all []events.Publication
	decide := func(id int64, row *events.Reservation) {
		stored, isStored := known[id]
		mark, isMarked := marks[id]
		c := events.Change{Seq: mark.Seq, At: mark.CreatedAt}
		if !isMarked {
			c.At = rd.At
		}
		live := isStored && stored.Err == nil && !stored.Change.Deleted()
		switch {
		case row != nil && live && stored.Change.Reservation.Equal(*row) && (!isMarked || stored.Change.Seq == mark.Seq):
			return
		case row != nil && !isMarked:
			c.Operation, c.Reservation = events.Snapshot, *row
		case row != nil && live:
			c.Operation, c.Reservation = events.Update, *row
		case row != nil:
			c.Operation, c.Reservation = events.Insert, *row
		case live, isStored && stored.Err != nil:
			c.Operation, c.Reservation = events.Delete, stored.Change.Reservation
		case isMarked && (!isStored || stored.Change.Seq != mark.Seq):
			c.Operation, c.Reservation = events.Delete, stored.Change.Reservation
			c.Reservation.Source, c.Reservation.HostID = source, id
		default: // neither in the database nor in the stream
			return
		}
		all = append(all, events.Publication{
			Change:          c,
			Expect:          stored.Sequence,
			ExpectTombstone: isStored && stored.Change.Deleted(),
		})
	}

	expected := len(marks)
	if rd.All {
		expected = len(known)
	}
	exists := make(map[int64]struct{}, expected)
	for row := range rows {
		exists[row.HostID] = struct{}{}
		decide(row.HostID, &row)
	}
	gone := func(id int64) bool { _, ok := exists[id]; return !ok }
	for id := range marks {
		if gone(id) {
			decide(id, nil)
		}
	}
	if rd.All {
		for id := range known {
			if _, isMarked := marks[id]; !isMarked && gone(id) {
				decide(id, nil)
			}
		}
	}
	slices.SortFunc(all, func(a, b events.Publication) int {
		return cmp.Or(cmp.Compare(a.Change.Seq, b.Change.Seq), cmp.Compare(a.Change.Reservation.HostID, b.Change.Reservation.HostID))
	})
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

// liveSequences returns the sequences of the reservations that the stream holds.
func liveSequences(known map[int64]events.Stored) map[int64]uint64 {
	all := make(map[int64]uint64, len(known))
	for id, stored := range known {
		if !stored.Change.Deleted() {
			all[id] = stored.Sequence
		}
	}
	return all
}

// lost tells whether the stream has lost one of the reservations with these
// sequences, or holds another message for it, though nobody else publishes: then
// consumers must read it anew. Deletions, which expire, are none of them.
func lost(before map[int64]uint64, now map[int64]events.Stored) bool {
	for id, sequence := range before {
		if now[id].Sequence != sequence {
			return true
		}
	}
	return false
}
