package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// What takes something away that DNS has is told to the brake as soon as it is
// planned, so that the time in which it judges and the hold-down of a removal
// pass together. A removal is told only while all its sources are complete:
// otherwise much seems to be missing that nobody will ever prove to be.

// errBraked ends the work on a name whose step the brake did not let go in the end.
var errBraked = errors.New("the brake holds it back")

// kindOf says how a step takes something away; ok is false if it does not. To
// withdraw our own mistake is none of the brake's business. The caller holds r.mu.
func (r *Reconciler) kindOf(s Step) (kind brake.Kind, ok bool) {
	switch {
	case s.Op == Remove && r.index.uncovered(s.counted()):
		return brake.Uncovered, true
	case s.Op == Remove:
		return brake.Removal, true
	case s.replaces():
		return brake.Replacement, true
	}
	return "", false
}

// counted returns the forward name that a step which takes something away counts
// under: of a PTR row the one that it leads to, so that it goes with its address.
func (s Step) counted() string {
	if s.Row.Type == dns.PTR {
		return s.Row.Value
	}
	return s.Row.Name
}

// brakes tells whether the brake, or the want of one, keeps a step from being
// taken. The caller holds r.mu.
func (r *Reconciler) brakes(s Step) bool {
	kind, ok := r.kindOf(s)
	switch {
	case !ok:
		return false
	case r.cfg.Brake == nil:
		return kind == brake.Uncovered // nobody could approve it
	}
	return !r.cfg.Brake.May(kind, s.counted())
}

// taking returns how the brake is told of a step that takes something away.
func taking(kind brake.Kind, s Step) brake.Item {
	item := brake.Item{Kind: kind, Name: s.counted(), Record: fmt.Sprintf("%s %s %s", s.Row.Name, s.Row.Type, s.Row.Value)}
	if kind == brake.Replacement {
		item.Record += " -> " + s.Record.Value
	}
	return item
}

// step returns the removal of a row.
func (k rowKey) step() Step {
	row := dns.Row{Record: dns.Record{Name: k.name, Type: k.rtype, Value: k.value}, Zone: k.zone}
	return Step{Op: Remove, Zone: k.zone, Record: row.Record, Row: row}
}

// tell tells the brake what a name wants to take away. The caller holds r.mu.
func (r *Reconciler) tell(name string) {
	if r.cfg.Brake == nil {
		return
	}
	items := slices.Clone(r.replacements[name])
	if h := r.holds[name]; h != nil {
		if h.told = r.allComplete(h.sources); h.told {
			for key := range h.rows {
				step := key.step()
				kind, _ := r.kindOf(step)
				items = append(items, taking(kind, step))
			}
		}
	}
	slices.SortFunc(items, func(a, b brake.Item) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Record, b.Record))
	})
	r.cfg.Brake.Want(name, slices.Compact(items)) // one record may stand in two zones
}

// tellNothing tells the brake that no name wants anything. The caller holds r.mu.
func (r *Reconciler) tellNothing() {
	for name := range r.holds {
		r.cfg.Brake.Want(name, nil)
	}
	for name := range r.replacements {
		r.cfg.Brake.Want(name, nil)
	}
}

// allComplete tells whether there is a source and each is complete.
func (r *Reconciler) allComplete(sources []string) bool {
	return len(sources) > 0 && !slices.ContainsFunc(sources, func(source string) bool {
		s, _ := r.cfg.View.Source(source)
		return !s.Complete
	})
}

// braked tells whether the brake keeps all rows of a hold from going. The caller
// holds r.mu.
func (r *Reconciler) braked(h *hold) bool {
	for key := range h.rows {
		if !r.brakes(key.step()) {
			return false
		}
	}
	return true
}

// brakedAlone tells whether nothing but the brake keeps the rows of a hold from
// going. The caller holds r.mu.
func (r *Reconciler) brakedAlone(h *hold) bool { return h.told && r.braked(h) && r.cfg.Brake.Judged() }

// count has the brake count a step that takes something away, before it is sent.
func (r *Reconciler) count(ctx context.Context, s Step) error {
	r.mu.Lock()
	kind, ok := r.kindOf(s)
	r.mu.Unlock()
	if !ok {
		return nil
	}
	err := r.cfg.Brake.Count(ctx, kind, s.counted())
	if errors.Is(err, brake.ErrWithheld) {
		return errBraked
	}
	return err
}

// Owned returns how many forward names have a record of ours, for brake.Config. A
// PTR record goes with the name that it leads to, and does not count.
func (r *Reconciler) Owned() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.cache.rows.owned
}

// Released lets names go on, for brake.Config.
func (r *Reconciler) Released(lanes []string) {
	for _, name := range lanes {
		r.queue.recall(name)
	}
}
