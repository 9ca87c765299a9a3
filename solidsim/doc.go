// Package solidsim behaves like an EfficientIP SOLIDserver appliance, as far
// as DNS records are concerned: the classic REST API on /rest and /rpc over real
// HTTPS, and authoritative DNS servers that answer from the same data. Tests use it
// in their own process, the command solidserver-sim runs it alone.
//
// # How it is put together
//
//   - The store holds DNS servers, zones and resource records in memory. A
//     record is never changed once it is stored: an edit puts a new one in its
//     place, so that a listing can be written out without holding the lock.
//   - A service is an entry in one table (newServices): its methods, the
//     parameters that it knows and whether it writes. The list, info and count
//     services of all objects are one generic piece over a table of columns.
//   - The HTTP side does for every call the same steps: count, read the
//     parameters, wait for the latency, authenticate, look for the service and
//     the right to it, ask the fault hook, run the service, spoil the answer if
//     the hook said so, answer.
//   - The door knows the three schemes of authentication and the rights.
//   - Faults come from a hook, a function of the test, or from a FaultPlan, which
//     is made into a hook: its decisions follow from its seed and the number of
//     the call. Stale reads are answered from copies that the past keeps.
//   - One port takes TLS and plain HTTP, which is sent to TLS. The control
//     endpoint has a port of its own.
//   - WHERE is tokenized, parsed and compiled; nothing is matched by pattern.
//   - Each DNS server of the store answers on its own address, UDP and TCP.
//
// # What it takes a side on
//
// The API is not documented in every corner. Where its behaviour is not known
// the simulator takes the strict side, so that a client which works here
// depends on nothing doubtful: names and targets with a trailing dot are
// refused, a delete that fits several records is refused, a record below a
// nested zone cannot be put into the zone above it, columns used in WHERE and
// ORDERBY must be in SELECT, a PUT never creates. Options are switches for what
// HTTP shows of that.
//
// # What it does not have
//
// The record types are A, AAAA, CNAME, PTR and TXT; there are no views and no
// members of a SMART. A listing shows no SOA and NS rows: the DNS side makes them
// up. The API v2.0 is missing.
package solidsim
