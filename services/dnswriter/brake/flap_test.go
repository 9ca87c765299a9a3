package brake_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/services/dnswriter/brake"
)

// A leader that loses the lease, as when NATS is away for a minute, tells that no
// name wants anything. That is not a word of a reservation: what was approved goes
// when it leads again.
func TestAnApprovalOutlivesALostLease(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 40)
		pass(holdDown)
		l.approve(l.withheld(40).Hash)
		pass(10 * time.Second)
		l.remove(brake.Removal, 1, 10)
		store.setFault(func(string, string) fault { return fails })
		l.stop()
		l.wantNone(11, 40)
		pass(time.Minute)
		store.setFault(nil)
		l.run()
		l.want(11, 40)
		l.Checked()
		pass(holdDown)
		l.wantMay(11, 40, 30)
	})
}

// What another leader did under an approval meanwhile counts here too, and what it
// found wanted again is not covered here any more.
func TestAnApprovalBetweenTwoLeaderships(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		a, b := start(t, store), start(t, store)
		b.stop()
		a.want(1, 40)
		pass(holdDown)
		a.approve(a.withheld(40).Hash)
		synctest.Wait()
		a.remove(brake.Removal, 1, 10)
		a.stop()
		a.wantNone(11, 40)
		b.run()
		b.want(11, 40)
		synctest.Wait()
		b.wantMay(11, 40, 30)
		b.remove(brake.Removal, 11, 25)
		b.wantNone(31, 40) // asked for again
		pass(10 * time.Second)
		b.stop()
		b.wantNone(26, 30)
		a.run()
		a.want(26, 40) // 31 to 40 are not asked for once more
		a.Checked()
		pass(holdDown)
		a.wantMay(26, 30, 5)
		a.wantMay(31, 40, 0)
		if list := a.withheld(10); list.Recent != 30 {
			t.Errorf("recent are %d, want 30", list.Recent)
		}
	})
}

// All names of an approval are wanted again, and that cannot be stored at first. The
// approval that still stands in the store must not cover them once more.
func TestAnApprovalThatIsOverAndCannotBeStored(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 20)
		pass(holdDown)
		l.approve(l.withheld(20).Hash)
		synctest.Wait()
		l.stop()
		l = start(t, store) // which does not know from when the list is
		l.want(1, 20)
		pass(holdDown)
		l.wantMay(1, 20, 20)
		store.setFault(on("put", "approvals", 1, fails))
		l.wantNone(1, 20)
		pass(time.Second)
		l.want(1, 20)
		pass(10 * time.Second)
		l.wantMay(1, 20, 0)
	})
}

// The clock of who approves may be ahead: nobody remembers for a year what he has
// looked at.
func TestAnApprovalOfTheFuture(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		l := start(t, store)
		l.want(1, 40)
		pass(holdDown)
		list := l.withheld(40)
		var names []string
		for i := 1; i <= 40; i++ {
			names = append(names, name(i))
		}
		doc := map[string]any{"approvals": []any{map[string]any{
			"kind": list.Kind, "hash": list.Hash, "at": time.Now().AddDate(1, 0, 0).UTC(), "names": names,
		}}}
		if _, err := store.Put(t.Context(), "approvals.internal", 0, doc); err != nil {
			t.Fatal(err)
		}
		pass(24*time.Hour - 10*time.Second)
		l.wantMay(1, 40, 40)
		pass(time.Minute)
		l.wantMay(1, 40, 0)
	})
}
