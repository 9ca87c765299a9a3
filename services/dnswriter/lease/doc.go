// Package lease lets one of several DNS writers work at a time.
//
// Two that work at once converge too: the rows of DNS carry marks, every write is
// read back, and sweeps repair what a late write did. A lease only avoids that
// everything is done twice. So it may be lost and taken at any time, and it does not
// fence: a write that was sent before the lease was lost may still arrive.
//
// # How it is held
//
// A lease is a document in the key-value bucket, which its holder replaces each
// Renew. Its revision is the proof of life:
//
//   - A holder holds for one Term from the moment before the last renewal that is
//     known to be stored was sent, by the monotonic clock of its own host. A renewal
//     whose outcome is unknown does not count.
//   - A standby takes over with compare-and-set on a revision that has stood still
//     for one Term, by the standby's own clock, since it was first seen; that is
//     after it was sent. Nobody's wall clock matters, and none is compared.
//   - A lease that was given back, or that never was, is taken at once. A watch on
//     the key tells standbys of it.
//
// So two do not hold at the same time, as long as clocks run at about the same
// speed. A process that was stopped asks its clock, which went on; only a host that
// is suspended stops the monotonic clock as well.
//
// # Times
//
// The defaults are a term of 12 s that is renewed each second. A write to DNS is
// given up after 5 s, and no write starts without twice that left: so writes go on
// as long as renewals take less than a second more than usual, and the holder is
// silent for 10 s before another one may begin. A holder that vanishes is followed
// within the term, one Renew and the time-out of a request, 15 s at the very worst
// and about 12 as a rule.
//
// # States
//
//	standby --- free, or stood still for a term: compare-and-set ---> held
//	held ------ renewed in time -----------------------------------> held
//	held ------ the term is over, or the key is another's -----------> standby
//	held ------ ctx ends: work ends, then given back ----------------> (end)
package lease
