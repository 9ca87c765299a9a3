package lease

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// DefaultTerm and DefaultRenew are explained in the package comment.
	DefaultTerm  = 12 * time.Second
	DefaultRenew = time.Second

	// maxRequest bounds a read or a renewal.
	maxRequest = 2 * time.Second
)

// ErrLost is the cause with which the context of a leadership ends when the lease
// was lost.
var ErrLost = errors.New("the lease was lost")

// Config says which lease is competed for, and by whom.
type Config struct {
	Bucket *bucket.Bucket
	// Name tells leases apart: who has the same one takes turns. See CheckName.
	Name string
	// Holder is the name of this contender, which must be unique. Empty means
	// what NewHolder returns.
	Holder string
	// Term is for how long a renewal holds, Renew how often there is one. 0 means
	// DefaultTerm and DefaultRenew. Contenders may differ: a standby waits for the
	// longer one of its own term and that of the holder.
	Term, Renew time.Duration
	Log         *slog.Logger          // nil: nobody wants to know
	Metrics     prometheus.Registerer // nil: likewise
}

// Lease is a lease that is competed for while Run runs. Its methods may be called
// from several goroutines.
//
// A nil *Lease is valid and stands for "no lease": it is always held.
type Lease struct {
	cfg         Config
	transitions *prometheus.CounterVec // to

	mu      sync.Mutex    // guards what follows
	until   time.Time     // held until then, by the monotonic clock
	leading *leadership   // nil: not held
	closing bool          // no leadership begins any more
	leads   int           // calls of lead that have not returned
	holder  string        // as last seen, "" for nobody
	changed chan struct{} // closed, and replaced, when leading or leads changed
	expiry  *time.Timer   // ends the leadership at until
}

// leadership is one time of holding the lease.
type leadership struct {
	end context.CancelCauseFunc
	ctx context.Context // ends with the leadership
}

// names are what a lease may be called; they become a part of a key.
var names = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// CheckName returns an error if a lease cannot be called that.
func CheckName(name string) error {
	if !names.MatchString(name) {
		return fmt.Errorf("lease %q: give a name of 1 to 64 characters a-z, 0-9, _ and -", name)
	}
	return nil
}

// AutoName returns a name that follows from the settings that make two processes
// interchangeable. The same parts in the same order give the same name, in each
// version.
func AutoName(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d:%s", len(p), p)
	}
	return "auto-" + hex.EncodeToString(sum.Sum(nil))[:12]
}

// NewHolder returns a name for a contender, which tells people where it runs:
// host, process and a random part.
func NewHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d:%s", host, os.Getpid(), strings.ToLower(rand.Text()[:8]))
}

// New returns a lease that is not held yet. Its metrics are registered once for
// each name.
func New(cfg Config) *Lease {
	if cfg.Holder == "" {
		cfg.Holder = NewHolder()
	}
	if cfg.Term == 0 {
		cfg.Term = DefaultTerm
	}
	if cfg.Renew == 0 {
		cfg.Renew = DefaultRenew
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("lease", cfg.Name)
	l := &Lease{cfg: cfg, changed: make(chan struct{})}
	l.transitions = newMetrics(cfg.Metrics, cfg.Name, func() bool { return l.Held(0) })
	return l
}

func (cfg Config) check() error {
	if err := CheckName(cfg.Name); err != nil {
		return err
	}
	if cfg.Renew <= 0 || cfg.Term < 3*cfg.Renew {
		return fmt.Errorf("lease %s: a term of %v that is renewed each %v: give at least three times as much", cfg.Name, cfg.Term, cfg.Renew)
	}
	return nil
}

// Held tells whether the lease is held, and will be for at least left: the caller
// gives twice the time-out of what it is about to begin.
func (l *Lease) Held(left time.Duration) bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Add(left).Before(l.until)
}

// Holder returns who holds the lease as far as this process knows, and whether it
// is this one. Nobody is the empty name; so is the holder of no lease, and one of
// whom nothing could be read for a term.
func (l *Lease) Holder() (name string, mine bool) {
	if l == nil {
		return "", true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder, time.Now().Before(l.until)
}

// Lead calls lead each time that the lease is held, with a context that ends when
// it is lost (its cause is ErrLost), when Run is about to give it back, or when ctx
// ends. It waits for lead to return, and returns itself when ctx ends. It needs Run
// to run beside it.
//
// Without a lease lead is called once, with ctx.
func (l *Lease) Lead(ctx context.Context, lead func(ctx context.Context)) {
	if l == nil {
		lead(ctx)
		<-ctx.Done()
		return
	}
	var last *leadership
	for {
		now := l.await(ctx, last)
		if now == nil {
			return
		}
		leadCtx, cancel := context.WithCancelCause(ctx)
		stop := context.AfterFunc(now.ctx, func() { cancel(context.Cause(now.ctx)) })
		lead(leadCtx)
		stop()
		cancel(nil)
		l.returned()
		last = now
	}
}

// await waits for a leadership other than last, and counts the caller as one who
// leads. It returns nil when ctx ends.
func (l *Lease) await(ctx context.Context, last *leadership) *leadership {
	for {
		l.mu.Lock()
		now, changed := l.leading, l.changed
		begin := now != nil && now != last && !l.closing && ctx.Err() == nil
		if begin {
			l.leads++
		}
		l.mu.Unlock()
		if begin {
			return now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (l *Lease) returned() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leads--
	l.broadcast()
}

// broadcast wakes those that wait for a change. The caller holds mu.
func (l *Lease) broadcast() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// hold notes a renewal that was stored. It may have come too late to be worth
// anything.
func (l *Lease) hold(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := time.Until(until)
	if left <= 0 {
		return
	}
	l.until, l.holder = until, l.cfg.Holder
	if l.expiry == nil {
		l.expiry = time.AfterFunc(left, l.expire)
	} else {
		l.expiry.Reset(left)
	}
	if l.leading != nil {
		return
	}
	ctx, end := context.WithCancelCause(context.Background())
	l.leading = &leadership{ctx: ctx, end: end}
	l.broadcast()
	l.transitions.WithLabelValues(toHeld).Inc()
	l.cfg.Log.Info("lease taken", "holder", l.cfg.Holder)
}

// expire ends the leadership if its time is over.
func (l *Lease) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := time.Until(l.until); left > 0 {
		l.expiry.Reset(left)
		return
	}
	l.lose("not renewed in time")
	l.holder = "" // who has it now is not known before it can be read
}

// lose ends the leadership, if there is one. The caller holds mu.
func (l *Lease) lose(reason string) {
	l.until = time.Time{}
	if l.leading == nil {
		return
	}
	l.leading.end(ErrLost)
	l.leading = nil
	l.broadcast()
	l.transitions.WithLabelValues(toLost).Inc()
	l.cfg.Log.Warn("lease lost", "reason", reason, "holder", l.holder)
}

// heldBy notes whose the lease is, if it is another's or nobody's.
func (l *Lease) heldBy(holder string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if holder != l.holder && holder != "" {
		l.cfg.Log.Info("lease is held by another one", "holder", holder)
	}
	l.holder = holder
	l.lose("another one has it")
}

// unknown notes that it could not be read for a long time whose the lease is.
func (l *Lease) unknown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leading == nil {
		l.holder = ""
	}
}

// wind ends the leadership because ctx of Run did, and waits for those who lead to
// return, no longer than the term. Held tells the truth meanwhile: who is in the
// middle of something may still end it.
func (l *Lease) wind() {
	l.mu.Lock()
	l.closing = true
	if l.leading != nil {
		l.leading.end(context.Canceled)
	}
	l.mu.Unlock()
	for {
		l.mu.Lock()
		leads, changed, left := l.leads, l.changed, time.Until(l.until)
		l.mu.Unlock()
		if leads == 0 || left <= 0 {
			break
		}
		select {
		case <-changed:
		case <-time.After(left):
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.expiry != nil {
		l.expiry.Stop()
	}
	if l.leading != nil {
		l.leading = nil
		l.transitions.WithLabelValues(toGivenBack).Inc()
	}
	l.until, l.holder = time.Time{}, ""
	l.broadcast()
}
