// Package soak tries to break the promises of the publisher that nothing is
// lost and that no older state stays over a newer one, and those of the DNS
// writer that DNS follows from the rows, that nothing of other hands is touched
// and that nothing is removed without proof, by what can happen to a site: two
// publishers of one database, two DNS writers with one lease, and everything that
// they depend on are killed, frozen, cut off and restarted, by plan of a seed, while
// rows change the way that Kea, Stork and people change them, and people edit DNS.
//
// A run is a row of rounds. In a round some faults strike, one after the other
// or together, and are taken away again; then the rows change for a moment in
// peace, so that what a fault left behind is not hidden by the comparison with
// which every recovery begins; then the writers pause and [e2e.Checker] must
// find that the stream, a consumer's view of it, and DNS equal what follows from
// the rows. All the while an observer reads every event and knows from a version
// in each row that none of them goes back, and a resolver looks at the names
// whose rows are updated all the time but never gone for long: each must have an
// A record, an AAAA record and a PTR record of the latter at every moment.
//
// SOLIDserver is the simulator, in this process, so that what goes wrong with a
// call is decided here: it fails, with the work done or not, hangs, cuts its
// answers and its lists short, lists rows twice, answers from the past, pushes
// late to the servers that answer DNS, and gives all records other ids. In one
// half of the runs the DNS writers check all records every few seconds, which
// repairs what they may have overlooked; in the other half they do so only when one
// begins to lead and in the minute after that, and all names that nobody edited by
// hand have to be right without. In one half of the runs the brake stops what
// removes much, and an operator approves it.
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
