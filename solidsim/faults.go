package solidsim

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// A Call is what the fault hook may decide on.
type Call struct {
	// Method and Service are those of the request: "POST", "dns_rr_add".
	Method, Service string
	// Params are the parameters, from query string, path and body together. The
	// hook must not change them.
	Params map[string]string
	// Number is the place of the call among all that met a service, from 1.
	// It is not touched by ResetCalls.
	Number int
	// Writes tells whether the service writes.
	Writes bool
	// User is the name of the user who calls.
	User string
}

// A Fault says what goes wrong with a call. The zero Fault is no fault.
//
// Reset, Truncate and Status spoil the answer; the first of them that is set
// counts. These come in pairs: without Committed the call fails and nothing
// happened, with it the call did its work and only its answer is spoiled.
//
// The others can stand beside these or alone, and then the call does its work.
type Fault struct {
	// Kind is the name under which Calls.Faults counts the fault. Empty: one
	// made of the fields that are set, as in "status 500 after commit".
	Kind string
	// Committed lets the call do its work before its answer is spoiled.
	Committed bool
	// Reset ends the connection without an answer (TCP RST).
	Reset bool
	// Truncate announces the whole answer, sends half of it and ends the
	// connection. Without Committed it is half of an answer that looks good.
	Truncate bool
	// Status is the HTTP status to answer, with Body.
	Status int
	// Body goes with Status. One that starts with < is sent as HTML, any other
	// as JSON. Empty: an error object, or nothing with a 204.
	Body string
	// Empty goes with Status: there is no body at all.
	Empty bool
	// RetryAfter goes with Status: the header of that name, in whole seconds.
	RetryAfter time.Duration

	// Delay holds the call back before it does its work. The work is done after
	// that even if the client has given up.
	Delay time.Duration
	// Hold keeps the answer back, which comes after the work.
	Hold time.Duration

	// Short cuts rows off the end of a page of a list that has two or more.
	Short bool
	// Double puts a row into a page of a list twice.
	Double bool
	// Stale has a list, count or info answer from an older state: as it was ten
	// to twenty changes ago, or when the hook was installed if that is later.
	Stale bool
}

// spoils tells whether the client does not get the answer of the service.
func (f Fault) spoils() bool { return f.Reset || f.Truncate || f.Status != 0 }

// kind is what the fault is counted as.
func (f Fault) kind() string {
	switch {
	case f.Kind != "":
		return f.Kind
	case f == Fault{Committed: true}:
		return "nothing"
	}
	var parts []string
	add := func(set bool, name string) {
		if set {
			parts = append(parts, name)
		}
	}
	add(f.Delay > 0, "delay")
	add(f.Stale, "stale")
	add(f.Short, "short")
	add(f.Double, "double")
	spoiled := ""
	switch {
	case f.Reset:
		spoiled = "reset"
	case f.Truncate:
		spoiled = "truncate"
	case f.Status != 0:
		spoiled = "status " + strconv.Itoa(f.Status)
	}
	if f.Committed {
		spoiled += " after commit"
	}
	add(f.spoils(), spoiled)
	add(f.Hold > 0, "hold")
	return strings.Join(parts, ", ")
}

// FaultFunc decides for every authenticated call that met a service whether
// something goes wrong with it. It is called after the latency and before the
// service does its work, by many goroutines at once. It may block: that holds
// the call back, with nothing done, for as long as it likes. The context ends
// when the simulator closes (not when the client gives up: a real appliance
// does not notice that either), and the function must return then.
type FaultFunc func(ctx context.Context, c Call) Fault
