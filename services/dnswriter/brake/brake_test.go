package brake_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/services/dnswriter/brake"
)

const holdDown = 10 * time.Second

// tester is what a test of testing and one of rapid have in common.
type tester interface {
	Helper()
	Cleanup(f func())
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// lab is a brake that runs, and what it told.
type lab struct {
	*brake.Brake
	t     tester
	owned atomic.Int64
	store brake.Store
	log   strings.Builder // read when nothing runs
	stop  func()

	mu       sync.Mutex
	released map[string]bool
}

// start runs a brake with 50 owned names, of which 10 may go in an hour, until
// the test ends or stop is called.
func start(t tester, store brake.Store, change ...func(*brake.Config)) *lab {
	t.Helper()
	l := &lab{t: t, store: store, released: make(map[string]bool)}
	l.owned.Store(50)
	limit, err := brake.ParseLimit(brake.DefaultLimit)
	if err != nil {
		t.Fatal(err)
	}
	cfg := brake.Config{
		Scope: "internal", Limit: limit, HoldDown: holdDown, Store: store,
		Owned: func() int { return int(l.owned.Load()) },
		Released: func(lanes []string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, lane := range lanes {
				l.released[lane] = true
			}
		},
		Log: slog.New(slog.NewTextHandler(&l.log, nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	l.Brake = brake.New(cfg)
	l.run()
	t.Cleanup(func() { l.stop() })
	return l
}

// run has the brake run, as at the start of a leadership.
func (l *lab) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("Run: %v", err)
		}
	})
}

func name(i int) string { return fmt.Sprintf("host-%03d.lab.example.com", i) }

func items(kind brake.Kind, i int) []brake.Item {
	record := fmt.Sprintf("%s A 192.0.2.%d", name(i), i)
	if kind == brake.Replacement {
		record += " -> 198.51.100.1"
	}
	return []brake.Item{{Kind: kind, Name: name(i), Record: record}}
}

// want has the names from first to last removed.
func (l *lab) want(first, last int) { l.wantKind(brake.Removal, first, last) }

func (l *lab) wantKind(kind brake.Kind, first, last int) {
	for i := first; i <= last; i++ {
		l.Want(name(i), items(kind, i))
	}
}

// wantNone has the names from first to last stay.
func (l *lab) wantNone(first, last int) {
	for i := first; i <= last; i++ {
		l.Want(name(i), nil)
	}
}

// remove takes away what may go, as lanes do, and returns how many went.
func (l *lab) remove(kind brake.Kind, first, last int) int {
	l.t.Helper()
	n := 0
	for i := first; i <= last; i++ {
		if !l.May(kind, name(i)) {
			continue
		}
		if err := l.Count(context.Background(), kind, name(i)); err != nil {
			l.t.Errorf("count: %v", err)
			continue
		}
		l.Want(name(i), nil)
		n++
	}
	return n
}

// wantMay expects that so many of the names may be removed.
func (l *lab) wantMay(first, last, want int) {
	l.t.Helper()
	l.wantMayKind(brake.Removal, first, last, want)
}

func (l *lab) wantMayKind(kind brake.Kind, first, last, want int) {
	l.t.Helper()
	n := 0
	for i := first; i <= last; i++ {
		if l.May(kind, name(i)) {
			n++
		}
	}
	if n != want {
		l.t.Errorf("%d of the names %d to %d may go, want %d", n, first, last, want)
	}
}

// withheld returns the only list.
func (l *lab) withheld(names int) brake.List {
	l.t.Helper()
	lists := l.Lists()
	if len(lists) != 1 || lists[0].Names != names {
		l.t.Fatalf("withheld is %+v, want a list of %d names", lists, names)
	}
	return lists[0]
}

func (l *lab) approve(hash string) {
	l.t.Helper()
	if _, err := brake.Approve(context.Background(), l.store, hash); err != nil {
		l.t.Fatal(err)
	}
}

// pass lets time go by and everything settle.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// inTime runs a test in its own time.
func inTime(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, test)
}

func TestRemovalsWithinTheLimitGoAfterARest(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.owned.Store(2000)
		synctest.Wait()
		l.want(1, 30)
		pass(holdDown / 2)
		l.want(31, 40)
		pass(holdDown - time.Millisecond)
		l.wantMay(1, 40, 0)
		pass(time.Millisecond)
		l.wantMay(1, 40, 40)
		if got := len(l.released); got != 40 {
			t.Errorf("%d lanes were released, want 40", got)
		}
		if err := l.Err(); err != nil || !l.Judged() {
			t.Errorf("err %v, judged %v", err, l.Judged())
		}
	})
}

func TestAnEndlessTrickleIsJudged(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		synctest.Wait()
		began := time.Now()
		l.want(1, 1)
		for !l.May(brake.Removal, name(1)) { // never too many
			l.want(2, 2)
			pass(holdDown / 4)
			l.Want(name(2), nil)
			pass(holdDown / 4)
		}
		if took := time.Since(began); took != 10*holdDown {
			t.Errorf("judged after %s, want %s", took, 10*holdDown)
		}
	})
}

func TestTooManyAreWithheld(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		if l.Judged() {
			t.Error("judged before the hold-down was over")
		}
		pass(holdDown)
		l.wantMay(1, 40, 0)
		list := l.withheld(40)
		want := "40 names are withheld: more than the 10 that --max-removals allows in an hour. See `keastream-dnswriter plan`; to let them go: keastream-dnswriter approve " + list.Hash
		if got := fmt.Sprint(l.Err()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !l.Judged() || len(l.released) > 0 {
			t.Errorf("judged %v, released %v", l.Judged(), l.released)
		}
		pass(time.Hour)
		l.wantMay(1, 40, 0)
		l.stop()
		if n := strings.Count(l.log.String(), "level=ERROR"); n != 1 {
			t.Errorf("logged %d errors, want 1", n)
		}
	})
}

func TestWhatWentInTheHourCounts(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 6)
		pass(holdDown)
		l.remove(brake.Removal, 1, 6)
		l.want(7, 11)
		pass(holdDown)
		l.wantMay(7, 11, 0)
		if list := l.withheld(5); list.Recent != 6 || list.Allowed != 10 {
			t.Errorf("%+v", list)
		}
		// One that went already may go again.
		l.want(3, 3)
		l.wantMay(3, 3, 1)
		l.remove(brake.Removal, 3, 3)
		pass(time.Hour - 2*holdDown)
		l.wantMay(7, 11, 0)
		// The hour of the first six is over, but for the third.
		pass(holdDown + time.Minute)
		l.wantMay(7, 11, 5)
	})
}

// A name that went already may go again while it is in the count, and no longer.
func TestAgainIsForAnHour(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		l.approve(l.withheld(40).Hash)
		synctest.Wait()
		l.remove(brake.Removal, 1, 40)
		l.want(1, 40)
		pass(time.Hour - time.Second)
		l.wantMay(1, 40, 40)
		pass(time.Second)
		l.wantMay(1, 40, 0)
		if err := l.Count(t.Context(), brake.Removal, name(1)); !errors.Is(err, brake.ErrWithheld) {
			t.Errorf("error %v, want %v", err, brake.ErrWithheld)
		}
		pass(2 * time.Minute)
		l.withheld(40)
	})
}

// What may go and did not yet counts as well: it may at any moment.
func TestWhatMayGoCounts(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 6)
		pass(holdDown)
		l.want(7, 11)
		pass(2 * time.Hour)
		l.wantMay(1, 6, 6)
		l.wantMay(7, 11, 0)
	})
}

func TestReplacementsHaveTheirOwnLimit(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		synctest.Wait()
		l.want(1, 10)
		pass(holdDown)
		l.wantMay(1, 10, 10)
		for i := 11; i <= 25; i++ {
			l.wantKind(brake.Replacement, i, i)
		}
		l.wantMayKind(brake.Replacement, 11, 20, 10) // at once
		l.wantMayKind(brake.Replacement, 21, 25, 0)
		l.owned.Store(200)
		pass(time.Second) // there is more room now
		l.wantMayKind(brake.Replacement, 21, 25, 5)
		l.wantKind(brake.Replacement, 26, 40)
		pass(holdDown)
		l.wantMayKind(brake.Replacement, 11, 30, 20)
		l.wantMayKind(brake.Replacement, 31, 40, 0)
		want := "10 names keep their old values: more than the 20 that --max-removals allows in an hour, and 20 went already or are about to"
		if got := fmt.Sprint(l.Err()); !strings.HasPrefix(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestUncoveredNamesAlwaysNeedApproval(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.wantKind(brake.Uncovered, 1, 1)
		l.want(2, 2)
		pass(holdDown)
		l.wantMayKind(brake.Uncovered, 1, 1, 0)
		l.wantMay(2, 2, 1)
		want := "1 name is withheld: a reservation asks for it, but --subnet-id or --name-pattern leaves that out."
		if got := fmt.Sprint(l.Err()); !strings.HasPrefix(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		l.approve(l.withheld(1).Hash)
		synctest.Wait()
		l.wantMayKind(brake.Uncovered, 1, 1, 1)
	})
}

// A reservation of an uncovered name goes, or comes back: its name is of the
// other kind then, and judged as such.
func TestANameChangesItsKind(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.wantKind(brake.Uncovered, 1, 1)
		pass(holdDown)
		l.approve(l.withheld(1).Hash)
		synctest.Wait()
		l.want(1, 1)
		l.wantMayKind(brake.Uncovered, 1, 1, 0)
		pass(holdDown)
		l.wantMay(1, 1, 1)
		l.wantKind(brake.Uncovered, 1, 1)
		pass(holdDown)
		l.wantMayKind(brake.Uncovered, 1, 1, 0)
		l.withheld(1)
	})
}

// A PTR record counts for its forward name, which goes when no lane wants
// anything of it any more.
func TestANameOfSeveralLanesCountsOnce(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		ptr := func(i int) string { return fmt.Sprintf("%d.2.0.192.in-addr.arpa", i) }
		for i := 1; i <= 10; i++ {
			l.Want(name(i), items(brake.Removal, i))
			l.Want(ptr(i), []brake.Item{{Kind: brake.Removal, Name: name(i), Record: ptr(i) + " PTR " + name(i)}})
		}
		pass(holdDown)
		l.wantMay(1, 10, 10)
		if len(l.released) != 20 {
			t.Errorf("%d lanes were released, want 20", len(l.released))
		}
		l.remove(brake.Removal, 1, 10)
		l.wantMay(1, 10, 10) // of the PTR records
		for i := 1; i <= 10; i++ {
			l.Want(ptr(i), nil)
		}
		l.wantMay(1, 10, 0)
	})
}

func TestNothingGoesWithoutRun(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 3)
		l.wantKind(brake.Replacement, 4, 4)
		pass(holdDown)
		l.wantMay(1, 3, 3)
		l.stop()
		l.wantMay(1, 3, 0)
		l.wantMayKind(brake.Replacement, 4, 4, 0)
		if err := l.Count(t.Context(), brake.Removal, name(1)); err == nil {
			t.Error("counted although nothing runs")
		}
		l.run()
		pass(holdDown)
		l.wantMay(1, 3, 3)
		l.wantMayKind(brake.Replacement, 4, 4, 1)
	})
}

func TestNilBrakesNothing(t *testing.T) {
	t.Parallel()
	var b *brake.Brake
	b.Want("a", items(brake.Removal, 1))
	b.Checked()
	if !b.May(brake.Removal, "a") || b.Count(t.Context(), brake.Removal, "a") != nil || b.Lists() != nil || b.Err() != nil || !b.Judged() {
		t.Error("a nil brake brakes")
	}
}

// plan judges as soon as it has looked at everything, and writes nothing.
func TestReadOnly(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 11)
		pass(holdDown)
		hash := l.withheld(11).Hash
		puts := store.putsOf("")
		p := start(t, store, func(c *brake.Config) { c.ReadOnly = true })
		p.want(1, 11)
		synctest.Wait()
		if p.Judged() {
			t.Error("judged before everything was told")
		}
		p.Checked()
		synctest.Wait()
		if got := p.withheld(11).Hash; got != hash || !p.Judged() {
			t.Errorf("hash %s, want %s; judged %v", got, hash, p.Judged())
		}
		l.approve(hash)
		puts += 2 // the approval, and that it was taken in
		pass(time.Hour)
		p.wantMay(1, 11, 11)
		if err := p.Count(t.Context(), brake.Removal, name(1)); err == nil {
			t.Error("counted although nothing may be written")
		}
		if got := store.putsOf("") - store.putsOf("withheld"); got != puts-1 {
			t.Errorf("%d puts of counts and approvals, want %d", got, puts-1)
		}
	})
}

func TestOwnedIsAskedWithoutTheLock(t *testing.T) {
	inTime(t, func(t *testing.T) {
		var b *brake.Brake
		l := start(t, newMemory(), func(c *brake.Config) {
			c.Owned = func() int { b.Want("lane", nil); return 50 }
			c.Released = func(lanes []string) {
				for _, lane := range lanes {
					b.Want(lane, nil)
				}
			}
		})
		b = l.Brake
		l.want(1, 5)
		pass(holdDown)
		l.wantMay(1, 5, 0)
	})
}
