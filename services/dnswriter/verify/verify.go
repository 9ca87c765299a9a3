package verify

import (
	"cmp"
	"container/heap"
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Stage is how far a change has come.
type Stage string

// The stages, in their order.
const (
	// Accepted: the appliance has taken the change.
	Accepted Stage = "accepted"
	// Published: it says that its name servers have it. They are being asked.
	Published Stage = "published"
	// Verified: all name servers of the scope have answered with it.
	Verified Stage = "verified"
	// Unverified: they have not, in the time that they had. They are asked on.
	Unverified Stage = "unverified"
)

func stages() []Stage { return []Stage{Accepted, Published, Verified, Unverified} }

// Config says whom a Verifier asks. Scope and Servers must be set.
type Config struct {
	// Scope is for metrics and log.
	Scope string
	// Servers are all authoritative servers of the scope, each HOST:PORT. See
	// ParseServers.
	Servers []string
	// Deadline is how long after its publication a change may take until all
	// servers have it; 0 means 2 minutes.
	Deadline time.Duration
	// Timeout bounds one question; 0 means 2 s.
	Timeout time.Duration
	// Pause is the time between the first questions for a change. It doubles each
	// time, up to 15 s before the deadline and up to 10 minutes after it. 0 means
	// half a second.
	Pause time.Duration
	// Keep is how many changes are remembered at most; 0 means 10,000. Verified
	// ones, and then others that are not being asked for, go first.
	Keep int
	// Workers is how many changes are asked for at a time; 0 means 8.
	Workers int
	// Metrics counts; nil means nobody wants to know.
	Metrics *Metrics
	// Log gets each verdict at level Debug, and at level Warn the first one that
	// is unverified; nil means no log.
	Log *slog.Logger
}

// The longest pauses, before and after the deadline.
const (
	longestPause      = 15 * time.Second
	longestPauseAfter = 10 * time.Minute
)

// State is what is known of the newest change of one record.
type State struct {
	Record dns.Record
	// Gone tells that the change was a removal.
	Gone  bool
	Stage Stage
	// Accepted, Published and Verified are when that stage was come to; zero if it
	// was not. Asked is when the servers were last asked.
	Accepted, Published, Asked, Verified time.Time
	// Reason is what is wrong with the answers, of all servers that do not agree;
	// "" if nothing is, or they were not asked yet.
	Reason string
}

// A Verifier asks the name servers of one scope. It is safe for concurrent use. A
// nil Verifier knows nothing, and its methods do nothing: it is that of a scope
// without --verify-dns.
type Verifier struct {
	cfg  Config
	wake chan struct{} // capacity 1: the queue has a new first one

	mu      sync.Mutex
	changes map[key]*change
	queue   queue
	// Those that may be forgotten, oldest first: verified ones, and others that
	// are not asked for before their deadline.
	done, idle *list.List
	unverified int
}

// A key is a record but for its TTL.
type key struct {
	name  string
	rtype dns.Type
	value string
}

func keyOf(rec dns.Record) key { return key{rec.Name, rec.Type, rec.Value} }

// A change is what is remembered of a record. A newer change of the record has one
// of its own in the place of the older one.
type change struct {
	State
	pause time.Duration
	due   time.Time
	at    int // in the queue; -1: it is not in it
	place *list.Element
	in    *list.List // in which place is
}

// New makes a Verifier. It asks nobody before Run.
func New(cfg Config) *Verifier {
	cfg.Deadline = cmp.Or(cfg.Deadline, 2*time.Minute)
	cfg.Timeout = cmp.Or(cfg.Timeout, 2*time.Second)
	cfg.Pause = cmp.Or(cfg.Pause, 500*time.Millisecond)
	cfg.Keep = cmp.Or(cfg.Keep, 10_000)
	cfg.Workers = cmp.Or(cfg.Workers, 8)
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Metrics.begin(cfg.Scope)
	return &Verifier{
		cfg: cfg, wake: make(chan struct{}, 1), changes: make(map[key]*change), done: list.New(), idle: list.New(),
	}
}

// Accepted tells that the appliance has accepted a change at that time: that the
// record is there, or with gone that it is not any more. A change of a value is
// two: the new one is there and the old one is gone. It does not block.
func (v *Verifier) Accepted(rec dns.Record, gone bool, since time.Time) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.begin(rec, gone, since)
}

// Published tells that the appliance has published the change that it accepted at
// that time, and has the servers asked for it. A change that Accepted was not
// called for begins here; one that is older than what is known is left out. It
// does not block.
func (v *Verifier) Published(rec dns.Record, gone bool, since time.Time) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.begin(rec, gone, since)
	if c == nil || c.Stage != Accepted {
		return
	}
	c.Published = time.Now()
	v.move(c, Published)
	v.schedule(c, c.Published)
}

// schedule has the servers asked at that time.
func (v *Verifier) schedule(c *change, due time.Time) {
	v.queue.put(c, due)
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// begin returns the change, which it begins if it is new, and nil if it is not to
// be asked for.
func (v *Verifier) begin(rec dns.Record, gone bool, since time.Time) *change {
	k := keyOf(rec)
	known := v.changes[k]
	switch {
	case known != nil && since.Before(known.Accepted):
		return nil
	case known != nil && since.Equal(known.Accepted) && gone == known.Gone:
		return known
	case known != nil:
		v.forget(known)
	case len(v.changes) >= v.cfg.Keep && !v.makeRoom():
		v.cfg.Metrics.dropped.WithLabelValues(v.cfg.Scope).Inc()
		return nil
	}
	c := &change{State: State{Record: rec, Gone: gone, Accepted: since}, pause: v.cfg.Pause, at: -1}
	v.changes[k] = c
	v.move(c, Accepted)
	return c
}

// makeRoom forgets the change that is missed least, and returns false if each is
// being asked for.
func (v *Verifier) makeRoom() bool {
	if oldest := v.done.Front(); oldest != nil {
		v.forget(oldest.Value.(*change))
		return true
	}
	if oldest := v.idle.Front(); oldest != nil {
		v.forget(oldest.Value.(*change))
		v.cfg.Metrics.dropped.WithLabelValues(v.cfg.Scope).Inc()
		return true
	}
	return false
}

func (v *Verifier) forget(c *change) {
	v.queue.take(c)
	delete(v.changes, keyOf(c.Record))
	v.move(c, "")
}

// move brings a change to a stage; "" is none.
func (v *Verifier) move(c *change, to Stage) {
	v.cfg.Metrics.moved(v.cfg.Scope, c.Stage, to)
	switch {
	case c.Stage == Unverified && to != Unverified:
		v.unverified--
	case c.Stage != Unverified && to == Unverified:
		v.unverified++
	}
	c.Stage = to
	in := map[Stage]*list.List{Accepted: v.idle, Unverified: v.idle, Verified: v.done}[to]
	if c.place != nil && c.in != in {
		c.in.Remove(c.place)
		c.place, c.in = nil, nil
	}
	if in != nil && c.place == nil {
		c.place, c.in = in.PushBack(c), in
	}
}

// State returns what is known of the changes at a name, by type and value.
func (v *Verifier) State(name string) []State {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var states []State
	for k, c := range v.changes {
		if k.name == name {
			states = append(states, c.State)
		}
	}
	slices.SortFunc(states, func(a, b State) int { return a.Record.Compare(b.Record) })
	return states
}

// Counts returns how many changes are known in each stage.
func (v *Verifier) Counts() map[Stage]int {
	counts := make(map[Stage]int)
	if v == nil {
		return counts
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range v.changes {
		counts[c.Stage]++
	}
	return counts
}

// Run asks until ctx ends, and then returns nil.
func (v *Verifier) Run(ctx context.Context) error {
	if v == nil {
		<-ctx.Done()
		return nil
	}
	due := make(chan *change)
	var workers conc.WaitGroup
	defer workers.Wait()
	defer close(due)
	for range v.cfg.Workers {
		workers.Go(func() {
			for c := range due {
				v.conclude(ctx, c, v.askAll(ctx, c.Record, c.Gone))
			}
		})
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c, wait := v.next()
		if c != nil {
			select {
			case due <- c:
			case <-ctx.Done():
				return nil
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-v.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// next takes the change that is due, or returns how long that will take.
func (v *Verifier) next() (c *change, wait time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) == 0 {
		return nil, time.Hour // it is woken
	}
	if wait := time.Until(v.queue[0].due); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&v.queue).(*change), 0
}

// askAll asks all servers at a time, and returns what is wrong with their answers.
// Record and removal of a change never change, so no lock is held.
func (v *Verifier) askAll(ctx context.Context, rec dns.Record, gone bool) (reason string) {
	findings := make([]finding, len(v.cfg.Servers))
	var all conc.WaitGroup
	for i, server := range v.cfg.Servers {
		all.Go(func() { findings[i] = ask(ctx, server, rec, gone, v.cfg.Timeout) })
	}
	all.Wait()
	var reasons []string
	for i, f := range findings {
		if ctx.Err() == nil {
			v.cfg.Metrics.answers.WithLabelValues(v.cfg.Scope, string(f.outcome)).Inc()
		}
		if f.outcome != agrees {
			reasons = append(reasons, fmt.Sprintf("%s: %s", v.cfg.Servers[i], f.reason))
		}
	}
	return strings.Join(reasons, "; ")
}

// conclude draws the consequences from what the servers said.
func (v *Verifier) conclude(ctx context.Context, c *change, reason string) {
	if ctx.Err() != nil {
		return // they were not given the time to answer
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.changes[keyOf(c.Record)] != c {
		return // there is a newer change, or it was forgotten
	}
	now := time.Now()
	c.Asked, c.Reason = now, reason
	late := now.Sub(c.Published) >= v.cfg.Deadline
	switch {
	case reason == "":
		c.Verified = now
		v.cfg.Metrics.verified(v.cfg.Scope, now.Sub(c.Accepted))
		v.tell(ctx, c, Verified)
		return
	case late && c.Stage == Published:
		v.tell(ctx, c, Unverified)
	}
	longest := longestPause
	if late {
		longest = longestPauseAfter
	}
	// The last question before the deadline is asked at it.
	next := now.Add(c.pause)
	if deadline := c.Published.Add(v.cfg.Deadline); !late && next.After(deadline) {
		next = deadline
	}
	c.pause = min(2*c.pause, longest)
	v.schedule(c, next)
}

// tell moves a change to a verdict. Thousands may become unverified at once when a
// name server is away: the first one speaks for all of them.
func (v *Verifier) tell(ctx context.Context, c *change, verdict Stage) {
	before := v.unverified
	v.move(c, verdict)
	args := []any{"scope", v.cfg.Scope, "record", c.Record.String(), "gone", c.Gone, "state", verdict}
	v.cfg.Log.DebugContext(ctx, "name servers were asked", append(args, "reason", c.Reason)...)
	switch {
	case before == 0 && v.unverified > 0:
		v.cfg.Log.WarnContext(ctx, "name servers do not answer with what was written; keastream_dns_verification_records has the count",
			append(args, "reason", c.Reason)...)
	case before > 0 && v.unverified == 0:
		v.cfg.Log.InfoContext(ctx, "name servers answer with all that was written", "scope", v.cfg.Scope)
	}
}
