package reconcile

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// mustTake takes a name that has to be ready at once.
func mustTake(t *testing.T, q *queue, want string) task {
	t.Helper()
	got, ok := q.take(alreadyPatient(t))
	if !ok || got.name != want {
		t.Fatalf("took %q (%v), want %q", got.name, ok, want)
	}
	return got
}

// mustWait checks that no name is ready.
func mustWait(t *testing.T, q *queue) {
	t.Helper()
	if got, ok := q.take(alreadyPatient(t)); ok {
		t.Fatalf("took %q, want nothing", got.name)
	}
}

// alreadyPatient ends after a moment of the bubble's clock.
func alreadyPatient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func openQueue() *queue {
	q := newQueue()
	q.open()
	return q
}

func TestQueueHandsOutNothingBeforeItIsOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.event("a", time.Now(), time.Time{})
		mustWait(t, q)
		q.open()
		mustTake(t, q, "a")
	})
}

func TestQueuePrefersEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := openQueue()
		q.check([]string{"c1", "c2", "c3"})
		q.event("e1", time.Now(), time.Time{})
		q.event("c3", time.Now(), time.Time{})
		for i, want := range []string{"e1", "c3", "c1", "c2"} {
			got := mustTake(t, q, want)
			if got.check != (i > 1) || got.since.IsZero() != (i > 1) {
				t.Errorf("%s is handed out as %+v", want, got)
			}
			q.done(got)
		}
		if !q.checkLeft(t.Context(), 0) || q.len() != 0 {
			t.Errorf("%d names are left", q.len())
		}
	})
}

func TestQueueKeepsANameInOneLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := openQueue()
		q.event("a", time.Now(), time.Time{})
		first := mustTake(t, q, "a")
		time.Sleep(time.Second)
		second := time.Now()
		q.event("a", second, time.Time{})
		q.event("a", second.Add(time.Second), time.Time{})
		q.nudge("a")
		mustWait(t, q)
		q.done(first)
		again := mustTake(t, q, "a") // once, however often it was asked for
		if !again.since.Equal(second) {
			t.Errorf("the second event is from %v, want %v", again.since, second)
		}
		q.done(again)
		mustWait(t, q)
	})
}

func TestQueueBacksOff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		unserved bool
		longest  time.Duration
	}{{false, longestPause}, {true, unservedPause}} {
		synctest.Test(t, func(t *testing.T) {
			q := openQueue()
			start := time.Now()
			q.event("a", start, time.Time{})
			previous := time.Duration(0)
			for range 20 {
				got, ok := q.take(t.Context())
				if !ok || !got.since.Equal(start) {
					t.Fatalf("took %+v: the event is still not answered", got)
				}
				wait := q.retry(got, test.unserved)
				if wait > test.longest || wait < min(previous/2, test.longest/2) || wait < firstPause/2 {
					t.Errorf("waits %v after %v", wait, previous)
				}
				previous = wait
			}
			q.event("a", time.Now(), time.Time{}) // an event is not kept waiting
			q.done(mustTake(t, q, "a"))
			q.event("a", time.Now(), time.Time{})
			if wait := q.retry(mustTake(t, q, "a"), test.unserved); wait > firstPause {
				t.Errorf("after a success it waits %v", wait)
			}
		})
	}
}

func TestQueueNudgesNoNameThatFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := openQueue()
		q.event("a", time.Now(), time.Time{})
		q.retry(mustTake(t, q, "a"), false)
		q.nudge("a")
		q.later("a", time.Now())
		mustWait(t, q)
		q.later("b", time.Now().Add(time.Hour))
		mustWait(t, q)
		time.Sleep(time.Hour)
		q.done(mustTake(t, q, "a"))
		q.done(mustTake(t, q, "b"))
	})
}

// A check waits for a name that a worker had already when it was asked for: the
// worker may have looked at it before.
func TestCheckWaitsForANameInWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := openQueue()
		q.event("a", time.Now(), time.Time{})
		given := mustTake(t, q, "a")
		q.check([]string{"a"})
		q.done(given)
		if q.inCheck() != 1 {
			t.Error("the check does not wait for it")
		}
		given = mustTake(t, q, "a")
		q.done(given)
		if !q.checkLeft(t.Context(), 0) || q.len() != 0 {
			t.Error("the check waits on")
		}
	})
}

// A name with a new event whenever a worker is done with it has been through one
// all the same: it must not keep a check from its end.
func TestCheckEndsBesideANameThatKeepsChanging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := openQueue()
		q.check([]string{"a"})
		given := mustTake(t, q, "a")
		q.event("a", time.Now(), time.Time{})
		q.done(given)
		if q.inCheck() != 0 {
			t.Error("the check waits on")
		}
		given = mustTake(t, q, "a")
		if given.check {
			t.Error("the second time is counted for the check as well")
		}
		q.check([]string{"a"})
		q.event("a", time.Now(), time.Time{})
		q.retry(given, false)
		if q.inCheck() != 1 {
			t.Error("the next check does not wait for it")
		}
		q.done(mustTake(t, q, "a"))
		if q.inCheck() != 0 || q.len() != 0 {
			t.Error("the next check waits on")
		}
	})
}

// One name asks for others in the way in which it was asked for itself.
func TestQueueFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := openQueue()
		heard, committed := time.Now().Add(-time.Second), time.Now().Add(-time.Minute)
		q.event("e", heard, committed)
		q.check([]string{"c"})
		for _, cause := range []string{"e", "c"} {
			given := mustTake(t, q, cause)
			q.follow(given, []string{"after " + cause})
			q.done(given)
			next := mustTake(t, q, "after "+cause)
			if !next.since.Equal(given.since) || !next.committed.Equal(given.committed) || next.check != given.check {
				t.Errorf("after %+v comes %+v", given, next)
			}
			q.done(next)
		}
		q.nudge("n")
		given := mustTake(t, q, "n")
		q.follow(given, []string{"n", "x"}) // one that a worker has comes once more
		x := mustTake(t, q, "x")
		mustWait(t, q)
		q.done(given)
		q.done(x)
		q.done(mustTake(t, q, "n"))
		if q.len() != 0 || q.inCheck() != 0 {
			t.Errorf("%d names are left, %d of the check", q.len(), q.inCheck())
		}
	})
}

// A name whose write may still happen waits for a look, and must not miss the
// proof of a removal that comes before it.
func TestQueueNudgesANameThatWaitsForALook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := openQueue()
		q.later("a", time.Now().Add(time.Minute))
		mustWait(t, q)
		q.nudge("a")
		given := mustTake(t, q, "a")
		q.nudge("a")
		mustWait(t, q)
		q.done(given)
		mustWait(t, q)
	})
}

func TestQueueLetsOneTryWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := openQueue()
		for i := range away {
			q.event(fmt.Sprint("failed", i), time.Now(), time.Time{})
			got := mustTake(t, q, fmt.Sprint("failed", i))
			if nowAway := q.unanswered(false, 0); nowAway != (i == away-1) {
				t.Errorf("away is %v after %d failures", nowAway, i+1)
			}
			q.retry(got, true)
		}
		q.event("x", time.Now(), time.Time{})
		q.event("y", time.Now(), time.Time{})
		mustWait(t, q) // the server is given a pause
		time.Sleep(5 * time.Second)
		probe, ok := q.take(t.Context())
		if !ok {
			t.Fatal("nobody may try")
		}
		mustWait(t, q)
		if !q.answered(true, false) || q.answered(true, false) {
			t.Error("the server is back once")
		}
		q.done(probe)
		var rest []string
		for range away + 1 {
			got, ok := q.take(alreadyPatient(t))
			if !ok {
				t.Fatalf("only %v go on", rest)
			}
			rest = append(rest, got.name)
			q.done(got)
		}
		if rest = append(rest, probe.name); !slices.Contains(rest, "x") || !slices.Contains(rest, "y") || len(rest) != away+2 {
			t.Errorf("%v go on", rest)
		}
	})
}

// TestQueueLosesNothing runs workers that fail at random while names are asked
// for, and checks that no two have the same name, and that each name is handed
// out after the last time it was asked for.
func TestQueueLosesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [3]int {
			return [3]int{rapid.IntRange(0, 3).Draw(t, "name"), rapid.IntRange(0, 3).Draw(t, "what"), rapid.IntRange(0, 30).Draw(t, "after")}
		}), 1, 30).Draw(rt, "plan")
		synctest.Test(t, func(t *testing.T) {
			q := openQueue()
			ctx, cancel := context.WithCancel(t.Context())
			var mu sync.Mutex
			busy := make(map[string]bool)
			asked, answered := make(map[string]int), make(map[string]int)
			clock := 0
			var workers sync.WaitGroup
			for worker := range 3 {
				workers.Go(func() {
					for n := 0; ; n++ {
						got, ok := q.take(ctx)
						if !ok {
							return
						}
						mu.Lock()
						if busy[got.name] {
							t.Errorf("two workers have %s", got.name)
						}
						busy[got.name] = true
						clock++
						begun := clock
						mu.Unlock()
						time.Sleep(time.Duration(5+worker) * time.Millisecond)
						mu.Lock()
						busy[got.name] = false
						fails := (n+worker)%3 == 0
						if !fails {
							answered[got.name] = begun
						}
						mu.Unlock()
						if fails {
							q.unanswered(n%4 < 2, 0)
							q.retry(got, n%2 == 0)
						} else {
							q.answered(true, true)
							q.done(got)
						}
					}
				})
			}
			for _, step := range plan {
				time.Sleep(time.Duration(step[2]) * time.Millisecond)
				name := fmt.Sprint("n", step[0])
				mu.Lock()
				clock++
				asked[name] = clock
				mu.Unlock()
				switch step[1] {
				case 0, 1:
					q.event(name, time.Now(), time.Time{})
				case 2:
					q.check([]string{name, "other"})
				case 3:
					q.event(name, time.Now(), time.Time{})
					q.nudge(name)
				}
			}
			if !q.checkLeft(t.Context(), 0) {
				t.Error("the check is not done")
			}
			time.Sleep(time.Hour)
			mu.Lock()
			for name, when := range asked {
				if answered[name] < when {
					t.Errorf("%s was asked for and never handed out after that", name)
				}
			}
			mu.Unlock()
			if q.len() != 0 {
				t.Errorf("%d names are left", q.len())
			}
			cancel()
			workers.Wait()
		})
	})
}
