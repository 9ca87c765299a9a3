package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// A Reconciler that looks, and does nothing: neither Run nor RunOnce may be called
// of it. It waits for the View to be filled as RunOnce does.

// ReadOnly returns a Provider that reads with p and refuses every change. It stands
// between the server and what must not write, so that no mistake above it can.
func ReadOnly(p Provider) Provider { return readOnly{p} }

// lookPatience is how long Examine tries again what cannot be read: a person waits.
const lookPatience = 5 * time.Second

// Proposal is one step of a plan and what keeps it from being taken now.
type Proposal struct {
	Step
	// Withheld are the reasons, none if it would be taken.
	Withheld []string
}

// Examination is what a look at all names has found.
type Examination struct {
	// Changes are what is to be done and what cannot be, by the policy.
	Changes
	// Proposals are the steps of Changes, in their order.
	Proposals []Proposal
	// Lists are what the brake withholds of them.
	Lists []brake.List
}

// MarshalJSON writes what Changes.MarshalJSON does. Each step has also withheld, the
// reasons why it would not be taken now, unless there are none; and there is lists,
// what --max-removals withholds, each as a brake.List.
func (x Examination) MarshalJSON() ([]byte, error) {
	doc := x.Changes.document()
	for i, p := range x.Proposals {
		doc.Steps[i].Withheld = p.Withheld
	}
	return json.Marshal(struct {
		document
		Lists []brake.List `json:"lists"`
	}{doc, append([]brake.List{}, x.Lists...)})
}

// Examine reads all zones and plans all names, and writes nothing. A zone that
// cannot be read is an error: a plan without it would not be the whole plan.
func (r *Reconciler) Examine(ctx context.Context) (Examination, error) {
	if err := r.awaitView(ctx); err != nil {
		return Examination{}, err
	}
	if err := r.readAll(ctx); err != nil {
		return Examination{}, err
	}
	x := Examination{Changes: Changes{Tallies: make(map[dns.Type]Tally)}}
	for _, name := range r.names(nil, true) {
		r.mu.Lock()
		changes := r.plan(name)
		r.observe(name, changes)
		r.mu.Unlock()
		x.Steps = append(x.Steps, changes.Steps...)
		x.Skipped = append(x.Skipped, changes.Skipped...)
		x.Conflicts = append(x.Conflicts, changes.Conflicts...)
		for rtype, tally := range changes.Tallies {
			x.Tallies[rtype] = x.Tallies[rtype].plus(tally)
		}
	}
	if err := r.judged(ctx, &x); err != nil {
		return Examination{}, err
	}
	return x, ctx.Err()
}

// judged has the brake judge everything that was planned, and says what keeps each
// step from being taken.
func (r *Reconciler) judged(ctx context.Context, x *Examination) error {
	ctx, cancel := context.WithCancel(ctx)
	var running conc.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = r.cfg.Brake.Run(ctx) })
	for start := time.Now(); ; {
		r.cfg.Brake.Checked()
		if r.cfg.Brake.Judged() {
			break
		}
		if !sleep(ctx, glance) {
			return context.Cause(ctx)
		}
		if time.Since(start) > lookPatience {
			return cmp.Or(r.cfg.Brake.Err(), errors.New("--max-removals could not be judged"))
		}
	}
	x.Lists = r.cfg.Brake.Lists()
	withheld := make(map[brake.Kind]map[string]string)
	for _, list := range x.Lists {
		names := make(map[string]string, list.Names)
		for _, item := range list.Items {
			names[item.Name] = "list " + list.Hash
		}
		withheld[list.Kind] = names
	}
	for _, s := range x.Steps {
		x.Proposals = append(x.Proposals, Proposal{s, r.whyNotYet(s, withheld)})
	}
	return nil
}

// whyNotYet is whyNot with what the brake says put short.
func (r *Reconciler) whyNotYet(s Step, withheld map[brake.Kind]map[string]string) (why []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind, takes := r.kindOf(s)
	if list := withheld[kind][s.counted()]; takes && list != "" {
		return []string{list}
	}
	return r.whyNot(s)
}

// readAll reads the list of zones and all zones. What fails is tried again for a
// while.
func (r *Reconciler) readAll(ctx context.Context) error {
	var areas []area
	start := time.Now()
	for attempt := 1; ctx.Err() == nil && time.Since(start) < lookPatience; attempt++ {
		if _, err := r.survey(ctx); err == nil {
			if areas == nil {
				areas = r.areas()
			}
			_, areas = r.readAreas(ctx, areas)
			if len(areas) == 0 {
				return nil
			}
		}
		sleep(ctx, r.readPause(attempt))
	}
	return cmp.Or(context.Cause(ctx), r.unreadable())
}

// unreadable says what could not be read.
func (r *Reconciler) unreadable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for a, err := range r.unread {
		errs = append(errs, fmt.Errorf("%s: %w", a, err))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Look reads what the server has of the names that a question is about, so that
// Explain can answer it: the list of zones, and then those names alone.
func (r *Reconciler) Look(ctx context.Context, query string) error {
	if err := r.awaitView(ctx); err != nil {
		return err
	}
	if _, err := r.survey(ctx); err != nil {
		return fmt.Errorf("read the zones: %w", err)
	}
	seen := make(map[string]bool)
	for {
		names, err := r.asked(query)
		if err != nil {
			return err
		}
		// A PTR record leads to another name, and is planned with it.
		names = slices.DeleteFunc(append(names, r.targets(names)...), func(name string) bool { return seen[name] })
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			seen[name] = true
			if err := r.lookAt(ctx, name); err != nil {
				return err
			}
		}
	}
}

// targets returns the names that the PTR records of some names are to lead to.
func (r *Reconciler) targets(names []string) (targets []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		targets = append(targets, r.index.want(name).Targets()...)
	}
	return targets
}

// lookAt reads one name.
func (r *Reconciler) lookAt(ctx context.Context, name string) error {
	r.mu.Lock()
	zone, ours := r.index.placement.ZoneOf(name)
	r.mu.Unlock()
	if !ours || r.cfg.PTR == dns.PTROff && dns.IsReverse(zone) {
		return nil
	}
	rows, err := r.cfg.Provider.Lookup(ctx, zone, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache.put(zone, name, rows)
	r.seen(rows)
	r.read[areaOf(zone)] = true // as far as anybody asks
	return nil
}
