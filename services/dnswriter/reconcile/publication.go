package reconcile

import (
	"context"
	"slices"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Verify hears how far changes have come. Its methods are called under a lock of
// the Reconciler: they must neither block nor call it.
type Verify interface {
	// Accepted tells that the server has accepted a change at that time: that the
	// record is there, or with gone that it is not any more. A change of a value
	// is two.
	Accepted(rec dns.Record, gone bool, since time.Time)
	// Published tells that the server has published the change that it accepted at
	// that time.
	Published(rec dns.Record, gone bool, since time.Time)
}

// A publication is an accepted change that is not known to be published.
type publication struct {
	rec   dns.Record
	zone  string
	gone  bool
	since time.Time // of its acceptance
	looks int
	due   time.Time // of the next look
}

// publications are those of one scope by name.
type publications struct {
	byName map[string][]*publication
	n      int
}

func newPublications() *publications { return &publications{byName: make(map[string][]*publication)} }

// drop forgets those of a name for which over is true.
func (p *publications) drop(name string, over func(*publication) bool) {
	before := p.byName[name]
	left := slices.DeleteFunc(before, over)
	p.n += len(left) - len(before)
	if len(left) == 0 {
		delete(p.byName, name)
		return
	}
	p.byName[name] = left
}

// add puts one in the place of an earlier one of the record. It returns false if
// there are too many.
func (p *publications) add(added *publication) bool {
	p.drop(added.rec.Name, func(other *publication) bool { return other.zone == added.zone && other.rec.Same(added.rec) })
	if p.n >= mostPublications {
		return false
	}
	p.byName[added.rec.Name] = append(p.byName[added.rec.Name], added)
	p.n++
	return true
}

const (
	// firstLook is the time from the acceptance of a change to the first look
	// whether it is published. It doubles up to longestPause.
	firstLook = 2 * time.Second
	// fewLooks is how many names of an area are looked at one by one, at a time.
	// For more of them the area is read whole.
	fewLooks = 20
	// mostPublications is how many are followed at a time. Those beyond are not.
	mostPublications = 10_000
)

// accepted notes that a step was accepted. A record that was created is read back
// anyhow. Whether what was changed or removed is published nobody would learn, so
// that is followed only if somebody wants to know. The caller holds r.mu.
func (r *Reconciler) accepted(s Step) {
	now := time.Now()
	follow := func(rec dns.Record, gone bool) {
		p := &publication{rec: rec, zone: s.Zone, gone: gone, since: now, due: now.Add(firstLook)}
		if r.publications.add(p) && r.cfg.Verify != nil {
			r.cfg.Verify.Accepted(rec, gone, now)
		}
	}
	switch {
	case s.Op == Create:
		follow(s.Record, false)
	case r.cfg.Verify == nil:
		r.publications.drop(s.Record.Name, func(p *publication) bool { return p.zone == s.Zone && p.rec.Same(s.Row.Record) })
	case s.Op == Update:
		follow(s.Record, false)
		if s.replaces() {
			follow(s.Row.Record, true)
		}
	default:
		follow(s.Row.Record, true)
	}
	r.metrics.unpublished.Set(float64(r.publications.n))
}

// looked judges the publications of a name by its rows, which were read after
// they were accepted. The caller holds r.mu.
func (r *Reconciler) looked(name string, in func(zone string) bool, rows []dns.Row) {
	if len(r.publications.byName[name]) == 0 {
		return
	}
	r.publications.drop(name, func(p *publication) bool {
		if !in(p.zone) {
			return false
		}
		there, delayed := false, false
		for _, row := range rows {
			if row.Zone == p.zone && row.Record.Same(p.rec) {
				there = there || !row.Deleting
				delayed = delayed || row.Deleting && p.gone || row.Pending && !p.gone
			}
		}
		switch {
		case there == p.gone: // somebody has changed it since, and the plan says what follows
		case delayed:
			return false
		case r.cfg.Verify != nil:
			r.cfg.Verify.Published(p.rec, p.gone, p.since)
		}
		return true
	})
	r.metrics.unpublished.Set(float64(r.publications.n))
}

// lookedOver judges the publications of an area that was read. The caller holds
// r.mu.
func (r *Reconciler) lookedOver(a area, reading *reading) {
	for name := range r.publications.byName {
		if _, newer := reading.touched[name]; !newer {
			r.looked(name, func(zone string) bool { return areaOf(zone) == a }, r.cache.at(name))
		}
	}
}

// followPublications looks again at what was accepted until it is published, or
// until ctx ends.
func (r *Reconciler) followPublications(ctx context.Context) {
	for sleep(ctx, tick) {
		names, areas := r.dueLooks(time.Now())
		for _, name := range names {
			r.queue.nudge(name)
		}
		if len(areas) > 0 {
			r.readAreas(ctx, areas)
		}
	}
}

// dueLooks returns the names that are to be looked at one by one, and the areas to
// be read whole. While a check runs, no area is: it reads them itself, also what it
// has created, at its end.
func (r *Reconciler) dueLooks(now time.Time) (names []string, areas []area) {
	_, checking := r.running.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	due := make(map[area][]*publication)
	for name, all := range r.publications.byName {
		if _, unread := r.fresh.first[name]; unread && checking {
			continue
		}
		for _, p := range all {
			if !now.Before(p.due) {
				due[areaOf(p.zone)] = append(due[areaOf(p.zone)], p)
			}
		}
	}
	for a, some := range due {
		many := len(some) > fewLooks
		if many && checking {
			continue
		}
		for _, p := range some {
			p.looks++
			p.due = now.Add(pause(p.looks+1, firstLook, longestPause))
			if !many {
				r.suspect[p.rec.Name] = true
				names = append(names, p.rec.Name)
			}
		}
		if many {
			areas = append(areas, a)
		}
	}
	slices.Sort(areas)
	slices.Sort(names)
	return slices.Compact(names), areas
}
