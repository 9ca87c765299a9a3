package reconcile

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// chair is a Lease that a test gives and takes away.
type chair struct {
	mu    sync.Mutex
	taken context.CancelFunc // nil: somebody else has it
	given chan struct{}
	short bool // it is held, but not for long
}

func newChair() *chair { return &chair{} }

// gifts is made within the bubble.
func (c *chair) gifts() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.given == nil {
		c.given = make(chan struct{}, 1)
	}
	return c.given
}

func (c *chair) give() { c.gifts() <- struct{}{} }

func (c *chair) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken()
	c.taken = nil
}

func (c *chair) shorten(short bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.short = short
}

func (c *chair) Held(left time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken != nil && !(c.short && left > 5*time.Second)
}

func (c *chair) Lead(ctx context.Context, lead func(context.Context)) {
	for {
		select {
		case <-c.gifts():
		case <-ctx.Done():
			return
		}
		leading, cancel := context.WithCancel(ctx)
		c.mu.Lock()
		c.taken = cancel
		c.mu.Unlock()
		lead(leading)
		cancel()
	}
}

// Who stands by knows the reservations, asks DNS for nothing, and begins with a
// check of everything when it is his turn; once more after 5, 20, 40 and 60 s, and
// then on time.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	m := &memory{}
	lease := newChair()
	var beats atomic.Int64
	cfg := Config{Lease: lease, Sweep: 15 * time.Minute, Alive: func() { beats.Add(1) }}
	inBubble(t, cfg, m, []string{"a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Hour)
			b.put(2, "b 192.0.2.2")
			b.after(time.Minute)
			if err := b.r.InStep(); err != nil || !b.r.StandsBy() || m.made() != "map[]" || b.r.queue.len() != 0 {
				t.Errorf("who stands by says %v, has made the calls %s, with %d names in the queue", err, m.made(), b.r.queue.len())
			}
			if beats.Load() < 3600 {
				t.Errorf("%d beats in an hour", beats.Load())
			}
			lease.give()
			start := time.Now()
			for _, step := range []struct {
				at    time.Duration
				zones int
			}{
				{time.Second, 1},
				{takeover + time.Second, 2},
				{recheck - time.Second, 2},
				{recheck + time.Second, 3},
				{2*recheck - time.Second, 3},
				{2*recheck + time.Second, 4},
				{lateness - time.Second, 4},
				{lateness + time.Second, 5},
				{15*time.Minute - time.Second, 5},
				{15*time.Minute + time.Second, 6},
				{45*time.Minute - time.Second, 7},
			} {
				time.Sleep(step.at - time.Since(start))
				if n := m.count("zones"); n != step.zones {
					t.Errorf("after %v: %d checks, want %d", step.at, n, step.zones)
				}
			}
			b.after(0, "a 192.0.2.1", "b 192.0.2.2")
			if b.r.StandsBy() || b.r.InStep() != nil {
				t.Errorf("who works stands by: %v, and says %v", b.r.StandsBy(), b.r.InStep())
			}
		})
	})
}

// What another instance did meanwhile is found, and so is what it sent before it
// lost the lease and which happens later.
func TestLeadershipBeginsWithNothing(t *testing.T) {
	t.Parallel()
	m := &memory{}
	lease := newChair()
	reg := prometheus.NewRegistry()
	cfg := Config{Lease: lease, Sweep: time.Hour, Metrics: NewMetrics(reg)}
	inBubble(t, cfg, m, []string{"a 192.0.2.1", "-bad 192.0.2.9", "foreign 192.0.2.8"}, func(b *bench) {
		m.put("foreign", "192.0.2.99")
		b.run(func() {
			lease.give()
			b.after(2*time.Minute, "a 192.0.2.1", "foreign 192.0.2.99")
			if n := gauges(t, reg, "keastream_conflicts", "keastream_dns_records"); n < 2 {
				t.Errorf("the records and conflicts count %v", n)
			}
			lease.take()
			b.after(time.Second, "a 192.0.2.1", "foreign 192.0.2.99")
			if n := gauges(t, reg, "keastream_conflicts", "keastream_dns_records"); n != 0 || !b.r.StandsBy() {
				t.Errorf("who stands by counts %v records and conflicts", n)
			}
			b.put(2, "b 192.0.2.2") // the other one makes it
			m.do(func() {
				m.put("b", "192.0.2.2", "us3")
				m.rows[1].Value = "192.0.2.77"
			})
			b.after(time.Hour, "a 192.0.2.77", "b 192.0.2.2", "foreign 192.0.2.99")
			checks := m.count("records")
			lease.give()
			b.after(0, "a 192.0.2.1", "b 192.0.2.2", "foreign 192.0.2.99")
			if m.count("records") == checks || m.count("create") != 1 {
				t.Errorf("the calls are %s", m.made())
			}
			b.after(3*time.Second, "a 192.0.2.1", "b 192.0.2.2", "foreign 192.0.2.99")
			for _, test := range []time.Duration{takeover, lateness} { // since the takeover
				m.do(func() { m.rows[1].Value = "192.0.2.78" })
				b.after(test, "a 192.0.2.1", "b 192.0.2.2", "foreign 192.0.2.99")
			}
		})
	})
}

// A change that could reach the server after the lease was lost is not sent, and
// that is no failure of the name. The check is not over before it was.
func TestNoChangeIsSentShortly(t *testing.T) {
	t.Parallel()
	m := &memory{}
	lease := newChair()
	inBubble(t, Config{Lease: lease, Sweep: time.Hour}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			lease.shorten(true)
			lease.give()
			b.after(30 * time.Second)
			if b.r.InStep() == nil {
				t.Error("the check is over although nothing could be sent")
			}
			lease.shorten(false)
			b.after(time.Second, "a 192.0.2.1")
			if err := b.r.InStep(); err != nil {
				t.Errorf("InStep says %v", err)
			}
			lease.shorten(true)
			b.put(2, "b 192.0.2.2")
			b.after(30*time.Second, "a 192.0.2.1")
			lease.shorten(false)
			b.after(time.Second, "a 192.0.2.1", "b 192.0.2.2")
			if n := b.logged("dns change failed"); n != 0 || m.count("create") != 2 {
				t.Errorf("%d failures, with the calls %s", n, m.made())
			}
		})
	})
}

// The time that is left of a lease may be used up by what an operation has to read
// before it sends its change. The provider finds out, sends nothing, and nobody is to
// blame; the change is made when the lease is held again.
func TestChangeIsKeptBackAfterAReading(t *testing.T) {
	t.Parallel()
	m := &memory{}
	lease := newChair()
	m.before = func(call, _ string) error {
		if call == "update" && !lease.Held(sending) {
			return fmt.Errorf("change it: %w", dns.ErrNotNow)
		}
		return nil
	}
	reg := prometheus.NewRegistry()
	inBubble(t, Config{Lease: lease, Sweep: time.Hour, Metrics: NewMetrics(reg)}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			lease.give()
			b.after(2*time.Minute, "a 192.0.2.1")
			m.do(func() { m.latency = 2 * time.Second })
			lookups := m.count("lookup")
			b.put(1, "a 192.0.2.2")
			time.Sleep(time.Second) // it is being read
			lease.shorten(true)
			b.after(30*time.Second, "a 192.0.2.1")
			if n := m.count("update"); n != 1 {
				t.Errorf("%d updates were tried, want 1", n)
			}
			if err := b.r.InStep(); err != nil || b.logged("dns change failed")+b.logged("does not answer") != 0 {
				t.Errorf("somebody is to blame: %v", err)
			}
			lease.shorten(false)
			b.after(3*time.Second, "a 192.0.2.2")
			if n := m.count("lookup"); n != lookups {
				t.Errorf("the name was read %d times, though nothing was unclear", n-lookups)
			}
			// Create and update, both ok.
			if n, err := testutil.GatherAndCount(reg, "keastream_dns_changes_total"); err != nil || n != 2 {
				t.Errorf("%d outcomes of changes are counted, want 2, %v", n, err)
			}
		})
	})
}

// A check from cron beside an instance that works for good gets its turn.
func TestOnceTakesNoLease(t *testing.T) {
	t.Parallel()
	m := &memory{}
	inBubble(t, Config{Lease: newChair()}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		result, err := b.r.RunOnce(b.t.Context())
		if err != nil || result.Created != 1 {
			t.Errorf("the result is %+v, %v", result, err)
		}
		synctest.Wait()
	})
}

// gauges adds up all series of some metrics.
func gauges(t *testing.T, reg *prometheus.Registry, names ...string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, name := range names {
			if family.GetName() == name {
				for _, metric := range family.GetMetric() {
					sum += metric.GetGauge().GetValue()
				}
			}
		}
	}
	return sum
}
