package reconcile

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// memory is a Provider whose calls take time, so that whole runs can be tested
// against a clock. It can be as bad as a server can be.
type memory struct {
	mu      sync.Mutex // guards everything; see do
	latency time.Duration
	// dropsMarks makes it a server that keeps no class parameters.
	dropsMarks bool
	// ignoresExclusive makes it a server that creates beside other rows.
	ignoresExclusive bool
	// zones are those of the server; nil: the zone of these tests and no other.
	zones []dns.Zone
	// before is called before each call takes effect; with an error the call
	// fails and nothing happens.
	before func(call, name string) error
	// slow says how long an answer takes after the call took effect; nil: no time.
	slow func(call, name string) time.Duration

	// delay is how long a change that was accepted takes to be published.
	delay  time.Duration
	stamps map[string]time.Time // of rows by id that are on their way

	rows    []dns.Row
	last    int
	calls   map[string]int
	running int
	most    int // calls at the same time
	aborted int // calls that were cut off by their context
}

// do changes or reads the server in the middle of a test.
func (m *memory) do(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// count returns how many calls of a kind were made.
func (m *memory) count(call string) (n int) {
	m.do(func() { n = m.calls[call] })
	return n
}

// made returns all calls by kind, for reading.
func (m *memory) made() (text string) {
	m.do(func() { text = fmt.Sprint(m.calls) })
	return text
}

func (m *memory) call(ctx context.Context, what, name string, effect func() error) error {
	var latency time.Duration
	m.do(func() {
		if m.calls == nil {
			m.calls = make(map[string]int)
		}
		m.calls[what]++
		m.running++
		m.most = max(m.most, m.running)
		latency = m.latency
	})
	defer m.do(func() { m.running-- })
	if !sleep(ctx, latency) {
		m.do(func() { m.aborted++ })
		return fmt.Errorf("%w: %w", dns.ErrUnclear, ctx.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.before != nil {
		if err := m.before(what, name); err != nil {
			return err
		}
	}
	m.publish()
	err := effect()
	if m.slow != nil {
		wait := m.slow(what, name)
		m.mu.Unlock()
		sleep(ctx, wait)
		m.mu.Lock()
	}
	return err
}

// publish lets what was accepted long enough ago arrive.
func (m *memory) publish() {
	arrived := func(row dns.Row) bool { return time.Since(m.stamps[row.ID]) >= m.delay }
	m.rows = slices.DeleteFunc(m.rows, func(row dns.Row) bool { return row.Deleting && arrived(row) })
	for i, row := range m.rows {
		m.rows[i].Pending = row.Pending && !arrived(row)
	}
}

// delayed notes that a row has changed, and tells whether that takes its time.
func (m *memory) delayed(id string) bool {
	if m.stamps == nil {
		m.stamps = make(map[string]time.Time)
	}
	m.stamps[id] = time.Now()
	return m.delay > 0
}

// master is the error for a zone that the server does not have.
func (m *memory) master(zone string) error {
	if len(m.zones) == 0 || slices.ContainsFunc(m.zones, func(z dns.Zone) bool { return z.Name == zone }) {
		return nil
	}
	return fmt.Errorf("%w: there is no zone %s", dns.ErrRefused, zone)
}

func (m *memory) Zones(ctx context.Context) (zones []dns.Zone, err error) {
	err = m.call(ctx, "zones", "", func() error {
		if zones = slices.Clone(m.zones); len(zones) == 0 {
			zones = []dns.Zone{{Name: labZone}}
		}
		return nil
	})
	return zones, err
}

// serve gives the server zones; one with a + at its end keeps PTR records itself.
func (m *memory) serve(names ...string) {
	m.zones = nil
	for _, name := range names {
		bare, auto := strings.CutSuffix(name, "+")
		m.zones = append(m.zones, dns.Zone{Name: bare, AutoPTR: auto})
	}
}

func (m *memory) Reverse(ctx context.Context) (rows []dns.Row, err error) {
	err = m.call(ctx, "reverse", "", func() error {
		rows = m.find(func(r dns.Row) bool { return strings.HasSuffix(r.Zone, ".arpa") })
		return nil
	})
	return rows, err
}

func (m *memory) Records(ctx context.Context, zone string) (rows []dns.Row, err error) {
	err = m.call(ctx, "records", zone, func() error {
		rows = m.find(func(r dns.Row) bool { return r.Zone == zone })
		return nil
	})
	return rows, err
}

func (m *memory) Lookup(ctx context.Context, zone, name string) (rows []dns.Row, err error) {
	err = m.call(ctx, "lookup", name, func() error {
		rows = m.find(func(r dns.Row) bool { return r.Zone == zone && r.Name == name })
		return m.master(zone)
	})
	return rows, err
}

func (m *memory) Create(ctx context.Context, zone string, rec dns.Record, owner dns.Owner, exclusive bool) (id string, err error) {
	err = m.call(ctx, "create", rec.Name, func() error {
		if slices.ContainsFunc(m.rows, func(r dns.Row) bool {
			return r.Zone == zone && (r.Record.Same(rec) || exclusive && !m.ignoresExclusive && r.Name == rec.Name && r.Type == rec.Type)
		}) {
			return dns.ErrExists
		}
		if err := m.master(zone); err != nil {
			return err
		}
		id = m.add(zone, rec, &owner)
		m.rows[len(m.rows)-1].Pending = m.delayed(id)
		return nil
	})
	return id, err
}

func (m *memory) Update(ctx context.Context, row dns.Row, rec dns.Record, owner dns.Owner) error {
	return m.call(ctx, "update", row.Name, func() error {
		if err := m.master(row.Zone); err != nil {
			return err
		}
		i := m.ours(row)
		if i < 0 {
			return dns.ErrChanged
		}
		m.rows[i].Record, m.rows[i].Owner, m.rows[i].Pending = rec, &owner, m.delayed(m.rows[i].ID)
		return nil
	})
}

func (m *memory) Delete(ctx context.Context, row dns.Row) error {
	return m.call(ctx, "delete", row.Name, func() error {
		if err := m.master(row.Zone); err != nil {
			return err
		}
		i := m.ours(row)
		switch {
		case i >= 0 && m.rows[i].ID != row.ID:
			return dns.ErrChanged
		case i >= 0 && m.delayed(row.ID):
			m.rows[i].Deleting = true
		case i >= 0:
			m.rows = slices.Delete(m.rows, i, i+1)
		}
		return nil
	})
}

func (m *memory) Adopt(ctx context.Context, row dns.Row, owner dns.Owner) error {
	return m.call(ctx, "adopt", row.Name, func() error {
		i := slices.IndexFunc(m.rows, func(r dns.Row) bool { return r.ID == row.ID && r.Record == row.Record })
		if i < 0 {
			return dns.ErrChanged
		}
		m.rows[i].Owner = &owner
		return nil
	})
}

func (m *memory) find(f func(dns.Row) bool) []dns.Row {
	return slices.DeleteFunc(slices.Clone(m.rows), func(r dns.Row) bool { return !f(r) })
}

func (m *memory) ours(row dns.Row) int {
	first := -1
	for i, r := range m.rows {
		if r.Record.Same(row.Record) && r.Owner != nil && (first < 0 || r.ID == row.ID) {
			first = i
		}
	}
	return first
}

func (m *memory) add(zone string, rec dns.Record, owner *dns.Owner) string {
	if m.dropsMarks {
		owner = nil
	}
	m.last++
	id := fmt.Sprint(m.last)
	m.rows = append(m.rows, dns.Row{Record: rec, Zone: zone, ID: id, Owner: owner})
	return id
}

// put adds an A record by hand; without sources it is foreign. It is for before
// the run and for the hook.
func (m *memory) put(name, value string, sources ...string) {
	m.putRecord(labZone, dns.Record{Name: name + "." + labZone, Type: dns.A, Value: value, TTL: 600}, sources...)
}

// putPTR does the same with a PTR record of an address.
func (m *memory) putPTR(zone, ip, target string, sources ...string) {
	m.putRecord(zone, dns.Record{
		Name: dns.ReverseName(netip.MustParseAddr(ip)), Type: dns.PTR, Value: target + "." + labZone, TTL: 600,
	}, sources...)
}

func (m *memory) putRecord(zone string, record dns.Record, sources ...string) {
	var owner *dns.Owner
	if len(sources) > 0 {
		var keys []events.Key
		for _, source := range sources {
			keys = append(keys, events.Key{Source: source, HostID: 1})
		}
		owner = new(dns.NewOwner(keys...))
	}
	m.add(zone, record, owner)
}

// have returns all rows as "name value" and "address ptr name", sorted.
func (m *memory) have() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, r := range m.rows {
		name, value := strings.TrimSuffix(r.Name, "."+labZone), strings.TrimSuffix(r.Value, "."+labZone)
		if addr, ok := dns.ReverseAddr(r.Name); ok {
			name, value = addr.String(), "ptr "+value
		}
		all = append(all, name+" "+value)
	}
	slices.Sort(all)
	return all
}

const labZone = "lab.example.com"

// bench is a Reconciler in a bubble of testing/synctest. There is no NATS in
// it, so the reservations are told to the Reconciler as Watch would, and no
// heartbeat ever comes: what must not happen without one does not.
type bench struct {
	t      *testing.T
	memory *memory
	r      *Reconciler
	log    *journal

	mu   sync.Mutex
	rows map[events.Key]events.Change
}

// inBubble runs a test against a Reconciler whose View has been filled with
// these hosts, each "name address".
func inBubble(t *testing.T, cfg Config, m *memory, hosts []string, test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, memory: m, rows: make(map[events.Key]events.Change), log: &journal{out: t.Output()}}
		cfg.Provider, cfg.View = m, events.NewView()
		if len(cfg.Zones.All()) == 0 {
			cfg.Zones = parseZones(t, labZone)
		}
		cfg.Log = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		b.r = New(cfg)
		b.r.index.last = func(k events.Key) (events.Change, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			c, ok := b.rows[k]
			return c, ok
		}
		for i, host := range hosts {
			b.put(int64(i+1), host)
		}
		b.r.Handlers().CaughtUp()
		test(b)
	})
}

// journal is a log that can be looked at while it is written.
type journal struct {
	out  io.Writer
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(p)
	return j.out.Write(p)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

// run runs the Reconciler while the test looks at it.
func (b *bench) run(test func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error)
	go func() { done <- b.r.Run(ctx) }()
	test()
	cancel()
	if err := <-done; err != nil {
		b.t.Errorf("Run returned %v", err)
	}
}

// put tells of a reservation, "name address" with any number of addresses. Each is
// a device of its own.
func (b *bench) put(id int64, host string) {
	words := strings.Fields(host)
	r := events.Reservation{
		Source: "us3", HostID: id, Hostname: words[0],
		Identifier: fmt.Sprintf("02%010x", id), IdentifierType: "hw-address", Subnet4: new(int64(1)),
	}
	for _, word := range words[1:] {
		if addr := netip.MustParseAddr(word); addr.Is4() {
			r.IP = addr
		} else {
			r.IPv6 = append(r.IPv6, addr)
		}
	}
	b.change(events.Change{Operation: events.Update, Reservation: r})
}

// gone tells of the deletion of a reservation.
func (b *bench) gone(id int64) {
	b.mu.Lock()
	r := b.rows[events.Key{Source: "us3", HostID: id}].Reservation
	b.mu.Unlock()
	b.change(events.Change{Operation: events.Delete, Reservation: r})
}

func (b *bench) change(c events.Change) {
	b.mu.Lock()
	d := events.Difference{Change: c}
	if old, ok := b.rows[c.Reservation.Key()]; ok && !old.Deleted() {
		d.Before = &old.Reservation
	}
	if !c.Deleted() {
		d.After = &c.Reservation
	}
	b.rows[c.Reservation.Key()] = c
	b.mu.Unlock()
	b.r.Handlers().Changed(d)
}

// after lets time pass and checks the rows then.
func (b *bench) after(d time.Duration, want ...string) {
	b.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if have := b.memory.have(); !slices.Equal(have, want) {
		b.t.Fatalf("after %v the rows are %q, want %q", d, have, want)
	}
}

func (b *bench) logged(text string) int {
	synctest.Wait()
	return b.log.count(text)
}
