package brake

import (
	"context"
	"errors"
	"slices"
	"time"
)

// readWithheld reads what an earlier process has withheld. It stands until this
// one has judged.
func (b *Brake) readWithheld(ctx context.Context) error {
	var doc withheldDoc
	revision, err := get(ctx, b.cfg.Store, withheldKey(b.cfg.Key), &doc)
	if err != nil {
		return err
	}
	b.docs.withheld, b.docs.looked = revision, time.Now()
	b.docs.former = make(map[Kind]List)
	for _, l := range doc.lists() {
		b.docs.former[l.Kind] = l
	}
	return nil
}

// lookAgain finds out now and then whether what is withheld still stands in the
// store: somebody may have deleted it, or a process that led before and was held
// up has written his own.
func (b *Brake) lookAgain(ctx context.Context) error {
	if b.cfg.Store == nil || b.cfg.ReadOnly || len(b.Lists()) == 0 || time.Since(b.docs.looked) < anew {
		return nil
	}
	if err := b.readWithheld(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sides {
		s.stored = false
	}
	return nil
}

// publish stores what is withheld, so that it can be approved, if that is not
// what stands there.
func (b *Brake) publish(ctx context.Context) error {
	b.mu.Lock()
	var doc withheldDoc
	due, same := false, true
	for _, s := range b.sides {
		former, stands := b.docs.former[s.kind]
		switch {
		case !s.spoken:
			if stands {
				doc.Lists = append(doc.Lists, former)
			}
			continue
		case s.list != nil:
			doc.Lists = append(doc.Lists, *s.list)
			same = same && former.Hash == s.list.Hash
		default:
			same = same && !stands
		}
		due = due || !s.stored
	}
	b.mu.Unlock()
	switch {
	case !due:
		return nil
	case b.cfg.Store != nil && !b.cfg.ReadOnly && !same:
		if err := b.putWithheld(ctx, doc); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.docs.former = make(map[Kind]List)
	for _, l := range doc.Lists {
		if b.side(l.Kind).spoken {
			l.Items = nil // the side has them
		}
		b.docs.former[l.Kind] = l
	}
	for _, s := range b.sides {
		s.stored = true // Run alone makes lists
	}
	return nil
}

func (b *Brake) putWithheld(ctx context.Context, doc withheldDoc) error {
	doc.Lists = slices.Clip(append([]List{}, doc.Lists...))
	var err error
	for range attempts {
		var revision uint64
		revision, err = b.cfg.Store.Put(ctx, withheldKey(b.cfg.Key), b.docs.withheld, doc)
		if err == nil {
			b.docs.withheld = revision
			return nil
		}
		// Whoever wrote there did not lead any more when he did, or it was this put.
		var there withheldDoc
		revision, readErr := get(ctx, b.cfg.Store, withheldKey(b.cfg.Key), &there)
		if readErr != nil {
			return errors.Join(err, readErr)
		}
		b.docs.withheld = revision
	}
	return err
}
