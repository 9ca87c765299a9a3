package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/services/dnswriter/bucket/buckettest"
	"github.com/keastream/keastream/services/dnswriter/lease"
)

const (
	term   = 800 * time.Millisecond
	renew  = 100 * time.Millisecond
	longer = 5 * time.Second
)

// start starts a server with the stream of reservations, without which there is no
// bucket.
func start(t *testing.T) *eventstest.Server {
	t.Helper()
	srv := eventstest.Start(t)
	eventstest.Open(t, srv.Connect(), events.StreamConfig{})
	return srv
}

// contender is a lease with what competes for it.
type contender struct {
	*lease.Lease
	leading     atomic.Bool
	leaderships atomic.Int64
	lost        atomic.Int64 // leaderships that ended with ErrLost
	metrics     *prometheus.Registry
	end         func() // returns when all has ended
}

func contend(t *testing.T, conn *nats.Conn, term time.Duration) *contender {
	t.Helper()
	c := &contender{metrics: prometheus.NewRegistry()}
	c.Lease = lease.New(lease.Config{Bucket: bucket.New(conn), Name: "default", Term: term, Renew: renew,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: c.metrics})
	ctx, cancel := context.WithCancel(t.Context())
	var running conc.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		c.Lead(ctx, func(ctx context.Context) {
			if c.leading.Swap(true) {
				t.Error("led twice at the same time")
			}
			c.leaderships.Add(1)
			<-ctx.Done()
			if errors.Is(context.Cause(ctx), lease.ErrLost) {
				c.lost.Add(1)
			}
			c.leading.Store(false)
		})
	})
	c.end = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(c.end)
	return c
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look, limit := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("not after 30 s: %s", what)
		}
	}
}

func (c *contender) holds() bool { return c.Held(0) && c.leading.Load() }

// waits tells whether the contender knows of another holder.
func (c *contender) waits() bool {
	name, mine := c.Holder()
	return name != "" && !mine
}

func (c *contender) transitions(t *testing.T, to string) float64 {
	t.Helper()
	families, err := c.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "to" && l.GetValue() == to {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	t.Fatalf("no transitions to %s", to)
	return 0
}

func TestGivenBackAtTheEnd(t *testing.T) {
	t.Parallel()
	srv := start(t)
	// With such a term a standby leads only if the lease is given back.
	first := contend(t, srv.Connect(), time.Hour)
	await(t, "the first one leads", first.holds)
	if !first.Held(30*time.Minute) || first.Held(time.Hour) {
		t.Errorf("held for half the term: %v, for all of it: %v", first.Held(30*time.Minute), first.Held(time.Hour))
	}
	second := contend(t, srv.Connect(), time.Hour)
	await(t, "the second one waits", second.waits)
	if second.Held(0) || second.leading.Load() {
		t.Error("the second one leads beside the first")
	}
	if name, _ := second.Holder(); name == "" || strings.Count(name, ":") != 2 {
		t.Errorf("the holder is %q", name)
	}
	first.end()
	if first.Held(0) {
		t.Error("the first one holds after its end")
	}
	await(t, "the second one leads", second.holds)
	if got := first.transitions(t, "given_back"); got != 1 {
		t.Errorf("given back %v times", got)
	}
	if got := first.lost.Load(); got != 0 {
		t.Errorf("a clean end is a loss %d times", got)
	}
	third := contend(t, srv.Connect(), time.Hour)
	await(t, "the third one waits", third.waits)
	third.end() // a standby that ends gives nothing back
	fourth := contend(t, srv.Connect(), time.Hour)
	await(t, "the fourth one waits", fourth.waits)
	if !second.holds() {
		t.Error("the second one does not lead any more")
	}
}

// The lease is given back after the work has ended, and not before.
func TestWorkEndsBeforeItIsGivenBack(t *testing.T) {
	t.Parallel()
	srv := start(t)
	l := lease.New(lease.Config{Bucket: bucket.New(srv.Connect()), Name: "default", Term: time.Hour, Renew: renew})
	ctx, cancel := context.WithCancel(t.Context())
	leading, finish := make(chan struct{}), make(chan struct{})
	var running conc.WaitGroup
	running.Go(func() { _ = l.Run(ctx) })
	running.Go(func() {
		l.Lead(ctx, func(ctx context.Context) {
			close(leading)
			<-ctx.Done()
			<-finish
		})
	})
	<-leading
	second := contend(t, srv.Connect(), time.Hour)
	await(t, "the second one waits", second.waits)
	holder, _ := l.Holder()
	cancel()
	var doc struct{ Holder string }
	if _, err := bucket.New(srv.Connect()).Get(t.Context(), "lease.default", &doc); err != nil || doc.Holder != holder {
		t.Errorf("the holder is %q while %s is at work: %v", doc.Holder, holder, err)
	}
	if !l.Held(0) {
		t.Error("what is being done may not be ended")
	}
	close(finish)
	running.Wait()
	await(t, "the second one leads", second.holds)
}

// Who returns early is called again for the next leadership, and not for the same.
func TestLeadReturnsEarly(t *testing.T) {
	t.Parallel()
	srv := start(t)
	c := contend(t, srv.Connect(), term)
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	var running conc.WaitGroup
	running.Go(func() { c.Lead(ctx, func(context.Context) { calls.Add(1) }) })
	await(t, "a call", func() bool { return calls.Load() == 1 })
	await(t, "it leads", c.holds)
	srv.Stop()
	await(t, "it is lost", func() bool { return c.lost.Load() == 1 })
	srv.Resume()
	await(t, "it leads again", c.holds)
	await(t, "a call", func() bool { return calls.Load() > 1 })
	cancel()
	running.Wait()
	if got, most := calls.Load(), c.leaderships.Load(); got > most {
		t.Errorf("%d calls in %d leaderships", got, most)
	}
}

func TestHolderVanishes(t *testing.T) {
	t.Parallel()
	srv := start(t)
	conn := srv.Connect()
	first := contend(t, conn, term)
	await(t, "the first one leads", first.holds)
	second := contend(t, srv.Connect(), term)
	await(t, "the second one waits", second.waits)
	conn.Close()
	await(t, "the second one leads", second.holds)
	await(t, "the first one has lost it", func() bool { return !first.Held(0) && !first.leading.Load() && first.lost.Load() == 1 })
}

// A takeover takes less than 15 s, and writes go on if a renewal is a second late.
func TestDefaultTimes(t *testing.T) {
	t.Parallel()
	const writeTimeout, request = 5 * time.Second, 2 * time.Second
	if worst := lease.DefaultTerm + lease.DefaultRenew + request; worst > 15*time.Second {
		t.Errorf("a takeover takes up to %v", worst)
	}
	if spare := lease.DefaultTerm - 2*writeTimeout - lease.DefaultRenew; spare < time.Second {
		t.Errorf("writes stop when a renewal is %v late", spare)
	}
}

// A standby waits for the term of the holder, if that is longer.
func TestTermsDiffer(t *testing.T) {
	t.Parallel()
	srv := start(t)
	conn := srv.Connect()
	first := contend(t, conn, longer)
	await(t, "the first one leads", first.holds)
	second := contend(t, srv.Connect(), term)
	await(t, "the second one waits", second.waits)
	conn.Close()
	await(t, "one of them", func() bool {
		wasFirst := first.Held(0)
		if second.Held(0) && wasFirst && first.Held(0) {
			t.Fatal("both hold the lease")
		}
		return second.holds()
	})
}

func TestServerIsAway(t *testing.T) {
	t.Parallel()
	srv := start(t)
	all := []*contender{contend(t, srv.Connect(), term), contend(t, srv.Connect(), term)}
	leaders := func() (n int) {
		for _, c := range all {
			if c.holds() {
				n++
			}
		}
		return n
	}
	await(t, "one leads", func() bool { return leaders() == 1 })
	srv.Stop()
	await(t, "nobody leads", func() bool {
		return !all[0].Held(0) && !all[1].Held(0) && !all[0].leading.Load() && !all[1].leading.Load()
	})
	if got := all[0].lost.Load() + all[1].lost.Load(); got != 1 {
		t.Errorf("lost %d times", got)
	}
	await(t, "nobody is known to hold it", func() bool {
		first, _ := all[0].Holder()
		second, _ := all[1].Holder()
		return first == "" && second == ""
	})
	srv.Resume()
	await(t, "one leads again", func() bool { return leaders() == 1 })
	if got := all[0].leaderships.Load() + all[1].leaderships.Load(); got < 2 {
		t.Errorf("%d leaderships: one must begin anew after a loss", got)
	}
}

func TestServerComesLater(t *testing.T) {
	t.Parallel()
	srv := start(t)
	conn := srv.Connect()
	srv.Stop()
	c := contend(t, conn, term)
	srv.Resume()
	await(t, "it leads", c.holds)
}

// The outcome of a renewal is not known, and the term is not over: failed, and
// failed but happened.
func TestRenewalGetsLost(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{buckettest.Requests, buckettest.Answers} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			r, direct := buckettest.NewRoute(t, srv.URL()), bucket.New(srv.Connect())
			revision := func() uint64 {
				var doc struct{ Holder string }
				at, err := direct.Get(t.Context(), "lease.default", &doc)
				if err != nil || doc.Holder == "" {
					t.Errorf("the lease of %q: %v", doc.Holder, err)
				}
				return at
			}
			c := contend(t, r.Conn, time.Hour)
			await(t, "it leads", c.holds)
			r.Lose(lost)
			// Whose renewals are answered goes on with them.
			last, since := revision(), time.Now()
			await(t, "a renewal without an answer", func() bool {
				if at := revision(); at != last {
					last, since = at, time.Now()
				}
				return time.Since(since) > 10*renew
			})
			r.Heal()
			before := revision()
			await(t, "renewals", func() bool { return revision() > before+3 })
			if !c.holds() || c.leaderships.Load() != 1 {
				t.Errorf("held: %v, after %d leaderships", c.Held(0), c.leaderships.Load())
			}
		})
	}
}

// Renewals get lost for longer than the term. One that was stored and not answered
// does not count for the holder, and does for the standby.
func TestRenewalsStayLost(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{buckettest.Requests, buckettest.Answers} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			r := buckettest.NewRoute(t, srv.URL())
			first := contend(t, r.Conn, term)
			await(t, "the first one leads", first.holds)
			second := contend(t, srv.Connect(), term)
			await(t, "the second one waits", second.waits)
			r.Lose(lost)
			await(t, "the second one leads, and never both", func() bool {
				wasFirst := first.Held(0)
				if second.Held(0) && wasFirst && first.Held(0) {
					t.Fatal("both hold the lease")
				}
				return second.holds()
			})
			r.Heal()
			await(t, "the first one waits", first.waits)
		})
	}
}
