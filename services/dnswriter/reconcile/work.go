package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// withdraw removes a row that we have just created into a name that turned out
// to be somebody else's. Unlike a Remove it needs no proof: it takes back our
// own mistake.
const withdraw Op = "withdraw"

// rounds is how often a name is planned anew before it is set aside: once to
// write, once after what was there turned out to be different, once to read
// back, once to withdraw, once to find that nothing is left.
const rounds = 5

// lateness is how long after an unclear outcome the name is looked at again:
// longer than any server or proxy keeps a request before it carries it out. As
// long after the start all is checked once more: who worked before this process,
// it itself before a crash or another instance, may have sent a change just
// before the end.
const lateness = time.Minute

var errUnsettled = errors.New("what DNS has changes while it is worked on")

// process brings one name into the state that is wanted now. When stop ends it
// begins nothing new; what has begun goes on until ctx ends.
func (r *Reconciler) process(ctx, stop context.Context, t task) {
	cause, before := t, r.addressesOf(t.name)
	settled, failure := r.bring(ctx, stop, &t)
	if stop.Err() == nil {
		// Before the name is given back: a check must not end in between.
		r.queue.follow(cause, r.followers(cause, before))
	}
	switch {
	case settled:
		r.settled(ctx, t)
	case errors.Is(failure, errUnheld):
		r.queue.postpone(t, true)
	case errors.Is(failure, errBraked):
		r.queue.postpone(t, false) // the brake itself tells why, also for how long
	case failure != nil:
		r.failed(ctx, t, failure)
	default:
		r.queue.done(t) // the next start looks at every name
	}
}

// bring brings one name into the state that is wanted. It returns whether that
// was reached, or else why not; nil means that stop ended.
func (r *Reconciler) bring(ctx, stop context.Context, t *task) (settled bool, failure error) {
	for range rounds {
		if stop.Err() != nil {
			return false, nil
		}
		if err := r.refresh(ctx, t.name); err != nil {
			return false, err
		}
		steps := r.next(ctx, t.name)
		if len(steps) == 0 {
			return true, nil
		}
		if failure != nil {
			return false, failure // it was read back, and is still to be done
		}
		failure = r.take(ctx, t, steps)
		if failure != nil && !errors.Is(failure, dns.ErrUnclear) && !errors.Is(failure, dns.ErrRefused) {
			return false, failure // the server was not reached, so there is nothing to read back
		}
	}
	return false, cmp.Or(failure, errUnsettled)
}

// refresh reads a name if the cache may be wrong about it.
func (r *Reconciler) refresh(ctx context.Context, name string) error {
	r.mu.Lock()
	var zones []string
	if r.suspect[name] {
		r.forgetGone(name)
		zones = r.zonesOf(name)
	}
	r.mu.Unlock()
	for _, zone := range zones {
		rows, err := r.cfg.Provider.Lookup(ctx, zone, name)
		r.note(ctx, err, false)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		r.mu.Lock()
		if has(r.index.placement.Served, zone) { // it may have vanished meanwhile
			r.cache.put(zone, name, rows)
			r.looked(name, func(z string) bool { return z == zone }, rows)
		}
		r.mu.Unlock()
	}
	if len(zones) > 0 {
		r.mu.Lock()
		delete(r.suspect, name)
		r.confirm(ctx, name)
		r.mu.Unlock()
	}
	return nil
}

// next plans a name by what is wanted and known now, takes note of the plan,
// and returns the steps that may be taken.
func (r *Reconciler) next(ctx context.Context, name string) []Step {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.readyZone(name); !ok {
		return nil // the check that reads the zone looks at the name
	}
	var steps []Step
	for _, row := range r.withdrawn[name] {
		steps = append(steps, Step{Op: withdraw, Zone: row.Zone, Record: row.Record, Row: row})
	}
	if len(steps) > 0 {
		return steps
	}
	changes := r.plan(name)
	r.observe(name, changes)
	r.enter(ctx, name, changes)
	delete(r.following, name)
	return slices.DeleteFunc(changes.Steps, func(s Step) bool {
		if r.follows(s) {
			r.following[name] = true
			return true
		}
		return !r.mayTake(s)
	})
}

// plan plans a name by what is wanted and known now. The caller holds r.mu.
func (r *Reconciler) plan(name string) Changes {
	want, rows := r.index.want(name), slices.Clone(r.cache.at(name))
	for _, target := range want.Targets() {
		// Of what is in conflict there no PTR record is made, as if nobody wanted it.
		want.Sets = append(want.Sets, r.index.setsOf(target)...)
		rows = append(rows, r.cache.at(target)...)
	}
	changes := PlanName(name, want, rows, r.policy())
	r.spare(name, &changes, want)
	return changes
}

// take takes the steps of one name. It returns nil if they were taken, or if
// what DNS has turned out to be different from what was known; then the name is
// read and planned anew.
func (r *Reconciler) take(ctx context.Context, t *task, steps []Step) error {
	for _, s := range steps {
		if !r.still(s) {
			return nil // something was heard since it was planned
		}
		if err := r.count(ctx, s); err != nil {
			return fmt.Errorf("%w: %w", errBraked, err)
		}
		if !r.still(s) {
			return nil // and since it was counted
		}
		if !r.maySend() {
			return errUnheld
		}
		err := r.apply(ctx, t, s)
		if errors.Is(err, dns.ErrNotNow) {
			return errUnheld // what was read before took too long; nothing was sent
		}
		r.note(ctx, err, true)
		r.metrics.change(s, err)
		if err == nil {
			r.logStep(ctx, s)
			continue
		}
		r.mu.Lock()
		r.suspect[t.name] = true
		if errors.Is(err, dns.ErrUnclear) {
			r.late[t.name] = time.Now().Add(lateness)
		}
		r.mu.Unlock()
		if errors.Is(err, dns.ErrExists) || errors.Is(err, dns.ErrChanged) {
			r.log.DebugContext(ctx, "dns holds something else than known", "step", s, "err", err)
			return nil
		}
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

// apply takes one step and keeps the cache current.
func (r *Reconciler) apply(ctx context.Context, t *task, s Step) error {
	switch s.Op {
	case Create:
		id, err := r.cfg.Provider.Create(ctx, s.Zone, s.Record, s.Owner, s.Exclusive)
		if err != nil {
			return err
		}
		r.created(t, s, id)
	case Update:
		if err := r.cfg.Provider.Update(ctx, s.Row, s.Record, s.Owner); err != nil {
			return err
		}
		r.mu.Lock()
		changed := s.Row
		changed.Record, changed.Owner, changed.Pending = s.Record, &s.Owner, true
		r.cache.remove(s.Row)
		r.cache.add(changed)
		r.mu.Unlock()
	case Remove, withdraw:
		if err := r.cfg.Provider.Delete(ctx, s.Row); err != nil {
			return err
		}
		r.mu.Lock()
		r.cache.remove(s.Row)
		r.withdrawn[t.name] = slices.DeleteFunc(r.withdrawn[t.name], func(row dns.Row) bool { return row.Same(s.Record) })
		if len(r.withdrawn[t.name]) == 0 {
			delete(r.withdrawn, t.name)
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	r.accepted(s)
	r.total.add(s.Op)
	r.history.changed(t.name, s, time.Now())
	if t.check {
		r.made.add(s.Op)
	}
	r.mu.Unlock()
	t.moved = true
	if !t.since.IsZero() && s.Op != withdraw {
		r.metrics.answered(*t)
		t.since, t.committed = time.Time{}, time.Time{} // the event is answered
	}
	return nil
}

// created notes a row that was accepted. The name is read back at once, for two
// reasons: a row of somebody else may have come into it at the same time, and
// the server may have dropped the mark. The creations of a check are read back
// together at its end, with one reading of the zone, once it is known that the
// server keeps marks. A name that waits for its late look is not among these: it
// is not believed until then, and what leads to it would wait as long.
func (r *Reconciler) created(t *task, s Step, id string) {
	row := dns.Row{Record: s.Record, ID: id, Zone: s.Zone, Owner: &s.Owner, Pending: true}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache.add(row)
	r.fresh.add(row)
	if _, isLate := r.late[t.name]; isLate || !t.check || r.marks == marksUnknown {
		r.suspect[t.name] = true
	}
}

// confirm judges the rows that we created by what was read since. The caller
// holds r.mu.
func (r *Reconciler) confirm(ctx context.Context, name string) {
	rows := r.cache.at(name)
	r.seen(rows)
	delete(r.withdrawn, name)
	var unresolved []dns.Row
	for _, made := range r.fresh.at(name) {
		i := slices.IndexFunc(rows, func(row dns.Row) bool {
			return row.Zone == made.Zone && row.Record.Same(made.Record) && (row.Owner != nil || row.ID == made.ID)
		})
		if i < 0 {
			continue // it is gone, or not what we made any more: the plan says what follows
		}
		if rows[i].Owner == nil {
			r.lost(ctx, rows[i])
			continue
		}
		if slices.ContainsFunc(rows, func(row dns.Row) bool {
			return (row.Type == dns.CNAME || row.Owner == nil && row.Type == made.Type) && row.Zone == made.Zone && !row.Deleting
		}) {
			unresolved = append(unresolved, made)
			r.withdrawn[name] = append(r.withdrawn[name], rows[i])
		}
	}
	r.fresh.put(name, unresolved)
}

// settled gives back a name of which nothing is left to do.
func (r *Reconciler) settled(ctx context.Context, t task) {
	now := time.Now()
	r.mu.Lock()
	r.mended(ctx, t.name)
	if len(r.failing) == 0 && r.queue.answered(false, true) {
		// Changes that ended unclear were made all the same, or are not wanted
		// any more, and there may be no other to try it with.
		r.back(ctx)
	}
	due, isLate := r.late[t.name]
	if isLate && !now.Before(due) {
		delete(r.late, t.name)
		isLate = false
	}
	if isLate {
		r.suspect[t.name] = true
	}
	r.mu.Unlock()
	r.queue.done(t)
	if isLate {
		r.queue.later(t.name, due)
	}
}

// failed gives back a name that has to be tried again.
func (r *Reconciler) failed(ctx context.Context, t task, err error) {
	if ctx.Err() != nil {
		r.queue.done(t) // the call was cut off by us
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.suspect[t.name] = true // read it before it is tried again
	// A change that ended unclear and was not made may be the fault of the name,
	// since the server could be read from after it. So the name waits alone.
	unclear := errors.Is(err, dns.ErrUnclear)
	t.moved = t.moved && unclear
	unserved := !unclear && !errors.Is(err, dns.ErrRefused) && !errors.Is(err, errUnsettled)
	wait := r.queue.retry(t, unserved)
	r.history.failed(t.name, err, time.Now(), wait)
	level := slog.LevelWarn
	if !r.fails(t.name) || (unserved || unclear) && r.away != nil {
		level = slog.LevelDebug // it was said before, or is said of the server
	}
	r.log.Log(ctx, level, "dns change failed, trying again", "name", t.name, "err", err, "in", wait)
}

// note learns from the outcome of a call, of one that changes or one that reads,
// whether the server is there.
func (r *Reconciler) note(ctx context.Context, err error, changes bool) {
	if ctx.Err() != nil {
		return // the call was cut off by us
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answers := []error{dns.ErrExists, dns.ErrChanged, dns.ErrRefused}
	if err == nil || slices.ContainsFunc(answers, func(known error) bool { return errors.Is(err, known) }) {
		if r.queue.answered(true, changes) {
			r.back(ctx)
		}
		return
	}
	nowAway := r.queue.unanswered(errors.Is(err, dns.ErrUnclear), wished(err))
	if nowAway {
		r.awaySince = time.Now()
		r.log.WarnContext(ctx, "the dns server does not answer, trying on", "err", err)
	}
	if nowAway || r.away != nil {
		r.away = err
	}
}

// wished returns how long the server, or its client, wants to be left alone.
func wished(err error) time.Duration { return min(dns.RetryAfter(err), longestWish) }

// longestWish is how much of such a wish is granted.
const longestWish = time.Minute

// back notes that the server is not away any more. The caller holds r.mu.
func (r *Reconciler) back(ctx context.Context) {
	r.away = nil
	r.log.InfoContext(ctx, "the dns server answers again")
}

// logStep writes the lines that operators of the replaced system search their
// logs for; so they keep their form, against the habit of fixed texts.
func (r *Reconciler) logStep(ctx context.Context, s Step) {
	verbs := map[Op]string{Create: "Created", Update: "Updated", Remove: "Removed", withdraw: "Withdrawn"}
	text := fmt.Sprintf("%s %s record: %s -> %s (scope: %s)", verbs[s.Op], s.Record.Type, s.Record.Name, s.Record.Value, r.cfg.Scope)
	switch s.Op {
	case Update:
		r.log.InfoContext(ctx, text, "was", s.Row.Value, "ttl", s.Record.TTL)
	case withdraw:
		r.log.WarnContext(ctx, text, "reason", "somebody else's record is at the name")
	default:
		r.log.InfoContext(ctx, text)
	}
}
