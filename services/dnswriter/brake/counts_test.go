package brake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/services/dnswriter/brake"
)

// on has the n-th call of a document go wrong, and all later ones with -1.
func on(call, key string, n int, f fault) func(string, string) fault {
	calls := 0
	return func(c, k string) fault {
		if c != call || !strings.HasPrefix(k, key) {
			return none
		}
		if calls++; calls == n || n < 0 {
			return f
		}
		return none
	}
}

// The count survives a process that ended between it and the write, or after.
func TestCountsSurviveARestart(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 8)
		pass(holdDown)
		l.remove(brake.Removal, 1, 7)
		if err := l.Count(t.Context(), brake.Removal, name(8)); err != nil {
			t.Fatal(err)
		}
		l.stop() // 8 was not written
		l = start(t, store)
		l.want(8, 11)
		synctest.Wait()
		l.wantMay(8, 8, 1) // it is in the count
		pass(holdDown)
		l.wantMay(9, 11, 0)
		if list := l.withheld(3); list.Recent != 8 {
			t.Errorf("recent are %d, want 8", list.Recent)
		}
	})
}

// A clock that was ahead must not have a name count for longer than an hour.
func TestACountOfTheFuture(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		ahead := map[brake.Kind]map[string]time.Time{brake.Removal: {}}
		for i := 1; i <= 10; i++ {
			ahead[brake.Removal][name(i)] = time.Now().AddDate(1, 0, 0)
		}
		if _, err := store.Put(t.Context(), "counts.internal", 0, ahead); err != nil {
			t.Fatal(err)
		}
		l := start(t, store)
		l.want(11, 11)
		pass(time.Hour - time.Second)
		l.wantMay(11, 11, 0)
		pass(time.Minute)
		l.wantMay(11, 11, 1)
	})
}

func TestManyCallersShareOnePut(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.owned.Store(2000)
		l.want(1, 200)
		pass(holdDown)
		store.latency = time.Millisecond // in which all the others come
		var callers sync.WaitGroup
		for i := 1; i <= 200; i++ {
			callers.Go(func() {
				if err := l.Count(t.Context(), brake.Removal, name(i)); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if n := store.putsOf("counts"); n > 3 {
			t.Errorf("%d puts for 200 names at once", n)
		}
		l.stop()
		l = start(t, store)
		l.owned.Store(2000)
		l.want(201, 201)
		pass(holdDown)
		if list := l.withheld(1); list.Recent != 200 {
			t.Errorf("recent are %d, want 200", list.Recent)
		}
	})
}

func TestACountThatFailed(t *testing.T) {
	for _, f := range []fault{fails, failsButHappens} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				store := newMemory()
				l := start(t, store)
				l.want(1, 3)
				pass(holdDown)
				store.setFault(on("put", "counts", 1, f))
				if err := l.Count(t.Context(), brake.Removal, name(1)); err != nil {
					t.Errorf("one put that failed was not repeated: %v", err)
				}
				store.setFault(on("put", "counts", -1, fails))
				if err := l.Count(t.Context(), brake.Removal, name(2)); !errors.Is(err, errAway) {
					t.Errorf("error %v, want %v", err, errAway)
				}
				synctest.Wait()
				if err := l.Err(); !errors.Is(err, errAway) {
					t.Errorf("Err is %v, want %v", err, errAway)
				}
				store.setFault(nil)
				pass(5 * time.Second) // nobody counts, and it is over all the same
				if err := l.Err(); err != nil {
					t.Error(err)
				}
				if n := l.remove(brake.Removal, 1, 3); n != 3 {
					t.Errorf("%d went, want 3", n)
				}
			})
		})
	}
}

// Nothing goes before what went before is known, and readiness says why.
func TestNothingGoesBeforeTheCountsAreKnown(t *testing.T) {
	for _, key := range []string{"counts", "approvals", "withheld"} {
		t.Run(key, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				store := newMemory()
				store.setFault(on("get", key, -1, fails))
				l := start(t, store)
				l.want(1, 1)
				l.wantKind(brake.Replacement, 2, 2)
				l.Checked()
				pass(time.Minute)
				l.wantMay(1, 1, 0)
				l.wantMayKind(brake.Replacement, 2, 2, 0)
				if err := l.Err(); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "nothing is removed before") || l.Judged() {
					t.Errorf("err %v, judged %v", err, l.Judged())
				}
				store.setFault(nil)
				pass(holdDown)
				l.wantMay(1, 1, 1)
				l.wantMayKind(brake.Replacement, 2, 2, 1)
				if err := l.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Two processes that both think that they lead: what one has counted, the other
// one finds by the revision, and what it let go is taken back.
func TestTwoAtOnceDoNotExceedTheLimit(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		a, b := start(t, store), start(t, store)
		a.want(1, 8)
		b.want(4, 13)
		pass(holdDown)
		a.wantMay(1, 8, 8)
		b.wantMay(4, 13, 10)
		if n := a.remove(brake.Removal, 1, 6); n != 6 {
			t.Errorf("%d went, want 6", n)
		}
		if err := b.Count(t.Context(), brake.Removal, name(13)); !errors.Is(err, brake.ErrWithheld) {
			t.Errorf("error %v, want %v", err, brake.ErrWithheld)
		}
		b.wantMay(4, 6, 3) // these went already, by the other one
		b.wantMay(7, 13, 0)
		pass(holdDown)
		b.withheld(7)
		// The two that a let go as well have room yet.
		if n := a.remove(brake.Removal, 7, 8); n != 2 {
			t.Errorf("%d went, want 2", n)
		}
		pass(time.Hour + time.Minute)
		b.wantMay(7, 13, 7)
	})
}

// A name that waits to be counted when another one finds that it has become too
// much is not counted either.
func TestWhatWaitsToBeCountedIsTakenBackToo(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		a, b := start(t, store), start(t, store)
		a.want(1, 8)
		b.want(11, 18)
		pass(holdDown)
		a.remove(brake.Removal, 1, 8)
		slow := false
		store.setFault(func(call, key string) fault {
			if call == "put" && key == "counts.internal" && !slow {
				slow = true
				time.Sleep(time.Second)
			}
			return none
		})
		var callers sync.WaitGroup
		for i := 11; i <= 18; i++ {
			callers.Go(func() {
				if err := b.Count(t.Context(), brake.Removal, name(i)); !errors.Is(err, brake.ErrWithheld) {
					t.Errorf("error %v, want %v", err, brake.ErrWithheld)
				}
			})
			synctest.Wait()
		}
		callers.Wait()
		if n := store.putsOf("counts"); n > 10 {
			t.Errorf("%d puts", n)
		}
	})
}

// Within the limit both count, and nothing is lost of either.
func TestTwoAtOnceShareTheCount(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		a, b := start(t, store), start(t, store)
		a.want(1, 4)
		b.want(5, 8)
		pass(holdDown)
		for i := 1; i <= 4; i++ {
			a.remove(brake.Removal, i, i)
			b.remove(brake.Removal, i+4, i+4)
		}
		c := start(t, store)
		c.want(9, 11)
		pass(holdDown)
		if list := c.withheld(3); list.Recent != 8 {
			t.Errorf("recent are %d, want 8", list.Recent)
		}
	})
}

// Replacements go at once while there is room, and what the other one has counted
// takes of it.
func TestTwoAtOnceShareTheRoomForReplacements(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		a, b := start(t, store), start(t, store)
		synctest.Wait() // for both to know how much room there is
		b.wantKind(brake.Replacement, 1, 6)
		if n := b.remove(brake.Replacement, 1, 6); n != 6 {
			t.Fatalf("%d went, want 6", n)
		}
		a.wantKind(brake.Replacement, 11, 11)
		a.remove(brake.Replacement, 11, 11) // and a learns of these
		for i := 12; i <= 20; i++ {
			a.wantKind(brake.Replacement, i, i)
		}
		a.wantMayKind(brake.Replacement, 12, 20, 3)
	})
}

func TestCountWhatMayNotGo(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 1)
		synctest.Wait()
		for i := 1; i <= 2; i++ {
			if err := l.Count(t.Context(), brake.Removal, name(i)); !errors.Is(err, brake.ErrWithheld) {
				t.Errorf("error %v, want %v", err, brake.ErrWithheld)
			}
		}
		pass(holdDown)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Count(ctx, brake.Removal, name(1)); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// What is withheld has to stand in the store before it can be called judged.
func TestListsThatCannotBeStored(t *testing.T) {
	for _, f := range []fault{fails, failsButHappens} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				store := newMemory()
				store.setFault(on("put", "withheld", -1, f))
				l := start(t, store)
				l.want(1, 40)
				pass(holdDown)
				if l.Judged() || l.Err() == nil {
					t.Errorf("judged %v, err %v", l.Judged(), l.Err())
				}
				store.setFault(nil)
				pass(5 * time.Second)
				lists, err := brake.Withheld(t.Context(), store)
				if err != nil || len(lists) != 1 || !l.Judged() {
					t.Errorf("%v, %v, judged %v", lists, err, l.Judged())
				}
			})
		})
	}
}

// How far an approval has come is said later when it cannot be said now.
func TestProgressThatCannotBeStored(t *testing.T) {
	for _, f := range []fault{fails, failsButHappens} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				store := newMemory()
				l := start(t, store)
				l.want(1, 40)
				pass(holdDown)
				store.setFault(on("put", "approvals", 2, f)) // after the approval itself
				l.approve(l.withheld(40).Hash)
				pass(5 * time.Second)
				l.wantMay(1, 40, 40)
				store.setFault(on("put", "approvals", 1, f))
				l.wantNone(1, 5)
				l.remove(brake.Removal, 6, 20)
				pass(20 * time.Second)
				l.wantMay(21, 40, 20)
				l.stop()
				l = start(t, store)
				l.want(1, 5)
				l.want(21, 40)
				l.Checked()
				pass(holdDown)
				l.wantMay(1, 5, 0)
				l.wantMay(21, 40, 20)
				if list := l.withheld(5); list.Recent != 35 {
					t.Errorf("recent are %d, want 35", list.Recent)
				}
			})
		})
	}
}

// Somebody has deleted the bucket: what is known in memory counts on, and nothing
// is covered that does not stand there.
func TestADeletedBucket(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 40)
		pass(holdDown)
		l.approve(l.withheld(40).Hash)
		synctest.Wait()
		l.remove(brake.Removal, 1, 20)
		store.mu.Lock()
		clear(store.docs)
		store.mu.Unlock()
		pass(2 * time.Minute)
		l.wantMay(21, 40, 0)
		list := l.withheld(20)
		if list.Recent != 20 {
			t.Errorf("recent are %d, want 20", list.Recent)
		}
		store.mu.Lock()
		clear(store.docs)
		store.mu.Unlock()
		pass(2 * time.Minute)
		l.approve(list.Hash)
		synctest.Wait()
		l.wantMay(21, 40, 20)
		l.remove(brake.Removal, 21, 40)
		if err := l.Err(); err != nil {
			t.Error(err)
		}
	})
}
