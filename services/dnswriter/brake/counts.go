package brake

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// attempts is how often a document is written before its failure is told.
const attempts = 3

// retry is the pause after the store has failed.
const retry = 2 * time.Second

// counting is one name of a batch.
type counting struct {
	kind Kind
	name string
}

// batch are the names that one put counts. Its fields are read after done.
type batch struct {
	names   map[counting]bool
	refused map[counting]bool
	err     error
	done    chan struct{}
}

// Count stores that a name goes in this hour. It must be called after May and
// before the write is sent, each time: a process that ends in between leaves one
// name too many in the count, never one too few. Many callers share one put.
// After an error nothing may be sent; ErrWithheld means that the name may not go
// any more, as when another process has counted names meanwhile.
func (b *Brake) Count(ctx context.Context, kind Kind, name string) error {
	if b == nil {
		return nil
	}
	batch, err := b.join(kind, name)
	if batch == nil {
		return err
	}
	select {
	case <-batch.done:
	case <-ctx.Done():
		return fmt.Errorf("count %s: %w", name, context.Cause(ctx))
	}
	switch {
	case batch.err != nil:
		return fmt.Errorf("count %s: %w", name, batch.err)
	case batch.refused[counting{kind, name}]:
		return fmt.Errorf("%s: %w", name, ErrWithheld)
	default:
		return nil
	}
}

// join counts a name at once, if it need not be stored for itself, or returns
// the batch that it is counted with.
func (b *Brake) join(kind Kind, name string) (*batch, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.loaded || b.cfg.ReadOnly {
		return nil, errNotRun
	}
	s, now := b.side(kind), time.Now()
	p := s.names[name]
	if !s.may(name, now) {
		return nil, fmt.Errorf("%s: %w", name, ErrWithheld)
	}
	if a := s.countedBy(name, p, now); a != nil {
		a.done[name] = now // the approval stands in the store, and that counts
		a.soil()
		b.pokeToSave(a)
		return nil, nil
	}
	if b.cfg.Store == nil {
		s.recent[name] = now
		return nil, nil
	}
	if b.batch == nil {
		b.batch = &batch{names: make(map[counting]bool), refused: make(map[counting]bool), done: make(chan struct{})}
		select {
		case b.batches <- struct{}{}:
		default:
		}
	}
	b.batch.names[counting{kind, name}] = true
	return b.batch, nil
}

// countedBy returns the approval that counts a name, nil if there is none.
func (s *side) countedBy(name string, p pending, now time.Time) *approval {
	if p.state == approved {
		return s.covered(name)
	}
	for _, a := range s.approvals {
		if at, ok := a.done[name]; ok && now.Sub(at) < window {
			return a
		}
	}
	return nil
}

// countBatches stores what Count collects, until ctx ends.
func (b *Brake) countBatches(ctx context.Context) {
	again := time.NewTimer(retry)
	defer again.Stop()
	var failed error
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-b.batches:
			failed = b.countBatch(ctx)
		case <-again.C:
			if failed != nil {
				_, failed = b.readCounts(ctx)
			}
		}
		b.setCountTrouble(ctx, failed)
		again.Reset(retry)
	}
}

func (b *Brake) countBatch(ctx context.Context) error {
	b.mu.Lock()
	batch := b.batch
	b.batch = nil
	if batch == nil {
		b.mu.Unlock()
		return nil
	}
	for c := range batch.names { // much may have been taken back since it was joined
		if !b.side(c.kind).may(c.name, time.Now()) {
			batch.refused[c] = true
		}
	}
	b.mu.Unlock()
	batch.err = b.storeBatch(ctx, batch)
	close(batch.done)
	return batch.err
}

func (b *Brake) storeBatch(ctx context.Context, batch *batch) error {
	var err error
	for range attempts {
		// Rounded up, so that no name counts for less than an hour.
		at := time.Now().Add(time.Second - 1).Truncate(time.Second)
		var revision uint64
		revision, err = b.cfg.Store.Put(ctx, countsKey(b.cfg.Key), b.docs.counts, b.countsWith(batch, at))
		if err == nil {
			b.docs.counts = revision
			b.counted(batch, at)
			return nil
		}
		// Another process has counted, or this put happened after all: what stands
		// there counts.
		foreign, readErr := b.readCounts(ctx)
		if readErr != nil {
			return errors.Join(err, readErr)
		}
		if foreign {
			b.revoke(batch)
		}
	}
	return err
}

// countsWith is the document with the names of a batch.
func (b *Brake) countsWith(batch *batch, at time.Time) countsDoc {
	b.mu.Lock()
	defer b.mu.Unlock()
	doc := make(countsDoc)
	add := func(kind Kind, name string, at time.Time) {
		if doc[kind] == nil {
			doc[kind] = make(map[string]time.Time)
		}
		doc[kind][name] = at.UTC()
	}
	for _, s := range b.sides {
		for name, before := range s.recent {
			if at.Sub(before) < window+time.Second {
				add(s.kind, name, before)
			}
		}
	}
	for c := range batch.names {
		if !batch.refused[c] {
			add(c.kind, c.name, at)
		}
	}
	return doc
}

func (b *Brake) counted(batch *batch, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range batch.names {
		if !batch.refused[c] {
			b.side(c.kind).recent[c.name] = at
		}
	}
}

// readCounts takes in what stands in the store, and tells whether there were
// names that this process did not know. What it knows itself is not lost.
func (b *Brake) readCounts(ctx context.Context) (foreign bool, err error) {
	var doc countsDoc
	revision, err := get(ctx, b.cfg.Store, countsKey(b.cfg.Key), &doc)
	if err != nil {
		return false, err
	}
	b.docs.counts = revision
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, s := range b.sides {
		for name, at := range doc[s.kind] {
			before, known := s.recent[name]
			if at = earlier(at, now); !known || at.After(before) {
				s.recent[name] = at
			}
			if !known {
				foreign = true
				s.room = max(0, s.room-1) // it was measured without this one
			}
		}
	}
	return foreign, nil
}

// revoke takes back what was let go and is not counted yet, where another
// process has counted so many names that it is too much now.
func (b *Brake) revoke(batch *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, s := range b.sides {
		if s.used(now) <= s.granted {
			continue
		}
		for name, p := range s.names {
			if p.state == within && !s.went(name, now) {
				s.hold(name, p, now)
			}
		}
		for c := range batch.names {
			if c.kind == s.kind && s.names[c.name].state == waiting && !s.went(c.name, now) {
				batch.refused[c] = true
			}
		}
	}
	b.poke()
}

// hold makes a name wait again that could go.
func (s *side) hold(name string, p pending, now time.Time) {
	p.state = waiting
	s.names[name] = p
	s.waiting++
	s.touch(p, now)
	if s.unjudged.IsZero() {
		s.unjudged = now
	}
}
