package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// braked is a live Reconciler with a brake that keeps its counts in NATS. A rack
// of hosts is in step at the start.
type braked struct {
	*live
	store *store
	brake *brake.Brake
}

// store is the bucket, which a test can make fail.
type store struct {
	*bucket.Bucket
	broken atomic.Bool
	puts   atomic.Int64
}

func (s *store) Put(ctx context.Context, key string, revision uint64, v any) (uint64, error) {
	if strings.HasPrefix(key, "counts.") {
		s.puts.Add(1)
		if s.broken.Load() {
			return 0, errors.New("the bucket is broken")
		}
	}
	return s.Bucket.Put(ctx, key, revision, v)
}

const rack = 6

func rackHost(i int) (name, ip string) { return fmt.Sprintf("h%d", i), fmt.Sprintf("192.0.2.%d", i) }

// followBraked makes one that allows two names, at a hold-down of half a second.
func followBraked(t *testing.T, cfg Config) *braked {
	t.Helper()
	m := &memory{}
	m.serve(labZone, "2.0.192.in-addr.arpa")
	var hosts []events.Reservation
	for i := 1; i <= rack; i++ {
		name, ip := rackHost(i)
		m.put(name, ip, "us3")
		m.putPTR("2.0.192.in-addr.arpa", ip, name, "us3")
		hosts = append(hosts, eventstest.Reservation("us3", int64(i), name, ip))
	}
	b := &braked{live: follow(t, cfg, m, hosts...)}
	b.renew(b.server.Connect())
	return b
}

// renew makes the brake of a Reconciler.
func (b *braked) renew(conn *nats.Conn) {
	b.store = &store{Bucket: bucket.New(conn)}
	b.brake = brake.New(brake.Config{
		Scope: "internal", Limit: brake.Limit{Min: 2, Percent: 10, Max: 200}, HoldDown: 500 * time.Millisecond,
		Store: b.store, Owned: b.r.Owned, Released: b.r.Released, Log: b.r.log,
	})
	b.r.mu.Lock()
	b.r.cfg.Brake = b.brake
	b.r.mu.Unlock()
}

// list waits until the brake withholds a list.
func (b *braked) list(kind brake.Kind, names int) (list brake.List) {
	b.t.Helper()
	b.await("the list", func() bool {
		b.src.Beat(20 * time.Second)
		lists := b.brake.Lists()
		i := slices.IndexFunc(lists, func(l brake.List) bool { return l.Kind == kind && l.Names == names })
		if i >= 0 {
			list = lists[i]
		}
		return i >= 0 && b.brake.Judged()
	})
	return list
}

func (b *braked) approve(list brake.List) {
	b.t.Helper()
	if _, err := brake.Approve(b.t.Context(), b.store, list.Hash); err != nil {
		b.t.Fatal(err)
	}
}

// rows are those of the rack, but for some hosts.
func rowsWithout(gone ...int) (rows []string) {
	for i := 1; i <= rack; i++ {
		if name, ip := rackHost(i); !slices.Contains(gone, i) {
			rows = append(rows, name+" "+ip, ip+" ptr "+name)
		}
	}
	slices.Sort(rows)
	return rows
}

// Two names may go, with their PTR records. Of three nothing goes until a person
// approves it, and then no more than that.
func TestBrakeStopsWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	b := followBraked(t, Config{HoldDown: 500 * time.Millisecond})
	b.run(func() {
		b.await("the check", func() bool { return b.r.InStep() == nil })
		if n := b.r.Owned(); n != rack {
			t.Errorf("%d names are ours", n)
		}
		b.src.Delete(1)
		b.awaitRows(rowsWithout(1)...)
		b.src.Delete(2, 3)
		list := b.list(brake.Removal, 2)
		if len(list.Items) != 4 || list.Recent != 1 {
			t.Errorf("the list is %+v", list)
		}
		b.awaitProof(4)
		b.awaitRows(rowsWithout(1)...)
		b.await("a status of what is withheld and nothing unproven", func() bool {
			s := b.r.Status()
			return s.Withheld == 2 && s.Unproven == 0
		})
		explained, _, err := b.r.Explain("h2."+labZone, 1)
		if text := fmt.Sprint(explained); err != nil || !strings.Contains(text, "approve "+list.Hash) {
			t.Errorf("the explanation is %s, %v", text, err)
		}
		b.approve(list)
		b.awaitRows(rowsWithout(1, 2, 3)...)
		b.await("an empty list", func() bool { return len(b.brake.Lists()) == 0 })
	})
}

// Changes of address go at once as long as they are few.
func TestBrakeStopsReplacements(t *testing.T) {
	t.Parallel()
	b := followBraked(t, Config{PTR: 2, HoldDown: 500 * time.Millisecond}) // without PTR records
	addresses := func() (moved int) {
		for _, row := range b.memory.have() {
			if strings.Contains(row, " 192.0.2.10") {
				moved++
			}
		}
		return moved
	}
	b.run(func() {
		b.await("the check", func() bool { return b.r.InStep() == nil })
		b.await("the limit", b.brake.Judged)
		for i := range 3 {
			name, _ := rackHost(i + 1)
			b.src.Put(eventstest.Reservation("us3", int64(i+1), name, fmt.Sprintf("192.0.2.10%d", i)))
		}
		list := b.list(brake.Replacement, 1)
		if n := addresses(); n != 2 {
			t.Errorf("%d addresses were changed, want 2", n)
		}
		if want := "h3.lab.example.com A 192.0.2.3 -> 192.0.2.102"; len(list.Items) != 1 || list.Items[0].Record != want {
			t.Errorf("the list is %+v", list)
		}
		b.src.Put(eventstest.Reservation("us3", 9, "new", "192.0.2.9"))
		b.await("an addition", func() bool { return slices.Contains(b.memory.have(), "new 192.0.2.9") })
		b.approve(list)
		b.await("the change", func() bool { return addresses() == 3 })
	})
}

// What a narrower filter leaves out needs approval, however little it is.
func TestUncoveredNamesNeedApproval(t *testing.T) {
	t.Parallel()
	cares := func(r events.Reservation) bool { return r.Hostname != "h2" }
	b := followBraked(t, Config{Cares: cares, HoldDown: 500 * time.Millisecond})
	b.run(func() {
		list := b.list(brake.Uncovered, 1)
		if len(list.Items) != 2 {
			t.Errorf("the list is %+v", list)
		}
		b.awaitProof(2)
		b.awaitRows(rowsWithout()...)
		b.approve(list)
		b.awaitRows(rowsWithout(2)...)
	})
}

// Nothing is sent before it is counted. A name that could not be counted is none
// that failed, and keeps no check from its end.
func TestNothingGoesUncounted(t *testing.T) {
	t.Parallel()
	b := followBraked(t, Config{HoldDown: 500 * time.Millisecond})
	b.run(func() {
		b.await("the check", func() bool { return b.r.InStep() == nil })
		b.store.broken.Store(true)
		b.src.Delete(1)
		b.await("attempts to count", func() bool {
			b.src.Beat(20 * time.Second)
			return b.store.puts.Load() > 5
		})
		b.awaitRows(rowsWithout()...)
		if n := b.memory.count("delete") + b.log.count("dns change failed"); n != 0 {
			t.Errorf("%d removals and failures", n)
		}
		b.store.broken.Store(false)
		b.awaitRows(rowsWithout(1)...)
	})
}

// While a source is not complete, nobody is asked to approve what it may only
// have forgotten.
func TestBrakeHearsNothingOfAnIncompleteSource(t *testing.T) {
	t.Parallel()
	b := followBraked(t, Config{HoldDown: 500 * time.Millisecond})
	b.run(func() {
		b.await("the check", func() bool { return b.r.InStep() == nil })
		incomplete := func() bool { return !b.r.allComplete([]string{"us3"}) }
		b.src.BeatAs(events.Heartbeat{Hosts: b.src.Live()})
		b.await("the heartbeat", incomplete)
		b.src.Delete(1, 2, 3)
		holds := func() int { b.r.mu.Lock(); defer b.r.mu.Unlock(); return len(b.r.holds) }
		b.await("the plans", func() bool { return holds() == 6 })
		b.await("the judgement", b.brake.Judged)
		if b.brake.May(brake.Removal, "h1."+labZone) || len(b.brake.Lists()) != 0 {
			t.Error("the brake knows of it")
		}
		b.list(brake.Removal, 3)
		b.src.BeatAs(events.Heartbeat{Hosts: b.src.Live()})
		b.await("the heartbeat", incomplete)
		b.await("an empty list", func() bool { return len(b.brake.Lists()) == 0 })
	})
}

// A check from cron judges, tells the list, and leaves it in the store; the next
// one does what was approved meanwhile.
func TestOnceTellsWhatIsWithheld(t *testing.T) {
	t.Parallel()
	b := followBraked(t, Config{HoldDown: 500 * time.Millisecond})
	b.src.Delete(1, 2, 3)
	b.src.Beat(time.Minute)
	once := func() Result {
		done := make(chan struct{})
		var result Result
		var err error
		go func() { defer close(done); result, err = b.r.RunOnce(t.Context()) }()
		b.await("the end", func() bool {
			b.src.Beat(20 * time.Second)
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	result := once()
	if result.Removed != 0 || len(result.Withheld) != 0 || len(result.Stopped) != 1 || result.Stopped[0].Names != 3 {
		t.Fatalf("the result is %+v", result)
	}
	b.approve(result.Stopped[0])
	b.again(b.r.cfg)
	b.renew(b.server.Connect())
	if result := once(); result.Removed != 6 || len(result.Stopped)+len(result.Withheld) != 0 {
		t.Errorf("after the approval the result is %+v", result)
	}
	b.awaitRows(rowsWithout(1, 2, 3)...)
}

// A row that was created beside somebody else's is taken back though nothing may
// be removed: it is our own mistake.
func TestBrakeLetsMistakesBeTakenBack(t *testing.T) {
	t.Parallel()
	m := &memory{ignoresExclusive: true}
	m.put("known", "192.0.2.100", "us3")
	inBubble(t, Config{}, m, []string{"known 192.0.2.100"}, func(b *bench) {
		b.r.cfg.Brake = brake.New(brake.Config{Scope: "internal", Owned: func() int { return 0 }})
		b.run(func() {
			b.after(time.Second, "known 192.0.2.100")
			m.do(func() { m.put("a", "192.0.2.99") })
			b.put(2, "a 192.0.2.1")
			b.after(time.Second, "a 192.0.2.99", "known 192.0.2.100")
			if m.count("create") != 1 || m.count("delete") != 1 {
				t.Errorf("the calls are %v", m.made())
			}
		})
	})
}

// Who stands by has nothing that he wants to take away. The brake is told when
// everything has been looked at, on which a look without writing waits.
func TestBrakeKnowsOfALeadership(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("a", "192.0.2.1", "us3")
	lease := newChair()
	inBubble(t, Config{Lease: lease}, m, []string{"a 192.0.2.2"}, func(b *bench) {
		b.r.cfg.Brake = brake.New(brake.Config{
			Scope: "internal", HoldDown: time.Hour, ReadOnly: true, Owned: b.r.Owned, Released: b.r.Released,
		})
		lists := func() int { time.Sleep(30 * time.Second); return len(b.r.cfg.Brake.Lists()) }
		b.run(func() {
			lease.give()
			if n := lists(); n != 1 {
				t.Errorf("%d lists after the first check", n)
			}
			lease.take()
			b.gone(1)
			b.after(time.Second, "a 192.0.2.1")
			m.do(func() { m.rows = nil })
			lease.give()
			if n := lists(); n != 0 {
				t.Errorf("%d lists of what another instance has done", n)
			}
		})
	})
}
