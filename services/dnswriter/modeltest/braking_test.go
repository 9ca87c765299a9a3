package modeltest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/solidsim"
)

const (
	// wide lets everything go that a seed can do, narrow little: one name beside
	// the fence, which is the first to change.
	wide, narrow = "1000,100%,1000", "2,0%,2"
	// judging is the hold-down of the brake, which passes by our clock.
	judging = 50 * time.Millisecond
)

// brakes is what the model knows of the brake. A seed takes less than the hour in
// which names count, so that nothing of it is ever forgotten. All of it is guarded
// by world.mu.
type brakes struct {
	allowed int // names of each kind, in an hour
	gone    map[brake.Kind]map[string]bool
	// approved are the names that lists had when a person approved them.
	approved map[brake.Kind]map[string]bool
	// hashes are those of lists that were seen.
	hashes []string
	// withheld is what was withheld when DNS was last at rest.
	withheld withheld
}

func newBrakes(limit string) *brakes {
	l, err := brake.ParseLimit(limit)
	if err != nil {
		panic(err)
	}
	b := &brakes{
		allowed: l.Allowed(0), gone: make(map[brake.Kind]map[string]bool), approved: make(map[brake.Kind]map[string]bool),
	}
	for _, kind := range brake.Kinds() {
		b.gone[kind], b.approved[kind] = make(map[string]bool), make(map[string]bool)
	}
	return b
}

// newBrake makes the brake of an instance.
func (w *world) newBrake(config reconcile.Config, store brake.Store, of func() *reconcile.Reconciler) *brake.Brake {
	limit, err := brake.ParseLimit(w.options.limit)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	return brake.New(brake.Config{
		Scope: "internal", Limit: limit, HoldDown: judging, Store: store, Log: config.Log,
		Owned:    func() int { return of().Owned() },
		Released: func(lanes []string) { of().Released(lanes) },
	})
}

// takes notes what a write takes away, which must not be too much. What is taken
// back because it came beside somebody else's record is none of the brake's
// business. The caller holds w.mu.
func (w *world) takes(p *process, c solidsim.Call) {
	known, found := p.rows.Load(c.Params["rr_id"])
	if !found || c.Method == http.MethodPost {
		return
	}
	r := known.(record)
	ours, foreign := split(w.sim.Records(server))
	if ours[r.set][r.value] == 0 || len(foreign[r.set])+len(foreign[set{r.name, "CNAME"}]) > 0 || w.intruded[r.set] {
		return
	}
	kind := brake.Removal
	if c.Method == http.MethodPut {
		if kind = brake.Replacement; c.Params["value1"] == r.value {
			return
		}
	}
	name := r.counted()
	b := w.brakes
	b.gone[kind][name] = true
	if b.approved[kind][name] {
		w.reached.add(caseApproved)
		return
	}
	var unapproved []string
	for name := range b.gone[kind] {
		if !b.approved[kind][name] {
			unapproved = append(unapproved, name)
		}
	}
	if len(unapproved) > b.allowed {
		w.fault("%d names, more than %d, went (%s) and nobody has approved it: %v", len(unapproved), b.allowed, kind, unapproved)
	}
}

// counted is the name that counts for a record.
func (r record) counted() string {
	if r.rtype == "PTR" {
		return r.value
	}
	return r.name
}

// withheld is what the brake withholds, as it says itself in the bucket: the
// records that stay, although nobody asks for them or they are there twice, and
// those that are not made of them yet.
type withheld struct {
	lists        []brake.List
	stays, lacks map[record]bool
}

// isWithheld reads what is withheld.
func (w *world) isWithheld() withheld {
	if w.options.limit == wide {
		return withheld{}
	}
	lists, err := brake.Withheld(w.broker.t.Context(), w.bucket)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	all := withheld{lists: lists, stays: make(map[record]bool), lacks: make(map[record]bool)}
	for _, l := range lists {
		for _, item := range l.Items {
			before, after, replaced := strings.Cut(item.Record, " -> ")
			fields := strings.Fields(before)
			r := record{set{fields[0], fields[1]}, fields[2]}
			all.stays[r] = true
			if replaced {
				all.lacks[record{r.set, after}] = true
			}
		}
	}
	return all
}

// leads tells whether a PTR record may lead elsewhere because the name that it is
// to lead to does not have its address yet.
func (h withheld) leads(s set, wanted map[set]*wish) bool {
	for r := range h.lacks {
		if s.rtype == "PTR" && r.reverse() == s.name && wanted[s] != nil && wanted[s].values[r.name] {
			return true
		}
	}
	return false
}

// vain says what is withheld although there is nothing to be taken away.
func (h withheld) vain(wanted map[set]*wish, records []solidsim.Record) (all []string) {
	ours, _ := split(records)
	for r := range h.stays {
		if n := ours[r.set][r.value]; n == 0 || n == 1 && wanted[r.set] != nil && wanted[r.set].values[r.value] {
			all = append(all, fmt.Sprintf("%s is withheld in vain", r))
		}
	}
	slices.Sort(all)
	return all
}

// rested takes note of what is withheld when DNS is at rest. The caller holds w.mu.
func (w *world) rested(now withheld, wanted map[set]*wish) {
	ours, _ := split(w.sim.Records(server))
	for _, l := range now.lists {
		w.reached.add(caseWithheld)
		if !slices.Contains(w.brakes.hashes, l.Hash) {
			w.brakes.hashes = append(w.brakes.hashes, l.Hash)
		}
	}
	for r := range w.brakes.withheld.stays {
		if !now.stays[r] && ours[r.set][r.value] == 1 && wanted[r.set] != nil && wanted[r.set].values[r.value] {
			w.reached.add(caseWantedAgain)
		}
	}
	w.brakes.withheld = now
}

// approve approves a list as a person does, who may have looked at it a while ago.
func (w *world) approve(rt *rapid.T) {
	place := rapid.IntRange(0, 99).Draw(rt, "list")
	if len(w.brakes.hashes) == 0 {
		rt.Skip("nobody has seen a list")
	}
	w.approveHash(w.brakes.hashes[place%len(w.brakes.hashes)])
}

func (w *world) approveHash(hash string) {
	// The names are approved before an instance can hear of it.
	before := w.isWithheld()
	w.mu.Lock()
	was := make(map[brake.Kind]map[string]bool)
	for _, l := range before.lists {
		was[l.Kind] = maps.Clone(w.brakes.approved[l.Kind])
		for _, item := range l.Items {
			if l.Hash == hash {
				w.brakes.approved[l.Kind][item.Name] = true
			}
		}
	}
	w.mu.Unlock()
	_, err := brake.Approve(w.broker.t.Context(), w.bucket, hash)
	switch listed := slices.ContainsFunc(before.lists, func(l brake.List) bool { return l.Hash == hash }); {
	case errors.Is(err, brake.ErrOutdated) && !listed:
		w.reached.add(caseOutdated)
	case errors.Is(err, brake.ErrOutdated): // it was replaced just now
		w.mu.Lock()
		maps.Copy(w.brakes.approved, was)
		w.mu.Unlock()
	case err != nil:
		w.t.Fatalf("approve %s: %v", hash, err)
	case !listed:
		// It came just now, and nothing is known of its names.
		w.t.Logf("list %s came while it was approved", hash)
	}
}

// letGo approves all that is withheld until nothing is.
func (w *world) letGo() {
	deadline := time.Now().Add(patience)
	for now := w.isWithheld(); len(now.lists) > 0; now = w.isWithheld() {
		if time.Now().After(deadline) {
			w.fail("after %s something is withheld although it was approved again and again: %v", patience, now.lists)
		}
		for _, l := range now.lists {
			w.approveHash(l.Hash)
		}
		w.rest()
	}
}
