package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

var _ Provider = (*memory)(nil)

func manyHosts(n int) []string {
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d 198.51.%d.%d", i, i/250, 1+i%250)
	}
	return hosts
}

// The start-up of N missing records costs N latencies divided by the workers,
// and a few for reading: before, for the first marks, and after.
func TestStartUpIsAsParallelAsTheWorkers(t *testing.T) {
	t.Parallel()
	const n, workers, latency = 4000, 8, 100 * time.Millisecond
	m := &memory{latency: latency}
	inBubble(t, Config{Workers: workers}, m, manyHosts(n), func(b *bench) {
		start := time.Now()
		b.run(func() {
			for b.r.InStep() != nil {
				time.Sleep(latency / 10)
			}
			took := time.Since(start)
			if bar := n * latency / workers * 12 / 10; took > bar {
				t.Errorf("%d records took %v, want at most %v", n, took, bar)
			}
			m.do(func() {
				if m.most != workers {
					t.Errorf("%d calls at a time, want %d", m.most, workers)
				}
			})
			if len(m.have()) != n || m.count("create") != n || m.count("records") != 2 || m.count("lookup") > workers {
				t.Errorf("%d rows after the calls %v", len(m.have()), m.made())
			}
			t.Logf("%d records, %d workers, %v per call: %v", n, workers, latency, took)
		})
	})
}

func TestConvergedStartWritesNothing(t *testing.T) {
	t.Parallel()
	m := &memory{}
	hosts := manyHosts(100)
	for i := range hosts {
		var name, ip string
		fmt.Sscan(hosts[i], &name, &ip)
		m.put(name, ip, "us3")
	}
	inBubble(t, Config{}, m, hosts, func(b *bench) {
		b.run(func() {
			time.Sleep(lateness - time.Second)
			if m.count("records") != 1 || m.count("lookup")+m.count("create")+m.count("update")+m.count("delete") != 0 {
				t.Errorf("a start in step made the calls %v", m.made())
			}
			time.Sleep(10 * time.Minute) // and once more, for what a crash left behind
			if m.count("records") != 2 || m.count("lookup")+m.count("create")+m.count("update")+m.count("delete") != 0 {
				t.Errorf("ten minutes in step made the calls %v", m.made())
			}
		})
	})
}

// An event costs one write, and one read that confirms it.
func TestEventCostsOneCall(t *testing.T) {
	t.Parallel()
	m := &memory{latency: 100 * time.Millisecond}
	inBubble(t, Config{}, m, nil, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Second)
			b.put(1, "a 192.0.2.1")
			b.after(101*time.Millisecond, "a 192.0.2.1")
			b.put(1, "a 192.0.2.2")
			time.Sleep(time.Second)
			if m.count("create") != 1 || m.count("update") != 1 || m.count("lookup") != 1 {
				t.Errorf("the calls are %v", m.made())
			}
		})
	})
}

func TestChecksRunOnTime(t *testing.T) {
	t.Parallel()
	m := &memory{}
	inBubble(t, Config{Sweep: 15 * time.Minute}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Minute, "a 192.0.2.1")
			m.do(func() { m.rows, m.calls = nil, nil })
			b.after(13 * time.Minute)
			b.after(2*time.Minute, "a 192.0.2.1")
			if m.count("records") != 2 { // one to find it, one to confirm it
				t.Errorf("the calls are %v", m.made())
			}
		})
	})
}

// Without marks nothing can be known to be ours, so nothing is changed or
// removed any more.
func TestServerThatKeepsNoMarks(t *testing.T) {
	t.Parallel()
	m := &memory{dropsMarks: true}
	inBubble(t, Config{HoldDown: time.Second}, m, []string{"a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3"}, func(b *bench) {
		b.run(func() {
			b.after(time.Minute, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3")
			if err := b.r.KeepsMarks(); !errors.Is(err, errMarksLost) {
				t.Errorf("KeepsMarks says %v", err)
			}
			if b.logged("running create-only until restarted") != 1 {
				t.Error("the log does not say it once")
			}
			b.put(1, "a 192.0.2.11")
			b.gone(2)
			b.put(4, "d 192.0.2.4")
			b.after(time.Hour, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3", "d 192.0.2.4")
			if m.count("update")+m.count("delete") != 0 {
				t.Errorf("the calls are %v", m.made())
			}
			if err := b.r.InStep(); err != nil {
				t.Errorf("InStep says %v", err)
			}
		})
	})
}

// A server that creates beside foreign rows, although it was asked not to: what
// was created is withdrawn, after an event as well as after a check.
func TestWithdrawal(t *testing.T) {
	t.Parallel()
	m := &memory{ignoresExclusive: true}
	m.put("known", "192.0.2.100", "us3") // so that it is known that marks are kept
	slipIn := func(call, name string) error {
		if call == "create" && (name == "a."+labZone || name == "b."+labZone) {
			m.put(name[:1], "192.0.2.99")
		}
		return nil
	}
	m.before = slipIn
	inBubble(t, Config{}, m, []string{"known 192.0.2.100", "a 192.0.2.1", "c 192.0.2.3"}, func(b *bench) {
		b.run(func() {
			b.after(time.Minute, "a 192.0.2.99", "c 192.0.2.3", "known 192.0.2.100")
			if m.count("lookup") != 1 {
				t.Errorf("the calls are %v: only the odd name needs a look of its own", m.made())
			}
			b.put(9, "b 192.0.2.2")
			b.after(time.Minute, "a 192.0.2.99", "b 192.0.2.99", "c 192.0.2.3", "known 192.0.2.100")
			if b.logged("Withdrawn A record") != 2 || b.logged("conflict: the name is left as it is") != 2 {
				t.Error("the log does not tell of both")
			}
			creations := m.count("create")
			b.after(24*time.Hour, "a 192.0.2.99", "b 192.0.2.99", "c 192.0.2.3", "known 192.0.2.100")
			if m.count("create") != creations {
				t.Error("it was tried again")
			}
		})
	})
}

// An alias that somebody makes at the same moment has the name: a record of ours
// beside it would make the zone unreadable for a name server.
func TestWithdrawalFromAnAlias(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("known", "192.0.2.100", "us3")
	m.before = func(call, name string) error {
		if call == "create" && len(m.rows) < 4 && (name == "a."+labZone || name == "b."+labZone) {
			m.putRecord(labZone, dns.Record{Name: name, Type: dns.CNAME, Value: "www.example.com", TTL: 600})
		}
		return nil
	}
	inBubble(t, Config{}, m, []string{"known 192.0.2.100", "a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Minute, "a www.example.com", "known 192.0.2.100")
			b.put(9, "b 192.0.2.2")
			b.after(time.Hour, "a www.example.com", "b www.example.com", "known 192.0.2.100")
			if b.logged("conflict: the name is left as it is") != 2 {
				t.Error("the log does not tell of both")
			}
		})
	})
}

// A write whose outcome was unclear happens after all, when the name has long
// been settled in another way.
func TestLateWriteIsRepaired(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("a", "192.0.2.1", "us3")
	late := false
	m.before = func(call, _ string) error {
		if call == "update" && !late {
			late = true
			return fmt.Errorf("no answer: %w", dns.ErrUnclear)
		}
		return nil
	}
	inBubble(t, Config{Sweep: time.Hour}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			b.after(time.Second, "a 192.0.2.1")
			b.put(1, "a 192.0.2.2") // does not happen now
			b.put(1, "a 192.0.2.3")
			b.after(5*time.Second, "a 192.0.2.3")
			m.do(func() { m.rows[0].Value = "192.0.2.2" }) // but now
			b.after(lateness, "a 192.0.2.3")
		})
	})
}

// Between reservations a conflict has to last; a foreign record is there or not.
func TestConflictsAreRaisedInTime(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("b", "192.0.2.99")
	inBubble(t, Config{HoldDown: 10 * time.Second}, m, []string{"a 192.0.2.1", "b 192.0.2.2"}, func(b *bench) {
		const raised = "conflict: the name is left as it is"
		b.run(func() {
			b.after(2*time.Second, "a 192.0.2.1", "b 192.0.2.99")
			if b.logged(raised) != 1 {
				t.Error("the foreign record is not told of")
			}
			b.put(3, "a 192.0.2.3") // the name goes from one device to another
			b.after(5*time.Second, "a 192.0.2.1", "b 192.0.2.99")
			b.gone(1)
			b.after(time.Minute, "a 192.0.2.3", "b 192.0.2.99")
			if b.logged(raised) != 1 {
				t.Error("a conflict of a few seconds was told of")
			}
			b.put(4, "a 192.0.2.4")
			b.after(12*time.Second, "a 192.0.2.3", "b 192.0.2.99")
			if b.logged(raised) != 2 {
				t.Error("a conflict that lasts is not told of")
			}
			b.gone(4)
			b.after(time.Hour, "a 192.0.2.3", "b 192.0.2.99")
			if b.logged(raised) != 2 || b.logged("conflict is over") != 1 {
				t.Error("it was told again, or its end was not")
			}
		})
	})
}

// A zone that cannot be read keeps only its own names waiting.
func TestUnreadableZone(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.serve(labZone, "other.example.com")
	broken := true
	m.before = func(call, name string) error {
		if broken && call == "records" && name == "other.example.com" {
			return errors.New("expected 1 zone, found 0")
		}
		return nil
	}
	cfg := Config{Zones: parseZones(t, labZone, "2=other.example.com")}
	inBubble(t, cfg, m, []string{"a 192.0.2.1", "b.other.example.com 192.0.2.2"}, func(b *bench) {
		b.run(func() {
			b.after(time.Second, "a 192.0.2.1")
			b.put(3, "c 192.0.2.3")
			b.put(4, "d.other.example.com 192.0.2.4")
			b.after(time.Second, "a 192.0.2.1", "c 192.0.2.3")
			if err := b.r.InStep(); err == nil {
				t.Error("InStep does not tell of the zone")
			}
			b.after(time.Hour, "a 192.0.2.1", "c 192.0.2.3")
			if b.logged("a zone cannot be read") != 1 {
				t.Errorf("the zone is told of %d times", b.logged("a zone cannot be read"))
			}
			m.do(func() { broken = false })
			b.after(unservedPause, "a 192.0.2.1", "b.other.example.com 192.0.2.2", "c 192.0.2.3", "d.other.example.com 192.0.2.4")
			if err := b.r.InStep(); err != nil {
				t.Errorf("InStep says %v", err)
			}
		})
	})
}

// A write that has begun when the program is told to stop is given time to end.
func TestStopLetsWritesEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		latency time.Duration
		aborted int
	}{{4 * time.Second, 0}, {time.Minute, 1}} {
		m := &memory{}
		inBubble(t, Config{}, m, nil, func(b *bench) {
			var stop time.Time
			b.run(func() {
				time.Sleep(time.Second)
				m.do(func() { m.latency = test.latency })
				b.put(1, "a 192.0.2.1")
				time.Sleep(time.Second)
				stop = time.Now()
			})
			if took := time.Since(stop); took > 10*time.Second || m.aborted != test.aborted {
				t.Errorf("with calls of %v it took %v to stop, and %d were cut off", test.latency, took, m.aborted)
			}
		})
	}
}

// A refused name is tried again for ever, but rarely; its event waits no longer
// than any other.
func TestRefusedNameIsTriedRarely(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.before = func(call, name string) error {
		if call == "create" && name == "bad."+labZone {
			return fmt.Errorf("guardian says no: %w", dns.ErrRefused)
		}
		return nil
	}
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, []string{"bad 192.0.2.1"}, func(b *bench) {
		b.run(func() {
			time.Sleep(10 * time.Hour)
			if n := m.count("create"); n < 10*60/5 || n > 10*60/2 {
				t.Errorf("it was tried %d times in 10 hours", n)
			}
			if n := b.logged("level=WARN"); n != 1 {
				t.Errorf("%d warnings, want one", n)
			}
			m.do(func() { m.before = nil })
			b.put(1, "bad 192.0.2.2")
			b.after(time.Second, "bad 192.0.2.2")
		})
	})
}

func TestAliveUntilAWorkerHangs(t *testing.T) {
	t.Parallel()
	m := &memory{}
	var beats atomic.Int64
	inBubble(t, Config{Alive: func() { beats.Add(1) }}, m, nil, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Minute)
			if beats.Load() < 50 {
				t.Errorf("%d beats in a minute", beats.Load())
			}
			m.do(func() { m.latency = 24 * time.Hour })
			b.put(1, "a 192.0.2.1")
			time.Sleep(hanging + time.Minute)
			before := beats.Load()
			time.Sleep(time.Minute)
			if beats.Load() != before {
				t.Error("it beats although a worker hangs")
			}
		})
	})
}

func TestOnce(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("moved", "192.0.2.1", "us3")
	m.put("orphan", "192.0.2.9", "us3")
	inBubble(t, Config{Sources: []string{"us3"}}, m, []string{"new 192.0.2.2", "moved 192.0.2.3"}, func(b *bench) {
		result, err := b.r.RunOnce(b.t.Context())
		if err != nil || result.Created != 1 || result.Updated != 1 || result.Removed != 0 {
			t.Errorf("the result is %+v, %v", result, err)
		}
		if fmt.Sprint(result.Withheld) != "[orphan.lab.example.com A 192.0.2.9]" {
			t.Errorf("withheld is %q", result.Withheld)
		}
	})
}

func TestOnceEndsWhenNothingIsLeft(t *testing.T) {
	t.Parallel()
	m := &memory{latency: 100 * time.Millisecond}
	inBubble(t, Config{}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		start := time.Now()
		if _, err := b.r.RunOnce(b.t.Context()); err != nil || time.Since(start) > time.Second {
			t.Errorf("it took %v, with %v", time.Since(start), err)
		}
	})
}

// What was done is told also when it was not all.
func TestOnceTellsWhatItDidBeforeItFailed(t *testing.T) {
	t.Parallel()
	m := &memory{}
	cfg := Config{Zones: parseZones(t, labZone, "2=missing.example.com")}
	inBubble(t, cfg, m, []string{"a 192.0.2.1"}, func(b *bench) {
		result, err := b.r.RunOnce(b.t.Context())
		if err == nil || result.Created != 1 {
			t.Errorf("the result is %+v, %v", result, err)
		}
	})
}

func TestOnceFails(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(call, name string) error{
		"no zone":       func(call, _ string) error { return onlyFor(call == "records", errors.New("no such zone")) },
		"server away":   func(string, string) error { return errors.New("connection refused") },
		"a name":        func(call, _ string) error { return onlyFor(call == "create", fmt.Errorf("no: %w", dns.ErrRefused)) },
		"away meantime": func(call, _ string) error { return onlyFor(call != "records", errors.New("connection refused")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, Config{}, &memory{before: before}, manyHosts(20), func(b *bench) {
				start := time.Now()
				_, err := b.r.RunOnce(b.t.Context())
				if err == nil || time.Since(start) > 3*time.Minute {
					t.Errorf("after %v it says %v", time.Since(start), err)
				}
				t.Log(err)
			})
		})
	}
	t.Run("no stream", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := New(Config{Provider: &memory{}, Zones: parseZones(t, labZone)})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if _, err := r.RunOnce(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("it says %v", err)
			}
		})
	})
}

func onlyFor(when bool, err error) error {
	if when {
		return err
	}
	return nil
}

// While a stream is filled again, a row may belong to somebody who has not come
// back yet. Then nobody else's address takes its place.
func TestValueOfAnUnknownHostIsNotReplaced(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("a", "192.0.2.1", "us4") // us4/1, of which the view knows nothing
	m.put("b", "192.0.2.2", "us3") // us3/1, which the view knows
	inBubble(t, Config{}, m, []string{"b 192.0.2.22", "a 192.0.2.11"}, func(b *bench) {
		b.run(func() {
			b.after(time.Hour, "a 192.0.2.1", "b 192.0.2.22")
			b.r.mu.Lock()
			withheld, incomplete := b.r.withheld()
			b.r.mu.Unlock()
			if fmt.Sprint(withheld, incomplete) != "[a.lab.example.com A 192.0.2.1] [us4]" {
				t.Errorf("withheld is %q because of %q", withheld, incomplete)
			}
			b.put(2, "a 192.0.2.1") // it may be confirmed, though
			b.after(time.Minute, "a 192.0.2.1", "b 192.0.2.22")
			b.r.mu.Lock()
			defer b.r.mu.Unlock()
			if len(b.r.waiting) != 0 {
				t.Errorf("%v still waits", b.r.waiting)
			}
		})
	})
}
