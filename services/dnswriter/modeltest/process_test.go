package modeltest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/lease"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// form says who writes.
type form string

const (
	alone    form = "one instance"
	leased   form = "two instances with a lease"
	unleased form = "two instances that both write"
)

func (f form) instances() int {
	if f == alone {
		return 1
	}
	return 2
}

// process is an instance: the reconciler with its connections, as the service has
// it.
type process struct {
	place   int // in world.instances
	number  int // of all that were started
	journal *journal
	cable   *cable
	view    *events.View
	lease   *lease.Lease    // nil: none
	dead    context.Context // ends when it crashes: then it makes no call any more
	die     context.CancelFunc
	cancel  context.CancelFunc
	tasks   conc.WaitGroup
	conn    *nats.Conn
	client  *solidserver.Client
	// rows are the records that it was told to change or to remove, by id: a call
	// names no more.
	rows sync.Map
	// crashed is guarded by world.mu.
	crashed bool
}

// username is that of the instance at a place: the simulator tells by it whose a
// call is.
func username(place int) string { return fmt.Sprintf("%s-%d", user, place) }

// start starts all instances.
func (w *world) start() {
	w.t.Helper()
	for i := range w.options.form.instances() {
		w.startOne(i)
	}
}

// startOne starts the instance of a place.
func (w *world) startOne(place int) {
	w.t.Helper()
	w.starts++
	p := &process{place: place, number: w.starts, cable: new(cable), view: events.NewView()}
	p.journal = newJournal(w, p)
	p.dead, p.die = context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(p.journal, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if p.conn, err = p.cable.connect(w.broker.url); err != nil {
		w.t.Fatalf("connect to nats-server: %v", err)
	}
	secret := func(text string) secrets.Source {
		return func(context.Context) (secrets.Value, error) { return secrets.New(text), nil }
	}
	p.client, err = solidserver.New(solidserver.Config{
		Host: w.sim.Addr(), CAFile: w.ca, Username: secret(username(place)), Password: secret(password), Log: log,
	})
	if err != nil {
		w.t.Fatalf("make the client: %v", err)
	}
	zones, err := dns.ParseZones([]string{zone})
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	config := reconcile.Config{
		Provider: observed{p.client.Scope("internal", server, ""), w, p}, View: p.view, Zones: zones, Sources: []string{"us3"},
		HoldDown: holdDown, Sweep: w.options.sweep, Workers: w.options.workers, Log: log,
	}
	documents := bucket.New(p.conn)
	if w.options.form == leased {
		p.lease = lease.New(lease.Config{
			Bucket: documents, Name: "model", Holder: fmt.Sprintf("%d", p.number),
			Term: lease.DefaultTerm / haste, Renew: lease.DefaultRenew / haste, Log: log,
		})
		config.Lease = hasty{p.lease}
	}
	var reconciler *reconcile.Reconciler
	config.Brake = w.newBrake(config, documents, func() *reconcile.Reconciler { return reconciler })
	reconciler = reconcile.New(config)
	handlers := reconciler.Handlers()
	handlers.Log = log
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	w.mu.Lock()
	if place == len(w.instances) {
		w.instances = append(w.instances, p)
	}
	w.instances[place] = p
	w.mu.Unlock()
	run := func(what string, f func(context.Context) error) {
		p.tasks.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				log.Error(what+" ended", "err", err)
			}
		})
	}
	run("watch", func(ctx context.Context) error { return events.Watch(ctx, p.conn, p.view, handlers) })
	run("the reconciler", reconciler.Run)
	run("the lease", p.lease.Run)
}

// haste is how many times shorter a lease is than in the service, so that a
// takeover takes little more than a second.
const haste = 8

// hasty makes of the time for which a lease has to be held one that is in
// proportion to its term.
type hasty struct{ *lease.Lease }

var _ reconcile.Lease = hasty{}

// Held implements reconcile.Lease.
func (l hasty) Held(left time.Duration) bool { return l.Lease.Held(left / haste) }

// stop ends the process and everything that it has. One that crashed cannot give
// back its lease.
func (w *world) stop(p *process) {
	w.thaw(p)
	w.mu.Lock()
	crashed := p.crashed
	w.mu.Unlock()
	if crashed {
		p.conn.Close()
	}
	p.cancel()
	p.tasks.Wait()
	p.die()
	p.client.Close()
	p.conn.Close()
}

// tend starts again what has crashed, and ends what does not last for ever.
func (w *world) tend() {
	for _, p := range w.instances {
		w.mu.Lock()
		crashed := p.crashed
		w.mu.Unlock()
		if crashed {
			w.restart(p)
		}
	}
	w.tendFrozen()
	if !w.healAt.IsZero() && time.Now().After(w.healAt) {
		w.heal()
	}
}

func (w *world) restart(p *process) {
	w.stop(p)
	w.startOne(p.place)
}

// restartAll starts one after the other again.
func (w *world) restartAll() {
	for _, p := range slices.Clone(w.instances) {
		w.restart(p)
	}
}

// leader is the instance that may write, nil if there is none or both may.
func (w *world) leader() *process {
	switch w.options.form {
	case alone:
		return w.instances[0]
	case leased:
		for _, p := range w.instances {
			if p.lease.Held(0) {
				return p
			}
		}
	case unleased:
	}
	return nil
}

// cutOff cuts an instance off from NATS until a time has passed.
func (w *world) cutOff(p *process, d time.Duration) {
	p.cable.cut()
	w.healAt = time.Now().Add(d)
}

// heal ends that, but not for who stands still.
func (w *world) heal() {
	w.healAt = time.Time{}
	f := w.freezing()
	for _, p := range w.instances {
		if f == nil || f.p != p {
			p.cable.heal()
		}
	}
}

// cable is the way of one instance to NATS. It is a nats.CustomDialer.
type cable struct {
	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func (c *cable) connect(url string) (*nats.Conn, error) {
	return nats.Connect(url, nats.SetCustomDialer(c), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // else the library prints them
}

// Dial implements nats.CustomDialer.
func (c *cable) Dial(network, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut {
		return nil, errors.New("the cable is cut")
	}
	conn, err := net.Dial(network, address)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

func (c *cable) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = false
}
