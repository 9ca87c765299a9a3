package brake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sourcegraph/conc"
)

// Run judges what is pending, follows approvals and keeps the store current,
// until ctx ends; then nothing may go any more. It can be run again, but not
// twice at once. It returns nil: a store that fails is waited for, see Err.
func (b *Brake) Run(ctx context.Context) error {
	if b == nil {
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var tasks conc.WaitGroup
	defer tasks.Wait()
	defer cancel()
	if b.cfg.Store != nil {
		tasks.Go(func() {
			b.cfg.Store.Watch(ctx, func() { b.reread.Store(true); b.poke() }, approvalsKey(b.cfg.Key))
		})
	}
	defer b.stop(ctx)
	if !b.load(ctx) {
		return nil
	}
	if b.cfg.Store != nil {
		tasks.Go(func() { b.countBatches(ctx) })
	}
	for {
		timer := time.NewTimer(b.step(ctx))
		select {
		case <-b.wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// load reads what the store has, until it succeeds or ctx ends. Nothing may go
// before.
func (b *Brake) load(ctx context.Context) bool {
	b.begin()
	for ctx.Err() == nil {
		err := b.readAll(ctx)
		b.setTrouble(ctx, err)
		if err == nil {
			b.open()
			return true
		}
		sleep(ctx, retry)
	}
	return false
}

func (b *Brake) readAll(ctx context.Context) error {
	if b.cfg.Store == nil {
		return nil
	}
	if _, err := b.readCounts(ctx); err != nil {
		return fmt.Errorf("nothing is removed before the counts of the last hour can be read: %w", err)
	}
	if err := b.readWithheld(ctx); err != nil {
		return fmt.Errorf("nothing is removed before it can be read what was withheld: %w", err)
	}
	if err := b.readApprovals(ctx); err != nil {
		return fmt.Errorf("nothing is removed before it can be read what was approved: %w", err)
	}
	return nil
}

// begin forgets what an earlier Run has judged.
func (b *Brake) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, s := range b.sides {
		s.waiting, s.approvedNames, s.unjudged = 0, 0, time.Time{}
		s.list, s.spoken, s.stored, s.measuredAt = nil, false, false, time.Time{}
		s.listed = nil
		for name, p := range s.names {
			s.hold(name, p, now)
		}
	}
}

// open lets those go on whom the counts of the hour and earlier approvals let.
func (b *Brake) open() {
	b.mu.Lock()
	now := time.Now()
	b.loaded = true
	released := make(map[Kind]map[string]bool)
	for _, s := range b.sides {
		released[s.kind] = make(map[string]bool)
		if b.checked {
			s.settle(now)
		}
		for _, a := range s.approvals {
			s.cover(a, b.checked, released[s.kind])
		}
		s.recall(released[s.kind], now)
		for name, p := range s.names {
			if p.state != waiting { // it may have been told before it could be heard
				released[s.kind][name] = true
			}
		}
	}
	lanes := b.lanesOf(released)
	b.mu.Unlock()
	b.release(lanes)
}

// stop ends what Run began.
func (b *Brake) stop(ctx context.Context) {
	b.mu.Lock()
	b.loaded, b.checked = false, false
	if b.batch != nil {
		b.batch.err = errNotRun
		close(b.batch.done)
		b.batch = nil
	}
	b.mu.Unlock()
	if b.cfg.Store != nil && !b.cfg.ReadOnly {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		b.saveApprovals(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sides {
		s.list = nil
	}
	b.trouble, b.countTrouble = nil, nil
	b.show()
}

// lastWords is how long the end of Run waits for the store.
const lastWords = 2 * time.Second

// step does what is to be done now, and returns when to look again.
func (b *Brake) step(ctx context.Context) time.Duration {
	var failed []error
	if b.cfg.Store != nil && (b.reread.Swap(false) || time.Since(b.docs.read) >= anew) {
		if err := b.readApprovals(ctx); err != nil {
			failed = append(failed, fmt.Errorf("read what was approved: %w", err))
			b.reread.Store(true)
		}
	}
	b.judge(ctx)
	if err := b.lookAgain(ctx); err != nil {
		failed = append(failed, fmt.Errorf("read what is withheld: %w", err))
	} else if err := b.publish(ctx); err != nil {
		failed = append(failed, fmt.Errorf("store what is withheld: %w", err))
	}
	if b.saveDue() {
		if err := b.saveApprovals(ctx); err != nil {
			failed = append(failed, fmt.Errorf("store how far approvals have come: %w", err))
			b.reread.Store(true)
		}
	}
	b.setTrouble(ctx, errors.Join(failed...))
	if ctx.Err() == nil && len(failed) > 0 {
		return retry
	}
	return b.pause()
}

// pause is how long there is nothing to do.
func (b *Brake) pause() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	next := now.Add(anew)
	sooner := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	for _, s := range b.sides {
		sooner(s.due(b.cfg.HoldDown))
		if s.kind == Replacement && s.waiting > 0 && s.changed {
			sooner(now.Add(glance))
		}
		for _, a := range s.approvals {
			sooner(a.saveAt(b.docs.saved))
			if len(a.names) > 0 {
				sooner(a.ends())
			}
		}
	}
	return max(0, next.Sub(now))
}

// judge judges each kind and tells which lanes may go on.
func (b *Brake) judge(ctx context.Context) {
	owned := b.cfg.Owned()
	released := make(map[Kind]map[string]bool)
	var relist []*side
	var items [][]Item
	var made []uint64
	b.mu.Lock()
	now := time.Now()
	for _, s := range b.sides {
		s.expire(now)
		due := s.due(b.cfg.HoldDown)
		isDue := !due.IsZero() && !now.Before(due) || b.cfg.ReadOnly && b.checked
		names, other := s.judge(b.cfg.Limit, owned, b.checked, isDue, now)
		released[s.kind] = names
		if other {
			relist, items = append(relist, s), append(items, b.waitingItems(s))
			made = append(made, b.arrival)
		}
	}
	lanes := b.lanesOf(released)
	b.mu.Unlock()
	for i, s := range relist {
		b.relist(ctx, s, items[i], made[i], now)
	}
	b.mu.Lock()
	b.show()
	b.mu.Unlock()
	b.release(lanes)
}

// relist replaces the list of a side. Sorting a long one takes a while, and
// those who call Want must not wait for it.
func (b *Brake) relist(ctx context.Context, s *side, items []Item, arrival uint64, now time.Time) {
	var list *List
	if len(items) > 0 {
		slices.SortFunc(items, compareItems)
		items = slices.Clip(slices.Compact(items))
		list = &List{
			Scope: b.cfg.Scope, Target: b.cfg.Target, key: b.cfg.Key, Kind: s.kind, Hash: hash(b.cfg.Key, s.kind, items),
			Names: namesIn(items), Items: items, Since: now.UTC().Truncate(time.Second),
		}
		if former := b.docs.former[s.kind]; former.Hash == list.Hash {
			list.Since = former.Since
		}
	}
	b.mu.Lock()
	before := s.list
	if list != nil {
		list.Allowed, list.Owned, list.Recent = s.allowed, s.owned, s.measured
		if before != nil {
			list.Since = before.Since
		}
		s.remember(listing{list.Hash, arrival})
	}
	s.list = list
	b.mu.Unlock()
	b.tell(ctx, before, list)
}

func (b *Brake) tell(ctx context.Context, before, now *List) {
	switch {
	case now == nil && before != nil:
		b.log.InfoContext(ctx, "nothing is withheld any more", "kind", before.Kind, "names", before.Names, "hash", before.Hash)
	case now == nil || before != nil && before.Hash == now.Hash:
	case before == nil:
		b.log.ErrorContext(ctx, now.String(), "kind", now.Kind, "names", now.Names, "hash", now.Hash,
			"allowed", now.Allowed, "owned", now.Owned, "recent", now.Recent, "approve", now.Command())
	default:
		b.log.WarnContext(ctx, "other names are withheld now: "+now.String(), "kind", now.Kind, "names", now.Names, "hash", now.Hash,
			"allowed", now.Allowed, "owned", now.Owned, "recent", now.Recent, "approve", now.Command())
	}
}

func (b *Brake) release(lanes []string) {
	if len(lanes) > 0 {
		b.cfg.Released(lanes)
	}
}

// sleep returns early when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
