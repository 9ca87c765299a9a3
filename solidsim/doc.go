// Package solidsim behaves like an EfficientIP SOLIDserver appliance, as far
// as DNS records are concerned: the classic REST API on /rest and /rpc over real
// HTTPS, and authoritative DNS servers that answer from the same data. Tests use it
// in their own process, the command solidserver-sim runs it alone.
//
// # How it is put together
//
//   - The model holds DNS servers, their views, zones and resource records in
//     memory, the store the lock around it. What a record says is never changed
//     once it is stored: an edit puts a new one in its place.
//   - Each server that answers DNS has a queue of pushes. What it was pushed is
//     what it answers, and on a member of a SMART also what is listed as its
//     copy. No goroutine pushes: what is due is done when somebody looks.
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
//     A clause about records is taken apart: names and ids are looked up, what
//     is about zone, view and server is asked of each zone, and only the rest of
//     rows. A page of 1,000 costs the same among 2,000 and 100,000 records.
//   - Each DNS server answers on its own address, UDP and TCP, and each view of
//     a server that has several.
//   - The state is one JSON document, an object per line, that Save writes and
//     Load reads; Config.StateFile keeps it on disk.
//
// # What it takes a side on
//
// The API is not documented in every corner. Where its behaviour is not known
// the simulator takes the strict side, so that a client which works here
// depends on nothing doubtful. Of these there are switches, all in Unknowns: a
// write on a member of a SMART is refused, one without a view on a server with
// views too; a POST that edits answers 200; an edit cannot make two records
// equal; a CNAME stands alone; SOA and NS of a zone are not listed. Options are
// switches for what HTTP shows.
//
// Other sides it takes without a switch: names and targets with a trailing dot
// are refused; a delete that fits several records is refused; a record below a
// nested zone cannot be put into the zone above it; columns used in WHERE and
// ORDERBY must be in SELECT; a PUT never creates. An edit is pending like a
// creation (delayed_create_time). A record whose deletion is pending is listed,
// but not there for writes, and may be made anew beside it. The automatic PTR
// (class parameter dnsptr=1) has the TTL of its A or AAAA, stands in the same
// view, and goes with it; a PTR that somebody else made is left alone, and a
// change of dnsptr works on later changes only. A zone with records can be
// deleted, a view or a server with zones cannot. Records inherit no class
// parameters, and views and servers do not pass theirs on to the members of a
// SMART.
//
// # What it does not have
//
// The record types are A, AAAA, CNAME, MX, NS, PTR, SRV and TXT; a zone has its
// SOA. Slave and forward zones are listed and hold nothing. There is no IPAM:
// ipam_replication is a class parameter like any other. What else a server, view
// or zone can be set to, forwarders say, is taken and not kept. A server that was
// added while the simulator runs gets pushes, but no address to answer DNS
// on. The API v2.0 is missing.
package solidsim
