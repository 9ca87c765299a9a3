package modeltest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// process is the reconciler with its connections, as the service has it.
type process struct {
	journal *journal
	dead    context.Context // ends when it crashes: then it makes no call any more
	die     context.CancelFunc
	cancel  context.CancelFunc
	tasks   conc.WaitGroup
	conn    *nats.Conn
	client  *solidserver.Client
}

// start starts the process.
func (w *world) start() {
	w.t.Helper()
	conn, err := nats.Connect(w.broker.url, nats.MaxReconnects(-1))
	if err != nil {
		w.t.Fatalf("connect to nats-server: %v", err)
	}
	w.starts++
	p := &process{journal: newJournal(w), conn: conn}
	p.dead, p.die = context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(p.journal, &slog.HandlerOptions{Level: slog.LevelDebug}))
	secret := func(text string) secrets.Source {
		return func(context.Context) (secrets.Value, error) { return secrets.New(text), nil }
	}
	p.client, err = solidserver.New(solidserver.Config{
		Host: w.sim.Addr(), CAFile: w.ca, Username: secret(user), Password: secret(password), Log: log,
	})
	if err != nil {
		w.t.Fatalf("make the client: %v", err)
	}
	zones, err := dns.ParseZones([]string{zone})
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	view := events.NewView()
	reconciler := reconcile.New(reconcile.Config{
		Provider: observed{p.client.Scope("internal", server, ""), w, p}, View: view, Zones: zones, Sources: []string{"us3"},
		HoldDown: holdDown, Sweep: w.options.sweep, Workers: w.options.workers, Log: log,
	})
	handlers := reconciler.Handlers()
	handlers.Log = log
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	w.mu.Lock()
	w.process = p
	w.mu.Unlock()
	p.tasks.Go(func() {
		if err := events.Watch(ctx, conn, view, handlers); err != nil && ctx.Err() == nil {
			log.Error("watch ended", "err", err)
		}
	})
	p.tasks.Go(func() {
		if err := reconciler.Run(ctx); err != nil {
			log.Error("the reconciler ended", "err", err)
		}
	})
}

// stop ends the process and everything that it has.
func (p *process) stop() {
	p.cancel()
	p.tasks.Wait()
	p.die()
	p.client.Close()
	p.conn.Close()
}

// tend starts the process again when it crashed.
func (w *world) tend() {
	w.mu.Lock()
	crashed := w.crashed
	w.mu.Unlock()
	if crashed {
		w.restart()
	}
}

func (w *world) restart() {
	w.process.stop()
	w.mu.Lock()
	w.crashed = false
	w.mu.Unlock()
	w.start()
}

// hook decides what goes wrong with a call. A process that has crashed gets no
// answer any more, and does nothing.
func (w *world) hook(_ context.Context, c solidsim.Call) solidsim.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inspect()
	switch {
	case w.crashed:
		return solidsim.Fault{Reset: true}
	case w.away > 0:
		w.away--
		return solidsim.Fault{Reset: true}
	case !c.Writes:
		return solidsim.Fault{}
	}
	if w.toCrash > 0 && (w.crashOn == "" || w.crashOn == c.Method) {
		if w.toCrash--; w.toCrash == 0 {
			w.crashes(c)
			w.effects++
			return solidsim.Fault{Reset: true, Committed: true}
		}
	}
	armed := w.armed[c.Method]
	if len(armed) == 0 {
		w.effects++
		return solidsim.Fault{}
	}
	fault := armed[0]
	w.armed[c.Method] = armed[1:]
	if fault.Committed {
		w.effects++
	}
	if fault.Status == http.StatusBadRequest {
		w.reached.add(caseRefused)
	} else {
		w.reached.add(caseUnclear(c.Method, fault.Committed))
	}
	return fault
}

// crashes notes that the process dies right after a write. The caller holds w.mu.
func (w *world) crashes(c solidsim.Call) {
	w.crashed = true
	w.process.die()
	w.reached.add(map[string]string{
		http.MethodPost: caseCrashCreate, http.MethodPut: caseCrashUpdate, http.MethodDelete: caseCrashRemove,
	}[c.Method])
	if c.Method == http.MethodDelete || c.Params["rr_type"] == "PTR" {
		return
	}
	for s, wish := range want(w.rows) {
		forward := record{set{c.Params["rr_name"], c.Params["rr_type"]}, c.Params["value1"]}
		if s.rtype == "PTR" && s.name == forward.reverse() && wish.values[forward.name] {
			w.reached.add(caseBetween)
		}
	}
}

// observed is a Provider that tells the world what comes of its calls, lets others
// get in between, and ends with its process.
type observed struct {
	*solidserver.Scope
	w *world
	p *process
}

var _ reconcile.Provider = observed{}

// alive returns a context that ends when the process dies.
func (o observed) alive(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(o.p.dead, cancel)
	return ctx, func() { stop(); cancel() }
}

// Zones implements reconcile.Provider.
func (o observed) Zones(ctx context.Context) ([]dns.Zone, error) {
	ctx, done := o.alive(ctx)
	defer done()
	return o.Scope.Zones(ctx)
}

// Reverse implements reconcile.Provider.
func (o observed) Reverse(ctx context.Context) ([]dns.Row, error) {
	ctx, done := o.alive(ctx)
	defer done()
	return o.Scope.Reverse(ctx)
}

// Records implements reconcile.Provider.
func (o observed) Records(ctx context.Context, zone string) ([]dns.Row, error) {
	ctx, done := o.alive(ctx)
	defer done()
	return o.Scope.Records(ctx, zone)
}

// Lookup implements reconcile.Provider.
func (o observed) Lookup(ctx context.Context, zone, name string) ([]dns.Row, error) {
	ctx, done := o.alive(ctx)
	defer done()
	return o.Scope.Lookup(ctx, zone, name)
}

// Create implements reconcile.Provider.
func (o observed) Create(ctx context.Context, zone string, rec dns.Record, owner dns.Owner, exclusive bool) (string, error) {
	ctx, done := o.alive(ctx)
	defer done()
	id, err := o.Scope.Create(ctx, zone, rec, owner, exclusive)
	if errors.Is(err, dns.ErrExists) {
		o.w.reached.add(caseExists)
	}
	if err == nil && exclusive && rec.Type == dns.A && !strings.HasPrefix(rec.Name, "fence.") {
		o.w.intrude(rec)
	}
	return id, err
}

// Update implements reconcile.Provider.
func (o observed) Update(ctx context.Context, row dns.Row, rec dns.Record, owner dns.Owner) error {
	ctx, done := o.alive(ctx)
	defer done()
	err := o.Scope.Update(ctx, row, rec, owner)
	if err == nil && row.Value != rec.Value && !strings.HasPrefix(rec.Name, "fence.") {
		o.w.reached.add(caseReplaced)
	}
	return err
}

// Delete implements reconcile.Provider.
func (o observed) Delete(ctx context.Context, row dns.Row) error {
	ctx, done := o.alive(ctx)
	defer done()
	return o.Scope.Delete(ctx, row)
}

// intrude puts a record of somebody else beside one that was created just now.
func (w *world) intrude(rec dns.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.intruders == 0 || w.crashed {
		return
	}
	w.intruders--
	w.intruded[set{rec.Name, string(rec.Type)}] = true
	err := w.plant(solidsim.Record{Name: rec.Name, Type: string(rec.Type), Value: "198.51.100.200", TTL: 3600})
	if err != nil {
		w.fault("intrude: %v", err)
	}
}

const checkComplete = "DNS consistency check complete"

// journal is the log of a process. What is told there tells of hard cases.
type journal struct {
	w      *world
	number int // of the process
	before map[record]bool

	mu    sync.Mutex
	lines []string
}

func newJournal(w *world) *journal {
	j := &journal{w: w, number: w.starts, before: make(map[record]bool)}
	for _, r := range w.ours() {
		j.before[recordOf(r)] = true
	}
	return j
}

// Write takes one line.
func (j *journal) Write(p []byte) (int, error) {
	line := string(p)
	for text, name := range map[string]string{
		`msg="Withdrawn `:                    caseWithdrawn,
		`msg="conflict: the name is left`:    caseRaised,
		`msg="conflict is over"`:             caseOver,
		`msg="the dns server answers again"`: caseAway,
	} {
		if strings.Contains(line, text) {
			j.w.reached.add(name)
		}
	}
	if _, rest, found := strings.Cut(line, `msg="Removed `); found && j.number > 1 {
		fields := strings.Fields(rest) // A record: NAME -> VALUE (scope: …
		if len(fields) > 4 && j.before[record{set{fields[2], fields[0]}, fields[4]}] {
			j.w.reached.add(caseLateRemoval)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	return len(p), nil
}

func (j *journal) count(text string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (j *journal) tail() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines[max(0, len(j.lines)-300):], "")
}
