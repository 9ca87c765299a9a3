// Package solidserver reads and writes DNS records of an EfficientIP
// SOLIDserver appliance through its classic REST API (/rest, SOLIDserver 8.0
// and later).
//
// # How it is put together
//
//   - A [Client] is one connection pool to one appliance: host, TLS,
//     credentials, time-outs, rate, concurrency, metrics. It sends calls and
//     sorts what comes back into answers and kinds of [Error]. auth.go puts the
//     credentials on a call, breaker.go keeps calls from an appliance that does
//     not answer.
//   - A [Scope] is one DNS server of the appliance, in one of its views, seen
//     through a Client. Its methods are the operations of the reconciler, on
//     records of package dns. Zones are found on the appliance.
//   - where.go is the only place where a WHERE clause is made. list.go reads
//     lists to their end, rows.go and zones.go say what their rows mean. mark.go
//     is the only place where the mark of ownership is written and read.
//
// # What it relies on
//
// Every write is one call and is never sent again by this package: whether it
// happened is found out by reading, and that is for the caller to decide. A write
// that has no answer after [WriteTimeout] may still sit in a socket and happen
// later.
// Reads are repeated a few times when the appliance says that it is busy.
//
// A DNS server is never written to by way of a member of a SMART, which owns the
// data, nor without naming its view if it has any. What is read is checked to be
// of the server, the view and the zone that were asked for: the API ignores a
// parameter that it does not know, without a word.
//
// The id of a row (rr_id) is not stable: the appliance deletes and creates rows
// anew when it synchronises. So a row is always found by its content just
// before it is written to, and in the same read it is verified that it is
// still ours. The ids are never kept.
//
// Texts of errors come in the language of the appliance and differ between
// versions, so nothing is decided by them. What counts is the status, whether
// the body is of a known form, and a second look at the records.
package solidserver
