package solidsim

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// api answers the calls below /rest and /rpc. It is an http.Handler.
type api struct {
	services map[string]service
	door     *door
	options  Options
	log      *slog.Logger
	closed   context.Context // ends when the simulator closes
	latency  atomic.Int64    // nanoseconds
	faults   atomic.Pointer[hook]
	past     past
	number   atomic.Int64 // of the last call that met a service
	calls    counter
}

// A hook is a FaultFunc and the plan that it was made from, if it was.
type hook struct {
	decide FaultFunc
	plan   *FaultPlan
}

// errClosing says that the simulator closes while a call waits.
var errClosing = errors.New("the simulator closes")

// ServeHTTP does the steps that all calls have in common. The work goes on
// when the client gives up, as it does on an appliance: a call that ran into a
// time-out of the client may still happen.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil {
		http.Redirect(w, r, "https://"+r.Host+r.URL.RequestURI(), http.StatusFound)
		return
	}
	defer a.calls.enter()()
	start := time.Now()
	name, p, err := readCall(r)
	if a.wait(a.closed, time.Duration(a.latency.Load())) != nil {
		panic(http.ErrAbortHandler)
	}
	var result answer
	var fault Fault
	if err == nil {
		result, fault, err = a.call(r, name, p)
	}
	if err != nil {
		refused, ok := asRefusal(err)
		if !ok {
			a.log.DebugContext(r.Context(), "call not answered", "err", err)
			panic(http.ErrAbortHandler)
		}
		result = refused.answer()
	}
	a.log.DebugContext(r.Context(), "call", "method", r.Method, "path", r.URL.Path,
		"status", result.status, "fault", fault.kind(), "duration", time.Since(start))
	if err := a.hold(w, r, fault.Hold); err != nil {
		panic(http.ErrAbortHandler)
	}
	a.respond(w, result, fault)
}

// wait spends a time. It fails if the simulator closes or the context ends.
func (a *api) wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.closed.Done():
		return errClosing
	}
}

// hold keeps an answer back, as long as the client is there. The time in which a
// request must have come would end the wait too, so it is lifted.
func (a *api) hold(w http.ResponseWriter, r *http.Request, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return a.wait(r.Context(), d)
}

// call finds the service and runs it, if no fault stops it before that. The
// answer to a refused call goes through a fault too.
func (a *api) call(r *http.Request, name string, p params) (answer, Fault, error) {
	user, err := a.door.caller(r)
	if err != nil {
		return answer{}, Fault{}, err
	}
	svc, found := a.services[name]
	if !found {
		return answer{}, Fault{}, &refusal{
			status: a.options.UnknownServiceStatus, errno: errnoService, message: "Service does not exist",
		}
	}
	if err := a.door.admit(user, name); err != nil {
		return answer{}, Fault{}, err
	}
	run, found := svc.handlers[r.Method]
	switch {
	case r.Method == http.MethodOptions:
		svc, run = service{}, svc.help(name) // it writes nothing and has no parameters
	case !found:
		return answer{}, Fault{}, refuse(errnoService, "The service has no method "+strconv.Quote(r.Method))
	}
	a.count(r.Context(), r.Method, name, svc, p)
	fault := a.fault(Call{
		Method: r.Method, Service: name, Params: p, Number: int(a.number.Add(1)), Writes: svc.writes, User: user,
	})
	if err := a.wait(a.closed, fault.Delay); err != nil {
		return answer{}, fault, err
	}
	if fault.spoils() && !fault.Committed {
		return answer{status: http.StatusOK, body: []byte(`[{"ret_oid":"0"}]`)}, fault, nil
	}
	if old := a.past.reader(name); fault.Stale && old != nil && r.Method == http.MethodGet {
		run = old
	}
	result, err := run(r.Method, a.options.page(name, p))
	if refused, ok := asRefusal(err); ok {
		return refused.answer(), fault, nil
	}
	if svc.writes {
		a.calls.changed()
		a.past.changed(a.services)
	}
	if r.Method == http.MethodGet && strings.HasSuffix(name, "_list") {
		result = fault.listing(result)
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
	fault := hook.decide(a.closed, c)
	if fault != (Fault{}) {
		a.calls.faulty(fault.kind())
	}
	return fault
}

// strike installs a fault hook, and takes the one that is there away if f is
// nil.
func (a *api) strike(f FaultFunc, plan *FaultPlan) {
	if f == nil {
		a.faults.Store(nil)
		a.past.stop()
		return
	}
	a.past.start(a.services)
	a.faults.Store(&hook{decide: f, plan: plan})
}

func (a *api) respond(w http.ResponseWriter, result answer, fault Fault) {
	switch {
	case fault.Reset:
		reset(w)
	case fault.Truncate:
		truncate(w, result)
	case fault.Status != 0:
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(fault.RetryAfter.Seconds())))
		}
		write(w, faultAnswer(fault))
	default:
		write(w, result)
	}
}

func faultAnswer(fault Fault) answer {
	if fault.Body != "" || fault.Empty || fault.Status == http.StatusNoContent {
		return answer{status: fault.Status, body: []byte(fault.Body)}
	}
	return (&refusal{status: fault.Status, errno: errnoFault, message: http.StatusText(fault.Status)}).answer()
}

func write(w http.ResponseWriter, result answer) {
	announce(w, result)
	_, _ = w.Write(result.body) // a client that went away is its own affair
}

// announce sends status and headers. The type of a body shows in its first
// byte: the simulator writes JSON, faults and switches other things.
func announce(w http.ResponseWriter, result answer) {
	contentType := ""
	switch {
	case len(result.body) == 0:
	case strings.IndexByte("[{", result.body[0]) >= 0:
		contentType = "application/json"
	case result.body[0] == '<':
		contentType = "text/html; charset=utf-8"
	default:
		contentType = "text/plain; charset=utf-8"
	}
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(result.body)))
	w.WriteHeader(result.status)
}

// truncate sends half of the answer. One without a body cannot be cut and is
// reset.
func truncate(w http.ResponseWriter, result answer) {
	if len(result.body) == 0 {
		reset(w)
		return
	}
	announce(w, result)
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
	if peeked, ok := conn.(*peekedConn); ok {
		conn = peeked.Conn
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
