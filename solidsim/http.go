package solidsim

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// api answers the calls below /rest. It is an http.Handler.
type api struct {
	services map[string]service
	users    map[string]string
	log      *slog.Logger
	closed   context.Context // ends when the simulator closes
	latency  atomic.Int64    // nanoseconds
	faults   atomic.Pointer[FaultFunc]
	number   atomic.Int64 // of the last call that met a service
	calls    counter
}

// ServeHTTP does the steps that all calls have in common. The work goes on
// when the client gives up, as it does on an appliance: a call that ran into a
// time-out of the client may still happen.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer a.calls.enter()()
	start := time.Now()
	p, err := readParams(r)
	if !a.wait() {
		panic(http.ErrAbortHandler)
	}
	var result answer
	var fault Fault
	if err == nil {
		result, fault, err = a.call(r, p)
	}
	if err != nil {
		refused, ok := asRefusal(err)
		if !ok {
			a.log.DebugContext(r.Context(), "call not readable", "err", err)
			panic(http.ErrAbortHandler)
		}
		result = refused.answer()
	}
	a.log.DebugContext(r.Context(), "call", "method", r.Method, "path", r.URL.Path,
		"status", result.status, "fault", fault != Fault{}, "duration", time.Since(start))
	a.respond(w, result, fault)
}

// wait spends the latency. It returns false if the simulator closes.
func (a *api) wait() bool {
	timer := time.NewTimer(time.Duration(a.latency.Load()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.closed.Done():
		return false
	}
}

// call finds the service and runs it, if no fault stops it before that. The
// answer to a refused call goes through a fault too.
func (a *api) call(r *http.Request, p params) (answer, Fault, error) {
	if !a.authenticated(r) {
		return answer{}, Fault{}, &refusal{
			status: http.StatusUnauthorized, errno: errnoAuthentication, message: "Authentication failed",
		}
	}
	name, _ := strings.CutPrefix(r.URL.Path, "/rest/")
	svc, found := a.services[name]
	if !found {
		return answer{}, Fault{}, &refusal{
			status: http.StatusNotFound, errno: errnoService, message: "Service does not exist",
		}
	}
	run, found := svc.handlers[r.Method]
	if !found {
		return answer{}, Fault{}, refuse(errnoService, "The service has no method "+strconv.Quote(r.Method))
	}
	a.count(r.Context(), r.Method, name, svc, p)
	fault := a.fault(Call{
		Method: r.Method, Service: name, Params: p, Number: int(a.number.Add(1)), Writes: svc.writes,
	})
	if fault != (Fault{}) && !fault.Committed {
		return answer{status: http.StatusOK, body: []byte(`[{"ret_oid":"0"}]`)}, fault, nil
	}
	result, err := run(r.Method, p)
	if refused, ok := asRefusal(err); ok {
		return refused.answer(), fault, nil
	}
	if svc.writes {
		a.calls.changed()
	}
	return result, fault, err
}

func (a *api) count(ctx context.Context, method, name string, svc service, p params) {
	var unknown []string
	for parameter := range p {
		if !slices.Contains(svc.parameters, parameter) {
			unknown = append(unknown, parameter)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		a.log.WarnContext(ctx, "unknown parameters ignored", "service", name, "parameters", unknown)
	}
	a.calls.served(method, name, svc.writes, unknown)
}

func (a *api) fault(c Call) Fault {
	hook := a.faults.Load()
	if hook == nil {
		return Fault{}
	}
	fault := (*hook)(a.closed, c)
	if fault != (Fault{}) {
		a.calls.faulty()
	}
	return fault
}

// authenticated checks the native scheme: user and password in two headers,
// each in base64.
func (a *api) authenticated(r *http.Request) bool {
	user, err := base64.StdEncoding.DecodeString(r.Header.Get("X-IPM-Username"))
	if err != nil {
		return false
	}
	password, err := base64.StdEncoding.DecodeString(r.Header.Get("X-IPM-Password"))
	if err != nil {
		return false
	}
	want, known := a.users[string(user)]
	have, wanted := sha256.Sum256(password), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(have[:], wanted[:]) == 1 && known
}

func (a *api) respond(w http.ResponseWriter, result answer, fault Fault) {
	switch {
	case fault.Reset:
		reset(w)
	case fault.Truncate:
		truncate(w, result)
	case fault.Status != 0:
		write(w, faultAnswer(fault))
	default:
		write(w, result)
	}
}

func faultAnswer(fault Fault) answer {
	if fault.Body != "" || fault.Status == http.StatusNoContent {
		return answer{status: fault.Status, body: []byte(fault.Body)}
	}
	return (&refusal{status: fault.Status, errno: errnoFault, message: http.StatusText(fault.Status)}).answer()
}

func write(w http.ResponseWriter, result answer) {
	if len(result.body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(result.body)))
	w.WriteHeader(result.status)
	_, _ = w.Write(result.body) // a client that went away is its own affair
}

// truncate sends half of the answer. One without a body cannot be cut and is
// reset.
func truncate(w http.ResponseWriter, result answer) {
	if len(result.body) == 0 {
		reset(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(result.body)))
	w.WriteHeader(result.status)
	_, _ = w.Write(result.body[:len(result.body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler) // closes the connection
}

// reset ends the connection with a TCP RST, below TLS.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
