package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Config says what a Reconciler works on. Provider, View and Zones must be set.
type Config struct {
	// Provider is the DNS server of the scope.
	Provider Provider
	// View is filled by events.Watch, which must be given the Reconciler's
	// handlers, see Reconciler.Handlers.
	View *events.View
	// Zones are read whole, and all forward names that are written are in one of
	// them. One that the server does not have keeps only its own names waiting.
	Zones dns.Zones
	// Scope is the name of the scope, for logs and metrics. Default: internal.
	Scope string
	// PublicOnly parks private and link-local addresses.
	PublicOnly bool
	// PTR says which addresses get a PTR record. With dns.PTROff no reverse zone
	// is read, and PTR records of ours that are there stay as they are.
	PTR dns.PTRPolicy
	// Policy says what may be done. With Observe nothing is written, whatever
	// happens.
	Policy Policy
	// TTL of the records, in seconds. Default: 600.
	TTL uint32
	// Cares is the filter: a reservation of which it is not true asks for no
	// record. Its answer for a reservation must never change while the process
	// runs; nil: it is true of all. A row of ours whose name such a reservation
	// would have asked for does not go without a person's approval: the filter may
	// be narrower than it was.
	Cares func(events.Reservation) bool
	// Brake stops what takes away much at once; nil: nothing is too much, and what
	// the filter leaves out stays for good. It must be given the Reconciler's Owned
	// and Released, and is run by Run and RunOnce.
	Brake *brake.Brake
	// Lease lets one of several instances work at a time; nil: this one always
	// works. See Lease.
	Lease Lease
	// Sources have to be complete before anything is removed, in addition to
	// those that the mark of the row names.
	Sources []string
	// HoldDown is how long, by the clocks of the sources, a thing must have been
	// absent before it is removed. Default: 10 s.
	HoldDown time.Duration
	// Sweep is the time between checks. Default: 15 min.
	Sweep time.Duration
	// Workers is how many names are worked on at a time. Default: 8.
	Workers int
	// Verify hears of accepted and published changes; nil means nobody wants to
	// know.
	Verify Verify
	// Metrics counts; nil means nobody wants to know.
	Metrics *Metrics
	// Log hears of changes, conflicts and failures; nil means no log.
	Log *slog.Logger
	// Alive is called about every second while the work goes on, also while it
	// waits for a server; nil means nobody wants to know.
	Alive func()
	// Phase is called with one line for people when something else is going on;
	// nil means nobody wants to know.
	Phase func(string)
}

func (c Config) withDefaults() Config {
	c.Scope = cmp.Or(c.Scope, "internal")
	c.TTL = cmp.Or(c.TTL, 600)
	c.HoldDown = cmp.Or(c.HoldDown, 10*time.Second)
	c.Sweep = cmp.Or(c.Sweep, 15*time.Minute)
	c.Workers = cmp.Or(c.Workers, 8)
	if c.Policy == Observe {
		c.Provider = readOnly{c.Provider}
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Alive == nil {
		c.Alive = func() {}
	}
	if c.Phase == nil {
		c.Phase = func(string) {}
	}
	return c
}

// Reconciler keeps the records of one scope equal to the reservations. Several
// may share a View; each has its own Provider.
type Reconciler struct {
	cfg      Config
	log      *slog.Logger
	metrics  scoped
	queue    *queue
	caughtUp chan struct{}                                  // closed when the View was filled
	running  running                                        // what a check tells of itself
	find     func(func(events.Change) bool) []events.Change // in the View, for questions

	mu    sync.Mutex // guards what follows; no call to the Provider is made under it
	index *index
	// leading: names are worked on here. While another instance does that, or the
	// View is not filled, the queue stays empty.
	leading bool
	single  bool // RunOnce works, which takes no lease
	cache   *cache
	// read are the areas that were read since the start: the cache holds all of
	// them. Names of others are not touched.
	read map[area]bool
	// suspect are the names for which the cache may be wrong: they are read
	// before anything is decided.
	suspect map[string]bool
	// fresh are rows that we created into an empty name and have not read back.
	fresh rows
	// withdrawn are those of them that have to go again, because the name was
	// not empty.
	withdrawn map[string][]dns.Row
	// late is until when a write with an unclear outcome may still happen.
	late  map[string]time.Time
	holds map[string]*hold
	// waiting are the names with a value that cannot be replaced yet.
	waiting map[string]bool
	// publications are the changes that were accepted and are not known to be
	// published.
	publications *publications
	// replacements are the values that names want to replace, for the brake.
	replacements map[string][]brake.Item
	// following are the reverse names with a PTR record that waits for its address
	// record: the lane of that one asks for them.
	following map[string]bool
	beats     map[string]beat // by source
	marks     marks
	ledger
}

// New makes a Reconciler. It does nothing before Run or RunOnce.
func New(cfg Config) *Reconciler {
	cfg = cfg.withDefaults()
	r := &Reconciler{
		cfg:      cfg,
		log:      cfg.Log.With("scope", cfg.Scope),
		queue:    newQueue(),
		caughtUp: make(chan struct{}),
		find:     cfg.View.Find,
		index:    newIndex(cfg.View.Last, &dns.Placement{Zones: cfg.Zones, TTL: cfg.TTL, PTR: cfg.PTR, PublicOnly: cfg.PublicOnly}, cfg.Cares),
		beats:    make(map[string]beat),
	}
	r.blank()
	r.cfg.Phase = r.running.tell(cfg.Phase)
	r.metrics = cfg.Metrics.scope(cfg.Scope)
	r.ledger = newLedger(r.metrics)
	cfg.Metrics.queued(cfg.Scope, r.queue.len)
	return r
}

// blank makes everything that is known of DNS unknown. The caller holds r.mu.
func (r *Reconciler) blank() {
	r.cache = newCache()
	r.read = make(map[area]bool)
	r.suspect = make(map[string]bool)
	r.fresh = newRows()
	r.withdrawn = make(map[string][]dns.Row)
	r.late = make(map[string]time.Time)
	r.holds = make(map[string]*hold)
	r.waiting = make(map[string]bool)
	r.replacements = make(map[string][]brake.Item)
	r.publications = newPublications()
	r.following = make(map[string]bool)
}

// Handlers are what events.Watch has to call. They only take notes. The caller
// may add the others; it must not leave out one of these.
func (r *Reconciler) Handlers() events.Handlers {
	return events.Handlers{Changed: r.changed, CaughtUp: r.filled, Heartbeat: r.heartbeat}
}

func (r *Reconciler) changed(d events.Difference) {
	r.mu.Lock()
	before, after := d.Before, d.After
	key := cmp.Or(after, before).Key()
	was := r.index.parked[key]
	names := r.index.apply(d)
	is := r.index.parked[key]
	r.reportParked(was, is)
	r.metrics.event(d.Change.Operation, len(names) > 0 && r.index.caresFor(d), len(is) > 0)
	for _, name := range names {
		r.restartHold(name)
	}
	leading := r.leading
	r.mu.Unlock()
	if !leading {
		return // the first check looks at every name
	}
	now := time.Now()
	for _, name := range names {
		r.queue.event(name, now, d.Change.At)
	}
}

func (r *Reconciler) filled() {
	r.mu.Lock()
	for name := range r.holds {
		r.restartHold(name) // who asked for it again meanwhile may be gone again
	}
	r.mu.Unlock()
	if !r.isCaughtUp() {
		close(r.caughtUp)
	}
}

// isCaughtUp tells whether the View was filled. Only the goroutine of Watch
// closes the channel.
func (r *Reconciler) isCaughtUp() bool {
	select {
	case <-r.caughtUp:
		return true
	default:
		return false
	}
}

// AwaitCaughtUp waits until the reservations are known. It returns false if ctx
// ended before.
func (r *Reconciler) AwaitCaughtUp(ctx context.Context) bool {
	select {
	case <-r.caughtUp:
		return true
	case <-ctx.Done():
		return false
	}
}

// Readiness, for /readyz: each returns nil or the reason why not. They look at
// memory only.

// CaughtUp says whether the reservations are known.
func (r *Reconciler) CaughtUp() error {
	if !r.isCaughtUp() {
		return errors.New("the stream has not been read to its end yet")
	}
	return nil
}

// InStep says whether the last check succeeded and the server answers. While
// another instance does the work, there is nothing to say against this one.
func (r *Reconciler) InStep() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.standsBy():
		return nil
	case r.away != nil:
		return fmt.Errorf("the DNS server does not answer: %w", r.away)
	case len(r.unread) > 0:
		first := slices.Min(slices.Collect(maps.Keys(r.unread)))
		return fmt.Errorf("%s cannot be read: %w", first, r.unread[first])
	case !r.checked:
		return errors.New("the first consistency check is not complete yet")
	}
	return nil
}

// KeepsMarks says whether the server keeps the marks of our rows.
func (r *Reconciler) KeepsMarks() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.marks == marksLost {
		return errMarksLost
	}
	return nil
}

// zonesOf returns the zones that a name is to be looked up in: its own, and
// others in which the cache has rows of it.
func (r *Reconciler) zonesOf(name string) []string {
	var zones []string
	if zone, ok := r.index.placement.ZoneOf(name); ok {
		zones = append(zones, zone)
	}
	for _, row := range r.cache.at(name) {
		if !slices.Contains(zones, row.Zone) {
			zones = append(zones, row.Zone)
		}
	}
	return zones
}
