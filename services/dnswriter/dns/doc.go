// Package dns turns reservations into DNS records, on paper: it has no input,
// no output and no clock.
//
// # How it is put together
//
//   - [Record] is one resource record in canonical form, so that two records
//     are the same exactly when they are ==. [Row] is a record as it stands on
//     a DNS server, with the mark of its [Owner] if it is ours.
//   - [Zones] are the zones that names may be put into, [Served] those that the
//     server has. A [Placement] knows both, and says which records a reservation
//     asks for: its claims.
//   - [Desired] looks at the claims of all reservations and says what is wanted
//     of each name, and where reservations contradict one another.
//
// What is to be done about the difference between wanted and actual records is
// the business of package reconcile.
package dns
