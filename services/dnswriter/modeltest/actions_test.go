package modeltest

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/solidsim"
)

const (
	devices = 8
	names   = 6
	addrs   = 8
)

// reservation is a row. An id of 0 has to be set.
func reservation(source string, id int64, name string, device int, ips ...string) events.Reservation {
	mac := []byte{2, 0, 0, 0, 0, byte(device)}
	r := events.Reservation{
		Source: source, HostID: id, Hostname: name,
		Identifier: fmt.Sprintf("%x", mac), IdentifierType: "hw-address", MAC: events.MAC("hw-address", mac), Subnet4: new(int64(1)),
	}
	for _, ip := range ips {
		switch addr := netip.MustParseAddr(ip); {
		case addr.Is4():
			r.IP = addr
		default:
			r.IPv6 = append(r.IPv6, addr)
		}
	}
	return r
}

// actions are what may happen.
func (w *world) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){
		"reserve": w.reserve, "reserve more": w.reserve, "reserve still more": w.reserve, "reserve a name that is taken": w.reserveTaken,
		"rename": w.rename, "move": w.move, "move ipv6": w.move6, "swap": w.swap, "delete": w.delete,
		"give up in one source": w.giveUp, "add again under a new host_id": w.addAgain, "change by halves": w.halves,
		"hand: delete ours": w.handRemove, "hand: change ours": w.handChange, "hand: take the mark off": w.handUnmark,
		"hand: double ours": w.handDouble, "hand: add beside": w.handBeside, "hand: copy with the mark": w.handCopy,
		"hand: add foreign": w.handAdd, "hand: remove foreign": w.handRemoveForeign, "intruder": w.intruder,
		"fault": w.faulty, "fault again": w.faulty, "server away": w.goAway,
		"crash": w.crash, "crash again": w.crash, "restart": w.startAnew,
		"lose the stream": w.refill, "incomplete": w.incomplete,
		// What comes first in the alphabet is drawn more often.
		"a write is held back": w.holdWrite, "an instance is cut off": w.cutAway, "bucket lost": w.loseBucket,
		"approve": w.approve, "approve once more": w.approve,
		"delete many": w.deleteMany, "put back": w.putBack, "put back now": w.putBack,
		"rest": func(*rapid.T) { w.quiet() }, "rest again": func(*rapid.T) { w.quiet() },
		"": func(*rapid.T) { w.tend(); w.sound() },
	}
	for name, act := range all {
		if name != "" {
			all[name] = func(rt *rapid.T) {
				w.note("%s", name)
				act(rt)
			}
		}
	}
	return all
}

// quiet brings DNS to rest. Without sweeps, what was edited by hand is noticed
// at a start.
func (w *world) quiet() {
	w.mu.Lock()
	restart := w.edited && w.options.sweep > time.Minute
	w.edited = false
	w.mu.Unlock()
	if restart {
		w.restartAll()
	}
	w.rest()
}

func drawName(rt *rapid.T) string {
	return fmt.Sprintf("n%d", rapid.IntRange(0, names-1).Draw(rt, "name"))
}

// drawIP draws an address, one in four without a reverse zone.
func drawIP(rt *rapid.T) string {
	i := rapid.IntRange(1, addrs).Draw(rt, "ip")
	if i%4 == 0 {
		return fmt.Sprintf("198.51.100.%d", i)
	}
	return fmt.Sprintf("192.0.2.%d", i)
}

func draw6(rt *rapid.T) (all []string) {
	for i := range 3 {
		if rapid.Bool().Draw(rt, "ip6") {
			all = append(all, fmt.Sprintf("2001:db8::%d", i+1))
		}
	}
	return all
}

func (w *world) newID() int64 {
	w.nextID++
	return 1 + w.nextID
}

// of returns the rows of a device, of all sources. The fence is none.
func (w *world) of(device string) []events.Reservation {
	return slices.DeleteFunc(w.live(), func(r events.Reservation) bool { return r.Identifier != device })
}

// pick draws a device that has rows, and returns some of these: those of one
// source or of all.
func (w *world) pick(rt *rapid.T) []events.Reservation {
	rows := slices.DeleteFunc(w.live(), func(r events.Reservation) bool { return r.Hostname == "fence" })
	if len(rows) == 0 {
		rt.Skip("there are no rows")
	}
	row := rows[rapid.IntRange(0, len(rows)-1).Draw(rt, "row")]
	if rapid.IntRange(0, 3).Draw(rt, "only this one") == 0 {
		return []events.Reservation{row}
	}
	return w.of(row.Identifier)
}

func (w *world) reserve(rt *rapid.T) {
	if !w.reserveOne(rt, drawName(rt)) {
		rt.Skip("the device has a row")
	}
}

// reserveTaken has somebody put a record at a name, and reserves the name before
// the reconciler can have seen that.
func (w *world) reserveTaken(rt *rapid.T) {
	name := drawName(rt)
	w.byHand(func() error {
		w.loosen(name + "." + zone)
		return w.plantNew(solidsim.Record{Name: name + "." + zone, Type: "A", Value: "198.51.100.180", TTL: 3600})
	})
	w.reserveOne(rt, name)
}

// reserveOne inserts the rows of a device that has none, into one source or both.
func (w *world) reserveOne(rt *rapid.T, name string) bool {
	device := rapid.IntRange(1, devices).Draw(rt, "device")
	in := rapid.SampledFrom([][]string{{"us3"}, {"standby"}, {"standby", "us3"}}).Draw(rt, "sources")
	template := reservation("", 0, name, device, append(draw6(rt), drawIP(rt))...)
	if len(w.of(template.Identifier)) > 0 {
		return false
	}
	var rows []events.Reservation
	for _, source := range in {
		template.Source, template.HostID = source, w.newID()
		rows = append(rows, template)
	}
	w.put(rows...)
	return true
}

func (w *world) edit(rt *rapid.T, f func(r *events.Reservation)) {
	rows := w.pick(rt)
	for i := range rows {
		f(&rows[i])
	}
	w.put(rows...)
}

func (w *world) rename(rt *rapid.T) {
	name := drawName(rt)
	w.edit(rt, func(r *events.Reservation) { r.Hostname = name })
}

func (w *world) move(rt *rapid.T) {
	ip := netip.MustParseAddr(drawIP(rt))
	w.edit(rt, func(r *events.Reservation) { r.IP = ip })
}

func (w *world) move6(rt *rapid.T) {
	moved := reservation("", 0, "", 0, draw6(rt)...)
	w.edit(rt, func(r *events.Reservation) { r.IPv6 = moved.IPv6 })
}

// swap gives the addresses of one device to another and the other way round.
func (w *world) swap(rt *rapid.T) {
	a, b := w.pick(rt), w.pick(rt)
	if a[0].Identifier == b[0].Identifier {
		rt.Skip("the same")
	}
	ipA, ipB := a[0].IP, b[0].IP
	for i := range a {
		a[i].IP = ipB
	}
	for i := range b {
		b[i].IP = ipA
	}
	w.put(append(a, b...)...)
}

func keys(rows []events.Reservation) (all []events.Key) {
	for _, r := range rows {
		all = append(all, r.Key())
	}
	return all
}

func (w *world) delete(rt *rapid.T) { w.drop(keys(w.pick(rt))...) }

// deleteMany deletes all that some devices have, which may be too much for the brake.
func (w *world) deleteMany(rt *rapid.T) {
	w.dropped = nil
	for range rapid.IntRange(3, 6).Draw(rt, "devices") {
		if len(w.live()) > 1 { // the fence is one
			rows := w.pick(rt)
			w.dropped = append(w.dropped, rows...)
			w.drop(keys(rows)...)
		}
	}
	if rapid.IntRange(0, 3).Draw(rt, "and rest") > 0 {
		w.quiet()
	}
}

// putBack inserts again what was deleted together, and what is free still of it.
func (w *world) putBack(rt *rapid.T) {
	if len(w.dropped) == 0 {
		rt.Skip("nothing was deleted")
	}
	for _, r := range w.dropped {
		if len(w.of(r.Identifier)) == 0 {
			r.HostID = w.newID()
			w.put(r)
		}
	}
	w.dropped = nil
}

// giveUp deletes a row that another source has as well.
func (w *world) giveUp(rt *rapid.T) {
	rows := w.of(w.pick(rt)[0].Identifier)
	i := slices.IndexFunc(rows, func(r events.Reservation) bool {
		return slices.ContainsFunc(rows, func(o events.Reservation) bool {
			return o.Source != r.Source && o.Hostname == r.Hostname && o.IP == r.IP
		})
	})
	if i < 0 {
		rt.Skip("only one source has it")
	}
	w.drop(rows[i].Key())
	w.reached.add(caseOneLeft)
}

// addAgain is what Kea writes for an update: a deletion, and within the hold-down
// an insertion under another host_id, of which the stream may tell in either order.
// Whatever the new row asks for as well was asked for all the time.
func (w *world) addAgain(rt *rapid.T) {
	rows := w.pick(rt)
	fresh := slices.Clone(rows)
	moves := rapid.SampledFrom([]string{"", "", drawIP(rt)}).Draw(rt, "to")
	for i := range fresh {
		fresh[i].HostID = w.newID()
		if moves != "" {
			fresh[i].IP = netip.MustParseAddr(moves)
		}
	}
	inserted := rapid.Bool().Draw(rt, "the insertion comes first")
	w.loosenContested(rows, fresh, inserted)
	w.change(func(all map[events.Key]events.Reservation) {
		for _, r := range rows {
			delete(all, r.Key())
		}
		for _, r := range fresh {
			all[r.Key()] = r
		}
	})
	if inserted {
		w.publish(fresh)
	}
	for _, r := range rows {
		w.sources[r.Source].Delete(r.HostID)
	}
	if !inserted {
		w.beat(holdDown / 4)
		w.mu.Lock()
		for r := range w.steady {
			if r.name == rows[0].Hostname+"."+zone {
				w.reached.add(caseReadded)
				break
			}
		}
		w.mu.Unlock()
		w.publish(fresh)
	}
}

// loosenContested forgets as steady what somebody else takes over for a moment,
// while the stream tells of rows that go and rows that come: a value that nobody
// asks for is replaced at once by one that somebody asks for.
func (w *world) loosenContested(gone, come []events.Reservation, comeFirst bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	meanwhile := maps.Clone(w.rows)
	step := func() {
		wanted := want(meanwhile)
		maps.DeleteFunc(w.steady, func(r record, _ bool) bool { return wanted[r.set] != nil && !wanted[r.set].values[r.value] })
	}
	remove := func() {
		for _, r := range gone {
			delete(meanwhile, r.Key())
			step()
		}
	}
	if !comeFirst {
		remove()
	}
	for _, source := range sources { // as publish does it
		for _, r := range come {
			if r.Source == source {
				meanwhile[r.Key()] = r
				step()
			}
		}
	}
	if comeFirst {
		remove()
	}
}

// halves inserts a row of a device that has one, which stays for now.
func (w *world) halves(rt *rapid.T) {
	row := w.pick(rt)[0]
	row.HostID, row.Hostname = w.newID(), drawName(rt)
	w.put(row)
	w.reached.add(caseHalves)
}

// intruder lets somebody put a record beside the next that is created.
func (w *world) intruder(*rapid.T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.intruders = 1
}

// faulty spoils the next write of a kind, in one of two worlds: it happened or it did not.
func (w *world) faulty(rt *rapid.T) {
	fault := rapid.SampledFrom([]solidsim.Fault{
		{Reset: true}, {Truncate: true}, {Status: http.StatusInternalServerError},
		{Status: http.StatusBadGateway, Body: "<html>Bad Gateway</html>"}, {Status: http.StatusBadRequest},
	}).Draw(rt, "fault")
	fault.Committed = rapid.Bool().Draw(rt, "committed")
	method := rapid.SampledFrom([]string{http.MethodPost, http.MethodPut, http.MethodDelete}).Draw(rt, "method")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed[method] = append(w.armed[method], fault)
}

// goAway has the server answer nothing for some calls, and then carry out no change
// three times in a row: that is when it counts as away.
func (w *world) goAway(rt *rapid.T) {
	calls := rapid.IntRange(0, 4).Draw(rt, "calls")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = calls
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		w.armed[method] = slices.Repeat([]solidsim.Fault{{Reset: true}}, 3)
	}
}

func (w *world) crash(rt *rapid.T) {
	writes := rapid.IntRange(1, 4).Draw(rt, "writes")
	method := rapid.SampledFrom([]string{"", http.MethodPost, http.MethodPut, http.MethodDelete}).Draw(rt, "method")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.toCrash, w.crashOn = writes, method
}

func (w *world) drawInstance(rt *rapid.T) *process {
	return w.instances[rapid.IntRange(0, len(w.instances)-1).Draw(rt, "instance")]
}

func (w *world) startAnew(rt *rapid.T) { w.restart(w.drawInstance(rt)) }

// cutAway cuts an instance off from NATS, for less or more than the term of its
// lease.
func (w *world) cutAway(rt *rapid.T) {
	p := w.drawInstance(rt)
	if w.cuts++; w.cuts > 2 {
		rt.Skip("twice is enough")
	}
	w.cutOff(p, time.Duration(rapid.IntRange(500, 2500).Draw(rt, "ms"))*time.Millisecond)
}

// loseBucket deletes what dnswriters keep in NATS beside the stream.
func (w *world) loseBucket(rt *rapid.T) {
	if w.options.form != leased || w.options.limit != wide {
		rt.Skip("nobody needs it, or the counts of the hour would be lost")
	}
	w.broker.deleteBucket()
}

// incomplete has a source say that it does not know everything.
func (w *world) incomplete(rt *rapid.T) {
	src := w.sources[rapid.SampledFrom(sources).Draw(rt, "source")]
	src.BeatAs(events.Heartbeat{Hosts: src.Live()})
}

// refill loses the stream, and fills it again in two parts, with signs of life of
// sources that are not complete in between.
func (w *world) refill(rt *rapid.T) {
	if w.refills++; w.refills > 1 {
		rt.Skip("once is enough")
	}
	now := w.sources["us3"].Now
	if err := w.broker.js.DeleteStream(w.broker.t.Context(), events.StreamName); err != nil {
		rt.Fatalf("delete the stream: %v", err)
	}
	w.open(now.Add(holdDown))
	rows := w.live()
	half := rapid.IntRange(0, 99).Draw(rt, "first part") * len(rows) / 100
	for _, part := range [][]events.Reservation{rows[:half], rows[half:]} {
		for _, src := range w.sources {
			src.Now = src.Now.Add(step)
			src.BeatAs(events.Heartbeat{Hosts: src.Live()})
		}
		w.publish(part)
	}
	w.beat(step)
	w.reached.add(caseRefill)
}
