package brake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Store keeps documents under keys; bucket.Bucket is one. The brake calls it
// from several goroutines, never under its lock.
type Store interface {
	// Get reads a document into a value and returns its revision. Of one that is
	// not there the error is bucket.ErrNotFound.
	Get(ctx context.Context, key string, into any) (revision uint64, err error)
	// Put replaces the document of a revision, where 0 means that there must be
	// none, and returns the new revision. After an error the brake reads what is
	// there: somebody else may have written, or the write may have happened.
	Put(ctx context.Context, key string, revision uint64, v any) (uint64, error)
	// Watch calls changed whenever one of the documents may have changed, until
	// ctx ends.
	Watch(ctx context.Context, changed func(), keys ...string)
	// Keys returns the keys that begin with a word and a dot. A document may be gone
	// by the time when it is read.
	Keys(ctx context.Context, word string) ([]string, error)
}

// Config says what a Brake works on. Scope and Owned must be set.
type Config struct {
	// Scope is the name of the scope: the limit is per scope.
	Scope string
	// Key is under what name the documents stand in the store, as Key makes it. Who
	// writes other records, or for other reservations, needs another one; who does
	// the same needs the same. Default: the name of the scope.
	Key string
	// Target says for people what is written, and for which reservations. It stands
	// in the store, so it holds no secret.
	Target string
	Limit  Limit
	// HoldDown is how long no name must have come or gone before removals are
	// judged. Default: 10 s.
	HoldDown time.Duration
	// Store keeps the counts of the hour, what is withheld, and what was approved.
	// With nil they end with the process, and nothing can be approved.
	Store Store
	// ReadOnly is for looking: counts and approvals are read, nothing is written,
	// and what is pending is judged as soon as Checked is called.
	ReadOnly bool
	// Owned returns how many names have a record of ours. It is called without any
	// lock of the brake.
	Owned func() int
	// Released is told which lanes may go on. It is called without any lock of the
	// brake, and must not wait for a lane. Nil means nobody wants to know.
	Released func(lanes []string)
	// Log hears once when something is withheld, and once when that is over; nil
	// means no log.
	Log *slog.Logger
	// Metrics counts; nil means nobody wants to know.
	Metrics *Metrics
}

// Errors of Count. The record must then stay as it is; its lane is told by
// Released when it may go.
var (
	ErrWithheld = errors.New("withheld by --max-removals")
	errNotRun   = errors.New("the brake does not run")
)

// Brake is the brake of one scope. All methods may be called at any time, from
// any goroutine, also of a nil Brake, which brakes nothing. Want, May, Checked,
// Judged, Lists and Err use memory only and call nobody, so they may be called
// under a lock that Owned or Released need.
type Brake struct {
	cfg     Config
	log     *slog.Logger
	reread  atomic.Bool   // the approvals may have changed
	wake    chan struct{} // something is to be judged sooner than thought
	batches chan struct{} // a batch waits to be stored
	docs    documents     // of Run's goroutines alone

	mu    sync.Mutex // guards what follows; nothing is read, written or called under it
	lanes map[string][]Item
	sides []*side
	// loaded says that Run goes on and knows the counts and approvals.
	loaded bool
	// checked says that each lane has been told since Run began.
	checked bool
	arrival uint64 // grows with each name that arrives
	batch   *batch // what the next put will count
	// trouble and countTrouble are why the store cannot be used; nil if it can.
	trouble, countTrouble error
}

// New makes a Brake. Nothing is released before Run.
func New(cfg Config) *Brake {
	cfg.HoldDown = cmp.Or(cfg.HoldDown, 10*time.Second)
	cfg.Key = cmp.Or(cfg.Key, cfg.Scope)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Released == nil {
		cfg.Released = func([]string) {}
	}
	b := &Brake{
		cfg: cfg, log: cfg.Log.With("scope", cfg.Scope),
		wake: make(chan struct{}, 1), batches: make(chan struct{}, 1),
		lanes: make(map[string][]Item),
	}
	for _, kind := range Kinds() {
		b.sides = append(b.sides, newSide(kind))
	}
	b.show()
	return b
}

func (b *Brake) side(kind Kind) *side {
	for _, s := range b.sides {
		if s.kind == kind {
			return s
		}
	}
	panic(fmt.Sprintf("brake: no kind %q", kind))
}

// Want says what a lane, an owner name, wants to take away or to change now; nil
// means nothing, or nothing any more. It replaces what the lane wanted before,
// and is cheap if that is the same. The items belong to the brake from then on.
//
// What nobody can know yet should not be told: a removal whose source is not
// complete would be withheld, with an alarm, though it may never come to it.
func (b *Brake) Want(lane string, items []Item) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.lanes[lane]
	if slices.Equal(before, items) {
		return
	}
	if len(items) == 0 {
		delete(b.lanes, lane)
	} else {
		b.lanes[lane] = items
	}
	now := time.Now()
	for _, item := range items { // first: a name that stays must not be seen leaving
		b.arrive(item, now)
	}
	for _, item := range before {
		b.leave(item, now)
	}
}

// May tells whether a name may lose or change its records now. It knows only
// names that a lane wants.
func (b *Brake) May(kind Kind, name string) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loaded && b.side(kind).may(name, time.Now())
}

// Checked says that since Run began each lane has been told what it wants: a
// check of everything is through. What an approval names and nobody wants to
// remove by then is not covered later.
func (b *Brake) Checked() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.checked {
		return
	}
	b.checked = true
	for _, s := range b.sides {
		if b.loaded {
			s.settle(time.Now())
		}
	}
	b.poke()
}

// Judged tells whether everything that is pending was judged: each name is
// released, or stands in a list that can be approved.
func (b *Brake) Judged() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loaded && !slices.ContainsFunc(b.sides, func(s *side) bool { return s.open(b.checked) })
}

// Lists returns what is withheld while Run goes on, at most one list of each
// kind. The lists are shared: they must not be changed.
func (b *Brake) Lists() []List {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lists()
}

// lists needs b.mu.
func (b *Brake) lists() []List {
	var lists []List
	for _, s := range b.sides {
		if s.list != nil {
			lists = append(lists, *s.list)
		}
	}
	return lists
}

// Err says what is withheld, with the command that approves it, or why nothing
// may go: for people and for readiness. Nil if nothing stands in the way.
func (b *Brake) Err() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, err := range [...]error{b.trouble, b.countTrouble} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, l := range b.lists() {
		errs = append(errs, errors.New(l.String()))
	}
	return errors.Join(errs...)
}

// poke has Run look again. It never waits.
func (b *Brake) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
