package reconcile_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"pgregory.net/rapid"
)

var allPolicies = []reconcile.Policy{reconcile.Sync, reconcile.UpsertOnly, reconcile.CreateOnly, reconcile.Observe}

// TestPlanConverges plans and takes the steps, one at a time with time going by
// in between, from any state that a server can be in, and once more after the
// reservations have changed.
func TestPlanConverges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlacement(t)
		reservations := drawReservations(t, "reservations")
		s := drawServer(t, p, reservations)
		policy := rapid.SampledFrom(append(allPolicies, reconcile.Sync, reconcile.Sync)).Draw(t, "policy")
		for range 2 {
			w := wanted(t, p, reservations)
			run := &run{t: t, s: s, want: w, plan: reconcile.Plan(w, s.read(), policy)}
			run.begin()
			for _, step := range run.plan.Steps {
				if rapid.Bool().Draw(t, "time goes by") {
					s.pass()
				}
				run.take(step)
			}
			s.settle()
			run.checkMarks()
			again := reconcile.Plan(w, s.read(), policy)
			if len(again.Steps) > 0 || policy == reconcile.Sync && len(again.Skipped) > 0 {
				t.Fatalf("after the plan\n%sanother one is needed:\n%swith\n%s", run.plan, again, s)
			}
			run.checkReached(policy)
			if policy == reconcile.Sync {
				run.checkNothingElse(p)
			}
			reservations = drawChanges(t, reservations)
		}
	})
}

// run takes the steps of one plan and looks at the server after each of them.
type run struct {
	t    *rapid.T
	s    *server
	want reconcile.Want
	plan reconcile.Changes

	contested   map[string]bool
	rows        []stored // as they were
	untouchable []string
	stays       []dns.Wanted // records that are wanted and there
	resolves    []dns.Set    // of what is wanted and not contested, what has an answer
}

func (r *run) begin() {
	r.contested = contested(r.plan)
	r.rows = slices.Clone(r.s.rows)
	r.untouchable = r.s.untouchable()
	for _, w := range records(r.want) {
		if r.s.answers(w.Record) {
			r.stays = append(r.stays, w)
		}
	}
	for _, set := range r.want.Sets {
		if r.clear(set) && len(r.s.resolve(set.Name, set.Type)) > 0 {
			r.resolves = append(r.resolves, set)
		}
	}
}

// clear tells whether nothing is contested that a set depends on.
func (r *run) clear(set dns.Set) bool {
	return !r.contested[spot(set.Name, set.Type)] && !slices.ContainsFunc(set.Records, func(w dns.Wanted) bool {
		forward, ok := w.Forward()
		return ok && r.contested[spot(forward.Name, forward.Type)]
	})
}

// take takes one step. Whatever it is, rows of others stay as they are, nothing is
// added to what is contested, a record that is wanted stays, a name that is wanted
// goes on to have an answer, and a PTR record comes after what it speaks of.
func (r *run) take(step reconcile.Step) {
	adds := step.Op == reconcile.Create || step.Op == reconcile.Update && step.Row.Value != step.Record.Value
	if adds && r.contested[spot(step.Record.Name, step.Record.Type)] {
		r.t.Fatalf("%s: the name is contested", step)
	}
	if forward, ok := step.Record.Forward(); ok && adds {
		there := slices.ContainsFunc(r.rows, func(row stored) bool {
			return row.Same(forward) && row.Zone == zoneOf(r.s, forward) && !row.Deleting
		})
		if there != (step.Requires == dns.Record{}) || !there && !step.Requires.Same(forward) {
			r.t.Fatalf("%s: requires %q, and what it leads to was there from the start: %t", step, step.Requires, there)
		}
		if !r.s.answers(forward) || r.s.alias(zoneOf(r.s, forward), forward.Name) {
			r.t.Fatalf("%s: the name does not have the address", step)
		}
		if r.contested[spot(forward.Name, forward.Type)] {
			r.t.Fatalf("%s: the name that it leads to is contested", step)
		}
	} else if step.Requires != (dns.Record{}) {
		r.t.Fatalf("%s: requires %q for nothing", step, step.Requires)
	}
	r.s.apply(step)
	if diff := cmp.Diff(r.untouchable, r.s.untouchable()); diff != "" {
		r.t.Fatalf("%s: touches what is not ours to change:\n%s", step, diff)
	}
	for _, w := range r.stays {
		if !r.s.answers(w.Record) {
			r.t.Fatalf("%s: %s is wanted, was there, and is gone", step, w.Record)
		}
	}
	for _, set := range r.resolves {
		if len(r.s.resolve(set.Name, set.Type)) == 0 {
			r.t.Fatalf("%s: %s has no %s any more", step, set.Name, set.Type)
		}
	}
}

func zoneOf(s *server, r dns.Record) string {
	zone, _ := s.served.Of(r.Name)
	return zone.Name
}

// checkMarks: a row that keeps its value keeps every source in its mark. Who does
// not ask for it now may only be missing from the stream.
func (r *run) checkMarks() {
	for _, before := range r.rows {
		for _, after := range r.s.rows {
			if before.ID != after.ID || before.Owner == nil || !after.Record.Same(before.Record) {
				continue
			}
			for _, source := range before.Owner.Sources() {
				if !slices.Contains(after.Owner.Sources(), source) {
					r.t.Fatalf("%s was marked for %v and now is for %v", before.Record, before.Owner, after.Owner)
				}
			}
		}
	}
}

// checkReached: what is wanted and not contested is there, forward and reverse,
// marked for all who ask for it and with its TTL if it is ours.
func (r *run) checkReached(policy reconcile.Policy) {
	if policy != reconcile.Sync && policy != reconcile.UpsertOnly {
		return
	}
	for _, set := range r.want.Sets {
		if !r.clear(set) {
			continue
		}
		for _, w := range set.Records {
			if !r.s.answers(w.Record) {
				r.t.Fatalf("%s is wanted and not there after\n%swith\n%s", w.Record, r.plan, r.s)
			}
			for _, row := range r.s.rows {
				if policy != reconcile.Sync || row.Owner == nil || row.Zone != set.Zone || !row.Same(w.Record) {
					continue
				}
				if row.TTL != w.TTL || slices.ContainsFunc(w.Owner.Sources(), func(s string) bool { return !slices.Contains(row.Owner.Sources(), s) }) {
					r.t.Fatalf("%s of %v is there as %s of %v", w.Record, w.Owner, row.Record, row.Owner)
				}
			}
		}
	}
}

// checkNothingElse: a row of ours is wanted, in its zone, and alone, unless the
// name has a CNAME; and what a PTR record says is true, unless the name that it
// leads to is contested.
func (r *run) checkNothingElse(p *dns.Placement) {
	seen := make(map[dns.Record]bool)
	for _, row := range r.s.rows {
		zone, _ := p.ZoneOf(row.Name)
		if row.Owner == nil || r.s.alias(row.Zone, row.Name) || r.s.alias(zone, row.Name) {
			continue
		}
		asked := slices.ContainsFunc(records(r.want), func(w dns.Wanted) bool { return w.Same(row.Record) })
		if !asked || row.Zone != zone || seen[row.Record] {
			r.t.Fatalf("%s in %s is left after\n%swith\n%s", row.Record, row.Zone, r.plan, r.s)
		}
		seen[row.Record] = true
		if forward, ok := row.Forward(); ok && !r.s.answers(forward) && !r.contested[spot(forward.Name, forward.Type)] {
			r.t.Fatalf("%s is there, and %s is not", row.Record, forward)
		}
	}
}

// TestPlanDoesNotDependOnOrder: nor on which names are planned together.
func TestPlanDoesNotDependOnOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlacement(t)
		reservations := drawReservations(t, "reservations")
		s := drawServer(t, p, reservations)
		w := wanted(t, p, reservations)
		policy := rapid.SampledFrom(allPolicies).Draw(t, "policy")
		plan := reconcile.Plan(w, s.read(), policy)
		same := reconcile.Plan(shuffle(t, w), s.read(), policy)
		if diff := cmp.Diff(plan, same); diff != "" {
			t.Fatalf("the plan depends on the order:\n%s", diff)
		}
		if a, b := encoded(t, plan), encoded(t, same); a != b || plan.String() != same.String() {
			t.Fatalf("the texts of the plan depend on the order:\n%s\n%s", a, b)
		}

		joined := reconcile.Changes{Tallies: make(map[dns.Type]reconcile.Tally)}
		for _, name := range names(w, s) {
			closed := append(part(w, name).Targets(), name)
			rows := slices.DeleteFunc(s.read(), func(r dns.Row) bool { return !slices.Contains(closed, r.Name) })
			one := reconcile.PlanName(name, part(w, closed...), rows, policy)
			joined.Steps = append(joined.Steps, one.Steps...)
			joined.Skipped = append(joined.Skipped, one.Skipped...)
			joined.Conflicts = append(joined.Conflicts, one.Conflicts...)
			for rtype, tally := range one.Tallies {
				sum := joined.Tallies[rtype]
				for state, n := range tally {
					sum[state] += n
				}
				joined.Tallies[rtype] = sum
			}
		}
		if diff := cmp.Diff(plan, joined, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("planning names one by one gives something else (-whole +single):\n%s", diff)
		}
	})
}

// names are all that are wanted or there, forward ones first, as in a plan.
func names(w reconcile.Want, s *server) []string {
	set := make(map[string]bool)
	for _, r := range s.read() {
		set[r.Name] = true
	}
	for _, r := range records(w) {
		set[r.Name] = true
	}
	var forward, reverse []string
	for name := range set {
		if dns.IsReverse(name) {
			reverse = append(reverse, name)
		} else {
			forward = append(forward, name)
		}
	}
	slices.Sort(forward)
	slices.Sort(reverse)
	return append(forward, reverse...)
}

func encoded(t *rapid.T, plan reconcile.Changes) string {
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPoliciesTakeAwayOnly: what a policy forbids is what Sync does and it does
// not, and nothing that requires it is done.
func TestPoliciesTakeAwayOnly(t *testing.T) {
	t.Parallel()
	allowed := map[reconcile.Policy][]reconcile.Op{
		reconcile.Sync:       {reconcile.Create, reconcile.Update, reconcile.Remove},
		reconcile.UpsertOnly: {reconcile.Create, reconcile.Update},
		reconcile.CreateOnly: {reconcile.Create},
		reconcile.Observe:    nil,
	}
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlacement(t)
		reservations := drawReservations(t, "reservations")
		s := drawServer(t, p, reservations)
		w := wanted(t, p, reservations)
		whole := reconcile.Plan(w, s.read(), reconcile.Sync)
		if len(whole.Skipped) > 0 {
			t.Fatalf("sync skips steps:\n%s", whole)
		}
		for policy, ops := range allowed {
			plan := reconcile.Plan(w, s.read(), policy)
			skipped := plan.Skipped
			steps := plan.Steps
			for _, step := range whole.Steps {
				made := step.Requires == (dns.Record{}) ||
					slices.ContainsFunc(plan.Steps, func(s reconcile.Step) bool { return s.Record == step.Requires })
				from := &skipped
				if made && slices.Contains(ops, step.Op) {
					from = &steps
				}
				if len(*from) == 0 || !cmp.Equal((*from)[0], step) {
					t.Fatalf("%s: %s is not where it belongs in\n%sof\n%s", policy, step, plan, whole)
				}
				*from = (*from)[1:]
			}
			if len(steps)+len(skipped) > 0 {
				t.Fatalf("%s plans what sync does not:\n%s", policy, plan)
			}
			if !cmp.Equal(plan.Conflicts, whole.Conflicts) || !cmp.Equal(plan.Tallies, whole.Tallies) {
				t.Fatalf("%s finds something else than sync:\n%s\n%s", policy, plan, whole)
			}
		}
		checkTallies(t, w, whole)
	})
}

// checkTallies: each record that is wanted counts once.
func checkTallies(t *rapid.T, w reconcile.Want, plan reconcile.Changes) {
	wanted, orphans := make(map[dns.Type]int), make(map[dns.Type]int)
	for _, r := range records(w) {
		wanted[r.Type]++
	}
	for _, step := range plan.Steps {
		if step.Op == reconcile.Remove {
			orphans[step.Record.Type]++
		}
	}
	for _, rtype := range dns.Types() {
		tally := plan.Tallies[rtype]
		if n := tally[reconcile.InSync] + tally[reconcile.Missing] + tally[reconcile.Wrong] + tally[reconcile.ForeignRow]; n != wanted[rtype] {
			t.Fatalf("%d records of type %s are wanted, %v are counted in\n%s", wanted[rtype], rtype, tally, plan)
		}
		if tally[reconcile.Orphan] != orphans[rtype] {
			t.Fatalf("%d records of type %s go, %v are counted", orphans[rtype], rtype, tally)
		}
	}
}
