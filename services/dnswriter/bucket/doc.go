// Package bucket keeps what dnswriters share beside the stream: small JSON
// documents in the JetStream key-value bucket keastream-dnswriter. Who may change
// them is a matter of NATS permissions.
//
// A document lies under its key as one message, to be read with `nats kv get
// keastream-dnswriter KEY`. One that would not fit into a message is compressed and
// cut into parts:
//
//	lease.default                  {"holder":...}                 a small document
//	withheld.internal-H            {"keastream_parts":{...}}      the head of a large one
//	parts.withheld.internal-H.V.0  its parts; V is of one Put only
//	parts.withheld.internal-H.V.1
//
// No key may continue another one, as a.b does with a: their parts could not be told
// apart.
//
// The parts are stored first and the head last, by compare-and-set: a reader finds
// the old document or the new one. Parts that no head names any more, of a
// replaced document or of a Put that lost or broke off, are removed by the next Put
// under the key, except where a process replaces a small document of its own.
//
// A write whose answer is missing is repeated with the same expected revision, so
// that it cannot happen twice. If the key then holds another revision, the mark
// that each Put leaves in the header of its message tells whose it is.
package bucket
