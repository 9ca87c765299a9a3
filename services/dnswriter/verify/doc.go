// Package verify asks the authoritative servers of a scope whether they answer
// with what was written. An appliance that has accepted a change, and even says
// that it has published it, has not shown yet that a client gets the answer.
//
// # How it is put together
//
//   - A [Verifier] is told of each change when it is accepted and when it is
//     published, and asks from then on, with growing pauses, until all servers of
//     the scope agree. verify.go is what it remembers, due.go when what is asked.
//   - ask.go asks one server and says what is wrong with its answer.
//   - servers.go reads the setting.
//
// # What a verdict means
//
// A change is verified when every server of the scope has answered with authority,
// once, and each answer had the record (or, after a removal, did not have it). TTLs
// are not compared: a name server has one for all records of a name and type,
// whoever wrote them.
//
// What is not verified in time is unverified, with the reason. That is told, and
// nothing follows from it: name servers get their data late for many reasons, and
// none of them is cured by writing again. They are asked on, more rarely, and one
// that comes round is verified after all.
//
// Nothing is kept on a disk, and what is remembered is bounded: a process that was
// just started knows of no earlier change.
package verify
