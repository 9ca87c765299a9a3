// Package reconcile makes the records of one scope, a DNS server with some
// zones, equal to what the reservations of a View ask for.
//
// # How it is put together
//
//   - [PlanName] is pure: what is wanted and what DNS has go in, steps and
//     conflicts come out, sorted. Everything that writes goes through it. A reverse
//     name is planned together with the names that its PTR records lead to, and what
//     a [Policy] forbids is kept apart from the steps that may be taken. [Plan] is
//     the same for all names at once.
//   - index knows which reservations speak of which name, cache knows the rows
//     of the zones. Both are in memory only and are built anew at each start.
//   - An area is what is read at once: a forward zone, all reverse zones. What was
//     not read is not touched. Which zones there are is asked of the server at each
//     check; when these are others than before, the index places all names anew.
//   - queue hands names to the workers. A name is the unit of work, and it is a
//     lane: one worker at a time, and once more when something came meanwhile.
//   - A worker ([Reconciler.Run]) derives what is wanted of its name at that
//     moment, plans, takes the steps, and plans again until nothing is left.
//   - Forward and reverse names are lanes alike. A PTR record that waits for its
//     address record leaves its lane at rest, and the lane of the forward name asks
//     for it: see follows.
//   - A check reads the zones whole and puts every name with a difference into
//     the same queue, at a lower priority than events. It runs at the start, once
//     more after a minute, with a [Lease] also after 5, 20 and 40 s, and every
//     Config.Sweep, so recovery and normal work are the same code.
//   - With a [Lease] all this goes on only while it is held, see lead. A standby
//     keeps its index current and knows nothing of DNS; each leadership begins with
//     an empty cache and a check.
//   - What the filter Config.Cares leaves out stands apart in the index: it asks for
//     nothing, and the records of its names stay.
//
// # What happens when
//
//	event ──> index ──> queue ──> worker: plan, write, read back, plan again
//	                      ▲                 │ unclear or out of date
//	check, every Sweep ───┘◄────────────────┘ read the name, plan again, later
//
// Additions and changes are made at once. A removal waits for its proof, which
// heartbeats bring: see hold. A value is replaced at once too, unless the row
// may belong to somebody whom the view has lost: see Reconciler.accounted.
//
// What takes something away is told to the brake of the scope as soon as it is
// planned, and is taken when there is both the proof and the brake's word. It is
// counted before it is sent. See package brake, and braking.go.
//
// An accepted change need not be published yet. It is followed until it is, by
// what is read anyhow and by looks that become rarer: see publication.
//
// # When something fails
//
//   - A step that failed is never just repeated: its name is read first, and
//     planned anew from what is there.
//   - A name whose step was refused waits alone, up to 5 minutes, and so does one
//     whose step ended unclear and was not taken, as reading it back has shown. A
//     name that failed because the server could not be reached waits up to 5 s.
//   - When several calls in a row were not answered, or several changes in a row
//     ended unclear, one worker tries on alone, until the server can be reached
//     and a change succeeds. All names that waited for it to be reached then go
//     on.
//   - A zone that is missing or cannot be read keeps its own names waiting, and no
//     others.
//   - No change is sent unless the lease is held for longer than a change can take.
//     One that is carried out later all the same, since a process was held up or a
//     server was slow, is found by one of the checks in the minute after the other
//     instance took over.
//   - A crash at any point leaves a row with our mark, which the next check
//     judges like any other, or no row.
package reconcile
