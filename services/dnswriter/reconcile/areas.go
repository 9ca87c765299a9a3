package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/sourcegraph/conc/pool"
)

// An area is what is read at once: a forward zone by its name, all reverse zones
// together, or the list of zones, which is no records but is read like them.
type area string

const (
	reverseZones area = "*.arpa"
	zoneList     area = "*"
)

// String says the area within a sentence.
func (a area) String() string {
	switch a {
	case reverseZones:
		return "the records of the reverse zones"
	case zoneList:
		return "the list of zones"
	}
	return "zone " + string(a)
}

// areaOf returns the area that the records of a zone are read with.
func areaOf(zone string) area {
	if dns.IsReverse(zone) {
		return reverseZones
	}
	return area(zone)
}

// areas returns all areas that records are read of.
func (r *Reconciler) areas() []area {
	var all []area
	for _, zone := range r.cfg.Zones.All() {
		all = append(all, area(zone))
	}
	if r.cfg.PTR != dns.PTROff {
		all = append(all, reverseZones)
	}
	return all
}

// readyZone returns the zone in which records of a name are to be. ok is false
// if that is none of ours or was not read: then nothing is done about the name.
// The caller holds r.mu.
func (r *Reconciler) readyZone(name string) (zone string, ok bool) {
	zone, ok = r.index.placement.ZoneOf(name)
	return zone, ok && r.read[areaOf(zone)]
}

// survey asks the server for its zones, and places all names anew if there are
// others than before. When it fails the zones of the last survey hold on.
func (r *Reconciler) survey(ctx context.Context) (changed bool, err error) {
	zones, err := r.cfg.Provider.Zones(ctx)
	if err != nil {
		r.cannotRead(ctx, zoneList, err)
		return false, err
	}
	r.note(ctx, nil, false)
	served := dns.NewServed(slices.DeleteFunc(zones, func(z dns.Zone) bool { return !r.concerns(z.Name) }))
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.unread, zoneList)
	was := r.index.placement
	if served.Equal(was.Served) {
		return false, nil
	}
	placement := *was
	placement.Served = served
	parked := r.index.parked
	r.index.place(&placement)
	for key, before := range parked {
		if len(r.index.parked[key]) == 0 {
			r.reportParked(before, nil)
		}
	}
	for key, after := range r.index.parked {
		r.reportParked(parked[key], after)
	}
	r.leaveZones(ctx)
	if was.Served != nil {
		r.log.InfoContext(ctx, "the zones of the dns server have changed", "zones", zoneNames(served))
	}
	return true, nil
}

func zoneNames(served *dns.Served) (all []string) {
	for _, z := range served.All() {
		all = append(all, z.Name)
	}
	return all
}

// concerns tells whether it matters that the server has a zone.
func (r *Reconciler) concerns(zone string) bool {
	if dns.IsReverse(zone) {
		return r.cfg.PTR != dns.PTROff
	}
	return slices.ContainsFunc(r.cfg.Zones.All(), func(ours string) bool {
		return ours == zone || strings.HasSuffix(ours, "."+zone) || strings.HasSuffix(zone, "."+ours)
	})
}

// leaveZones forgets what is known of zones that the server does not have any
// more, and what was noted of names that belong to none. The caller holds r.mu.
func (r *Reconciler) leaveZones(ctx context.Context) {
	gone := func(zone string) bool { return !has(r.index.placement.Served, zone) }
	for a := range r.read {
		// There may be a reverse zone that was not among them when they were read.
		if a == reverseZones || gone(string(a)) {
			delete(r.read, a)
		}
	}
	r.cache.drop(gone)
	r.fresh.drop(func(_, zone string) bool { return gone(zone) })
	for name := range r.publications.byName {
		r.publications.drop(name, func(p *publication) bool { return gone(p.zone) })
	}
	for name, made := range r.withdrawn {
		made = slices.DeleteFunc(made, func(row dns.Row) bool { return gone(row.Zone) })
		if r.withdrawn[name] = made; len(made) == 0 {
			delete(r.withdrawn, name)
		}
	}
	for _, name := range slices.Collect(r.noted()) {
		if _, ok := r.index.placement.ZoneOf(name); !ok {
			delete(r.following, name)
			r.observe(name, Changes{})
			r.enter(ctx, name, Changes{})
		}
	}
}

// forgetGone forgets the rows of a name in zones that the server does not have:
// the answer to a write may come after its zone has vanished. The caller holds r.mu.
func (r *Reconciler) forgetGone(name string) {
	r.cache.dropAt(name, func(zone string) bool { return !has(r.index.placement.Served, zone) })
}

// errNoZone says why names of a zone have to wait.
func errNoZone(zone area) error {
	return fmt.Errorf("the DNS server has no zone %s: create it there, or take it out of --dns-zone", string(zone))
}

// readings is how many forward zones are read at a time.
const readings = 4

// readAreas reads areas into the cache, forward zones several at a time and then
// all reverse zones, so that the rows of both are not in memory twice at once. It
// returns those that were read and those that were not.
func (r *Reconciler) readAreas(ctx context.Context, areas []area) (read, unread []area) {
	var mu sync.Mutex
	one := func(a area) {
		err := r.readArea(ctx, a)
		if err != nil {
			r.cannotRead(ctx, a, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			unread = append(unread, a)
		} else {
			read = append(read, a)
		}
	}
	tasks := pool.New().WithMaxGoroutines(readings)
	for _, a := range areas {
		if a != reverseZones {
			tasks.Go(func() { one(a) })
		}
	}
	tasks.Wait()
	if slices.Contains(areas, reverseZones) {
		one(reverseZones)
	}
	slices.Sort(read)
	slices.Sort(unread)
	return read, unread
}

// readArea reads one area. Its failure says nothing about the server: perhaps it
// is the zone alone.
func (r *Reconciler) readArea(ctx context.Context, a area) error {
	r.mu.Lock()
	served := r.index.placement.Served
	reading := r.cache.begin()
	r.mu.Unlock()
	rows, err := r.rowsOf(ctx, a, served)
	r.mu.Lock()
	if err != nil {
		r.cache.abandon(reading)
		r.mu.Unlock()
		return err
	}
	r.cache.install(reading, a, rows)
	r.seen(rows)
	r.lookedOver(a, reading)
	r.read[a] = true
	delete(r.unread, a)
	r.mu.Unlock()
	return nil
}

// rowsOf asks the server for the rows of an area.
func (r *Reconciler) rowsOf(ctx context.Context, a area, served *dns.Served) (rows []dns.Row, err error) {
	switch {
	case a != reverseZones && !has(served, string(a)):
		return nil, errNoZone(a)
	case a != reverseZones:
		rows, err = r.cfg.Provider.Records(ctx, string(a))
	case slices.ContainsFunc(zoneNames(served), dns.IsReverse):
		rows, err = r.cfg.Provider.Reverse(ctx)
	default:
		return nil, nil // nobody was asked
	}
	if err == nil {
		r.note(ctx, nil, false)
	}
	return rows, err
}

// has tells whether the server has a zone.
func has(served *dns.Served, zone string) bool {
	z, ok := served.Of(zone)
	return ok && z.Name == zone
}

// cannotRead tells of what cannot be read, once for each reason.
func (r *Reconciler) cannotRead(ctx context.Context, a area, err error) {
	if ctx.Err() != nil {
		return // the reading was cut off by us
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if before := r.unread[a]; before == nil || before.Error() != err.Error() {
		r.log.WarnContext(ctx, "a zone cannot be read, trying on", "what", a, "err", err)
	}
	r.unread[a] = err
}
