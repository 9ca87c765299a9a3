package brake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// saveSoon is the least time between two writes of the approvals, saveLater how
	// long it may take to say that names went. A long list is a large document.
	saveSoon  = time.Second
	saveLater = 5 * time.Second
)

// saveAt is when the approval has to be stored, the zero time if it need not be.
func (a *approval) saveAt(saved time.Time) time.Time {
	switch {
	case a.dirty.IsZero():
		return time.Time{}
	case a.urgent:
		return saved.Add(saveSoon)
	default:
		return a.dirty.Add(saveLater)
	}
}

// pokeToSave has Run reckon anew when to store an approval. The caller holds b.mu.
func (b *Brake) pokeToSave(a *approval) {
	if a.dirty.IsZero() {
		return
	}
	if !a.poked || a.urgent && !a.pokedUrgently {
		a.poked, a.pokedUrgently = true, a.urgent
		b.poke()
	}
}

func (b *Brake) saveDue() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	return !b.cfg.ReadOnly && slices.ContainsFunc(b.sides, func(s *side) bool {
		return slices.ContainsFunc(s.approvals, func(a *approval) bool {
			at := a.saveAt(b.docs.saved)
			return !at.IsZero() && !now.Before(at)
		})
	})
}

// saveApprovals stores how far the approvals have come.
func (b *Brake) saveApprovals(ctx context.Context) error {
	b.mu.Lock()
	var soiled []*approval
	now := time.Now()
	for _, s := range b.sides {
		for _, a := range s.approvals {
			if !a.dirty.IsZero() {
				soiled = append(soiled, a)
				a.dirty, a.urgent, a.poked, a.pokedUrgently = time.Time{}, false, false, false
			}
		}
	}
	doc := b.approvalsDoc(nil, now)
	b.mu.Unlock()
	if len(soiled) == 0 {
		return nil
	}
	revision, err := b.cfg.Store.Put(ctx, approvalsKey(b.cfg.Key), b.docs.approvals, doc)
	b.docs.saved = time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.docs.approvals = revision
		for _, s := range b.sides { // not before: what still stands there would be read anew
			s.approvals = slices.DeleteFunc(s.approvals, func(a *approval) bool { return a.dirty.IsZero() && a.over(now) })
		}
		return nil
	}
	for _, a := range soiled {
		a.soil()
		a.urgent = true
	}
	return err
}

// approvalsDoc is the document of what is known, with those that are fresh taken
// in now. The caller holds b.mu.
func (b *Brake) approvalsDoc(fresh []*approval, now time.Time) approvalsDoc {
	doc := approvalsDoc{Approvals: []approvalDoc{}}
	for _, s := range b.sides {
		for _, a := range s.approvals {
			if a.over(now) {
				continue
			}
			d := a.doc(s.kind)
			if slices.Contains(fresh, a) {
				d.Taken = now.UTC()
			}
			doc.Approvals = append(doc.Approvals, d)
		}
	}
	slices.SortFunc(doc.Approvals, compareApprovals)
	return doc
}

// readApprovals takes in what was approved. That it was is stored before
// anything goes: a later process then knows that names of it may have gone.
func (b *Brake) readApprovals(ctx context.Context) error {
	var err error
	for range attempts {
		var doc approvalsDoc
		var revision uint64
		revision, err = get(ctx, b.cfg.Store, approvalsKey(b.cfg.Key), &doc)
		if err != nil {
			return err
		}
		b.docs.approvals, b.docs.read = revision, time.Now()
		b.mu.Lock()
		now := time.Now()
		fresh := b.merge(doc, now)
		taken := b.approvalsDoc(fresh, now)
		b.mu.Unlock()
		if len(fresh) > 0 && !b.cfg.ReadOnly {
			if revision, err = b.cfg.Store.Put(ctx, approvalsKey(b.cfg.Key), revision, taken); err != nil {
				continue // somebody else approved, or it happened: the next reading tells
			}
			b.docs.approvals = revision
		}
		b.takeIn(ctx, fresh, now)
		return nil
	}
	return err
}

// merge makes the approvals those of the document, with what this process knows
// of them, and returns those that nobody has taken in. The caller holds b.mu.
func (b *Brake) merge(doc approvalsDoc, now time.Time) (fresh []*approval) {
	known := make(map[Kind][]*approval)
	for _, d := range doc.Approvals {
		if !slices.Contains(Kinds(), d.Kind) {
			continue
		}
		i := slices.IndexFunc(b.side(d.Kind).approvals, func(a *approval) bool { return a.hash == d.Hash && a.at.Equal(d.At) })
		var a *approval
		if i >= 0 {
			a = b.side(d.Kind).approvals[i]
			a.follow(d.approval(now))
		} else {
			a = d.approval(now)
			b.side(d.Kind).inherit(a)
		}
		known[d.Kind] = append(known[d.Kind], a)
		if a.taken.IsZero() {
			fresh = append(fresh, a)
		}
	}
	for _, s := range b.sides {
		s.approvals = append(known[s.kind], s.vanished(known[s.kind])...)
		s.expire(now)
	}
	return fresh
}

// follow takes in what stands in the store of the approval: another process may have
// led meanwhile, under which names went, or were wanted again.
func (a *approval) follow(stored *approval) {
	if a.taken.IsZero() {
		a.taken = stored.taken
	}
	for name, at := range stored.done {
		if _, known := a.done[name]; !known && time.Since(at) < window {
			a.done[name] = at
		}
	}
	for name := range a.names {
		if !stored.names[name] {
			delete(a.names, name) // expire has those wait that may go no more
		}
	}
	if stored.lost > a.lost {
		a.lost, a.lostAt = stored.lost, stored.lostAt
	}
}

// vanished returns the approvals that do not stand in the store any more, as when
// the bucket was deleted. They cover nothing, but what went under them counts.
func (s *side) vanished(stand []*approval) []*approval {
	var left []*approval
	for _, a := range s.approvals {
		again := func(other *approval) bool { return other.hash == a.hash }
		if len(a.done)+a.lost > 0 && !slices.ContainsFunc(stand, again) {
			clear(a.names)
			a.soil()
			left = append(left, a)
		}
	}
	return left
}

// inherit has an approval know what went under an earlier one of the same list.
func (s *side) inherit(a *approval) {
	for _, earlier := range s.approvals {
		if earlier.hash == a.hash {
			maps.Copy(a.done, earlier.done)
			a.lost, a.lostAt = earlier.lost, earlier.lostAt
			a.soil()
		}
	}
}

// takeIn lets the names go that approvals cover.
func (b *Brake) takeIn(ctx context.Context, fresh []*approval, now time.Time) {
	b.mu.Lock()
	for _, a := range fresh {
		a.taken = now
	}
	released := make(map[Kind]map[string]bool)
	for _, s := range b.sides {
		released[s.kind] = make(map[string]bool)
		for _, a := range s.approvals {
			s.cover(a, b.checked, released[s.kind])
		}
	}
	lanes := b.lanesOf(released)
	b.mu.Unlock()
	for _, a := range fresh {
		b.log.InfoContext(ctx, "names were approved", "hash", a.hash, "approved_at", a.at)
	}
	b.release(lanes)
}

// cover lets the names of an approval go that wait since before their list was
// made. What is not wanted is not covered later, if that can be known.
func (s *side) cover(a *approval, checked bool, released map[string]bool) {
	newest, known := s.newest(a.hash)
	for name := range a.names {
		p, ok := s.names[name]
		switch {
		case !ok && !checked && !known, ok && p.state == approved:
		case !ok, p.state == within, known && p.arrived > newest:
			a.drop(name)
		default:
			if p.state == waiting {
				s.waiting--
				s.changed = true
			}
			p.state = approved
			s.names[name] = p
			s.approvedNames++
			released[name] = true
		}
	}
	if s.waiting == 0 {
		s.unjudged = time.Time{}
	}
}

// expire ends approvals after their time, and has those of the names wait that
// no approval covers any more.
func (s *side) expire(now time.Time) {
	for _, a := range s.approvals {
		if len(a.names) > 0 && !now.Before(a.ends()) {
			clear(a.names)
			a.soil()
		}
	}
	if s.approvedNames == 0 {
		return
	}
	for name, p := range s.names {
		if p.state == approved && s.covered(name) == nil {
			s.approvedNames--
			s.hold(name, p, now)
		}
	}
}

// addApproval stores the approval of a list.
func addApproval(ctx context.Context, store Store, list List) error {
	added := approvalDoc{Kind: list.Kind, Hash: list.Hash, At: time.Now().UTC()}
	for _, item := range list.Items {
		if n := len(added.Names); n == 0 || added.Names[n-1] != item.Name { // they are sorted
			added.Names = append(added.Names, item.Name)
		}
	}
	var err error
	for range attempts {
		var doc approvalsDoc
		revision, getErr := get(ctx, store, approvalsKey(list.key), &doc)
		if getErr != nil {
			return fmt.Errorf("read what was approved in scope %s: %w", list.Scope, errors.Join(err, getErr))
		}
		if slices.ContainsFunc(doc.Approvals, func(a approvalDoc) bool { return a.Hash == added.Hash && a.At.Equal(added.At) }) {
			return nil // the put that failed happened
		}
		if _, err = store.Put(ctx, approvalsKey(list.key), revision, doc.with(added)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("store the approval of %s: %w", list.Hash, err)
}

// with replaces an approval of the same list: what went under it still counts.
func (d approvalsDoc) with(added approvalDoc) approvalsDoc {
	all := approvalsDoc{Approvals: []approvalDoc{}}
	for _, a := range d.Approvals {
		if a.Kind == added.Kind && a.Hash == added.Hash {
			added.Taken, added.Done, added.Lost, added.LostAt = a.Taken, a.Done, a.Lost, a.LostAt
			continue
		}
		all.Approvals = append(all.Approvals, a)
	}
	all.Approvals = append(all.Approvals, added)
	return all
}
