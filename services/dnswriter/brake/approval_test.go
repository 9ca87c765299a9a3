package brake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/services/dnswriter/brake"
)

func TestAnApprovalCoversItsList(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		list := l.withheld(40)
		got, err := brake.Approve(t.Context(), l.store, " "+strings.ToUpper(list.Hash)+"\n")
		if err != nil || got.Names != 40 || got.Items[0].Kind != brake.Removal {
			t.Fatalf("%+v, %v", got, err)
		}
		synctest.Wait()
		l.wantMay(1, 40, 40)
		if len(l.released) != 40 || l.Lists() != nil || l.Err() != nil {
			t.Errorf("released %d, withheld %v, err %v", len(l.released), l.Lists(), l.Err())
		}
		if lists, err := brake.Withheld(t.Context(), l.store); err != nil || lists != nil {
			t.Errorf("the store still has %v, %v", lists, err)
		}
		l.remove(brake.Removal, 1, 40)
		// What was approved counts too: for an hour everything else needs approval.
		l.want(41, 41)
		pass(holdDown)
		if list := l.withheld(1); list.Recent != 40 {
			t.Errorf("recent are %d, want 40", list.Recent)
		}
		pass(time.Hour)
		l.wantMay(41, 41, 1)
	})
}

func TestWhatIsWantedAgainIsSkipped(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		l.approve(l.withheld(40).Hash)
		synctest.Wait()
		l.wantNone(1, 5)
		l.wantMay(1, 5, 0)
		l.want(1, 5) // not covered any more
		pass(holdDown)
		l.wantMay(1, 5, 0)
		l.wantMay(6, 40, 35)
		l.withheld(5)
		l.remove(brake.Removal, 6, 40)
		// Not by another process either.
		pass(10 * time.Second)
		l.stop()
		other := start(t, l.store)
		other.want(1, 5)
		pass(holdDown)
		other.wantMay(1, 5, 0)
		if recent := other.withheld(5).Recent; recent != 35 {
			t.Errorf("recent are %d, want 35", recent)
		}
	})
}

func TestWhatIsNewIsNotCovered(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		hash := l.withheld(40).Hash
		l.want(41, 42)
		l.approve(hash)
		synctest.Wait()
		l.wantMay(1, 40, 40)
		l.wantMay(41, 42, 0)
		pass(holdDown)
		list := l.withheld(2)
		l.remove(brake.Removal, 1, 40)
		l.wantMay(41, 42, 0)
		l.approve(list.Hash)
		synctest.Wait()
		l.wantMay(41, 42, 2)
	})
}

// A name leaves the list and comes back while somebody approves what he saw
// before. He has not seen why it came back.
func TestWhatCameBackBeforeTheApprovalIsNotCovered(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		hash := l.withheld(40).Hash
		l.wantNone(1, 1)
		l.want(1, 1)
		l.approve(hash)
		synctest.Wait()
		l.wantMay(1, 1, 0)
		l.wantMay(2, 40, 39)
	})
}

func TestWhatComesBackAfterTheApprovalIsNotCovered(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		hash := l.withheld(40).Hash
		l.wantNone(1, 1)
		l.approve(hash)
		synctest.Wait()
		l.want(1, 1)
		l.wantMay(1, 1, 0)
		l.wantMay(2, 40, 39)
	})
}

func TestAnOutdatedHashIsRefused(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		hash := l.withheld(40).Hash
		l.want(41, 41)
		pass(holdDown)
		now := l.withheld(41).Hash
		_, err := brake.Approve(t.Context(), l.store, hash)
		if !errors.Is(err, brake.ErrOutdated) || !strings.Contains(fmt.Sprint(err), now+" (removal, names: 41; scope internal, withheld for 0 min)") {
			t.Errorf("%v", err)
		}
		l.wantNone(1, 41)
		pass(holdDown)
		_, err = brake.Approve(t.Context(), l.store, now)
		if !errors.Is(err, brake.ErrOutdated) || !strings.Contains(fmt.Sprint(err), "nothing is withheld") {
			t.Errorf("%v", err)
		}
		l.wantMay(1, 41, 0)
	})
}

// The hash is that of the records, whoever makes the list.
func TestHash(t *testing.T) {
	inTime(t, func(t *testing.T) {
		hashes := make(map[string]bool)
		list := func(scope string, want func(l *lab)) string {
			l := start(t, newMemory(), func(c *brake.Config) { c.Scope = scope; c.Limit = brake.Limit{} })
			want(l)
			pass(holdDown)
			hash := l.Lists()[0].Hash
			if len(hash) != 12 || strings.Trim(hash, "0123456789abcdef") != "" {
				t.Errorf("hash %q", hash)
			}
			hashes[hash] = true
			return hash
		}
		first := list("internal", func(l *lab) { l.want(1, 12) })
		if again := list("internal", func(l *lab) { l.want(12, 12); l.want(1, 11) }); again != first {
			t.Errorf("the same list is %s and %s", first, again)
		}
		list("external", func(l *lab) { l.want(1, 12) })
		list("internal", func(l *lab) { l.want(1, 11) })
		list("internal", func(l *lab) { l.wantKind(brake.Uncovered, 1, 12) })
		list("internal", func(l *lab) { l.want(1, 12); l.Want("other", items(brake.Removal, 1)[:1:1]) })
		list("internal", func(l *lab) {
			l.want(1, 12)
			l.Want("other", []brake.Item{{Kind: brake.Removal, Name: name(1), Record: "another one"}})
		})
		if len(hashes) != 5 {
			t.Errorf("%d hashes, want 5: %v", len(hashes), hashes)
		}
	})
}

func TestAnApprovalEndsAfterADay(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		l.approve(l.withheld(40).Hash)
		pass(24*time.Hour - time.Second)
		l.wantMay(1, 40, 40)
		pass(time.Second)
		l.wantMay(1, 40, 0)
		pass(holdDown)
		hash := l.withheld(40).Hash
		// And again, with the same hash.
		l.approve(hash)
		synctest.Wait()
		l.wantMay(1, 40, 40)
	})
}

// With --once from cron one process withholds and another one removes; in between
// nobody runs.
func TestApprovedBetweenTwoProcesses(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		once := start(t, store)
		once.want(1, 40)
		once.Checked()
		pass(holdDown)
		if !once.Judged() {
			t.Fatal("not judged")
		}
		since := once.withheld(40).Since
		once.stop()
		if once.Lists() != nil || once.Err() != nil {
			t.Error("a brake that does not run withholds")
		}
		pass(time.Hour)
		lists, err := brake.Withheld(t.Context(), store)
		if err != nil || len(lists) != 1 || lists[0].Names != 40 {
			t.Fatalf("the store has %v, %v", lists, err)
		}
		again := start(t, store)
		again.want(1, 40)
		pass(holdDown)
		if list := again.withheld(40); list.Hash != lists[0].Hash || !list.Since.Equal(since) {
			t.Errorf("after a restart %s since %s, want %s since %s", list.Hash, list.Since, lists[0].Hash, since)
		}
		again.stop()
		if _, err := brake.Approve(t.Context(), store, lists[0].Hash); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		last := start(t, store)
		last.want(3, 41) // 1 and 2 are wanted again
		synctest.Wait()  // the approval is taken in
		last.Checked()
		synctest.Wait()
		last.wantMay(3, 40, 38)
		last.want(1, 2)
		pass(holdDown)
		last.wantMay(1, 2, 0)
		last.wantMay(41, 41, 0)
		// 1 and 2 count for the hour all the same: once an approval was taken in, an
		// instance without a lease may have had them go.
		if list := last.withheld(3); list.Recent != 40 {
			t.Errorf("recent are %d, want 40", list.Recent)
		}
	})
}

// What stands in the store of an earlier process is withdrawn when everything was
// looked at and nothing is withheld, and not before.
func TestAListOfAnEarlierProcessIsWithdrawn(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 40)
		l.wantKind(brake.Uncovered, 41, 41)
		pass(holdDown)
		l.stop()
		l = start(t, store)
		l.wantKind(brake.Uncovered, 41, 42)
		pass(time.Hour)
		if lists, err := brake.Withheld(t.Context(), store); err != nil || len(lists) != 2 || lists[0].Names != 40 || lists[1].Names != 2 {
			t.Errorf("the store has %v, %v", lists, err)
		}
		l.Checked()
		if l.Judged() {
			t.Error("judged before the list was withdrawn")
		}
		synctest.Wait()
		if lists, err := brake.Withheld(t.Context(), store); err != nil || len(lists) != 1 || !l.Judged() {
			t.Errorf("the store has %v, %v", lists, err)
		}
	})
}

// A crash between Count and the write, or after it, or before an approval has
// said how far it came: nothing may be missing in the count, and what was
// approved and is still there may go.
func TestACrashWhileApprovedNamesGo(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 40)
		pass(holdDown)
		l.approve(l.withheld(40).Hash)
		synctest.Wait()
		l.remove(brake.Removal, 1, 20)
		if err := l.Count(t.Context(), brake.Removal, name(21)); err != nil {
			t.Fatal(err)
		}
		store.setFault(func(string, string) fault { return fails }) // so that it says nothing any more
		l.stop()
		store.setFault(nil)
		l = start(t, store)
		l.want(21, 40)
		synctest.Wait()
		l.wantMay(21, 40, 20)
		l.want(41, 41)
		l.Checked()
		pass(holdDown)
		l.wantMay(21, 40, 20)
		if list := l.withheld(1); list.Recent != 40 {
			t.Errorf("recent are %d, want 40", list.Recent)
		}
		// Of the twenty nobody knows whether they went: they are not covered.
		l.want(1, 5)
		l.wantMay(1, 5, 0)
		l.remove(brake.Removal, 21, 40)
		pass(time.Hour + 2*time.Minute)
		l.wantMay(1, 5, 5)
		l.wantMay(41, 41, 1)
	})
}

// An approval whose names went before the process ended in peace: they may change
// again for the rest of the hour, as all that went.
func TestApprovedNamesThatWentAreInTheCount(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 40)
		pass(holdDown)
		l.approve(l.withheld(40).Hash)
		synctest.Wait()
		l.remove(brake.Removal, 1, 40)
		l.stop()
		puts := store.putsOf("counts")
		l = start(t, store)
		synctest.Wait()
		l.want(1, 1)
		l.want(41, 41)
		l.wantMay(1, 1, 1)
		l.remove(brake.Removal, 1, 1)
		if n := store.putsOf("counts") - puts; n != 0 {
			t.Errorf("%d puts for what an approval counts, want none", n)
		}
		pass(holdDown)
		if list := l.withheld(1); list.Recent != 40 {
			t.Errorf("recent are %d, want 40", list.Recent)
		}
	})
}

// Both know of the same approval; the second leader begins with what the first
// has left.
func TestAnApprovalIsFollowedByTheNextLeader(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		a, b := start(t, store), start(t, store)
		b.stop()
		a.want(1, 40)
		pass(holdDown)
		a.approve(a.withheld(40).Hash)
		synctest.Wait()
		a.remove(brake.Removal, 1, 20)
		a.stop()
		b.want(21, 40) // told while it stood by
		b.run()
		synctest.Wait()
		b.wantMay(21, 40, 20)
		b.remove(brake.Removal, 21, 40)
		b.want(41, 41)
		pass(holdDown)
		if list := b.withheld(1); list.Recent != 40 {
			t.Errorf("recent are %d, want 40", list.Recent)
		}
	})
}

// With two approvals, what becomes of the names of each is stored in time.
func TestProgressOfTwoApprovals(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 20)
		pass(holdDown)
		l.approve(l.withheld(20).Hash)
		l.want(21, 40)
		pass(holdDown)
		l.approve(l.withheld(20).Hash)
		synctest.Wait()
		l.remove(brake.Removal, 1, 20)
		pass(time.Hour + 2*time.Minute + 10*time.Second) // the first one is over
		l.remove(brake.Removal, 21, 30)
		pass(10 * time.Second)
		store.setFault(func(string, string) fault { return fails })
		l.stop()
		store.setFault(nil)
		l = start(t, store)
		l.want(21, 40)
		l.Checked()
		pass(time.Hour + 2*time.Minute)
		l.wantMay(21, 30, 0)
		l.wantMay(31, 40, 10)
	})
}

// The time when a name went is kept by the minute, and does not move with each
// process that reads it.
func TestAnHourIsAnHourAfterManyRestarts(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 40)
		pass(holdDown)
		l.approve(l.withheld(40).Hash)
		synctest.Wait()
		l.remove(brake.Removal, 1, 39)
		began := time.Now()
		for range 5 {
			pass(2 * time.Minute)
			l.stop()
			l = start(t, store)
			l.want(40, 40)
			synctest.Wait()
			if err := l.Count(t.Context(), brake.Removal, name(40)); err != nil { // so that it is stored anew
				t.Fatal(err)
			}
		}
		pass(time.Until(began.Add(time.Hour + time.Minute)))
		l.want(1, 1)
		l.wantMay(1, 1, 0)
	})
}

func TestApproveThatFailed(t *testing.T) {
	for _, f := range []fault{fails, failsButHappens} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				store := newMemory()
				l := start(t, store)
				l.want(1, 40)
				pass(holdDown)
				hash := l.withheld(40).Hash
				l.stop()
				puts := 0
				store.setFault(func(call, key string) fault {
					if call != "put" || !strings.HasPrefix(key, "approvals") {
						return none
					}
					if puts++; puts == 1 {
						return f
					}
					return none
				})
				if _, err := brake.Approve(context.Background(), store, hash); err != nil {
					t.Fatal(err)
				}
				if n := store.putsOf("approvals"); n != 1 {
					t.Errorf("stored %d times, want once", n)
				}
				store.setFault(func(string, string) fault { return fails })
				if _, err := brake.Approve(context.Background(), store, hash); !errors.Is(err, errAway) {
					t.Errorf("error %v, want %v", err, errAway)
				}
			})
		})
	}
}
