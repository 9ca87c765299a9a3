package solidsim

import "context"

// A Call is what the fault hook may decide on.
type Call struct {
	// Method and Service are those of the request: "POST", "dns_rr_add".
	Method, Service string
	// Params are the parameters, from query string and body together. The
	// hook must not change them.
	Params map[string]string
	// Number is the place of the call among all that met a service, from 1.
	// It is not touched by ResetCalls.
	Number int
	// Writes tells whether the service writes.
	Writes bool
}

// A Fault says what goes wrong with a call. The zero Fault is no fault. Of
// Reset, Truncate and Status the first that is set counts.
//
// Faults come in pairs: without Committed the call fails and nothing happened,
// with it the call did its work and only its answer is spoiled.
type Fault struct {
	// Committed lets the call do its work first.
	Committed bool
	// Reset ends the connection without an answer (TCP RST).
	Reset bool
	// Truncate announces the whole answer, sends half of it and ends the
	// connection. Without Committed it is half of an answer that looks good.
	Truncate bool
	// Status is the HTTP status to answer, with Body.
	Status int
	// Body goes with Status. Empty: an error object, or nothing with a 204.
	Body string
}

// FaultFunc decides for every authenticated call that met a service whether
// something goes wrong with it. It is called after the latency and before the
// service does its work, by many goroutines at once. It may block: that holds
// the call back, with nothing done, for as long as it likes. The context ends
// when the simulator closes (not when the client gives up: a real appliance
// does not notice that either), and the function must return then.
type FaultFunc func(ctx context.Context, c Call) Fault
