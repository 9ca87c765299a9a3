// Package brake stops a change that takes away much at once, until a person
// approves exactly that.
//
// Reservations that disappear take their records with them. That is everyday
// work, and it is also what a wrong statement in a database looks like. The brake
// of a scope tells the two apart by their size: [Limit]. What is within the limit
// goes; of what is not, nothing goes, and all of it stands in a [List], under a
// hash over its records. [Approve] lets the names of such a list go, and no others.
//
// # How it is asked
//
// A lane, one owner name, says with [Brake.Want] which records it wants to take
// away, as often as it looks. [Brake.May] says whether a name may; [Brake.Count]
// stores that it goes, before the write is sent. When something may go on,
// Config.Released is told. [Brake.Run] does all that needs time or the store.
//
// What is counted is names, however many records they have: a PTR record counts
// for the forward name that it leads to.
//
// # What becomes of a name
//
//		Want ──> waiting ──rest of a hold-down──> judged ──within the limit──> may go ──Count──> recent
//		            ▲                               │ too many                   ▲                │
//		            │ wanted again: forgotten       ▼                            │                │ an hour
//		            └────────────────────────── withheld ────────Approve─────────┘                ▼
//		                                                                                       forgotten
//
//	  - All that waits is judged together, with what went in the last hour and what
//	    may go already: either all of it goes, or nothing.
//	  - Removals are judged when for one hold-down no name came and none left, at
//	    the latest ten hold-downs after the first one came. What is withheld is
//	    judged again each minute, since the hour goes on.
//	  - Replacements go at once while they are within their own limit, which is
//	    equal to that of removals.
//	  - Uncovered names always need approval.
//	  - A name that went in the last hour may change again: it is in the count.
//
// # Approvals
//
// An approval is a list of names. A name leaves it when it is wanted again, and is
// not covered when it goes again later, nor is a name that came after the list was
// made. It ends when no name is left in it, or after 24 hours. What went
// under it counts for an hour as everything else; only approvals can exceed the limit.
//
// # When something fails
//
//   - A crash after Count, or a write that failed, leaves one name too many in
//     the count of the hour, never one too few. Names that went under an approval are not
//     stored one by one, which would be a large document each time. The approval,
//     which stands in the store, counts for them instead; after a crash the names of
//     which nobody knows count as gone, for an hour.
//   - Two processes after one another share counts and approvals: every put names
//     the revision that it replaces. Whoever finds another revision reads it, adds
//     what he knows, and takes back what he let go if it has become too much.
//   - While the store cannot be read, or written, nothing goes that has to be
//     counted; [Brake.Err] says why.
//   - The lists stand in the store until a process has judged anew, so that they
//     can be approved when none runs. The same list has the same hash.
//
// # Several targets
//
// One store may serve several: other servers, or other parts of the reservations.
// [Key] tells their documents apart. [Approve] looks through all of them, and the hash
// of a list depends on its target.
package brake
