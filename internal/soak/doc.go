// Package soak tries to break the promises of the publisher that nothing is
// lost and that no older state stays over a newer one, by what can happen to a
// site: two publishers of one database and everything that they depend on are
// killed, frozen, cut off and restarted, by plan of a seed, while rows change
// the way that Kea, Stork and people change them.
//
// A run is a row of rounds. In a round some faults strike, one after the other
// or together, and are taken away again; then the rows change for a moment in
// peace, so that what a fault left behind is not hidden by the comparison with
// which every recovery begins; then the writers pause and [e2e.Checker] must
// find that the stream, and a consumer's view of it, equal the rows. All the
// while an observer reads every event and knows from a version in each row
// that none of them goes back.
//
// What happens is a function of the seed as far as possible: which faults, in
// which order, how long, what each writer does. Which rows it meets, and what
// is under way when a fault strikes, depends on the machine. So a seed that
// found something finds it again usually, and the timeline in the failure tells
// what happened in any case.
//
// A soak that injects nothing proves nothing. So each fault says whether it
// really struck, each hard case that a publisher must be able to deal with is
// counted where it can be seen, and a run that was long enough for all of them
// fails when one was missed.
package soak
