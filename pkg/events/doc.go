// Package events is the contract between the publisher of Kea host
// reservations and everything that consumes them. It is all that a consumer
// imports.
//
// # The stream
//
// The JetStream stream KEA holds the last message of each subject:
//
//	kea.reservations.<source>.<host_id>   a Change: the state of one reservation
//	kea.sources.<source>                  a Heartbeat: how complete the above is
//
// A source is one Kea database. Messages are JSON and readable in `nats sub`.
// What has gone leaves a Change with the operation DELETE behind, which the
// server removes after weeks.
//
// # What a consumer may rely on
//
//   - The newest message of a subject is the state of the row, and soon after
//     every outage it equals the row. Of two messages the one with the higher
//     stream sequence counts, and no older state ever replaces a newer one.
//   - Nothing is promised about the order of different rows. Kea itself writes
//     an update as a deletion and an insertion under a new host_id, milliseconds
//     or seconds apart. So a consumer derives what it wants from the whole
//     View, never from a single event.
//   - Intermediate states may be skipped.
//   - Absence proves nothing by itself. A reservation counts as gone when its
//     source is complete (SourceState.Complete) and has stayed so for a
//     hold-down (Absence), or when its source was retired (SourceState.Gone).
//   - The wire form only ever gains fields within a version; unknown fields and
//     unknown subjects below kea. are ignored.
//
// # How to consume
//
// Watch keeps a View equal to the stream: it replays everything at each start,
// so a consumer needs no state of its own. Publishing is the business of the
// publisher: see Stream.
package events
